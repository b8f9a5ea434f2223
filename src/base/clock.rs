//! Time as a value. Only this file reads a clock; every decision is given a [`Moment`].
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A point in time by both clocks: the wall clock, which can jump, for dates and expiry; the
/// monotonic clock, which can't, for rates and durations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    unix_ms: u64,
    mono_ns: u64,
}

impl Moment {
    #[must_use]
    pub const fn new(unix_ms: u64, mono_ns: u64) -> Self {
        Self { unix_ms, mono_ns }
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn unix_ms(self) -> u64 {
        self.unix_ms
    }

    /// Whole seconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn unix_secs(self) -> u64 {
        self.unix_ms / 1_000
    }

    /// Days since 1970-01-01, UTC.
    #[must_use]
    pub fn unix_day(self) -> u32 {
        u32::try_from(self.unix_ms / 86_400_000).unwrap_or(u32::MAX)
    }

    /// Nanoseconds since this process's clock was made. Never goes back.
    #[must_use]
    pub const fn mono_ns(self) -> u64 {
        self.mono_ns
    }

    /// How much later this is than `earlier` by the monotonic clock; zero if it is not.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.mono_ns.saturating_sub(earlier.mono_ns))
    }

    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        let ns = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        Self {
            unix_ms: self.unix_ms.saturating_add(ns / 1_000_000),
            mono_ns: self.mono_ns.saturating_add(ns),
        }
    }
}

/// Where moments come from: the system, or a test's hand.
#[derive(Clone, Debug)]
pub enum Clock {
    System { origin: Instant },
    Manual(Arc<ManualClock>),
}

impl Clock {
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that reads clocks")]
    pub fn system() -> Self {
        Self::System { origin: Instant::now() }
    }

    /// A clock that stands still until it is moved, and the handle that moves it.
    #[must_use]
    pub fn manual(start_unix_ms: u64) -> (Self, Arc<ManualClock>) {
        let hand = Arc::new(ManualClock {
            unix_ms: AtomicU64::new(start_unix_ms),
            mono_ns: AtomicU64::new(1_000_000_000),
        });
        (Self::Manual(Arc::clone(&hand)), hand)
    }

    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that reads clocks")]
    pub fn now(&self) -> Moment {
        match self {
            Self::System { origin } => {
                // A wall clock before 1970 is a broken machine; expiry checks then see the epoch
                // and tokens are "not yet valid", which refuses.
                let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                Moment::new(
                    u64::try_from(wall.as_millis()).unwrap_or(u64::MAX),
                    u64::try_from(origin.elapsed().as_nanos()).unwrap_or(u64::MAX),
                )
            }
            Self::Manual(hand) => Moment::new(
                hand.unix_ms.load(Ordering::Acquire),
                hand.mono_ns.load(Ordering::Acquire),
            ),
        }
    }
}

/// Moves a manual [`Clock`].
#[derive(Debug)]
pub struct ManualClock {
    unix_ms: AtomicU64,
    mono_ns: AtomicU64,
}

impl ManualClock {
    /// Both clocks go forward.
    pub fn advance(&self, by: Duration) {
        let ns = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.mono_ns.fetch_add(ns, Ordering::AcqRel);
        self.unix_ms.fetch_add(ns / 1_000_000, Ordering::AcqRel);
    }

    /// The wall clock jumps, as after a time correction; the monotonic one does not notice.
    pub fn jump_wall_to(&self, unix_ms: u64) {
        self.unix_ms.store(unix_ms, Ordering::Release);
    }
}
