//! Stretches of time that end by the monotonic clock and are named by the wall clock.
use crate::base::Moment;

pub(super) const QUARTER_MS: u64 = 900_000;
pub(super) const HOUR_MS: u64 = 3_600_000;
pub(super) const DAY_MS: u64 = 86_400_000;

/// The stretch that runs: a quarter, an hour or a day that begins when the wall clock's does.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Window {
    began_ns: u64,
    ends_ns: u64,
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
        if now.mono_ns() < self.ends_ns {
            return None;
        }
        let whole_ns = length_ms.saturating_mul(1_000_000);
        let first = self.ends_ns == 0;
        let ran_ms = (self.ends_ns - self.began_ns) / 1_000_000;
        let passed_ms = now.mono_ns().saturating_sub(self.began_ns) / 1_000_000;
        let wall_ms = now.unix_ms().saturating_sub(self.began_ms);
        let true_to_it = wall_ms.abs_diff(passed_ms) < length_ms / 8;
        let ended = Ended {
            began_ms: self.began_ms,
            whole: true_to_it && ran_ms >= length_ms / 8 * 7,
            silent: now.mono_ns().saturating_sub(self.ends_ns) / whole_ns.max(1),
        };
        let left_ms = length_ms - now.unix_ms() % length_ms;
        self.began_ns = now.mono_ns();
        self.ends_ns = now.mono_ns().saturating_add(left_ms.saturating_mul(1_000_000));
        self.began_ms = now.unix_ms();
        if !first && true_to_it {
            // Nothing came since the last one ended, so this one began with the clock's.
            let late_ms = now.unix_ms() % length_ms;
            self.began_ns = self.began_ns.saturating_sub(late_ms * 1_000_000);
            self.began_ms -= late_ms;
        }
        (!first).then_some(ended)
    }

    pub(super) const fn is_unused(&self) -> bool {
        self.ends_ns == 0
    }

    pub(super) const fn began_ms(&self) -> u64 {
        self.began_ms
    }

    /// The part of a stretch of this length that is still to come, from 0 to 1.
    pub(super) fn left(&self, now: Moment, length_ms: u64) -> f32 {
        let left_ms = self.ends_ns.saturating_sub(now.mono_ns()) / 1_000_000;
        (super::scale::real(left_ms) / super::scale::real(length_ms)).min(1.0)
    }
}

/// Which of the 168 hours of the week it is, Thursday 00:00 UTC being the first, as 1970 began.
pub(super) const fn hour_of_week(unix_ms: u64) -> u64 {
    unix_ms / HOUR_MS % 168
}
