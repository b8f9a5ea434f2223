//! A stream that ends when the other side sends more than it was asked for. The parser behind it
//! keeps what it reads, so this is what bounds memory when Redis is an attacker's.
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::store::fault::StoreFault;

/// Bytes that may come before an answer to something is whole: the largest answer, a page of blobs,
/// twice. Parsed, the worst three of them make a value of some 40 bytes.
pub(super) const UNANSWERED_MAX: usize = 2 << 20;

/// What a connection may still send, and why it ended.
#[derive(Debug)]
pub(super) struct Budget {
    left: AtomicUsize,
    spent: AtomicBool,
    /// TLS ended it, such as for a client certificate that was not accepted.
    tls: AtomicBool,
}

impl Budget {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            left: AtomicUsize::new(UNANSWERED_MAX),
            spent: AtomicBool::new(false),
            tls: AtomicBool::new(false),
        })
    }

    /// An answer came whole and made sense.
    pub(super) fn renew(&self) {
        self.left.store(UNANSWERED_MAX, Ordering::Relaxed);
    }

    /// The reason behind a connection that broke, where the stream knows better than its user.
    pub(super) fn fault(&self, seen: StoreFault) -> StoreFault {
        if self.spent.load(Ordering::Relaxed) {
            StoreFault::Nonsense
        } else if self.tls.load(Ordering::Relaxed) {
            StoreFault::Untrusted
        } else {
            seen
        }
    }
}

#[derive(Debug)]
pub(super) struct Guarded<S> {
    inner: S,
    budget: Arc<Budget>,
}

impl<S> Guarded<S> {
    pub(super) const fn new(inner: S, budget: Arc<Budget>) -> Self {
        Self { inner, budget }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let left = self.budget.left.load(Ordering::Relaxed);
        if left == 0 {
            self.budget.spent.store(true, Ordering::Relaxed);
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        let came = buf.filled().len().saturating_sub(before);
        // A renewal in between gives more than it should once; the next read is bounded again.
        self.budget.left.store(left.saturating_sub(came), Ordering::Relaxed);
        if let Poll::Ready(Err(error)) = &polled
            && error
                .get_ref()
                .is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>)
        {
            self.budget.tls.store(true, Ordering::Relaxed);
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
