//! Redis killed, stopped, cut off, emptied: known locks hold, quotas do not open, and it heals.
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use rustix::process::Signal;
use sekisho::store::{
    Allowance, Ask, Condition, Cursor, LeaseKey, LockRecord, Metered, Peers, RANK_RELEASED, Rate,
    Reach, RemoteSettings, Shared, Sight, Store, StoreFault, allowance,
};

use super::redis::{ClientCertificate, IMPATIENT, Keeps, Proxy, Server};
use super::{DEADLINE, Scratch, embedded, eventually, known, lock, now, sound, until};

/// A gateway with a file of its own.
struct Node {
    dir: Scratch,
    store: Shared,
}

impl Node {
    async fn start(server: &Server, gateway: u16) -> Self {
        Self::in_dir(server, server.port, gateway, Scratch::new()).await
    }

    async fn in_dir(server: &Server, port: u16, gateway: u16, dir: Scratch) -> Self {
        let mut settings = server.settings(gateway);
        settings.endpoint = server.endpoint(port);
        Self::with(settings, dir).await
    }

    async fn with(settings: RemoteSettings, dir: Scratch) -> Self {
        let file = embedded(&dir, settings.gateway.0);
        let store = Shared::start(file, settings).await.unwrap();
        Self { dir, store }
    }

    async fn knows(&self, lock: &LockRecord) -> bool {
        known(&self.store, lock.key).await.as_ref() == Some(&lock.state)
    }

    async fn learns(&self, lock: &LockRecord) {
        eventually("the lock is known", || self.knows(lock)).await;
    }
}

fn faulty(condition: Condition) -> bool {
    matches!(condition, Condition::Faulty(_))
}

