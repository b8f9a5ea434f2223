//! What an accusation leads to, by what the accused showed.
use proptest::prelude::*;

use super::super::*;
use super::{asked, at, lock, name, standings, subject};
use crate::base::IdentityIx;

const CENSUS: Census = Census { identities: 1_000, locked_automatically: 0 };

fn accusation(asks: Step, backing: Backing, shown: Shown) -> Accusation {
    Accusation {
        identity: IdentityIx(0),
        asks,
        backing,
        shown,
        cause: Cause::Enumeration,
        at: at(100),
    }
}

/// The table after one verdict.
fn judged(accusation: &Accusation, probation: Probation) -> LockTable {
    let mut table = LockTable::new(at(0));
    accuse(&mut table, accusation, probation);
    table
}

fn accuse(table: &mut LockTable, accusation: &Accusation, probation: Probation) {
    let verdict = judge(accusation, probation, CENSUS, &Rules::default());
    let shown = (accusation.backing == Backing::Credential).then_some(accusation.shown);
    let imposed = Imposed {
        shown,
        cause: verdict.cause,
        ..lock(verdict.step, verdict.until.unwrap(), Author::Detector)
    };
    table.impose(&subject(), &imposed, GatewayId(1), accusation.at).unwrap();
}

/// Whether somebody with this proof, and a login at this second, goes on.
fn goes_on(table: &LockTable, proof: Proof, login: Option<u64>, secs: u64) -> bool {
    let trust = match proof {
        Proof::Carried => Trust::Proof,
        Proof::Absent | Proof::Missing => Trust::KnownSource,
    };
    let standing = standings(table, at(secs)).standing(&asked(0, trust, 1), at(secs));
    match standing.step {
        None | Some((Step::Note | Step::Slow, _)) => true,
        Some((Step::StepUp, _)) => {
            standing.demand.is_met(proof, login.map_or(0, |secs| at(secs).unix_secs()))
        }
        Some((Step::Lock | Step::Kill, _)) => false,
    }
}

#[test]
fn acc_2_a_step_up_is_met_by_more_than_the_accused_showed_or_by_something_newer() {
    let step_up = |shown| {
        let accusation = accusation(Step::StepUp, Backing::Credential, shown);
        judged(&accusation, Probation::Over)
    };
    let (carried, absent) = (Proof::Carried, Proof::Absent);
    // A token: a key is more, and a login that came later.
    let table = step_up(Shown::Bearer);
    assert!(!goes_on(&table, absent, None, 101));
    assert!(!goes_on(&table, absent, Some(99), 101), "the login it was done with");
    assert!(!goes_on(&table, absent, Some(100), 101), "of the same second");
    assert!(goes_on(&table, absent, Some(101), 102));
    assert!(goes_on(&table, carried, None, 101));
    // A key and a token: only the login is.
    let table = step_up(Shown::KeyAndToken);
    assert!(!goes_on(&table, carried, None, 101));
    assert!(!goes_on(&table, carried, Some(99), 101));
    assert!(goes_on(&table, carried, Some(101), 102));
    // A certificate: nothing is.
    let table = step_up(Shown::Certificate);
    assert!(!goes_on(&table, carried, Some(101), 102));
    assert!(goes_on(&table, carried, None, 100 + 86_400), "it lasts as long as a step-up");
}

#[test]
fn acc_2_who_is_accused_again_after_its_login_logs_in_again() {
    let accused = accusation(Step::StepUp, Backing::Credential, Shown::Bearer);
    let mut table = judged(&accused, Probation::Over);
    assert!(goes_on(&table, Proof::Absent, Some(150), 160));
    accuse(&mut table, &Accusation { at: at(200), ..accused }, Probation::Over);
    assert!(!goes_on(&table, Proof::Absent, Some(150), 210));
    assert!(goes_on(&table, Proof::Absent, Some(201), 210));
    // Another gateway reads it so, too, and its own accusation counts as well.
    let mut other = LockTable::decode(&table.encode(), at(210)).unwrap();
    assert!(!goes_on(&other, Proof::Absent, Some(150), 210));
    let again = Accusation { at: at(300), shown: Shown::KeyAndToken, ..accused };
    let verdict = judge(&again, Probation::Over, CENSUS, &Rules::default());
    let imposed = Imposed {
        shown: Some(again.shown),
        ..lock(verdict.step, verdict.until.unwrap(), Author::Detector)
    };
    other.impose(&subject(), &imposed, GatewayId(2), again.at).unwrap();
    table.merge(&other, at(310)).unwrap();
    assert!(!goes_on(&table, Proof::Absent, Some(299), 310));
    assert!(!goes_on(&table, Proof::Carried, None, 310));
    assert!(goes_on(&table, Proof::Absent, Some(301), 310));
}

#[test]
fn acc_2_an_operators_step_up_is_met_by_a_key() {
    let mut table = LockTable::new(at(0));
    let by_hand = lock(Step::StepUp, Until::Released, Author::Operator(name("officer")));
    table.impose(&subject(), &by_hand, GatewayId(1), at(100)).unwrap();
    assert!(goes_on(&table, Proof::Carried, None, 101));
    assert!(goes_on(&table, Proof::Absent, Some(1), 101));
    assert!(!goes_on(&table, Proof::Absent, None, 101));
    // But it does not make less of what a detector asked for.
    let accused = accusation(Step::StepUp, Backing::Credential, Shown::KeyAndToken);
    accuse(&mut table, &accused, Probation::Over);
    table.impose(&subject(), &by_hand, GatewayId(1), at(120)).unwrap();
    assert!(!goes_on(&table, Proof::Carried, None, 121));
}

