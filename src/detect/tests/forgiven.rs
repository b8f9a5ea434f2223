//! What comes after an operator's release, or after the end of a step, is judged anew.
use std::time::Duration;

use super::super::*;
use super::runs::{self, Run};
use super::{HOUR_MS, at, enforced, event, live, see};
use crate::base::{IdentityIx, Moment};

/// After how many events of an attack, made twice if need be, it is acted upon; an ordinary one comes
/// before it.
fn acted(watch: &mut Watch, run: &Run, after_ms: u64) -> Option<usize> {
    let (first, last) = (run.events[0], run.events[run.events.len() - 1]);
    let round_ms = last.at.unix_ms() - first.at.unix_ms() + 1_000;
    let later = |one: &Event<'static>, ms: u64| {
        let at = Moment::new(one.at.unix_ms() + ms, one.at.mono_ns() + ms * 1_000_000);
        Event { at, ..*one }
    };
    let mut hardest = |one: &Event<'_>| {
        let watched = watch.observe(IdentityIx(0), one, &run.peers, &run.settings);
        watched.signals.iter().map(|signal| signal.level).max()
    };
    let first = later(&first, after_ms);
    let ordinary = Event { outcome: Outcome::Allowed, records: 0, bytes: 0, canary: None, ..first };
    assert!(hardest(&ordinary) < Some(Level::Act), "{}: at once", run.name);
    let rounds = [after_ms, after_ms + round_ms];
    let mut events = rounds.iter().flat_map(|ms| run.events.iter().map(|one| later(one, *ms)));
    events.position(|one| hardest(&one) == Some(Level::Act))
}

/// Neither at once, for what is forgiven, nor never.
#[test]
fn acc_2_after_a_release_an_attack_is_found_as_it_was_before() {
    let mut found = 0;
    for run in runs::all().iter().filter(|run| run.events[0].identity == Some(IdentityIx(0))) {
        let mut watch = run.learned.clone();
        let Some(before) = acted(&mut watch, run, 0) else { continue };
        let until = run.events[before % run.events.len()].at;
        watch.forgive();
        let passed = until.unix_ms() - run.events[0].at.unix_ms() + 1_000;
        let mut recalled = Watch::decode(&watch.encode(until), until).unwrap();
        let after = acted(&mut watch, run, passed);
        let after = after.unwrap_or_else(|| panic!("{} is not found again", run.name));
        assert!(after * 2 >= before, "{}: {before} events, then {after}", run.name);
        assert_eq!(acted(&mut recalled, run, passed), Some(after), "{}", run.name);
        found += 1;
    }
    assert!(found > 15, "{found}");
}

/// Ten records each second for a minute; after how many requests it is locked.
fn scrape(watch: &mut Watch, from_ms: u64) -> Option<u64> {
    (1..=60).find(|n| {
        let one = Event { records: 10, ..event(at(840, from_ms + n * 1_000)) };
        see(watch, &one, &enforced()).iter().any(|s| s.asks == Response::Lock)
    })
}

#[test]
fn mon_3_who_scrapes_on_after_a_release_is_locked_within_the_same_hour() {
    let mut watch = Watch::default();
    live(&mut watch, 0..840, 60, &enforced());
    let mut young = watch.clone();
    assert!(scrape(&mut watch, 300_000).is_some_and(|n| n <= 15));
    assert_eq!(scrape(&mut watch, 360_000), None, "once");
    watch.forgive();
    assert!(scrape(&mut watch, 420_000).is_some_and(|n| (5..=15).contains(&n)));
    // What was a false alarm is none from that moment on, and not only when the hour is over.
    assert!(scrape(&mut young, 300_000).is_some());
    young.accept();
    assert_eq!(scrape(&mut young, 420_000), None, "by what a new identity may do");
}

