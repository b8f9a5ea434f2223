//! How far each target has come in the queue, and what of it may be told now. The queue is one; a
//! target that is down keeps its place in it and holds nobody else up.
use std::time::Duration;

use super::kind::Severity;
use super::model::Alarm;
use super::quiet::Quiet;
use crate::base::Name;

/// The most targets.
pub const TARGETS_MAX: usize = 16;
/// The most alarms that wait for one target. Beyond it, the oldest are lost for this target, so that
/// there is room in the queue for the others.
pub const LAG_MAX: u64 = 8_000;

/// One target's place. Nothing up to `done` is left to tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TargetProgress {
    /// The last alarm of which all before it, and itself, are dealt with.
    pub done: u64,
    /// What was told past `done`, while lesser alarms waited.
    pub ahead: Option<Ahead>,
    /// Alarms this target was never told, ever.
    pub lost: u64,
}

/// Of the alarms after `done` and up to here, those from a severity on have been told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ahead {
    pub done: u64,
    pub from: Severity,
}

/// What a target is told at all, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Lesser alarms are for other targets.
    pub min: Severity,
    pub quiet: Option<Quiet>,
}

/// What to do with a page of the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection<'p> {
    /// To be told now, in this order.
    pub send: Vec<(u64, &'p Alarm)>,
    /// The place after that.
    pub after: TargetProgress,
}

impl TargetProgress {
    /// After which alarm the next page begins.
    #[must_use]
    pub fn read_after(&self, rules: &Rules, now_ms: u64) -> u64 {
        match (rules.holding(now_ms), self.ahead) {
            (Some(_), Some(ahead)) => ahead.done.max(self.done),
            (Some(_) | None, _) => self.done,
        }
    }

    /// Sorts a page that was read from [`read_after`](Self::read_after): what is told now, what
    /// waits for the end of the quiet hours, what this target is never told. `None` in the page is
    /// an alarm that can't be read.
    #[must_use]
    pub fn select<'p>(
        &self,
        page: &'p [(u64, Option<Alarm>)],
        rules: &Rules,
        now_ms: u64,
    ) -> Selection<'p> {
        // What already waits, waits by the rule under which it began to.
        let holding = rules.holding(now_ms).map(|below| self.ahead.map_or(below, |at| at.from));
        let mut after = *self;
        let mut send = Vec::new();
        for (sequence, alarm) in page {
            let told = self.ahead.filter(|ahead| *sequence <= ahead.done);
            let mut waits = false;
            match alarm {
                None => after.lost = after.lost.saturating_add(1),
                Some(alarm) if alarm.severity < rules.min => {}
                Some(alarm) if told.is_some_and(|ahead| alarm.severity >= ahead.from) => {}
                Some(alarm) if holding.is_some_and(|below| alarm.severity < below) => waits = true,
                Some(alarm) => send.push((*sequence, alarm)),
            }
            match (holding, after.ahead) {
                (Some(from), ahead) if waits || ahead.is_some() => {
                    after.ahead = Some(Ahead { done: *sequence, from });
                }
                (Some(_) | None, _) => after.done = *sequence,
            }
        }
        if after.ahead.is_some_and(|ahead| ahead.done <= after.done) {
            after.ahead = None;
        }
        Selection { send, after }
    }

    /// Gives up what is too far back in a queue that ends at `head`.
    #[must_use]
    pub fn caught_up(&self, head: u64) -> Self {
        let behind = head.saturating_sub(self.done);
        let given_up = behind.saturating_sub(LAG_MAX);
        let done = self.done.saturating_add(given_up);
        Self {
            done,
            ahead: self.ahead.filter(|ahead| ahead.done > done),
            lost: self.lost.saturating_add(given_up),
        }
    }
}

impl Rules {
    /// During quiet hours: the severity below which alarms wait.
    fn holding(&self, now_ms: u64) -> Option<Severity> {
        self.quiet.filter(|quiet| quiet.is_now(now_ms)).map(|quiet| quiet.below())
    }

    /// Within which time the next sign of life comes, where one is given so often: retries and quiet
    /// hours included.
    #[must_use]
    pub fn beat_within(&self, every: Duration) -> Duration {
        let quiet = self.quiet.map_or(Duration::ZERO, |quiet| quiet.length());
        every.saturating_add(super::attempt::RETRY_MAX).saturating_add(quiet)
    }

    /// Whether a sign of life, the least of all messages, may be given.
    #[must_use]
    pub fn may_beat(&self, now_ms: u64) -> bool {
        self.holding(now_ms).is_none()
    }
}

/// All targets' places; kept in the store as one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress(Vec<(Name, TargetProgress)>);

impl Progress {
    #[must_use]
    pub fn targets(&self) -> &[(Name, TargetProgress)] {
        &self.0
    }

    #[must_use]
    pub fn of(&self, target: &Name) -> Option<TargetProgress> {
        self.0.iter().find(|(name, _)| name == target).map(|(_, progress)| *progress)
    }

    pub fn set(&mut self, target: &Name, progress: TargetProgress) {
        if let Some((_, known)) = self.0.iter_mut().find(|(name, _)| name == target) {
            *known = progress;
        } else if self.0.len() < TARGETS_MAX {
            self.0.push((target.clone(), progress));
        }
    }

    /// Forgets targets that are configured no more, and lets new ones begin at `start`.
    pub fn retain(&mut self, targets: &[Name], start: u64) {
        self.0.retain(|(name, _)| targets.contains(name));
        for name in targets {
            if self.of(name).is_none() {
                self.set(name, TargetProgress { done: start, ..TargetProgress::default() });
            }
        }
    }

    /// The last alarm that every target is done with; `None` without targets.
    #[must_use]
    pub fn done_by_all(&self) -> Option<u64> {
        self.0.iter().map(|(_, progress)| progress.done).min()
    }
}
