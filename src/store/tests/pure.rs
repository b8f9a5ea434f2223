use std::time::Duration;

use proptest::prelude::*;

use crate::base::{Name, Secret};
use crate::store::bucket::{Asked, Bucket, OWNED_FOR, grant};
use crate::store::register::DecodeFault;
use crate::store::seal::Purpose;
use crate::store::*;

fn secret(environment: &str) -> SharedSecret {
    SharedSecret::derive(&Secret::new([3; 32]), &Name::parse(environment).unwrap())
}

fn registers() -> impl Strategy<Value = Register> {
    // Few versions and ranks, so that they meet.
    let value = prop::collection::vec(any::<u8>(), 0..40);
    (prop_oneof![0..4_u64, any::<u64>()], 0..3_u8, value)
        .prop_map(|(version, rank, value)| Register { version, rank, value })
}

proptest! {
    #[test]
    fn acc_2_merging_is_the_same_in_any_order(a in registers(), b in registers(), c in registers()) {
        let of = |x: &Register, y: &Register| x.clone().merge(y.clone());
        prop_assert_eq!(of(&a, &b), of(&b, &a));
        prop_assert_eq!(of(&of(&a, &b), &c), of(&a, &of(&b, &c)));
        prop_assert_eq!(of(&a, &a), a.clone());
        // Redis compares bytes.
        prop_assert_eq!(a.cmp(&b), a.encode().cmp(&b.encode()));
    }

    #[test]
    fn acc_2_a_register_reads_as_it_was_written(register in registers(), cut in any::<usize>()) {
        let bytes = register.encode();
        prop_assert_eq!(Register::decode(&bytes, 40), Ok(register.clone()));
        let cut = cut % bytes.len();
        prop_assert_eq!(Register::decode(&bytes[..cut], 40), Err(DecodeFault::CutShort));
        let longer = [&bytes[..], b"x"].concat();
        prop_assert_eq!(Register::decode(&longer, 40), Err(DecodeFault::Trailing));
        if let Some(less) = register.value.len().checked_sub(1) {
            prop_assert_eq!(Register::decode(&bytes, less), Err(DecodeFault::TooLong));
        }
    }

    #[test]
    fn mon_5_any_bytes_are_read_one_way_or_refused(
        bytes in prop::collection::vec(any::<u8>(), 0..80),
        place in prop::collection::vec(any::<u8>(), 0..30),
    ) {
        if let Ok(register) = Register::decode(&bytes, 64) {
            prop_assert_eq!(register.encode(), bytes.clone());
        }
        for again in [
            LockKey::decode(&bytes).map(|key| key.encode()),
            BlobKey::decode(&bytes).map(|key| key.encode()),
            CounterKey::decode(&bytes).map(|key| key.encode()),
            LeaseKey::decode(&bytes).map(|key| key.encode()),
        ] {
            prop_assert!(again.is_err() || again == Ok(bytes.clone()));
        }
        prop_assert_eq!(secret("test").open_register(Purpose::Lock, &place, &bytes, 64), None);
    }

    #[test]
    fn acc_2_keys_read_as_they_were_written_and_sort(
        kind in 0..4_usize, text in any::<[u8; 8]>(), by in any::<u16>(), slot in any::<u8>(),
        parts in any::<(u32, u32)>(),
    ) {
        let id = KeyId::of(&secret("test"), "identity", &text);
        let lock = LockKey { scope: Scope::ALL[kind], id, by: Gateway(by), slot };
        prop_assert_eq!(LockKey::decode(&lock.encode()), Ok(lock));
        let counter = CounterKey { what: Tallied::ALL[kind], id, part: parts.0 };
        prop_assert_eq!(CounterKey::decode(&counter.encode()), Ok(counter));
        let lease = LeaseKey { of: Metered::ALL[kind % 3], id, window: slot };
        prop_assert_eq!(LeaseKey::decode(&lease.encode()), Ok(lease));
        let blob = |part| BlobKey { shelf: Shelf::ALL[kind], id, part };
        let (a, b) = (blob(parts.0), blob(parts.1));
        prop_assert_eq!(BlobKey::decode(&a.encode()), Ok(a));
        prop_assert_eq!(a.cmp(&b), a.encode().cmp(&b.encode()));
    }

    /// A code holds for one environment, one purpose, one place, one content.
    #[test]
    fn priv_5_a_record_counts_only_where_it_was_written(
        register in registers(), place in any::<[u8; 20]>(), at in any::<usize>(), bit in 0..8_u8,
    ) {
        let ours = secret("production");
        let sealed = ours.seal(Purpose::Lock, &place, register.encode());
        let open = |secret: &SharedSecret, purpose, place: &[u8], sealed: &[u8]| {
            secret.open_register(purpose, place, sealed, 64)
        };
        prop_assert_eq!(open(&ours, Purpose::Lock, &place, &sealed), Some(register));
        prop_assert_eq!(open(&secret("test"), Purpose::Lock, &place, &sealed), None);
        prop_assert_eq!(open(&ours, Purpose::Blob, &place, &sealed), None);
        let mut elsewhere = place;
        elsewhere[at % 20] ^= 1 << bit;
        prop_assert_eq!(open(&ours, Purpose::Lock, &elsewhere, &sealed), None);
        let mut other = sealed.clone();
        other[at % sealed.len()] ^= 1 << bit;
        prop_assert_eq!(open(&ours, Purpose::Lock, &place, &other), None);
        prop_assert_eq!(open(&ours, Purpose::Lock, &place, &sealed[..at % sealed.len()]), None);
    }

    /// Parts add up to the whole, to the unit and in rate.
    #[test]
    fn mon_2_parts_add_up(interval_us in 1..10_000_000_u64, burst in 1..5_000_u32, count in 1..60_u16) {
        let rate = Rate::new(Duration::from_micros(interval_us), burst).unwrap();
        let parts: Vec<Rate> = (0..count).filter_map(|place| rate.part(place, count)).collect();
        prop_assert_eq!(parts.iter().map(Rate::burst).sum::<u32>(), burst);
        let holders = u128::try_from(parts.len()).unwrap();
        prop_assert!(parts.iter().all(|part| part.interval().as_micros()
            == u128::from(interval_us) * holders));
        prop_assert_eq!(rate.part(0, 0), None);
    }

    /// Whatever gateways ask, whenever: within any span no more than burst and what it refills.
    #[test]
    fn mon_2_a_quota_holds_over_every_span(
        interval_us in 1..1_000_u64, burst in 1..50_u32, reborn in any::<bool>(),
        asks in prop::collection::vec((0..2_000_u64, 0..60_u32, 0..4_u32, 1..4_u16, 0..5_u16), 1..60),
    ) {
        let rate = Rate::new(Duration::from_micros(interval_us), burst).unwrap();
        let (mut known, mut now_us) = (None::<Bucket>, 1_000_000);
        let reborn_us = reborn.then_some(now_us);
        let mut granted: Vec<(u64, u64)> = Vec::new();
        for (later, wanted, debt, by, peers) in asks {
            now_us += later;
            let ask = Ask { wanted, debt, ..an_ask(rate) };
            let asked = Asked { by: Gateway(by), peers, now_us, reborn_us };
            let (after, lease) = grant(known, &ask, &asked);
            prop_assert!(lease.granted <= wanted);
            prop_assert_eq!(lease.wait.is_zero(), lease.granted > 0 || wanted == 0);
            if lease.granted == 0 && wanted > 0 {
                // The wait is honest: then, and not a microsecond before, there is something.
                let wait = u64::try_from(lease.wait.as_micros()).unwrap();
                let ask = Ask { debt: 0, ..ask };
                let then = Asked { now_us: now_us + wait, ..asked };
                prop_assert!(grant(Some(after), &ask, &then).1.granted > 0);
                let before = Asked { now_us: now_us + wait - 1, ..asked };
                prop_assert_eq!(grant(Some(after), &ask, &before).1.granted, 0);
            }
            granted.push((now_us, u64::from(lease.granted)));
            // Forgetting what is forgettable changes nothing.
            known = (!after.is_forgettable(now_us)).then_some(after);
        }
        for (first, (from, _)) in granted.iter().enumerate() {
            let mut sum = 0;
            for (at, units) in &granted[first..] {
                sum += units;
                prop_assert!(sum <= u64::from(burst) + (at - from) / interval_us + 1);
            }
        }
        if reborn {
            let due = granted.last().unwrap().0.saturating_sub(1_000_000) / interval_us;
            prop_assert!(granted.iter().map(|(_, units)| units).sum::<u64>() <= due);
        }
    }

    /// The store is lost at some moment by all: what is leased, plus what each then spends as its
    /// part, never exceeds the limit, over any span.
    #[test]
    fn mon_2_the_sum_holds_when_the_store_is_lost(
        interval_ms in 1..200_u64, burst in 1..40_u32, count in 1..7_u16, lost_at in 0..40_usize,
    ) {
        let rate = Rate::new(Duration::from_millis(interval_ms), burst).unwrap();
        let mut shared = None;
        let mut own: Vec<Option<Bucket>> = vec![None; usize::from(count)];
        let mut spent: Vec<(u64, u64)> = Vec::new();
        let step_us = interval_ms * 1_000 / 3 + 1;
        let lost_us = step_us * u64::try_from(lost_at).unwrap();
        for step in 0..120_u64 {
            let now_us = step * step_us;
            for place in 0..count {
                let condition = if now_us < lost_us {
                    Condition::Sound
                } else {
                    Condition::Faulty(StoreFault::Unreachable)
                };
                let since = Duration::from_micros(now_us.saturating_sub(lost_us));
                let peers = Peers { count, place };
                let of = Metered::Identity;
                let sight = Sight { of, condition, since, peers, owned: Duration::ZERO };
                let (bucket, rate, asked) = match allowance(rate, &sight) {
                    Allowance::Store => {
                        let by = Gateway(place);
                        (&mut shared, rate, Asked { by, peers: count, now_us, reborn_us: None })
                    }
                    Allowance::Part(part) => {
                        let by = Gateway(place);
                        // Begins empty.
                        let reborn_us = Some(lost_us);
                        let asked = Asked { by, peers: 1, now_us, reborn_us };
                        (&mut own[usize::from(place)], part, asked)
                    }
                    Allowance::Nothing(fault) => {
                        prop_assert_eq!(fault, StoreFault::Unreachable);
                        continue;
                    }
                    Allowance::Whole => panic!("nobody owns a fast quota"),
                };
                let ask = Ask { wanted: 7, ..an_ask(rate) };
                let (after, lease) = grant(*bucket, &ask, &asked);
                *bucket = Some(after);
                spent.push((now_us, u64::from(lease.granted)));
            }
        }
        for (first, (from, _)) in spent.iter().enumerate() {
            let mut sum = 0;
            for (at, units) in &spent[first..] {
                sum += units;
                let due = u64::from(burst) + (at - from) / (interval_ms * 1_000) + 1;
                prop_assert!(sum <= due, "{sum} of {due}");
            }
        }
    }
}

