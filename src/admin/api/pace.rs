//! How fast one operator, and everybody who is none, may ask: the log and the request path are
//! everybody's.
use std::collections::BTreeMap;

use parking_lot::Mutex;

use crate::base::{Moment, Name};

/// Requests a second, and at once.
const RATE: u64 = 20;
const BURST: u64 = 100;
const SECOND_NS: u64 = 1_000_000_000;

/// The times until which each has asked in advance, as in a leaky bucket. As many as there are
/// operators.
#[derive(Debug, Default)]
pub(super) struct Pace {
    ahead: Mutex<BTreeMap<Name, u64>>,
    strangers: Mutex<Strangers>,
}

#[derive(Debug, Default)]
struct Strangers {
    told_at_ns: u64,
    untold: u64,
}

impl Pace {
    /// Whether an operator may ask now.
    pub(super) fn admits(&self, who: &Name, now: Moment) -> bool {
        let mut ahead = self.ahead.lock();
        let own = ahead.entry(who.clone()).or_default();
        let next = (*own).max(now.mono_ns()).saturating_add(SECOND_NS / RATE);
        if next > now.mono_ns().saturating_add(BURST * (SECOND_NS / RATE)) {
            return false;
        }
        *own = next;
        true
    }

    /// How many strangers to tell of now; none most of the time.
    pub(super) fn tell_of_stranger(&self, now: Moment) -> Option<u64> {
        let mut strangers = self.strangers.lock();
        strangers.untold = strangers.untold.saturating_add(1);
        let due = strangers.told_at_ns == 0
            || now.mono_ns().saturating_sub(strangers.told_at_ns) >= SECOND_NS;
        due.then(|| {
            strangers.told_at_ns = now.mono_ns().max(1);
            std::mem::take(&mut strangers.untold)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_hundred_at_once_then_twenty_a_second() {
        let (pace, now) = (Pace::default(), Moment::new(0, 5_000_000_000));
        let name = Name::parse("hanako").unwrap();
        let passed = |now| (0..1_000).filter(|_| pace.admits(&name, now)).count();
        assert_eq!(passed(now), 100);
        assert_eq!(passed(now.plus(Duration::from_secs(1))), 20);
    }

    #[test]
    fn strangers_are_told_of_once_a_second() {
        let (pace, now) = (Pace::default(), Moment::new(0, 1));
        assert_eq!(pace.tell_of_stranger(now), Some(1));
        assert_eq!(pace.tell_of_stranger(now), None);
        assert_eq!(pace.tell_of_stranger(now), None);
        assert_eq!(pace.tell_of_stranger(now.plus(Duration::from_secs(1))), Some(3));
    }
}
