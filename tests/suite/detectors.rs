//! The detectors and the lockout rules against months of made-up traffic. The whole table, with more
//! identities, is printed by `cargo bench --bench detectors -- table`.
#[path = "detectors/ladder.rs"]
mod ladder;
#[allow(dead_code, reason = "the table that benches/detectors.rs prints uses what this does not")]
#[path = "detectors/runs.rs"]
mod runs;
#[path = "detectors/siege.rs"]
mod siege;
#[path = "detectors/workload.rs"]
mod workload;

use sekisho::base::IdentityIx;
use sekisho::detect::{Detector, Level};
use sekisho::lockout::{Backing, Cause, Census, Probation, Rules, Shown, Step, Until, judge};

use runs::{Attack, alone, attack, attack_under, enforced, normal, quantile};
use workload::{Kind, at};

#[test]
fn mon_2_ordinary_months_lead_to_no_verdict_and_attacks_do() {
    let (ordinary, town) = normal(24, 9, 21, enforced());
    assert!(ordinary.identity_months > 20.0 && ordinary.events > 500_000);
    assert!(ordinary.acted.is_empty(), "{:?}", ordinary.acted);

    let fast = attack(&town, Attack::ScrapeFast, 5);
    assert_eq!((fast.acted, fast.tried), (18, 18), "{:?}", fast.by);
    // Twice the hourly normal, and a tenth more where history expects more of an hour than it brings.
    let within = fast.lost.iter().filter(|lost| **lost <= 2.0).count();
    assert!(within >= 16 && quantile(&fast.lost, 1.0) <= 2.2, "{:?}", fast.lost);
    assert!(quantile(&fast.minutes, 1.0) <= 5.0, "{:?}", fast.minutes);
    let slow = attack(&town, Attack::SlowShare, 5);
    assert_eq!((slow.acted, slow.tried), (6, 6), "within a day");
    for kind in Attack::ALL {
        let found = attack(&town, kind, 5);
        match kind {
            Attack::Canary | Attack::Probe => assert_eq!(found.acted, found.tried, "{kind:?}"),
            // Twice the usual pace of who reveals personal data in every answer looks like a month's
            // end.
            Attack::ScrapeSlow => assert!(found.acted * 2 > found.tried, "{kind:?}"),
            _ => assert_eq!(found.noted, found.tried, "{kind:?}"),
        }
    }
    let enumerated = attack(&town, Attack::Enumerate, 5);
    assert!(enumerated.acted * 10 >= enumerated.tried * 9, "{enumerated:?}");
}

/// A detector that asks for a stronger proof stops who has none, and that is also whoever took over a
/// service with its certificate: half of the services here have one.
#[test]
fn acc_2_what_is_found_is_stopped_whatever_the_credential_is() {
    let (_, town) = normal(24, 6, 21, enforced());
    for (kind, detector) in [
        (Attack::ScrapeFast, Detector::Volume),
        (Attack::SlowShare, Detector::Slow),
        (Attack::Enumerate, Detector::Enumeration),
        (Attack::StolenToken, Detector::Sharing),
        (Attack::Probe, Detector::Failures),
        (Attack::Canary, Detector::Canary),
    ] {
        let found = attack_under(&alone(detector), &town, kind, 5);
        let stopped = |shown| found.stopped.get(&shown).copied().unwrap_or(0);
        let (tokens, certificates) = (stopped(Shown::Bearer), stopped(Shown::Certificate));
        assert_eq!(tokens + certificates, found.acted, "{kind:?}: {found:?}");
        assert!(tokens > 0 && certificates > 0, "{kind:?}: {found:?}");
    }
}

/// The whole way from a failed login to the table, for 10,000 identities and one network.
#[test]
fn mon_6_a_spray_from_one_network_locks_the_network_and_none_of_10_000() {
    let spray = siege::spray();
    assert_eq!((spray.attempts, spray.identities_locked), (100_000, 0));
    assert!(spray.source_locked_after.unwrap() < 20, "{spray:?}");
}

/// A name is enough to be guessed at and not enough to be locked.
#[test]
fn acc_2_strangers_from_a_thousand_networks_lock_no_victim() {
    let strangers = siege::strangers();
    assert_eq!((strangers.attempts, strangers.identities_locked), (80_000, 0));
    assert!(strangers.stepped_up > 0, "strangers have to show more");
}

#[test]
fn mon_5_a_scanner_is_locked_by_its_source() {
    let scanner = siege::scanner();
    assert_eq!((scanner.source_locked_after, scanner.identities_locked), (Some(10), 0));
}

/// By counts alone, without the share of answers with personal data: people and label printers are
/// stopped as soon; where one job is all that its hour brings, and a month's end doubles it, minutes
/// tell nothing, and the bound is the hour's.
#[test]
fn mon_3_bursts_stop_a_scraper_in_minutes_where_work_does_not_come_in_jobs() {
    let (_, town) = normal(12, 6, 33, enforced());
    let fast = attack_under(&alone(Detector::Volume), &town, Attack::ScrapeFast, 5);
    assert_eq!((fast.acted, fast.tried), (9, 9));
    let of = |job: bool| {
        let each = fast.kinds.iter().zip(&fast.lost);
        each.filter(|(kind, _)| (**kind == Kind::Batch) == job).map(|(_, lost)| *lost).collect()
    };
    let (even, jobs): (Vec<f64>, Vec<f64>) = (of(false), of(true));
    assert!(quantile(&even, 1.0) <= 2.0, "{even:?}");
    assert!(quantile(&jobs, 1.0) <= 12.0, "{jobs:?}");
}

/// A credential in a thief's hands: what it does is backed by it, so the lock is one that stays.
#[test]
fn acc_2_volume_with_a_credential_locks_until_released() {
    let (_, town) = normal(4, 6, 3, enforced());
    let fast = attack(&town, Attack::ScrapeFast, 5);
    assert!(fast.by.keys().any(|(_, detector)| *detector == Detector::Volume), "{:?}", fast.by);
    let accusation = sekisho::lockout::Accusation {
        identity: IdentityIx(0),
        asks: Step::Lock,
        backing: Backing::Credential,
        shown: Shown::Bearer,
        cause: Cause::Volume,
        at: at(0, 0),
    };
    let census = Census { identities: 4, locked_automatically: 0 };
    let verdict = judge(&accusation, Probation::Over, census, &Rules::default());
    assert_eq!((verdict.step, verdict.until), (Step::Lock, Some(Until::Released)));
    assert!(Level::Act > Level::Note);
}
