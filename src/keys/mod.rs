//! Fetches issuers' public keys and lends out what it has. Controls: ACC-1, TLS-2, TLS-5.
//!
//! Decides nothing about tokens: `identity` does, with the keys it is given. Never sees: requests,
//! tokens, private keys.
//! 1. No request waits for a fetch, except one whose key is unknown, and that one at most two seconds.
//! 2. An unknown key causes one fetch per issuer and cool-down, however many requests ask.
//! 3. HTTPS only, always verified, no redirects, bounded in time and size.
//! 4. A set replaces its predecessor only if it is good as a whole.
//! 5. Since when each key is known outlives the process: no restart makes one younger.
//! 6. A process that takes another one's place has the keys that one had, from the same places.
//!
//! On failure: the last good keys are lent on, the fault is counted and shown, and the fetch is tried
//! again after the cool-down. An issuer whose keys never came has none, and its tokens are refused.
mod fetch;
mod jwks;
mod seen;
mod source;
#[cfg(test)]
mod tests;

pub use fetch::{JwksFault, JwksUrl};
pub use jwks::{
    Handed, IssuerKeys, IssuerStatus, JwksCounters, JwksSource, JwksStore, Patience, Prepared,
};
pub use seen::SightFault;
