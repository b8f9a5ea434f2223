//! What both processes have to know of each other while the one that goes finishes its requests: locks
//! in both directions, and in one what it spends, reveals and has people told of.
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;

use super::words::{Link, Word};
use crate::alarm::Alarm;
use crate::engine::{Engine, Parting};
use crate::store::{Cursor, Exchange, LOCK_VALUE_MAX, LockKey, LockRecord, Register, Store as _};

/// How often it is told what was spent.
const TELL_EVERY: Duration = Duration::from_millis(100);

/// Carries lock changes from a store to the other process.
struct Carrier<'s> {
    store: &'s Exchange,
    told: Cursor,
}

impl Carrier<'_> {
    async fn carry(&mut self, link: &mut Link) -> io::Result<()> {
        loop {
            // What can't be read now is carried at the next ring.
            let Ok(page) = self.store.locks_since(self.told).await else { return Ok(()) };
            if !page.records.is_empty() {
                let encode = |record: &LockRecord| (record.key.encode(), record.state.encode());
                link.say(&Word::Locks(page.records.iter().map(encode).collect())).await?;
            }
            self.told = page.next;
            if !page.more {
                return Ok(());
            }
        }
    }
}

/// Writes down what the other process locked or released. What is new rings the bell here.
async fn take_locks(store: &Exchange, locks: &[(Vec<u8>, Vec<u8>)]) {
    let decode = |(key, state): &(Vec<u8>, Vec<u8>)| {
        let state = Register::decode(state, LOCK_VALUE_MAX).ok()?;
        Some(LockRecord { key: LockKey::decode(key).ok()?, state })
    };
    let records: Vec<LockRecord> = locks.iter().filter_map(decode).collect();
    // A store that fails tells of it by itself, and the other process keeps them too.
    let _told_by_condition = store.put_locks(&records).await;
}

/// What the process that goes tells.
pub(in crate::cli) struct Leaving<'s> {
    pub(in crate::cli) engine: &'s Engine,
    pub(in crate::cli) store: &'s Exchange,
    pub(in crate::cli) alarms: &'s mut UnboundedReceiver<Vec<u8>>,
    pub(in crate::cli) parting: &'s mut Parting,
}

impl Leaving<'_> {
    /// Tells until `over`, and once more after `last` is done.
    pub(in crate::cli) async fn tell(
        &mut self,
        link: &mut Link,
        over: impl Future<Output = ()>,
        last: impl Future<Output = ()>,
    ) -> io::Result<()> {
        let mut over = std::pin::pin!(over);
        let told = self.tell_until(link, over.as_mut()).await;
        if told.is_err() {
            // Nobody listens any more; the requests are finished all the same.
            over.await;
        }
        last.await;
        told?;
        let mut locks = Carrier { store: self.store, told: Cursor::START };
        locks.carry(link).await?;
        self.tell_spent(link).await?;
        let mut alarms = Vec::new();
        while let Ok(alarm) = self.alarms.try_recv() {
            alarms.push(alarm);
        }
        link.say(&Word::Alarms(alarms)).await?;
        link.say(&Word::Done).await
    }

    async fn tell_until(
        &mut self,
        link: &mut Link,
        mut over: std::pin::Pin<&mut impl Future<Output = ()>>,
    ) -> io::Result<()> {
        let mut locks = Carrier { store: self.store, told: Cursor::START };
        let mut bell = self.store.bell();
        let mut tick = tokio::time::interval(TELL_EVERY);
        locks.carry(link).await?;
        loop {
            tokio::select! {
                () = &mut over => return Ok(()),
                open = bell.rung() => {
                    if !open {
                        bell = self.store.bell();
                    }
                    locks.carry(link).await?;
                }
                Some(alarm) = self.alarms.recv() => link.say(&Word::Alarms(vec![alarm])).await?,
                _ = tick.tick() => self.tell_spent(link).await?,
                word = link.hear() => if let Word::Locks(theirs) = word? {
                    take_locks(self.store, &theirs).await;
                },
            }
        }
    }

    async fn tell_spent(&mut self, link: &mut Link) -> io::Result<()> {
        let told = self.engine.told_since(self.parting);
        for pieces in told.chunks(256) {
            link.say(&Word::Told(pieces.to_vec())).await?;
        }
        Ok(())
    }
}

/// Listens to the process that goes until it is gone, and tells it what is locked here.
pub(super) async fn listen(mut link: Link, engine: Arc<Engine>, store: Arc<Exchange>) {
    let mut bell = store.bell();
    let mut locks = Carrier { store: &store, told: Cursor::START };
    // What was there when it was handed over is known on the other side, and no news to it.
    let told = locks.carry(&mut link).await;
    let mut open = told.is_ok();
    while open {
        tokio::select! {
            rung = bell.rung() => {
                if !rung {
                    bell = store.bell();
                }
                open = locks.carry(&mut link).await.is_ok();
            }
            word = link.hear() => match word {
                Ok(Word::Locks(theirs)) => take_locks(&store, &theirs).await,
                Ok(Word::Told(pieces)) => {
                    engine.add_told(&pieces);
                }
                Ok(Word::Alarms(alarms)) => {
                    for alarm in alarms.iter().filter_map(|alarm| Alarm::decode(alarm).ok()) {
                        engine.alarms.raise(alarm);
                    }
                }
                Ok(_) => open = false,
                Err(_gone) => open = false,
            },
        }
    }
}
