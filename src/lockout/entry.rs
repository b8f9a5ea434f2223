//! What a table knows of one subject, and how two tables' knowledge of it becomes one.
use std::collections::BTreeMap;
use std::time::Duration;

use crate::base::{Moment, Name};

use super::{Cause, Deadline, Shown, Step, Until};

/// Names one gateway among those that share a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GatewayId(pub u16);

/// Who imposed a lock.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Author {
    /// The machine; counts towards the cap of what it may lock.
    Detector,
    Operator(Name),
}

/// On what grounds a subject is held. Each stands for itself: who locks somebody who is locked already
/// adds to it, and makes nothing milder, easier to end, or another's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grounds {
    pub gateway: GatewayId,
    pub step: Step,
    pub cause: Cause,
    pub author: Author,
}

impl Grounds {
    /// A lock of the machine's, which counts towards the cap of what it may lock.
    pub(super) fn is_automatic(&self) -> bool {
        self.step >= Step::Lock && self.author == Author::Detector
    }
}

/// One hold on a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lock {
    /// Grows with each lock of its gateway; the order of the fields is that of a tie.
    pub version: u64,
    pub until: Until,
    /// Milliseconds since 1970: when it began, and for a step-up when it was last asked for.
    pub since_ms: u64,
    /// What was shown by whom it is about, where a credential was what it took.
    pub shown: Option<Shown>,
}

/// Why an operator ended a lock. The particulars are in the case that `Release::case` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReleaseReason {
    FalseAlarm,
    CredentialReplaced,
    OwnerConfirmed,
    InvestigationClosed,
    /// It keeps a business-critical process from running, and the risk is accepted.
    Business,
}

impl ReleaseReason {
    pub const ALL: &'static [Self] = &[
        Self::FalseAlarm,
        Self::CredentialReplaced,
        Self::OwnerConfirmed,
        Self::InvestigationClosed,
        Self::Business,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FalseAlarm => "false-alarm",
            Self::CredentialReplaced => "credential-replaced",
            Self::OwnerConfirmed => "owner-confirmed",
            Self::InvestigationClosed => "investigation-closed",
            Self::Business => "business",
        }
    }

    pub(super) const fn code(self) -> u8 {
        self as u8
    }

    pub(super) fn of_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }
}

/// The act of a named operator that ended a subject's locks. Later is stricter only in that the
/// latest is the one that is remembered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release {
    /// Milliseconds since 1970.
    pub at_ms: u64,
    pub probation: Deadline,
    pub by: Name,
    pub reason: ReleaseReason,
    /// Where the reason is written down, such as a ticket's number.
    pub case: Name,
}

/// Every part is a join of its own (the greater one wins), so the whole is: merging is commutative,
/// associative and idempotent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    /// The latest lock on each of its grounds.
    pub(super) locks: BTreeMap<Grounds, Lock>,
    /// Up to which version each gateway's locks are released. A release covers what its author saw:
    /// a lock imposed elsewhere at the same time stays.
    pub(super) released: BTreeMap<GatewayId, u64>,
    pub(super) release: Option<Release>,
    /// Requests refused because of a lock, as each gateway counted them.
    pub(super) attempts: BTreeMap<GatewayId, u64>,
}

impl Entry {
    /// `length` is how far its end was away when another gateway fixed it, if it tells.
    pub(super) fn merge(&mut self, other: &Self, length: Duration, now: Moment) {
        for (grounds, lock) in &other.locks {
            join(&mut self.locks, grounds, lock, |lock| lock.heard(length, now));
        }
        for (gateway, version) in &other.released {
            join(&mut self.released, gateway, version, |version| version);
        }
        for (gateway, count) in &other.attempts {
            join(&mut self.attempts, gateway, count, |count| count);
        }
        if other.release > self.release {
            self.release = other.release.clone().map(|release| release.heard(length, now));
        }
    }

    /// The locks that no release has ended, past or not.
    pub(super) fn unreleased(&self) -> impl Iterator<Item = (&Grounds, &Lock)> {
        self.locks.iter().filter(|(grounds, lock)| {
            let released = self.released.get(&grounds.gateway).copied().unwrap_or(0);
            lock.version > released
        })
    }

    /// The locks that hold.
    pub(super) fn held(&self, now: Moment) -> impl Iterator<Item = (&Grounds, &Lock)> {
        self.unreleased().filter(move |(_, lock)| !lock.until.is_past(now))
    }

    /// When the last lock of the machine's ends, on the monotonic clock; zero if there is none.
    pub(super) fn automatic_end(&self) -> u64 {
        let automatic = self.unreleased().filter(|(grounds, _)| grounds.is_automatic());
        automatic.map(|(_, lock)| lock.until.mono_ns()).max().unwrap_or(0)
    }

    /// Whether there is no release, and each lock is `past`.
    pub(super) fn is_over(&self, past: impl FnMut(&Lock) -> bool) -> bool {
        self.release.is_none() && self.released.is_empty() && self.locks.values().all(past)
    }

    pub(super) fn on_probation(&self, now: Moment) -> bool {
        self.release.as_ref().is_some_and(|release| !release.probation.is_past(now))
    }
}

fn join<K: Ord + Clone, V: Ord + Clone>(
    into: &mut BTreeMap<K, V>,
    key: &K,
    value: &V,
    learn: impl FnOnce(V) -> V,
) {
    match into.get_mut(key) {
        Some(own) if *own >= *value => {}
        Some(own) => *own = learn(value.clone()),
        None => drop(into.insert(key.clone(), learn(value.clone()))),
    }
}

impl Lock {
    /// Imposed anew on the grounds of one that holds: it may be longer, never shorter.
    pub(super) fn after(self, own: &Self, step: Step) -> Self {
        // What a step-up asks for has to be newer than the latest accusation.
        let anew = step == Step::StepUp && self.shown.is_some();
        Self {
            version: self.version,
            until: own.until.later(self.until),
            since_ms: if anew { self.since_ms } else { own.since_ms },
            shown: own.shown.max(self.shown),
        }
    }

    pub(super) fn heard(mut self, length: Duration, now: Moment) -> Self {
        if let Until::At(deadline) = self.until {
            self.until = Until::At(Deadline::heard(deadline.unix_ms(), length, now));
        }
        self
    }
}

impl Release {
    fn heard(mut self, length: Duration, now: Moment) -> Self {
        self.probation = Deadline::heard(self.probation.unix_ms(), length, now);
        self
    }
}
