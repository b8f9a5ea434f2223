//! What the gateway remembers between requests: spent quotas and open connections.
//!
//! Decides: whether an identity's quotas have room for one more request, and whether one more
//! connection may be open. Controls: MON-2, ACC-1; NET-1's bounds on what an address may hold.
//! Never sees: addresses (only their keyed hash), headers, bodies, tokens.
//! 1. A request is charged in every window that applies to it, or in none.
//! 2. Memory is fixed by the configuration (quotas) or by the connections that are open: nothing is
//!    ever evicted, so nothing refills early.
//! 3. A reload does not refill: spent state moves to the new configuration by name, and requests
//!    that still run under the old one spend from the same buckets where a window stayed.
//!
//! On failure: an identity that is not registered is refused; a limit of zero admits nobody.
mod connections;
mod quota;

pub use connections::{
    ConnectionCounts, ConnectionFault, ConnectionLimits, IdentityPermit, Permit,
};
pub use quota::{
    Among, Charged, Given, Held, Mark as QuotaMark, Places as QuotaPlaces, QuotaError, QuotaFault,
    Quotas, Refused, SavedFault, Source as QuotaSource, Spent, Standing, Supply, Units, Want,
    Whose, WindowView,
};

#[cfg(test)]
mod tests;