fn an_ask(rate: Rate) -> Ask {
    let id = KeyId::of(&secret("test"), "identity", b"a");
    Ask {
        key: LeaseKey { of: Metered::Identity, id, window: 0 },
        rate,
        wanted: 1,
        debt: 0,
        returned: 0,
        late: Duration::ZERO,
    }
}

fn a_duty(rate: Rate) -> Ask {
    let ask = an_ask(rate);
    Ask { key: LeaseKey { of: Metered::Duty, ..ask.key }, ..ask }
}

#[test]
fn mon_2_nothing_opens_without_the_store() {
    let fast = Rate::new(Duration::from_secs(1), 100).unwrap();
    let slow = Rate::new(Duration::from_secs(90), 4).unwrap();
    for fault in StoreFault::ALL {
        let sight = |peers, owned, since| Sight {
            of: Metered::Duty,
            condition: Condition::Faulty(*fault),
            since: Duration::from_secs(since),
            peers,
            owned: Duration::from_secs(owned),
        };
        let two = Peers { count: 2, place: 1 };
        let nothing = Allowance::Nothing(*fault);
        assert_eq!(allowance(fast, &sight(Peers::default(), 0, 99)), nothing, "nobody was seen");
        let part = Rate::new(Duration::from_secs(2), 50).unwrap();
        assert_eq!(allowance(fast, &sight(two, 0, 0)), Allowance::Part(part));
        assert_eq!(allowance(slow, &sight(two, 5, 0)), Allowance::Whole, "its owner goes on");
        assert_eq!(allowance(slow, &sight(two, 0, 29)), nothing, "another may be its owner");
        let part = Rate::new(Duration::from_secs(180), 2).unwrap();
        assert_eq!(allowance(slow, &sight(two, 0, 30)), Allowance::Part(part));
        let ours = Sight { of: Metered::Identity, ..sight(two, 0, 0) };
        assert_eq!(allowance(slow, &ours), Allowance::Part(part), "ours has no owner");
        let many = Peers { count: 9, place: 8 };
        assert_eq!(allowance(slow, &sight(many, 0, 99)), nothing, "no unit falls to it");
    }
}

