//! What one gateway tells the others of one subject, in parts that fit the store.
//!
//! Each part is a table of one subject that holds nothing else, so that reading one is
//! [`LockTable::decode`] and [`LockTable::merge`], which have no second way to go wrong. In the place
//! of the tick stands how far the end of what it tells was away when it was fixed, in milliseconds:
//! gateways' wall clocks may differ. Read as a tick it says nothing, being far below every version.
use std::time::Duration;

use crate::base::Moment;

use super::entry::{Author, Entry, GatewayId, Lock, Release};
use super::table::{LockTable, Subject};
use super::{Cause, Until};

/// From where a part is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// From what this gateway had written down: its own clock tells what is left.
    Before,
    /// By another gateway, while this one runs.
    Now,
}

/// One part. Of two with the same slot the one with the greater version is newer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// 0 for releases, the step's place on the ladder for a lock, [`Part::ATTEMPTS`] for attempts.
    pub slot: u8,
    /// What tells a lock from others of its step, each of which has a place of its own.
    pub of: Option<(Cause, Author)>,
    pub version: u64,
    /// How strict it is; of equal versions the stricter counts.
    pub rank: u8,
    /// At most [`Part::BYTES_MAX`].
    pub bytes: Vec<u8>,
}

impl Part {
    pub const RELEASES: u8 = 0;
    pub const ATTEMPTS: u8 = 5;
    /// More than a release's, less than a lock's.
    const RANK_ATTEMPTS: u8 = 1;
    /// A subject and a case of the longest names, and a release that covers fifty gateways.
    pub const BYTES_MAX: usize = 1_024;
}

/// What a part said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    pub subject: Subject,
    /// That somebody ended the subject's locks, where it was not known here.
    pub released: Option<Release>,
}

impl LockTable {
    /// What `me` has to tell of a subject.
    pub fn parts(&self, subject: &Subject, me: GatewayId) -> Vec<Part> {
        let Some(entry) = self.entries.get(subject) else { return Vec::new() };
        let part = |slot, version, rank, length: Duration, entry| {
            let tick = u64::try_from(length.as_millis()).unwrap_or(0);
            let table = Self::of(tick, [(subject.clone(), entry)].into());
            Part { slot, of: None, version, rank, bytes: table.encode() }
        };
        let mut parts = Vec::new();
        let mut locks: Vec<_> = entry.locks.iter().filter(|(of, _)| of.gateway == me).collect();
        // In this order, so that whoever has seen one has seen those that a release up to it ends.
        locks.sort_by_key(|(_, lock)| lock.version);
        for (grounds, lock) in locks {
            let own = Entry { locks: [(grounds.clone(), *lock)].into(), ..Entry::default() };
            let slot = grounds.step.code();
            let length = match lock.until {
                Until::At(deadline) => deadline.length(),
                Until::Released => Duration::ZERO,
            };
            let of = Some((grounds.cause, grounds.author.clone()));
            parts.push(Part { of, ..part(slot, lock.version, 1 + slot, length, own) });
        }
        if let Some(release) = &entry.release {
            let own = Entry {
                released: entry.released.clone(),
                release: Some(release.clone()),
                ..Entry::default()
            };
            parts.push(part(Part::RELEASES, release.at_ms, 0, release.probation.length(), own));
        }
        if let Some(count) = entry.attempts.get(&me) {
            let own = Entry { attempts: [(me, *count)].into(), ..Entry::default() };
            parts.push(part(Part::ATTEMPTS, *count, Part::RANK_ATTEMPTS, Duration::ZERO, own));
        }
        parts
    }

    /// Takes over a part that some gateway told. What is over and of nobody who is known here is left
    /// alone: of that there is more than a table holds.
    ///
    /// # Errors
    /// On anything but what [`parts`](Self::parts) makes.
    pub fn take_over(
        &mut self,
        bytes: &[u8],
        told: Told,
        now: Moment,
    ) -> Result<Heard, super::DecodeFault> {
        let (part, length_ms) = Self::read(bytes, now)?;
        let (subject, entry) = part.sole()?;
        let subject = subject.clone();
        let length = match told {
            Told::Before => Duration::ZERO,
            Told::Now => Duration::from_millis(length_ms),
        };
        let ends = |lock: &Lock| lock.heard(length, now).until;
        if !self.entries.contains_key(&subject) && entry.is_over(|lock| ends(lock).is_past(now)) {
            self.tick = self.tick.max(part.tick);
            return Ok(Heard { subject, released: None });
        }
        let known = self.last_release(&subject).map(|release| release.at_ms);
        self.merge_part(&part, length, now).map_err(|_full| super::DecodeFault::Malformed)?;
        let latest = self.last_release(&subject).filter(|release| Some(release.at_ms) > known);
        let released = latest.cloned();
        Ok(Heard { subject, released })
    }

    /// Of whom a part is.
    ///
    /// # Errors
    /// See [`take_over`](Self::take_over).
    pub fn subject_of(bytes: &[u8], now: Moment) -> Result<Subject, super::DecodeFault> {
        Self::read(bytes, now)?.0.sole().map(|(subject, _)| subject.clone())
    }

    /// The subject of a part that says nothing any more, to whichever gateway: of an end that is long
    /// past, or of attempts, and on a subject that this table has forgotten. Releases and what has no end
    /// stay: a gateway that was away for long brings its locks back, and must find them released.
    pub fn spent(&self, bytes: &[u8], now: Moment) -> Option<Subject> {
        let (part, _) = Self::read(bytes, now).ok()?;
        let (subject, entry) = part.sole().ok()?;
        let is_over = |lock: &Lock| match lock.until {
            // The next one on these grounds has a greater version, or would be taken for an older one.
            Until::At(end) => end.is_past_everywhere(now) && lock.version <= now.unix_ms(),
            Until::Released => false,
        };
        let spent = !self.entries.contains_key(subject) && entry.is_over(is_over);
        spent.then(|| subject.clone())
    }

    /// The one subject of a part.
    fn sole(&self) -> Result<(&Subject, &Entry), super::DecodeFault> {
        let mut entries = self.entries.iter();
        match (entries.next(), entries.next()) {
            (Some(sole), None) => Ok(sole),
            _ => Err(super::DecodeFault::Malformed),
        }
    }
}