/// Whoever knows the name of somebody can have strangers' step-up imposed, also a thief who is held by
/// one of its own.
#[test]
fn acc_2_strangers_guesses_ease_no_step_up_that_was_asked_for_something_else() {
    let by_detector = accusation(Step::StepUp, Backing::Credential, Shown::Bearer);
    let guesses = Accusation {
        cause: Cause::Strangers,
        ..accusation(Step::StepUp, Backing::Stranger, Shown::Bearer)
    };
    let by_hand = lock(Step::StepUp, Until::Released, Author::Operator(name("officer")));
    for order in [[0, 1], [1, 0]] {
        let (mut accused, mut asked) = (LockTable::new(at(0)), LockTable::new(at(0)));
        for what in order {
            let accusation = if what == 0 { by_detector } else { guesses };
            accuse(&mut accused, &accusation, Probation::Over);
            if what == 0 {
                asked.impose(&subject(), &by_hand, GatewayId(1), at(100)).unwrap();
            } else {
                accuse(&mut asked, &guesses, Probation::Over);
            }
        }
        for table in [&accused, &asked] {
            assert!(!goes_on(table, Proof::Absent, None, 101), "from a source it has used");
            assert!(goes_on(table, Proof::Absent, Some(101), 102));
        }
        assert!(goes_on(&accused, Proof::Carried, None, 101));
    }
    // As an earlier version has written it: strangers' guesses over what was asked for a bearer.
    let mut written = LockTable::new(at(0));
    let over = Imposed {
        cause: Cause::Strangers,
        shown: Some(Shown::Bearer),
        ..lock(Step::StepUp, Until::Released, Author::Detector)
    };
    written.impose(&subject(), &over, GatewayId(1), at(100)).unwrap();
    assert!(!goes_on(&written, Proof::Absent, None, 101));
}

#[test]
fn mon_6_strangers_never_bring_a_certificate_s_holder_to_a_lock() {
    for asks in Step::ALL {
        for probation in [Probation::Over, Probation::Running] {
            for shown in [Shown::Bearer, Shown::KeyAndToken, Shown::Certificate] {
                let accusation = accusation(*asks, Backing::Stranger, shown);
                let verdict = judge(&accusation, probation, CENSUS, &Rules::default());
                assert!(verdict.step <= Step::StepUp, "{accusation:?}");
            }
        }
    }
}

fn an_accusation() -> impl Strategy<Value = (u32, Accusation)> {
    let asks = proptest::sample::select(Step::ALL);
    let backing =
        proptest::sample::select(&[Backing::Stranger, Backing::Familiar, Backing::Credential]);
    let shown = proptest::sample::select(&[Shown::Bearer, Shown::KeyAndToken, Shown::Certificate]);
    (0_u32..60, asks, backing, shown).prop_map(|(who, asks, backing, shown)| {
        (who, Accusation { identity: IdentityIx(who), ..accusation(asks, backing, shown) })
    })
}

proptest! {
    /// Whatever somebody does to use the cap up, no more are locked than it says, and whoever steals
    /// with a credential is held by what is left of the ladder for as long as a lock would.
    #[test]
    fn acc_2_a_cap_that_is_used_up_leaves_nobody_alone_who_needed_a_credential(
        accusations in proptest::collection::vec(an_accusation(), 1..120),
        per_mille in 1_u32..200,
    ) {
        let rules = Rules { locked_per_mille: per_mille, ..Rules::default() };
        let cap = (60 * per_mille / 1_000).max(1);
        let mut table = LockTable::new(at(0));
        for (who, accusation) in accusations {
            let whose = Subject::Identity(name(&format!("identity-{who}")));
            let census = table.census(&whose, 60, at(100));
            let verdict = judge(&accusation, Probation::Over, census, &rules);
            let free = judge(&accusation, Probation::Over, CENSUS, &rules);
            prop_assert_eq!(verdict.capped, free.step >= Step::Lock
                && census.locked_automatically >= cap);
            if !verdict.capped {
                prop_assert_eq!(verdict, free);
            } else if accusation.backing == Backing::Credential {
                let hardest = match accusation.shown {
                    Shown::Certificate => Step::Slow,
                    Shown::Bearer | Shown::KeyAndToken => Step::StepUp,
                };
                prop_assert_eq!((verdict.step, verdict.until), (hardest, free.until));
            } else {
                prop_assert_eq!((verdict.step, verdict.until), (Step::Note, None));
            }
            if let Some(until) = verdict.until {
                let imposed = lock(verdict.step, until, Author::Detector);
                table.impose(&whose, &imposed, GatewayId(1), at(100)).unwrap();
            }
            prop_assert!(table.census(&subject(), 60, at(100)).locked_automatically <= cap);
        }
    }
}

#[test]
fn acc_2_sources_can_t_take_the_room_that_identities_need() {
    let mut table = LockTable::new(at(0));
    let automatic = lock(Step::Lock, Until::Released, Author::Detector);
    for source in 0..65_536 {
        table.impose(&Subject::Source(source), &automatic, GatewayId(1), at(0)).unwrap();
    }
    let one_more = Subject::Source(u64::MAX);
    assert_eq!(table.impose(&one_more, &automatic, GatewayId(1), at(1)), Err(TableFault::Full));
    table.impose(&subject(), &automatic, GatewayId(1), at(1)).unwrap();
    assert!(table.held(&subject(), at(1)).is_some());
    assert_eq!(LockTable::decode(&table.encode(), at(1)), Ok(table));
}
