//! Writes the answer to a denied request, for HTTP/1 and HTTP/2 alike. The words are `answer`'s.
use bytes::Bytes;
use http::StatusCode;
use http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, RETRY_AFTER, WWW_AUTHENTICATE,
};
use pingora::proxy::Session;
use pingora_http::ResponseHeader;

use super::ctx::Ctx;
use crate::answer::{self, Login, Subject};
use crate::base::{Denial, TokenFault};
use crate::identity::Proof;
use crate::state::Standing;

pub(super) use crate::answer::REQUEST_ID;
const ERROR_TYPE: &str = "x-amzn-ErrorType";

/// Answers in place of the upstream. The connection stays usable where the request was read whole.
pub(super) async fn deny(
    session: &mut Session,
    ctx: &mut Ctx,
    denial: Denial,
) -> pingora::Result<()> {
    ctx.deny(denial);
    let told = told(denial, ctx.identity.map(|(_who, proof)| proof));
    let row = answer::line(told);
    ctx.status = row.status;
    let names = ctx.seen.as_ref().map(|seen| &seen.live.snapshot.names);
    let subject = Subject {
        identity: names.zip(ctx.identity).and_then(|(names, (ix, _proof))| names.identity(ix)),
        operation: names.zip(ctx.operation).and_then(|(names, ix)| names.operation(ix)),
        limit: ctx
            .seen
            .as_ref()
            .zip(ctx.exceeded)
            .and_then(|(seen, standing)| seen.live.quotas().limit_name(standing.limit)),
        pace: ctx.pace.standing,
        wait_secs: ctx.exceeded.map(|standing| standing.reset_secs()).or(ctx.wait_secs),
    };
    let body = Bytes::from(answer::body(told, subject, ctx.request));

    let mut head = ResponseHeader::build(row.status, Some(8))?;
    head.insert_header(CONTENT_TYPE, "application/json")?;
    head.insert_header(CONTENT_LENGTH, body.len().to_string())?;
    head.insert_header(CACHE_CONTROL, "no-store")?;
    head.insert_header(ERROR_TYPE, row.error_type)?;
    head.insert_header(REQUEST_ID, ctx.request.as_str())?;
    if let Some(methods) = answer::allowed(told) {
        head.insert_header(http::header::ALLOW, methods)?;
    }
    let login = ctx.seen.as_ref().map_or_else(Login::default, |seen| {
        let snapshot = &seen.live.snapshot;
        Login { classes: &snapshot.acr, within: snapshot.step_up.within }
    });
    if let Some(challenge) = answer::challenge(told, login) {
        head.insert_header(WWW_AUTHENTICATE, &*challenge)?;
    }
    if let Some(secs) = subject.wait_secs {
        head.insert_header(RETRY_AFTER, secs.to_string())?;
    }
    if let Some(standing) = ctx.exceeded {
        write_standing(&mut head, ctx, &standing)?;
    }
    // Whoever has too many connections has a credential.
    let stranger = denial != Denial::IdentityConnections;
    let link = ctx.seen.as_ref().map(|seen| &seen.link).filter(|_| stranger);
    let bears = link.is_none_or(|link| link.bears_refusal());
    if unread_body(session) || !bears {
        // The rest of the body would be read as the next request; and a place is not kept by asking
        // without a credential again and again.
        session.set_keepalive(None);
    }
    let head_only = session.req_header().method == http::Method::HEAD;
    ctx.response_bytes = if head_only { 0 } else { u64::try_from(body.len()).unwrap_or(0) };
    session.write_response_header(Box::new(head), head_only).await?;
    if !head_only {
        session.write_response_body(Some(body), true).await?;
    }
    Ok(())
}

/// What the caller reads. Whoever is locked, or made to wait, reads what a wrong credential of the same
/// kind reads, so that the answer does not say whether it is right, nor to anybody who only knows a name
/// that somebody is locked (ACC-2).
///
/// The time does differ: a token that is remembered is not verified again. Who is answered sooner has shown
/// a genuine token to this gateway before, and knows that; whoever guesses signatures has not.
const fn told(denial: Denial, proof: Option<Proof>) -> Denial {
    match (denial, proof) {
        (
            Denial::Locked(_),
            Some(Proof::Token | Proof::BoundToken | Proof::TokenAndCertificate),
        ) => Denial::Token(TokenFault::Signature),
        (denial, _) => denial,
    }
}

/// Lets a caller send its body that waits to be told so (RFC 9110 §10.1.1). The gateway has decided,
/// so it is the gateway that says it, whatever version the upstream speaks.
pub(super) async fn go_on(session: &mut Session) -> pingora::Result<()> {
    if session.req_header().headers.contains_key(EXPECT) && !session.is_body_empty() {
        let told = session.as_downstream_mut().write_continue_response().await;
        told.map_err(pingora::Error::into_down)?;
    }
    Ok(())
}

/// Whether the answer's head is out. Hints before it are no answer.
pub(super) fn is_answered(session: &Session) -> bool {
    session.response_written().is_some_and(|head| {
        !head.status.is_informational() || head.status == StatusCode::SWITCHING_PROTOCOLS
    })
}

fn unread_body(session: &mut Session) -> bool {
    !session.is_body_done()
}

/// Where the caller stands in the gateway's quotas (draft-ietf-httpapi-ratelimit-headers).
pub(super) fn write_standing(
    head: &mut ResponseHeader,
    ctx: &Ctx,
    standing: &Standing,
) -> pingora::Result<()> {
    let (Some(seen), Some((who, _proof)), Some(operation), Some(upstream)) =
        (&ctx.seen, ctx.identity, ctx.operation, ctx.upstream)
    else {
        return Ok(());
    };
    let quotas = seen.live.quotas();
    let (mut policy, mut limit) = (Vec::with_capacity(96), Vec::with_capacity(48));
    quotas.write_policy(who, operation, upstream, &mut policy);
    quotas.write_standing(standing, &mut limit);
    head.insert_header("RateLimit-Policy", policy)?;
    head.insert_header("RateLimit", limit)?;
    Ok(())
}
