//! What is gathered and not told yet, as the store keeps it: a process that is killed leaves it to the
//! next one.
use std::sync::Arc;

use crate::alarm::{Alarm, in_pages, of_page};
use crate::store::{Blob, BlobKey, KeyId, Register, Shelf, Store, StoreFault, VALUE_MAX};

/// Where the first page is; the others follow it.
const FIRST: u32 = 1;

/// See the module.
#[derive(Debug)]
pub(super) struct Gathered {
    store: Arc<dyn Store>,
    version: u64,
    kept: Vec<Vec<u8>>,
    /// The store that has them. Another one has none.
    epoch: Option<u64>,
    /// What is to be kept next.
    next: Vec<Alarm>,
}

impl Gathered {
    /// Reads what a process left behind. What can't be read is as good as nothing.
    pub(super) async fn open(store: Arc<dyn Store>) -> Self {
        let blobs = pages(&*store).await.unwrap_or_default();
        let version = blobs.iter().map(|blob| blob.state.version).max().unwrap_or(0);
        let kept: Vec<_> = blobs.into_iter().map(|blob| blob.state.value).collect();
        let next = kept.iter().filter_map(|page| of_page(page).ok()).flatten().collect();
        let epoch = store.meta().await.ok().map(|meta| meta.epoch);
        Self { store, version, kept, epoch, next }
    }

    /// What was left behind; it is kept until something else is.
    pub(super) fn left(&mut self) -> Vec<Alarm> {
        std::mem::take(&mut self.next)
    }

    pub(super) fn set(&mut self, gathered: Vec<Alarm>) {
        self.next = gathered;
    }

    /// Keeps what was [`set`](Self::set). What can't be written now is written the next time.
    pub(super) async fn keep(&mut self) {
        let _next_time = self.write().await;
    }

    async fn write(&mut self) -> Result<(), StoreFault> {
        let epoch = self.store.meta().await?.epoch;
        let fresh = in_pages(&self.next, VALUE_MAX);
        if self.epoch == Some(epoch) && self.kept == fresh {
            return Ok(());
        }
        self.version = self.version.saturating_add(1);
        let blob = |(part, page): (u32, &Vec<u8>)| Blob {
            key: key(part),
            state: Register { version: self.version, rank: 1, value: page.clone() },
        };
        let blobs: Arc<[Blob]> = (FIRST..).zip(&fresh).map(blob).collect();
        for put in self.store.put_blobs(blobs).await? {
            put?;
        }
        for (part, _) in (FIRST..).zip(&self.kept).skip(fresh.len()) {
            self.store.forget_blob(key(part)).await?;
        }
        (self.kept, self.epoch) = (fresh, Some(epoch));
        Ok(())
    }
}

/// Whoever gets the store has nothing to tell of what is gathered here: this process tells it.
///
/// # Errors
/// If the store can't be had.
pub async fn forget_gathered(store: &dyn Store) -> Result<(), StoreFault> {
    for blob in pages(store).await? {
        store.forget_blob(blob.key).await?;
    }
    Ok(())
}

const fn key(part: u32) -> BlobKey {
    BlobKey { shelf: Shelf::Alarm, id: KeyId::SOLE, part }
}

async fn pages(store: &dyn Store) -> Result<Vec<Blob>, StoreFault> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = store.scan_blobs(Shelf::Alarm, after).await?;
        let Some(last) = page.last() else { return Ok(all) };
        after = Some(last.key);
        all.extend(page.into_iter().filter(|blob| blob.key.part >= FIRST));
    }
}
