//! What one client, connection or request may take, and what becomes of more (MON-5). HTTP/1 and
//! what is alike over HTTP/2; times are real, and as short as the configuration allows.
mod places;

use std::time::Duration;

use http::Method;
use sekisho::mock::{Call, Caller, Flow, Length, RawEnd, Reply};
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, sleep};

use crate::support::{
    ORDERS, Plan, World, amazon, bearing, error_of, get, put, until, until_some, within,
};
use crate::wire::{
    all_closed, answers, check_refusal, counted, printer_h1, printer_h2, reached, refused, tcp,
    turned_back, until_closed,
};

const HOST: &str = "Host: localhost\r\n";
const TICK: Duration = Duration::from_millis(100);

fn bounds(lines: &str) -> Plan {
    Plan::default().fill("bounds", lines)
}

/// Around a bound of one second.
async fn takes_a_second<T>(act: impl Future<Output = T>) -> T {
    let began = Instant::now();
    let done = within(Duration::from_secs(3), "a bound of one second", act).await;
    assert!(began.elapsed() >= Duration::from_millis(900), "{:?}", began.elapsed());
    done
}

fn both(world: &World) -> [Caller; 2] {
    [printer_h1(world), printer_h2(world)]
}

/// Calls until its identity has a place: over HTTP/2 a request may outlive its connection by a moment,
/// and the place of both is free when both are over.
async fn placed(world: &World, caller: &Caller) -> Reply {
    until_some("a place is free", async || {
        let reply = world.call(caller, get(ORDERS)).await;
        (reply.status != 429).then_some(reply)
    })
    .await
}

