#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "made-up numbers of a size that is known"
)]

use super::super::sketch::Sketch;
use super::super::tail::Tail;
use super::super::week::Week;
use super::super::window::{HOUR_MS, Window};
use super::super::*;
use super::{START_MS, at, enforced, event, live, see};
use crate::base::HashKey;
use crate::base::{IdentityIx, Moment};

#[test]
fn mon_3_ten_million_distinct_objects_are_counted_within_the_stated_error() {
    let (mut sketch, key) = (Sketch::default(), HashKey::new([5; 16]));
    let mut next = 10;
    for n in 0..10_000_000_u64 {
        sketch.add(key.hash(&n.to_le_bytes()));
        if n + 1 == next {
            let (estimate, truth) = (sketch.estimate() as f64, next as f64);
            assert!((estimate / truth - 1.0).abs() < 3.0 * 0.065, "{estimate} of {truth}");
            next *= 10;
        }
    }
    assert_eq!(size_of::<Sketch>(), 272);
    sketch.clear();
    assert_eq!(sketch.estimate(), 0);
}

#[test]
fn the_tail_of_known_distributions_is_found() {
    // Normal, spread 0.3 octaves, and exponential, mean 0.2: one in ten thousand exceeds these.
    let normal = |u: f64, v: f64| (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos() * 0.3;
    let exponential = |u: f64, _: f64| -0.2 * u.ln();
    for (is_normal, truth) in [(true, 1.12), (false, 1.84)] {
        let mut tail = Tail::default();
        let mut state = 9_u64;
        let mut unit = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            ((state >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
        };
        for _ in 0..5_000 {
            let (u, v) = (unit(), unit());
            tail.learn(if is_normal { normal(u, v) } else { exponential(u, v) } as f32);
        }
        let found = tail.quantile(1e-4);
        assert!((found - truth).abs() < 0.35 * truth, "{found}, not {truth}");
        assert!(tail.quantile(1e-5) > found);
    }
    let mut broken = Tail::default();
    broken.learn(f32::NAN);
    broken.learn(f32::INFINITY);
    assert!(broken.quantile(1e-4).is_finite());
}

#[test]
fn an_hour_of_the_week_is_learned_and_its_neighbours_help() {
    let mut week = Week::default();
    for _ in 0..8 {
        week.learn(10, 6.0, 0.25, 0.5);
    }
    assert!((week.at(10) - 5.7).abs() < 0.4, "{}", week.at(10));
    assert_eq!((week.at(9), week.at(178)), (0.0, week.at(10)));
    assert_eq!([9, 10, 11, 12].map(|h| week.around(h) > 5.0), [true, true, true, false]);
    week.learn(0, 1e9, 1.0, 0.0);
    week.learn(1, f32::NAN, 1.0, 0.0);
    assert!(week.highest() < 22.0, "the scale has an end");
}

#[test]
fn a_window_ends_by_the_monotonic_clock_alone() {
    let mut window = Window::default();
    assert!(window.turn(at(0, 0), HOUR_MS).is_none());
    // The wall clock jumps to and fro within the hour: nothing ends.
    for (n, wall) in [(1, 0), (2, START_MS * 2), (3, u64::MAX), (4, START_MS)] {
        assert!(window.turn(Moment::new(wall, at(0, n).mono_ns()), HOUR_MS).is_none());
    }
    let ended = window.turn(at(1, 5), HOUR_MS).unwrap();
    assert!(ended.whole && ended.silent == 0);
    let ended = window.turn(at(50, 0), HOUR_MS).unwrap();
    assert!(ended.whole && ended.silent == 48, "{ended:?}");
    let jumped = Moment::new(at(90, 0).unix_ms(), at(51, 0).mono_ns());
    assert!(!window.turn(jumped, HOUR_MS).unwrap().whole, "an hour with a jump teaches nothing");
    // Both clocks go back, as on another machine: the window waits.
    assert!(window.turn(Moment::new(0, 0), HOUR_MS).is_none());
}

#[test]
fn hours_without_traffic_and_clock_jumps_lead_to_no_lock() {
    let (mut watch, settings) = (Watch::default(), enforced());
    live(&mut watch, 0..400, 20, &settings);
    // Silence over a weekend and then a month.
    live(&mut watch, 472..500, 20, &settings);
    live(&mut watch, 1_300..1_340, 20, &settings);
    for (n, wall_ms) in (0_u64..).zip([0, START_MS * 3, START_MS, u64::MAX, 7]) {
        for m in 0..20 {
            let mono_ns = at(1_340 + n, m * 180_000).mono_ns();
            let one = event(Moment::new(wall_ms, mono_ns));
            let signals = see(&mut watch, &one, &settings);
            assert!(signals.iter().all(|s| !s.is_enforced()), "{wall_ms} {signals:?}");
        }
    }
}

#[test]
fn counters_stop_at_their_end_and_the_limits_hold() {
    let (mut watch, settings) = (Watch::default(), enforced());
    let mut locked = false;
    assert!(see(&mut watch, &event(at(0, 0)), &settings).is_empty());
    for n in 0..1_000 {
        let one = Event { bytes: u64::MAX, records: u64::MAX, ..event(at(0, n)) };
        locked |= see(&mut watch, &one, &settings).iter().any(|s| s.asks == Response::Lock);
    }
    assert!(locked);
    let mut refused = Watch::default();
    for n in 0..70_000 {
        let one = Event { outcome: Outcome::NotFound, ..event(at(0, n / 100)) };
        see(&mut refused, &one, &settings);
    }
    let last = Moment::new(u64::MAX, u64::MAX);
    see(&mut watch, &event(last), &settings);
    see(&mut watch, &event(Moment::new(0, 0)), &settings);
}

#[test]
fn an_operator_can_accept_what_is_new() {
    let (mut watch, settings) = (Watch::default(), enforced());
    live(&mut watch, 0..840, 30, &settings);
    watch.accept();
    live(&mut watch, 840..1_400, 200, &settings);
}

#[test]
fn mon_8_every_detector_has_a_word_and_a_control() {
    use std::collections::BTreeSet;
    let words: BTreeSet<_> = Detector::ALL.iter().map(|d| d.as_str()).collect();
    assert_eq!(words.len(), Detector::ALL.len());
    let controls: BTreeSet<_> = Detector::ALL.iter().map(|d| d.control()).collect();
    assert_eq!(controls.len(), 7);
    let mut signals = Signals::default();
    assert!(signals.is_empty());
    let one = Event { canary: Some(Canary { number: 1, planted_for: None }), ..event(at(0, 0)) };
    let watched =
        Watch::default().observe(IdentityIx(0), &one, &Peers::default(), &Settings::default());
    signals = watched.signals;
    assert_eq!(signals.iter().count(), 1);
}
