//! A charge that is taken back because the request was refused after all.
use super::*;

fn take(quotas: &Quotas, now: Moment) -> Charged {
    quotas.charge(WHO, OP, UP, now).unwrap()
}

fn give_back(quotas: &Quotas, charged: &Charged, now: Moment) {
    quotas.give_back(WHO, OP, UP, charged, now);
}

#[test]
fn mon_2_a_charge_that_is_taken_back_at_once_was_none() {
    let quotas = quotas_of(&[limit("orders", &[per(3, 60), per(100, 86_400)])]);
    for _ in 0..10_000 {
        let charged = take(&quotas, at(0));
        give_back(&quotas, &charged, at(0));
    }
    assert_eq!(passes(&quotas, at(0)), 3);
    let day: usize = (1..=97).map(|n| passes(&quotas, at(n * 20_000))).sum();
    assert_eq!(day, 97, "the day was not charged either");
}

#[test]
fn mon_2_what_waited_and_was_refused_comes_back_whole() {
    let many = |name, count| limit(name, &[per(count, 60)]);
    // More windows than most requests have.
    let quotas = quotas_of(&[
        limit("one", &[per(100, 60), per(5_000, 3_600), per(90_000, 86_400)]),
        limit("two", &[per(200, 60), per(6_000, 3_600), per(90_000, 86_400)]),
        many("three", 300),
        many("four", 150),
    ]);
    for turn in [0, 1] {
        let now = at(turn * 5_000);
        let waiting: Vec<_> = (0..100).map(|_| take(&quotas, now)).collect();
        exceeded(&quotas, now);
        let later = at((turn + 1) * 5_000);
        for charged in &waiting {
            give_back(&quotas, charged, later);
        }
    }
    assert_eq!(passes(&quotas, at(10_000)), 100);
    assert_eq!(exceeded(&quotas, at(10_000)).reset, Duration::from_millis(600));
}

#[test]
fn mon_2_a_place_among_concurrent_requests_is_given_back_once() {
    let quotas = quotas_of(&[measured("open", Measure::Concurrent(1))]);
    let charged = take(&quotas, at(0));
    give_back(&quotas, &charged, at(0));
    exceeded(&quotas, at(0));
    drop(charged);
    drop(take(&quotas, at(0)));
}

#[test]
fn mon_2_what_a_limit_on_trial_would_not_have_charged_is_not_given_back() {
    let trial = LimitSpec { mode: Mode::Shadow, ..limit("trial", &[per(1, 60)]) };
    let quotas = quotas_of(&[trial]);
    let first = take(&quotas, at(0));
    assert!(first.shadowed.is_empty());
    let second = take(&quotas, at(0));
    assert_eq!(second.shadowed, [LimitIx(0)]);
    give_back(&quotas, &second, at(0));
    assert_eq!(take(&quotas, at(0)).shadowed, [LimitIx(0)]);
    give_back(&quotas, &first, at(0));
    assert!(take(&quotas, at(0)).shadowed.is_empty());
}

#[test]
fn mon_2_each_limit_on_trial_is_charged_and_given_back_by_itself() {
    let trial = |name, count| LimitSpec { mode: Mode::Shadow, ..limit(name, &[per(count, 60)]) };
    let quotas = quotas_of(&[trial("one", 1), trial("three", 3), trial("also-one", 1)]);
    assert!(take(&quotas, at(0)).shadowed.is_empty());
    let second = take(&quotas, at(0));
    assert_eq!(second.shadowed, [LimitIx(0), LimitIx(2)]);
    give_back(&quotas, &second, at(0));
    for _ in 0..2 {
        assert_eq!(take(&quotas, at(0)).shadowed, [LimitIx(0), LimitIx(2)]);
    }
    assert_eq!(take(&quotas, at(0)).shadowed, [LimitIx(0), LimitIx(1), LimitIx(2)]);
}

#[test]
fn mon_2_a_limit_on_trial_that_would_refuse_by_one_window_charges_none() {
    let trial = limit("trial", &[per(1, 60), per(2, 3_600)]);
    let quotas = quotas_of(&[LimitSpec { mode: Mode::Shadow, ..trial }]);
    assert!(take(&quotas, at(0)).shadowed.is_empty());
    for _ in 0..5 {
        assert_eq!(take(&quotas, at(0)).shadowed, [LimitIx(0)]);
    }
    assert!(take(&quotas, at(60_000)).shadowed.is_empty(), "the hour has one left");
}

proptest! {
    /// Whatever is charged, and taken back soon or late: never does more pass than if the calls that
    /// were taken back had not been made.
    #[test]
    fn mon_2_taking_back_never_gives_more_than_was_taken(
        calls in prop::collection::vec((0_u64..4_000, prop::option::of(0_u64..30_000)), 1..60),
    ) {
        let (real, ideal) = (quotas_of(&[limit("q", &[per(4, 20)])]), quotas_of(&[limit("q", &[per(4, 20)])]));
        let mut due: Vec<(u64, Charged)> = Vec::new();
        let (mut now, mut passed, mut possible) = (0, 0_u32, 0_u32);
        for (gap, back_after) in calls {
            now += gap;
            due.sort_by_key(|(at, ..)| *at);
            while due.first().is_some_and(|(at, ..)| *at <= now) {
                let (back, charged) = due.remove(0);
                give_back(&real, &charged, at(back));
            }
            let charged = real.charge(WHO, OP, UP, at(now));
            match (charged, back_after) {
                (Ok(charged), Some(after)) => due.push((now + after, charged)),
                (Ok(_), None) => {
                    passed += 1;
                    // In a world without the refused calls this one passes as well.
                    prop_assert!(ideal.charge(WHO, OP, UP, at(now)).is_ok());
                    possible += 1;
                }
                (Err(_), _) => {}
            }
        }
        prop_assert_eq!(passed, possible);
    }
}
