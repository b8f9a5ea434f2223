//! What two processes tell each other while one of them finishes its requests.
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Signal, kill_process};
use sekisho::base::{Name, Secret};
use sekisho::lockout::{Author, Cause, GatewayId, Imposed, LockTable, Step, Subject, Until};
use sekisho::mock::{Alpn, BodyEnd, Scenario};
use sekisho::store::{
    Embedded, Gateway, KeyId, LockKey, LockRecord, PAGE_MAX, Register, Scope, SharedSecret,
    Store as _,
};

use super::super::{Place, Sekisho, put_whole};
use super::{Line, caller, limited, orders, pid_of, spend, text};
use crate::logs::eventually;
use crate::support::{get, now, until_some, within};

/// Locks as a gateway writes them down, on tokens that nobody has.
async fn lock_many(place: &Place, count: u64) {
    let (me, now) = (GatewayId(1), now());
    let lock = Imposed {
        step: Step::Kill,
        until: Until::Released,
        cause: Cause::Emergency,
        author: Author::Operator(Name::parse("operator").unwrap()),
        shown: None,
    };
    let ids = SharedSecret::derive(&Secret::new([7; 32]), &Name::parse("test").unwrap());
    let mut table = LockTable::new(now);
    let mut records = Vec::new();
    for token in 0..count {
        let subject = Subject::Token(token);
        table.impose(&subject, &lock, me, now).unwrap();
        let id = KeyId::of(&ids, "token", &token.to_be_bytes());
        for part in table.parts(&subject, me) {
            let key = LockKey { scope: Scope::Token, id, by: Gateway(1), slot: part.slot };
            let state = Register { version: part.version, rank: part.rank, value: part.bytes };
            records.push(LockRecord { key, state });
        }
    }
    let state = place.dir.join("state");
    std::fs::create_dir_all(&state).unwrap();
    std::fs::set_permissions(&state, std::fs::Permissions::from_mode(0o700)).unwrap();
    let file = Embedded::open(&state, Gateway(1), now).unwrap();
    for page in records.chunks(PAGE_MAX) {
        file.put_locks(page).await.unwrap();
    }
    file.flush().await.unwrap();
}

/// Where operators connect.
pub(super) async fn api_of(line: &Line) -> u16 {
    eventually("the API's address", || {
        let said = line.first.err.lock();
        let (_, after) = said.split_once("operators' API on https://127.0.0.1:")?;
        after.split_whitespace().next()?.parse().ok()
    })
    .await
}

