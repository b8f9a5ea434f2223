//! The file's tables and what their rows look like.
use redb::TableDefinition;

use crate::store::LOCK_VALUE_MAX;
use crate::store::bucket::Bucket;
use crate::store::fault::StoreFault;
use crate::store::key::Gateway;
use crate::store::register::Register;

/// Numbers about the store itself.
pub(in crate::store) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// By key: the number of the last change, then the record.
pub(super) const LOCKS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("locks");
/// Keys of locks by the number of their last change.
pub(super) const LOCK_ORDER: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("lock order");
pub(super) const BUCKETS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("buckets");
/// Sum, and the time until which it is kept.
pub(super) const COUNTERS: TableDefinition<'_, &[u8], (u64, u64)> =
    TableDefinition::new("counters");
pub(super) const BLOBS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("blobs");
pub(super) const ALARMS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("alarms");

pub(in crate::store) const SCHEMA_KEY: &str = "schema";
pub(in crate::store) const EPOCH: &str = "epoch";
/// The epoch of the shared server that this gateway last knew.
pub(super) const SERVER_EPOCH: &str = "server epoch";
pub(super) const LOCK_SEQUENCE: &str = "lock sequence";
pub(super) const ALARM_SEQUENCE: &str = "alarm sequence";
pub(super) const ALARMS_LOST: &str = "alarms lost";

/// The file can't be used as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    Corrupt,
    Disk,
}

impl Broken {
    pub(super) const fn fault(self) -> StoreFault {
        match self {
            Self::Corrupt => StoreFault::Corrupt,
            Self::Disk => StoreFault::Disk,
        }
    }
}

impl<E: Into<redb::Error>> From<E> for Broken {
    fn from(error: E) -> Self {
        match error.into() {
            // A row or table of another type is as little ours as a wrong checksum.
            redb::Error::Corrupted(_)
            | redb::Error::TableTypeMismatch { .. }
            | redb::Error::TypeDefinitionChanged { .. }
            | redb::Error::TableDoesNotExist(_) => Self::Corrupt,
            _ => Self::Disk,
        }
    }
}

pub(super) fn register(bytes: &[u8], max: usize) -> Result<Register, Broken> {
    Register::decode(bytes, max).map_err(|_| Broken::Corrupt)
}

pub(super) fn lock_row(sequence: u64, state: &Register) -> Vec<u8> {
    [&sequence.to_be_bytes()[..], &state.encode()].concat()
}

pub(super) fn lock_state(row: &[u8]) -> Result<(u64, Register), Broken> {
    let (sequence, state) = row.split_first_chunk().ok_or(Broken::Corrupt)?;
    Ok((u64::from_be_bytes(*sequence), register(state, LOCK_VALUE_MAX)?))
}

/// Full at (u64), owned until (u64), owner (u16) or nothing.
pub(super) fn bucket_row(bucket: &Bucket) -> Vec<u8> {
    let mut row = Vec::with_capacity(18);
    row.extend_from_slice(&bucket.full_at_us.to_be_bytes());
    row.extend_from_slice(&bucket.owned_until_us.to_be_bytes());
    if let Some(owner) = bucket.owner {
        row.extend_from_slice(&owner.0.to_be_bytes());
    }
    row
}

pub(super) fn bucket(row: &[u8]) -> Result<Bucket, Broken> {
    let (full_at, rest) = row.split_first_chunk().ok_or(Broken::Corrupt)?;
    let (until, rest) = rest.split_first_chunk().ok_or(Broken::Corrupt)?;
    let owner = match rest {
        [] => None,
        [high, low] => Some(Gateway(u16::from_be_bytes([*high, *low]))),
        _ => return Err(Broken::Corrupt),
    };
    Ok(Bucket {
        full_at_us: u64::from_be_bytes(*full_at),
        owned_until_us: u64::from_be_bytes(*until),
        owner,
    })
}
