//! What one case shows; `properties` and the simulation in `tests/suite/pacing` show the rest.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "seconds are written as decimals here"
)]
mod among;
mod debts;
mod properties;

use std::time::Duration;

use super::*;
use crate::base::Moment;

const SECOND: u64 = 1_000_000_000;
const KEY: BucketKey = BucketKey { seller: 1, application: 1, operation: 1 };

fn at(secs: f64) -> Moment {
    Moment::new(1_700_000_000_000, (secs * 1e9) as u64)
}

fn secs(secs: f64) -> Duration {
    Duration::from_secs_f64(secs)
}

fn plan(rate: f64, burst: u32) -> Plan {
    Plan::new(Rate::per_second(rate).unwrap(), burst).unwrap()
}

fn ask(plan: Plan, caller: u64, patience: f64) -> Ask {
    let patience = Patience::new(secs(patience));
    Ask { bucket: KEY, plan, caller: Caller(caller), weight: Weight::ONE, patience }
}

fn admitted(verdict: Verdict) -> Pass {
    match verdict {
        Verdict::Admit(pass) => pass,
        other => panic!("{other:?}"),
    }
}

fn waiting(verdict: Verdict) -> Ticket {
    match verdict {
        Verdict::Wait { ticket, .. } => ticket,
        other => panic!("{other:?}"),
    }
}

fn refused(verdict: Verdict) -> Refused {
    match verdict {
        Verdict::Refuse(refused) => refused,
        other => panic!("{other:?}"),
    }
}

/// Lets everything through that is due until `end`, each call answered after `took`.
fn drive(pacer: &mut Pacer, from: Moment, end: Moment, took: Duration) -> Vec<(Ticket, bool)> {
    let (mut now, mut out, mut under_way) = (from, Vec::new(), Vec::<(Moment, Pass)>::new());
    loop {
        let wake = pacer.next_wake(now).map(|wait| now.plus(wait));
        let answer = under_way.first().map(|(due, _)| *due);
        let next = wake.into_iter().chain(answer).min_by_key(|moment| moment.mono_ns());
        let Some(next) = next.filter(|next| next.mono_ns() <= end.mono_ns()) else { return out };
        now = next;
        if answer == Some(now) {
            let (_, pass) = under_way.remove(0);
            pacer.settle(pass, Answer::Served { limit: None }, now);
        }
        let mut released = Vec::new();
        pacer.release(now, &mut released);
        for one in released {
            let passed = matches!(one.turn, Turn::Admit(_));
            out.push((one.ticket, passed));
            if let Turn::Admit(pass) = one.turn {
                under_way.push((now.plus(took), pass));
            }
        }
    }
}

/// A pacer whose bucket has just been emptied at `now`, all calls answered.
fn emptied(plan: Plan, now: Moment) -> Pacer {
    let mut pacer = Pacer::new(Limits::default());
    for _ in 0..plan.burst() {
        let pass = admitted(pacer.offer(&ask(plan, 9, 0.0), now));
        pacer.settle(pass, Answer::Served { limit: None }, now);
    }
    pacer
}

#[test]
fn mon_2_the_first_burst_goes_and_the_next_waits_for_its_token() {
    let plan = plan(0.5, 3);
    let mut pacer = emptied(plan, at(0.0));
    let told = refused(pacer.offer(&ask(plan, 1, 0.0), at(0.0)));
    assert_eq!((told.reason, told.wait), (Reason::Patience, secs(2.002)));
    let ticket = waiting(pacer.offer(&ask(plan, 1, 2.1), at(0.0)));
    assert_eq!(pacer.next_wake(at(0.0)), Some(secs(2.002)));
    assert_eq!(drive(&mut pacer, at(0.0), at(3.0), secs(0.1)), [(ticket, true)]);
}

#[test]
fn mon_2_calls_under_way_count_until_amazon_must_have_seen_them() {
    let plan = plan(1.0, 2);
    let mut pacer = Pacer::new(Limits::default());
    let first = admitted(pacer.offer(&ask(plan, 1, 0.0), at(0.0)));
    let _second = admitted(pacer.offer(&ask(plan, 1, 0.0), at(0.0)));
    // A bucket that counts at the start would have one token by now, Amazon's perhaps none.
    refused(pacer.offer(&ask(plan, 1, 0.0), at(1.2)));
    pacer.settle(first, Answer::Served { limit: None }, at(1.2));
    refused(pacer.offer(&ask(plan, 1, 0.0), at(2.0)));
    let _third = admitted(pacer.offer(&ask(plan, 1, 0.0), at(2.3)));
    // The second never was answered: it counts at 2 s, no later.
    let standing = pacer.standing(KEY, at(5.4)).unwrap();
    assert_eq!(standing.spare, 2);
}

