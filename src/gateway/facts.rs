//! Reads what the decision needs from a parsed request head, and refuses what could be read in two
//! ways. Controls: MON-5. HTTP/1 heads have passed `listen::head` already; the checks here hold for
//! both versions and cost one pass.
use http::header::{CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING, UPGRADE};
use pingora_http::RequestHeader;

use crate::base::{Denial, HeadFault, PathFault};
use crate::config::Bounds;
use crate::evidence::Protocol;
use crate::policy::{Body, Facts, Method, Upgrade};

/// Whether the engine has already seen the end of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Yes,
    No,
}

pub(super) fn read<'a>(
    head: &'a RequestHeader,
    http: Protocol,
    ended: Ended,
    bounds: &Bounds,
) -> Result<Facts<'a>, Denial> {
    let target = head.raw_path();
    if target.len() > bounds.target_bytes {
        return Err(Denial::Head(HeadFault::TargetTooLong));
    }
    if http == Protocol::Http2 && list_size(head) > u64::from(bounds.h2_header_bytes) {
        return Err(Denial::Head(HeadFault::TooLarge));
    }
    if head.headers.len() > bounds.header_count {
        return Err(Denial::Head(HeadFault::TooMany));
    }
    let method =
        Method::parse(head.method.as_str().as_bytes()).ok_or(Denial::Head(HeadFault::Method))?;
    let (path, query) = split(origin_form(target)?);
    let body = body(head, http, ended)?;
    if let Body::Length(length) = body
        && length > bounds.body_bytes
    {
        return Err(Denial::BodyTooLarge);
    }
    // RFC 9110 §10.1.1 knows no other expectation.
    if head
        .headers
        .get(EXPECT)
        .is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
    {
        return Err(Denial::Head(HeadFault::FieldLine));
    }
    Ok(Facts { method, path, query, upgrade: upgrade(head), body })
}

/// The size of the header list as RFC 9113 §6.5.2 counts it: 32 bytes for each field beside its name
/// and value, pseudo-header fields included.
fn list_size(head: &RequestHeader) -> u64 {
    let size = |name: usize, value: usize| name.saturating_add(value).saturating_add(32);
    let authority = head.uri.authority().map(|own| size(10, own.as_str().len()));
    let scheme = head.uri.scheme_str().map(|own| size(7, own.len()));
    let sizes = [size(7, head.method.as_str().len()), size(5, head.raw_path().len())];
    let fields = head.headers.iter().map(|(name, value)| size(name.as_str().len(), value.len()));
    let all = sizes.into_iter().chain(authority).chain(scheme).chain(fields);
    u64::try_from(all.fold(0, usize::saturating_add)).unwrap_or(u64::MAX)
}

/// The host the caller named, without port. HTTP/2: `:authority`, to which a Host beside it must be
/// equal (RFC 9113 §8.3.1).
pub(super) fn host(head: &RequestHeader) -> Result<&[u8], Denial> {
    let wrong = Denial::Head(HeadFault::Host);
    let mut named = head.headers.get_all(HOST).iter();
    let field = named.next().map(http::HeaderValue::as_bytes);
    if named.next().is_some() {
        return Err(wrong);
    }
    let authority = head.uri.authority().map(|authority| authority.as_str().as_bytes());
    let host = match (authority, field) {
        (Some(authority), Some(field)) if !authority.eq_ignore_ascii_case(field) => {
            return Err(wrong);
        }
        (Some(host), _) | (None, Some(host)) => host,
        (None, None) => return Err(wrong),
    };
    Ok(without_port(host))
}

fn without_port(host: &[u8]) -> &[u8] {
    if host.first() == Some(&b'[') {
        let end = memchr::memchr(b']', host).map_or(host.len(), |end| end.saturating_add(1));
        return host.get(..end).unwrap_or(host);
    }
    let end = memchr::memchr(b':', host).unwrap_or(host.len());
    host.get(..end).unwrap_or(host)
}

