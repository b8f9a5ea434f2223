//! What can be wrong with limits.
use crate::base::Name;

/// What is wrong with a limit or with an identity's list of limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaError {
    /// The limit or the identity.
    pub at: Name,
    pub fault: QuotaFault,
}

/// See [`QuotaError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuotaFault {
    /// A limit without a window, or with more than 16.
    Windows,
    /// A limit without an operation, or through no upstream, would limit nothing.
    NoOperations,
    /// The count is zero or above one a microsecond.
    Count,
    /// The period is not in whole seconds from 1 s to 400 days, or occurs twice in the limit.
    Period,
    /// The burst is zero, or takes more than ten years to come back.
    Burst,
    /// Two limits, or two identities, have this name.
    NameTwice,
    /// The identity names a limit that does not exist, or one limit twice.
    LimitList,
    /// More than 65,536 limits.
    TooMany,
}
