//! What sources did, over restarts (MON-5, MON-6).
use super::*;

const ROOM: usize = 4_096;

/// A process that began at `began_ms`, so many milliseconds later.
fn moment(began_ms: u64, ms: u64) -> Moment {
    Moment::new(began_ms + ms, ms * 1_000_000)
}

/// Fails to be the `nth` identity. Whether it is to be locked for that.
fn guess(sources: &mut Sources, source: u64, nth: u32, at: Moment) -> bool {
    let outcome = Outcome::NotAuthenticated;
    let identity = Some(IdentityIx(nth));
    let one = Event { identity, network: None, source, outcome, ..event(at) };
    sources.observe(&one, &enforced()).iter().any(|signal| signal.asks == Response::Lock)
}

/// The guess that is one too many, of a source that goes on after a restart before the guess `split`;
/// the wall clock then shows `later_ms` after the last of those before it.
fn locked_by(split: u32, later_ms: i64) -> Option<u32> {
    let mut sources = Sources::new(ROOM);
    let mut kept = std::collections::BTreeMap::new();
    for nth in 0..split {
        let now = moment(START_MS, u64::from(nth) * 1_000 + 5_000);
        if guess(&mut sources, 77, nth, now) {
            return Some(nth);
        }
        // As it goes each second: what is written last is what counts.
        kept.extend(sources.take_changed(usize::MAX, now));
    }
    let began_ms = (START_MS + u64::from(split) * 1_000 + 4_000).saturating_add_signed(later_ms);
    let mut sources = Sources::new(ROOM);
    for (page, bytes) in kept {
        sources.restore(page, &bytes, moment(began_ms, 7)).unwrap();
    }
    (split..50).find(|nth| {
        let now = moment(began_ms, 10 + u64::from(nth - split) * 1_000);
        guess(&mut sources, 77, *nth, now)
    })
}

#[test]
fn mon_6_a_spray_is_stopped_at_the_same_guess_whenever_it_is_restarted() {
    let without = locked_by(50, 0);
    assert!(without.is_some());
    for split in 0..50 {
        assert_eq!(locked_by(split, 2_000), without, "restarted before guess {split}");
    }
    let hour_ms = i64::try_from(HOUR_MS).unwrap();
    // A clock that was set back gives nothing away; what ended by the clock has ended.
    assert_eq!(locked_by(5, -30 * 24 * hour_ms), without);
    assert_eq!(locked_by(5, hour_ms), without.map(|nth| nth + 5));
}

#[test]
fn mon_6_a_window_is_no_longer_for_a_restart_in_it() {
    let mut sources = Sources::new(ROOM);
    for nth in 0..5 {
        guess(&mut sources, 77, nth, moment(START_MS, 1_000));
    }
    let (page, bytes) = sources.take_changed(9, moment(START_MS, 600_000)).remove(0);
    let again_at = |ms: u64| {
        let began_ms = START_MS + 601_000;
        let mut sources = Sources::new(ROOM);
        sources.restore(page, &bytes, moment(began_ms, 0)).unwrap();
        (5..50).find(|nth| guess(&mut sources, 77, *nth, moment(began_ms, ms)))
    };
    assert_eq!(again_at(300_000), Some(9), "a quarter of an hour after it began");
    assert_eq!(again_at(300_001), Some(14), "and later");
}

#[test]
fn mon_6_no_more_is_written_than_counts() {
    let mut sources = Sources::new(ROOM);
    let everywhere = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for n in 0..100_000 {
        guess(&mut sources, everywhere(n), 1, moment(START_MS, 1_000));
    }
    let now = moment(START_MS, 2_000);
    let (some, rest) = (sources.take_changed(40, now), sources.take_changed(1_000, now));
    assert_eq!((some.len(), rest.len()), (40, 24), "64 pages");
    let most = some.iter().chain(&rest).map(|(_, bytes)| bytes.len()).max().unwrap();
    assert!(most <= 4_097, "{most} bytes");
    // Each page has its turn, whoever comes again and again.
    for n in 0..100_000 {
        guess(&mut sources, everywhere(n), 1, moment(START_MS, 3_000));
    }
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..8 {
        seen.extend(sources.take_changed(8, now).into_iter().map(|(page, _)| page));
        guess(&mut sources, 1, 1, now);
    }
    assert_eq!(seen.len(), 64);
    let _last = sources.take_changed(1_000, now);
    assert_eq!(sources.take_changed(1_000, now), [], "nothing changed");
    sources.mark_kept();
    assert_eq!(sources.take_changed(1_000, now).len(), 64);
    // A quarter of an hour later nothing of it is left anywhere.
    let later = moment(START_MS, 904_000);
    let gone = sources.take_changed(1_000, later);
    assert!(gone.len() == 64 && gone.iter().all(|(_, bytes)| bytes.is_empty()));
    assert_eq!(sources.take_changed(1_000, later), []);
}

#[test]
fn mon_6_what_is_no_page_is_refused_and_takes_nothing_away() {
    let now = moment(START_MS, 1_000);
    let mut sources = Sources::new(ROOM);
    for nth in 0..9 {
        guess(&mut sources, 77, nth, now);
    }
    let (page, bytes) = sources.take_changed(9, now).remove(0);
    let newer = [&[9][..], &bytes[1..]].concat();
    for (bad, fault) in [
        (&[][..], HistoryFault::Length),
        (&bytes[..bytes.len() - 1], HistoryFault::Length),
        (&newer, HistoryFault::Newer),
        (&[0, 0], HistoryFault::Malformed),
    ] {
        assert_eq!(sources.restore(page, bad, now), Err(fault));
    }
    // A page of another table is read as well; an older word of a source counts less than a newer one.
    assert_eq!(sources.restore(u32::MAX, &bytes, now), Ok(()));
    assert!(guess(&mut sources, 77, 9, now));
}
