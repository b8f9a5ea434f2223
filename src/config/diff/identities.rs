//! Identities: who comes, who goes, who may do more or less (ACC-1, ACC-3, PRIV-1).
use std::collections::HashMap;

use super::line::{Direction, Effect, Line, NAMES_MAX, Part, Said};
use super::step_up::ByRole;
use super::{Out, Snapshot};
use crate::base::{IdentityIx, Name, NetworkIx, RoleIx};
use crate::config::settings::{Barred, IdentityKind, IdentitySettings};
use crate::identity::{Binding, CredentialKind, Side};
use crate::policy::{GrantChange, Grants, NetworkMask};

pub(super) fn compare(old: &Snapshot, new: &Snapshot, out: &mut Out) {
    let known: HashMap<&Name, IdentityIx> =
        old.names.identities.iter().zip((0..).map(IdentityIx)).collect();
    let pairs: Vec<(Option<IdentityIx>, IdentityIx)> = new
        .names
        .identities
        .iter()
        .zip((0..).map(IdentityIx))
        .map(|(name, ix)| (known.get(name).copied(), ix))
        .collect();
    come_and_gone(old, new, &pairs, out);
    let mut groups = Groups::default();
    let networks = Networks::new(old, new);
    let bounds = (Bounds::of(old), Bounds::of(new));
    for (was, ix) in &pairs {
        let Some(was) = *was else { continue };
        if let (Some(before), Some(after)) = (old.identity(was), new.identity(*ix)) {
            settings(before, after, bounds, |line| groups.add(line, *ix));
        }
        networks.of_identity(old.policy.networks_of(was), new.policy.networks_of(*ix), |line| {
            groups.add(line, *ix);
        });
    }
    let holders = Holders::new(new);
    groups.close(new, &holders, out);
    credentials(old, new, &known, out);
    grants(old, new, &pairs, &holders, out);
}

/// Identities that are there in one of the two only, by their roles.
fn come_and_gone(
    old: &Snapshot,
    new: &Snapshot,
    pairs: &[(Option<IdentityIx>, IdentityIx)],
    out: &mut Out,
) {
    let roles = |of: &Snapshot, ix: IdentityIx| -> Vec<Said> {
        of.policy.roles_of(ix).iter().filter_map(|ix| of.names.role(*ix)).map(Said::from).collect()
    };
    let mut groups = Groups::default();
    for (_, ix) in pairs.iter().filter(|(was, _)| was.is_none()) {
        let line = Line::new(Direction::Widens, Part::Identity, "added, with roles");
        groups.add(line.items(roles(new, *ix)), *ix);
    }
    groups.close(new, &Holders::default(), out);
    let kept: std::collections::HashSet<IdentityIx> =
        pairs.iter().filter_map(|(was, _)| *was).collect();
    let mut groups = Groups::default();
    for ix in (0..).map(IdentityIx).take(old.identities.len()).filter(|ix| !kept.contains(ix)) {
        let line = Line::new(Direction::Narrows, Part::Identity, "removed, with roles");
        groups.add(line.items(roles(old, ix)), ix);
    }
    groups.close(old, &Holders::default(), out);
}

/// The least and the most connections at a time that listeners let an identity have which says nothing
/// of it. Its own figure stands in the place of theirs.
#[derive(Clone, Copy)]
struct Bounds {
    least: u32,
    most: u32,
}

impl Bounds {
    fn of(snapshot: &Snapshot) -> Self {
        let all = snapshot.listeners.iter().map(|one| one.bounds.connections_per_identity);
        let least = all.clone().min().unwrap_or(0);
        Self { least, most: all.max().unwrap_or(u32::MAX) }
    }

    fn with(self, own: Option<u32>) -> Self {
        own.map_or(self, |own| Self { least: own, most: own })
    }
}

