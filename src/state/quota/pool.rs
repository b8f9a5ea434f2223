//! A quota that several gateways share, as one of them sees it: units that it was given, to be spent
//! soon or lost, and what it has to tell. Pure but for the lock; who asks for units is elsewhere.
//!
//! What is spent here was given first, so the sum over all gateways is the quota. A gateway that can't
//! ask spends its own part of the rate, which it owes and tells afterwards.
mod back;
mod debts;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::fill::Fill;
use super::units::{Counts, FRESH_FOR, Units, ns};
use crate::base::Moment;
use crate::policy::Mode;

/// Units that were not spent by then go back. So over any time all gateways together spend what the
/// quota gives in so much more; one that falls silent keeps them, which are lost.
const GIVEN_FOR: Duration = Duration::from_secs(5);
/// Batches grow while one is used up faster than this.
const QUICK: Duration = Duration::from_secs(1);
/// After an asking that found no room it is asked again so much later, whoever waits for it.
const PUT_OFF: Duration = Duration::from_millis(100);
/// A batch of so many is asked for before the last one is used up.
const AHEAD: u32 = 4;
/// The longest debt of a part, in times it takes to come back.
const DEBT_MAX: u64 = 10;

/// Why there is no unit to spend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lack {
    /// There is none anywhere, for so long.
    Dry(Duration),
    /// Nobody has asked yet, or could be asked.
    Unasked,
}

/// What a charge was taken from, so that it can be taken back.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Taken {
    /// Nobody shares the quota.
    #[default]
    Nothing,
    /// A unit that was given. The mark is where it ends in the store's bucket.
    Given(u64),
    /// It is owed. The mark is where it ends in this gateway's part, if it has one.
    Owed(u64),
}

/// What the store gave.
#[derive(Clone, Copy, Debug)]
pub struct Given {
    pub units: u32,
    /// If it is none: until the next one comes back.
    pub wait: Duration,
    /// Until the quota would be full again.
    pub full_in: Duration,
}

/// What a gateway has of a quota.
#[derive(Clone, Copy, Debug)]
pub(super) struct Here {
    pub(super) whence: Whence,
    /// Requests, bytes or records.
    pub(super) left: u64,
    /// Until there is another one.
    pub(super) wait: Duration,
}

/// Where a gateway's units come from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Whence {
    Asked,
    Part(Units),
    Nothing,
}

/// Where units come from while they are not given on asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Supply {
    /// This part of the rate is this gateway's own meanwhile; it was empty at this moment.
    Part { units: Units, empty_at: Moment },
    /// From nowhere; worth another look in a second.
    Nothing,
}

