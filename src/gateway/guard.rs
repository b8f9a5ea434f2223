//! What locks and detectors ask of a request on its way, and are told at its end. Controls: ACC-2,
//! ACC-5, MON-1 to MON-6. The engine judges; this reads the request for it, and no byte of it stays.
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::CONTENT_ENCODING;

use super::ctx::{Ctx, Search, Seen, Stage};
use crate::base::{ClosedFault, Denial, Moment, OperationIx, TokenFault, UpstreamFault};
use crate::detect::{Canary, Event, Mode, Outcome, Scan, Scanned, Sought, is_scanner_path};
use crate::engine::{Caller, ConnLink, Exposed, Live, Pace};
use crate::identity::{self, Presented};
use crate::policy::{Facts, Template};

/// How long each request of somebody waits who is slowed down.
const SLOWED_BY: Duration = Duration::from_secs(1);

/// What a request names in its path and query.
pub(super) struct Asked<'a> {
    path: &'a [u8],
    query: &'a [u8],
    template: Option<&'a Template>,
}

impl<'a> Asked<'a> {
    pub(super) fn of(facts: &Facts<'a>, live: &'a Live, operation: OperationIx) -> Self {
        let of = live.snapshot.policy.operation(operation);
        Self {
            path: facts.path,
            query: facts.query.unwrap_or_default(),
            template: of.map(|operation| &operation.template),
        }
    }

    /// What stands for the operation's parameters in the path.
    pub(super) fn parameters(&self) -> impl Iterator<Item = &'a [u8]> {
        let path = self.path;
        self.template.into_iter().flat_map(move |template| template.parameters(path))
    }

    /// Everything that may be the id of a record: parameters of the path, and each value of the
    /// query, where several may stand with commas.
    pub(super) fn ids(&self) -> impl Iterator<Item = Vec<u8>> {
        let values = self.query.split(|byte| *byte == b'&').filter_map(|pair| {
            let at = memchr::memchr(b'=', pair)?;
            pair.get(at.saturating_add(1)..)
        });
        self.parameters().chain(values).flat_map(|value| {
            let plain = plain(value);
            plain.split(|byte| *byte == b',').map(<[u8]>::to_vec).collect::<Vec<_>>()
        })
    }
}

/// The bytes that escapes stand for. `policy` has found that there is one way to read them.
fn plain(escaped: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some((first, tail)) = rest.split_first() {
        let digit = |at: usize| tail.get(at).and_then(|b| char::from(*b).to_digit(16));
        if let (b'%', Some(high), Some(low)) = (first, digit(0), digit(1)) {
            out.push(u8::try_from(high * 16 + low).unwrap_or(b'%'));
            rest = tail.get(2..).unwrap_or_default();
        } else {
            out.push(*first);
            rest = tail;
        }
    }
    out
}

/// MON-4: nobody has a reason to ask for a planted record. Observed only, the request goes on.
pub(super) fn no_canary(ctx: &mut Ctx, live: &Live, asked: &Asked<'_>) -> Result<(), Denial> {
    let detect = &live.snapshot.detect;
    let planted = !detect.canaries.is_empty() && detect.settings.canary.0 != Mode::Off;
    if planted || !ctx.engine.locked_orders().is_empty() {
        ctx.traits.search = Some(Box::new(Search { planted, ..Search::default() }));
    }
    if !planted {
        return Ok(());
    }
    match asked.ids().find_map(|id| detect.canaries.find(&id)) {
        Some(canary) => touched(ctx, canary),
        None => Ok(()),
    }
}

fn touched(ctx: &mut Ctx, canary: Canary) -> Result<(), Denial> {
    ctx.traits.canary = ctx.traits.canary.or(Some(canary));
    match ctx.seen()?.live.snapshot.detect.settings.canary.0 {
        Mode::Enforce => Err(Denial::Canary),
        Mode::Off | Mode::Observe => Ok(()),
    }
}

/// The ladder's second step. Whoever is locked meanwhile has waited for nothing.
pub(super) async fn slow_down(
    ctx: &Ctx,
    live: &Arc<Live>,
    caller: &mut Caller,
    pace: Pace,
) -> Result<(), Denial> {
    if pace == Pace::Usual {
        return Ok(());
    }
    tokio::select! {
        () = tokio::time::sleep(SLOWED_BY) => ctx.engine.still_admitted(live, caller),
        denial = ctx.engine.revoked(Arc::clone(live), *caller) => Err(denial),
    }
}

/// A lock reaches what is under way: no further byte goes up or down.
pub(super) fn still_admitted(ctx: &mut Ctx) -> Result<(), Denial> {
    let (Some(seen), Some(caller)) = (&ctx.seen, &mut ctx.caller) else { return Ok(()) };
    ctx.engine.still_admitted(&seen.live, caller)
}

/// Looks for planted records, and orders that are locked, in what the caller sends.
pub(super) fn search_up(ctx: &mut Ctx, chunk: &[u8], end: bool) -> Result<(), Denial> {
    let (Some(seen), Some(search)) = (&ctx.seen, &mut ctx.traits.search) else { return Ok(()) };
    let orders = ctx.engine.locked_orders();
    if look(&mut search.orders_up, &orders, chunk, end).hit.is_some() {
        return Err(Denial::Closed(ClosedFault::Record));
    }
    if !search.planted {
        return Ok(());
    }
    let set = &seen.live.snapshot.detect.canaries;
    look(&mut search.up, set, chunk, end).hit.map_or(Ok(()), |canary| touched(ctx, canary))
}

