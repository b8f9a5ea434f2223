//! Locks on one subject, side by side.
use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Act {
    Impose(Subject, Imposed, u16),
    Release(Subject),
    /// Another gateway tells.
    Tell(Subject, Imposed),
    Prune,
    Wait(u64),
}

fn an_identity() -> impl Strategy<Value = Subject> {
    let names = proptest::sample::select(&["labels", "orders", "returns"]);
    names.prop_map(|text| Subject::Identity(name(text)))
}

fn imposed() -> impl Strategy<Value = Imposed> {
    let step = proptest::sample::select(&Step::ALL[1..]);
    let until = prop_oneof![
        Just(Until::Released),
        (1_u64..500).prop_map(|secs| Until::At(Deadline::after(at(0), Duration::from_secs(secs)))),
    ];
    let author = prop_oneof![
        2 => Just(Author::Detector),
        1 => proptest::sample::select(&["anna", "zoe"]).prop_map(|by| Author::Operator(name(by))),
    ];
    let shown = proptest::sample::select(&[None, Some(Shown::Bearer), Some(Shown::Certificate)]);
    let cause = proptest::sample::select(Cause::ALL);
    (step, until, author, cause, shown).prop_map(|(step, until, author, cause, shown)| Imposed {
        step,
        until,
        cause,
        author,
        shown,
    })
}

fn an_act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (an_identity(), imposed(), 1_u16..3).prop_map(|(who, lock, by)| Act::Impose(who, lock, by)),
        2 => (an_identity(), imposed()).prop_map(|(who, lock)| Act::Tell(who, lock)),
        1 => an_identity().prop_map(Act::Release),
        1 => Just(Act::Prune),
        2 => (1_u64..60).prop_map(Act::Wait),
    ]
}

/// What holds, as people are told: on what grounds, how long, and what the accused showed.
fn held(table: &LockTable, now: Moment) -> Vec<(Subject, Grounds, Until, Option<Shown>)> {
    let all = table.all_held(now);
    all.map(|(whose, of, lock)| (whose.clone(), of.clone(), lock.until, lock.shown)).collect()
}

proptest! {
    /// Whatever is imposed on whom, by whom and for what: everything that held before holds on, as hard,
    /// as long, for the same cause and by the same author, and so what it takes to end it stays.
    #[test]
    fn acc_2_no_lock_takes_anything_from_another(locks in proptest::collection::vec(
        (an_identity(), imposed(), 1_u16..3), 1..40,
    )) {
        let mut table = LockTable::new(at(0));
        for (subject, lock, by) in locks {
            let before = held(&table, at(0));
            let told = table.clone();
            table.impose(&subject, &lock, GatewayId(by), at(0)).unwrap();
            let after = held(&table, at(0));
            for (whose, of, until, shown) in before {
                prop_assert!(after.iter().any(|(subject, grounds, longer, more)| {
                    (subject, grounds) == (&whose, &of) && *longer >= until && *more >= shown
                }), "{of:?} until {until:?}");
            }
            // Whoever reads it in parts has the same, whatever it knew.
            let mut other = told;
            for part in table.parts(&subject, GatewayId(by)) {
                other.take_over(&part.bytes, Told::Before, at(0)).unwrap();
            }
            prop_assert_eq!(held(&other, at(0)), after);
        }
    }

    /// The number that is kept is the number that is counted.
    #[test]
    fn acc_2_the_census_is_what_a_count_of_all_locks_says(
        acts in proptest::collection::vec(an_act(), 1..80),
    ) {
        let (mut table, mut secs) = (LockTable::new(at(0)), 0);
        let mut theirs = LockTable::new(at(0));
        for act in acts {
            let now = at(secs);
            match act {
                Act::Impose(who, lock, by) => {
                    table.impose(&who, &lock, GatewayId(by), now).unwrap();
                }
                Act::Tell(who, lock) => {
                    theirs.impose(&who, &lock, GatewayId(9), now).unwrap();
                    table.merge(&theirs, now).unwrap();
                }
                Act::Release(who) => {
                    let act = (&name("hanako"), ReleaseReason::FalseAlarm, &name("CASE-7"));
                    let _ = table.release(&who, act, Duration::from_secs(9), now);
                }
                Act::Prune => table.prune(now),
                Act::Wait(more) => secs += more,
            }
            let now = at(secs);
            for accused in ["labels", "orders", "returns", "nobody"] {
                let accused = Subject::Identity(name(accused));
                let plain: std::collections::BTreeSet<_> = table
                    .all_held(now)
                    .filter(|(whose, of, _)| **whose != accused && of.is_automatic())
                    .map(|(whose, ..)| whose.clone())
                    .collect();
                let census = table.census(&accused, 3, now);
                prop_assert_eq!(census.locked_automatically as usize, plain.len());
            }
        }
    }
}

