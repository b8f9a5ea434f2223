//! What takes a fresh login, which logins count, and what a caller without one is told: real tokens.
use std::time::Duration;

use sekisho::mock::{Reply, Scenario};
use serde_json::{Value, json};

use crate::support::{ORDERS, Plan, World, amazon, bearing, error_of, get};

const PEOPLE: &str = r#"
[step_up]
acr = ["https://idp.example/2fa", "phr"]
within = "10 min"
operations = ["orders/getOrderAddress"]
[role.care]
purpose = "answer customers"
allow = ["orders/*"]
[role.payroll]
purpose = "look at orders, with care"
allow = ["orders/getOrders"]
step_up = "always"
[identity.carer]
kind = "person"
owner = "platform@example.com"
token = { issuer = "corp", subject = "carer" }
networks = ["loopback"]
roles = ["care"]
[identity.payer]
kind = "person"
owner = "platform@example.com"
token = { issuer = "corp", subject = "payer" }
networks = ["loopback"]
roles = ["care", "payroll"]
"#;

const ADDRESS: &str = "/orders/v0/orders/902-1234567-1234567/address";

async fn ask(world: &World, who: &str, target: &str, login: &[(&str, Value)]) -> Reply {
    let token = world.token_with(who, |claims| {
        claims.extra.extend(login.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    });
    world.call(&world.nobody(), bearing(get(target), &token)).await
}

fn challenged(reply: &Reply) {
    assert_eq!(reply.status, 401, "{}", reply.text());
    let (code, message) = error_of(reply);
    assert_eq!(code, "Sekisho.StepUpRequired");
    assert!(message.contains("fresh login"), "{message}");
    assert_eq!(
        reply.header("www-authenticate"),
        Some(
            "Bearer error=\"insufficient_user_authentication\", \
             acr_values=\"https://idp.example/2fa phr\", max_age=\"600\""
        )
    );
    assert!(reply.text().contains("ACC-4"), "{}", reply.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_4_an_operation_or_a_role_takes_a_fresh_login() {
    let world = World::with(Plan::default().fill("identities", PEOPLE).by_hand()).await;
    world.amazon.set(Scenario::Echo);
    let at = world.gateway.engine.clock.now().unix_secs();
    // Nothing is asked of other operations, nor of whoever may not call it anyway.
    assert_eq!(ask(&world, "carer", ORDERS, &[]).await.status, 200);
    assert_eq!(ask(&world, "analyst", ADDRESS, &[]).await.status, 403);
    let logins: [&[(&str, Value)]; 6] = [
        &[],
        &[("amr", json!(["pwd"])), ("auth_time", json!(at))],
        &[("amr", json!(["mfa"]))],
        &[("amr", json!(["mfa"])), ("auth_time", json!(at - 600))],
        // One that is yet to come would count for longer than any other.
        &[("amr", json!(["mfa"])), ("auth_time", json!(at + 3_600))],
        &[("acr", json!("1fa")), ("auth_time", json!(at))],
    ];
    for login in logins {
        challenged(&ask(&world, "carer", ADDRESS, login).await);
    }
    let by_method = [("amr", json!(["pwd", "mfa"])), ("auth_time", json!(at - 599))];
    let by_class = [("acr", json!("phr")), ("auth_time", json!(at))];
    for login in [&by_method, &by_class] {
        assert_eq!(ask(&world, "carer", ADDRESS, login).await.status, 200);
    }
    // A role that asks for it asks for it, although another one grants the same without.
    challenged(&ask(&world, "payer", ORDERS, &[]).await);
    assert_eq!(ask(&world, "payer", ORDERS, &by_class).await.status, 200);
    // The same token, some time later.
    let token = world.token_with("payer", |claims| {
        claims
            .extra
            .extend(by_class.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    });
    let again = async || world.call(&world.nobody(), bearing(get(ORDERS), &token)).await;
    assert_eq!(again().await.status, 200);
    world.advance(Duration::from_secs(600));
    challenged(&again().await);
    world.finish().await;
}

/// A certificate shows that a key is there, and not that somebody is.
#[tokio::test(flavor = "multi_thread")]
async fn acc_4_a_certificate_is_no_fresh_login() {
    let lines = "[step_up]\noperations = [\"orders/getOrderAddress\"]\n";
    let world = World::with(Plan::default().fill("identities", lines)).await;
    let reply = world.call(&world.printer(), amazon(http::Method::GET, ADDRESS)).await;
    assert_eq!(reply.status, 401);
    assert_eq!(
        reply.header("www-authenticate"),
        Some("Bearer error=\"insufficient_user_authentication\", max_age=\"900\"")
    );
    assert_eq!(world.call(&world.printer(), get(ORDERS)).await.status, 200);
    world.finish().await;
}
