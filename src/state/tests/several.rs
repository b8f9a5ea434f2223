//! Gateways that share quotas: the sum is the limit, whoever asks when.
use super::*;
use crate::policy::Amount;

/// The quota as whoever gives it out sees it: so much is left, and none comes back.
struct Giver {
    left: u32,
    debt: u32,
}

impl Giver {
    fn answer(&mut self, want: &Want, peers: u32, now: Moment) {
        let (told, wanted) = want.ask();
        self.debt += told;
        self.left -= told.min(self.left);
        let given = wanted.min(self.left.div_ceil(peers));
        self.left -= given;
        let asked = wanted > 0 || self.left == 0;
        let dry_for = if asked { Duration::from_secs(3_600) } else { Duration::ZERO };
        let full_in = Duration::from_secs(86_400);
        want.answered(told, Given { units: given, wait: dry_for, full_in }, now);
    }
}

fn of(limits: &[LimitSpec]) -> Quotas {
    let all = (0..limits.len()).map(|ix| LimitIx(u16::try_from(ix).unwrap())).collect();
    Quotas::build_among(limits, &[(name("printer"), all)], Among::Several).unwrap()
}

fn hourly(count: u32) -> Quotas {
    of(&[limit("orders", &[per(count, 3_600)])])
}

/// One request, asking as often as it takes. Says whether it went through.
fn request(quotas: &Quotas, giver: &mut Giver, now: Moment) -> bool {
    for _ in 0..4 {
        match quotas.charge(WHO, OP, UP, now) {
            Ok(charged) => {
                if charged.low {
                    for want in quotas.wants(WHO, OP, UP, now) {
                        giver.answer(&want, 2, now);
                    }
                }
                return true;
            }
            Err(Refused::Unasked(_)) => {
                for want in quotas.wants(WHO, OP, UP, now) {
                    giver.answer(&want, 2, now);
                }
            }
            Err(Refused::Exceeded(standing)) => {
                assert!(standing.reset > Duration::ZERO);
                return false;
            }
            Err(Refused::Unregistered) => panic!(),
        }
    }
    false
}

fn is_unasked(charged: &Result<Charged, Refused>) -> bool {
    matches!(charged, Err(Refused::Unasked(_)))
}

proptest! {
    #[test]
    fn mon_2_the_sum_over_gateways_is_the_limit(
        turns in proptest::collection::vec((0_usize..2, 0_u64..40), 1..600), count in 1_u32..400,
    ) {
        let gateways = [hourly(count), hourly(count)];
        let mut giver = Giver { left: count, debt: 0 };
        let (mut passed, mut now) = (0_u32, 0);
        for (who, later) in turns {
            now += later;
            passed += u32::from(request(&gateways[who], &mut giver, at(now)));
        }
        prop_assert!(passed <= count, "{} of {}", passed, count);
        // Together they use it up, but for what the other one was given and had no use for.
        for _ in 0..2 * count {
            for gateway in &gateways {
                passed += u32::from(request(gateway, &mut giver, at(now)));
            }
        }
        prop_assert!(passed <= count);
        prop_assert!(passed + count.div_ceil(16) * 12 >= count, "{} of {}", passed, count);
        prop_assert_eq!(giver.debt, 0);
    }
}

#[test]
fn a_batch_follows_the_traffic_and_what_is_given_is_void_after_a_while() {
    let quotas = hourly(1_600);
    let mut giver = Giver { left: 1_600, debt: 0 };
    for turn in 0..100 {
        assert!(request(&quotas, &mut giver, at(turn)));
    }
    let unspent = 1_600 - giver.left - 100;
    assert!((20..=200).contains(&unspent), "{unspent}: asked for ahead of need");
    let asked = quotas.wants(WHO, OP, UP, at(10_000));
    assert_eq!(asked.len(), 1, "what was given has become void");
    assert!(is_unasked(&quotas.charge(WHO, OP, UP, at(10_000))));
}

