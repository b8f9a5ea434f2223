//! Several gateways: each keeps all locks in its own file, and Redis carries them between the files.
//!
//! So a lock holds on every gateway that has heard of it, through any failure or restart of Redis,
//! of the gateway, or of both; an empty or hostile Redis can take none away. When the server has
//! forgotten, or could not be had for a while, each gateway tells it all it knows.
//! Quotas and counters are the server's alone; while it can't be had they fail, and
//! [`allowance`](super::allowance) says what holds. Blobs and alarms are a gateway's own.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::bell::Ringing;
use super::bucket::{Ask, Lease};
use super::embedded::Embedded;
use super::fault::{Condition, StoreFault};
use super::key::{BlobKey, CounterKey, Shelf};
use super::register::Register;
use super::remote::{Endpoint, Login, Memory, Remote, RemoteSettings};
use super::stance::Peers;
use super::{AlarmPage, Blob, Cursor, LockPage, LockRecord, Meta, Put, Reach, Store};
use crate::base::Moment;

/// Pages carried at one ring: more than all locks there may be.
const PAGES_AT_ONCE: usize = 4_096;
/// How often locks are carried again for which there was no room.
const AGAIN: Duration = Duration::from_secs(60);

/// The store of one of several gateways.
#[derive(Debug)]
pub struct Shared {
    own: Arc<Embedded>,
    remote: Arc<Remote>,
    carrier: JoinHandle<()>,
    lacks_room: Arc<AtomicBool>,
    carrying: Carrying,
    condition: watch::Receiver<Condition>,
}

/// Held while locks are carried, and while some are taken away: those that are on their way then would
/// come back.
type Carrying = Arc<Mutex<()>>;

impl Drop for Shared {
    fn drop(&mut self) {
        self.carrier.abort();
    }
}

/// How far the carrier has come in both directions.
#[derive(Debug, Default)]
struct Progress {
    /// In the server's order of changes.
    fetched: Cursor,
    /// In the file's own.
    told: Cursor,
    /// The connection and the server to which they apply.
    connection: u64,
    epoch: u64,
}

impl Shared {
    /// Begins to connect and to carry locks. Needs a runtime around it.
    ///
    /// # Errors
    /// If the file fails.
    pub async fn start(own: Embedded, settings: RemoteSettings) -> Result<Self, StoreFault> {
        let instance = own.epoch();
        Self::start_as(own, settings, instance).await
    }

    /// As [`start`](Self::start), for a process that goes on beside the one that has its file now:
    /// the server must not take it for another gateway with its number. `instance` is the file's epoch
    /// ([`Meta`]).
    ///
    /// # Errors
    /// If the file fails.
    pub async fn start_as(
        own: Embedded,
        settings: RemoteSettings,
        instance: u64,
    ) -> Result<Self, StoreFault> {
        let memory = Memory { instance, known_epoch: own.known_server().await? };
        let (own, remote) = (Arc::new(own), Arc::new(Remote::start(settings, memory)));
        let lacks_room = Arc::<AtomicBool>::default();
        let carrying = Carrying::default();
        let (both, condition) = watch::channel(Condition::Faulty(StoreFault::Unreachable));
        let carrier = Carrier {
            own: Arc::clone(&own),
            remote: Arc::clone(&remote),
            lacks_room: Arc::clone(&lacks_room),
            carrying: Arc::clone(&carrying),
            begun: Instant::now(),
            condition: both,
            progress: Progress { epoch: memory.known_epoch, ..Progress::default() },
        };
        let carrier = tokio::spawn(carrier.carry());
        Ok(Self { own, remote, carrier, lacks_room, carrying, condition })
    }

    /// See [`Remote::renew`].
    pub fn renew(&self, endpoint: Endpoint, login: Login) {
        self.remote.renew(endpoint, login);
    }

