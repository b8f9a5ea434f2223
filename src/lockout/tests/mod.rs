mod beside;
mod clocks;
mod compiled;
mod ladder;
mod spent;
mod tables;

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::base::{IdentityIx, Moment, Name, OperationIx, UpstreamIx};

const START_MS: u64 = 1_772_409_600_000;

/// Seconds after the beginning, on both clocks.
fn at(secs: u64) -> Moment {
    Moment::new(START_MS + secs * 1_000, (secs + 10) * 1_000_000_000)
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn attempt(identity: u32, source: u64, proof: Proof, secs: u64) -> Attempt {
    Attempt { identity: IdentityIx(identity), source, proof, at: at(secs) }
}

fn subject() -> Subject {
    Subject::Identity(name("labels"))
}

fn lock(step: Step, until: Until, author: Author) -> Imposed {
    Imposed { step, until, cause: Cause::Volume, author, shown: None }
}

/// Where a configuration keeps its names.
struct Owned {
    identities: BTreeMap<Name, IdentityIx>,
    operations: BTreeMap<Name, OperationIx>,
    upstreams: BTreeMap<Name, UpstreamIx>,
}

impl Owned {
    fn new() -> Self {
        Self {
            identities: [("labels", 0), ("orders", 1)]
                .map(|(id, ix)| (name(id), IdentityIx(ix)))
                .into(),
            operations: BTreeMap::from([(name("orders/getOrder"), OperationIx(0))]),
            upstreams: BTreeMap::from([(name("amazon-eu"), UpstreamIx(0))]),
        }
    }

    fn places(&self) -> Places<'_> {
        let Self { identities, operations, upstreams } = self;
        Places { identities, operations, upstreams }
    }
}

fn standings(table: &LockTable, now: Moment) -> Standings {
    Standings::compile(table, Owned::new().places(), now)
}

fn asked(identity: u32, trust: Trust, source: u64) -> Asked {
    Asked {
        identity: Some(IdentityIx(identity)),
        trust,
        source,
        operation: Some(OperationIx(0)),
        upstream: Some(UpstreamIx(0)),
        account: Some(5),
        order: None,
    }
}

fn step(table: &LockTable, asked: &Asked, now: Moment) -> Option<Step> {
    standings(table, now).standing(asked, now).step.map(|(step, _)| step)
}

