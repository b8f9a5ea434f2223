//! Whether a failed attempt may be repeated.
use http::Method;

/// Whether sending a request twice does the same as sending it once (RFC 9110 §9.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idempotence {
    Safe,
    Unsafe,
}

impl Idempotence {
    #[must_use]
    pub fn of(method: &Method) -> Self {
        if method.is_idempotent() { Self::Safe } else { Self::Unsafe }
    }
}

/// Whether a byte of the request can have reached the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// No: there was no connection.
    Nothing,
    /// Hardly: a connection out of the pool had most likely ended before.
    Unlikely,
    Something,
}

/// See [`may_retry`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    Yes,
    No,
}

/// Only what is safe is repeated, while fewer than `retries` repeats were made: any request of which
/// nothing was sent, an idempotent one where that is most likely (RFC 9110 §9.2.2). `attempts` are
/// those made so far, the first one included.
#[must_use]
pub const fn may_retry(idempotence: Idempotence, sent: Sent, attempts: u8, retries: u8) -> Retry {
    match (idempotence, sent) {
        (Idempotence::Safe | Idempotence::Unsafe, Sent::Nothing)
        | (Idempotence::Safe, Sent::Unlikely)
            if attempts <= retries =>
        {
            Retry::Yes
        }
        (
            Idempotence::Safe | Idempotence::Unsafe,
            Sent::Nothing | Sent::Unlikely | Sent::Something,
        ) => Retry::No,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_safe_is_repeated_and_only_so_often() {
        use Idempotence::{Safe, Unsafe};
        use Sent::{Nothing, Something, Unlikely};
        for (attempts, retries, expected) in
            [(1, 0, Retry::No), (1, 1, Retry::Yes), (2, 1, Retry::No), (2, 2, Retry::Yes)]
        {
            assert_eq!(may_retry(Safe, Nothing, attempts, retries), expected);
            assert_eq!(may_retry(Unsafe, Nothing, attempts, retries), expected);
            assert_eq!(may_retry(Safe, Unlikely, attempts, retries), expected);
            assert_eq!(may_retry(Unsafe, Unlikely, attempts, retries), Retry::No);
            assert_eq!(may_retry(Safe, Something, attempts, retries), Retry::No);
            assert_eq!(may_retry(Unsafe, Something, attempts, retries), Retry::No);
        }
        assert_eq!(may_retry(Safe, Nothing, u8::MAX, u8::MAX - 1), Retry::No);
    }

    #[test]
    fn a_post_is_not_idempotent() {
        assert_eq!(Idempotence::of(&Method::POST), Idempotence::Unsafe);
        assert_eq!(Idempotence::of(&Method::PATCH), Idempotence::Unsafe);
        assert_eq!(Idempotence::of(&Method::PUT), Idempotence::Safe);
        assert_eq!(Idempotence::of(&Method::GET), Idempotence::Safe);
    }
}
