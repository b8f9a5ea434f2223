//! A cleared call takes its turn at Amazon: it goes, it waits as long as it may, or it is refused.
//! Control: MON-2, the side toward Amazon.
//!
//! 1. The gateway's own quotas were charged before; a call that is refused here gets its charge back.
//! 2. While a call waits, a caller who goes away, a connection that is cut, a gateway that stops and
//!    a lock each end the waiting at once. Over HTTP/1 a caller with a body that was not read yet is
//!    missed only when its turn comes: what it closed lies behind that body.
//! 3. A try that may have reached Amazon has used its turn up; the next try takes another.
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use pingora::proxy::Session;
use pingora::{Error, ErrorType, Result};

use super::ctx::Ctx;
use super::request::{hold_body, resume_body};
use crate::base::{Denial, HeadFault, PacingFault};
use crate::engine::{Admission, Offer, Terms, Unpaced, Waiting};
use crate::pacing::{Answer, Patience, Standing, retry_after};

/// How long the caller is willing to wait; stays here, as all `Sekisho-` fields do.
const MAX_WAIT: &str = "sekisho-max-wait";
const LIMIT: &str = "x-amzn-ratelimit-limit";
const RETRY_AFTER: &str = "retry-after";
/// Turns that a call takes before other gateways have been quicker too often.
const TRIES: u32 = 64;

/// What a request has to do with Amazon's quotas; nothing, if it goes elsewhere.
#[derive(Default)]
pub(super) struct Pace {
    asked: Option<(Terms, Patience)>,
    admission: Option<Admission>,
    /// How long it waited, all tries together, if it did.
    pub(super) waited: Option<Duration>,
    /// Where the quota stands that refused it.
    pub(super) standing: Option<Standing>,
}

impl Pace {
    /// The request's first byte is about to leave.
    pub(super) fn depart(&mut self) {
        if let Some(admission) = &mut self.admission {
            admission.depart();
        }
    }

    /// The try is over and may have reached the upstream.
    pub(super) fn lose(&mut self) {
        drop(self.admission.take());
    }
}

/// Waits for the call's turn, at most as long as it may. An error means that the caller is gone.
pub(super) async fn turn(session: &mut Session, ctx: &mut Ctx) -> Result<Result<(), Denial>> {
    let terms = match terms(ctx) {
        Ok(Some(terms)) => terms,
        Ok(None) => return Ok(Ok(())),
        Err(denial) => return Ok(Err(denial)),
    };
    let patience = match patience(&session.req_header().headers, &terms) {
        Ok(patience) => patience,
        Err(denial) => return Ok(Err(denial)),
    };
    ctx.pace.asked = Some((terms, patience));
    go(session, ctx, &terms, patience).await
}

/// Before another try: whatever the try before has used up is asked for again, with the patience that
/// is left.
pub(super) async fn again(session: &mut Session, ctx: &mut Ctx) -> Result<Result<(), Denial>> {
    match ctx.pace.asked {
        Some((terms, patience)) if ctx.pace.admission.is_none() => {
            let waited = ctx.pace.waited.unwrap_or_default();
            let left = Patience::new(patience.duration().saturating_sub(waited));
            go(session, ctx, &terms, left).await
        }
        Some(_) | None => Ok(Ok(())),
    }
}

async fn go(
    session: &mut Session,
    ctx: &mut Ctx,
    terms: &Terms,
    patience: Patience,
) -> Result<Result<(), Denial>> {
    let (mut left, mut tries) = (patience, 0..TRIES);
    let unpaced = loop {
        let began = ctx.engine.clock.now();
        let admitted = match ctx.engine.offer(&terms.ask(left)) {
            Offer::Go(admission) => Ok(admission),
            Offer::Refuse(unpaced) => Err(unpaced),
            Offer::Wait(waiting) => {
                let ended = wait(session, ctx, waiting).await;
                let waited = ctx.engine.clock.now().since(began);
                ctx.pace.waited = Some(ctx.pace.waited.unwrap_or_default().saturating_add(waited));
                ended?
            }
        };
        match admitted {
            Err(unpaced) => break unpaced,
            Ok(admission) => {
                if let Some(confirmed) = ctx.engine.confirm(terms.bucket(), admission).await {
                    ctx.pace.admission = Some(confirmed);
                    return Ok(Ok(()));
                }
            }
        }
        // Another gateway was quicker; what was waited is not waited again.
        let waited = ctx.engine.clock.now().since(began);
        left = Patience::new(left.duration().saturating_sub(waited));
        if tries.next().is_none() {
            return Ok(Err(Denial::UpstreamQuota(PacingFault::Late)));
        }
    };
    ctx.wait_secs = unpaced.wait_secs();
    ctx.pace.standing = unpaced.standing;
    Ok(Err(unpaced.denial))
}

