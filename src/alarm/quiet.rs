//! Quiet hours: what may wait until morning waits, and nothing is lost by it.
use std::time::Duration;

use super::kind::Severity;

const DAY_MINUTES: i64 = 24 * 60;

/// When a target is not told of lesser alarms. Critical ones never wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quiet {
    from: u16,
    to: u16,
    offset: i16,
    below: Severity,
}

impl Quiet {
    /// From a minute of the local day to another, which may be on the next day, at `offset` minutes
    /// east of UTC; alarms less than `below` wait. `None` if the hours are no span of less than a day
    /// or the offset is none that exists (±18 h).
    #[must_use]
    pub fn new(from: u16, to: u16, offset: i16, below: Severity) -> Option<Self> {
        let fits = i64::from(from.max(to)) < DAY_MINUTES && from != to && offset.abs() <= 18 * 60;
        fits.then_some(Self { from, to, offset, below })
    }

    #[must_use]
    pub const fn below(&self) -> Severity {
        self.below
    }

    #[must_use]
    pub fn is_now(&self, unix_ms: u64) -> bool {
        let minute = self.local_minute(unix_ms);
        let (from, to) = (i64::from(self.from), i64::from(self.to));
        if from < to { (from..to).contains(&minute) } else { minute >= from || minute < to }
    }

    #[must_use]
    pub fn length(&self) -> Duration {
        let minutes = (i64::from(self.to) - i64::from(self.from)).rem_euclid(DAY_MINUTES);
        Duration::from_secs(u64::try_from(minutes).unwrap_or(0) * 60)
    }

    fn local_minute(self, unix_ms: u64) -> i64 {
        let utc = i64::try_from(unix_ms / 60_000).unwrap_or(0) % DAY_MINUTES;
        (utc + i64::from(self.offset)).rem_euclid(DAY_MINUTES)
    }
}
