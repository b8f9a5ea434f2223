//! The API's listener: address, then TLS with a client certificate, then requests.
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::server::Acceptor;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::pace::Pace;
use super::service::{self, Shown, State};
use crate::base::{ClientAddr, Name};
use crate::config::API_LISTENER;
use crate::engine::{DoorFault, Engine, HandshakeFault};
use crate::evidence::{AtDoor, Event, Fixed};
use crate::identity::PeerCertificate;
use crate::observe::ListenerMetrics;

/// The listener's name in the log and the metrics.
pub(super) const NAME: &str = API_LISTENER;
/// Operators and their dashboards are few.
const CONNECTIONS_MAX: usize = 128;
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
const HEAD_MAX: Duration = Duration::from_secs(10);
const CONNECTION_MAX: Duration = Duration::from_secs(600);
/// How often what happened at the door is written.
const TELL_EVERY: Duration = Duration::from_secs(2);

/// The API's socket, bound but not served yet.
#[derive(Debug)]
pub struct Api {
    socket: Arc<TcpListener>,
}

/// What was turned away since it was last written.
#[derive(Debug, Default)]
struct Turned {
    addresses: AtomicU64,
    connections: AtomicU64,
    handshakes: AtomicU64,
}

impl Api {
    #[must_use]
    pub const fn on(socket: Arc<TcpListener>) -> Self {
        Self { socket }
    }

    /// Serves until `shutdown` turns true.
    pub async fn serve(self, engine: Arc<Engine>, mut shutdown: watch::Receiver<bool>) {
        let Ok(name) = Name::parse(NAME) else { return };
        if let Ok(address) = self.socket.local_addr() {
            engine.report_event(&Event::ListenerBound { listener: &name, port: address.port() });
        }
        let door = Arc::new(Door {
            metrics: engine.metrics.listener(&name),
            turned: Turned::default(),
            state: Arc::new(State {
                engine,
                pending: parking_lot::Mutex::default(),
                pace: Pace::default(),
            }),
            name,
        });
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut tell = tokio::time::interval(TELL_EVERY);
        loop {
            let accepted = tokio::select! {
                biased;
                _ = shutdown.wait_for(|stop| *stop) => return door.tell(),
                _ = tell.tick() => {
                    door.tell();
                    continue;
                }
                accepted = self.socket.accept() => accepted,
            };
            let Ok((tcp, peer)) = accepted else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            // NET-1: judged by address before a byte is read.
            if !door.is_listed(&ClientAddr::new(peer.ip())) {
                door.turned.addresses.fetch_add(1, Ordering::Relaxed);
                door.metrics.refused(Fixed::new("address"));
                continue;
            }
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                door.turned.connections.fetch_add(1, Ordering::Relaxed);
                door.metrics.refused(Fixed::new("connections_total"));
                continue;
            };
            let (door, mut shutdown) = (Arc::clone(&door), shutdown.clone());
            tokio::spawn(async move {
                let _place = place;
                tokio::select! {
                    // An operator who stays is cut and comes back.
                    _ = tokio::time::timeout(CONNECTION_MAX, door.serve(tcp)) => {}
                    _ = shutdown.wait_for(|stop| *stop) => {}
                }
            });
        }
    }
}

/// An open connection in the metrics, however it ends.
struct Open<'m>(&'m ListenerMetrics);

impl<'m> Open<'m> {
    fn new(metrics: &'m ListenerMetrics) -> Self {
        metrics.connections.inc();
        Self(metrics)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.connections.dec();
    }
}

struct Door {
    name: Name,
    state: Arc<State>,
    turned: Turned,
    metrics: ListenerMetrics,
}

impl Door {
    /// By the configuration in force now. Without an API in it, nobody is.
    fn is_listed(&self, peer: &ClientAddr) -> bool {
        let live = self.state.engine.live();
        let listed = live.snapshot.api.as_ref().map(|api| api.networks).unwrap_or_default();
        live.snapshot.networks.lookup(peer).intersects(&listed)
    }

    async fn serve(&self, tcp: TcpStream) {
        // Answers are small and must not wait for more.
        let _ = tcp.set_nodelay(true);
        let stream = match tokio::time::timeout(HANDSHAKE_MAX, self.handshake(tcp)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(fault @ DoorFault::NotPermitted(_))) => {
                return self.metrics.refused(Fixed::new(fault.reason()));
            }
            Ok(Err(_)) | Err(_) => {
                self.turned.handshakes.fetch_add(1, Ordering::Relaxed);
                return self.metrics.handshake_failed(Fixed::new("handshake"));
            }
        };
        self.metrics.handshakes_completed.inc();
        let _open = Open::new(&self.metrics);
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let chain: Vec<_> = chain.iter().map(|one| one.clone().into_owned()).collect();
        let peer = chain.first().and_then(|leaf| PeerCertificate::parse(leaf).ok());
        let shown = Shown { chain, peer };
        let answer = service_fn(|request| async {
            Ok::<_, Infallible>(service::answer(&self.state, &shown, request).await)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_MAX)
            .max_buf_size(32 * 1024)
            .serve_connection(TokioIo::new(stream), answer);
        // Its errors are the caller's own.
        let _ = connection.await;
    }

    async fn handshake(&self, tcp: TcpStream) -> Result<TlsStream<TcpStream>, DoorFault> {
        let engine = &self.state.engine;
        let end = || engine.live().api_tls(engine.clock.now()).cloned();
        let failed = |error| DoorFault::Handshake(HandshakeFault::of(&error));
        end()?;
        let hello = LazyConfigAcceptor::new(Acceptor::default(), tcp).await.map_err(failed)?;
        // TLS-3: the permit may be gone, or cover less, since the client came.
        let end = end()?;
        let stream = hello.into_stream(Arc::clone(&end.config)).await.map_err(failed)?;
        engine.still_covers(&end, stream.get_ref().1.server_name())?;
        Ok(stream)
    }

    fn tell(&self) {
        let (turned, engine) = (&self.turned, &self.state.engine);
        let at_door = |fault, count| AtDoor {
            listener: &self.name,
            fault: Some(Fixed::new(fault)),
            source: None,
            count,
        };
        let taken = |count: &AtomicU64| Some(count.swap(0, Ordering::Relaxed)).filter(|n| *n > 0);
        if let Some(count) = taken(&turned.addresses) {
            engine.report_event(&Event::AddressRefused(at_door("address", count)));
        }
        if let Some(count) = taken(&turned.connections) {
            engine.report_event(&Event::ConnectionsExceeded(at_door("connections_total", count)));
        }
        if let Some(count) = taken(&turned.handshakes) {
            engine.report_event(&Event::HandshakeFailed(at_door("handshake", count)));
        }
    }
}
