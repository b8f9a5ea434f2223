//! A quota that several gateways spend from: GCRA in whole microseconds of the store's own clock.
//! `remote/lease.lua` does the same in Redis; a test holds the two together.
//!
//! Over any time `x` all gateways together are granted at most `burst + x / interval` units. A fast
//! quota is handed out in shares, a slow one unit by unit, and what is not needed comes back. Amazon
//! counts a call later than its unit was granted ([`Ask::late`]): a unit counts as late as it can, so
//! that the bucket here is never fuller than Amazon's. A duty has one owner at a time; the others are
//! told for how long.
use std::time::Duration;

use super::key::{Gateway, LeaseKey, Metered};

/// A duty with more than this between units has one owner at a time.
pub const SLOW: Duration = Duration::from_secs(60);
/// How long an owner keeps a duty after it last asked.
pub const OWNED_FOR: Duration = Duration::from_secs(30);
const INTERVAL_MAX: Duration = Duration::from_secs(366 * 86_400);
const DRAIN_MAX: Duration = Duration::from_secs(10 * 366 * 86_400);

/// How fast a quota refills, and how much it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    interval_us: u64,
    burst: u32,
}

/// Why there is no such [`Rate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateFault {
    /// Shorter than a microsecond or longer than 366 days.
    Interval,
    /// Zero, or it takes more than ten years to come back.
    Burst,
}

impl Rate {
    /// One unit every `interval` (rounded up to a microsecond), `burst` at once.
    pub fn new(interval: Duration, burst: u32) -> Result<Self, RateFault> {
        if interval.is_zero() || interval > INTERVAL_MAX {
            return Err(RateFault::Interval);
        }
        let interval_us = interval.as_nanos().div_ceil(1_000);
        let drain = interval_us.saturating_mul(u128::from(burst));
        if burst == 0 || drain > DRAIN_MAX.as_micros() {
            return Err(RateFault::Burst);
        }
        let interval_us = u64::try_from(interval_us).map_err(|_| RateFault::Interval)?;
        Ok(Self { interval_us, burst })
    }

    #[must_use]
    pub const fn interval(&self) -> Duration {
        Duration::from_micros(self.interval_us)
    }

    #[must_use]
    pub const fn burst(&self) -> u32 {
        self.burst
    }

    /// Whether one gateway at a time owns such a quota.
    #[must_use]
    pub fn has_owner(&self, of: Metered) -> bool {
        of == Metered::Duty && self.interval() > SLOW
    }

    pub(super) const fn interval_us(&self) -> u64 {
        self.interval_us
    }

    /// The time in which an empty quota fills up.
    pub(super) const fn drain_us(&self) -> u64 {
        self.interval_us.saturating_mul(self.burst as u64)
    }

    /// The part of this rate that the gateway in `place` of `count` may spend by itself. The parts
    /// of all places add up to the whole, to the unit. `None` where no unit falls to it.
    #[must_use]
    pub fn part(&self, place: u16, count: u16) -> Option<Self> {
        let count32 = u32::from(count);
        let each = self.burst.checked_div(count32)?;
        let left = self.burst.checked_rem(count32)?;
        let burst = each.saturating_add(u32::from(u32::from(place) < left));
        // The rate is divided among those who hold a unit, and no others can use it.
        let holders = u64::from(count32.min(self.burst));
        let interval_us = self.interval_us.saturating_mul(holders);
        (burst > 0).then_some(Self { interval_us, burst })
    }
}

/// What a gateway asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    pub key: LeaseKey,
    pub rate: Rate,
    /// Units wanted; more than the burst is never granted.
    pub wanted: u32,
    /// Units that were spent without the store while it could not be had. Charged first.
    pub debt: u32,
    /// Units that were granted to this gateway and not spent. No quota is more than full.
    pub returned: u32,
    /// A unit may be counted so much later than it was granted, by whoever counts in the end.
    pub late: Duration,
}

impl Ask {
    /// The longest wait that [`grant`] tells: no bucket is more than empty, and no owner owns for longer.
    pub(super) fn wait_max(&self) -> Duration {
        Duration::from_micros(self.rate.drain_us()).saturating_add(self.late).max(OWNED_FOR)
    }
}

/// Who may spend from the quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// Everyone, by shares.
    All,
    /// This gateway alone, until so much later.
    Me(Duration),
    /// Another gateway, until so much later at most.
    Another(Duration),
}

