//! What gateways must not forget, and what several of them share: locks, spent quotas, counters,
//! histories, alarms that nobody was told yet. Controls: ACC-2, ACC-5, MON-7, PRIV-5.
//!
//! Decides: which of two versions of a value wins ([`Register`]), how much of a shared quota a
//! gateway may spend ([`bucket`]), and what holds while the store can't be had ([`allowance`]). These
//! are pure. The rest keeps bytes: in a file ([`Embedded`]), in Redis or Valkey ([`Remote`]), or in
//! both ([`Shared`]).
//! Never sees: names of people, addresses, order ids. A key is made of numbers and keyed hashes
//! ([`KeyId`]); a value is bytes that a pure room made and alone can read.
//! 1. What was acknowledged is on disk, and no crash, restart or empty server takes it back.
//! 2. Values merge: the greater version wins, and of two equal ones the stricter. So a release can
//!    only come from someone who has seen the lock, and the order of arrival is of no importance.
//! 3. Every number of things is bounded, every wait has an end, everything read is checked. What
//!    Redis says is believed only under a code that Redis can't make ([`SharedSecret`]).
//! 4. A store that has forgotten is assumed to have been asked for everything: quotas start empty.
//! 5. A file that is damaged, cut short or of a newer version is refused, never replaced.
//!
//! On failure: a closed [`StoreFault`], told by [`Store::condition`] until it heals by itself. Known
//! locks hold, quotas fall to a share of the limit, nothing opens.
mod bell;
pub mod bucket;
mod embedded;
mod exchange;
mod fault;
mod key;
mod register;
mod remote;
mod seal;
mod shared;
mod stance;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::base::Moment;

pub use bell::{Bell, Ringing};
pub use bucket::{Ask, Holder, Lease, Rate, RateFault};
pub use embedded::{Embedded, FILE_NAME, Look, OpenFault};
pub use exchange::Exchange;
pub use fault::{Condition, StoreFault};
pub use key::{
    BlobKey, CounterKey, Gateway, KeyFault, KeyId, LeaseKey, LockKey, Metered, Scope, Shelf,
    Tallied,
};
pub use register::{DecodeFault, RANK_RELEASED, Register, VALUE_MAX};
pub use remote::{
    Endpoint, EndpointFault, Login, MEMBER_FOR, Memory, RIGHTS, Remote, RemoteSettings, TlsFiles,
};
pub use seal::SharedSecret;
pub use shared::Shared;
pub use stance::{Allowance, Peers, Sight, allowance};

/// The most bytes a lock's value may have.
pub const LOCK_VALUE_MAX: usize = 1_024;
/// The most locks in one call of [`Store::put_locks`], and on one page of [`Store::locks_since`].
pub const PAGE_MAX: usize = 256;
/// Locks and releases that a store keeps at most, together.
pub const LOCKS_MAX: u64 = 1_000_000;
/// The most blobs on one page of [`Store::scan_blobs`]; they may be large.
pub const BLOB_PAGE_MAX: usize = 16;
/// The most bytes an alarm may have.
pub const ALARM_MAX: usize = 2_048;
/// Alarms that wait at most; the first ones tell how it began, so they stay and later ones are
/// counted only.
pub const ALARMS_MAX: u64 = 10_000;

/// One lock, or its release, as one gateway wrote it. Nobody else writes under the same key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockRecord {
    pub key: LockKey,
    /// At most [`LOCK_VALUE_MAX`] bytes of value.
    pub state: Register,
}

impl LockRecord {
    /// Whether it is one of those that strangers can have as many of as they like: a lock on a source,
    /// but not its release.
    #[must_use]
    pub fn is_of_crowd(&self) -> bool {
        self.key.scope == Scope::Source && !self.state.is_release()
    }
}

/// How many locks there may be, of `most`, for these to be taken in: where one of them is of the crowd, a
/// tenth stays for those that are not.
fn room_for(locks: &[LockRecord], most: u64) -> u64 {
    if locks.iter().any(LockRecord::is_of_crowd) { most.saturating_sub(most / 10) } else { most }
}

/// How far a reader of lock changes has come. Means nothing to another store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    epoch: u64,
    sequence: u64,
}

impl Cursor {
    /// Before the first change.
    pub const START: Self = Self { epoch: 0, sequence: 0 };
}

/// Lock changes in the order in which they came; of several to one key, the last.
#[derive(Clone, Debug)]
pub struct LockPage {
    pub records: Vec<LockRecord>,
    /// Where the next page begins.
    pub next: Cursor,
    /// There is more to be had at once.
    pub more: bool,
    /// Records that were not what a gateway had written. They are left out.
    pub forged: usize,
}

/// A versioned value for a baseline or a ledger page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    pub key: BlobKey,
    /// At most [`VALUE_MAX`] bytes of value.
    pub state: Register,
}

