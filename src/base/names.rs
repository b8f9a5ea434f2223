//! Names that come from configuration, small indices that stand for them, and request ids.
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Moment;

/// A name given in the configuration or the catalogue. It is safe to log, because nothing from a
/// request can become one.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Arc<str>);

/// Why a text is no [`Name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    Empty,
    /// Longer than [`Name::LENGTH_MAX`] bytes.
    TooLong,
    /// A character other than `A-Z a-z 0-9 . _ - / : @`, or one of the last six in first place.
    Character,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "it is empty",
            Self::TooLong => "it is longer than 96 bytes",
            Self::Character => {
                "it may hold letters, digits and . _ - / : @ only, and starts with a letter or digit"
            }
        })
    }
}

impl std::error::Error for NameError {}

impl Name {
    pub const LENGTH_MAX: usize = 96;

    /// # Errors
    /// If the text is empty, longer than 96 bytes, or holds another character than
    /// `A-Z a-z 0-9 . _ - / : @`.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let bytes = text.as_bytes();
        let first = bytes.first().ok_or(NameError::Empty)?;
        if bytes.len() > Self::LENGTH_MAX {
            return Err(NameError::TooLong);
        }
        let allowed = |b: &u8| b.is_ascii_alphanumeric() || b"._-/:@".contains(b);
        if !first.is_ascii_alphanumeric() || !bytes.iter().all(allowed) {
            return Err(NameError::Character);
        }
        Ok(Self(Arc::from(text)))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

macro_rules! index {
    ($($(#[$doc:meta])* $name:ident($repr:ty);)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub $repr);

        impl $name {
            #[must_use]
            pub fn index(self) -> usize {
                usize::try_from(self.0).unwrap_or(usize::MAX)
            }
        }
    )*};
}
index! {
    /// Place of an identity in one snapshot's list.
    IdentityIx(u32);
    /// Place of a role in one snapshot's list.
    RoleIx(u16);
    /// Place of an operation in one snapshot's list.
    OperationIx(u16);
    /// Place of an upstream in one snapshot's list.
    UpstreamIx(u16);
    /// Place of a named network in one snapshot's list; at most 256 networks.
    NetworkIx(u8);
    /// Number of a listener: of its name, for as long as the process runs.
    ListenerIx(u16);
    /// Place of a quota in one snapshot's list.
    LimitIx(u16);
}

/// Names one request everywhere: in the answer, the access log, and later the journal. Looks like a
/// ULID (26 characters, Crockford's base 32, sorts by time).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RequestId([u8; 26]);

impl RequestId {
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Hands out request ids: 48 bits of milliseconds, then a counter scrambled with a random seed, so
/// that ids of two processes do not meet and a caller can't count other callers' requests.
#[derive(Debug)]
pub struct RequestIds {
    seed: [u64; 2],
    next: AtomicU64,
}

impl RequestIds {
    #[must_use]
    pub const fn new(seed: [u64; 2]) -> Self {
        Self { seed, next: AtomicU64::new(0) }
    }

    pub fn issue(&self, now: Moment) -> RequestId {
        const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
        let [seed_a, seed_b] = self.seed;
        let count = self.next.fetch_add(1, Ordering::Relaxed);
        // Both are bijections of `count`, so ids of one process never repeat.
        let low = splitmix(count.wrapping_add(seed_a));
        let high = splitmix(count ^ seed_b) & 0xffff;
        let mut value = (u128::from(now.unix_ms() & 0xffff_ffff_ffff) << 80)
            | (u128::from(high) << 64)
            | u128::from(low);
        let mut text = [b'0'; 26];
        for place in text.iter_mut().rev() {
            let digit = usize::try_from(value & 31).unwrap_or(0);
            *place = ALPHABET.get(digit).copied().unwrap_or(b'0');
            value >>= 5;
        }
        RequestId(text)
    }
}

const fn splitmix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_are_distinct_and_sort_by_time() {
        let ids = RequestIds::new([7, 9]);
        let early = ids.issue(Moment::new(1_000, 0));
        let late = ids.issue(Moment::new(2_000, 0));
        assert!(early.as_str() < late.as_str());
        let many: std::collections::HashSet<_> =
            (0..10_000).map(|_| ids.issue(Moment::new(5, 0)).as_str().to_owned()).collect();
        assert_eq!(many.len(), 10_000);
    }

    #[test]
    fn a_name_holds_no_space_quote_or_newline() {
        for bad in ["", "a b", "a\"b", "a\nb", "-a", "é", &"x".repeat(97)] {
            assert!(Name::parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(Name::parse("orders/v0/getOrder").unwrap().as_str(), "orders/v0/getOrder");
    }
}
