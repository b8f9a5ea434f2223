//! What holds for every sequence of events.
use std::collections::{HashMap, VecDeque};

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::bucket::{Bucket, Counted};
use super::super::queue::{Place, Queue};
use super::*;

#[derive(Clone, Debug)]
enum Act {
    Offer {
        caller: u64,
        weight: u16,
        patience: u64,
    },
    Leave(usize),
    Answer {
        which: usize,
        kind: u8,
    },
    Pass {
        ms: u64,
    },
    /// Nothing happens for so long, except what is due.
    Rest {
        ms: u64,
    },
}

fn acts(len: usize) -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        6 => (0..5_u64, 1..10_u16, prop_oneof![Just(0), 1..60_000_u64])
            .prop_map(|(caller, weight, patience)| Act::Offer { caller, weight, patience }),
        1 => any::<usize>().prop_map(Act::Leave),
        4 => (any::<usize>(), 0..20_u8).prop_map(|(which, kind)| Act::Answer { which, kind }),
        3 => (0..1_500_u64).prop_map(|ms| Act::Pass { ms }),
        1 => (0..20_000_u64).prop_map(|ms| Act::Rest { ms }),
    ];
    vec(act, 1..len)
}

/// A pacer with a record of what it did.
struct Bench {
    pacer: Pacer,
    plan: Plan,
    now: u64,
    under_way: Vec<Pass>,
    waiting: Vec<Ticket>,
    /// When each call was let through, in milliseconds.
    admitted: Vec<u64>,
    by_caller: HashMap<Ticket, u64>,
    order: HashMap<u64, Vec<Ticket>>,
}

impl Bench {
    fn new(plan: Plan, limits: Limits) -> Self {
        Self {
            pacer: Pacer::new(limits),
            plan,
            now: 0,
            under_way: Vec::new(),
            waiting: Vec::new(),
            admitted: Vec::new(),
            by_caller: HashMap::new(),
            order: HashMap::new(),
        }
    }

    fn moment(&self) -> Moment {
        Moment::new(0, self.now)
    }

    fn ask(&self, caller: u64, weight: u16, patience: u64) -> Ask {
        Ask {
            weight: Weight::new(weight).unwrap(),
            ..ask(self.plan, caller, patience as f64 / 1e3)
        }
    }

    fn offer(&mut self, ask: &Ask) -> Option<Refused> {
        match self.pacer.offer(ask, self.moment()) {
            Verdict::Admit(pass) => self.admit(pass),
            Verdict::Wait { ticket, .. } => {
                self.waiting.push(ticket);
                self.by_caller.insert(ticket, ask.caller.0);
            }
            Verdict::Refuse(refused) => return Some(refused),
        }
        None
    }

    fn admit(&mut self, pass: Pass) {
        self.admitted.push(self.now);
        self.under_way.push(pass);
    }

    fn release(&mut self) -> Vec<(Ticket, bool)> {
        let mut out = Vec::new();
        self.pacer.release(self.moment(), &mut out);
        let mut seen = Vec::new();
        for one in out {
            self.waiting.retain(|ticket| *ticket != one.ticket);
            seen.push((one.ticket, matches!(one.turn, Turn::Admit(_))));
            if let Turn::Admit(pass) = one.turn {
                self.admit(pass);
                self.order.entry(self.by_caller[&one.ticket]).or_default().push(one.ticket);
            }
        }
        seen
    }

    /// Time passes, and the shell wakes when it was told to.
    fn pass(&mut self, ns: u64) {
        let end = self.now + ns;
        while let Some(wait) = self.pacer.next_wake(self.moment()) {
            let wake = self.now + wait.as_nanos() as u64;
            if wake > end {
                break;
            }
            self.now = wake;
            self.release();
        }
        self.now = end;
        self.release();
    }

    fn act(&mut self, act: &Act, throttling: bool) {
        match *act {
            Act::Offer { caller, weight, patience } => {
                self.offer(&self.ask(caller, weight, patience));
            }
            Act::Leave(which) if !self.waiting.is_empty() => {
                let ticket = self.waiting.swap_remove(which % self.waiting.len());
                self.pacer.leave(ticket, self.moment());
            }
            Act::Answer { which, kind } if !self.under_way.is_empty() => {
                let pass = self.under_way.swap_remove(which % self.under_way.len());
                let answer = match kind {
                    0 if throttling => Answer::Throttled { retry_after: None },
                    1 if throttling => Answer::Overloaded { retry_after: Some(secs(3.0)) },
                    2 => Answer::Lost,
                    _ => Answer::Served { limit: None },
                };
                self.pacer.settle(pass, answer, self.moment());
                self.release();
            }
            Act::Leave(_) | Act::Answer { .. } => {}
            Act::Pass { ms } | Act::Rest { ms } => self.pass(ms * 1_000_000),
        }
    }
}

