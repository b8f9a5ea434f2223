//! The file: what was acknowledged survives kill -9, and nothing damaged is taken for a store.
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use sekisho::base::Clock;
use sekisho::store::{
    Ask, CounterKey, Embedded, FILE_NAME, Gateway, LeaseKey, Metered, OpenFault, Rate, Store as _,
    Tallied,
};

use super::{Scratch, all_locks, embedded, id, known, lock, lock_key, now};

const DIR: &str = "SEKISHO_TEST_KILLED_IN";
const ROUNDS: u64 = 25;

/// The process that is killed: this test again, with a directory. Writes locks without end and says
/// which are acknowledged. Does nothing when it is run as a test.
#[tokio::test(flavor = "multi_thread")]
async fn acc_2_writer_that_is_killed() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let store = Embedded::open(dir.as_ref(), Gateway(1), now()).unwrap();
    let store = std::sync::Arc::new(store);
    let begin = all_locks(&*store).await.len() as u64;
    let mut out = std::io::stdout().lock();
    for number in begin.. {
        // Several at a time, so that there are batches to be cut in two.
        let writes: Vec<_> = (0..8)
            .map(|part| {
                let store = std::sync::Arc::clone(&store);
                let record = lock(&format!("{number}.{part}"), 1, number + 1, 1);
                tokio::spawn(async move { store.put_locks(&[record]).await })
            })
            .collect();
        for (part, write) in writes.into_iter().enumerate() {
            write.await.unwrap().unwrap();
            writeln!(out, "ack {number}.{part} {}", number + 1).unwrap();
            out.flush().unwrap();
        }
    }
}

#[tokio::test]
async fn acc_2_no_acknowledged_lock_is_lost_to_kill_9() {
    let dir = Scratch::new();
    let mut acknowledged = Vec::new();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["store::file::acc_2_writer_that_is_killed", "--exact", "--nocapture"])
            .env(DIR, dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // After a number of acknowledgements that differs, and somewhere between two of them.
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(round);
        let (after, spin) = (1 + (random >> 60), (random >> 40) & 0xffff);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut heard = 0;
        while heard < after {
            let line = lines.next().expect("the writer goes on").unwrap();
            heard += u64::from(take(&line, &mut acknowledged));
        }
        for _ in 0..spin {
            std::hint::spin_loop();
        }
        child.kill().unwrap();
        // What it had said before it died counts.
        for line in lines.map_while(Result::ok) {
            take(&line, &mut acknowledged);
        }
        child.wait().unwrap();
        let store = embedded(&dir, 1);
        let all = all_locks(&store).await;
        for (name, version) in &acknowledged {
            let expected = lock(name, 1, *version, 1);
            assert!(all.contains(&expected), "round {round}: {name} was acknowledged");
        }
    }
    assert!(acknowledged.len() as u64 >= ROUNDS);
    figure!("{ROUNDS} kills, {} acknowledged locks, all there", acknowledged.len());
}

fn take(line: &str, acknowledged: &mut Vec<(String, u64)>) -> bool {
    let Some((_, ack)) = line.split_once("ack ") else { return false };
    let Some((name, version)) = ack.split_once(' ') else { return false };
    let Ok(version) = version.parse() else { return false };
    acknowledged.push((name.to_owned(), version));
    true
}

