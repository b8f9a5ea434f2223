//! The admin listener, first form: metrics and health on loopback. Controls: PRIV-3, TLS-1.
//!
//! Never sees: requests of the data path, personal data (the metrics hold none).
//! 1. Loopback only: the configuration refuses any other address, and a peer that is not loopback is
//!    closed unread.
//! 2. Read only: three paths, GET and HEAD, nothing else.
//!
//! On failure it answers 500 or closes; the data path does not notice.
pub mod api;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use crate::engine::Engine;

/// A scraper and a health check need few.
const CONNECTIONS_MAX: usize = 64;
const CONNECTION_MAX: Duration = Duration::from_secs(60);

/// The admin socket, bound but not served yet.
#[derive(Debug)]
pub struct Admin {
    socket: Arc<TcpListener>,
}

impl Admin {
    /// # Errors
    /// If the address is taken, or is not a loopback address.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        if !address.ip().is_loopback() {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        Self::on(Arc::new(TcpListener::bind(address).await?))
    }

    /// On a socket that is bound already.
    ///
    /// # Errors
    /// If it is not at a loopback address.
    pub fn on(socket: Arc<TcpListener>) -> io::Result<Self> {
        if !socket.local_addr()?.ip().to_canonical().is_loopback() {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        Ok(Self { socket })
    }

    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Serves until `shutdown` turns true.
    pub async fn serve(self, engine: Arc<Engine>, mut shutdown: watch::Receiver<bool>) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let accepted = tokio::select! {
                _ = shutdown.wait_for(|stop| *stop) => return,
                accepted = self.socket.accept() => accepted,
            };
            let Ok((tcp, peer)) = accepted else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            if !peer.ip().to_canonical().is_loopback() {
                continue;
            }
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
            let engine = Arc::clone(&engine);
            tokio::spawn(async move {
                let _place = place;
                let answer = service_fn(|request| {
                    let response = route(&engine, &request);
                    async move { Ok::<_, Infallible>(response) }
                });
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(Duration::from_secs(5))
                    .max_buf_size(16 * 1024)
                    .serve_connection(TokioIo::new(tcp), answer);
                // A scraper that stays is cut and comes back; its errors are its own.
                let _ = tokio::time::timeout(CONNECTION_MAX, connection).await;
            });
        }
    }
}

fn route(engine: &Engine, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n".into());
    }
    match request.uri().path() {
        "/metrics" => text(StatusCode::OK, engine.render_metrics().into()),
        "/livez" => text(StatusCode::OK, "alive\n".into()),
        "/readyz" => match engine.readiness() {
            Ok(()) => text(StatusCode::OK, "ready\n".into()),
            Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n").into()),
        },
        _ => text(StatusCode::NOT_FOUND, "/metrics, /livez or /readyz\n".into()),
    }
}

fn text(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        http::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"),
    );
    headers.insert(CACHE_CONTROL, http::HeaderValue::from_static("no-store"));
    response
}
