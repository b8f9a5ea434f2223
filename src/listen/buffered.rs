//! Gathers what TLS writes, so that head and first body bytes of an answer leave in one packet and one
//! system call. The engine flushes at the end of every message; from then on until the next one there
//! is no buffer, because most connections wait most of the time.
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::prefixed::Prefixed;

/// Bytes that are gathered.
const ROOM: usize = 4 * 1024;

#[derive(Debug)]
pub(super) struct Buffered {
    inner: Prefixed,
    gathered: Vec<u8>,
    written: usize,
}

impl Buffered {
    pub(super) const fn new(inner: Prefixed) -> Self {
        Self { inner, gathered: Vec::new(), written: 0 }
    }

    pub(super) const fn inner(&self) -> &Prefixed {
        &self.inner
    }

    fn poll_write_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest @ [_, ..]) = self.gathered.get(self.written..) {
            let written = ready!(Pin::new(&mut self.inner).poll_write(cx, rest))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written = self.written.saturating_add(written);
        }
        self.gathered.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }

    /// Makes room for so many bytes. False: they are too many to be gathered.
    fn poll_room(&mut self, cx: &mut Context<'_>, bytes: usize) -> Poll<io::Result<bool>> {
        if self.gathered.len().saturating_add(bytes) > ROOM {
            ready!(self.poll_write_out(cx))?;
        }
        if bytes >= ROOM {
            return Poll::Ready(Ok(false));
        }
        if self.gathered.capacity() == 0 {
            self.gathered.reserve_exact(ROOM);
        }
        Poll::Ready(Ok(true))
    }
}

impl AsyncRead for Buffered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for Buffered {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if ready!(self.poll_room(cx, buf.len()))? {
            self.gathered.extend_from_slice(buf);
            return Poll::Ready(Ok(buf.len()));
        }
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let all = bufs.iter().fold(0_usize, |sum, buf| sum.saturating_add(buf.len()));
        if ready!(self.poll_room(cx, all))? {
            for buf in bufs {
                self.gathered.extend_from_slice(buf);
            }
            return Poll::Ready(Ok(all));
        }
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write_out(cx))?;
        self.gathered = Vec::new();
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write_out(cx))?;
        self.gathered = Vec::new();
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
