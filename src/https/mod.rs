//! One HTTPS exchange on one connection, for the shells that ask servers beside the data path: key
//! sets, alarms. Controls: TLS-1, TLS-2.
//!
//! Decides nothing about what is sent or answered.
//! 1. The server proves its name under TLS 1.3; there is no way to leave that out. Without TLS there
//!    is only loopback, and an address that is not loopback is not connected to.
//! 2. Redirects are not followed, cookies not kept, connections not used again.
//! 3. An answer's head is bounded here, its body by the caller, the time by the caller.
//!
//! On failure: a closed [`Fault`] that carries nothing the other side said (LOG-2).
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Bytes and fields of a response head. A well-meant one is a few hundred bytes.
const HEAD_MAX: usize = 32 * 1024;
const FIELDS_MAX: usize = 64;

/// Where a server is, and the name it has to prove (TLS-2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    pub server_name: ServerName<'static>,
    /// Value of the `Host` field.
    pub authority: String,
    /// Host to connect to.
    pub host: String,
    pub port: u16,
    /// Where that host is. Empty: the resolver is asked.
    pub addresses: Vec<SocketAddr>,
}

/// Who may vouch for a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Roots {
    /// The machine's trust store.
    System,
    /// These and no other.
    Private(Vec<CertificateDer<'static>>),
}

/// What kept an exchange from being made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No trusted root certificate to verify the server with.
    Roots,
    /// The host has no address, or none of them answers.
    Unreachable,
    /// The server did not prove its name, or speaks no TLS 1.3.
    Untrusted,
    /// The answer is no HTTP/1.1, or ended early.
    Malformed,
    /// The body is longer than was allowed.
    TooLarge,
}

/// Makes connections that verify the server. Reads the machine's trust store where that is meant.
///
/// # Errors
/// [`Fault::Roots`] if there is nobody to trust.
pub fn connector(roots: &Roots) -> Result<TlsConnector, Fault> {
    let mut store = RootCertStore::empty();
    match roots {
        Roots::Private(listed) => {
            for root in listed {
                store.add(root.clone()).map_err(|_| Fault::Roots)?;
            }
        }
        // A machine's store holds now and then a certificate that can't be used; the others count.
        Roots::System => {
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if store.is_empty() {
        return Err(Fault::Roots);
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|_| Fault::Roots)?
        .with_root_certificates(store)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// An answer: its head, and as much of its body as was wanted.
#[derive(Debug)]
pub struct Answer {
    pub head: Response<()>,
    pub body: Vec<u8>,
}

/// How much of an answer's body is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// None: the head says it all.
    Nothing,
    /// All of a 200's, up to so many bytes.
    Whole(usize),
}

/// One request on one connection; `Host` is filled in. The caller bounds the time.
///
/// # Errors
/// See [`Fault`].
pub async fn exchange(
    site: &Site,
    tls: &TlsConnector,
    request: Request<Full<Bytes>>,
    wanted: Wanted,
) -> Result<Answer, Fault> {
    let tcp = if site.addresses.is_empty() {
        TcpStream::connect((site.host.as_str(), site.port)).await
    } else {
        TcpStream::connect(&*site.addresses).await
    };
    let tcp = tcp.map_err(|_| Fault::Unreachable)?;
    let stream = tls.connect(site.server_name.clone(), tcp).await.map_err(|_| Fault::Untrusted)?;
    speak(stream, &site.authority, request, wanted).await
}

/// The same without TLS, to this machine itself (TLS-1).
///
/// # Errors
/// See [`Fault`]; [`Fault::Untrusted`] for an address that is not loopback.
pub async fn exchange_on_loopback(
    address: SocketAddr,
    request: Request<Full<Bytes>>,
    wanted: Wanted,
) -> Result<Answer, Fault> {
    if !address.ip().is_loopback() {
        return Err(Fault::Untrusted);
    }
    let tcp = TcpStream::connect(address).await.map_err(|_| Fault::Unreachable)?;
    speak(tcp, &address.to_string(), request, wanted).await
}

async fn speak(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin,
    authority: &str,
    mut request: Request<Full<Bytes>>,
    wanted: Wanted,
) -> Result<Answer, Fault> {
    let host = http::HeaderValue::from_str(authority).map_err(|_| Fault::Malformed)?;
    request.headers_mut().insert(http::header::HOST, host);
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_MAX)
        .max_headers(FIELDS_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|_| Fault::Malformed)?;
    let answer = async move {
        let response = sender.send_request(request).await.map_err(|_| Fault::Malformed)?;
        let (head, body) = response.into_parts();
        let body = match wanted {
            Wanted::Whole(bytes_max) if head.status == http::StatusCode::OK => {
                whole(body, bytes_max).await?
            }
            Wanted::Whole(_) | Wanted::Nothing => Vec::new(),
        };
        Ok(Answer { head: Response::from_parts(head, ()), body })
    };
    tokio::pin!(answer, connection);
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        // The connection may be done while the answer still waits to be read from memory.
        _closed = &mut connection => answer.await,
    }
}

/// Stops at the limit, whatever length was announced.
async fn whole(mut body: Incoming, bytes_max: usize) -> Result<Vec<u8>, Fault> {
    let mut text = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Fault::Malformed)?;
        let Some(data) = frame.data_ref() else { continue };
        if text.len() + data.len() > bytes_max {
            return Err(Fault::TooLarge);
        }
        text.extend_from_slice(data);
    }
    Ok(text)
}
