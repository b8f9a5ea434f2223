mod canaries;
mod forgiven;
mod history;
mod named;
mod parts;
mod runs;
mod sources;

use super::*;
use crate::base::HashKey;
use crate::base::{IdentityIx, Moment, NetworkIx, OperationIx, RoleIx};

const HOUR_MS: u64 = 3_600_000;
/// Monday 2026-03-02 00:00 UTC.
const START_MS: u64 = 1_772_409_600_000;

fn at(hour: u64, ms: u64) -> Moment {
    let ms = hour * HOUR_MS + ms;
    Moment::new(START_MS + ms, (ms + 60_000) * 1_000_000)
}

fn event(at: Moment) -> Event<'static> {
    Event {
        at,
        identity: Some(IdentityIx(0)),
        role: Some(RoleIx(0)),
        network: Some(NetworkIx(0)),
        source: 1,
        operation: Some(OperationIx(1)),
        outcome: Outcome::Allowed,
        bytes: 4_000,
        records: 2,
        object: None,
        named: &[],
        fingerprint: 1,
        canary: None,
    }
}

fn enforced() -> Settings {
    let mut all = Settings::default();
    all.failures.mode = Mode::Enforce;
    all.volume.mode = Mode::Enforce;
    all.volume.rate_mode = Mode::Enforce;
    all.slow.mode = Mode::Enforce;
    all.enumeration.mode = Mode::Enforce;
    all.intrusion.mode = Mode::Enforce;
    all.logins.mode = Mode::Enforce;
    all.sharing.mode = Mode::Enforce;
    all
}

fn see(watch: &mut Watch, event: &Event<'_>, settings: &Settings) -> Vec<Signal> {
    let watched = watch.observe(IdentityIx(0), event, &Peers::new(1), settings);
    watched.signals.iter().copied().collect()
}

/// `per_hour` requests in each hour with work, evenly spread.
fn live(watch: &mut Watch, hours: std::ops::Range<u64>, per_hour: u64, settings: &Settings) {
    for hour in hours {
        for n in 0..per_hour {
            let signals = see(watch, &event(at(hour, HOUR_MS / per_hour * n)), settings);
            assert!(signals.iter().all(|s| s.level < Level::Act), "{signals:?}");
        }
    }
}

#[test]
fn mon_1_who_is_over_its_quota_everywhere_tries_nothing_that_it_may_not() {
    let settings = enforced();
    let hardest = |outcome: Outcome| {
        let mut watch = Watch::default();
        let signals = (0..64).flat_map(|n| {
            let operation = Some(OperationIx(n));
            let one = Event { operation, outcome, ..event(at(1, u64::from(n) * 1_000)) };
            see(&mut watch, &one, &settings)
        });
        signals.map(|signal| (signal.asks, signal.why.unit)).max_by_key(|(asks, _)| *asks)
    };
    assert_eq!(hardest(Outcome::OverQuota), Some((Response::Note, "calls refused")));
    let act = Some((Response::StepUp, "operations not granted"));
    assert_eq!(hardest(Outcome::NotPermitted), act);
    // Refused once for something else, it is not accused of what its quotas refuse after that.
    let mut watch = Watch::default();
    for n in 0..64 {
        let outcome = if n % 8 == 0 { Outcome::NotPermitted } else { Outcome::OverQuota };
        let operation = Some(OperationIx(n));
        let one = Event { operation, outcome, ..event(at(1, u64::from(n) * 1_000)) };
        assert!(see(&mut watch, &one, &settings).iter().all(|s| s.level == Level::Note));
    }
}

#[test]
fn mon_3_a_scraper_is_stopped_within_the_hour_and_says_why() {
    let (mut watch, settings) = (Watch::default(), enforced());
    live(&mut watch, 0..5 * 168, 60, &settings);
    let mut taken = 0;
    let signal = (0..3_600).find_map(|n| {
        let one = Event { records: 10, bytes: 9_000, ..event(at(840, n * 1_000)) };
        taken += 10;
        let found = see(&mut watch, &one, &settings);
        found.into_iter().find(|s| s.detector == Detector::Volume && s.level == Level::Act)
    });
    let signal = signal.unwrap();
    assert!(taken <= 150, "{taken} records, of an hourly normal of 120");
    assert_eq!(signal.subject, Subject::Identity(IdentityIx(0)));
    assert_eq!((signal.asks, signal.authenticated), (Response::Lock, true));
    let why = signal.why;
    assert!((100..=140).contains(&why.expected) && why.seen > why.limit, "{why:?}");
    assert_eq!((why.unit, why.setting), ("records", "detect.volume.burst_factor"));
    assert!(why.since_ms >= START_MS + 840 * HOUR_MS && why.since_ms <= signal.at.unix_ms());
}

