//! What is counted beside requests, and what several share.
use super::*;
use crate::policy::Amount;

fn amount(count: u64, secs: u64) -> Amount {
    Amount { count, per: Duration::from_secs(secs) }
}

fn two(limits: &[LimitSpec]) -> Quotas {
    let all: Vec<_> = (0..limits.len()).map(|ix| LimitIx(u16::try_from(ix).unwrap())).collect();
    Quotas::build(limits, &[(name("a"), all.clone()), (name("b"), all)]).unwrap()
}

const A: IdentityIx = IdentityIx(0);
const B: IdentityIx = IdentityIx(1);

fn may(quotas: &Quotas, who: IdentityIx, now: Moment) -> Result<(), Standing> {
    match quotas.charge(who, OP, UP, now) {
        Ok(_) => Ok(()),
        Err(Refused::Exceeded(standing)) => Err(standing),
        Err(refused) => panic!("{refused:?}"),
    }
}

#[test]
fn mon_3_bytes_and_records_run_into_debt_that_has_to_be_paid() {
    let quotas = two(&[
        measured("volume", Measure::Bytes(vec![amount(1_000, 10)])),
        measured("people", Measure::PiiRecords(vec![amount(50, 100)])),
    ]);
    assert_eq!(may(&quotas, A, at(0)), Ok(()));
    let spend = |bytes, pii_records| {
        quotas.spend(A, OP, UP, Spent { bytes, pii_records }, at(0));
    };
    spend(999, 49);
    assert_eq!(may(&quotas, A, at(0)), Ok(()), "a byte and a record are left");
    spend(1_001, 0);
    // 2,000 bytes at 100 a second, of which 1,000 may be owed: one more at 10.01 s.
    let standing = may(&quotas, A, at(0)).unwrap_err();
    assert_eq!((standing.limit, standing.reset), (LimitIx(0), Duration::from_millis(10_010)));
    assert!(may(&quotas, A, at(10_009)).is_err());
    assert_eq!(may(&quotas, A, at(10_010)), Ok(()), "what was told is true");
    spend(0, 51);
    assert_eq!(may(&quotas, A, at(10_010)).unwrap_err().limit, LimitIx(1));
    assert_eq!(may(&quotas, B, at(0)), Ok(()), "one's use is not another's");
}

#[test]
fn mon_3_no_amount_overflows_and_no_debt_is_for_ever() {
    let quotas = two(&[measured("volume", Measure::Bytes(vec![amount(1, 400 * 86_400)]))]);
    for _ in 0..3 {
        quotas.spend(A, OP, UP, Spent { bytes: u64::MAX, pii_records: u64::MAX }, at(0));
    }
    let standing = may(&quotas, A, at(0)).unwrap_err();
    assert_eq!(standing.reset.as_secs(), 10 * 400 * 86_400);
}

#[test]
fn mon_2_a_shared_limit_is_spent_by_all_and_refused_calls_charge_nothing() {
    let mut shared = limit("limit/total", &[per(3, 60)]);
    shared.sharing = Sharing::All;
    let quotas = two(&[limit("own", &[per(2, 60)]), shared]);
    assert_eq!((may(&quotas, A, at(0)), may(&quotas, A, at(0))), (Ok(()), Ok(())));
    // Refused by its own limit: the shared one keeps its last unit for B.
    for _ in 0..10 {
        assert_eq!(may(&quotas, A, at(0)).unwrap_err().limit, LimitIx(0));
    }
    assert_eq!(may(&quotas, B, at(0)), Ok(()));
    assert_eq!(may(&quotas, B, at(0)).unwrap_err().limit, LimitIx(1));
    // A reload refills neither, whether it stays shared or not.
    let again = |sharing| {
        let mut total = limit("limit/total", &[per(3, 60)]);
        total.sharing = sharing;
        let mut new = two(&[total]);
        new.carry_over(&quotas, at(0));
        [may(&new, A, at(0)), may(&new, B, at(0))]
    };
    for sharing in [Sharing::All, Sharing::Each] {
        assert!(again(sharing).iter().all(Result::is_err), "{sharing:?}");
    }
}

