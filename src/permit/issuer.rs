//! The platform team's keys: whose word counts, and the signature line.
use std::fmt;

use aws_lc_rs::digest;
use aws_lc_rs::signature::{self, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use zeroize::Zeroizing;

use super::claims::Claims;
use super::verify::PermitFault;
use crate::base::{RawKind, Secret, Use, base64url};

/// Signed in front of the text, so that a signature made for anything else is none for a permit.
const DOMAIN: &[u8] = b"sekisho host permit 1\n";
const MARK: &str = "signature: ";
const KIND: &str = "ed25519:";

/// Names an issuer's key: the first 8 bytes of its SHA-256, in hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct IssuerId([u8; 16]);

impl IssuerId {
    fn of(public: &[u8; 32]) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let hash = digest::digest(&digest::SHA256, public);
        let nibbles = hash.as_ref().iter().flat_map(|byte| [byte >> 4, byte & 15]);
        let mut text = [b'0'; 16];
        for (to, nibble) in text.iter_mut().zip(nibbles) {
            *to = DIGITS.get(usize::from(nibble)).copied().unwrap_or(b'0');
        }
        Self(text)
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for IssuerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whose permits count: an Ed25519 public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IssuerKey([u8; 32]);

impl IssuerKey {
    /// Reads `ed25519:` and 43 characters of base64url; white space around it is no part of it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let key = text.trim_ascii().strip_prefix(KIND)?;
        base64url::decode_array(key.as_bytes()).map(Self)
    }

    #[must_use]
    pub fn id(&self) -> IssuerId {
        IssuerId::of(&self.0)
    }
}

impl fmt::Display for IssuerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{KIND}{}", base64url::encode(&self.0))
    }
}

/// Signs permits. Belongs on a machine that nothing reaches.
pub struct Signer {
    seed: Secret<[u8; 32]>,
    pair: Ed25519KeyPair,
}

impl Signer {
    /// From 32 random bytes. None only if the provider refuses them.
    #[must_use]
    pub fn new(seed: Secret<[u8; 32]>) -> Option<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.reveal_for(Use::Verify)).ok()?;
        Some(Self { seed, pair })
    }

    /// None if the file holds no Ed25519 key.
    #[must_use]
    pub fn of_pem(pem: &[u8]) -> Option<Self> {
        RawKind::Ed25519.of_pem(pem).and_then(Self::new)
    }

    #[must_use]
    pub fn to_pem(&self) -> Zeroizing<String> {
        RawKind::Ed25519.to_pem(&self.seed)
    }

    #[must_use]
    pub fn public(&self) -> IssuerKey {
        let mut public = [0; 32];
        for (to, from) in public.iter_mut().zip(self.pair.public_key().as_ref()) {
            *to = *from;
        }
        IssuerKey(public)
    }

    /// The document of these claims, signed. Whether they make a permit is for [`super::verify()`] to
    /// say.
    #[must_use]
    pub fn sign(&self, claims: &Claims) -> String {
        let text = claims.to_text();
        let signature = self.pair.sign(&message(text.as_bytes()));
        let signature = base64url::encode(signature.as_ref());
        format!("{text}{MARK}{} {KIND}{signature}\n", self.public().id().as_str())
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({:?})", self.public().id())
    }
}

fn message(text: &[u8]) -> Vec<u8> {
    [DOMAIN, text].concat()
}

/// A document in its two parts.
pub(super) struct Signed<'d> {
    text: &'d [u8],
    issuer: &'d [u8],
    signature: [u8; 64],
}

impl<'d> Signed<'d> {
    /// Takes the last line off; it must be whole, with its end.
    pub(super) fn split(document: &'d [u8]) -> Result<Self, PermitFault> {
        let lines = document.strip_suffix(b"\n").ok_or(PermitFault::Torn)?;
        let begins = lines.iter().rposition(|byte| *byte == b'\n').ok_or(PermitFault::Torn)?;
        let (text, line) = document.split_at_checked(begins + 1).ok_or(PermitFault::Torn)?;
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let parts = line.strip_prefix(MARK.as_bytes()).and_then(|rest| rest.split_at_checked(16));
        let (issuer, rest) = parts.ok_or(PermitFault::Torn)?;
        let signature = rest.strip_prefix(b" ").and_then(|s| s.strip_prefix(KIND.as_bytes()));
        let signature = signature.and_then(base64url::decode_array).ok_or(PermitFault::Torn)?;
        Ok(Self { text, issuer, signature })
    }

    pub(super) const fn unverified(&self) -> &'d [u8] {
        self.text
    }

    pub(super) fn issuer(&self) -> Option<IssuerId> {
        let plain = |b: &u8| b.is_ascii_digit() || (b'a'..=b'f').contains(b);
        self.issuer.try_into().ok().filter(|id: &[u8; 16]| id.iter().all(plain)).map(IssuerId)
    }

    /// The text, and who signed it, if that is one of these.
    pub(super) fn verified(
        &self,
        issuers: &[IssuerKey],
    ) -> Result<(&'d [u8], IssuerKey), PermitFault> {
        let named = issuers.iter().find(|key| key.id().0 == self.issuer);
        let issuer = named.ok_or(PermitFault::Issuer)?;
        UnparsedPublicKey::new(&signature::ED25519, issuer.0)
            .verify(&message(self.text), &self.signature)
            .map_err(|_unspecified| PermitFault::Signature)?;
        Ok((self.text, *issuer))
    }
}
