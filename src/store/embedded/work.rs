//! What each verb does inside a transaction. A refusal of one piece of work leaves the rest of the
//! batch alone, so it is decided before the first write.
use redb::{ReadableTable as _, ReadableTableMetadata as _, Table, WriteTransaction};

use super::tables::{
    ALARM_SEQUENCE, ALARMS, ALARMS_LOST, BLOBS, BUCKETS, Broken, COUNTERS, LOCK_ORDER,
    LOCK_SEQUENCE, LOCKS, META, bucket, bucket_row, lock_row, lock_state,
};
use super::writer::Turn;
use crate::store::bucket::{self, Ask, Asked, Lease};
use crate::store::fault::StoreFault;
use crate::store::key::{BlobKey, CounterKey};
use crate::store::register::VALUE_MAX;
use crate::store::{ALARMS_MAX, Blob, LockRecord, Put, room_for};

const BUCKETS_MAX: u64 = 1_000_000;
const COUNTERS_MAX: u64 = 1_000_000;
const BLOBS_MAX: u64 = 8_000_000;
/// Rows that mean nothing any more are looked for at most this often.
const SWEEP_EVERY_US: u64 = 60_000_000;
const SUM_MAX: u64 = i64::MAX.unsigned_abs();

/// The inner error refuses this piece of work; the outer one means that the file is in trouble.
pub(super) type Done<T> = Result<Result<T, StoreFault>, Broken>;

/// `most` locks may be there.
pub(super) fn put_locks(
    txn: &WriteTransaction,
    turn: &mut Turn,
    locks: &[LockRecord],
    most: u64,
) -> Done<()> {
    let mut meta = txn.open_table(META)?;
    let mut order = txn.open_table(LOCK_ORDER)?;
    let mut table = txn.open_table(LOCKS)?;
    let room = room_for(locks, most).saturating_sub(table.len()?);
    if u64::try_from(locks.len()).unwrap_or(u64::MAX) > room {
        let mut new = 0_u64;
        for lock in locks {
            new += u64::from(table.get(&lock.key.encode()[..])?.is_none());
        }
        if new > room {
            return Ok(Err(StoreFault::Full));
        }
    }
    let mut sequence = meta.get(LOCK_SEQUENCE)?.map_or(0, |last| last.value());
    for lock in locks {
        let key = lock.key.encode();
        let known = table.get(&key[..])?.map(|row| lock_state(row.value())).transpose()?;
        if let Some((old, state)) = known {
            if state >= lock.state {
                continue;
            }
            order.remove(old)?;
        }
        sequence = sequence.saturating_add(1);
        order.insert(sequence, &key[..])?;
        table.insert(&key[..], &lock_row(sequence, &lock.state)[..])?;
        turn.locks_changed = true;
    }
    meta.insert(LOCK_SEQUENCE, sequence)?;
    Ok(Ok(()))
}

pub(super) fn forget_locks(txn: &WriteTransaction, locks: &[LockRecord]) -> Done<()> {
    let mut order = txn.open_table(LOCK_ORDER)?;
    let mut table = txn.open_table(LOCKS)?;
    for lock in locks {
        let key = lock.key.encode();
        let there = table.get(&key[..])?.map(|row| lock_state(row.value())).transpose()?;
        if let Some((sequence, state)) = there
            && state == lock.state
        {
            order.remove(sequence)?;
            table.remove(&key[..])?;
        }
    }
    Ok(Ok(()))
}

pub(super) fn lease(
    txn: &WriteTransaction,
    turn: &mut Turn,
    ask: &Ask,
    asked: &Asked,
) -> Done<Lease> {
    let key = ask.key.encode();
    let mut table = txn.open_table(BUCKETS)?;
    let known = table.get(&key[..])?.map(|row| bucket(row.value())).transpose()?;
    if known.is_none() && table.len()? >= BUCKETS_MAX {
        if turn.may_sweep(asked.now_us, SWEEP_EVERY_US) {
            table.retain(|_, row| {
                bucket(row).is_ok_and(|bucket| !bucket.is_forgettable(asked.now_us))
            })?;
        }
        if table.len()? >= BUCKETS_MAX {
            return Ok(Err(StoreFault::Full));
        }
    }
    let (after, lease) = bucket::grant(known, ask, asked);
    table.insert(&key[..], &bucket_row(&after)[..])?;
    Ok(Ok(lease))
}

