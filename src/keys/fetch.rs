//! One key set, read once: from a file, or over HTTPS.
use std::fmt;
use std::io::Read;
use std::path::Path;

use aws_lc_rs::digest::{Context, SHA256};
use http_body_util::Full;
use tokio_rustls::TlsConnector;

use crate::https::{self, Roots, Site};
use crate::identity::{KeySet, KeySetFault};

/// Where a key set is fetched. There is no scheme to choose: it is HTTPS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwksUrl {
    pub site: Site,
    /// Path and query.
    pub path: String,
    pub roots: Roots,
}

impl JwksUrl {
    /// Stands for the place and for who may vouch for it, the same in every process.
    pub(super) fn mark(&self) -> [u8; 32] {
        let (site, mut of) = (&self.site, Context::new(&SHA256));
        let mut part = |bytes: &[u8]| {
            of.update(&u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
            of.update(bytes);
        };
        part(site.server_name.to_str().as_bytes());
        part(site.authority.as_bytes());
        part(site.host.as_bytes());
        part(&site.port.to_be_bytes());
        part(self.path.as_bytes());
        for address in &site.addresses {
            part(address.to_string().as_bytes());
        }
        if let Roots::Private(roots) = &self.roots {
            for root in roots {
                part(root);
            }
        }
        let mut mark = [0; 32];
        mark.iter_mut().zip(of.finish().as_ref()).for_each(|(to, from)| *to = *from);
        mark
    }
}

/// Why a key set could not be had. Carries nothing that a server or a file said (LOG-2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JwksFault {
    /// The file can't be read.
    File,
    /// No trusted root certificate to verify the server with.
    Roots,
    /// The host has no address, or none of them answers.
    Unreachable,
    /// The server did not prove its name, or speaks no TLS 1.3 (TLS-1, TLS-2).
    Untrusted,
    /// It took longer than allowed.
    TimedOut,
    /// It answered something other than 200; redirects are not followed.
    Status,
    /// It answered with something that is no HTTP/1.1, or closed early.
    Malformed,
    /// The set is longer than [`KeySet::BYTES_MAX`].
    TooLarge,
    /// The set was read and refused.
    Keys(KeySetFault),
    /// The fetch itself ended unexpectedly.
    Internal,
}

impl JwksFault {
    /// For records and metrics.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Roots => "roots",
            Self::Unreachable => "unreachable",
            Self::Untrusted => "untrusted",
            Self::TimedOut => "timed_out",
            Self::Status => "status",
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::Keys(_) => "keys",
            Self::Internal => "internal",
        }
    }
}

impl fmt::Display for JwksFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File => "the key file can't be read",
            Self::Roots => "there is no trusted root certificate to verify the key server with",
            Self::Unreachable => "the key server can't be reached",
            Self::Untrusted => "the key server did not prove its name, or speaks no TLS 1.3",
            Self::TimedOut => "the key server took too long",
            Self::Status => "the key server did not answer 200; redirects are not followed",
            Self::Malformed => "the key server's answer is no whole HTTP/1.1 response",
            Self::TooLarge => "the key set is longer than 256 KiB",
            Self::Keys(fault) => fault.as_str(),
            Self::Internal => "the fetch ended unexpectedly",
        })
    }
}

impl std::error::Error for JwksFault {}

impl From<https::Fault> for JwksFault {
    fn from(fault: https::Fault) -> Self {
        match fault {
            https::Fault::Roots => Self::Roots,
            https::Fault::Unreachable => Self::Unreachable,
            https::Fault::Untrusted => Self::Untrusted,
            https::Fault::Malformed => Self::Malformed,
            https::Fault::TooLarge => Self::TooLarge,
        }
    }
}

/// Reads at most one byte more than allowed, whatever the file's length claims to be.
pub(super) fn file(path: &Path) -> Result<KeySet, JwksFault> {
    let file = std::fs::File::open(path).map_err(|_| JwksFault::File)?;
    let mut text = Vec::new();
    let most = KeySet::BYTES_MAX as u64 + 1;
    file.take(most).read_to_end(&mut text).map_err(|_| JwksFault::File)?;
    KeySet::parse(&text).map_err(JwksFault::Keys)
}

/// One GET on one connection. The caller bounds the time.
pub(super) async fn https(url: &JwksUrl, tls: &TlsConnector) -> Result<KeySet, JwksFault> {
    let request = http::Request::get(&url.path)
        .header(http::header::ACCEPT, "application/jwk-set+json, application/json")
        .body(Full::default())
        .map_err(|_| JwksFault::Malformed)?;
    let wanted = https::Wanted::Whole(KeySet::BYTES_MAX);
    let answer = https::exchange(&url.site, tls, request, wanted).await?;
    if answer.head.status() != http::StatusCode::OK {
        return Err(JwksFault::Status);
    }
    KeySet::parse(&answer.body).map_err(JwksFault::Keys)
}
