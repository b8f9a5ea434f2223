//! Whether this host may end TLS, and the private keys that follow from it (TLS-3).
use std::fmt;
use std::path::PathBuf;

use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use zeroize::Zeroize as _;

use crate::base::Use;
use crate::permit::{HostPermit, IssuerKey, PermitFault};
use crate::seal::{self, HostKey, SealFault};

/// What `[permit]` comes to on this host.
#[derive(Clone, Debug)]
pub struct PermitSettings {
    /// The permit, or why there is none.
    pub standing: Result<HostPermit, PermitFault>,
    /// Why what is in the file does not count, where the permit that was there before still does.
    pub refused: Option<PermitFault>,
    /// Where it is looked for; `None` without a `[permit]`.
    pub paper: Option<PermitPaper>,
    /// Whose permits count.
    pub issuers: Vec<IssuerKey>,
    /// The host's own key; `None` where it can't be read.
    pub host_key: Option<HostKey>,
    /// The latest time this host had seen, in seconds since 1970, as far as it is known.
    pub latest: Option<u64>,
}

/// Where a permit is, and what it is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PermitPaper {
    pub(in crate::config) file: PathBuf,
    pub(in crate::config) machine_id: PathBuf,
    pub(in crate::config) instance_document: Option<PathBuf>,
    /// The latest time that this host has seen.
    pub(in crate::config) record: PathBuf,
}

/// Why a private key can't be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFault {
    /// No private key in PEM, and nothing sealed.
    NoKey,
    /// It is sealed, and this host has no key to open it with.
    NoHostKey,
    Sealed(SealFault),
}

impl KeyFault {
    /// What to do about it.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::NoKey => "give a PEM private key: PKCS#8, SEC 1 or PKCS#1; best sealed",
            Self::NoHostKey => "make the host's key with `sekisho permit host`, and seal it again",
            Self::Sealed(_) => "seal it again to this host: `sekisho permit seal`",
        }
    }
}

impl fmt::Display for KeyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKey => f.write_str("no private key can be read there"),
            Self::NoHostKey => {
                f.write_str("the private key is sealed, and this host has no key of its own")
            }
            Self::Sealed(fault) => write!(f, "the sealed private key can't be opened: {fault}"),
        }
    }
}

/// A listener's private key. It can't be printed, and is wiped when it is given up; there is one way in,
/// which takes the host's permit, and one exit.
///
/// ```compile_fail
/// # use sekisho::config::TlsKey;
/// // No permit, no key.
/// let key = TlsKey::open(b"-----BEGIN PRIVATE KEY-----", None);
/// ```
/// ```
/// # use sekisho::config::{KeyFault, TlsKey};
/// # use sekisho::permit::HostPermit;
/// fn open(pem: &[u8], permit: &HostPermit) -> Result<TlsKey, KeyFault> {
///     TlsKey::open(pem, None, permit)
/// }
/// ```
pub struct TlsKey(PrivateKeyDer<'static>);

impl TlsKey {
    /// From PEM, or sealed to the host. That the permit covers the listener and the names of the
    /// certificate is for the caller to see to, who knows them.
    ///
    /// # Errors
    /// See [`KeyFault`].
    pub fn open(
        material: &[u8],
        host: Option<&HostKey>,
        _permit: &HostPermit,
    ) -> Result<Self, KeyFault> {
        read(material, host).map(Self)
    }

    #[must_use]
    pub const fn reveal_for(&self, _why: Use) -> &PrivateKeyDer<'static> {
        &self.0
    }
}

/// The private key with which the gateway proves itself to others: it ends no TLS, so it needs no
/// permit; a type of its own, so that none of these gets to a listener.
pub struct ClientKey(PrivateKeyDer<'static>);

impl ClientKey {
    /// From PEM, or sealed to the host.
    ///
    /// # Errors
    /// See [`KeyFault`].
    pub fn open(material: &[u8], host: Option<&HostKey>) -> Result<Self, KeyFault> {
        read(material, host).map(Self)
    }

    #[must_use]
    pub const fn reveal_for(&self, _why: Use) -> &PrivateKeyDer<'static> {
        &self.0
    }
}

fn read(material: &[u8], host: Option<&HostKey>) -> Result<PrivateKeyDer<'static>, KeyFault> {
    let pem = |pem: &[u8]| PrivateKeyDer::from_pem_slice(pem).map_err(|_error| KeyFault::NoKey);
    if !seal::is_sealed(material) {
        return pem(material);
    }
    let host = host.ok_or(KeyFault::NoHostKey)?;
    pem(&seal::open(material, host).map_err(KeyFault::Sealed)?)
}

macro_rules! closed {
    ($($key:ident)*) => {$(
        impl Clone for $key {
            fn clone(&self) -> Self {
                Self(self.0.clone_key())
            }
        }

        impl Drop for $key {
            fn drop(&mut self) {
                self.0.zeroize();
            }
        }

        impl fmt::Debug for $key {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("[secret]")
            }
        }
    )*};
}
closed! { TlsKey ClientKey }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_3_a_key_is_wiped_when_it_is_given_up() {
        assert!(std::mem::needs_drop::<TlsKey>() && std::mem::needs_drop::<ClientKey>());
        let pem = rcgen::KeyPair::generate().unwrap().serialize_pem();
        let mut key = ClientKey::open(pem.as_bytes(), None).unwrap();
        assert!(key.reveal_for(Use::Verify).secret_der().len() > 32);
        // As its end does.
        key.0.zeroize();
        assert!(key.reveal_for(Use::Verify).secret_der().is_empty());
    }
}
