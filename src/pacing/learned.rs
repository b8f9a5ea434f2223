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
        let numbers = [seller, application, operation, self.rate.nano_hz()].map(u64::to_be_bytes);
        let mut out = [&[VERSION][..], &numbers.concat()].concat();
        let sum = HashKey::new(SUM_KEY).hash(&out);
        out.extend_from_slice(&sum.to_be_bytes());
        out
    }

    /// # Errors
    /// See [`LearnedFault`].
    pub fn decode(bytes: &[u8]) -> Result<Self, LearnedFault> {
        match bytes.first() {
            Some(version) if *version > VERSION => Err(LearnedFault::Newer),
            _ => Self::read(bytes).ok_or(LearnedFault::Damaged),
        }
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (body, sum) = bytes.split_last_chunk()?;
        if u64::from_be_bytes(*sum) != HashKey::new(SUM_KEY).hash(body) {
            return None;
        }
        let (&[VERSION], mut rest) = body.split_first_chunk()? else { return None };
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
