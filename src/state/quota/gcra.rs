//! One rate of one quota: GCRA by `governor`, at a moment that is passed in.
//!
//! `governor` reads a clock of its own and owns its state. Here the moment is an argument and the
//! state, a theoretical arrival time (TAT) in nanoseconds, belongs to the caller. So the clock
//! stands still at zero and the store tells the TAT relative to the caller's moment. GCRA only looks
//! at differences of times, therefore its decisions are the same.
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::StateInformationMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::{Quota, RateLimiter};

use super::error::QuotaFault;
use crate::base::Moment;
use crate::policy::Window;

const DAY: Duration = Duration::from_secs(86_400);
pub(super) const PERIOD_MAX: Duration = Duration::from_secs(400 * DAY.as_secs());
/// The longest time a full bucket may take to drain. Keeps every TAT far from the end of `u64`.
const DRAIN_MAX: Duration = Duration::from_secs(10 * PERIOD_MAX.as_secs());
/// Below this the rounding of the interval to nanoseconds would be felt (more than 0.1 %).
const INTERVAL_MIN_NS: u128 = 1_000;

/// A compiled [`Window`]: one unit per `interval`, `burst` units at once.
#[derive(Debug)]
pub(super) struct Rate {
    quota: Quota,
    per: Duration,
    count: u32,
}

impl Rate {
    pub(super) fn compile(window: &Window) -> Result<Self, QuotaFault> {
        let count = NonZeroU32::new(window.count).ok_or(QuotaFault::Count)?;
        let burst =
            NonZeroU32::new(window.burst.unwrap_or(window.count)).ok_or(QuotaFault::Burst)?;
        let per = window.per;
        if per.subsec_nanos() != 0 || per.is_zero() || per > PERIOD_MAX {
            return Err(QuotaFault::Period);
        }
        if per.as_nanos() < INTERVAL_MIN_NS * u128::from(count.get()) {
            return Err(QuotaFault::Count);
        }
        // Rounded up, so that the rate is never above the one that was asked for.
        let interval_ns = per.as_nanos().div_ceil(u128::from(count.get()));
        let interval =
            u64::try_from(interval_ns).map(Duration::from_nanos).map_err(|_| QuotaFault::Period)?;
        if interval.checked_mul(burst.get()).is_none_or(|drain| drain > DRAIN_MAX) {
            return Err(QuotaFault::Burst);
        }
        let quota = Quota::with_period(interval).ok_or(QuotaFault::Period)?.allow_burst(burst);
        Ok(Self { quota, per, count: count.get() })
    }

    pub(super) const fn per(&self) -> Duration {
        self.per
    }

    pub(super) const fn count(&self) -> u32 {
        self.count
    }

    pub(super) const fn burst(&self) -> u32 {
        self.quota.burst_size().get()
    }

    /// The time in which one unit comes back.
    pub(super) const fn interval(&self) -> Duration {
        self.quota.replenish_interval()
    }

    /// The TAT of a bucket that has just been emptied.
    pub(super) fn drained_tat(&self, now: Moment) -> u64 {
        now.plus(self.interval().saturating_mul(self.burst())).mono_ns()
    }

    /// The units that would remain after one more is taken, or how long to wait for it. Changes
    /// nothing.
    pub(super) fn test(&self, tat: &AtomicU64, now: Moment) -> Result<u32, Duration> {
        self.take(tat, now, Step::Test)
    }

    /// Takes one unit, if there is one. The caller keeps other writers of `tat` away.
    pub(super) fn charge(&self, tat: &AtomicU64, now: Moment) -> Result<u32, Duration> {
        self.take(tat, now, Step::Charge)
    }

    fn take(&self, tat: &AtomicU64, now: Moment, step: Step) -> Result<u32, Duration> {
        let bucket = Bucket { tat, now_ns: now.mono_ns() };
        RateLimiter::<_, _, _, StateInformationMiddleware>::new(self.quota, bucket, Present)
            .check_key(&step)
            .map(|left| left.remaining_burst_capacity())
            .map_err(|until| until.wait_time_from(Nanos::new(0)))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Step {
    Test,
    Charge,
}

#[derive(Debug)]
struct Present;

impl Clock for Present {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::new(0)
    }
}

#[derive(Debug)]
struct Bucket<'a> {
    tat: &'a AtomicU64,
    now_ns: u64,
}

impl StateStore for Bucket<'_> {
    type Key = Step;

    fn measure_and_replace<T, F, E>(&self, step: &Step, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        // A TAT in the past means the same as one at this moment: the bucket is full.
        let ahead = self.tat.load(Ordering::Relaxed).saturating_sub(self.now_ns);
        let (outcome, next) = decide(Some(Nanos::new(ahead)))?;
        match step {
            Step::Test => {}
            Step::Charge => {
                self.tat.store(self.now_ns.saturating_add(next.as_u64()), Ordering::Relaxed);
            }
        }
        Ok(outcome)
    }
}