#[test]
fn mon_2_amazon_is_followed_down_at_once_and_up_without_a_gift() {
    let plan = plan(1.0, 10);
    let mut pacer = emptied(plan, at(0.0));
    let pass = admitted(pacer.offer(&ask(plan, 1, 0.0), at(1.1)));
    let low = Rate::parse(b"0.1").unwrap();
    pacer.settle(pass, Answer::Served { limit: Some(low) }, at(1.1));
    assert_eq!(pacer.standing(KEY, at(1.1)).unwrap().nano_hz, 100_000_000);
    assert_eq!(pacer.standing(KEY, at(21.5)).unwrap().spare, 2);
    let pass = admitted(pacer.offer(&ask(plan, 1, 0.0), at(21.5)));
    pacer.settle(pass, Answer::Served { limit: Some(Rate::parse(b"5").unwrap()) }, at(21.5));
    let raised = pacer.standing(KEY, at(21.5)).unwrap();
    assert_eq!((raised.nano_hz, raised.spare, raised.burst), (5_000_000_000, 1, 10));
    assert_eq!(pacer.standing(KEY, at(21.8)).unwrap().spare, 2);
}

#[test]
fn mon_2_a_refusal_of_amazons_drains_slows_and_is_forgiven() {
    let plan = plan(1.0, 10);
    let mut pacer = Pacer::new(Limits::default());
    let passes: Vec<_> =
        (0..4).map(|_| admitted(pacer.offer(&ask(plan, 1, 0.0), at(1.0)))).collect();
    for pass in passes {
        pacer.settle(pass, Answer::Throttled { retry_after: None }, at(1.5));
    }
    let cut = pacer.standing(KEY, at(1.5)).unwrap();
    // Four refusals of one moment are one event. Six tokens that were believed in are none.
    assert_eq!((cut.nano_hz, cut.spare, cut.burst), (700_000_000, 0, 4));
    assert!(cut.throttled);
    refused(pacer.offer(&ask(plan, 1, 0.0), at(2.9)));
    let pass = admitted(pacer.offer(&ask(plan, 1, 0.0), at(3.0)));
    pacer.settle(pass, Answer::Served { limit: None }, at(3.1));
    let healed = pacer.standing(KEY, at(400.0)).unwrap();
    assert_eq!((healed.nano_hz, healed.burst, healed.throttled), (1_000_000_000, 10, false));
}

#[test]
fn mon_2_two_refusals_measure_the_rate_between_them() {
    let plan = plan(1.0, 10);
    let mut pacer = emptied(plan, at(0.0));
    let mut call = |secs: f64, answer| {
        let pass = admitted(pacer.offer(&ask(plan, 1, 0.0), at(secs)));
        pacer.settle(pass, answer, at(secs));
        pacer.standing(KEY, at(secs)).unwrap().nano_hz
    };
    let refusal = Answer::Throttled { retry_after: None };
    assert_eq!(call(2.0, refusal), 700_000_000);
    for turn in 1..=12_u32 {
        call(2.0 + 2.0 * f64::from(turn), Answer::Served { limit: None });
    }
    // Twelve in 24.5 s, and a little less of it.
    let measured = call(26.5, refusal);
    assert_eq!(measured, (12.0 / 24.5 * 0.97 * 1e9) as u64);
}

#[test]
fn mon_2_nobody_overtakes_those_who_wait() {
    let plan = plan(1.0, 2);
    let mut pacer = emptied(plan, at(0.0));
    let first = waiting(pacer.offer(&ask(plan, 1, 9.0), at(0.0)));
    // Two tokens are there, yet the shell has not come to give them away.
    assert_eq!(refused(pacer.offer(&ask(plan, 2, 0.0), at(1.5))).reason, Reason::Patience);
    let second = waiting(pacer.offer(&ask(plan, 2, 9.0), at(2.5)));
    let mut out = Vec::new();
    pacer.release(at(2.5), &mut out);
    assert_eq!(out.iter().map(|one| one.ticket).collect::<Vec<_>>(), [first, second]);
}

