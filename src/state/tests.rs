//! Quotas: exact, all or nothing, under threads, across reloads, and in the headers.
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use proptest::prelude::*;

use super::*;

mod debts;
mod given_back;
mod moved;
mod saved;
mod several;
mod shared;
mod waited;
use crate::base::{Clock, IdentityIx, LimitIx, Moment, Name, OperationIx, UpstreamIx};
use crate::policy::{LimitSpec, Measure, Mode, Sharing, Window};

const WHO: IdentityIx = IdentityIx(0);
const OP: OperationIx = OperationIx(70);
const UP: UpstreamIx = UpstreamIx(2);

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn per(count: u32, secs: u64) -> Window {
    Window { count, per: Duration::from_secs(secs), burst: None }
}

fn limit(title: &str, windows: &[Window]) -> LimitSpec {
    measured(title, Measure::Requests(windows.to_vec()))
}

fn measured(title: &str, measure: Measure) -> LimitSpec {
    LimitSpec {
        name: name(title),
        operations: vec![OP],
        upstreams: None,
        measure,
        sharing: Sharing::Each,
        mode: Mode::Enforced,
    }
}

fn quotas_of(limits: &[LimitSpec]) -> Quotas {
    let all = (0..limits.len()).map(|ix| LimitIx(u16::try_from(ix).unwrap())).collect();
    Quotas::build(limits, &[(name("printer"), all)]).unwrap()
}

fn at(millis: u64) -> Moment {
    Moment::new(0, 1_000_000_000 + millis * 1_000_000)
}

fn passes(quotas: &Quotas, now: Moment) -> usize {
    std::iter::from_fn(|| quotas.charge(WHO, OP, UP, now).ok()).take(1_000_000).count()
}

fn exceeded(quotas: &Quotas, now: Moment) -> Standing {
    match quotas.charge(WHO, OP, UP, now) {
        Err(Refused::Exceeded(standing)) => standing,
        other => panic!("{other:?}"),
    }
}

#[test]
fn mon_2_a_window_lets_its_count_through_and_then_its_rate() {
    let (clock, hand) = Clock::manual(0);
    let quotas = quotas_of(&[limit("orders", &[per(300, 60)])]);
    assert_eq!(passes(&quotas, clock.now()), 300);
    assert_eq!(exceeded(&quotas, clock.now()).reset, Duration::from_millis(200));
    hand.advance(Duration::from_millis(199));
    assert_eq!(exceeded(&quotas, clock.now()).reset, Duration::from_millis(1));
    hand.advance(Duration::from_millis(1));
    assert_eq!(passes(&quotas, clock.now()), 1);
    hand.advance(Duration::from_secs(3_600));
    assert_eq!(passes(&quotas, clock.now()), 300, "a full bucket holds no more than its burst");
}

#[test]
fn the_wall_clock_does_not_refill() {
    let (clock, hand) = Clock::manual(0);
    let quotas = quotas_of(&[limit("orders", &[per(2, 60)])]);
    assert_eq!(passes(&quotas, clock.now()), 2);
    hand.jump_wall_to(10_000_000_000);
    assert_eq!(passes(&quotas, clock.now()), 0);
}

#[test]
fn a_burst_of_its_own() {
    let slow = Window { count: 1, per: Duration::from_secs(60), burst: Some(20) };
    let quotas = quotas_of(&[limit("reports", &[slow])]);
    assert_eq!(passes(&quotas, at(0)), 20);
    assert_eq!(passes(&quotas, at(59_999)), 0);
    assert_eq!(passes(&quotas, at(60_000)), 1);
}

#[test]
fn mon_2_a_refused_request_is_charged_nowhere() {
    let quotas = quotas_of(&[limit("second", &[per(5, 1)]), limit("minute", &[per(100, 60)])]);
    assert_eq!(passes(&quotas, at(0)), 5);
    for _ in 0..1_000 {
        assert_eq!(exceeded(&quotas, at(0)).limit, LimitIx(0));
    }
    // Had the refused ones been charged, the minute's 95 others would be gone.
    let later: usize = (1..=19).map(|second| passes(&quotas, at(second * 1_000))).sum();
    assert_eq!(later, 95);
}

#[test]
fn the_longest_wait_is_told() {
    let quotas = quotas_of(&[limit("orders", &[per(2, 1), per(2, 60)])]);
    assert_eq!(passes(&quotas, at(0)), 2);
    let standing = exceeded(&quotas, at(0));
    assert_eq!((standing.window, standing.remaining), (1, 0));
    assert_eq!(standing.reset_secs(), 30);
    assert_eq!(passes(&quotas, at(30_000)), 1, "what was told is true");
}