#[test]
fn mon_2_a_duty_has_one_owner_at_a_time() {
    let rate = Rate::new(Duration::from_secs(61), 5).unwrap();
    let asked = |by, now_us| Asked { by: Gateway(by), peers: 2, now_us, reborn_us: None };
    let begin = 1_000_000_000;
    let term = u64::try_from(OWNED_FOR.as_micros()).unwrap();
    let (bucket, lease) = grant(None, &a_duty(rate), &asked(1, begin));
    assert_eq!((lease.granted, lease.holder), (1, Holder::Me(OWNED_FOR)));
    let (bucket, lease) = grant(Some(bucket), &a_duty(rate), &asked(2, begin + term - 1));
    assert_eq!((lease.granted, lease.holder), (0, Holder::Another(Duration::from_micros(1))));
    let (bucket, lease) = grant(Some(bucket), &a_duty(rate), &asked(2, begin + term));
    assert_eq!((lease.granted, lease.holder), (1, Holder::Me(OWNED_FOR)));
    // The clock goes back by a year: the claim is not a year long.
    let (_, lease) = grant(Some(bucket), &a_duty(rate), &asked(1, 0));
    assert_eq!(lease.holder, Holder::Another(OWNED_FOR));
}

#[test]
fn mon_2_a_slow_quota_of_ours_is_given_unit_by_unit_and_taken_back() {
    let rate = Rate::new(Duration::from_secs(7_200), 2).unwrap();
    let asked = |by, now_us| Asked { by: Gateway(by), peers: 2, now_us, reborn_us: None };
    let now = 1_000_000_000;
    let (bucket, lease) = grant(None, &an_ask(rate), &asked(1, now));
    assert_eq!((lease.granted, lease.holder), (1, Holder::All));
    let (bucket, lease) = grant(Some(bucket), &an_ask(rate), &asked(2, now));
    assert_eq!((lease.granted, lease.holder), (1, Holder::All), "nobody owns it");
    let (bucket, lease) = grant(Some(bucket), &an_ask(rate), &asked(1, now));
    assert_eq!((lease.granted, lease.wait), (0, Duration::from_secs(7_200)));
    let back = Ask { wanted: 0, returned: 1, ..an_ask(rate) };
    let (bucket, lease) = grant(Some(bucket), &back, &asked(2, now));
    assert_eq!(lease.granted, 0);
    let (bucket, lease) = grant(Some(bucket), &an_ask(rate), &asked(1, now));
    assert_eq!(lease.granted, 1, "what another did not need");
    // Nobody can bring back more than was given.
    let (bucket, _) = grant(Some(bucket), &Ask { returned: 99, ..back }, &asked(2, now));
    let (_, lease) = grant(
        Some(bucket),
        &Ask { wanted: 99, ..an_ask(rate) },
        &Asked { peers: 1, ..asked(1, now) },
    );
    assert_eq!(lease.granted, 2);
}

