//! Upstream and back: which address, which headers, which failure. Controls: TLS-2, NET-3, PRIV-1.
use http::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, HOST, SEC_WEBSOCKET_EXTENSIONS, TRANSFER_ENCODING,
    UPGRADE,
};
use http::{HeaderMap, HeaderName, StatusCode};
use pingora::protocols::Digest;
use pingora::proxy::Session;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType};
use pingora_http::{RequestHeader, ResponseHeader};

use super::body;
use super::charge;
use super::ctx::Ctx;
use super::facts;
use super::granted;
use super::guard;
use super::hygiene;
use super::pace;
use super::respond::{self, REQUEST_ID};
use super::search;
use crate::base::{Denial, UpstreamFault, WithheldFault};
use crate::engine::{Route, Speaks};
use crate::evidence::SafeToken;
use crate::policy::Method;
use crate::upstream::{Idempotence, Outcome, Retry, Sent, may_retry};

/// An upstream that only ever says "wait" is cut here (RFC 9110 §15.2 sets no bound).
const INFORMATIONAL_MAX: u8 = 8;
/// The one protocol that callers may switch to (RFC 6455).
const WEBSOCKET: &str = "websocket";

pub(super) async fn peer(session: &Session, ctx: &mut Ctx) -> Result<Box<HttpPeer>, Denial> {
    let route = route(ctx)?;
    let mut now = ctx.engine.clock.now();
    let mut picked = route.pick(&ctx.tries.failed, now);
    if let Err(UpstreamFault::Unreachable) = picked {
        route.resolved().await.map_err(Denial::Upstream)?;
        now = ctx.engine.clock.now();
        picked = route.pick(&ctx.tries.failed, now);
    }
    let picked = picked.map_err(Denial::Upstream)?;
    // `decide` let an upgrade pass only where the operation has one.
    let speaks = if session.is_upgrade_req() { Speaks::Http11 } else { Speaks::Configured };
    let names = &ctx.seen()?.live.snapshot.names;
    let who = ctx.identity.and_then(|(ix, _proof)| names.identity(ix)).ok_or(Denial::Internal)?;
    let peer = route.peer_at(picked.address(), speaks, who);
    if let Some(change) = picked.change() {
        ctx.breaker_changed(change);
    }
    ctx.tries.count = ctx.tries.count.saturating_add(1);
    ctx.tries.began = Some(now);
    ctx.tries.picked = Some(picked);
    Ok(peer)
}

/// The way to the endpoint that the request was cleared for.
fn route(ctx: &Ctx) -> Result<&Route, Denial> {
    let clearance = ctx.clearance()?;
    let live = &ctx.seen()?.live;
    live.route(clearance.upstream(), clearance.operation()).ok_or(Denial::Internal)
}

/// TLS-2: chain and name were verified in the handshake; a pin is compared before a byte of the
/// request leaves.
pub(super) fn check_pin(ctx: &mut Ctx, digest: Option<&Digest>) -> Result<(), Denial> {
    let pins = &route(ctx)?.pins;
    let leaf = digest.and_then(|digest| digest.ssl_digest.as_ref()).map(|tls| &tls.cert_digest);
    // No TLS facts at all would mean a plaintext upstream: there is none.
    let fits = leaf.is_some_and(|leaf| {
        pins.is_empty() || pins.iter().any(|pin| pin.as_slice() == leaf.as_slice())
    });
    if fits {
        return Ok(());
    }
    ctx.report(Outcome::Untrusted);
    Err(Denial::Upstream(UpstreamFault::Untrusted))
}

/// What the upstream is asked: the caller's bytes of path and query, without the caller's word on
/// addresses and identities, under the upstream's own name.
pub(super) fn request_head(
    original: &RequestHeader,
    head: &mut RequestHeader,
    ctx: &mut Ctx,
) -> Result<(), Denial> {
    // While it waited for its turn and for a connection, it may have been locked, or its access revoked.
    granted::still(original, ctx)?;
    guard::still_admitted(ctx)?;
    search::begin(ctx);
    // While it waited for its turn, others may have used up what was left.
    charge::admit(ctx)?;
    let route = route(ctx)?;
    let live = &ctx.seen()?.live;
    let token = &live.snapshot.token.header;
    let counted = ctx.traits.search.is_some()
        || ctx.operation.is_some_and(|operation| {
            live.contract(operation).is_some() || live.holds_unread(operation)
        });
    for name in drop_fields(&head.headers, |name| hygiene::may_go_up(name, route.reader, token)) {
        head.remove_header(&name);
    }
    // A GET with a length, zero too, is answered 400 by Amazon; `decide` refused any other length.
    if matches!(original.method, http::Method::GET | http::Method::HEAD) {
        head.remove_header(&CONTENT_LENGTH);
    }
    let target = facts::origin(original);
    if head.raw_path() != target {
        head.set_raw_path(target).map_err(|_error| Denial::Internal)?;
    }
    head.insert_header(HOST, route.authority.clone()).map_err(|_error| Denial::Internal)?;
    // What is to be counted has to be readable; saying nothing would allow any coding (RFC 9110
    // §12.5.3).
    if counted {
        head.insert_header(ACCEPT_ENCODING, "identity").map_err(|_error| Denial::Internal)?;
    }
    search::request_head(&original.method, &head.headers, ctx)?;
    ctx.tries.sent = true;
    Ok(())
}

