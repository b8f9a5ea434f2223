//! The secret that gateways of one environment share, and the codes they write under it.
//!
//! Redis is another party's process, often another team's. It has to keep records, not to be
//! believed: whoever can write to it could otherwise set a release for any lock. So each record
//! carries an HMAC over its place and its content. Redis, its administrator or a thief of its
//! password can withhold records (which looks like a partition), or show an older one (which loses
//! against what a gateway knows, on disk too); they can't make one. The environment is part of the
//! derivation, so a record of the test environment is no record in production (PRIV-5). An HMAC, not
//! encryption: values hold nothing personal, and TLS covers the way.
use std::fmt;

use aws_lc_rs::hmac;

use super::key::KeyId;
use super::register::{DecodeFault, HEADER, Register};
use crate::base::{HashKey, Name, Secret, Use};

/// Bytes of a code: HMAC-SHA-256, cut to 128 bits.
pub(super) const CODE: usize = 16;

/// Keys derived from the secret that gateways share. The same file on each of them.
#[derive(Clone)]
pub struct SharedSecret {
    ids: hmac::Key,
    seals: hmac::Key,
}

/// What a code is for: a record never counts in another place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Lock,
    Blob,
    Alarm,
}

impl SharedSecret {
    #[must_use]
    pub fn derive(master: &Secret<[u8; 32]>, environment: &Name) -> Self {
        let master = hmac::Key::new(hmac::HMAC_SHA256, master.reveal_for(Use::Verify));
        let derive = |label: &str| {
            let mut context = hmac::Context::with_key(&master);
            context.update(label.as_bytes());
            context.update(environment.as_str().as_bytes());
            hmac::Key::new(hmac::HMAC_SHA256, context.sign().as_ref())
        };
        Self { ids: derive("sekisho store ids 1\0"), seals: derive("sekisho store seals 1\0") }
    }

    /// A key for hashes that all gateways of the environment make alike.
    #[must_use]
    pub fn hash_key(&self, purpose: &'static str) -> HashKey {
        let mut context = hmac::Context::with_key(&self.ids);
        context.update(b"sekisho hash key 1\0");
        context.update(purpose.as_bytes());
        HashKey::new(first(context.sign().as_ref()))
    }

    pub(super) fn key_id(&self, kind: &'static str, text: &[u8]) -> KeyId {
        let mut context = hmac::Context::with_key(&self.ids);
        context.update(kind.as_bytes());
        context.update(&[0]);
        context.update(text);
        KeyId::new(first(context.sign().as_ref()))
    }

    fn code(&self, purpose: Purpose, place: &[u8], content: &[u8]) -> [u8; CODE] {
        let purpose = match purpose {
            Purpose::Lock => b'L',
            Purpose::Blob => b'B',
            Purpose::Alarm => b'A',
        };
        let mut hash = hmac::Context::with_key(&self.seals);
        hash.update(&[purpose]);
        // Places have a fixed length for each purpose, so there is one way to split the input.
        hash.update(place);
        hash.update(content);
        first(hash.sign().as_ref())
    }

    /// The content with its code behind it.
    pub(super) fn seal(&self, purpose: Purpose, place: &[u8], mut content: Vec<u8>) -> Vec<u8> {
        let code = self.code(purpose, place, &content);
        content.extend_from_slice(&code);
        content
    }

    /// The content, if a gateway of this environment wrote it for this place.
    pub(super) fn open<'a>(
        &self,
        purpose: Purpose,
        place: &[u8],
        sealed: &'a [u8],
    ) -> Option<&'a [u8]> {
        let (content, code) = sealed.split_last_chunk::<CODE>()?;
        let expected = self.code(purpose, place, content);
        aws_lc_rs::constant_time::verify_slices_are_equal(&expected, code).ok()?;
        Some(content)
    }

    /// A record with at most `max` bytes of value, read and checked.
    pub(super) fn open_register(
        &self,
        purpose: Purpose,
        place: &[u8],
        sealed: &[u8],
        max: usize,
    ) -> Option<Register> {
        if sealed.len() > HEADER.saturating_add(max).saturating_add(CODE) {
            return None;
        }
        let content = self.open(purpose, place, sealed)?;
        Register::decode(content, max).map_err(|_: DecodeFault| ()).ok()
    }
}

fn first(tag: &[u8]) -> [u8; 16] {
    let mut out = [0; 16];
    for (to, from) in out.iter_mut().zip(tag) {
        *to = *from;
    }
    out
}

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedSecret([secret])")
    }
}
