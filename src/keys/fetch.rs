//! One key set, read once: from a file, or over HTTPS.
use std::fmt;
use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::identity::{KeySet, KeySetFault};

/// Bytes and fields of a response head. A key server's is a few hundred bytes.
const HEAD_MAX: usize = 32 * 1024;
const FIELDS_MAX: usize = 64;

/// Where a key set is fetched. There is no scheme to choose: it is HTTPS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwksUrl {
    /// The name that the server has to prove (TLS-2).
    pub server_name: ServerName<'static>,
    /// Value of the `Host` field.
    pub authority: String,
    /// Host to connect to.
    pub host: String,
    pub port: u16,
    /// Where that host is. Empty: the resolver is asked.
    pub addresses: Vec<SocketAddr>,
    /// Path and query.
    pub path: String,
    pub roots: JwksRoots,
}

/// Who may vouch for the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JwksRoots {
    /// The machine's trust store.
    System,
    /// These and no other.
    Private(Vec<CertificateDer<'static>>),
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

/// Reads at most one byte more than allowed, whatever the file's length claims to be.
pub(super) fn file(path: &Path) -> Result<KeySet, JwksFault> {
    let file = std::fs::File::open(path).map_err(|_| JwksFault::File)?;
    let mut text = Vec::new();
    let most = KeySet::BYTES_MAX as u64 + 1;
    file.take(most).read_to_end(&mut text).map_err(|_| JwksFault::File)?;
    KeySet::parse(&text).map_err(JwksFault::Keys)
}

/// Verification is part of this and can't be switched off (TLS-2).
pub(super) fn connector(roots: &JwksRoots) -> Result<TlsConnector, JwksFault> {
    let mut store = RootCertStore::empty();
    match roots {
        JwksRoots::Private(listed) => {
            for root in listed {
                store.add(root.clone()).map_err(|_| JwksFault::Roots)?;
            }
        }
        // A machine's store holds now and then a certificate that can't be used; the others count.
        JwksRoots::System => {
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if store.is_empty() {
        return Err(JwksFault::Roots);
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|_| JwksFault::Roots)?
        .with_root_certificates(store)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// One GET on one connection. The caller bounds the time.
pub(super) async fn https(url: &JwksUrl, tls: &TlsConnector) -> Result<KeySet, JwksFault> {
    let tcp = if url.addresses.is_empty() {
        TcpStream::connect((url.host.as_str(), url.port)).await
    } else {
        TcpStream::connect(&*url.addresses).await
    };
    let tcp = tcp.map_err(|_| JwksFault::Unreachable)?;
    let stream =
        tls.connect(url.server_name.clone(), tcp).await.map_err(|_| JwksFault::Untrusted)?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_MAX)
        .max_headers(FIELDS_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|_| JwksFault::Malformed)?;
    let request = http::Request::get(&url.path)
        .header(http::header::HOST, &url.authority)
        .header(http::header::ACCEPT, "application/jwk-set+json, application/json")
        .body(Empty::<Bytes>::new())
        .map_err(|_| JwksFault::Malformed)?;

    let answer = async move {
        let response = sender.send_request(request).await.map_err(|_| JwksFault::Malformed)?;
        if response.status() != http::StatusCode::OK {
            return Err(JwksFault::Status);
        }
        body(response.into_body()).await
    };
    tokio::pin!(answer, connection);
    let text = tokio::select! {
        biased;
        text = &mut answer => text,
        // The connection may be done while the answer still waits to be read from memory.
        _closed = &mut connection => answer.await,
    }?;
    KeySet::parse(&text).map_err(JwksFault::Keys)
}

/// Stops at the limit, whatever length was announced.
async fn body(mut body: Incoming) -> Result<Vec<u8>, JwksFault> {
    let mut text = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| JwksFault::Malformed)?;
        let Some(data) = frame.data_ref() else { continue };
        if text.len() + data.len() > KeySet::BYTES_MAX {
            return Err(JwksFault::TooLarge);
        }
        text.extend_from_slice(data);
    }
    Ok(text)
}