/// The same for a WebSocket's handshake, which ends at this hop and is made anew for the next one
/// (RFC 9110 §7.8).
pub(super) fn handshake_head(
    original: &RequestHeader,
    ctx: &mut Ctx,
) -> Result<RequestHeader, Denial> {
    let mut head = original.clone();
    for name in named_by_connection(&head.headers) {
        head.remove_header(&name);
    }
    request_head(original, &mut head, ctx)?;
    head.insert_header(UPGRADE, WEBSOCKET).map_err(|_error| Denial::Internal)?;
    head.insert_header(CONNECTION, "Upgrade").map_err(|_error| Denial::Internal)?;
    if ctx.traits.search.is_some() {
        // The one in use compresses (RFC 7692), and nobody could look into that.
        head.remove_header(&SEC_WEBSOCKET_EXTENSIONS);
    }
    Ok(head)
}

/// What Pingora's pool gave was answered in this version.
pub(super) fn learn_version(head: &ResponseHeader, ctx: &Ctx) -> Result<(), Denial> {
    route(ctx)?.answered_in(head.version);
    Ok(())
}

pub(super) fn response_head(head: &mut ResponseHeader, ctx: &mut Ctx) -> Result<(), Denial> {
    // Switching to what nobody asked for would leave caller and gateway out of step.
    if head.status == StatusCode::SWITCHING_PROTOCOLS || drop_hop(head).is_err() {
        return Err(malformed(ctx));
    }
    pass_down(head, ctx)
}

/// A 101 that opens the WebSocket that was asked for.
pub(super) fn switching_head(head: &mut ResponseHeader, ctx: &mut Ctx) -> Result<(), Denial> {
    // One protocol was asked for, so it can't be another (RFC 6455 §4.1); HTTP/1.0 has no 101.
    let opens = head.version == http::Version::HTTP_11 && is_websocket(&head.headers);
    if !opens || drop_hop(head).is_err() {
        return Err(malformed(ctx));
    }
    // One may have been asked for before there was anything to look for.
    if head.headers.contains_key(SEC_WEBSOCKET_EXTENSIONS) && ctx.traits.search.is_some() {
        ctx.report(Outcome::Ok);
        return Err(Denial::Withheld(WithheldFault::Frames));
    }
    // Nothing frames what follows (RFC 9110 §15.2).
    for name in FRAMING {
        head.remove_header(&name);
    }
    head.insert_header(UPGRADE, WEBSOCKET).map_err(|_error| Denial::Internal)?;
    head.insert_header(CONNECTION, "Upgrade").map_err(|_error| Denial::Internal)?;
    pass_down(head, ctx)
}

fn is_websocket(headers: &HeaderMap) -> bool {
    let mut named = headers.get_all(UPGRADE).iter();
    let first =
        named.next().is_some_and(|name| name.as_bytes().eq_ignore_ascii_case(WEBSOCKET.as_bytes()));
    first && named.next().is_none()
}

fn malformed(ctx: &mut Ctx) -> Denial {
    ctx.report(Outcome::Malformed);
    Denial::Upstream(UpstreamFault::Malformed)
}

fn pass_down(head: &mut ResponseHeader, ctx: &mut Ctx) -> Result<(), Denial> {
    let status = head.status;
    for name in drop_fields(&head.headers, hygiene::may_go_down) {
        head.remove_header(&name);
    }
    if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
        ctx.tries.informational = ctx.tries.informational.saturating_add(1);
        if ctx.tries.informational > INFORMATIONAL_MAX {
            return Err(malformed(ctx));
        }
        return search::fields(&head.headers, ctx);
    }
    pace::answered(status.as_u16(), &head.headers, ctx);
    let now = ctx.engine.clock.now();
    ctx.status = status.as_u16();
    ctx.tries.first_byte = Some(now);
    ctx.tries.status = Some(status.as_u16());
    ctx.tries.amazon_request =
        head.headers.get("x-amzn-requestid").and_then(|value| SafeToken::parse(value.as_bytes()));
    ctx.report(match status.as_u16() {
        502..=504 => Outcome::Unavailable,
        _ => Outcome::Ok,
    });
    search::head(status, &head.headers, ctx)?;
    guard::still_admitted(ctx)?;
    if matches!(ctx.method, Some(Method::Get | Method::Head)) {
        // Used up meanwhile, by calls beside it. What may have changed something is not called refused.
        charge::admit(ctx)?;
    }
    body::begin(&head.headers, ctx);
    head.insert_header(REQUEST_ID, ctx.request.as_str()).map_err(|_error| Denial::Internal)?;
    if let Some(standing) = ctx.clearance()?.charged().tightest {
        respond::write_standing(head, ctx, &standing).map_err(|_error| Denial::Internal)?;
    }
    Ok(())
}