#[test]
fn mon_3_a_job_of_minutes_is_no_burst_and_one_twice_as_large_is_a_note_at_most() {
    let (mut watch, settings) = (Watch::default(), enforced());
    let job = |watch: &mut Watch, hour: u64, requests: u64| {
        let mut hardest = None;
        for n in 0..requests {
            let one = Event { records: 10, ..event(at(hour, 300_000 / requests * n)) };
            hardest = hardest.max(see(watch, &one, &settings).iter().map(|s| s.level).max());
        }
        hardest
    };
    assert!((0..840).step_by(6).all(|hour| job(&mut watch, hour, 60) < Some(Level::Act)));
    assert!(job(&mut watch, 840, 120) < Some(Level::Act));
    assert_eq!(job(&mut watch, 846, 600), Some(Level::Act));
}

#[test]
fn mon_3_the_minutes_around_an_hours_end_are_judged_together_and_the_young_are_not() {
    let settings = enforced();
    let stopped = |watch: &mut Watch, hour: u64| {
        // Two minutes before the hour's end and two after it, twenty records every four seconds.
        (0..60).find(|n| {
            let one = Event { records: 20, ..event(at(hour, HOUR_MS - 120_000 + n * 4_000)) };
            see(watch, &one, &settings).iter().any(|s| s.asks == Response::Lock)
        })
    };
    let mut young = Watch::default();
    live(&mut young, 0..100, 60, &settings);
    assert!(stopped(&mut young, 100).unwrap() > 40, "by what a new identity may do");
    let mut grown = Watch::default();
    live(&mut grown, 0..840, 60, &settings);
    assert!(stopped(&mut grown, 840).unwrap() < 10);
}

#[test]
fn mon_2_a_new_identity_is_judged_by_its_peers_and_a_floor() {
    let settings = enforced();
    let mut peers = Peers::new(1);
    let until = |watch: &mut Watch, peers: &Peers| {
        (0_u64..100_000).find(|n| {
            let one = event(at(1, n * 30));
            let watched = watch.observe(IdentityIx(0), &one, peers, &settings);
            watched.signals.iter().any(|s| s.detector == Detector::Rate && s.level == Level::Act)
        })
    };
    let alone = until(&mut Watch::default(), &peers).unwrap();
    assert_eq!(alone, 2_000, "the floor");
    let mut busy = Watch::default();
    for hour in 0..400 {
        for n in 0..4_000 {
            let watched = busy.observe(
                IdentityIx(1),
                &event(at(hour, n * 900)),
                &Peers::default(),
                &Settings::default(),
            );
            if let Some(hour) = watched.hour {
                peers.learn(&hour);
            }
        }
    }
    let among = until(&mut Watch::default(), &peers).unwrap();
    assert!((7_000..9_500).contains(&among), "twice what peers do: {among}");
    // After a restart as before it.
    let bytes = peers.encode(RoleIx(0)).unwrap();
    let mut recalled = Peers::new(1);
    assert_eq!(recalled.encode(RoleIx(0)), None, "nobody taught anything");
    recalled.recall(RoleIx(0), &bytes).unwrap();
    assert_eq!(until(&mut Watch::default(), &recalled), Some(among));
    let fault = |bytes: &[u8]| recalled.clone().recall(RoleIx(0), bytes).unwrap_err();
    assert_eq!(fault(&[]), HistoryFault::Length);
    assert_eq!(fault(&bytes[..12]), HistoryFault::Length);
    assert_eq!(fault(&[&bytes[..], &[0]].concat()), HistoryFault::Length);
    assert_eq!(fault(&[&[2], &bytes[1..]].concat()), HistoryFault::Newer);
    for number in [f32::NAN, f32::INFINITY, -3.0, 65.0] {
        let damaged = [&bytes[..5], &number.to_be_bytes(), &bytes[9..]].concat();
        assert_eq!(fault(&damaged), HistoryFault::Malformed);
    }
    let stranger = Event { role: None, ..event(at(0, 0)) };
    assert!(see(&mut Watch::default(), &stranger, &settings).is_empty());
}

#[test]
fn mon_3_a_share_of_one_in_200_that_becomes_one_in_25_is_found_within_a_day() {
    let (mut watch, settings) = (Watch::default(), enforced());
    let mut asked = 0_u64;
    let mut run = |watch: &mut Watch, hours: std::ops::Range<u64>, one_in: u64| {
        for hour in hours {
            for n in 0..30 {
                asked += 1;
                let records = u64::from(asked.is_multiple_of(one_in));
                let one = Event { records, ..event(at(hour, n * 120_000)) };
                let slow = |s: &Signal| s.detector == Detector::Slow && s.level == Level::Act;
                if see(watch, &one, &settings).iter().any(slow) {
                    return Some(hour);
                }
            }
        }
        None
    };
    assert_eq!(run(&mut watch, 0..840, 200), None);
    let found = run(&mut watch, 840..1_000, 25).unwrap();
    assert!(found < 864, "{found}");
}

