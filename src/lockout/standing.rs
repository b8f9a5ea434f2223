//! The table compiled for the request path: read by index, never written.
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::time::Duration;

use crate::base::{IdentityIx, Moment, Name, OperationIx, UpstreamIx};

use super::entry::{Author, Entry};
use super::table::{LockTable, Subject};
use super::{Cause, Demand, Probation, Step, Trust};

/// Where one configuration keeps its names.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    pub identities: &'a BTreeMap<Name, IdentityIx>,
    pub operations: &'a BTreeMap<Name, OperationIx>,
    pub upstreams: &'a BTreeMap<Name, UpstreamIx>,
}

/// Whose standing is asked for. Hashes are the table's.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    pub identity: Option<IdentityIx>,
    pub trust: Trust,
    pub source: u64,
    pub operation: Option<OperationIx>,
    pub upstream: Option<UpstreamIx>,
    pub account: Option<u64>,
    pub order: Option<u64>,
}

/// What holds for a request. The default is that nothing does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The hardest step that holds, and why.
    pub step: Option<(Step, Cause)>,
    /// How long that step still holds; none if until it is released.
    pub left: Option<Duration>,
    /// What meets the step-ups that hold.
    pub demand: Demand,
    pub on_probation: bool,
}

/// One end per step from slow to kill, on the monotonic clock, and its cause. Zero: no lock.
#[derive(Clone, Copy, Debug, Default)]
struct Ends([u64; 4]);

#[derive(Clone, Copy, Debug, Default)]
struct Hold {
    /// For everybody.
    all: Ends,
    /// For those who prove nothing.
    unproved: Ends,
    causes: [Option<Cause>; 4],
    /// Of all step-ups for everybody.
    demand: Demand,
    probation_ns: u64,
}

/// A keyed hash spreads already, and nobody outside can choose one.
#[derive(Clone, Copy, Debug, Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 ^= value;
    }
}

type ByHash = HashMap<u64, Hold, BuildHasherDefault<AsIs>>;

/// Holds by place in a list; places without one cost four bytes.
#[derive(Debug, Default)]
struct ByIndex {
    /// Place in `holds`, counted from one.
    places: Box<[u32]>,
    holds: Vec<Hold>,
}

/// All that holds, under one configuration. Immutable: a change of the table makes another.
#[derive(Debug, Default)]
pub struct Standings {
    identities: ByIndex,
    operations: ByIndex,
    upstreams: ByIndex,
    sources: ByHash,
    accounts: ByHash,
    orders: ByHash,
    tokens: ByHash,
}

impl Standings {
    /// Subjects whose names this configuration does not have are left out; the table keeps them.
    pub fn compile(table: &LockTable, places: Places<'_>, now: Moment) -> Self {
        let mut all = Self {
            identities: ByIndex::new(places.identities.len()),
            operations: ByIndex::new(places.operations.len()),
            upstreams: ByIndex::new(places.upstreams.len()),
            ..Self::default()
        };
        for (subject, entry) in &table.entries {
            let Some(hold) = Hold::of(subject, entry, now) else { continue };
            match subject {
                Subject::Identity(name) => {
                    all.identities.put(places.identities.get(name).map(|ix| ix.index()), hold);
                }
                Subject::Operation(name) => {
                    all.operations.put(places.operations.get(name).map(|ix| ix.index()), hold);
                }
                Subject::Upstream(name) => {
                    all.upstreams.put(places.upstreams.get(name).map(|ix| ix.index()), hold);
                }
                Subject::Source(hash) => drop(all.sources.insert(*hash, hold)),
                Subject::Account(hash) => drop(all.accounts.insert(*hash, hold)),
                Subject::Order(hash) => drop(all.orders.insert(*hash, hold)),
                Subject::Token(hash) => drop(all.tokens.insert(*hash, hold)),
            }
        }
        all
    }

    /// Whether an order is locked, by its hash.
    pub fn is_order_locked(&self, order: u64, now: Moment) -> bool {
        is_locked(by_hash(&self.orders, Some(order)), now)
    }

    /// Whether a token is locked, by the hash of its id.
    pub fn is_token_locked(&self, token: u64, now: Moment) -> bool {
        is_locked(by_hash(&self.tokens, Some(token)), now)
    }

    /// Tokens that are locked here and not in `before`.
    pub fn tokens_since<'t>(&'t self, before: &'t Self) -> impl Iterator<Item = u64> + 't {
        self.tokens.keys().filter(|token| !before.tokens.contains_key(token)).copied()
    }

    /// Whether any order is locked.
    pub fn holds_orders(&self) -> bool {
        !self.orders.is_empty()
    }

