//! Why the store can't be had. Closed: nothing the other side said is in here (LOG-2).
use std::fmt;

/// What kept a verb from being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StoreFault {
    /// Nobody answers at the address, or the connection broke.
    Unreachable,
    /// The answer took longer than allowed.
    TimedOut,
    /// TLS failed: another authority, name or version (TLS-2).
    Untrusted,
    /// User, password or the user's rights were not accepted.
    Denied,
    /// The server can't serve now: it is loading, read-only or out of memory.
    Refused,
    /// Another gateway has this gateway's number.
    NumberTaken,
    /// More work is under way than may be at once.
    Busy,
    /// A bound of the store is reached.
    Full,
    /// The caller gave more than the verb takes.
    TooLarge,
    /// The disk failed or is full.
    Disk,
    /// The file is damaged.
    Corrupt,
    /// A record's code does not fit: it was not written by a gateway of this environment.
    Forged,
    /// An answer that makes no sense, or a longer one than was asked for.
    Nonsense,
    /// The store lost what it knew, and is being told again.
    Forgot,
    /// The store was written by a newer version of this program.
    Newer,
    /// The store has been closed.
    Closed,
}

impl StoreFault {
    pub const ALL: &'static [Self] = &[
        Self::Unreachable,
        Self::TimedOut,
        Self::Untrusted,
        Self::Denied,
        Self::Refused,
        Self::NumberTaken,
        Self::Busy,
        Self::Full,
        Self::TooLarge,
        Self::Disk,
        Self::Corrupt,
        Self::Forged,
        Self::Nonsense,
        Self::Forgot,
        Self::Newer,
        Self::Closed,
    ];

    /// One word for logs, metrics and alarms.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::TimedOut => "timed-out",
            Self::Untrusted => "untrusted",
            Self::Denied => "denied",
            Self::Refused => "refused",
            Self::NumberTaken => "number-taken",
            Self::Busy => "busy",
            Self::Full => "full",
            Self::TooLarge => "too-large",
            Self::Disk => "disk",
            Self::Corrupt => "corrupt",
            Self::Forged => "forged",
            Self::Nonsense => "nonsense",
            Self::Forgot => "forgot",
            Self::Newer => "newer",
            Self::Closed => "closed",
        }
    }

    /// Whether the store as a whole is in doubt, or only this call.
    #[must_use]
    pub const fn is_of_store(self) -> bool {
        !matches!(self, Self::Busy | Self::Full | Self::TooLarge)
    }
}

impl fmt::Display for StoreFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl std::error::Error for StoreFault {}

/// Whether the store can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    Sound,
    Faulty(StoreFault),
}
