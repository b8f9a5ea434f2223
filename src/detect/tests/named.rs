//! MON-8: what a signal says of itself is true, for every way to one.
use std::collections::BTreeSet;

use super::super::*;
use super::enforced;
use super::runs::{self, Run};

/// Moves one setting as far as it goes, by its name in the configuration.
fn moved(settings: &Settings, name: &str) -> Settings {
    let mut all = settings.clone();
    let (float, count) = (1e9, u16::MAX);
    let Settings {
        failures,
        volume,
        slow,
        enumeration,
        canary,
        intrusion,
        logins,
        sharing,
        lasting: _,
    } = &mut all;
    match name {
        "detect.failures.refused_note" => failures.refused_note = count,
        "detect.failures.scope_act" => failures.scope_act = count,
        "detect.failures.missing_note" => failures.missing_note = count,
        "detect.failures.missing_act" => failures.missing_act = count,
        "detect.failures.factor" => failures.factor = float,
        "detect.volume.least.requests" => volume.least.requests = float,
        "detect.volume.least.bytes" => volume.least.bytes = 1e15,
        "detect.volume.least.records" => volume.least.records = float,
        "detect.volume.cold.requests" => volume.cold.requests = float,
        "detect.volume.cold.bytes" => volume.cold.bytes = 1e15,
        "detect.volume.cold.records" => volume.cold.records = float,
        "detect.volume.peer_factor" => volume.peer_factor = float,
        "detect.volume.risk_note" => volume.risk_note = 0.0,
        "detect.volume.risk_act" => volume.risk_act = 0.0,
        "detect.volume.hour_factor" => volume.hour_factor = float,
        "detect.volume.quarter_factor.requests" => volume.quarter_factor.requests = float,
        "detect.volume.quarter_factor.bytes" => volume.quarter_factor.bytes = float,
        "detect.volume.quarter_factor.records" => volume.quarter_factor.records = float,
        "detect.volume.quarter_most" => volume.quarter_most = float,
        "detect.volume.factor_max" => volume.factor_max = float,
        "detect.volume.elsewhere_factor" => volume.elsewhere_factor = float,
        "detect.volume.burst_factor" => volume.burst_factor = float,
        "detect.volume.burst_least" => volume.burst_least = float,
        "detect.slow.note" => slow.note = float,
        "detect.slow.act" => slow.act = float,
        "detect.slow.factor" => slow.factor = float,
        "detect.enumeration.least_hour" => enumeration.least_hour = float,
        "detect.enumeration.least_day" => enumeration.least_day = float,
        "detect.enumeration.cold_hour" => enumeration.cold_hour = float,
        "detect.enumeration.cold_day" => enumeration.cold_day = float,
        "detect.enumeration.factor" => enumeration.factor = float,
        "detect.enumeration.risk_note" => enumeration.risk_note = 0.0,
        "detect.enumeration.risk_act" => enumeration.risk_act = 0.0,
        "detect.canary.mode" => canary.0 = Mode::Off,
        "detect.intrusion.scanner_note" => intrusion.scanner_note = count,
        "detect.intrusion.scanner_act" => intrusion.scanner_act = count,
        "detect.intrusion.malformed_note" => intrusion.malformed_note = count,
        "detect.intrusion.malformed_act" => intrusion.malformed_act = count,
        "detect.logins.source_note" => logins.source_note = count,
        "detect.logins.source_act" => logins.source_act = count,
        "detect.logins.spray_act" => logins.spray_act = count,
        "detect.logins.identity_note" => logins.identity_note = count,
        "detect.logins.identity_act" => logins.identity_act = count,
        "detect.sharing.learn_hours" => sharing.learn_hours = count,
        "detect.sharing.returns_note" => sharing.returns_note = count,
        "detect.sharing.returns_act" => sharing.returns_act = count,
        "detect.sharing.factor" => sharing.factor = count,
        other => panic!("there is no {other}"),
    }
    all
}

