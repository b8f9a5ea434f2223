//! Decides whether a host may end TLS: reads its permit (関所手形), a small document that the platform
//! team signs offline, and compares it with the host. Controls: TLS-3, PRIV-5.
//!
//! Never sees: files, clocks, private keys of listeners. The document, what the host can show of
//! itself, trusted keys and the time are passed in.
//! 1. A [`HostPermit`] is made by [`verify()`] alone, so whoever holds one has verified it.
//! 2. Nothing of a document is read before its signature is found to be a trusted issuer's.
//! 3. An empty list allows nothing; an unknown key, another spelling, a fact that the host can't show
//!    is a refusal; so is a life of more than 90 days.
//! 4. A clock that went back makes no expired permit good: see [`clock`].
//!
//! On failure: a [`PermitFault`], which holds no byte of the document.
pub mod clock;

mod claims;
mod facts;
mod issuer;
#[cfg(test)]
mod tests;
mod verify;

pub use claims::{Claims, DOCUMENT_BYTES_MAX, LIFE_MAX_SECS, LISTED_MAX, NamePattern};
pub use facts::{Fact, FactKind, HostFacts, instance_fact, machine_fact};
pub use issuer::{IssuerId, IssuerKey, Signer};
pub use verify::{Expected, HostPermit, PermitFault, read_unverified, signed_by, verify};
