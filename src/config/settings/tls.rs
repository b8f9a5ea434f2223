//! How listeners speak TLS, and what certificates are to them (TLS-1, TLS-5, ACC-3).
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};

use super::TlsKey;

/// How a listener speaks TLS.
#[derive(Clone, Debug)]
pub struct TlsSettings {
    /// The first one answers clients that send no or another server name. Empty: this host may end
    /// TLS for none of them.
    pub certificates: Vec<CertifiedChain>,
    /// Certificates whose keys stay closed here, because no permit covers them (TLS-3).
    pub withheld: Vec<Withheld>,
    /// Certificates whose time is over: their keys stay closed as well.
    pub expired: Vec<Expired>,
    /// Roots for client certificates; `Some` whenever `client_auth` is not `None`.
    pub client_ca: Option<Vec<CertificateDer<'static>>>,
    /// Of the client certificates that no longer count; empty: none is asked.
    pub client_crl: Vec<RevocationList>,
    pub client_auth: ClientAuth,
    pub min_version: TlsVersion,
    /// Offered in this order, such as `h2`, `http/1.1`. Never empty.
    pub alpn: Vec<Alpn>,
}

impl TlsSettings {
    /// Names of all certificates, whatever becomes of their keys.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        let opened = self.certificates.iter().flat_map(|one| &one.server_names);
        opened.chain(self.closed_names())
    }

    /// Names that are refused here rather than answered with another certificate.
    pub fn closed_names(&self) -> impl Iterator<Item = &String> {
        let withheld = self.withheld.iter().flat_map(|one| &one.server_names);
        withheld.chain(self.expired.iter().flat_map(|one| &one.server_names))
    }
}

/// Whether what is in force is what its file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDisk {
    Same,
    /// The file holds nothing that can be used: what it held before stays, where there was any.
    Unusable,
}

/// A certificate that no permit covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withheld {
    /// As in [`CertifiedChain`].
    pub file: PathBuf,
    /// As in [`CertifiedChain`].
    pub server_names: Vec<String>,
}

/// A certificate whose time is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expired {
    /// As in [`CertifiedChain`].
    pub file: PathBuf,
    /// As in [`CertifiedChain`].
    pub server_names: Vec<String>,
    pub not_before_unix_secs: u64,
    pub not_after_unix_secs: u64,
}

/// Whether a client certificate is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// Not asked for; identities come by token.
    None,
    /// Asked for; one that is sent must verify.
    Optional,
    /// Without one there is no connection.
    Required,
}

/// The oldest TLS version that is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// AEAD suites with ECDHE only.
    V1_2,
    V1_3,
}

/// A protocol offered inside TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alpn {
    H2,
    Http11,
}

impl Alpn {
    /// The name on the wire (RFC 7301).
    #[must_use]
    pub const fn wire(self) -> &'static [u8] {
        match self {
            Self::H2 => b"h2",
            Self::Http11 => b"http/1.1",
        }
    }
}

/// A certificate with its chain and key, already found to belong together. A listener's, or, with a
/// [`ClientKey`](super::ClientKey), one that the gateway shows to others.
#[derive(Clone, Debug)]
pub struct CertifiedChain<K = TlsKey> {
    /// Where the certificate was read.
    pub file: PathBuf,
    pub on_disk: OnDisk,
    /// Leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    pub key: K,
    /// DNS names of the leaf, in lower case; `*.` in front stands for one label. And its addresses, but
    /// for loopback's, by which nobody else can be meant.
    pub server_names: Vec<String>,
    /// When the leaf's validity begins and ends, seconds since 1970 (TLS-5).
    pub not_before_unix_secs: u64,
    pub not_after_unix_secs: u64,
    /// What the authority says of the leaf, to be shown with it.
    pub staple: Option<Staple>,
    pub staple_on_disk: OnDisk,
}

/// A list of revoked certificates (RFC 5280 §5), its signature verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationList {
    /// Where it is read.
    pub file: PathBuf,
    pub on_disk: OnDisk,
    pub der: CertificateRevocationListDer<'static>,
    pub this_update_unix_secs: u64,
    /// From then on it no longer counts, and nobody passes of whom it speaks.
    pub next_update_unix_secs: u64,
}

/// A stapled OCSP response (RFC 6960, RFC 6066 §8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Staple {
    pub der: Arc<[u8]>,
    pub this_update_unix_secs: u64,
    pub next_update_unix_secs: u64,
}

impl Staple {
    /// How far the clocks of an authority and of this machine may differ.
    const SKEW_SECS: u64 = 300;

    /// When it counts, in seconds since 1970: out of its time it helps nobody, and strict clients turn
    /// away from it.
    #[must_use]
    pub const fn time(&self) -> Range<u64> {
        self.this_update_unix_secs.saturating_sub(Self::SKEW_SECS)..self.next_update_unix_secs
    }
}
