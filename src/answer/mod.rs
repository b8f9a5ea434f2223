//! What a refused caller is told: status, code, words and headers for every [`Denial`].
//! Controls: LOG-2 (nothing of the request is echoed), PRIV-1, ACC-1 (each refusal names its control).
//!
//! Never sees: a request. Words come from this table, names from the configuration.
//! 1. [`line()`] is the one table; it has no catch-all arm, so a new denial does not compile without words.
//! 2. The body is SP-API's error envelope, so that an unmodified SDK raises its usual exception.
//! 3. Unknown, disabled, expired and foreign identities read the same (ACC-1).
mod lines;
mod pacing;

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

use crate::base::{ClosedFault, Denial, HeadFault, Name, RequestId, StepUpFault, TokenFault};
use crate::evidence::codes;
use crate::pacing::Standing;
use lines::{head_line, path_words, upstream_line, withheld_line};

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// HTTP status.
    pub status: u16,
    /// Value of `x-amzn-ErrorType`, by which Amazon's SDKs name exceptions.
    pub error_type: &'static str,
    /// What happened. `{identity}` and `{operation}` stand for configured names, `{pace}` for a rate of
    /// Amazon's.
    pub message: &'static str,
    /// What to do about it, and whom to ask. `{wait}` stands for how long to wait.
    pub hint: &'static str,
}

const fn row(
    status: u16,
    error_type: &'static str,
    message: &'static str,
    hint: &'static str,
) -> Line {
    Line { status, error_type, message, hint }
}

/// The header that carries a request's id on every answer.
pub const REQUEST_ID: &str = "x-sekisho-request-id";
/// The header by which Amazon's SDKs name exceptions.
pub const ERROR_TYPE: &str = "x-amzn-errortype";

const ASK_PLATFORM: &str = "ask the platform team; sekisho explain shows what decides";
const FIX_REQUEST: &str = "correct the request; the same one will be refused again";
const GET_TOKEN: &str = "get a new token from your issuer and try again";
const COME_BACK: &str = "try again {wait}; if it lasts, tell the platform team";
const TRY_LATER: &str = "try again with growing waits; if it lasts, tell the platform team";

/// The table.
#[must_use]
#[expect(clippy::too_many_lines, reason = "one table, to be read as a whole")]
pub const fn line(denial: Denial) -> Line {
    match denial {
        Denial::Head(fault) => head_line(fault),
        Denial::Path(fault) => row(
            400,
            "InvalidInput",
            path_words(fault),
            "send the path and query in their one plain spelling: no dot segments, no empty segments, upper-case escapes only where a byte needs one",
        ),
        Denial::WrongHost => row(
            421,
            "MisdirectedRequest",
            "Host is not the name this connection was opened for",
            "open a connection of its own for each host name",
        ),
        Denial::NoCredential => row(
            401,
            "Unauthorized",
            "no credential was presented",
            "present your client certificate, or a token in the header the platform team named",
        ),
        Denial::Token(fault) => token_line(fault),
        Denial::NoIdentity | Denial::Locked(_) | Denial::Canary => row(
            401,
            "Unauthorized",
            "the credential names no identity that may enter here",
            "ask the platform team whether the identity is registered, active and meant for this environment",
        ),
        Denial::Closed(fault) => row(
            403,
            "AccessDenied",
            closed_words(fault),
            "ask the security officer; sekisho locks names who closed it, and why",
        ),
        Denial::StepUp(StepUpFault::Demanded) => row(
            401,
            "Unauthorized",
            "{operation} takes a fresh login with several factors, and this token shows none",
            "log in again with a second factor; WWW-Authenticate says what counts and for how long",
        ),
        Denial::StepUp(StepUpFault::Suspected) => row(
            401,
            "Unauthorized",
            "a stronger proof than this credential is asked of identity {identity} at present",
            "present a client certificate or a token bound to one; people log in again with a second factor",
        ),
        Denial::NetworkNotListed => row(
            403,
            "AccessDenied",
            "identity {identity} may not come from this network",
            "call from a network listed for the identity, or ask the platform team to list this one",
        ),
        Denial::Revoked(_) => {
            row(403, "AccessDenied", "access was revoked while this was under way", ASK_PLATFORM)
        }
        Denial::AddressRevoked => {
            row(403, "AccessDenied", "this network may no longer use the listener", ASK_PLATFORM)
        }
        Denial::OperationUnknown => row(
            404,
            "NotFound",
            "no operation here has this method and path",
            "compare with `sekisho catalog`; internal stores need an [[operation]] entry",
        ),
        Denial::OperationNotGranted => row(
            403,
            "AccessDenied",
            "identity {identity} has no role that grants {operation}",
            "ask the platform team for a role that grants it",
        ),
        Denial::QueryNotGranted => row(
            403,
            "AccessDenied",
            "identity {identity} may call {operation}, but not with these query parameters",
            "leave out the restricted parameter or value; sekisho explain names it",
        ),
        Denial::UpgradeNotAllowed => row(
            400,
            "InvalidInput",
            "a protocol upgrade is not allowed at this operation",
            "send the request without Upgrade",
        ),
        Denial::BodyNotAllowed => row(
            400,
            "InvalidInput",
            "this method carries no body and no Content-Length here",
            "send the request without body and Content-Length",
        ),
        Denial::BodyTooLarge => row(
            413,
            "RequestTooLarge",
            "the request body is larger than the gateway allows",
            "send less at once, or ask the platform team about listener.bounds.body_bytes",
        ),
        Denial::BodyTooSlow => row(
            408,
            "RequestTimedOut",
            "the request body came too slowly",
            "send it faster, or ask the platform team about listener.bounds.body_rate",
        ),
        Denial::QuotaExceeded => row(
            429,
            "QuotaExceeded",
            "limit {limit} leaves identity {identity} no further {operation} now; this limit is the gateway's, not Amazon's",
            "try again {wait}, as Retry-After says",
        ),
        Denial::QuotaUnknown => row(
            429,
            "QuotaExceeded",
            "what other gateways left of limit {limit} could not be learned in time; nothing was charged",
            COME_BACK,
        ),
        Denial::UpstreamQuota(fault) => pacing::line(fault),
        Denial::SlowedDown => row(
            429,
            "QuotaExceeded",
            "identity {identity} is slowed down at present, and as many of its calls wait as may; this limit is the gateway's, not Amazon's",
            "send one call after the other; try again {wait}, as Retry-After says",
        ),
        Denial::IdentityConnections => row(
            429,
            "QuotaExceeded",
            "identity {identity} has as many connections open as it may; this limit is the gateway's, not Amazon's",
            "reuse connections, or close some",
        ),
        Denial::LogUnavailable => row(
            503,
            "ServiceUnavailable",
            "the gateway can't write its access log and lets nothing pass unwritten",
            TRY_LATER,
        ),
        Denial::Withheld(fault) => withheld_line(fault),
        Denial::Upstream(fault) => upstream_line(fault),
        Denial::Internal => row(
            500,
            "InternalFailure",
            "the gateway failed and refused the request",
            "tell the platform team the request id",
        ),
    }
}