fn a_quota() -> Ask {
    let key = LeaseKey { of: Metered::Identity, id: super::id("quota"), window: 0 };
    // So slow that nothing comes back while a test runs.
    let rate = Rate::new(Duration::from_secs(100), 100).unwrap();
    Ask { key, rate, wanted: 10, debt: 0, returned: 0, late: Duration::ZERO }
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_2_redis_killed_and_restarted_empty_releases_nothing() {
    let mut server = Server::start().await;
    let (one, two) = (Node::start(&server, 1).await, Node::start(&server, 2).await);
    sound(&one.store).await;
    sound(&two.store).await;
    let first = lock("first", 1, 1, 1);
    assert_eq!(one.store.put_locks(slice::from_ref(&first)).await, Ok(Reach::Everywhere));
    two.learns(&first).await;
    eventually("both are seen", || async { one.store.peers().await.unwrap().count == 2 }).await;
    assert!(one.store.lease(a_quota(), now()).await.unwrap().granted > 0);

    server.kill();
    until(&two.store, faulty).await;
    assert!(two.knows(&first).await, "a known lock holds");
    let alone = lock("alone", 2, 1, 1);
    assert_eq!(two.store.put_locks(slice::from_ref(&alone)).await, Ok(Reach::HereOnly));
    assert!(two.knows(&alone).await);
    assert!(one.store.lease(a_quota(), now()).await.is_err());
    let peers = one.store.peers().await.unwrap();
    assert_eq!(peers, Peers { count: 2, place: 0 }, "the last known ones");

    server.restart().await;
    sound(&one.store).await;
    sound(&two.store).await;
    one.learns(&alone).await;
    let late = Node::start(&server, 3).await;
    late.learns(&first).await;
    late.learns(&alone).await;
    // The new server knows of no quota that was spent, and so grants nothing yet.
    let lease = late.store.lease(a_quota(), now()).await.unwrap();
    assert_eq!(lease.granted, 0);
    assert!(lease.wait > Duration::ZERO && lease.wait <= Duration::from_secs(100));
}

/// The part of a quota that a gateway takes by itself now, in thousandths of its burst and of its rate.
async fn part_of(node: &Node) -> (u32, u64) {
    let whole = Rate::new(Duration::from_secs(10), 1_000).unwrap();
    let sight = Sight {
        of: a_quota().key.of,
        condition: *node.store.condition().borrow(),
        since: Duration::from_secs(1),
        peers: node.store.peers().await.unwrap(),
        owned: Duration::ZERO,
    };
    let Allowance::Part(part) = allowance(whole, &sight) else { panic!("{sight:?}") };
    (part.burst(), 10_000_000 / u64::try_from(part.interval().as_millis()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_2_a_redis_that_forgets_and_dies_again_enlarges_no_share() {
    let mut server = Server::start().await;
    let proxy = Proxy::start(server.port).await;
    let one = Node::start(&server, 1).await;
    let two = Node::in_dir(&server, proxy.port, 2, Scratch::new()).await;
    let three = Node::in_dir(&server, proxy.port, 3, Scratch::new()).await;
    for node in [&one, &two, &three] {
        let all = async || node.store.peers().await.unwrap().count == 3;
        eventually("all are seen", all).await;
    }
    // It comes back empty, one of them is heard before the others, and it is gone again.
    server.kill();
    proxy.part();
    until(&one.store, faulty).await;
    server.restart().await;
    sound(&one.store).await;
    server.kill();
    let (mut burst, mut rate) = (0, 0);
    for node in [&one, &two, &three] {
        until(&node.store, faulty).await;
        let part = part_of(node).await;
        (burst, rate) = (burst + part.0, rate + part.1);
    }
    assert!(burst <= 1_000 && rate <= 1_000, "{burst} and {rate} thousandths");
    // Whoever goes for good counts no more, once everybody had the time to be heard.
    server.restart().await;
    proxy.mend();
    sound(&one.store).await;
    sound(&two.store).await;
    three.store.close().await;
    let two_are_left = async || one.store.peers().await == Ok(Peers { count: 2, place: 0 });
    eventually("the one that went is not counted", two_are_left).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_2_flushall_releases_nothing() {
    let server = Server::start().await;
    let (one, two) = (Node::start(&server, 1).await, Node::start(&server, 2).await);
    sound(&one.store).await;
    sound(&two.store).await;
    let held = lock("held", 1, 7, 2);
    one.store.put_locks(slice::from_ref(&held)).await.unwrap();
    two.learns(&held).await;
    let mut admin = server.admin().await;
    for flush in 0..3 {
        let (): () = redis::cmd("FLUSHALL").query_async(&mut admin).await.unwrap();
        eventually("it is told again", || {
            let mut admin = admin.clone();
            async move {
                let locks: usize = redis::cmd("HLEN")
                    .arg("sekisho:{test}:locks")
                    .query_async(&mut admin)
                    .await
                    .unwrap();
                locks == 1
            }
        })
        .await;
        assert!(one.knows(&held).await && two.knows(&held).await);
        let fresh = Node::start(&server, 10 + flush).await;
        fresh.learns(&held).await;
        assert_eq!(fresh.store.lease(a_quota(), now()).await.unwrap().granted, 0);
    }
    // The locks are evicted, and nothing else: that, too, is noticed.
    let (): () =
        redis::cmd("DEL").arg("sekisho:{test}:locks").query_async(&mut admin).await.unwrap();
    let fresh = Node::start(&server, 20).await;
    fresh.learns(&held).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_2_a_paused_redis_is_told_and_heals() {
    let server = Server::start().await;
    let impatient = RemoteSettings { time_out: IMPATIENT, ..server.settings(1) };
    let one = Node::with(impatient, Scratch::new()).await;
    let two = Node::start(&server, 2).await;
    sound(&one.store).await;
    sound(&two.store).await;
    server.signal(Signal::STOP);
    let began = Instant::now();
    let condition = until(&one.store, faulty).await;
    assert_eq!(condition, Condition::Faulty(StoreFault::TimedOut));
    figure!("paused: told after {:?}", began.elapsed());
    let began = Instant::now();
    let slow = lock("slow", 1, 1, 1);
    assert_eq!(one.store.put_locks(slice::from_ref(&slow)).await, Ok(Reach::HereOnly));
    assert!(began.elapsed() < Duration::from_secs(5), "no verb waits for long");
    server.signal(Signal::CONT);
    sound(&one.store).await;
    two.learns(&slow).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_2_a_gateway_that_is_cut_off_keeps_its_locks_and_catches_up() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.port).await;
    let one = Node::start(&server, 1).await;
    let two = Node::in_dir(&server, proxy.port, 2, Scratch::new()).await;
    sound(&one.store).await;
    sound(&two.store).await;
    let before = lock("before", 1, 1, 1);
    one.store.put_locks(slice::from_ref(&before)).await.unwrap();
    two.learns(&before).await;
    eventually("both are seen", || async { two.store.peers().await.unwrap().count == 2 }).await;

    proxy.part();
    until(&two.store, faulty).await;
    let (there, here) = (lock("there", 1, 1, 1), lock("here", 2, 1, 1));
    let released = lock("before", 1, 2, RANK_RELEASED);
    one.store.put_locks(&[there.clone(), released.clone()]).await.unwrap();
    assert_eq!(two.store.put_locks(slice::from_ref(&here)).await, Ok(Reach::HereOnly));
    assert!(two.knows(&before).await, "the release has not come through: it holds");
    assert!(!two.knows(&there).await);
    let peers = two.store.peers().await.unwrap();
    let sight = Sight {
        of: a_quota().key.of,
        condition: *two.store.condition().borrow(),
        since: Duration::from_secs(1),
        peers,
        owned: Duration::ZERO,
    };
    let Allowance::Part(part) = allowance(a_quota().rate, &sight) else { panic!("{sight:?}") };
    assert_eq!((part.burst(), part.interval()), (50, Duration::from_secs(200)));
    // A restart of the gateway during the partition forgets nothing.
    let Node { dir, store } = two;
    store.close().await;
    let two = Node::in_dir(&server, proxy.port, 2, dir).await;
    assert!(two.knows(&before).await && two.knows(&here).await);

    proxy.mend();
    sound(&two.store).await;
    two.learns(&there).await;
    two.learns(&released).await;
    one.learns(&here).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_2_redis_that_goes_back_to_an_older_copy_is_told_again() {
    let mut server = Server::start_with(ClientCertificate::Optional, Keeps::Everything).await;
    let one = Node::start(&server, 1).await;
    sound(&one.store).await;
    let old = lock("old", 1, 1, 1);
    one.store.put_locks(slice::from_ref(&old)).await.unwrap();
    let copy = server.copy();
    let new = lock("old", 1, 2, 3);
    one.store.put_locks(&[new.clone(), lock("another", 1, 1, 1)]).await.unwrap();
    // Until all of it has been carried and nothing is left to be told: a few polls.
    let witness = server.remote(9);
    let mut bell = witness.bell();
    for _ in 0..6 {
        bell.rung().await;
    }
    // As a snapshot of yesterday, or a replica that was behind.
    server.kill();
    // Once it is back, a gateway may be quicker to find it than anybody to look.
    until(&one.store, faulty).await;
    server.go_back_to(&copy);
    server.restart().await;
    sound(&one.store).await;
    assert!(one.knows(&new).await, "what is known does not go back");
    let fresh = Node::start(&server, 2).await;
    fresh.learns(&new).await;
    fresh.learns(&lock("another", 1, 1, 1)).await;
}

/// Not a limit on time but a figure: how long a lock takes from one gateway to the other.
#[tokio::test(flavor = "multi_thread")]
async fn acc_2_locks_reach_the_other_gateway_within_a_second() {
    const LOCKS: usize = 200;
    let server = Server::start().await;
    let (one, two) = (Node::start(&server, 1).await, Node::start(&server, 2).await);
    sound(&one.store).await;
    sound(&two.store).await;
    let mut took = Vec::new();
    let mut bell = two.store.bell();
    let mut cursor = two.store.locks_since(Cursor::START).await.unwrap().next;
    for number in 0..LOCKS {
        let sent = lock(&format!("sent {number}"), 1, 1, 1);
        let began = Instant::now();
        one.store.put_locks(slice::from_ref(&sent)).await.unwrap();
        loop {
            let page = two.store.locks_since(cursor).await.unwrap();
            cursor = page.next;
            if page.records.contains(&sent) {
                break;
            }
            bell.rung().await;
        }
        took.push(began.elapsed());
    }
    took.sort_unstable();
    let (median, most, worst) = (took[LOCKS / 2], took[LOCKS * 9 / 10], took[LOCKS - 1]);
    figure!("a lock is known, and on disk, at the other gateway after {median:?}; worst {worst:?}");
    // A busy machine may be slow, but not all the time.
    assert!(most < Duration::from_secs(1) && worst < DEADLINE, "{most:?}, {worst:?}");
    let ask = Ask { wanted: 1, ..a_quota() };
    let mut took = Vec::new();
    for _ in 0..LOCKS {
        let began = Instant::now();
        one.store.lease(ask, now()).await.unwrap();
        took.push(began.elapsed());
    }
    took.sort_unstable();
    let began = Instant::now();
    let mut leases = tokio::task::JoinSet::new();
    let one = Arc::new(one);
    for _ in 0..64 {
        let one = Arc::clone(&one);
        leases.spawn(async move {
            for _ in 0..50 {
                one.store.lease(ask, now()).await.unwrap();
            }
        });
    }
    leases.join_all().await;
    figure!("64 at a time, one each {:?}", began.elapsed() / (64 * 50));
    figure!("a lease takes {:?}; worst {:?}", took[LOCKS / 2], took[LOCKS - 1]);
}

/// A change that nobody rang the bell for is found all the same.
#[tokio::test(flavor = "multi_thread")]
async fn acc_2_polling_finds_what_no_message_told() {
    let (server, elsewhere) = (Server::start().await, Server::start().await);
    let (reader, writer) = (server.remote(1), elsewhere.remote(2));
    sound(&reader).await;
    sound(&writer).await;
    let (mut admin, mut there) = (server.admin().await, elsewhere.admin().await);
    let (mut cursor, mut quickest) = (Cursor::START, Duration::MAX);
    // A busy machine may be slow, but not all the time.
    for nth in ["1", "2", "3"] {
        let quiet = lock(nth, 2, 1, 1);
        writer.put_locks(slice::from_ref(&quiet)).await.unwrap();
        let place = quiet.key.encode();
        let mut get = redis::cmd("HGET");
        get.arg("sekisho:{test}:locks").arg(&place);
        let record: Vec<u8> = get.query_async(&mut there).await.unwrap();
        let mut pipe = redis::pipe();
        pipe.atomic();
        pipe.cmd("HSET").arg("sekisho:{test}:locks").arg(&place).arg(record);
        pipe.cmd("ZADD").arg("sekisho:{test}:order").arg(nth).arg(&place);
        pipe.cmd("HSET").arg("sekisho:{test}:meta").arg(&["sequence", nth, "locks", nth]);
        let began = Instant::now();
        let (): () = pipe.query_async(&mut admin).await.unwrap();
        // Rings from now on only.
        let mut bell = reader.bell();
        let rung = tokio::time::timeout(DEADLINE, bell.rung()).await;
        assert_eq!(rung, Ok(true), "nobody looks without being told");
        let page = reader.locks_since(cursor).await.unwrap();
        assert_eq!(page.records, [quiet]);
        (cursor, quickest) = (page.next, quickest.min(began.elapsed()));
        if quickest < Duration::from_secs(1) {
            break;
        }
    }
    figure!("found by polling after {quickest:?}");
    assert!(quickest < Duration::from_secs(1), "{quickest:?}");
}
