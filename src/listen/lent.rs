//! A TLS stream that is lent to the HTTP engine. The engine ends a connection by dropping it, in the
//! middle of what the peer still sends; the system then answers with a reset, which on many systems
//! throws away the answer that was written last (RFC 9112 §9.6). So the stream comes back here and is
//! closed in order; so is one whose handshake failed, because an alert tells the peer why.
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::buffered::Buffered;

/// How long a connection that is over may take to end.
const FAREWELL_MAX: Duration = Duration::from_secs(1);

/// What the peer is doing when its connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// It waits, or has closed.
    Quiet,
    /// It may still send, and has an answer to read.
    Sending,
}

type Back = Arc<Mutex<Option<(TlsStream<Buffered>, Peer)>>>;

/// The stream in the hands of the engine.
pub(super) struct Lent {
    tls: Option<TlsStream<Buffered>>,
    peer: Peer,
    back: Back,
}

/// Where the stream comes back to.
pub(super) struct Lender(Back);

pub(super) fn lend(tls: TlsStream<Buffered>) -> (Lent, Lender) {
    let back = Back::default();
    (Lent { tls: Some(tls), peer: Peer::Quiet, back: Arc::clone(&back) }, Lender(back))
}

impl Lent {
    pub(super) fn tcp(&self) -> Option<&TcpStream> {
        self.tls.as_ref().map(|tls| tls.get_ref().0.inner().tcp())
    }

    /// For when it is dropped.
    pub(super) fn leave(&mut self, peer: Peer) {
        self.peer = peer;
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(tls) = self.tls.take() {
            *self.back.lock() = Some((tls, self.peer));
        }
    }
}

impl Lender {
    /// Closes the stream, if it is back: TLS's farewell, TCP's, and where the peer is still sending,
    /// its bytes are let run out, so that it comes to read its answer.
    pub(super) async fn close(self) {
        let Some((mut tls, peer)) = self.0.lock().take() else { return };
        let farewell = async {
            tls.shutdown().await?;
            match peer {
                Peer::Sending => run_out(tls.into_inner().0).await,
                Peer::Quiet => Ok(()),
            }
        };
        // Whatever goes wrong now, the connection is over.
        let _ = tokio::time::timeout(FAREWELL_MAX, farewell).await;
    }
}

/// Closes a stream on which TLS has written its last alert.
pub(super) async fn close(mut stream: Buffered) {
    let farewell = async {
        stream.shutdown().await?;
        run_out(stream).await
    };
    let _ = tokio::time::timeout(FAREWELL_MAX, farewell).await;
}

async fn run_out(mut stream: Buffered) -> io::Result<()> {
    let mut sink = [0; 4_096];
    while stream.read(&mut sink).await? > 0 {}
    Ok(())
}

impl AsyncRead for Lent {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.tls {
            Some(tls) => Pin::new(tls).poll_read(cx, buf),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for Lent {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.tls {
            Some(tls) => Pin::new(tls).poll_write(cx, buf),
            None => Poll::Ready(Ok(0)),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.tls {
            Some(tls) => Pin::new(tls).poll_flush(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.tls {
            Some(tls) => Pin::new(tls).poll_shutdown(cx),
            None => Poll::Ready(Ok(())),
        }
    }
}
