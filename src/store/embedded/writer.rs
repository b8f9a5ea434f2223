//! The thread that writes. It takes all work that waits, does it in one transaction, reaches the
//! disk once, and only then says that it is done.
use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use redb::{Database, WriteTransaction};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

use super::open::Opener;
use super::tables::Broken;
use super::work::Done;
use crate::store::bell::Bell;
use crate::store::fault::{Condition, StoreFault};

/// Pieces of work that may wait.
const QUEUE_MAX: usize = 4_096;
/// Bytes that may wait.
const QUEUE_BYTES_MAX: usize = 16 << 20;
/// Pieces of work in one transaction.
const BATCH_MAX: usize = 512;
/// How often a file that failed is tried again.
const RETRY_EVERY: Duration = Duration::from_secs(1);

/// What work may do besides writing.
#[derive(Debug, Default)]
pub(super) struct Turn {
    pub(super) locks_changed: bool,
    swept_us: u64,
}

impl Turn {
    /// Whether it is time to look through a whole table; if so, it is not for a while.
    pub(super) fn may_sweep(&mut self, now_us: u64, every_us: u64) -> bool {
        let due = self.swept_us == 0 || now_us.abs_diff(self.swept_us) >= every_us;
        if due {
            self.swept_us = now_us;
        }
        due
    }
}

trait Job: Send {
    fn apply(&mut self, txn: &WriteTransaction, turn: &mut Turn) -> Result<(), Broken>;
    fn settle(self: Box<Self>, committed: Result<(), StoreFault>);
}

struct Task<T, F> {
    work: Option<F>,
    outcome: Result<T, StoreFault>,
    reply: oneshot::Sender<Result<T, StoreFault>>,
    _room: OwnedSemaphorePermit,
}

impl<T, F> Job for Task<T, F>
where
    T: Send,
    F: FnOnce(&WriteTransaction, &mut Turn) -> Done<T> + Send,
{
    fn apply(&mut self, txn: &WriteTransaction, turn: &mut Turn) -> Result<(), Broken> {
        if let Some(work) = self.work.take() {
            self.outcome = work(txn, turn)?;
        }
        Ok(())
    }

    fn settle(self: Box<Self>, committed: Result<(), StoreFault>) {
        // Whoever asked may have stopped waiting; the work is done all the same.
        let _gone = self.reply.send(committed.and(self.outcome));
    }
}

type Handle = Arc<Mutex<Option<Arc<Database>>>>;

/// The thread and the way to it.
pub(super) struct Writer {
    queue: Option<SyncSender<Box<dyn Job>>>,
    room: Arc<Semaphore>,
    db: Handle,
    bell: Bell,
    condition: watch::Sender<Condition>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

impl Writer {
    pub(super) fn start(db: Database, opener: Opener) -> std::io::Result<Self> {
        let (queue, work) = sync_channel(QUEUE_MAX);
        let db: Handle = Arc::new(Mutex::new(Some(Arc::new(db))));
        let bell = Bell::new();
        let condition = watch::Sender::new(Condition::Sound);
        let desk = Desk {
            work,
            db: Arc::clone(&db),
            opener,
            bell: bell.clone(),
            condition: condition.clone(),
            turn: Turn::default(),
        };
        let thread = std::thread::Builder::new()
            .name("sekisho-store".to_owned())
            .spawn(move || desk.serve())?;
        let room = Arc::new(Semaphore::new(QUEUE_BYTES_MAX));
        Ok(Self { queue: Some(queue), room, db, bell, condition, thread: Some(thread) })
    }

    /// Does this in the next transaction. `size` bounds what waits.
    pub(super) async fn run<T, F>(&self, size: usize, work: F) -> Result<T, StoreFault>
    where
        T: Send + 'static,
        F: FnOnce(&WriteTransaction, &mut Turn) -> Done<T> + Send + 'static,
    {
        let size = u32::try_from(size).map_err(|_| StoreFault::TooLarge)?;
        let room = Arc::clone(&self.room)
            .try_acquire_many_owned(size)
            .map_err(|_full| StoreFault::Busy)?;
        let (reply, answer) = oneshot::channel();
        let outcome = Err(StoreFault::Closed);
        let task = Box::new(Task { work: Some(work), outcome, reply, _room: room });
        let queue = self.queue.as_ref().ok_or(StoreFault::Closed)?;
        queue.try_send(task).map_err(|error| match error {
            TrySendError::Full(_) => StoreFault::Busy,
            TrySendError::Disconnected(_) => StoreFault::Closed,
        })?;
        answer.await.unwrap_or(Err(StoreFault::Closed))
    }

    /// For reading.
    pub(super) fn database(&self) -> Result<Arc<Database>, StoreFault> {
        self.db.lock().clone().ok_or_else(|| match *self.condition.borrow() {
            Condition::Faulty(fault) => fault,
            Condition::Sound => StoreFault::Closed,
        })
    }

    pub(super) const fn bell(&self) -> &Bell {
        &self.bell
    }

    pub(super) fn condition(&self) -> watch::Receiver<Condition> {
        self.condition.subscribe()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has left the file as its last commit did.
            let _panicked = thread.join();
        }
        *self.db.lock() = None;
    }
}

/// What the thread holds.
struct Desk {
    work: Receiver<Box<dyn Job>>,
    db: Handle,
    opener: Opener,
    bell: Bell,
    condition: watch::Sender<Condition>,
    turn: Turn,
}

impl Drop for Desk {
    /// Also when the thread panics: a store that nobody writes is not sound.
    fn drop(&mut self) {
        self.condition.send_replace(Condition::Faulty(StoreFault::Closed));
    }
}

impl Desk {
    fn serve(mut self) {
        loop {
            match self.work.recv_timeout(RETRY_EVERY) {
                Ok(first) => self.batch(first),
                Err(RecvTimeoutError::Timeout) => {
                    let _still_failing = self.database();
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn batch(&mut self, first: Box<dyn Job>) {
        let mut jobs = vec![first];
        jobs.extend(self.work.try_iter().take(BATCH_MAX));
        let outcome = match self.database() {
            Ok(db) => commit(&db, &mut jobs, &mut self.turn).map_err(|broken| {
                // After a failed write the engine has to read the file anew.
                *self.db.lock() = None;
                let fault = broken.fault();
                self.condition.send_replace(Condition::Faulty(fault));
                fault
            }),
            Err(fault) => Err(fault),
        };
        for job in jobs {
            job.settle(outcome);
        }
        if std::mem::take(&mut self.turn.locks_changed) && outcome.is_ok() {
            self.bell.ring();
        }
    }

    /// The database, opened again if it had failed.
    fn database(&mut self) -> Result<Arc<Database>, StoreFault> {
        if let Some(db) = self.db.lock().as_ref() {
            return Ok(Arc::clone(db));
        }
        // Reading it all takes a while, in which readers are told that there is none.
        match (self.opener)() {
            Ok(db) => {
                let db = Arc::new(db);
                *self.db.lock() = Some(Arc::clone(&db));
                self.condition.send_replace(Condition::Sound);
                Ok(db)
            }
            Err(fault) => {
                let fault = fault.as_store_fault();
                self.condition.send_replace(Condition::Faulty(fault));
                Err(fault)
            }
        }
    }
}

fn commit(db: &Database, jobs: &mut [Box<dyn Job>], turn: &mut Turn) -> Result<(), Broken> {
    let mut txn = db.begin_write()?;
    // Two phases, and a repair after a crash that need not read the whole file.
    txn.set_quick_repair(true);
    for job in jobs {
        job.apply(&txn, turn)?;
    }
    txn.commit()?;
    Ok(())
}
