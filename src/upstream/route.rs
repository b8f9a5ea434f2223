//! An upstream as the request path uses it: pick an address, report what came of it.
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::breaker::{Admission, BreakerChange, BreakerSpec, Verdict};
use super::pool::{Choice, Pool};
use crate::base::{Moment, Name, UpstreamFault};

/// What an upstream is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamSpec {
    pub name: Name,
    /// A DNS name, or an IP address without brackets.
    pub host: String,
    pub port: u16,
    pub addresses: Addresses,
    pub breaker: BreakerSpec,
}

/// Where an upstream's addresses come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// These, and no name is ever resolved.
    Fixed(Vec<SocketAddr>),
    /// The name's, see [`super::keep_resolved`].
    Dns,
}

/// What came of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// An answer came.
    Ok,
    /// An answer came, and it was 502, 503 or 504.
    Unavailable,
    ConnectFailed,
    TimedOut,
    /// Its certificate, name or pin did not verify (TLS-2).
    Untrusted,
    Malformed,
    /// The connection ended before the answer was whole.
    Closed,
    /// It ended for a reason that is not the upstream's, such as a caller who went away.
    Abandoned,
}

impl Outcome {
    const fn verdict(self) -> Verdict {
        match self {
            Self::Ok => Verdict::Well,
            Self::Unavailable
            | Self::ConnectFailed
            | Self::TimedOut
            | Self::Untrusted
            | Self::Malformed
            | Self::Closed => Verdict::Ill,
            Self::Abandoned => Verdict::Unknown,
        }
    }
}

/// One upstream's addresses and health. Lives on across reloads that leave its spec as it is.
#[derive(Debug)]
pub struct Upstream {
    spec: UpstreamSpec,
    picks: AtomicU64,
    /// Held for a few dozen nanoseconds per request, never across an await.
    pool: Mutex<Pool>,
    resolved: Notify,
}

impl Upstream {
    #[must_use]
    pub fn new(spec: UpstreamSpec) -> Self {
        let mut pool = Pool::new(spec.breaker);
        if let Addresses::Fixed(addresses) = &spec.addresses {
            pool.replace(addresses);
        }
        Self { spec, picks: AtomicU64::new(0), pool: Mutex::new(pool), resolved: Notify::new() }
    }

    #[must_use]
    pub const fn spec(&self) -> &UpstreamSpec {
        &self.spec
    }

    /// Whether a new configuration may go on with this one, its health and its breaker.
    #[must_use]
    pub fn is_for(&self, spec: &UpstreamSpec) -> bool {
        self.spec == *spec
    }

    /// Chooses an address for an attempt. `tried` are the addresses this request has failed at,
    /// which are avoided while there are others.
    ///
    /// # Errors
    /// `Unreachable` if no address is known; `CircuitOpen`.
    pub fn pick(
        self: &Arc<Self>,
        tried: &[SocketAddr],
        now: Moment,
    ) -> Result<Picked, UpstreamFault> {
        let random = scatter(self.picks.fetch_add(1, Ordering::Relaxed));
        let choice = self.pool.lock().pick(tried, random, now)?;
        Ok(Picked { upstream: Arc::clone(self), choice, told: Told::Nothing })
    }

    /// Waits until an address is known.
    ///
    /// # Errors
    /// `Unreachable` if there is none after `within`.
    pub async fn ready(&self, within: Duration) -> Result<(), UpstreamFault> {
        let known = async {
            loop {
                // Made before the look, so that an answer in between is not missed.
                let resolved = self.resolved.notified();
                if self.knows_addresses() {
                    return;
                }
                resolved.await;
            }
        };
        tokio::time::timeout(within, known).await.map_err(|_elapsed| UpstreamFault::Unreachable)
    }

    pub(super) fn knows_addresses(&self) -> bool {
        !self.pool.lock().is_empty()
    }

    pub(super) fn replace_addresses(&self, addresses: &[SocketAddr]) {
        self.pool.lock().replace(addresses);
        self.resolved.notify_waiters();
    }
}

/// Spreads a counter over all 64 bits (the finaliser of `SplitMix64`). Load is balanced by it, not
/// secrets.
const fn scatter(count: u64) -> u64 {
    let x = count.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// An address for one attempt. While it lives the attempt counts as in flight.
#[derive(Debug)]
#[must_use = "dropping it ends the attempt"]
pub struct Picked {
    upstream: Arc<Upstream>,
    choice: Choice,
    told: Told,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Nothing,
    Outcome,
}

impl Picked {
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.choice.addr
    }

    /// The address's place in the upstream's list at the time.
    #[must_use]
    pub const fn index(&self) -> usize {
        self.choice.index
    }

    /// The breaker's change that this attempt is the probe of.
    #[must_use]
    pub const fn change(&self) -> Option<BreakerChange> {
        self.choice.change
    }

    /// Reports what came of the attempt: when the head of the answer is there, or when it failed.
    /// The first report counts.
    pub fn report(&mut self, outcome: Outcome, now: Moment) -> Option<BreakerChange> {
        match self.told {
            Told::Outcome => None,
            Told::Nothing => {
                self.told = Told::Outcome;
                let Choice { addr, admission, .. } = self.choice;
                self.upstream.pool.lock().judge(addr, admission, outcome.verdict(), now)
            }
        }
    }
}

impl Drop for Picked {
    fn drop(&mut self) {
        self.choice.in_flight.fetch_sub(1, Ordering::Relaxed);
        match (self.told, self.choice.admission) {
            (Told::Nothing, Admission::Probe) => {
                self.upstream.pool.lock().give_back(Admission::Probe);
            }
            (Told::Nothing, Admission::Ordinary) | (Told::Outcome, _) => {}
        }
    }
}
