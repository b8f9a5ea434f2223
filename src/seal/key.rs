//! A host's key pair: the private half never leaves the host.
use std::fmt;

use aws_lc_rs::agreement::{self, PrivateKey, UnparsedPublicKey, X25519};
use aws_lc_rs::digest;
use zeroize::Zeroizing;

use super::jwe::SealFault;
use crate::base::{RawKind, Secret, Use, base64url};

const KIND: &str = "x25519:";

/// To whom something is sealed: an X25519 public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recipient([u8; 32]);

impl Recipient {
    pub(super) const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(super) const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads `x25519:` and 43 characters of base64url; white space around it is no part of it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let key = text.trim_ascii().strip_prefix(KIND)?;
        base64url::decode_array(key.as_bytes()).map(Self)
    }

    /// Names the key in what is sealed to it: the JWK thumbprint (RFC 7638, RFC 8037 §2).
    #[must_use]
    pub fn id(&self) -> String {
        let x = base64url::encode(&self.0);
        let jwk = format!("{{\"crv\":\"X25519\",\"kty\":\"OKP\",\"x\":\"{x}\"}}");
        base64url::encode(digest::digest(&digest::SHA256, jwk.as_bytes()).as_ref())
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{KIND}{}", base64url::encode(&self.0))
    }
}

/// A host's own key.
#[derive(Clone)]
pub struct HostKey {
    secret: Secret<[u8; 32]>,
    public: Recipient,
}

impl HostKey {
    /// From 32 random bytes. None only if the provider refuses them.
    #[must_use]
    pub fn new(secret: Secret<[u8; 32]>) -> Option<Self> {
        let own = PrivateKey::from_private_key(&X25519, secret.reveal_for(Use::Verify)).ok()?;
        let public = own.compute_public_key().ok()?;
        let public = Recipient(public.as_ref().try_into().ok()?);
        Some(Self { secret, public })
    }

    /// None if the file holds no X25519 key.
    #[must_use]
    pub fn of_pem(pem: &[u8]) -> Option<Self> {
        RawKind::X25519.of_pem(pem).and_then(Self::new)
    }

    #[must_use]
    pub fn to_pem(&self) -> Zeroizing<String> {
        RawKind::X25519.to_pem(&self.secret)
    }

    #[must_use]
    pub const fn public(&self) -> Recipient {
        self.public
    }

    /// A key for one purpose of the host's own, from which this one can't be told.
    #[must_use]
    pub fn derive(&self, purpose: &'static str) -> Secret<[u8; 32]> {
        Secret::new(self.secret.derive(purpose))
    }

    /// The secret that this key and another's public key have in common (RFC 7748 §6.1).
    pub(super) fn agree(&self, with: &Recipient) -> Result<Zeroizing<[u8; 32]>, SealFault> {
        let own = PrivateKey::from_private_key(&X25519, self.secret.reveal_for(Use::Verify))
            .map_err(|_rejected| SealFault::Key)?;
        let other = UnparsedPublicKey::new(&X25519, with.0);
        // A public key of small order gives zeros, which the provider refuses.
        agreement::agree(&own, other, SealFault::Key, |shared| {
            shared.try_into().map(Zeroizing::new).map_err(|_length| SealFault::Key)
        })
    }
}

impl fmt::Debug for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostKey({})", self.public)
    }
}
