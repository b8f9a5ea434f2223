//! What follows for whoever is accused with a credential in hand: by certificate, by token, over HTTP.
use std::time::Duration;

use sekisho::lockout::Step;
use sekisho::mock::{Caller, Reply, Scenario};
use serde_json::json;

use crate::support::{Plan, World, bearing, error_of, get, until};

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
    let line = &world.events("locked")[0];
    assert_eq!(line["sekisho.cause"], "enumeration");
    world.advance(Duration::from_secs(86_401));
    assert_eq!(ask(&world, &printer, None, 51).await.status, 200);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_2_a_login_from_before_the_accusation_meets_no_step_up() {
    let world = world().await;
    let logged_in = |at: u64| {
        world.token_with("carer", |claims| {
            claims.extra.insert("amr".to_owned(), json!(["pwd", "mfa"]));
            claims.extra.insert("auth_time".to_owned(), json!(at));
        })
    };
    let here = world.nobody();
    let before = logged_in(world.gateway.engine.clock.now().unix_secs());
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
    let after = logged_in(world.gateway.engine.clock.now().unix_secs());
    assert_eq!(ask(&world, &here, Some(&after), 51).await.status, 200);
    assert_eq!(ask(&world, &here, Some(&before), 52).await.status, 401);
    world.finish().await;
}