/// An absolute-form target names its host again, which `listen::head` has compared with Host; what
/// follows it is the path (RFC 9112 §3.2.2).
fn origin_form(target: &[u8]) -> Result<&[u8], Denial> {
    if target.first() == Some(&b'/') {
        return Ok(target);
    }
    let not_absolute = Denial::Path(PathFault::NotAbsolute);
    let after_scheme = [&b"https://"[..], b"http://"]
        .iter()
        .find_map(|scheme| target.strip_prefix(*scheme))
        .ok_or(not_absolute)?;
    let slash = memchr::memchr(b'/', after_scheme).ok_or(not_absolute)?;
    after_scheme.get(slash..).ok_or(not_absolute)
}

/// The path and query of a target, in the bytes the caller sent.
pub(super) fn origin(head: &RequestHeader) -> &[u8] {
    origin_form(head.raw_path()).unwrap_or_default()
}

/// There is no fragment left: `listen::head` refuses one, and the HTTP/2 engine cuts it off.
fn split(target: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(b'?', target) {
        None => (target, None),
        Some(mark) => {
            (target.get(..mark).unwrap_or_default(), target.get(mark.saturating_add(1)..))
        }
    }
}

fn body(head: &RequestHeader, http: Protocol, ended: Ended) -> Result<Body, Denial> {
    let mut lengths = head.headers.get_all(CONTENT_LENGTH).iter();
    let length = lengths.next();
    let chunked = head.headers.contains_key(TRANSFER_ENCODING);
    if lengths.next().is_some() || (length.is_some() && chunked) {
        return Err(Denial::Head(HeadFault::Length));
    }
    if chunked && http == Protocol::Http2 {
        return Err(Denial::Head(HeadFault::TransferCoding));
    }
    let Some(length) = length else {
        return Ok(match (http, ended, chunked) {
            (Protocol::Http1, _, true) | (Protocol::Http2, Ended::No, _) => Body::Chunked,
            (Protocol::Http1, _, false) | (Protocol::Http2, Ended::Yes, _) => Body::None,
        });
    };
    let digits = length.as_bytes();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Denial::Head(HeadFault::Length));
    }
    std::str::from_utf8(digits)
        .ok()
        .and_then(|digits| digits.parse().ok())
        .map(Body::Length)
        .ok_or(Denial::Head(HeadFault::Length))
}

fn upgrade(head: &RequestHeader) -> Upgrade {
    match head.headers.get(UPGRADE) {
        None => Upgrade::None,
        Some(value) if value.as_bytes().eq_ignore_ascii_case(b"websocket") => Upgrade::WebSocket,
        Some(_) => Upgrade::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(method: &str, target: &str, fields: &[(&'static str, &str)]) -> RequestHeader {
        let mut head = RequestHeader::build(method, target.as_bytes(), None).unwrap();
        for (name, value) in fields {
            head.append_header(*name, *value).unwrap();
        }
        head
    }

    #[test]
    fn mon_5_two_lengths_are_refused_in_either_version() {
        let twice = head("POST", "/a", &[("content-length", "1"), ("content-length", "1")]);
        let beside =
            head("POST", "/a", &[("content-length", "1"), ("transfer-encoding", "chunked")]);
        for http in [Protocol::Http1, Protocol::Http2] {
            for head in [&twice, &beside] {
                assert_eq!(body(head, http, Ended::No), Err(Denial::Head(HeadFault::Length)));
            }
        }
    }

    #[test]
    fn mon_5_an_absolute_target_gives_the_path_behind_its_host() {
        assert_eq!(origin_form(b"https://gateway.test/orders/v0"), Ok(&b"/orders/v0"[..]));
        assert_eq!(origin_form(b"*"), Err(Denial::Path(PathFault::NotAbsolute)));
        assert_eq!(origin_form(b"orders"), Err(Denial::Path(PathFault::NotAbsolute)));
    }

    #[test]
    fn mon_5_host_is_one_name_without_port() {
        assert_eq!(host(&head("GET", "/", &[("host", "a.test:8443")])), Ok(&b"a.test"[..]));
        assert_eq!(host(&head("GET", "/", &[("host", "[::1]:8443")])), Ok(&b"[::1]"[..]));
        assert!(host(&head("GET", "/", &[])).is_err());
        assert!(host(&head("GET", "/", &[("host", "a"), ("host", "a")])).is_err());
    }
}