    /// Tells the other gateways that this one goes, if they can be told; nothing is carried after
    /// that. The file stays open until this is dropped.
    pub async fn leave(&self) {
        // Otherwise they learn it by its silence.
        let _silently = self.remote.leave().await;
        self.carrier.abort();
    }

    /// As [`leave`](Self::leave), and lets go of the file.
    pub async fn close(mut self) {
        self.leave().await;
        let _ended = (&mut self.carrier).await;
    }
}

/// Goes between the two.
struct Carrier {
    own: Arc<Embedded>,
    remote: Arc<Remote>,
    lacks_room: Arc<AtomicBool>,
    carrying: Carrying,
    /// When it last began to carry everything.
    begun: Instant,
    condition: watch::Sender<Condition>,
    progress: Progress,
}

impl Carrier {
    async fn carry(mut self) {
        let (mut theirs, mut ours) = (self.remote.bell(), self.own.bell());
        let (mut at_remote, mut at_own) = (self.remote.condition(), self.own.condition());
        loop {
            let open = tokio::select! {
                open = theirs.rung() => open,
                open = ours.rung() => open,
                changed = at_remote.changed() => changed.is_ok(),
                changed = at_own.changed() => changed.is_ok(),
            };
            if !open {
                return;
            }
            // A file that fails is the graver of the two.
            let own = *at_own.borrow_and_update();
            let remote = *at_remote.borrow_and_update();
            let both = if own == Condition::Sound { remote } else { own };
            self.condition.send_if_modified(|was| std::mem::replace(was, both) != both);
            // What fails now is tried at the next ring, from where it stood.
            let _until_next_ring = self.both_ways().await;
        }
    }

