//! Stretches of time that end by the monotonic clock and are named by the wall clock.
use super::history::{Bytes, HistoryFault};
use crate::base::Moment;

pub(super) const QUARTER_MS: u64 = 900_000;
pub(super) const HOUR_MS: u64 = 3_600_000;
pub(super) const DAY_MS: u64 = 86_400_000;

/// The stretch that runs: a quarter, an hour or a day that begins when the wall clock's does.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Window {
    /// By this process' clock; before its beginning for what ended before a restart.
    ends_ns: i64,
    /// From its beginning to its end. Zero: there is none yet.
    runs_ms: u64,
    /// Milliseconds since 1970 at its first event.
    began_ms: u64,
}

/// A stretch that is over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    /// When it began, in milliseconds since 1970.
    pub(super) began_ms: u64,
    /// It ran for most of its length, and the wall clock stayed true to it.
    pub(super) whole: bool,
    /// Whole stretches without any event that lie between.
    pub(super) silent: u64,
}

impl Window {
    /// Ends the stretch if its time has come and begins that of `now`. The first event begins one
    /// and ends none.
    pub(super) fn turn(&mut self, now: Moment, length_ms: u64) -> Option<Ended> {
        if mono(now) < self.ends_ns {
            return None;
        }
        let first = self.is_unused();
        let late_ns = mono(now).abs_diff(self.ends_ns);
        let passed_ms = self.runs_ms.saturating_add(late_ns / 1_000_000);
        let wall_ms = now.unix_ms().saturating_sub(self.began_ms);
        let true_to_it = wall_ms.abs_diff(passed_ms) < length_ms / 8;
        let ended = Ended {
            began_ms: self.began_ms,
            whole: true_to_it && self.runs_ms >= length_ms / 8 * 7,
            silent: late_ns / length_ms.saturating_mul(1_000_000).max(1),
        };
        self.runs_ms = length_ms - now.unix_ms() % length_ms;
        self.ends_ns = after(now, self.runs_ms);
        self.began_ms = now.unix_ms();
        if !first && true_to_it {
            // Nothing came since the last one ended, so this one began with the clock's.
            self.began_ms -= now.unix_ms() % length_ms;
            self.runs_ms = length_ms;
        }
        (!first).then_some(ended)
    }

    pub(super) const fn is_unused(&self) -> bool {
        self.runs_ms == 0
    }

    pub(super) const fn began_ms(&self) -> u64 {
        self.began_ms
    }

    /// Over a restart, in which the wall clock went on. Of a stretch that ended longer ago than its
    /// length nothing is left, but that it is over.
    pub(super) fn pass(
        &mut self,
        by: &mut impl Bytes,
        now: Moment,
        length_ms: u64,
    ) -> Result<Option<Ended>, HistoryFault> {
        let left_ms = self.ends_ns.saturating_sub(mono(now)) / 1_000_000;
        let mut ends_ms = now.unix_ms().saturating_add_signed(left_ms);
        by.u64(&mut self.runs_ms)?;
        by.u64(&mut self.began_ms)?;
        by.u64(&mut ends_ms)?;
        if self.runs_ms > length_ms {
            return Err(HistoryFault::Malformed);
        }
        let is_near = ends_ms.abs_diff(now.unix_ms()) <= length_ms;
        if is_near && !self.is_unused() {
            let late_ms = now.unix_ms().saturating_sub(ends_ms);
            self.ends_ns = after(now, ends_ms.saturating_sub(now.unix_ms()))
                .saturating_sub_unsigned(late_ms.saturating_mul(1_000_000));
            return Ok(None);
        }
        let Self { began_ms, .. } = *self;
        let over = (!self.is_unused()).then_some(Ended { began_ms, whole: false, silent: 1 });
        *self = Self::default();
        Ok(over)
    }

    /// The part of a stretch of this length that is still to come, from 0 to 1.
    pub(super) fn left(&self, now: Moment, length_ms: u64) -> f32 {
        let to_come = self.ends_ns.saturating_sub(mono(now)).max(0);
        let left_ms = to_come.unsigned_abs() / 1_000_000;
        (super::scale::real(left_ms) / super::scale::real(length_ms)).min(1.0)
    }
}

fn mono(now: Moment) -> i64 {
    i64::try_from(now.mono_ns()).unwrap_or(i64::MAX)
}

fn after(now: Moment, ms: u64) -> i64 {
    mono(now).saturating_add_unsigned(ms.saturating_mul(1_000_000))
}

/// Which of the 168 hours of the week it is, Thursday 00:00 UTC being the first, as 1970 began.
pub(super) const fn hour_of_week(unix_ms: u64) -> u64 {
    unix_ms / HOUR_MS % 168
}
