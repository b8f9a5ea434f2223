//! Who operates the gateway, and who is told of alarms (PRIV-3, MON-7).
use super::access::sets;
use super::identities::Networks;
use super::line::{Direction, Line, Part, Said};
use super::{Out, Snapshot};
use crate::base::{IdentityIx, Moment, Name};
use crate::config::operating::ApiSettings;
use crate::config::settings::{AlarmTarget, AlarmWay};
use crate::identity::Side;

pub(super) fn compare(old: &Snapshot, new: &Snapshot, out: &mut Out) {
    operators(old, new, out);
    api(old, new, out);
    alarms(old, new, out);
}

fn operators(old: &Snapshot, new: &Snapshot, out: &mut Out) {
    let line =
        |direction, what, name: &Name| Line::new(direction, Part::Operator, what).about(name);
    let find =
        |of: &Snapshot, name: &Name| of.operators.list.iter().position(|one| one.name == *name);
    for (place, now) in new.operators.list.iter().enumerate() {
        let Some(at) = find(old, &now.name) else {
            let line = line(Direction::Widens, "added", &now.name);
            out.add(line.is(now.role.as_str()));
            continue;
        };
        let Some(was) = old.operators.list.get(at) else { continue };
        if was.role != now.role {
            let line = line(Direction::more(&was.role, &now.role), "role", &now.name);
            out.add(line.was(was.role.as_str()).is(now.role.as_str()));
        }
        // From when on: the end of the last day, or at once where disabled.
        let ends = |of: &Snapshot, place: usize| {
            let ix = IdentityIx(u32::try_from(place).unwrap_or(u32::MAX));
            let trust = of.operators.trust.as_ref();
            trust.map_or((false, 0), |trust| {
                (trust.may_enter(ix, Moment::new(0, 0)), trust.ends(ix))
            })
        };
        let (before, after) = (ends(old, at), ends(new, place));
        if before != after {
            out.add(line(Direction::more(&before, &after), "may act until", &now.name));
        }
    }
    for was in &old.operators.list {
        if find(new, &was.name).is_none() {
            out.add(line(Direction::Narrows, "removed", &was.name).was(was.role.as_str()));
        }
    }
    let (Some(before), Some(after)) = (&old.operators.trust, &new.operators.trust) else { return };
    for change in before.changed_credentials(after) {
        if find(old, &change.identity).is_none() || find(new, &change.identity).is_none() {
            continue;
        }
        let (direction, what) = match change.side {
            Side::Before => (Direction::Narrows, "loses a certificate"),
            Side::After => (Direction::Widens, "gains a certificate"),
        };
        out.add(line(direction, what, &change.identity));
    }
}

fn api(old: &Snapshot, new: &Snapshot, out: &mut Out) {
    let line = |direction, what| Line::new(direction, Part::Operator, what);
    let (was, now) = match (&old.api, &new.api) {
        (None, None) => return,
        (None, Some(now)) => {
            let line = line(Direction::Widens, "API added");
            return out.add(line.is(Said::place(now.address)));
        }
        (Some(was), None) => {
            let line = line(Direction::Narrows, "API removed");
            return out.add(line.was(Said::place(was.address)));
        }
        (Some(was), Some(now)) => (was, now),
    };
    if was.address != now.address {
        let (from, to) = (Said::place(was.address), Said::place(now.address));
        out.add(line(Direction::Neutral, "API address").was(from).is(to));
    }
    let (gained, lost) = Networks::new(old, new).difference(was.networks, now.networks);
    if !gained.is_empty() {
        let names = gained.into_iter().map(Said::from);
        out.add(line(Direction::Widens, "API admits").items(names));
    }
    if !lost.is_empty() {
        let names = lost.into_iter().map(Said::from);
        out.add(line(Direction::Narrows, "API admits no more").items(names));
    }
    let acts = |of: &ApiSettings| -> Vec<Said> {
        of.two_people.iter().map(|act| act.as_str().into()).collect()
    };
    // What needs a second person is harder to do.
    let told = ("needs no second person any more", "needs a second person");
    sets(&line, told, &acts(now), &acts(was), out);
    if was.confirm_within != now.confirm_within {
        let (from, to) = (Said::time(was.confirm_within), Said::time(now.confirm_within));
        out.add(line(Direction::Neutral, "second person within").was(from).is(to));
    }
    super::reach::tls(&was.tls, &now.tls, &line, out);
}

fn alarms(old: &Snapshot, new: &Snapshot, out: &mut Out) {
    let line = |direction, what| Line::new(direction, Part::Alarm, what);
    let (before, after) = (&old.alarms.targets, &new.alarms.targets);
    for now in after {
        match before.iter().find(|was| was.name == now.name) {
            None => {
                let line = line(Direction::Narrows, "told as well").about(&now.name);
                out.add(line.is(now.way.as_str()));
            }
            Some(was) => target(was, now, out),
        }
    }
    for was in before {
        if !after.iter().any(|now| now.name == was.name) {
            let line = line(Direction::Widens, "told no more").about(&was.name);
            out.add(line.was(was.way.as_str()));
        }
    }
    if old.alarms.windows != new.alarms.windows {
        let said = |of: &Snapshot| {
            Said::list([of.alarms.windows.first, of.alarms.windows.repeat].map(Said::time))
        };
        out.add(line(Direction::Neutral, "gathered for").was(said(old)).is(said(new)));
    }
}

fn target(was: &AlarmTarget, now: &AlarmTarget, out: &mut Out) {
    let line = |direction, what| Line::new(direction, Part::Alarm, what).about(&now.name);
    if was.way != now.way {
        let what = if same_place(&was.way, &now.way) { "secret" } else { "told elsewhere" };
        let (from, to) = (was.way.as_str(), now.way.as_str());
        out.add(line(Direction::Neutral, what).was(from).is(to));
    }
    if was.rules.min != now.rules.min {
        let (from, to) = (was.rules.min, now.rules.min);
        let line = line(Direction::more(&from, &to), "told from severity");
        out.add(line.was(from.as_str()).is(to.as_str()));
    }
    match (was.rules.quiet.is_some(), now.rules.quiet.is_some()) {
        (false, true) => out.add(line(Direction::Widens, "quiet hours")),
        (true, false) => out.add(line(Direction::Narrows, "no quiet hours any more")),
        _ if was.rules.quiet != now.rules.quiet => {
            out.add(line(Direction::Neutral, "other quiet hours"));
        }
        _ => {}
    }
    if (was.heartbeat, was.timeout) != (now.heartbeat, now.timeout) {
        let said = |of: &AlarmTarget| Said::list([of.heartbeat, of.timeout].map(Said::time));
        out.add(line(Direction::Neutral, "heartbeat and timeout").was(said(was)).is(said(now)));
    }
}

fn same_place(was: &AlarmWay, now: &AlarmWay) -> bool {
    match (was, now) {
        (AlarmWay::Webhook { to: one, .. }, AlarmWay::Webhook { to: other, .. })
        | (AlarmWay::Alertmanager { to: one, .. }, AlarmWay::Alertmanager { to: other, .. }) => {
            one == other
        }
        _ => was == now,
    }
}
