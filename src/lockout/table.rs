//! All locks there are: imposed, released, merged.
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::base::{Moment, Name, SourceRange};

use super::automatic::Automatic;
use super::entry::{Author, Entry, GatewayId, Grounds, Lock, Release, ReleaseReason};
use super::ladder::{Census, Probation};
use super::{Cause, Deadline, Shown, Step, Until};

/// What a lock can be on. Hashes are keyed, under a key that all gateways of the table share.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    Identity(Name),
    /// Keyed hash of a source: an address, or the least of networks.
    Source(u64),
    Operation(Name),
    Upstream(Name),
    /// Keyed hash of a seller account's id.
    Account(u64),
    /// Keyed hash of one order's id.
    Order(u64),
    /// Keyed hash of one token's id (`jti`).
    Token(u64),
    /// A network of sources. Only operators lock it.
    Network(SourceRange),
}

/// A lock to be imposed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imposed {
    pub step: Step,
    pub until: Until,
    pub cause: Cause,
    pub author: Author,
    /// See [`Lock::shown`].
    pub shown: Option<Shown>,
}

/// Why a table did not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableFault {
    /// No room for another subject of this kind. Operators' locks have room of their own.
    Full,
    /// A note is no lock.
    NoLock,
    /// There is nothing to release.
    NotLocked,
}

/// Subjects that the machine may hold; beyond them identities only, which sources can't crowd out; and
/// beyond those what only operators may add.
pub(super) const SUBJECTS_MAX: usize = 65_536;
const IDENTITIES: usize = 65_536;
const RESERVED: usize = 4_096;
/// No table has more.
pub(super) const ROOM: usize = SUBJECTS_MAX + IDENTITIES + RESERVED;

/// A table that is full is looked through for what is over no more often, so that a siege from many
/// networks does not make each of its locks cost a look at all others.
const LOOKED_THROUGH: Duration = Duration::from_secs(1);

/// The locks of one gateway, or of several that merge.
#[derive(Clone, Debug)]
pub struct LockTable {
    /// Greater than every version in the table. Begins at the wall clock's milliseconds, so that a
    /// gateway that lost its table does not begin with versions that were released long ago.
    pub(super) tick: u64,
    pub(super) entries: BTreeMap<Subject, Entry>,
    /// Follows from the entries.
    automatic: Automatic,
    /// When it may be looked through again.
    look_ns: u64,
}

impl PartialEq for LockTable {
    fn eq(&self, other: &Self) -> bool {
        self.tick == other.tick && self.entries == other.entries
    }
}
impl Eq for LockTable {}

impl LockTable {
    pub fn new(now: Moment) -> Self {
        Self::of(now.unix_ms(), BTreeMap::new())
    }

    pub(super) fn of(tick: u64, entries: BTreeMap<Subject, Entry>) -> Self {
        let mut automatic = Automatic::default();
        for (subject, entry) in &entries {
            automatic.ends(subject, 0, entry.automatic_end());
        }
        Self { tick, entries, automatic, look_ns: 0 }
    }

    /// # Errors
    /// If there is no room, or the step is a note.
    pub fn impose(
        &mut self,
        subject: &Subject,
        lock: &Imposed,
        me: GatewayId,
        now: Moment,
    ) -> Result<(), TableFault> {
        if lock.step == Step::Note {
            return Err(TableFault::NoLock);
        }
        let room = match (&lock.author, subject) {
            (Author::Detector, Subject::Identity(_)) => SUBJECTS_MAX + IDENTITIES,
            (Author::Detector, _) => SUBJECTS_MAX,
            (Author::Operator(_), _) => ROOM,
        };
        if !self.has_room(subject, room, now) {
            return Err(TableFault::Full);
        }
        let version = self.next_version(now);
        // A kill is looked at by somebody, whatever was asked.
        let asked = if lock.step == Step::Kill { Until::Released } else { lock.until };
        let Imposed { step, cause, ref author, shown, .. } = *lock;
        let grounds = Grounds { gateway: me, step, cause, author: author.clone() };
        let fresh = Lock { version, until: asked, since_ms: now.unix_ms(), shown };
        self.alter(subject, |entry| {
            let released = entry.released.get(&me).copied().unwrap_or(0);
            let own = entry.locks.get(&grounds);
            let own = own.filter(|own| own.version > released && !own.until.is_past(now));
            let lock = own.map_or(fresh, |own| fresh.after(own, step));
            entry.locks.insert(grounds, lock);
        });
        Ok(())
    }

    /// Whether a subject may be there, if need be when what is over has been forgotten.
    fn has_room(&mut self, subject: &Subject, room: usize, now: Moment) -> bool {
        if self.entries.len() < room || self.entries.contains_key(subject) {
            return true;
        }
        if now.mono_ns() >= self.look_ns {
            self.look_ns = now.plus(LOOKED_THROUGH).mono_ns();
            self.prune(now);
        }
        self.entries.len() < room
    }

    /// Changes what is known of a subject.
    fn alter(&mut self, subject: &Subject, alter: impl FnOnce(&mut Entry)) {
        let entry = self.entries.entry(subject.clone()).or_default();
        let before = entry.automatic_end();
        alter(entry);
        self.automatic.ends(subject, before, entry.automatic_end());
    }

