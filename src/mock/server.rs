//! Listens, ends TLS, and hands each connection to hyper's HTTP/1 or HTTP/2 engine.
use std::collections::HashMap;
use std::error::Error as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use std::{fmt, io};

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::CertificateDer;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::scenario::ScenarioTable;
use super::seen::Seen;
use super::serve::{Takeover, request};
use super::store::Stock;
use super::throttle::Buckets;
use super::world::{World, mix};
use super::{Flow, LwaClient, Operation, Scenario, ScenarioRule, SeenRequest, Throttling, raw};
use crate::base::Clock;
use crate::devcerts::Leaf;

/// Whom the mock plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Personality {
    /// SP-API, its token server and its document store, all on one host.
    Amazon,
    /// An internal store: `/stock/{sku}`, `/download/{bytes}`, `/upload`, `/ws`.
    Warehouse,
}

/// Which HTTP versions are offered (server) or asked for (caller) in the handshake (RFC 7301).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Alpn {
    #[default]
    Both,
    H1,
    H2,
    /// The extension is left out; HTTP/1 is spoken.
    Absent,
}

impl Alpn {
    pub(super) fn protocols(self) -> Vec<Vec<u8>> {
        let (h1, h2) = (b"http/1.1".to_vec(), b"h2".to_vec());
        match self {
            Self::Both => vec![h2, h1],
            Self::H1 => vec![h1],
            Self::H2 => vec![h2],
            Self::Absent => Vec::new(),
        }
    }
}

/// Whether clients must show a certificate.
#[derive(Clone, Debug)]
pub enum ClientAuth {
    None,
    /// One that these authorities signed.
    Required(Vec<CertificateDer<'static>>),
}

#[derive(Clone, Copy, Debug)]
pub struct MockBounds {
    /// Connections at a time; more wait in the kernel's queue.
    pub connections: usize,
    /// Bytes of one request body; more gets 413.
    pub body_bytes: u64,
    /// For the handshake.
    pub handshake: Duration,
    /// For a request head to arrive, idle time on the connection included.
    pub header: Duration,
}

impl Default for MockBounds {
    fn default() -> Self {
        Self {
            connections: 1_024,
            body_bytes: 2 << 30,
            handshake: Duration::from_secs(10),
            header: Duration::from_secs(75),
        }
    }
}

#[derive(Clone, Debug)]
pub struct MockConfig {
    /// Port 0 takes a free one.
    pub address: SocketAddr,
    pub leaf: Leaf,
    pub client_auth: ClientAuth,
    pub alpn: Alpn,
    pub personality: Personality,
    pub scenarios: Vec<ScenarioRule>,
    pub throttling: Throttling,
    /// How many orders the shop has, at most 1,000,000.
    pub orders: u32,
    pub seed: u64,
    pub clock: Clock,
    pub bounds: MockBounds,
    pub lwa: LwaClient,
}

impl MockConfig {
    /// On a free port of 127.0.0.1, with 30 orders and no throttling.
    #[must_use]
    pub fn new(personality: Personality, leaf: Leaf) -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            leaf,
            client_auth: ClientAuth::None,
            alpn: Alpn::Both,
            personality,
            scenarios: Vec::new(),
            throttling: Throttling::Off,
            orders: 30,
            seed: 1,
            clock: Clock::system(),
            bounds: MockBounds::default(),
            lwa: LwaClient::default(),
        }
    }
}

/// Why the mock did not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MockFault {
    Bind(io::ErrorKind),
    /// The certificate, its key or the client authorities are not usable.
    Certificate,
}

impl fmt::Display for MockFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind(kind) => write!(f, "the mock can't listen: {kind}"),
            Self::Certificate => f.write_str("the mock's certificate or key is not usable"),
        }
    }
}

impl std::error::Error for MockFault {}

/// What all connections of one mock share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: MockConfig,
    pub(super) address: SocketAddr,
    pub(super) world: World,
    pub(super) buckets: Mutex<Buckets>,
    pub(super) table: Mutex<ScenarioTable>,
    pub(super) seen: Mutex<Seen>,
    pub(super) stock: Stock,
    pub(super) documents: Mutex<HashMap<String, (String, Bytes)>>,
    counter: AtomicU64,
    /// Ends when the handle is dropped.
    closed: watch::Receiver<()>,
}