/// What became of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    Stored,
    /// What is there is as new or newer; it stays.
    Stale,
}

/// How far a lock has come when [`Store::put_locks`] returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    Everywhere,
    /// It holds here and is on disk; the others learn of it when the store can be had again.
    HereOnly,
}

/// An alarm in the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// Rises with every alarm; not without gaps.
    pub sequence: u64,
    pub body: Vec<u8>,
}

/// The front of the queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlarmPage {
    pub alarms: Vec<Alarm>,
    /// Alarms that found the queue full, ever.
    pub lost: u64,
}

/// What the store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Version of the layout.
    pub schema: u32,
    /// A random number that is another after the store has lost what it knew.
    pub epoch: u64,
}

/// The verbs. Nothing here is called while a request waits, except [`lease`](Self::lease) where a
/// gateway has no unit of a quota. None has a default: a store in front of another would have that one
/// in place of the other's.
#[async_trait]
pub trait Store: Send + Sync + fmt::Debug {
    /// Merges locks into what is known and returns when they can't be lost any more. At most
    /// [`PAGE_MAX`] at a time; all are taken or none. [`StoreFault::Full`] once [`LOCKS_MAX`] are there;
    /// for locks of the [crowd](LockRecord::is_of_crowd) earlier.
    async fn put_locks(&self, locks: &[LockRecord]) -> Result<Reach, StoreFault>;

    /// Takes away the locks among these, at most [`PAGE_MAX`], that are still as they are given. Each
    /// must say nothing any more on any gateway: one that knows it yet may bring it back.
    async fn forget_locks(&self, locks: &[LockRecord]) -> Result<(), StoreFault>;

    /// The next page of changes. Begins from the start if the store has forgotten since `cursor`.
    async fn locks_since(&self, cursor: Cursor) -> Result<LockPage, StoreFault>;

    /// Rings when there may be lock changes to read: on each change, and once more from time to
    /// time, at most a second apart where other gateways write, should a ring have been missed.
    fn bell(&self) -> Ringing;

    /// Takes up to `ask.wanted` units from a quota that gateways share. Never grants more than was
    /// wanted. `now` is used where the store has no clock of its own.
    async fn lease(&self, ask: Ask, now: Moment) -> Result<Lease, StoreFault>;

    /// Adds to a counter, which is forgotten when it was not added to for `keep`; tells the sum.
    /// Sums stop at `i64::MAX`.
    async fn count(
        &self,
        key: CounterKey,
        add: u32,
        keep: Duration,
        now: Moment,
    ) -> Result<u64, StoreFault>;

    async fn put_blob(&self, blob: &Blob) -> Result<Put, StoreFault>;

    /// As [`put_blob`](Self::put_blob) for each of them, and returns when all that were taken can't be
    /// lost any more.
    async fn put_blobs(
        &self,
        blobs: Arc<[Blob]>,
    ) -> Result<Vec<Result<Put, StoreFault>>, StoreFault>;

    async fn blob(&self, key: BlobKey) -> Result<Option<Register>, StoreFault>;

    /// Blobs of one shelf in the order of their keys, from the one after `after`; at most
    /// [`BLOB_PAGE_MAX`].
    async fn scan_blobs(&self, on: Shelf, after: Option<BlobKey>) -> Result<Vec<Blob>, StoreFault>;

    /// Takes a blob away, whatever its version; one that is not there is away already.
    async fn forget_blob(&self, key: BlobKey) -> Result<(), StoreFault>;

    /// Queues an alarm; [`StoreFault::Full`] once [`ALARMS_MAX`] wait, and the loss is counted.
    async fn push_alarm(&self, body: &[u8]) -> Result<u64, StoreFault>;

    /// The oldest alarms after `after` that nobody acknowledged, at most [`BLOB_PAGE_MAX`]. Zero is
    /// before the first.
    async fn peek_alarms(&self, after: u64) -> Result<AlarmPage, StoreFault>;

    /// Alarms up to and including this one have been delivered.
    async fn ack_alarms(&self, sequence: u64) -> Result<(), StoreFault>;

    /// Who shares this store now. A gateway that stays silent for [`MEMBER_FOR`] is gone.
    async fn peers(&self) -> Result<Peers, StoreFault>;

    async fn meta(&self) -> Result<Meta, StoreFault>;

    /// Returns when everything that was asked before is done.
    async fn flush(&self) -> Result<(), StoreFault>;

    /// How often a record was found on a server that no gateway wrote, since the start.
    fn forged(&self) -> u64;

    /// Whether there are locks that have not come as far as they should, for want of room.
    fn lacks_room(&self) -> bool;

    /// Whether the store can be had, and if not, why.
    fn condition(&self) -> tokio::sync::watch::Receiver<Condition>;
}

#[cfg(test)]
mod tests;
