//! Makes the throw-away certificates and tokens that the demo, the tests and a developer's machine
//! stand on. Controls: none; it exists so that TLS-1, TLS-3, ACC-1 and PRIV-5 can be tried without a real key.
//! Never sees: configuration, requests, anybody's real key.
//!
//! 1. Private keys of authorities, and of the issuer of the host's permit, stay in memory: whoever
//!    trusts `ca.pem` and `issuer.pub` trusts no file on the disk.
//! 2. Every certificate's key is ECDSA P-256; every certificate ends after 30 days.
//! 3. Key files are created with mode 0600, never followed through a link, never overwritten unless
//!    [`Existing::Replace`] says so.
//!
//! On failure: a [`DevCertsError`] names the path; files already written stay where they are.
mod authority;
mod encode;
mod error;
mod host;
mod pki;
mod status;
mod token;
mod write;

pub use authority::{DevCa, Leaf, LeafPlan, LeafUse};
pub use error::DevCertsError;
pub use host::DevHost;
pub use pki::{DevPki, Layout, PkiPlan, Rogue};
pub use status::Says;
pub use token::{TokenClaims, TokenSigner};
pub use write::Existing;

pub(crate) use encode::{base64, base64url};

#[cfg(test)]
mod tests;