fn settings(
    old: &IdentitySettings,
    new: &IdentitySettings,
    (old_bounds, new_bounds): (Bounds, Bounds),
    mut add: impl FnMut(Line),
) {
    if old == new {
        return;
    }
    let IdentitySettings { kind: _, barred: _, connections: _, review_by_unix_day: _ } = new;
    let line = |direction, what| Line::new(direction, Part::Identity, what);
    let disabled =
        |of: &IdentitySettings| of.barred.iter().any(|why| matches!(why, Barred::Disabled(_)));
    match (disabled(old), disabled(new)) {
        (false, true) => add(line(Direction::Narrows, "disabled")),
        (true, false) => add(line(Direction::Widens, "enabled again")),
        (false, false) | (true, true) => {}
    }
    let foreign = |of: &IdentitySettings| {
        of.barred.iter().find_map(|why| match why {
            Barred::Environment(name) => Some(name.clone()),
            Barred::Disabled(_) | Barred::After(_) => None,
        })
    };
    match (foreign(old), foreign(new)) {
        (None, Some(name)) => {
            add(line(Direction::Narrows, "of another environment").is(&name));
        }
        (Some(name), None) => add(line(Direction::Widens, "of this environment").was(&name)),
        _ => {}
    }
    let last = |of: &IdentitySettings| {
        of.barred.iter().find_map(|why| match why {
            Barred::After(day) => Some(*day),
            Barred::Disabled(_) | Barred::Environment(_) => None,
        })
    };
    let (before, after) = (last(old), last(new));
    if before != after {
        // None is later than any day.
        let later = |day: Option<u32>| day.unwrap_or(u32::MAX);
        let said = |day: Option<u32>| day.map_or_else(|| Said::from("never"), Said::day);
        let direction = Direction::more(&later(before), &later(after));
        add(line(direction, "last day").was(said(before)).is(said(after)));
    }
    if old.connections != new.connections {
        let said =
            |most: Option<u32>| most.map_or_else(|| Said::from("the listener's"), Said::number);
        let (was, now) = (old_bounds.with(old.connections), new_bounds.with(new.connections));
        let effect = Effect { widens: now.most > was.least, narrows: now.least < was.most };
        for direction in effect.directions() {
            let line = line(direction, "connections at a time");
            add(line.was(said(old.connections)).is(said(new.connections)));
        }
    }
    if old.review_by_unix_day != new.review_by_unix_day {
        let said = |day: Option<u32>| day.map_or_else(|| Said::from("never"), Said::day);
        // Later is looked at later.
        let later = |day: Option<u32>| day.unwrap_or(u32::MAX);
        let (before, after) = (old.review_by_unix_day, new.review_by_unix_day);
        let direction = Direction::more(&later(before), &later(after));
        add(line(direction, "access review by").was(said(before)).is(said(after)));
    }
    if old.kind != new.kind {
        let said = |kind| match kind {
            IdentityKind::Service => "service",
            IdentityKind::Person => "person",
        };
        // A word for people.
        add(line(Direction::Neutral, "kind").was(said(old.kind)).is(said(new.kind)));
    }
}

/// Named networks of both, for comparing sets of them by name.
pub(super) struct Networks<'s> {
    old: &'s Snapshot,
    new: &'s Snapshot,
}

impl<'s> Networks<'s> {
    pub(super) const fn new(old: &'s Snapshot, new: &'s Snapshot) -> Self {
        Self { old, new }
    }

    fn names(of: &Snapshot, mask: NetworkMask) -> Vec<&Name> {
        let all = (0..=u8::MAX).map(NetworkIx).zip(&of.names.networks);
        all.filter(|(ix, _)| mask.contains(*ix)).map(|(_, name)| name).collect()
    }

    /// By name what the new set has more, and what it has less.
    pub(super) fn difference(
        &self,
        old: NetworkMask,
        new: NetworkMask,
    ) -> (Vec<&'s Name>, Vec<&'s Name>) {
        let (before, after) = (Self::names(self.old, old), Self::names(self.new, new));
        let gained = after.iter().filter(|name| !before.contains(name)).copied().collect();
        let lost = before.iter().filter(|name| !after.contains(name)).copied().collect();
        (gained, lost)
    }