impl Shared {
    /// A number that has not been before, for request ids and tokens.
    pub(super) fn next(&self) -> u64 {
        mix(self.config.seed ^ mix(self.counter.fetch_add(1, Ordering::Relaxed)))
    }

    /// Runs `work` until it is done or the mock is closed.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let mut closed = self.closed.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = closed.changed() => {}
                () = work => {}
            }
        });
    }
}

/// What one connection is known by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Connection {
    pub(super) number: u64,
    pub(super) client_certificate: Option<[u8; 32]>,
}

#[derive(Debug)]
pub struct MockSpApi;

impl MockSpApi {
    /// Listens and serves until the handle is dropped. Call it inside a tokio runtime.
    pub async fn start(config: MockConfig) -> Result<MockHandle, MockFault> {
        let tls = TlsAcceptor::from(Arc::new(server_tls(&config)?));
        let listener =
            TcpListener::bind(config.address).await.map_err(|e| MockFault::Bind(e.kind()))?;
        let address = listener.local_addr().map_err(|e| MockFault::Bind(e.kind()))?;
        let mut table = ScenarioTable::default();
        config.scenarios.iter().for_each(|rule| table.set(rule.clone()));
        let (close, closed) = watch::channel(());
        let slots = Arc::new(Semaphore::new(config.bounds.connections));
        let shared = Arc::new(Shared {
            world: World::new(config.seed, config.orders.min(1_000_000)),
            config,
            address,
            buckets: Mutex::default(),
            table: Mutex::new(table),
            seen: Mutex::default(),
            stock: Stock::default(),
            documents: Mutex::default(),
            counter: AtomicU64::new(0),
            closed,
        });
        shared.spawn(accept(listener, Arc::clone(&shared), tls, slots));
        Ok(MockHandle { shared, close: Some(close) })
    }
}

/// A running mock. Dropping it closes the listener and every connection.
#[derive(Debug)]
pub struct MockHandle {
    shared: Arc<Shared>,
    close: Option<watch::Sender<()>>,
}

impl MockHandle {
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// `https://127.0.0.1:port`
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}", self.shared.address)
    }

    /// Every path from now on, prefixes with rules of their own excepted.
    pub fn set(&self, scenario: Scenario) {
        self.set_for("/", scenario);
    }

    /// Every path that starts with `prefix`; the longest prefix wins.
    pub fn set_for(&self, prefix: &str, scenario: Scenario) {
        self.shared.table.lock().set(ScenarioRule { prefix: prefix.to_owned(), scenario });
    }

    /// The next requests get these, one each, whatever their path; then the rules apply again.
    pub fn script(&self, scenarios: &[Scenario]) {
        self.shared.table.lock().script(scenarios);
    }

    /// Forgets rules and script.
    pub fn clear_scenarios(&self) {
        self.shared.table.lock().clear();
    }

    /// Serves `body` for GET of exactly `path`, before anything else: JWKS files, for instance.
    pub fn serve(&self, path: &str, content_type: &str, body: impl Into<Bytes>) {
        let document = (content_type.to_owned(), body.into());
        self.shared.documents.lock().insert(path.to_owned(), document);
    }

    /// How often the operation was asked for, refusals included.
    #[must_use]
    pub fn count(&self, operation: Operation) -> u64 {
        self.shared.seen.lock().counts.get(&operation).copied().unwrap_or(0)
    }

    /// How many requests there were.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.shared.seen.lock().counts.values().sum()
    }

    /// The last 256 requests, oldest first.
    #[must_use]
    pub fn requests(&self) -> Vec<SeenRequest> {
        self.shared.seen.lock().requests.iter().cloned().collect()
    }

    #[must_use]
    pub fn last(&self) -> Option<SeenRequest> {
        self.shared.seen.lock().requests.back().cloned()
    }

    /// How many connections got through the handshake.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.shared.seen.lock().connections
    }

    /// How many handshakes failed.
    #[must_use]
    pub fn handshakes_failed(&self) -> u64 {
        self.shared.seen.lock().handshakes_failed
    }

    /// Closes and waits until listener and connections are gone.
    pub async fn shutdown(mut self) {
        drop(self.close.take());
        // Whoever still runs holds a clone of `shared`; each ends at its next step.
        while Arc::strong_count(&self.shared) > 1 {
            tokio::task::yield_now().await;
        }
    }
}

