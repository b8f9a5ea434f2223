//! How a request ends: the answer to a failure, and the one access record. Controls: LOG-1, LOG-2.
use pingora::proxy::{FailToProxy, Session};
use pingora::{Error, ErrorSource, ErrorType};

use super::ctx::{Ctx, Recorded, Seen, Stage};
use super::{body, charge, forward, granted, guard, request, respond};
use crate::answer;
use crate::base::{Denial, HeadFault, Moment, UpstreamFault};
use crate::engine::Done;
use crate::evidence::{AccessRecord, Fixed, Nanos, Proof};
use crate::identity;
use crate::upstream::Outcome;

/// Carries a denial through Pingora's error type; [`answer_failure`] finds it in the context.
pub(super) fn stop<T>(ctx: &mut Ctx, denial: Denial) -> pingora::Result<T> {
    ctx.deny(denial);
    Err(Error::new(ErrorType::InternalError))
}

/// Whether anybody is left to be answered: over HTTP/2 a request outlives its connection.
///
/// # Errors
/// Nobody is.
pub(super) fn still_asked(ctx: &mut Ctx) -> pingora::Result<()> {
    if !ctx.seen.as_ref().is_some_and(|seen| seen.link.is_closed()) {
        return Ok(());
    }
    if let Some(denial) = granted::cut(ctx) {
        return stop(ctx, denial);
    }
    ctx.abort();
    Err(Error::new(ErrorType::ConnectionClosed).into_down())
}

/// Answers a request that could not be served, if the answer has not begun.
pub(super) async fn answer_failure(
    session: &mut Session,
    error: &Error,
    ctx: &mut Ctx,
) -> FailToProxy {
    let denial = denial_of(error, ctx);
    let Some(denial) = denial else {
        ctx.abort();
        return FailToProxy { error_code: 0, can_reuse_downstream: false };
    };
    if respond::is_answered(session) {
        // The head is out; what can be done is to end the stream so that the caller notices.
        ctx.deny(denial);
        return FailToProxy { error_code: ctx.status, can_reuse_downstream: false };
    }
    let status = answer::line(denial).status;
    // Pingora closes after a failure; the caller must know before it sends another request.
    session.set_keepalive(None);
    // A caller who is gone gets no answer; the record is written all the same.
    let _ = respond::deny(session, ctx, denial).await;
    FailToProxy { error_code: status, can_reuse_downstream: false }
}

/// Why a request failed. `None`: the caller went away.
fn denial_of(error: &Error, ctx: &Ctx) -> Option<Denial> {
    if let Stage::Denied(denial) = ctx.stage {
        return Some(denial);
    }
    let told = ctx.seen.as_ref().and_then(|seen| seen.link.body_fault());
    match error.esource() {
        ErrorSource::Upstream => Some(Denial::Upstream(forward::fault_of(error))),
        ErrorSource::Downstream => match (told, error.etype()) {
            (Some(denial), _) => Some(denial),
            (None, ErrorType::ReadTimedout) => Some(Denial::BodyTooSlow),
            (None, ErrorType::InvalidHTTPHeader) => Some(Denial::Head(HeadFault::Engine)),
            (None, _) => None,
        },
        ErrorSource::Internal | ErrorSource::Unset => Some(told.unwrap_or(Denial::Internal)),
    }
}

/// Pingora's last word on a request.
pub(super) fn close(ctx: &mut Ctx, error: Option<&Error>) {
    ctx.ended = error.is_none();
    if error.is_some_and(|error| !matches!(error.esource(), ErrorSource::Upstream)) {
        // The caller's fault says nothing about the upstream.
        ctx.report(Outcome::Abandoned);
    }
    record(ctx);
}