#[test]
fn mon_2_what_else_is_told_fetches_no_unit_that_nobody_needs() {
    let bytes = Measure::Bytes(vec![Amount { count: 1_000_000, per: Duration::from_secs(3_600) }]);
    let quotas = of(&[limit("orders", &[per(60, 3_600)]), measured("volume", bytes)]);
    let mut givers = [Giver { left: 60, debt: 0 }, Giver { left: 1 << 30, debt: 0 }];
    for turn in 0..50 {
        let now = at(turn * 10_000);
        let mut answer = |want: &Want| {
            givers[usize::from(want.is_of_amounts())].answer(want, 2, now);
        };
        let passed = (0..4).any(|_| {
            let charged = quotas.charge(WHO, OP, UP, now).is_ok();
            if !charged {
                quotas.wants(WHO, OP, UP, now).iter().for_each(&mut answer);
            }
            charged
        });
        assert!(passed, "turn {turn}");
        assert!(quotas.spend(WHO, OP, UP, Spent { bytes: 1_000, pii_records: 0 }, now));
        let wants = quotas.wants(WHO, OP, UP, now);
        wants.iter().filter(|want| want.comes_ahead(now)).for_each(answer);
    }
    assert_eq!(givers[0].left, 10);
}

#[test]
fn a_slow_quota_is_asked_for_one_by_one() {
    let quotas = of(&[limit("orders", &[per(500, 86_400)])]);
    let mut giver = Giver { left: 500, debt: 0 };
    for turn in 0..50 {
        assert!(request(&quotas, &mut giver, at(turn)));
    }
    assert_eq!(giver.left, 450);
}

#[test]
fn mon_2_a_unit_of_a_slow_quota_goes_back_where_the_request_did_not_need_it() {
    let daily = |name, count| limit(name, &[per(count, 86_400)]);
    let quotas = of(&[daily("orders", 12), daily("few", 1)]);
    let mut givers = [Giver { left: 12, debt: 0 }, Giver { left: 0, debt: 0 }];
    for (want, giver) in quotas.wants(WHO, OP, UP, at(0)).iter().zip(&mut givers) {
        giver.answer(want, 2, at(0));
    }
    assert!(exceeded(&quotas, at(0)).reset > Duration::from_secs(3_500));
    let [want] = &quotas.returning(WHO, OP, UP, at(0))[..] else { panic!("of the dry one") };
    assert_eq!(want.units.kept_for(), Some(Duration::from_millis(50)));
    assert!(quotas.returning(WHO, OP, UP, at(0)).is_empty(), "one looks after it");
    assert_eq!(want.take_unspent(at(50)), (1, None));
    assert_eq!(want.take_unspent(at(50)), (0, None), "once");
    // What is dry is believed for a second: another gateway may bring something back.
    assert!(exceeded(&quotas, at(999)).reset > Duration::from_secs(3_500));
    assert!(is_unasked(&quotas.charge(WHO, OP, UP, at(1_000))));
    // A charge that is taken back late is a unit again.
    let quotas = of(&[daily("orders", 12)]);
    let mut giver = Giver { left: 12, debt: 0 };
    for want in quotas.wants(WHO, OP, UP, at(0)) {
        giver.answer(&want, 2, at(0));
    }
    let charged = quotas.charge(WHO, OP, UP, at(0)).unwrap();
    quotas.give_back(WHO, OP, UP, &charged, at(60_000));
    assert_eq!(quotas.returning(WHO, OP, UP, at(60_000))[0].take_unspent(at(60_050)), (1, None));
}