fn server_tls(config: &MockConfig) -> Result<rustls::ServerConfig, MockFault> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|_| MockFault::Certificate)?;
    let builder = match &config.client_auth {
        ClientAuth::None => builder.with_no_client_auth(),
        ClientAuth::Required(authorities) => {
            let mut roots = RootCertStore::empty();
            for authority in authorities {
                roots.add(authority.clone()).map_err(|_| MockFault::Certificate)?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(|_| MockFault::Certificate)?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let key = config.leaf.private_key().map_err(|_| MockFault::Certificate)?;
    let mut tls =
        builder.with_single_cert(config.leaf.chain(), key).map_err(|_| MockFault::Certificate)?;
    tls.alpn_protocols = config.alpn.protocols();
    Ok(tls)
}

async fn accept(
    listener: TcpListener,
    shared: Arc<Shared>,
    tls: TlsAcceptor,
    slots: Arc<Semaphore>,
) {
    while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
        match listener.accept().await {
            Ok((tcp, _)) => {
                shared.spawn(handshake(Arc::clone(&shared), tls.clone(), tcp, slot));
            }
            // Out of file descriptors, or a client that is gone already: go on a little later.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn handshake(
    shared: Arc<Shared>,
    tls: TlsAcceptor,
    tcp: TcpStream,
    _slot: OwnedSemaphorePermit,
) {
    // Without it small answers wait for the client's delayed acknowledgement.
    let _ = tcp.set_nodelay(true);
    let Ok(Ok(stream)) = timeout(shared.config.bounds.handshake, tls.accept(tcp)).await else {
        shared.seen.lock().handshakes_failed += 1;
        return;
    };
    let (_, session) = stream.get_ref();
    let is_h2 = session.alpn_protocol() == Some(b"h2");
    let shown = session.peer_certificates().and_then(<[_]>::first);
    let client_certificate = shown.map(|certificate| sha256(certificate));
    let number = {
        let mut seen = shared.seen.lock();
        seen.connections += 1;
        seen.connections
    };
    let connection = Connection { number, client_certificate };
    if is_h2 {
        serve_h2(shared, connection, stream).await;
    } else {
        serve_h1(shared, connection, stream).await;
    }
}

type Answering = Pin<Box<dyn Future<Output = Result<Response<Flow>, Takeover>> + Send>>;

async fn serve_h1(shared: Arc<Shared>, connection: Connection, stream: TlsStream<TcpStream>) {
    let header = shared.config.bounds.header;
    let service = service_fn(move |asked: Request<Incoming>| -> Answering {
        Box::pin(request(Arc::clone(&shared), connection, asked))
    });
    let mut engine = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header)
        .max_headers(256)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let Err(error) = (&mut engine).await else { return };
    // The service refused on purpose: hyper has written nothing for this request, and what follows
    // is what hyper would never write.
    let script = error.source().and_then(|source| source.downcast_ref::<Takeover>()).cloned();
    if let (Some(Takeover(script)), Some(parts)) = (script, engine.into_parts()) {
        raw::play(parts.io.into_inner(), &script).await;
    }
}

async fn serve_h2(shared: Arc<Shared>, connection: Connection, stream: TlsStream<TcpStream>) {
    let executor = Executor(Arc::clone(&shared));
    let service = service_fn(move |asked: Request<Incoming>| -> Answering {
        Box::pin(request(Arc::clone(&shared), connection, asked))
    });
    let engine = http2::Builder::new(executor)
        .timer(TokioTimer::new())
        .max_concurrent_streams(256)
        .max_header_list_size(256 * 1024)
        .serve_connection(TokioIo::new(stream), service);
    // How the connection ended is the client's business.
    let _ = engine.await;
}

/// Runs HTTP/2's streams under the same end as everything else.
#[derive(Clone)]
struct Executor(Arc<Shared>);

impl<F> hyper::rt::Executor<F> for Executor
where
    F: Future + Send + 'static,
{
    fn execute(&self, work: F) {
        self.0.spawn(async move { drop(work.await) });
    }
}

pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    for (to, from) in out.iter_mut().zip(digest.as_ref()) {
        *to = *from;
    }
    out
}
