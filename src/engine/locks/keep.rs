//! Keeps the store in step with the table: what is new is written down, and what says nothing any more is
//! taken away (ACC-2, ACC-5).
use std::collections::BTreeSet;
use std::time::Duration;

use super::Locks;
use crate::base::Moment;
use crate::engine::Engine;
use crate::engine::subjects::place;
use crate::evidence::{Event, Fixed};
use crate::lockout::{LockTable, Part, Subject};
use crate::store::{Cursor, Gateway, LockKey, LockRecord, PAGE_MAX, Reach, Register, StoreFault};

/// Until locks that could not be written down are tried again.
const TRY_AGAIN: Duration = Duration::from_millis(500);
/// How often attempts during locks are written down.
const ATTEMPTS_EVERY: Duration = Duration::from_secs(2);
/// How often it is looked what is to be taken away; and where there is no room, at the earliest.
const SWEEP_EVERY: Duration = Duration::from_secs(600);
const SWEEP_AGAIN: Duration = Duration::from_secs(60);

/// How far locks have come that were to be written down.
#[derive(Clone, Copy)]
pub(in crate::engine) struct Written {
    rest: Reach,
    /// Those that strangers can have as many of as they like.
    crowd: Result<Reach, StoreFault>,
}

impl Written {
    pub(super) const EVERYWHERE: Self =
        Self { rest: Reach::Everywhere, crowd: Ok(Reach::Everywhere) };

    /// How far that has come which is about one subject.
    pub(in crate::engine) fn about(self, subject: &Subject) -> Result<Reach, StoreFault> {
        match (subject, self.rest) {
            (Subject::Source(_), Reach::Everywhere) => self.crowd,
            (_, rest) => Ok(rest),
        }
    }
}
/// Subjects that are being written down. Until they are, they stay to be written, even if whoever
/// waited for it goes away in the middle.
struct Unwritten<'l> {
    locks: &'l Locks,
    subjects: BTreeSet<Subject>,
}

impl Drop for Unwritten<'_> {
    fn drop(&mut self) {
        if !self.subjects.is_empty() {
            self.locks.book.lock().dirty.append(&mut self.subjects);
            self.locks.unwritten.notify_one();
        }
    }
}

impl Locks {
    /// Writes down what is not written yet.
    pub(in crate::engine) async fn write(&self) -> Result<Written, StoreFault> {
        let mut reached = self.writing.lock().await;
        let mut unwritten =
            Unwritten { locks: self, subjects: std::mem::take(&mut self.book.lock().dirty) };
        let records: Vec<LockRecord> = {
            let book = self.book.lock();
            unwritten
                .subjects
                .iter()
                .flat_map(|subject| self.records(&book.table, subject))
                .collect()
        };
        if records.is_empty() {
            unwritten.subjects.clear();
            return Ok(*reached);
        }
        // Where there is no room for what strangers bring about, there is for what people do.
        let (crowd, rest): (Vec<_>, Vec<_>) =
            records.into_iter().partition(LockRecord::is_of_crowd);
        let rest = self.put(&rest).await?;
        let crowd = self.put(&crowd).await;
        match crowd {
            Ok(_) => unwritten.subjects.clear(),
            Err(_) => unwritten.subjects.retain(|subject| matches!(subject, Subject::Source(_))),
        }
        *reached = Written { rest, crowd };
        Ok(*reached)
    }

    async fn put(&self, records: &[LockRecord]) -> Result<Reach, StoreFault> {
        let mut reach = Reach::Everywhere;
        for page in records.chunks(PAGE_MAX) {
            match self.store.put_locks(page).await? {
                Reach::Everywhere => {}
                Reach::HereOnly => reach = Reach::HereOnly,
            }
        }
        Ok(reach)
    }

    /// Goes through all that is written down, and takes away what is not to `stay`.
    pub(super) async fn walk(
        &self,
        mut stay: impl FnMut(&mut LockTable, &LockRecord) -> bool,
    ) -> Result<(), StoreFault> {
        let mut cursor = Cursor::START;
        loop {
            let mut page = self.store.locks_since(cursor).await?;
            {
                let table = &mut self.book.lock().table;
                page.records.retain(|record| !stay(table, record));
            }
            if !page.records.is_empty() {
                self.store.forget_locks(&page.records).await?;
            }
            cursor = page.next;
            if !page.more {
                return Ok(());
            }
        }
    }

