//! What a gateway may do while the store can't be had. Pure; the engine asks it at each change of
//! condition and as time passes.
//!
//! Locks: the last known ones hold, always; nothing here or elsewhere lifts a lock because the store
//! is gone. Quotas: each gateway spends its own part, and begins with that part spent, because the
//! store may just have given everything away. The parts add up to the limit. What was spent apart is
//! told to the store afterwards ([`Ask::debt`](super::Ask)). The store that is only cut off from some
//! gateways still serves the others whole; until the debt is told, the sum can therefore exceed the
//! limit by the parts of those that are cut off, and by no more.
use std::time::Duration;

use super::bucket::{OWNED_FOR, Rate};
use super::fault::{Condition, StoreFault};
use super::key::Metered;

/// Who shares the store, as last heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peers {
    /// How many, this gateway included. Zero: never heard.
    pub count: u16,
    /// This gateway's place among them, from zero, by number.
    pub place: u16,
}

/// What this gateway last saw of the store, for one quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sight {
    pub of: Metered,
    pub condition: Condition,
    /// For how long the store has not been had, by the monotonic clock.
    pub since: Duration,
    pub peers: Peers,
    /// For how long this gateway still owns the quota, by its own clock from before it asked. Zero
    /// if it does not, or nobody does.
    pub owned: Duration,
}

/// Where units of one quota come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowance {
    /// The store.
    Store,
    /// This gateway alone still owns the whole quota: it goes on from what it knows.
    Whole,
    /// This part, from an empty start.
    Part(Rate),
    /// Nowhere. The reason is for the caller's answer.
    Nothing(StoreFault),
}

/// Where units of a quota come from now.
#[must_use]
pub fn allowance(rate: Rate, sight: &Sight) -> Allowance {
    let fault = match sight.condition {
        Condition::Sound => return Allowance::Store,
        Condition::Faulty(fault) => fault,
    };
    if rate.has_owner(sight.of) {
        if !sight.owned.is_zero() {
            return Allowance::Whole;
        }
        // Another gateway may still be spending as the owner.
        if sight.since < OWNED_FOR {
            return Allowance::Nothing(fault);
        }
    }
    rate.part(sight.peers.place, sight.peers.count)
        .map_or(Allowance::Nothing(fault), Allowance::Part)
}
