//! Opening the file, making it, and bringing an older one up to date.
use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use redb::backends::InMemoryBackend;
use redb::{Builder, Database, DatabaseError, ReadableDatabase as _, ReadableTable as _};
use redb::{ReadableTableMetadata as _, TableDefinition, WriteTransaction};

use super::tables::{
    ALARMS, BLOBS, BUCKETS, Broken, COUNTERS, EPOCH, LOCK_ORDER, LOCK_SEQUENCE, LOCKS, META,
    SCHEMA_KEY, lock_row, lock_state, register,
};
use crate::store::LOCK_VALUE_MAX;
use crate::store::fault::StoreFault;
use crate::store::key::LockKey;

/// The file's name in the state directory.
pub const FILE_NAME: &str = "store.redb";
const NEW_NAME: &str = "store.redb.new";
const LOCK_NAME: &str = "store.lock";
/// The layout that this version writes.
pub(in crate::store) const SCHEMA: u32 = 1;
/// Memory for pages.
const CACHE_BYTES: usize = 16 << 20;

/// Layout 0: locks by key, without the order of their changes.
pub(in crate::store) const LOCKS_V0: TableDefinition<'_, &[u8], &[u8]> =
    TableDefinition::new("lock");

/// A process that ends may leave the file to a child of its own for a moment: between `fork` and
/// `exec` a child holds all that its parent held.
const HOLD_TRIES: u32 = 20;
const HOLD_PAUSE: Duration = Duration::from_millis(50);

/// Opens the file; called again after it failed.
pub(in crate::store) type Opener = Box<dyn FnMut() -> Result<Database, OpenFault> + Send>;

/// How closely a file is looked at when it is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// All of it is read.
    Whole,
    /// It was closed in order by a process that said so a moment ago.
    AsLeft,
}

/// Why there is no store. The file is left as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenFault {
    /// Another process has it open.
    InUse,
    /// A newer version of this program has written it.
    Newer {
        /// The layout that was found.
        found: u64,
    },
    /// It is damaged or cut short.
    Corrupt,
    /// It is a file of something else.
    NotAStore,
    /// The file or its directory may not be read or written.
    Permission,
    /// The disk failed, or is full.
    Disk,
}

impl fmt::Display for OpenFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse => f.write_str("another process has the store open"),
            Self::Newer { found } => write!(
                f,
                "the store has layout {found}, written by a newer version; this one knows up to {SCHEMA}"
            ),
            Self::Corrupt => f.write_str(
                "the store is damaged or cut short; restore it from a backup, or move it away to begin without locks and histories",
            ),
            Self::NotAStore => f.write_str("the file is not a store of this program"),
            Self::Permission => f.write_str("the store may not be read and written"),
            Self::Disk => f.write_str("the disk failed or is full"),
        }
    }
}

impl std::error::Error for OpenFault {}

impl OpenFault {
    pub(super) const fn as_store_fault(self) -> StoreFault {
        match self {
            Self::InUse | Self::Permission | Self::Disk => StoreFault::Disk,
            Self::Newer { .. } => StoreFault::Newer,
            Self::Corrupt | Self::NotAStore => StoreFault::Corrupt,
        }
    }

    fn of_io(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::PermissionDenied => Self::Permission,
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => Self::Corrupt,
            _ => Self::Disk,
        }
    }
}

impl From<DatabaseError> for OpenFault {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::DatabaseAlreadyOpen => Self::InUse,
            DatabaseError::Storage(redb::StorageError::Io(error)) => Self::of_io(&error),
            DatabaseError::Storage(redb::StorageError::Corrupted(_)) => Self::Corrupt,
            DatabaseError::UpgradeRequired(_) => Self::NotAStore,
            _ => Self::Disk,
        }
    }
}

impl From<Broken> for OpenFault {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Corrupt => Self::Corrupt,
            Broken::Disk => Self::Disk,
        }
    }
}

/// Tries again for a while if someone else has it.
fn patiently<T>(mut open: impl FnMut() -> Result<T, OpenFault>) -> Result<T, OpenFault> {
    for _ in 1..HOLD_TRIES {
        match open() {
            Err(OpenFault::InUse) => std::thread::sleep(HOLD_PAUSE),
            outcome => return outcome,
        }
    }
    open()
}

/// Keeps other processes away from the directory's store, also while there is no file yet.
#[derive(Debug)]
pub(in crate::store) struct Hold(#[expect(dead_code, reason = "closing it lets go")] File);

impl Hold {
    pub(super) fn take(dir: &Path) -> Result<Self, OpenFault> {
        let file = owned_file(&dir.join(LOCK_NAME)).map_err(|error| OpenFault::of_io(&error))?;
        patiently(|| match file.try_lock() {
            Ok(()) => Ok(()),
            Err(TryLockError::WouldBlock) => Err(OpenFault::InUse),
            Err(TryLockError::Error(error)) => Err(OpenFault::of_io(&error)),
        })?;
        Ok(Self(file))
    }
}

/// Opens or makes a file that only its owner may read.
fn owned_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// The path of the store's file. A new one gets its name only when it is whole, so a file of that
/// name that is empty or cut short has been damaged.
pub(super) fn prepare(dir: &Path) -> Result<PathBuf, OpenFault> {
    let io = |error: io::Error| OpenFault::of_io(&error);
    let path = dir.join(FILE_NAME);
    if !path.try_exists().map_err(io)? {
        let new = dir.join(NEW_NAME);
        match std::fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io(error)),
            Ok(()) | Err(_) => {}
        }
        drop(owned_file(&new).map_err(io)?);
        let db = builder(Look::Whole).create(&new)?;
        found(&db)?;
        drop(db);
        std::fs::rename(&new, &path).map_err(io)?;
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(io)?;
    }
    Ok(path)
}