#[test]
fn mon_3_requests_that_reveal_nothing_use_nothing_up() {
    let amount = |count| Amount { count, per: Duration::from_secs(3_600) };
    for count in [200, 5] {
        let quotas = of(&[measured("records", Measure::PiiRecords(vec![amount(count)]))]);
        let mut giver = Giver { left: u32::try_from(count).unwrap(), debt: 0 };
        for turn in 0..500 {
            assert!(request(&quotas, &mut giver, at(turn * 2_000)), "turn {turn}");
        }
        assert_eq!(u64::from(giver.left), count - 1, "one is held");
        let slow = quotas.returning(WHO, OP, UP, at(1_000_000));
        assert_eq!(
            slow.iter().map(|want| want.take_unspent(at(1_000_000)).0).sum::<u32>(),
            u32::from(count == 5)
        );
    }
}

#[test]
fn apart_a_gateway_spends_its_part_from_an_empty_start_and_tells_it_afterwards() {
    let quotas = hourly(60);
    let wants = quotas.wants(WHO, OP, UP, at(0));
    let part = wants[0].units.part(Duration::from_secs(120), 30);
    let supply = Supply::Part { units: part, empty_at: at(0) };
    wants[0].supply(supply, at(0));
    let passed = |now: u64| {
        std::iter::from_fn(|| quotas.charge(WHO, OP, UP, at(now)).ok().map(|_| ())).count()
    };
    assert_eq!(passed(0), 0);
    assert_eq!(exceeded(&quotas, at(0)).reset, Duration::from_secs(120));
    assert_eq!(passed(240_000), 2);
    // The same part once more begins nothing anew.
    wants[0].supply(supply, at(240_000));
    assert_eq!(passed(240_000), 0);
    assert!(quotas.wants(WHO, OP, UP, at(250_000)).is_empty(), "there is nobody to ask");
    let owing = quotas.apart();
    assert_eq!(owing.iter().map(Want::ask).collect::<Vec<_>>(), [(2, 1)]);
    let mut giver = Giver { left: 60, debt: 0 };
    giver.answer(&owing[0], 2, at(250_000));
    assert_eq!((giver.debt, giver.left), (2, 57));
    assert!(quotas.apart().is_empty());
}

#[test]
fn mon_2_a_request_that_was_refused_after_all_uses_no_part_up() {
    let quotas = hourly(60);
    let wants = quotas.wants(WHO, OP, UP, at(0));
    let part = wants[0].units.part(Duration::from_secs(360), 10);
    wants[0].supply(Supply::Part { units: part, empty_at: at(0) }, at(0));
    let full = at(3_600_000);
    for turn in 0..10 {
        let charged = quotas.charge(WHO, OP, UP, full).unwrap_or_else(|_| panic!("{turn}"));
        quotas.give_back(WHO, OP, UP, &charged, full);
    }
    assert!(quotas.apart().iter().all(|want| want.ask().0 == 0), "nothing is owed");
    assert_eq!(passes(&quotas, full), 10);
}

#[test]
fn nothing_is_spent_where_nothing_is_known() {
    let quotas = hourly(60);
    let wants = quotas.wants(WHO, OP, UP, at(0));
    wants[0].supply(Supply::Nothing, at(0));
    // Which is no word of anybody's having spent it.
    assert!(is_unasked(&quotas.charge(WHO, OP, UP, at(10))));
    assert!(quotas.wants(WHO, OP, UP, at(999)).is_empty());
    assert_eq!(quotas.wants(WHO, OP, UP, at(1_000)).len(), 1);
    let trial = of(&[LimitSpec { mode: Mode::Shadow, ..limit("tried", &[per(60, 3_600)]) }]);
    trial.wants(WHO, OP, UP, at(0))[0].supply(Supply::Nothing, at(0));
    assert!(trial.charge(WHO, OP, UP, at(10)).unwrap().shadowed.is_empty());
}

