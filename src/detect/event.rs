//! What happened in one request, without a word of it.
use crate::base::{IdentityIx, Moment, NetworkIx, OperationIx, RoleIx};

/// How a request ended, as far as detectors care.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It has not ended: of its answer so many bytes and records have passed since the last event of
    /// it, and nothing else counts.
    UnderWay,
    Allowed,
    /// 401: no credential, or one that is not accepted.
    NotAuthenticated,
    /// 403: genuine, and not permitted.
    NotPermitted,
    /// 404 of the upstream: the object does not exist.
    NotFound,
    /// 429 of a quota of ours.
    OverQuota,
    /// 429 of Amazon.
    Throttled,
    /// Not HTTP as it must be.
    Malformed,
    /// No operation has such a path, and the path is one that scanners try.
    ScannerPath,
    /// Any other failure, which says nothing about the caller.
    Failed,
}

/// One finished request, or a part of one. Hashes are keyed, under a key that lives as long as the state does; none
/// of them is ever written to a log.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    pub at: Moment,
    /// Proved, or only claimed where the outcome is `NotAuthenticated`.
    pub identity: Option<IdentityIx>,
    /// The role by whose peers a new identity is judged.
    pub role: Option<RoleIx>,
    /// A named network that holds the source.
    pub network: Option<NetworkIx>,
    /// Keyed hash of the source network.
    pub source: u64,
    pub operation: Option<OperationIx>,
    pub outcome: Outcome,
    /// Bytes of the answer's body.
    pub bytes: u64,
    /// Personal records that the answer revealed.
    pub records: u64,
    /// Keyed hash of the object that the path names.
    pub object: Option<u64>,
    /// The same of what else was asked for by name, in the query.
    pub named: &'a [u64],
    /// Hash of what the client's TLS looks like.
    pub fingerprint: u64,
    /// A canary was in the request or the answer.
    pub canary: Option<super::Canary>,
}

impl Event<'_> {
    /// Whether the request was served, so that its bytes and records count.
    pub(super) const fn is_served(&self) -> bool {
        matches!(self.outcome, Outcome::Allowed | Outcome::NotFound | Outcome::UnderWay)
    }

    /// Whether the identity is proved rather than claimed.
    pub(super) const fn is_authenticated(&self) -> bool {
        !matches!(
            self.outcome,
            Outcome::NotAuthenticated | Outcome::Malformed | Outcome::ScannerPath
        )
    }
}

/// What an identity's history is kept of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Metric {
    Requests,
    Bytes,
    Records,
}

impl Metric {
    pub const ALL: [Self; 3] = [Self::Requests, Self::Bytes, Self::Records];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Bytes => "bytes",
            Self::Records => "records",
        }
    }

    pub(super) const fn of(self, event: &Event<'_>) -> u64 {
        match self {
            Self::Requests if matches!(event.outcome, Outcome::UnderWay) => 0,
            Self::Requests => 1,
            Self::Bytes => event.bytes,
            Self::Records => event.records,
        }
    }
}
