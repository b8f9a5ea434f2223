//! Many alarms about the same thing become few: the first one goes at once, the rest as one with a
//! count when its window ends, and windows grow as long as it goes on. Memory and messages are
//! bounded whatever happens.
use std::collections::HashMap;
use std::time::Duration;

use super::kind::{Kind, Severity};
use super::model::Alarm;
use crate::base::Moment;

/// Subjects of one kind that are told apart at a time; those beyond share one alarm.
pub const SUBJECTS_MAX: usize = 32;

/// How long what is the same is gathered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// After the first alarm; each window is twice as long as the one before,
    pub first: Duration,
    /// up to this. What has been silent for so long after its window begins anew.
    pub repeat: Duration,
}

/// See the module.
#[derive(Debug)]
pub struct Grouper {
    windows: Windows,
    groups: HashMap<u64, Group>,
    /// What was gathered is not what it was when it was last asked for.
    changed: bool,
}

#[derive(Debug)]
struct Group {
    kind: Kind,
    opened: Moment,
    length: Duration,
    /// The gravest that was told since the group began.
    told: Severity,
    gathered: Option<Alarm>,
}

impl Grouper {
    #[must_use]
    pub fn new(windows: Windows) -> Self {
        Self { windows, groups: HashMap::new(), changed: false }
    }

    /// Windows that are open keep their length.
    pub const fn set(&mut self, windows: Windows) {
        self.windows = windows;
    }

    /// Takes an alarm in; returns what is to be told at once: the first of its group, or one that is
    /// graver than what was told.
    pub fn offer(&mut self, alarm: Alarm, now: Moment) -> Option<Alarm> {
        let mut alarm = alarm;
        let mut key = alarm.fingerprint();
        if !self.groups.contains_key(&key) && self.of_kind(alarm.kind) >= SUBJECTS_MAX {
            alarm = alarm.of_several();
            key = alarm.fingerprint();
        }
        let Some(group) = self.groups.get_mut(&key) else {
            let group = Group {
                kind: alarm.kind,
                opened: now,
                length: self.windows.first,
                told: alarm.severity,
                gathered: None,
            };
            self.groups.insert(key, group);
            return Some(alarm);
        };
        let (graver, over) = (alarm.severity > group.told, group.is_over(now));
        self.changed = true;
        match &mut group.gathered {
            Some(gathered) => gathered.absorb(&alarm),
            None if over => {
                group.told = alarm.severity;
                group.reopen(now, self.windows.repeat);
                return Some(alarm);
            }
            None => group.gathered = Some(alarm),
        }
        if graver { group.tell() } else { None }
    }

    /// What has been gathered in windows that are over, oldest first.
    pub fn due(&mut self, now: Moment) -> Vec<Alarm> {
        let repeat = self.windows.repeat;
        let mut due = Vec::new();
        self.groups.retain(|_, group| {
            if !group.is_over(now) {
                return true;
            }
            if let Some(told) = group.tell() {
                due.push(told);
                self.changed = true;
                group.reopen(now, repeat);
            }
            now.since(group.opened) < group.length.saturating_add(repeat)
        });
        sorted(due)
    }

    /// Everything that was gathered, at the end of the process.
    pub fn flush(&mut self) -> Vec<Alarm> {
        self.changed = true;
        let rest = self.groups.drain().filter_map(|(_, group)| group.gathered);
        sorted(rest.collect())
    }

    /// What is gathered and was not told, if it has changed since the last call: whoever keeps it can tell
    /// it if this is not there any more to do so.
    pub fn gathered(&mut self) -> Option<Vec<Alarm>> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        let gathered = self.groups.values().filter_map(|group| group.gathered.clone());
        Some(sorted(gathered.collect()))
    }

    /// Groups that are open.
    #[must_use]
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    fn of_kind(&self, kind: Kind) -> usize {
        self.groups.values().filter(|group| group.kind == kind).count()
    }
}

/// Oldest first.
fn sorted(mut alarms: Vec<Alarm>) -> Vec<Alarm> {
    alarms.sort_by_key(|alarm| (alarm.first_ms, alarm.fingerprint()));
    alarms
}

impl Group {
    fn is_over(&self, now: Moment) -> bool {
        now.since(self.opened) >= self.length
    }

    fn reopen(&mut self, now: Moment, longest: Duration) {
        self.opened = now;
        self.length = self.length.saturating_mul(2).min(longest);
    }

    fn tell(&mut self) -> Option<Alarm> {
        let alarm = self.gathered.take()?;
        self.told = self.told.max(alarm.severity);
        Some(alarm)
    }
}
