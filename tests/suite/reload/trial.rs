//! A configuration on trial: put back when more fails than before, and never what it took away.
use std::sync::Arc;
use std::time::Duration;

use sekisho::alarm::Kind;
use sekisho::devcerts::LeafPlan;
use sekisho::mock::{Alpn, MockConfig, MockHandle, MockSpApi, Personality, Scenario, Session};
use serde_json::Value;

use super::{GRANT, LESS, generation, reloads};
use crate::support::{ORDERS, Plan, World, bearing, get, now, until};

pub(super) const STOCK: &str = "/stock/A1";
pub(super) const MINUTE: Duration = Duration::from_secs(60);

async fn world() -> World {
    let world = World::with(Plan::default().by_hand()).await;
    world.warehouse.set(Scenario::Echo);
    world.amazon.set(Scenario::Echo);
    world
}

/// A warehouse that fails whatever it is asked.
pub(super) async fn broken(world: &World) -> MockHandle {
    let config = MockConfig::new(Personality::Warehouse, world.pki.upstream.clone());
    let mock = MockSpApi::start(config).await.unwrap();
    mock.set(Scenario::Error { status: http::StatusCode::INTERNAL_SERVER_ERROR });
    mock
}

pub(super) fn port(mock: &MockHandle) -> String {
    format!("endpoint = \"https://localhost:{}\"", mock.address().port())
}

pub(super) async fn printer(world: &World) -> Session {
    let caller = world.caller(|config| {
        config.identity = world.pki.client("label-printer").cloned();
        config.alpn = Alpn::H2;
    });
    caller.connect(world.address()).await.unwrap()
}

/// So many requests, one after the other; how many were answered with 200.
pub(super) async fn served(open: &Session, target: &str, count: usize) -> usize {
    let mut served = 0;
    for _ in 0..count {
        served += usize::from(open.call(get(target)).await.unwrap().status == 200);
    }
    served
}

/// Looks as the gateway does twice a second.
pub(super) async fn look(world: &World) {
    world.gateway.engine.judge_trial().await;
}

/// What was told when the first configuration came in force again: that is told when it has, a moment
/// later.
pub(super) async fn rolled_back(world: &World) -> Value {
    until("the one before is in force", || generation(world) == 1).await;
    until("it is told", || !world.events("config-rolled-back").is_empty()).await;
    let mut events = world.events("config-rolled-back");
    assert_eq!(events.len(), 1, "{events:?}");
    events.remove(0)
}

