use std::path::Path;

use redb::{Database, ReadableDatabase as _};

use crate::base::Moment;
use crate::store::FILE_NAME;
use crate::store::embedded::open::{LOCKS_V0, SCHEMA};
use crate::store::embedded::tables::{EPOCH, META, SCHEMA_KEY};
use crate::store::tests::failing::{all, lock, scratch};
use crate::store::{Embedded, Gateway, OpenFault, Store as _};

fn open(dir: &Path) -> Result<Embedded, OpenFault> {
    Embedded::open(dir, Gateway(1), Moment::new(1_800_000_000_000, 0))
}

/// A file as the first layout was: locks by key, no order.
fn write_v0(dir: &Path, locks: u64, damaged: bool) {
    let db = Database::create(dir.join(FILE_NAME)).unwrap();
    let txn = db.begin_write().unwrap();
    {
        let mut meta = txn.open_table(META).unwrap();
        meta.insert(SCHEMA_KEY, 0).unwrap();
        meta.insert(EPOCH, 77).unwrap();
        let mut table = txn.open_table(LOCKS_V0).unwrap();
        for number in 0..locks {
            let lock = lock(number, 4);
            table.insert(&lock.key.encode()[..], &lock.state.encode()[..]).unwrap();
        }
        if damaged {
            table.insert(&lock(locks, 4).key.encode()[..], &b"\x01cut"[..]).unwrap();
        }
    }
    txn.commit().unwrap();
}

#[tokio::test]
async fn acc_2_an_older_layout_is_brought_up_to_date() {
    let dir = scratch();
    write_v0(&dir, 300, false);
    let store = open(&dir).unwrap();
    let mut locks = all(&store).await;
    locks.sort_by_key(|lock| lock.key);
    let mut expected: Vec<_> = (0..300).map(|number| lock(number, 4)).collect();
    expected.sort_by_key(|lock| lock.key);
    assert_eq!(locks, expected);
    let meta = store.meta().await.unwrap();
    assert_eq!((meta.schema, meta.epoch), (SCHEMA, 77), "the same store, not a new one");
    store.put_locks(&[lock(3, 5)]).await.unwrap();
    drop(store);
    assert_eq!(all(&open(&dir).unwrap()).await.len(), 300);
    // A lock that can't be read stops the whole, which stays as it was.
    let dir = scratch();
    write_v0(&dir, 3, true);
    let before = std::fs::read(dir.join(FILE_NAME)).unwrap();
    for _ in 0..2 {
        assert_eq!(open(&dir).unwrap_err(), OpenFault::Corrupt);
    }
    assert_eq!(std::fs::read(dir.join(FILE_NAME)).unwrap().len(), before.len());
}

#[test]
fn acc_2_a_newer_layout_and_another_programs_file_are_refused() {
    let dir = scratch();
    drop(open(&dir).unwrap());
    let db = Database::create(dir.join(FILE_NAME)).unwrap();
    let txn = db.begin_write().unwrap();
    txn.open_table(META).unwrap().insert(SCHEMA_KEY, 2).unwrap();
    txn.commit().unwrap();
    drop(db);
    assert_eq!(open(&dir).unwrap_err(), OpenFault::Newer { found: 2 });
    // Still what it was.
    let db = Database::create(dir.join(FILE_NAME)).unwrap();
    let meta = db.begin_read().unwrap().open_table(META).unwrap();
    assert_eq!(meta.get(SCHEMA_KEY).unwrap().unwrap().value(), 2);
    let dir = scratch();
    drop(Database::create(dir.join(FILE_NAME)).unwrap());
    assert_eq!(open(&dir).unwrap_err(), OpenFault::NotAStore);
    let text = OpenFault::Newer { found: 2 }.to_string();
    assert!(text.contains("layout 2") && text.contains("newer"), "{text}");
}

/// Killed while it made its first file: the next start makes it anew.
#[test]
fn acc_2_a_file_that_was_never_finished_is_no_store() {
    let dir = scratch();
    std::fs::write(dir.join("store.redb.new"), b"half").unwrap();
    drop(open(&dir).unwrap());
    assert!(!dir.join("store.redb.new").exists());
    assert!(open(&dir.join("missing")).is_err());
}
