//! Whether what a request was let through for is granted still, when another configuration has come in
//! force or its connection was cut while it is under way. Controls: ACC-3, PRIV-1.
//!
//! 1. What would not be let through now goes no further: no byte of an answer, an upload or a socket. A
//!    token that expires takes the socket along that it opened, but no answer: those have an end.
//! 2. Nor does what came by a connection that was cut: over HTTP/2 a request is a task of its own.
//! 3. As long as neither happens this costs the look at two numbers.
use std::sync::Arc;

use pingora_http::RequestHeader;

use super::ctx::Ctx;
use super::facts::{self, Ended};
use crate::base::{Denial, IdentityIx, OperationIx, RevokedFault, UpstreamIx};
use crate::engine::{ConnLink, Engine, Live};

const TAKEN_AWAY: Denial = Denial::Revoked(RevokedFault::Grant);

/// What a request was let through for.
pub(super) struct Granted {
    by: Arc<Live>,
    link: Arc<ConnLink>,
    what: (IdentityIx, OperationIx, UpstreamIx),
}

/// Whether a request may go on.
///
/// # Errors
/// It may not.
pub(super) fn still(asked: &RequestHeader, ctx: &mut Ctx) -> Result<(), Denial> {
    if let Some(denial) = cut(ctx) {
        return Err(denial);
    }
    let generation = ctx.engine.generation();
    if generation == ctx.granted_by {
        return Ok(());
    }
    ctx.granted_by = generation;
    match Granted::of(ctx) {
        Some(granted) if !granted.holds(&ctx.engine, asked) => Err(TAKEN_AWAY),
        Some(_) | None => Ok(()),
    }
}

/// A request that has not come to its end when its connection is cut: whoever's access was revoked is
/// told apart from those who used the same connection.
pub(super) fn cut(ctx: &Ctx) -> Option<Denial> {
    let seen = ctx.seen.as_ref()?;
    let cut = seen.link.why_cut().filter(|_| ctx.is_unfinished())?;
    let named = ctx.identity.and_then(|(who, _)| seen.live.snapshot.names.identity(who));
    let theirs = cut.identity.is_none() || cut.identity.as_ref() == named;
    theirs.then_some(Denial::Revoked(cut.fault))
}

impl Granted {
    /// `None`: nothing was granted yet.
    pub(super) fn of(ctx: &Ctx) -> Option<Self> {
        let (seen, (who, _proof)) = (ctx.seen.as_ref()?, ctx.identity?);
        let what = (who, ctx.operation?, ctx.upstream?);
        Some(Self { by: Arc::clone(&seen.live), link: Arc::clone(&seen.link), what })
    }

    /// It turns into a socket, which ends with the proof that opened it.
    pub(super) fn opens_socket(&self, ctx: &Ctx) {
        if let Some(name) = self.by.snapshot.names.identity(self.what.0) {
            ctx.engine.opened_socket(&self.link, name, ctx.proved_until);
        }
    }

    /// Returns when it is granted no more.
    pub(super) async fn taken_away(&self, engine: &Engine, asked: &RequestHeader) -> Denial {
        let mut generations = engine.generations();
        while self.holds(engine, asked) && generations.changed().await.is_ok() {}
        TAKEN_AWAY
    }

    fn holds(&self, engine: &Engine, asked: &RequestHeader) -> bool {
        let conn = &self.link.facts;
        // It was read before. Where its body ends says nothing of who may ask.
        facts::read(asked, conn.http, Ended::Yes, &conn.bounds)
            .is_ok_and(|facts| engine.still_grants(&self.by, conn, &facts, self.what))
    }
}
