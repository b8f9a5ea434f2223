//! What follows for whoever is accused with a credential in hand: by certificate, by token, over HTTP.
use std::time::Duration;

use sekisho::lockout::{Cause, Step};
use sekisho::mock::{Alpn, Caller, Reply, Scenario};
use serde_json::{Value, json};

use crate::lockout::{forged, from};
use crate::support::{ORDERS, Plan, World, bearing, error_of, get, until};

const PEOPLE: &str = r#"
[role.care]
purpose = "answer customers"
allow = ["orders/*"]
[identity.carer]
kind = "person"
owner = "platform@example.com"
token = { issuer = "corp", subject = "carer" }
networks = ["loopback"]
roles = ["care"]
"#;

/// Nobody may ask for more than ten orders in an hour.
const ENUMERATION: &str =
    "[detect.enumeration]\nmode = \"enforce\"\ncold_hour = 10\nleast_hour = 1\n";

async fn world() -> World {
    let plan = Plan::default().fill("identities", PEOPLE).fill("more", ENUMERATION).by_hand();
    let world = World::with(plan).await;
    world.amazon.set(Scenario::Echo);
    world
}

async fn ask(world: &World, caller: &Caller, token: Option<&str>, nth: usize) -> Reply {
    let call = get(&format!("/orders/v0/orders/902-4395497-01{nth:05}/address"));
    let call = match token {
        Some(token) => bearing(call, token),
        None => call,
    };
    world.call(caller, call).await
}

/// The token of somebody who has logged in now.
fn logged_in(world: &World) -> String {
    let at = world.gateway.engine.clock.now().unix_secs();
    world.token_with("carer", |claims| {
        claims.extra.insert("amr".to_owned(), json!(["pwd", "mfa"]));
        claims.extra.insert("auth_time".to_owned(), json!(at));
    })
}

/// Asks for one order after the other until that has consequences.
async fn enumerate(world: &World, caller: &Caller, token: Option<&str>) {
    for nth in 0..40 {
        if !world.gateway.engine.list_locks().is_empty() {
            return;
        }
        assert_eq!(ask(world, caller, token, nth).await.status, 200);
        until("its line", || world.requests().len() > nth).await;
    }
    panic!("distinct objects beyond the limit are acted upon");
}