proptest! {
    /// Amazon's bucket, whose calls arrive at any time within `late` of their grant and in any order,
    /// is never overdrawn; and where the burst outlasts the lateness, nothing but the last units of
    /// it has to wait.
    #[test]
    fn mon_2_who_counts_late_is_never_overdrawn(
        interval_us in 100..3_000_u64, burst in 1..30_u32, late_us in 1..2_000_u64,
        asks in prop::collection::vec((0..4_000_u64, 0..2_000_u64, 1..4_u16), 1..150),
    ) {
        let rate = Rate::new(Duration::from_micros(interval_us), burst).unwrap();
        let (mut known, mut now_us) = (None::<Bucket>, 1_000_000_000);
        let mut arrivals = Vec::new();
        for (later, delay, by) in asks {
            now_us += later;
            let ask = Ask { late: Duration::from_micros(late_us), ..an_ask(rate) };
            let asked = Asked { by: Gateway(by), peers: 3, now_us, reborn_us: None };
            let (after, lease) = grant(known, &ask, &asked);
            if lease.granted == 0 {
                let wait = u64::try_from(lease.wait.as_micros()).unwrap();
                let then = Asked { now_us: now_us + wait, ..asked };
                prop_assert_eq!(grant(Some(after), &ask, &then).1.granted, 1);
                let before = Asked { now_us: now_us + wait - 1, ..asked };
                prop_assert_eq!(grant(Some(after), &ask, &before).1.granted, 0);
            } else {
                arrivals.push(now_us + delay % (late_us + 1));
            }
            known = (!after.is_forgettable(now_us)).then_some(after);
        }
        arrivals.sort_unstable();
        let mut full_us = 0_u64;
        for at in arrivals {
            full_us = full_us.max(at) + interval_us;
            prop_assert!(full_us <= at + interval_us * u64::from(burst), "Amazon refuses");
        }
    }
}

