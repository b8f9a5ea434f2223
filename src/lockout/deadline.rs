//! Ends of locks, on both clocks.
use std::cmp::Ordering;
use std::time::Duration;

use crate::base::Moment;

/// No lock with an end lasts longer, whatever a clock or another gateway says.
const LONGEST: Duration = Duration::from_secs(400 * 86_400);
/// Wall clocks of gateways differ by less. Nothing lasts longer beyond the end that its author told, and
/// what ended longer ago is over.
const APART: Duration = Duration::from_secs(3_600);

/// A time that is past only when the monotonic clock says so: it was fixed there when this process
/// first learned of it. Written down, compared and merged by the wall clock.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    unix_ms: u64,
    mono_ns: u64,
    /// How far it was away when it was fixed.
    length: Duration,
}

impl Deadline {
    pub fn after(now: Moment, length: Duration) -> Self {
        let length = length.min(LONGEST);
        let end = now.plus(length);
        Self { unix_ms: end.unix_ms(), mono_ns: end.mono_ns(), length }
    }

    /// One that was written down, in milliseconds since 1970, read at `now`.
    pub fn learned(unix_ms: u64, now: Moment) -> Self {
        Self::heard(unix_ms, Duration::ZERO, now)
    }

    /// One that another gateway tells, by its own wall clock, and how far it was away when that gateway
    /// fixed it. The two clocks may differ, so the longer counts, up to where the other clock can say at
    /// most: who hears of it late must not begin anew.
    pub fn heard(unix_ms: u64, length: Duration, now: Moment) -> Self {
        let left = Duration::from_millis(unix_ms.saturating_sub(now.unix_ms()));
        let latest = Duration::from_millis(unix_ms)
            .saturating_add(APART)
            .saturating_sub(Duration::from_millis(now.unix_ms()));
        let left = left.max(length.min(latest)).min(LONGEST);
        Self { unix_ms, mono_ns: now.plus(left).mono_ns(), length: left }
    }

    pub(super) const fn length(self) -> Duration {
        self.length
    }

    pub const fn unix_ms(self) -> u64 {
        self.unix_ms
    }

    pub const fn is_past(self, now: Moment) -> bool {
        now.mono_ns() >= self.mono_ns
    }

    /// Whether no gateway holds to it any more, whenever it hears of it and whatever its clock says.
    pub(super) fn is_past_everywhere(self, now: Moment) -> bool {
        Duration::from_millis(self.unix_ms).saturating_add(APART)
            <= Duration::from_millis(now.unix_ms())
    }

    pub(super) const fn mono_ns(self) -> u64 {
        self.mono_ns
    }
}

impl PartialEq for Deadline {
    fn eq(&self, other: &Self) -> bool {
        self.unix_ms == other.unix_ms
    }
}
impl Eq for Deadline {}
impl PartialOrd for Deadline {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Deadline {
    fn cmp(&self, other: &Self) -> Ordering {
        self.unix_ms.cmp(&other.unix_ms)
    }
}

/// When a lock ends. Later is stricter; the strictest has no end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Until {
    At(Deadline),
    Released,
}

impl Until {
    pub const fn is_past(self, now: Moment) -> bool {
        match self {
            Self::At(deadline) => deadline.is_past(now),
            Self::Released => false,
        }
    }

    /// Which of the two this process sees end last: the wall clock may have gone back between them.
    pub(super) fn later(self, other: Self) -> Self {
        if other.mono_ns() >= self.mono_ns() { other } else { self }
    }

    /// Never zero, which would mean that there is no lock.
    pub(super) fn mono_ns(self) -> u64 {
        match self {
            Self::At(deadline) => deadline.mono_ns().clamp(1, u64::MAX - 1),
            Self::Released => u64::MAX,
        }
    }
}