#[derive(Debug)]
enum Source {
    Asked,
    Part { units: Units, fill: Fill, since_ns: u64 },
    Nothing,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Pool {
    state: Mutex<State>,
    /// Who asks; others wait for the answer.
    pub(super) turn: tokio::sync::Mutex<()>,
    /// Somebody is going to ask.
    pub(super) soon: AtomicBool,
    /// Requests that wait for a unit each, until they were answered.
    pub(super) waiting: AtomicU32,
}

#[derive(Debug)]
struct State {
    source: Source,
    given: u32,
    void_at_ns: u64,
    given_at_ns: u64,
    batch: u32,
    dry_until_ns: u64,
    /// Until then nothing else is believed: others may give back what they were given.
    sure_until_ns: u64,
    fresh_until_ns: u64,
    /// Nobody asks again before.
    again_at_ns: u64,
    /// The store's bucket, as last heard of, without what it is to have back.
    heard: Fill,
    /// What it is to have back of units that were given and became void, in time.
    back_ns: u64,
    /// Somebody looks after what is to go back.
    looked_after: bool,
    /// Spent and not told; below zero: given and not spent. In requests, bytes or records.
    owed: i64,
    /// The file says that something is owed.
    kept: bool,
    /// Nothing was left when this gateway last asked.
    dry: bool,
    /// Bytes or records that were spent since there was nothing left to spend.
    overdrawn: u64,
}

impl Default for State {
    fn default() -> Self {
        Self {
            source: Source::Asked,
            given: 0,
            void_at_ns: 0,
            given_at_ns: 0,
            batch: 1,
            dry_until_ns: 0,
            sure_until_ns: 0,
            fresh_until_ns: 0,
            again_at_ns: 0,
            heard: Fill::default(),
            back_ns: 0,
            looked_after: false,
            owed: 0,
            kept: false,
            dry: false,
            overdrawn: 0,
        }
    }
}

impl Pool {
    /// Whether one more request may go, as far as is known here. A limit on trial keeps nobody waiting,
    /// and so believes that there is nothing until one unit more comes back by time.
    pub(super) fn test(&self, units: &Units, mode: Mode, now: Moment) -> Result<(), Lack> {
        let mut state = self.state.lock();
        state.expire(units, now);
        let now_ns = now.mono_ns();
        if state.given > 0 {
            return Ok(());
        }
        let until = |at: u64| Lack::Dry(Duration::from_nanos(at.saturating_sub(now_ns)));
        let sure_until_ns = match mode {
            Mode::Enforced => state.sure_until_ns,
            Mode::Shadow => state.dry_until_ns,
        };
        match &state.source {
            Source::Asked if now_ns < sure_until_ns => Err(until(state.dry_until_ns)),
            Source::Asked
                if units.counts == Counts::Amounts
                    && (now_ns < state.fresh_until_ns || state.unspent(units) > 0) =>
            {
                Ok(())
            }
            Source::Asked | Source::Nothing => Err(Lack::Unasked),
            Source::Part { units, fill, .. } => {
                let room_at = room_at(units, fill);
                if room_at <= now_ns { Ok(()) } else { Err(until(room_at)) }
            }
        }
    }

    /// Spends so many requests, bytes or records. Says of what, and whether it is time to ask for more,
    /// or to tell.
    pub(super) fn take(&self, amount: u64, units: &Units, now: Moment) -> (Taken, bool) {
        let mut state = self.state.lock();
        let now_ns = now.mono_ns();
        if units.counts == Counts::Requests && state.given > 0 {
            state.given -= 1;
            // The last one that was given ends when the bucket is full.
            let later = units.interval_ns().wrapping_mul(u64::from(state.given));
            let low = state.given.saturating_mul(2) < state.batch
                && state.batch >= AHEAD
                && matches!(state.source, Source::Asked);
            return (Taken::Given(state.heard.mark().wrapping_sub(later)), low);
        }
        let mut mark = state.heard.mark();
        state.owed = state.owed.saturating_add_unsigned(amount);
        state.overdrawn = if state.lacks(now) { state.overdrawn.saturating_add(amount) } else { 0 };
        if let Source::Part { units, fill, .. } = &mut state.source {
            let takes = u128::from(amount) * u128::from(units.interval_ns());
            let takes = u64::try_from(takes / u128::from(units.grain.max(1))).unwrap_or(u64::MAX);
            let most = now_ns.saturating_add(units.drain_ns().saturating_mul(DEBT_MAX));
            fill.full_at_ns = fill.full_at_ns.max(now_ns).saturating_add(takes).min(most);
            mark = fill.mark();
        }
        // Who is going to tell tells of this too.
        let tell = matches!(state.source, Source::Asked) && !self.soon.load(Ordering::Acquire);
        (Taken::Owed(mark), tell)
    }

    /// How long to wait, if a step or more was spent of what nobody had left.
    pub(super) fn overdrawn(&self, step: u64, now: Moment) -> Option<Duration> {
        let state = self.state.lock();
        if state.overdrawn < step || !state.lacks(now) {
            return None;
        }
        let until_ns = match &state.source {
            Source::Asked => state.dry_until_ns,
            Source::Part { units, fill, .. } => room_at(units, fill),
            Source::Nothing => state.again_at_ns,
        };
        Some(Duration::from_nanos(until_ns.saturating_sub(now.mono_ns()).max(1)))
    }

