//! An answer's bytes on their way down: a lock cuts them (ACC-2), `search` holds back what may be guarded
//! (MON-4), and what is revealed is counted and charged (MON-3). Masking by role will enter here. Never changes a byte.
use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};

use super::ctx::{Ctx, Seen};
use super::{charge, guard, search};
use crate::base::{Denial, Moment};
use crate::engine::Exposed;
use crate::evidence::Fixed;
use crate::exposure::Scanner;

/// Before the body: whether it can be read.
pub(super) fn begin(headers: &HeaderMap, ctx: &mut Ctx) {
    let (Some(seen), Some(operation)) = (&ctx.seen, ctx.operation) else { return };
    let Some(contract) = seen.live.contract(operation) else {
        // A socket's bytes are its answer.
        let serves = matches!(ctx.status, 101 | 200..=299);
        ctx.unread = serves && seen.live.holds_unread(operation);
        return;
    };
    match unreadable(headers) {
        None => ctx.scanner = ctx.engine.scanner(&seen.live, operation),
        Some(reason) if contract.classes().any(|(class, _)| class.is_personal()) => {
            ctx.engine.metrics.unread(Fixed::new(reason));
            // What an error says is not a record; what a served answer holds may all be.
            ctx.unread = (200..300).contains(&ctx.status);
        }
        Some(_) => {}
    }
}

fn unreadable(headers: &HeaderMap) -> Option<&'static str> {
    let mut codings = headers.get_all(CONTENT_ENCODING).iter();
    if codings.any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Some("encoding");
    }
    let kind = headers.get(CONTENT_TYPE).map_or(&b""[..], http::HeaderValue::as_bytes);
    let kind = kind.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    let json = kind.eq_ignore_ascii_case(b"application/json")
        || kind
            .len()
            .checked_sub(5)
            .and_then(|at| kind.get(at..))
            .is_some_and(|suffix| suffix.eq_ignore_ascii_case(b"+json"));
    // Without a type it may be anything, so JSON is tried.
    (!json && !kind.is_empty()).then_some("media_type")
}

/// The next bytes of an answer's body: what of them may leave now, and that is counted.
pub(super) fn answer_bytes(
    body: &mut Option<Bytes>,
    end: bool,
    ctx: &mut Ctx,
) -> Result<(), Denial> {
    guard::still_admitted(ctx)?;
    search::down(ctx, body, end)?;
    let Some(chunk) = body.as_ref().filter(|chunk| !chunk.is_empty()) else { return Ok(()) };
    charge::admit(ctx)?;
    if let Some(scanner) = &mut ctx.scanner {
        // After a fault it counts bytes only; `end` tells of the fault.
        let _ = scanner.feed(chunk);
    }
    let bytes = u64::try_from(chunk.len()).unwrap_or(u64::MAX);
    ctx.response_bytes = ctx.response_bytes.saturating_add(bytes);
    charge::take(ctx);
    Ok(())
}

/// Behind the body, whole or not: what passed was revealed.
pub(super) fn end(
    scanner: Option<Scanner>,
    ctx: &Ctx,
    seen: &Seen,
    now: Moment,
) -> Option<Exposed> {
    let (who, _proof) = ctx.identity?;
    match scanner {
        Some(scanner) => {
            Some(ctx.engine.report_exposure(&seen.live, who, ctx.operation?, scanner, now))
        }
        None if ctx.unread => {
            let of = (who, ctx.operation?);
            Some(ctx.engine.report_unreadable(&seen.live, of, ctx.response_bytes, now))
        }
        None => None,
    }
}
