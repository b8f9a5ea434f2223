//! What is written down of a subject and says nothing any more.
use super::*;

const MINUTE: u64 = 60;

fn timed(table: &mut LockTable, subject: &Subject, secs: u64, now: Moment) {
    let until = Until::At(Deadline::after(now, Duration::from_secs(secs)));
    let imposed = lock(Step::Lock, until, Author::Detector);
    table.impose(subject, &imposed, GatewayId(1), now).unwrap();
}

/// Which of the subject's parts `reader` would take away.
fn spent(parts: &[Part], reader: &LockTable, now: Moment) -> Vec<bool> {
    parts.iter().map(|part| reader.spent(&part.bytes, now).is_some()).collect()
}

#[test]
fn acc_2_an_end_is_spent_when_no_gateway_holds_to_it_and_a_release_never_is() {
    let source = Subject::Source(7);
    let mut table = LockTable::new(at(0));
    timed(&mut table, &source, 30 * MINUTE, at(0));
    table.attempted(&source, GatewayId(1));
    let parts = table.parts(&source, GatewayId(1));
    assert_eq!(parts.len(), 2);
    // By its own clock it is over; another's may be an hour behind.
    let over = at(89 * MINUTE);
    table.prune(over);
    assert_eq!(spent(&parts, &table, over), [false, true]);
    let late = at(90 * MINUTE);
    assert_eq!(spent(&parts, &table, late), [true, true]);
    // Whoever holds to it yet, by the clock that does not jump, keeps it.
    let mut holds = LockTable::new(at(0));
    holds.take_over(&parts[0].bytes, Told::Before, at(0)).unwrap();
    let jumped = Moment::new(late.unix_ms(), at(1).mono_ns());
    assert_eq!(spent(&parts, &holds, jumped), [false, false]);

    let mut table = LockTable::new(at(0));
    table
        .impose(
            &subject(),
            &lock(Step::Lock, Until::Released, Author::Detector),
            GatewayId(1),
            at(0),
        )
        .unwrap();
    let act = (&name("hanako"), ReleaseReason::FalseAlarm, &name("CASE-7"));
    table.release(&subject(), act, Duration::from_secs(9), at(1)).unwrap();
    let parts = table.parts(&subject(), GatewayId(1));
    let years = at(3 * 365 * 86_400);
    table.prune(years);
    assert_eq!(spent(&parts, &table, years), [false, false]);
    for part in &parts {
        assert_eq!(LockTable::subject_of(&part.bytes, years), Ok(subject()));
    }
    assert_eq!(table.spent(b"of a newer version", years), None);
}

/// The clock was ahead when it was made: one that is made now would be taken for an older one.
#[test]
fn acc_2_a_version_ahead_of_the_clock_is_not_forgotten() {
    let source = Subject::Source(7);
    let mut table = LockTable::new(at(86_400));
    timed(&mut table, &source, 0, at(0));
    let parts = table.parts(&source, GatewayId(1));
    let reader = LockTable::new(at(0));
    assert_eq!(spent(&parts, &reader, at(86_000)), [false]);
    assert_eq!(spent(&parts, &reader, at(86_500)), [true]);
}

#[test]
fn acc_2_what_is_over_takes_no_room_when_it_comes_back() {
    let mut before = LockTable::new(at(86_400));
    let mut after = LockTable::new(at(0));
    for source in (0..200).map(Subject::Source) {
        timed(&mut before, &source, 30 * MINUTE, at(0));
        before.attempted(&source, GatewayId(1));
        for part in before.parts(&source, GatewayId(1)) {
            let heard = after.take_over(&part.bytes, Told::Before, at(31 * MINUTE)).unwrap();
            assert_eq!((heard.subject, heard.released), (source.clone(), None));
        }
    }
    assert_eq!(after.subjects().count(), 0);
    // What is imposed anew is newer than what is written there.
    timed(&mut after, &Subject::Source(3), MINUTE, at(32 * MINUTE));
    let version = |table: &LockTable| table.parts(&Subject::Source(3), GatewayId(1))[0].version;
    assert!(version(&after) > version(&before));
    // Of whom something holds, all is known.
    let held = Subject::Source(1_000);
    timed(&mut before, &held, 300 * MINUTE, at(0));
    before.attempted(&held, GatewayId(1));
    for part in before.parts(&held, GatewayId(1)) {
        after.take_over(&part.bytes, Told::Before, at(32 * MINUTE)).unwrap();
    }
    assert_eq!(after.attempts(&held), 1);
}
