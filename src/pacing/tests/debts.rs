//! What is owed to a bucket that gateways share, until it is told there.
use super::super::learned::LearnedFault;
use super::*;

const TEMPO: Tempo = Tempo { interval_ns: 60 * SECOND, burst: 20 };
const LATE: Duration = Duration::from_secs(3);

fn owing(calls: u32, now: Moment) -> Debts {
    let mut debts = Debts::default();
    for _ in 0..calls {
        debts.owe(KEY, (TEMPO, 1), LATE, now);
    }
    debts
}

/// What is told and arrives.
fn tell(debts: &mut Debts, now: Moment) -> u32 {
    let Some(telling) = debts.tell(KEY, now) else { return 0 };
    debts.told(telling, Told::Yes);
    telling.debt
}

#[test]
fn mon_2_a_call_that_never_left_is_owed_to_nobody() {
    let mut debts = owing(30, at(0.0));
    for _ in 0..30 {
        debts.take_back(KEY);
    }
    assert!(debts.owing().is_empty());
    assert_eq!(tell(&mut debts, at(0.0)), 0);
    debts.take_back(KEY);
    // One of three did.
    let mut debts = owing(3, at(0.0));
    debts.take_back(KEY);
    debts.take_back(KEY);
    assert_eq!(tell(&mut debts, at(0.0)), 1);
}

#[test]
fn mon_2_a_debt_stays_until_it_has_arrived_and_is_told_once() {
    let mut debts = owing(3, at(0.0));
    let telling = debts.tell(KEY, at(0.0)).unwrap();
    assert_eq!((telling.debt, telling.tempo, telling.bucket), (3, TEMPO, KEY));
    assert_eq!(debts.tell(KEY, at(0.0)), None, "it is being told");
    // What is sent meanwhile is another matter, and what was told already can't be taken back.
    debts.owe(KEY, (TEMPO, 1), LATE, at(0.0));
    debts.take_back(KEY);
    debts.take_back(KEY);
    debts.told(telling, Told::No);
    assert_eq!(tell(&mut debts, at(0.0)), 3);
    assert!(debts.owing().is_empty());
}

#[test]
fn mon_2_no_more_is_owed_than_amazon_may_still_miss() {
    // However many were sent, its bucket is no emptier than empty.
    assert_eq!(tell(&mut owing(1_000, at(0.0)), at(3.0)), 20);
    // Since then it fills up, and when it is full again nothing is owed.
    assert_eq!(tell(&mut owing(20, at(0.0)), at(603.0)), 10);
    assert_eq!(tell(&mut owing(3, at(0.0)), at(603.0)), 3);
    let mut debts = owing(20, at(0.0));
    assert_eq!(tell(&mut debts, at(1_203.0)), 0);
    assert!(debts.owing().is_empty());
    // The rest of what was cut off is not told later.
    let mut debts = owing(1_000, at(0.0));
    assert_eq!((tell(&mut debts, at(3.0)), tell(&mut debts, at(3.0))), (20, 0));
}

#[test]
fn mon_2_what_is_owed_outlives_the_process() {
    let saved = |debts: &mut Debts, now| {
        let mut changed = debts.take_changed(9, now);
        assert!(debts.take_changed(9, now).is_empty(), "it is no news");
        let (bucket, bytes) = changed.pop().unwrap();
        assert_eq!((bucket, changed.len()), (KEY, 0));
        bytes
    };
    let mut before = owing(5, at(1_000.0));
    let bytes = saved(&mut before, at(1_000.0));
    let later = |secs: f64| Moment::new(at(0.0).unix_ms() + (secs * 1e3) as u64, SECOND);
    let recalled = |now| {
        let mut debts = Debts::default();
        debts.recall(&bytes, LATE, now).unwrap();
        debts
    };
    assert_eq!(tell(&mut recalled(later(2.0)), later(2.0)), 5);
    // The process was away for as long as Amazon's bucket takes to fill.
    assert_eq!(tell(&mut recalled(later(1_083.0)), later(1_083.0)), 2);
    let mut debts = recalled(later(1_203.0));
    assert!(debts.owing().is_empty());
    assert_eq!(saved(&mut debts, later(1_203.0)), b"", "and is forgotten");
    // A clock that was set back makes nothing last longer.
    let past = Moment::new(0, 0);
    assert_eq!(tell(&mut recalled(past), past.plus(Duration::from_secs(1_203))), 0);
    // Beside what is owed already.
    let mut both = owing(2, later(2.0));
    both.recall(&bytes, LATE, later(2.0)).unwrap();
    assert_eq!(tell(&mut both, later(2.0)), 7);
    assert_eq!(saved(&mut both, later(2.0)), b"", "told, and owed no more");

    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        assert!(Debts::default().recall(&damaged, LATE, past).is_err());
        let fault = Debts::default().recall(&bytes[..at], LATE, past);
        assert_eq!(fault, Err(LearnedFault::Damaged));
    }
    let newer = Debts::default().recall(&[2, 0], LATE, past);
    assert_eq!(newer, Err(LearnedFault::Newer));
}