    /// Whether asking is worth it: nothing is left, or little, or there is something to tell.
    pub(super) fn is_wanting(&self, units: &Units, now: Moment) -> bool {
        let mut state = self.state.lock();
        state.expire(units, now);
        let now_ns = now.mono_ns();
        match state.source {
            // Until it is told that there is somebody to ask.
            Source::Part { .. } => false,
            _ if now_ns < state.again_at_ns => false,
            Source::Nothing => true,
            Source::Asked => match units.counts {
                Counts::Requests => {
                    let low = state.given.saturating_mul(2) < state.batch.max(2);
                    let few = low || state.given < self.waiting.load(Ordering::Acquire);
                    state.owed > 0 || (few && state.sure_until_ns <= now_ns)
                }
                Counts::Amounts => {
                    state.told(units) > 0
                        || (state.fresh_until_ns <= now_ns
                            && state.sure_until_ns <= now_ns
                            && state.unspent(units) == 0)
                }
            },
        }
    }

    /// Units that are owed, and units to ask for.
    pub(super) fn ask(&self, units: &Units) -> (u32, u32) {
        let state = self.state.lock();
        let wanted = match units.counts {
            Counts::Requests => {
                let lacking = self.waiting.load(Ordering::Acquire).saturating_sub(state.given);
                state.batch.min(units.batch_max()).max(lacking).min(units.burst)
            }
            Counts::Amounts => u32::from(state.unspent(units) == 0),
        };
        (state.told(units), wanted)
    }

    /// What came of it: `told` units were charged, and what was given may be spent.
    pub(super) fn answered(&self, told: u32, given: Given, units: &Units, now: Moment) {
        let Given { units: given, wait, full_in } = given;
        let mut state = self.state.lock();
        let now_ns = now.mono_ns();
        state.heard.full_at_ns = now_ns.saturating_add(ns(full_in)).saturating_sub(state.back_ns);
        let grain = i64::try_from(units.grain).unwrap_or(i64::MAX);
        state.owed = state.owed.saturating_sub(i64::from(told).saturating_mul(grain));
        state.source = Source::Asked;
        state.again_at_ns = 0;
        // No unit takes longer to come back, whatever was said.
        let wait = ns(wait).min(units.interval_ns());
        let none = given == 0 && (units.counts == Counts::Requests || state.unspent(units) == 0);
        state.dry_until_ns = if none { now_ns.saturating_add(wait) } else { 0 };
        state.sure_until_ns = state.dry_until_ns.min(now_ns.saturating_add(ns(QUICK)));
        state.fresh_until_ns = now_ns.saturating_add(ns(FRESH_FOR));
        match units.counts {
            Counts::Amounts => {
                state.owed = state.owed.saturating_sub(i64::from(given).saturating_mul(grain));
                state.dry = none;
            }
            Counts::Requests => {
                if given > 0 && now_ns.saturating_sub(state.given_at_ns) < ns(QUICK) {
                    state.batch = state.batch.saturating_mul(2).min(units.batch_max());
                }
                state.given = state.given.saturating_add(given);
                state.given_at_ns = now_ns;
                state.void_at_ns = now_ns.saturating_add(ns(GIVEN_FOR));
            }
        }
    }

    /// From now on units come from there.
    pub(super) fn supply(&self, supply: Supply, now: Moment) {
        let mut state = self.state.lock();
        state.source = match (supply, &state.source) {
            (Supply::Nothing, _) => {
                state.again_at_ns = now.mono_ns().saturating_add(ns(QUICK));
                Source::Nothing
            }
            // The same part goes on from what was spent of it.
            (Supply::Part { units, .. }, Source::Part { units: same, fill, since_ns })
                if units == *same =>
            {
                Source::Part { units, fill: *fill, since_ns: *since_ns }
            }
            (Supply::Part { units, empty_at }, _) => {
                let full_at_ns = empty_at.mono_ns().saturating_add(units.drain_ns());
                let fill = Fill::new(full_at_ns);
                Source::Part { units, fill, since_ns: now.mono_ns() }
            }
        };
        // Until it can be told, time has given it back.
        state.back_ns = 0;
        state.dry_until_ns = 0;
        state.sure_until_ns = 0;
        state.dry = false;
    }