/// An operator locks an identity.
pub(super) async fn lock(place: &Place, api: u16, who: &str) {
    let pki = place.dir.join("pki");
    let mut command = Command::new(env!("CARGO_BIN_EXE_sekisho"));
    command
        .args(["lock", "identity", who, "--case", "INC-2041"])
        .env("SEKISHO_API", format!("https://localhost:{api}"))
        .env("SEKISHO_API_CA", pki.join("ca.pem"))
        .env("SEKISHO_API_CERT", pki.join("operators/operator.pem"))
        .env("SEKISHO_API_KEY", pki.join("operators/operator.key"));
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

pub(super) const WATCHED: &str = r#"
[detect.canary]
mode = "enforce"
file = "canaries.txt"
[admin.api]
address = "127.0.0.1:0"
networks = ["loopback"]
tls = { certificate = "pki/server.pem", key = "pki/server.key", client_ca = "pki/ca.pem" }
[operator.operator]
certificate = { san_uri = "spiffe://sekisho.test/operators/operator" }
role = "operator"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn acc_2_what_one_process_locks_the_other_one_refuses() {
    let place = Place::new().await;
    std::fs::write(place.dir.join("canaries.txt"), "902-1111111-2222222\n").unwrap();
    place.write(|text| {
        let text = text.replace("shutdown_grace = \"2 s\"", "shutdown_grace = \"60 s\"");
        text.replace("#more\n", WATCHED)
    });
    // As many as in a long siege: to be locked already is no news to either of them.
    lock_many(&place, 5_000).await;
    let mut line = Line::start(&place).await;
    let (to, first) = (line.address().await, line.pid);
    let api = api_of(&line).await;
    let printer = caller(&place, Alpn::H1).connect(to).await.unwrap();
    assert_eq!(printer.call(orders()).await.unwrap().status, 200);
    // Each of them has one more answer to come from the process that goes.
    let mut open = Vec::new();
    for _ in 0..20 {
        open.push(limited(&place, to).await);
    }
    line.upgrade(&place, &[]).await;

    // A planted record is asked for on the way out: the new process knows within a moment.
    let planted = "/orders/v0/orders/902-1111111-2222222/address";
    assert_eq!(printer.call(get(planted)).await.unwrap().status, 401);
    let fresh = caller(&place, Alpn::H1);
    until_some("the lock is in force there", async || {
        (fresh.call(to, orders()).await.unwrap().status == 401).then_some(())
    })
    .await;

    // An operator locks somebody by the new process, whose connections are the old one's.
    lock(&place, api, "limited-caller").await;
    let refused = until_some("the lock is in force here", async || {
        let reply = spend(&place, &open.pop().expect("within seconds")).await;
        assert_eq!(reply.header("connection"), Some("close"), "it is the old one's");
        if reply.status != 401 {
            tokio::time::sleep(Duration::from_millis(400)).await;
            return None;
        }
        Some(reply)
    })
    .await;
    assert_eq!(crate::support::error_of(&refused).0, "Sekisho.TokenNotAccepted");
    drop((open, printer));
    line.ended(first).await;
    line.stop().await;

    // Both are written down.
    let again = Sekisho::run(&place);
    let address = again.address().await;
    assert_eq!(fresh.call(address, orders()).await.unwrap().status, 401);
    let limited = limited(&place, address).await;
    assert_eq!(spend(&place, &limited).await.status, 401);
    drop(limited);
    again.told_to_end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_3_whoever_may_enter_no_more_is_cut_in_the_process_that_goes_as_well() {
    let place = Place::new().await;
    place.write(|text| text.replace("shutdown_grace = \"2 s\"", "shutdown_grace = \"20 s\""));
    let mut line = Line::start(&place).await;
    let (to, first) = (line.address().await, line.pid);
    let printer = caller(&place, Alpn::H1);
    let idle = printer.connect(to).await.unwrap();
    assert_eq!(idle.call(orders()).await.unwrap().status, 200);
    let other = limited(&place, to).await;
    place.amazon.script(&[Scenario::SlowBody { bytes: 1, tick_ms: 100 }]);
    let slow = tokio::spawn(async move { printer.call(to, orders()).await });
    eventually("the stream begins", || (place.amazon.total() == 2).then_some(())).await;
    line.upgrade(&place, &[]).await;
    assert!(!slow.is_finished());

    let enters = "[identity.label-printer]\n";
    let text = std::fs::read_to_string(place.config()).unwrap();
    assert!(text.contains(enters));
    place.put(&text.replace(enters, &format!("{enters}disabled = \"taken out\"\n")));
    kill_process(pid_of(line.pid), Signal::HUP).unwrap();
    line.first.says("is in force", 1).await;
    // It reads the configuration as well, and is done with it long before the grace is over.
    let cut = within(Duration::from_secs(10), "it is cut", slow).await;
    assert!(cut.unwrap().is_ok_and(|reply| reply.end != BodyEnd::Complete));
    assert!(idle.call(orders()).await.is_err(), "it has no answer to come any more");
    // Others have theirs, and what they spend is told as before.
    let reply = spend(&place, &other).await;
    assert_eq!((reply.status.as_u16(), reply.header("connection")), (200, Some("close")));
    line.ended(first).await;
    for left in [200, 200, 429] {
        let open = limited(&place, to).await;
        assert_eq!(spend(&place, &open).await.status, left);
    }
    line.stop().await;
    let cut = super::super::lines(&place.log());
    let cut: Vec<_> = cut.iter().filter(|line| line["event.action"] == "connections-cut").collect();
    assert_eq!(cut.len(), 1, "{cut:?}");
}

/// Where files wait to be asked for, or can't be used, the permit alone is taken up: in both processes,
/// and the files in neither.
#[tokio::test(flavor = "multi_thread")]
async fn tls_3_the_process_that_goes_takes_up_the_permit_and_no_file_that_nobody_asked_for() {
    let place = Place::new().await;
    place.write(|text| {
        let text = text.replace("shutdown_grace = \"2 s\"", "shutdown_grace = \"30 s\"");
        text.replace("#more\n", "[reload]\napply = \"on-request\"\n#more\n")
    });
    let mut line = Line::start(&place).await;
    let (to, first) = (line.address().await, line.pid);
    let printer = caller(&place, Alpn::H1);
    place.amazon.script(&[Scenario::SlowBody { bytes: 1, tick_ms: 100 }]);
    let slow = tokio::spawn(async move { printer.call(to, orders()).await });
    eventually("the stream begins", || (place.amazon.total() == 1).then_some(())).await;
    line.upgrade(&place, &[]).await;
    let text = std::fs::read_to_string(place.config()).unwrap();
    let enters = "[identity.label-printer]\n";
    let leaves = text.replace(enters, &format!("{enters}disabled = \"taken out\"\n"));
    let accepted = |serial: &str| {
        let lines = super::super::lines(&place.log());
        let of = |line: &&serde_json::Value| {
            line["event.action"] == "permit-accepted" && line["sekisho.permit"] == serial
        };
        lines.iter().filter(of).count()
    };
    for (round, written) in (1..).zip(["no toml at all", &leaves]) {
        let serial = format!("renewed-{round}");
        place.put(written);
        let names = ["localhost", "gateway.test"].map(str::to_owned);
        let listeners = ["apps", "second", "admin.api"];
        let mut claims = place.pki.host.claims("test", &listeners, &names, now()).unwrap();
        claims.serial = Name::parse(&serial).unwrap();
        let permit = place.pki.host.issuer.sign(&claims);
        put_whole(&place.dir.join("pki/permit/host.permit"), &permit);
        line.first.says("the permit is taken up", round).await;
        eventually("both have taken it up", || (accepted(&serial) == 2).then_some(())).await;
        assert!(!slow.is_finished(), "{}", line.first.err.lock());
    }
    // Somebody asks for it.
    kill_process(pid_of(line.pid), Signal::HUP).unwrap();
    let cut = slow.await.unwrap();
    assert!(cut.is_ok_and(|reply| reply.end != BodyEnd::Complete));
    line.ended(first).await;
    line.stop().await;
}