#[test]
fn limits_bind_only_their_operations_and_identities() {
    let other = OperationIx(3);
    let quotas = Quotas::build(
        &[limit("orders", &[per(1, 60)])],
        &[(name("a"), vec![LimitIx(0)]), (name("b"), vec![LimitIx(0)]), (name("c"), vec![])],
    )
    .unwrap();
    assert!(quotas.charge(IdentityIx(0), OP, UP, at(0)).is_ok());
    assert!(quotas.charge(IdentityIx(0), OP, UP, at(0)).is_err());
    assert!(quotas.charge(IdentityIx(1), OP, UP, at(0)).is_ok(), "one's use is not another's");
    for (who, operation) in [(0, other), (0, OperationIx(u16::MAX)), (2, OP)] {
        let charged = quotas.charge(IdentityIx(who), operation, UP, at(0)).unwrap();
        assert_eq!(charged.tightest, None);
    }
    let stranger = quotas.charge(IdentityIx(3), OP, UP, at(0));
    assert!(matches!(stranger, Err(Refused::Unregistered)));
}

/// Threads that charge until they have been refused 1,000 times each, and what they got together.
/// Long enough that they really run at the same time.
fn race(quotas: [&Quotas; 4]) -> usize {
    let (granted, start) = (AtomicUsize::new(0), Barrier::new(quotas.len()));
    std::thread::scope(|scope| {
        for quotas in quotas {
            scope.spawn(|| {
                start.wait();
                let (mut passed, mut refused) = (0, 0);
                while refused < 1_000 {
                    match quotas.charge(WHO, OP, UP, at(0)) {
                        Ok(_) => passed += 1,
                        Err(_) => refused += 1,
                    }
                }
                granted.fetch_add(passed, Ordering::Relaxed);
            });
        }
    });
    granted.into_inner()
}

#[test]
fn mon_2_threads_together_get_no_more_than_the_limit() {
    let wide = limit("wide", &[per(300_000, 1), per(300_000, 60)]);
    let quotas = quotas_of(&[wide.clone(), limit("tight", &[per(200_000, 10)])]);
    assert_eq!(race([&quotas; 4]), 200_000);
    // The refused ones left no trace in the other limit's windows, seen here without the tight one.
    let mut alone = quotas_of(&[wide]);
    alone.carry_over(&quotas, at(0));
    assert_eq!(passes(&alone, at(0)), 100_000);
    assert_eq!(passes(&alone, at(1_000)), 5_000);
}

#[test]
fn the_tightest_window_is_told_after_success() {
    let quotas = quotas_of(&[limit("orders", &[per(10, 1), per(12, 60)])]);
    let first = quotas.charge(WHO, OP, UP, at(0)).unwrap().tightest.unwrap();
    assert_eq!((first.window, first.remaining), (0, 9));
    assert_eq!(first.reset, Duration::from_millis(900));
    assert_eq!(passes(&quotas, at(0)), 9);
    let later = quotas.charge(WHO, OP, UP, at(1_000)).unwrap().tightest.unwrap();
    assert_eq!((later.window, later.remaining), (1, 1));
    assert_eq!(later.reset_secs(), 5);
    let last = quotas.charge(WHO, OP, UP, at(1_000)).unwrap().tightest.unwrap();
    assert_eq!((last.window, last.remaining), (1, 0));
    assert_eq!(last.reset, Duration::from_secs(4), "12 taken, one came back at 5 s");
    assert_eq!(last.reset, exceeded(&quotas, at(1_000)).reset);
}

#[test]
fn rate_limit_fields_are_those_of_the_draft() {
    let burst = Window { count: 1, per: Duration::from_secs(2), burst: Some(30) };
    let quotas = quotas_of(&[
        limit("shipping.1", &[per(10, 1), per(300, 60), per(1_000, 3_600)]),
        limit("orders/getOrders", &[per(5_000, 86_400), per(7, 90), burst]),
    ]);
    let (mut policy, mut standing) = (Vec::new(), Vec::new());
    quotas.write_policy(WHO, OP, UP, &mut policy);
    assert_eq!(
        String::from_utf8(policy).unwrap(),
        "\"shipping.1-1s\";q=10;w=1, \"shipping.1-1m\";q=300;w=60, \
         \"shipping.1-1h\";q=1000;w=3600, \"orders/getOrders-1d\";q=5000;w=86400, \
         \"orders/getOrders-90s\";q=7;w=90, \"orders/getOrders-2s\";q=1;w=2;sekisho-burst=30"
    );
    let tightest = quotas.charge(WHO, OP, UP, at(0)).unwrap().tightest.unwrap();
    quotas.write_standing(&tightest, &mut standing);
    assert_eq!(String::from_utf8(standing).unwrap(), "\"orders/getOrders-90s\";r=6;t=78");
    let mut none = Vec::new();
    quotas.write_policy(WHO, OperationIx(1), UP, &mut none);
    quotas.write_policy(IdentityIx(9), OP, UP, &mut none);
    quotas.write_standing(&Standing { window: 9, ..tightest }, &mut none);
    assert!(none.is_empty());
}

