//! The line that every request leaves behind.
use crate::__record as record;
use crate::base::{ControlId, Denial, Moment, Name, Pseudonym, RequestId};

use super::codes::{DenialCode, detail};
use super::record::{Fixed, Nanos};
use super::token::SafeToken;
use super::words::{Outcome, Proof, Protocol, TlsVersion};

record! {
    /// One request, however it ended (LOG-1). Keys follow the Elastic Common Schema where it has one.
    /// The path and the query are not here and can't be: the operation's name stands for them.
    #[derive(Clone, Debug)]
    pub struct AccessRecord<'a> in "sekisho.access" {
        /// When the request began.
        pub at: Moment = "@timestamp",
        pub request: RequestId = "sekisho.request_id",
        outcome: Outcome = "event.outcome",
        /// None where no operation fits the method and path.
        pub operation: Option<&'a Name> = "sekisho.operation",
        /// One of the methods an operation can have.
        pub method: Option<Fixed> = "http.request.method",
        /// None if the caller was given none: it went away, or its HTTP/2 stream was reset.
        pub status: Option<u16> = "http.response.status_code",
        /// The identity's name in the configuration.
        pub identity: Option<&'a Name> = "user.name",
        pub proof: Option<Proof> = "sekisho.proof",
        /// The role that granted the operation.
        pub role: Option<&'a Name> = "sekisho.role",
        pub listener: Option<&'a Name> = "sekisho.listener",
        /// A named network that holds the client's address.
        pub network: Option<&'a Name> = "sekisho.network",
        /// Stands for the client's address.
        pub source: Option<Pseudonym> = "sekisho.source",
        /// The UTC day of the key under which `source` was made (days since 1970-01-01).
        pub source_day: Option<u32> = "sekisho.source_day",
        denial: Option<DenialCode> = "sekisho.denial",
        detail: Option<Fixed> = "sekisho.detail",
        control: Option<ControlId> = "sekisho.control",
        /// The limit that was used up.
        pub limit: Option<&'a Name> = "sekisho.limit",
        /// The first limit on trial that would have refused it.
        pub shadow_limit: Option<&'a Name> = "sekisho.shadow_limit",
        pub tls: Option<TlsVersion> = "tls.version",
        pub protocol: Option<Protocol> = "network.protocol",
        /// Bytes of the request's body that were read; of a socket, those that passed to the upstream.
        pub request_bytes: u64 = "http.request.body.bytes",
        /// Bytes of the answer's body that were sent; of a socket, those that passed to the caller.
        pub response_bytes: u64 = "http.response.body.bytes",
        /// From the request's first hook to its last byte, in nanoseconds.
        pub duration: Nanos = "event.duration",
        /// How long it waited for a quota of Amazon's, in microseconds, if it did (MON-2).
        pub paced: Option<std::time::Duration> = "sekisho.paced_us",
        /// Records of personal data that the answer revealed, where that could be counted (MON-3).
        pub pii_records: Option<u64> = "sekisho.pii_records",
        /// Values in the answer that the contract of the operation does not know.
        pub drift: Option<u64> = "sekisho.drift",
        pub upstream: Option<&'a Name> = "sekisho.upstream",
        /// From the first byte sent upstream to the answer's first byte, in microseconds.
        pub upstream_first_byte: Option<std::time::Duration> = "sekisho.upstream_us",
        /// The upstream's own status.
        pub upstream_status: Option<u16> = "sekisho.upstream_status",
        pub amazon_request: Option<SafeToken> = "sekisho.amazon_request_id",
        /// Connections to the upstream that were tried.
        pub attempts: Option<u8> = "sekisho.attempts",
        /// Generation of the configuration under which the request was judged.
        pub generation: u64 = "sekisho.snapshot",
    }
}

impl AccessRecord<'_> {
    /// A request that was served; all that is not given here is empty.
    #[must_use]
    pub const fn new(at: Moment, request: RequestId) -> Self {
        Self {
            at,
            request,
            outcome: Outcome::Allowed,
            operation: None,
            method: None,
            status: None,
            identity: None,
            proof: None,
            role: None,
            listener: None,
            network: None,
            source: None,
            source_day: None,
            denial: None,
            detail: None,
            control: None,
            limit: None,
            shadow_limit: None,
            tls: None,
            protocol: None,
            request_bytes: 0,
            response_bytes: 0,
            duration: Nanos(std::time::Duration::ZERO),
            paced: None,
            pii_records: None,
            drift: None,
            upstream: None,
            upstream_first_byte: None,
            upstream_status: None,
            amazon_request: None,
            attempts: None,
            generation: 0,
        }
    }

    /// Notes why the request was not served: outcome, code, particulars and control, where one was
    /// enforced, at once.
    pub fn deny(&mut self, denial: Denial) {
        let code = DenialCode::of(denial);
        self.outcome = code.outcome();
        self.denial = Some(code);
        self.detail = detail(denial).map(Fixed::new);
        self.control = denial.control();
    }

    /// Notes that the caller went away before the answer was whole.
    pub const fn abort(&mut self) {
        self.outcome = Outcome::Failed;
        self.detail = Some(Fixed::new("CallerWentAway"));
    }

    #[must_use]
    pub const fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// Why it was not served, if it was refused or failed.
    #[must_use]
    pub const fn denial(&self) -> Option<DenialCode> {
        self.denial
    }
}