#[test]
fn mon_2_our_own_refusals_slow_nothing() {
    let plan = plan(1.0, 1);
    let mut pacer = emptied(plan, at(0.0));
    for _ in 0..1_000 {
        refused(pacer.offer(&ask(plan, 1, 0.0), at(0.1)));
    }
    let standing = pacer.standing(KEY, at(0.1)).unwrap();
    assert_eq!((standing.nano_hz, standing.throttled), (1_000_000_000, false));
}

#[test]
fn mon_2_retry_after_is_honoured_and_told() {
    for overload in [false, true] {
        let plan = plan(10.0, 10);
        let mut pacer = Pacer::new(Limits::default());
        let pass = admitted(pacer.offer(&ask(plan, 1, 0.0), at(0.0)));
        let retry_after = retry_after(b"30", at(0.1));
        let answer = if overload {
            Answer::Overloaded { retry_after }
        } else {
            Answer::Throttled { retry_after }
        };
        pacer.settle(pass, answer, at(0.1));
        assert_eq!(refused(pacer.offer(&ask(plan, 1, 20.0), at(0.1))).wait, secs(10.0));
        let ticket = waiting(pacer.offer(&ask(plan, 1, 30.0), at(0.1)));
        assert_eq!(drive(&mut pacer, at(0.1), at(30.0), secs(0.1)), []);
        assert_eq!(drive(&mut pacer, at(0.1), at(30.1), secs(0.1)), [(ticket, true)]);
    }
}

#[test]
fn mon_2_shares_follow_weights_and_one_at_a_time_is_enough() {
    let plan = plan(1.0, 1);
    let mut pacer = emptied(plan, at(0.0));
    let offer = |pacer: &mut Pacer, caller, weight, now| {
        let weight = Weight::new(weight).unwrap();
        waiting(pacer.offer(&Ask { weight, ..ask(plan, caller, 600.0) }, now))
    };
    let many: Vec<_> = (0..40).map(|_| offer(&mut pacer, 1, 1, at(0.0))).collect();
    let (mut turns, mut now) = (Vec::new(), at(0.0));
    let mut single = offer(&mut pacer, 2, 3, now);
    while turns.len() < 40 {
        now = now.plus(pacer.next_wake(now).unwrap());
        let mut out = Vec::new();
        pacer.release(now, &mut out);
        for one in out {
            let Turn::Admit(pass) = one.turn else { panic!("nobody is late") };
            pacer.settle(pass, Answer::Served { limit: None }, now);
            turns.push(one.ticket == single);
            if one.ticket == single {
                single = offer(&mut pacer, 2, 3, now);
            } else {
                assert_eq!(one.ticket, many[turns.iter().filter(|mine| !**mine).count() - 1]);
            }
        }
    }
    let mine = turns.iter().filter(|mine| **mine).count();
    assert!((29..=31).contains(&mine), "{mine} of 40");
    assert!(turns.windows(5).all(|five| five.iter().any(|mine| !mine)), "{turns:?}");
}

#[test]
fn mon_2_whoever_leaves_frees_the_place_and_the_turn() {
    let plan = plan(1.0, 1);
    let limits = Limits { caller_waiting_max: 2, ..Limits::default() };
    let mut pacer = Pacer::new(limits);
    let pass = admitted(pacer.offer(&ask(plan, 1, 0.0), at(0.0)));
    pacer.settle(pass, Answer::Served { limit: None }, at(0.0));
    let first = waiting(pacer.offer(&ask(plan, 1, 60.0), at(0.0)));
    let second = waiting(pacer.offer(&ask(plan, 1, 60.0), at(0.0)));
    assert_eq!(refused(pacer.offer(&ask(plan, 1, 60.0), at(0.0))).reason, Reason::Places);
    let other = waiting(pacer.offer(&ask(plan, 2, 60.0), at(0.0)));
    pacer.leave(first, at(0.1));
    pacer.leave(first, at(0.1));
    assert_eq!(pacer.size(), (1, 2));
    assert_eq!(pacer.standing(KEY, at(0.1)).unwrap().waiting, 2);
    let third = waiting(pacer.offer(&ask(plan, 1, 60.0), at(0.2)));
    let order: Vec<_> = drive(&mut pacer, at(0.2), at(10.0), secs(0.0));
    assert_eq!(order, [(second, true), (other, true), (third, true)]);
    assert_eq!(pacer.size(), (1, 0));
}

