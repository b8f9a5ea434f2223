//! What holds, brought up to date subject by subject.
use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::*;
use crate::base::SourceRange;

fn subjects() -> Vec<Subject> {
    let hashes = (0..200_u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let sources = hashes.clone().map(Subject::Source);
    let tokens = hashes.clone().take(20).map(Subject::Token);
    let orders = hashes.take(20).map(Subject::Order);
    let named = [
        subject(),
        Subject::Identity(name("orders")),
        Subject::Identity(name("of-another-configuration")),
        Subject::Operation(name("orders/getOrder")),
        Subject::Upstream(name("amazon-eu")),
        Subject::Account(5),
        Subject::Network(range(0, 16)),
        Subject::Network(range(0, 17)),
        Subject::Network(range(1, 32)),
    ];
    named.into_iter().chain(sources).chain(tokens).chain(orders).collect()
}

/// The one of zeros.
fn range(family: u8, length: u8) -> SourceRange {
    SourceRange::from_parts((family, length, 0)).unwrap()
}

/// Whatever anybody may ask, as text.
fn answers(standings: &Standings, all: &[Subject], now: Moment) -> String {
    let mut said = String::new();
    for subject in all {
        let (mut of, mut token, mut network) = (asked(1, Trust::Stranger, 0), None, None);
        of = Asked { operation: None, upstream: None, account: None, ..of };
        match subject {
            Subject::Identity(own) if *own == name("labels") => of.identity = Some(IdentityIx(0)),
            Subject::Identity(_) => {}
            Subject::Operation(_) => of.operation = Some(OperationIx(0)),
            Subject::Upstream(_) => of.upstream = Some(UpstreamIx(0)),
            Subject::Account(hash) => of.account = Some(*hash),
            Subject::Source(hash) => of.source = *hash,
            Subject::Order(hash) => of.order = Some(*hash),
            Subject::Token(hash) => token = Some(*hash),
            Subject::Network(range) => network = Some(*range),
        }
        let locked = token.map(|token| standings.is_token_locked(token, now));
        let of_shape = |shape| network.filter(|range| range.shape() == shape);
        let range = standings.locked_range(of_shape, now);
        assert!(range.is_none() || range == network);
        let killed = standings.is_killed(IdentityIx(0), now);
        let standing = standings.standing(&of, now);
        let _ = writeln!(said, "{standing:?} {locked:?} {killed} {range:?}");
    }
    said + &format!("{}", standings.holds_orders())
}

#[test]
fn acc_2_what_is_brought_up_to_date_is_what_would_be_compiled_anew() {
    let all = subjects();
    let places = Owned::new();
    let mut table = LockTable::new(at(0));
    let mut standings = Standings::compile(&table, places.places(), at(0));
    let steps = [Step::Slow, Step::StepUp, Step::Lock, Step::Kill];
    let mut random = 1_u64;
    for turn in 0..2_000_u64 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let pick = |below: usize, bits: u32| usize::try_from(random >> bits).unwrap() % below;
        let (subject, now) = (&all[pick(all.len(), 33)], at(turn));
        let until = match pick(3, 20) {
            0 => Until::Released,
            _ => Until::At(Deadline::after(now, Duration::from_secs(random % 300))),
        };
        if pick(3, 25) == 0 {
            let act = (&name("hanako"), ReleaseReason::FalseAlarm, &name("CASE-7"));
            let _ = table.release(subject, act, Duration::from_secs(random % 50), now);
        } else {
            let imposed = lock(steps[pick(4, 15)], until, Author::Detector);
            table.impose(subject, &imposed, GatewayId(1), now).unwrap();
        }
        let before = standings;
        let mut changed = vec![subject.clone()];
        if turn % 50 == 0 {
            changed.extend(table.prune_some(None, 1_000, &BTreeSet::new(), now).0);
        }
        standings = before.changed(&table, changed.iter(), places.places(), now);
        let fresh: Vec<u64> = standings.tokens_since(&before, now).collect();
        let is_new = matches!(subject, Subject::Token(hash) if fresh == [*hash]);
        assert!(fresh.is_empty() || is_new, "{fresh:?} {subject:?}");
        if turn % 100 == 0 {
            let anew = Standings::compile(&table, places.places(), now);
            assert_eq!(answers(&standings, &all, now), answers(&anew, &all, now), "{turn}");
        }
    }
}

#[test]
fn acc_2_what_is_over_is_forgotten_some_at_a_time() {
    let mut table = LockTable::new(at(0));
    for source in 0..10_u64 {
        let until = Until::At(Deadline::after(at(0), Duration::from_secs(60 + 100 * (source % 2))));
        let imposed = lock(Step::Lock, until, Author::Detector);
        table.impose(&Subject::Source(source), &imposed, GatewayId(1), at(0)).unwrap();
    }
    let (mut after, mut over) = (None, Vec::new());
    let unwritten = BTreeSet::from([Subject::Source(4)]);
    for _ in 0..3 {
        let (some, next) = table.prune_some(after.as_ref(), 4, &unwritten, at(100));
        assert!(some.len() <= 4);
        over.extend(some);
        after = next;
    }
    assert_eq!(after, None, "from the start again");
    assert_eq!(
        over,
        [0, 2, 6, 8].map(Subject::Source),
        "what is not written down keeps nothing else"
    );
    assert_eq!(table.all_held(at(100)).count(), 5);
    assert_eq!(table.entries.len(), 6);
}
