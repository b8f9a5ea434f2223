//! Who is locked out, by what, and who is not: real tokens, real connections, time by hand.
mod networks;

use std::time::Duration;

use sekisho::base::{Name, Secret};
use sekisho::engine::{LockOrder, OrderId, Target, Unlock};
use sekisho::lockout::{ReleaseReason, Step, Subject};
use sekisho::mock::{BodyEnd, Call, Caller, Flow, Reply, Scenario};

use sekisho::store::{Gateway, KeyId, LockKey, LockRecord, Register, Scope, SharedSecret};

use crate::support::{ORDERS, Plan, World, bearing, error_of, get, masked, until, until_some};

/// The subject's token with a signature that is not its issuer's.
pub fn forged(world: &World, subject: &str) -> String {
    let genuine = world.token(subject);
    let (signed, _) = genuine.rsplit_once('.').unwrap();
    let other = world.token("somebody-else");
    let (_, signature) = other.rsplit_once('.').unwrap();
    format!("{signed}.{signature}")
}

pub fn from(world: &World, address: &str) -> Caller {
    let address = address.parse().unwrap();
    world.caller(|config| config.source = Some(address))
}

pub async fn guess(world: &World, caller: &Caller, subject: &str, times: u32) {
    for _ in 0..times {
        let reply = world.call(caller, bearing(get(ORDERS), &forged(world, subject))).await;
        assert_eq!(reply.status, 401);
        // Past every wait of the pair, so that each guess is looked at.
        world.advance(Duration::from_secs(301));
    }
}

async fn by_token(world: &World, caller: &Caller, subject: &str) -> Reply {
    world.call(caller, bearing(get(ORDERS), &world.token(subject))).await
}

pub fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

pub async fn lock(world: &World, target: Target, step: Step) {
    let (by, case) = (name("officer"), name("CASE-1"));
    let order = LockOrder { target, step, lasts: None, by, case };
    world.gateway.engine.lock(&order).await.unwrap();
}

pub async fn unlock(world: &World, target: Target) {
    let (by, case) = (name("officer"), name("CASE-1"));
    let unlock = Unlock { target, by, reason: ReleaseReason::OwnerConfirmed, case };
    world.gateway.engine.unlock(&unlock).await.unwrap();
}

