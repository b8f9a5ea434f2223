//! Several gateways before one Amazon.
use super::super::among::{Among, Dealer, Dealt};
use super::*;

fn several(place: u16, count: u16, dealer: Dealer) -> Among {
    Among::Several { place, count, dealer }
}

/// How many go at once.
fn at_once(pacer: &mut Pacer, plan: Plan, now: Moment) -> u32 {
    let mut count = 0;
    while let Verdict::Admit(pass) = pacer.offer(&ask(plan, 1, 0.0), now) {
        pacer.settle(pass, Answer::Served { limit: None }, now);
        count += 1;
    }
    count
}

#[test]
fn mon_2_parts_of_a_fast_quota_add_up_to_the_whole_and_begin_empty() {
    let plan = plan(10.0, 7);
    let mut sum = 0;
    for place in 0..3 {
        let mut pacer = Pacer::new(Limits::default());
        pacer.share(several(place, 3, Dealer::There), at(0.0));
        assert_eq!(at_once(&mut pacer, plan, at(0.0)), 0, "others may just have used it up");
        assert_eq!(pacer.dealt(KEY), Dealt::Not);
        sum += at_once(&mut pacer, plan, at(60.0));
    }
    assert_eq!(sum, 7);
    // A third comes: what one had is cut, and when it goes nothing is there at once.
    let mut pacer = Pacer::new(Limits::default());
    pacer.share(several(0, 2, Dealer::There), at(0.0));
    assert_eq!(at_once(&mut pacer, plan, at(60.0)), 4);
    pacer.share(several(0, 7, Dealer::There), at(120.0));
    assert_eq!(at_once(&mut pacer, plan, at(120.0)), 1);
    pacer.share(several(0, 1, Dealer::There), at(120.0));
    assert_eq!(at_once(&mut pacer, plan, at(120.0)), 0);
}

#[test]
fn mon_2_a_slow_quota_is_dealt_out_and_divided_where_nobody_deals() {
    let plan = plan(0.5, 4);
    let mut pacer = Pacer::new(Limits::default());
    pacer.share(Among::Unheard, at(0.0));
    assert_eq!(at_once(&mut pacer, plan, at(0.0)), 0, "nobody knows how many they are");
    pacer.share(several(1, 2, Dealer::There), at(1.0));
    let first = admitted(pacer.offer(&ask(plan, 1, 0.0), at(1.0)));
    let Dealt::Unit(Tempo { interval_ns, burst: 4 }) = pacer.dealt(KEY) else { panic!() };
    assert!(interval_ns >= 2 * SECOND);
    // The dealer has none for five seconds: whoever comes is told that, those under way left out.
    let second = admitted(pacer.offer(&ask(plan, 1, 0.0), at(1.0)));
    pacer.settle(second, Answer::Unsent, at(1.0));
    pacer.emptied(KEY, secs(5.0), at(1.0));
    let Verdict::Refuse(refused) = pacer.offer(&ask(plan, 1, 0.0), at(1.0)) else { panic!() };
    assert!((4.9..5.1).contains(&refused.wait.as_secs_f64()), "{refused:?}");
    pacer.settle(first, Answer::Served { limit: None }, at(1.1));
    let _pass = admitted(pacer.offer(&ask(plan, 1, 0.0), at(6.1)));
    // Nobody deals: half of rate and burst, from an empty start, and it is owed.
    pacer.share(several(1, 2, Dealer::Gone), at(10.0));
    assert_eq!(at_once(&mut pacer, plan, at(13.9)), 0);
    assert_eq!(at_once(&mut pacer, plan, at(14.1)), 1);
    assert!(matches!(pacer.dealt(KEY), Dealt::Owed(Tempo { burst: 4, .. })));
    // Where no call of the burst falls to a gateway nothing leaves it.
    pacer.share(several(4, 5, Dealer::Gone), at(100.0));
    let Verdict::Refuse(refused) = pacer.offer(&ask(plan, 1, 0.0), at(900.0)) else { panic!() };
    assert!(refused.wait >= secs(1.0));
}

#[test]
fn mon_2_a_dealer_that_talks_nonsense_shuts_no_quota_for_good() {
    let plan = plan(0.5, 4);
    let shut = || {
        let mut pacer = Pacer::new(Limits::default());
        pacer.share(several(0, 2, Dealer::There), at(0.0));
        let pass = admitted(pacer.offer(&ask(plan, 1, 0.0), at(0.0)));
        pacer.settle(pass, Answer::Unsent, at(0.0));
        pacer.emptied(KEY, Duration::MAX, at(0.0));
        pacer
    };
    // No longer than all that there may be takes to come back, and to be counted.
    let most = 4.0 / 0.5 + Limits::default().counted_within.as_secs_f64();
    let mut pacer = shut();
    let Verdict::Refuse(refused) = pacer.offer(&ask(plan, 1, 0.0), at(0.0)) else { panic!() };
    assert!(refused.wait.as_secs_f64() < most + 0.1, "{refused:?}");
    let _pass = admitted(pacer.offer(&ask(plan, 1, 0.0), at(most + 0.1)));
    // Nor once he is gone: a part begins empty, and no emptier.
    let mut pacer = shut();
    pacer.share(several(0, 2, Dealer::Gone), at(1.0));
    assert!(at_once(&mut pacer, plan, at(4.0 * most)) > 0);
}

#[test]
fn mon_2_whoever_waits_goes_on_when_it_is_known_who_shares() {
    let mut pacer = Pacer::new(Limits::default());
    pacer.share(Among::Unheard, at(0.0));
    let Verdict::Wait { ticket, .. } = pacer.offer(&ask(plan(0.5, 4), 1, 5.0), at(0.0)) else {
        panic!()
    };
    pacer.share(several(0, 1, Dealer::There), at(0.5));
    let mut out = Vec::new();
    assert_eq!(pacer.next_wake(at(0.5)), Some(Duration::ZERO));
    pacer.release(at(0.5), &mut out);
    assert_eq!(out.first().map(|released| released.ticket), Some(ticket));
}
