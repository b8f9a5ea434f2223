//! In step with the store, whenever another gateway writes to it.
use std::path::Path;

use super::*;
use crate::base::{Secret, SourceRange};
use crate::config::tests::support::{GOOD, world};
use crate::lockout::{Author, Cause, Imposed, Step, Until};
use crate::store::Embedded;

/// Real time, for what happens in other tasks.
const SOON: Duration = Duration::from_secs(10);

fn locks(number: u16, store: &Arc<Embedded>, clock: &Clock) -> Locks {
    let snapshot = world(GOOD).load().unwrap_or_else(|errors| panic!("{errors}")).snapshot;
    let secret = SharedSecret::derive(&Secret::new([7; 32]), &snapshot.environment);
    Locks::new(Gateway(number), Arc::<Embedded>::clone(store), secret, &snapshot, clock.now())
}

fn store(dir: &Path, clock: &Clock) -> Arc<Embedded> {
    std::fs::create_dir_all(dir).unwrap();
    Arc::new(Embedded::open(dir, Gateway(1), clock.now()).unwrap())
}

fn identity() -> Subject {
    Subject::Identity(Name::parse("hanako.yamada").unwrap())
}

fn network(of: &Locks) -> Subject {
    let office = "203.0.113.0/24".parse().unwrap();
    Subject::Network(SourceRange::of(office, &of.keys().network).unwrap())
}

fn impose(at: &Locks, subject: &Subject, step: Step, clock: &Clock) {
    let lock = Imposed {
        step,
        until: Until::Released,
        cause: Cause::Emergency,
        author: Author::Operator(Name::parse("officer").unwrap()),
        shown: None,
    };
    let act = |table: &mut LockTable, me| table.impose(subject, &lock, me, clock.now());
    at.change(subject, clock.now(), act).unwrap();
}

/// Between a gateway's start, when it has read all locks, and its first look for news.
#[tokio::test]
async fn acc_2_what_another_gateway_locks_before_this_one_listens_holds() {
    let dir = std::env::temp_dir().join(format!("sekisho-locks-{}", std::process::id()));
    let (clock, _hand) = Clock::manual(1_800_000_000_000);
    let store = store(&dir, &clock);
    let (one, other) = (locks(1, &store, &clock), locks(2, &store, &clock));
    one.restore(clock.now()).await.unwrap();

    let subject = identity();
    impose(&other, &subject, Step::Kill, &clock);
    other.write().await.unwrap();

    let mut changes = one.changes();
    tokio::select! {
        () = one.follow(&clock, |_news| {}) => panic!("the store is there"),
        woken = tokio::time::timeout(SOON, changes.changed()) => woken.unwrap().unwrap(),
    }
    assert!(one.read(|table| table.held(&subject, clock.now()).is_some()));
    let _left = std::fs::remove_dir_all(&dir);
}

/// Thousands of connections are not woken for each lock of an attack.
#[test]
fn acc_2_connections_are_looked_at_for_kills_and_networks_only() {
    let dir = std::env::temp_dir().join(format!("sekisho-locks-cuts-{}", std::process::id()));
    let (clock, _hand) = Clock::manual(1_800_000_000_000);
    let locks = locks(1, &store(&dir, &clock), &clock);
    let (mut cuts, mut changes) = (locks.cuts(), locks.changes());
    let network = network(&locks);
    for (subject, step, looks) in [
        (identity(), Step::Slow, false),
        (identity(), Step::Lock, false),
        (Subject::Source(7), Step::Lock, false),
        (identity(), Step::Kill, true),
        (Subject::Source(7), Step::Kill, true),
        (Subject::Source(8), Step::Lock, false),
        (network, Step::Lock, true),
    ] {
        impose(&locks, &subject, step, &clock);
        assert!(changes.has_changed().unwrap());
        assert_eq!(cuts.has_changed().unwrap(), looks, "{subject:?} {step:?}");
        changes.mark_unchanged();
        cuts.mark_unchanged();
    }
    let _left = std::fs::remove_dir_all(&dir);
}

/// Nor for what the gateway wrote itself, which comes back, or for whoever knocks in vain.
#[tokio::test]
async fn acc_2_attempts_have_no_connection_looked_at() {
    let dir = std::env::temp_dir().join(format!("sekisho-locks-knocks-{}", std::process::id()));
    let (clock, _hand) = Clock::manual(1_800_000_000_000);
    let locks = locks(1, &store(&dir, &clock), &clock);
    let subjects = [identity(), network(&locks)];
    for subject in &subjects {
        impose(&locks, subject, Step::Kill, &clock);
    }
    let cuts = locks.cuts();
    for _ in 0..3 {
        locks.write().await.unwrap();
        let mut news = News::default();
        locks.take_over(Told::Now, &mut news, clock.now()).await.unwrap();
        assert!(!cuts.has_changed().unwrap());
        for subject in &subjects {
            locks.attempted(subject.clone());
        }
    }
    assert_eq!(subjects.map(|subject| locks.read(|table| table.attempts(&subject))), [3, 3]);
    let _left = std::fs::remove_dir_all(&dir);
}
