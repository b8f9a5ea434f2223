//! What a [`super::Caller`] is given and what it gives back.
use std::error::Error as _;
use std::{fmt, io};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};

use super::Flow;
use super::witness::tls_error;

/// Why a call brought no response head.
#[derive(Debug)]
pub enum CallFault {
    /// Trust, identity or server name of the configuration can't be used.
    Config,
    /// The target or a header can't be put into a request; send it raw.
    Request,
    Connect(io::ErrorKind),
    /// The handshake, or an alert of the server's afterwards: in TLS 1.3 a client certificate is
    /// refused only then.
    Tls(rustls::Error),
    /// The connection ended or broke.
    Io(io::ErrorKind),
    Http(hyper::Error),
    Deadline,
}

impl fmt::Display for CallFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config => f.write_str("trust, identity or server name can't be used"),
            Self::Request => f.write_str("the target or a header can't be put into a request"),
            Self::Connect(kind) => write!(f, "can't connect: {kind}"),
            Self::Tls(error) => write!(f, "TLS: {error}"),
            Self::Io(kind) => write!(f, "the connection broke: {kind}"),
            Self::Http(error) => write!(f, "HTTP: {error}"),
            Self::Deadline => f.write_str("no answer in time"),
        }
    }
}

impl std::error::Error for CallFault {}

impl From<hyper::Error> for CallFault {
    fn from(error: hyper::Error) -> Self {
        let mut source = error.source();
        while let Some(inner) = source {
            if let Some(io) = inner.downcast_ref::<io::Error>() {
                return Self::from_io(io);
            }
            source = inner.source();
        }
        Self::Http(error)
    }
}

impl CallFault {
    pub(super) fn from_io(error: &io::Error) -> Self {
        tls_error(error).map_or(Self::Io(error.kind()), |tls| Self::Tls(tls.clone()))
    }
}

/// One request. Path and query go out byte for byte; header names in lower case, as hyper writes them.
#[derive(Debug)]
pub struct Call {
    pub method: Method,
    pub target: String,
    pub headers: HeaderMap,
    pub body: Flow,
}

impl Call {
    #[must_use]
    pub fn new(method: Method, target: &str) -> Self {
        Self { method, target: target.to_owned(), headers: HeaderMap::new(), body: Flow::empty() }
    }

    #[must_use]
    pub fn get(target: &str) -> Self {
        Self::new(Method::GET, target)
    }

    #[must_use]
    pub fn post(target: &str, body: Flow) -> Self {
        Self { body, ..Self::new(Method::POST, target) }
    }

    /// Adds a header. A name or value that HTTP does not allow makes the call fail.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        match (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
            (Ok(name), Ok(value)) => drop(self.headers.append(name, value)),
            // No target is empty, so sending reports it.
            _ => self.target.clear(),
        }
        self
    }
}

/// How a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyEnd {
    Complete,
    /// Connection or stream ended before the body did.
    Broken,
    TooLarge,
    Deadline,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub version: Version,
    pub headers: HeaderMap,
    /// The first `keep_bytes` of the body.
    pub body: Bytes,
    /// The whole body's length.
    pub body_bytes: u64,
    pub trailers: Option<HeaderMap>,
    /// 1xx responses before this one.
    pub informational: u32,
    pub end: BodyEnd,
}

impl Reply {
    /// The body as text, whatever bytes it holds.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; `Null` if it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// A header's first value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// Why reading raw bytes stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RawEnd {
    Closed,
    /// Closed without TLS's farewell, or reset.
    Torn,
    Deadline,
    /// `keep_bytes` were read.
    Full,
}

#[derive(Clone, Debug)]
pub struct RawReply {
    pub bytes: Vec<u8>,
    pub end: RawEnd,
}
