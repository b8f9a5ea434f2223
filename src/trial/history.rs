//! What went through each place in the last minutes, to compare with.
use std::collections::VecDeque;
use std::time::Duration;

use super::judge::Figures;
use crate::base::{Moment, Name};

/// A place where requests succeed or fail.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Spot {
    /// Requests that were sent there, or should have been.
    Upstream(Name),
    /// Handshakes.
    Listener(Name),
    /// Whether callers are let in and let through.
    Access,
    /// Failures of the gateway's own.
    Gateway,
}

/// What each place counted in some time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample(pub Vec<(Spot, Figures)>);

impl Sample {
    /// Of one place; nothing, if it counted nothing.
    #[must_use]
    pub fn of(&self, spot: &Spot) -> Figures {
        self.0.iter().find(|(own, _)| own == spot).map(|(_, figures)| *figures).unwrap_or_default()
    }

    fn add(&mut self, other: &Self) {
        for (spot, more) in &other.0 {
            match self.0.iter_mut().find(|(own, _)| own == spot) {
                Some((_, sum)) => {
                    sum.sent = sum.sent.saturating_add(more.sent);
                    sum.failed = sum.failed.saturating_add(more.failed);
                    sum.over = sum.over.saturating_add(more.over);
                }
                None => self.0.push((spot.clone(), *more)),
            }
        }
    }
}

/// Samples of the last ten minutes, each with the configuration under which it was taken.
#[derive(Debug, Default)]
pub struct History(VecDeque<(Moment, u64, Sample)>);

impl History {
    /// How far back is looked.
    pub const SPAN: Duration = Duration::from_secs(600);
    /// Whatever is sampled more often than every second is forgotten sooner.
    const SAMPLES_MAX: usize = 600;

    pub fn push(&mut self, at: Moment, generation: u64, sample: Sample) {
        self.0.push_back((at, generation, sample));
        while self.0.len() > Self::SAMPLES_MAX
            || self.0.front().is_some_and(|(then, ..)| at.since(*then) > Self::SPAN)
        {
            self.0.pop_front();
        }
    }

    /// All of the last ten minutes.
    #[must_use]
    pub fn sum(&self, now: Moment) -> Sample {
        let mut sum = Sample::default();
        for (_, _, sample) in self.0.iter().filter(|(then, ..)| now.since(*then) <= Self::SPAN) {
            sum.add(sample);
        }
        sum
    }

    /// What was counted under a configuration that was put back is nothing to compare with.
    pub fn forget(&mut self, generation: u64) {
        self.0.retain(|(_, of, _)| *of != generation);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(sent: u64) -> Sample {
        let figures = Figures { sent, failed: 1, over: Duration::from_secs(10) };
        Sample(vec![(Spot::Access, figures)])
    }

    #[test]
    fn ten_minutes_are_looked_at_and_what_was_put_back_is_not() {
        let start = Moment::new(0, 1);
        let at = |secs| start.plus(Duration::from_secs(secs));
        let mut history = History::default();
        for step in 0..120 {
            history.push(at(step * 10), step / 60, one(5));
        }
        let sum = history.sum(at(1_190));
        let over = Duration::from_secs(610);
        assert_eq!(sum.of(&Spot::Access), Figures { sent: 305, failed: 61, over });
        assert_eq!(sum.of(&Spot::Gateway), Figures::default());
        history.forget(1);
        assert_eq!(history.sum(at(1_190)).of(&Spot::Access).sent, 5);
        assert_eq!(history.sum(at(5_000)), Sample::default());
    }
}