    fn of_identity(&self, old: NetworkMask, new: NetworkMask, mut add: impl FnMut(Line)) {
        let (gained, lost) = self.difference(old, new);
        let line = |direction, what, names: Vec<&Name>| {
            let line = Line::new(direction, Part::Identity, what);
            line.items(names.into_iter().map(Said::from))
        };
        if !gained.is_empty() {
            add(line(Direction::Widens, "may come from", gained));
        }
        if !lost.is_empty() {
            add(line(Direction::Narrows, "may come no more from", lost));
        }
    }
}

/// Identities by what changes about them.
#[derive(Default)]
struct Groups {
    places: HashMap<Line, usize>,
    all: Vec<(Line, Vec<IdentityIx>)>,
}

impl Groups {
    fn add(&mut self, line: Line, ix: IdentityIx) {
        let place = *self.places.entry(line).or_insert_with_key(|line| {
            self.all.push((line.clone(), Vec::new()));
            self.all.len() - 1
        });
        if let Some((_, members)) = self.all.get_mut(place) {
            members.push(ix);
        }
    }

    fn close(self, of: &Snapshot, holders: &Holders<'_>, out: &mut Out) {
        for (line, members) in self.all {
            out.add(holders.named(line, of, &members));
        }
    }
}

/// How many identities hold each role.
#[derive(Default)]
struct Holders<'s> {
    counts: Vec<usize>,
    of: Option<&'s Snapshot>,
}

impl<'s> Holders<'s> {
    fn new(of: &'s Snapshot) -> Self {
        let mut counts = vec![0; of.names.roles.len()];
        for ix in (0..).map(IdentityIx).take(of.identities.len()) {
            for role in of.policy.roles_of(ix) {
                if let Some(count) = counts.get_mut(role.index()) {
                    *count += 1;
                }
            }
        }
        Self { counts, of: Some(of) }
    }

    /// Names some of the identities, and the role whose holders they are, if they are exactly they.
    fn named(&self, mut line: Line, of: &Snapshot, members: &[IdentityIx]) -> Line {
        line.count = members.len();
        line.names = members
            .iter()
            .take(NAMES_MAX)
            .filter_map(|ix| of.names.identity(*ix).cloned())
            .collect();
        if members.len() > 1 {
            line.of_role = self.role_of(members).cloned();
        }
        line
    }

    fn role_of(&self, members: &[IdentityIx]) -> Option<&'s Name> {
        let of = self.of?;
        let holds = |ix: &IdentityIx, role| of.policy.roles_of(*ix).contains(role);
        let of_first = of.policy.roles_of(*members.first()?);
        let role = of_first.iter().find(|role| {
            self.counts.get(role.index()) == Some(&members.len())
                && members.iter().all(|ix| holds(ix, role))
        })?;
        of.names.role(*role)
    }
}