#[tokio::test]
async fn acc_2_everything_survives_a_restart() {
    let dir = Scratch::new();
    let (clock, hand) = Clock::manual(1_800_000_000_000);
    let open = || Embedded::open(dir.path(), Gateway(1), clock.now()).unwrap();
    let counter = CounterKey { what: Tallied::Records, id: id("a"), part: 1 };
    let key = LeaseKey { of: Metered::Identity, id: id("a"), window: 0 };
    let rate = Rate::new(Duration::from_secs(10), 5).unwrap();
    let ask = Ask { key, rate, wanted: 5, debt: 0, returned: 0, late: Duration::ZERO };
    let hour = Duration::from_secs(3_600);
    let store = open();
    let epoch = store.meta().await.unwrap().epoch;
    store.put_locks(&[lock("a", 1, 1, 1)]).await.unwrap();
    store.count(counter, 5, hour, clock.now()).await.unwrap();
    assert_eq!(store.lease(ask, clock.now()).await.unwrap().granted, 5);
    store.push_alarm(b"alarm").await.unwrap();
    drop(store);
    let store = open();
    assert_eq!(store.meta().await.unwrap().epoch, epoch);
    assert!(known(&store, lock_key("a", 1)).await.is_some());
    assert_eq!(store.count(counter, 0, hour, clock.now()).await, Ok(5));
    assert_eq!(store.lease(ask, clock.now()).await.unwrap().granted, 0, "spent stays spent");
    assert_eq!(store.peek_alarms(0).await.unwrap().alarms.len(), 1);
    // The wall clock jumps while the process runs: nothing refills, nothing is lost.
    hand.jump_wall_to(1_900_000_000_000);
    assert_eq!(store.lease(ask, clock.now()).await.unwrap().granted, 0);
    hand.jump_wall_to(1_700_000_000_000);
    assert_eq!(store.lease(ask, clock.now()).await.unwrap().granted, 0);
    hand.advance(Duration::from_secs(20));
    assert_eq!(store.lease(ask, clock.now()).await.unwrap().granted, 2);
    drop(store);
    // The wall clock is years back after a restart: the quota is empty, and not for years.
    hand.jump_wall_to(1_600_000_000_000);
    let store = open();
    let lease = store.lease(ask, clock.now()).await.unwrap();
    assert_eq!((lease.granted, lease.wait), (0, Duration::from_secs(10)));
}

#[tokio::test]
async fn acc_2_one_process_at_a_time() {
    let dir = Scratch::new();
    let store = embedded(&dir, 1);
    let second = Embedded::open(dir.path(), Gateway(1), now());
    assert_eq!(second.unwrap_err(), OpenFault::InUse);
    drop(store);
    embedded(&dir, 1);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(dir.path().join(FILE_NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

/// Any damage that reaches something the store needs is refused; the file stays as it is.
#[tokio::test]
async fn acc_2_a_damaged_file_is_refused_and_never_replaced() {
    let dir = Scratch::new();
    let store = embedded(&dir, 1);
    let records: Vec<_> = (0..200).map(|n| lock(&format!("lock {n}"), 1, 1, 1)).collect();
    store.put_locks(&records).await.unwrap();
    drop(store);
    let path = dir.path().join(FILE_NAME);
    let whole = std::fs::read(&path).unwrap();
    let open = || Embedded::open(dir.path(), Gateway(1), now());
    // Cut short, at many places and to nothing.
    for length in (0..whole.len()).step_by(whole.len() / 40 + 1).chain([1, 64, whole.len() - 1]) {
        std::fs::write(&path, &whole[..length]).unwrap();
        let fault = open().expect_err("a file that is cut short");
        assert!(matches!(fault, OpenFault::Corrupt | OpenFault::NotAStore), "{length}: {fault:?}");
        assert_eq!(std::fs::metadata(&path).unwrap().len(), length as u64, "left as it is");
    }
    // One byte another: either it was of no importance and every lock is there, or it is refused.
    let mut refused = 0;
    for at in (0..whole.len()).step_by(whole.len() / 400 + 1) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x20;
        std::fs::write(&path, &bytes).unwrap();
        match open() {
            Ok(store) => assert_eq!(all_locks(&store).await.len(), records.len(), "byte {at}"),
            Err(OpenFault::Corrupt | OpenFault::NotAStore) => refused += 1,
            Err(fault) => panic!("byte {at}: {fault:?}"),
        }
    }
    assert!(refused > 10, "{refused}");
    std::fs::write(&path, b"#!/bin/sh\necho this is no store, and longer than a header\n").unwrap();
    assert!(open().is_err());
    std::fs::write(&path, &whole).unwrap();
    assert_eq!(all_locks(&open().unwrap()).await.len(), records.len());
}