proptest! {
    /// However many calls come at once, and whenever: one a second goes on, and none waits for long.
    #[test]
    fn acc_2_whoever_is_slowed_down_has_one_turn_a_second(
        waits_ms in proptest::collection::vec(0_u64..1_500, 1..200),
    ) {
        let (mut turns, who) = (Turns::default(), name("labels"));
        let (mut ms, mut last) = (0, at(0));
        for wait_ms in waits_ms {
            ms += wait_ms;
            let mut now = Moment::new(START_MS + ms, at(0).mono_ns() + ms * 1_000_000);
            let wait = turns.take(&who, now).or_else(|wait| {
                now = now.plus(wait);
                turns.take(&who, now)
            });
            let wait = wait.expect("there is room when it was told that there would be");
            prop_assert!(wait <= Duration::from_secs(20));
            let turn = now.plus(wait);
            prop_assert!(turn.since(last) >= Duration::from_secs(1));
            last = turn;
            ms = (now.mono_ns() - at(0).mono_ns()) / 1_000_000;
        }
        let another = Moment::new(START_MS + ms, at(0).mono_ns() + ms * 1_000_000);
        prop_assert_eq!(turns.take(&name("orders"), another), Ok(Duration::from_secs(1)));
    }
}

/// An operator's lock, and then a longer one of another's: each is there, and each ends by itself.
#[test]
fn priv_3_every_author_of_a_lock_stays_on_it() {
    let mut table = LockTable::new(at(0));
    let by = |who: &str| Imposed {
        cause: Cause::Emergency,
        ..lock(Step::Lock, Until::Released, Author::Operator(name(who)))
    };
    let canary =
        Imposed { cause: Cause::Canary, ..lock(Step::Lock, Until::Released, Author::Detector) };
    for lock in [&canary, &by("anna"), &by("zoe"), &by("bob")] {
        table.impose(&subject(), lock, GatewayId(1), at(1)).unwrap();
    }
    let grounds = |table: &LockTable| -> Vec<_> {
        let whose = subject();
        let held = table.held_by(&whose, at(2));
        held.map(|(of, _)| (of.cause, of.author.clone())).collect()
    };
    let operator = |who: &str| (Cause::Emergency, Author::Operator(name(who)));
    let all =
        [(Cause::Canary, Author::Detector), operator("anna"), operator("bob"), operator("zoe")];
    assert_eq!(grounds(&table), all);
    // Each is kept in a place of its own.
    let parts = table.parts(&subject(), GatewayId(1));
    let places: std::collections::BTreeSet<_> = parts.iter().map(|p| (p.slot, &p.of)).collect();
    assert_eq!(places.len(), 4);
    assert!(parts.iter().map(|part| part.version).is_sorted(), "in their order");
    // A release ends them all.
    let act = (&name("hanako"), ReleaseReason::FalseAlarm, &name("CASE-7"));
    table.release(&subject(), act, Duration::ZERO, at(3)).unwrap();
    assert!(table.held(&subject(), at(3)).is_none());
}

/// Among few identities the cap is one: whoever is locked already uses up none of it for itself.
#[test]
fn acc_2_a_lock_of_ones_own_is_no_reason_not_to_be_locked_longer() {
    let rules = Rules::default();
    let mut table = LockTable::new(at(0));
    let other = Subject::Identity(name("orders"));
    let accusation = |backing, cause, secs| Accusation {
        identity: IdentityIx(0),
        asks: Step::Lock,
        backing,
        shown: Shown::Bearer,
        cause,
        at: at(secs),
    };
    let mut accuse = |whose: &Subject, accusation: &Accusation| {
        let census = table.census(whose, 4, accusation.at);
        let verdict = judge(accusation, Probation::Over, census, &rules);
        if let Some(until) = verdict.until {
            let imposed =
                Imposed { cause: verdict.cause, ..lock(verdict.step, until, Author::Detector) };
            table.impose(whose, &imposed, GatewayId(1), accusation.at).unwrap();
        }
        verdict
    };
    let guesses = accusation(Backing::Familiar, Cause::LoginFailures, 1);
    assert!(!accuse(&subject(), &guesses).capped);
    let theft = accusation(Backing::Credential, Cause::Canary, 2);
    let verdict = accuse(&subject(), &theft);
    assert_eq!((verdict.capped, verdict.until), (false, Some(Until::Released)));
    assert!(accuse(&other, &theft).capped, "another would be one too many");
    let held = table.held(&subject(), at(3_600)).map(|(of, lock)| (of.cause, lock.until));
    assert_eq!(held, Some((Cause::Canary, Until::Released)));
}

