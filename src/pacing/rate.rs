//! A rate toward Amazon, and the plan a bucket starts from.
use super::number::{NumberFault, billionths};

/// Calls per second, in billionths: 0.00001 (about one a day) to 10,000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate {
    nano_hz: u64,
}

impl Rate {
    pub const MIN: Self = Self { nano_hz: 10_000 };
    pub const MAX: Self = Self { nano_hz: 10_000_000_000_000 };

    /// The value of `x-amzn-RateLimit-Limit`: a plain decimal number of calls per second. It is
    /// read as the least number that is written so: 0.0167 may be a rounded 1/60.
    ///
    /// # Errors
    /// Nonsense teaches nothing: what Amazon said before stays in force.
    pub fn parse(text: &[u8]) -> Result<Self, NumberFault> {
        Self::bounded(billionths(text)?)
    }

    /// The catalogue's number.
    ///
    /// # Errors
    /// It is not within [`Rate::MIN`] and [`Rate::MAX`].
    pub fn per_second(number: f64) -> Result<Self, NumberFault> {
        if !(1e-5..=1e4).contains(&number) {
            return Err(NumberFault::Range);
        }
        // Nine decimals hold every number that Amazon writes, and Rust prints the shortest that
        // reads back as the same.
        Self::parse(format!("{number}").as_bytes())
    }

    fn bounded(nano_hz: u64) -> Result<Self, NumberFault> {
        let rate = Self { nano_hz };
        if (Self::MIN..=Self::MAX).contains(&rate) {
            Ok(rate.cautious())
        } else {
            Err(NumberFault::Range)
        }
    }

    /// Amazon rounds: 0.0167 and 0.017 stand for 1/60, 0.0056 for 1/180. Whoever takes them by the
    /// letter is refused some hundred calls later. So a number with three decimals or more is taken
    /// half a unit of its last place lower, but at most a twentieth.
    fn cautious(self) -> Self {
        let mut unit = 1;
        while unit < 1_000_000_000 && self.nano_hz.is_multiple_of(unit * 10) {
            unit *= 10;
        }
        let half = if unit <= 1_000_000 { unit / 2 } else { 0 };
        self.less(half.min(self.nano_hz / 20))
    }

    pub(super) const fn nano_hz(self) -> u64 {
        self.nano_hz
    }

    pub(super) const fn from_nano_hz(nano_hz: u64) -> Self {
        let rate = if nano_hz < Self::MIN.nano_hz { Self::MIN.nano_hz } else { nano_hz };
        Self { nano_hz: if rate > Self::MAX.nano_hz { Self::MAX.nano_hz } else { rate } }
    }

    /// This times `part` thousandths.
    pub(super) const fn scaled(self, part: u64) -> Self {
        Self::from_nano_hz(self.nano_hz / 1_000 * part + self.nano_hz % 1_000 * part / 1_000)
    }

    const fn less(self, by: u64) -> Self {
        Self::from_nano_hz(self.nano_hz.saturating_sub(by))
    }

    /// The time in which one call comes back, in nanoseconds: 0.1 ms to a day, rounded up. It is a
    /// thousandth longer than the rate says, more than two machines' clocks differ in pace.
    pub(super) const fn interval_ns(self) -> u64 {
        const SLACK: u64 = 1_001_000_000_000_000_000;
        SLACK.div_ceil(self.nano_hz)
    }
}

/// What a bucket starts from before Amazon has said anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    rate: Rate,
    burst: u32,
}

impl Plan {
    pub const BURST_MAX: u32 = 10_000;

    /// For operations that Amazon publishes no plan for: the slowest that many have.
    pub const UNPUBLISHED: Self = Self { rate: Rate { nano_hz: 500_000_000 }, burst: 1 };

    /// # Errors
    /// The burst is zero or above [`Plan::BURST_MAX`].
    pub fn new(rate: Rate, burst: u32) -> Result<Self, NumberFault> {
        if !(1..=Self::BURST_MAX).contains(&burst) {
            return Err(NumberFault::Range);
        }
        Ok(Self { rate, burst })
    }

    #[must_use]
    pub const fn rate(self) -> Rate {
        self.rate
    }

    #[must_use]
    pub const fn burst(self) -> u32 {
        self.burst
    }
}