fn builder(look: Look) -> Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(look == Look::Whole);
    builder
}

/// An empty store without a file.
pub(super) fn in_memory() -> Result<Database, OpenFault> {
    let db = builder(Look::Whole).create_with_backend(InMemoryBackend::new())?;
    found(&db)?;
    Ok(db)
}

/// Writes an empty store into an empty database.
pub(in crate::store) fn found(db: &Database) -> Result<(), OpenFault> {
    let mut random = [0; 8];
    aws_lc_rs::rand::fill(&mut random).map_err(|_unspecified| OpenFault::Disk)?;
    let begin = || {
        let mut txn = db.begin_write()?;
        txn.set_quick_repair(true);
        create_tables(&txn)?;
        let mut meta = txn.open_table(META)?;
        // Zero stands for the cursor before the first change.
        meta.insert(EPOCH, u64::from_be_bytes(random).max(1))?;
        meta.insert(SCHEMA_KEY, u64::from(SCHEMA))?;
        drop(meta);
        txn.commit()?;
        Ok::<_, Broken>(())
    };
    Ok(begin()?)
}

fn create_tables(txn: &WriteTransaction) -> Result<(), Broken> {
    txn.open_table(LOCKS)?;
    txn.open_table(LOCK_ORDER)?;
    txn.open_table(BUCKETS)?;
    txn.open_table(COUNTERS)?;
    txn.open_table(BLOBS)?;
    txn.open_table(ALARMS)?;
    Ok(())
}

/// Opens an existing file, checks all of it, and brings it up to date.
pub(super) fn open_file(path: &Path, look: Look) -> Result<Database, OpenFault> {
    let length = std::fs::metadata(path).map_err(|error| OpenFault::of_io(&error))?.len();
    if length == 0 {
        return Err(OpenFault::Corrupt);
    }
    check(patiently(|| Ok(builder(look).open(path)?))?)
}

/// Checks the rows and brings an older layout up to date.
pub(in crate::store) fn check(db: Database) -> Result<Database, OpenFault> {
    match schema(&db)? {
        0 => migrate_from_0(&db)?,
        found if found == u64::from(SCHEMA) => {}
        found => return Err(OpenFault::Newer { found }),
    }
    check_locks(&db)?;
    Ok(db)
}

fn schema(db: &Database) -> Result<u64, OpenFault> {
    let read = || {
        let txn = db.begin_read()?;
        let meta = match txn.open_table(META) {
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
            meta => meta?,
        };
        Ok::<_, Broken>(meta.get(SCHEMA_KEY)?.map(|found| found.value()))
    };
    read()?.ok_or(OpenFault::NotAStore)
}

/// The store's epoch.
pub(super) fn epoch(db: &Database) -> Result<u64, OpenFault> {
    let read = || {
        let meta = db.begin_read()?.open_table(META)?;
        let epoch = meta.get(EPOCH)?.map(|epoch| epoch.value());
        epoch.ok_or(Broken::Corrupt)
    };
    Ok(read()?)
}

/// Gives every lock a place in the order of changes. All in one transaction: a crash leaves layout 0.
fn migrate_from_0(db: &Database) -> Result<(), Broken> {
    let mut txn = db.begin_write()?;
    txn.set_quick_repair(true);
    create_tables(&txn)?;
    {
        let old = txn.open_table(LOCKS_V0)?;
        let mut locks = txn.open_table(LOCKS)?;
        let mut order = txn.open_table(LOCK_ORDER)?;
        let mut sequence = 0_u64;
        for entry in old.iter()? {
            let (key, state) = entry?;
            let state = register(state.value(), LOCK_VALUE_MAX)?;
            sequence = sequence.saturating_add(1);
            locks.insert(key.value(), &lock_row(sequence, &state)[..])?;
            order.insert(sequence, key.value())?;
        }
        let mut meta = txn.open_table(META)?;
        meta.insert(LOCK_SEQUENCE, sequence)?;
        meta.insert(SCHEMA_KEY, u64::from(SCHEMA))?;
    }
    txn.delete_table(LOCKS_V0)?;
    txn.commit()?;
    Ok(())
}

/// Every lock can be read, and none is left out of the order: a lock that could not be found would
/// be a lock that does not hold.
fn check_locks(db: &Database) -> Result<(), Broken> {
    let txn = db.begin_read()?;
    let (locks, order) = (txn.open_table(LOCKS)?, txn.open_table(LOCK_ORDER)?);
    if locks.len()? != order.len()? {
        return Err(Broken::Corrupt);
    }
    for entry in locks.iter()? {
        let (key, row) = entry?;
        LockKey::decode(key.value()).map_err(|_| Broken::Corrupt)?;
        let (sequence, _state) = lock_state(row.value())?;
        if order.get(sequence)?.is_none_or(|at| at.value() != key.value()) {
            return Err(Broken::Corrupt);
        }
    }
    Ok(())
}
