//! A quota's rate in the units in which gateways share it.
use std::time::Duration;

/// For so long it is believed that something is left of a quota of bytes or records.
pub(super) const FRESH_FOR: Duration = Duration::from_secs(1);
/// Slower than this between units: none is asked for ahead, and what nobody needs goes back at once.
const SLOW: Duration = Duration::from_secs(60);
/// The part of a quota that one batch may be.
const BATCHES: u32 = 16;
/// For so long a unit of a slow quota is kept once no request waits for it.
pub(super) const KEPT_FOR: Duration = Duration::from_millis(50);

/// A rate in the units in which gateways share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Units {
    /// The time in which one unit comes back.
    pub interval: Duration,
    /// Units at once.
    pub burst: u32,
    /// Requests, bytes or records in one unit.
    pub grain: u64,
    pub(super) counts: Counts,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counts {
    /// One at a time, known ahead.
    Requests,
    /// Any amount, known afterwards.
    Amounts,
}

impl Units {
    pub(super) fn interval_ns(&self) -> u64 {
        ns(self.interval)
    }

    fn is_slow(&self) -> bool {
        self.interval > SLOW
    }

    /// How long a unit that nobody spends is kept before it is given back; `None` where it is not.
    #[must_use]
    pub fn kept_for(&self) -> Option<Duration> {
        self.is_slow().then_some(match self.counts {
            Counts::Requests => KEPT_FOR,
            Counts::Amounts => FRESH_FOR,
        })
    }

    /// What is left of a quota that is full again then, and how long until one more comes back.
    pub(super) fn left(&self, full_in: Duration) -> (u64, Duration) {
        let (interval, drain) = (self.interval_ns().max(1), self.drain_ns());
        let full_in = ns(full_in);
        let left = drain.saturating_sub(full_in) / interval;
        let wait = full_in.saturating_add(interval).saturating_sub(drain);
        (left.saturating_mul(self.grain), Duration::from_nanos(wait))
    }

    pub(super) fn drain_ns(&self) -> u64 {
        self.interval_ns().saturating_mul(u64::from(self.burst))
    }

    /// The part that one gateway may spend of these, by its own rate.
    #[must_use]
    pub const fn part(&self, interval: Duration, burst: u32) -> Self {
        Self { interval, burst, grain: self.grain, counts: self.counts }
    }

    /// How much of `most` such a part is.
    pub(super) fn portion(&self, part: &Self, most: u64) -> u64 {
        let of = u128::from(most) * self.interval.as_nanos() / part.interval.as_nanos().max(1);
        u64::try_from(of).unwrap_or(most).min(most)
    }

    /// The most units of one batch.
    pub(super) fn batch_max(&self) -> u32 {
        if self.is_slow() { 1 } else { (self.burst / BATCHES).max(1) }
    }
}

pub(super) fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
