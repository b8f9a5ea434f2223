//! What is spent in one window.
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::amount::Flow;
use super::fill::Fill;
use super::gcra::Rate;
use super::limit::Gate;
use super::pool::{Lack, Pool, Taken};
use super::share::Among;
use super::units::ns;
use crate::base::Moment;
use crate::policy::Mode;

/// What is spent in one window. Shared with the configuration before and after this one.
#[derive(Debug, Default)]
pub(super) struct Meter {
    /// A theoretical arrival time in monotonic nanoseconds, or a count of what is open.
    pub(super) number: AtomicU64,
    /// How much of it was given back, ever.
    given_back: AtomicU64,
    /// Where several gateways spend from the same quota.
    pub(super) pool: Option<Arc<Pool>>,
}

impl Meter {
    pub(super) fn new(number: u64, gate: &Gate, among: Among) -> Arc<Self> {
        let pool = (among == Among::Several && gate.units().is_some()).then(Arc::default);
        Self::with(number, pool)
    }

    pub(super) fn with(number: u64, pool: Option<Arc<Pool>>) -> Arc<Self> {
        let (number, given_back) = (AtomicU64::new(number), AtomicU64::new(0));
        Arc::new(Self { number, given_back, pool })
    }

    /// Where a charge ended that was made just now; the caller keeps other writers away.
    pub(super) fn mark(&self) -> u64 {
        self.fill().mark()
    }

    /// Takes back a charge that ended at this mark; the caller keeps other writers away.
    pub(super) fn give_back(&self, rate: &Rate, mark: u64, now: Moment) {
        let mut fill = self.fill();
        fill.give_back(mark, ns(rate.interval()), now);
        self.number.store(fill.full_at_ns, Ordering::Relaxed);
        self.given_back.store(fill.given_back_ns, Ordering::Relaxed);
    }

    fn fill(&self) -> Fill {
        Fill {
            full_at_ns: self.number.load(Ordering::Relaxed),
            given_back_ns: self.given_back.load(Ordering::Relaxed),
        }
    }

    /// As [`Gate::test`], and whether this gateway was given anything to spend.
    #[inline]
    pub(super) fn test(&self, gate: &Gate, mode: Mode, now: Moment) -> Result<u64, Lack> {
        let left = gate.test(&self.number, now).map_err(Lack::Dry)?;
        let Some(pool) = &self.pool else { return Ok(left) };
        gate.units().map_or(Ok(()), |units| pool.test(&units, mode, now))?;
        Ok(left)
    }

    pub(super) fn is_unasked(&self, gate: &Gate, mode: Mode, now: Moment) -> bool {
        self.pool.is_some() && self.test(gate, mode, now) == Err(Lack::Unasked)
    }

    /// What it was taken from, and whether it is time to ask for more, or to tell what was taken.
    #[inline]
    pub(super) fn take(&self, gate: &Gate, amount: u64, now: Moment) -> (Taken, bool) {
        let both = self.pool.as_ref().zip(gate.units());
        both.map_or((Taken::Nothing, false), |(pool, units)| pool.take(amount, &units, now))
    }

    /// Whether there is something to write down of it.
    pub(super) fn is_to_keep(&self, now: Moment) -> bool {
        self.number.load(Ordering::Relaxed) > now.mono_ns()
            || self.pool.as_ref().is_some_and(|pool| pool.is_to_keep())
    }

    /// How long to wait, where a step or more was spent that was not there, here or by all together.
    #[inline]
    pub(super) fn overdrawn(&self, flow: &Flow, now: Moment) -> Option<Duration> {
        let all = self.pool.as_ref().and_then(|pool| pool.overdrawn(flow.step(), now));
        flow.overdrawn(&self.number, now).max(all)
    }
}

/// Where a charge ends; see [`Fill::give_back`].
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct End {
    pub(super) mark: u64,
    pub(super) taken: Taken,
}

/// Those of each window of requests, in their order.
#[derive(Debug, Default)]
pub(super) struct Ends {
    count: usize,
    first: [End; 6],
    /// Few requests have more windows.
    rest: Vec<End>,
}

impl Ends {
    pub(super) fn push(&mut self, end: End) {
        match self.first.get_mut(self.count) {
            Some(place) => *place = end,
            None => self.rest.push(end),
        }
        self.count += 1;
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = End> {
        self.first.iter().take(self.count).chain(&self.rest).copied()
    }
}
