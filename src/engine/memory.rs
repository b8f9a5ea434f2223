//! What the gateway remembers over a restart beside its locks: spent quotas, the exposure ledger,
//! histories. Each of them is a [`Source`] of small pieces; changed pieces are written down together,
//! about once a second, by one task, in one transaction, and never while a request waits.
//!
//! A process that is killed loses what changed since the last writing, one [`SAVE_EVERY`] and the time
//! that writing takes at most; of the exposure ledger [`ALL_EVERY`] of them, and of what detectors count
//! as many as there are [`WATCHES_AT_ONCE`] active identities, or [`SOURCE_PAGES_AT_ONCE`] of sources. One that stops in order loses nothing.
//! A piece that can't be read is refused by itself and takes no other with it.
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;

use crate::base::{Moment, Name, Secret};
use crate::detect::HistoryFault;
use crate::store::{Blob, BlobKey, KeyId, Put, Register, SharedSecret, Shelf, Store, StoreFault};

/// How often changes are written down.
pub const SAVE_EVERY: Duration = Duration::from_secs(1);
/// Every so many times those too that nothing is decided by: what was revealed to whom. There are as
/// many of them as pairs of identity and operation, and each is a few hundred bytes.
pub const ALL_EVERY: u32 = 5;
/// Watches that are written down each time, at about a kilobyte: each of them changes with every
/// request. Of more than so many active identities each waits for its turn.
pub const WATCHES_AT_ONCE: usize = 1_024;
/// Pages of what sources did that are written down each time, at up to four kilobytes: there are 1,024,
/// and in a flood from everywhere all of them change.
pub const SOURCE_PAGES_AT_ONCE: usize = 256;
/// Pieces that are asked for, and written, at a time.
pub const PIECES_AT_ONCE: usize = 4_096;
/// Their bytes, beyond which the rest waits for the next transaction.
const BYTES_AT_ONCE: usize = 4 << 20;
/// The rank of everything that is remembered: of one version there is one value.
const RANK: u8 = 1;

/// A piece of memory and where it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    pub key: BlobKey,
    /// At most [`VALUE_MAX`](crate::store::VALUE_MAX) bytes, versioned by whoever made them. Empty: the piece is forgotten.
    pub value: Vec<u8>,
}

/// Why a stored piece is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// Written by a newer version of this program.
    Newer,
    /// Cut short, changed, or something else.
    Damaged,
}

impl From<HistoryFault> for Unreadable {
    fn from(fault: HistoryFault) -> Self {
        match fault {
            HistoryFault::Newer => Self::Newer,
            HistoryFault::Length | HistoryFault::Malformed => Self::Damaged,
        }
    }
}

/// Something that is to be remembered.
pub trait Source: Send + Sync {
    /// Where all its pieces are.
    fn shelf(&self) -> Shelf;

    /// Pieces that have changed since they were last given, at most `most`; the newest state of each.
    /// An empty list says that there are no more now. What was given is not given again until it
    /// changes: whoever asked sees to it that it is written.
    fn changed(&self, most: usize, now: Moment) -> Vec<Piece>;

    /// Takes a piece back, at the start.
    ///
    /// # Errors
    /// See [`Unreadable`]; nothing was taken then.
    fn recall(&self, key: BlobKey, value: &[u8], now: Moment) -> Result<(), Unreadable>;

    /// The ids of all pieces that the configuration in force may have; the others are forgotten after
    /// [`FORGOTTEN_AFTER_DAYS`](super::FORGOTTEN_AFTER_DAYS). `None`: its pieces have terms of their own.
    fn known(&self) -> Option<HashSet<KeyId>> {
        None
    }
}

/// What was read at the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    pub pieces: u64,
    /// Pieces that were not taken.
    pub refused: u64,
}

/// How a writing went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Saved {
    pub written: u64,
    /// Pieces that no store takes: too large, or one too many.
    pub dropped: u64,
    /// Pieces that still wait, because of this fault.
    pub waiting: Option<(usize, StoreFault)>,
}

/// Writes and reads what the sources remember.
#[derive(Debug)]
pub struct Memory {
    store: Arc<dyn Store>,
    ids: SharedSecret,
    /// The last version that was given or seen. Above every version in the store once all of it was
    /// loaded, so that what is written wins over what is there.
    version: AtomicU64,
    /// Pieces that the sources gave and that are not written yet; they are asked for no more until then.
    unwritten: tokio::sync::Mutex<Vec<Piece>>,
}