async fn alarmed(world: &World, kind: Kind) {
    let recent = || world.gateway.engine.alarms.recent();
    until("people are told", || recent().iter().any(|recent| recent.alarm.kind == kind)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn log_1_what_breaks_an_upstream_is_put_back() {
    let world = world().await;
    let other = broken(&world).await;
    let open = printer(&world).await;
    assert_eq!(served(&open, STOCK, 60).await, 60);
    // The other one has many more requests: by the whole, one failure in ten would be lost.
    assert_eq!(served(&open, ORDERS, 200).await, 200);
    world.advance(MINUTE);
    let (good, bad) = (port(&world.warehouse), port(&other));
    assert!(world.reload(|text| text.replace(&good, &bad)).await);
    assert_eq!(generation(&world), 2);
    world.advance(Duration::from_secs(1));
    for _ in 0..60 {
        if generation(&world) == 1 {
            break;
        }
        open.call(get(STOCK)).await.unwrap();
    }
    until("the requests are counted", || {
        let rows = world.requests();
        rows.iter().filter(|row| row["sekisho.snapshot"] == 2).count() >= 50
    })
    .await;
    look(&world).await;
    let event = rolled_back(&world).await;
    assert_eq!(event["sekisho.upstream"], "warehouse");
    assert_eq!([&event["sekisho.snapshot"], &event["sekisho.judged_snapshot"]], [1, 2]);
    assert_eq!([&event["sekisho.seen"], &event["sekisho.expected"]], [1_000, 0]);
    assert_eq!(
        (event["sekisho.subject"].as_str(), reloads(&world, "rolled-back")),
        (Some("upstream"), 1)
    );
    alarmed(&world, Kind::ConfigRolledBack).await;
    assert_eq!(served(&open, STOCK, 5).await, 5, "as before");

    // The same files, touched: not again by themselves.
    assert!(!world.gateway.files_changed().await);
    assert_eq!(generation(&world), 1);
    let refused = world.events("config-refused");
    assert_eq!(refused.last().unwrap()["sekisho.reason"], "put-back-before");
    // Whoever insists is heard, under a number of its own.
    assert!(world.gateway.reload().await);
    assert_eq!(generation(&world), 3);
    world.finish().await;
}

/// Refusals of what was taken away are meant, and nothing that fails beside gives it back.
#[tokio::test(flavor = "multi_thread")]
async fn acc_3_what_was_taken_away_is_not_given_back() {
    let world = world().await;
    let other = broken(&world).await;
    let (open, token) = (printer(&world).await, world.token("analyst"));
    assert_eq!(served(&open, STOCK, 60).await, 60);
    let analyst = world.nobody().connect(world.address()).await.unwrap();
    for _ in 0..60 {
        assert_eq!(analyst.call(bearing(get(ORDERS), &token)).await.unwrap().status, 200);
    }
    world.advance(MINUTE);
    let (good, bad) = (port(&world.warehouse), port(&other));
    assert!(world.reload(|text| text.replace(&good, &bad).replace(GRANT, LESS)).await);
    world.advance(Duration::from_secs(1));
    assert_eq!(served(&open, STOCK, 60).await, 0);
    for _ in 0..60 {
        assert_eq!(analyst.call(bearing(get(ORDERS), &token)).await.unwrap().status, 403);
    }
    until("people are told", || !world.events("config-suspect").is_empty()).await;
    look(&world).await;
    let [event] = &world.events("config-suspect")[..] else { panic!("told once") };
    assert_eq!((event["sekisho.reason"].as_str(), generation(&world)), (Some("it-narrows"), 2));
    assert_eq!(event["sekisho.upstream"], "warehouse");
    alarmed(&world, Kind::ConfigSuspect).await;
    assert_eq!(analyst.call(bearing(get(ORDERS), &token)).await.unwrap().status, 403);
    world.advance(MINUTE * 3);
    look(&world).await;
    assert!(world.events("config-proven").is_empty(), "it did not stand its trial");
    world.finish().await;
}

/// A change that only narrows: everybody it meets is refused, and that is all.
#[tokio::test(flavor = "multi_thread")]
async fn acc_3_refusals_of_a_change_that_narrows_are_no_failures() {
    let world = world().await;
    let token = world.token("analyst");
    let analyst = world.nobody().connect(world.address()).await.unwrap();
    for _ in 0..60 {
        assert_eq!(analyst.call(bearing(get(ORDERS), &token)).await.unwrap().status, 200);
    }
    world.advance(MINUTE);
    assert!(world.reload(|text| text.replace(GRANT, LESS)).await);
    world.advance(Duration::from_secs(30));
    for _ in 0..80 {
        assert_eq!(analyst.call(bearing(get(ORDERS), &token)).await.unwrap().status, 403);
    }
    look(&world).await;
    assert_eq!((generation(&world), reloads(&world, "rolled-back")), (2, 0));
    world.finish().await;
}

/// Nobody is answered under a certificate that the permit does not cover: that is told.
#[tokio::test(flavor = "multi_thread")]
async fn tls_3_a_change_that_closes_a_listener_is_suspect() {
    let world = world().await;
    for _ in 0..80 {
        printer(&world).await;
    }
    world.advance(MINUTE);
    let other = world.pki.ca.issue(&LeafPlan::server(&["more.test".to_owned()], now())).unwrap();
    std::fs::write(world.dir.join("more.pem"), other.certificate_pem()).unwrap();
    assert!(world.reload(|text| text.replace("pki/server.pem", "more.pem")).await);
    world.advance(MINUTE);
    for _ in 0..60 {
        assert!(world.printer().connect(world.address()).await.is_err());
    }
    look(&world).await;
    until("people are told", || !world.events("config-suspect").is_empty()).await;
    let [event] = &world.events("config-suspect")[..] else { panic!("told once") };
    assert_eq!([&event["sekisho.reason"], &event["sekisho.listener"]], ["it-narrows", "apps"]);
    world.finish().await;
}

/// An upstream that fails by itself, just after something else was changed.
#[tokio::test(flavor = "multi_thread")]
async fn log_1_what_the_change_did_not_touch_is_not_its_fault() {
    let world = world().await;
    let open = printer(&world).await;
    assert_eq!(served(&open, STOCK, 60).await, 60);
    assert_eq!(served(&open, ORDERS, 60).await, 60);
    world.advance(MINUTE);
    let (one, other) = (
        "[[upstream]]\nname = \"warehouse\"",
        "[[upstream]]\nconnect_timeout = \"4 s\"\nname = \"warehouse\"",
    );
    assert!(world.reload(|text| text.replace(one, other)).await);
    world.advance(Duration::from_secs(1));
    world.amazon.set(Scenario::Error { status: http::StatusCode::INTERNAL_SERVER_ERROR });
    assert_eq!(served(&open, ORDERS, 100).await, 0);
    assert_eq!(served(&open, STOCK, 60).await, 60);
    look(&world).await;
    assert_eq!(generation(&world), 2);
    assert!(world.events("config-suspect").is_empty());
    world.advance(MINUTE * 3);
    look(&world).await;
    until("it is told", || !world.events("config-proven").is_empty()).await;
    let proven = world.events("config-proven");
    assert_eq!((proven.len(), &proven[0]["sekisho.snapshot"]), (1, &2.into()));
    world.finish().await;
}

/// Tokens are looked for in another field: nobody gets in, and nothing was meant to be taken away.
#[tokio::test(flavor = "multi_thread")]
async fn acc_1_a_change_that_keeps_everybody_out_is_put_back() {
    let world = world().await;
    let token = world.token("analyst");
    let open = world.nobody().connect(world.address()).await.unwrap();
    let call = async |count: usize| {
        let mut served = 0;
        for _ in 0..count {
            let reply = open.call(bearing(get(ORDERS), &token)).await.unwrap();
            served += usize::from(reply.status == 200);
        }
        served
    };
    assert_eq!(call(80).await, 80);
    world.advance(MINUTE);
    assert!(
        world.reload(|text| text.replace("[token]\n", "[token]\nheader = \"x-token\"\n")).await
    );
    world.advance(MINUTE);
    // Whoever judges may be done before the last of them.
    assert!(call(60).await < 30);
    look(&world).await;
    let event = rolled_back(&world).await;
    assert_eq!(event["sekisho.subject"], "access");
    assert_eq!(call(5).await, 5);
    world.finish().await;
}

/// A flood of bad tokens in the minute after a change: callers are served as before.
#[tokio::test(flavor = "multi_thread")]
async fn mon_5_strangers_can_not_have_a_change_put_back() {
    let world = world().await;
    let open = printer(&world).await;
    assert_eq!(served(&open, ORDERS, 60).await, 60);
    world.advance(MINUTE);
    assert!(
        world.reload(|text| text.replace("[token]\n", "[token]\nbytes_max = \"9 KiB\"\n")).await
    );
    let strangers = world.caller(|config| config.alpn = Alpn::H1);
    for _ in 0..40 {
        // As many as one connection bears.
        let stranger = strangers.connect(world.address()).await.unwrap();
        for _ in 0..8 {
            let reply = stranger.call(bearing(get(ORDERS), "no.such.token")).await.unwrap();
            assert_eq!(reply.status, 401);
        }
    }
    assert_eq!(served(&open, ORDERS, 60).await, 60);
    world.advance(MINUTE);
    look(&world).await;
    assert_eq!((generation(&world), reloads(&world, "rolled-back")), (2, 0));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn log_1_where_people_decide_they_are_told_and_nothing_is_put_back() {
    let lines = "[reload]\non_errors = \"alarm\"\ntrial = \"30 s\"\n";
    let world = World::with(Plan::default().fill("more", lines).by_hand()).await;
    world.warehouse.set(Scenario::Echo);
    let other = broken(&world).await;
    let open = printer(&world).await;
    assert_eq!(served(&open, STOCK, 60).await, 60);
    world.advance(MINUTE);
    let (good, bad) = (port(&world.warehouse), port(&other));
    assert!(world.reload(|text| text.replace(&good, &bad)).await);
    world.advance(Duration::from_secs(1));
    assert_eq!(served(&open, STOCK, 60).await, 0);
    until("people are told", || !world.events("config-suspect").is_empty()).await;
    let [event] = &world.events("config-suspect")[..] else { panic!("told once") };
    assert_eq!((event["sekisho.reason"].as_str(), generation(&world)), (Some("on_errors"), 2));
    let engine = Arc::clone(&world.gateway.engine);
    assert!(engine.view_trial().until.is_some());
    world.advance(MINUTE);
    look(&world).await;
    assert!(engine.view_trial().until.is_none());
    world.finish().await;
}
