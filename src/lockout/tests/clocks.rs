//! When locks end, whatever wall clocks say.
use super::*;

#[test]
fn a_jump_of_the_wall_clock_neither_ends_nor_prolongs_a_lock() {
    let mut table = LockTable::new(at(0));
    let until = Until::At(Deadline::after(at(0), Duration::from_secs(600)));
    table
        .impose(&subject(), &lock(Step::Lock, until, Author::Detector), GatewayId(1), at(0))
        .unwrap();
    for wall_ms in [0, START_MS - 86_400_000, START_MS + 400 * 86_400_000, u64::MAX] {
        for (secs, expect) in [(599, Some(Step::Lock)), (600, None)] {
            let now = Moment::new(wall_ms, at(secs).mono_ns());
            assert_eq!(step(&table, &asked(0, Trust::Proof, 1), now), expect, "{wall_ms} {secs}");
            assert_eq!(table.held(&subject(), now).map(|(of, _)| of.step), expect);
        }
    }
}

/// A tells B, whose wall clock is ahead or behind; both run on.
#[test]
fn acc_2_a_lock_of_another_gateway_lasts_as_long_whatever_the_two_clocks_say() {
    let minutes = |minutes: u64| minutes * 60;
    let other = |ahead: i64, secs: u64| {
        let wall = i64::try_from(START_MS + secs * 1_000).unwrap() + ahead * 60_000;
        Moment::new(u64::try_from(wall).unwrap(), (secs + 777) * 1_000_000_000)
    };
    let mut here = LockTable::new(at(0));
    let until = Until::At(Deadline::after(at(0), Duration::from_secs(minutes(30))));
    let imposed = lock(Step::Lock, until, Author::Detector);
    here.impose(&subject(), &imposed, GatewayId(1), at(0)).unwrap();
    let parts = here.parts(&subject(), GatewayId(1));
    let holds = |ahead: i64, told: Told, secs: u64| {
        let mut there = LockTable::new(other(ahead, 0));
        there.take_over(&parts[0].bytes, told, other(ahead, 1)).unwrap();
        // Heard again, it lasts no longer.
        there.take_over(&parts[0].bytes, told, other(ahead, minutes(10))).unwrap();
        there.held(&subject(), other(ahead, secs)).is_some()
    };
    for ahead in [0, 2, 31, 55] {
        assert!(holds(ahead, Told::Now, minutes(30)), "{ahead} minutes ahead");
        assert!(!holds(ahead, Told::Now, minutes(30) + 1), "{ahead} minutes ahead");
    }
    // Behind, the end lies later by its own clock, and the longer counts.
    assert!(holds(-20, Told::Now, minutes(49)));
    // What was written down before a restart ends by the clock of the machine; and what ended long
    // ago does not come back.
    assert!(!holds(31, Told::Before, 2));
    assert!(!holds(200, Told::Now, 2));
    // The same for a probation.
    let act = (&name("hanako"), ReleaseReason::FalseAlarm, &name("CASE-7"));
    here.release(&subject(), act, Duration::from_secs(minutes(30)), at(60)).unwrap();
    let release = here.parts(&subject(), GatewayId(1)).pop().unwrap();
    let mut there = LockTable::new(other(31, 0));
    there.take_over(&release.bytes, Told::Now, other(31, 61)).unwrap();
    assert_eq!(there.probation(&subject(), other(31, 61 + minutes(29))), Probation::Running);
    // A gateway of before reads the same bytes, and nothing of them as a version.
    let read = LockTable::decode(&parts[0].bytes, at(0)).unwrap();
    assert_eq!(read.tick, here.entries[&subject()].locks.values().next().unwrap().version);
}

/// A gateway that comes late hears of an end, and of how long it was when it was fixed: a day.
#[test]
fn acc_2_whoever_hears_late_of_a_lock_does_not_begin_its_time_anew() {
    let (minute, day) = (60, Duration::from_secs(86_400));
    let holds_for = |end: u64| {
        let heard = Deadline::heard(at(end).unix_ms(), day, at(day.as_secs()));
        let past = |minutes: &u64| heard.is_past(at(day.as_secs() + minutes * minute));
        (0..3_000).find(past)
    };
    let ended_ago = |minutes: u64| day.as_secs() - minutes * minute;
    assert_eq!(holds_for(day.as_secs() + 10 * minute), Some(70), "ten minutes are left");
    assert_eq!(holds_for(ended_ago(30)), Some(30));
    assert_eq!(holds_for(ended_ago(60)), Some(0));
    assert_eq!(holds_for(ended_ago(300)), Some(0));
    // Told at once, it is as long as it was given.
    assert_eq!(holds_for(2 * day.as_secs()), Some(1_440));
    assert_eq!(holds_for(2 * day.as_secs() - 31 * minute), Some(1_440), "a clock that is ahead");
}

/// The clock went back between two locks of the same kind: the second is as long as it says.
#[test]
fn acc_2_a_lock_that_is_imposed_again_is_prolonged_whatever_the_wall_clock_did() {
    let mut table = LockTable::new(at(0));
    let ahead = |secs: u64| Moment::new(at(secs + 86_400).unix_ms(), at(secs).mono_ns());
    let mut impose = |now: Moment| {
        let until = Until::At(Deadline::after(now, Duration::from_secs(600)));
        let imposed = lock(Step::Lock, until, Author::Detector);
        table.impose(&subject(), &imposed, GatewayId(1), now).unwrap();
    };
    impose(ahead(0));
    impose(at(500));
    assert!(table.held(&subject(), at(1_099)).is_some());
    assert!(table.held(&subject(), at(1_100)).is_none());
    // Others, and this one after a restart, go by the clock as it is now.
    let until = table.entries[&subject()].locks.values().next().unwrap().until;
    assert_eq!(until, Until::At(Deadline::after(at(500), Duration::from_secs(600))));
}