/// Fields that Connection names are for the hop between upstream and gateway (RFC 9110 §7.6.1).
fn drop_hop(head: &mut ResponseHeader) -> Result<(), Framing> {
    if !head.headers.contains_key(CONNECTION) {
        return Ok(());
    }
    let named = named_by_connection(&head.headers);
    if named.iter().any(|name| FRAMING.contains(name)) {
        return Err(Framing);
    }
    for name in named {
        head.remove_header(&name);
    }
    head.remove_header(&CONNECTION);
    Ok(())
}

fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .collect()
}

/// What frames a message was to be taken from it.
struct Framing;

const FRAMING: [HeaderName; 2] = [CONTENT_LENGTH, TRANSFER_ENCODING];

/// Trailers are headers that come late: the same names stay inside, and none may frame the message.
pub(super) fn trailers(trailers: &mut HeaderMap, ctx: &mut Ctx) -> Result<(), Denial> {
    let framing = [CONTENT_LENGTH, TRANSFER_ENCODING, HOST, CONNECTION, UPGRADE];
    for name in drop_fields(trailers, |name| hygiene::may_go_down(name) && !framing.contains(name))
    {
        trailers.remove(&name);
    }
    search::fields(trailers, ctx)
}

/// Names to drop. Most messages have none, and then nothing is allocated.
fn drop_fields(headers: &HeaderMap, may_pass: impl Fn(&HeaderName) -> bool) -> Vec<HeaderName> {
    headers.keys().filter(|name| !may_pass(name)).cloned().collect()
}

/// No connection: nothing was sent, so another address may be tried.
pub(super) fn failed_to_connect(session: &Session, ctx: &mut Ctx, error: &Error) -> Retry {
    let fault = fault_of(error);
    ctx.report(outcome_of(fault));
    match fault {
        // An upstream that can't prove itself is not asked again (TLS-2).
        UpstreamFault::Untrusted => Retry::No,
        UpstreamFault::Unreachable
        | UpstreamFault::TimedOut
        | UpstreamFault::Malformed
        | UpstreamFault::CircuitOpen
        | UpstreamFault::Closed => retry(session, ctx, Sent::Nothing),
    }
}

/// The connection broke after it was there.
pub(super) fn failed_while_proxying(
    session: &Session,
    ctx: &mut Ctx,
    error: &Error,
    reused: bool,
) -> Retry {
    if !matches!(error.esource(), ErrorSource::Upstream) {
        return Retry::No;
    }
    let fault = fault_of(error);
    ctx.report(outcome_of(fault));
    ctx.pace.lose();
    // A pooled connection that ends before a byte of the answer was most likely closed while it lay
    // idle (RFC 9110 §9.2.2). It could also have been closed over the request, so a body that left
    // is never sent again.
    let answered = ctx.tries.first_byte.is_some() || ctx.tries.informational > 0;
    let bodiless = ctx.request_bytes == 0;
    let idle_close = reused && fault == UpstreamFault::Closed && !answered && bodiless;
    let sent = if idle_close { Sent::Unlikely } else { Sent::Something };
    retry(session, ctx, sent)
}

fn retry(session: &Session, ctx: &Ctx, sent: Sent) -> Retry {
    let retries = ctx
        .clearance()
        .ok()
        .zip(ctx.seen().ok())
        .and_then(|(clearance, seen)| seen.live.upstream(clearance.upstream()))
        .map_or(0, |upstream| upstream.retries);
    may_retry(Idempotence::of(&session.req_header().method), sent, ctx.tries.count, retries)
}

/// Pingora's error kinds, by what they say about the upstream.
pub(super) fn fault_of(error: &Error) -> UpstreamFault {
    match error.etype() {
        ErrorType::ConnectTimedout
        | ErrorType::TLSHandshakeTimedout
        | ErrorType::ReadTimedout
        | ErrorType::WriteTimedout => UpstreamFault::TimedOut,
        ErrorType::TLSHandshakeFailure
        | ErrorType::InvalidCert
        | ErrorType::HandshakeError
        | ErrorType::TLSWantX509Lookup => UpstreamFault::Untrusted,
        ErrorType::ConnectRefused
        | ErrorType::ConnectNoRoute
        | ErrorType::ConnectError
        | ErrorType::BindError
        | ErrorType::AcceptError
        | ErrorType::SocketError
        | ErrorType::ConnectProxyFailure => UpstreamFault::Unreachable,
        ErrorType::ConnectionClosed | ErrorType::ReadError | ErrorType::WriteError => {
            UpstreamFault::Closed
        }
        // The rest are HTTP's: bad heads, bad lengths, HTTP/2 violations, and kinds yet unknown.
        _ => UpstreamFault::Malformed,
    }
}

const fn outcome_of(fault: UpstreamFault) -> Outcome {
    match fault {
        UpstreamFault::Unreachable | UpstreamFault::CircuitOpen => Outcome::ConnectFailed,
        UpstreamFault::Untrusted => Outcome::Untrusted,
        UpstreamFault::TimedOut => Outcome::TimedOut,
        UpstreamFault::Malformed => Outcome::Malformed,
        UpstreamFault::Closed => Outcome::Closed,
    }
}