fn plans() -> impl Strategy<Value = Plan> {
    let rates = prop_oneof![Just(0.0167), Just(0.5), Just(1.0), Just(5.0), Just(20.0), Just(80.0)];
    (rates, 1..30_u32).prop_map(|(rate, burst)| plan(rate, burst))
}

/// The most that any window holds beyond what burst and rate allow it, in calls.
fn overdraft(admitted: &[u64], plan: Plan) -> f64 {
    let rate = plan.rate().nano_hz() as f64 / 1e9;
    let mut worst = f64::MIN;
    for (first, from) in admitted.iter().enumerate() {
        for (last, to) in admitted.iter().enumerate().skip(first) {
            let allowed = f64::from(plan.burst()) + rate * (to - from) as f64 / 1e9;
            worst = worst.max((last - first + 1) as f64 - allowed);
        }
    }
    worst
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn mon_2_no_window_holds_more_than_burst_and_rate(
        plan in plans(), acts in acts(150), throttling: bool,
    ) {
        let mut bench = Bench::new(plan, Limits::default());
        for act in &acts {
            bench.act(act, throttling);
        }
        prop_assert!(overdraft(&bench.admitted, plan) <= 1e-6);
    }

    /// Amazon's bucket, at whatever moment each call reaches it before it is answered or two
    /// seconds are over.
    #[test]
    fn mon_2_amazon_refuses_nothing_however_calls_arrive(
        plan in plans(), steps in vec((0..3_u8, 0..1_200_u64, 0..1_000_u64), 1..150),
    ) {
        let mut bench = Bench::new(plan, Limits::default());
        // When it is sent, when it arrives, when it is answered.
        let mut calls: Vec<(u64, u64)> = Vec::new();
        let mut answers: VecDeque<(u64, Pass)> = VecDeque::new();
        for (kind, ms, part) in steps {
            if kind < 2 {
                let burst = if kind == 0 { plan.burst() } else { 1 };
                for _ in 0..burst {
                    bench.offer(&bench.ask(1, 1, 0));
                }
                let took = (ms * 4).min(3_000) * 1_000_000 + 1;
                for pass in bench.under_way.drain(..) {
                    let way = took.min(2_000_000_000) / 1_000 * part;
                    calls.push((bench.now + way, bench.now));
                    answers.push_back((bench.now + took, pass));
                }
            }
            let end = bench.now + ms * 1_000_000;
            answers.make_contiguous().sort_by_key(|(due, _)| *due);
            while answers.front().is_some_and(|(due, _)| *due <= end) {
                let (due, pass) = answers.pop_front().unwrap();
                bench.now = bench.now.max(due);
                bench.pacer.settle(pass, Answer::Served { limit: None }, bench.moment());
            }
            bench.now = end;
        }
        calls.sort_unstable();
        let (rate, burst) = (plan.rate().nano_hz() as f64 / 1e9, f64::from(plan.burst()));
        let (mut level, mut last) = (burst, 0);
        for (arrived, _) in calls {
            level = (level + (arrived - last) as f64 / 1e9 * rate).min(burst);
            last = arrived;
            prop_assert!(level >= 1.0 - 1e-6, "{level} at {arrived}");
            level -= 1.0;
        }
    }

    #[test]
    fn mon_2_a_token_never_lies_idle_while_somebody_waits(
        plan in plans(), acts in acts(150),
    ) {
        let mut bench = Bench::new(plan, Limits::default());
        for act in &acts {
            bench.act(act, false);
            bench.release();
            let standing = bench.pacer.standing(KEY, bench.moment());
            let idle = standing.filter(|standing| standing.waiting > 0 && standing.spare > 0);
            prop_assert!(idle.is_none(), "{idle:?}");
        }
    }

    #[test]
    fn mon_2_one_caller_s_calls_go_in_their_order(plan in plans(), acts in acts(150)) {
        let mut bench = Bench::new(plan, Limits::default());
        for act in &acts {
            bench.act(act, true);
        }
        for order in bench.order.values() {
            prop_assert!(order.is_sorted(), "{order:?}");
        }
    }

    #[test]
    fn mon_2_everybody_who_waited_is_answered_in_time(plan in plans(), acts in acts(100)) {
        let mut bench = Bench::new(plan, Limits::default());
        for act in &acts {
            bench.act(act, true);
        }
        bench.pass(61 * SECOND);
        prop_assert!(bench.waiting.is_empty());
        prop_assert_eq!(bench.pacer.size().1, 0);
        prop_assert_eq!(bench.pacer.next_wake(bench.moment()), None);
    }

    #[test]
    fn mon_2_the_wait_that_is_told_is_true(
        plan in plans(), acts in acts(60), took in 0..2_000_u64, patience in 0..20_000_u64,
        weight in 1..10_u16,
    ) {
        let mut bench = Bench::new(plan, Limits::default());
        let took = took * 1_000_000;
        // Every answer takes the same time, before and after.
        let mut due: VecDeque<(u64, Pass)> = VecDeque::new();
        let mut run = |bench: &mut Bench, end: u64, watched: Option<Ticket>| {
            let mut outcome = None;
            loop {
                let sent = bench.now;
                due.extend(bench.under_way.drain(..).map(|pass| (sent + took, pass)));
                let wake = bench.pacer.next_wake(bench.moment());
                let wake = wake.map_or(u64::MAX, |wait| bench.now + wait.as_nanos() as u64);
                let answer = due.front().map_or(u64::MAX, |(at, _)| *at);
                if wake.min(answer) > end {
                    bench.now = end;
                    return outcome;
                }
                bench.now = wake.min(answer);
                if answer <= wake {
                    let (_, pass) = due.pop_front().unwrap();
                    bench.pacer.settle(pass, Answer::Served { limit: None }, bench.moment());
                }
                let seen = bench.release();
                outcome = outcome.or(seen.iter().find(|(one, _)| Some(*one) == watched).copied());
            }
        };
        for act in &acts {
            match *act {
                Act::Offer { .. } | Act::Leave(_) => bench.act(act, false),
                Act::Answer { .. } => {}
                Act::Pass { ms } | Act::Rest { ms } => {
                    let end = bench.now + ms * 1_000_000;
                    run(&mut bench, end, None);
                }
            }
            let end = bench.now;
            run(&mut bench, end, None);
        }
        let ask = bench.ask(7, weight, patience);
        if let Some(told) = bench.offer(&ask) {
            let end = bench.now + told.wait.as_nanos() as u64;
            run(&mut bench, end, None);
            let again = bench.offer(&ask);
            prop_assert!(again.is_none(), "{told:?} then {again:?}");
            if let Some(ticket) = bench.waiting.last().copied()
                && bench.by_caller[&ticket] == 7
            {
                let end = bench.now + 30 * SECOND;
                let outcome = run(&mut bench, end, Some(ticket));
                prop_assert!(outcome.is_none_or(|(_, passed)| passed), "{told:?}");
            }
        }
    }

    #[test]
    fn mon_2_backlogged_callers_stay_within_one_call_of_their_share(
        weights in vec(1..=1_000_u16, 2..8), turns in 1..400_usize,
    ) {
        let mut queue = Queue::default();
        let mut number = 0;
        let mut join = |queue: &mut Queue, caller: usize| {
            number += 1;
            let place = Place { caller: Caller(caller as u64), number };
            queue.join(place, Weight::new(weights[caller]).unwrap(), u64::MAX);
        };
        for caller in 0..weights.len() {
            join(&mut queue, caller);
            join(&mut queue, caller);
        }
        let mut served = vec![0_u32; weights.len()];
        for _ in 0..turns {
            let caller = queue.next().unwrap().caller.0 as usize;
            served[caller] += 1;
            join(&mut queue, caller);
        }
        let part = |at: usize| f64::from(served[at]) / f64::from(weights[at]);
        for (a, b) in (0..weights.len()).flat_map(|a| (0..a).map(move |b| (a, b))) {
            let bound = 1.0 / f64::from(weights[a]) + 1.0 / f64::from(weights[b]);
            // The tags' unit is 2^-24 of a call; the rounding of 400 of them is far below this.
            let apart = (part(a) - part(b)).abs();
            prop_assert!(apart <= bound * 1.001, "{apart} > {bound}: {served:?} {weights:?}");
        }
    }

    #[test]
    fn mon_2_a_change_of_rate_or_burst_brings_no_token(
        steps in vec((0..4_u8, 1..100_u32, 0..3_000_u64), 1..60),
    ) {
        let rates = [0.0167, 0.5, 5.0, 80.0].map(|rate| Rate::per_second(rate).unwrap());
        let mut bucket = Bucket::new(rates[1], 20, secs(2.0));
        let mut now = 0;
        for (kind, number, ms) in steps {
            now += ms * 1_000_000;
            bucket.advance(now);
            let before = bucket.spare(now);
            if number > 50 {
                bucket.take(now);
            } else {
                bucket.reshape(rates[usize::from(kind)], number, now);
            }
            prop_assert!(bucket.spare(now) <= before);
            let ready = bucket.ready_at(now);
            prop_assert_eq!(ready == now, bucket.spare(now) > 0);
        }
    }

    #[test]
    fn mon_2_a_wait_told_in_short_is_the_wait_call_by_call(
        plan in plans(), steps in vec((0..40_u32, 0..900_u64, any::<bool>()), 1..12),
        calls in 1..300_u64,
    ) {
        let mut bucket = Bucket::new(plan.rate(), plan.burst(), secs(2.0));
        let mut now = 0;
        for (sent, ms, answered) in steps {
            let taken: Vec<_> = (0..sent).filter_map(|_| bucket.take(now)).collect();
            now += ms * 1_000_000;
            bucket.advance(now);
            for call in taken.into_iter().filter(|_| answered) {
                bucket.settle(call, Counted::Yes, now);
            }
        }
        let (told, played) = (bucket.served_at(calls, 0, now), bucket.play(calls, now));
        prop_assert!(told >= played, "{told} < {played}");
        let round = bucket.interval_ns() * u64::from(plan.burst()).max(1) + 2 * SECOND;
        prop_assert!(told <= played + round, "{told} > {played} + {round}");
    }

    #[test]
    fn mon_2_memory_is_bounded(acts in vec((0..40_u64, 0..30_u64, 0..3_u8, 0..400_u64), 1..400)) {
        let limits = Limits {
            buckets_max: 8,
            waiting_max: 24,
            lane_waiting_max: 12,
            caller_waiting_max: 5,
            counted_within: secs(2.0),
        };
        let mut pacer = Pacer::new(limits);
        let mut admitted: HashMap<u64, Vec<u64>> = HashMap::new();
        let plan = plan(5.0, 3);
        let mut now = 0;
        for (operation, caller, settled, ms) in acts {
            now += ms * 1_000_000;
            let moment = Moment::new(0, now);
            let bucket = BucketKey { operation, ..KEY };
            let ask = Ask { bucket, ..ask(plan, caller, 5.0) };
            let mut passes = Vec::new();
            if let Verdict::Admit(pass) = pacer.offer(&ask, moment) {
                passes.push(pass);
                admitted.entry(operation).or_default().push(now);
            }
            if settled > 0 {
                for pass in passes {
                    pacer.settle(pass, Answer::Served { limit: None }, moment);
                }
            }
            let (buckets, waiting) = pacer.size();
            prop_assert!(buckets <= 8 && waiting <= 24, "{buckets} {waiting}");
            if settled == 2 {
                pacer.release(moment, &mut Vec::new());
            }
        }
        // Forgetting refills nothing: the bound holds for each quota all the way.
        for times in admitted.values() {
            prop_assert!(overdraft(times, plan) <= 1e-6);
        }
    }

    #[test]
    fn mon_2_calls_under_way_are_bounded(
        plan in plans(), steps in vec((1..200_u32, 0..500_u64, any::<bool>()), 1..60),
    ) {
        let mut bucket = Bucket::new(plan.rate(), plan.burst(), secs(2.0));
        let mut now = 0;
        let most = f64::from(plan.burst()) + 2.0 * plan.rate().nano_hz() as f64 / 1e9 + 1.0;
        for (calls, ms, answered) in steps {
            now += ms * 1_000_000;
            bucket.advance(now);
            for _ in 0..calls {
                if let Some(call) = bucket.take(now) && answered {
                    bucket.settle(call, Counted::Yes, now);
                }
            }
            prop_assert!(bucket.remembered() as f64 <= most);
        }
    }

    #[test]
    fn mon_2_a_number_is_plain_or_refused(text in "[0-9.,eE+ -]{0,40}|[0-9]{1,6}(\\.[0-9]{1,12})?") {
        let plain = {
            let mut parts = text.split('.');
            let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            parts.clone().count() <= 2 && parts.all(digits)
        };
        match Rate::parse(text.as_bytes()) {
            Ok(rate) => {
                let number: f64 = text.parse().unwrap();
                prop_assert!(plain);
                prop_assert!((Rate::MIN..=Rate::MAX).contains(&rate));
                let read = rate.nano_hz() as f64 / 1e9;
                prop_assert!(read <= number * 1.000_000_1 && read >= number * 0.949, "{read}");
            }
            Err(NumberFault::Spelling) => prop_assert!(!plain),
            Err(NumberFault::Range) => {
                let number: f64 = text.parse().unwrap();
                prop_assert!(!(1.1e-5..=1e4).contains(&number));
            }
            Err(NumberFault::Length) => prop_assert!(text.len() > LENGTH_MAX),
        }
    }

    #[test]
    fn mon_2_no_header_stops_the_parser(text in vec(any::<u8>(), 0..64), wall: u64) {
        let _ = Rate::parse(&text);
        let _ = Patience::parse(&text, Patience::new(Patience::MAX));
        let rest = retry_after(&text, Moment::new(wall, 0));
        prop_assert!(rest.is_none_or(|rest| rest <= REST_MAX));
    }
}