fn upload(body: Flow) -> Call {
    let mut call = amazon(Method::POST, "/upload");
    call.body = body;
    call
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_5_a_handshake_has_its_time_and_no_more() {
    let world = World::with(bounds("handshake = \"1 s\"")).await;
    let silent = async {
        let mut silent = tcp("127.0.0.1", world.address()).await;
        assert_eq!(until_closed(&mut silent).await, b"");
    };
    let trickle = async {
        let mut slow = tcp("127.0.0.1", world.address()).await;
        // The start of a hello that never comes to its end: each byte is in time, the whole is not.
        slow.write_all(b"\x16\x03\x01\x01\x00\x01\x00\x00\xfc\x03\x03").await.unwrap();
        while slow.write_all(b"\0").await.is_ok() {
            sleep(TICK).await;
        }
    };
    takes_a_second(async { tokio::join!(silent, trickle) }).await;
    all_closed(&world).await;
    let timed_out = "sekisho_handshakes_total{listener=\"apps\",result=\"timed_out\"}";
    assert!((world.metric(timed_out) - 2.0).abs() < 0.1);
    assert_eq!(world.events("handshake-failed")[0]["sekisho.count"], 2);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_5_a_connection_without_a_request_is_closed() {
    let world = World::with(bounds("first_byte = \"1 s\"")).await;
    for caller in both(&world) {
        let silent = async {
            let mut stream = caller.stream(world.address()).await.unwrap();
            until_closed(&mut stream).await
        };
        // HTTP/2 may have sent its SETTINGS; no answer is owed in either version.
        assert!(answers_none(&takes_a_second(silent).await));
    }
    all_closed(&world).await;
    world.finish().await;
}

fn answers_none(said: &[u8]) -> bool {
    !said.starts_with(b"HTTP/1")
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_5_a_head_that_trickles_is_refused_in_time() {
    let world = World::with(bounds("header = \"1 s\"")).await;
    let mut stream = printer_h1(&world).stream(world.address()).await.unwrap();
    let (mut read, mut write) = tokio::io::split(&mut stream);
    let began = Instant::now();
    let trickle = async {
        let head = format!("GET {ORDERS} HTTP/1.1\r\n{HOST}X-Fill: {}", ".".repeat(100));
        for byte in head.bytes() {
            if write.write_all(&[byte]).await.is_err() || began.elapsed() > Duration::from_secs(2) {
                break;
            }
            sleep(TICK / 2).await;
        }
        Instant::now()
    };
    let (said, _) = tokio::join!(until_closed(&mut read), trickle);
    let reply = sekisho::mock::RawReply { bytes: said, end: RawEnd::Closed };
    check_refusal(&world, &reply, "trickle", 408, "HeadNotAccepted", Some("TooSlow"));
    assert_eq!(reached(&world), 0);

    // The same on a connection that served a request before; an idle one is no slow head.
    let session = printer_h1(&world).connect(world.address()).await.unwrap();
    for _ in 0..2 {
        assert_eq!(session.call(get(ORDERS)).await.unwrap().status, 200);
        sleep(Duration::from_millis(1_100)).await;
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_5_heads_have_a_size() {
    let lines = "header_bytes = \"4 KiB\"\nheader_count = 16\ntarget_bytes = \"1 KiB\"";
    let world = World::with(bounds(lines)).await;
    let head = |target: &str, fields: &str| {
        format!("GET {target} HTTP/1.1\r\n{HOST}{fields}\r\n").into_bytes()
    };
    let target = |length: usize| format!("/stock/{}", "a".repeat(length - 7));
    let many = |count: usize| "X-A: a\r\n".repeat(count - 1);
    let code = "HeadNotAccepted";
    let long = head(&target(1_025), "");
    refused(&world, &long, 414, code, Some("TargetTooLong")).await;
    refused(&world, &head(&target(60_000), ""), 414, code, Some("TargetTooLong")).await;
    refused(&world, &head(ORDERS, &many(17)), 431, code, Some("TooMany")).await;
    for size in [4_096, 60_000, 2 << 20] {
        let large = head(ORDERS, &format!("X-Fill: {}\r\n", "f".repeat(size)));
        refused(&world, &large, 431, code, Some("TooLarge")).await;
    }
    // What is just not too much passes.
    for fine in [head(&target(1_000), &many(14)), head("/stock/17", &many(15))] {
        let fine =
            String::from_utf8(fine).unwrap().replace(HOST, &format!("{HOST}Connection: close\r\n"));
        let reply = printer_h1(&world).raw(world.address(), fine.as_bytes()).await.unwrap();
        assert_eq!(answers(&reply.bytes)[0].status, 200);
    }

    // HTTP/2 counts alike.
    let session = printer_h2(&world).connect(world.address()).await.unwrap();
    let reply = session.call(get(&target(1_025))).await.unwrap();
    assert_eq!(
        (reply.status.as_u16(), error_of(&reply).0.as_str()),
        (414, "Sekisho.HeadNotAccepted")
    );
    let mut call = get(ORDERS);
    for n in 0..17 {
        call.headers.append("x-fill", n.into());
    }
    let reply = session.call(call).await.unwrap();
    assert_eq!(reply.status, 431);
    assert_eq!(world.line_of(&reply)["sekisho.detail"], "TooMany");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_5_a_body_has_a_size() {
    let world = World::with(bounds("body_bytes = \"64 KiB\"")).await;
    for caller in both(&world) {
        let reply = world.call(&caller, upload(Flow::repeat(64 << 10, Length::Declared))).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let before = reached(&world);
        for size in [(64 << 10) + 1, 8 << 20] {
            // Declared, it is refused before an upstream knows of it.
            let reply = world.call(&caller, upload(Flow::repeat(size, Length::Declared))).await;
            assert_eq!(reply.status, 413);
            assert_eq!(error_of(&reply).0, "Sekisho.BodyTooLarge");
            assert_eq!(world.line_of(&reply)["sekisho.denial"], "BodyTooLarge");
            // Otherwise the upstream never sees its end.
            let reply = world.call(&caller, upload(Flow::repeat(size, Length::Unknown))).await;
            assert_eq!(reply.status, 413);
            assert_eq!(world.line_of(&reply)["sekisho.denial"], "BodyTooLarge");
        }
        assert_eq!(reached(&world), before);
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_5_a_body_has_a_least_rate() {
    let lines = "body_rate = \"1 KiB/s\"\nbody_rate_grace = \"1 s\"";
    let world = World::with(bounds(lines)).await;
    let head = format!("POST /upload HTTP/1.1\r\n{HOST}");
    // A body that stops, in both framings, and one that trickles.
    for start in
        ["Content-Length: 900\r\n\r\nstart", "Transfer-Encoding: chunked\r\n\r\n5\r\nstart\r\n"]
    {
        let (caller, bytes) = (printer_h1(&world), format!("{head}{start}").into_bytes());
        let reply = takes_a_second(caller.raw(world.address(), &bytes)).await.unwrap();
        check_refusal(&world, &reply, start, 408, "BodyTooSlow", None);
    }
    let slow = || upload(Flow::slow(vec![b'.'; 4_000], 20, TICK));
    let reply = world.call(&printer_h1(&world), slow()).await;
    assert_eq!((reply.status.as_u16(), error_of(&reply).0.as_str()), (408, "Sekisho.BodyTooSlow"));
    assert_eq!(reached(&world), 0);
    world.finish().await;

    // Fast enough, though it takes longer than the grace, in which this machine may stand still.
    let lines = "body_rate = \"1 KiB/s\"\nbody_rate_grace = \"3 s\"";
    let world = World::with(bounds(lines)).await;
    let steady = || upload(Flow::slow(vec![b'.'; 17_500], 500, TICK));
    for caller in both(&world) {
        assert_eq!(world.call(&caller, steady()).await.status, 200);
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_5_an_idle_connection_is_closed() {
    let world = World::with(bounds("idle = \"4 s\"")).await;
    let mut sessions = Vec::new();
    for caller in both(&world) {
        sessions.push(caller.connect(world.address()).await.unwrap());
    }
    let mut began = Instant::now();
    // In use, they last longer than the bound; the pauses are so short because each may take longer.
    for round in 0..10 {
        if round > 0 {
            sleep(Duration::from_millis(500)).await;
        }
        began = Instant::now();
        for session in &sessions {
            assert_eq!(session.call(get(ORDERS)).await.unwrap().status, 200);
        }
    }
    let open = || world.gateway.engine.open_connections();
    let most = Duration::from_secs(6);
    within(most, "one is closed", until("one is closed", || open() < 2)).await;
    assert!(began.elapsed() >= Duration::from_millis(3_900), "{:?}", began.elapsed());
    within(most, "both are closed", until("both are closed", || open() == 0)).await;
    assert!(world.requests().iter().all(|line| line["event.outcome"] == "allowed"));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_5_a_connection_carries_so_many_requests() {
    let world = World::with(bounds("requests_per_connection = 3")).await;
    for caller in both(&world) {
        let session = caller.connect(world.address()).await.unwrap();
        let before = world.amazon.total();
        for _ in 0..3 {
            assert_eq!(session.call(get(ORDERS)).await.unwrap().status, 200);
        }
        all_closed(&world).await;
        assert!(session.call(get(ORDERS)).await.is_err());
        assert_eq!(world.amazon.total() - before, 3);
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_5_connections_are_bounded_in_all_and_for_each_address() {
    let world = World::with(bounds("connections = 3\nconnections_per_address = 2")).await;
    let from = |addr: &str| {
        world.caller(|config| {
            crate::wire::as_printer(&world, config);
            config.source = Some(addr.parse().unwrap());
        })
    };
    let mut held = Vec::new();
    for addr in ["127.0.0.2", "127.0.0.2", "127.0.0.3"] {
        let session = from(addr).connect(world.address()).await.unwrap();
        assert_eq!(session.call(get(ORDERS)).await.unwrap().status, 200);
        held.push(session);
    }
    assert!(from("127.0.0.4").stream(world.address()).await.is_err());
    turned_back(&world, "connections_total", 1).await;
    held.pop();
    while world.gateway.engine.open_connections() == 3 {
        sleep(TICK / 10).await;
    }
    // A place is free, but not for the one that has its share.
    assert!(from("127.0.0.2").stream(world.address()).await.is_err());
    turned_back(&world, "connections_per_address", 1).await;
    assert_eq!(world.call(&from("127.0.0.4"), get(ORDERS)).await.status, 200);
    let details: Vec<_> =
        world.events("connections-exceeded").iter().map(|l| l["sekisho.detail"].clone()).collect();
    assert_eq!(details, ["connections_total", "connections_per_address"]);
    drop(held);
    all_closed(&world).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_1_an_identity_has_its_share_of_connections() {
    let world = World::with(bounds("connections_per_identity = 1")).await;
    for caller in both(&world) {
        let held = caller.connect(world.address()).await.unwrap();
        assert_eq!(held.call(get(ORDERS)).await.unwrap().status, 200);
        let reply = world.call(&caller, get(ORDERS)).await;
        assert_eq!(reply.status, 429);
        assert_eq!(error_of(&reply).0, "Sekisho.TooManyConnections");
        assert_eq!(world.line_of(&reply)["sekisho.control"], "ACC-1");
        // Another identity is not concerned; nor is the first connection.
        let analyst = bearing(get(ORDERS), &world.token("analyst"));
        assert_eq!(world.call(&world.nobody(), analyst).await.status, 200);
        assert_eq!(held.call(get(ORDERS)).await.unwrap().status, 200);
        drop(held);
        all_closed(&world).await;
        assert_eq!(placed(&world, &caller).await.status, 200);
        all_closed(&world).await;
    }
    // The identity's own number goes before the listener's.
    let own = "san_uri = \"spiffe://sekisho.test/label-printer\" }\n";
    assert!(world.reload(|text| text.replace(own, &format!("{own}connections = 2\n"))).await);
    let held = printer_h1(&world).connect(world.address()).await.unwrap();
    assert_eq!(held.call(get(ORDERS)).await.unwrap().status, 200);
    assert_eq!(placed(&world, &printer_h1(&world)).await.status, 200);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_5_a_caller_that_does_not_read_is_cut() {
    let world = World::with(bounds("idle = \"1 s\"")).await;
    for (nth, caller) in (1..).zip(both(&world)) {
        let mut stream = caller.stream(world.address()).await.unwrap();
        let path = "/download/200000000";
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            // A window for all of it, so that only TCP holds it back.
            let window = crate::wire::frame(4, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]);
            let update = crate::wire::frame(8, 0, 0, &[0x7f, 0, 0, 0]);
            let fields = [
                (":method", "GET"),
                (":scheme", "https"),
                (":path", path),
                (":authority", "localhost"),
            ];
            let ask = crate::wire::headers(1, &fields, true);
            let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice();
            stream.write_all(&[preface, &window, &update, &ask].concat()).await.unwrap();
        } else {
            stream
                .write_all(format!("GET {path} HTTP/1.1\r\n{HOST}\r\n").as_bytes())
                .await
                .unwrap();
        }
        // It was open, even if it is cut by now.
        let opened = "sekisho_handshakes_total{listener=\"apps\",result=\"completed\"}";
        counted(&world, opened, nth).await;
        // The kernel takes some pieces yet, and each of them earns a little more time.
        until("it is cut", || world.gateway.engine.open_connections() == 0).await;
        all_closed(&world).await;
        drop(stream);
    }
    until("both lines", || world.requests().len() == 2).await;
    let lines = world.requests();
    assert!(lines.iter().all(|line| line["event.outcome"] == "failed"), "{lines:?}");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_5_a_storm_of_connections_leaves_nothing_behind() {
    let world = World::start().await;
    for round in 0..200 {
        match round % 4 {
            0 => drop(tcp("127.0.0.1", world.address()).await),
            1 => {
                let mut stream = tcp("127.0.0.1", world.address()).await;
                let _ = stream.write_all(b"\x16\x03\x01\x02").await;
            }
            2 => {
                let mut stream = tcp("127.0.0.1", world.address()).await;
                let _ = stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await;
            }
            _ => drop(world.nobody().stream(world.address()).await.unwrap()),
        }
    }
    all_closed(&world).await;
    assert!(world.metric("sekisho_panics_total") < 0.5);
    let lines = world.events("handshake-failed");
    assert!(lines.len() <= 3, "one line for each kind: {lines:?}");
    for caller in both(&world) {
        assert_eq!(world.call(&caller, get(ORDERS)).await.status, 200);
    }
    let mut last = get(ORDERS);
    put(&mut last, "connection", "close");
    assert_eq!(world.call(&printer_h1(&world), last).await.status, 200);
    all_closed(&world).await;
    world.finish().await;
}
