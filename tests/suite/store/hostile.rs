//! Redis is an attacker's, or not Redis at all.
use std::slice;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sekisho::base::{Name, Secret};
use sekisho::store::{
    Ask, Condition, Cursor, Endpoint, LeaseKey, Metered, RANK_RELEASED, Rate, Remote, Shared,
    Store as _, StoreFault, TlsFiles,
};

use super::redis::{
    ClientCertificate, Impostor, Keeps, Pki, Says, Server, memory, secret, settings,
};
use super::{Scratch, embedded, eventually, known, lock, now, sound, until};

async fn fails_with(remote: &Remote, fault: StoreFault) {
    until(remote, |now| now == Condition::Faulty(fault)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_2_only_the_configured_authority_is_trusted() {
    let server = Server::start().await;
    let files = TlsFiles { authorities: vec![Pki::new().authority], client: None };
    let endpoint = Endpoint::new("127.0.0.1", server.port, files).unwrap();
    let remote = Remote::start(settings(endpoint, 1), memory(1));
    fails_with(&remote, StoreFault::Untrusted).await;
    // The right authority, another name.
    let files = TlsFiles { authorities: vec![server.pki.authority.clone()], client: None };
    let endpoint = Endpoint::new("localhost", server.port, files).unwrap();
    let remote = Remote::start(settings(endpoint, 1), memory(1));
    fails_with(&remote, StoreFault::Untrusted).await;
    let none = TlsFiles { authorities: Vec::new(), client: None };
    assert!(Endpoint::new("127.0.0.1", server.port, none).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_1_a_client_certificate_is_shown_where_it_is_asked_for() {
    let server = Server::start_with(ClientCertificate::Required, Keeps::Nothing).await;
    let remote = server.remote(1);
    fails_with(&remote, StoreFault::Untrusted).await;
    let files = TlsFiles {
        authorities: vec![server.pki.authority.clone()],
        client: Some(server.pki.client_key()),
    };
    let endpoint = Endpoint::new("127.0.0.1", server.port, files).unwrap();
    sound(&Remote::start(settings(endpoint, 1), memory(1))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn priv_5_another_environment_is_neither_let_in_nor_believed() {
    let server = Server::start().await;
    let one = server.remote(1);
    sound(&one).await;
    one.put_locks(&[lock("a", 1, 1, 1)]).await.unwrap();
    let mut wrong = server.settings(2);
    wrong.login.password = Secret::new("guess".to_owned());
    fails_with(&Remote::start(wrong, memory(2)), StoreFault::Denied).await;
    // The user's rights end at the environment's prefix.
    let mut other = server.settings(2);
    other.environment = Name::parse("production").unwrap();
    fails_with(&Remote::start(other, memory(2)), StoreFault::Denied).await;
    // With the prefix but another environment's keys: what it reads is not its own.
    let mut other = server.settings(2);
    other.secret = secret("production");
    let other = Remote::start(other, memory(2));
    sound(&other).await;
    let page = other.locks_since(Cursor::START).await.unwrap();
    assert_eq!((page.records.len(), page.forged), (0, 1));
    fails_with(&other, StoreFault::Forged).await;
}

/// Puts bytes in a lock's place, and rings.
pub(crate) async fn plant(
    admin: &mut redis::aio::MultiplexedConnection,
    place: &[u8],
    bytes: &[u8],
) {
    let sequence: u64 = redis::cmd("HINCRBY")
        .arg(&["sekisho:{test}:meta", "sequence", "1"])
        .query_async(admin)
        .await
        .unwrap();
    let mut pipe = redis::pipe();
    pipe.atomic();
    pipe.cmd("HSET").arg("sekisho:{test}:locks").arg(place).arg(bytes);
    pipe.cmd("ZADD").arg("sekisho:{test}:order").arg(sequence).arg(place);
    pipe.cmd("PUBLISH").arg("sekisho:{test}:bell").arg("");
    let (): () = pipe.query_async(admin).await.unwrap();
}

/// Whoever owns Redis can write what he likes over a lock; the lock holds.
#[tokio::test(flavor = "multi_thread")]
async fn acc_2_a_hostile_redis_releases_nothing() {
    let server = Server::start().await;
    let (dir, other_dir) = (Scratch::new(), Scratch::new());
    let one = Shared::start(embedded(&dir, 1), server.settings(1)).await.unwrap();
    let two = Shared::start(embedded(&other_dir, 2), server.settings(2)).await.unwrap();
    sound(&one).await;
    sound(&two).await;
    let held = lock("held", 1, 5, 3);
    one.put_locks(&[lock("held", 1, 4, 1)]).await.unwrap();
    let mut admin = server.admin().await;
    let place = held.key.encode();
    let genuine: Vec<u8> = redis::cmd("HGET")
        .arg("sekisho:{test}:locks")
        .arg(&place)
        .query_async(&mut admin)
        .await
        .unwrap();
    one.put_locks(slice::from_ref(&held)).await.unwrap();
    let holds = async |store: &Shared| known(store, held.key).await == Some(held.state.clone());
    eventually("the other knows", || holds(&two)).await;

    let release = sekisho::store::Register {
        version: u64::MAX,
        rank: RANK_RELEASED,
        value: b"released".to_vec(),
    };
    let mut forged = release.encode();
    forged.extend_from_slice(&[0; 16]);
    let mut moved = genuine.clone();
    moved[8] = 0xff;
    let lies =
        [forged, moved, genuine[..genuine.len() - 1].to_vec(), Vec::new(), vec![0xff; 4_000]];
    for (number, lie) in lies.into_iter().enumerate() {
        // The first of them to find it writes over it; the other one may not have looked by then.
        let before = (one.forged(), two.forged());
        plant(&mut admin, &place, &lie).await;
        eventually("the forgery is seen", || async { (one.forged(), two.forged()) != before })
            .await;
        let finder = if one.forged() > before.0 { &one } else { &two };
        until(finder, |now| now == Condition::Faulty(StoreFault::Forged)).await;
        assert!(holds(&one).await && holds(&two).await);
        // And the place is filled again with what is genuine.
        let fresh_dir = Scratch::new();
        let gateway = 10 + u16::try_from(number).unwrap();
        let fresh =
            Shared::start(embedded(&fresh_dir, gateway), server.settings(gateway)).await.unwrap();
        eventually("a new gateway learns it", || holds(&fresh)).await;
    }
    // An older record of the gateway's own, shown again.
    plant(&mut admin, &place, &genuine).await;
    let after = lock("after", 1, 1, 1);
    one.put_locks(slice::from_ref(&after)).await.unwrap();
    eventually("what came later is known", || async { known(&two, after.key).await.is_some() })
        .await;
    assert!(holds(&one).await && holds(&two).await);
}

/// Whoever writes finds it, with nobody reading before.
#[tokio::test(flavor = "multi_thread")]
async fn mon_7_a_forgery_that_is_written_over_is_counted() {
    let server = Server::start().await;
    let remote = server.remote(1);
    sound(&remote).await;
    let held = lock("held", 1, 4, 1);
    remote.put_locks(slice::from_ref(&held)).await.unwrap();
    let mut admin = server.admin().await;
    for nth in 1..=2 {
        plant(&mut admin, &held.key.encode(), &[0xff; 40]).await;
        remote.put_locks(slice::from_ref(&held)).await.unwrap();
        assert_eq!(remote.forged(), nth);
    }
    let page = remote.locks_since(Cursor::START).await.unwrap();
    assert_eq!((page.records, page.forged), (vec![held], 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_7_forged_alarms_and_blobs_are_dropped() {
    use sekisho::store::{Blob, BlobKey, Put, Register, Shelf};
    let server = Server::start().await;
    let remote = server.remote(1);
    sound(&remote).await;
    let mut admin = server.admin().await;
    remote.push_alarm(b"genuine").await.unwrap();
    let forged = [&b"0000000000000000"[..], b"forged", &[0; 16]].concat();
    for _ in 0..20 {
        let (): () = redis::cmd("LPUSH")
            .arg("sekisho:{test}:alarms")
            .arg(&forged)
            .query_async(&mut admin)
            .await
            .unwrap();
    }
    eventually("the genuine one comes through", || async {
        let page = remote.peek_alarms(0).await.unwrap();
        page.alarms.iter().any(|alarm| alarm.body == b"genuine")
    })
    .await;
    let key = BlobKey { shelf: Shelf::Baseline, id: super::id("b"), part: 0 };
    let state = Register { version: 1, rank: 1, value: b"mine".to_vec() };
    let junk = Register { version: u64::MAX, rank: 9, value: b"junk".to_vec() }.encode();
    let (): () = redis::cmd("HSET")
        .arg("sekisho:{test}:shelf:1")
        .arg(key.encode())
        .arg(junk)
        .query_async(&mut admin)
        .await
        .unwrap();
    assert_eq!(remote.blob(key).await, Err(StoreFault::Forged));
    assert_eq!(remote.put_blob(&Blob { key, state: state.clone() }).await, Ok(Put::Stored));
    assert_eq!(remote.blob(key).await, Ok(Some(state)));
}

fn a_lease() -> Ask {
    let key = LeaseKey { of: Metered::Identity, id: super::id("q"), window: 0 };
    Ask {
        key,
        rate: Rate::new(Duration::from_secs(1), 10).unwrap(),
        wanted: 3,
        debt: 0,
        returned: 0,
        late: Duration::ZERO,
    }
}

/// A server that greets as Redis does and then lies.
async fn liar(lie: Says) -> (Impostor, Remote) {
    let impostor = Impostor::lying(lie).await;
    let remote = impostor.remote();
    sound(&remote).await;
    (impostor, remote)
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_5_lies_are_not_believed() {
    for (lie, what) in [
        (&b"*4\r\n:1000000\r\n:0\r\n:0\r\n:0\r\n"[..], "more than was asked for"),
        (b"*4\r\n:-1\r\n:0\r\n:0\r\n:0\r\n", "a negative number"),
        (b"*4\r\n:1\r\n:0\r\n:7\r\n:0\r\n", "an unknown holder"),
        (b"*4\r\n:0\r\n:9223372036854775807\r\n:0\r\n:0\r\n", "a wait of 292,000 years"),
        (b"*4\r\n:0\r\n:30000001\r\n:0\r\n:0\r\n", "a wait longer than any quota takes"),
        (b"*4\r\n:0\r\n:0\r\n:2\r\n:30000001\r\n", "an owner for longer than there is one"),
        (b"*3\r\n:1\r\n:0\r\n:0\r\n", "too few"),
        (b"+OK\r\n", "another kind"),
        (b"$-1\r\n", "nothing"),
        (b":1\r\n", "a number alone"),
        (b"*1\r\n*1\r\n*1\r\n*0\r\n", "nested"),
        (b"%1\r\n+a\r\n+b\r\n", "a map"),
    ] {
        let (_impostor, remote) = liar(Says::Once(lie.to_vec())).await;
        assert_eq!(remote.lease(a_lease(), now()).await, Err(StoreFault::Nonsense), "{what}");
        let page = remote.locks_since(Cursor::START).await;
        assert_eq!(page.unwrap_err(), StoreFault::Nonsense, "{what}");
    }
    let (_impostor, remote) = liar(Says::Once(b"-ERR ".repeat(9_000))).await;
    assert!(remote.lease(a_lease(), now()).await.is_err());
    // No answer; or the answer to a later beat, which is none to this.
    let (_impostor, remote) = liar(Says::Nothing).await;
    let silent = remote.lease(a_lease(), now()).await;
    assert!(matches!(silent, Err(StoreFault::TimedOut | StoreFault::Nonsense)), "{silent:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_5_a_flood_is_cut_off() {
    let piece = |text: &[u8]| text.repeat(1 + 65_536 / text.len());
    for (what, begin, rest) in [
        ("one long string", b"$2000000000\r\n".to_vec(), vec![b'x'; 65_536]),
        ("an array without end", b"*2000000000\r\n".to_vec(), piece(b"_\r\n")),
        ("a map without end", b"%4611686018427387904\r\n".to_vec(), piece(b"+\r\n")),
        ("nesting without end", piece(b"*1\r\n"), piece(b"*1\r\n")),
        ("a line without end", b"+".to_vec(), vec![b'x'; 65_536]),
        (
            "messages without end",
            b">3\r\n+message\r\n+c\r\n+m\r\n".to_vec(),
            piece(b">3\r\n+message\r\n+c\r\n+m\r\n"),
        ),
        ("answers to nothing", b":1\r\n".to_vec(), piece(b":1\r\n")),
    ] {
        let (impostor, remote) = liar(Says::Forever(begin, rest)).await;
        let outcome = remote.lease(a_lease(), now()).await;
        assert!(outcome.is_err(), "{what}: {outcome:?}");
        eventually("the connection is given up", || async {
            impostor.floods_ended.load(Ordering::SeqCst) > 0
        })
        .await;
        let taken = impostor.taken.load(Ordering::SeqCst);
        figure!("{what}: {outcome:?} after {taken} bytes");
        assert!(taken < 16 << 20, "{what}: {taken} bytes were taken");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_5_what_is_no_redis_is_told() {
    for (says, fault) in [
        (Says::Nothing, StoreFault::TimedOut),
        (Says::Once(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()), StoreFault::Nonsense),
        (Says::Forever(b"$999999999\r\n".to_vec(), vec![b'x'; 65_536]), StoreFault::Nonsense),
    ] {
        let impostor = Impostor::start(says).await;
        fails_with(&impostor.remote(), fault).await;
    }
}
