//! What one set of roles grants against what another one does, in two policies (PRIV-1). Where it can't
//! be proved that nothing was added, something was.
use std::collections::HashMap;

use super::super::operation::OperationSet;
use super::super::query::{Presence, QueryLimit};
use super::{Policy, Role};
use crate::base::{Name, OperationIx, RoleIx};

/// How grants differ, by the names of operations; each list in the order of the catalogue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct GrantChange {
    pub gained: Vec<Name>,
    pub lost: Vec<Name>,
    /// Granted before and after; some queries pass now that did not.
    pub wider: Vec<Name>,
    /// Some queries that passed do not now. An operation may be among both.
    pub narrower: Vec<Name>,
}

impl GrantChange {
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.gained.is_empty()
            && self.lost.is_empty()
            && self.wider.is_empty()
            && self.narrower.is_empty()
    }
}

/// Two policies, made comparable: both number the operations of both alike.
#[derive(Debug)]
pub struct Grants<'p> {
    names: Vec<&'p Name>,
    old: Side<'p>,
    new: Side<'p>,
}

#[derive(Debug)]
struct Side<'p> {
    roles: Vec<Compared<'p>>,
}

/// One role in the common numbers.
#[derive(Debug)]
struct Compared<'p> {
    name: &'p Name,
    granted: OperationSet,
    /// Operations with at least one limit.
    limited: OperationSet,
    limits: Vec<(OperationSet, &'p QueryLimit)>,
}

impl<'p> Side<'p> {
    fn of(policy: &'p Policy, numbers: &HashMap<&'p Name, OperationIx>, count: usize) -> Self {
        let to: Vec<Option<OperationIx>> =
            policy.operations.iter().map(|(_, one)| numbers.get(&one.name).copied()).collect();
        let moved = |set: &OperationSet| {
            let mut moved = OperationSet::empty(count);
            for (ix, to) in (0..).map(OperationIx).zip(&to) {
                if let Some(to) = to.filter(|_| set.contains(ix)) {
                    moved.insert(to);
                }
            }
            moved
        };
        let role = |role: &'p Role| {
            let limits: Vec<_> =
                role.limits.iter().map(|one| (moved(&one.operations), &one.limit)).collect();
            let mut limited = OperationSet::empty(count);
            for (set, _) in &limits {
                limited.insert_all(set);
            }
            Compared { name: &role.name, granted: moved(&role.granted), limited, limits }
        };
        Self { roles: policy.roles.iter().map(role).collect() }
    }

    fn all<'s>(&'s self, roles: &'s [RoleIx]) -> impl Iterator<Item = &'s Compared<'p>> {
        roles.iter().filter_map(|ix| self.roles.get(ix.index()))
    }

    fn granted(&self, roles: &[RoleIx], count: usize) -> OperationSet {
        let mut granted = OperationSet::empty(count);
        self.all(roles).for_each(|role| granted.insert_all(&role.granted));
        granted
    }

    /// One entry for each role that grants the operation: the limits that it puts on it. `None` if one
    /// of them puts none.
    fn levels(&self, roles: &[RoleIx], operation: OperationIx) -> Option<Vec<Vec<&'p QueryLimit>>> {
        let mut levels = Vec::new();
        for role in self.all(roles).filter(|role| role.granted.contains(operation)) {
            if !role.limited.contains(operation) {
                return None;
            }
            let limits = role.limits.iter().filter(|(set, _)| set.contains(operation));
            levels.push(limits.map(|(_, limit)| *limit).collect());
        }
        Some(levels)
    }
}

impl<'p> Grants<'p> {
    #[must_use]
    pub fn new(old: &'p Policy, new: &'p Policy) -> Self {
        let mut names: Vec<&Name> = new.operations.iter().map(|(_, one)| &one.name).collect();
        let gone = old.operations.iter().map(|(_, one)| &one.name);
        names.extend(gone.filter(|name| new.operations.find(name.as_str()).is_none()));
        let numbers: HashMap<&Name, OperationIx> =
            names.iter().copied().zip((0..).map(OperationIx)).collect();
        let count = names.len();
        let (old, new) = (Side::of(old, &numbers, count), Side::of(new, &numbers, count));
        Self { names, old, new }
    }

    /// Whether two roles grant the same in the same way.
    #[must_use]
    pub fn is_same(&self, old: RoleIx, new: RoleIx) -> bool {
        let pair = self.old.roles.get(old.index()).zip(self.new.roles.get(new.index()));
        pair.is_some_and(|(old, new)| {
            old.name == new.name && old.granted == new.granted && old.limits == new.limits
        })
    }

    /// What somebody who held the one set of roles gains and loses by holding the other.
    #[must_use]
    pub fn change(&self, old: &[RoleIx], new: &[RoleIx]) -> GrantChange {
        let count = self.names.len();
        let (before, after) = (self.old.granted(old, count), self.new.granted(new, count));
        let mut change = GrantChange::default();
        for (ix, name) in (0..).map(OperationIx).zip(&self.names) {
            let list = match (before.contains(ix), after.contains(ix)) {
                (false, false) => continue,
                (false, true) => &mut change.gained,
                (true, false) => &mut change.lost,
                (true, true) => {
                    self.levels((old, new), ix, name, &mut change);
                    continue;
                }
            };
            list.push((*name).clone());
        }
        change
    }

    fn levels(
        &self,
        (old, new): (&[RoleIx], &[RoleIx]),
        ix: OperationIx,
        name: &Name,
        change: &mut GrantChange,
    ) {
        let (wider, narrower) = match (self.old.levels(old, ix), self.new.levels(new, ix)) {
            (None, None) => (false, false),
            (None, Some(_)) => (false, true),
            (Some(_), None) => (true, false),
            (Some(before), Some(after)) => {
                (!all_within(&after, &before), !all_within(&before, &after))
            }
        };
        if wider {
            change.wider.push(name.clone());
        }
        if narrower {
            change.narrower.push(name.clone());
        }
    }
}

type Level<'p> = Vec<&'p QueryLimit>;

/// Whether whatever passes one of the first passes one of the others.
fn all_within(first: &[Level<'_>], others: &[Level<'_>]) -> bool {
    let within = |one: &Level<'_>, other: &Level<'_>| {
        other.iter().all(|loose| one.iter().any(|strict| implies(strict, loose)))
    };
    first.iter().all(|one| others.iter().any(|other| within(one, other)))
}

/// Whether whoever keeps to the one limit keeps to the other.
fn implies(strict: &QueryLimit, loose: &QueryLimit) -> bool {
    match (strict, loose) {
        (QueryLimit::Denied { parameter: one }, QueryLimit::Denied { parameter: other }) => {
            one == other
        }
        // Who must leave it out sends no wrong value.
        (
            QueryLimit::Denied { parameter: one },
            QueryLimit::Values { parameter: other, presence: Presence::Optional, .. },
        ) => one == other,
        (
            QueryLimit::Values { parameter: one, values: few, presence },
            QueryLimit::Values { parameter: other, values: many, presence: asked },
        ) => {
            one == other
                && (*presence == Presence::Required || *asked == Presence::Optional)
                && few.iter().all(|value| many.iter().any(|glob| glob.covers(value)))
        }
        (QueryLimit::Denied { .. }, QueryLimit::Values { presence: Presence::Required, .. })
        | (QueryLimit::Values { .. }, QueryLimit::Denied { .. }) => false,
    }
}
