//! What locks and detectors ask of a request on its way, and are told at its end. Controls: ACC-2,
//! ACC-5, MON-1 to MON-6. The engine judges; this reads the request for it, and no byte of it stays.
use std::sync::Arc;

use super::charge;
use super::ctx::{Ctx, Seen, Stage};
use super::request::{hold_body, resume_body};
use crate::base::{Denial, IdentityIx, Moment, TokenFault};
use crate::detect::{Event, Outcome, is_scanner_path};
use crate::engine::{Caller, Clearance, ConnLink, Exposed, Live, Pace};
use crate::identity::{self, Presented};
use crate::policy::Permit;
use crate::state::Spent;

/// The ladder's second step: one call after the other. Whoever is locked meanwhile has waited for nothing.
/// Returns when the call goes on.
pub(super) async fn slow_down(
    ctx: &mut Ctx,
    live: &Arc<Live>,
    caller: &mut Caller,
    pace: Pace,
) -> Result<Moment, Denial> {
    if pace == Pace::Usual {
        return Ok(ctx.started);
    }
    let wait = ctx.engine.slow_turn(live, caller).map_err(|secs| {
        ctx.wait_secs = Some(secs);
        Denial::SlowedDown
    })?;
    // Nobody reads the body meanwhile, which is not the caller's fault.
    let held = hold_body();
    let ended = tokio::select! {
        () = tokio::time::sleep(wait) => ctx.engine.still_admitted(live, caller),
        denial = ctx.engine.revoked(Arc::clone(live), caller.clone()) => Err(denial),
    };
    resume_body(held);
    ended.map(|()| ctx.engine.clock.now())
}

/// Charges the quotas. Where other gateways have to be asked first nobody reads the body meanwhile, which
/// is not the caller's fault.
pub(super) async fn settle(
    ctx: &mut Ctx,
    live: &Arc<Live>,
    caller: (IdentityIx, &Caller),
    permit: Permit,
    now: Moment,
) -> Result<Clearance, Denial> {
    let reading = hold_body();
    let settled = ctx.engine.settle_among(live, caller, permit, now).await;
    resume_body(reading);
    let clearance = settled.map_err(|unsettled| {
        ctx.exceeded = unsettled.standing;
        unsettled.denial
    })?;
    ctx.shadowed.clone_from(&clearance.charged().shadowed);
    Ok(clearance)
}

/// A lock reaches what is under way: no further byte goes up or down.
pub(super) fn still_admitted(ctx: &mut Ctx) -> Result<(), Denial> {
    let (Some(seen), Some(caller)) = (&ctx.seen, &mut ctx.caller) else { return Ok(()) };
    ctx.engine.still_admitted(&seen.live, caller)
}

/// A credential that was no good. What could have been a guess counts against the pair of identity
/// and source; what was genuine once does not.
pub(super) fn login_failed(
    ctx: &mut Ctx,
    live: &Live,
    link: &ConnLink,
    presented: &Presented<'_>,
    denial: Denial,
) {
    let guessed = matches!(
        denial,
        Denial::Token(
            TokenFault::Signature | TokenFault::CertificateBinding | TokenFault::ProofRequired
        )
    );
    let certificate = link.facts.certificate.as_ref();
    let Some(claimed) = identity::claimed(certificate, presented, &live.snapshot.trust) else {
        return;
    };
    ctx.claimed = Some(claimed.0);
    if guessed {
        ctx.engine.login_failed(live, link, claimed, ctx.started);
    }
}

/// Shows the request to the detectors. What has left counts, whatever ended it.
pub(super) fn observe(ctx: &Ctx, seen: &Seen, exposed: Option<Exposed>, now: Moment) {
    let conn = &seen.link.facts;
    let (outcome, untold) = (outcome(ctx), charge::untold(ctx, exposed));
    let show = |outcome, untold: Spent| {
        let (bytes, records) = (untold.bytes, untold.pii_records);
        let shown = event(ctx, seen, outcome, &ctx.traits.named);
        let event = Event { at: now, bytes, records, ..shown };
        let proof = ctx.identity.map(|(_, proof)| proof);
        ctx.engine.observe(&seen.live, &event, proof, Some((conn.source, conn.source_day)));
    };
    match outcome {
        Some(Outcome::Allowed) => show(Outcome::Allowed, untold),
        Some(outcome) if has_begun(ctx) => {
            show(Outcome::UnderWay, untold);
            show(outcome, Spent::default());
        }
        Some(outcome) => show(outcome, untold),
        None if has_begun(ctx) => show(Outcome::UnderWay, untold),
        None => {}
    }
}

