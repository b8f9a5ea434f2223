//! Seals bytes to one host's key, as JWE (RFC 7516): `ECDH-ES` over X25519 (RFC 8037) with `A256GCM`,
//! in the compact form. Controls: TLS-3, PRIV-4.
//!
//! Never sees: files, clocks, who asks. Randomness is passed in.
//! 1. One algorithm, one spelling: a header with another key, word or order of trust is refused.
//! 2. What was sealed opens with the host's key only, whole or not at all.
//! 3. Plain bytes and keys are wiped from memory when dropped, and can't be printed.
//!
//! On failure: a [`SealFault`]; nothing of the content comes out.
mod jwe;
mod key;
#[cfg(test)]
mod tests;

pub use jwe::{PLAIN_BYTES_MAX, RANDOM_BYTES, SealFault, is_sealed, open, seal};
pub use key::{HostKey, Recipient};
