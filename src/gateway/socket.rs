//! A `WebSocket`, from its handshake to its end. Controls: PRIV-1, TLS-2, MON-5, LOG-1.
//!
//! Pingora 0.9.1 can't be left to it: it takes the end of the bodyless GET, when that is handled
//! after the 101 was read, for the end of the socket, and no hook comes between the two. It would
//! also bound the socket as it bounds a body.
//! 1. The request passed all checks and has its `Clearance`; the way to the upstream is the same as
//!    any request's: address, breaker, verification, pin, headers.
//! 2. No byte of the client's goes up before the upstream's 101, and then every byte does.
//! 3. A connection that carried a handshake carries nothing else afterwards.
//! 4. Where planted records or locked orders are looked for, they are looked for in the frames of both
//!    sides, which then may not be compressed. A lock ends the socket at once.
//! 5. A socket ends with the proof that opened it, and with the grant (ACC-1, ACC-3).
//!
//! On failure before an answer: the denial of any other request. Later: both sides are closed.
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use pingora::connectors::{ConnectorOptions, TransportConnector};
use pingora::protocols::Stream;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v1::client::HttpSession;
use pingora::proxy::Session;
use pingora::server::configuration::ServerConf;
use pingora::{Error, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use tokio::sync::watch;

use super::body::answer_bytes;
use super::charge;
use super::ctx::{Ctx, Stage};
use super::finish::stop;
use super::forward;
use super::granted::{self, Granted};
use super::guard;
use super::relay::{End, Passed, Side, relay};
use super::search;
use crate::base::{ClosedFault, Denial, UpstreamFault};
use crate::upstream::Retry;

/// Opens sockets. Their connections are theirs alone, so there is no pool.
pub(super) struct Sockets {
    connector: TransportConnector,
    stopping: watch::Receiver<bool>,
}

impl Sockets {
    /// `conf` is what the rest of the request path connects by.
    pub(super) fn new(conf: &ServerConf, stopping: watch::Receiver<bool>) -> Self {
        let options = ConnectorOptions::from_server_conf(conf);
        Self { connector: TransportConnector::new(Some(options)), stopping }
    }

    /// Serves a cleared handshake until its socket, or the answer that declined it, is at its end.
    pub(super) async fn serve(&self, session: &mut Session, ctx: &mut Ctx) -> Result<()> {
        let mut upstream = self.connect(session, ctx).await?;
        let mut head = ask(&mut upstream, session, ctx).await?;
        if head.status != StatusCode::SWITCHING_PROTOCOLS {
            return decline(&mut upstream, head, session, ctx).await;
        }
        forward::switching_head(&mut head, ctx).or_else(|denial| stop(ctx, denial))?;
        let told = session.as_downstream_mut().write_response_header(Box::new(head)).await;
        told.map_err(Error::into_down)?;
        let asked = session.req_header().clone();
        // From here on there is no answer left to give, and Pingora must not try.
        let Some(client) = take(session).await else {
            ctx.deny(Denial::Internal);
            return Ok(());
        };
        if let Stage::Cleared(clearance) = &mut ctx.stage {
            clearance.lasts();
        }
        let early = at_hand(upstream.read_body_bytes()).await;
        let upstream = Side { stream: upstream.into_inner(), early };
        self.join(client, upstream, ctx, &asked).await;
        Ok(())
    }

    /// A verified connection of the socket's own.
    async fn connect(&self, session: &Session, ctx: &mut Ctx) -> Result<HttpSession> {
        loop {
            // It may have waited for its turn.
            granted::still(session.req_header(), ctx)
                .and_then(|()| guard::still_admitted(ctx))
                .or_else(|denial| stop(ctx, denial))?;
            let peer = forward::peer(session, ctx).await.or_else(|denial| stop(ctx, denial))?;
            match self.connector.new_stream(peer.as_ref()).await {
                Ok(stream) => {
                    let mut upstream = HttpSession::new_with_options(stream, peer.as_ref());
                    upstream.read_timeout = peer.options.read_timeout;
                    upstream.write_timeout = peer.options.write_timeout;
                    forward::check_pin(ctx, Some(upstream.digest()))
                        .or_else(|denial| stop(ctx, denial))?;
                    return Ok(upstream);
                }
                Err(error) => match forward::failed_to_connect(session, ctx, &error) {
                    Retry::Yes => {}
                    Retry::No => return Err(error.into_up()),
                },
            }
        }
    }

    async fn join(
        &self,
        client: Side<Stream>,
        upstream: Side<Stream>,
        ctx: &mut Ctx,
        asked: &RequestHeader,
    ) {
        let Ok(idle) = ctx.seen().map(|seen| seen.link.facts.bounds.idle) else { return };
        let mut stopping = self.stopping.clone();
        let Some((live, caller)) = ctx
            .seen
            .as_ref()
            .zip(ctx.caller.clone())
            .map(|(seen, caller)| (Arc::clone(&seen.live), caller))
        else {
            return;
        };
        let Some(granted) = Granted::of(ctx) else { return };
        granted.opens_socket(ctx);
        let engine = Arc::clone(&ctx.engine);
        let stop = async {
            // The sender lives as long as the gateway.
            let _ = stopping.wait_for(|stop| *stop).await;
        };
        let (mut up, mut down) = (search::Socket::of(ctx), search::Socket::of(ctx));
        let is_searched = up.is_some();
        let looks = [up.as_mut(), down.as_mut()];
        let mut toll = |up, down| charge::pass(ctx, up, down);
        let passed = Passed { looks, toll: &mut toll };
        let end = tokio::select! {
            biased;
            // A lock waits for no pause: the streams end with the relay, and no further byte passes.
            denial = engine.revoked(live, caller) => End::Refused(denial),
            denial = granted.taken_away(&engine, asked) => End::Refused(denial),
            // From the middle of its frames a socket can't be searched; the next one is from its start.
            () = engine.order_locked(), if !is_searched => {
                End::Refused(Denial::Closed(ClosedFault::Record))
            }
            end = relay(client, upstream, passed, idle, stop) => end,
        };
        for way in [up, down].into_iter().flatten() {
            ctx.traits.canary = ctx.traits.canary.or(way.canary);
        }
        match end {
            End::Closed | End::Silent => {}
            End::ClientBroke => ctx.abort(),
            End::UpstreamBroke => ctx.deny(Denial::Upstream(UpstreamFault::Closed)),
            End::Refused(denial) => ctx.deny(denial),
        }
    }
}

/// Sends the handshake and reads its answer's head. Hints before it are passed on.
async fn ask(
    upstream: &mut HttpSession,
    session: &mut Session,
    ctx: &mut Ctx,
) -> Result<ResponseHeader> {
    let head =
        forward::handshake_head(session.req_header(), ctx).or_else(|denial| stop(ctx, denial))?;
    let sent = upstream.write_request_header(Box::new(head)).await;
    sent.map_err(|error| broken(error, session, ctx))?;
    loop {
        let read = upstream.read_resp_header_parts().await;
        let mut head = *read.map_err(|error| broken(error, session, ctx))?;
        if !head.status.is_informational() || head.status == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(head);
        }
        forward::response_head(&mut head, ctx).or_else(|denial| stop(ctx, denial))?;
        session.write_response_header(Box::new(head), false).await.map_err(Error::into_down)?;
    }
}