/// Writes the access record, once.
pub(super) fn record(ctx: &mut Ctx) {
    if ctx.recorded == Recorded::Yes {
        return;
    }
    ctx.recorded = Recorded::Yes;
    let now = ctx.engine.clock.now();
    if matches!(ctx.stage, Stage::New | Stage::Cleared(_)) && ctx.status == 0 {
        // Neither answered nor failed: its task was dropped.
        if request::body_is_slow() {
            ctx.deny(Denial::BodyTooSlow);
        } else {
            ctx.abort();
        }
    }
    if let Some(denial) = granted::cut(ctx) {
        ctx.deny(denial);
    }
    let slot = match std::mem::replace(&mut ctx.stage, Stage::New) {
        Stage::Cleared(clearance) => Some(clearance.into_slot()),
        stage => {
            ctx.stage = stage;
            ctx.slot.take()
        }
    };
    let scanner = ctx.scanner.take();
    let Some(seen) = &ctx.seen else {
        // Nothing is known of a request that no hook saw; the door has told of it.
        if let Some(slot) = slot {
            slot.release();
        }
        return;
    };
    let exposed = body::end(scanner, ctx, seen, now);
    // Not even the bytes of the refusal.
    if slot.is_some() && !ctx.is_free() {
        charge::take_rest(ctx, seen, exposed, now);
    }
    guard::observe(ctx, seen, exposed, now);
    let mut record = access_record(ctx, seen, now);
    record.paced = ctx.pace.waited;
    record.pii_records = exposed.map(|exposed| exposed.records);
    record.drift = exposed.map(|exposed| exposed.drift).filter(|drift| *drift > 0);
    let denial = match ctx.stage {
        Stage::Denied(denial) => Some(denial),
        Stage::New | Stage::Cleared(_) | Stage::Aborted => None,
    };
    let done = Done {
        requests: 1,
        refused: u64::from(denial.is_some()),
        bytes: ctx.request_bytes.saturating_add(ctx.response_bytes),
        records: exposed.map_or(0, |exposed| exposed.records),
    };
    let who = ctx.identity.map(|(who, _proof)| who);
    ctx.engine.note_traffic(&seen.live, who, done, now);
    ctx.engine.report_shadowed(&seen.live, &ctx.shadowed);
    ctx.engine.report_request(&seen.live, &record, ctx.operation, slot, denial);
    if let Some(upstream) = ctx.upstream {
        ctx.engine.report_upstream(&seen.live, upstream, &record, denial);
    }
    if denial == Some(Denial::Upstream(UpstreamFault::Untrusted))
        && let Some(upstream) = record.upstream
    {
        ctx.engine.report_untrusted(upstream);
    }
}

fn access_record<'a>(ctx: &'a Ctx, seen: &'a Seen, now: Moment) -> AccessRecord<'a> {
    let (conn, names) = (&seen.link.facts, &seen.live.snapshot.names);
    let mut record = AccessRecord::new(ctx.started, ctx.request);
    record.operation = ctx.operation.and_then(|ix| names.operation(ix));
    record.method = ctx.method.map(|method| Fixed::new(method.as_str()));
    record.status = (ctx.status != 0).then_some(ctx.status);
    record.identity = ctx.named.and_then(|ix| names.identity(ix));
    if let Some((who, proof)) = ctx.identity {
        record.identity = names.identity(who);
        record.proof = Some(match proof {
            identity::Proof::Certificate => Proof::Certificate,
            identity::Proof::Token => Proof::Token,
            identity::Proof::BoundToken => Proof::BoundToken,
            identity::Proof::TokenAndCertificate => Proof::TokenAndCertificate,
        });
    }
    let quotas = seen.live.quotas();
    record.limit = ctx.exceeded.and_then(|standing| quotas.limit_name(standing.limit));
    record.shadow_limit = ctx.shadowed.first().and_then(|ix| quotas.limit_name(*ix));
    record.role = ctx.role.and_then(|ix| names.role(ix));
    record.listener = Some(&conn.listener_name);
    record.network = conn.networks.first().and_then(|ix| names.network(ix));
    record.source = Some(conn.source);
    record.source_day = Some(conn.source_day);
    record.tls = Some(conn.tls);
    record.protocol = Some(conn.http);
    record.request_bytes = ctx.request_bytes;
    record.response_bytes = ctx.response_bytes;
    record.duration = Nanos(now.since(ctx.started));
    record.generation = seen.live.snapshot.generation;
    let tries = &ctx.tries;
    if tries.count > 0 || matches!(ctx.stage, Stage::Denied(Denial::Upstream(_))) {
        record.upstream = ctx.upstream.and_then(|ix| names.upstream(ix));
    }
    if tries.count > 0 {
        record.attempts = Some(tries.count);
        record.upstream_status = tries.status;
        record.amazon_request = tries.amazon_request;
        record.upstream_first_byte =
            tries.began.zip(tries.first_byte).map(|(began, first)| first.since(began));
    }
    match ctx.stage {
        Stage::Denied(denial) => record.deny(denial),
        Stage::Aborted => record.abort(),
        Stage::New | Stage::Cleared(_) => {}
    }
    record
}