const fn closed_words(fault: ClosedFault) -> &'static str {
    match fault {
        ClosedFault::Operation => "{operation} is closed to everybody by an emergency lock",
        ClosedFault::Upstream => {
            "the upstream of {operation} is closed to everybody by an emergency lock"
        }
        ClosedFault::Account => "the seller account is closed to everybody by an emergency lock",
        ClosedFault::Record => "this record is closed to everybody by an emergency lock",
    }
}

const fn token_line(fault: TokenFault) -> Line {
    let words = match fault {
        TokenFault::Malformed => "the credential is malformed, or there are several",
        TokenFault::TooLarge => "the token is larger than the gateway allows",
        TokenFault::Algorithm => "the token's algorithm is not allowed for its issuer",
        TokenFault::Header => "the token's header holds a member that is not accepted",
        TokenFault::Issuer => "the token's issuer is not known here",
        TokenFault::UnknownKey => "the token's issuer has no such key",
        TokenFault::Signature => "the token's signature does not fit",
        TokenFault::Audience => "the token is meant for another audience",
        TokenFault::Expired => "the token has expired",
        TokenFault::NotYetValid => "the token is not valid yet",
        TokenFault::Claim => "a claim that the issuer's tokens must carry is missing or wrong",
        TokenFault::CertificateBinding => {
            "the token is bound to a client certificate that was not presented"
        }
        TokenFault::ProofRequired => {
            "this identity has to prove more: present its client certificate too, or a token bound to it"
        }
        TokenFault::KeysUnavailable => "the issuer's keys can't be fetched",
        TokenFault::Revoked => "the token was revoked",
    };
    match fault {
        TokenFault::KeysUnavailable => row(503, "ServiceUnavailable", words, COME_BACK),
        TokenFault::Malformed
        | TokenFault::TooLarge
        | TokenFault::Algorithm
        | TokenFault::Header
        | TokenFault::Issuer
        | TokenFault::UnknownKey
        | TokenFault::Signature
        | TokenFault::Audience
        | TokenFault::Claim => row(
            401,
            "Unauthorized",
            words,
            "compare the token with what the platform team configured for your issuer",
        ),
        TokenFault::Expired | TokenFault::Revoked => row(401, "Unauthorized", words, GET_TOKEN),
        TokenFault::NotYetValid => {
            row(401, "Unauthorized", words, "check the clocks of the issuer and of this host")
        }
        TokenFault::CertificateBinding | TokenFault::ProofRequired => row(
            401,
            "Unauthorized",
            words,
            "present the client certificate on the connection that carries the token (RFC 8705)",
        ),
    }
}