/// The next bytes of a body, and its end.
fn look<S: Sought>(scan: &mut Scan, of: &S, chunk: &[u8], end: bool) -> Scanned<S::Found> {
    let mut scanned = scan.feed(of, chunk);
    if end {
        scanned.hit = scanned.hit.or_else(|| scan.finish(of));
        scanned.undecided = 0;
    }
    scanned
}

/// An answer that nobody can look into does not pass where planted records are guarded.
pub(super) fn searchable(headers: &HeaderMap, ctx: &Ctx) -> Result<(), Denial> {
    let (Some(seen), Some(search)) = (&ctx.seen, &ctx.traits.search) else { return Ok(()) };
    let coded = headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"));
    let enforced = seen.live.snapshot.detect.settings.canary.0 == Mode::Enforce;
    let guarded = (search.planted && enforced) || !ctx.engine.locked_orders().is_empty();
    if coded && guarded { Err(Denial::Upstream(UpstreamFault::Malformed)) } else { Ok(()) }
}

/// Looks for planted records, and orders that are locked, in the answer. Bytes that may be the beginning of one are held back
/// until it is clear that they are not, so that none leaves.
pub(super) fn search_down(
    ctx: &mut Ctx,
    body: &mut Option<Bytes>,
    end: bool,
) -> Result<(), Denial> {
    let (Some(seen), Some(search)) = (&ctx.seen, &mut ctx.traits.search) else { return Ok(()) };
    let chunk = body.take().unwrap_or_default();
    let orders = look(&mut search.orders_down, &ctx.engine.locked_orders(), &chunk, end);
    if orders.hit.is_some() {
        return Err(Denial::Closed(ClosedFault::Record));
    }
    let mut undecided = orders.undecided;
    if search.planted {
        let set = &seen.live.snapshot.detect.canaries;
        let planted = look(&mut search.down, set, &chunk, end);
        undecided = undecided.max(planted.undecided);
        if let Some(canary) = planted.hit {
            // Observed only, everything goes on.
            touched(ctx, canary)?;
        }
    }
    *body = release(ctx, chunk, undecided);
    Ok(())
}

/// What may leave: what was held and the chunk, less `undecided` bytes at the end, which are held.
fn release(ctx: &mut Ctx, chunk: Bytes, undecided: usize) -> Option<Bytes> {
    let search = ctx.traits.search.as_mut()?;
    let all = if search.held.is_empty() {
        chunk
    } else {
        let mut joined = BytesMut::with_capacity(search.held.len().saturating_add(chunk.len()));
        joined.extend_from_slice(&search.held);
        joined.extend_from_slice(&chunk);
        search.held.clear();
        joined.freeze()
    };
    let leaves = all.len().saturating_sub(undecided);
    search.held.extend_from_slice(all.get(leaves..).unwrap_or_default());
    (leaves > 0).then(|| all.slice(..leaves))
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

/// Shows the request to the detectors.
pub(super) fn observe(ctx: &Ctx, seen: &Seen, exposed: Option<Exposed>, now: Moment) {
    let conn = &seen.link.facts;
    let proved = ctx.identity;
    let Some(outcome) = outcome(ctx) else { return };
    let event = Event {
        at: now,
        identity: proved.map(|(ix, _)| ix).or(ctx.named).or(ctx.claimed),
        role: ctx.role,
        network: conn.networks.first(),
        source: conn.source_hash,
        operation: ctx.operation,
        outcome,
        bytes: ctx.response_bytes,
        records: exposed.map_or(0, |exposed| exposed.records),
        object: ctx.traits.object,
        fingerprint: conn.fingerprint,
        canary: ctx.traits.canary,
    };
    let proof = proved.map(|(_, proof)| proof);
    ctx.engine.observe(&seen.live, &event, proof, Some((conn.source, conn.source_day)));
}

/// How it ended, as far as detectors care. `None`: it was locked out, which is counted as an attempt
/// and as nothing else.
fn outcome(ctx: &Ctx) -> Option<Outcome> {
    let denial = match ctx.stage {
        Stage::Denied(denial) => denial,
        Stage::New | Stage::Cleared(_) | Stage::Aborted => {
            return Some(match ctx.tries.status {
                Some(200..=399) => Outcome::Allowed,
                Some(404) => Outcome::NotFound,
                Some(429) => Outcome::Throttled,
                _ => Outcome::Failed,
            });
        }
    };
    Some(match denial {
        Denial::Locked(_) | Denial::Closed(_) => return None,
        // The identity is proved; what it touched is told beside the outcome.
        Denial::Canary => Outcome::NotPermitted,
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
        Denial::StepUp(_)
        | Denial::WrongHost
        | Denial::AddressRevoked
        | Denial::Revoked(_)
        | Denial::BodyNotAllowed
        | Denial::BodyTooLarge
        | Denial::BodyTooSlow
        | Denial::IdentityConnections
        | Denial::LogUnavailable
        | Denial::Upstream(_)
        | Denial::Internal => Outcome::Failed,
    })
}

/// Remembers of a refused request whether scanners ask so. Only then it is worth looking.
pub(super) fn look_at_path(ctx: &mut Ctx, path: &[u8]) {
    ctx.traits.scanner = is_scanner_path(path);
}