#[test]
fn mon_2_what_there_was_no_room_to_ask_leaves_everybody_what_is_in_hand() {
    let quotas = hourly(1_600);
    let want = quotas.wants(WHO, OP, UP, at(0)).remove(0);
    let mut giver = Giver { left: 1_600, debt: 0 };
    for turn in 0..40 {
        assert!(request(&quotas, &mut giver, at(turn)));
    }
    want.put_off(at(50));
    assert!(quotas.charge(WHO, OP, UP, at(60)).is_ok(), "some are left");
    while quotas.charge(WHO, OP, UP, at(60)).is_ok() {}
    assert!(is_unasked(&quotas.charge(WHO, OP, UP, at(60))), "nobody said that it is used up");
    assert!(quotas.wants(WHO, OP, UP, at(149)).is_empty(), "nobody waits for the same again");
    assert!(!quotas.wants(WHO, OP, UP, at(150)).is_empty());
    assert!(request(&quotas, &mut giver, at(150)));
}

#[test]
fn mon_3_amounts_are_told_in_grains_without_losing_a_byte() {
    let amount = Amount { count: 50_000_000_000, per: Duration::from_secs(86_400) };
    let quotas = of(&[measured("volume", Measure::Bytes(vec![amount]))]);
    let mut giver = Giver { left: 1 << 30, debt: 0 };
    let grain = quotas.wants(WHO, OP, UP, at(0))[0].units.grain;
    assert!(request(&quotas, &mut giver, at(0)));
    assert!((2..100).contains(&grain), "{grain}");
    for turn in 0..1_000 {
        let told = quotas.spend(WHO, OP, UP, Spent { bytes: 1_001, pii_records: 0 }, at(turn));
        assert!(told);
        for want in quotas.wants(WHO, OP, UP, at(turn)) {
            giver.answer(&want, 2, at(turn));
        }
    }
    let gone = (1 << 30) - giver.left;
    let spent = 1_001_000 / u32::try_from(grain).unwrap();
    assert!(gone.abs_diff(spent) <= 2, "{gone} for {spent}");
}

#[test]
fn a_reload_keeps_what_was_given_and_a_gateway_alone_has_no_pools() {
    let before = hourly(60);
    let mut giver = Giver { left: 60, debt: 0 };
    for _ in 0..60 {
        request(&before, &mut giver, at(0));
    }
    let mut after = hourly(60);
    after.carry_over(&before, at(1));
    assert!(matches!(after.charge(WHO, OP, UP, at(1)), Err(Refused::Exceeded(_))));
    let alone = quotas_of(&[limit("orders", &[per(60, 3_600)])]);
    assert!(alone.wants(WHO, OP, UP, at(0)).is_empty());
    assert_eq!(passes(&alone, at(0)), 60);
}

#[test]
fn mon_2_a_quota_that_nobody_could_ask_for_says_so() {
    let quotas = hourly(60);
    let Err(Refused::Unasked(standing)) = quotas.charge(WHO, OP, UP, at(0)) else { panic!() };
    assert_eq!(quotas.limit_name(standing.limit).unwrap().as_str(), "orders");
    assert_eq!((standing.remaining, standing.reset_secs()), (0, 1));
}

#[test]
fn mon_2_nobody_waits_for_the_others_because_of_a_limit_on_trial() {
    let records = Measure::PiiRecords(vec![Amount { count: 50, per: Duration::from_secs(3_600) }]);
    let trials = [limit("tried", &[per(2, 3_600)]), measured("tried-records", records)];
    let quotas = of(&trials.map(|spec| LimitSpec { mode: Mode::Shadow, ..spec }));
    let mut giver = Giver { left: 2, debt: 0 };
    let charged = quotas.charge(WHO, OP, UP, at(0)).unwrap();
    assert!(charged.shadowed.is_empty());
    assert!(charged.low, "they are asked afterwards");
    let wants = quotas.wants(WHO, OP, UP, at(0));
    assert_eq!(wants.len(), 2);
    assert!(wants.iter().all(|want| want.mode == Mode::Shadow));
    giver.answer(&wants[0], 1, at(0));
    assert_eq!((giver.debt, giver.left), (1, 1), "what passed is told, and nothing is held");
    assert!(quotas.wants(WHO, OP, UP, at(0)).iter().all(|want| want.ask() == (0, 0)));
    // The second one passes as well, and then it is known that there is none.
    assert!(quotas.charge(WHO, OP, UP, at(1)).unwrap().shadowed.is_empty());
    giver.answer(&quotas.wants(WHO, OP, UP, at(2))[0], 1, at(2));
    assert_eq!(quotas.charge(WHO, OP, UP, at(3)).unwrap().shadowed, [LimitIx(0)]);
}

