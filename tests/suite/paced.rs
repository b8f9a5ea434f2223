//! Toward Amazon, over the wire: its quotas are shared by weight and not overdrawn; who can't have its
//! turn in time is told so at once, and whose limit it was.
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use sekisho::base::Name;
use sekisho::engine::{LockOrder, Target};
use sekisho::lockout::Step;
use sekisho::mock::{
    Alpn, Call, CallFault, Flow, Operation, Rate, Reply, Scenario, Session, Throttling,
};
use serde_json::Value;

use crate::support::{ORDERS, Plan, World, amazon, bearing, error_of, get, put, until, until_some};

const ADDRESS: &str = "/orders/v0/orders/902-1234567-1234567/address";
const CALLERS: &str = r#"
[role.export]
purpose = "export orders"
allow = ["orders/*", "reports/*", "sellers/*"]
weight = 3
[role.browse]
purpose = "look at orders"
allow = ["orders/*", "sellers/*"]
[role.metered]
purpose = "be limited by both"
allow = ["orders/*"]
limits = [{ operations = ["orders/*"], requests = ["4/day"], concurrent = 8 }]
[identity.exporter]
kind = "service"
owner = "platform@example.com"
token = { issuer = "corp", subject = "exporter" }
networks = ["loopback"]
roles = ["export", "browse"]
[identity.browser]
kind = "service"
owner = "platform@example.com"
token = { issuer = "corp", subject = "browser" }
networks = ["loopback"]
roles = ["browse"]
[identity.metered]
kind = "service"
owner = "platform@example.com"
token = { issuer = "corp", subject = "metered" }
networks = ["loopback"]
roles = ["metered"]
"#;

/// What the suite's other tests are given, so that pacing is not in their way.
const UNPACED: &str =
    "pacing = { plans = [{ operations = [\"*\"], rate = \"10000/s\", burst = 10000 }] }";

/// A gateway before Amazon's production, whose plans are `pacing`'s.
fn plan(pacing: &str) -> Plan {
    Plan::default()
        .fill("identities", CALLERS)
        .replace(UNPACED, pacing)
        .replace("stage = \"sandbox\"\n", "")
        .by_hand()
}

/// Three calls at once, then one in two seconds, for every operation: the mock's and the gateway's.
const SLOW: &str = "pacing = { wait = \"0 s\", max_wait = \"10 min\", plans = [{ operations = [\"*\"], rate = \"30/min\", burst = 3 }] }";

async fn world(pacing: &str) -> World {
    let slow = Throttling::Every(Rate { per_second: 0.5, burst: 3 });
    World::with(plan(pacing).throttling(slow)).await
}

async fn ask(world: &World, who: &str, call: Call) -> Reply {
    world.call(&world.nobody(), bearing(call, &world.token(who))).await
}

fn patient(call: Call, secs: &str) -> Call {
    let mut call = call;
    put(&mut call, "sekisho-max-wait", secs);
    call
}

fn overdrawn(reply: &Reply, fault: &str) {
    assert_eq!(reply.status, 429, "{}", reply.text());
    assert_eq!(error_of(reply).0, "Sekisho.UpstreamQuotaExceeded", "{fault}");
}

/// Sends calls on one HTTP/2 connection and goes on when all are in the queue.
async fn queue(world: &World, open: &Session, who: &str, count: usize, secs: &str) -> Vec<Queued> {
    let before = world.metric("sekisho_pacing_waiting");
    let token = world.token(who);
    let calls = (0..count).map(|_| {
        let (open, call) = (open.clone(), patient(bearing(get(ORDERS), &token), secs));
        tokio::spawn(async move { open.call(call).await })
    });
    let calls: Vec<_> = calls.collect();
    let want = before + f64::from(u32::try_from(count).unwrap());
    until("all wait", || world.metric("sekisho_pacing_waiting") >= want - 0.1).await;
    calls
}

type Queued = tokio::task::JoinHandle<Result<Reply, CallFault>>;

async fn h2(world: &World) -> Session {
    let caller = world.caller(|config| config.alpn = Alpn::H2);
    caller.connect(world.address()).await.unwrap()
}

async fn exhaust(world: &World) {
    for _ in 0..3 {
        assert_eq!(ask(world, "browser", get(ORDERS)).await.status, 200);
    }
}

