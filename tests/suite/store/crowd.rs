//! Locks that strangers can have as many of as they like leave room for those that people impose.
use std::slice;

use sekisho::store::{
    Gateway, LockKey, LockRecord, Reach, Register, Remote, RemoteSettings, Scope, Shared, Store,
    StoreFault,
};

use super::redis::{Server, memory};
use super::{Scratch, all_locks, embedded, eventually, id, known, lock, locks_of, sound};

/// Locks that a store here keeps at most. A tenth of it is not for the crowd.
const ROOM: u64 = 20;
const CROWD: u64 = 18;

fn source(number: u64) -> LockRecord {
    let key =
        LockKey { scope: Scope::Source, id: id(&number.to_string()), by: Gateway(1), slot: 3 };
    LockRecord { key, state: Register { version: 1, rank: 4, value: b"a source".to_vec() } }
}

fn settings(server: &Server) -> RemoteSettings {
    RemoteSettings { locks_max: ROOM, ..server.settings(1) }
}

async fn fill(store: &dyn Store) {
    for number in 0..CROWD {
        assert_eq!(store.put_locks(&[source(number)]).await, Ok(Reach::Everywhere));
    }
}

async fn keeps_room(store: &dyn Store) {
    fill(store).await;
    assert_eq!(store.put_locks(&[source(CROWD)]).await, Err(StoreFault::Full));
    let kill = lock("killed", 1, 1, 5);
    assert_eq!(store.put_locks(slice::from_ref(&kill)).await, Ok(Reach::Everywhere));
    // What is there already can always be changed, and a source can be released.
    let mut longer = source(3);
    longer.state.version = 2;
    let mut release = source(3);
    (release.key.slot, release.state.rank) = (0, 0);
    let both = [longer, release];
    assert_eq!(store.put_locks(slice::from_ref(&both[0])).await, Ok(Reach::Everywhere));
    assert_eq!(store.put_locks(slice::from_ref(&both[1])).await, Ok(Reach::Everywhere));
    let more = [lock("beyond", 1, 1, 5)];
    assert_eq!(store.put_locks(&more).await, Err(StoreFault::Full), "there is no more than all");

    // What is not as it was given stays: somebody has changed it meanwhile.
    let given: Vec<_> = (0..CROWD).map(source).collect();
    store.forget_locks(&given).await.unwrap();
    let mut left = all_locks(store).await;
    left.sort_by_key(|lock| lock.key);
    let mut expected = vec![kill.clone(), both[0].clone(), both[1].clone()];
    expected.sort_by_key(|lock| lock.key);
    assert_eq!(left, expected);
    store.forget_locks(&given).await.unwrap();
    // What was forgotten makes room, and is news again whatever its version.
    let some: Vec<_> = (10..CROWD).map(source).collect();
    assert_eq!(store.put_locks(&some).await, Ok(Reach::Everywhere));
    assert_eq!(known(store, kill.key).await, Some(kill.state));
}

#[tokio::test]
async fn acc_2_a_file_full_of_sources_takes_an_officers_kill() {
    let dir = Scratch::new();
    keeps_room(&embedded(&dir, 1).with_room_for(ROOM)).await;
    let again = embedded(&dir, 1);
    assert!(known(&again, lock("killed", 1, 1, 5).key).await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_2_a_server_full_of_sources_takes_an_officers_kill() {
    let server = Server::start().await;
    let remote = Remote::start(settings(&server), memory(1));
    sound(&remote).await;
    keeps_room(&remote).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_2_a_server_without_room_is_told_of_and_told_again() {
    let (dir, mut server) = (Scratch::new(), Server::start().await);
    let shared = Shared::start(embedded(&dir, 1), settings(&server)).await.unwrap();
    sound(&shared).await;
    fill(&shared).await;
    assert!(!shared.lacks_room());
    let beyond: Vec<_> = (CROWD..CROWD + 300).map(source).collect();
    for some in beyond.chunks(100) {
        assert_eq!(shared.put_locks(some).await, Ok(Reach::HereOnly));
    }
    assert!(shared.lacks_room(), "the others don't learn of it");
    let kill = lock("killed", 1, 1, 5);
    assert_eq!(shared.put_locks(slice::from_ref(&kill)).await, Ok(Reach::Everywhere));
    // Another server has no room either, but for the kill, which lies behind them all.
    server.kill();
    server.restart().await;
    let other = Remote::start(server.settings(2), memory(2));
    sound(&other).await;
    eventually("the kill is told", async || known(&other, kill.key).await.is_some()).await;
    assert!(shared.lacks_room());

    shared.forget_locks(&[source(0), source(1)]).await.unwrap();
    for some in beyond.chunks(100) {
        shared.forget_locks(some).await.unwrap();
    }
    // All is carried again at the latest with the next connection.
    server.kill();
    server.restart().await;
    eventually("there is room", async || !shared.lacks_room()).await;
    // Its own connection may be the later one.
    let told = async || locks_of(&other).await.is_ok_and(|all| all.len() == 17);
    eventually("all are told", told).await;
}
