//! Addresses, health and breaker together, unit by unit and as a seeded simulation.
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::breaker::{Admission, Verdict};
use super::pool::{Pool, REST_AFTER, REST_FIRST, REST_MAX};
use super::*;
use crate::base::{Moment, Name, UpstreamFault};

const PAUSE: Duration = Duration::from_secs(10);

fn addr(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, last], 8443))
}

fn at(millis: u64) -> Moment {
    Moment::new(0, millis * 1_000_000)
}

fn breaker(failures: u32) -> BreakerSpec {
    BreakerSpec { failures: NonZeroU32::new(failures).unwrap(), open: PAUSE }
}

fn pool(addresses: u8) -> Pool {
    let mut pool = Pool::new(breaker(u32::MAX));
    pool.replace(&(1..=addresses).map(addr).collect::<Vec<_>>());
    pool
}

fn upstream(addresses: u8, failures: u32) -> Arc<Upstream> {
    Arc::new(Upstream::new(UpstreamSpec {
        name: Name::parse("warehouse").unwrap(),
        host: "warehouse.internal".into(),
        port: 8443,
        addresses: Addresses::Fixed((1..=addresses).map(addr).collect()),
        breaker: breaker(failures),
    }))
}

fn fail(pool: &mut Pool, last: u8, times: u32, now: Moment) {
    for _ in 0..times {
        pool.judge(addr(last), Admission::Ordinary, Verdict::Ill, now);
    }
}

#[test]
fn without_an_address_it_is_unreachable_and_no_probe_is_lost() {
    let mut pool = Pool::new(breaker(1));
    assert_eq!(pool.pick(&[], 0, at(0)).unwrap_err(), UpstreamFault::Unreachable);
    assert_eq!(
        pool.judge(addr(1), Admission::Ordinary, Verdict::Ill, at(0)),
        Some(BreakerChange::Opened)
    );
    assert_eq!(pool.pick(&[], 0, at(10_000)).unwrap_err(), UpstreamFault::Unreachable);
    pool.replace(&[addr(1)]);
    let probe = pool.pick(&[], 0, at(10_000)).unwrap();
    assert_eq!(probe.change, Some(BreakerChange::HalfOpened));
}

#[test]
fn load_spreads_over_all_addresses() {
    let upstream = upstream(4, 5);
    let held: Vec<_> = (0..400).map(|_| upstream.pick(&[], at(0)).unwrap()).collect();
    for last in 1..=4 {
        let share = held.iter().filter(|picked| picked.address() == addr(last)).count();
        assert!((80..=120).contains(&share), "{share}");
    }
}

#[test]
fn the_less_busy_of_two_is_taken() {
    let mut pool = pool(2);
    let first = pool.pick(&[], 0, at(0)).unwrap();
    for random in [0, 1, 1 << 32, u64::MAX] {
        let second = pool.pick(&[], random, at(0)).unwrap();
        assert_ne!(second.addr, first.addr);
        second.in_flight.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
    }
}

#[test]
fn a_request_that_ends_is_no_load_any_more() {
    let upstream = upstream(2, 5);
    let mut held: Vec<_> = (0..40).map(|_| upstream.pick(&[], at(0)).unwrap()).collect();
    held.retain(|picked| picked.address() == addr(1));
    let more: Vec<_> = (0..held.len()).map(|_| upstream.pick(&[], at(0)).unwrap()).collect();
    assert_eq!(held.len(), 20);
    assert!(more.iter().all(|picked| picked.address() == addr(2)));
}

#[test]
fn every_pair_of_addresses_can_be_compared() {
    let mut pool = pool(3);
    let mut seen = std::collections::HashSet::new();
    for random in 0..6_u64 {
        let choice = pool.pick(&[], (random % 3) | (random / 3) << 32, at(0)).unwrap();
        seen.insert(choice.addr);
    }
    assert_eq!(seen.len(), 3);
}

#[test]
fn a_retry_goes_elsewhere_while_there_is_an_elsewhere() {
    let upstream = upstream(3, 5);
    for _ in 0..50 {
        let first = upstream.pick(&[], at(0)).unwrap().address();
        let second = upstream.pick(&[first], at(0)).unwrap().address();
        let third = upstream.pick(&[first, second], at(0)).unwrap().address();
        assert!(first != second && first != third && second != third);
        assert!(upstream.pick(&[first, second, third], at(0)).is_ok());
    }
}

#[test]
fn a_failing_address_rests_longer_each_time_and_comes_back() {
    let mut pool = pool(2);
    fail(&mut pool, 1, REST_AFTER - 1, at(0));
    assert_eq!(pool.resting(at(0)), 0);
    fail(&mut pool, 1, 1, at(0));
    let (mut now, mut expected) = (at(0), REST_FIRST);
    for _ in 0..12 {
        let almost = now.plus(expected.checked_sub(Duration::from_millis(1)).unwrap());
        for random in 0..20 {
            let choice = pool.pick(&[], random << 16 | random, almost).unwrap();
            assert_eq!(choice.addr, addr(2));
            choice.in_flight.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
        }
        // Failures of requests from before the rest do not prolong it.
        fail(&mut pool, 1, 5, almost);
        now = now.plus(expected);
        assert_eq!(pool.resting(now), 0);
        fail(&mut pool, 1, 1, now);
        assert_eq!(pool.resting(now), 1, "one failure after a rest is enough");
        expected = (expected * 2).min(REST_MAX);
    }
    assert_eq!(expected, REST_MAX);
    pool.judge(addr(1), Admission::Ordinary, Verdict::Well, now);
    fail(&mut pool, 1, REST_AFTER - 1, now);
    assert_eq!(pool.resting(now), 0, "a success forgives everything");
}