fn done(calls: &[Queued]) -> usize {
    calls.iter().filter(|call| call.is_finished()).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_2_a_slow_quota_of_amazon_s_is_shared_by_weight_and_never_overdrawn() {
    let world = world(SLOW).await;
    for _ in 0..3 {
        assert_eq!(ask(&world, "metered", get(ORDERS)).await.status, 200);
    }
    let (one, other) = (h2(&world).await, h2(&world).await);
    let browser = queue(&world, &one, "browser", 20, "300").await;
    let exporter = queue(&world, &other, "exporter", 20, "300").await;
    // One call in two seconds and a little: sixteen turns, of which the exporter has three in four.
    for turn in 1..=16 {
        world.advance(Duration::from_millis(2_010));
        until("the next has gone", || done(&browser) + done(&exporter) >= turn).await;
        assert_eq!(done(&browser) + done(&exporter), turn);
    }
    assert_eq!((done(&exporter), done(&browser)), (12, 4));
    // Nobody starves: the rest goes as well.
    for turn in 17..=40 {
        world.advance(Duration::from_millis(2_010));
        until("the next has gone", || done(&browser) + done(&exporter) >= turn).await;
    }
    for call in browser.into_iter().chain(exporter) {
        let reply = call.await.unwrap().unwrap();
        assert_eq!(reply.status, 200, "Amazon never had to refuse: {}", reply.text());
        assert_eq!(reply.header("x-amzn-ratelimit-limit"), Some("0.5"));
        assert!(world.line_of(&reply)["sekisho.paced_us"].as_u64().unwrap() >= 2_000_000);
    }
    assert_eq!(world.amazon.count(Operation::GetOrders), 43);
    assert!(world.metric("sekisho_pacing_waiting").abs() < 0.1);
    assert!((world.metric("sekisho_pacing_wait_seconds_count") - 40.0).abs() < 0.1);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_2_beyond_its_patience_a_call_is_refused_at_once_with_the_wait_that_is_true() {
    let world = world(SLOW).await;
    exhaust(&world).await;
    let reply = ask(&world, "browser", get(ORDERS)).await;
    overdrawn(&reply, "Patience");
    let wait: u64 = reply.header("retry-after").unwrap().parse().unwrap();
    assert_eq!(reply.header("x-amzn-errortype"), Some("QuotaExceeded"));
    assert!(reply.header("ratelimit").is_none(), "it is not the gateway's limit");
    let (_, message) = error_of(&reply);
    for word in ["Amazon's quota for orders/getOrders", "0.5/s, 3 at once", "not the gateway's"] {
        assert!(message.contains(word), "{message}");
    }
    let details = reply.json()["errors"][0]["details"].as_str().unwrap().to_owned();
    assert!(details.starts_with(&format!("MON-2; try again in {wait} s")), "{details}");
    assert!(details.contains("Sekisho-Max-Wait"), "{details}");
    let line = world.line_of(&reply);
    assert_eq!(line["sekisho.denial"], "UpstreamQuotaExceeded");
    assert_eq!(
        (&line["sekisho.detail"], &line["sekisho.control"]),
        (&"Patience".into(), &"MON-2".into())
    );
    assert_eq!(
        (&line["sekisho.paced_us"], &line["sekisho.upstream"]),
        (&Value::Null, &Value::Null)
    );
    assert!((world.metric("sekisho_pacing_refused_total{reason=\"patience\"}") - 1.0).abs() < 0.1);
    // Other operations have quotas of their own.
    assert_eq!(ask(&world, "browser", get(ADDRESS)).await.status, 404);
    // Neither early nor late: a second before it is refused, at its time it is served.
    world.advance(Duration::from_millis(wait * 1_000 - 1_100));
    overdrawn(&ask(&world, "browser", get(ORDERS)).await, "Patience");
    world.advance(Duration::from_millis(1_100));
    assert_eq!(ask(&world, "browser", get(ORDERS)).await.status, 200);
    assert_eq!(world.amazon.count(Operation::GetOrders), 4);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_2_the_caller_says_how_long_it_waits_within_what_is_configured() {
    let world = world(&SLOW.replace("10 min", "5 s").replace("0 s", "3 s")).await;
    exhaust(&world).await;
    // Who wants no wait has none, although three seconds are configured.
    overdrawn(&ask(&world, "browser", patient(get(ORDERS), "0")).await, "Patience");
    overdrawn(&ask(&world, "browser", patient(get(ORDERS), "0.5")).await, "Patience");
    let open = h2(&world).await;
    // An hour is asked for, five seconds are granted: two turns.
    let two = queue(&world, &open, "browser", 2, "3600").await;
    let reply = ask(&world, "browser", patient(get(ORDERS), "3600")).await;
    overdrawn(&reply, "Patience");
    let nonsense = ["", "-1", "1e3", "soon", "1,5", "1 s", "99999999999999999999"];
    for text in nonsense {
        let reply = ask(&world, "browser", patient(get(ORDERS), text)).await;
        assert_eq!(reply.status, 400, "{text:?}");
        assert_eq!(error_of(&reply).0, "Sekisho.HeadNotAccepted");
        assert!(error_of(&reply).1.contains("Sekisho-Max-Wait"), "{}", reply.text());
        assert_eq!(world.line_of(&reply)["sekisho.detail"], "MaxWait");
    }
    let twice = patient(patient(get(ORDERS), "1"), "1");
    assert_eq!(ask(&world, "browser", twice).await.status, 400);
    world.advance(Duration::from_millis(2_010));
    until("one has gone", || done(&two) == 1).await;
    world.advance(Duration::from_millis(2_010));
    for call in two {
        assert_eq!(call.await.unwrap().unwrap().status, 200);
    }
    for seen in world.amazon.requests() {
        assert!(seen.headers.keys().all(|name| !name.as_str().starts_with("sekisho")), "{seen:?}");
    }
    // Where nothing is paced nothing is asked either.
    let reply = world.call(&world.printer(), patient(get("/stock/A1"), "soon")).await;
    assert_eq!(reply.status, 200);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_2_a_caller_that_goes_away_frees_its_place() {
    for alpn in [Alpn::H1, Alpn::H2] {
        let world = world(SLOW).await;
        exhaust(&world).await;
        let caller = world.caller(|config| config.alpn = alpn);
        let open = caller.connect(world.address()).await.unwrap();
        let gone = queue(&world, &open, "exporter", 1, "60").await;
        let stays = h2(&world).await;
        let stays = queue(&world, &stays, "browser", 1, "60").await;
        for call in &gone {
            call.abort();
        }
        drop((open, gone));
        until("one place is free", || (world.metric("sekisho_pacing_waiting") - 1.0).abs() < 0.1)
            .await;
        // Its turn is the other's.
        world.advance(Duration::from_millis(2_010));
        for call in stays {
            assert_eq!(call.await.unwrap().unwrap().status, 200);
        }
        assert_eq!(world.amazon.count(Operation::GetOrders), 4);
        // Its line comes after its place is free.
        let line = until_some("its line", async || {
            let mut lines = world.requests().into_iter();
            lines.find(|line| line["sekisho.detail"] == "CallerWentAway")
        })
        .await;
        assert_eq!(line["user.name"], "exporter");
        world.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_2_what_amazon_says_of_its_rate_is_learned_and_outlives_a_reload() {
    // The gateway believes in 100 a minute; Amazon says one in ten seconds.
    let pacing = SLOW.replace("30/min", "100/s");
    let slow = Throttling::Every(Rate { per_second: 0.1, burst: 3 });
    let world = World::with(plan(&pacing).throttling(slow)).await;
    exhaust(&world).await;
    for n in 0..3 {
        let reply = ask(&world, "browser", get(ORDERS)).await;
        overdrawn(&reply, "Patience");
        assert!(error_of(&reply).1.contains("0.1/s"), "{}", reply.text());
        let wait: u64 = reply.header("retry-after").unwrap().parse().unwrap();
        assert!((8..=11).contains(&wait), "{wait}");
        // Another order of upstreams, roles and identities changes no number.
        let edit = |text: String| {
            let more = format!(
                "[role.aaa{n}]\npurpose = \"come first\"\nallow = [\"orders/*\"]\n[token]\n"
            );
            text.replace("[token]\n", &more)
        };
        assert!(world.reload(edit).await);
    }
    let standings = world.gateway.engine.pacing_standings();
    let (upstream, operation, standing) = &standings[0];
    assert_eq!((upstream.as_str(), operation.as_str()), ("amazon", "orders/getOrders"));
    assert_eq!((standing.nano_hz, standing.burst, standings.len()), (100_000_000, 3, 1));
    world.advance(Duration::from_secs(11));
    assert_eq!(ask(&world, "browser", get(ORDERS)).await.status, 200);
    assert_eq!(world.amazon.total(), 4);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_2_amazon_s_own_refusals_slow_down_and_ours_do_not() {
    let world = World::with(plan(&SLOW.replace("30/min", "60/s"))).await;
    let standing = || world.gateway.engine.pacing_standings()[0].2;
    exhaust(&world).await;
    for _ in 0..20 {
        overdrawn(
            &ask(
                &world,
                "browser",
                get("/orders/v0/orders?MarketplaceIds=A1VC38T7YXB528&NextToken=x"),
            )
            .await,
            "Patience",
        );
    }
    assert!(!standing().throttled, "our own refusals teach nothing");
    world.advance(Duration::from_secs(300));
    world.amazon.set(Scenario::Throttle);
    let theirs = ask(&world, "browser", get(ORDERS)).await;
    assert_eq!(theirs.status, 429);
    assert!(!theirs.text().contains("Sekisho"), "Amazon's own words");
    assert!(standing().throttled);
    let series = "sekisho_upstream_throttled_total{status=\"429\",upstream=\"amazon\"}";
    assert!((world.metric(series) - 1.0).abs() < 0.1);
    // It said that nothing is left, so nothing is sent.
    world.amazon.set(Scenario::Normal);
    overdrawn(&ask(&world, "browser", get(ORDERS)).await, "Patience");
    assert_eq!(world.amazon.count(Operation::GetOrders), 4);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_2_a_refusal_for_amazon_s_sake_leaves_the_gateway_s_own_quotas_alone() {
    let world = world(SLOW).await;
    exhaust(&world).await;
    for _ in 0..10 {
        overdrawn(&ask(&world, "metered", get(ORDERS)).await, "Patience");
        let reply = ask(&world, "metered", patient(get(ORDERS), "now")).await;
        assert_eq!(reply.status, 400);
    }
    // Four a day: all four are left.
    for _ in 0..4 {
        world.advance(Duration::from_millis(2_010));
        assert_eq!(ask(&world, "metered", get(ORDERS)).await.status, 200);
    }
    world.advance(Duration::from_secs(60));
    let reply = ask(&world, "metered", get(ORDERS)).await;
    assert_eq!(error_of(&reply).0, "Sekisho.QuotaExceeded", "its own quota comes first");
    // And a call that its own quota refuses takes nothing from Amazon's.
    for _ in 0..10 {
        assert_eq!(ask(&world, "metered", get(ORDERS)).await.status, 429);
    }
    exhaust(&world).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_2_a_gateway_that_stops_answers_those_who_wait() {
    // Half of the grace is theirs; the turn of the first has to come in it.
    let plan = plan(SLOW).replace("shutdown_grace = \"2 s\"", "shutdown_grace = \"8 s\"");
    let slow = Throttling::Every(Rate { per_second: 0.5, burst: 3 });
    let world = World::with(plan.throttling(slow)).await;
    exhaust(&world).await;
    let open = h2(&world).await;
    let first = queue(&world, &open, "browser", 1, "500").await;
    let (engine, hand) = (Arc::clone(&world.gateway.engine), world.hand.clone().unwrap());
    let second = queue(&world, &open, "browser", 1, "500").await;
    let stopping = tokio::spawn(world.stop());
    until("it drains", || engine.readiness().is_err()).await;
    // One whose turn comes meanwhile goes, one whose turn doesn't is told so.
    hand.advance(Duration::from_millis(2_010));
    for call in first {
        assert_eq!(call.await.unwrap().unwrap().status, 200);
    }
    for call in second {
        let reply = call.await.unwrap().unwrap();
        overdrawn(&reply, "Draining");
        assert!(reply.header("retry-after").is_some());
    }
    let log = stopping.await.unwrap();
    let told = log.iter().filter(|line| line["sekisho.detail"] == "Draining").count();
    assert_eq!(told, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_2_a_lock_reaches_calls_that_wait() {
    let world = world(SLOW).await;
    exhaust(&world).await;
    let open = h2(&world).await;
    let locked = queue(&world, &open, "exporter", 3, "500").await;
    let other = queue(&world, &open, "browser", 1, "500").await;
    let name = |text| Name::parse(text).unwrap();
    let order = LockOrder {
        target: Target::Identity(name("exporter")),
        step: Step::Lock,
        lasts: None,
        by: name("officer"),
        case: name("CASE-1"),
    };
    world.gateway.engine.lock(&order).await.unwrap();
    for call in locked {
        let reply = call.await.unwrap().unwrap();
        assert_eq!(
            (reply.status.as_u16(), error_of(&reply).0.as_str()),
            (401, "Sekisho.TokenNotAccepted")
        );
        assert_eq!(world.line_of(&reply)["sekisho.denial"], "Locked");
    }
    // Their turns are the others'.
    world.advance(Duration::from_millis(2_010));
    for call in other {
        assert_eq!(call.await.unwrap().unwrap().status, 200);
    }
    assert_eq!(world.amazon.count(Operation::GetOrders), 4);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_2_a_body_may_wait_with_its_call() {
    // A body that is not read for want of a turn is not too slow: HTTP/2's watch waits with it.
    let world = World::with(
        plan(SLOW)
            .fill("bounds", "body_rate_grace = \"2 s\"\nbody_rate = \"1 KiB/s\"")
            .throttling(Throttling::Every(Rate { per_second: 0.5, burst: 3 })),
    )
    .await;
    let report = || {
        let mut call = amazon(Method::POST, "/reports/2021-06-30/reports");
        put(&mut call, "content-type", "application/json");
        call.body = Flow::whole(
            "{\"reportType\":\"GET_MERCHANT_LISTINGS_ALL_DATA\",\"marketplaceIds\":[\"A1VC38T7YXB528\"]}",
        );
        call
    };
    for alpn in [Alpn::H1, Alpn::H2] {
        let caller = world.caller(|config| config.alpn = alpn);
        let token = world.token("exporter");
        for _ in 0..3 {
            let reply = world.call(&caller, bearing(report(), &token)).await;
            assert_eq!(reply.status, 202, "{}", reply.text());
        }
        let (address, call) = (world.address(), patient(bearing(report(), &token), "60"));
        let waits = tokio::spawn(async move { caller.call(address, call).await });
        until("it waits", || world.metric("sekisho_pacing_waiting") > 0.5).await;
        // Longer than a body may stand still otherwise.
        tokio::time::sleep(Duration::from_millis(2_600)).await;
        world.advance(Duration::from_millis(2_010));
        let reply = waits.await.unwrap().unwrap();
        assert_eq!(reply.status, 202, "{}", reply.text());
        world.advance(Duration::from_secs(60));
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_2_a_call_that_never_reached_amazon_costs_nothing_there() {
    let world = World::with(plan(&SLOW.replace("30/min", "1/day"))).await;
    // The connection is refused, or given up for another: its turn is not used up.
    let port = world.amazon.address().port().to_string();
    assert!(world.reload(|text| text.replace(&format!("localhost:{port}"), "localhost:1")).await);
    for _ in 0..10 {
        let reply = ask(&world, "browser", get(ORDERS)).await;
        assert_eq!(reply.status.as_u16() / 100, 5, "{}", reply.text());
    }
    assert!(
        world.reload(|text| text.replace("localhost:1\"", &format!("localhost:{port}\""))).await
    );
    exhaust(&world).await;
    overdrawn(&ask(&world, "browser", get(ORDERS)).await, "Patience");
    // One that broke on the way may have been counted.
    world.advance(Duration::from_secs(300_000));
    world.amazon.script(&[Scenario::CloseEarly]);
    assert_eq!(ask(&world, "browser", get(ORDERS)).await.status, 502);
    for _ in 0..2 {
        assert_eq!(ask(&world, "browser", get(ORDERS)).await.status, 200);
    }
    overdrawn(&ask(&world, "browser", get(ORDERS)).await, "Patience");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_2_amazon_s_published_plans_hold_where_nothing_is_configured() {
    let pacing = "pacing = { wait = \"0 s\" }";
    let world = World::with(plan(pacing).throttling(Throttling::Amazon)).await;
    for _ in 0..20 {
        assert_eq!(ask(&world, "browser", get(ORDERS)).await.status, 200);
    }
    let reply = ask(&world, "exporter", get(ORDERS)).await;
    overdrawn(&reply, "Patience");
    assert!(error_of(&reply).1.contains("0.0167/s, 20 at once"), "{}", reply.text());
    let wait: u64 = reply.header("retry-after").unwrap().parse().unwrap();
    assert!((60..=62).contains(&wait), "{wait}");
    // Operations of other APIs have others, and internal stores none.
    assert_eq!(
        ask(&world, "browser", get("/sellers/v1/marketplaceParticipations")).await.status,
        200
    );
    for _ in 0..40 {
        assert_eq!(world.call(&world.printer(), get("/stock/A1")).await.status, 200);
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_2_the_sandbox_has_one_quota_for_everything() {
    let plan = plan("pacing = { wait = \"0 s\" }");
    let world =
        World::with(plan.replace("region = \"fe\"\n", "region = \"fe\"\nstage = \"sandbox\"\n"))
            .await;
    for n in 0..15 {
        let target = if n % 2 == 0 { ORDERS } else { "/sellers/v1/marketplaceParticipations" };
        assert_eq!(ask(&world, "browser", get(target)).await.status, 200);
    }
    for target in [ORDERS, "/sellers/v1/marketplaceParticipations"] {
        overdrawn(&ask(&world, "browser", get(target)).await, "Patience");
    }
    // What Amazon says of one operation's rate is not the sandbox's.
    let standings = world.gateway.engine.pacing_standings();
    assert_eq!((standings.len(), standings[0].2.nano_hz), (1, 5_000_000_000));
    world.advance(Duration::from_secs(1));
    assert_eq!(ask(&world, "browser", get(ORDERS)).await.status, 200);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_2_a_second_try_takes_a_second_turn() {
    let pacing = SLOW.replace("30/min", "1/day").replace("burst = 3", "burst = 40");
    let world = World::with(plan(&pacing).fill("amazon", "protocol = \"http/1.1\"")).await;
    let ask = || ask(&world, "browser", get(ORDERS));
    // A pooled connection that closes over the request is tried again, and the request may have been
    // counted. A connection comes back to the pool a moment after its answer: not always in time.
    let mut attempts = 0;
    for _ in 0..10 {
        assert_eq!(ask().await.status, 200);
        world.amazon.script(&[Scenario::CloseEarly]);
        attempts = world.line_of(&ask().await)["sekisho.attempts"].as_u64().unwrap();
        if attempts == 2 {
            break;
        }
    }
    assert_eq!(attempts, 2);
    let mut last = ask().await;
    while last.status == 200 {
        last = ask().await;
    }
    overdrawn(&last, "Patience");
    assert_eq!(world.amazon.count(Operation::GetOrders), 40, "each try has taken its turn");
    // Where no turn is left there is no second try.
    // The mock tells Amazon's own rate, one in a minute.
    world.advance(Duration::from_secs(62));
    world.amazon.script(&[Scenario::CloseEarly]);
    assert!(ask().await.status.as_u16() >= 429);
    assert_eq!(world.amazon.count(Operation::GetOrders), 41);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_2_what_amazon_said_of_its_rate_outlives_a_restart() {
    let said = |world: &World| {
        let standings = world.gateway.engine.pacing_standings();
        standings.iter().map(|(_, _, standing)| standing.nano_hz).min()
    };
    let fast = SLOW.replace("30/min", "60/min");
    let world = world(&fast).await;
    assert_eq!(ask(&world, "browser", get(ORDERS)).await.status, 200);
    assert_eq!(said(&world), Some(500_000_000));
    let world = world.restart().await;
    // This answer does not say it again.
    world.amazon.set(Scenario::Echo);
    let reply = ask(&world, "browser", get(ORDERS)).await;
    assert_eq!((reply.status.as_u16(), reply.header("x-amzn-ratelimit-limit")), (200, None));
    assert_eq!(said(&world), Some(500_000_000));
    world.finish().await;
}
