//! In step with the store, whenever another gateway writes to it.
use std::path::Path;

use super::*;
use crate::base::Secret;
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

/// Between a gateway's start, when it has read all locks, and its first look for news.
#[tokio::test]
async fn acc_2_what_another_gateway_locks_before_this_one_listens_holds() {
    let dir = std::env::temp_dir().join(format!("sekisho-locks-{}", std::process::id()));
    let (clock, _hand) = Clock::manual(1_800_000_000_000);
    let store = store(&dir, &clock);
    let (one, other) = (locks(1, &store, &clock), locks(2, &store, &clock));
    one.restore(clock.now()).await.unwrap();

    let subject = Subject::Identity(Name::parse("hanako.yamada").unwrap());
    let lock = Imposed {
        step: Step::Kill,
        until: Until::Released,
        cause: Cause::Emergency,
        author: Author::Operator(Name::parse("officer").unwrap()),
        shown: None,
    };
    let impose = |table: &mut LockTable, me| table.impose(&subject, &lock, me, clock.now());
    other.change(&subject, clock.now(), impose).unwrap();
    other.write().await.unwrap();

    let mut changes = one.changes();
    tokio::select! {
        () = one.follow(&clock, |_news| {}) => panic!("the store is there"),
        woken = tokio::time::timeout(SOON, changes.changed()) => woken.unwrap().unwrap(),
    }
    assert!(one.read(|table| table.held(&subject, clock.now()).is_some()));
    let _left = std::fs::remove_dir_all(&dir);
}