    /// Takes away what says nothing any more on any gateway. Whoever was ever released keeps all that was
    /// written of it: without that a gateway that comes back could bring what the release has ended.
    async fn sweep(&self, now: Moment) -> Result<(), StoreFault> {
        let (mut released, mut unreadable) = (BTreeSet::new(), false);
        self.walk(|_, record| {
            if record.key.slot == Part::RELEASES {
                match LockTable::subject_of(&record.state.value, now) {
                    Ok(subject) => drop(released.insert(subject)),
                    Err(_newer) => unreadable = true,
                }
            }
            true
        })
        .await?;
        if unreadable {
            return Ok(());
        }
        self.walk(|table, record| {
            table.spent(&record.state.value, now).is_none_or(|subject| released.contains(&subject))
        })
        .await
    }

    fn records(&self, table: &LockTable, subject: &Subject) -> Vec<LockRecord> {
        let record = |part: Part| {
            let (scope, id) = place(&self.secret, subject, part.of.as_ref());
            LockRecord {
                key: LockKey { scope, id, by: Gateway(self.me.0), slot: part.slot },
                state: Register { version: part.version, rank: part.rank, value: part.bytes },
            }
        };
        table.parts(subject, self.me).into_iter().map(record).collect()
    }
}

impl Engine {
    /// Keeps the store in step with the table, for as long as it is polled.
    pub async fn keep_locks(&self) {
        tokio::join!(self.keep_written(), self.keep_swept());
    }

    async fn keep_written(&self) {
        let mut failing = false;
        loop {
            // Attempts during locks wake nobody; they are written with the next lock, or soon.
            let _ = tokio::time::timeout(ATTEMPTS_EVERY, self.locks.unwritten.notified()).await;
            let written = self.locks.write().await.and_then(|written| written.crowd);
            self.locks.tidy(self.clock.now());
            // Locks that are on disk here and have no room where the other gateways learn of them.
            let untold = self.locks.store.lacks_room().then_some(StoreFault::Full);
            let fault = written.err().or(untold);
            match (fault, failing) {
                (None, true) => self.report_event(&Event::LocksKept),
                (Some(fault), false) => {
                    let fault = Fixed::new(fault.word());
                    self.report_event(&Event::LocksUnkept { fault });
                }
                (None, false) | (Some(_), true) => {}
            }
            failing = fault.is_some();
            if fault == Some(StoreFault::Full) {
                self.locks.crowded.notify_one();
            }
            if written.is_err() {
                tokio::time::sleep(TRY_AGAIN).await;
            }
        }
    }

    async fn keep_swept(&self) {
        loop {
            // What can't be taken away now is found again.
            let _ = self.sweep_locks().await;
            tokio::time::sleep(SWEEP_AGAIN).await;
            let crowded = self.locks.crowded.notified();
            let _ = tokio::time::timeout(SWEEP_EVERY.saturating_sub(SWEEP_AGAIN), crowded).await;
        }
    }

    /// Takes locks out of the store that ended long ago; [`keep_locks`](Self::keep_locks) does it by
    /// itself.
    ///
    /// # Errors
    /// If the store can't be had.
    pub async fn sweep_locks(&self) -> Result<(), StoreFault> {
        self.locks.sweep(self.clock.now()).await
    }

    /// Has every lock written down again: the store may be another one.
    pub fn keep_all_locks(&self) {
        let book = &mut *self.locks.book.lock();
        book.dirty.extend(book.table.subjects().cloned());
        self.locks.unwritten.notify_one();
    }

    /// Writes down every lock that is not written yet, and waits for the disk.
    ///
    /// # Errors
    /// If the store can't be had.
    pub async fn flush_state(&self) -> Result<(), StoreFault> {
        self.locks.write().await?.crowd?;
        self.locks.store.flush().await
    }
}
