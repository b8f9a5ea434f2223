//! What every store does alike.
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use sekisho::store::{
    ALARM_MAX, ALARMS_MAX, Ask, Blob, BlobKey, CounterKey, Cursor, Exchange, Holder,
    LOCK_VALUE_MAX, LeaseKey, LockRecord, Metered, PAGE_MAX, Put, RANK_RELEASED, Rate, Reach,
    Register, Shared, Shelf, Store, StoreFault, Tallied, VALUE_MAX,
};

use super::redis::Server;
use super::{Scratch, all_locks, embedded, eventually, id, known, lock, lock_key, now, sound};

#[tokio::test]
async fn acc_2_embedded_store_keeps_the_contract() {
    let dir = Scratch::new();
    holds(&embedded(&dir, 1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_2_redis_store_keeps_the_contract() {
    let server = Server::start().await;
    let remote = server.remote(1);
    sound(&remote).await;
    holds(&remote).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_2_shared_store_keeps_the_contract() {
    let (dir, server) = (Scratch::new(), Server::start().await);
    let shared = Shared::start(embedded(&dir, 1), server.settings(1)).await.unwrap();
    sound(&shared).await;
    holds(&shared).await;
}

#[tokio::test]
async fn acc_2_exchanged_store_keeps_the_contract() {
    let dir = Scratch::new();
    holds(&Exchange::new(Arc::new(embedded(&dir, 1)))).await;
}

async fn holds(store: &dyn Store) {
    later_and_stricter_wins(store).await;
    changes_come_in_pages(store).await;
    what_is_taken_away_is_gone(store).await;
    the_bell_rings(store).await;
    what_is_too_large_is_refused_whole(store).await;
    a_quota_is_never_overdrawn(store).await;
    debts_are_charged(store).await;
    a_duty_has_an_owner(store).await;
    counters_add_up_and_are_forgotten(store).await;
    blobs_are_versioned_and_in_order(store).await;
    alarms_wait_in_order(store).await;
    let meta = store.meta().await.unwrap();
    assert_eq!((meta.schema, meta.epoch != 0), (1, true));
    assert_eq!(store.peers().await.unwrap().count, 1);
    store.flush().await.unwrap();
}

async fn later_and_stricter_wins(store: &dyn Store) {
    let key = lock_key("merge", 1);
    let put = async |version, rank| {
        assert_eq!(
            store.put_locks(&[lock("merge", 1, version, rank)]).await,
            Ok(Reach::Everywhere)
        );
        let state = known(store, key).await.unwrap();
        (state.version, state.rank)
    };
    assert_eq!(put(5, 3).await, (5, 3));
    assert_eq!(put(4, 9).await, (5, 3), "an older one changes nothing");
    assert_eq!(put(5, 2).await, (5, 3), "nor does a less strict one of the same version");
    assert_eq!(put(5, RANK_RELEASED).await, (5, 3), "nor a release of the same version");
    assert_eq!(put(5, 4).await, (5, 4));
    assert_eq!(put(6, RANK_RELEASED).await, (6, RANK_RELEASED), "a later release does");
    assert_eq!(put(u64::MAX, 1).await, (u64::MAX, 1));
    // Greater in bytes 1 to 8, which are above 127: the order must not depend on a locale.
    let other = LockRecord { key: lock_key("bytes", 1), ..lock("bytes", 1, 0x80ff_0000, 1) };
    store.put_locks(&[lock("bytes", 1, 0x7fff_ffff, 1), other.clone()]).await.unwrap();
    assert_eq!(known(store, other.key).await, Some(other.state));
}

async fn changes_come_in_pages(store: &dyn Store) {
    let names: Vec<String> = (0..PAGE_MAX * 2 + 7).map(|n| format!("page {n}")).collect();
    let records: Vec<_> = names.iter().map(|name| lock(name, 2, 1, 1)).collect();
    for some in records.chunks(PAGE_MAX) {
        store.put_locks(some).await.unwrap();
    }
    let all = all_locks(store).await;
    for record in &records {
        assert!(all.contains(record));
    }
    let (mut cursor, mut pages) = (Cursor::START, 0);
    loop {
        let page = store.locks_since(cursor).await.unwrap();
        assert!(page.records.len() <= PAGE_MAX && page.forged == 0);
        (cursor, pages) = (page.next, pages + 1);
        if !page.more {
            break;
        }
    }
    assert!(pages >= 3);
    assert!(store.locks_since(cursor).await.unwrap().records.is_empty());
    let news = [lock("page 3", 2, 2, 1), lock("page 1", 2, 2, 1), lock("page 3", 2, 3, 1)];
    store.put_locks(&news).await.unwrap();
    let page = store.locks_since(cursor).await.unwrap();
    assert_eq!(page.records, [news[1].clone(), news[2].clone()], "of several changes the last");
    // A cursor that is not of this store begins anew, never in the middle.
    let elsewhere = Scratch::new();
    let other = embedded(&elsewhere, 9);
    other.put_locks(&[lock("other", 9, 1, 1)]).await.unwrap();
    let foreign = other.locks_since(Cursor::START).await.unwrap().next;
    let page = store.locks_since(foreign).await.unwrap();
    assert_eq!(page.records.len(), PAGE_MAX);
}

async fn what_is_taken_away_is_gone(store: &dyn Store) {
    let (old, new) = (lock("over", 1, 1, 1), lock("over", 1, 2, 1));
    store.put_locks(slice::from_ref(&new)).await.unwrap();
    store.forget_locks(&[old.clone(), lock("never was", 1, 1, 1)]).await.unwrap();
    assert_eq!(known(store, new.key).await, Some(new.state.clone()), "it is another by now");
    let before = all_locks(store).await.len();
    store.forget_locks(slice::from_ref(&new)).await.unwrap();
    assert_eq!(known(store, new.key).await, None);
    assert_eq!(all_locks(store).await.len(), before - 1);
    store.put_locks(slice::from_ref(&old)).await.unwrap();
    assert_eq!(known(store, old.key).await, Some(old.state));
    let many = vec![new; PAGE_MAX + 1];
    assert_eq!(store.forget_locks(&many).await, Err(StoreFault::TooLarge));
}

async fn the_bell_rings(store: &dyn Store) {
    let mut bell = store.bell();
    let ring = tokio::time::timeout(Duration::from_secs(10), async {
        store.put_locks(&[lock("bell", 1, 1, 1)]).await.unwrap();
        bell.rung().await
    });
    assert_eq!(ring.await, Ok(true));
}

async fn what_is_too_large_is_refused_whole(store: &dyn Store) {
    let mut large = lock("large", 1, 1, 1);
    large.state.value = vec![0; LOCK_VALUE_MAX + 1];
    let batch = [lock("beside", 1, 1, 1), large.clone()];
    assert_eq!(store.put_locks(&batch).await, Err(StoreFault::TooLarge));
    assert_eq!(known(store, lock_key("beside", 1)).await, None);
    large.state.value.truncate(LOCK_VALUE_MAX);
    store.put_locks(slice::from_ref(&large)).await.unwrap();
    assert_eq!(known(store, large.key).await, Some(large.state));
    let many = vec![lock("many", 1, 1, 1); PAGE_MAX + 1];
    assert_eq!(store.put_locks(&many).await, Err(StoreFault::TooLarge));
    assert_eq!(store.push_alarm(&[0; ALARM_MAX + 1]).await, Err(StoreFault::TooLarge));
    let key = BlobKey { shelf: Shelf::Detector, id: id("large"), part: 0 };
    let state = Register { version: 1, rank: 1, value: vec![0; VALUE_MAX + 1] };
    assert_eq!(store.put_blob(&Blob { key, state }).await, Err(StoreFault::TooLarge));
}

fn ask(name: &str, interval: Duration, burst: u32, wanted: u32) -> Ask {
    let key = LeaseKey { of: Metered::Identity, id: id(name), window: 0 };
    Ask {
        key,
        rate: Rate::new(interval, burst).unwrap(),
        wanted,
        debt: 0,
        returned: 0,
        late: Duration::ZERO,
    }
}

async fn a_quota_is_never_overdrawn(store: &dyn Store) {
    let ten = ask("quota", Duration::from_secs(50), 10, 4);
    let mut granted = Vec::new();
    for _ in 0..4 {
        granted.push(store.lease(ten, now()).await.unwrap().granted);
    }
    assert_eq!(granted, [4, 4, 2, 0]);
    let empty = store.lease(ten, now()).await.unwrap();
    assert!(empty.wait > Duration::from_secs(40) && empty.wait <= Duration::from_secs(50));
    assert_eq!(empty.holder, Holder::All);
    let other = Ask { key: LeaseKey { window: 1, ..ten.key }, ..ten };
    assert_eq!(store.lease(other, now()).await.unwrap().granted, 4, "another window is another");
    // What is due comes back, to the unit.
    let quick = ask("refill", Duration::from_millis(100), 1, 9);
    assert_eq!(store.lease(quick, now()).await.unwrap().granted, 1);
    eventually("a unit comes back", || async {
        store.lease(quick, now()).await.unwrap().granted == 1
    })
    .await;
}

async fn debts_are_charged(store: &dyn Store) {
    let ten = ask("debt", Duration::from_secs(50), 10, 10);
    let indebted = Ask { debt: 7, ..ten };
    assert_eq!(store.lease(indebted, now()).await.unwrap().granted, 3);
    let beyond = Ask { debt: u32::MAX, ..ask("ruin", Duration::from_secs(50), 10, 10) };
    let lease = store.lease(beyond, now()).await.unwrap();
    assert_eq!(lease.granted, 0);
    assert!(lease.wait <= Duration::from_secs(50), "a debt empties the quota and no more");
    assert_eq!(store.lease(Ask { wanted: 0, ..ten }, now()).await.unwrap().granted, 0);
    let back = Ask { wanted: 0, returned: 2, ..ten };
    assert_eq!(store.lease(back, now()).await.unwrap().granted, 0);
    assert_eq!(store.lease(ten, now()).await.unwrap().granted, 2, "what was not needed");
}

async fn a_duty_has_an_owner(store: &dyn Store) {
    let slow = ask("slow", Duration::from_secs(61), 20, 1);
    assert_eq!(store.lease(slow, now()).await.unwrap().holder, Holder::All, "a quota has none");
    let slow = Ask { key: LeaseKey { of: Metered::Duty, ..slow.key }, ..slow };
    let lease = store.lease(slow, now()).await.unwrap();
    assert_eq!(lease.granted, 1);
    assert!(matches!(lease.holder, Holder::Me(left) if left > Duration::from_secs(29)));
}

async fn counters_add_up_and_are_forgotten(store: &dyn Store) {
    let key = CounterKey { what: Tallied::LoginFailed, id: id("counter"), part: 3 };
    let hour = Duration::from_secs(3_600);
    assert_eq!(store.count(key, 2, hour, now()).await, Ok(2));
    assert_eq!(store.count(key, 0, hour, now()).await, Ok(2));
    assert_eq!(store.count(key, u32::MAX, hour, now()).await, Ok(2 + u64::from(u32::MAX)));
    let other = CounterKey { part: 4, ..key };
    assert_eq!(store.count(other, 1, Duration::from_millis(50), now()).await, Ok(1));
    eventually("a counter is forgotten", || async {
        // Each look would keep it for as long as it says; a millisecond is over before the next.
        store.count(other, 0, Duration::from_millis(1), now()).await == Ok(0)
    })
    .await;
}

async fn blobs_are_versioned_and_in_order(store: &dyn Store) {
    let key = |part| BlobKey { shelf: Shelf::Baseline, id: id("blob"), part };
    let blob = |part, version, size| Blob {
        key: key(part),
        state: Register { version, rank: 1, value: vec![7; size] },
    };
    assert_eq!(store.blob(key(0)).await, Ok(None));
    assert_eq!(store.put_blob(&blob(0, 2, VALUE_MAX)).await, Ok(Put::Stored));
    assert_eq!(store.put_blob(&blob(0, 2, VALUE_MAX)).await, Ok(Put::Stale));
    assert_eq!(store.put_blob(&blob(0, 1, 9)).await, Ok(Put::Stale));
    assert_eq!(store.blob(key(0)).await, Ok(Some(blob(0, 2, VALUE_MAX).state)));
    let parts = [300_u32, 1, 256, 255, 2, 65_536];
    for part in parts.into_iter().chain(400..440) {
        assert_eq!(store.put_blob(&blob(part, 1, 5)).await, Ok(Put::Stored));
    }
    let aside = BlobKey { shelf: Shelf::Ledger, ..key(7) };
    store.put_blob(&Blob { key: aside, ..blob(7, 1, 5) }).await.unwrap();
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = store.scan_blobs(Shelf::Baseline, after).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.key);
        seen.extend(page.iter().map(|blob| blob.key.part));
    }
    let mut expected: Vec<u32> = parts.into_iter().chain(400..440).chain([0]).collect();
    expected.sort_unstable();
    assert_eq!(seen, expected);
    let other = store.scan_blobs(Shelf::Ledger, None).await.unwrap();
    assert_eq!(other.iter().map(|blob| blob.key).collect::<Vec<_>>(), [aside]);
    assert_eq!(store.scan_blobs(Shelf::Login, None).await, Ok(Vec::new()));
    for _ in 0..2 {
        store.forget_blob(aside).await.unwrap();
        assert_eq!(store.scan_blobs(Shelf::Ledger, None).await, Ok(Vec::new()));
    }
    assert_eq!(store.put_blob(&Blob { key: aside, ..blob(7, 1, 5) }).await, Ok(Put::Stored));
    assert_eq!(store.put_blobs(Arc::default()).await, Ok(Vec::new()));
    // Each by itself, and told of in the order in which they are given.
    let some = [blob(501, 2, 5), blob(0, 1, 9), blob(502, 1, VALUE_MAX + 1), blob(500, 2, 6)];
    let outcomes = [Ok(Put::Stored), Ok(Put::Stale), Err(StoreFault::TooLarge), Ok(Put::Stored)];
    assert_eq!(store.put_blobs(Arc::new(some)).await, Ok(outcomes.to_vec()));
    for (part, size) in [(500, Some(6)), (501, Some(5)), (502, None), (0, Some(VALUE_MAX))] {
        let state = store.blob(key(part)).await.unwrap();
        assert_eq!(state.map(|state| state.value.len()), size);
    }
}

async fn alarms_wait_in_order(store: &dyn Store) {
    assert_eq!(store.peek_alarms(0).await.unwrap().alarms, []);
    let mut sequences = Vec::new();
    for body in [&b"one"[..], b"two", b"three"] {
        sequences.push(store.push_alarm(body).await.unwrap());
    }
    assert!(sequences.is_sorted());
    let bodies = async || {
        let page = store.peek_alarms(0).await.unwrap();
        page.alarms.into_iter().map(|alarm| alarm.body).collect::<Vec<_>>()
    };
    assert_eq!(bodies().await, [&b"one"[..], b"two", b"three"]);
    // A reader that is ahead of the slowest one.
    let mut after = store.peek_alarms(sequences[0]).await.unwrap().alarms.into_iter();
    assert_eq!(after.next().map(|alarm| alarm.body), Some(b"two".to_vec()));
    assert_eq!(after.next().map(|alarm| alarm.sequence), Some(sequences[2]));
    assert_eq!(after.next(), None);
    assert_eq!(store.peek_alarms(sequences[2]).await.unwrap().alarms, []);
    store.ack_alarms(sequences[1]).await.unwrap();
    store.ack_alarms(sequences[0]).await.unwrap();
    assert_eq!(bodies().await, [b"three"]);
    store.ack_alarms(sequences[2]).await.unwrap();
    assert_eq!(bodies().await, [] as [Vec<u8>; 0]);
    // A target that is down for a week: the first alarms are kept, the rest is counted.
    let body = [9; 40];
    for _ in 0..ALARMS_MAX / 100 {
        let pushes: Vec<_> = (0..100).map(|_| store.push_alarm(&body)).collect();
        for push in together(pushes).await {
            push.unwrap();
        }
    }
    assert_eq!(store.push_alarm(&body).await, Err(StoreFault::Full));
    assert_eq!(store.push_alarm(&body).await, Err(StoreFault::Full));
    let page = store.peek_alarms(0).await.unwrap();
    assert_eq!(page.lost, 2);
    store.ack_alarms(u64::MAX >> 12).await.unwrap();
    assert_eq!(bodies().await, [] as [Vec<u8>; 0]);
    let after = store.push_alarm(&body).await.unwrap();
    assert!(after > ALARMS_MAX, "numbers are not used again");
}

/// Polls all of them at once.
async fn together<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut futures: Vec<_> = futures.into_iter().map(|f| (Box::pin(f), None)).collect();
    std::future::poll_fn(|cx| {
        let mut open = false;
        for (future, done) in &mut futures {
            if done.is_none() {
                match future.as_mut().poll(cx) {
                    std::task::Poll::Ready(output) => *done = Some(output),
                    std::task::Poll::Pending => open = true,
                }
            }
        }
        if open { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
    futures.into_iter().filter_map(|(_, done)| done).collect()
}