#[test]
fn acc_2_a_pair_waits_1_2_4_up_to_300_seconds_after_three_free_tries() {
    let (mut logins, rules) = (Logins::new(2, 64), Rules::default());
    let mut waits = Vec::new();
    let mut now = 0;
    for _ in 0..15 {
        let failed = logins.failed(&attempt(0, 7, Proof::Absent, now), Probation::Over, &rules);
        waits.push(failed.wait.as_secs());
        assert_eq!(logins.wait(&attempt(0, 7, Proof::Absent, now)), failed.wait);
        now += failed.wait.as_secs();
        assert_eq!(logins.wait(&attempt(0, 7, Proof::Absent, now)), Duration::ZERO);
    }
    assert_eq!(waits, [0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
    for other in [attempt(0, 8, Proof::Absent, now), attempt(1, 7, Proof::Absent, now)] {
        assert_eq!(logins.wait(&other), Duration::ZERO, "another pair does not wait");
    }
    logins.succeeded(&attempt(0, 7, Proof::Absent, now));
    let again = logins.failed(&attempt(0, 7, Proof::Absent, now), Probation::Over, &rules);
    assert_eq!(again.wait, Duration::ZERO, "a success forgives the pair");
}

#[test]
fn acc_2_ten_failures_with_proof_or_from_a_known_source_lock_the_account() {
    for (known, proof) in [(true, Proof::Absent), (false, Proof::Carried)] {
        let (mut logins, rules) = (Logins::new(1, 64), Rules::default());
        if known {
            logins.succeeded(&attempt(0, 7, Proof::Absent, 0));
        }
        for count in 1..=10 {
            let failed = logins.failed(&attempt(0, 7, proof, count), Probation::Over, &rules);
            let accuses = failed.accuses.map(|a| (a.asks, a.backing, a.cause));
            let due = (Step::Lock, Backing::Familiar, Cause::LoginFailures);
            assert_eq!(accuses, (count == 10).then_some(due), "failure {count}");
        }
    }
}

#[test]
fn acc_2_a_success_between_failures_does_not_hide_them_and_time_does() {
    let (mut logins, rules) = (Logins::new(1, 64), Rules::default());
    let fail = |logins: &mut Logins, secs| {
        logins.succeeded(&attempt(0, 7, Proof::Absent, secs));
        logins.failed(&attempt(0, 7, Proof::Absent, secs), Probation::Over, &rules).accuses
    };
    assert!((0..9).all(|n| fail(&mut logins, n * 60).is_none()));
    assert!(fail(&mut logins, 600).is_some());
    let mut slow = Logins::new(1, 64);
    assert!((0..100).all(|n| fail(&mut slow, n * 9_000).is_none()), "one in two and a half hours");
}

#[test]
fn acc_2_no_limit_of_failures_is_above_ten() {
    let rules = Rules { failures: 500, ..Rules::default() };
    let mut logins = Logins::new(1, 64);
    let mut fail = |n| logins.failed(&attempt(0, 7, Proof::Carried, n), Probation::Over, &rules);
    assert_eq!((1..20).find(|n| fail(*n).accuses.is_some()), Some(10));
}

#[test]
fn mon_6_a_stranger_with_the_right_name_never_locks_it() {
    let (mut logins, rules) = (Logins::new(1, 1_024), Rules::default());
    let census = Census { identities: 1_000, locked_automatically: 0 };
    logins.succeeded(&attempt(0, 1, Proof::Absent, 0));
    let mut table = LockTable::new(at(0));
    let mut hardest = Step::Note;
    for n in 0..100_000_u64 {
        let from = attempt(0, 1_000 + n % 5_000, Proof::Absent, n);
        let failed = logins.failed(&from, Probation::Over, &rules);
        let Some(accusation) = failed.accuses else { continue };
        let verdict = judge(&accusation, Probation::Over, census, &rules);
        hardest = hardest.max(verdict.step);
        let imposed = Imposed {
            step: verdict.step,
            until: verdict.until.unwrap(),
            cause: verdict.cause,
            author: Author::Detector,
            shown: None,
        };
        table.impose(&subject(), &imposed, GatewayId(1), at(n)).unwrap();
    }
    assert_eq!(hardest, Step::StepUp);
    let now = at(100_000);
    for (trust, expect) in
        [(Trust::Proof, None), (Trust::KnownSource, None), (Trust::Stranger, Some(Step::StepUp))]
    {
        assert_eq!(step(&table, &asked(0, trust, 1), now), expect, "{trust:?}");
    }
    assert_eq!(logins.wait(&attempt(0, 1, Proof::Absent, 100_000)), Duration::ZERO);
}

#[test]
fn mon_6_a_spray_over_ten_thousand_identities_locks_none() {
    let (mut logins, rules) = (Logins::new(10_000, 65_536), Rules::default());
    let mut accused = 0;
    for round in 0..20 {
        for identity in 0..10_000 {
            let from = attempt(identity, 77, Proof::Absent, round * 400);
            accused += u32::from(logins.failed(&from, Probation::Over, &rules).accuses.is_some());
        }
    }
    assert_eq!(accused, 0);
}

#[test]
fn acc_2_only_acts_with_a_credential_lead_to_a_lock_without_end() {
    let census = Census { identities: 1_000, locked_automatically: 0 };
    let rules = Rules::default();
    for asks in Step::ALL {
        for backing in [Backing::Stranger, Backing::Familiar, Backing::Credential] {
            let accusation = Accusation {
                identity: IdentityIx(0),
                asks: *asks,
                backing,
                shown: Shown::Bearer,
                cause: Cause::Canary,
                at: at(0),
            };
            let verdict = judge(&accusation, Probation::Over, census, &rules);
            assert!(verdict.step <= *asks);
            let most = match backing {
                Backing::Stranger => Step::StepUp,
                Backing::Familiar => Step::Lock,
                Backing::Credential => Step::Kill,
            };
            assert_eq!(verdict.step, (*asks).min(most));
            let endless = verdict.until == Some(Until::Released);
            assert_eq!(endless, verdict.step >= Step::Lock && backing == Backing::Credential);
            assert_eq!(verdict.until.is_none(), verdict.step == Step::Note);
        }
    }
}

#[test]
fn acc_2_automatic_locks_are_capped_and_the_rest_is_an_alarm() {
    let rules = Rules::default();
    let mut table = LockTable::new(at(0));
    let mut capped = 0;
    for identity in 0..200 {
        let accusation = Accusation {
            identity: IdentityIx(identity),
            asks: Step::Lock,
            backing: Backing::Credential,
            shown: Shown::Bearer,
            cause: Cause::Volume,
            at: at(1),
        };
        let subject = Subject::Identity(name(&format!("identity-{identity}")));
        let verdict =
            judge(&accusation, Probation::Over, table.census(&subject, 200, at(1)), &rules);
        capped += u32::from(verdict.capped);
        assert_eq!(verdict.capped, verdict.step == Step::StepUp);
        if let Some(until) = verdict.until {
            let imposed = lock(verdict.step, until, Author::Detector);
            table.impose(&subject, &imposed, GatewayId(1), at(1)).unwrap();
        }
    }
    assert_eq!(capped, 190, "5 % of 200 are locked");
    let by_hand = lock(Step::Lock, Until::Released, Author::Operator(name("officer")));
    table.impose(&Subject::Identity(name("x")), &by_hand, GatewayId(1), at(1)).unwrap();
    let census = table.census(&subject(), 200, at(1));
    assert_eq!(census.locked_automatically, 10, "an operator's does not count");
    let lone = Census { identities: 3, locked_automatically: 0 };
    let accusation = Accusation {
        identity: IdentityIx(0),
        asks: Step::Lock,
        backing: Backing::Credential,
        shown: Shown::Bearer,
        cause: Cause::Canary,
        at: at(1),
    };
    assert_eq!(judge(&accusation, Probation::Over, lone, &rules).step, Step::Lock, "at least one");
}

#[test]
fn acc_2_a_release_names_who_and_why_and_begins_probation() {
    let mut table = LockTable::new(at(0));
    let act = (&name("hanako"), ReleaseReason::FalseAlarm, &name("CASE-7"));
    let rules = Rules::default();
    assert_eq!(table.release(&subject(), act, rules.probation, at(1)), Err(TableFault::NotLocked));
    let imposed = lock(Step::Lock, Until::Released, Author::Detector);
    table.impose(&subject(), &imposed, GatewayId(1), at(1)).unwrap();
    table.attempted(&subject(), GatewayId(1));
    assert_eq!(step(&table, &asked(0, Trust::Proof, 1), at(2)), Some(Step::Lock));
    table.release(&subject(), act, rules.probation, at(2)).unwrap();
    assert_eq!(step(&table, &asked(0, Trust::Proof, 1), at(2)), None);
    assert_eq!(table.attempts(&subject()), 1, "attempts during the lock are remembered");
    let release = table.last_release(&subject()).unwrap();
    assert_eq!((&release.by, release.reason, &release.case), act);

    assert_eq!(table.probation(&subject(), at(7 * 86_400)), Probation::Running);
    assert!(standings(&table, at(3)).standing(&asked(0, Trust::Proof, 1), at(3)).on_probation);
    assert_eq!(table.probation(&subject(), at(7 * 86_400 + 2)), Probation::Over);
    let mut logins = Logins::new(1, 64);
    let mut fail = |n| logins.failed(&attempt(0, 7, Proof::Carried, n), Probation::Running, &rules);
    assert_eq!(fail(1).wait, Duration::from_secs(1), "no try is free");
    assert!(fail(2).accuses.is_none());
    let accusation = fail(3).accuses.unwrap();
    let census = Census { identities: 100, locked_automatically: 0 };
    let verdict = judge(&accusation, Probation::Running, census, &rules);
    assert_eq!((verdict.step, verdict.until), (Step::Lock, Some(Until::Released)));
}

#[test]
fn acc_5_an_emergency_lock_holds_on_each_kind_of_subject() {
    let officer = || Author::Operator(name("officer"));
    let request = Asked { order: Some(9), ..asked(0, Trust::Proof, 3) };
    for (subject, other) in [
        (subject(), Asked { identity: Some(IdentityIx(1)), ..request }),
        (Subject::Source(3), Asked { source: 4, ..request }),
        (Subject::Operation(name("orders/getOrder")), Asked { operation: None, ..request }),
        (Subject::Upstream(name("amazon-eu")), Asked { upstream: None, ..request }),
        (Subject::Account(5), Asked { account: Some(6), ..request }),
        (Subject::Order(9), Asked { order: Some(8), ..request }),
    ] {
        let mut table = LockTable::new(at(0));
        let imposed = Imposed {
            step: Step::Kill,
            until: Until::At(Deadline::after(at(0), Duration::from_secs(1))),
            cause: Cause::Emergency,
            author: officer(),
            shown: None,
        };
        table.impose(&subject, &imposed, GatewayId(1), at(0)).unwrap();
        let later = at(30 * 86_400);
        let standing = standings(&table, later).standing(&request, later);
        assert_eq!(standing.step, Some((Step::Kill, Cause::Emergency)), "{subject:?}");
        assert_eq!(standing.left, None, "a kill has no end but a release");
        assert_eq!(step(&table, &other, later), None, "{subject:?}");
    }
}

#[test]
fn acc_2_an_automatic_lock_of_a_source_spares_who_proves_more() {
    let mut table = LockTable::new(at(0));
    let imposed = Imposed {
        step: Step::Lock,
        until: Until::Released,
        cause: Cause::Spraying,
        author: Author::Detector,
        shown: None,
    };
    table.impose(&Subject::Source(3), &imposed, GatewayId(1), at(0)).unwrap();
    for (trust, expect) in
        [(Trust::Stranger, Some(Step::Lock)), (Trust::KnownSource, None), (Trust::Proof, None)]
    {
        assert_eq!(step(&table, &asked(0, trust, 3), at(1)), expect, "{trust:?}");
    }
}

#[test]
fn a_milder_step_still_holds_when_the_harder_one_is_over() {
    let mut table = LockTable::new(at(0));
    for (step, secs) in [(Step::Lock, 60), (Step::StepUp, 600)] {
        let until = Until::At(Deadline::after(at(0), Duration::from_secs(secs)));
        let imposed = lock(step, until, Author::Detector);
        table.impose(&subject(), &imposed, GatewayId(1), at(0)).unwrap();
    }
    let shorter = Until::At(Deadline::after(at(0), Duration::from_secs(1)));
    let imposed = lock(Step::Lock, shorter, Author::Detector);
    table.impose(&subject(), &imposed, GatewayId(1), at(0)).unwrap();
    let of = |secs| step(&table, &asked(0, Trust::Proof, 1), at(secs));
    let expect = [Some(Step::Lock), Some(Step::StepUp), None];
    assert_eq!([of(59), of(61), of(601)], expect);
}

#[test]
fn a_release_does_not_end_a_lock_that_its_author_did_not_see() {
    let imposed = lock(Step::Lock, Until::Released, Author::Detector);
    let (mut here, mut there) = (LockTable::new(at(0)), LockTable::new(at(0)));
    here.impose(&subject(), &imposed, GatewayId(1), at(1)).unwrap();
    there.merge(&here, at(1)).unwrap();
    there.impose(&subject(), &imposed, GatewayId(2), at(2)).unwrap();
    let act = (&name("hanako"), ReleaseReason::FalseAlarm, &name("CASE-7"));
    here.release(&subject(), act, Duration::ZERO, at(3)).unwrap();
    assert!(here.held(&subject(), at(3)).is_none());
    here.merge(&there, at(4)).unwrap();
    assert!(here.held(&subject(), at(4)).is_some(), "the other gateway's lock is held");
    here.release(&subject(), act, Duration::ZERO, at(5)).unwrap();
    there.merge(&here, at(6)).unwrap();
    assert!(there.held(&subject(), at(6)).is_none());
}

#[test]
fn a_gateway_that_lost_its_table_can_still_lock_what_was_released_before() {
    let imposed = lock(Step::Lock, Until::Released, Author::Detector);
    let (mut old, mut others) = (LockTable::new(at(0)), LockTable::new(at(0)));
    old.impose(&subject(), &imposed, GatewayId(1), at(1)).unwrap();
    let act = (&name("hanako"), ReleaseReason::FalseAlarm, &name("CASE-7"));
    old.release(&subject(), act, Duration::ZERO, at(2)).unwrap();
    others.merge(&old, at(2)).unwrap();
    let mut restarted = LockTable::new(at(100));
    restarted.impose(&subject(), &imposed, GatewayId(1), at(100)).unwrap();
    others.merge(&restarted, at(101)).unwrap();
    assert!(others.held(&subject(), at(101)).is_some());
}

#[test]
fn a_full_table_refuses_a_detector_and_takes_an_operators_lock() {
    let mut table = LockTable::new(at(0));
    let end = Until::At(Deadline::after(at(0), Duration::from_secs(60)));
    let automatic = lock(Step::Lock, end, Author::Detector);
    for source in 0..65_536 {
        table.impose(&Subject::Source(source), &automatic, GatewayId(1), at(0)).unwrap();
    }
    let one_more = Subject::Source(u64::MAX);
    assert_eq!(table.impose(&one_more, &automatic, GatewayId(1), at(1)), Err(TableFault::Full));
    let by_hand = lock(Step::Lock, Until::Released, Author::Operator(name("officer")));
    table.impose(&one_more, &by_hand, GatewayId(1), at(1)).unwrap();
    assert!(table.held(&Subject::Source(0), at(1)).is_some(), "none was forgotten");
    table.impose(&Subject::Source(70_000), &automatic, GatewayId(1), at(61)).unwrap();
    assert!(table.held(&one_more, at(61)).is_some());
}

#[test]
fn logins_follow_their_identity_to_a_new_configuration() {
    let (mut logins, rules) = (Logins::new(3, 64), Rules::default());
    logins.succeeded(&attempt(2, 7, Proof::Absent, 0));
    for n in 0..5 {
        logins.failed(&attempt(2, 7, Proof::Absent, n), Probation::Over, &rules);
    }
    let logins = logins.moved(&[Some(IdentityIx(2)), None]);
    assert!(!logins.wait(&attempt(0, 7, Proof::Absent, 5)).is_zero());
    assert_eq!(logins.trust(&attempt(0, 7, Proof::Absent, 5)), Trust::KnownSource);
    assert_eq!(logins.trust(&attempt(1, 7, Proof::Absent, 5)), Trust::Stranger);
    assert!(logins.wait(&attempt(1, 7, Proof::Absent, 5)).is_zero());
}

#[test]
fn counters_of_logins_do_not_overflow_and_clocks_may_jump() {
    let (mut logins, rules) = (Logins::new(1, 1), Rules::default());
    for n in 0..10_000_u64 {
        let wall = if n % 2 == 0 { 0 } else { u64::MAX };
        let from = Attempt {
            identity: IdentityIx(0),
            source: n,
            proof: Proof::Carried,
            at: Moment::new(wall, u64::MAX - 10_000 + n),
        };
        let failed = logins.failed(&from, Probation::Over, &rules);
        assert_eq!(failed.accuses.is_some(), n >= 9);
    }
    let unknown = attempt(5, 1, Proof::Carried, 1);
    assert!(logins.failed(&unknown, Probation::Over, &rules).accuses.is_none());
}
