//! What a process remembers of the one before it, also when that one was killed.
use std::net::SocketAddr;

use rustix::process::Signal;
use sekisho::base::{Name, Secret};
use sekisho::devcerts::TokenClaims;
use sekisho::exposure::{Hour, Ledger, Range};
use sekisho::mock::{Caller, CallerConfig, Reply, Scenario};
use sekisho::store::{
    Cursor, Embedded, Gateway, KeyId, LockKey, LockRecord, Register, Scope, SharedSecret, Shelf,
    Store as _,
};

use super::{Place, Sekisho};
use crate::logs::{SOON, eventually};
use crate::support::{AUDIENCE, ISSUER, ORDERS, bearing, get, now};

impl Sekisho {
    pub(super) async fn admin(&self) -> SocketAddr {
        eventually("the address of the metrics", || {
            let said = self.err.lock();
            let (_, after) = said.split_once("health on http://")?;
            after.split_whitespace().next()?.parse().ok()
        })
        .await
    }

    /// Returns when everything up to now is written down.
    pub(super) async fn has_written(&self) {
        let admin = self.admin().await;
        let asked_at = now().unix_secs();
        eventually("memory is on disk", || {
            let text = metrics(admin)?;
            let line =
                text.lines().find(|l| l.starts_with("sekisho_state_written_timestamp_seconds"))?;
            let written: u64 = line.rsplit(' ').next()?.parse().ok()?;
            (written > asked_at + 1).then_some(())
        })
        .await;
    }
}

fn metrics(admin: SocketAddr) -> Option<String> {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(admin).ok()?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text)
}

impl Place {
    pub(super) async fn limited(&self, gateway: &Sekisho) -> Reply {
        let claims = TokenClaims::new(ISSUER, "limited-caller", AUDIENCE);
        let token = self.pki.signer.sign(&claims, now()).unwrap();
        let call = bearing(get(ORDERS), &token);
        let config = CallerConfig::trusting(self.pki.ca.certificate());
        Caller::new(config).unwrap().call(gateway.address().await, call).await.unwrap()
    }

    /// What is written down of what was revealed.
    pub(super) async fn ledger(&self) -> Ledger {
        let file = Embedded::open(&self.dir.join("state"), Gateway(1), now()).unwrap();
        let mut ledger = Ledger::new(1 << 20);
        let mut after = None;
        loop {
            let page = file.scan_blobs(Shelf::Ledger, after).await.unwrap();
            let Some(last) = page.last() else { return ledger };
            after = Some(last.key);
            for blob in page {
                ledger.take_page(&blob.state.value).unwrap();
            }
        }
    }
}