    async fn both_ways(&mut self) -> Result<(), StoreFault> {
        let carrying = Arc::clone(&self.carrying);
        let _nothing_is_taken_away = carrying.lock().await;
        self.look_at_server().await?;
        let Progress { fetched, told, .. } = self.progress;
        let room = self.fetch().await? & self.tell().await?;
        if !room {
            self.lacks_room.store(true, Ordering::Relaxed);
        } else if (fetched, told) == (Cursor::START, Cursor::START) {
            self.lacks_room.store(false, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Begins anew where what was carried may not be there.
    async fn look_at_server(&mut self) -> Result<(), StoreFault> {
        let (connection, epoch) = (self.remote.connections(), self.remote.epoch());
        let left_out = self.lacks_room.load(Ordering::Relaxed) && self.begun.elapsed() >= AGAIN;
        if left_out || self.progress.connection != connection || self.progress.epoch != epoch {
            // Another server, or the same after a restart from an older copy: what was fetched and
            // told before may not be there any more.
            if epoch != 0 && self.progress.epoch != epoch {
                self.own.remember_server(epoch).await?;
            }
            self.progress = Progress { connection, epoch, ..Progress::default() };
            self.begun = Instant::now();
        }
        Ok(())
    }

    /// Writes down what the others know. Whether there was room for all of it.
    async fn fetch(&mut self) -> Result<bool, StoreFault> {
        let mut room = true;
        for _ in 0..PAGES_AT_ONCE {
            let page = self.remote.locks_since(self.progress.fetched).await?;
            room &= put_where_room(&*self.own, page.records).await?;
            if page.forged > 0 {
                // Whatever sits in a lock's place there is overwritten with what is known here.
                self.progress.told = Cursor::START;
            }
            self.progress.fetched = page.next;
            if !page.more {
                break;
            }
        }
        Ok(room)
    }

    /// Tells the server what it has not heard from here. Whether there was room for all of it.
    async fn tell(&mut self) -> Result<bool, StoreFault> {
        let mut room = true;
        for _ in 0..PAGES_AT_ONCE {
            let page = self.own.locks_since(self.progress.told).await?;
            room &= put_where_room(&*self.remote, page.records).await?;
            self.progress.told = page.next;
            if !page.more {
                break;
            }
        }
        Ok(room)
    }
}

/// Whether there was room for all. What strangers can multiply stands back, and holds nothing else up.
async fn put_where_room(store: &dyn Store, locks: Vec<LockRecord>) -> Result<bool, StoreFault> {
    let (crowd, rest): (Vec<_>, Vec<_>) = locks.into_iter().partition(LockRecord::is_of_crowd);
    let mut room = true;
    for some in [rest, crowd].iter().filter(|some| !some.is_empty()) {
        match store.put_locks(some).await {
            Ok(_) => {}
            Err(StoreFault::Full) => room = false,
            Err(fault) => return Err(fault),
        }
    }
    Ok(room)
}

#[async_trait]
impl Store for Shared {
    async fn put_locks(&self, locks: &[LockRecord]) -> Result<Reach, StoreFault> {
        self.own.put_locks(locks).await?;
        // The carrier would tell the server as well; this is quicker by a turn, and knows.
        match self.remote.put_locks(locks).await {
            Ok(reach) => Ok(reach),
            Err(fault) => {
                // All else is told by the condition.
                if fault == StoreFault::Full {
                    self.lacks_room.store(true, Ordering::Relaxed);
                }
                Ok(Reach::HereOnly)
            }
        }
    }

    async fn forget_locks(&self, locks: &[LockRecord]) -> Result<(), StoreFault> {
        let _nothing_is_on_its_way = self.carrying.lock().await;
        match self.remote.forget_locks(locks).await {
            Err(fault) if self.remote.is_connected() => Err(fault),
            // What is left there comes back with the next connection.
            Ok(()) | Err(_) => self.own.forget_locks(locks).await,
        }
    }

    async fn locks_since(&self, cursor: Cursor) -> Result<LockPage, StoreFault> {
        self.own.locks_since(cursor).await
    }

    fn bell(&self) -> Ringing {
        self.own.bell()
    }

    async fn lease(&self, ask: Ask, now: Moment) -> Result<Lease, StoreFault> {
        self.remote.lease(ask, now).await
    }

    async fn count(
        &self,
        key: CounterKey,
        add: u32,
        keep: Duration,
        now: Moment,
    ) -> Result<u64, StoreFault> {
        self.remote.count(key, add, keep, now).await
    }

    async fn put_blob(&self, blob: &Blob) -> Result<Put, StoreFault> {
        self.own.put_blob(blob).await
    }

    async fn put_blobs(
        &self,
        blobs: Arc<[Blob]>,
    ) -> Result<Vec<Result<Put, StoreFault>>, StoreFault> {
        self.own.put_blobs(blobs).await
    }

    async fn blob(&self, key: BlobKey) -> Result<Option<Register>, StoreFault> {
        self.own.blob(key).await
    }

    async fn scan_blobs(&self, on: Shelf, after: Option<BlobKey>) -> Result<Vec<Blob>, StoreFault> {
        self.own.scan_blobs(on, after).await
    }

    async fn forget_blob(&self, key: BlobKey) -> Result<(), StoreFault> {
        self.own.forget_blob(key).await
    }

    async fn push_alarm(&self, body: &[u8]) -> Result<u64, StoreFault> {
        self.own.push_alarm(body).await
    }

    async fn peek_alarms(&self, after: u64) -> Result<AlarmPage, StoreFault> {
        self.own.peek_alarms(after).await
    }

    async fn ack_alarms(&self, sequence: u64) -> Result<(), StoreFault> {
        self.own.ack_alarms(sequence).await
    }

    async fn peers(&self) -> Result<Peers, StoreFault> {
        self.remote.peers().await
    }

    async fn meta(&self) -> Result<Meta, StoreFault> {
        self.own.meta().await
    }

    async fn flush(&self) -> Result<(), StoreFault> {
        self.own.flush().await
    }

    fn forged(&self) -> u64 {
        self.remote.forged()
    }

    fn lacks_room(&self) -> bool {
        self.lacks_room.load(Ordering::Relaxed)
    }

    fn condition(&self) -> watch::Receiver<Condition> {
        self.condition.clone()
    }
}