pub(super) fn count(
    txn: &WriteTransaction,
    turn: &mut Turn,
    key: CounterKey,
    add: u32,
    now_us: u64,
    until_us: u64,
) -> Done<u64> {
    let key = key.encode();
    let mut table = txn.open_table(COUNTERS)?;
    let known = table.get(&key[..])?.map(|row| row.value());
    if known.is_none() && table.len()? >= COUNTERS_MAX {
        if turn.may_sweep(now_us, SWEEP_EVERY_US) {
            table.retain(|_, (_, until)| until > now_us)?;
        }
        if table.len()? >= COUNTERS_MAX {
            return Ok(Err(StoreFault::Full));
        }
    }
    let sum = known.filter(|(_, until)| *until > now_us).map_or(0, |(sum, _)| sum);
    let sum = sum.saturating_add(u64::from(add)).min(SUM_MAX);
    table.insert(&key[..], (sum, until_us))?;
    Ok(Ok(sum))
}

/// In the order of their keys the file is walked through once.
pub(super) fn put_blobs(
    txn: &WriteTransaction,
    blobs: &[Blob],
) -> Done<Vec<Result<Put, StoreFault>>> {
    let mut table = txn.open_table(BLOBS)?;
    let mut room = BLOBS_MAX.saturating_sub(table.len()?);
    let mut order: Vec<(usize, &Blob)> = blobs.iter().enumerate().collect();
    order.sort_unstable_by_key(|(_, blob)| blob.key);
    let mut outcomes = vec![Ok(Put::Stale); blobs.len()];
    for (place, blob) in order {
        let outcome = put_blob(&mut table, &mut room, blob)?;
        if let Some(own) = outcomes.get_mut(place) {
            *own = outcome;
        }
    }
    Ok(Ok(outcomes))
}

fn put_blob(
    table: &mut Table<'_, &'static [u8], &'static [u8]>,
    room: &mut u64,
    blob: &Blob,
) -> Done<Put> {
    if blob.state.value.len() > VALUE_MAX {
        return Ok(Err(StoreFault::TooLarge));
    }
    let (key, state) = (blob.key.encode(), blob.state.encode());
    // Versions compare as their bytes do.
    let outdone = table.get(&key[..])?.map(|row| row.value() >= &state[..]);
    match outdone {
        Some(true) => return Ok(Ok(Put::Stale)),
        None if *room == 0 => return Ok(Err(StoreFault::Full)),
        None => *room = room.saturating_sub(1),
        Some(false) => {}
    }
    table.insert(&key[..], &state[..])?;
    Ok(Ok(Put::Stored))
}

pub(super) fn forget_blob(txn: &WriteTransaction, key: BlobKey) -> Done<()> {
    txn.open_table(BLOBS)?.remove(&key.encode()[..])?;
    Ok(Ok(()))
}

pub(super) fn push_alarm(txn: &WriteTransaction, body: &[u8]) -> Done<u64> {
    let mut meta = txn.open_table(META)?;
    let mut table = txn.open_table(ALARMS)?;
    let number = |meta: &Table<'_, &'static str, u64>, name| {
        Ok::<_, Broken>(meta.get(name)?.map_or(0, |last| last.value()).saturating_add(1))
    };
    if table.len()? >= ALARMS_MAX {
        let lost = number(&meta, ALARMS_LOST)?;
        meta.insert(ALARMS_LOST, lost)?;
        return Ok(Err(StoreFault::Full));
    }
    let sequence = number(&meta, ALARM_SEQUENCE)?;
    meta.insert(ALARM_SEQUENCE, sequence)?;
    table.insert(sequence, body)?;
    Ok(Ok(sequence))
}

pub(super) fn ack_alarms(txn: &WriteTransaction, sequence: u64) -> Done<()> {
    txn.open_table(ALARMS)?.retain_in(..=sequence, |_, _| false)?;
    Ok(Ok(()))
}