async fn wait(
    session: &mut Session,
    ctx: &Ctx,
    waiting: Waiting,
) -> Result<Result<Admission, Unpaced>> {
    let revoked = async {
        match (&ctx.seen, ctx.caller.clone()) {
            (Some(seen), Some(caller)) => ctx.engine.revoked(Arc::clone(&seen.live), caller).await,
            (None, _) | (_, None) => Denial::Internal,
        }
    };
    // Nobody reads the body meanwhile, which is not the caller's fault.
    let held = hold_body();
    let ended = tokio::select! {
        biased;
        denial = revoked => Ok(Err(Unpaced { denial, wait: None, standing: None })),
        turn = waiting.turn() => Ok(turn),
        gone = gone(session) => Err(gone),
        () = ctx.engine.cut_off() => Err(Error::new(ErrorType::ConnectionClosed)),
    };
    resume_body(held);
    ended.map_err(Error::into_down)
}

/// Returns when the caller is gone.
async fn gone(session: &mut Session) -> Box<Error> {
    let bodiless = session.is_body_empty();
    let downstream = session.as_downstream_mut();
    if let Some(reset) = downstream.watch_h2_stream_close() {
        return match reset.await {
            Ok(_reason) => Error::new(ErrorType::ConnectionClosed),
            Err(error) => error,
        };
    }
    if bodiless && let Err(error) = downstream.read_body_or_idle(true).await {
        return error;
    }
    std::future::pending().await
}

fn terms(ctx: &Ctx) -> std::result::Result<Option<Terms>, Denial> {
    let (clearance, seen) = (ctx.clearance()?, ctx.seen()?);
    let (who, _proof) = ctx.identity.ok_or(Denial::Internal)?;
    Ok(seen.live.terms(who, clearance.operation(), clearance.upstream()))
}

fn patience(headers: &HeaderMap, terms: &Terms) -> std::result::Result<Patience, Denial> {
    let mut told = headers.get_all(MAX_WAIT).iter();
    match (told.next(), told.next()) {
        (None, _) => Ok(terms.wait),
        (Some(value), None) => Patience::parse(value.as_bytes(), terms.max_wait)
            .map_err(|_fault| Denial::Head(HeadFault::MaxWait)),
        (Some(_), Some(_)) => Err(Denial::Head(HeadFault::MaxWait)),
    }
}

/// The head of Amazon's answer is here: it says how the quota stands.
pub(super) fn answered(status: u16, headers: &HeaderMap, ctx: &mut Ctx) {
    let Some(admission) = ctx.pace.admission.take() else { return };
    let rest = |headers: &HeaderMap| {
        let value = headers.get(RETRY_AFTER)?;
        retry_after(value.as_bytes(), ctx.engine.clock.now())
    };
    let answer = match status {
        429 => Answer::Throttled { retry_after: rest(headers) },
        503 => Answer::Overloaded { retry_after: rest(headers) },
        _ => {
            let told = headers.get(LIMIT);
            let terms = ctx.pace.asked.as_ref().map(|(terms, _)| terms);
            let limit = told.zip(terms).and_then(|(told, terms)| terms.learn(told.as_bytes()));
            Answer::Served { limit }
        }
    };
    admission.settle(answer);
    if let (Ok(seen), Some(upstream)) = (ctx.seen(), ctx.upstream) {
        ctx.engine.report_throttled(&seen.live, upstream, answer);
    }
}