#[test]
fn mon_2_no_caller_fills_the_queue() {
    let plan = plan(0.0167, 1);
    let limits = Limits { lane_waiting_max: 16, caller_waiting_max: 100, ..Limits::default() };
    let mut pacer = Pacer::new(limits);
    let _pass = admitted(pacer.offer(&ask(plan, 1, 0.0), at(0.0)));
    for _ in 0..8 {
        waiting(pacer.offer(&ask(plan, 1, 3_600.0), at(0.0)));
    }
    for _ in 0..1_000 {
        assert_eq!(refused(pacer.offer(&ask(plan, 1, 3_600.0), at(0.0))).reason, Reason::Places);
    }
    for caller in 2..6 {
        waiting(pacer.offer(&ask(plan, caller, 3_600.0), at(0.0)));
    }
}

#[test]
fn mon_2_patience_ends_on_time_and_a_deadline_counts_in_full() {
    let plan = plan(1.0, 1);
    let mut pacer = emptied(plan, at(0.0));
    let patient = waiting(pacer.offer(&ask(plan, 1, 1.5), at(0.0)));
    let exact = waiting(pacer.offer(&ask(plan, 2, 4.0), at(0.0)));
    let mut out = Vec::new();
    pacer.release(at(1.01), &mut out);
    let first = out.remove(0);
    let (true, Turn::Admit(pass)) = (first.ticket == patient, first.turn) else { panic!() };
    // Amazon slows down, so the second's turn does not come in time.
    pacer.settle(pass, Answer::Overloaded { retry_after: Some(secs(5.0)) }, at(1.1));
    pacer.release(at(4.0), &mut out);
    assert!(out.is_empty(), "{out:?}");
    let late = at(4.0).plus(pacer.next_wake(at(4.0)).unwrap());
    assert_eq!(late.mono_ns(), at(4.0).mono_ns() + 1);
    pacer.release(late, &mut out);
    assert_eq!(out[0].ticket, exact);
    assert!(matches!(out[0].turn, Turn::Late { wait } if wait > secs(2.0)), "{out:?}");
}

#[test]
fn mon_2_forgetting_refills_nothing() {
    let plan = plan(0.1, 5);
    let mut pacer = Pacer::new(Limits { buckets_max: 2, ..Limits::default() });
    let key = |operation| BucketKey { operation, ..KEY };
    let offer = |pacer: &mut Pacer, operation, now| {
        let ask = Ask { bucket: key(operation), ..ask(plan, 1, 0.0) };
        match pacer.offer(&ask, now) {
            Verdict::Admit(pass) => {
                pacer.settle(pass, Answer::Served { limit: None }, now);
                Ok(())
            }
            Verdict::Refuse(refused) => Err(refused),
            Verdict::Wait { .. } => panic!("nobody has patience"),
        }
    };
    for _ in 0..5 {
        offer(&mut pacer, 1, at(0.0)).unwrap();
    }
    offer(&mut pacer, 2, at(0.0)).unwrap();
    let full = offer(&mut pacer, 3, at(0.0)).unwrap_err();
    assert_eq!(full.reason, Reason::Buckets);
    // The second is full again first, and is given up for the third; the first is not.
    let later = at(0.0).plus(full.wait);
    let again = later.plus(match offer(&mut pacer, 3, later) {
        Ok(()) => Duration::ZERO,
        Err(refused) => refused.wait,
    });
    offer(&mut pacer, 3, again).unwrap();
    assert_eq!(pacer.standing(key(1), again).unwrap().spare, 1);
    assert!(pacer.standing(key(2), again).is_none());
    // A lower rate that Amazon told is not given up for anything.
    let mut pacer = Pacer::new(Limits { buckets_max: 1, ..Limits::default() });
    let ask = Ask { bucket: key(1), ..ask(plan, 1, 0.0) };
    let pass = admitted(pacer.offer(&ask, at(0.0)));
    let low = Rate::parse(b"0.01").unwrap();
    pacer.settle(pass, Answer::Served { limit: Some(low) }, at(0.0));
    assert!(offer(&mut pacer, 2, at(1e6)).is_err());
    assert_eq!(pacer.size(), (1, 0));
}

