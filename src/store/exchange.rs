//! A store that can be exchanged for another while it is in use: when a process hands its file to the
//! one that takes its place, and when it gets it back.
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;

use super::bell::Ringing;
use super::bucket::{Ask, Lease};
use super::fault::{Condition, StoreFault};
use super::key::{BlobKey, CounterKey, Shelf};
use super::register::Register;
use super::stance::Peers;
use super::{AlarmPage, Blob, Cursor, LockPage, LockRecord, Meta, Put, Reach, Store};
use crate::base::Moment;

/// How often it is looked whether the store before is out of use.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// See the module. Bells and conditions are those of the store at the time; they end with it.
pub struct Exchange {
    store: ArcSwap<Arc<dyn Store>>,
    /// Where alarms go while somebody else brings them to people.
    aside: Mutex<Option<UnboundedSender<Vec<u8>>>>,
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exchange")
    }
}

impl Exchange {
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store: ArcSwap::from_pointee(store), aside: Mutex::new(None) }
    }

    /// From now on this is the store. Returns when nobody is at work with the one before, which is
    /// closed then if nobody else holds it.
    pub async fn put(&self, store: Arc<dyn Store>) {
        let before = self.store.swap(Arc::new(store));
        let mut held = Some(before);
        while let Some(before) = held.take() {
            match Arc::try_unwrap(before) {
                // Closing joins a thread that may wait for the disk.
                Ok(store) => {
                    let _closed = tokio::task::spawn_blocking(move || drop(store)).await;
                }
                Err(in_use) => {
                    held = Some(in_use);
                    tokio::time::sleep(LOOK_EVERY).await;
                }
            }
        }
    }

    /// From now on alarms are queued here and nowhere else, and nobody finds any in the queue: whoever
    /// would tell them twice. `None` ends that.
    pub fn set_aside(&self, alarms: Option<UnboundedSender<Vec<u8>>>) {
        *self.aside.lock() = alarms;
    }

    fn now(&self) -> Arc<Arc<dyn Store>> {
        self.store.load_full()
    }
}

#[async_trait]
impl Store for Exchange {
    async fn put_locks(&self, locks: &[LockRecord]) -> Result<Reach, StoreFault> {
        self.now().put_locks(locks).await
    }

    async fn forget_locks(&self, locks: &[LockRecord]) -> Result<(), StoreFault> {
        self.now().forget_locks(locks).await
    }

    async fn locks_since(&self, cursor: Cursor) -> Result<LockPage, StoreFault> {
        self.now().locks_since(cursor).await
    }

    fn bell(&self) -> Ringing {
        self.now().bell()
    }

    async fn lease(&self, ask: Ask, now: Moment) -> Result<Lease, StoreFault> {
        self.now().lease(ask, now).await
    }

    async fn count(
        &self,
        key: CounterKey,
        add: u32,
        keep: Duration,
        now: Moment,
    ) -> Result<u64, StoreFault> {
        self.now().count(key, add, keep, now).await
    }

    async fn put_blob(&self, blob: &Blob) -> Result<Put, StoreFault> {
        self.now().put_blob(blob).await
    }

    async fn put_blobs(
        &self,
        blobs: Arc<[Blob]>,
    ) -> Result<Vec<Result<Put, StoreFault>>, StoreFault> {
        self.now().put_blobs(blobs).await
    }

    async fn blob(&self, key: BlobKey) -> Result<Option<Register>, StoreFault> {
        self.now().blob(key).await
    }

    async fn scan_blobs(&self, on: Shelf, after: Option<BlobKey>) -> Result<Vec<Blob>, StoreFault> {
        self.now().scan_blobs(on, after).await
    }

    async fn forget_blob(&self, key: BlobKey) -> Result<(), StoreFault> {
        self.now().forget_blob(key).await
    }

    async fn push_alarm(&self, body: &[u8]) -> Result<u64, StoreFault> {
        let sent = self.aside.lock().as_ref().map(|aside| aside.send(body.to_vec()).is_ok());
        match sent {
            None => self.now().push_alarm(body).await,
            Some(true) => Ok(0),
            Some(false) => Err(StoreFault::Closed),
        }
    }

    async fn peek_alarms(&self, after: u64) -> Result<AlarmPage, StoreFault> {
        if self.aside.lock().is_some() {
            return Ok(AlarmPage::default());
        }
        self.now().peek_alarms(after).await
    }

    async fn ack_alarms(&self, sequence: u64) -> Result<(), StoreFault> {
        self.now().ack_alarms(sequence).await
    }

    async fn peers(&self) -> Result<Peers, StoreFault> {
        self.now().peers().await
    }

    async fn meta(&self) -> Result<Meta, StoreFault> {
        self.now().meta().await
    }

    async fn flush(&self) -> Result<(), StoreFault> {
        self.now().flush().await
    }

    fn forged(&self) -> u64 {
        self.now().forged()
    }

    fn lacks_room(&self) -> bool {
        self.now().lacks_room()
    }

    fn condition(&self) -> watch::Receiver<Condition> {
        self.now().condition()
    }
}
