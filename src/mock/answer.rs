//! A request as the handlers see it, and their answer.
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use serde_json::{Value, json};

use super::Flow;

/// A request whose body has been read. Path and query are the bytes received.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: Option<String>,
    pub(super) version: Version,
    pub(super) headers: HeaderMap,
    /// The first mebibyte of the body.
    pub(super) body: Bytes,
    pub(super) body_bytes: u64,
    pub(super) body_sha256: [u8; 32],
}

impl Asked {
    /// The path's segments, still encoded.
    pub(super) fn segments(&self) -> Vec<&str> {
        self.path.split('/').skip(1).collect()
    }

    /// The first value of a query parameter, decoded.
    pub(super) fn query(&self, name: &str) -> Option<String> {
        pairs(self.query.as_deref().unwrap_or_default()).find(|(k, _)| k == name).map(|(_, v)| v)
    }

    /// A field of a form body, decoded.
    pub(super) fn form(&self, name: &str) -> Option<String> {
        let body = std::str::from_utf8(&self.body).ok()?;
        pairs(body).find(|(k, _)| k == name).map(|(_, v)| v)
    }

    pub(super) fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    pub(super) fn has(&self, name: &HeaderName) -> bool {
        self.headers.get(name).is_some_and(|value| !value.is_empty())
    }
}

fn pairs(text: &str) -> impl Iterator<Item = (String, String)> {
    text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(&name.replace('+', " ")), decode(&value.replace('+', " ")))
    })
}

/// Percent decoding (RFC 3986 section 2.1). A `%` without two digits stands for itself.
pub(super) fn decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        let escaped = (*first == b'%').then(|| tail.split_first_chunk::<2>()).flatten();
        match escaped.and_then(|(digits, after)| Some((hex(*digits)?, after))) {
            Some((byte, after)) => {
                out.push(byte);
                rest = after;
            }
            None => out.push(*first),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn hex(digits: [u8; 2]) -> Option<u8> {
    let [high, low] = digits.map(|digit| char::from(digit).to_digit(16));
    u8::try_from(high? * 16 + low?).ok()
}

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Flow,
}

impl Answer {
    pub(super) fn new(status: StatusCode, content_type: &'static str, body: Flow) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        Self { status, headers, body }
    }

    pub(super) fn bare(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new(), body: Flow::empty() }
    }

    pub(super) fn json(status: StatusCode, value: &Value) -> Self {
        Self::new(status, "application/json", Flow::whole(value.to_string()))
    }

    /// Amazon's envelope: `{"errors":[{"code","message","details"}]}`.
    pub(super) fn refusal(
        status: StatusCode,
        code: &'static str,
        message: &str,
        details: &str,
    ) -> Self {
        let error = json!({ "code": code, "message": message, "details": details });
        Self::json(status, &json!({ "errors": [error] })).with("x-amzn-errortype", code)
    }

    pub(super) fn invalid(details: &str) -> Self {
        Self::refusal(StatusCode::BAD_REQUEST, "InvalidInput", "Request is invalid.", details)
    }

    /// With the request ids of the answer that it replaces.
    pub(super) fn traced_as(mut self, replaced: &Self) -> Self {
        for name in ["x-amzn-requestid", "x-amz-apigw-id"] {
            if let Some(value) = replaced.headers.get(name) {
                self.headers.insert(name, value.clone());
            }
        }
        self
    }

    /// Adds a header; a value that no header can carry is left out.
    pub(super) fn with(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.append(HeaderName::from_static(name), value);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::{decode, pairs};

    #[test]
    fn percent_decoding_happens_once() {
        assert_eq!(decode("a%2Fb%252F%e6%9e%b6"), "a/b%2F架");
        assert_eq!(decode("100%"), "100%");
        assert_eq!(decode("%zz%2"), "%zz%2");
        let read: Vec<_> = pairs("a=1&b=x%2By+z&&c").collect();
        let expected = [("a", "1"), ("b", "x+y z"), ("c", "")];
        assert_eq!(read, expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
    }
}