/// A table that is full of what holds does not look through all of it for each lock that finds no room.
#[test]
fn acc_2_a_full_table_is_looked_through_once_a_second() {
    let mut table = LockTable::new(at(0));
    let until = |secs| Until::At(Deadline::after(at(0), Duration::from_secs(secs)));
    for source in 0..65_536 {
        let automatic = lock(Step::Lock, until(10 + source % 2), Author::Detector);
        table.impose(&Subject::Source(source), &automatic, GatewayId(1), at(0)).unwrap();
    }
    let one_more = |table: &mut LockTable, source, now| {
        let automatic = lock(Step::Lock, Until::Released, Author::Detector);
        table.impose(&Subject::Source(source), &automatic, GatewayId(1), now)
    };
    let later = |ms: u64| Moment::new(START_MS + ms, at(0).mono_ns() + ms * 1_000_000);
    assert_eq!(one_more(&mut table, 70_000, later(9_500)), Err(TableFault::Full));
    assert_eq!(one_more(&mut table, 70_000, later(10_100)), Err(TableFault::Full), "just looked");
    one_more(&mut table, 70_000, later(10_500)).unwrap();
    assert_eq!(table.all_held(later(10_500)).count(), 32_769);
}

#[test]
fn acc_2_whoever_meets_a_step_up_is_slowed_down_all_the_same() {
    let mut table = LockTable::new(at(0));
    let by = || Author::Operator(name("officer"));
    let mut imposing = |whose: &Subject, step| {
        table.impose(whose, &lock(step, Until::Released, by()), GatewayId(1), at(0)).unwrap();
        standings(&table, at(1)).standing(&asked(0, Trust::Proof, 1), at(1))
    };
    assert!(!imposing(&subject(), Step::StepUp).is_slowed);
    let standing = imposing(&Subject::Upstream(name("amazon-eu")), Step::Slow);
    assert_eq!(standing.step.map(|(step, _)| step), Some(Step::StepUp));
    assert!(standing.is_slowed, "on another subject");
    let mut table = LockTable::new(at(0));
    for step in [Step::Slow, Step::StepUp] {
        table.impose(&subject(), &lock(step, Until::Released, by()), GatewayId(1), at(0)).unwrap();
    }
    assert!(standings(&table, at(1)).standing(&asked(0, Trust::Proof, 1), at(1)).is_slowed);
}

/// A lock as versions wrote it that kept one for each step: an operator's, of an identity, until released.
#[test]
fn acc_2_what_an_earlier_version_wrote_holds() {
    let mut bytes = b"SKLT\x01\0".to_vec();
    bytes.extend(77_u64.to_le_bytes());
    bytes.extend(1_u32.to_le_bytes());
    bytes.extend(b"\0\x06labels");
    bytes.extend(1_u32.to_le_bytes());
    // Gateway 1, a lock, version 76, no end, since 5, an emergency, of somebody: zoe.
    bytes.extend(b"\x01\0\x03");
    bytes.extend(76_u64.to_le_bytes());
    bytes.push(0);
    bytes.extend(5_u64.to_le_bytes());
    bytes.extend(b"\x0b\x01\x03zoe");
    // No releases, no attempts, no release.
    bytes.extend([0; 9]);
    let mut table = LockTable::new(at(0));
    let heard = Heard { subject: subject(), released: None };
    assert_eq!(table.take_over(&bytes, Told::Before, at(0)), Ok(heard));
    let (of, lock_then) =
        table.held(&subject(), at(1)).map(|(of, lock)| (of.clone(), *lock)).unwrap();
    let author = Author::Operator(name("zoe"));
    let (gateway, step, cause) = (GatewayId(1), Step::Lock, Cause::Emergency);
    assert_eq!(of, Grounds { gateway, step, cause, author });
    let expect = Lock { version: 76, until: Until::Released, since_ms: 5, shown: None };
    assert_eq!(lock_then, expect);
    // What is imposed now stands beside it, and one release ends both.
    let imposed = lock(Step::Lock, Until::Released, Author::Detector);
    table.impose(&subject(), &imposed, GatewayId(1), at(1)).unwrap();
    assert_eq!(table.held_by(&subject(), at(1)).count(), 2);
    let act = (&name("hanako"), ReleaseReason::FalseAlarm, &name("CASE-7"));
    table.release(&subject(), act, Duration::ZERO, at(2)).unwrap();
    assert_eq!(table.held_by(&subject(), at(2)).count(), 0);
}