#[test]
fn with_all_addresses_resting_the_one_nearest_to_its_return_is_tried() {
    let mut pool = pool(3);
    for (last, millis) in [(1, 300), (2, 100), (3, 200)] {
        fail(&mut pool, last, REST_AFTER, at(millis));
    }
    assert_eq!(pool.resting(at(400)), 3);
    for random in 0..10 {
        assert_eq!(pool.pick(&[], random, at(400)).unwrap().addr, addr(2));
    }
}

#[test]
fn addresses_that_stay_keep_their_health_and_load() {
    let mut pool = pool(2);
    fail(&mut pool, 1, REST_AFTER, at(0));
    let busy = pool.pick(&[], 0, at(0)).unwrap();
    assert_eq!(busy.addr, addr(2));
    pool.replace(&[addr(3), addr(2), addr(1), addr(3)]);
    assert_eq!((pool.resting(at(0)), pool.in_flight()), (1, 1));
    pool.replace(&[addr(3)]);
    assert_eq!((pool.resting(at(0)), pool.in_flight()), (0, 0));
    assert_eq!(pool.judge(busy.addr, busy.admission, Verdict::Ill, at(0)), None);
    pool.replace(&[addr(1)]);
    assert_eq!(pool.resting(at(0)), 0, "who left and came back is a stranger");
}

#[test]
fn the_first_report_counts() {
    let upstream = upstream(1, 1);
    let mut picked = upstream.pick(&[], at(0)).unwrap();
    assert_eq!(picked.report(Outcome::Ok, at(0)), None);
    assert_eq!(picked.report(Outcome::Closed, at(0)), None);
    let mut picked = upstream.pick(&[], at(0)).unwrap();
    assert_eq!(picked.report(Outcome::Closed, at(0)), Some(BreakerChange::Opened));
    assert_eq!(upstream.pick(&[], at(0)).unwrap_err(), UpstreamFault::CircuitOpen);
}

#[test]
fn tls_2_an_upstream_that_can_not_prove_itself_counts_as_failed() {
    for outcome in [
        Outcome::Untrusted,
        Outcome::Unavailable,
        Outcome::ConnectFailed,
        Outcome::TimedOut,
        Outcome::Malformed,
        Outcome::Closed,
    ] {
        let upstream = upstream(1, 1);
        let change = upstream.pick(&[], at(0)).unwrap().report(outcome, at(0));
        assert_eq!(change, Some(BreakerChange::Opened), "{outcome:?}");
    }
    let upstream = upstream(1, 1);
    assert_eq!(upstream.pick(&[], at(0)).unwrap().report(Outcome::Abandoned, at(0)), None);
    assert!(upstream.pick(&[], at(0)).is_ok());
}

#[test]
fn a_dropped_probe_is_sent_again() {
    let upstream = upstream(1, 1);
    upstream.pick(&[], at(0)).unwrap().report(Outcome::TimedOut, at(0));
    let probe = upstream.pick(&[], at(10_000)).unwrap();
    assert_eq!(probe.change(), Some(BreakerChange::HalfOpened));
    assert!(upstream.pick(&[], at(10_000)).is_err());
    drop(probe);
    let mut probe = upstream.pick(&[], at(10_000)).unwrap();
    assert_eq!((probe.change(), probe.index()), (None, 0));
    assert_eq!(probe.report(Outcome::Ok, at(10_001)), Some(BreakerChange::Closed));
}

#[test]
fn a_reload_recognises_an_upstream_by_its_whole_spec() {
    let upstream = upstream(2, 3);
    let spec = upstream.spec().clone();
    assert!(upstream.is_for(&spec));
    assert!(!upstream.is_for(&UpstreamSpec { port: 1, ..spec.clone() }));
    assert!(!upstream.is_for(&UpstreamSpec { addresses: Addresses::Dns, ..spec }));
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Pick { retry: bool },
    Report { which: usize, outcome: Outcome },
    Drop { which: usize },
    Advance { millis: u64 },
    Addresses { bits: u8 },
}

fn op() -> impl Strategy<Value = Op> {
    let outcome = prop_oneof![
        3 => Just(Outcome::Ok),
        4 => Just(Outcome::ConnectFailed),
        1 => Just(Outcome::Unavailable),
        1 => Just(Outcome::Untrusted),
        1 => Just(Outcome::Abandoned),
    ];
    prop_oneof![
        6 => any::<bool>().prop_map(|retry| Op::Pick { retry }),
        6 => (any::<usize>(), outcome).prop_map(|(which, outcome)| Op::Report { which, outcome }),
        2 => any::<usize>().prop_map(|which| Op::Drop { which }),
        3 => (0..7_000_u64).prop_map(|millis| Op::Advance { millis }),
        1 => (1..16_u8).prop_map(|bits| Op::Addresses { bits }),
    ]
}

