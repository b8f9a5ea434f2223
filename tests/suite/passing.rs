//! MON-3: what passes is charged, and seen, while it passes: many answers at once, long ones, ones that
//! break off, and those that nobody can read.
use std::time::Duration;

use sekisho::mock::{Alpn, BodyEnd, Call, Flow, Length, Reply, Scenario};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::hygiene::printer;
use crate::sockets::handshake;
use crate::streams::read_head;
use crate::support::{ORDERS, Plan, World, bearing, error_of, get, put, until};
use crate::wire::until_closed;

const ALLOW: &str = "allow = [\"orders/getOrders\", \"orders/getOrderAddress\"";
/// A page of orders, 4 KB at a time, so that all of them are under way at once.
const SLOW: Scenario = Scenario::SlowBody { bytes: 4_096, tick_ms: 20 };
/// Records in the pieces that two threads may have in hand: one read each.
const IN_HAND: usize = 2 * 64;
/// More records in an hour than these are acted upon.
const VOLUME: &str = "[detect.volume]\nmode = \"enforce\"\n\
                      cold = { requests = 1000000, bytes = 1000000000000, records = 50 }\n";

/// `shipping` is under a limit, and pages have a hundred orders.
async fn limited(limit: &str) -> World {
    shop(Plan::default().replace(ALLOW, &format!("limits = [{limit}]\n{ALLOW}"))).await
}

/// A page has a hundred orders, of 1 KB each.
async fn shop(plan: Plan) -> World {
    let world = World::with(plan.by_hand()).await;
    let order = |nth: u32| {
        let channel = "x".repeat(920);
        format!(
            "{{\"AmazonOrderId\":\"902-0000000-{nth:07}\",\"BuyerInfo\":{{\"BuyerEmail\":\"b{nth}@example.com\"}},\
             \"SalesChannel\":\"{channel}\"}}"
        )
    };
    let orders: Vec<String> = (0..100).map(order).collect();
    let page = format!("{{\"payload\":{{\"Orders\":[{}]}}}}", orders.join(","));
    world.amazon.serve("/orders/v0/orders", "application/json", page);
    world
}

/// Asks for so many pages at once.
async fn at_once(world: &World, count: usize) -> Vec<Reply> {
    let open = printer(world, Alpn::H2).connect(world.address()).await.unwrap();
    let calls = (0..count).map(|_| {
        let open = open.clone();
        tokio::spawn(async move { open.call(get(ORDERS)).await.unwrap() })
    });
    let mut replies = Vec::new();
    for call in calls.collect::<Vec<_>>() {
        replies.push(call.await.unwrap());
    }
    replies
}

/// Buyers whose e-mail addresses the caller has.
fn buyers(replies: &[Reply]) -> usize {
    let of = |reply: &Reply| reply.text().matches("\"BuyerEmail\":\"").count();
    replies.iter().map(of).sum()
}

