//! What ended long ago is taken out of the store, and nothing comes back by it.
use std::slice;
use std::time::Duration;

use sekisho::engine::{LockOrder, Target, Unlock};
use sekisho::lockout::{
    Author, Cause, Deadline, GatewayId, Imposed, LockTable, ReleaseReason, Step, Subject, Until,
};
use sekisho::store::{Cursor, Gateway, LockKey, LockRecord, Reach, Register, Scope};

use crate::lockout::{lock, name};
use crate::store::{eventually, id};
use crate::support::{Plan, World, until};

const HOUR: Duration = Duration::from_secs(3_600);

async fn rows(world: &World) -> Vec<LockRecord> {
    let page = world.gateway.engine.store.locks_since(Cursor::START).await.unwrap();
    assert!(!page.more);
    page.records
}

async fn sources(world: &World) -> usize {
    let all = rows(world).await;
    all.iter().filter(|row| row.key.scope == Scope::Source).count()
}

/// What another gateway tells of one place: a lock without an end, and after its release one with an end.
fn of_another(world: &World) -> [LockRecord; 2] {
    let (now, subject) = (world.gateway.engine.clock.now(), Subject::Identity(name("analyst")));
    let (by, paper) = (name("officer"), name("CASE-2"));
    let mut table = LockTable::new(now);
    let mut impose = |until| {
        let (cause, author) = (Cause::Volume, Author::Detector);
        let imposed = Imposed { step: Step::Lock, until, cause, author, shown: None };
        table.impose(&subject, &imposed, GatewayId(9), now).unwrap();
        let part = table.parts(&subject, GatewayId(9)).remove(0);
        let act = (&by, ReleaseReason::CredentialReplaced, &paper);
        table.release(&subject, act, HOUR, now).unwrap();
        let (slot, by) = (part.slot, Gateway(9));
        LockRecord {
            key: LockKey { scope: Scope::Identity, id: id("analyst"), by, slot },
            state: Register { version: part.version, rank: part.rank, value: part.bytes },
        }
    };
    [Until::Released, Until::At(Deadline::after(now, HOUR / 2))].map(&mut impose)
}

async fn lock_source(world: &World, number: u64) {
    let order = LockOrder {
        target: Target::Listed(Subject::Source(number)),
        step: Step::Lock,
        lasts: Some(HOUR / 2),
        by: name("officer"),
        case: name("CASE-1"),
    };
    assert_eq!(world.gateway.engine.lock(&order).await.unwrap(), Reach::Everywhere);
}

/// Until what ended long ago is forgotten in memory, and taken away.
async fn swept(world: &World) {
    eventually("they are gone", async || {
        world.gateway.engine.sweep_locks().await.unwrap();
        sources(world).await == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_2_sources_that_were_locked_once_fill_no_store() {
    let world = World::with(Plan::default().by_hand()).await;
    let engine = &world.gateway.engine;
    for number in 0..50 {
        lock_source(&world, number).await;
    }
    lock(&world, Target::Identity(name("label-printer")), Step::Kill).await;
    let [endless, later] = of_another(&world);
    engine.store.put_locks(slice::from_ref(&endless)).await.unwrap();
    until("it holds here", || engine.list_locks().len() == 52).await;
    let release = Unlock {
        target: Target::Identity(name("analyst")),
        by: name("officer"),
        reason: ReleaseReason::CredentialReplaced,
        case: name("CASE-2"),
    };
    engine.unlock(&release).await.unwrap();
    assert_eq!(engine.list_locks().len(), 51);
    engine.store.put_locks(slice::from_ref(&later)).await.unwrap();
    until("the later one holds here", || engine.list_locks().len() == 52).await;
    let all = rows(&world).await.len();
    assert_eq!(sources(&world).await, 50);

    world.advance(HOUR / 2);
    assert_eq!(engine.list_locks().len(), 1);
    engine.sweep_locks().await.unwrap();
    assert_eq!(sources(&world).await, 50, "a gateway whose clock is behind holds to them yet");
    world.advance(HOUR);
    swept(&world).await;
    assert_eq!(rows(&world).await.len(), all - 50);

    // Long after the probation nothing is known of the release but what is written down: a gateway that
    // was away and comes back with what it ended brings no news.
    lock_source(&world, 99).await;
    world.advance(HOUR * 240);
    swept(&world).await;
    assert_eq!(rows(&world).await.len(), all - 50);
    engine.store.put_locks(&[endless]).await.unwrap();
    lock_source(&world, 100).await;
    let world = world.restart().await;
    let held = world.gateway.engine.list_locks();
    assert_eq!(held.len(), 2, "{held:?}");
    world.finish().await;
}