/// What an observer knows from the reported changes alone.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Seen {
    Closed,
    Open { since: Moment },
    HalfOpen { probes: usize },
}

struct Simulation {
    upstream: Arc<Upstream>,
    held: Vec<(Picked, bool)>,
    now: Moment,
    seen: Seen,
    last: Option<SocketAddr>,
    known: Vec<SocketAddr>,
}

impl Simulation {
    fn new() -> Self {
        Self {
            upstream: upstream(3, 4),
            held: Vec::new(),
            now: at(0),
            seen: Seen::Closed,
            last: None,
            known: (1..=3).map(addr).collect(),
        }
    }

    fn pick(&mut self, retry: bool) {
        let tried: Vec<_> = self.last.into_iter().filter(|_| retry).collect();
        let picked = self.upstream.pick(&tried, self.now);
        let probe = match (self.seen, &picked) {
            (Seen::Closed, picked) => {
                assert_eq!(picked.as_ref().unwrap().change(), None);
                false
            }
            (Seen::Open { since }, Ok(picked)) => {
                assert!(self.now.since(since) >= PAUSE, "sent while open");
                assert_eq!(picked.change(), Some(BreakerChange::HalfOpened));
                self.seen = Seen::HalfOpen { probes: 1 };
                true
            }
            (Seen::HalfOpen { probes }, Ok(picked)) => {
                assert_eq!((probes, picked.change()), (0, None), "a second probe");
                self.seen = Seen::HalfOpen { probes: 1 };
                true
            }
            (Seen::Open { since }, Err(fault)) => {
                assert!(self.now.since(since) < PAUSE, "the breaker stays open for ever");
                assert_eq!(*fault, UpstreamFault::CircuitOpen);
                false
            }
            (Seen::HalfOpen { probes }, Err(fault)) => {
                assert_eq!((probes, *fault), (1, UpstreamFault::CircuitOpen));
                false
            }
        };
        if let Ok(picked) = picked {
            assert!(self.known.contains(&picked.address()));
            self.last = Some(picked.address());
            self.held.push((picked, probe));
        }
    }

    /// A request ends: the report of a probe decides, a missing or empty one frees its place.
    fn end(&mut self, which: usize, outcome: Option<Outcome>) {
        if self.held.is_empty() {
            return;
        }
        let (mut picked, probe) = self.held.swap_remove(which % self.held.len());
        let change = outcome.and_then(|outcome| picked.report(outcome, self.now));
        let told = !matches!(outcome, None | Some(Outcome::Abandoned));
        match (self.seen, change) {
            (Seen::HalfOpen { .. }, Some(BreakerChange::Closed)) => {
                assert!(probe && outcome == Some(Outcome::Ok));
                self.seen = Seen::Closed;
            }
            (Seen::HalfOpen { .. }, Some(BreakerChange::Opened)) => {
                assert!(probe && outcome != Some(Outcome::Ok));
                self.seen = Seen::Open { since: self.now };
            }
            (Seen::Closed, Some(BreakerChange::Opened)) => {
                self.seen = Seen::Open { since: self.now };
            }
            (Seen::HalfOpen { .. }, None) => {
                assert!(!(probe && told));
                if probe {
                    self.seen = Seen::HalfOpen { probes: 0 };
                }
            }
            (_, None) => {}
            (seen, change) => panic!("{change:?} while {seen:?}"),
        }
    }

    fn step(&mut self, op: Op) {
        match op {
            Op::Pick { retry } => self.pick(retry),
            Op::Report { which, outcome } => self.end(which, Some(outcome)),
            Op::Drop { which } => self.end(which, None),
            Op::Advance { millis } => self.now = self.now.plus(Duration::from_millis(millis)),
            Op::Addresses { bits } => {
                self.known = (0..4).filter(|bit| bits >> bit & 1 == 1).map(addr).collect();
                self.upstream.replace_addresses(&self.known);
            }
        }
    }

    /// The upstream is well again: everything must come back by itself.
    fn recovers(mut self) {
        self.held.clear();
        self.now = self.now.plus(REST_MAX).plus(PAUSE);
        let mut used = std::collections::HashSet::new();
        for _ in 0..400 {
            let mut picked = self.upstream.pick(&[], self.now).unwrap();
            used.insert(picked.address());
            picked.report(Outcome::Ok, self.now);
        }
        assert_eq!(used.len(), self.known.len(), "an address never came back");
    }
}

proptest! {
    #[test]
    fn breaker_and_rests_hold_under_any_sequence(
        ops in proptest::collection::vec(op(), 1..400),
    ) {
        let mut simulation = Simulation::new();
        for op in ops {
            simulation.step(op);
        }
        simulation.recovers();
    }
}
