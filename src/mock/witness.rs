//! Remembers why TLS broke: HTTP/2 engines keep an I/O error's kind and lose its cause.
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What went wrong on a stream, once something has.
#[derive(Clone, Debug, Default)]
pub(super) struct Cause(Arc<Mutex<Option<rustls::Error>>>);

impl Cause {
    pub(super) fn seen(&self) -> Option<rustls::Error> {
        self.0.lock().clone()
    }
}

/// The TLS error inside an I/O error of tokio-rustls.
pub(super) fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref())
}

#[derive(Debug)]
pub(super) struct Witness<S> {
    stream: S,
    cause: Cause,
}

impl<S> Witness<S> {
    pub(super) const fn new(stream: S, cause: Cause) -> Self {
        Self { stream, cause }
    }

    fn note<T>(&self, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(error)) = &result
            && let Some(tls) = tls_error(error)
        {
            self.cause.0.lock().get_or_insert_with(|| tls.clone());
        }
        result
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Witness<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.note(result)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Witness<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.note(result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        self.note(result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.note(result)
    }
}