#[test]
fn mon_2_clocks_may_jump() {
    let plan = plan(1.0, 2);
    let mut pacer = emptied(plan, Moment::new(0, 500 * SECOND));
    // The wall clock jumps ten years; a thread comes with a moment from before.
    refused(pacer.offer(&ask(plan, 1, 0.0), Moment::new(1 << 40, 500 * SECOND)));
    refused(pacer.offer(&ask(plan, 1, 0.0), Moment::new(0, 100 * SECOND)));
    // It can't have been answered before it was sent.
    let pass = admitted(pacer.offer(&ask(plan, 1, 0.0), Moment::new(0, 600 * SECOND)));
    pacer.settle(pass, Answer::Served { limit: None }, Moment::new(0, 590 * SECOND));
    assert_eq!(pacer.standing(KEY, Moment::new(0, 600 * SECOND)).unwrap().spare, 1);
    let end = Moment::new(u64::MAX, u64::MAX);
    let _pass = admitted(pacer.offer(&ask(plan, 1, 0.0), end));
    let _verdict = pacer.offer(&ask(plan, 1, 3_600.0), end);
    let _verdict = pacer.next_wake(end);
    pacer.release(end, &mut Vec::new());
}

#[test]
fn mon_2_an_unsent_call_costs_nothing_and_a_late_answer_is_no_second_charge() {
    let plan = plan(0.1, 1);
    let mut pacer = Pacer::new(Limits::default());
    let pass = admitted(pacer.offer(&ask(plan, 1, 0.0), at(0.0)));
    pacer.settle(pass, Answer::Unsent, at(0.5));
    let pass = admitted(pacer.offer(&ask(plan, 1, 0.0), at(0.5)));
    pacer.settle(pass, Answer::Served { limit: None }, at(100.0));
    assert_eq!(pacer.standing(KEY, at(100.0)).unwrap().spare, 1);
    let pass = admitted(pacer.offer(&ask(plan, 1, 0.0), at(100.0)));
    pacer.settle(pass, Answer::Lost, at(101.0));
    assert_eq!(refused(pacer.offer(&ask(plan, 1, 0.0), at(102.0))).wait, secs(10.01));
}

#[test]
fn mon_2_numbers_are_read_one_way() {
    let read = |text: &str| Rate::parse(text.as_bytes()).map(Rate::nano_hz);
    assert_eq!(read("0.0167"), Ok(16_650_000));
    assert_eq!(read("0.017"), Ok(16_500_000));
    assert_eq!(read("0.5"), Ok(500_000_000));
    assert_eq!(read("5"), Ok(5_000_000_000));
    assert_eq!(read("5.0"), Ok(5_000_000_000));
    assert_eq!(read("0.016666666666666666"), Ok(16_666_666));
    assert_eq!(Rate::per_second(0.0056).map(Rate::nano_hz), Ok(5_550_000));
    // What Amazon rounds is never read as more than it meant.
    for (text, meant) in [("0.0167", 60.0), ("0.017", 60.0), ("0.0056", 180.0), ("0.033", 30.0)] {
        assert!(Rate::parse(text.as_bytes()).unwrap().nano_hz() as f64 <= 1e9 / meant, "{text}");
    }
    let nonsense = [
        "", " 5", "5 ", "+5", "-5", "5.", ".5", "1e3", "0x5", "5,0", "5;5", "5, 5", "NaN",
        "\u{ff15}",
    ];
    for text in nonsense {
        assert_eq!(read(text), Err(NumberFault::Spelling), "{text:?}");
    }
    for text in ["0", "0.0", "0.000001", "10001", "99999999999999999999", "18446744074"] {
        assert_eq!(read(text), Err(NumberFault::Range), "{text}");
    }
    assert_eq!(read(&"1".repeat(33)), Err(NumberFault::Length));
    for number in [f64::NAN, f64::INFINITY, -1.0, 0.0, 1e9] {
        assert_eq!(Rate::per_second(number), Err(NumberFault::Range));
    }
}

