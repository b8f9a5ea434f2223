//! Two processes that serve together for a while spend no more than one.
use super::*;
use crate::policy::Amount;

fn quotas() -> Quotas {
    let own = limit("orders", &[per(5, 60), per(100, 3_600)]);
    let bytes = Measure::Bytes(vec![Amount { count: 1_000, per: Duration::from_secs(100) }]);
    let together = LimitSpec { sharing: Sharing::All, ..limit("everybody", &[per(8, 60)]) };
    let limits = [own, measured("volume", bytes), together];
    let all: Vec<LimitIx> = (0..3).map(LimitIx).collect();
    Quotas::build(&limits, &[(name("printer"), all.clone()), (name("support"), all)]).unwrap()
}

fn at(ms: u64) -> Moment {
    Moment::new(1_000_000 + ms, ms * 1_000_000)
}

fn take(quotas: &Quotas, who: IdentityIx, now: Moment) -> usize {
    std::iter::from_fn(|| quotas.charge(who, OP, UP, now).ok()).count()
}

fn tell(from: &Quotas, mark: &mut QuotaMark, to: &Quotas, now: Moment) -> usize {
    let told = from.spent_since(mark, now);
    for piece in &told {
        to.add_spent(&to.places(), piece, now).unwrap();
    }
    told.len()
}

#[test]
fn mon_2_what_is_spent_elsewhere_is_spent_here() {
    let (old, new, other) = (quotas(), quotas(), IdentityIx(1));
    for _ in 0..2 {
        old.charge(WHO, OP, UP, at(0)).unwrap();
        new.charge(WHO, OP, UP, at(0)).unwrap();
    }
    // Both know of two. Then each lets one more pass, and the old one's is told.
    let mut mark = old.mark(at(0));
    assert_eq!(tell(&old, &mut mark, &new, at(0)), 0, "nothing since");
    old.charge(WHO, OP, UP, at(0)).unwrap();
    new.charge(WHO, OP, UP, at(0)).unwrap();
    assert_eq!(tell(&old, &mut mark, &new, at(0)), 2, "the identity's own, and everybody's");
    assert_eq!(take(&new, WHO, at(0)), 1, "two before, one there, one here: one of five");
    assert_eq!(tell(&old, &mut mark, &new, at(0)), 0, "each is told once");
    assert_eq!(take(&new, other, at(0)), 3, "five of everybody's eight");
    // What both allowed at once is a debt, and comes back by itself.
    let mut mark = old.mark(at(0));
    assert_eq!(take(&old, WHO, at(0)), 2);
    tell(&old, &mut mark, &new, at(0));
    assert_eq!(take(&new, WHO, at(35_000)), 0);
    assert_eq!(take(&new, WHO, at(36_100)), 1, "seven of five: two units of 12 s beyond the first");
    assert!(!new.take_changed(9).is_empty(), "and it is written down");
}

#[test]
fn mon_2_bytes_that_become_known_later_are_told_too() {
    let (old, new) = (quotas(), quotas());
    let mut mark = old.mark(at(0));
    old.spend(WHO, OP, UP, Spent { bytes: 1_500, pii_records: 0 }, at(10));
    tell(&old, &mut mark, &new, at(10));
    assert_eq!(take(&new, WHO, at(10)), 0, "1,500 of 1,000");
    assert_eq!(take(&new, WHO, at(60_000)), 5);
}

#[test]
fn mon_2_a_bucket_that_was_full_meanwhile_is_never_fuller_for_it() {
    let (old, new) = (quotas(), quotas());
    let mut mark = old.mark(at(0));
    old.charge(WHO, OP, UP, at(30_000)).unwrap();
    tell(&old, &mut mark, &new, at(30_000));
    let left = take(&new, WHO, at(30_000));
    assert!(left <= 4, "{left}");
    // Asked often, as it is, it is exact.
    let (old, new) = (quotas(), quotas());
    let mut mark = old.mark(at(0));
    for ms in (0..=30_000).step_by(100) {
        if ms == 30_000 {
            old.charge(WHO, OP, UP, at(ms)).unwrap();
        }
        tell(&old, &mut mark, &new, at(ms));
    }
    assert_eq!(take(&new, WHO, at(30_100)), 4, "no later than the time between two questions");
}

#[test]
fn what_is_no_piece_charges_nothing() {
    let (old, new) = (quotas(), quotas());
    let mut mark = old.mark(at(0));
    old.charge(WHO, OP, UP, at(0)).unwrap();
    let told = old.spent_since(&mut mark, at(0));
    let piece = told.first().unwrap();
    let places = new.places();
    for cut in 0..piece.len() {
        assert!(new.add_spent(&places, &piece[..cut], at(0)).is_err());
        let mut flipped = piece.clone();
        flipped[cut] ^= 1;
        assert!(new.add_spent(&places, &flipped, at(0)).is_err());
    }
    let newer = [&[9][..], &piece[1..]].concat();
    assert_eq!(new.add_spent(&places, &newer, at(0)), Err(SavedFault::Newer));
    // What was saved is another thing than what was spent since, both ways.
    let saved = old.save(Whose::Identity(WHO), at(0));
    assert_eq!(new.add_spent(&places, &saved, at(0)), Err(SavedFault::Damaged));
    assert_eq!(new.restore(&places, piece, at(0)), Err(SavedFault::Damaged));
    assert_eq!(take(&new, WHO, at(0)), 5);
}