pub(super) fn records(ledger: &Ledger) -> u64 {
    let printer = Name::parse("label-printer").unwrap();
    let range =
        Range { identity: Some(&printer), operation: None, from: Hour(0), until: Hour(u32::MAX) };
    ledger.sum(range).records
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_2_a_killed_process_forgets_no_quota_and_nothing_it_revealed() {
    let place = Place::new().await;
    let first = Sekisho::run(&place);
    for _ in 0..3 {
        assert_eq!(place.limited(&first).await.status, 200);
    }
    assert_eq!(place.orders(&first).await.status, 200);
    first.has_written().await;
    first.signal(Signal::KILL);
    first.ended().await;
    let revealed = records(&place.ledger().await);
    assert!(revealed > 0, "orders were shown to the printer");

    let second = Sekisho::run(&place);
    let reply = place.limited(&second).await;
    assert_eq!(reply.status, 429, "three an hour were spent before: {}", reply.text());
    assert_eq!(place.orders(&second).await.status, 200);
    // In order nothing is lost, however short the time.
    second.told_to_end().await;
    assert_eq!(records(&place.ledger().await), 2 * revealed);
}

/// Seven objects before a crash and seven after it are fourteen.
#[tokio::test(flavor = "multi_thread")]
async fn mon_3_a_killed_process_counts_on_where_it_was() {
    let place = Place::new().await;
    place.amazon.set(Scenario::Echo);
    let few = "[detect.enumeration]\nmode = \"enforce\"\ncold_hour = 10\ncold_day = 10\n";
    place.write(|text| text.replace("#more\n", few));
    let ask = async |gateway: &Sekisho, nth: u32| {
        let call = get(&format!("/orders/v0/orders/902-4395497-01{nth:05}/address"));
        place.caller().call(gateway.address().await, call).await.unwrap().status.as_u16()
    };
    let first = Sekisho::run(&place);
    for nth in 0..7 {
        assert_eq!(ask(&first, nth).await, 200);
    }
    first.has_written().await;
    first.signal(Signal::KILL);
    first.ended().await;

    let second = Sekisho::run(&place);
    for nth in 7..14 {
        ask(&second, nth).await;
    }
    // The same one again and again is none more.
    let locked = async { while ask(&second, 13).await != 401 {} };
    let counted = tokio::time::timeout(SOON, locked).await;
    assert!(counted.is_ok(), "what was asked for before the crash counts");
    second.told_to_end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_2_two_processes_never_share_a_state_directory() {
    let place = Place::new().await;
    let first = Sekisho::run(&place);
    first.address().await;
    let second = Sekisho::run(&place).ended().await;
    assert_eq!(second.status.code(), Some(1), "{}", second.err);
    for word in ["store.redb", "another process", "give each one its own"] {
        assert!(second.err.contains(word), "{}", second.err);
    }
    assert_eq!(place.orders(&first).await.status, 200);
    first.told_to_end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_2_a_damaged_store_is_refused_and_left_as_it_is() {
    let place = Place::new().await;
    let first = Sekisho::run(&place);
    first.address().await;
    first.told_to_end().await;
    let file = place.dir.join("state/store.redb");
    let whole = std::fs::read(&file).unwrap();
    let cut = whole[..whole.len() / 2].to_vec();
    for damaged in [cut, Vec::new(), vec![7; 4_096]] {
        std::fs::write(&file, &damaged).unwrap();
        let ended = Sekisho::run(&place).ended().await;
        assert_eq!(ended.status.code(), Some(1), "{}", ended.err);
        assert!(ended.err.contains("store.redb: "), "{}", ended.err);
        assert!(
            ended.err.contains("does not start without knowing what is locked"),
            "{}",
            ended.err
        );
        assert_eq!(std::fs::read(&file).unwrap(), damaged, "nothing was replaced");
    }
    std::fs::write(&file, &whole).unwrap();
    let again = Sekisho::run(&place);
    again.address().await;
    again.told_to_end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_2_a_lock_that_can_t_be_read_stops_the_start() {
    let place = Place::new().await;
    let first = Sekisho::run(&place);
    assert_eq!(place.orders(&first).await.status, 200);
    first.told_to_end().await;
    let secret = SharedSecret::derive(&Secret::new([7; 32]), &Name::parse("test").unwrap());
    let id = KeyId::of(&secret, "lock identity", b"label-printer");
    let key = LockKey { scope: Scope::Identity, id, by: Gateway(9), slot: 3 };
    let state = Register { version: 1, rank: 4, value: b"of a newer version".to_vec() };
    let file = Embedded::open(&place.dir.join("state"), Gateway(1), now()).unwrap();
    file.put_locks(&[LockRecord { key, state }]).await.unwrap();
    drop(file);
    // Whoever it locks would enter; so nobody does, however often it is tried.
    for _ in 0..2 {
        let ended = Sekisho::run(&place).ended().await;
        assert_eq!(ended.status.code(), Some(1), "{}", ended.err);
        assert!(
            ended.err.contains("the locks of the state directory can't be read"),
            "{}",
            ended.err
        );
    }
    let file = Embedded::open(&place.dir.join("state"), Gateway(1), now()).unwrap();
    let page = file.locks_since(Cursor::START).await.unwrap();
    assert_eq!(page.records.iter().filter(|record| record.key == key).count(), 1, "it is kept");
}

/// Two identities before a crash and two after it are four: in one window, whatever the process.
#[tokio::test(flavor = "multi_thread")]
async fn mon_6_a_killed_process_counts_a_spray_on_where_it_was() {
    let place = Place::new().await;
    let few = "[detect.logins]\nmode = \"enforce\"\nspray_act = 4\n";
    place.write(|text| text.replace("#more\n", few));
    let signed = |subject: &str| {
        let claims = TokenClaims::new(ISSUER, subject, AUDIENCE);
        place.pki.signer.sign(&claims, now()).unwrap()
    };
    let caller = Caller::new(CallerConfig::trusting(place.pki.ca.certificate())).unwrap();
    let guess = async |gateway: &Sekisho, subject: &str| {
        let (genuine, other) = (signed(subject), signed("somebody-else"));
        let (text, signature) =
            (genuine.rsplit_once('.').unwrap().0, other.rsplit_once('.').unwrap().1);
        let call = bearing(get(ORDERS), &format!("{text}.{signature}"));
        caller.call(gateway.address().await, call).await.unwrap().status.as_u16()
    };
    let locked = || place.actions().iter().filter(|action| action.as_str() == "locked").count();
    let first = Sekisho::run(&place);
    for subject in ["analyst", "limited-caller"] {
        assert_eq!(guess(&first, subject).await, 401);
    }
    first.has_written().await;
    first.signal(Signal::KILL);
    first.ended().await;

    let second = Sekisho::run(&place);
    assert_eq!(guess(&second, "office-clerk").await, 401);
    assert_eq!(locked(), 0, "three are too few");
    assert_eq!(guess(&second, "leaver").await, 401);
    eventually("the source is locked", || (locked() == 1).then_some(())).await;
    second.told_to_end().await;
}
