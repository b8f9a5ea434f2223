//! Pingora's hooks. Each delegates; none decides.
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::HeaderMap;
use pingora::proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, Result};
use pingora_core::protocols::Digest;
use pingora_http::{RequestHeader, ResponseHeader};

use super::body::answer_bytes;
use super::ctx::Ctx;
use super::finish::stop;
use super::socket::Sockets;
use super::{finish, forward, granted, pace, reader, request, respond, search};
use crate::engine::Engine;
use crate::upstream::Retry;

pub(super) struct Hooks {
    engine: Arc<Engine>,
    sockets: Sockets,
}

impl Hooks {
    pub(super) const fn new(engine: Arc<Engine>, sockets: Sockets) -> Self {
        Self { engine, sockets }
    }
}

#[async_trait]
impl ProxyHttp for Hooks {
    type CTX = Ctx;

    fn new_ctx(&self) -> Ctx {
        Ctx::new(Arc::clone(&self.engine))
    }

    async fn request_filter(&self, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
        let admitted = match request::admit(session, ctx).await {
            Ok(()) => pace::turn(session, ctx).await?,
            Err(denial) => Err(denial),
        };
        match admitted {
            Ok(()) if session.is_upgrade_req() => {
                self.sockets.serve(session, ctx).await?;
                Ok(true)
            }
            Ok(()) => {
                respond::go_on(session).await?;
                Ok(false)
            }
            Err(denial) => {
                respond::deny(session, ctx, denial).await?;
                Ok(true)
            }
        }
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        ctx: &mut Ctx,
    ) -> Result<()> {
        let bytes = body.as_ref().map_or(0, Bytes::len);
        // Pingora takes any other error for one of an HTTP/2 upstream's and waits for its answer.
        granted::still(session.req_header(), ctx)
            .and_then(|()| request::count_body(ctx, bytes, end))
            .and_then(|()| search::up(ctx, body, end))
            .or_else(|denial| stop(ctx, denial).map_err(Error::into_down))
    }

    async fn upstream_peer(&self, session: &mut Session, ctx: &mut Ctx) -> Result<Box<HttpPeer>> {
        pace::again(session, ctx).await?.or_else(|denial| stop(ctx, denial))?;
        granted::still(session.req_header(), ctx).or_else(|denial| stop(ctx, denial))?;
        forward::peer(session, ctx).await.or_else(|denial| stop(ctx, denial))
    }

    async fn connected_to_upstream(
        &self,
        _session: &mut Session,
        _reused: bool,
        _peer: &HttpPeer,
        _fd: std::os::fd::RawFd,
        digest: Option<&Digest>,
        ctx: &mut Ctx,
    ) -> Result<()> {
        forward::check_pin(ctx, digest).or_else(|denial| stop(ctx, denial))
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        head: &mut RequestHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        finish::still_asked(ctx)?;
        forward::request_head(session.req_header(), head, ctx)
            .or_else(|denial| stop(ctx, denial))?;
        ctx.pace.depart();
        Ok(())
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        head: &mut ResponseHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        granted::still(session.req_header(), ctx)
            .and_then(|()| forward::learn_version(head, ctx))
            .and_then(|()| forward::response_head(head, ctx))
            .or_else(|denial| stop(ctx, denial))
    }

    fn upstream_response_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        ctx: &mut Ctx,
    ) -> Result<Option<std::time::Duration>> {
        granted::still(session.req_header(), ctx)
            .and_then(|()| answer_bytes(body, end, ctx))
            .or_else(|denial| stop(ctx, denial))?;
        reader::next_piece(session, ctx);
        Ok(None)
    }

    fn upstream_response_trailer_filter(
        &self,
        _session: &mut Session,
        trailers: &mut HeaderMap,
        ctx: &mut Ctx,
    ) -> Result<()> {
        forward::trailers(trailers, ctx).or_else(|denial| stop(ctx, denial))
    }

    fn fail_to_connect(
        &self,
        session: &mut Session,
        _peer: &HttpPeer,
        ctx: &mut Ctx,
        mut error: Box<Error>,
    ) -> Box<Error> {
        error.set_retry(forward::failed_to_connect(session, ctx, &error) == Retry::Yes);
        error
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        mut error: Box<Error>,
        ctx: &mut Ctx,
        reused: bool,
    ) -> Box<Error> {
        let retry = forward::failed_while_proxying(session, ctx, &error, reused);
        error.set_retry(retry == Retry::Yes);
        error
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        ctx: &mut Ctx,
    ) -> FailToProxy {
        finish::answer_failure(session, error, ctx).await
    }

    async fn logging(&self, _session: &mut Session, error: Option<&Error>, ctx: &mut Ctx) {
        finish::close(ctx, error);
    }

    /// Pingora's own lines would print the path and the query (LOG-2).
    fn suppress_error_log(&self, _session: &Session, _ctx: &Ctx, _error: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(
        &self,
        _session: &Session,
        _ctx: &Ctx,
        _error: &Error,
        _context: ProxyWarnLogContext,
    ) -> bool {
        true
    }

    fn request_summary(&self, _session: &Session, _ctx: &Ctx) -> String {
        String::new()
    }
}
