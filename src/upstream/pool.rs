//! The addresses of one upstream, their health, and the choice among them. A plain value: moments
//! and randomness are passed in.
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::breaker::{Admission, Breaker, BreakerChange, BreakerSpec, Verdict};
use crate::base::{Moment, UpstreamFault};

/// Failures in a row after which an address rests.
pub(super) const REST_AFTER: u32 = 3;
/// The first rest; each one that follows without a success in between is twice as long.
pub(super) const REST_FIRST: Duration = Duration::from_secs(5);
pub(super) const REST_MAX: Duration = Duration::from_secs(300);

#[derive(Debug)]
pub(super) struct Pool {
    addresses: Vec<Address>,
    breaker: Breaker,
}

#[derive(Debug)]
struct Address {
    addr: SocketAddr,
    /// Requests on their way. Shared with them, so that they can leave without the pool.
    in_flight: Arc<AtomicU32>,
    failures: u32,
    rest: Option<Rest>,
}

#[derive(Clone, Copy, Debug)]
struct Rest {
    since: Moment,
    lasts: Duration,
}

/// A chosen address; the request counts as in flight until whoever holds this says otherwise.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) addr: SocketAddr,
    pub(super) index: usize,
    pub(super) in_flight: Arc<AtomicU32>,
    pub(super) admission: Admission,
    pub(super) change: Option<BreakerChange>,
}

impl Pool {
    pub(super) const fn new(breaker: BreakerSpec) -> Self {
        Self { addresses: Vec::new(), breaker: Breaker::new(breaker) }
    }

    /// Sets the addresses. Those that stay keep their health and their requests in flight.
    pub(super) fn replace(&mut self, addresses: &[SocketAddr]) {
        let mut before = std::mem::take(&mut self.addresses);
        for &addr in addresses {
            if self.addresses.iter().any(|known| known.addr == addr) {
                continue;
            }
            let known = before.iter().position(|known| known.addr == addr);
            self.addresses.push(known.map_or_else(
                || Address { addr, in_flight: Arc::default(), failures: 0, rest: None },
                |place| before.swap_remove(place),
            ));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.addresses.is_empty()
    }

    /// Chooses an address, if the breaker allows a request: of the healthy ones that this request
    /// has not tried, the less busy of two taken at random (Mitzenmacher 2001); else of all healthy
    /// ones; else the one whose rest ends first.
    ///
    /// # Errors
    /// `Unreachable` without any address; `CircuitOpen`.
    pub(super) fn pick(
        &mut self,
        tried: &[SocketAddr],
        random: u64,
        now: Moment,
    ) -> Result<Choice, UpstreamFault> {
        let (index, chosen) = self.choose(tried, random, now).ok_or(UpstreamFault::Unreachable)?;
        let (addr, in_flight) = (chosen.addr, Arc::clone(&chosen.in_flight));
        let (admission, change) = self.breaker.admit(now)?;
        in_flight.fetch_add(1, Ordering::Relaxed);
        Ok(Choice { addr, index, in_flight, admission, change })
    }

    fn choose(&self, tried: &[SocketAddr], random: u64, now: Moment) -> Option<(usize, &Address)> {
        let fresh = |address: &Address| address.is_well(now) && !tried.contains(&address.addr);
        self.less_busy_of_two(fresh, random)
            .or_else(|| self.less_busy_of_two(|address| address.is_well(now), random))
            .or_else(|| {
                self.addresses.iter().enumerate().min_by_key(|(_, address)| address.rest_left(now))
            })
    }

    fn less_busy_of_two(
        &self,
        suits: impl Fn(&Address) -> bool,
        random: u64,
    ) -> Option<(usize, &Address)> {
        let suited = || self.addresses.iter().enumerate().filter(|(_, address)| suits(address));
        let count = u32::try_from(suited().count()).unwrap_or(u32::MAX);
        let (low, high) = (random & u64::from(u32::MAX), random >> 32);
        let first = low.checked_rem(u64::from(count))?;
        let nth = |place: u64| suited().nth(usize::try_from(place).unwrap_or(usize::MAX));
        // Another one than the first: skip 1 to count-1 places ahead of it.
        let Some(skip) = high.checked_rem(u64::from(count.saturating_sub(1))) else {
            return nth(first);
        };
        let second = (first + 1 + skip) % u64::from(count);
        nth(first).into_iter().chain(nth(second)).min_by_key(|(_, address)| address.busy())
    }

    /// What came of a request. The address may be gone by now; the breaker hears of it anyway.
    pub(super) fn judge(
        &mut self,
        addr: SocketAddr,
        admission: Admission,
        verdict: Verdict,
        now: Moment,
    ) -> Option<BreakerChange> {
        if let Some(address) = self.addresses.iter_mut().find(|address| address.addr == addr) {
            address.judge(verdict, now);
        }
        self.breaker.judge(admission, verdict, now)
    }

    pub(super) fn give_back(&mut self, admission: Admission) {
        self.breaker.give_back(admission);
    }

    #[cfg(test)]
    pub(super) fn resting(&self, now: Moment) -> usize {
        self.addresses.iter().filter(|address| !address.is_well(now)).count()
    }

    #[cfg(test)]
    pub(super) fn in_flight(&self) -> u32 {
        self.addresses.iter().map(Address::busy).sum()
    }
}

impl Address {
    fn busy(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    fn rest_left(&self, now: Moment) -> Duration {
        self.rest.map_or(Duration::ZERO, |rest| rest.lasts.saturating_sub(now.since(rest.since)))
    }

    fn is_well(&self, now: Moment) -> bool {
        self.rest_left(now).is_zero()
    }

    fn judge(&mut self, verdict: Verdict, now: Moment) {
        match verdict {
            Verdict::Well => {
                self.failures = 0;
                self.rest = None;
            }
            // Requests that were under way when the rest began must not prolong it.
            Verdict::Ill if self.is_well(now) => {
                self.failures = self.failures.saturating_add(1);
                // Only a success sets them to zero: an address that comes back has one try.
                if self.failures >= REST_AFTER {
                    let lasts = self
                        .rest
                        .map_or(REST_FIRST, |rest| rest.lasts.saturating_mul(2).min(REST_MAX));
                    self.rest = Some(Rest { since: now, lasts });
                }
            }
            Verdict::Ill | Verdict::Unknown => {}
        }
    }
}