#[test]
fn mon_2_waits_in_headers_are_read_one_way() {
    let max = Patience::new(secs(20.0));
    let read = |text: &str| Patience::parse(text.as_bytes(), max).map(Patience::duration);
    assert_eq!(read("0"), Ok(Duration::ZERO));
    assert_eq!(read("2.5"), Ok(secs(2.5)));
    assert_eq!(read("3600"), Ok(secs(20.0)));
    assert_eq!(read("1, 2"), Err(NumberFault::Spelling));
    assert_eq!(Patience::new(Duration::MAX).duration(), Patience::MAX);
    let now = Moment::new(784_111_770_000, 0);
    let read = |text: &str| retry_after(text.as_bytes(), now);
    assert_eq!(read("120"), Some(secs(120.0)));
    assert_eq!(read("Sun, 06 Nov 1994 08:49:37 GMT"), Some(secs(7.0)));
    assert_eq!(read("Sun, 06 Nov 1994 08:49:00 GMT"), Some(Duration::ZERO));
    assert_eq!(read("Thu, 29 Feb 2096 00:00:00 GMT"), Some(REST_MAX));
    assert_eq!(read("99999999999999999999999"), Some(REST_MAX));
    for text in
        ["", "-1", "1.5", "soon", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun, 06 Nov 1994 08:49"]
    {
        assert_eq!(read(text), None, "{text}");
    }
}

#[test]
fn mon_2_an_idle_quota_takes_half_a_kilobyte() {
    let bytes = size_of::<lane::Lane>();
    assert!(bytes <= 480, "{bytes}");
}

#[test]
fn mon_2_a_call_that_leaves_late_counts_late() {
    let mut pacer = Pacer::new(Limits::default());
    let asked = ask(plan(0.1, 1), 1, 0.0);
    let pass = admitted(pacer.offer(&asked, at(0.0)));
    // Connecting takes a second: the call may be counted up to two seconds after that.
    let pass = pacer.depart(pass, at(1.0));
    assert!(
        matches!(pacer.offer(&asked, at(12.5)), Verdict::Refuse(_)),
        "counted at 3, back at 13"
    );
    let second = admitted(pacer.offer(&asked, at(13.1)));
    pacer.settle(pass, Answer::Served { limit: None }, at(13.1));
    // One that left after it was given up for counted is counted once more, and never given back.
    let second = pacer.depart(second, at(20.0));
    pacer.settle(second, Answer::Unsent, at(31.5));
    assert!(matches!(pacer.offer(&asked, at(34.5)), Verdict::Refuse(_)), "back at 25, at 35 again");
    assert_eq!(pacer.standing(KEY, at(35.5)).unwrap().spare, 1);
}

#[test]
fn mon_2_what_amazon_said_outlives_the_process() {
    let mut before = Pacer::new(Limits::default());
    let said = Rate::parse(b"0.5").unwrap();
    let call = |pacer: &mut Pacer, limit| {
        let pass = admitted(pacer.offer(&ask(plan(5.0, 10), 1, 0.0), at(0.0)));
        pacer.settle(pass, Answer::Served { limit }, at(0.0));
    };
    call(&mut before, None);
    assert!(before.take_learned(9).is_empty());
    call(&mut before, Some(said));
    let learned = before.take_learned(9);
    assert_eq!(learned, [Learned { quota: KEY, rate: said }]);
    call(&mut before, Some(said));
    assert!(before.take_learned(9).is_empty(), "it is no news");

    let bytes = learned[0].encode();
    assert_eq!(Learned::decode(&bytes), Ok(learned[0]));
    let mut after = Pacer::new(Limits { buckets_max: 1, ..Limits::default() });
    after.recall(learned[0]);
    let other = BucketKey { operation: 2, ..KEY };
    after.recall(Learned { quota: other, rate: said });
    call(&mut after, None);
    assert_eq!(after.standing(KEY, at(0.0)).unwrap().nano_hz, said.nano_hz());
    assert!(after.take_learned(9).is_empty(), "it is on disk");
    // Later words of Amazon's win, whichever comes first.
    let less = Rate::parse(b"0.25").unwrap();
    call(&mut after, Some(less));
    after.recall(learned[0]);
    assert_eq!(after.take_learned(9), [Learned { quota: KEY, rate: less }]);

    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        assert!(Learned::decode(&damaged).is_err());
        assert_eq!(Learned::decode(&bytes[..at]), Err(LearnedFault::Damaged));
    }
    assert_eq!(Learned::decode(&[2, 0]), Err(LearnedFault::Newer));
}
