//! What takes a fresh login, and which logins count (ACC-4).
use std::collections::HashSet;

use super::access::sets;
use super::line::{Direction, Line, Part, Said};
use super::{Out, Snapshot};
use crate::base::{IdentityIx, Name, OperationIx, RoleIx};
use crate::identity::StrongLogin;

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
    let StrongLogin { methods: _, classes: _ } = now;
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

/// What takes a fresh login because of somebody's roles: who holds another role, or one that grants
/// something else, may be asked less although the call is the same.
pub(super) struct ByRole<'s> {
    old: &'s Snapshot,
    new: &'s Snapshot,
    both: Vec<Both<'s>>,
}

/// An operation of both configurations that a role may make one for.
struct Both<'s> {
    name: &'s Name,
    was: OperationIx,
    now: OperationIx,
    /// The roles that grant it, sorted.
    granted_before: Vec<RoleIx>,
    granted: Vec<RoleIx>,
}

impl<'s> ByRole<'s> {
    pub(super) fn new(old: &'s Snapshot, new: &'s Snapshot) -> Self {
        let mut both = Vec::new();
        if !old.step_up.roles().is_empty() || !new.step_up.roles().is_empty() {
            // What takes one whoever asks is told of apart.
            let [always_before, always] =
                [old, new].map(|of| of.step_up.operations().collect::<HashSet<_>>());
            for (now, operation) in new.policy.operations().iter() {
                let name = &operation.name;
                let Some(was) = old.policy.operations().find(name.as_str()) else { continue };
                if always_before.contains(&was) || always.contains(&now) {
                    continue;
                }
                let granted_before = old.policy.roles_granting(was);
                let granted = new.policy.roles_granting(now);
                both.push(Both { name, was, now, granted_before, granted });
            }
        }
        Self { old, new, both }
    }

    /// For which operations somebody who may call them before and after needs none any more, and for
    /// which from now on.
    pub(super) fn change(&self, was: IdentityIx, now: IdentityIx) -> (Vec<Name>, Vec<Name>) {
        let (mut freed, mut asked) = (Vec::new(), Vec::new());
        let grants = |of: &Snapshot, ix, roles: &[RoleIx]| {
            of.policy.roles_of(ix).iter().any(|role| roles.binary_search(role).is_ok())
        };
        for one in &self.both {
            let due = |of: &Snapshot, ix, operation| of.step_up.is_due(&of.policy, ix, operation);
            let list = match (due(self.old, was, one.was), due(self.new, now, one.now)) {
                (true, false) => &mut freed,
                (false, true) => &mut asked,
                (true, true) | (false, false) => continue,
            };
            if grants(self.old, was, &one.granted_before) && grants(self.new, now, &one.granted) {
                list.push(one.name.clone());
            }
        }
        (freed, asked)
    }
}
