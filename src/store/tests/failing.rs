//! A disk that fails when it is told to.
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use redb::backends::InMemoryBackend;
use redb::{Database, StorageBackend};

use crate::base::{Moment, Name, Secret};
use crate::store::embedded::open::{check, found};
use crate::store::*;

const NOW: Moment = Moment::new(1_800_000_000_000, 0);

/// A directory that is gone with the test.
pub(super) struct Scratch(PathBuf);

impl std::ops::Deref for Scratch {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _left = std::fs::remove_dir_all(&self.0);
    }
}

pub(super) fn scratch() -> Scratch {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let dir = std::env::temp_dir().join(format!("sekisho-layout-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    Scratch(dir)
}

pub(super) fn lock(number: u64, version: u64) -> LockRecord {
    let secret = SharedSecret::derive(&Secret::new([3; 32]), &Name::parse("test").unwrap());
    let id = KeyId::of(&secret, "identity", &number.to_be_bytes());
    LockRecord {
        key: LockKey { scope: Scope::Identity, id, by: Gateway(1), slot: 0 },
        state: Register { version, rank: 1, value: number.to_be_bytes().to_vec() },
    }
}

pub(super) async fn all(store: &dyn Store) -> Vec<LockRecord> {
    let (mut cursor, mut all) = (Cursor::START, Vec::new());
    loop {
        let page = store.locks_since(cursor).await.unwrap();
        all.extend(page.records);
        cursor = page.next;
        if !page.more {
            return all;
        }
    }
}

/// Memory that outlives the database on it, and a switch.
#[derive(Clone, Debug, Default)]
struct Disk {
    bytes: Arc<InMemoryBackend>,
    full: Arc<AtomicBool>,
    synced: Arc<AtomicU32>,
}

impl Disk {
    fn room(&self) -> Result<(), io::Error> {
        if self.full.load(Ordering::SeqCst) {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        Ok(())
    }

    fn open(&self) -> Result<Database, OpenFault> {
        check(Database::builder().create_with_backend(self.clone())?)
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> Result<u64, io::Error> {
        self.bytes.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.bytes.read(offset, out)
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.room()?;
        self.bytes.set_len(len)
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        self.room()?;
        self.synced.fetch_add(1, Ordering::SeqCst);
        self.bytes.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.room()?;
        self.bytes.write(offset, data)
    }
}

async fn until(store: &dyn Store, wanted: Condition) {
    let mut condition = store.condition();
    let waiting = condition.wait_for(|now| *now == wanted);
    let outcome = tokio::time::timeout(Duration::from_secs(20), waiting).await;
    assert!(outcome.is_ok(), "still {:?}", *store.condition().borrow());
}

#[tokio::test]
async fn acc_2_a_full_disk_is_told_and_heals() {
    let disk = Disk::default();
    found(&Database::builder().create_with_backend(disk.clone()).unwrap()).unwrap();
    let again = disk.clone();
    let store = Embedded::start(Box::new(move || again.open()), None, Gateway(1), NOW).unwrap();
    store.put_locks(&[lock(1, 1)]).await.unwrap();
    let mut bell = store.bell();

    disk.full.store(true, Ordering::SeqCst);
    assert_eq!(store.put_locks(&[lock(2, 1)]).await, Err(StoreFault::Disk));
    until(&store, Condition::Faulty(StoreFault::Disk)).await;
    assert_eq!(store.push_alarm(b"a").await, Err(StoreFault::Disk));
    assert_eq!(store.flush().await, Err(StoreFault::Disk));

    disk.full.store(false, Ordering::SeqCst);
    // Nobody has to write for it to heal.
    until(&store, Condition::Sound).await;
    assert!(all(&store).await.contains(&lock(1, 1)), "what was acknowledged is there");
    store.put_locks(&[lock(3, 1)]).await.unwrap();
    assert!(all(&store).await.contains(&lock(3, 1)));
    assert!(bell.rung().await);
}

/// Also in the way in which the engine has its store.
#[tokio::test]
async fn mon_2_blobs_that_are_put_together_reach_the_disk_together() {
    let disk = Disk::default();
    found(&Database::builder().create_with_backend(disk.clone()).unwrap()).unwrap();
    let again = disk.clone();
    let file = Embedded::start(Box::new(move || again.open()), None, Gateway(1), NOW).unwrap();
    let store = Exchange::new(Arc::new(file));
    let blob = |part| Blob {
        key: BlobKey { shelf: Shelf::Quota, id: KeyId::SOLE, part },
        state: Register { version: 1, rank: 1, value: vec![7; 100] },
    };
    let syncs = async |parts: std::ops::Range<u32>| {
        let before = disk.synced.load(Ordering::SeqCst);
        for outcome in store.put_blobs(parts.map(blob).collect()).await.unwrap() {
            assert_eq!(outcome, Ok(Put::Stored));
        }
        disk.synced.load(Ordering::SeqCst) - before
    };
    assert_eq!(syncs(0..0).await, 0, "nothing costs nothing");
    let one = syncs(0..1).await;
    assert!(one > 0);
    let many = syncs(1..513).await;
    // The file may grow.
    assert!(many <= 2 * one, "{many} times to the disk, {one} for one alone");
}

/// Work that finds no room is refused at once; what has found room is done.
#[tokio::test]
async fn mon_5_the_queue_is_bounded() {
    let dir = scratch();
    let store = Arc::new(Embedded::open(&dir, Gateway(1), NOW).unwrap());
    let secret = SharedSecret::derive(&Secret::new([3; 32]), &Name::parse("test").unwrap());
    let blob = |part| Blob {
        key: BlobKey { shelf: Shelf::Ledger, id: KeyId::of(&secret, "a", b"a"), part },
        state: Register { version: 1, rank: 1, value: vec![0; VALUE_MAX] },
    };
    let calls: Vec<_> = (0..600)
        .map(|part| {
            let (store, blob) = (Arc::clone(&store), blob(part));
            tokio::spawn(async move { store.put_blob(&blob).await })
        })
        .collect();
    let mut outcomes = Vec::new();
    for call in calls {
        outcomes.push(call.await.unwrap());
    }
    let stored = outcomes.iter().filter(|outcome| **outcome == Ok(Put::Stored)).count();
    let busy = outcomes.iter().filter(|outcome| **outcome == Err(StoreFault::Busy)).count();
    assert_eq!(stored + busy, outcomes.len());
    assert!(stored >= 200 && busy > 0, "{stored} stored, {busy} refused");
    assert_eq!(*store.condition().borrow(), Condition::Sound, "that is no fault of the store");
    store.put_locks(&[lock(1, 1)]).await.unwrap();
}