/// What a gateway was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// At most what was wanted; to be spent soon or lost.
    pub granted: u32,
    /// The time until asking again makes sense; zero if something was granted.
    pub wait: Duration,
    /// Until the quota would be full again.
    pub full_in: Duration,
    pub holder: Holder,
}

/// What is remembered of a quota: when it will be full again, and who owns it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    pub(super) full_at_us: u64,
    pub(super) owner: Option<Gateway>,
    pub(super) owned_until_us: u64,
}

/// What the store knows besides the quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    pub by: Gateway,
    /// Gateways that share the store now; a grant leaves something for each.
    pub peers: u16,
    /// The store's clock.
    pub now_us: u64,
    /// When the store began with nothing after it had known something. What it forgot is assumed to
    /// be spent.
    pub reborn_us: Option<u64>,
}

/// Charges the debt and grants what there is.
pub fn grant(known: Option<Bucket>, ask: &Ask, asked: &Asked) -> (Bucket, Lease) {
    let (now, rate) = (asked.now_us, ask.rate);
    let (interval, drain) = (rate.interval_us(), rate.drain_us());
    let empty_at_birth = asked.reborn_us.map_or(0, |born| born.saturating_add(drain));
    let mut bucket = known.unwrap_or(Bucket { full_at_us: empty_at_birth, ..Bucket::default() });
    let late = u64::try_from(ask.late.as_micros()).unwrap_or(u64::MAX);
    let (empty, latest) = (now.saturating_add(drain), now.saturating_add(late));
    // A clock that went back, or a rate that was raised: no bucket is more than empty.
    let last = empty.saturating_add(late);
    bucket.full_at_us = bucket.full_at_us.clamp(now, last);
    if ask.debt > 0 {
        let debt = interval.saturating_mul(u64::from(ask.debt));
        bucket.full_at_us = bucket.full_at_us.max(latest).saturating_add(debt).min(last);
    }
    let returned = interval.saturating_mul(u64::from(ask.returned));
    bucket.full_at_us = bucket.full_at_us.saturating_sub(returned).max(now);
    let holder = if rate.has_owner(ask.key.of) { bucket.claim(asked) } else { Holder::All };
    let from = bucket.full_at_us.max(latest);
    let mut left = empty.saturating_sub(from).checked_div(interval).unwrap_or(0);
    if late > 0 && bucket.full_at_us <= now {
        // Nothing that was granted can still be counted: one there is.
        left = left.max(1);
    }
    let most = match holder {
        Holder::All => left.div_ceil(u64::from(asked.peers.max(1))),
        Holder::Me(_) => left,
        Holder::Another(_) => 0,
    };
    let granted = u32::try_from(most).unwrap_or(u32::MAX).min(ask.wanted);
    if granted > 0 {
        bucket.full_at_us = from.saturating_add(interval.saturating_mul(u64::from(granted)));
    }
    let wait = match holder {
        _ if granted > 0 || ask.wanted == 0 => 0,
        Holder::Another(left) => u64::try_from(left.as_micros()).unwrap_or(u64::MAX),
        // Where even the second unit would come too soon, the bucket has to be full.
        Holder::All | Holder::Me(_) if late.saturating_add(interval) > drain => {
            bucket.full_at_us.saturating_sub(now)
        }
        Holder::All | Holder::Me(_) => {
            bucket.full_at_us.saturating_add(interval).saturating_sub(empty)
        }
    };
    let full_in = Duration::from_micros(bucket.full_at_us.saturating_sub(now));
    (bucket, Lease { granted, wait: Duration::from_micros(wait), full_in, holder })
}

impl Bucket {
    fn claim(&mut self, asked: &Asked) -> Holder {
        let term = u64::try_from(OWNED_FOR.as_micros()).unwrap_or(u64::MAX);
        // After a jump of the clock back, an old claim is no longer than a new one would be.
        let left = self.owned_until_us.saturating_sub(asked.now_us).min(term);
        match self.owner {
            Some(other) if other != asked.by && left > 0 => {
                Holder::Another(Duration::from_micros(left))
            }
            _ => {
                self.owner = Some(asked.by);
                self.owned_until_us = asked.now_us.saturating_add(term);
                Holder::Me(OWNED_FOR)
            }
        }
    }

    /// Nothing is lost by forgetting it: it is full and nobody's.
    pub const fn is_forgettable(&self, now_us: u64) -> bool {
        self.full_at_us <= now_us && self.owned_until_us <= now_us
    }
}
