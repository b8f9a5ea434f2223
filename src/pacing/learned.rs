//! A rate that Amazon said, as bytes that outlive the process.
//!
//! Version (1), then seller, application, operation, and the rate in billionths of a call per second,
//! 8 bytes each, big-endian; a sum (8).
use super::pacer::BucketKey;
use super::rate::Rate;
use crate::base::HashKey;

const VERSION: u8 = 1;
/// Of no secrecy: the sum only tells damage.
const SUM_KEY: [u8; 16] = *b"sekisho pacing 1";

/// What Amazon said of one quota last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Learned {
    pub quota: BucketKey,
    pub rate: Rate,
}

/// Why bytes are not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LearnedFault {
    /// Written by a newer version of this program.
    Newer,
    /// Cut short, changed, or something else.
    Damaged,
}

impl Learned {
    /// 41 bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let BucketKey { seller, application, operation } = self.quota;
        let numbers = [seller, application, operation, self.rate.nano_hz()];
        seal(&numbers.map(u64::to_be_bytes).concat())
    }

    /// # Errors
    /// See [`LearnedFault`].
    pub fn decode(bytes: &[u8]) -> Result<Self, LearnedFault> {
        Self::read(unseal(bytes)?).ok_or(LearnedFault::Damaged)
    }

    fn read(mut rest: &[u8]) -> Option<Self> {
        let mut number = || {
            let (number, after) = rest.split_first_chunk()?;
            rest = after;
            Some(u64::from_be_bytes(*number))
        };
        let quota = BucketKey { seller: number()?, application: number()?, operation: number()? };
        let nano_hz = number()?;
        let rate = Rate::from_nano_hz(nano_hz);
        (rest.is_empty() && rate.nano_hz() == nano_hz).then_some(Self { quota, rate })
    }
}

/// The version before it, a sum behind it.
pub(super) fn seal(body: &[u8]) -> Vec<u8> {
    let mut out = [&[VERSION][..], body].concat();
    let sum = HashKey::new(SUM_KEY).hash(&out);
    out.extend_from_slice(&sum.to_be_bytes());
    out
}

/// What was sealed.
pub(super) fn unseal(bytes: &[u8]) -> Result<&[u8], LearnedFault> {
    let damaged = LearnedFault::Damaged;
    if bytes.first().is_some_and(|version| *version > VERSION) {
        return Err(LearnedFault::Newer);
    }
    let (sealed, sum) = bytes.split_last_chunk().ok_or(damaged)?;
    match sealed.split_first() {
        Some((&VERSION, body))
            if u64::from_be_bytes(*sum) == HashKey::new(SUM_KEY).hash(sealed) =>
        {
            Ok(body)
        }
        Some(_) | None => Err(damaged),
    }
}
