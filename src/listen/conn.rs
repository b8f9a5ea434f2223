//! A TLS connection as Pingora's engine sees it: every byte in passes a guard first, every read has
//! a deadline, every write one that moves as bytes are taken, and an answer that no request of ours owns
//! never leaves. Controls: MON-5, LOG-2.
use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::guard::{Armed, H1Guard, H2Guard, Verdict};
use super::lent::{Lent, Peer};
use super::replies::{Found, Next};
use super::taking::Taking;
use super::words::{Words, explain, fault_of};
use crate::answer;
use crate::base::{Denial, HeadFault};
use crate::engine::{ConnLink, DoorFault, Engine};
use crate::evidence::Protocol;

pub(super) struct Conn {
    tls: Lent,
    link: Arc<ConnLink>,
    engine: Arc<Engine>,
    /// Carries `link` to the request path: the one slot of Pingora's that reaches both HTTP/1 and
    /// HTTP/2 sessions.
    digest: Arc<ProxyDigest>,
    guard: Guard,
    timer: Pin<Box<Sleep>>,
    opened: Instant,
    pending_since: Option<Instant>,
    head_since: Option<Instant>,
    /// HTTP/2: nobody has proved itself, and no request has been under way since.
    strange_since: Option<Instant>,
    taking: Taking,
    closing: Option<Words>,
    /// Bytes of a request that came while nobody took them.
    early: Early,
    /// HTTP/2: an answer of the engine's own, with fields and a body of ours behind it.
    inserted: Option<Words>,
}

enum Guard {
    H1(Box<H1Guard>),
    H2(Box<H2Guard>),
}

/// The first bytes of a request, judged already. Few: they tell that there are more.
struct Early {
    bytes: [u8; 64],
    filled: usize,
}

impl Early {
    const NONE: Self = Self { bytes: [0; 64], filled: 0 };

    fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// Gives away as many as there is room for.
    fn give(&mut self, buf: &mut ReadBuf<'_>) {
        let length = self.filled.min(buf.remaining());
        buf.put_slice(self.bytes.get(..length).unwrap_or_default());
        self.bytes.copy_within(length..self.filled, 0);
        self.filled = self.filled.saturating_sub(length);
    }
}

impl Conn {
    pub(super) fn new(tls: Lent, link: Arc<ConnLink>, engine: Arc<Engine>) -> io::Result<Self> {
        let guard = match link.facts.http {
            Protocol::Http1 => Guard::H1(Box::new(H1Guard::new(&link.facts.bounds))),
            Protocol::Http2 => Guard::H2(Box::new(H2Guard::new(&link.facts.bounds))),
        };
        let response = pingora_http::ResponseHeader::build(200, Some(0))
            .map_err(|_status| io::Error::from(io::ErrorKind::InvalidInput))?;
        let taking = Taking::new(link.facts.bounds.body_rate);
        let digest = ProxyDigest::new(Box::new(response), Some(Box::new(Arc::clone(&link))));
        Ok(Self {
            timer: Box::pin(tokio::time::sleep(link.facts.bounds.first_byte)),
            opened: Instant::now(),
            tls,
            engine,
            digest: Arc::new(digest),
            guard,
            link,
            pending_since: None,
            head_since: None,
            strange_since: None,
            taking,
            closing: None,
            early: Early::NONE,
            inserted: None,
        })
    }

    /// Judges what a read added to `buf`; hides it where it must not pass.
    fn judge(&mut self, buf: &mut ReadBuf<'_>, before: usize) -> io::Result<()> {
        let fresh = buf.filled_mut().get_mut(before..).unwrap_or_default();
        let verdict = match &mut self.guard {
            Guard::H1(guard) => {
                if let Some(since) = self.pending_since.take() {
                    guard.waited(since.elapsed());
                }
                guard.feed(fresh)
            }
            Guard::H2(guard) => {
                self.pending_since = None;
                let verdict = guard.feed(fresh, self.engine.clock.now().mono_ns());
                self.link.set_backed_up(guard.is_backed_up());
                verdict
            }
        };
        self.follow(verdict, || buf.set_filled(before))
    }

    fn follow(&mut self, verdict: Verdict, hide: impl FnOnce()) -> io::Result<()> {
        match verdict {
            Verdict::Pass => return Ok(()),
            Verdict::Refuse(fault) => {
                hide();
                self.refuse(fault);
                return Ok(());
            }
            Verdict::Break(fault) => {
                hide();
                self.link.set_body_fault(fault);
            }
            Verdict::Flood(fault) => {
                hide();
                self.engine.report_connection(&self.link.facts, DoorFault::Frames(fault.as_str()));
            }
        }
        Err(io::ErrorKind::ConnectionAborted.into())
    }

