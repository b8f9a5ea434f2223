//! What takes a fresh login, and which logins count (ACC-4).
use super::access::sets;
use super::line::{Direction, Line, Part, Said};
use super::{Out, Snapshot};

pub(super) fn compare(old: &Snapshot, new: &Snapshot, out: &mut Out) {
    let line = |direction, what| Line::new(direction, Part::StepUp, what);
    let (was, now) = (&old.step_up, &new.step_up);
    if was.within != now.within {
        let direction = Direction::more(&was.within, &now.within);
        let (from, to) = (Said::time(was.within), Said::time(now.within));
        out.add(line(direction, "a login is fresh for").was(from).is(to));
    }
    let operations = |of: &Snapshot| -> Vec<Said> {
        of.step_up.operations().filter_map(|ix| of.names.operation(ix)).map(Said::from).collect()
    };
    let roles = |of: &Snapshot| -> Vec<Said> {
        of.step_up.roles().iter().filter_map(|ix| of.names.role(*ix)).map(Said::from).collect()
    };
    // What asks for more lets less be done.
    let told = ("no fresh login any more for", "a fresh login for");
    sets(&line, told, &operations(new), &operations(old), out);
    let told = ("no fresh login any more for roles", "a fresh login for roles");
    sets(&line, told, &roles(new), &roles(old), out);
    let (was, now) = (old.trust.strong_login(), new.trust.strong_login());
    let words = |list: &[String]| -> Vec<Said> { list.iter().map(Said::place).collect() };
    let told = ("logins count by amr", "logins count no more by amr");
    sets(&line, told, &words(&was.methods), &words(&now.methods), out);
    let told = ("logins count by acr", "logins count no more by acr");
    sets(&line, told, &words(&was.classes), &words(&now.classes), out);
    if old.acr != new.acr && was.classes == now.classes {
        let said = |of: &Snapshot| Said::list(of.acr.iter().map(Said::place));
        out.add(line(Direction::Neutral, "callers are told of acr").was(said(old)).is(said(new)));
    }
}