impl Memory {
    #[must_use]
    pub fn new(store: Arc<dyn Store>, environment: &Name) -> Self {
        Self {
            store,
            // Pieces are this gateway's own and never leave its file, so their places need no secret,
            // and stay the same when a secret is changed. The environment still sets them apart.
            ids: SharedSecret::derive(&Secret::new([0; 32]), environment),
            version: AtomicU64::new(0),
            unwritten: tokio::sync::Mutex::default(),
        }
    }

    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The id under which a piece about this is kept; `kind` tells apart what has equal names.
    #[must_use]
    pub fn id(&self, kind: &'static str, name: &str) -> KeyId {
        KeyId::of(&self.ids, kind, name.as_bytes())
    }

    /// Gives a source all its pieces back.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn load(&self, source: &dyn Source, now: Moment) -> Result<Loaded, StoreFault> {
        let (mut loaded, mut after) = (Loaded::default(), None);
        loop {
            let page = self.store.scan_blobs(source.shelf(), after).await?;
            let Some(last) = page.last() else { return Ok(loaded) };
            after = Some(last.key);
            for blob in page {
                self.version.fetch_max(blob.state.version, Ordering::Relaxed);
                match source.recall(blob.key, &blob.state.value, now) {
                    Ok(()) => loaded.pieces = loaded.pieces.saturating_add(1),
                    Err(_refused) => loaded.refused = loaded.refused.saturating_add(1),
                }
            }
        }
    }

    /// Writes down what has changed. Returns when it is on disk, or can't be now; what could not be
    /// written is tried again at the next call, and so is what was in hand if nobody waited for the end.
    pub async fn save(&self, sources: &[&dyn Source], now: Moment) -> Saved {
        let mut saved = Saved::default();
        let mut unwritten = self.unwritten.lock().await;
        self.write(&mut unwritten, &mut saved).await;
        for source in sources {
            while unwritten.is_empty() {
                *unwritten = source.changed(PIECES_AT_ONCE, now);
                if unwritten.is_empty() {
                    break;
                }
                self.write(&mut unwritten, &mut saved).await;
            }
        }
        saved
    }

    /// Writes these. Each stays among them until it is written, also if nobody waits for the end.
    pub(super) async fn write(&self, pieces: &mut Vec<Piece>, saved: &mut Saved) {
        let (mut stay, mut waits) = (0, None);
        while stay < pieces.len() {
            let (mut blobs, mut bytes) = (Vec::new(), 0_usize);
            let mut ending = JoinSet::new();
            for Piece { key, value } in pieces.iter().skip(stay) {
                if bytes >= BYTES_AT_ONCE {
                    break;
                }
                bytes = bytes.saturating_add(value.len());
                if value.is_empty() {
                    let (store, key) = (Arc::clone(&self.store), *key);
                    ending.spawn(async move { (key, store.forget_blob(key).await) });
                } else {
                    let (version, value) = (self.next_version(), value.clone());
                    blobs.push(Blob { key: *key, state: Register { version, rank: RANK, value } });
                }
            }
            let group = stay..stay.saturating_add(blobs.len()).saturating_add(ending.len());
            // All that is asked by now shares a transaction.
            let mut left = self.put(blobs.into(), saved).await;
            while let Some(ended) = ending.join_next().await {
                // A piece whose task panicked is given again when it changes.
                let Ok((key, outcome)) = ended else { continue };
                match outcome {
                    Ok(()) => saved.written = saved.written.saturating_add(1),
                    Err(fault) => left.push((Piece { key, value: Vec::new() }, fault)),
                }
            }
            stay = stay.saturating_add(left.len());
            waits = left.last().map(|(_, fault)| *fault).or(waits);
            pieces.splice(group, left.into_iter().map(|(piece, _)| piece));
        }
        saved.waiting = waits.map(|fault| (pieces.len(), fault));
    }

    /// What of these could not be written, and why.
    async fn put(&self, blobs: Arc<[Blob]>, saved: &mut Saved) -> Vec<(Piece, StoreFault)> {
        let outcomes = match self.store.put_blobs(Arc::clone(&blobs)).await {
            Ok(outcomes) => outcomes,
            Err(fault) => vec![Err(fault); blobs.len()],
        };
        let mut left = Vec::new();
        for (blob, outcome) in blobs.iter().zip(outcomes) {
            let fault = match outcome {
                Ok(Put::Stored) => {
                    saved.written = saved.written.saturating_add(1);
                    continue;
                }
                Ok(Put::Stale) => match self.store.blob(blob.key).await {
                    Ok(there) => {
                        let newer = there.map_or(0, |register| register.version);
                        self.version.fetch_max(newer, Ordering::Relaxed);
                        StoreFault::Busy
                    }
                    Err(fault) => fault,
                },
                Err(StoreFault::TooLarge | StoreFault::Full) => {
                    saved.dropped = saved.dropped.saturating_add(1);
                    continue;
                }
                Err(fault) => fault,
            };
            left.push((Piece { key: blob.key, value: blob.state.value.clone() }, fault));
        }
        left
    }

    fn next_version(&self) -> u64 {
        self.version.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::future::poll_fn;
    use std::path::PathBuf;
    use std::pin::pin;
    use std::sync::atomic::AtomicU32;
    use std::task::Poll;

    use parking_lot::Mutex;

    use super::*;
    use crate::store::{Embedded, Exchange, Gateway, VALUE_MAX};

    const NOW: Moment = Moment::new(1_800_000_000_000, 0);

    struct Scratch(PathBuf);

    impl Scratch {
        fn new() -> Self {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("sekisho-memory-{}-{number}", std::process::id());
            let dir = std::env::temp_dir().join(name);
            std::fs::create_dir_all(&dir).unwrap();
            Self(dir)
        }

        fn open(&self) -> Arc<dyn Store> {
            Arc::new(Embedded::open(&self.0, Gateway(1), NOW).unwrap())
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _left = std::fs::remove_dir_all(&self.0);
        }
    }

    #[derive(Default)]
    struct Notes {
        known: Mutex<BTreeMap<BlobKey, Vec<u8>>>,
        changed: Mutex<BTreeMap<BlobKey, Vec<u8>>>,
    }

    impl Notes {
        fn note(&self, part: u32, value: &[u8]) {
            self.changed.lock().insert(key(part), value.to_vec());
        }
    }

    impl Source for Notes {
        fn shelf(&self) -> Shelf {
            Shelf::Detector
        }

        fn changed(&self, most: usize, _now: Moment) -> Vec<Piece> {
            let mut changed = self.changed.lock();
            let keys: Vec<BlobKey> = changed.keys().take(most).copied().collect();
            keys.into_iter()
                .map(|key| Piece { key, value: changed.remove(&key).unwrap_or_default() })
                .collect()
        }

        fn recall(&self, key: BlobKey, value: &[u8], _now: Moment) -> Result<(), Unreadable> {
            if value == b"damaged" {
                return Err(Unreadable::Damaged);
            }
            self.known.lock().insert(key, value.to_vec());
            Ok(())
        }
    }

    fn memory_of(store: Arc<dyn Store>) -> Memory {
        Memory::new(store, &Name::parse("test").unwrap())
    }

    fn key(part: u32) -> BlobKey {
        let ids = SharedSecret::derive(&Secret::new([3; 32]), &Name::parse("test").unwrap());
        BlobKey { shelf: Shelf::Detector, id: KeyId::of(&ids, "identity", b"printer"), part }
    }

    #[tokio::test]
    async fn what_changed_is_there_after_a_restart_in_its_newest_state() {
        let dir = Scratch::new();
        let notes = Notes::default();
        let memory = memory_of(dir.open());
        assert_eq!(memory.load(&notes, NOW).await, Ok(Loaded::default()));
        for part in 0..600 {
            notes.note(part, b"old");
        }
        assert_eq!(memory.save(&[&notes], NOW).await, Saved { written: 600, ..Saved::default() });
        notes.note(7, b"new");
        notes.note(8, b"");
        notes.note(9, b"damaged");
        notes.note(10, &vec![1; VALUE_MAX + 1]);
        let saved = memory.save(&[&notes], NOW).await;
        assert_eq!(saved, Saved { written: 3, dropped: 1, waiting: None });
        drop(memory);

        let notes = Notes::default();
        let memory = memory_of(dir.open());
        let loaded = memory.load(&notes, NOW).await;
        assert_eq!(loaded, Ok(Loaded { pieces: 598, refused: 1 }));
        assert_eq!(notes.known.lock().get(&key(7)).map(Vec::as_slice), Some(&b"new"[..]));
        assert_eq!(notes.known.lock().get(&key(8)), None);
        // Versions go on from where they were.
        notes.note(7, b"newer");
        assert_eq!(memory.save(&[&notes], NOW).await.written, 1);
    }

    #[tokio::test]
    async fn a_version_that_was_never_loaded_is_outdone_at_the_second_try() {
        let dir = Scratch::new();
        let store = dir.open();
        let state = Register { version: 1 << 40, rank: 9, value: b"there".to_vec() };
        store.put_blob(&Blob { key: key(1), state }).await.unwrap();
        let (notes, memory) = (Notes::default(), memory_of(Arc::clone(&store)));
        notes.note(1, b"mine");
        assert_eq!(memory.save(&[&notes], NOW).await.waiting, Some((1, StoreFault::Busy)));
        assert_eq!(memory.save(&[&notes], NOW).await, Saved { written: 1, ..Saved::default() });
        assert_eq!(store.blob(key(1)).await.unwrap().unwrap().value, b"mine");
    }

    #[tokio::test]
    async fn mon_2_of_many_pieces_those_that_could_not_be_written_are_written_next() {
        let (store, notes) = (in_memory(), Notes::default());
        let memory = memory_of(Arc::clone(&store));
        // What is learned from the first two outdoes neither of the last.
        for (part, version) in [(3, 1 << 40), (40, 1 << 40), (70, 1 << 50), (100, 1 << 50)] {
            let state = Register { version, rank: 9, value: b"there".to_vec() };
            store.put_blob(&Blob { key: key(part), state }).await.unwrap();
        }
        note_much(&notes);
        let saved = memory.save(&[&notes], NOW).await;
        let waiting = Some((4, StoreFault::Busy));
        assert_eq!(saved, Saved { written: 97, dropped: 0, waiting });
        assert_eq!(memory.save(&[&notes], NOW).await, Saved { written: 4, ..Saved::default() });
        for part in 1..=100 {
            assert_eq!(store.blob(key(part)).await.unwrap().unwrap().value, vec![1; VALUE_MAX]);
        }
    }

    fn in_memory() -> Arc<dyn Store> {
        Arc::new(Embedded::in_memory(Gateway(1), NOW).unwrap())
    }

    /// More than one transaction holds, and the end of what was there before.
    fn note_much(notes: &Notes) {
        notes.note(0, b"");
        for part in 1..=100 {
            notes.note(part, &vec![1; VALUE_MAX]);
        }
    }

    async fn parts(memory: &Memory) -> Vec<u32> {
        let notes = Notes::default();
        memory.load(&notes, NOW).await.unwrap();
        notes.known.lock().keys().map(|key| key.part).collect()
    }

    /// Lets go of it when it would be polled once more than so often. Whether it ended before.
    async fn cut_short(work: impl Future, polls: u32) -> bool {
        let (mut work, mut polled) = (pin!(work), 0);
        poll_fn(|context| {
            if polled == polls {
                return Poll::Ready(false);
            }
            polled += 1;
            work.as_mut().poll(context).map(|_ended| true)
        })
        .await
    }

    /// A stop, or a swap, waits for those who write only so long.
    #[tokio::test]
    async fn mon_2_wherever_a_writing_is_cut_short_the_next_one_loses_nothing() {
        for polls in 1.. {
            let (notes, memory) = (Notes::default(), memory_of(in_memory()));
            notes.note(0, b"there before");
            memory.save(&[&notes], NOW).await;
            note_much(&notes);
            let ended = cut_short(memory.save(&[&notes], NOW), polls).await;
            assert_eq!(memory.save(&[&notes], NOW).await.waiting, None);
            let all = parts(&memory).await;
            assert!(all.iter().copied().eq(1..=100), "cut at {polls}: only {all:?}");
            if ended {
                assert!(polls > 1, "it was never cut");
                return;
            }
        }
    }

    /// Another store has nothing of what the one before was asked for.
    #[tokio::test]
    async fn mon_2_what_nobody_said_was_written_is_written_again() {
        let (notes, store) = (Notes::default(), Arc::new(Exchange::new(in_memory())));
        let memory = memory_of(Arc::<Exchange>::clone(&store));
        note_much(&notes);
        assert!(!cut_short(memory.save(&[&notes], NOW), 1).await);
        let other = in_memory();
        let state = Register { version: 1, rank: RANK, value: b"there before".to_vec() };
        other.put_blob(&Blob { key: key(0), state }).await.unwrap();
        store.put(other).await;
        assert_eq!(memory.save(&[&notes], NOW).await, Saved { written: 101, ..Saved::default() });
        assert!(parts(&memory).await.into_iter().eq(1..=100));
    }
}
