//! How much may be done: what a limit counts, for whom together, and what follows when it is used up
//! (MON-2, MON-3). What is spent is kept elsewhere.
use std::time::Duration;

use crate::base::{Name, OperationIx, UpstreamIx};

/// One rate of requests, such as 300 per minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Requests per period: at least 1, at most one a microsecond.
    pub count: u32,
    /// The period: whole seconds (the `RateLimit` fields know no less), 1 s to 400 days.
    pub per: Duration,
    /// Requests that may come at once; `count` if not given.
    pub burst: Option<u32>,
}

/// One rate of bytes or records, such as 5,000 per day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amount {
    /// At least 1.
    pub count: u64,
    /// As in [`Window`].
    pub per: Duration,
}

/// What a limit counts, and how much of it there may be. All rates of a limit hold at once; no two
/// may have the same period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Charged before a request goes on.
    Requests(Vec<Window>),
    /// Bytes of request and answer bodies; charged when they have passed.
    Bytes(Vec<Amount>),
    /// Records of personal data in answers (MON-3); charged when they have passed.
    PiiRecords(Vec<Amount>),
    /// Requests at the same time, at least 1.
    Concurrent(u32),
}

/// Whose use is added up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Each identity under the limit has its own.
    Each,
    /// All identities under the limit share one.
    All,
}

/// What happens when a limit is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The request is refused.
    Enforced,
    /// It is counted, and the request passes: to try a limit out beside those in force.
    Shadow,
}

/// A limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitSpec {
    /// Under this name spent state survives a reload, and callers see it in `RateLimit`.
    pub name: Name,
    /// The operations that are counted together.
    pub operations: Vec<OperationIx>,
    /// The upstreams through which they are counted; `None`: all.
    pub upstreams: Option<Vec<UpstreamIx>>,
    pub measure: Measure,
    pub sharing: Sharing,
    pub mode: Mode,
}