#[test]
fn mon_2_a_limit_on_trial_reports_of_two_gateways_what_it_would_have_refused() {
    let tried = || of(&[LimitSpec { mode: Mode::Shadow, ..limit("tried", &[per(500, 86_400)]) }]);
    let (gateways, mut giver) = ([tried(), tried()], Giver { left: 500, debt: 0 });
    let mut shadowed = 0;
    for turn in 0..400 {
        // Longer than what an enforced limit believes.
        for gateway in &gateways {
            let now = at(turn * 2_000);
            let charged = gateway.charge(WHO, OP, UP, now).unwrap();
            shadowed += charged.shadowed.len();
            if charged.low {
                for want in gateway.wants(WHO, OP, UP, now) {
                    giver.answer(&want, 2, now);
                }
            }
        }
    }
    assert!((295..=300).contains(&shadowed), "{shadowed} of 300");
}

#[test]
fn mon_3_what_nobody_has_left_is_overdrawn_by_a_step_at_most() {
    let amount = Amount { count: 5_000, per: Duration::from_secs(86_400) };
    let quotas = of(&[measured("records", Measure::PiiRecords(vec![amount]))]);
    let mut giver = Giver { left: 0, debt: 0 };
    let spend = |records, now| {
        let spent = Spent { bytes: 0, pii_records: records };
        quotas.spend(WHO, OP, UP, spent, at(now))
    };
    // Others have used it up, which this gateway does not know yet.
    assert!(spend(60, 0), "it is told");
    assert!(quotas.overdrawn(WHO, OP, UP, at(0)).is_none());
    giver.answer(&quotas.wants(WHO, OP, UP, at(0))[0], 1, at(0));
    spend(99, 1);
    assert!(quotas.overdrawn(WHO, OP, UP, at(1)).is_none());
    spend(1, 2);
    let over = quotas.overdrawn(WHO, OP, UP, at(2)).unwrap();
    assert!(over.reset > Duration::ZERO);
    giver.left = 500;
    giver.answer(&quotas.wants(WHO, OP, UP, at(3))[0], 1, at(3));
    assert!(quotas.overdrawn(WHO, OP, UP, at(3)).is_none());
}

#[test]
fn mon_3_a_debt_outlives_a_reload_and_is_told() {
    let records = |count| {
        let amount = Amount { count, per: Duration::from_secs(3_600) };
        of(&[measured("records", Measure::PiiRecords(vec![amount]))])
    };
    let spend = |quotas: &Quotas, pii_records| {
        quotas.spend(WHO, OP, UP, Spent { bytes: 0, pii_records }, at(0));
    };
    let before = records(1_000);
    spend(&before, 3_000);
    let mut after = records(1_000);
    after.carry_over(&before, at(0));
    // What is under way goes on to spend by the configuration that it began with.
    spend(&before, 1_000);
    let reset = exceeded(&after, at(0)).reset;
    assert!(reset > Duration::from_secs(3 * 3_600), "{reset:?}");
    assert_eq!(after.apart()[0].ask().0, 4_000);
    // One that is raised is felt at once, and what was spent is still to be told.
    let mut raised = records(2_000);
    raised.carry_over(&after, at(0));
    assert!(exceeded(&raised, at(0)).reset < Duration::from_secs(10));
    assert_eq!(raised.apart()[0].ask().0, 4_000);
}