    /// Ends every lock of the subject that this table knows of. The act of `by`, for `reason`;
    /// probation follows.
    ///
    /// # Errors
    /// If no lock holds.
    pub fn release(
        &mut self,
        subject: &Subject,
        (by, reason, case): (&Name, ReleaseReason, &Name),
        probation: Duration,
        now: Moment,
    ) -> Result<(), TableFault> {
        if self.held(subject, now).is_none() {
            return Err(TableFault::NotLocked);
        }
        let release = Release {
            at_ms: now.unix_ms(),
            probation: Deadline::after(now, probation),
            by: by.clone(),
            reason,
            case: case.clone(),
        };
        self.alter(subject, |entry| {
            for (grounds, lock) in &entry.locks {
                let released = entry.released.entry(grounds.gateway).or_default();
                *released = (*released).max(lock.version);
            }
            // The latest is remembered even if the wall clock went back between two of them.
            let at_ms = entry.release.as_ref().map_or(0, |last| last.at_ms.saturating_add(1));
            entry.release = Some(Release { at_ms: release.at_ms.max(at_ms), ..release });
        });
        Ok(())
    }

    /// Notes that somebody tried to enter in spite of a lock.
    pub fn attempted(&mut self, subject: &Subject, me: GatewayId) {
        if let Some(entry) = self.entries.get_mut(subject) {
            let count = entry.attempts.entry(me).or_default();
            *count = count.saturating_add(1);
        }
    }

    /// What another gateway knows is known here too. The stricter and the later wins.
    ///
    /// # Errors
    /// If there was no room for some subjects; all others are merged.
    pub fn merge(&mut self, other: &Self, now: Moment) -> Result<(), TableFault> {
        self.merge_part(other, Duration::ZERO, now)
    }

    /// The same, of one subject; see [`Entry::merge`].
    pub(super) fn merge_part(
        &mut self,
        other: &Self,
        length: Duration,
        now: Moment,
    ) -> Result<(), TableFault> {
        self.tick = self.tick.max(other.tick);
        let mut outcome = Ok(());
        for (subject, theirs) in &other.entries {
            if !self.has_room(subject, ROOM, now) {
                outcome = Err(TableFault::Full);
                continue;
            }
            self.alter(subject, |entry| entry.merge(theirs, length, now));
        }
        outcome
    }

    /// Forgets subjects that are neither locked nor on probation.
    pub fn prune(&mut self, now: Moment) {
        self.automatic.forget(now);
        self.entries.retain(|_, entry| entry.held(now).next().is_some() || entry.on_probation(now));
    }

    /// All that are locked, or were.
    pub fn subjects(&self) -> impl Iterator<Item = &Subject> {
        self.entries.keys()
    }

    /// The same, of so many subjects after one, but for some; which were forgotten, and where to go on.
    pub fn prune_some(
        &mut self,
        after: Option<&Subject>,
        most: usize,
        kept: &BTreeSet<Subject>,
        now: Moment,
    ) -> (Vec<Subject>, Option<Subject>) {
        use std::ops::Bound::{Excluded, Unbounded};
        self.automatic.forget(now);
        let from = after.map_or(Unbounded, Excluded);
        let mut over = Vec::new();
        let (mut looked, mut last) = (0, None);
        for (subject, entry) in self.entries.range((from, Unbounded)).take(most) {
            looked += 1;
            last = Some(subject);
            let over_now = entry.held(now).next().is_none() && !entry.on_probation(now);
            if over_now && !kept.contains(subject) {
                over.push(subject.clone());
            }
        }
        let next = last.filter(|_| looked == most).cloned();
        for subject in &over {
            self.entries.remove(subject);
        }
        (over, next)
    }

    /// The strictest lock that holds.
    pub fn held(&self, subject: &Subject, now: Moment) -> Option<(&Grounds, &Lock)> {
        self.held_by(subject, now).max_by_key(|(grounds, lock)| (grounds.step, lock.until))
    }

    /// Every lock on the subject that holds.
    pub fn held_by(
        &self,
        subject: &Subject,
        now: Moment,
    ) -> impl Iterator<Item = (&Grounds, &Lock)> {
        self.entries.get(subject).into_iter().flat_map(move |entry| entry.held(now))
    }

    /// Every lock that holds, for people.
    pub fn all_held(&self, now: Moment) -> impl Iterator<Item = (&Subject, &Grounds, &Lock)> {
        self.entries.iter().flat_map(move |(subject, entry)| {
            entry.held(now).map(move |(grounds, lock)| (subject, grounds, lock))
        })
    }

    pub fn probation(&self, subject: &Subject, now: Moment) -> Probation {
        match self.entries.get(subject) {
            Some(entry) if entry.on_probation(now) => Probation::Running,
            _ => Probation::Over,
        }
    }

    /// The last release of the subject, while it is remembered.
    pub fn last_release(&self, subject: &Subject) -> Option<&Release> {
        self.entries.get(subject)?.release.as_ref()
    }

    /// Attempts during locks, on all gateways.
    pub fn attempts(&self, subject: &Subject) -> u64 {
        let counts = self.entries.get(subject).map(|entry| entry.attempts.values());
        counts.into_iter().flatten().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// For [`judge`](super::judge): `identities` is how many the configuration has. The accused is none
    /// of those that are locked: one more lock of its own locks nobody else.
    pub fn census(&mut self, accused: &Subject, identities: u32, now: Moment) -> Census {
        self.automatic.forget(now);
        let own = self.entries.get(accused).map_or(0, Entry::automatic_end);
        let others = self.automatic.count().saturating_sub(usize::from(own > now.mono_ns()));
        Census { identities, locked_automatically: u32::try_from(others).unwrap_or(u32::MAX) }
    }

    fn next_version(&mut self, now: Moment) -> u64 {
        self.tick = self.tick.max(now.unix_ms()).saturating_add(1);
        self.tick
    }
}
