//! The circuit breaker of one upstream: closed → open after failures in a row → half-open after a
//! pause, with one probe → closed or open again. A plain value; moments are passed in.
use std::num::NonZeroU32;
use std::time::Duration;

use crate::base::{Moment, UpstreamFault};

/// When the breaker opens and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerSpec {
    /// Failures in a row that open it.
    pub failures: NonZeroU32,
    /// The pause until a probe is sent.
    pub open: Duration,
}

/// A breaker's state has changed. For the log and the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerChange {
    /// From now on requests are refused: too many failures in a row, or a probe failed.
    Opened,
    /// The pause is over and one probe is on its way.
    HalfOpened,
    /// A probe succeeded; requests flow again.
    Closed,
}

/// As what a request was let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Ordinary,
    Probe,
}

/// What a request told about the upstream's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Well,
    Ill,
    /// Nothing: it ended for another reason.
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed { failures: u32 },
    Open { since: Moment },
    HalfOpen { probe: Probe },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Probe {
    Wanted,
    Out,
}

#[derive(Debug)]
pub(super) struct Breaker {
    spec: BreakerSpec,
    state: State,
}

impl Breaker {
    pub(super) const fn new(spec: BreakerSpec) -> Self {
        Self { spec, state: State::Closed { failures: 0 } }
    }

    /// # Errors
    /// `CircuitOpen`.
    pub(super) fn admit(
        &mut self,
        now: Moment,
    ) -> Result<(Admission, Option<BreakerChange>), UpstreamFault> {
        match self.state {
            State::Closed { .. } => Ok((Admission::Ordinary, None)),
            State::Open { since } if now.since(since) >= self.spec.open => {
                self.state = State::HalfOpen { probe: Probe::Out };
                Ok((Admission::Probe, Some(BreakerChange::HalfOpened)))
            }
            State::HalfOpen { probe: Probe::Wanted } => {
                self.state = State::HalfOpen { probe: Probe::Out };
                Ok((Admission::Probe, None))
            }
            State::Open { .. } | State::HalfOpen { probe: Probe::Out } => {
                Err(UpstreamFault::CircuitOpen)
            }
        }
    }

    /// Requests that were let through before the breaker opened tell nothing new: only the probe's
    /// verdict counts while it is open or half-open.
    pub(super) fn judge(
        &mut self,
        admission: Admission,
        verdict: Verdict,
        now: Moment,
    ) -> Option<BreakerChange> {
        match (self.state, admission, verdict) {
            (State::Closed { .. }, _, Verdict::Well) => {
                self.state = State::Closed { failures: 0 };
                None
            }
            (State::Closed { failures }, _, Verdict::Ill) => {
                let failures = failures.saturating_add(1);
                if failures < self.spec.failures.get() {
                    self.state = State::Closed { failures };
                    return None;
                }
                self.state = State::Open { since: now };
                Some(BreakerChange::Opened)
            }
            (State::HalfOpen { .. }, Admission::Probe, Verdict::Well) => {
                self.state = State::Closed { failures: 0 };
                Some(BreakerChange::Closed)
            }
            (State::HalfOpen { .. }, Admission::Probe, Verdict::Ill) => {
                self.state = State::Open { since: now };
                Some(BreakerChange::Opened)
            }
            (State::Open { .. }, ..)
            | (State::HalfOpen { .. }, Admission::Ordinary, _)
            | (State::Closed { .. }, _, Verdict::Unknown) => None,
            (State::HalfOpen { .. }, Admission::Probe, Verdict::Unknown) => {
                self.give_back(admission);
                None
            }
        }
    }

    /// A request ended without a verdict. A probe's place is free again.
    pub(super) fn give_back(&mut self, admission: Admission) {
        if let (State::HalfOpen { .. }, Admission::Probe) = (self.state, admission) {
            self.state = State::HalfOpen { probe: Probe::Wanted };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Moment {
        Moment::new(0, secs * 1_000_000_000)
    }

    fn breaker() -> Breaker {
        Breaker::new(BreakerSpec {
            failures: NonZeroU32::new(3).unwrap(),
            open: Duration::from_secs(10),
        })
    }

    fn opened_at(secs: u64) -> Breaker {
        let mut breaker = breaker();
        for _ in 0..2 {
            assert_eq!(breaker.judge(Admission::Ordinary, Verdict::Ill, at(secs)), None);
        }
        assert_eq!(
            breaker.judge(Admission::Ordinary, Verdict::Ill, at(secs)),
            Some(BreakerChange::Opened)
        );
        breaker
    }

    #[test]
    fn a_success_in_between_keeps_it_closed() {
        let mut breaker = breaker();
        for verdict in [Verdict::Ill, Verdict::Ill, Verdict::Well, Verdict::Ill, Verdict::Ill] {
            assert_eq!(breaker.judge(Admission::Ordinary, verdict, at(0)), None);
        }
        assert_eq!(breaker.admit(at(0)), Ok((Admission::Ordinary, None)));
    }

    #[test]
    fn open_for_its_pause_then_one_probe_then_closed() {
        let mut breaker = opened_at(5);
        assert_eq!(breaker.admit(at(14)), Err(UpstreamFault::CircuitOpen));
        assert_eq!(breaker.admit(at(15)), Ok((Admission::Probe, Some(BreakerChange::HalfOpened))));
        assert_eq!(breaker.admit(at(15)), Err(UpstreamFault::CircuitOpen));
        assert_eq!(
            breaker.judge(Admission::Probe, Verdict::Well, at(16)),
            Some(BreakerChange::Closed)
        );
        assert_eq!(breaker.admit(at(16)), Ok((Admission::Ordinary, None)));
    }

    #[test]
    fn a_failed_probe_opens_it_for_another_pause() {
        let mut breaker = opened_at(0);
        breaker.admit(at(10)).unwrap();
        assert_eq!(
            breaker.judge(Admission::Probe, Verdict::Ill, at(12)),
            Some(BreakerChange::Opened)
        );
        assert_eq!(breaker.admit(at(21)), Err(UpstreamFault::CircuitOpen));
        assert!(breaker.admit(at(22)).is_ok());
    }

    #[test]
    fn a_probe_that_told_nothing_is_sent_again() {
        let mut breaker = opened_at(0);
        breaker.admit(at(10)).unwrap();
        breaker.give_back(Admission::Probe);
        assert_eq!(breaker.admit(at(10)), Ok((Admission::Probe, None)));
        assert_eq!(breaker.judge(Admission::Probe, Verdict::Unknown, at(11)), None);
        assert_eq!(breaker.admit(at(11)), Ok((Admission::Probe, None)));
    }

    #[test]
    fn latecomers_neither_close_nor_prolong_it() {
        let mut breaker = opened_at(0);
        assert_eq!(breaker.judge(Admission::Ordinary, Verdict::Well, at(1)), None);
        assert_eq!(breaker.judge(Admission::Ordinary, Verdict::Ill, at(9)), None);
        breaker.admit(at(10)).unwrap();
        assert_eq!(breaker.judge(Admission::Ordinary, Verdict::Well, at(11)), None);
        breaker.give_back(Admission::Ordinary);
        assert_eq!(breaker.admit(at(11)), Err(UpstreamFault::CircuitOpen));
    }
}
