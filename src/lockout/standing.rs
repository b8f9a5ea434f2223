//! The table compiled for the request path: read by index, never written.
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::time::Duration;

use crate::base::{IdentityIx, Moment, Name, OperationIx, Shape, SourceRange, UpstreamIx};

use super::entry::{Author, Entry, Grounds};
use super::ranges::Ranges;
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
    /// Whether it is slowed down as well, whatever else holds.
    pub is_slowed: bool,
    /// What meets the step-ups that hold.
    pub demand: Demand,
    pub on_probation: bool,
}

/// When a step ends, on the monotonic clock, and why it is taken. Zero: it is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct End {
    ns: u64,
    cause: Option<Cause>,
}

/// One end per step, from slow to kill.
type Ends = [End; 4];

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Hold {
    /// For everybody.
    all: Ends,
    /// For those who prove nothing.
    unproved: Ends,
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

type Shard = HashMap<u64, Hold, BuildHasherDefault<AsIs>>;

/// Parts of one map: who changes one copies the rest of its part and no other.
const SHARDS: usize = 64;

/// Holds by keyed hash, or by place in a list. A copy shares its parts.
#[derive(Clone, Debug, Default)]
struct Holds {
    /// None where there is nothing.
    shards: Option<Arc<[Arc<Shard>; SHARDS]>>,
    count: usize,
}

/// All that holds, under one configuration. Immutable: a change of the table makes another, which
/// shares what did not change.
#[derive(Clone, Debug, Default)]
pub struct Standings {
    identities: Holds,
    operations: Holds,
    upstreams: Holds,
    sources: Holds,
    accounts: Holds,
    orders: Holds,
    tokens: Holds,
    ranges: Ranges,
}

impl Standings {
    /// Subjects whose names this configuration does not have are left out; the table keeps them.
    pub fn compile(table: &LockTable, places: Places<'_>, now: Moment) -> Self {
        let mut all = Self::default();
        for (subject, entry) in &table.entries {
            all.put(subject, Some(entry), places, now);
        }
        all
    }

    /// The same, where these subjects may have changed.
    #[must_use]
    pub fn changed<'s>(
        &self,
        table: &LockTable,
        subjects: impl Iterator<Item = &'s Subject>,
        places: Places<'_>,
        now: Moment,
    ) -> Self {
        let mut all = self.clone();
        for subject in subjects {
            all.put(subject, table.entries.get(subject), places, now);
        }
        all
    }

    fn put(&mut self, subject: &Subject, entry: Option<&Entry>, places: Places<'_>, now: Moment) {
        let hold = entry.and_then(|entry| Hold::of(subject, entry, now));
        let (holds, key) = match subject {
            Subject::Identity(name) => {
                (&mut self.identities, places.identities.get(name).map(|ix| spread(ix.index())))
            }
            Subject::Operation(name) => {
                (&mut self.operations, places.operations.get(name).map(|ix| spread(ix.index())))
            }
            Subject::Upstream(name) => {
                (&mut self.upstreams, places.upstreams.get(name).map(|ix| spread(ix.index())))
            }
            Subject::Source(hash) => (&mut self.sources, Some(*hash)),
            Subject::Account(hash) => (&mut self.accounts, Some(*hash)),
            Subject::Order(hash) => (&mut self.orders, Some(*hash)),
            Subject::Token(hash) => (&mut self.tokens, Some(*hash)),
            Subject::Network(range) => return self.ranges.put(*range, hold),
        };
        if let Some(key) = key {
            holds.put(key, hold);
        }
    }

    /// Whether an identity is killed.
    pub fn is_killed(&self, identity: IdentityIx, now: Moment) -> bool {
        is_killed(self.identities.at(spread(identity.index())), now)
    }

    /// Whether a source of logins is killed, by its hash.
    pub fn is_source_killed(&self, source: u64, now: Moment) -> bool {
        is_killed(self.sources.at(source), now)
    }

    /// Whether an order is locked, by its hash.
    pub fn is_order_locked(&self, order: u64, now: Moment) -> bool {
        is_locked(self.orders.at(order), now)
    }

    /// Whether a token is locked, by the hash of its id.
    pub fn is_token_locked(&self, token: u64, now: Moment) -> bool {
        is_locked(self.tokens.at(token), now)
    }

    /// Tokens that are locked here and were not in `before`.
    pub fn tokens_since<'t>(
        &'t self,
        before: &'t Self,
        now: Moment,
    ) -> impl Iterator<Item = u64> + 't {
        let keys = self.tokens.keys_of_changed(&before.tokens);
        keys.filter(move |key| {
            is_locked(self.tokens.at(*key), now) && !is_locked(before.tokens.at(*key), now)
        })
    }

    /// The locked network that somebody is in, who is in those that `of` says.
    pub fn locked_range(
        &self,
        of: impl Fn(Shape) -> Option<SourceRange>,
        now: Moment,
    ) -> Option<SourceRange> {
        self.ranges.locked(of, now)
    }

    /// Whether anything holds for a network.
    pub const fn holds_ranges(&self) -> bool {
        !self.ranges.is_empty()
    }

    /// Whether the same holds for networks as there.
    pub fn shares_ranges(&self, other: &Self) -> bool {
        self.ranges.is_shared(&other.ranges)
    }

    /// Whether any order is locked.
    pub fn holds_orders(&self) -> bool {
        self.orders.count > 0
    }

    /// The strictest of all that holds for a request. No lock, no allocation; six look-ups.
    pub fn standing(&self, asked: &Asked, now: Moment) -> Standing {
        let own = asked.identity.and_then(|ix| self.identities.at(spread(ix.index())));
        let holds = [
            own,
            asked.operation.and_then(|ix| self.operations.at(spread(ix.index()))),
            asked.upstream.and_then(|ix| self.upstreams.at(spread(ix.index()))),
            self.sources.at(asked.source),
            asked.account.and_then(|account| self.accounts.at(account)),
            asked.order.and_then(|order| self.orders.at(order)),
        ];
        let mut standing = Standing {
            on_probation: own.is_some_and(|hold| hold.probation_ns > now.mono_ns()),
            ..Standing::default()
        };
        let mut longest = 0;
        for hold in holds.into_iter().flatten() {
            let Some((step, cause, end)) = hold.hardest(asked.trust, now) else { continue };
            standing.is_slowed |= hold.is_slowed(asked.trust, now);
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
        match self.identities.at(spread(identity.index())) {
            Some(hold) if hold.probation_ns > now.mono_ns() => Probation::Running,
            _ => Probation::Over,
        }
    }
}

