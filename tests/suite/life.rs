//! What open connections stand on is taken away, and they end with it: within a second, in the middle
//! of an answer, and on record (ACC-3). Real connections, real authorities.
mod granted;
mod kept;
mod keys;
mod lists;
mod open;
mod staple;
mod waiting;

use std::time::Duration;

use sekisho::base::Name;
use sekisho::config;
use sekisho::engine::{LockOrder, Target, TokenId};
use sekisho::lockout::Step;
use sekisho::mock::{Alpn, BodyEnd, Caller, Reply, Scenario, Session};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::streams::read_head;
use crate::support::{
    ORDERS, Plan, World, bearing, error_of, get, now, put, until, until_some, within,
};

const LEFT: &str = "disabled = \"left the company\"";
const PRINTER: &str = "certificate = { san_uri = \"spiffe://sekisho.test/label-printer\" }";
const ANALYST: &str = "token = { issuer = \"corp\", subject = \"analyst\" }";
const BOTH: [Alpn; 2] = [Alpn::H1, Alpn::H2];
const DAY: u64 = 86_400;
/// The longest that anything lasts which stands on what was taken away.
const SECOND: Duration = Duration::from_secs(1);

fn printer(world: &World, alpn: Alpn) -> Caller {
    world.caller(|config| {
        config.alpn = alpn;
        config.identity = world.pki.client("label-printer").cloned();
    })
}

/// A connection that has served one request and waits for the next.
async fn idle(world: &World, caller: &Caller, token: Option<&str>) -> Session {
    let open = caller.connect(world.address()).await.unwrap();
    let call = token.map_or_else(|| get(ORDERS), |token| bearing(get(ORDERS), token));
    assert_eq!(open.call(call).await.unwrap().status, 200);
    open
}

fn open_connections(world: &World) -> u32 {
    world.gateway.engine.open_connections()
}

/// Waits until so many are left, which must take less than a second.
async fn cut_to(world: &World, left: u32) {
    within(SECOND, "they are cut", until("they are cut", || open_connections(world) == left)).await;
}

/// The line of what was cut off, which is none of the first so many: those of calls before may still be
/// on their way.
async fn line_after(world: &World, lines: usize) -> Value {
    let is_it = |line: &Value| line["event.outcome"] != "allowed";
    until_some("its line", async || world.requests().into_iter().skip(lines).find(is_it)).await
}

/// An answer that dribbles until its connection is cut; its line in the log.
async fn broken_off(
    world: &World,
    caller: &Caller,
    token: Option<&str>,
    take_away: impl AsyncFnOnce(),
) -> Value {
    world.amazon.set(Scenario::SlowBody { bytes: 64, tick_ms: 50 });
    let open = caller.connect(world.address()).await.unwrap();
    let call = token.map_or_else(|| get(ORDERS), |token| bearing(get(ORDERS), token));
    let (asked, lines) = (world.amazon.total(), world.requests().len());
    let slow = tokio::spawn({
        let open = open.clone();
        async move { open.call(call).await }
    });
    until("the upstream is asked", || world.amazon.total() > asked).await;
    tokio::time::sleep(Duration::from_millis(150)).await;
    take_away().await;
    let ended = within(SECOND, "it breaks off", slow).await.unwrap();
    if let Ok(Reply { end, .. }) = ended {
        assert_eq!(end, BodyEnd::Broken);
    }
    world.amazon.set(Scenario::Echo);
    line_after(world, lines).await
}

#[track_caller]
fn assert_revoked(line: &Value, detail: &str) {
    assert_eq!(
        (&line["event.outcome"], &line["sekisho.denial"], &line["sekisho.detail"]),
        (&"denied".into(), &"AccessRevoked".into(), &detail.into()),
        "{line}"
    );
    assert_eq!(line["sekisho.control"], "ACC-3");
}