fn broken(error: Box<Error>, session: &Session, ctx: &mut Ctx) -> Box<Error> {
    let error = error.into_up();
    // Never again: the handshake was sent.
    let _no = forward::failed_while_proxying(session, ctx, &error, false);
    error
}

/// Passes on an answer that opens no socket, as any other: searched, counted, cut by a lock.
async fn decline(
    upstream: &mut HttpSession,
    mut head: ResponseHeader,
    session: &mut Session,
    ctx: &mut Ctx,
) -> Result<()> {
    forward::response_head(&mut head, ctx).or_else(|denial| stop(ctx, denial))?;
    // What a client sent behind its handshake can't be told from its next request.
    session.set_keepalive(None);
    let framed = [CONTENT_LENGTH, TRANSFER_ENCODING].iter().any(|by| head.headers.contains_key(by));
    let bodiless = matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if !framed && !bodiless {
        head.set_version(http::Version::HTTP_11);
        head.insert_header(TRANSFER_ENCODING, "chunked")?;
    }
    session.write_response_header(Box::new(head), false).await.map_err(Error::into_down)?;
    loop {
        let read = upstream.read_body_bytes().await;
        let mut bytes = read.map_err(|error| broken(error, session, ctx))?;
        let end = bytes.is_none();
        granted::still(session.req_header(), ctx)
            .and_then(|()| answer_bytes(&mut bytes, end, ctx))
            .or_else(|denial| stop(ctx, denial))?;
        if end || bytes.is_some() {
            session.write_response_body(bytes, end).await.map_err(Error::into_down)?;
        }
        if end {
            return Ok(());
        }
    }
}

/// Takes the client's stream out of Pingora's hands, which gets one in its place that is at its end.
async fn take(session: &mut Session) -> Option<Side<Stream>> {
    let (nobody, _) = tokio::io::duplex(1);
    let nobody = Box::new(ServerSession::new_http1(Box::new(nobody)));
    match *std::mem::replace(&mut session.downstream_session, nobody) {
        ServerSession::H1(mut client) => {
            let early = at_hand(client.read_body_bytes()).await;
            Some(Side { stream: client.into_inner(), early })
        }
        // Upgrades exist in HTTP/1.1 only (RFC 9113 §8.6).
        ServerSession::H2(_) | ServerSession::Subrequest(_) | ServerSession::Custom(_) => None,
    }
}

/// What an HTTP session has read of the other protocol already, behind the head or on asking once.
/// An end or an error is met again on the stream itself.
async fn at_hand(read: impl Future<Output = Result<Option<Bytes>>>) -> Bytes {
    let mut read = pin!(read);
    let asked = poll_fn(|cx| match read.as_mut().poll(cx) {
        Poll::Ready(Ok(bytes)) => Poll::Ready(bytes),
        Poll::Ready(Err(_)) | Poll::Pending => Poll::Ready(None),
    });
    asked.await.unwrap_or_default()
}
