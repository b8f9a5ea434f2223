//! What the mock was asked, for tests to assert on.
use std::collections::{HashMap, VecDeque};

use http::{HeaderMap, Method, Version};

use super::{Operation, Scenario};

/// How many requests are remembered with their headers; all are counted.
const REMEMBERED: usize = 256;

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct SeenRequest {
    pub operation: Operation,
    pub scenario: Scenario,
    pub method: Method,
    /// Path and query, byte for byte.
    pub target: String,
    /// HTTP/2's `:authority`, or the authority of an absolute target.
    pub authority: Option<String>,
    pub version: Version,
    pub headers: HeaderMap,
    pub trailers: Option<HeaderMap>,
    pub body_bytes: u64,
    pub body_sha256: [u8; 32],
    /// SHA-256 of the certificate that the client showed.
    pub client_certificate: Option<[u8; 32]>,
    /// Which connection it came on, counted from 1.
    pub connection: u64,
}

#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) requests: VecDeque<SeenRequest>,
    pub(super) counts: HashMap<Operation, u64>,
    pub(super) connections: u64,
    pub(super) handshakes_failed: u64,
}

impl Seen {
    pub(super) fn remember(&mut self, request: SeenRequest) {
        *self.counts.entry(request.operation).or_default() += 1;
        if self.requests.len() >= REMEMBERED {
            self.requests.pop_front();
        }
        self.requests.push_back(request);
    }
}
