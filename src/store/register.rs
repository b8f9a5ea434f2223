//! A versioned value and its order. Merging is taking the greater one, hence commutative,
//! associative and idempotent: it does not matter in which order gateways hear of what.
use std::cmp::Ordering;

/// The most bytes a value may have.
pub const VALUE_MAX: usize = 64 << 10;
/// The rank of a release: less strict than any lock of the same version.
pub const RANK_RELEASED: u8 = 0;

const FORMAT: u8 = 1;
pub(super) const HEADER: usize = 14;

/// A value under a version. The writer raises the version with every change; a release takes a
/// version above that of the lock that it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Register {
    pub version: u64,
    /// How strict it is; of equal versions the stricter wins. [`RANK_RELEASED`] for a release.
    pub rank: u8,
    /// Made and read by a pure room; at most [`VALUE_MAX`] bytes, 1,024 for a lock.
    pub value: Vec<u8>,
}

/// Why bytes are no [`Register`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeFault {
    /// Written by a newer version of this program, or something else.
    Format,
    /// They end too early.
    CutShort,
    /// They go on after the end.
    Trailing,
    /// The value is longer than allowed.
    TooLong,
}

impl Ord for Register {
    /// Later wins, then stricter, then longer, then by bytes: a total order, so that two gateways
    /// never disagree. Equal to the order of the encoded bytes, which Redis compares.
    fn cmp(&self, other: &Self) -> Ordering {
        (self.version, self.rank, self.value.len(), &self.value).cmp(&(
            other.version,
            other.rank,
            other.value.len(),
            &other.value,
        ))
    }
}

impl PartialOrd for Register {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Register {
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        self.max(other)
    }

    #[must_use]
    pub const fn is_release(&self) -> bool {
        self.rank == RANK_RELEASED
    }

    /// Format (1), version (u64), rank (u8), length (u32), value; big-endian.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let length = u32::try_from(self.value.len()).unwrap_or(u32::MAX);
        let mut out = Vec::with_capacity(HEADER + self.value.len() + super::seal::CODE);
        out.push(FORMAT);
        out.extend_from_slice(&self.version.to_be_bytes());
        out.push(self.rank);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&self.value);
        out
    }

    /// # Errors
    /// On anything but what [`encode`](Self::encode) wrote, whole, with at most `max` bytes of value.
    pub fn decode(bytes: &[u8], max: usize) -> Result<Self, DecodeFault> {
        let (&format, rest) = bytes.split_first().ok_or(DecodeFault::CutShort)?;
        if format != FORMAT {
            return Err(DecodeFault::Format);
        }
        let (version, rest) = rest.split_first_chunk().ok_or(DecodeFault::CutShort)?;
        let (&rank, rest) = rest.split_first().ok_or(DecodeFault::CutShort)?;
        let (length, value) = rest.split_first_chunk().ok_or(DecodeFault::CutShort)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        if length > max {
            return Err(DecodeFault::TooLong);
        }
        match value.len().cmp(&length) {
            Ordering::Less => Err(DecodeFault::CutShort),
            Ordering::Greater => Err(DecodeFault::Trailing),
            Ordering::Equal => {
                Ok(Self { version: u64::from_be_bytes(*version), rank, value: value.to_vec() })
            }
        }
    }
}
