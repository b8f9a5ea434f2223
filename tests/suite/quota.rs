//! Quotas over the wire: charged for what passes only, in every window or in none, to one identity.
use std::time::Duration;

use http::{Method, StatusCode};
use sekisho::mock::{Alpn, Reply, Scenario, Session};

use crate::support::{ORDERS, Plan, World, amazon, bearing, error_of, get, until, until_some};
use crate::wire::counted;

const MORE: &str = r#"
[identity.second]
kind = "service"
owner = "platform@example.com"
token = { issuer = "corp", subject = "second" }
networks = ["loopback"]
roles = ["limited"]
[role.many]
purpose = "be limited as a group"
allow = ["orders/*", "warehouse/*", "sellers/*"]
limits = [{ operations = ["orders/*"], requests = ["2/s", "5/min"] }]
[identity.several]
kind = "service"
owner = "platform@example.com"
token = { issuer = "corp", subject = "several" }
networks = ["loopback"]
roles = ["many"]
limits = [{ operations = ["warehouse/*"], requests = ["1/h"] }]
[role.burst]
purpose = "burst"
allow = ["orders/getOrders"]
limits = [{ operations = ["*"], requests = ["50/h"] }]
[identity.burster]
kind = "service"
owner = "platform@example.com"
token = { issuer = "corp", subject = "burster" }
networks = ["loopback"]
roles = ["burst"]
"#;

async fn world() -> World {
    let world = World::with(Plan::default().fill("identities", MORE).by_hand()).await;
    world.amazon.set(Scenario::Echo);
    world.warehouse.set(Scenario::Echo);
    world
}

async fn ask(world: &World, who: &str, target: &str) -> Reply {
    world.call(&world.nobody(), bearing(get(target), &world.token(who))).await
}

/// Asks until there is a place: a request gives its own back when it is over, and its caller may know
/// that first.
async fn placed(world: &World, who: &str, target: &str) -> Reply {
    until_some("a place is free", async || {
        let reply = ask(world, who, target).await;
        (reply.status != 429).then_some(reply)
    })
    .await
}

