//! One decision about a call to Amazon: offered, released, settled. Target: 1 µs.
//! With `--table` the simulation's figures instead.
#![expect(clippy::unwrap_used, reason = "a bench may stop")]
use std::fmt::Write as _;
use std::hint::black_box;
use std::io::Write as _;
use std::time::Duration;

use divan::Bencher;
use sekisho::base::Moment;
use sekisho::pacing::{
    Answer, Ask, BucketKey, Caller, Limits, Pacer, Patience, Plan, Rate, Turn, Verdict, Weight,
};

#[path = "../tests/suite/pacing"]
mod world {
    pub mod sim;
    pub mod worlds;
}

fn main() {
    if std::env::args().any(|word| word == "--table") {
        let _ = std::io::stdout().write_all(table().as_bytes());
    } else {
        divan::main();
    }
}

/// One line per world.
fn table() -> String {
    let mut text = format!(
        "{:<34}{:>7}{:>7}{:>5}{:>8}{:>7}{:>9}{:>9}  {}\n",
        "world", "hours", "calls", "429", "429 1h", "used", "wait max", "waiting", "shares"
    );
    for world in world::worlds::all() {
        let report = world.run();
        let few = report.clients.len().min(3);
        let shares: Vec<_> = (0..few).map(|at| format!("{:.3}", report.share(at))).collect();
        let wait = report.clients.iter().map(|tally| tally.wait_max).max().unwrap_or_default();
        let _ = writeln!(
            text,
            "{:<34}{:>7}{:>7}{:>5}{:>8}{:>7.3}{:>8}s{:>9}  {}",
            world.name,
            world.hours,
            report.served,
            report.throttled_ns.len(),
            report.throttled_between(0.0, 1.0),
            report.used(),
            wait.as_secs(),
            report.waiting_max,
            shares.join(" ")
        );
    }
    text
}

const SECOND: u64 = 1_000_000_000;

fn plan(rate: f64, burst: u32) -> Plan {
    Plan::new(Rate::per_second(rate).unwrap(), burst).unwrap()
}

fn ask(plan: Plan, operation: u64, caller: u64, patience: u64) -> Ask {
    Ask {
        bucket: BucketKey { seller: operation, application: 1, operation },
        plan,
        caller: Caller(caller),
        weight: Weight::ONE,
        patience: Patience::new(Duration::from_secs(patience)),
    }
}

fn at(ns: u64) -> Moment {
    Moment::new(0, ns)
}

/// Nobody waits: let through, answered.
#[divan::bench(args = [1, 10_000])]
fn admit_and_settle(bencher: Bencher<'_, '_>, buckets: u64) {
    let (mut pacer, plan) = (Pacer::new(Limits::default()), plan(80.0, 100));
    let (mut now, mut step) = (0, 0_u64);
    bencher.bench_local(|| {
        step = step.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        now += 20_000_000;
        let ask = ask(plan, (step >> 33) % buckets, step >> 60, 0);
        if let Verdict::Admit(pass) = pacer.offer(&ask, at(now)) {
            pacer.settle(pass, Answer::Served { limit: None }, at(now + 5_000_000));
        }
    });
}

/// The bucket is empty and so many callers wait, four calls each.
fn crowded(callers: u64) -> (Pacer, Plan) {
    let limits = Limits { lane_waiting_max: 4_096, ..Limits::default() };
    let (mut pacer, plan) = (Pacer::new(limits), plan(10.0, 1));
    for call in 0..=callers * 4 {
        let verdict = pacer.offer(&ask(plan, 1, call % callers, 3_600), at(0));
        if let Verdict::Admit(pass) = verdict {
            pacer.settle(pass, Answer::Served { limit: None }, at(0));
        }
    }
    (pacer, plan)
}

/// Refused at once: no token comes in time.
#[divan::bench(args = [1, 256])]
fn refuse(bencher: Bencher<'_, '_>, callers: u64) {
    let (mut pacer, plan) = crowded(callers);
    let ask = ask(plan, 1, callers, 0);
    bencher.bench_local(|| black_box(pacer.offer(&ask, at(1))));
}

/// Refused after a look at every caller that goes before: the dearest case.
#[divan::bench(args = [1, 16, 64, 256])]
fn refuse_after_doubt(bencher: Bencher<'_, '_>, callers: u64) {
    let (mut pacer, plan) = crowded(callers);
    let patience = Patience::new(Duration::from_millis(2_500));
    let ask = Ask { patience, ..ask(plan, 1, 0, 0) };
    bencher.bench_local(|| black_box(pacer.offer(&ask, at(1))));
}

/// A place taken and given up.
#[divan::bench(args = [1, 16, 64, 256])]
fn wait_and_leave(bencher: Bencher<'_, '_>, callers: u64) {
    let (mut pacer, plan) = crowded(callers);
    let ask = ask(plan, 1, callers, 3_600);
    bencher.bench_local(|| {
        if let Verdict::Wait { ticket, .. } = pacer.offer(&ask, at(1)) {
            pacer.leave(ticket, at(1));
        }
    });
}

/// A place taken, somebody's turn, its answer: a whole turn of a full queue.
#[divan::bench(args = [1, 16, 64, 256])]
fn wait_release_and_settle(bencher: Bencher<'_, '_>, callers: u64) {
    let (mut pacer, plan) = crowded(callers);
    let (mut now, mut call, mut out) = (0, 0_u64, Vec::new());
    bencher.bench_local(|| {
        call += 1;
        now += SECOND / 5;
        let _place = black_box(pacer.offer(&ask(plan, 1, call % callers, 3_600), at(now)));
        pacer.release(at(now), &mut out);
        for one in out.drain(..) {
            if let Turn::Admit(pass) = one.turn {
                pacer.settle(pass, Answer::Served { limit: None }, at(now));
            }
        }
    });
}

/// `x-amzn-RateLimit-Limit`.
#[divan::bench]
fn read_header(bencher: Bencher<'_, '_>) {
    bencher.bench_local(|| Rate::parse(black_box(b"0.0167")));
}