/// Runs `hours` at so many requests an hour; how many were neither slowed down nor the reason for it,
/// after the first that was, and how often it was said.
fn slowed(
    watch: &mut Watch,
    hours: std::ops::Range<u64>,
    per_hour: u64,
    settings: &Settings,
) -> (u64, u64) {
    let (mut until, mut free, mut said) = (None, 0, 0);
    for hour in hours {
        for n in 0..per_hour {
            let one = Event { records: 0, bytes: 0, ..event(at(hour, HOUR_MS / per_hour * n)) };
            let slow = |s: &Signal| s.asks == Response::Slow;
            if see(watch, &one, settings).iter().any(slow) {
                until = Some(one.at.plus(settings.lasting.slow).mono_ns());
                said += 1;
            } else if until.is_some_and(|until| one.at.mono_ns() >= until) {
                free += 1;
            }
        }
    }
    (free, said)
}

#[test]
fn mon_2_who_goes_on_is_slowed_down_throughout_and_who_stops_is_not() {
    let mut settings = enforced();
    let mut learned = Watch::default();
    live(&mut learned, 0..840, 60, &settings);
    for minutes in [15, 5, 60] {
        settings.lasting.slow = Duration::from_secs(minutes * 60);
        let mut watch = learned.clone();
        let (free, said) = slowed(&mut watch, 840..844, 2_400, &settings);
        assert_eq!(free, 0, "{minutes} minutes");
        assert!(said <= 4 * 60 / minutes + 4, "{said} times in four hours, {minutes} minutes");
        // Ordinary work is nothing that goes on.
        assert_eq!(slowed(&mut watch, 845..848, 60, &settings).1, 0);
    }
    settings.lasting.slow = Duration::from_secs(900);
    let mut watch = learned;
    let minutes = |watch: &mut Watch, from: u64, until: u64, per_minute: u64| {
        let each = (from..until).flat_map(|m| (0..per_minute).map(move |n| (m, n)));
        let mut said = 0;
        for (minute, n) in each {
            let one = event(at(840, minute * 60_000 + 60_000 / per_minute * n));
            let one = Event { records: 0, bytes: 0, ..one };
            said += see(watch, &one, &settings).iter().filter(|s| s.asks == Response::Slow).count();
        }
        said
    };
    assert_eq!(minutes(&mut watch, 0, 8, 40), 1);
    // What came while it was slowed down may be one reason more; that the hour's count is high is none.
    assert!(minutes(&mut watch, 8, 60, 1) <= 1);
}

#[test]
fn mon_1_who_asks_on_for_what_does_not_exist_is_slowed_down_throughout() {
    let (mut watch, settings) = (Watch::default(), enforced());
    let (mut until, mut free) = (None, 0);
    for n in 0..7_200 {
        let one = Event { outcome: Outcome::NotFound, records: 0, ..event(at(1, n * 1_000)) };
        let signals = see(&mut watch, &one, &settings);
        if signals.iter().any(|s| s.detector == Detector::Failures && s.asks == Response::Slow) {
            until = Some(one.at.plus(settings.lasting.slow).mono_ns());
        } else if until.is_some_and(|until| one.at.mono_ns() >= until) {
            free += 1;
        }
    }
    assert!(until.is_some());
    assert_eq!(free, 0);
}

#[test]
fn mon_5_a_source_that_was_released_counts_anew() {
    let mut sources = Sources::new(64);
    let scan = |sources: &mut Sources, times: u64, from_ms: u64| {
        (0..times).any(|n| {
            let outcome = Outcome::ScannerPath;
            let one = Event { identity: None, outcome, ..event(at(0, from_ms + n * 100)) };
            sources.observe(&one, &enforced()).iter().any(|s| s.asks == Response::Lock)
        })
    };
    assert!(scan(&mut sources, 12, 0));
    sources.forgive(2);
    assert!(!scan(&mut sources, 200, 2_000), "once in a quarter, and another one was released");
    sources.forgive(1);
    assert!(!scan(&mut sources, 2, 30_000) && scan(&mut sources, 12, 31_000));
}