fn exceeded(reply: &Reply) {
    assert_eq!(reply.status, 429, "{}", reply.text());
    assert_eq!(error_of(reply).0, "Sekisho.QuotaExceeded");
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_2_the_fourth_of_three_a_minute_waits() {
    let world = world().await;
    let policy = "\"role/limited/1-1m\";q=3;w=60, \"role/limited/1-1d\";q=100;w=86400";
    for left in [2, 1, 0] {
        let reply = ask(&world, "limited-caller", ORDERS).await;
        assert_eq!(reply.status, 200);
        assert_eq!(reply.header("ratelimit-policy"), Some(policy));
        let standing = reply.header("ratelimit").unwrap();
        assert!(standing.starts_with(&format!("\"role/limited/1-1m\";r={left};t=")), "{standing}");
    }
    let reply = ask(&world, "limited-caller", ORDERS).await;
    exceeded(&reply);
    assert_eq!(reply.header("retry-after"), Some("20"));
    assert_eq!(reply.header("ratelimit-policy"), Some(policy));
    assert_eq!(reply.header("ratelimit"), Some("\"role/limited/1-1m\";r=0;t=20"));
    assert_eq!(reply.header("x-amzn-errortype"), Some("QuotaExceeded"));
    let (_, message) = error_of(&reply);
    for word in ["limited-caller", "orders/getOrders", "role/limited/1", "not Amazon's"] {
        assert!(message.contains(word), "{message}");
    }
    let details = reply.json()["errors"][0]["details"].as_str().unwrap().to_owned();
    assert!(details.starts_with("MON-2; try again in 20 s, as Retry-After says"), "{details}");
    let line = world.line_of(&reply);
    assert_eq!(
        (&line["sekisho.denial"], &line["user.name"]),
        (&"QuotaExceeded".into(), &"limited-caller".into())
    );
    assert_eq!(line["sekisho.limit"], "role/limited/1");
    // Counted after its line is written.
    let series = "sekisho_limits_exceeded_total{limit=\"role/limited/1\",mode=\"enforce\"}";
    counted(&world, series, 1).await;
    // Amazon's own 429 is Amazon's: it names no limit of the gateway.
    world.amazon.set(Scenario::Throttle);
    let theirs = ask(&world, "analyst", ORDERS).await;
    assert_eq!(theirs.status, 429);
    assert!(theirs.header("ratelimit").is_none());
    assert!(!theirs.text().contains("Sekisho"));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_2_time_gives_back_exactly_what_it_owes() {
    let world = world().await;
    for _ in 0..3 {
        assert_eq!(ask(&world, "limited-caller", ORDERS).await.status, 200);
    }
    // One request comes back every 20 s, to the nanosecond.
    for _ in 0..3 {
        exceeded(&ask(&world, "limited-caller", ORDERS).await);
        world.advance(Duration::from_nanos(19_999_999_999));
        let reply = ask(&world, "limited-caller", ORDERS).await;
        exceeded(&reply);
        assert_eq!(reply.header("retry-after"), Some("1"));
        world.advance(Duration::from_nanos(1));
        assert_eq!(ask(&world, "limited-caller", ORDERS).await.status, 200);
    }
    // An hour of rest gives three, not more.
    world.advance(Duration::from_secs(3_600));
    for _ in 0..3 {
        assert_eq!(ask(&world, "limited-caller", ORDERS).await.status, 200);
    }
    exceeded(&ask(&world, "limited-caller", ORDERS).await);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_2_refused_calls_cost_nothing() {
    let world = world().await;
    let nobody = world.nobody();
    let token = world.token("limited-caller");
    for _ in 0..5 {
        for (target, status) in [
            ("/orders/v0/orders/902-1/address", 403),
            ("/orders/v0/orders/", 400),
            ("/orders/v0/orders?a=1;b", 400),
            ("/nothing", 404),
        ] {
            let reply = world.call(&nobody, bearing(get(target), &token)).await;
            assert_eq!(reply.status, status, "{target}");
            assert!(reply.header("ratelimit").is_none());
        }
        let reply = world.call(&nobody, bearing(amazon(Method::OPTIONS, ORDERS), &token)).await;
        assert_eq!(reply.status, 405);
    }
    for _ in 0..3 {
        assert_eq!(ask(&world, "limited-caller", ORDERS).await.status, 200);
    }
    for _ in 0..10 {
        exceeded(&ask(&world, "limited-caller", ORDERS).await);
    }
    // Ten refusals have not put the next one off.
    world.advance(Duration::from_secs(20));
    assert_eq!(ask(&world, "limited-caller", ORDERS).await.status, 200);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_2_every_window_is_charged_or_none() {
    let world = world().await;
    let several = |target: &'static str| ask(&world, "several", target);
    // 2/s and 5/min over all of orders together; another operation of the group counts as well.
    assert_eq!(several(ORDERS).await.status, 200);
    assert_eq!(several("/orders/v0/orders/902-1/address").await.status, 200);
    for _ in 0..4 {
        let reply = several(ORDERS).await;
        exceeded(&reply);
        assert_eq!(reply.header("retry-after"), Some("1"));
        assert!(reply.header("ratelimit").unwrap().starts_with("\"role/many/1-1s\";r=0"));
    }
    // What the second refused, the minute was not charged for: three are left of it.
    world.advance(Duration::from_secs(1));
    assert_eq!(several(ORDERS).await.status, 200);
    assert_eq!(several(ORDERS).await.status, 200);
    world.advance(Duration::from_secs(1));
    assert_eq!(several(ORDERS).await.status, 200);
    // 5/min gives one back every 12 s; two seconds have gone by.
    let reply = several(ORDERS).await;
    exceeded(&reply);
    assert_eq!(reply.header("ratelimit"), Some("\"role/many/1-1m\";r=0;t=10"));
    // Other operations have limits of their own, or none.
    let free = several("/sellers/v1/marketplaceParticipations").await;
    assert_eq!(free.status, 200);
    assert!(free.header("ratelimit").is_none() && free.header("ratelimit-policy").is_none());
    assert_eq!(several("/stock/A1").await.status, 200);
    let reply = several("/stock/A1").await;
    exceeded(&reply);
    assert_eq!(reply.header("retry-after"), Some("3600"));
    assert_eq!(reply.header("ratelimit-policy"), Some("\"identity/several/1-1h\";q=1;w=3600"));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_2_one_identity_does_not_spend_another_s() {
    let world = world().await;
    for _ in 0..3 {
        assert_eq!(ask(&world, "limited-caller", ORDERS).await.status, 200);
    }
    exceeded(&ask(&world, "limited-caller", ORDERS).await);
    for _ in 0..3 {
        assert_eq!(ask(&world, "second", ORDERS).await.status, 200);
    }
    exceeded(&ask(&world, "second", ORDERS).await);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_2_a_reload_refills_nothing() {
    let world = world().await;
    for _ in 0..3 {
        assert_eq!(ask(&world, "limited-caller", ORDERS).await.status, 200);
    }
    for n in 0..3 {
        assert!(world.reload(|text| text + &format!("# {n}\n")).await);
        exceeded(&ask(&world, "limited-caller", ORDERS).await);
    }
    // Another order of roles, and identities before it: spent state goes by name.
    let other = "[identity.aaa]\nkind = \"service\"\nowner = \"x@example.com\"\n\
                 token = { issuer = \"corp\", subject = \"aaa\" }\nnetworks = [\"loopback\"]\nroles = [\"limited\"]\n\
                 [role.aaa]\npurpose = \"come first\"\nallow = [\"orders/*\"]\n\
                 limits = [{ operations = [\"orders/*\"], requests = [\"9/min\"] }]\n";
    assert!(world.reload(|text| text.replace("[token]\n", &format!("{other}[token]\n"))).await);
    exceeded(&ask(&world, "limited-caller", ORDERS).await);
    assert_eq!(ask(&world, "aaa", ORDERS).await.status, 200);
    // A limit that was raised is felt at once, but what was spent stays spent.
    assert!(world.reload(|text| text.replace("\"3/min\"", "\"60/min\"")).await);
    let reply = ask(&world, "limited-caller", ORDERS).await;
    assert!(reply.status == 200 || reply.header("retry-after") == Some("1"), "{}", reply.text());
    world.finish().await;
}

async fn burst(open: &Session, token: &str, count: usize) -> Vec<Reply> {
    let calls = (0..count).map(|_| {
        let (open, call) = (open.clone(), bearing(get(ORDERS), token));
        tokio::spawn(async move { open.call(call).await.unwrap() })
    });
    let mut replies = Vec::new();
    for call in calls.collect::<Vec<_>>() {
        replies.push(call.await.unwrap());
    }
    replies
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn mon_2_a_burst_over_http2_never_exceeds() {
    let world = world().await;
    let token = world.token("burster");
    let caller = world.caller(|config| config.alpn = Alpn::H2);
    let mut passed = 0;
    let mut sessions = Vec::new();
    for _ in 0..4 {
        sessions.push(caller.connect(world.address()).await.unwrap());
    }
    let bursts = sessions.iter().map(|open| {
        let (open, token) = (open.clone(), token.clone());
        tokio::spawn(async move { burst(&open, &token, 50).await })
    });
    for replies in bursts.collect::<Vec<_>>() {
        for reply in replies.await.unwrap() {
            match reply.status.as_u16() {
                200 => passed += 1,
                _ => exceeded(&reply),
            }
        }
    }
    assert_eq!(passed, 50);
    assert_eq!(world.amazon.total(), 50);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn mon_2_a_burst_while_reloading_never_exceeds() {
    let world = world().await;
    let token = world.token("burster");
    let caller = world.caller(|config| config.alpn = Alpn::H2);
    let open = caller.connect(world.address()).await.unwrap();
    let spending = {
        let (open, token) = (open.clone(), token.clone());
        tokio::spawn(async move {
            let mut replies = Vec::new();
            for _ in 0..10 {
                replies.extend(burst(&open, &token, 12).await);
            }
            replies
        })
    };
    for n in 0..6 {
        assert!(world.reload(|text| text + &format!("# {n}\n")).await);
    }
    let replies = spending.await.unwrap();
    let passed = replies.iter().filter(|reply| reply.status == 200).count();
    assert_eq!(passed, 50);
    assert_eq!(world.amazon.total(), 50);
    world.finish().await;
}

const OTHERS: &str = r#"
[role.shop]
purpose = "run the shop"
allow = ["orders/getOrders", "warehouse/*"]
limits = [
    { operations = ["warehouse/download"], bytes = ["100 kB/min"] },
    { operations = ["orders/*"], requests = ["4/min"], per = "role" },
    { operations = ["orders/*"], requests = ["1/min"], mode = "shadow" },
]
[identity.one]
kind = "service"
owner = "platform@example.com"
token = { issuer = "corp", subject = "one" }
networks = ["loopback"]
roles = ["shop"]
[identity.other]
kind = "service"
owner = "platform@example.com"
token = { issuer = "corp", subject = "other" }
networks = ["loopback"]
roles = ["shop"]
[limit.warehouse]
per = "seller"
operations = ["warehouse/getStock"]
concurrent = 1
"#;

#[tokio::test(flavor = "multi_thread")]
async fn mon_3_bytes_that_passed_are_charged_and_debt_is_waited_for() {
    let world = World::with(Plan::default().fill("identities", OTHERS).by_hand()).await;
    let ask = |target: &'static str| ask(&world, "one", target);
    assert_eq!(ask("/download/60000").await.status, 200);
    // 40 kB are left; what comes now takes 100 kB more than that, which the next minute pays.
    assert_eq!(ask("/download/140000").await.status, 200);
    let reply = ask("/download/1").await;
    exceeded(&reply);
    assert_eq!(world.line_of(&reply)["sekisho.limit"], "role/shop/1/bytes");
    assert_eq!(reply.header("retry-after"), Some("61"));
    let policy = "\"role/shop/1/bytes-1m\";q=100000;qu=\"content-bytes\";w=60";
    assert_eq!(reply.header("ratelimit-policy"), Some(policy));
    world.advance(Duration::from_secs(60));
    exceeded(&ask("/download/1").await);
    world.advance(Duration::from_secs(1));
    assert_eq!(ask("/download/1").await.status, 200);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_2_a_role_shares_what_it_shares_and_a_limit_on_trial_refuses_nobody() {
    let world = World::with(Plan::default().fill("identities", OTHERS).by_hand()).await;
    for (who, shadowed) in [("one", false), ("one", true), ("other", false), ("one", true)] {
        let reply = ask(&world, who, ORDERS).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let told = &world.line_of(&reply)["sekisho.shadow_limit"];
        assert_eq!(told.as_str(), shadowed.then_some("role/shop/3"));
        assert!(!reply.header("ratelimit-policy").unwrap().contains("role/shop/3"));
    }
    for who in ["one", "other"] {
        let reply = ask(&world, who, ORDERS).await;
        exceeded(&reply);
        assert_eq!(world.line_of(&reply)["sekisho.limit"], "role/shop/2");
    }
    assert!(
        (world.metric("sekisho_limits_exceeded_total{limit=\"role/shop/3\",mode=\"shadow\"}")
            - 2.0)
            .abs()
            < 0.1
    );
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_2_a_place_among_concurrent_requests_comes_back_however_one_ends() {
    let world = World::with(Plan::default().fill("identities", OTHERS).by_hand()).await;
    let unavailable = Scenario::Error { status: StatusCode::SERVICE_UNAVAILABLE };
    for scenario in [Scenario::Normal, unavailable, Scenario::CloseEarly] {
        world.warehouse.set(scenario);
        placed(&world, "one", "/stock/A").await;
    }
    world.warehouse.set(Scenario::Delay { ms: 60_000 });
    let (nobody, token, before) = (world.nobody(), world.token("one"), world.warehouse.total());
    let to = world.address();
    let held = tokio::spawn(async move {
        let ask = || nobody.call(to, bearing(get("/stock/A"), &token));
        while ask().await.is_ok_and(|reply| reply.status == 429) {}
    });
    until("the held request is upstream", || world.warehouse.total() > before).await;
    let reply = ask(&world, "other", "/stock/B").await;
    exceeded(&reply);
    assert_eq!(world.line_of(&reply)["sekisho.limit"], "limit/warehouse/concurrent@warehouse");
    assert_eq!(reply.header("retry-after"), Some("1"));
    // The caller goes away: its place is free.
    held.abort();
    world.warehouse.set(Scenario::Normal);
    let reply = placed(&world, "other", "/stock/B").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    world.finish().await;
}