    /// Answers in the engine's place and lets it see the end of the stream.
    fn refuse(&mut self, fault: HeadFault) {
        if self.closing.is_none() {
            let denial = Denial::Head(fault);
            let told = Some(answer::line(denial).status);
            let request = self.engine.report_head(&self.link.facts, denial, told);
            self.closing = Some(Words::new(answer::http1(denial, request)));
        }
    }

    fn poll_last_words(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(closing) = &mut self.closing {
            ready!(closing.poll_write(&mut self.tls, cx))?;
        }
        Pin::new(&mut self.tls).poll_flush(cx)
    }

    fn poll_inserted(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(inserted) = &mut self.inserted {
            ready!(inserted.poll_write(&mut self.tls, cx))?;
            self.inserted = None;
        }
        Poll::Ready(Ok(()))
    }

    /// HTTP/2: the engine refuses malformed requests by itself and tells nobody, so what it writes is
    /// watched.
    fn poll_write_frames(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_inserted(cx))?;
        let Guard::H2(guard) = &mut self.guard else {
            return Pin::new(&mut self.tls).poll_write(cx, buf);
        };
        let (bytes, own) = match guard.next(buf) {
            Next::Pass(length) => {
                let bytes = buf.get(..length).unwrap_or(buf);
                let written = ready!(Pin::new(&mut self.tls).poll_write(cx, bytes))?;
                (bytes.get(..written).unwrap_or(bytes), None)
            }
            Next::Own { length, stream } => (buf.get(..length).unwrap_or(buf), Some(stream)),
        };
        let (engine, facts) = (&self.engine, &self.link.facts);
        let mut answer = None;
        guard.sent(bytes, self.link.begun(), |found| {
            let refused = match found {
                Found::Refused(refused) => Some(refused),
                Found::ConnectionError(refused) => {
                    engine.report_connection(facts, DoorFault::Frames("connection_error"));
                    refused
                }
            };
            if let Some(refused) = refused {
                let denial = Denial::Head(fault_of(refused));
                let told = own.map(|_stream| answer::line(denial).status);
                answer = Some((denial, engine.report_head(facts, denial, told)));
            }
        });
        self.link.set_backed_up(guard.is_backed_up());
        if let Some(stream) = own {
            let bytes = match answer {
                Some((denial, request)) => {
                    explain(bytes, denial, request, |body| guard.may_explain(stream, body.len()))
                }
                None => bytes.to_vec(),
            };
            self.inserted = Some(Words::new(bytes));
            // What can't be written yet goes out with the next write or flush.
            if let Poll::Ready(Err(error)) = self.poll_inserted(cx) {
                return Poll::Ready(Err(error));
            }
        }
        Poll::Ready(Ok(bytes.len()))
    }

    /// A read is pending: waits for bytes or for the end of the guard's patience. `Ready` means
    /// that the patience ran out.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let bounds = &self.link.facts.bounds;
        let now = Instant::now();
        let since = *self.pending_since.get_or_insert(now);
        let (patience, start) = match &self.guard {
            Guard::H1(guard) if guard.counts_from_start() => {
                (guard.patience(bounds), *self.head_since.get_or_insert(now))
            }
            Guard::H1(guard) if guard.is_idle() && !self.link.is_proved() => {
                (guard.patience(bounds).map(|time| time.min(bounds.first_byte)), since)
            }
            Guard::H1(guard) => (guard.patience(bounds), since),
            // Conversation without a request earns no more time; nor does it later on, as long as
            // nobody has proved itself.
            Guard::H2(guard) => match guard.patience(bounds) {
                Some(patience) => (Some(patience), self.opened),
                None if self.link.is_proved() => (None, since),
                None => {
                    let idle = self.strange_since.filter(|_| !self.link.is_busy()).unwrap_or(now);
                    self.strange_since = Some(idle);
                    (Some(bounds.first_byte.min(bounds.idle)), idle)
                }
            },
        };
        let Some(patience) = patience else { return Poll::Pending };
        self.poll_until(cx, start.checked_add(patience).unwrap_or(now))
    }

    fn poll_until(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        // The timer is only ever moved nearer; when it rings early it is set anew. So a request
        // that comes in time costs no timer operation.
        if deadline < self.timer.deadline() {
            self.timer.as_mut().reset(deadline);
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

impl Conn {
    /// What became of a write; a client that is too late with taking what is written is not waited for.
    fn poll_taken<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
        bytes: impl FnOnce(&T) -> usize,
    ) -> Poll<io::Result<T>> {
        match &written {
            Poll::Ready(Ok(done)) => self.taking.took(bytes(done), Instant::now),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => {
                let deadline = self.taking.waits(Instant::now(), self.link.facts.bounds.idle);
                ready!(self.poll_until(cx, deadline));
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        written
    }
}

impl AsyncRead for Conn {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.link.is_probed() {
            return this.poll_probe(cx, buf);
        }
        if this.early.is_empty() {
            return this.poll_judged(cx, buf);
        }
        this.early.give(buf);
        match this.poll_judged(cx, buf) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(())),
        }
    }
}

