//! Why a delivery failed, and when it is tried again.
use std::fmt;
use std::time::Duration;

/// The wait after the first failure; it doubles with each further one.
pub const RETRY_FIRST: Duration = Duration::from_secs(1);
/// The longest wait of our own making: a target that is back is found within so long.
pub const RETRY_MAX: Duration = Duration::from_secs(300);
/// The longest wait that a target may ask for.
pub const ASKED_MAX: Duration = Duration::from_secs(3_600);
/// Times that one alarm may be called unacceptable until it is given up, so that the next ones get
/// through.
pub const UNACCEPTABLE_MAX: u32 = 6;

/// Why a target was not told. Carries nothing that it said (LOG-2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeliveryFault {
    /// There is no trusted root certificate to verify the target with.
    Roots,
    /// Its name has no address, nobody answers there, or no socket is at the path.
    Unreachable,
    /// It did not prove its name, or speaks no TLS 1.3 (TLS-1, TLS-2).
    Untrusted,
    /// It took longer than allowed.
    TimedOut,
    /// It answered with something that is no HTTP/1.1, or closed early.
    Malformed,
    /// It sent the message elsewhere; redirects are not followed.
    Redirected,
    /// It answered that the gateway may not (401, 403, 407).
    Unauthorized,
    /// It answered that the message is not acceptable (400, 413, 422).
    Unacceptable,
    /// It answered with another failure, or the program ended with one.
    Failed,
    /// The program can't be started.
    NotStarted,
    /// The message is too large for the socket.
    TooLarge,
    /// This process failed.
    Internal,
}

impl DeliveryFault {
    pub const ALL: &'static [Self] = &[
        Self::Roots,
        Self::Unreachable,
        Self::Untrusted,
        Self::TimedOut,
        Self::Malformed,
        Self::Redirected,
        Self::Unauthorized,
        Self::Unacceptable,
        Self::Failed,
        Self::NotStarted,
        Self::TooLarge,
        Self::Internal,
    ];

    /// One word for logs and metrics.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Roots => "roots",
            Self::Unreachable => "unreachable",
            Self::Untrusted => "untrusted",
            Self::TimedOut => "timed-out",
            Self::Malformed => "malformed",
            Self::Redirected => "redirected",
            Self::Unauthorized => "unauthorized",
            Self::Unacceptable => "unacceptable",
            Self::Failed => "failed",
            Self::NotStarted => "not-started",
            Self::TooLarge => "too-large",
            Self::Internal => "internal",
        }
    }

    /// What the status of an HTTP answer means; `None` for success.
    #[must_use]
    pub const fn of_status(status: u16) -> Option<Self> {
        match status {
            200..=299 => None,
            300..=399 => Some(Self::Redirected),
            400 | 413 | 422 => Some(Self::Unacceptable),
            401 | 403 | 407 => Some(Self::Unauthorized),
            _ => Some(Self::Failed),
        }
    }

    /// Whether the message is to blame, and not the target as a whole.
    #[must_use]
    pub const fn is_of_message(self) -> bool {
        matches!(self, Self::Unacceptable | Self::TooLarge)
    }
}

impl fmt::Display for DeliveryFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Roots => "there is no trusted root certificate to verify it with",
            Self::Unreachable => "it can't be reached",
            Self::Untrusted => "it did not prove its name, or speaks no TLS 1.3",
            Self::TimedOut => "it took too long",
            Self::Malformed => "its answer is no whole HTTP/1.1 response",
            Self::Redirected => "it redirects, and redirects are not followed; write the final URL",
            Self::Unauthorized => "it does not accept the gateway's credential (401, 403, 407)",
            Self::Unacceptable => "it does not accept the message (400, 413, 422)",
            Self::Failed => "it failed: another status than 2xx, or an exit code that is not 0",
            Self::NotStarted => "the program can't be started",
            Self::TooLarge => "the message is too large for the socket",
            Self::Internal => "the delivery ended unexpectedly",
        })
    }
}

impl std::error::Error for DeliveryFault {}

/// How long to wait after so many failures in a row: doubling, and between half and all of it, so
/// that gateways that failed together do not come back together. `jitter` is any number; `asked` is
/// what the target wished (Retry-After), which is heeded within an hour.
#[must_use]
pub fn wait(failures: u32, jitter: u16, asked: Option<Duration>) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let whole = RETRY_FIRST.saturating_mul(1_u32 << doublings).min(RETRY_MAX);
    let half = whole / 2;
    let own = half + half.saturating_mul(u32::from(jitter)) / u32::from(u16::MAX);
    asked.map_or(own, |asked| asked.min(ASKED_MAX).max(own))
}
