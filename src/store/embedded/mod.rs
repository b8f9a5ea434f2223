//! The store in one file of the state directory: for one gateway, and as the memory of each of
//! several.
//!
//! Writes go through one thread that commits all that wait together, so that the cost of reaching
//! the disk is shared and no request's thread ever waits for it. Reads see what was committed.
pub(super) mod open;
pub(super) mod tables;
mod work;
mod writer;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redb::{Database, ReadableDatabase as _, ReadableTableMetadata as _};
use tokio::sync::watch;

pub use open::{FILE_NAME, Look, OpenFault};

use super::bell::Ringing;
use super::bucket::{Ask, Asked, Lease};
use super::fault::{Condition, StoreFault};
use super::key::{BlobKey, CounterKey, Gateway, LockKey, Shelf};
use super::register::{Register, VALUE_MAX};
use super::stance::Peers;
use super::{
    ALARM_MAX, Alarm, AlarmPage, BLOB_PAGE_MAX, Blob, Cursor, LOCK_VALUE_MAX, LOCKS_MAX, LockPage,
    LockRecord, Meta, PAGE_MAX, Put, Reach, Store,
};
use crate::base::Moment;
use open::{Hold, Opener};
use tables::Broken;
use writer::Writer;

/// The store in a file. Dropping it writes down what is queued and lets go of the file.
pub struct Embedded {
    writer: Writer,
    gateway: Gateway,
    epoch: u64,
    origin: Moment,
    locks_max: u64,
    /// Let go of last, so that nobody opens the file while the writer still works.
    _hold: Option<Hold>,
}

impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Embedded").field("gateway", &self.gateway).finish_non_exhaustive()
    }
}

impl Embedded {
    /// Opens the store in this directory, or makes one if there has been none. Reads all of it, so
    /// call it at the start only.
    ///
    /// # Errors
    /// See [`OpenFault`]. A file that can't be read whole is left as it is.
    pub fn open(dir: &Path, gateway: Gateway, now: Moment) -> Result<Self, OpenFault> {
        Self::open_looking(dir, gateway, now, Look::Whole)
    }

    /// As [`open`](Self::open), looking closely or not.
    ///
    /// # Errors
    /// See [`OpenFault`].
    pub fn open_looking(
        dir: &Path,
        gateway: Gateway,
        now: Moment,
        look: Look,
    ) -> Result<Self, OpenFault> {
        let hold = Hold::take(dir)?;
        let path = open::prepare(dir)?;
        let mut first = Some(look);
        let opener: Opener = Box::new(move || {
            // What fails later is looked at closely.
            open::open_file(&path, first.take().unwrap_or(Look::Whole))
        });
        Self::start(opener, Some(hold), gateway, now)
    }

    /// A store that forgets everything when it is dropped, for as long as another process has the file.
    ///
    /// # Errors
    /// If there are no random numbers.
    pub fn in_memory(gateway: Gateway, now: Moment) -> Result<Self, OpenFault> {
        Self::start(Box::new(open::in_memory), None, gateway, now)
    }

    pub(super) fn start(
        opener: Opener,
        hold: Option<Hold>,
        gateway: Gateway,
        now: Moment,
    ) -> Result<Self, OpenFault> {
        let mut opener = opener;
        let db = opener()?;
        let epoch = open::epoch(&db)?;
        let writer = Writer::start(db, opener).map_err(|_| OpenFault::Disk)?;
        Ok(Self { writer, gateway, epoch, origin: now, locks_max: LOCKS_MAX, _hold: hold })
    }

    /// With room for so many locks in place of [`LOCKS_MAX`].
    #[must_use]
    pub const fn with_room_for(mut self, locks: u64) -> Self {
        self.locks_max = locks;
        self
    }

    /// Microseconds since 1970 by the wall clock as it stood at the start, and by the monotonic one
    /// from then on: a correction of the wall clock refills no quota while the process runs.
    fn clock_us(&self, now: Moment) -> u64 {
        let ran = u64::try_from(now.since(self.origin).as_micros()).unwrap_or(u64::MAX);
        self.origin.unix_ms().saturating_mul(1_000).saturating_add(ran)
    }

