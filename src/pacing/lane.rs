//! One quota of Amazon's: its bucket, its throttle, and the callers that wait for it.
use std::time::Duration;

use super::among::{Among, Dealt, Portion};
use super::bucket::{Bucket, Counted};
use super::debt::Tempo;
use super::number::Patience;
use super::pacer::{Answer, BucketKey, Limits};
use super::queue::{Caller, Place, Queue, Weight};
use super::rate::{Plan, Rate};
use super::throttle::{Refusal, Throttle};

/// After so long it is worth asking again whether a quota of which nothing falls to this gateway does.
const CLOSED_NS: u64 = 1_000_000_000;

#[derive(Debug)]
pub(super) struct Lane {
    pub(super) key: BucketKey,
    pub(super) made_ns: u64,
    bucket: Bucket,
    throttle: Throttle,
    queue: Queue,
    among: Among,
    /// The moment at which the pacer will look here.
    pub(super) wake_ns: Option<u64>,
}

/// What can be done for a call that comes now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chance {
    /// It goes at once.
    Now { call: u64 },
    /// If it waits, its turn comes at this moment at the latest, as things are.
    Later { turn_ns: u64 },
    /// Its turn comes after its patience ends.
    TooLate,
}

/// What [`Lane::release`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Overdue(Place),
    Admitted { place: Place, call: u64 },
}

impl Lane {
    /// `since` is when this gateway's part began, empty.
    pub(super) fn new(
        key: BucketKey,
        plan: Plan,
        limits: &Limits,
        (among, since): (Among, u64),
        now: u64,
    ) -> Self {
        let mut lane = Self {
            key,
            made_ns: now,
            bucket: Bucket::new(plan.rate(), plan.burst(), limits.counted_within),
            throttle: Throttle::new(plan),
            queue: Queue::default(),
            among,
            wake_ns: None,
        };
        lane.reshape(now);
        if matches!(lane.portion(), Portion::Part { .. }) {
            lane.bucket.drain(since);
        }
        lane
    }

    /// Others take from the quota as well, or do no more.
    pub(super) fn share(&mut self, among: Among, now: u64) {
        let was_part = matches!(self.portion(), Portion::Part { .. });
        self.among = among;
        self.advance(now);
        if !was_part && matches!(self.portion(), Portion::Part { .. }) {
            self.bucket.drain(now);
        }
    }

    fn portion(&self) -> Portion {
        self.among.portion(self.throttle.plan())
    }

    /// How its calls come to be allowed.
    pub(super) fn dealt(&self) -> Dealt {
        let (interval_ns, burst) = (self.throttle.rate().interval_ns(), self.throttle.burst());
        let tempo = Tempo { interval_ns, burst };
        match self.portion() {
            Portion::Dealt => Dealt::Unit(tempo),
            Portion::Part { owed: true, .. } => Dealt::Owed(tempo),
            Portion::Whole | Portion::Part { .. } | Portion::Nothing => Dealt::Not,
        }
    }

    /// The dealer had none, and says how long the next one takes.
    pub(super) fn expect(&mut self, wait_ns: u64, now: u64) {
        self.bucket.expect(wait_ns, now);
    }

    fn reshape(&mut self, now: u64) {
        let own = (self.throttle.rate(), self.throttle.burst());
        let (rate, burst) = self.portion().of(self.throttle.plan(), own);
        self.bucket.reshape(rate, burst, now);
    }

    fn rest_until_ns(&self, now: u64) -> u64 {
        let closed = self.portion() == Portion::Nothing;
        self.throttle.rest_until_ns().max(if closed { now.saturating_add(CLOSED_NS) } else { 0 })
    }

    /// Brings everything that time changes to `now`.
    pub(super) fn advance(&mut self, now: u64) {
        self.bucket.advance(now);
        let idle_since = now.saturating_sub(self.bucket.interval_ns().saturating_mul(2));
        // What others are served is not seen here, so nothing is measured among them.
        if self.bucket.is_full(idle_since) || self.among != Among::Alone {
            self.throttle.overflowed();
        }
        self.throttle.recover(now);
        self.reshape(now);
    }

    /// What Amazon said last.
    pub(super) const fn learned(&self) -> Option<Rate> {
        self.throttle.learned()
    }

    /// What Amazon had said before the process began.
    pub(super) const fn recall(&mut self, rate: Rate) {
        if self.learned().is_none() {
            self.throttle.learn(rate);
        }
    }

    pub(super) const fn adopt(&mut self, plan: Plan) {
        self.throttle.adopt(plan);
    }

    /// Judges a call that comes now. Nobody overtakes those who wait, not even for a token that is
    /// there: the shell is about to give it away.
    pub(super) fn consider(
        &mut self,
        caller: Caller,
        weight: Weight,
        patience: Patience,
        now: u64,
    ) -> Chance {
        if self.queue.is_empty() && self.rest_until_ns(now) <= now {
            let alone = self.bucket.is_full(now);
            if let Some(call) = self.bucket.take(now) {
                if alone {
                    self.queue.rest();
                } else {
                    self.queue.pass(caller, weight);
                }
                return Chance::Now { call };
            }
        }
        let until = now.saturating_add(nanos(patience.duration()));
        if self.served_at(1, now) > until {
            return Chance::TooLate;
        }
        // If everybody who waits went first it would still be in time: no need to look closer.
        let last_ns = self.drained_at(now);
        if last_ns <= until {
            return Chance::Later { turn_ns: last_ns };
        }
        let ahead = self.queue.ahead_of(caller, weight);
        let turn_ns = self.served_at(ahead.saturating_add(1), now);
        if turn_ns <= until { Chance::Later { turn_ns } } else { Chance::TooLate }
    }