/// The request as detectors see it, without what it took. `named` is what its query names.
pub(super) fn event<'n>(ctx: &Ctx, seen: &Seen, outcome: Outcome, named: &'n [u64]) -> Event<'n> {
    let conn = &seen.link.facts;
    // A name that nothing proved counts for failed logins and for nothing else.
    let claimed = ctx.named.or(ctx.claimed).filter(|_| outcome == Outcome::NotAuthenticated);
    Event {
        at: ctx.started,
        identity: ctx.identity.map(|(ix, _)| ix).or(claimed),
        role: ctx.role,
        network: conn.networks.first(),
        source: conn.source_hash,
        operation: ctx.operation,
        outcome,
        bytes: 0,
        records: 0,
        object: ctx.traits.object,
        named,
        fingerprint: conn.fingerprint,
        canary: ctx.traits.canary,
    }
}

/// Whether an answer that serves was on its way to the caller, or a socket was open.
fn has_begun(ctx: &Ctx) -> bool {
    ctx.tries.status == Some(ctx.status) && matches!(ctx.status, 101 | 200..=399)
}

/// How it ended, as far as detectors care. `None`: it was locked out, which is counted as an attempt
/// and as nothing else, but where it named a planted record.
fn outcome(ctx: &Ctx) -> Option<Outcome> {
    let denial = match ctx.stage {
        Stage::Denied(denial) => denial,
        Stage::New | Stage::Cleared(_) | Stage::Aborted => {
            return Some(match ctx.tries.status {
                Some(101 | 200..=399) => Outcome::Allowed,
                Some(404) => Outcome::NotFound,
                Some(429) => Outcome::Throttled,
                _ => Outcome::Failed,
            });
        }
    };
    Some(match denial {
        Denial::Locked(_) | Denial::Closed(_) if ctx.traits.canary.is_none() => return None,
        // The identity is proved; what it touched is told beside the outcome.
        Denial::Locked(_) | Denial::Closed(_) | Denial::Canary => Outcome::NotPermitted,
        // Whatever broke it off.
        _ if has_begun(ctx) => Outcome::Allowed,
        Denial::Token(TokenFault::KeysUnavailable) => Outcome::Failed,
        Denial::NoCredential | Denial::Token(_) | Denial::NoIdentity | Denial::OperationUnknown
            if ctx.traits.scanner =>
        {
            Outcome::ScannerPath
        }
        Denial::NoCredential | Denial::Token(_) | Denial::NoIdentity => Outcome::NotAuthenticated,
        Denial::Path(_) if ctx.traits.scanner => Outcome::ScannerPath,
        Denial::Head(_) | Denial::Path(_) => Outcome::Malformed,
        Denial::OperationUnknown
        | Denial::OperationNotGranted
        | Denial::QueryNotGranted
        | Denial::NetworkNotListed
        | Denial::UpgradeNotAllowed => Outcome::NotPermitted,
        Denial::QuotaExceeded => Outcome::OverQuota,
        Denial::UpstreamQuota(_) => Outcome::Throttled,
        // What it is slowed down for has been counted.
        Denial::SlowedDown
        | Denial::StepUp(_)
        | Denial::WrongHost
        | Denial::AddressRevoked
        | Denial::Revoked(_)
        | Denial::BodyNotAllowed
        | Denial::BodyTooLarge
        | Denial::BodyTooSlow
        | Denial::IdentityConnections
        | Denial::LogUnavailable
        | Denial::Withheld(_)
        | Denial::QuotaUnknown
        | Denial::Upstream(_)
        | Denial::Internal => Outcome::Failed,
    })
}

/// Remembers of a refused request whether scanners ask so. Only then it is worth looking.
pub(super) fn look_at_path(ctx: &mut Ctx, path: &[u8]) {
    ctx.traits.scanner = is_scanner_path(path);
}