/// What is said of a lock, a moment after it holds.
async fn locked(world: &World) -> Value {
    until("it is told", || !world.events("locked").is_empty()).await;
    world.events("locked").remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_2_whoever_has_a_service_s_certificate_is_stopped_too() {
    let world = world().await;
    let printer = world.printer();
    enumerate(&world, &printer, None).await;
    let reply = ask(&world, &printer, None, 50).await;
    assert_eq!(reply.status, 401, "{}", reply.text());
    assert_eq!(world.line_of(&reply)["sekisho.denial"], "Locked");
    let held = &world.gateway.engine.list_locks()[0];
    assert_eq!(held.step, Step::Lock);
    assert!(held.until_ms.is_some(), "it ends by itself");
    assert_eq!(locked(&world).await["sekisho.cause"], "enumeration");
    world.advance(Duration::from_secs(86_401));
    assert_eq!(ask(&world, &printer, None, 51).await.status, 200);
    world.finish().await;
}

/// Twenty orders in one call are as many as in twenty. Twenty times are none.
#[tokio::test(flavor = "multi_thread")]
async fn mon_3_ids_in_the_query_are_objects() {
    let world = world().await;
    let printer = world.printer();
    for minute in 10..30 {
        let since =
            format!("{ORDERS}&LastUpdatedAfter=2026-11-01T00:{minute}:00Z&NextToken=a{minute}");
        assert_eq!(world.call(&printer, get(&since)).await.status, 200);
    }
    until("their lines", || world.requests().len() == 20).await;
    assert_eq!(world.gateway.engine.list_locks().len(), 0);
    let ids: Vec<String> = (0..20).map(|nth| format!("902-4395497-01{nth:05}")).collect();
    let all = format!("{ORDERS}&AmazonOrderIds={}", ids.join(","));
    assert_eq!(world.call(&printer, get(&all)).await.status, 200);
    until("it is acted upon", || !world.gateway.engine.list_locks().is_empty()).await;
    assert_eq!(locked(&world).await["sekisho.cause"], "enumeration");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_2_a_login_from_before_the_accusation_meets_no_step_up() {
    let world = world().await;
    let here = world.nobody();
    let before = logged_in(&world);
    world.advance(Duration::from_secs(30));
    enumerate(&world, &here, Some(&before)).await;
    assert_eq!(world.gateway.engine.list_locks()[0].step, Step::StepUp);
    let reply = ask(&world, &here, Some(&before), 50).await;
    assert_eq!(
        (reply.status.as_u16(), error_of(&reply).0),
        (401, "Sekisho.StepUpRequired".to_owned()),
        "fresh, and yet what it was done with"
    );
    world.advance(Duration::from_secs(30));
    let after = logged_in(&world);
    assert_eq!(ask(&world, &here, Some(&after), 51).await.status, 200);
    assert_eq!(ask(&world, &here, Some(&before), 52).await.status, 401);
    world.finish().await;
}

/// Whoever is held by a step-up has the name of somebody who can be made to look besieged.
#[tokio::test(flavor = "multi_thread")]
async fn acc_2_nobody_guesses_a_way_out_of_a_step_up() {
    let world = world().await;
    let (here, stolen) = (world.nobody(), logged_in(&world));
    world.advance(Duration::from_secs(30));
    enumerate(&world, &here, Some(&stolen)).await;
    for place in 10..50 {
        let there = from(&world, &format!("127.0.0.{place}"));
        for _ in 0..3 {
            world.call(&there, bearing(get(ORDERS), &forged(&world, "carer"))).await;
        }
    }
    let held = world.gateway.engine.list_locks();
    let causes: Vec<_> = held.iter().map(|lock| (lock.step, lock.cause)).collect();
    assert_eq!(
        causes,
        [(Step::StepUp, Cause::Strangers), (Step::StepUp, Cause::Enumeration)],
        "side by side"
    );
    let reply = ask(&world, &here, Some(&stolen), 50).await;
    assert_eq!(
        (reply.status.as_u16(), error_of(&reply).0),
        (401, "Sekisho.StepUpRequired".to_owned()),
        "from where its owner works as well"
    );
    world.advance(Duration::from_secs(30));
    assert_eq!(ask(&world, &here, Some(&logged_in(&world)), 51).await.status, 200);
    world.finish().await;
}

/// Whoever bears a token whose issuer's keys can't be had is nobody yet.
#[tokio::test(flavor = "multi_thread")]
async fn acc_1_tokens_that_can_t_be_verified_accuse_nobody_of_sharing() {
    let unavailable = "jwks = { url = \"https://localhost:1/jwks\", ca = \"pki/ca.pem\" }";
    let file = "jwks = { file = \"pki/tokens/signing.jwks\" }";
    for (keys, is_accused) in [(file, true), (unavailable, false)] {
        let sharing = "[detect.sharing]\nmode = \"enforce\"\nlearn_hours = 1\n\
                       returns_note = 1\nreturns_act = 2\n";
        let plan = Plan::default()
            .replace(file, keys)
            .replace(
                "loopback = [\"127.0.0.0/8\", \"::1\"]",
                "loopback = [\"127.0.0.1\"]\nelsewhere = [\"127.0.0.7\"]",
            )
            .replace(
                "networks = [\"loopback\"]\nupstreams",
                "networks = [\"loopback\", \"elsewhere\"]\nupstreams",
            )
            .fill("more", sharing)
            .by_hand();
        let world = World::with(plan).await;
        let here = world.caller(|config| config.alpn = Alpn::H1);
        let there = world.caller(|config| {
            config.alpn = Alpn::H2;
            config.source = Some("127.0.0.7".parse().unwrap());
        });
        let ask = async |caller: &Caller| {
            let reply = world.call(caller, bearing(get(ORDERS), &world.token("analyst"))).await;
            assert!(is_accused || reply.status == 503, "{}", reply.text());
            world.line_of(&reply);
        };
        for _hour in 0..4 {
            ask(&here).await;
            world.advance(Duration::from_secs(3_600));
        }
        for _return in 0..6 {
            ask(&here).await;
            ask(&there).await;
        }
        let locks = world.gateway.engine.list_locks();
        assert_eq!(!locks.is_empty(), is_accused, "{locks:?}");
        world.finish().await;
    }
}
