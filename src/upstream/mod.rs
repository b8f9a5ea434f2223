//! Which address of an upstream a request goes to, and whether it goes at all.
//!
//! Decides: the address (the less busy of two healthy ones), when an address rests after failures,
//! when the whole upstream is left alone (circuit breaker), whether a failed attempt may be
//! repeated. Controls: TLS-2 (an upstream that can't prove itself counts as failed), MON-8.
//! Never sees: requests, headers, identities; only addresses, outcomes and moments.
//! 1. While the breaker is open nothing is sent but one probe at a time, after the pause.
//! 2. An address rests for a bounded time and then comes back. If all rest, the one nearest to its
//!    return is used: health never makes an upstream unreachable, only the breaker does.
//! 3. A request that is dropped without an outcome gives its place, and the probe, back.
//! 4. Names are resolved in the background. An answer that fails or is empty changes nothing.
//!
//! On failure: [`UpstreamFault::CircuitOpen`](crate::base::UpstreamFault) or `Unreachable`.
mod breaker;
mod pool;
mod resolve;
mod retry;
mod route;

pub use breaker::{BreakerChange, BreakerSpec};
pub use resolve::{NameChange, NameHealth, Resolution, keep_resolved};
pub use retry::{Idempotence, Retry, Sent, may_retry};
pub use route::{Addresses, Outcome, Picked, Upstream, UpstreamSpec};

#[cfg(test)]
mod tests;