fn credentials(old: &Snapshot, new: &Snapshot, known: &HashMap<&Name, IdentityIx>, out: &mut Out) {
    let after: HashMap<&Name, IdentityIx> =
        new.names.identities.iter().zip((0..).map(IdentityIx)).collect();
    let mut groups = Groups::default();
    for change in old.trust.changed_credentials(&new.trust) {
        // Those who come or go are told of as a whole.
        let (true, Some(ix)) = (known.contains_key(&change.identity), after.get(&change.identity))
        else {
            continue;
        };
        let (direction, what) = match change.side {
            Side::Before => (Direction::Narrows, "loses a credential"),
            Side::After => (Direction::Widens, "gains a credential"),
        };
        let kind = match change.kind {
            CredentialKind::SanUri => "certificate, URI",
            CredentialKind::SanDns => "certificate, DNS name",
            CredentialKind::SpkiSha256 => "certificate, key",
            CredentialKind::Token => "token",
        };
        groups.add(Line::new(direction, Part::Credential, what).items([kind.into()]), *ix);
    }
    for change in old.trust.changed_bindings(&new.trust) {
        let Some(ix) = after.get(&change.identity) else { continue };
        let (direction, what) = match change.to {
            Binding::Bearer => (Direction::Widens, "token need not be bound to a certificate"),
            Binding::Certificate => (Direction::Narrows, "token has to be bound to a certificate"),
        };
        groups.add(Line::new(direction, Part::Credential, what), *ix);
    }
    for (identity, side) in old.trust.changed_demands(&new.trust) {
        let Some(ix) = after.get(&identity) else { continue };
        let (direction, what) = match side {
            Side::Before => (Direction::Widens, "certificate or token is enough"),
            Side::After => (Direction::Narrows, "certificate and token are needed"),
        };
        groups.add(Line::new(direction, Part::Credential, what), *ix);
    }
    groups.close(new, &Holders::default(), out);
}

/// Roles before and after of one identity; the same question for all that share them.
type Question<'s> = (&'s [RoleIx], &'s [RoleIx]);
/// What is granted, and what takes a fresh login by it no more or from now on.
type Answer = (GrantChange, (Vec<Name>, Vec<Name>));

fn grants(
    old: &Snapshot,
    new: &Snapshot,
    pairs: &[(Option<IdentityIx>, IdentityIx)],
    holders: &Holders<'_>,
    out: &mut Out,
) {
    let both = Grants::new(&old.policy, &new.policy);
    let roles: HashMap<&Name, RoleIx> = old.names.roles.iter().zip((0..).map(RoleIx)).collect();
    let same: Vec<Option<RoleIx>> = new
        .names
        .roles
        .iter()
        .zip((0..).map(RoleIx))
        .map(|(name, ix)| roles.get(name).copied().filter(|was| both.is_same(*was, ix)))
        .collect();
    let mut questions: HashMap<Question<'_>, (IdentityIx, Vec<IdentityIx>)> = HashMap::new();
    for (was, ix) in pairs {
        let Some(was) = *was else { continue };
        let (before, after) = (old.policy.roles_of(was), new.policy.roles_of(*ix));
        let is_same =
            |(was, ix): (&RoleIx, &RoleIx)| same.get(ix.index()).copied().flatten() == Some(*was);
        // In the same order, because each list is sorted by its configuration's order of roles; where
        // that changed, the question is asked.
        if before.len() == after.len() && before.iter().zip(after).all(is_same) {
            continue;
        }
        questions.entry((before, after)).or_insert((was, Vec::new())).1.push(*ix);
    }
    let by_role = ByRole::new(old, new);
    let mut answers: HashMap<Answer, Vec<IdentityIx>> = HashMap::new();
    for ((before, after), (was, members)) in questions {
        let demands = members.first().map(|now| by_role.change(was, *now)).unwrap_or_default();
        let answer = (both.change(before, after), demands);
        if answer != Answer::default() {
            answers.entry(answer).or_default().extend(members);
        }
    }
    for ((change, (freed, asked)), mut members) in answers {
        members.sort_unstable();
        for (direction, part, what, operations) in [
            (Direction::Widens, Part::Grant, "gains", &change.gained),
            (Direction::Widens, Part::Grant, "more queries pass for", &change.wider),
            (Direction::Widens, Part::StepUp, "no fresh login any more for", &freed),
            (Direction::Narrows, Part::Grant, "loses", &change.lost),
            (Direction::Narrows, Part::Grant, "fewer queries pass for", &change.narrower),
            (Direction::Narrows, Part::StepUp, "a fresh login for", &asked),
        ] {
            if !operations.is_empty() {
                let line = Line::new(direction, part, what);
                let line = line.items(operations.iter().map(Said::from));
                out.add(holders.named(line, new, &members));
            }
        }
    }
}
