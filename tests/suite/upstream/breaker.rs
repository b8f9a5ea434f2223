//! The circuit breaker: when an upstream is left alone, and how that is told.
use std::time::Duration;

use http::Method;
use sekisho::mock::{Alpn, Call, Scenario};

use super::{STOCK, assert_failed, lead_to};
use crate::hygiene::printer;
use crate::support::{Plan, World, get};

const DOWN: &str = "sekisho_upstream_breaker_open{endpoint=\"main\",upstream=\"warehouse\"}";

#[tokio::test(flavor = "multi_thread")]
async fn each_endpoint_of_an_upstream_has_a_breaker_that_is_told_apart() {
    let lines = "protocol = \"http/1.1\"\nbreaker = { failures = 3, open = \"10 s\" }\nretries = 0";
    let world = World::with(Plan::default().fill("amazon", lines).by_hand()).await;
    let caller = printer(&world, Alpn::Both);
    let open = |endpoint: &str| {
        let labels = format!("{{endpoint=\"{endpoint}\",upstream=\"amazon\"}}");
        world.metric(&format!("sekisho_upstream_breaker_open{labels}")) > 0.5
    };
    let orders = || get(crate::support::ORDERS);
    let exchange = || crate::support::amazon(Method::POST, "/auth/o2/token");
    world
        .amazon
        .set_for("/auth", Scenario::Error { status: http::StatusCode::SERVICE_UNAVAILABLE });
    for _ in 0..4 {
        assert_eq!(world.call(&caller, exchange()).await.status, 503);
    }
    assert_eq!((open("main"), open("token")), (false, true));
    // The other endpoint opens and closes; this one stays as it is.
    world.amazon.set_for("/orders", Scenario::Error { status: http::StatusCode::BAD_GATEWAY });
    for _ in 0..3 {
        assert_eq!(world.call(&caller, orders()).await.status, 502);
    }
    assert_eq!((open("main"), open("token")), (true, true));
    world.amazon.clear_scenarios();
    world.advance(Duration::from_secs(11));
    assert_eq!(world.call(&caller, orders()).await.status, 200);
    assert_eq!((open("main"), open("token")), (false, true));
    let told = |action: &str| -> Vec<String> {
        let lines = world.events(action).into_iter();
        lines.map(|line| line["sekisho.detail"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(told("breaker-opened"), ["token", "main"]);
    assert_eq!(told("breaker-closed"), ["main"]);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_breaker_opens_tries_once_and_closes() {
    let lines = "protocol = \"http/1.1\"\nbreaker = { failures = 3, open = \"10 s\" }";
    let world = World::with(Plan::default().fill("warehouse", lines).by_hand()).await;
    let caller = printer(&world, Alpn::Both);
    world.warehouse.set(Scenario::Error { status: http::StatusCode::SERVICE_UNAVAILABLE });
    for _ in 0..3 {
        // An upstream's own answer is passed on, however bad.
        let reply = world.call(&caller, Call::get(STOCK)).await;
        assert_eq!(reply.status, 503);
        assert_eq!(world.line_of(&reply)["event.outcome"], "allowed");
    }
    for _ in 0..2 {
        let reply = world.call(&caller, Call::get(STOCK)).await;
        assert_failed(&world, &reply, 503, "CircuitOpen");
        assert_eq!(world.line_of(&reply).get("sekisho.attempts"), None);
    }
    assert_eq!(world.warehouse.total(), 3);
    assert_eq!(world.events("breaker-opened").len(), 1);
    assert!(world.metric(DOWN) > 0.5);
    // Another upstream has a breaker of its own.
    assert_eq!(world.call(&caller, get(crate::support::ORDERS)).await.status, 200);
    world.advance(Duration::from_secs(11));
    assert_eq!(world.call(&caller, Call::get(STOCK)).await.status, 503, "the probe fails");
    assert_eq!(world.warehouse.total(), 4);
    assert_eq!(world.call(&caller, Call::get(STOCK)).await.status, 503);
    assert_eq!(world.warehouse.total(), 4, "open again");
    world.warehouse.set(Scenario::Normal);
    world.advance(Duration::from_secs(11));
    for _ in 0..2 {
        assert_eq!(world.call(&caller, Call::get(STOCK)).await.status, 200);
    }
    assert_eq!(world.events("breaker-opened").len(), 2);
    assert_eq!(world.events("breaker-closed").len(), 1);
    assert!(world.metric(DOWN) < 0.5);
    // A new configuration of the upstream begins anew, in the metrics too.
    world.warehouse.set(Scenario::CloseEarly);
    while world.metric(DOWN) < 0.5 {
        assert_eq!(world.call(&caller, Call::get(STOCK)).await.status, 502);
    }
    world.warehouse.set(Scenario::Normal);
    lead_to(&world, world.warehouse.address(), "").await;
    assert!(world.metric(DOWN) < 0.5);
    assert_eq!(world.call(&caller, Call::get(STOCK)).await.status, 200);
    world.finish().await;
}
