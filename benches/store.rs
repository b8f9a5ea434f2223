//! What the embedded store and its records cost: `cargo bench --bench store`.
#![allow(clippy::unwrap_used, reason = "a benchmark panics to fail")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use divan::{Bencher, black_box};
use sekisho::base::{Clock, Name, Secret};
use sekisho::store::bucket::{Asked, grant};
use sekisho::store::{
    Ask, Blob, BlobKey, Embedded, Gateway, KeyId, LeaseKey, LockKey, LockRecord, Metered, Rate,
    Register, Scope, SharedSecret, Shelf, Store as _,
};
use tokio::runtime::Runtime;

fn main() {
    divan::main();
}

fn secret() -> SharedSecret {
    SharedSecret::derive(&Secret::new([3; 32]), &Name::parse("bench").unwrap())
}

fn lock(number: u64, version: u64) -> LockRecord {
    let id = KeyId::of(&secret(), "identity", &number.to_be_bytes());
    let key = LockKey { scope: Scope::Identity, id, by: Gateway(1), slot: 0 };
    LockRecord { key, state: Register { version, rank: 1, value: vec![7; 100] } }
}

/// A store in a directory that is gone afterwards.
struct Bench {
    dir: PathBuf,
    runtime: Runtime,
    store: Option<Arc<Embedded>>,
    clock: Clock,
}

impl Bench {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("sekisho-bench-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let clock = Clock::system();
        let mut bench = Self { dir, runtime: Runtime::new().unwrap(), store: None, clock };
        bench.open();
        bench
    }

    fn open(&mut self) {
        self.store = None;
        let store = Embedded::open(&self.dir, Gateway(1), self.clock.now()).unwrap();
        self.store = Some(Arc::new(store));
    }

    fn store(&self) -> &Arc<Embedded> {
        self.store.as_ref().unwrap()
    }

    fn fill(&self, locks: u64) {
        let records: Vec<_> = (0..locks).map(|number| lock(number, 1)).collect();
        self.runtime.block_on(async {
            for page in records.chunks(256) {
                self.store().put_locks(page).await.unwrap();
            }
        });
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.store = None;
        let _left = std::fs::remove_dir_all(&self.dir);
    }
}

#[divan::bench]
fn register_read(bencher: Bencher<'_, '_>) {
    let bytes = lock(1, 1).state.encode();
    bencher.bench(|| Register::decode(black_box(&bytes), 512));
}

#[divan::bench]
fn key_hashed(bencher: Bencher<'_, '_>) {
    let secret = secret();
    bencher.bench(|| KeyId::of(black_box(&secret), "identity", b"label-printer"));
}

#[divan::bench]
fn quota_granted(bencher: Bencher<'_, '_>) {
    let key = LeaseKey { of: Metered::Identity, id: lock(1, 1).key.id, window: 0 };
    let ask = Ask {
        key,
        rate: Rate::new(Duration::from_secs(1), 100).unwrap(),
        wanted: 5,
        debt: 0,
        returned: 0,
        late: Duration::ZERO,
    };
    let asked = Asked { by: Gateway(1), peers: 2, now_us: 1 << 50, reborn_us: None };
    bencher.bench(|| grant(None, black_box(&ask), black_box(&asked)));
}

/// One lock, on disk.
#[divan::bench(sample_count = 50, sample_size = 1)]
fn lock_put(bencher: Bencher<'_, '_>) {
    let bench = Bench::new("put");
    let mut version = 0;
    bencher.bench_local(|| {
        version += 1;
        bench.runtime.block_on(bench.store().put_locks(&[lock(1, version)])).unwrap();
    });
}

/// 512 locks from 512 callers at once, on disk: one commit carries many.
#[divan::bench(sample_count = 20, sample_size = 1)]
fn locks_put_by_512_callers(bencher: Bencher<'_, '_>) {
    let bench = Bench::new("many");
    let mut version = 0;
    bencher.counter(512_u32).bench_local(|| {
        version += 1;
        bench.runtime.block_on(async {
            let mut calls = tokio::task::JoinSet::new();
            for number in 0..512 {
                let store = Arc::clone(bench.store());
                calls
                    .spawn(async move { store.put_locks(&[lock(number, version)]).await.unwrap() });
            }
            calls.join_all().await;
        });
    });
}

/// So many pieces of memory of a kilobyte, on disk: as many as a round writes down in one commit, which
/// a lock that comes meanwhile waits for.
#[divan::bench(args = [1_u32, 512, 4_096], sample_count = 20, sample_size = 1)]
fn blobs_put_together(bencher: Bencher<'_, '_>, pieces: u32) {
    let bench = Bench::new("blobs");
    let mut version = 0;
    bencher.counter(pieces).bench_local(|| {
        version += 1;
        let blob = |part| Blob {
            key: BlobKey { shelf: Shelf::Baseline, id: lock(u64::from(part), 1).key.id, part: 0 },
            state: Register { version, rank: 1, value: vec![7; 1_000] },
        };
        let blobs: Arc<[Blob]> = (0..pieces).map(blob).collect();
        bench.runtime.block_on(bench.store().put_blobs(blobs)).unwrap();
    });
}

/// Nothing new: what a poll costs.
#[divan::bench]
fn poll(bencher: Bencher<'_, '_>) {
    let bench = Bench::new("poll");
    bench.fill(10_000);
    let cursor = bench.runtime.block_on(async {
        let mut cursor = sekisho::store::Cursor::START;
        loop {
            let page = bench.store().locks_since(cursor).await.unwrap();
            cursor = page.next;
            if !page.more {
                return cursor;
            }
        }
    });
    bencher.bench_local(|| bench.runtime.block_on(bench.store().locks_since(cursor)).unwrap());
}

/// A start with so many locks: every page and every lock is checked.
#[divan::bench(args = [1_000_u64, 100_000], sample_count = 5, sample_size = 1)]
fn opened(bencher: Bencher<'_, '_>, locks: u64) {
    let mut bench = Bench::new("open");
    bench.fill(locks);
    bencher.bench_local(|| bench.open());
}