#[test]
fn decimals_are_written_whole() {
    let quotas = quotas_of(&[limit("x", &[per(1, 1)])]);
    for (remaining, reset, expected) in [
        (0, Duration::ZERO, "\"x-1s\";r=0;t=0"),
        (u64::MAX, Duration::MAX, "\"x-1s\";r=18446744073709551615;t=18446744073709551615"),
        (10, Duration::from_nanos(1), "\"x-1s\";r=10;t=1"),
    ] {
        let mut out = Vec::new();
        let standing = Standing { limit: LimitIx(0), window: 0, remaining, reset };
        quotas.write_standing(&standing, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}

#[test]
fn mon_2_a_reload_does_not_refill() {
    let old = quotas_of(&[limit("orders", &[per(10, 1), per(100, 60)])]);
    assert_eq!(passes(&old, at(0)), 10);
    // Other indices, another order, a further limit and identity.
    let mut new = Quotas::build(
        &[limit("extra", &[per(50, 1)]), limit("orders", &[per(100, 60), per(10, 1)])],
        &[(name("new"), vec![LimitIx(1)]), (name("printer"), vec![LimitIx(0), LimitIx(1)])],
    )
    .unwrap();
    new.carry_over(&old, at(0));
    let printer = IdentityIx(1);
    assert!(new.charge(printer, OP, UP, at(0)).is_err());
    assert!(new.charge(IdentityIx(0), OP, UP, at(0)).is_ok());
    assert!(new.charge(printer, OP, UP, at(100)).is_ok());
    assert!(new.charge(printer, OP, UP, at(100)).is_err());
}

#[test]
fn mon_2_requests_under_the_old_configuration_spend_from_the_same_buckets() {
    let spec = [limit("orders", &[per(200_000, 60)])];
    let (old, mut new) = (quotas_of(&spec), quotas_of(&spec));
    new.carry_over(&old, at(0));
    assert_eq!(race([&old, &new, &old, &new]), 200_000);
}

#[test]
fn a_changed_rate_keeps_what_was_spent() {
    let old = quotas_of(&[limit("orders", &[per(300, 60)])]);
    for _ in 0..150 {
        old.charge(WHO, OP, UP, at(0)).unwrap();
    }
    let mut stricter = quotas_of(&[limit("orders", &[per(30, 60)])]);
    stricter.carry_over(&old, at(0));
    assert_eq!(passes(&stricter, at(0)), 15, "half was spent, half is left");
    let mut other_period = quotas_of(&[limit("orders", &[per(100, 20)])]);
    other_period.carry_over(&stricter, at(0));
    assert_eq!(passes(&other_period, at(0)), 0);
    assert_eq!(passes(&other_period, at(20_000)), 100);
}

#[test]
fn mon_2_a_configuration_that_is_never_put_in_force_refills_nothing() {
    let old = quotas_of(&[limit("orders", &[per(300, 60)])]);
    assert_eq!(passes(&old, at(0)), 300);
    for window in [Window { burst: Some(1), ..per(300, 60) }, per(9_000, 60), per(1, 1)] {
        let mut failed = quotas_of(&[limit("orders", &[window])]);
        failed.carry_over(&old, at(0));
        assert_eq!(passes(&failed, at(0)), 0);
    }
    assert_eq!(exceeded(&old, at(0)).reset, Duration::from_millis(200));
    assert_eq!(passes(&old, at(30_000)), 150);
}

#[test]
fn a_raised_limit_is_felt_at_once() {
    let day = 86_400;
    let month = Window { count: 1, per: Duration::from_secs(day), burst: Some(30) };
    let old = quotas_of(&[limit("reports", &[month])]);
    assert_eq!(passes(&old, at(0)), 30);
    let mut raised = quotas_of(&[limit("reports", &[per(86_400, day), per(1, 1)])]);
    raised.carry_over(&old, at(0));
    assert_eq!(passes(&raised, at(0)), 0, "empty, but no emptier");
    assert_eq!(passes(&raised, at(1_000)), 1);
}

#[test]
fn every_mistake_is_reported_at_once() {
    let mut idle = limit("idle", &[per(1, 1)]);
    idle.operations.clear();
    let wrong = [
        limit("none", &[]),
        limit("zero", &[per(0, 1)]),
        limit("fast", &[per(1_000_001, 1)]),
        limit("now", &[per(1, 0)]),
        limit("split", &[Window { count: 1, per: Duration::from_millis(1_500), burst: None }]),
        limit("aeon", &[per(1, 401 * 86_400)]),
        limit("twice", &[per(1, 1), per(2, 1)]),
        limit("still", &[Window { burst: Some(0), ..per(1, 1) }]),
        limit("vast", &[Window { burst: Some(u32::MAX), ..per(1, 60) }]),
        idle,
        limit("none", &[per(1, 1)]),
        limit("many", &(1..=17).map(|secs| per(1, secs)).collect::<Vec<_>>()),
    ];
    let errors = Quotas::build(
        &wrong,
        &[
            (name("a"), vec![LimitIx(99)]),
            (name("b"), vec![LimitIx(1), LimitIx(1)]),
            (name("a"), vec![]),
        ],
    )
    .unwrap_err();
    let found: Vec<_> = errors.iter().map(|error| (error.at.as_str(), error.fault)).collect();
    let expected = [
        ("none", QuotaFault::Windows),
        ("zero", QuotaFault::Count),
        ("fast", QuotaFault::Count),
        ("now", QuotaFault::Period),
        ("split", QuotaFault::Period),
        ("aeon", QuotaFault::Period),
        ("twice", QuotaFault::Period),
        ("still", QuotaFault::Burst),
        ("vast", QuotaFault::Burst),
        ("idle", QuotaFault::NoOperations),
        ("none", QuotaFault::NameTwice),
        ("many", QuotaFault::Windows),
        ("a", QuotaFault::LimitList),
        ("b", QuotaFault::LimitList),
        ("a", QuotaFault::NameTwice),
    ];
    assert_eq!(found, expected);
}

/// GCRA written down once more, in the plainest way: what `governor` and the adapter must agree on.
struct Reference {
    interval: u128,
    burst: u128,
    tat: u128,
}

impl Reference {
    fn new(window: &Window) -> Self {
        let interval = window.per.as_nanos().div_ceil(u128::from(window.count));
        Self { interval, burst: u128::from(window.burst.unwrap_or(window.count)), tat: 0 }
    }

    fn wait(&self, now: u128) -> u128 {
        let next = self.tat.max(now) + self.interval;
        next.saturating_sub(now + self.interval * self.burst)
    }
}

proptest! {
    #[test]
    fn mon_2_agrees_with_the_reference_and_never_exceeds_a_window(
        windows in proptest::collection::vec((1..40_u32, 1..20_u64, proptest::option::of(1..30_u32)), 1..4),
        steps in proptest::collection::vec(0..1_500_u64, 1..300),
    ) {
        let mut windows: Vec<_> = windows
            .into_iter()
            .map(|(count, secs, burst)| Window { count, per: Duration::from_secs(secs), burst })
            .collect();
        windows.sort_by_key(|window| window.per);
        windows.dedup_by_key(|window| window.per);
        let quotas = quotas_of(&[limit("orders", &windows)]);
        let mut reference: Vec<_> = windows.iter().map(Reference::new).collect();
        let (mut millis, mut granted) = (0, Vec::new());
        for step in steps {
            // Many at one moment, some pauses.
            millis += step.saturating_sub(1_000);
            let moment = at(millis);
            let now = u128::from(moment.mono_ns());
            let wait = reference.iter().map(|window| window.wait(now)).max().unwrap();
            match quotas.charge(WHO, OP, UP, moment) {
                Ok(charged) => {
                    prop_assert_eq!(wait, 0);
                    for window in &mut reference {
                        window.tat = window.tat.max(now) + window.interval;
                    }
                    let left = charged.tightest.unwrap().remaining;
                    let least = reference
                        .iter()
                        .map(|w| (now + w.interval * w.burst - w.tat) / w.interval)
                        .min();
                    prop_assert_eq!(u128::from(left), least.unwrap());
                    granted.push(now);
                }
                Err(Refused::Exceeded(standing)) => {
                    prop_assert!(wait > 0);
                    prop_assert_eq!(standing.reset.as_nanos(), wait);
                }
                Err(Refused::Unregistered | Refused::Unasked(_)) => prop_assert!(false),
            }
        }
        for window in &reference {
            for (from, start) in granted.iter().enumerate() {
                for (to, end) in granted.iter().enumerate().skip(from) {
                    let most = window.burst + (end - start) / window.interval;
                    prop_assert!(u128::try_from(to - from + 1).unwrap() <= most);
                }
            }
        }
    }
}