/// The events of one look are written when it is over, a moment after the connections are gone.
#[track_caller]
fn assert_told(world: &World, cause: &str, identity: Option<&str>, count: u64) {
    let of =
        |event: &&Value| event["sekisho.cause"] == cause && event["user.name"].as_str() == identity;
    let told = || -> u64 {
        let events = world.events("connections-cut");
        events.iter().filter(of).map(|event| event["sekisho.count"].as_u64().unwrap()).sum()
    };
    for _ in 0..2_000 {
        if told() >= count {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(told(), count, "{:?}", world.events("connections-cut"));
    let series = format!("sekisho_connections_cut_total{{cause=\"{cause}\"}}");
    assert!(world.metric(&series) >= count as f64);
}

async fn disable(world: &World, credential: &str) {
    let gone = format!("{credential}\n{LEFT}");
    assert!(world.reload(|text| text.replacen(credential, &gone, 1)).await);
}

async fn enable(world: &World, credential: &str) {
    let gone = format!("{credential}\n{LEFT}");
    assert!(world.reload(|text| text.replacen(&gone, credential, 1)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_3_a_leavers_idle_connections_are_cut_and_nobody_elses() {
    let world = World::start().await;
    world.amazon.set(Scenario::Echo);
    let token = world.token("analyst");
    let (mut stays, mut cut) = (Vec::new(), Vec::new());
    for alpn in BOTH {
        idle(&world, &printer(&world, alpn), None).await;
        let leaver = printer(&world, alpn);
        cut.push(idle(&world, &leaver, None).await);
        let other = world.caller(|config| config.alpn = alpn);
        stays.push(idle(&world, &other, Some(&token)).await);
    }
    until("those that were closed are gone", || open_connections(&world) == 4).await;
    disable(&world, PRINTER).await;
    cut_to(&world, 2).await;
    for open in &stays {
        assert_eq!(open.call(bearing(get(ORDERS), &token)).await.unwrap().status, 200);
    }
    for open in &cut {
        assert!(open.call(get(ORDERS)).await.is_err());
    }
    assert_told(&world, "identity", Some("label-printer"), 2);
    // Removed altogether, it is the same.
    enable(&world, PRINTER).await;
    let open = idle(&world, &printer(&world, Alpn::H2), None).await;
    let text = std::fs::read_to_string(world.dir.join("sekisho.toml")).unwrap();
    let from = text.find("[identity.label-printer]").unwrap();
    let to = text[from + 1..].find("[identity.").unwrap() + from + 1;
    assert!(world.reload(|text| format!("{}{}", &text[..from], &text[to..])).await);
    cut_to(&world, 2).await;
    assert!(open.call(get(ORDERS)).await.is_err());
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_3_a_leavers_answer_breaks_off_and_is_on_record() {
    let world = World::start().await;
    let token = world.token("analyst");
    for alpn in BOTH {
        let leaver = printer(&world, alpn);
        let line = broken_off(&world, &leaver, None, async || disable(&world, PRINTER).await).await;
        assert_revoked(&line, "Identity");
        assert_eq!(
            (&line["user.name"], &line["sekisho.role"]),
            (&"label-printer".into(), &"shipping".into())
        );
        enable(&world, PRINTER).await;
        // Whoever is known by a token alone likewise.
        let leaver = world.caller(|config| config.alpn = alpn);
        let line =
            broken_off(&world, &leaver, Some(&token), async || disable(&world, ANALYST).await)
                .await;
        assert_revoked(&line, "Identity");
        enable(&world, ANALYST).await;
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_3_a_leavers_socket_is_cut() {
    let world = World::start().await;
    let mut stream = printer(&world, Alpn::H1).stream(world.address()).await.unwrap();
    let head = "GET /ws HTTP/1.1\r\nhost: localhost\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
                sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = read_head(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    disable(&world, PRINTER).await;
    let _ = within(SECOND, "it is cut", stream.read_to_end(&mut Vec::new())).await;
    until("its line", || !world.requests().is_empty()).await;
    let line = world.requests().pop().unwrap();
    assert_revoked(&line, "Identity");
    assert_eq!(line["http.response.status_code"], 101);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_3_a_leaver_in_the_queue_for_amazon_waits_no_longer() {
    let unpaced =
        "pacing = { plans = [{ operations = [\"*\"], rate = \"10000/s\", burst = 10000 }] }";
    let slow = "pacing = { wait = \"0 s\", max_wait = \"10 min\", plans = [{ operations = [\"*\"], rate = \"1/min\", burst = 1 }] }";
    let plan = Plan::default().replace(unpaced, slow).replace("stage = \"sandbox\"\n", "");
    let world = World::with(plan).await;
    world.amazon.set(Scenario::Echo);
    let first = idle(&world, &printer(&world, Alpn::H1), None).await;
    for (alpn, waits) in [(Alpn::H1, 1.0), (Alpn::H2, 1.0)] {
        let open = printer(&world, alpn).connect(world.address()).await.unwrap();
        let lines = world.requests().len();
        let waiting = tokio::spawn({
            let mut call = get(ORDERS);
            put(&mut call, "sekisho-max-wait", "300");
            let open = open.clone();
            async move { open.call(call).await }
        });
        until("it waits", || world.metric("sekisho_pacing_waiting") >= waits).await;
        disable(&world, PRINTER).await;
        let ended = within(SECOND, "it waits no longer", waiting).await;
        assert!(ended.unwrap().is_err(), "it got an answer");
        let line = line_after(&world, lines).await;
        assert_revoked(&line, "Identity");
        assert!(line["http.response.status_code"].is_null(), "{line}");
        until("its place is free", || world.metric("sekisho_pacing_waiting") == 0.0).await;
        enable(&world, PRINTER).await;
    }
    drop(first);
    assert_eq!(world.amazon.total(), 1);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_3_an_identity_ends_with_its_last_day() {
    let world = World::with(Plan::default().by_hand()).await;
    world.amazon.set(Scenario::Echo);
    let day = now().unix_secs() / DAY;
    let today = date(day);
    let last = format!("{ANALYST}\nexpires = {today}");
    assert!(world.reload(|text| text.replacen(ANALYST, &last, 1)).await);
    let token = world.token_with("analyst", |claims| claims.exp_in = 172_800);
    let mut open = Vec::new();
    for alpn in BOTH {
        let caller = world.caller(|config| config.alpn = alpn);
        open.push(idle(&world, &caller, Some(&token)).await);
    }
    let left = (day + 1) * DAY - world.gateway.engine.clock.now().unix_secs();
    world.advance(Duration::from_secs(left));
    cut_to(&world, 0).await;
    assert_told(&world, "identity", Some("analyst"), 2);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_3_what_is_taken_away_is_told_as_such_before_it_is_applied() {
    let world = World::start().await;
    std::fs::write(world.dir.join("revoked.crl"), list(&world, &["label-printer"], 7)).unwrap();
    let path = world.dir.join("sekisho.toml");
    let load = || config::load(&path, 9, now()).unwrap().snapshot;
    let before = load();
    let text = std::fs::read_to_string(&path).unwrap();
    let text = text.replacen(CA, LISTED, 1).replacen("[token]\n", "[token]\ndenied = [\"x\"]\n", 1);
    std::fs::write(&path, text).unwrap();
    let after = load();
    assert!(!config::diff::compare(&before, &after).widens());
    assert!(config::diff::compare(&after, &before).widens());
    // Another list that says the same does neither.
    std::fs::write(world.dir.join("revoked.crl"), list(&world, &["label-printer"], 8)).unwrap();
    assert!(!config::diff::compare(&after, &load()).widens());
    std::fs::write(world.dir.join("revoked.crl"), list(&world, &[], 8)).unwrap();
    assert!(config::diff::compare(&after, &load()).widens());
    world.finish().await;
}

fn date(unix_day: u64) -> String {
    let at = sekisho::base::Moment::new(unix_day * DAY * 1_000, 0);
    String::from_utf8(sekisho::base::Utc::of(at).rfc3339().to_vec()).unwrap()[..10].to_owned()
}

async fn revoke(world: &World, jti: &str) {
    let target = Target::Token(TokenId::new(jti.to_owned()).unwrap());
    let name = |text: &str| Name::parse(text).unwrap();
    let lasts = Some(Duration::from_secs(3_600));
    let order =
        LockOrder { target, step: Step::Lock, lasts, by: name("officer"), case: name("INC-1") };
    world.gateway.engine.lock(&order).await.unwrap();
}

fn with_id(world: &World, jti: &str) -> String {
    world.token_with("analyst", |claims| {
        claims.extra.insert("jti".to_owned(), jti.into());
    })
}

#[track_caller]
fn assert_denied(world: &World, reply: &Reply) {
    world.note(reply);
    assert_eq!(
        (reply.status.as_u16(), error_of(reply).0.as_str()),
        (401, "Sekisho.TokenNotAccepted")
    );
    let line = world.line_of(reply);
    assert_eq!(
        (&line["sekisho.detail"], &line["sekisho.control"]),
        (&"Revoked".into(), &"ACC-3".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_3_a_denied_token_ends_what_it_opened_and_opens_nothing_more() {
    let world = World::start().await;
    for (alpn, jti) in BOTH.iter().zip(["stolen-1", "stolen-2"]) {
        let caller = world.caller(|config| config.alpn = *alpn);
        let (stolen, good) = (with_id(&world, jti), with_id(&world, "good"));
        let line =
            broken_off(&world, &caller, Some(&stolen), async || revoke(&world, jti).await).await;
        assert_revoked(&line, "Token");
        // Remembered as genuine a moment ago.
        let reply = world.call(&caller, bearing(get(ORDERS), &stolen)).await;
        assert_denied(&world, &reply);
        assert_eq!(world.call(&caller, bearing(get(ORDERS), &good)).await.status, 200);
        // Over HTTP/2 requests of others may have passed on the connection that ends.
        idle(&world, &caller, Some(&good)).await;
    }
    assert_told(&world, "token", Some("analyst"), 2);
    // The next process knows it, too; the id itself is written down nowhere.
    let world = world.restart().await;
    let reply =
        world.call(&world.nobody(), bearing(get(ORDERS), &with_id(&world, "stolen-1"))).await;
    assert_denied(&world, &reply);
    let hash = format!("{:?}", world.gateway.engine.list_locks());
    assert!(hash.contains("Token(") && !hash.contains("stolen"), "{hash}");
    let dir = world.dir.clone();
    for file in std::fs::read_dir(dir.join("state")).unwrap().flatten() {
        let bytes = std::fs::read(file.path()).unwrap_or_default();
        assert!(!crate::support::holds(&bytes, "stolen-1"), "{:?}", file.path());
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_3_tokens_are_denied_by_the_configuration_too() {
    // By hand: today is today to the end.
    let world = World::with(Plan::default().file("denied.jti", "# none yet\n").by_hand()).await;
    world.amazon.set(Scenario::Echo);
    let (one, two) = (with_id(&world, "one"), with_id(&world, "two"));
    let caller = world.nobody();
    let open = idle(&world, &caller, Some(&one)).await;
    assert!(
        world.reload(|text| text.replacen("[token]\n", "[token]\ndenied = [\"one\"]\n", 1)).await
    );
    cut_to(&world, 0).await;
    assert!(open.call(bearing(get(ORDERS), &one)).await.is_err());
    let reply = world.call(&caller, bearing(get(ORDERS), &one)).await;
    assert_denied(&world, &reply);
    assert_eq!(world.call(&caller, bearing(get(ORDERS), &two)).await.status, 200);
    // From a file, with the last day on which it matters.
    let file = "denied = { file = \"denied.jti\" }";
    assert!(world.reload(|text| text.replacen("denied = [\"one\"]", file, 1)).await);
    assert_eq!(world.call(&caller, bearing(get(ORDERS), &one)).await.status, 200);
    let day = world.gateway.engine.clock.now().unix_secs() / DAY;
    let (today, past) = (date(day), date(day - 1));
    let lines = format!("one {past} # over\ntwo {today}\n");
    std::fs::write(world.dir.join("denied.jti"), lines).unwrap();
    assert!(world.reload(|text| text).await);
    assert_eq!(world.call(&caller, bearing(get(ORDERS), &one)).await.status, 200);
    let reply = world.call(&caller, bearing(get(ORDERS), &two)).await;
    assert_denied(&world, &reply);
    // What is no such file takes nothing back.
    std::fs::write(world.dir.join("denied.jti"), "one tomorrow\n").unwrap();
    assert!(world.reload(|text| text).await);
    assert_denied(&world, &world.call(&caller, bearing(get(ORDERS), &two)).await);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_3_a_network_off_the_list_cuts_who_came_from_it() {
    let world = World::start().await;
    world.amazon.set(Scenario::Echo);
    let clerk = world.token("office-clerk");
    let from = |address: &str| {
        let address = address.parse().unwrap();
        world.caller(|config| config.source = Some(address))
    };
    let (stays, goes) = (from("127.0.0.3"), from("127.0.0.2"));
    let stays = idle(&world, &stays, Some(&clerk)).await;
    let goes = idle(&world, &goes, Some(&clerk)).await;
    let (own, few) = ("office = [\"127.0.0.2\", \"127.0.0.3\"]", "office = [\"127.0.0.3\"]");
    assert!(world.reload(|text| text.replace(own, few)).await);
    cut_to(&world, 1).await;
    assert!(goes.call(bearing(get(ORDERS), &clerk)).await.is_err());
    assert_eq!(stays.call(bearing(get(ORDERS), &clerk)).await.unwrap().status, 200);
    assert_told(&world, "network", Some("office-clerk"), 1);
    // The listener's own: who proved nothing yet is cut as well.
    let silent = world.nobody().stream(world.address()).await.unwrap();
    until("both are open", || open_connections(&world) == 2).await;
    let (all, few) = ("loopback = [\"127.0.0.0/8\", \"::1\"]", "loopback = [\"127.0.0.3\"]");
    assert!(world.reload(|text| text.replace(all, few)).await);
    cut_to(&world, 1).await;
    assert_told(&world, "network", None, 1);
    drop(silent);
    world.finish().await;
}

fn list(world: &World, revoked: &[&str], days: u64) -> String {
    let leaves: Vec<_> = revoked.iter().map(|name| world.pki.client(name).unwrap()).collect();
    let from = now().unix_secs() - 3_600;
    world.pki.ca.revocation_list(&leaves, (from, from + days * DAY)).unwrap()
}

const CA: &str = "client_ca = \"pki/ca.pem\"";
const LISTED: &str = "client_ca = \"pki/ca.pem\"\nclient_crl = [\"revoked.crl\"]";

#[tokio::test(flavor = "multi_thread")]
async fn acc_3_a_revoked_certificate_is_cut_and_not_let_in_again() {
    let world = World::start().await;
    let write = |text: &str| std::fs::write(world.dir.join("revoked.crl"), text).unwrap();
    write(&list(&world, &[], 7));
    assert!(world.reload(|text| text.replacen(CA, LISTED, 1)).await);
    for alpn in BOTH {
        let revoked = printer(&world, alpn);
        let other = world.caller(|config| {
            config.alpn = alpn;
            config.identity = world.pki.client("stock-reader").cloned();
        });
        let stays = other.connect(world.address()).await.unwrap();
        let reply = stays.call(get(ORDERS)).await.unwrap();
        assert_eq!(reply.status, 401, "it is no identity");
        world.line_of(&reply);
        let line = broken_off(&world, &revoked, None, async || {
            write(&list(&world, &["label-printer"], 7));
            assert!(world.reload(|text| text).await);
        })
        .await;
        assert_revoked(&line, "Certificate");
        assert!(revoked.call(world.address(), get(ORDERS)).await.is_err(), "it was let in");
        let reply = stays.call(get(ORDERS)).await.unwrap();
        assert_eq!(world.line_of(&reply)["http.response.status_code"], 401, "another's was cut");
        write(&list(&world, &[], 7));
        assert!(world.reload(|text| text).await);
    }
    assert_told(&world, "certificate", Some("label-printer"), 2);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_3_a_list_that_can_not_be_trusted_is_not_taken_and_the_one_before_stays() {
    let world = World::start().await;
    let write = |bytes: &[u8]| std::fs::write(world.dir.join("revoked.crl"), bytes).unwrap();
    write(list(&world, &["label-printer"], 7).as_bytes());
    assert!(world.reload(|text| text.replacen(CA, LISTED, 1)).await);
    let from = now().unix_secs() - 10 * DAY;
    let strange = world.pki.rogue.ca.revocation_list(&[], (from, from + 20 * DAY)).unwrap();
    let path = world.dir.join("sekisho.toml");
    for (bytes, says, subject) in [
        (strange.as_bytes(), "is of no authority in client_ca", "analyst"),
        (b"nonsense", "is no list of revoked certificates", "limited-caller"),
    ] {
        write(bytes);
        let errors = config::load(&path, 9, now()).unwrap_err().to_string();
        assert!(errors.contains(says) && errors.contains("ACC-3"), "{errors}");
        // Whoever leaves beside it is out.
        let (token, left) = (world.token(subject), format!("{subject}-left"));
        let (was, is) = (format!("subject = \"{subject}\""), format!("subject = \"{left}\""));
        assert!(world.reload(|text| text.replace(&was, &is)).await);
        let reply = world.call(&world.nobody(), bearing(get(ORDERS), &token)).await;
        assert_eq!(reply.status, 401);
        let refused = printer(&world, Alpn::H1).call(world.address(), get(ORDERS)).await;
        assert!(refused.is_err(), "{says}: the list before does not hold");
    }
    // An authority without a list would let nobody of its own in.
    write(list(&world, &[], 7).as_bytes());
    let both = world.pki.ca.certificate_pem() + &world.pki.rogue.ca.certificate_pem();
    std::fs::write(world.dir.join("both.pem"), both).unwrap();
    assert!(
        !world
            .reload(|text| text.replacen(
                "client_ca = \"pki/ca.pem\"\nclient_crl",
                "client_ca = \"both.pem\"\nclient_crl",
                1
            ))
            .await
    );
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_3_a_list_out_of_date_speaks_for_nobody() {
    let world = World::with(Plan::default().by_hand()).await;
    world.amazon.set(Scenario::Echo);
    std::fs::write(world.dir.join("revoked.crl"), list(&world, &[], 2)).unwrap();
    assert!(world.reload(|text| text.replacen(CA, LISTED, 1)).await);
    let _open = idle(&world, &printer(&world, Alpn::H2), None).await;
    world.advance(Duration::from_secs(2 * DAY));
    cut_to(&world, 0).await;
    assert_told(&world, "certificate", Some("label-printer"), 1);
    world.finish().await;
}
