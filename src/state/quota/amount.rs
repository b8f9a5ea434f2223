//! A rate of bytes or records, which are known only while the answer passes: what is spent may run into
//! debt, and whoever is in debt waits until it is paid. An answer that has begun may end as long as the
//! debt is less than a step; what is under way beyond that is cut. So a limit is overdrawn by a step at
//! most, and by what is in hand at that moment, however many answers pass at once and however long
//! they are.
//!
//! GCRA as in [`super::gcra`], but for any amount at once, which `governor` has no form for.
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::error::QuotaFault;
use super::gcra::PERIOD_MAX;
use super::units::{Counts, Units};
use crate::base::Moment;
use crate::policy::Amount;

/// The longest debt, in periods: a single answer of any size locks nobody out for longer.
const DEBT_MAX: u32 = 10;

/// The largest page of orders.
pub(super) const RECORDS_STEP: u64 = 100;
/// Twice what such a page takes.
pub(super) const BYTES_STEP: u64 = 4 << 20;

/// A compiled [`Amount`].
#[derive(Debug)]
pub(super) struct Flow {
    count: u64,
    per: Duration,
    units: Units,
    step: u64,
    /// The time in which a step comes back.
    slack: Duration,
}

/// In so many at a time that a unit takes 100 µs or more to come back.
fn in_units(count: u64, per: Duration) -> Units {
    const LEAST_US: u128 = 100;
    let grain = (u128::from(count) * LEAST_US).div_ceil(per.as_micros().max(1)).max(1);
    let burst = (u128::from(count) / grain).clamp(1, u128::from(u32::MAX));
    let interval = per.as_nanos().div_ceil(burst);
    Units {
        interval: Duration::from_nanos(u64::try_from(interval).unwrap_or(u64::MAX)),
        burst: u32::try_from(burst).unwrap_or(u32::MAX),
        grain: u64::try_from(grain).unwrap_or(u64::MAX),
        counts: Counts::Amounts,
    }
}

impl Flow {
    /// No step is more than the amount itself.
    pub(super) fn compile(amount: &Amount, step: u64) -> Result<Self, QuotaFault> {
        let Amount { count, per } = *amount;
        if count == 0 {
            return Err(QuotaFault::Count);
        }
        if per.subsec_nanos() != 0 || per.is_zero() || per > PERIOD_MAX {
            return Err(QuotaFault::Period);
        }
        let step = step.min(count);
        let slack = per.as_nanos() * u128::from(step) / u128::from(count);
        let slack = Duration::from_nanos(u64::try_from(slack).unwrap_or(u64::MAX));
        Ok(Self { count, per, units: in_units(count, per), step, slack })
    }

    pub(super) const fn count(&self) -> u64 {
        self.count
    }

    pub(super) const fn per(&self) -> Duration {
        self.per
    }

    pub(super) const fn units(&self) -> Units {
        self.units
    }

    pub(super) const fn step(&self) -> u64 {
        self.step
    }

    /// How long it takes until anything is left, if there is a step of debt or more.
    pub(super) fn overdrawn(&self, tat: &AtomicU64, now: Moment) -> Option<Duration> {
        let most = now.plus(self.per.saturating_add(self.slack)).mono_ns();
        if tat.load(Ordering::Relaxed) < most {
            return None;
        }
        self.test(tat, now).err()
    }

    /// What is left, or how long it takes until anything is. Changes nothing.
    pub(super) fn test(&self, tat: &AtomicU64, now: Moment) -> Result<u64, Duration> {
        let ahead = tat.load(Ordering::Relaxed).saturating_sub(now.mono_ns());
        let (per, ahead) = (self.per.as_nanos(), u128::from(ahead));
        let left = per.saturating_sub(ahead) * u128::from(self.count) / per;
        if left > 0 {
            return Ok(u64::try_from(left).unwrap_or(u64::MAX));
        }
        let one = per.div_ceil(u128::from(self.count));
        let wait = (ahead + one).saturating_sub(per).max(1);
        Err(Duration::from_nanos(u64::try_from(wait).unwrap_or(u64::MAX)))
    }

    /// Takes so much, whether it is there or not.
    pub(super) fn spend(&self, tat: &AtomicU64, amount: u64, now: Moment) {
        let takes = (u128::from(amount) * self.per.as_nanos()).div_ceil(u128::from(self.count));
        let takes = u64::try_from(takes).unwrap_or(u64::MAX);
        let most = now.plus(self.per.saturating_mul(DEBT_MAX)).mono_ns();
        let spent =
            |tat: u64| Some(tat.max(now.mono_ns()).saturating_add(takes).min(most.max(tat)));
        let _ = tat.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spent);
    }

    /// The TAT of a bucket that has just been emptied.
    pub(super) fn drained_tat(&self, now: Moment) -> u64 {
        now.plus(self.per).mono_ns()
    }
}
