use proptest::prelude::*;

use super::super::entry::Entry;
use super::super::*;
use super::{START_MS, at, name};
use crate::base::{Name, SourceRange};

prop_compose! {
    fn a_name()(text in "[a-c]") -> Name { name(&text) }
}

fn a_subject() -> impl Strategy<Value = Subject> {
    prop_oneof![
        a_name().prop_map(Subject::Identity),
        (0_u64..3).prop_map(Subject::Source),
        a_name().prop_map(Subject::Operation),
        a_name().prop_map(Subject::Upstream),
        (0_u64..3).prop_map(Subject::Account),
        (0_u64..3).prop_map(Subject::Order),
        (0_u64..3).prop_map(Subject::Token),
        (0_u8..2, 16_u8..19).prop_map(|(family, length)| {
            Subject::Network(SourceRange::from_parts((family, length, 0)).unwrap())
        }),
    ]
}

fn a_lock() -> impl Strategy<Value = Lock> {
    let until = prop_oneof![
        Just(Until::Released),
        (0_u64..9_999).prop_map(|s| Until::At(Deadline::learned(START_MS + s, at(0)))),
    ];
    let shown = proptest::sample::select(&[
        None,
        Some(Shown::Bearer),
        Some(Shown::KeyAndToken),
        Some(Shown::Certificate),
    ]);
    (0_u64..5, until, 0_u64..4, shown).prop_map(|(version, until, since_ms, shown)| Lock {
        version,
        until,
        since_ms,
        shown,
    })
}

fn a_gateway() -> impl Strategy<Value = GatewayId> {
    (0_u16..3).prop_map(GatewayId)
}

fn grounds() -> impl Strategy<Value = Grounds> {
    let author = prop_oneof![Just(Author::Detector), a_name().prop_map(Author::Operator)];
    let step = proptest::sample::select(&Step::ALL[1..]);
    let cause = proptest::sample::select(Cause::ALL);
    (a_gateway(), step, cause, author).prop_map(|(gateway, step, cause, author)| Grounds {
        gateway,
        step,
        cause,
        author,
    })
}

fn an_entry() -> impl Strategy<Value = Entry> {
    let locks = proptest::collection::btree_map(grounds(), a_lock(), 0..4);
    let counts = || proptest::collection::btree_map(a_gateway(), 0_u64..5, 0..3);
    let reasons = proptest::sample::select(ReleaseReason::ALL);
    let release = (0_u64..4, 0_u64..4, a_name(), reasons, a_name()).prop_map(
        |(at_ms, end, by, reason, case)| Release {
            at_ms,
            probation: Deadline::learned(START_MS + end, at(0)),
            by,
            reason,
            case,
        },
    );
    (locks, counts(), proptest::option::of(release), counts()).prop_map(
        |(locks, released, release, attempts)| Entry { locks, released, release, attempts },
    )
}

/// Also such tables as no honest history leads to.
fn a_table() -> impl Strategy<Value = LockTable> {
    let entries = proptest::collection::btree_map(a_subject(), an_entry(), 0..6);
    (5_u64..9, entries).prop_map(|(tick, entries)| LockTable::of(tick, entries))
}

fn merged(one: &LockTable, other: &LockTable) -> LockTable {
    let mut sum = one.clone();
    sum.merge(other, at(0)).unwrap();
    sum
}

proptest! {
    #[test]
    fn merging_is_commutative_associative_and_idempotent(
        a in a_table(), b in a_table(), c in a_table(),
    ) {
        prop_assert_eq!(merged(&a, &b), merged(&b, &a));
        prop_assert_eq!(merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)));
        prop_assert_eq!(merged(&a, &a), a.clone());
        prop_assert_eq!(merged(&merged(&a, &b), &b), merged(&a, &b));
    }

    /// What is released nowhere is never lost or made milder by merging.
    #[test]
    fn merging_loses_no_lock(a in a_table(), b in a_table()) {
        let sum = merged(&a, &b);
        for (subject, of, lock) in a.all_held(at(0)) {
            let released = [&a, &b].iter().any(|table| {
                table.entries.get(subject).is_some_and(|entry| {
                    entry.released.values().any(|version| *version >= lock.version)
                })
            });
            // A later lock on the same grounds replaces an earlier one.
            let replaced = b.entries.get(subject).is_some_and(|entry| {
                entry.locks.get(of).is_some_and(|other| other > lock)
            });
            if !released && !replaced {
                prop_assert!(sum.held_by(subject, at(0)).any(|(held, _)| held == of));
            }
        }
    }

    #[test]
    fn a_table_is_read_as_it_was_written(table in a_table()) {
        prop_assert_eq!(LockTable::decode(&table.encode(), at(0)), Ok(table));
    }

    #[test]
    fn a_table_that_is_cut_short_is_refused(table in a_table(), cut in 0_usize..400) {
        let bytes = table.encode();
        let part = bytes.get(..cut.min(bytes.len() - 1)).unwrap();
        prop_assert!(LockTable::decode(part, at(0)).is_err());
    }

    #[test]
    fn no_bytes_make_the_reader_panic(
        table in a_table(), place in 0_usize..400, byte in any::<u8>(),
        noise in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut bytes = table.encode();
        let place = place % bytes.len();
        bytes[place] = byte;
        let _ = LockTable::decode(&bytes, at(0));
        let _ = LockTable::decode(&noise, at(0));
    }
}

#[test]
fn a_table_of_a_newer_version_is_refused_as_such() {
    let mut bytes = LockTable::new(at(0)).encode();
    bytes[4] = 2;
    assert_eq!(LockTable::decode(&bytes, at(0)), Err(DecodeFault::Newer));
    assert_eq!(LockTable::decode(b"{}", at(0)), Err(DecodeFault::NotATable));
    let mut planted = LockTable::new(at(0));
    planted.tick = u64::MAX;
    assert_eq!(LockTable::decode(&planted.encode(), at(0)), Err(DecodeFault::Malformed));
}