const STEPS: [Step; 4] = [Step::Slow, Step::StepUp, Step::Lock, Step::Kill];

impl Hold {
    fn of(subject: &Subject, entry: &Entry, now: Moment) -> Option<Self> {
        let mut hold = Self::default();
        // Nobody is judged by the probation of anything else, and what is looked for must be locked.
        if let (Subject::Identity(_), Some(release)) = (subject, &entry.release)
            && !release.probation.is_past(now)
        {
            hold.probation_ns = release.probation.mono_ns();
        }
        let mut anything = hold.probation_ns > 0;
        for (Grounds { step, cause, author, .. }, lock) in entry.held(now) {
            let (step, cause) = (*step, *cause);
            anything = true;
            let spares_the_proved = match (subject, author) {
                // Somebody else behind the same address must not keep a proved caller out.
                (Subject::Source(_), Author::Detector) => true,
                // What names a proof was asked for somebody who had one: an earlier version wrote strangers'
                // guesses over it.
                _ => cause == Cause::Strangers && lock.shown.is_none(),
            };
            if step == Step::StepUp && !spares_the_proved {
                hold.demand = hold.demand.and(Demand::of(lock));
            }
            let ends = if spares_the_proved { &mut hold.unproved } else { &mut hold.all };
            for (end, _) in ends.iter_mut().zip(STEPS).filter(|(_, own)| *own == step) {
                if lock.until.mono_ns() > end.ns {
                    *end = End { ns: lock.until.mono_ns(), cause: Some(cause) };
                }
            }
        }
        anything.then_some(hold)
    }

    fn hardest(&self, trust: Trust, now: Moment) -> Option<(Step, Cause, u64)> {
        let ends = self.all.iter().zip(&self.unproved).zip(STEPS);
        ends.rev().find_map(|((all, unproved), step)| {
            let counts = trust == Trust::Stranger && unproved.ns > all.ns;
            let end = if counts { unproved } else { all };
            let cause = end.cause.unwrap_or(Cause::Emergency);
            (end.ns > now.mono_ns()).then_some((step, cause, end.ns))
        })
    }

    fn is_slowed(&self, trust: Trust, now: Moment) -> bool {
        let ([all, ..], [unproved, ..]) = (&self.all, &self.unproved);
        let unproved = if trust == Trust::Stranger { unproved.ns } else { 0 };
        unproved.max(all.ns) > now.mono_ns()
    }
}

impl Holds {
    fn at(&self, key: u64) -> Option<&Hold> {
        // Almost always there is nothing to look up.
        self.shards.as_ref()?.get(shard(key))?.get(&key)
    }

    fn put(&mut self, key: u64, hold: Option<Hold>) {
        if self.at(key).is_none() && hold.is_none() {
            return;
        }
        let shards = self
            .shards
            .get_or_insert_with(|| Arc::new(std::array::from_fn(|_| Arc::new(Shard::default()))));
        let Some(shard) = Arc::make_mut(shards).get_mut(shard(key)) else { return };
        let shard = Arc::make_mut(shard);
        let was = match hold {
            Some(hold) => shard.insert(key, hold),
            None => shard.remove(&key),
        };
        match (was, hold) {
            (None, Some(_)) => self.count = self.count.saturating_add(1),
            (Some(_), None) => self.count = self.count.saturating_sub(1),
            (Some(_), Some(_)) | (None, None) => {}
        }
        if self.count == 0 {
            self.shards = None;
        }
    }

    /// Keys of parts that are others than before.
    fn keys_of_changed<'h>(&'h self, before: &'h Self) -> impl Iterator<Item = u64> + 'h {
        let own = self.shards.iter().flat_map(|shards| shards.iter().enumerate());
        own.filter(|(place, own)| {
            let theirs = before.shards.as_ref().and_then(|shards| shards.get(*place));
            theirs.is_none_or(|theirs| !Arc::ptr_eq(own, theirs))
        })
        .flat_map(|(_, own)| own.keys())
        .copied()
    }
}

/// A part by bits that the map inside of it does not go by.
fn shard(key: u64) -> usize {
    usize::try_from(key >> 40).unwrap_or(0) % SHARDS
}

/// Places in a list as if they were hashes (Fibonacci's multiplier).
fn spread(index: usize) -> u64 {
    (index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn is_killed(hold: Option<&Hold>, now: Moment) -> bool {
    let hardest = hold.and_then(|hold| hold.hardest(Trust::Proof, now));
    hardest.is_some_and(|(step, _, _)| step == Step::Kill)
}

pub(super) fn is_locked(hold: Option<&Hold>, now: Moment) -> bool {
    let hardest = hold.and_then(|hold| hold.hardest(Trust::Proof, now));
    hardest.is_some_and(|(step, _, _)| step >= Step::Lock)
}