#[test]
fn mon_8_the_setting_that_a_signal_names_makes_it_go_away() {
    let (mut levels, mut names) = (BTreeSet::new(), BTreeSet::new());
    for run in runs::all() {
        let signals = run.signals(&run.settings);
        assert!(!signals.is_empty(), "{}", run.name);
        for (place, signal) in signals {
            let name = signal.why.setting;
            let after = run.signals(&moved(&run.settings, name));
            let same = |other: &Signal| {
                (other.detector, other.level, other.why.unit)
                    == (signal.detector, signal.level, signal.why.unit)
            };
            let stays = after.iter().find(|(at, other)| *at == place && same(other));
            assert!(stays.is_none(), "{}: {signal:?} stays as {stays:?}", run.name);
            let tunable = run.settings.figures(signal.detector);
            let own = name.strip_prefix("detect.").unwrap_or(name);
            let is_mode = signal.detector == Detector::Canary;
            assert!(is_mode || tunable.iter().any(|(figure, _)| *figure == own), "{name}");
            levels.insert((signal.detector.as_str(), signal.level));
            names.insert(name);
        }
    }
    for detector in Detector::ALL.iter().copied() {
        let canary = detector == Detector::Canary;
        assert!(levels.contains(&(detector.as_str(), Level::Act)), "{detector:?}");
        assert!(canary || levels.contains(&(detector.as_str(), Level::Note)), "{detector:?}");
    }
    // Everything that a signal may name.
    let missing: Vec<_> = NAMED.iter().filter(|name| !names.contains(**name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// Among what can win, what is easily missed.
const NAMED: [&str; 17] = [
    "detect.enumeration.cold_day",
    "detect.enumeration.cold_hour",
    "detect.enumeration.factor",
    "detect.enumeration.least_hour",
    "detect.enumeration.risk_note",
    "detect.failures.factor",
    "detect.intrusion.malformed_note",
    "detect.logins.source_note",
    "detect.sharing.factor",
    "detect.sharing.returns_note",
    "detect.slow.factor",
    "detect.volume.burst_least",
    "detect.volume.cold.bytes",
    "detect.volume.elsewhere_factor",
    "detect.volume.factor_max",
    "detect.volume.least.requests",
    "detect.volume.peer_factor",
];

#[test]
fn mon_8_a_slow_rise_is_told_in_answers_since_it_began() {
    let mut told = 0;
    for run in runs::all() {
        for (place, signal) in run.signals(&run.settings) {
            let why = signal.why;
            assert!(why.seen >= why.limit && why.seen > 0, "{}: {why:?}", run.name);
            if signal.detector != Detector::Slow {
                continue;
            }
            assert!(why.seen > why.limit && why.limit >= why.expected, "{}: {why:?}", run.name);
            let since =
                |event: &&Event<'_>| event.at.unix_ms() >= why.since_ms && event.records > 0;
            let seen = run.events[..=place].iter().filter(since).count();
            // What came before the attack is not in the run.
            let began = run.events[0].at.unix_ms();
            let before = usize::from(why.since_ms < began) * usize::try_from(why.seen).unwrap();
            assert!(seen.abs_diff(usize::try_from(why.seen).unwrap()) <= before, "{why:?}");
            told += 1;
        }
    }
    assert!(told >= 5, "{told}");
}

fn under(settings: &Settings, detector: Detector, mode: Mode) -> Settings {
    let mut all = settings.clone();
    match detector {
        Detector::Failures => all.failures.mode = mode,
        Detector::Rate => all.volume.rate_mode = mode,
        Detector::Volume => all.volume.mode = mode,
        Detector::Slow => all.slow.mode = mode,
        Detector::Enumeration => all.enumeration.mode = mode,
        Detector::Canary => all.canary.0 = mode,
        Detector::Intrusion => all.intrusion.mode = mode,
        Detector::Logins => all.logins.mode = mode,
        Detector::Sharing => all.sharing.mode = mode,
    }
    all
}

#[test]
fn mon_8_observe_says_the_same_and_asks_for_nothing_and_off_is_silent() {
    let all: Vec<(Run, Vec<(usize, Signal)>)> = runs::all()
        .into_iter()
        .map(|run| {
            let signals = run.signals(&run.settings);
            (run, signals)
        })
        .collect();
    for detector in Detector::ALL.iter().copied() {
        let mut asked = 0;
        for (run, enforced) in &all {
            let own = |all: &[(usize, Signal)]| -> Vec<Signal> {
                let own = all.iter().map(|(_, signal)| *signal);
                own.filter(|signal| signal.detector == detector).collect()
            };
            let enforced = own(enforced);
            if enforced.is_empty() {
                continue;
            }
            asked += enforced.iter().filter(|signal| signal.is_enforced()).count();
            let with = |mode| own(&run.signals(&under(&run.settings, detector, mode)));
            assert_eq!(with(Mode::Off), [], "{}", run.name);
            let asks = Response::Note;
            let noted: Vec<_> = enforced.iter().map(|own| Signal { asks, ..*own }).collect();
            assert_eq!(with(Mode::Observe), noted, "{}", run.name);
        }
        assert!(asked > 0, "{detector:?} asks for nothing");
    }
    assert_eq!(under(&enforced(), Detector::Canary, Mode::Enforce), enforced());
}