/// Who and what a refusal is about, as far as it is known. Configured names only, and a number.
#[derive(Clone, Copy, Debug, Default)]
pub struct Subject<'a> {
    pub identity: Option<&'a Name>,
    pub operation: Option<&'a Name>,
    /// The limit that is used up.
    pub limit: Option<&'a Name>,
    /// What Amazon allows of the operation, as far as the gateway knows.
    pub pace: Option<Standing>,
    /// Whole seconds until it is worth trying again; also the value of Retry-After.
    pub wait_secs: Option<u64>,
}

/// The value of `WWW-Authenticate` where the status asks for one (RFC 9110 §11.6.1, RFC 6750 §3).
#[must_use]
pub fn challenge(denial: Denial, login: Login<'_>) -> Option<Cow<'static, str>> {
    match (line(denial).status, denial) {
        (401, Denial::StepUp(_)) => Some(step_up(login).into()),
        (401, Denial::Token(_)) => Some("Bearer error=\"invalid_token\"".into()),
        (401, _) => Some("Bearer".into()),
        _ => None,
    }
}

/// Which logins count where more is asked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Login<'a> {
    /// Words of `acr`, none of which holds a quote, a backslash or a space.
    pub classes: &'a [String],
    pub within: Duration,
}

/// RFC 9470 §3.
fn step_up(login: Login<'_>) -> String {
    let mut out = String::from("Bearer error=\"insufficient_user_authentication\"");
    if !login.classes.is_empty() {
        let _ = write!(out, ", acr_values=\"{}\"", login.classes.join(" "));
    }
    let _ = write!(out, ", max_age=\"{}\"", login.within.as_secs());
    out
}

/// The value of `Allow` where the status asks for one (RFC 9110 §15.5.6).
#[must_use]
pub const fn allowed(denial: Denial) -> Option<&'static str> {
    match denial {
        Denial::Head(HeadFault::Method) => Some("GET, HEAD, POST, PUT, PATCH, DELETE"),
        _ => None,
    }
}

/// SP-API's error envelope, as JSON.
#[must_use]
pub fn body(denial: Denial, subject: Subject<'_>, request: RequestId) -> String {
    let denial = denial.told();
    let row = line(denial);
    let mut out = String::with_capacity(320);
    // Every part is a constant or a `Name`, whose character set needs no JSON escape.
    out.push_str("{\"errors\":[{\"code\":\"Sekisho.");
    out.push_str(codes::code(denial));
    out.push_str("\",\"message\":\"");
    fill(&mut out, row.message, subject);
    out.push_str("\",\"details\":\"");
    if let Some(control) = denial.control() {
        let _ = write!(out, "{control}; ");
    }
    fill(&mut out, row.hint, subject);
    let _ = write!(out, "; request {}\"}}]}}", request.as_str());
    out
}

/// A whole HTTP/1.1 answer, for refusals before the HTTP engine owns the request. Closes.
#[must_use]
pub fn http1(denial: Denial, request: RequestId) -> Vec<u8> {
    let row = line(denial);
    let body = body(denial, Subject::default(), request);
    let mut out = String::with_capacity(body.len() + 256);
    let reason = http::StatusCode::from_u16(row.status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or("Refused");
    let _ = write!(
        out,
        "HTTP/1.1 {} {reason}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         cache-control: no-store\r\n{ERROR_TYPE}: {}\r\n{REQUEST_ID}: {}\r\n\
         {}connection: close\r\n\r\n{body}",
        row.status,
        body.len(),
        row.error_type,
        request.as_str(),
        allowed(denial).map_or(String::new(), |methods| format!("allow: {methods}\r\n")),
    );
    out.into_bytes()
}

fn fill(out: &mut String, template: &str, subject: Subject<'_>) {
    let name = |name: Option<&Name>, otherwise: &'static str| {
        name.map_or(otherwise.to_owned(), |name| name.as_str().to_owned())
    };
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let Some((key, tail)) = after.split_once('}') else { break };
        match key {
            "identity" => out.push_str(&name(subject.identity, "of this connection")),
            "limit" => out.push_str(&name(subject.limit, "of the gateway")),
            "wait" => wait(out, subject.wait_secs),
            "pace" => pacing::write_pace(out, subject.pace),
            _ => out.push_str(&name(subject.operation, "this operation")),
        }
        rest = tail;
    }
    out.push_str(rest);
}

/// `in 90 s`, and in the two largest units besides where nobody reads seconds.
fn wait(out: &mut String, secs: Option<u64>) {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let Some(secs) = secs else {
        out.push_str("later");
        return;
    };
    let _ = write!(out, "in {secs} s");
    let Some(pair) = UNITS.windows(2).find(|pair| pair.first().is_some_and(|u| secs >= u.0)) else {
        return;
    };
    let mut left = secs;
    for (place, (unit, word)) in pair.iter().enumerate() {
        let (count, rest) = (left / unit, left % unit);
        left = rest;
        let _ = match (place, count) {
            (0, _) => write!(out, " ({count} {word}"),
            (_, 0) => Ok(()),
            (_, _) => write!(out, " {count} {word}"),
        };
    }
    out.push(')');
}

#[cfg(test)]
mod tests;