fn locked(reply: &Reply, world: &World, detail: &str) {
    let line = world.line_of(reply);
    // As a wrong one of its kind.
    let code = match line["sekisho.proof"].as_str() {
        Some("certificate") => "Sekisho.NoIdentity",
        _ => "Sekisho.TokenNotAccepted",
    };
    assert_eq!((reply.status.as_u16(), error_of(reply).0), (401, code.to_owned()));
    assert_eq!(
        (&line["sekisho.denial"], &line["sekisho.detail"]),
        (&"Locked".into(), &detail.into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_2_ten_guesses_from_where_an_identity_works_lock_it_for_a_while() {
    let world = World::with(Plan::default().by_hand()).await;
    let here = world.nobody();
    assert_eq!(by_token(&world, &here, "analyst").await.status, 200);
    guess(&world, &here, "analyst", 9).await;
    assert_eq!(by_token(&world, &here, "analyst").await.status, 200, "nine are not ten");
    guess(&world, &here, "analyst", 1).await;
    let reply = by_token(&world, &here, "analyst").await;
    locked(&reply, &world, "Identity");
    let line = &world.events("locked")[0];
    assert_eq!(
        (&line["user.name"], &line["sekisho.cause"]),
        (&"analyst".into(), &"login-failures".into())
    );
    assert_eq!(line["sekisho.control"], "ACC-2");

    // A wrong one reads the same, to the byte, and so does one of somebody who has never existed.
    for subject in ["analyst", "nobody-of-that-name"] {
        let call = bearing(get(ORDERS), &forged(&world, subject));
        let wrong = world.call(&here, call).await;
        assert_eq!(world.line_of(&wrong)["sekisho.detail"], "Signature");
        assert_eq!(masked(&reply), masked(&wrong));
    }
    // Others go on, and the attempt is on record.
    assert_eq!(world.call(&world.printer(), get(ORDERS)).await.status, 200);
    assert_eq!(world.gateway.engine.list_locks()[0].attempts, 1);

    world.advance(Duration::from_secs(1_801));
    assert_eq!(by_token(&world, &here, "analyst").await.status, 200, "it ends by itself");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_2_a_pair_waits_and_is_not_listened_to_meanwhile() {
    let world = World::with(Plan::default().by_hand()).await;
    let here = world.nobody();
    for _ in 0..5 {
        world.call(&here, bearing(get(ORDERS), &forged(&world, "analyst"))).await;
        world.advance(Duration::from_millis(1_100));
    }
    // Two beyond the free tries: the wait is two seconds, of which one is over.
    let right = by_token(&world, &here, "analyst").await;
    locked(&right, &world, "Waiting");
    let wrong = world.call(&here, bearing(get(ORDERS), &forged(&world, "analyst"))).await;
    assert_eq!(masked(&right), masked(&wrong), "neither says that it is right");
    world.advance(Duration::from_secs(1));
    assert_eq!(by_token(&world, &here, "analyst").await.status, 200);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_6_a_stranger_with_the_right_name_locks_nobody() {
    let world = World::with(Plan::default().by_hand()).await;
    let here = world.nobody();
    assert_eq!(by_token(&world, &here, "analyst").await.status, 200);
    // From many places, three free tries at each.
    for place in 10..50 {
        let there = from(&world, &format!("127.0.0.{place}"));
        for _ in 0..3 {
            world.call(&there, bearing(get(ORDERS), &forged(&world, "analyst"))).await;
        }
    }
    assert_eq!(by_token(&world, &here, "analyst").await.status, 200, "the victim works on");
    assert!(world.gateway.engine.list_locks().iter().all(|held| held.step == Step::StepUp));
    // From where it has never worked, more is asked, and said to be.
    let reply = by_token(&world, &from(&world, "127.0.0.6"), "analyst").await;
    assert_eq!(
        (reply.status.as_u16(), error_of(&reply).0),
        (401, "Sekisho.StepUpRequired".to_owned())
    );
    let challenge = reply.header("www-authenticate").unwrap();
    assert!(challenge.contains("insufficient_user_authentication"), "{challenge}");
    let at = world.gateway.engine.clock.now().unix_secs();
    let strong = world.token_with("analyst", |claims| {
        claims.extra.insert("amr".to_owned(), serde_json::json!(["pwd", "mfa"]));
        claims.extra.insert("auth_time".to_owned(), serde_json::json!(at));
    });
    let reply = world.call(&from(&world, "127.0.0.7"), bearing(get(ORDERS), &strong)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_5_an_emergency_lock_holds_at_once_and_ends_by_a_named_act() {
    let world = World::start().await;
    let printer = world.printer();
    let session = printer.connect(world.address()).await.unwrap();
    assert_eq!(session.call(get(ORDERS)).await.unwrap().status, 200);
    let identity = || Target::Identity(name("label-printer"));
    lock(&world, identity(), Step::Lock).await;
    let reply = session.call(get(ORDERS)).await.unwrap();
    world.note(&reply);
    locked(&reply, &world, "Identity");
    unlock(&world, identity()).await;
    assert_eq!(session.call(get(ORDERS)).await.unwrap().status, 200);

    let id = "902-4395497-0000029";
    let address = format!("/orders/v0/orders/{id}/address");
    let order = || Target::Order(OrderId::new(id.to_owned()).unwrap());
    for (target, word) in [
        (Target::Operation(name("orders/getOrderAddress")), "Operation"),
        (Target::Upstream(name("amazon")), "Upstream"),
        (Target::Account(name("amazon")), "Account"),
        (order(), "Record"),
    ] {
        assert_eq!(world.call(&printer, get(&address)).await.status, 200, "{word}");
        lock(&world, target.clone(), Step::Lock).await;
        let reply = world.call(&printer, get(&address)).await;
        assert_eq!((reply.status.as_u16(), error_of(&reply).0), (403, "Sekisho.Closed".to_owned()));
        assert_eq!(world.line_of(&reply)["sekisho.detail"], word);
        assert!(!reply.text().contains(id));
        unlock(&world, target).await;
    }
    lock(&world, order(), Step::Lock).await;
    let other = "/orders/v0/orders/902-4395497-0000030/address";
    assert_ne!(error_of_any(&world.call(&printer, get(other)).await), "Sekisho.Closed");
    let listed = format!("{ORDERS}&AmazonOrderIds=902-1111111-1111111%2C{id}");
    let reply = world.call(&printer, get(&listed)).await;
    assert_eq!(error_of_any(&reply), "Sekisho.Closed", "also in a list, also escaped");
    // Nor does it leave in an answer to somebody who asked for all.
    let page = printer.call(world.address(), get(ORDERS)).await;
    let text = page.map(|reply| reply.text()).unwrap_or_default();
    assert!(!text.contains(id), "the order is in a list: {text}");
    let log = world.stop().await;
    assert!(log.iter().all(|line| !line.to_string().contains(id)), "an order's id is in the log");
    let acts = |word| log.iter().filter(|line| line["event.action"] == word).count();
    assert_eq!((acts("locked"), acts("unlocked")), (6, 5));
}

/// Bodies are searched, and sockets refused, only while an order is locked.
#[tokio::test(flavor = "multi_thread")]
async fn acc_5_nothing_is_looked_for_once_no_order_is_locked() {
    let world = World::with(Plan::default().by_hand()).await;
    let engine = &world.gateway.engine;
    let order = |id: &str| Target::Order(OrderId::new(id.to_owned()).unwrap());
    lock(&world, order("902-4395497-0000029"), Step::Lock).await;
    assert!(engine.holds_locked_orders());
    unlock(&world, order("902-4395497-0000029")).await;
    assert!(!engine.holds_locked_orders(), "its probation looks for nothing");
    // The next ends by itself, while somebody who is locked tries again and again.
    lock(&world, Target::Identity(name("label-printer")), Step::Lock).await;
    let lasts = Some(Duration::from_secs(60));
    let (target, step) = (order("902-4395497-0000030"), Step::Lock);
    let (by, case) = (name("officer"), name("CASE-1"));
    engine.lock(&LockOrder { target, step, lasts, by, case }).await.unwrap();
    assert!(engine.holds_locked_orders());
    world.advance(Duration::from_secs(61));
    let printer = world.printer();
    until_some("it is forgotten", async || {
        assert_eq!(world.call(&printer, get(ORDERS)).await.status, 401);
        (!engine.holds_locked_orders()).then_some(())
    })
    .await;
    world.finish().await;
}

fn error_of_any(reply: &Reply) -> String {
    if reply.status == 200 { String::new() } else { error_of(reply).0 }
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_5_a_source_is_locked_for_everybody_behind_it() {
    let world = World::start().await;
    let target = || Target::Source(sekisho::base::ClientAddr::new("127.0.0.5".parse().unwrap()));
    lock(&world, target(), Step::Lock).await;
    let there = world.caller(|config| {
        config.source = Some("127.0.0.5".parse().unwrap());
        config.identity = world.pki.client("label-printer").cloned();
    });
    locked(&world.call(&there, get(ORDERS)).await, &world, "Source");
    assert_eq!(world.call(&world.printer(), get(ORDERS)).await.status, 200);
    let held = world.gateway.engine.list_locks();
    assert!(matches!(held[0].subject, Subject::Source(_)));
    unlock(&world, Target::Listed(held[0].subject.clone())).await;
    assert_eq!(world.call(&there, get(ORDERS)).await.status, 200);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_2_a_lock_reaches_the_answer_that_is_under_way_and_a_kill_the_connection() {
    for step in [Step::Lock, Step::Kill] {
        let world = World::start().await;
        let printer = world.printer();
        let idle = printer.connect(world.address()).await.unwrap();
        assert_eq!(idle.call(get(ORDERS)).await.unwrap().status, 200);
        world.warehouse.script(&[Scenario::SlowBody { bytes: 1, tick_ms: 300 }]);
        let session = printer.connect(world.address()).await.unwrap();
        let under_way = async { session.call(Call::get("/stock/A")).await };
        let locking = async {
            until("the upstream answers", || world.warehouse.total() > 0).await;
            lock(&world, Target::Identity(name("label-printer")), step).await;
        };
        let (answer, ()) = tokio::join!(under_way, locking);
        let cut = answer.map_or(true, |reply| reply.end != BodyEnd::Complete);
        assert!(cut, "{step:?}: the answer went on to its end");
        if step == Step::Kill {
            // By whoever serves them, in their own time.
            until("both are closed", || world.gateway.engine.open_connections() == 0).await;
        }
        let again = idle.call(get(ORDERS)).await;
        match step {
            Step::Kill => assert!(again.is_err(), "the connection is closed"),
            _ => locked(&again.unwrap(), &world, "Identity"),
        }
        world.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_2_whoever_is_slowed_down_waits_and_goes_on() {
    let world = World::start().await;
    lock(&world, Target::Identity(name("label-printer")), Step::Slow).await;
    let reply = world.call(&world.printer(), get(ORDERS)).await;
    assert_eq!(reply.status, 200);
    let took = world.line_of(&reply)["event.duration"].as_u64().unwrap();
    assert!(took >= 1_000_000_000, "{took} ns");
    world.finish().await;
}

/// A file of planted records, and how detectors are set.
fn planted(mode: &str) -> Plan {
    let lines = format!("[detect.canary]\nmode = \"{mode}\"\nfile = \"canaries.txt\"\n");
    Plan::default()
        .file("canaries.txt", "902-4395497-0000029\nPLANTED-SKU-77 analyst # theirs alone\n")
        .fill("more", &lines)
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_4_nothing_of_a_planted_record_is_asked_for_or_leaves() {
    for target in [
        "/orders/v0/orders/902-4395497-0000029/address",
        "/orders/v0/orders?MarketplaceIds=A1VC38T7YXB528&AmazonOrderIds=902-1-1%2C902-4395497-0000029",
    ] {
        let world = World::with(planted("enforce")).await;
        let reply = world.call(&world.printer(), get(target)).await;
        assert_eq!(
            (reply.status.as_u16(), error_of(&reply).0),
            (401, "Sekisho.NoIdentity".to_owned())
        );
        assert_eq!(world.line_of(&reply)["sekisho.denial"], "Canary");
        assert_eq!(world.amazon.total(), 0, "it was not even asked for");
        locked(&world.call(&world.printer(), get(ORDERS)).await, &world, "Identity");
        let seen = &world.events("noticed")[0];
        assert_eq!(
            (&seen["sekisho.detector"], &seen["sekisho.severity"]),
            (&"canary".into(), &"critical".into())
        );
        world.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_4_an_answer_is_cut_before_a_planted_id_leaves() {
    for protocol in ["http/1.1", "h2"] {
        let plan = planted("enforce").fill("amazon", &format!("protocol = \"{protocol}\""));
        let world = World::with(plan).await;
        let answer = world.printer().call(world.address(), get(ORDERS)).await;
        if let Ok(reply) = answer {
            let text = String::from_utf8_lossy(&reply.body).into_owned();
            assert!(!text.contains("902-4395497-0000029"), "{protocol}: it left");
        }
        until("the lock holds", || !world.gateway.engine.list_locks().is_empty()).await;
        world.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_4_a_planted_id_in_an_upload_stops_it_wherever_it_is_cut() {
    let world = World::with(planted("enforce")).await;
    let body = Flow::slow("{\"sku\": \"PLANTED-SKU-77\"}", 5, Duration::from_millis(1));
    let reply = world.call(&world.printer(), Call::post("/upload", body)).await;
    assert_eq!(reply.status, 401, "{}", reply.text());
    until("it is noticed", || !world.events("noticed").is_empty()).await;
    let seen = &world.events("noticed")[0];
    assert_eq!(seen["sekisho.unit"], "another's canary by number");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_8_an_observed_canary_is_told_and_changes_nothing() {
    let world = World::with(planted("observe")).await;
    let plain = World::start().await;
    let (seen, expected) = (
        world.call(&world.printer(), get(ORDERS)).await,
        plain.call(&plain.printer(), get(ORDERS)).await,
    );
    assert_eq!((seen.status, &seen.body), (expected.status, &expected.body), "byte for byte");
    until("it is noticed", || !world.events("noticed").is_empty()).await;
    assert!(world.gateway.engine.list_locks().is_empty());
    plain.finish().await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_5_a_scanner_is_shut_out_and_whoever_proves_itself_behind_it_is_not() {
    let plan = Plan::default().fill("more", "[detect.intrusion]\nmode = \"enforce\"\n");
    let world = World::with(plan).await;
    let scanner = from(&world, "127.0.0.5");
    for _ in 0..10 {
        world.call(&scanner, Call::get("/.env")).await;
    }
    until("the source is held", || !world.gateway.engine.list_locks().is_empty()).await;
    let held = world.gateway.engine.list_locks();
    assert!(matches!(held[0].subject, Subject::Source(_)), "{held:?}");
    locked(&by_token(&world, &scanner, "analyst").await, &world, "Source");
    let proved = world.caller(|config| {
        config.source = Some("127.0.0.5".parse().unwrap());
        config.identity = world.pki.client("label-printer").cloned();
    });
    assert_eq!(world.call(&proved, get(ORDERS)).await.status, 200);
    let notes = world.metric("sekisho_noticed_total{detector=\"intrusion\",level=\"act\"}");
    assert!((notes - 1.0).abs() < 0.1);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_1_somebody_who_tries_what_a_credential_can_do_is_locked_and_told_of() {
    let plan =
        Plan::default().fill("more", "[detect.failures]\nmode = \"enforce\"\nscope_act = 3\n");
    let world = World::with(plan).await;
    for target in
        ["/orders/v0/orders/902-1/address", "/orders/v0/orders/902-1", "/stock/A", "/download/1"]
    {
        world.call(&world.nobody(), bearing(get(target), &world.token("analyst"))).await;
    }
    until("the lock holds", || !world.gateway.engine.list_locks().is_empty()).await;
    let seen = world.events("noticed");
    let act = seen.iter().find(|line| line["sekisho.level"] == "act").expect("it is acted upon");
    assert_eq!(act["sekisho.setting"], "detect.failures.scope_act");
    assert!(!world.gateway.engine.list_locks().is_empty());
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_2_locks_survive_a_restart_and_a_reload() {
    let world = World::start().await;
    lock(&world, Target::Identity(name("label-printer")), Step::Lock).await;
    lock(&world, Target::Operation(name("orders/getOrders")), Step::Kill).await;
    let world = world.restart().await;
    locked(&world.call(&world.printer(), get(ORDERS)).await, &world, "Identity");
    let reply = by_token(&world, &world.nobody(), "analyst").await;
    assert_eq!(error_of(&reply).0, "Sekisho.Closed");
    // The identity moves to another place in the list.
    let first = "[identity.label-printer]";
    let before = "[identity.another]\nkind = \"service\"\nowner = \"x@example.com\"\n\
                  token = { issuer = \"corp\", subject = \"another\" }\nnetworks = [\"loopback\"]\n\
                  roles = [\"analysis\"]\n[identity.label-printer]";
    assert!(world.reload(|text| text.replacen(first, before, 1)).await);
    locked(&world.call(&world.printer(), get(ORDERS)).await, &world, "Identity");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_2_what_a_release_forgave_does_not_come_back_with_a_restart() {
    let world = World::with(Plan::default().by_hand()).await;
    assert_eq!(by_token(&world, &world.nobody(), "analyst").await.status, 200);
    guess(&world, &world.nobody(), "analyst", 10).await;
    assert_eq!(world.gateway.engine.list_locks().len(), 1);
    world.gateway.engine.save_all().await.unwrap();
    unlock(&world, Target::Identity(name("analyst"))).await;
    let world = world.restart().await;
    guess(&world, &world.nobody(), "analyst", 1).await;
    let held = world.gateway.engine.list_locks();
    assert!(held.is_empty(), "{held:?}");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_8_a_false_alarm_is_learned_from() {
    let plan = Plan::default()
        .fill("more", "[detect.enumeration]\nmode = \"enforce\"\ncold_hour = 10\nleast_hour = 1\n");
    let world = World::with(plan).await;
    let printer = world.printer();
    let ask = async |nth: usize| {
        let target = format!("/orders/v0/orders/902-4395497-00{nth:05}/address");
        world.call(&printer, get(&target)).await.status
    };
    let mut asked = 0;
    while world.gateway.engine.list_locks().is_empty() {
        asked += 1;
        assert!(asked < 40, "distinct objects beyond the limit are acted upon");
        ask(asked).await;
        let id = format!("{asked}");
        until(&id, || world.requests().len() >= asked).await;
    }
    unlock(&world, Target::Identity(name("label-printer"))).await;
    for nth in 1..=3 {
        ask(40 + nth).await;
        until("its line", || world.requests().len() >= asked + nth).await;
    }
    let held = world.gateway.engine.list_locks();
    assert!(held.is_empty(), "what was asked before does not count any more: {held:?}");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_2_a_lock_that_can_t_be_read_is_told_of() {
    let world = World::start().await;
    let secret = SharedSecret::derive(&Secret::new([7; 32]), &name("test"));
    let id = KeyId::of(&secret, "lock identity", b"label-printer");
    let key = LockKey { scope: Scope::Identity, id, by: Gateway(9), slot: 3 };
    let state = Register { version: 1, rank: 4, value: b"of a newer version".to_vec() };
    world.gateway.engine.store.put_locks(&[LockRecord { key, state }]).await.unwrap();
    until("it is told", || !world.events("memory-refused").is_empty()).await;
    let raised = || world.metric("sekisho_alarms_raised_total{severity=\"high\"}");
    until("people are told", || raised() >= 1.0).await;
    world.finish().await;
}
