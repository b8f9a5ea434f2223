//! What a host can show of itself, and what a permit asks it to show.
use std::fmt;

use aws_lc_rs::{digest, hmac};

use crate::base::base64url;

/// A kind of proof that a host is the one it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FactKind {
    /// The operating system's machine id, hashed. Every permit asks for it.
    Machine,
    /// The public key to which the host's private keys are sealed. Every permit asks for it.
    SealingKey,
    /// A document that the platform put on the host, hashed; see [`instance_fact`].
    Instance,
    /// A key that never leaves the host's TPM.
    Tpm,
}

impl FactKind {
    pub const ALL: &'static [Self] = &[Self::Machine, Self::SealingKey, Self::Instance, Self::Tpm];

    /// Its key in the document.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Machine => "machine",
            Self::SealingKey => "sealing_key",
            Self::Instance => "instance",
            Self::Tpm => "tpm",
        }
    }
}

/// One fact, as a short public text such as `x25519:…`; compared as a whole.
#[derive(Clone, PartialEq, Eq)]
pub struct Fact(String);

impl Fact {
    /// The longest text.
    pub const LENGTH_MAX: usize = 256;

    /// Printable ASCII without quotes and backslashes; none for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let plain = |b: u8| b.is_ascii_graphic() && b != b'"' && b != b'\\';
        let fits = !text.is_empty() && text.len() <= Self::LENGTH_MAX;
        (fits && text.bytes().all(plain)).then(|| Self(text.to_owned()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A host, as far as it can be told apart from others. What it can't show, no permit that asks for it
/// is good for.
pub trait HostFacts {
    fn fact(&self, kind: FactKind) -> Option<Fact>;
}

/// Stands for a machine id (`/etc/machine-id`) without giving it away, as machine-id(5) asks: an HMAC
/// under the id itself. None for an empty text.
#[must_use]
pub fn machine_fact(id: &[u8]) -> Option<Fact> {
    let id = id.trim_ascii();
    if id.is_empty() {
        return None;
    }
    let key = hmac::Key::new(hmac::HMAC_SHA256, id);
    let tag = hmac::sign(&key, b"sekisho host permit 1");
    Fact::parse(&format!("hmac-sha256:{}", base64url::encode(tag.as_ref())))
}

/// Stands for a document by which a platform tells its hosts apart: its SHA-256. It proves as much as
/// whoever wrote the file does. None for an empty one.
#[must_use]
pub fn instance_fact(document: &[u8]) -> Option<Fact> {
    if document.is_empty() {
        return None;
    }
    let hash = digest::digest(&digest::SHA256, document);
    Fact::parse(&format!("sha256:{}", base64url::encode(hash.as_ref())))
}
