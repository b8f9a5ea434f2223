//! HTTP/2 by hand: malformed requests and floods (MON-5).
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sekisho::mock::{Alpn, Caller, Flow, Length, Scenario};
use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::time::sleep;

use crate::support::{ORDERS, Plan, World, error_of, get, until, within};
use crate::wire::{
    Ended, GOAWAY, H2, MARK, PING, RST_STREAM, all_closed, as_printer, code, counted, frame,
    headers, printer_h2, reached, turned_back,
};

mod answers;

const ENHANCE_YOUR_CALM: u32 = 11;
const REFUSED_STREAM: u32 = 7;
const PROTOCOL_ERROR: u32 = 1;

const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "https"), (":path", "/stock/17"), (":authority", "localhost")];
/// How the answer begins.
const STOCK: &[u8] = b"{\"quantity\"";

fn with<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&GET, more].concat()
}

fn without<'a>(name: &str) -> Vec<(&'a str, &'a str)> {
    GET.into_iter().filter(|(own, _)| *own != name).collect()
}

async fn open(world: &World) -> H2 {
    H2::open(&printer_h2(world), world.address()).await
}

/// `label-printer`, for calls that take their time.
fn patient(world: &World) -> Caller {
    world.caller(|config| {
        as_printer(world, config);
        (config.alpn, config.deadline) = (Alpn::H2, crate::logs::SOON);
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_5_a_request_by_hand_is_served() {
    let world = World::start().await;
    let mut h2 = open(&world).await;
    h2.headers(1, &GET, true).await;
    assert!(matches!(h2.ended(1).await, Ended::Answered(body) if body.starts_with(STOCK)));
    // A Host equal to the authority, or in its place.
    h2.headers(3, &with(&[("host", "localhost")]), true).await;
    assert!(matches!(h2.ended(3).await, Ended::Answered(body) if body.starts_with(STOCK)));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_5_ambiguous_requests_never_pass_over_http_2() {
    let world = World::start().await;
    let cases = [
        with(&[("host", "other.test")]),
        with(&[("host", "localhost"), ("host", "localhost")]),
        without(":authority"),
        without(":method"),
        without(":path"),
        without(":scheme"),
        with(&[("X-Upper", "1")]),
        with(&[("transfer-encoding", "chunked")]),
        with(&[("connection", "close")]),
        with(&[("te", "gzip")]),
        with(&[("content-length", "5")]),
        with(&[("content-length", "5"), ("content-length", "6")]),
        with(&[(":path", "/stock/1")]),
        with(&[("x-a", "a\r\nx-b: b")]),
        with(&[("x-a", "a\0b")]),
        with(&[("x a", "b")]),
        with(&[("expect", "200-ok")]),
        [&without(":path")[..], &[(":path", "https://other.test/stock/1")]].concat(),
        [&without(":path")[..], &[(":path", "/stock/1 HTTP/1.1\r\nX-A: b")]].concat(),
        [&without(":path")[..], &[(":path", "*")]].concat(),
        [&without(":method")[..], &[(":method", "CONNECT")]].concat(),
        [&without(":method")[..], &[(":method", "TRACE")]].concat(),
        [&without(":authority")[..], &[(":authority", "u@localhost")]].concat(),
        vec![(":method", "CONNECT"), (":authority", "localhost:443")],
    ];
    for fields in cases {
        let mut h2 = open(&world).await;
        let marked = [&fields[..], &[("x-mark", MARK)]].concat();
        h2.headers(1, &marked, true).await;
        match h2.ended(1).await {
            Ended::Answered(body) => {
                world.note_bytes(&body);
                assert!(
                    body.is_empty() || code(&body).starts_with("Sekisho."),
                    "{fields:?}: {body:?}"
                );
                assert!(!String::from_utf8_lossy(&body).contains(MARK));
            }
            Ended::Reset(error) => assert_eq!(error, PROTOCOL_ERROR, "{fields:?}"),
            Ended::Closed(error) => assert_eq!(error, Some(PROTOCOL_ERROR), "{fields:?}"),
        }
        // Whatever came of it, the next one on a sound connection is served.
        assert_eq!(reached(&world), 0, "{fields:?}");
    }
    assert!(!world.log().iter().any(|line| line.to_string().contains(MARK)));
    assert_eq!(world.call(&printer_h2(&world), get(ORDERS)).await.status, 200);
    world.finish().await;
}

/// The line of each request that the engine refused, as (detail, status).
fn refusals(world: &World) -> Vec<(String, Option<u64>)> {
    let told = |line: Value| {
        assert_eq!(line["sekisho.denial"], "HeadNotAccepted", "{line}");
        assert_eq!(line["sekisho.control"], "MON-5");
        assert_eq!(line["event.outcome"], "denied");
        assert_eq!(line["network.protocol"], "h2");
        let detail = line["sekisho.detail"].as_str().unwrap_or_default().to_owned();
        (detail, line["http.response.status_code"].as_u64())
    };
    world
        .requests()
        .into_iter()
        .filter(|line| line["sekisho.denial"].is_string())
        .map(told)
        .collect()
}

async fn refused_so_far(world: &World, count: u32) {
    counted(world, "sekisho_denials_total{code=\"HeadNotAccepted\"}", count).await;
    counted(world, "sekisho_requests_total{operation=\"-\",outcome=\"denied\"}", count).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn log_1_each_request_that_the_engine_refuses_over_http_2_leaves_its_line() {
    let world = World::start().await;
    let mut h2 = open(&world).await;
    let malformed = [
        with(&[("te", "gzip")]),
        with(&[("connection", "close")]),
        with(&[("content-length", "5")]),
        without(":path"),
        with(&[(":path", "/stock/1")]),
    ];
    // On one connection, sound requests in between: those leave lines of their own.
    for (fields, stream) in malformed.iter().zip((1..).step_by(4)) {
        h2.headers(stream, fields, true).await;
        assert_eq!(h2.ended(stream).await, Ended::Reset(PROTOCOL_ERROR), "{fields:?}");
        h2.headers(stream + 2, &GET, true).await;
        assert!(
            matches!(h2.ended(stream + 2).await, Ended::Answered(body) if body.starts_with(STOCK))
        );
    }
    refused_so_far(&world, 5).await;
    assert_eq!(refusals(&world), vec![("Engine".to_owned(), None); 5]);
    // Two at once, and one that breaks the connection for all.
    let pair = [headers(21, &malformed[0], true), headers(23, &malformed[1], true)].concat();
    h2.write(&pair).await;
    refused_so_far(&world, 7).await;
    h2.headers(25, &with(&[("X-Upper", "1")]), true).await;
    assert_eq!(h2.ended(25).await, Ended::Closed(Some(PROTOCOL_ERROR)));
    refused_so_far(&world, 8).await;
    all_closed(&world).await;
    assert_eq!(refusals(&world).len(), 8);
    let lines = world.events("protocol-refused");
    let [line] = lines.as_slice() else { panic!("one line expected: {lines:?}") };
    assert_eq!(line["sekisho.detail"], "connection_error");
    turned_back(&world, "http2_frames", 1).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_5_a_wrong_host_is_misdirected_over_http_2() {
    let world = World::start().await;
    let mut call = get(ORDERS);
    crate::support::put(&mut call, "host", "other.test");
    let reply = world.call(&printer_h2(&world), call).await;
    assert_eq!((reply.status.as_u16(), error_of(&reply).0.as_str()), (421, "Sekisho.WrongHost"));
    assert_eq!(world.line_of(&reply)["sekisho.denial"], "WrongHost");
    assert_eq!(reached(&world), 0);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_5_control_frames_are_bounded() {
    let world = World::with(Plan::default().fill("bounds", "h2_control_frames = \"20/10s\"")).await;
    let floods = [
        frame(PING, 0, 0, &[7; 8]),
        frame(4, 0, 0, &[]),
        frame(2, 0, 3, &[0, 0, 0, 0, 16]),
        frame(0xbe, 0, 0, b"unknown"),
    ];
    for flood in &floods {
        let mut h2 = open(&world).await;
        h2.write(&flood.repeat(10)).await;
        h2.headers(1, &GET, true).await;
        assert!(matches!(h2.ended(1).await, Ended::Answered(_)), "ten are fine");
        h2.write(&flood.repeat(20)).await;
        h2.headers(3, &GET, true).await;
        assert!(matches!(h2.ended(3).await, Ended::Closed(_)), "thirty are not");
    }
    turned_back(&world, "http2_frames", 4).await;
    let lines = world.events("protocol-refused");
    assert_eq!(lines[0]["sekisho.detail"], "control_flood");
    assert_eq!(lines[0]["sekisho.control"], "MON-5");
    assert_eq!(lines[0]["sekisho.count"], 4);
    all_closed(&world).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_5_rapid_resets_end_the_connection() {
    let world = World::with(Plan::default().fill("bounds", "h2_resets = 5")).await;
    world.warehouse.set(Scenario::Delay { ms: 500 });
    let mut h2 = open(&world).await;
    let mut flood = Vec::new();
    for stream in (1..400).step_by(2) {
        flood.extend(headers(stream, &GET, true));
        flood.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
    }
    h2.write(&flood).await;
    let mut calm = None;
    while let Some(frame) = h2.next().await {
        if frame.kind == GOAWAY {
            calm = Some(u32::from_be_bytes(frame.payload[4..8].try_into().unwrap()));
        }
    }
    assert_eq!(calm, Some(ENHANCE_YOUR_CALM));
    all_closed(&world).await;
    assert!(reached(&world) < 100, "{} of 200 went up", reached(&world));
    world.warehouse.clear_scenarios();
    assert_eq!(world.call(&printer_h2(&world), get(ORDERS)).await.status, 200);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_5_streams_at_a_time_are_bounded() {
    let world = World::with(Plan::default().fill("bounds", "h2_streams = 2")).await;
    world.warehouse.set(Scenario::Delay { ms: 2_000 });
    let mut h2 = open(&world).await;
    // At once: none of them has its answer when the last one comes.
    h2.write(&[1, 3, 5].map(|stream| headers(stream, &GET, true)).concat()).await;
    assert_eq!(h2.ended(5).await, Ended::Reset(REFUSED_STREAM));
    refused_so_far(&world, 1).await;
    assert_eq!(refusals(&world), [("Streams".to_owned(), None)]);
    assert!(matches!(h2.ended(3).await, Ended::Answered(_)));
    world.warehouse.clear_scenarios();
    h2.headers(7, &GET, true).await;
    assert!(matches!(h2.ended(7).await, Ended::Answered(_)));
    assert_eq!(reached(&world), 3);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_5_a_client_that_ignores_the_farewell_is_not_served_for_ever() {
    let lines = "requests_per_connection = 1\nh2_streams = 2";
    let world = World::with(Plan::default().fill("bounds", lines)).await;
    let mut h2 = open(&world).await;
    // The first GOAWAY comes with the first request; it is answered by silence and more requests. As
    // many as may have been on their way are served.
    for stream in [1, 3, 5] {
        h2.headers(stream, &GET, true).await;
        assert!(matches!(h2.ended(stream).await, Ended::Answered(_)), "{stream}");
    }
    h2.headers(7, &GET, true).await;
    assert!(matches!(h2.ended(7).await, Ended::Reset(_) | Ended::Closed(_)));
    refused_so_far(&world, 1).await;
    assert_eq!(refusals(&world), [("Streams".to_owned(), None)]);
    assert_eq!(reached(&world), 3);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_5_the_header_list_has_a_size() {
    let world = World::with(Plan::default().fill("bounds", "h2_header_bytes = \"4 KiB\"")).await;
    let session = printer_h2(&world).connect(world.address()).await.unwrap();
    let filled = |size: usize| {
        let mut call = get(ORDERS);
        crate::support::put(&mut call, "x-fill", &"f".repeat(size));
        call
    };
    assert_eq!(session.call(filled(3_000)).await.unwrap().status, 200);
    let reply = session.call(filled(5_000)).await.unwrap();
    assert_eq!(
        (reply.status.as_u16(), error_of(&reply).0.as_str()),
        (431, "Sekisho.HeadNotAccepted")
    );
    assert_eq!(world.line_of(&reply)["sekisho.detail"], "TooLarge");
    let reply = session.call(filled(10_000)).await.unwrap();
    assert_eq!(
        (reply.status.as_u16(), error_of(&reply).0.as_str()),
        (431, "Sekisho.HeadNotAccepted")
    );
    // The connection goes on, unless it is much too much.
    assert_eq!(session.call(get(ORDERS)).await.unwrap().status, 200);
    assert!(session.call(filled(100_000)).await.is_err());
    all_closed(&world).await;
    assert_eq!(world.amazon.total(), 2);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_5_a_connection_that_only_makes_conversation_is_closed() {
    let world = World::with(Plan::default().fill("bounds", "first_byte = \"1 s\"")).await;
    // The preface byte by byte, and PINGs without a request: each read is in time, the first request
    // is not.
    let mut slow = H2::silent(&printer_h2(&world), world.address()).await;
    let mut chatty = open(&world).await;
    let mut rounds = 0;
    for byte in b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" {
        slow.write(&[*byte]).await;
        chatty.send(PING, 0, 0, &[1; 8]).await;
        if world.gateway.engine.open_connections() == 0 {
            break;
        }
        rounds += 1;
        sleep(Duration::from_millis(100)).await;
    }
    assert!(rounds < 19, "it is closed after a second, not after two");
    all_closed(&world).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_5_a_body_that_stops_ends_its_stream_only() {
    // What is too slow is told so with the next piece, if that comes within a quarter of the grace.
    let lines = "body_rate = \"1 KiB/s\"\nbody_rate_grace = \"4 s\"";
    let world = World::with(Plan::default().fill("bounds", lines)).await;
    let session = patient(&world).connect(world.address()).await.unwrap();
    let upload = |body: Flow| {
        let mut call = crate::support::amazon(http::Method::POST, "/upload");
        call.body = body;
        call
    };
    let stalled = session.call(upload(Flow::slow(vec![b'.'; 900], 5, Duration::from_secs(60))));
    let trickle =
        session.call(upload(Flow::slow(vec![b'.'; 4_000], 20, Duration::from_millis(100))));
    let both = async { tokio::join!(stalled, trickle) };
    let (stalled, trickle) = within(Duration::from_secs(9), "both end", both).await;
    // While bytes come, the gateway can still answer; where they have stopped, it ends the stream.
    assert_eq!(trickle.unwrap().status, 408);
    assert!(stalled.is_err());
    until("both lines", || world.requests().len() == 2).await;
    for line in world.requests() {
        assert_eq!(line["sekisho.denial"], "BodyTooSlow", "{line}");
    }
    assert_eq!(reached(&world), 0);
    assert_eq!(session.call(get(ORDERS)).await.unwrap().status, 200, "the connection goes on");
    world.finish().await;
}

/// An upstream that proves itself, reads so many bytes and then no more.
async fn reads_no_further(
    world: &World,
    bytes: usize,
) -> (SocketAddr, tokio::task::JoinHandle<()>) {
    let tls = rustls::ServerConfig::builder_with_provider(sekisho::engine::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(world.pki.upstream.chain(), world.pki.upstream.private_key().unwrap());
    let tls = tokio_rustls::TlsAcceptor::from(Arc::new(tls.unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((tcp, _)) = listener.accept().await {
            let mut stream = tls.accept(tcp).await.unwrap();
            stream.read_exact(&mut vec![0; bytes]).await.unwrap();
            held.push(stream);
        }
    });
    (address, task)
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_5_an_upload_that_the_upstream_stops_reading_is_not_called_slow() {
    let lines = "body_rate = \"1 KiB/s\"\nbody_rate_grace = \"1 s\"";
    let world = World::with(Plan::default().fill("bounds", lines)).await;
    let (address, task) = reads_no_further(&world, 100).await;
    let lines = "protocol = \"http/1.1\"\nresponse_timeout = \"3 s\"\nretries = 0";
    crate::upstream::lead_to(&world, address, lines).await;
    let session = patient(&world).connect(world.address()).await.unwrap();
    let mut call = crate::support::amazon(http::Method::POST, "/upload");
    // More than fits into the buffers of two sockets.
    call.body = Flow::repeat(64 << 20, Length::Declared);
    let upload = session.call(call).await;
    // Whoever still sends may hear of the end before the answer; the line tells why.
    if let Ok(reply) = upload {
        assert_eq!(reply.status, 504, "{}", reply.text());
    }
    let line = until_line(&world).await;
    assert_eq!(
        (&line["sekisho.denial"], &line["sekisho.detail"]),
        (&"UpstreamFailed".into(), &"TimedOut".into()),
        "{line}"
    );
    assert_eq!(session.call(get(ORDERS)).await.unwrap().status, 200, "the connection goes on");
    task.abort();
    world.finish().await;
}

async fn until_line(world: &World) -> Value {
    until("a request ends", || !world.requests().is_empty()).await;
    world.requests().remove(0)
}
