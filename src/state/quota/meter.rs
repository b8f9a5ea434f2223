//! What is spent in one window, and how a charge is taken back.
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::amount::Flow;
use super::gcra::Rate;
use super::limit::Gate;
use super::pool::{Lack, Pool};
use super::share::Among;
use crate::base::Moment;

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

    /// What the number would be had nothing ever been given back.
    pub(super) fn mark(&self) -> u64 {
        let given_back = self.given_back.load(Ordering::Relaxed);
        self.number.load(Ordering::Relaxed).wrapping_add(given_back)
    }

    /// Takes back a charge that ended at this mark; the caller keeps other writers away.
    ///
    /// Without it every later request would have found one unit more, but no bucket fuller than full.
    /// None of them found less time missing than is left until that charge's own end, and what was
    /// given back since then has taken from that; so no more than this comes back, and all of it does
    /// where the bucket was never close to full.
    pub(super) fn give_back(&self, rate: &Rate, mark: u64, now: Moment) {
        let given_back = self.given_back.load(Ordering::Relaxed);
        let end = mark.wrapping_sub(given_back).cast_signed();
        let missing = u64::try_from(end).unwrap_or(0).saturating_sub(now.mono_ns());
        let unit = u64::try_from(rate.interval().as_nanos()).unwrap_or(0);
        let back = missing.min(unit);
        self.number
            .store(self.number.load(Ordering::Relaxed).saturating_sub(back), Ordering::Relaxed);
        self.given_back.store(given_back.wrapping_add(back), Ordering::Relaxed);
    }

    /// As [`Gate::test`], and whether this gateway was given anything to spend.
    #[inline]
    pub(super) fn test(&self, gate: &Gate, now: Moment) -> Result<u64, Lack> {
        let left = gate.test(&self.number, now).map_err(Lack::Dry)?;
        let Some(pool) = &self.pool else { return Ok(left) };
        gate.units().map_or(Ok(()), |units| pool.test(&units, now))?;
        Ok(left)
    }

    pub(super) fn is_unasked(&self, gate: &Gate, now: Moment) -> bool {
        self.pool.is_some() && self.test(gate, now) == Err(Lack::Unasked)
    }

    /// Says whether it is time to ask for more, or to tell what was taken.
    #[inline]
    pub(super) fn take(&self, gate: &Gate, amount: u64, now: Moment) -> bool {
        let Some(pool) = &self.pool else { return false };
        gate.units().is_some_and(|units| pool.take(amount, &units, now))
    }

    /// How long to wait, where a step or more was spent that was not there, here or by all together.
    #[inline]
    pub(super) fn overdrawn(&self, flow: &Flow, now: Moment) -> Option<Duration> {
        let all = self.pool.as_ref().and_then(|pool| pool.overdrawn(flow.step(), now));
        flow.overdrawn(&self.number, now).max(all)
    }
}

/// Where the charge of each window of requests ends, in their order; see [`Meter::give_back`].
#[derive(Debug, Default)]
pub(super) struct Ends {
    count: usize,
    first: [u64; 6],
    /// Few requests have more windows.
    rest: Vec<u64>,
}

impl Ends {
    pub(super) fn push(&mut self, mark: u64) {
        match self.first.get_mut(self.count) {
            Some(place) => *place = mark,
            None => self.rest.push(mark),
        }
        self.count += 1;
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = u64> {
        self.first.iter().take(self.count).chain(&self.rest).copied()
    }
}