    pub(super) fn join(&mut self, place: Place, weight: Weight, until_ns: u64) {
        self.queue.join(place, weight, until_ns);
    }

    pub(super) fn leave(&mut self, place: Place) -> bool {
        self.queue.leave(place)
    }

    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn waiting_of(&self, caller: Caller) -> usize {
        self.queue.waiting(caller)
    }

    /// How long a caller stays away so that, if nothing else happens, it is let through within its
    /// patience when it comes back.
    pub(super) fn honest_wait(&self, patience: Patience, now: u64) -> Duration {
        let wait = Duration::from_nanos(self.drained_at(now).saturating_sub(now));
        wait.saturating_sub(patience.duration())
    }

    /// The next thing that is due: somebody's time is over, or it is somebody's turn.
    pub(super) fn release(&mut self, now: u64) -> Option<Step> {
        if let Some(place) = self.queue.overdue(now) {
            return Some(Step::Overdue(place));
        }
        if self.queue.is_empty() || self.rest_until_ns(now) > now {
            return None;
        }
        let call = self.bucket.take(now)?;
        if let Some(place) = self.queue.next() {
            return Some(Step::Admitted { place, call });
        }
        self.bucket.settle(call, Counted::No, now);
        None
    }

    /// See [`Bucket::depart`].
    pub(super) fn depart(&mut self, call: u64, now: u64) -> u64 {
        self.bucket.depart(call, now)
    }

    /// When [`Self::release`] will have something to do. Nothing if nobody waits.
    pub(super) fn wake_at(&self, now: u64) -> Option<u64> {
        // A deadline is inclusive: whoever waits until then may still be let through then.
        let deadline = self.queue.deadline()?.saturating_add(1);
        Some(deadline.min(self.ready_at(now)))
    }

    /// What became of a call.
    pub(super) fn settle(&mut self, call: u64, sent_ns: u64, answer: Answer, now: u64) {
        match answer {
            Answer::Served { limit } => {
                self.bucket.settle(call, Counted::Yes, now);
                self.throttle.served(sent_ns);
                if let Some(rate) = limit {
                    self.throttle.learn(rate);
                }
            }
            Answer::Throttled { retry_after } => {
                let refusal = Refusal::Quota { spare: self.bucket.spare(now) };
                self.bucket.settle(call, Counted::No, now);
                self.throttle.refused(refusal, sent_ns, retry_after, now);
                self.reshape(now);
                self.bucket.drain(now);
            }
            Answer::Overloaded { retry_after } => {
                self.bucket.settle(call, Counted::Yes, now);
                self.throttle.refused(Refusal::Overload, sent_ns, retry_after, now);
            }
            Answer::Unsent => self.bucket.settle(call, Counted::No, now),
            // It may still be on its way: it counts when `counted_within` is over.
            Answer::Lost => {}
        }
        self.reshape(now);
    }

    /// A new lane for the same key would be no more generous than this one is.
    pub(super) fn is_forgettable(&self, now: u64) -> bool {
        self.queue.is_empty() && self.bucket.is_full(now) && self.throttle.is_forgettable(now)
    }

    /// The earliest moment at which it is worth asking [`Self::is_forgettable`] again.
    pub(super) fn forgettable_at(&self, now: u64) -> u64 {
        const PINNED_NS: u64 = 60_000_000_000;
        let full = self.bucket.full_at(now).max(self.drained_at(now));
        if self.throttle.is_forgettable(full) {
            full
        } else {
            full.max(now.saturating_add(PINNED_NS))
        }
    }

    pub(super) fn standing(&self, now: u64) -> Standing {
        Standing {
            nano_hz: self.throttle.rate().nano_hz(),
            burst: self.throttle.burst(),
            spare: self.bucket.spare(now),
            waiting: u32::try_from(self.queue.len()).unwrap_or(u32::MAX),
            throttled: self.throttle.is_cut(),
        }
    }

    fn ready_at(&self, now: u64) -> u64 {
        self.bucket.ready_at(now).max(self.rest_until_ns(now))
    }

    /// When everybody who waits will have gone and one more token is there.
    fn drained_at(&self, now: u64) -> u64 {
        let calls = (self.queue.len() as u64).saturating_add(1);
        self.served_at(calls, now)
    }

    fn served_at(&self, calls: u64, now: u64) -> u64 {
        self.bucket.served_at(calls, self.rest_until_ns(now), now)
    }
}

/// Where one quota stands, for metrics and `sekisho limits`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The rate in force, in billionths of a call per second.
    pub nano_hz: u64,
    /// The burst in force.
    pub burst: u32,
    /// Calls that could go at once.
    pub spare: u32,
    /// Calls that wait.
    pub waiting: u32,
    /// Whether Amazon's refusals hold the rate or burst below what it published or said.
    pub throttled: bool,
}

pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
