//! The detectors and the lockout rules against months of made-up traffic. The whole table, with more
//! identities, is printed by `cargo bench --bench detectors -- table`.
#[path = "detectors/runs.rs"]
mod runs;
#[path = "detectors/workload.rs"]
mod workload;

use sekisho::base::IdentityIx;
use sekisho::detect::{Detector, Level, Outcome, Response, Sources, Subject};
use sekisho::lockout::{
    Attempt, Author, Backing, Cause, Census, Deadline, GatewayId, Imposed, LockTable, Logins,
    Probation, Rules, Step, Until, judge,
};

use runs::{Attack, attack, enforced, normal, quantile};
use workload::{Caller, at};

#[test]
fn mon_2_ordinary_months_lead_to_no_verdict_and_attacks_do() {
    let (ordinary, town) = normal(24, 9, 21, enforced());
    assert!(ordinary.identity_months > 20.0 && ordinary.events > 500_000);
    assert!(ordinary.acted.is_empty(), "{:?}", ordinary.acted);

    let fast = attack(&town, Attack::ScrapeFast, 5);
    assert_eq!((fast.acted, fast.tried), (18, 18), "{:?}", fast.by);
    assert!(quantile(&fast.lost, 0.5) <= 2.0, "{:?}", fast.lost);
    assert!(quantile(&fast.minutes, 1.0) <= 60.0, "{:?}", fast.minutes);
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

/// The whole way from a failed login to the table, for 10,000 identities and one network.
#[test]
fn mon_6_a_spray_from_one_network_locks_the_network_and_none_of_10_000() {
    let (settings, rules) = (enforced(), Rules::default());
    let (mut sources, mut logins) = (Sources::new(1_024), Logins::new(10_000, 65_536));
    let mut table = LockTable::new(at(0, 0));
    let mut locked_at = None;
    for n in 0..100_000_u32 {
        let identity = IdentityIx(n % 10_000);
        let now = at(0, u64::from(n) * 30);
        let mut event = Caller::new(identity.0, 1).event(0, 0);
        (event.at, event.identity, event.network, event.source) = (now, Some(identity), None, 7);
        event.outcome = Outcome::NotAuthenticated;
        for signal in sources.observe(&event, &settings).iter() {
            assert_eq!(signal.subject, Subject::Source(7));
            if signal.asks == Response::Lock {
                locked_at = locked_at.or(Some(n));
            }
        }
        let attempt =
            Attempt { identity, source: 7, proof: sekisho::lockout::Proof::Absent, at: now };
        let Some(accusation) = logins.failed(&attempt, Probation::Over, &rules).accuses else {
            continue;
        };
        let verdict = judge(&accusation, Probation::Over, table.census(10_000, now), &rules);
        assert!(verdict.step < Step::Lock, "{verdict:?}");
    }
    assert!(locked_at.unwrap() < 20, "the source is known after a few identities");
    let lock = Imposed {
        step: Step::Lock,
        until: Until::At(Deadline::after(at(0, 0), rules.lock_for)),
        cause: Cause::Spraying,
        author: Author::Detector,
    };
    table.impose(&sekisho::lockout::Subject::Source(7), &lock, GatewayId(1), at(0, 0)).unwrap();
    assert_eq!(table.census(10_000, at(0, 1)).locked_automatically, 0);
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
        cause: Cause::Volume,
        at: at(0, 0),
    };
    let census = Census { identities: 4, locked_automatically: 0 };
    let verdict = judge(&accusation, Probation::Over, census, &Rules::default());
    assert_eq!((verdict.step, verdict.until), (Step::Lock, Some(Until::Released)));
    assert!(Level::Act > Level::Note);
}