#[test]
fn mon_2_a_unit_that_counts_late_holds_back_the_last_of_the_burst_only() {
    // getOrders: one in a minute, twenty at once.
    let rate = Rate::new(Duration::from_secs(60), 20).unwrap();
    let ask = Ask { late: Duration::from_secs(2), ..an_ask(rate) };
    let (mut known, mut now_us, mut waits) = (None, 1_000_000_000, Vec::new());
    for _ in 0..23 {
        loop {
            let asked = Asked { by: Gateway(1), peers: 2, now_us, reborn_us: None };
            let (after, lease) = grant(known, &ask, &asked);
            known = Some(after);
            if lease.granted == 1 {
                break;
            }
            waits.push(lease.wait.as_secs());
            now_us += u64::try_from(lease.wait.as_micros()).unwrap();
        }
    }
    assert_eq!(waits, [2, 60, 60, 60]);
}

#[test]
fn mon_2_a_rate_has_bounds() {
    assert_eq!(Rate::new(Duration::ZERO, 1), Err(RateFault::Interval));
    assert_eq!(Rate::new(Duration::MAX, 1), Err(RateFault::Interval));
    assert_eq!(Rate::new(Duration::from_secs(1), 0), Err(RateFault::Burst));
    assert_eq!(Rate::new(Duration::from_secs(86_400), u32::MAX), Err(RateFault::Burst));
    let quickest = Rate::new(Duration::from_nanos(1), u32::MAX).unwrap();
    assert_eq!(quickest.interval(), Duration::from_micros(1));
    // Times at the end of what a number holds: a refusal, no panic, no grant.
    let asked = Asked { by: Gateway(1), peers: 1, now_us: u64::MAX, reborn_us: Some(u64::MAX) };
    assert_eq!(grant(None, &an_ask(quickest), &asked).1.granted, 0);
}

#[test]
fn log_2_faults_and_secrets_say_nothing_of_the_other_side() {
    let words: std::collections::HashSet<_> =
        StoreFault::ALL.iter().map(|fault| fault.word()).collect();
    assert_eq!(words.len(), StoreFault::ALL.len());
    assert_eq!(format!("{:?}", secret("test")), "SharedSecret([secret])");
    let one = KeyId::of(&secret("test"), "identity", b"taro@example.com");
    assert_eq!(one, KeyId::of(&secret("test"), "identity", b"taro@example.com"));
    assert_ne!(one, KeyId::of(&secret("production"), "identity", b"taro@example.com"));
    assert_ne!(one, KeyId::of(&secret("test"), "order", b"taro@example.com"));
}