    /// The strictest of all that holds for a request. No lock, no allocation; six look-ups.
    pub fn standing(&self, asked: &Asked, now: Moment) -> Standing {
        let own = asked.identity.and_then(|ix| self.identities.at(ix.index()));
        let holds = [
            own,
            asked.operation.and_then(|ix| self.operations.at(ix.index())),
            asked.upstream.and_then(|ix| self.upstreams.at(ix.index())),
            by_hash(&self.sources, Some(asked.source)),
            by_hash(&self.accounts, asked.account),
            by_hash(&self.orders, asked.order),
        ];
        let mut standing = Standing {
            on_probation: own.is_some_and(|hold| hold.probation_ns > now.mono_ns()),
            ..Standing::default()
        };
        let mut longest = 0;
        for hold in holds.into_iter().flatten() {
            let Some((step, cause, end)) = hold.hardest(asked.trust, now) else { continue };
            standing.demand = standing.demand.and(hold.demand);
            let last = standing.step.map_or((Step::Note, 0), |(step, _)| (step, longest));
            if (step, end) > last {
                longest = end;
                standing.step = Some((step, cause));
                standing.left = (end != u64::MAX)
                    .then(|| Duration::from_nanos(end.saturating_sub(now.mono_ns())));
            }
        }
        standing
    }

    /// For [`judge`](super::judge) and the login rules.
    pub fn probation(&self, identity: IdentityIx, now: Moment) -> Probation {
        match self.identities.at(identity.index()) {
            Some(hold) if hold.probation_ns > now.mono_ns() => Probation::Running,
            _ => Probation::Over,
        }
    }
}

const STEPS: [Step; 4] = [Step::Slow, Step::StepUp, Step::Lock, Step::Kill];

impl Hold {
    fn of(subject: &Subject, entry: &Entry, now: Moment) -> Option<Self> {
        let mut hold = Self::default();
        let release = entry.release.as_ref().filter(|release| !release.probation.is_past(now));
        hold.probation_ns = release.map_or(0, |release| release.probation.mono_ns());
        let mut anything = hold.probation_ns > 0;
        for (step, lock) in entry.held(now) {
            anything = true;
            let spares_the_proved = match (subject, &lock.author) {
                // Somebody else behind the same address must not keep a proved caller out.
                (Subject::Source(_), Author::Detector) => true,
                _ => lock.cause == Cause::Strangers,
            };
            if step == Step::StepUp && !spares_the_proved {
                hold.demand = hold.demand.and(Demand::of(lock));
            }
            let ends = if spares_the_proved { &mut hold.unproved } else { &mut hold.all };
            let places = ends.0.iter_mut().zip(&mut hold.causes).zip(STEPS);
            for ((end, cause), _) in places.filter(|(_, own)| *own == step) {
                if lock.until.mono_ns() > *end {
                    *end = lock.until.mono_ns();
                    *cause = Some(lock.cause);
                }
            }
        }
        anything.then_some(hold)
    }

    fn hardest(&self, trust: Trust, now: Moment) -> Option<(Step, Cause, u64)> {
        let ends = self.all.0.iter().zip(self.unproved.0).zip(self.causes).zip(STEPS);
        ends.rev().find_map(|(((all, unproved), cause), step)| {
            let unproved = if trust == Trust::Stranger { unproved } else { 0 };
            let end = unproved.max(*all);
            (end > now.mono_ns()).then_some((step, cause.unwrap_or(Cause::Emergency), end))
        })
    }
}

impl ByIndex {
    fn new(length: usize) -> Self {
        Self { places: vec![0; length].into_boxed_slice(), holds: Vec::new() }
    }

    fn put(&mut self, index: Option<usize>, hold: Hold) {
        if let Some(place) = index.and_then(|index| self.places.get_mut(index)) {
            self.holds.push(hold);
            *place = u32::try_from(self.holds.len()).unwrap_or(0);
        }
    }

    fn at(&self, index: usize) -> Option<&Hold> {
        let place = self.places.get(index).copied()?.checked_sub(1)?;
        self.holds.get(usize::try_from(place).ok()?)
    }
}

fn is_locked(hold: Option<&Hold>, now: Moment) -> bool {
    let hardest = hold.and_then(|hold| hold.hardest(Trust::Proof, now));
    hardest.is_some_and(|(step, _, _)| step >= Step::Lock)
}

fn by_hash(map: &ByHash, hash: Option<u64>) -> Option<&Hold> {
    // Almost always there is nothing to look up.
    if map.is_empty() { None } else { map.get(&hash?) }
}
