//! Whether bytes can be looked into, by what the head before them says. Controls: MON-4, ACC-5.
//!
//! An id is looked for in ASCII's bytes. Compressed, in a charset where they may stand for something else,
//! or cut to a range, a body can hold one that nobody sees.
use http::header::{CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};

/// What a body's head says of its form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) hidden: Option<Hidden>,
    /// Whether it is text, where it says so: then no byte of it is NUL, unless it is UTF-16 or UTF-32,
    /// which readers of JSON and XML recognise unasked.
    pub(super) text: Option<bool>,
}

/// Why nobody can look into a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hidden {
    Coded,
    Charset,
    Partial,
}

impl Form {
    pub(super) fn of_request(headers: &HeaderMap) -> Self {
        let hidden = if is_coded(headers) {
            Some(Hidden::Coded)
        } else if is_foreign(headers) {
            Some(Hidden::Charset)
        } else {
            None
        };
        Self { hidden, text: is_text(headers) }
    }

    pub(super) fn of_answer(status: StatusCode, headers: &HeaderMap) -> Self {
        let of_any = Self::of_request(headers);
        let partial = is_partial(status, headers).then_some(Hidden::Partial);
        Self { hidden: of_any.hidden.or(partial), ..of_any }
    }
}

fn is_coded(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(CONTENT_ENCODING).iter();
    codings.any(|coding| !coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity"))
}

/// Ranges in bytes only: some stores count a page's rows by the same header, and never cut one.
fn is_partial(status: StatusCode, headers: &HeaderMap) -> bool {
    let mut ranges = headers.get_all(CONTENT_RANGE).iter().map(HeaderValue::as_bytes).peekable();
    if ranges.peek().is_none() {
        return status == StatusCode::PARTIAL_CONTENT;
    }
    let bytes =
        |range: &[u8]| range.get(..5).is_some_and(|unit| unit.eq_ignore_ascii_case(b"bytes"));
    // That a range can't be had is told by the same header.
    status != StatusCode::RANGE_NOT_SATISFIABLE && ranges.any(bytes)
}

/// In another charset than those in which ASCII's bytes stand for themselves and for nothing else.
fn is_foreign(headers: &HeaderMap) -> bool {
    let types = headers.get_all(CONTENT_TYPE).iter();
    types.flat_map(|kind| kind.as_bytes().split(|byte| *byte == b';').skip(1)).any(|parameter| {
        let Some(at) = memchr::memchr(b'=', parameter) else { return false };
        let (name, value) = parameter.split_at(at);
        let quotes = |byte: &u8| matches!(byte, b'=' | b'"' | b'\'' | b' ' | b'\t');
        let start = value.iter().position(|byte| !quotes(byte)).unwrap_or(value.len());
        let end = value.iter().rposition(|byte| !quotes(byte)).map_or(start, |last| last + 1);
        name.trim_ascii().eq_ignore_ascii_case(b"charset")
            && !is_like_ascii(value.get(start..end).unwrap_or_default())
    })
}

fn is_like_ascii(charset: &[u8]) -> bool {
    let begins = |with: &[u8]| {
        charset.get(..with.len()).is_some_and(|first| first.eq_ignore_ascii_case(with))
    };
    let is = |name: &[u8]| charset.len() == name.len() && begins(name);
    [&b"utf-8"[..], b"utf8", b"us-ascii", b"ascii", b"latin1", b"euc-jp"].into_iter().any(is)
        || begins(b"iso-8859-")
        || begins(b"windows-125")
}

fn is_text(headers: &HeaderMap) -> Option<bool> {
    let kind = headers.get(CONTENT_TYPE)?.as_bytes();
    let kind = kind.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    let slash = memchr::memchr(b'/', kind).unwrap_or(kind.len());
    let (kind, sub) = kind.split_at(slash);
    let names = |word: &[u8]| sub.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word));
    let any = [&b"json"[..], b"xml", b"urlencoded", b"yaml", b"csv"].into_iter().any(names);
    Some(any || kind.eq_ignore_ascii_case(b"text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(status: u16, fields: &[(&'static str, &str)]) -> Form {
        let headers = fields.iter().map(|(name, value)| {
            (http::HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        });
        Form::of_answer(StatusCode::from_u16(status).unwrap(), &headers.collect())
    }

    #[test]
    fn mon_4_a_charset_is_known_to_be_like_ascii_or_it_is_not_read() {
        for charset in ["utf-8", "UTF-8", "\"utf-8\"", "us-ascii", "ISO-8859-15", "windows-1252"] {
            for kind in ["application/json; charset=", "text/plain;Charset = "] {
                let kind = format!("{kind}{charset}");
                assert_eq!(form(200, &[("content-type", kind.as_str())]).hidden, None, "{kind}");
            }
        }
        for charset in
            ["utf-16", "UTF-16BE", "utf-32", "utf-7", "IBM037", "Shift_JIS", "utf-8x", ""]
        {
            let kind = format!("application/json; a=b; charset=\"{charset}\"");
            let hidden = form(200, &[("content-type", kind.as_str())]).hidden;
            assert_eq!(hidden, Some(Hidden::Charset), "{kind}");
        }
        let twice = [("content-type", "text/plain"), ("content-type", "text/plain;charset=utf-7")];
        assert_eq!(form(200, &twice).hidden, Some(Hidden::Charset));
    }

    #[test]
    fn mon_4_a_range_of_bytes_is_a_part_and_a_page_of_rows_is_none() {
        let range = |value: &'static str| ("content-range", value);
        assert_eq!(form(200, &[]).hidden, None);
        assert_eq!(form(206, &[]).hidden, Some(Hidden::Partial));
        for status in [200, 206] {
            assert_eq!(form(status, &[range("bytes 0-6/100")]).hidden, Some(Hidden::Partial));
            assert_eq!(form(status, &[range("0-14/3573")]).hidden, None);
        }
        assert_eq!(form(416, &[range("bytes */100")]).hidden, None);
    }

    #[test]
    fn mon_4_what_is_compressed_is_told_apart() {
        assert_eq!(form(200, &[("content-encoding", "identity")]).hidden, None);
        for coding in ["gzip", "identity, gzip", "br", ""] {
            assert_eq!(form(200, &[("content-encoding", coding)]).hidden, Some(Hidden::Coded));
        }
    }

    #[test]
    fn text_is_what_says_so() {
        let text = |kind: &str| form(200, &[("content-type", kind)]).text;
        for kind in ["application/json", "TEXT/csv; a=b", "application/x-www-form-urlencoded"] {
            assert_eq!(text(kind), Some(true), "{kind}");
        }
        for kind in ["application/pdf", "image/png", "application/octet-stream"] {
            assert_eq!(text(kind), Some(false), "{kind}");
        }
        assert_eq!(form(200, &[]).text, None);
    }
}