    /// A number of this file that no other has, and that outlives restarts.
    pub(super) const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The epoch of the server that was remembered; zero if none was.
    pub(super) async fn known_server(&self) -> Result<u64, StoreFault> {
        self.read(|db| {
            let meta = db.begin_read()?.open_table(tables::META)?;
            Ok(meta.get(tables::SERVER_EPOCH)?.map_or(0, |epoch| epoch.value()))
        })
        .await
    }

    pub(super) async fn remember_server(&self, epoch: u64) -> Result<(), StoreFault> {
        let work = move |txn: &redb::WriteTransaction, _: &mut writer::Turn| {
            txn.open_table(tables::META)?.insert(tables::SERVER_EPOCH, epoch)?;
            Ok(Ok(()))
        };
        self.writer.run(64, work).await
    }

    async fn read<T: Send + 'static>(
        &self,
        what: impl FnOnce(&Database) -> Result<T, Broken> + Send + 'static,
    ) -> Result<T, StoreFault> {
        let db = self.writer.database()?;
        let read = tokio::task::spawn_blocking(move || what(&db)).await;
        read.map_err(|_panicked| StoreFault::Corrupt)?.map_err(Broken::fault)
    }
}

#[async_trait]
impl Store for Embedded {
    async fn put_locks(&self, locks: &[LockRecord]) -> Result<Reach, StoreFault> {
        let too_long = |lock: &LockRecord| lock.state.value.len() > LOCK_VALUE_MAX;
        if locks.len() > PAGE_MAX || locks.iter().any(too_long) {
            return Err(StoreFault::TooLarge);
        }
        let size = locks.iter().map(|lock| 64 + lock.state.value.len()).sum();
        let (locks, most) = (locks.to_vec(), self.locks_max);
        self.writer.run(size, move |txn, turn| work::put_locks(txn, turn, &locks, most)).await?;
        Ok(Reach::Everywhere)
    }

    async fn forget_locks(&self, locks: &[LockRecord]) -> Result<(), StoreFault> {
        if locks.len() > PAGE_MAX {
            return Err(StoreFault::TooLarge);
        }
        let size = locks.iter().map(|lock| 64 + lock.state.value.len()).sum();
        let locks = locks.to_vec();
        self.writer.run(size, move |txn, _| work::forget_locks(txn, &locks)).await
    }

    async fn locks_since(&self, cursor: Cursor) -> Result<LockPage, StoreFault> {
        let epoch = self.epoch;
        let from = if cursor.epoch == epoch { cursor.sequence } else { 0 };
        self.read(move |db| page_of_locks(db, epoch, from)).await
    }

    fn bell(&self) -> Ringing {
        self.writer.bell().listen()
    }

    async fn lease(&self, ask: Ask, now: Moment) -> Result<Lease, StoreFault> {
        let now_us = self.clock_us(now);
        let asked = Asked { by: self.gateway, peers: 1, now_us, reborn_us: None };
        self.writer.run(64, move |txn, turn| work::lease(txn, turn, &ask, &asked)).await
    }

    async fn count(
        &self,
        key: CounterKey,
        add: u32,
        keep: Duration,
        now: Moment,
    ) -> Result<u64, StoreFault> {
        let now_us = self.clock_us(now);
        let until_us = now_us.saturating_add(u64::try_from(keep.as_micros()).unwrap_or(u64::MAX));
        self.writer
            .run(64, move |txn, turn| work::count(txn, turn, key, add, now_us, until_us))
            .await
    }

    async fn put_blob(&self, blob: &Blob) -> Result<Put, StoreFault> {
        if blob.state.value.len() > VALUE_MAX {
            return Err(StoreFault::TooLarge);
        }
        let outcomes = self.put_blobs(Arc::from([blob.clone()])).await?;
        outcomes.into_iter().next().unwrap_or(Err(StoreFault::Closed))
    }

    async fn put_blobs(
        &self,
        blobs: Arc<[Blob]>,
    ) -> Result<Vec<Result<Put, StoreFault>>, StoreFault> {
        if blobs.is_empty() {
            return Ok(Vec::new());
        }
        let size = blobs.iter().map(|blob| 64_usize.saturating_add(blob.state.value.len())).sum();
        self.writer.run(size, move |txn, _| work::put_blobs(txn, &blobs)).await
    }

    async fn blob(&self, key: BlobKey) -> Result<Option<Register>, StoreFault> {
        self.read(move |db| {
            let table = db.begin_read()?.open_table(tables::BLOBS)?;
            let found = table.get(&key.encode()[..])?;
            found.map(|bytes| tables::register(bytes.value(), VALUE_MAX)).transpose()
        })
        .await
    }

