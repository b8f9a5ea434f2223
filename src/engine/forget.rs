//! Forgets what is remembered of somebody whom no configuration has known for long: an identity
//! that is taken out and put back within that time goes on where it was.
//!
//! A note beside the piece says on which day it was first looked at in vain. So a file that is moved to
//! another configuration by mistake loses nothing for as long, and a clock that is wrong for a day can
//! at most forget those whom nobody knows.
use std::collections::{BTreeMap, HashSet};

use super::memory::{Memory, Piece, Saved, Source};
use crate::base::Moment;
use crate::store::{BlobKey, KeyId, Shelf, StoreFault};

/// As long as the exposure ledger keeps anything.
pub const FORGOTTEN_AFTER_DAYS: u32 = 400;
const VERSION: u8 = 1;

impl Memory {
    /// Looks at what the sources remember and their configuration does not know. Gives the number of
    /// pieces that were forgotten.
    ///
    /// # Errors
    /// If the store can't be read; what can't be written is tried again at the next look.
    pub async fn forget_unknown(
        &self,
        sources: &[&dyn Source],
        now: Moment,
    ) -> Result<u64, StoreFault> {
        let today = now.unix_day();
        let mut notes = self.notes().await?;
        let (mut changes, mut forgotten) = (Vec::new(), 0_u64);
        for source in sources {
            let Some(known) = source.known() else { continue };
            for key in self.unknown(source.shelf(), &known).await? {
                let note = note_of(key);
                match notes.remove(&note) {
                    Some(day) if today.saturating_sub(day) >= FORGOTTEN_AFTER_DAYS => {
                        forgotten = forgotten.saturating_add(1);
                        changes.extend([key, note].map(|key| Piece { key, value: Vec::new() }));
                    }
                    Some(_waits) => {}
                    None => changes.push(Piece { key: note, value: written(today) }),
                }
            }
        }
        // Known again, or gone.
        changes.extend(notes.into_keys().map(|key| Piece { key, value: Vec::new() }));
        // What can't be written is found again at the next look.
        self.write(&mut changes, &mut Saved::default()).await;
        Ok(forgotten)
    }

    /// On which day what was first unknown. A note that can't be read is written anew.
    async fn notes(&self) -> Result<BTreeMap<BlobKey, u32>, StoreFault> {
        let (mut notes, mut after) = (BTreeMap::new(), None);
        loop {
            let page = self.store().scan_blobs(Shelf::Unknown, after).await?;
            let Some(last) = page.last() else { return Ok(notes) };
            after = Some(last.key);
            let readable = page.iter().filter_map(|blob| Some((blob.key, day(&blob.state.value)?)));
            notes.extend(readable);
        }
    }

    async fn unknown(&self, on: Shelf, known: &HashSet<KeyId>) -> Result<Vec<BlobKey>, StoreFault> {
        let (mut unknown, mut after) = (Vec::new(), None);
        loop {
            let page = self.store().scan_blobs(on, after).await?;
            let Some(last) = page.last() else { return Ok(unknown) };
            after = Some(last.key);
            let keys = page.iter().map(|blob| blob.key);
            unknown.extend(keys.filter(|key| !known.contains(&key.id)));
        }
    }
}

/// Ids of different kinds differ, so the shelf need not be told.
const fn note_of(piece: BlobKey) -> BlobKey {
    BlobKey { shelf: Shelf::Unknown, ..piece }
}

fn written(day: u32) -> Vec<u8> {
    [&[VERSION][..], &day.to_be_bytes()].concat()
}

fn day(value: &[u8]) -> Option<u32> {
    match value.split_first()? {
        (&VERSION, day) => Some(u32::from_be_bytes(day.try_into().ok()?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::base::Name;
    use crate::engine::memory::Unreadable;
    use crate::store::{Blob, Embedded, Gateway, Register};

    const START: Moment = Moment::new(1_800_000_000_000, 0);

    struct Known(HashSet<KeyId>);

    impl Source for Known {
        fn shelf(&self) -> Shelf {
            Shelf::Baseline
        }

        fn changed(&self, _most: usize, _now: Moment) -> Vec<Piece> {
            Vec::new()
        }

        fn recall(&self, _key: BlobKey, _value: &[u8], _now: Moment) -> Result<(), Unreadable> {
            Ok(())
        }

        fn known(&self) -> Option<HashSet<KeyId>> {
            Some(self.0.clone())
        }
    }

    #[tokio::test]
    async fn what_no_configuration_has_known_for_400_days_is_forgotten() {
        let dir = std::env::temp_dir().join(format!("sekisho-forget-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let store = Arc::new(Embedded::open(&dir, Gateway(1), START).unwrap());
        let memory = Memory::new(store, &Name::parse("test").unwrap());
        let key = |name: &str, shelf| BlobKey { shelf, id: memory.id("watch", name), part: 0 };
        let baseline = |name: &str| key(name, Shelf::Baseline);
        for key in
            [baseline("stays"), baseline("gone"), baseline("back"), key("gone", Shelf::Ledger)]
        {
            let state = Register { version: 1, rank: 1, value: b"what it was".to_vec() };
            memory.store().put_blob(&Blob { key, state }).await.unwrap();
        }
        let known = |names: &[&str]| Known(names.iter().map(|name| baseline(name).id).collect());
        let look = async |names: &[&str], day: u64| {
            let now = START.plus(Duration::from_secs(86_400 * day));
            memory.forget_unknown(&[&known(names)], now).await.unwrap()
        };
        assert_eq!(look(&["stays"], 0).await, 0);
        // Whoever comes back in time begins a new term when it goes again.
        assert_eq!(look(&["stays", "back"], 399).await, 0);
        assert_eq!(look(&["stays"], 400).await, 1);
        assert_eq!(look(&["stays"], 401).await, 0);
        let is_there = async |key| memory.store().blob(key).await.unwrap().is_some();
        assert!(is_there(baseline("stays")).await && is_there(baseline("back")).await);
        assert!(!is_there(baseline("gone")).await);
        assert!(is_there(key("gone", Shelf::Ledger)).await, "the ledger has a term of its own");
        assert!(!is_there(key("gone", Shelf::Unknown)).await, "nor is there a note of it");
        assert_eq!(look(&["stays"], 799).await, 0);
        assert_eq!(look(&["stays"], 800).await, 1);
        assert!(!is_there(baseline("back")).await);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
