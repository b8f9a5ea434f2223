//! The store's queue of alarms, and how far each target has come in it.
use std::sync::Arc;

use tokio::sync::{Mutex, watch};

use crate::alarm::{Alarm, Progress, TargetProgress};
use crate::base::Name;
use crate::engine::Engine;
use crate::store::{Blob, BlobKey, KeyId, Register, Shelf, Store, StoreFault};

/// Where all targets' places are kept.
const PLACES: BlobKey = BlobKey { shelf: Shelf::Alarm, id: KeyId::SOLE, part: 0 };

/// See the module. What is in memory is what is so; the store follows.
#[derive(Debug)]
pub(super) struct Queue {
    store: Arc<dyn Store>,
    /// A number that no other queue has.
    id: u64,
    /// The last alarm that is known to be in the queue.
    head: watch::Sender<u64>,
    places: Mutex<Places>,
}

#[derive(Debug, Default)]
struct Places {
    progress: Progress,
    version: u64,
    /// Up to which the store was told that all is done.
    acknowledged: u64,
    unwritten: bool,
}

impl Queue {
    /// Reads what was kept. A store that can't be had is as good as an empty one; nobody is told
    /// anything until it can be had.
    pub(super) async fn open(engine: &Engine) -> Self {
        let store = Arc::clone(&engine.store);
        let id = store.meta().await.map_or(0, |meta| meta.epoch);
        let kept = store.blob(PLACES).await.ok().flatten();
        let version = kept.as_ref().map_or(0, |kept| kept.version);
        let progress = kept.and_then(|kept| Progress::decode(&kept.value).ok()).unwrap_or_default();
        let start = progress.done_by_all().unwrap_or(0);
        let head = last_of(&*store, start).await;
        let places = Places { progress, version, acknowledged: 0, unwritten: false };
        Self { store, id, head: watch::Sender::new(head), places: Mutex::new(places) }
    }

    pub(super) const fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn head(&self) -> watch::Receiver<u64> {
        self.head.subscribe()
    }

    /// Returns when the alarm can't be lost any more.
    pub(super) async fn push(&self, alarm: &Alarm) -> Result<u64, StoreFault> {
        let sequence = self.store.push_alarm(&alarm.encode()).await?;
        self.head.send_if_modified(|head| std::mem::replace(head, sequence.max(*head)) < sequence);
        Ok(sequence)
    }

    /// What comes after an alarm; `None` stands for one that can't be read.
    pub(super) async fn page(&self, after: u64) -> Result<Vec<(u64, Option<Alarm>)>, StoreFault> {
        let page = self.store.peek_alarms(after).await?;
        let read = |alarm: crate::store::Alarm| (alarm.sequence, Alarm::decode(&alarm.body).ok());
        Ok(page.alarms.into_iter().map(read).collect())
    }

    /// Places for these targets and no others. A new one begins after what is there: it was not
    /// meant for it.
    pub(super) async fn only_for(&self, targets: &[Name]) {
        let mut places = self.places.lock().await;
        let before = places.progress.clone();
        places.progress.retain(targets, *self.head.borrow());
        if places.progress != before {
            self.write(&mut places).await;
        }
    }

    pub(super) async fn place(&self, target: &Name) -> TargetProgress {
        self.places.lock().await.progress.of(target).unwrap_or_default()
    }

    /// Puts a target at its new place, and lets go of what all targets are done with.
    pub(super) async fn settle(&self, target: &Name, place: TargetProgress) {
        let mut places = self.places.lock().await;
        // One that is configured no more has no place to go to.
        let known = places.progress.of(target);
        if known.is_some_and(|known| known != place) || places.unwritten {
            if known.is_some() {
                places.progress.set(target, place);
            }
            self.write(&mut places).await;
        }
    }

    /// What can't be written now is written with the next change: until then, a crash has a target
    /// told twice.
    async fn write(&self, places: &mut Places) {
        let version = places.version.saturating_add(1);
        let value = places.progress.encode();
        let state = Register { version, rank: 1, value };
        let written = self.store.put_blob(&Blob { key: PLACES, state }).await;
        places.unwritten = written.is_err();
        if written.is_ok() {
            places.version = version;
        }
        let done = places.progress.done_by_all().unwrap_or(0);
        if !places.unwritten && done > places.acknowledged {
            // The store forgets them later if not now.
            if self.store.ack_alarms(done).await.is_ok() {
                places.acknowledged = done;
            }
        }
    }
}

/// The last alarm in the queue after `start`, found by halving.
async fn last_of(store: &dyn Store, start: u64) -> u64 {
    let last_after = async |after: u64| {
        let page = store.peek_alarms(after).await.ok()?;
        page.alarms.last().map(|alarm| alarm.sequence)
    };
    let (mut low, mut step) = (start, 1_u64);
    while let Some(last) = last_after(low.saturating_add(step)).await {
        low = last;
        step = step.saturating_mul(2);
    }
    // Nothing comes after `low + step`: between them there may be more than a page.
    while step > 0 {
        match last_after(low).await {
            Some(last) => low = last,
            None => return low,
        }
        step /= 2;
    }
    while let Some(last) = last_after(low).await {
        low = last;
    }
    low
}