impl Conn {
    /// Waits for bytes and keeps them.
    fn poll_probe(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.early.is_empty() {
            let mut bytes = [0; 64];
            let mut few = ReadBuf::new(&mut bytes);
            ready!(self.poll_judged(cx, &mut few))?;
            let filled = few.filled().len();
            self.early = Early { bytes, filled };
        }
        self.link.end_probe();
        if !self.early.is_empty() {
            buf.put_slice(&[0]);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_judged(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self;
        if let Guard::H1(guard) = &mut this.guard {
            match guard.arm(this.link.begun()) {
                Armed::Before => {}
                Armed::Now => (this.head_since, this.pending_since) = (None, None),
                Armed::Astray => return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
            }
        }
        if this.closing.is_none() {
            let before = buf.filled().len();
            match Pin::new(&mut this.tls).poll_read(cx, buf) {
                Poll::Ready(Ok(())) if buf.filled().len() == before => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(())) => this.judge(buf, before)?,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    ready!(this.poll_patience(cx));
                    let verdict = match &this.guard {
                        Guard::H1(guard) => guard.out_of_patience(),
                        Guard::H2(_) => None,
                    };
                    let Some(verdict) = verdict else { return Poll::Ready(Ok(())) };
                    this.follow(verdict, || {})?;
                }
            }
        }
        if this.closing.is_some() {
            ready!(this.poll_last_words(cx))?;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Conn {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if matches!(this.guard, Guard::H1(_)) && !this.link.is_owned() {
            // The engine's parser refuses a head that our guard let pass.
            this.refuse(HeadFault::Engine);
        }
        if this.closing.is_some() {
            ready!(this.poll_last_words(cx))?;
            return Poll::Ready(Ok(buf.len()));
        }
        let written = this.poll_write_frames(cx, buf);
        this.poll_taken(cx, written, |bytes| *bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.closing.is_some() {
            return this.poll_last_words(cx);
        }
        let flushed = match this.poll_inserted(cx) {
            Poll::Ready(Ok(())) => Pin::new(&mut this.tls).poll_flush(cx),
            other => other,
        };
        this.poll_taken(cx, flushed, |()| 0)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_inserted(cx))?;
        Pin::new(&mut self.tls).poll_shutdown(cx)
    }
}

#[async_trait]
impl Shutdown for Conn {
    /// The engine drops the connection next, and whoever lent the stream closes it.
    async fn shutdown(&mut self) {}
}

impl Drop for Conn {
    fn drop(&mut self) {
        match &self.guard {
            Guard::H1(guard) if self.closing.is_some() || !guard.is_idle() => {
                self.tls.leave(Peer::Sending);
            }
            Guard::H1(_) | Guard::H2(_) => {}
        }
    }
}

impl UniqueID for Conn {
    fn id(&self) -> UniqueIDType {
        self.tls.tcp().map_or(-1, AsRawFd::as_raw_fd)
    }
}

impl Ssl for Conn {
    fn selected_alpn_proto(&self) -> Option<ALPN> {
        Some(match self.link.facts.http {
            Protocol::Http1 => ALPN::H1,
            Protocol::Http2 => ALPN::H2,
        })
    }
}

impl GetTimingDigest for Conn {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Conn {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        Some(Arc::clone(&self.digest))
    }
}

impl GetSocketDigest for Conn {
    /// The engine never learns the client's address (LOG-2).
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        None
    }
}

#[async_trait]
impl Peek for Conn {}

impl fmt::Debug for Conn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Conn")
    }
}