#[test]
fn mon_3_enumeration_is_found_by_distinct_objects_not_by_requests() {
    let (mut watch, settings) = (Watch::default(), enforced());
    let mut next = 0;
    let mut run = |watch: &mut Watch, hour, count: u64, fresh: u64| {
        let mut found = false;
        for n in 0..count {
            next += u64::from(n % fresh == 0);
            let object = Some(HashKey::new([1; 16]).hash(&u64::to_le_bytes(next)));
            let one = Event { object, records: 0, ..event(at(hour, HOUR_MS / count * n)) };
            let signals = see(watch, &one, &settings);
            found |= signals
                .iter()
                .any(|s| s.detector == Detector::Enumeration && s.level == Level::Act);
        }
        found
    };
    assert!((0..840).all(|hour| !run(&mut watch, hour, 400, 10)));
    assert!((840..844).any(|hour| run(&mut watch, hour, 400, 1)));
}

#[test]
fn mon_1_trying_many_operations_is_no_broken_deployment() {
    let settings = enforced();
    let run = |operations: u16| {
        let mut watch = Watch::default();
        let mut hardest = None;
        for n in 0..200 {
            let one = Event {
                outcome: Outcome::NotPermitted,
                operation: Some(OperationIx(n % operations)),
                ..event(at(0, u64::from(n) * 1_000))
            };
            hardest = hardest.max(see(&mut watch, &one, &settings).iter().map(|s| s.asks).max());
        }
        hardest
    };
    assert_eq!(run(3), Some(Response::Note));
    assert_eq!(run(40), Some(Response::StepUp));
}

#[test]
fn acc_1_two_clients_in_two_networks_share_and_one_that_moves_does_not() {
    let settings = enforced();
    let run = |place: &dyn Fn(u64) -> (u8, u64)| {
        let mut watch = Watch::default();
        live(&mut watch, 0..400, 4, &settings);
        let mut hardest = None;
        for n in 0..100 {
            let (network, fingerprint) = place(n);
            let network = Some(NetworkIx(network));
            let one = Event { network, fingerprint, ..event(at(400, n * 10_000)) };
            let signals = see(&mut watch, &one, &settings);
            let own = signals.iter().filter(|s| s.detector == Detector::Sharing);
            hardest = hardest.max(own.map(|s| s.asks).max());
        }
        hardest
    };
    let stolen = run(&|n| if n % 3 == 0 { (9, 9) } else { (0, 1) });
    assert_eq!(stolen, Some(Response::StepUp), "never a lock on this alone");
    assert_eq!(run(&|n| (0, 1 + n % 2)), None, "a new version beside the old one");
    assert_eq!(run(&|n| (u8::try_from(n % 2).unwrap(), 1)), None, "one client in two networks");
    assert_eq!(run(&|n| if n < 50 { (0, 1) } else { (9, 9) }), Some(Response::Note), "moved");
}

#[test]
fn mon_6_a_spray_accuses_the_source_and_no_identity() {
    let (mut sources, settings) = (Sources::new(64), enforced());
    let mut accused = Vec::new();
    for identity in 0..10_000 {
        let one = Event {
            identity: Some(IdentityIx(identity)),
            outcome: Outcome::NotAuthenticated,
            network: None,
            source: 77,
            ..event(at(0, u64::from(identity) * 50))
        };
        accused.extend(sources.observe(&one, &settings).iter().copied());
        let mut watch = Watch::default();
        assert!(see(&mut watch, &one, &settings).is_empty());
    }
    assert!(!accused.is_empty());
    assert!(accused.iter().all(|s| s.subject == Subject::Source(77) && !s.authenticated));
    assert!(accused.iter().any(|s| s.asks == Response::Lock));
}

#[test]
fn mon_6_failed_logins_of_one_identity_ask_for_step_up_at_most() {
    let (mut watch, settings) = (Watch::default(), enforced());
    let mut hardest = None;
    for n in 0..5_000 {
        let one = Event {
            outcome: Outcome::NotAuthenticated,
            network: None,
            source: n,
            ..event(at(0, n * 100))
        };
        hardest = hardest.max(see(&mut watch, &one, &settings).iter().map(|s| s.asks).max());
    }
    assert_eq!(hardest, Some(Response::StepUp));
}

#[test]
fn mon_5_scanner_paths_and_malformed_requests_accuse_their_source() {
    for outcome in [Outcome::ScannerPath, Outcome::Malformed] {
        let (mut sources, settings) = (Sources::new(64), enforced());
        let mut hardest = None;
        for n in 0..60 {
            let one = Event { identity: None, outcome, ..event(at(0, n * 100)) };
            hardest = hardest
                .max(sources.observe(&one, &settings).iter().map(|s| (s.detector, s.asks)).max());
        }
        assert_eq!(hardest, Some((Detector::Intrusion, Response::Lock)));
    }
    let mut sources = Sources::new(64);
    assert!(sources.observe(&event(at(0, 0)), &enforced()).is_empty());
}

#[test]
fn mon_5_ten_million_sources_cost_no_more_memory_than_the_first() {
    let (mut sources, settings) = (Sources::new(1_024), enforced());
    for n in 0..10_000_000_u64 {
        let source = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let one = Event { outcome: Outcome::ScannerPath, source, ..event(at(0, n / 10)) };
        assert!(sources.observe(&one, &settings).is_empty(), "one bad request is none");
    }
}