#[test]
fn mon_2_threads_of_two_identities_share_one_limit_exactly() {
    let mut shared = limit("limit/total", &[per(200_000, 60)]);
    shared.sharing = Sharing::All;
    let quotas = two(&[shared]);
    let granted = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for who in [A, B, A, B] {
            let (quotas, granted) = (&quotas, &granted);
            scope.spawn(move || {
                let passed = std::iter::repeat_with(|| may(quotas, who, at(0)))
                    .take_while(Result::is_ok)
                    .count();
                granted.fetch_add(passed, Ordering::Relaxed);
            });
        }
    });
    assert_eq!(granted.into_inner(), 200_000);
}

#[test]
fn mon_2_requests_at_the_same_time_hold_their_places_until_they_end() {
    let mut everybody = measured("limit/all", Measure::Concurrent(3));
    everybody.sharing = Sharing::All;
    let quotas = two(&[measured("own", Measure::Concurrent(2)), everybody]);
    let first = quotas.charge(A, OP, UP, at(0)).unwrap();
    let second = quotas.charge(A, OP, UP, at(0)).unwrap();
    assert_eq!(may(&quotas, A, at(0)).unwrap_err().limit, LimitIx(0));
    let third = quotas.charge(B, OP, UP, at(0)).unwrap();
    assert_eq!(may(&quotas, B, at(0)).unwrap_err().limit, LimitIx(1));
    drop(first);
    // Under a new configuration the open ones still count.
    let mut new = two(&[measured("own", Measure::Concurrent(1))]);
    new.carry_over(&quotas, at(0));
    assert!(may(&new, A, at(0)).is_err());
    drop(second);
    assert_eq!(may(&new, A, at(0)), Ok(()));
    drop(third);
    assert!((0..3).all(|_| may(&quotas, A, at(0)).is_ok()));
}

#[test]
fn mon_2_a_shadow_limit_says_what_it_would_do_and_refuses_nobody() {
    let mut shadow = limit("tried", &[per(1, 60)]);
    shadow.mode = Mode::Shadow;
    let quotas = two(&[limit("live", &[per(3, 60)]), shadow]);
    let told: Vec<_> = (0..3).map(|_| quotas.charge(A, OP, UP, at(0)).unwrap().shadowed).collect();
    assert_eq!(told, [vec![], vec![LimitIx(1)], vec![LimitIx(1)]]);
    assert_eq!(may(&quotas, A, at(0)).unwrap_err().limit, LimitIx(0));
    let mut policy = Vec::new();
    quotas.write_policy(A, OP, UP, &mut policy);
    assert_eq!(policy, b"\"live-1m\";q=3;w=60", "callers are not told of it");
}

#[test]
fn mon_2_a_limit_toward_one_seller_counts_what_goes_there() {
    let mut seller = limit("limit/amazon@jp", &[per(1, 60)]);
    seller.upstreams = Some(vec![UP]);
    seller.sharing = Sharing::All;
    let quotas = two(&[seller]);
    assert_eq!(may(&quotas, A, at(0)), Ok(()));
    assert!(may(&quotas, B, at(0)).is_err());
    assert!(quotas.charge(B, OP, UpstreamIx(0), at(0)).is_ok(), "another account");
    let mut policy = Vec::new();
    quotas.write_policy(A, OP, UpstreamIx(0), &mut policy);
    assert!(policy.is_empty());
}

#[test]
fn fields_of_other_units_name_them() {
    let quotas = two(&[
        measured("v", Measure::Bytes(vec![amount(2_000_000_000, 86_400)])),
        measured("p", Measure::PiiRecords(vec![amount(5_000, 86_400)])),
        measured("c", Measure::Concurrent(4)),
    ]);
    let mut policy = Vec::new();
    quotas.write_policy(A, OP, UP, &mut policy);
    assert_eq!(
        String::from_utf8(policy).unwrap(),
        "\"v-1d\";q=2000000000;qu=\"content-bytes\";w=86400, \
         \"p-1d\";q=5000;qu=\"sekisho-pii-records\";w=86400, \"c\";q=4;qu=\"concurrent-requests\""
    );
}