fn records(lines: &[Value]) -> usize {
    let of = |line: &Value| line["sekisho.pii_records"].as_u64().unwrap_or_default();
    usize::try_from(lines.iter().map(of).sum::<u64>()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_3_answers_in_parallel_share_what_is_left() {
    let limit = "{ operations = [\"orders/*\"], pii_records = [\"40/h\"] }";
    for protocol in ["http/1.1", "h2"] {
        let world = limited(limit).await;
        let lines = format!("protocol = \"{protocol}\"\n");
        assert!(world.reload(|text| text.replace("#amazon\n", &lines)).await);
        world.amazon.set(SLOW);
        let replies = at_once(&world, 50).await;
        let lines: Vec<_> = replies.iter().map(|reply| world.line_of(reply)).collect();
        // The limit, as much again, and the pieces that were in hand.
        let most = 80 + IN_HAND;
        assert!((40..=most).contains(&records(&lines)), "{}", records(&lines));
        assert!(buyers(&replies) <= most, "{}", buyers(&replies));
        for (reply, line) in replies.iter().zip(&lines) {
            assert_eq!(line["sekisho.denial"], "QuotaExceeded", "{line}");
            assert_eq!(line["sekisho.limit"], "role/shipping/1/pii", "{line}");
            // Cut, or refused where that could still be said.
            match reply.status.as_u16() {
                200 => assert_eq!(reply.end, BodyEnd::Broken),
                _ => assert_eq!(error_of(reply).0, "Sekisho.QuotaExceeded"),
            }
        }
        let reply = world.call(&printer(&world, Alpn::H2), get(ORDERS)).await;
        let (code, message) = error_of(&reply);
        assert_eq!(code, "Sekisho.QuotaExceeded");
        assert!(message.contains("role/shipping/1/pii"), "{message}");
        assert!(reply.header("retry-after").is_some());
        // What was charged on the way was not charged again.
        let debt = u64::try_from(most).unwrap() - 40;
        world.advance(Duration::from_secs((debt + 1) * 90));
        world.amazon.set(Scenario::Echo);
        assert_eq!(world.call(&printer(&world, Alpn::H2), get(ORDERS)).await.status, 200);
        world.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_3_whoever_has_any_left_gets_its_page() {
    let limit = "{ operations = [\"orders/*\"], pii_records = [\"150/h\"] }";
    let world = limited(limit).await;
    world.amazon.set(SLOW);
    for page in at_once(&world, 1).await.into_iter().chain(at_once(&world, 1).await) {
        assert_eq!((page.status.as_u16(), page.end), (200, BodyEnd::Complete));
        assert_eq!(world.line_of(&page)["sekisho.pii_records"], 100);
    }
    assert_eq!(at_once(&world, 1).await[0].status, 429);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_3_sockets_end_when_what_they_share_is_used_up() {
    let limit = "{ operations = [\"warehouse/socket\"], bytes = [\"100 kB/h\"] }";
    let world = limited(limit).await;
    let caller = printer(&world, Alpn::H1);
    let mut sockets = Vec::new();
    for _ in 0..3 {
        let mut socket = caller.stream(world.address()).await.unwrap();
        socket.write_all(handshake("/ws", "websocket").as_bytes()).await.unwrap();
        assert!(read_head(&mut socket).await.starts_with("HTTP/1.1 101 "));
        sockets.push(socket);
    }
    // They are there and back at 10 kB a turn, until one after the other is cut.
    let mut passed = 0;
    while !sockets.is_empty() {
        let mut left = Vec::new();
        for mut socket in sockets {
            let sent = socket.write_all(&[7; 5_000]).await;
            let came = socket.read_exact(&mut [0; 5_000]).await;
            if sent.is_ok() && came.is_ok() {
                passed += 10_000;
                left.push(socket);
            } else {
                until_closed(&mut socket).await;
            }
        }
        sockets = left;
        assert!(passed < 1_000_000, "{passed} bytes");
    }
    assert!((190_000..=220_000).contains(&passed), "{passed} bytes");
    let of_sockets = || {
        let lines = world.requests().into_iter();
        lines.filter(|line| line["http.response.status_code"] == 101).collect::<Vec<_>>()
    };
    until("three lines", || of_sockets().len() == 3).await;
    for line in of_sockets() {
        assert_eq!(line["sekisho.denial"], "QuotaExceeded", "{line}");
        assert_eq!(line["sekisho.limit"], "role/shipping/1/bytes", "{line}");
    }
    let mut socket = caller.stream(world.address()).await.unwrap();
    socket.write_all(handshake("/ws", "websocket").as_bytes()).await.unwrap();
    let refused = read_head(&mut socket).await;
    assert!(refused.starts_with("HTTP/1.1 429 "), "{refused}");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_3_an_upload_ends_when_its_bytes_are_used_up() {
    let limit = "{ operations = [\"warehouse/upload\"], bytes = [\"100 kB/h\"] }";
    let world = limited(limit).await;
    let body = Flow::repeat(3_000_000, Length::Unknown);
    let call = Call::post("/upload", body);
    let reply = world.call(&printer(&world, Alpn::H2), call).await;
    assert_eq!(error_of(&reply).0, "Sekisho.QuotaExceeded");
    let line = world.line_of(&reply);
    assert_eq!(line["sekisho.limit"], "role/shipping/1/bytes", "{line}");
    assert!(line["http.request.body.bytes"].as_u64().unwrap() < 400_000, "{line}");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_3_answers_that_break_off_count_for_the_detectors() {
    let world = shop(Plan::default().fill("more", VOLUME)).await;
    world.amazon.set(Scenario::Truncate { after: 30_000 });
    let caller = printer(&world, Alpn::Both);
    for nth in 0..20 {
        if !world.gateway.engine.list_locks().is_empty() {
            break;
        }
        let _ = caller.call(world.address(), get(ORDERS)).await;
        until("its line", || world.requests().len() > nth).await;
    }
    let lines = world.requests();
    assert!(lines.len() > 1 && lines.len() < 20, "{lines:#?}");
    assert_eq!(lines[0]["event.outcome"], "failed", "{lines:#?}");
    assert_eq!(world.events("locked")[0]["sekisho.cause"], "volume");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_3_answers_in_parallel_are_seen_while_they_pass() {
    let world = shop(Plan::default().fill("more", VOLUME)).await;
    world.amazon.set(SLOW);
    let replies = at_once(&world, 30).await;
    // The limit, one record of each that is told at its end, and the pieces in hand.
    assert!(buyers(&replies) <= 50 + 30 + IN_HAND, "{}", buyers(&replies));
    assert!(replies.iter().all(|reply| reply.end == BodyEnd::Broken || reply.status == 401));
    assert_eq!(world.events("locked")[0]["sekisho.cause"], "volume");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_3_a_store_s_personal_data_is_counted_by_its_bytes() {
    let limit = "{ operations = [\"warehouse/*\"], pii_records = [\"2/h\"] }";
    let plan = Plan::default()
        .replace(ALLOW, &format!("limits = [{limit}]\n{ALLOW}"))
        .replace(
            "query = [\"page\", \"size\"]\n",
            "query = [\"page\", \"size\"]\npersonal_data = true\n",
        )
        .by_hand();
    let world = World::with(plan).await;
    let caller = printer(&world, Alpn::Both);
    for _ in 0..2 {
        let mut call = get("/stock/A");
        put(&mut call, "accept-encoding", "gzip");
        let reply = world.call(&caller, call).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(world.warehouse.last().unwrap().headers["accept-encoding"], "identity");
        assert_eq!(world.line_of(&reply)["sekisho.pii_records"], 1, "{}", reply.text());
    }
    let reply = world.call(&caller, get("/stock/A")).await;
    assert_eq!(error_of(&reply).0, "Sekisho.QuotaExceeded");
    assert_eq!(world.line_of(&reply)["sekisho.limit"], "role/shipping/1/pii");
    let shown = world.gateway.engine.view_exposure(None, 1).await.unwrap();
    let [row] = &shown[..] else { panic!("{shown:?}") };
    assert_eq!((row.sum.requests, row.operation.as_str()), (2, "warehouse/getStock"));
    world.finish().await;
}

const TRIED: &str = r#"
[role.tried]
purpose = "try limits out"
allow = ["orders/getOrders"]
limits = [
    { operations = ["orders/*"], requests = ["1/min"], mode = "shadow" },
    { operations = ["orders/*"], requests = ["1/h"], mode = "shadow" },
]
[identity.tried]
kind = "service"
owner = "platform@example.com"
token = { issuer = "corp", subject = "tried" }
networks = ["loopback"]
roles = ["tried"]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn mon_2_each_limit_on_trial_is_counted() {
    let world = World::with(Plan::default().fill("identities", TRIED).by_hand()).await;
    for first in ["", "role/tried/1"] {
        let call = bearing(get(ORDERS), &world.token("tried"));
        let reply = world.call(&world.nobody(), call).await;
        assert_eq!(reply.status, 200);
        let line = world.line_of(&reply);
        assert_eq!(line["sekisho.shadow_limit"].as_str().unwrap_or_default(), first);
    }
    for limit in ["role/tried/1", "role/tried/2"] {
        let series = format!("sekisho_limits_exceeded_total{{limit=\"{limit}\",mode=\"shadow\"}}");
        assert!((world.metric(&series) - 1.0).abs() < 0.1, "{limit}");
    }
    world.finish().await;
}
