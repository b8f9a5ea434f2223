//! A small HTTPS caller: sends what it is told and reports what came back, broken or not.
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use http::uri::PathAndQuery;
use http::{HeaderValue, Uri, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::{ClientConfig, ProtocolVersion, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::witness::{Cause, Witness};
use super::{Alpn, BodyEnd, Call, CallFault, Flow, RawEnd, RawReply, Reply};
use crate::devcerts::Leaf;

/// Which TLS versions the caller offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsVersions {
    #[default]
    Tls13,
    Tls12,
    Both,
}

#[derive(Clone, Debug)]
pub struct CallerConfig {
    /// Authorities that the server's certificate must come from.
    pub trust: Vec<CertificateDer<'static>>,
    /// The client certificate to show.
    pub identity: Option<Leaf>,
    pub alpn: Alpn,
    pub versions: TlsVersions,
    /// Sent as SNI (unless it is an address) and verified; `Host` and `:authority` as well, unless a
    /// call says otherwise.
    pub server_name: String,
    /// The local address to call from, such as 127.0.0.2.
    pub source: Option<IpAddr>,
    /// Sent in the clear before the handshake: a PROXY protocol header.
    pub preamble: Vec<u8>,
    /// For one whole call, connecting included where it connects.
    pub deadline: Duration,
    /// How much of a body is kept; the rest is only counted.
    pub keep_bytes: usize,
    /// Where reading a body stops.
    pub body_max: u64,
}

impl CallerConfig {
    /// HTTP/2 or HTTP/1 over TLS 1.3 to `localhost`; 10 s; 8 MiB of body kept, 2 GiB read.
    #[must_use]
    pub fn trusting(authority: CertificateDer<'static>) -> Self {
        Self {
            trust: vec![authority],
            identity: None,
            alpn: Alpn::Both,
            versions: TlsVersions::Tls13,
            server_name: "localhost".to_owned(),
            source: None,
            preamble: Vec::new(),
            deadline: Duration::from_secs(10),
            keep_bytes: 8 << 20,
            body_max: 2 << 30,
        }
    }

    /// The same, from the text of a PEM file; `None` if there is no certificate in it.
    #[must_use]
    pub fn trusting_pem(pem: &str) -> Option<Self> {
        CertificateDer::from_pem_slice(pem.as_bytes()).ok().map(Self::trusting)
    }
}

#[derive(Clone, Debug)]
pub struct Caller {
    config: Arc<CallerConfig>,
    tls: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Caller {
    pub fn new(config: CallerConfig) -> Result<Self, CallFault> {
        let mut roots = RootCertStore::empty();
        for authority in &config.trust {
            roots.add(authority.clone()).map_err(|_| CallFault::Config)?;
        }
        let versions: &[_] = match config.versions {
            TlsVersions::Tls13 => &[&rustls::version::TLS13],
            TlsVersions::Tls12 => &[&rustls::version::TLS12],
            TlsVersions::Both => rustls::ALL_VERSIONS,
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .map_err(|_| CallFault::Config)?
            .with_root_certificates(roots);
        let mut tls = match &config.identity {
            None => builder.with_no_client_auth(),
            Some(leaf) => {
                let key = leaf.private_key().map_err(|_| CallFault::Config)?;
                builder.with_client_auth_cert(leaf.chain(), key).map_err(|_| CallFault::Config)?
            }
        };
        tls.alpn_protocols = config.alpn.protocols();
        let name =
            ServerName::try_from(config.server_name.clone()).map_err(|_| CallFault::Config)?;
        Ok(Self { config: Arc::new(config), tls: Arc::new(tls), name })
    }

    /// A stream through TLS, to do anything with.
    pub async fn stream(&self, to: SocketAddr) -> Result<TlsStream<TcpStream>, CallFault> {
        timeout(self.config.deadline, self.handshake(to)).await.map_err(|_| CallFault::Deadline)?
    }

    async fn handshake(&self, to: SocketAddr) -> Result<TlsStream<TcpStream>, CallFault> {
        let refused = |error: io::Error| CallFault::Connect(error.kind());
        let socket = if to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
        let socket = socket.map_err(refused)?;
        if let Some(source) = self.config.source {
            socket.bind(SocketAddr::from((source, 0))).map_err(refused)?;
        }
        let mut tcp = socket.connect(to).await.map_err(refused)?;
        tcp.set_nodelay(true).map_err(refused)?;
        tcp.write_all(&self.config.preamble).await.map_err(refused)?;
        TlsConnector::from(Arc::clone(&self.tls))
            .connect(self.name.clone(), tcp)
            .await
            .map_err(|e| CallFault::from_io(&e))
    }

    /// A connection for several calls, HTTP/2 if that was agreed on.
    pub async fn connect(&self, to: SocketAddr) -> Result<Session, CallFault> {
        Session::over(self.stream(to).await?, Arc::clone(&self.config)).await
    }

    /// One call on a connection of its own.
    pub async fn call(&self, to: SocketAddr, call: Call) -> Result<Reply, CallFault> {
        self.connect(to).await?.call(call).await
    }

    /// Writes bytes as they are and reads until the end, the deadline or `keep_bytes`. For HTTP/1
    /// bytes, configure [`Alpn::H1`] or [`Alpn::Absent`].
    pub async fn raw(&self, to: SocketAddr, bytes: &[u8]) -> Result<RawReply, CallFault> {
        let mut stream = self.stream(to).await?;
        let until = Instant::now() + self.config.deadline;
        let mut reply = RawReply { bytes: Vec::new(), end: RawEnd::Deadline };
        // A server may refuse and close before it has read everything; its answer counts.
        let write = async {
            stream.write_all(bytes).await?;
            stream.flush().await
        };
        let _ = timeout_at(until, write).await;
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(read) = timeout_at(until, stream.read(&mut buffer)).await {
            match read {
                Ok(0) => reply.end = RawEnd::Closed,
                Err(_) => reply.end = RawEnd::Torn,
                Ok(count) => {
                    reply.bytes.extend(buffer.iter().take(count));
                    if reply.bytes.len() < self.config.keep_bytes {
                        continue;
                    }
                    reply.bytes.truncate(self.config.keep_bytes);
                    reply.end = RawEnd::Full;
                }
            }
            break;
        }
        Ok(reply)
    }
}

#[derive(Clone, Debug)]
enum Sender {
    H1(Arc<tokio::sync::Mutex<http1::SendRequest<Flow>>>),
    H2(http2::SendRequest<Flow>),
}

/// The task that moves a connection's bytes; it ends with the last session that uses it.
#[derive(Debug)]
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A connection. Clones share it: over HTTP/2 their calls run side by side, over HTTP/1 in turn.
#[derive(Clone, Debug)]
pub struct Session {
    sender: Sender,
    config: Arc<CallerConfig>,
    certificate: Option<CertificateDer<'static>>,
    tls_version: Option<ProtocolVersion>,
    cause: Cause,
    _driver: Arc<Driver>,
}

impl Session {
    async fn over(
        stream: TlsStream<TcpStream>,
        config: Arc<CallerConfig>,
    ) -> Result<Self, CallFault> {
        let (_, tls) = stream.get_ref();
        let is_h2 = tls.alpn_protocol() == Some(b"h2");
        let tls_version = tls.protocol_version();
        let shown = tls.peer_certificates().and_then(<[_]>::first);
        let certificate = shown.map(|certificate| certificate.clone().into_owned());
        let cause = Cause::default();
        let io = TokioIo::new(Witness::new(stream, cause.clone()));
        // What ends a connection shows in the call that it ends.
        let (sender, driver) = if is_h2 {
            let (sender, connection) = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .max_header_list_size(4 << 20)
                .handshake(io)
                .await?;
            (Sender::H2(sender), tokio::spawn(async { drop(connection.await) }))
        } else {
            let (sender, connection) = http1::Builder::new()
                .max_headers(2_000)
                .max_buf_size(4 << 20)
                .handshake(io)
                .await?;
            let sender = Arc::new(tokio::sync::Mutex::new(sender));
            (Sender::H1(sender), tokio::spawn(async { drop(connection.await) }))
        };
        Ok(Self {
            sender,
            config,
            certificate,
            tls_version,
            cause,
            _driver: Arc::new(Driver(driver)),
        })
    }

    /// The certificate that the server showed.
    #[must_use]
    pub const fn certificate(&self) -> Option<&CertificateDer<'static>> {
        self.certificate.as_ref()
    }

    #[must_use]
    pub const fn tls_version(&self) -> Option<ProtocolVersion> {
        self.tls_version
    }

    /// Sends one request and reads its answer. A body that breaks off is no fault: see [`Reply::end`].
    pub async fn call(&self, call: Call) -> Result<Reply, CallFault> {
        let until = Instant::now() + self.config.deadline;
        let mut request = self.request(call)?;
        let informational = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&informational);
        hyper::ext::on_informational(&mut request, move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        let send = async {
            match &self.sender {
                Sender::H1(sender) => {
                    let mut sender = sender.lock().await;
                    sender.ready().await?;
                    sender.send_request(request).await
                }
                Sender::H2(sender) => {
                    let mut sender = sender.clone();
                    sender.ready().await?;
                    sender.send_request(request).await
                }
            }
        };
        let response = match timeout_at(until, send).await {
            Err(_) => return Err(CallFault::Deadline),
            Ok(Err(error)) => {
                return Err(self.cause.seen().map_or_else(|| error.into(), CallFault::Tls));
            }
            Ok(Ok(response)) => response,
        };
        Ok(self.read(response, until, &informational).await)
    }

    fn request(&self, call: Call) -> Result<Request<Flow>, CallFault> {
        let target = PathAndQuery::try_from(call.target).map_err(|_| CallFault::Request)?;
        let mut headers = call.headers;
        let uri = match &self.sender {
            Sender::H1(_) => {
                if !headers.contains_key(header::HOST) {
                    let host = HeaderValue::from_str(&self.config.server_name);
                    headers.insert(header::HOST, host.map_err(|_| CallFault::Request)?);
                }
                Uri::from(target)
            }
            Sender::H2(_) => {
                let host = headers.remove(header::HOST);
                let own = self.config.server_name.as_bytes();
                Uri::builder()
                    .scheme("https")
                    .authority(host.as_ref().map_or(own, HeaderValue::as_bytes))
                    .path_and_query(target)
                    .build()
                    .map_err(|_| CallFault::Request)?
            }
        };
        let mut request = Request::new(call.body);
        *request.method_mut() = call.method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        Ok(request)
    }

    async fn read(
        &self,
        response: Response<Incoming>,
        until: Instant,
        informational: &AtomicU32,
    ) -> Reply {
        let (parts, mut incoming) = response.into_parts();
        let mut body = BytesMut::new();
        let mut body_bytes = 0_u64;
        let mut trailers = None;
        let end = loop {
            let frame = match timeout_at(until, incoming.frame()).await {
                Err(_) => break BodyEnd::Deadline,
                Ok(None) => break BodyEnd::Complete,
                Ok(Some(Err(_))) => break BodyEnd::Broken,
                Ok(Some(Ok(frame))) => frame,
            };
            match frame.into_data() {
                Ok(data) => {
                    body_bytes += u64::try_from(data.len()).unwrap_or(u64::MAX);
                    let room = self.config.keep_bytes.saturating_sub(body.len());
                    body.extend_from_slice(&data.slice(..data.len().min(room)));
                }
                Err(frame) => trailers = frame.into_trailers().ok(),
            }
            if body_bytes > self.config.body_max {
                break BodyEnd::TooLarge;
            }
        };
        Reply {
            status: parts.status,
            version: parts.version,
            headers: parts.headers,
            body: body.freeze(),
            body_bytes,
            trailers,
            informational: informational.load(Ordering::Relaxed),
            end,
        }
    }
}
