//! Webhooks are signed, so that a receiver can tell our messages from anybody's, and old ones from
//! new ones.
use std::fmt::Write as _;

use aws_lc_rs::hmac;

use crate::base::{Secret, Use};

/// `t=SECONDS,v1=HEX`: HMAC-SHA-256 over the seconds since 1970 in decimal, a full stop, and the body.
pub const SIGNATURE_HEADER: &str = "sekisho-signature";

/// What receiver and gateway share.
#[derive(Clone, Debug)]
pub struct SigningKey(Secret<Vec<u8>>);

impl SigningKey {
    /// A shorter secret can be guessed.
    pub const BYTES_MIN: usize = 16;

    /// `None` if it is too short.
    #[must_use]
    pub fn new(secret: Vec<u8>) -> Option<Self> {
        let long = secret.len() >= Self::BYTES_MIN;
        let secret = Secret::new(secret);
        long.then_some(Self(secret))
    }

    /// The header's value.
    #[must_use]
    pub fn sign(&self, body: &[u8], unix_secs: u64) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.0.reveal_for(Use::Verify));
        let mut context = hmac::Context::with_key(&key);
        context.update(unix_secs.to_string().as_bytes());
        context.update(b".");
        context.update(body);
        let mut value = format!("t={unix_secs},v1=");
        for byte in context.sign().as_ref() {
            let _ = write!(value, "{byte:02x}");
        }
        value
    }
}

impl PartialEq for SigningKey {
    /// To notice that a configuration changed; both sides are our own.
    fn eq(&self, other: &Self) -> bool {
        self.0.reveal_for(Use::Verify) == other.0.reveal_for(Use::Verify)
    }
}

impl Eq for SigningKey {}

/// A token that is sent as it is.
#[derive(Clone, Debug)]
pub struct BearerToken(Secret<Vec<u8>>);

impl BearerToken {
    /// `None` unless it is of visible ASCII, and there.
    #[must_use]
    pub fn new(token: Vec<u8>) -> Option<Self> {
        let fits = !token.is_empty() && token.iter().all(u8::is_ascii_graphic);
        let token = Secret::new(token);
        fits.then_some(Self(token))
    }

    /// The value of `Authorization`.
    #[must_use]
    pub fn authorization(&self) -> Vec<u8> {
        [b"Bearer ", self.0.reveal_for(Use::Forward).as_slice()].concat()
    }
}

impl PartialEq for BearerToken {
    /// As for [`SigningKey`].
    fn eq(&self, other: &Self) -> bool {
        self.0.reveal_for(Use::Verify) == other.0.reveal_for(Use::Verify)
    }
}

impl Eq for BearerToken {}
