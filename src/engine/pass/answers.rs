//! Whether what a target says is TLS. A plain value; moments are passed in.
//!
//! Whether a target is there is found by connecting to it, and its breaker counts that, of connections
//! and of checks. A check says nothing, so it can't find out whether what is there speaks TLS; only a
//! connection can, by the first byte that comes back. So the two are counted apart, and neither
//! excuses the other:
//! 1. Nobody there several times in a row: left alone until a check, or a connection, finds somebody.
//! 2. No TLS several times in a row: left alone whatever checks find, until a connection is answered
//!    by TLS. One connection tries it whenever a rest is over, and each rest is twice as long.
//! 3. Such a target is the last one to be taken, not out of the question. Clients can cause silence
//!    themselves, where the gateway behind has a shorter list of addresses, and must not be able to
//!    shut the route to others.
use std::time::Duration;

use crate::base::Moment;

/// The longest rest, unless checks are even rarer.
const REST_MAX: Duration = Duration::from_secs(300);

/// What a target said first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Tls,
    /// Something else.
    NotTls,
    /// Nothing, until it closed or its time was over.
    Silent,
}

impl Answer {
    /// For the metrics.
    pub(super) const fn failure(self) -> Option<&'static str> {
        match self {
            Self::Tls => None,
            Self::NotTls => Some("not_tls"),
            Self::Silent => Some("silent"),
        }
    }
}

/// What a target answered lately.
#[derive(Debug)]
pub(super) struct Answers {
    failures: u32,
    rest: Option<Rest>,
    failures_max: u32,
    rest_first: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Rest {
    since: Moment,
    lasts: Duration,
    trial: Trial,
}

/// Whether a connection is finding out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trial {
    No,
    Yes,
}

impl Rest {
    fn is_over(&self, now: Moment) -> bool {
        now.since(self.since) >= self.lasts
    }
}

impl Answers {
    pub(super) const fn new(failures_max: u32, rest_first: Duration) -> Self {
        Self { failures: 0, rest: None, failures_max, rest_first }
    }

    pub(super) fn note(&mut self, answer: Answer, now: Moment) {
        if answer == Answer::Tls {
            (self.failures, self.rest) = (0, None);
            return;
        }
        self.failures = self.failures.saturating_add(1);
        let lasts = match self.rest {
            None if self.failures < self.failures_max => return,
            None => self.rest_first,
            // Connections that were under way when the rest began must not prolong it.
            Some(Rest { trial: Trial::No, .. }) => return,
            Some(rest) => rest.lasts.saturating_mul(2).min(REST_MAX.max(self.rest_first)),
        };
        self.rest = Some(Rest { since: now, lasts, trial: Trial::No });
    }

    /// Whether it failed so often that it has to prove itself.
    pub(super) const fn are_wrong(&self) -> bool {
        self.rest.is_some()
    }

    /// Whether others are to be taken first.
    pub(super) fn rest(&self, now: Moment) -> bool {
        self.rest.is_some_and(|rest| !rest.is_over(now))
    }

    /// A connection goes there: after a rest it is the one that finds out, and others wait for it.
    pub(super) fn begin(&mut self, now: Moment) {
        if let Some(rest) = self.rest.as_mut().filter(|rest| rest.is_over(now)) {
            (rest.since, rest.trial) = (now, Trial::Yes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHECK: Duration = Duration::from_secs(5);

    fn at(secs: u64) -> Moment {
        Moment::new(0, secs * 1_000_000_000)
    }

    fn wrong() -> Answers {
        let mut answers = Answers::new(3, CHECK);
        for answer in [Answer::NotTls, Answer::Silent, Answer::Tls, Answer::Silent, Answer::NotTls]
        {
            answers.note(answer, at(0));
            assert!(!answers.are_wrong() && !answers.rest(at(0)));
        }
        answers.note(Answer::Silent, at(0));
        assert!(answers.are_wrong() && answers.rest(at(4)) && !answers.rest(at(5)));
        answers
    }

    #[test]
    fn tls_3_a_target_that_speaks_no_tls_is_tried_by_one_connection_after_each_rest() {
        let mut answers = wrong();
        answers.begin(at(4));
        answers.note(Answer::Silent, at(4));
        assert!(!answers.rest(at(5)), "what was under way does not prolong the rest");
        let (mut now, mut lasts) = (5, 5);
        for _ in 0..10 {
            answers.begin(at(now));
            assert!(answers.rest(at(now)), "one finds out, and others wait");
            answers.note(Answer::NotTls, at(now));
            lasts = (2 * lasts).min(300);
            assert!(answers.rest(at(now + lasts - 1)) && !answers.rest(at(now + lasts)));
            now += lasts;
        }
        assert!(answers.are_wrong());
        answers.note(Answer::Tls, at(now));
        assert!(!answers.are_wrong());
    }

    #[test]
    fn a_trial_that_found_nothing_out_is_made_again() {
        let mut answers = wrong();
        answers.begin(at(7));
        assert!(answers.rest(at(11)) && !answers.rest(at(12)), "as long as the rest before it");
        answers.begin(at(12));
        answers.note(Answer::Silent, at(12));
        assert!(answers.rest(at(21)) && !answers.rest(at(22)));
    }
}