    async fn scan_blobs(&self, on: Shelf, after: Option<BlobKey>) -> Result<Vec<Blob>, StoreFault> {
        self.read(move |db| page_of_blobs(db, on, after)).await
    }

    async fn forget_blob(&self, key: BlobKey) -> Result<(), StoreFault> {
        self.writer.run(64, move |txn, _| work::forget_blob(txn, key)).await
    }

    async fn push_alarm(&self, body: &[u8]) -> Result<u64, StoreFault> {
        if body.len() > ALARM_MAX {
            return Err(StoreFault::TooLarge);
        }
        let body = body.to_vec();
        self.writer.run(64 + body.len(), move |txn, _| work::push_alarm(txn, &body)).await
    }

    async fn peek_alarms(&self, after: u64) -> Result<AlarmPage, StoreFault> {
        self.read(move |db| {
            let txn = db.begin_read()?;
            let lost = txn.open_table(tables::META)?.get(tables::ALARMS_LOST)?;
            let table = txn.open_table(tables::ALARMS)?;
            let alarms = table
                .range(after.saturating_add(1)..)?
                .take(BLOB_PAGE_MAX)
                .map(|entry| {
                    let (sequence, body) = entry?;
                    Ok(Alarm { sequence: sequence.value(), body: body.value().to_vec() })
                })
                .collect::<Result<_, Broken>>()?;
            Ok(AlarmPage { alarms, lost: lost.map_or(0, |lost| lost.value()) })
        })
        .await
    }

    async fn ack_alarms(&self, sequence: u64) -> Result<(), StoreFault> {
        self.writer.run(64, move |txn, _| work::ack_alarms(txn, sequence)).await
    }

    async fn peers(&self) -> Result<Peers, StoreFault> {
        Ok(Peers { count: 1, place: 0 })
    }

    async fn meta(&self) -> Result<Meta, StoreFault> {
        Ok(Meta { schema: open::SCHEMA, epoch: self.epoch })
    }

    async fn flush(&self) -> Result<(), StoreFault> {
        self.writer.run(0, |_, _| Ok(Ok(()))).await
    }

    fn forged(&self) -> u64 {
        0
    }

    fn lacks_room(&self) -> bool {
        false
    }

    fn condition(&self) -> watch::Receiver<Condition> {
        self.writer.condition()
    }
}

fn page_of_locks(db: &Database, epoch: u64, from: u64) -> Result<LockPage, Broken> {
    let txn = db.begin_read()?;
    let order = txn.open_table(tables::LOCK_ORDER)?;
    let locks = txn.open_table(tables::LOCKS)?;
    let mut page = LockPage {
        records: Vec::new(),
        next: Cursor { epoch, sequence: from },
        more: false,
        forged: 0,
    };
    for entry in order.range(from.saturating_add(1)..)? {
        if page.records.len() == PAGE_MAX {
            page.more = true;
            break;
        }
        let (sequence, key) = entry?;
        let bytes = locks.get(key.value())?.ok_or(Broken::Corrupt)?;
        page.records.push(LockRecord {
            key: LockKey::decode(key.value()).map_err(|_| Broken::Corrupt)?,
            state: tables::lock_state(bytes.value())?.1,
        });
        page.next.sequence = sequence.value();
    }
    Ok(page)
}

fn page_of_blobs(db: &Database, shelf: Shelf, after: Option<BlobKey>) -> Result<Vec<Blob>, Broken> {
    let table = db.begin_read()?.open_table(tables::BLOBS)?;
    if table.is_empty()? {
        return Ok(Vec::new());
    }
    let after = after.filter(|after| after.shelf == shelf).map(|after| after.encode());
    let begin = [shelf.code()];
    let from: &[u8] = after.as_deref().unwrap_or(&begin);
    let mut blobs = Vec::new();
    for entry in table.range(from..)? {
        let (key, bytes) = entry?;
        if after.as_deref() == Some(key.value()) {
            continue;
        }
        let key = BlobKey::decode(key.value()).map_err(|_| Broken::Corrupt)?;
        if key.shelf != shelf || blobs.len() == BLOB_PAGE_MAX {
            break;
        }
        blobs.push(Blob { key, state: tables::register(bytes.value(), VALUE_MAX)? });
    }
    Ok(blobs)
}