    /// The store had no room for the question, and may be had all the same: whoever waits for the answer
    /// goes on without it.
    pub(super) fn put_off(&self, now: Moment) {
        self.state.lock().again_at_ns = now.mono_ns().saturating_add(ns(PUT_OFF));
    }

    /// For how long that is still so.
    pub(super) fn put_off_for(&self, now: Moment) -> Option<Duration> {
        let state = self.state.lock();
        let rest = state.again_at_ns.saturating_sub(now.mono_ns());
        (matches!(state.source, Source::Asked) && rest > 0).then(|| Duration::from_nanos(rest))
    }

    /// What this gateway could spend now without asking, for people.
    pub(super) fn here(&self, units: &Units, now: Moment) -> Here {
        let mut state = self.state.lock();
        state.expire(units, now);
        let now_ns = now.mono_ns();
        let given = match units.counts {
            Counts::Requests => state.given,
            Counts::Amounts => state.unspent(units),
        };
        let given = u64::from(given).saturating_mul(units.grain);
        let here = |whence, left, until_ns: u64| Here {
            whence,
            left,
            wait: Duration::from_nanos(until_ns.saturating_sub(now_ns)),
        };
        match &state.source {
            Source::Asked => here(Whence::Asked, given, state.dry_until_ns),
            Source::Nothing => here(Whence::Nothing, given, state.again_at_ns),
            Source::Part { units: part, fill, .. } => {
                let full_in = Duration::from_nanos(fill.full_at_ns.saturating_sub(now_ns));
                let (left, wait) = part.left(full_in);
                let left = left.saturating_add(given);
                Here { whence: Whence::Part(*part), left, wait }
            }
        }
    }

    /// Whether there is something to tell, or units come from elsewhere than asking.
    pub(super) fn is_apart(&self, units: &Units) -> bool {
        let state = self.state.lock();
        !matches!(state.source, Source::Asked) || state.told(units) > 0
    }

    /// Whether there is something to tell, or the last batch, a large one, was given just now.
    pub(super) fn comes_ahead(&self, units: &Units, now: Moment) -> bool {
        let state = self.state.lock();
        state.told(units) > 0 || (state.batch >= AHEAD && now.mono_ns() < state.void_at_ns)
    }
}

impl State {
    fn expire(&mut self, units: &Units, now: Moment) {
        if self.given > 0 && self.void_at_ns <= now.mono_ns() {
            self.keep_given(0, units, now);
            self.batch = (self.batch / 2).max(1);
        }
    }

    /// Whether nothing is left to spend, as far as is known here.
    fn lacks(&self, now: Moment) -> bool {
        match &self.source {
            Source::Asked => self.dry,
            Source::Part { units, fill, .. } => room_at(units, fill) > now.mono_ns(),
            Source::Nothing => true,
        }
    }

    /// Whole units that were given and counted as if they were spent.
    fn unspent(&self, units: &Units) -> u32 {
        let left = u64::try_from(self.owed.saturating_neg()).unwrap_or(0);
        u32::try_from(left / units.grain.max(1)).unwrap_or(u32::MAX)
    }

    fn debt(&self) -> u64 {
        u64::try_from(self.owed).unwrap_or(0)
    }

    fn told(&self, units: &Units) -> u32 {
        u32::try_from(self.debt() / units.grain.max(1)).unwrap_or(u32::MAX)
    }
}

/// When a part has a unit to spend.
fn room_at(units: &Units, fill: &Fill) -> u64 {
    fill.full_at_ns.saturating_add(units.interval_ns()).saturating_sub(units.drain_ns())
}
