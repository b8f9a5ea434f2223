//! The shared state, against real files and real servers.
/// A figure for whoever runs the tests with `--nocapture`.
macro_rules! figure {
    ($($words:tt)*) => {{
        #[expect(clippy::disallowed_macros, reason = "a test's own figures")]
        {
            println!($($words)*);
        }
    }};
}

mod chaos;
mod contract;
mod crowd;
mod file;
pub(crate) mod hostile;
mod lease;
pub(crate) mod redis;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sekisho::base::{Clock, Moment};
use sekisho::store::{
    Condition, Cursor, Embedded, Gateway, KeyId, LockKey, LockRecord, Register, Scope, Store,
    StoreFault,
};

/// A directory of a test's own, gone with it.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("sekisho-store-{}-{number}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _left = std::fs::remove_dir_all(&self.0);
    }
}

/// The longest that anything here is waited for; no test passes by waiting so long.
const DEADLINE: Duration = Duration::from_secs(20);

/// Waits until it is so.
pub(super) async fn eventually<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) {
    let tries = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(DEADLINE, tries).await.is_ok(), "not in time: {what}");
}

/// Waits for a condition of the store.
pub(super) async fn until(store: &dyn Store, wanted: impl Fn(Condition) -> bool) -> Condition {
    let mut condition = store.condition();
    let waiting = condition.wait_for(|now| wanted(*now));
    let seen = tokio::time::timeout(DEADLINE, waiting).await;
    *seen.unwrap_or_else(|_| panic!("still {:?}", *store.condition().borrow())).unwrap()
}

pub(crate) async fn sound(store: &dyn Store) {
    until(store, |condition| condition == Condition::Sound).await;
}

/// One clock for all tests, as there is one in a process.
pub(crate) fn now() -> Moment {
    static CLOCK: LazyLock<Clock> = LazyLock::new(Clock::system);
    CLOCK.now()
}

pub(crate) fn id(name: &str) -> KeyId {
    KeyId::of(&redis::secret(redis::ENVIRONMENT), "identity", name.as_bytes())
}

pub(super) fn lock_key(name: &str, by: u16) -> LockKey {
    LockKey { scope: Scope::Identity, id: id(name), by: Gateway(by), slot: 0 }
}

pub(super) fn lock(name: &str, by: u16, version: u64, rank: u8) -> LockRecord {
    let value = format!("{name} {version}").into_bytes();
    LockRecord { key: lock_key(name, by), state: Register { version, rank, value } }
}

/// All locks that the store knows, page by page.
pub(super) async fn all_locks(store: &dyn Store) -> Vec<LockRecord> {
    locks_of(store).await.unwrap()
}

/// The same of a store that may be out of reach.
pub(super) async fn locks_of(store: &dyn Store) -> Result<Vec<LockRecord>, StoreFault> {
    let (mut cursor, mut all) = (Cursor::START, Vec::new());
    loop {
        let page = store.locks_since(cursor).await?;
        all.extend(page.records);
        cursor = page.next;
        if !page.more {
            return Ok(all);
        }
    }
}

/// What the store knows of one lock.
pub(super) async fn known(store: &dyn Store, key: LockKey) -> Option<Register> {
    let all = all_locks(store).await;
    all.into_iter().find(|lock| lock.key == key).map(|lock| lock.state)
}

pub(super) fn embedded(dir: &Scratch, gateway: u16) -> Embedded {
    Embedded::open(dir.path(), Gateway(gateway), now()).unwrap()
}
