//! Spent quotas as bytes: nothing refills, nobody is locked out for longer than a window.
use super::*;
use crate::policy::Amount;

fn at_wall(unix_ms: u64, mono_ms: u64) -> Moment {
    Moment::new(unix_ms, mono_ms * 1_000_000)
}

/// One identity of its own, and one limit that two identities share.
fn quotas() -> Quotas {
    let own = limit("orders", &[per(5, 60), per(100, 3_600)]);
    let bytes = Measure::Bytes(vec![Amount { count: 1_000, per: Duration::from_secs(100) }]);
    let together = LimitSpec { sharing: Sharing::All, ..limit("everybody", &[per(8, 60)]) };
    let limits = [own, measured("volume", bytes), together];
    let all: Vec<LimitIx> = (0..3).map(LimitIx).collect();
    Quotas::build(&limits, &[(name("printer"), all.clone()), (name("support"), all)]).unwrap()
}

/// What one process writes down and the next reads.
fn restarted(before: &Quotas, saved_at: Moment, now: Moment) -> Quotas {
    let after = quotas();
    let places = after.places();
    for whose in before.take_changed(usize::MAX) {
        let bytes = before.save(whose, saved_at);
        if !bytes.is_empty() {
            after.restore(&places, &bytes, now).unwrap();
        }
    }
    after
}

#[test]
fn mon_2_what_was_spent_is_spent_after_a_restart() {
    let (before, now) = (quotas(), at_wall(1_000_000, 77));
    assert_eq!(passes(&before, now), 5);
    before.spend(WHO, OP, UP, Spent { bytes: 900, pii_records: 0 }, now);
    let after = restarted(&before, now, at_wall(1_000_000, 3));
    assert_eq!(passes(&after, at_wall(1_000_000, 3)), 0);
    let other = IdentityIx(1);
    let shared = || after.charge(other, OP, UP, at_wall(1_000_000, 3)).is_ok();
    assert_eq!(std::iter::from_fn(|| shared().then_some(())).count(), 3, "8 less 5, together");
    // A unit of 12 s comes back as if nobody had slept.
    assert_eq!(passes(&after, at_wall(1_012_000, 12_003)), 1);
    assert!(before.take_changed(9).is_empty(), "each is told once");
}

#[test]
fn a_clock_that_jumped_neither_refills_at_once_nor_locks_out_beyond_the_window() {
    let minute = || quotas_of(&[limit("orders", &[per(5, 60)])]);
    let (before, now) = (minute(), at_wall(1_000_000_000, 50));
    assert_eq!(passes(&before, now), 5);
    let bytes = before.save(Whose::Identity(WHO), now);
    let restarted = |now| {
        let after = minute();
        after.restore(&after.places(), &bytes, now).unwrap();
        after
    };
    // Set back by a year while nobody ran: as empty as empty, and full after one window.
    let begun = at_wall(1_000, 9);
    let after = restarted(begun);
    assert_eq!(passes(&after, begun), 0);
    assert_eq!(passes(&after, at_wall(61_000, 60_009)), 5);
    // Time that passes while nobody runs gives back what it always does.
    let begun = at_wall(1_000_024_000, 1);
    assert_eq!(passes(&restarted(begun), begun), 2);
}

#[test]
fn what_has_come_back_takes_no_room() {
    let (before, now) = (quotas(), at_wall(5_000, 5_000));
    passes(&before, now);
    let whose = before.take_changed(9);
    assert_eq!(whose, [Whose::Identity(WHO), Whose::Everybody(LimitIx(2))]);
    assert!(!before.save(whose[0], now).is_empty());
    let later = at_wall(9_000_000, 9_000_000);
    assert!(whose.iter().all(|whose| before.save(*whose, later).is_empty()));
    before.mark_spent(later);
    assert!(before.take_changed(9).is_empty());
    before.mark_spent(now);
    assert_eq!(before.take_changed(9), whose);
}

#[test]
fn a_window_that_is_new_after_the_restart_is_as_empty_as_the_emptiest() {
    let (before, now) = (quotas(), at_wall(1_000_000, 1));
    passes(&before, now);
    let after = quotas_of(&[limit("orders", &[per(10, 600)])]);
    let bytes = before.save(Whose::Identity(WHO), now);
    after.restore(&after.places(), &bytes, now).unwrap();
    // 180 s of the old windows are owed: three of the new one's units.
    assert_eq!(passes(&after, now), 7);
}

proptest! {
    #[test]
    fn bytes_that_are_not_whole_are_refused_and_change_nothing(
        cut in 0_usize..100, flip in 0_usize..800, junk in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        let (before, now) = (quotas(), at_wall(1_000_000, 1));
        passes(&before, now);
        let whole = before.save(Whose::Identity(WHO), now);
        let mut flipped = whole.clone();
        flipped[flip / 8 % whole.len()] ^= 1 << (flip % 8);
        let after = quotas();
        let places = after.places();
        for bytes in [&whole[..cut % whole.len()], &flipped, &junk] {
            prop_assert!(after.restore(&places, bytes, now).is_err());
        }
        prop_assert_eq!(passes(&after, now), 5);
        let newer = [&[9][..], &whole[1..]].concat();
        prop_assert_eq!(after.restore(&places, &newer, now), Err(SavedFault::Newer));
    }
}
