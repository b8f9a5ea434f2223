//! Messages that take their time: uploads, downloads, hints, and who waits for whom.
use std::time::Duration;

use http::Method;
use sekisho::mock::{
    Alpn, BodyEnd, Call, Flow, Length, MockConfig, MockSpApi, Personality, RawEnd, Scenario,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

use crate::hygiene::printer;
use crate::support::{Plan, World};
use crate::upstream::{Scripted, free_address, lead_to};

const STOCK: &str = "/stock/A";

fn upload(body: Flow) -> Call {
    Call::post("/upload", body)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_waits_is_told_to_go_on_only_where_it_may() {
    for protocol in ["http/1.1", "h2"] {
        let lines = format!("protocol = \"{protocol}\"");
        let world = World::with(Plan::default().fill("warehouse", &lines)).await;
        let caller = printer(&world, Alpn::H1);
        let mut stream = caller.stream(world.address()).await.unwrap();
        let head = "POST /upload HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\n\
                    expect: 100-continue\r\nconnection: close\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        let go = read_head(&mut stream).await;
        assert!(go.starts_with("HTTP/1.1 100 "), "{go}");
        stream.write_all(b"hello").await.unwrap();
        let answer = read_head(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert_eq!(world.warehouse.last().unwrap().body_bytes, 5);
        // A caller that may not send is not told to.
        let head = head.replace("/upload", "/nowhere");
        let refused = caller.raw(world.address(), head.as_bytes()).await.unwrap();
        let text = String::from_utf8(refused.bytes).unwrap();
        assert!(text.starts_with("HTTP/1.1 404 "), "{text}");
        assert_ne!(refused.end, RawEnd::Deadline, "a connection in an unknown state stays open");
        assert_eq!(world.warehouse.total(), 1);
        world.finish().await;
    }
}

/// Reads up to the end of a message's head.
pub async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    let read = async {
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
    };
    tokio::time::timeout(Duration::from_secs(10), read).await.expect("a head in time");
    String::from_utf8(head).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn hints_before_the_answer_pass_to_those_who_can_take_them() {
    let world = World::with(Plan::default().fill("warehouse", "protocol = \"http/1.1\"")).await;
    for (alpn, told) in [(Alpn::H1, 3), (Alpn::H2, 0)] {
        world.warehouse.script(&[Scenario::Informational { count: Some(3) }]);
        let reply = world.call(&printer(&world, alpn), Call::get(STOCK)).await;
        assert_eq!((reply.status.as_u16(), reply.informational), (200, told));
        assert_eq!(reply.json()["sku"], "A");
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_5_a_body_that_grows_too_large_is_cut_whatever_the_upstream_speaks() {
    for protocol in ["http/1.1", "h2"] {
        let lines = format!("protocol = \"{protocol}\"");
        let plan = Plan::default().fill("bounds", "body_bytes = \"10 KiB\"");
        let world = World::with(plan.fill("warehouse", &lines)).await;
        for alpn in [Alpn::H1, Alpn::H2] {
            let caller = printer(&world, alpn);
            for (bytes, status) in [(10_240, 200), (10_241, 413), (1_000_000, 413)] {
                let before = world.warehouse.total();
                let reply = world.call(&caller, upload(Flow::repeat(bytes, Length::Unknown))).await;
                assert_eq!(reply.status.as_u16(), status, "{protocol} {alpn:?} {bytes}");
                let whole = u64::from(status == 200);
                assert_eq!(world.warehouse.total() - before, whole, "a cut body is no request");
            }
        }
        world.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_stops_is_cut_and_told() {
    for protocol in ["http/1.1", "h2"] {
        // So long, because the head must not be late on a machine that stands still for a while.
        let lines = format!("protocol = \"{protocol}\"\nresponse_timeout = \"4 s\"");
        let world = World::with(Plan::default().fill("warehouse", &lines)).await;
        for alpn in [Alpn::H1, Alpn::H2] {
            world.warehouse.script(&[Scenario::SlowBody { bytes: 1, tick_ms: 60_000 }]);
            let reply = world.call(&printer(&world, alpn), Call::get(STOCK)).await;
            // The head was out, so all that is left is to end it so that the caller notices.
            assert_eq!((reply.status.as_u16(), reply.end), (200, BodyEnd::Broken));
            let line = world.line_of(&reply);
            assert_eq!(
                (&line["event.outcome"], &line["sekisho.detail"]),
                (&"failed".into(), &"TimedOut".into())
            );
            assert_eq!(line["http.response.body.bytes"], reply.body_bytes);
        }
        world.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_may_come_before_the_question_is_whole() {
    const EARLY: &[&[u8]] =
        &[b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno"];
    let world = World::start().await;
    let early = Scripted::start(&world, EARLY).await;
    lead_to(&world, early.address, "protocol = \"http/1.1\"").await;
    for alpn in [Alpn::H1, Alpn::H2] {
        for length in [Length::Declared, Length::Unknown] {
            let call = upload(Flow::repeat(5_000_000, length));
            let reply = world.call(&printer(&world, alpn), call).await;
            assert_eq!((reply.status.as_u16(), reply.text().as_str()), (413, "no"), "{alpn:?}");
        }
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_is_started_again_loses_no_request() {
    for protocol in ["http/1.1", "h2"] {
        let world = World::start().await;
        let config = MockConfig::new(Personality::Warehouse, world.pki.upstream.clone());
        // One that nobody else is given while the store is away.
        let config = MockConfig { address: free_address(), ..config };
        let mut store = MockSpApi::start(config.clone()).await.unwrap();
        lead_to(&world, store.address(), &format!("protocol = \"{protocol}\"\nretries = 1")).await;
        let caller = printer(&world, Alpn::Both);
        for method in [Method::GET, Method::POST, Method::GET, Method::POST] {
            assert_eq!(world.call(&caller, Call::get(STOCK)).await.status, 200);
            store.shutdown().await;
            store = MockSpApi::start(config.clone()).await.unwrap();
            let call = match method {
                Method::GET => Call::get(STOCK),
                _ => upload(Flow::whole("abc")),
            };
            let reply = world.call(&caller, call).await;
            assert_eq!(reply.status, 200, "{protocol} {method}: {}", reply.text());
        }
        world.finish().await;
    }
}

/// Runs the body of a test alone in a process of its own, because it looks at the process' memory.
fn alone(name: &str) -> bool {
    if std::env::var_os("SEKISHO_ALONE").is_some() {
        return true;
    }
    let run = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env("SEKISHO_ALONE", "1")
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    assert!(String::from_utf8_lossy(&run.stdout).contains("1 passed"), "{name} was not run");
    false
}

/// The most memory the process ever had, in bytes.
/// The kernel counts each processor apart, so it may say a little less than before.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[test]
fn mon_5_a_gibibyte_streams_through_bounded_memory_and_holds_up_nobody() {
    if !alone("streams::mon_5_a_gibibyte_streams_through_bounded_memory_and_holds_up_nobody") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let world = World::start().await;
        let patient = |alpn| {
            world.caller(|config| {
                config.identity = world.pki.client("label-printer").cloned();
                config.alpn = alpn;
                config.deadline = Duration::from_secs(300);
                config.keep_bytes = 1_000;
            })
        };
        for alpn in [Alpn::H1, Alpn::H2] {
            let caller = patient(alpn);
            // What the connections themselves cost is there before.
            assert_eq!(world.call(&caller, Call::get("/download/1000000")).await.status, 200);
            let before = peak();
            world.warehouse.script(&[Scenario::Endless { bytes: 1 << 30 }]);
            let reply = world.call(&caller, Call::get(STOCK)).await;
            assert_eq!((reply.body_bytes, reply.end), (1 << 30, BodyEnd::Complete));
            let bytes = 100_000_000;
            let down = world.call(&caller, Call::get(&format!("/download/{bytes}"))).await;
            assert_eq!((down.body_bytes, down.end), (bytes, BodyEnd::Complete));
            for length in [Length::Declared, Length::Unknown] {
                let up = world.call(&caller, upload(Flow::repeat(bytes, length))).await;
                assert_eq!(up.json()["bytes"], bytes, "{}", up.text());
            }
            let grown = peak().saturating_sub(before);
            assert!(grown < 64 << 20, "{alpn:?}: {grown} bytes more");
        }
        // A caller that asks for a gibibyte and reads none of it.
        let mut stalled = printer(&world, Alpn::H1).stream(world.address()).await.unwrap();
        let before = peak();
        let asks = b"GET /download/1073741824 HTTP/1.1\r\nhost: localhost\r\n\r\n";
        stalled.write_all(asks).await.unwrap();
        assert!(read_head(&mut stalled).await.starts_with("HTTP/1.1 200 "));
        // It holds up nobody else, though both answers come on one connection from the upstream.
        let other = world.call(&patient(Alpn::H2), Call::get("/download/100000000")).await;
        assert_eq!(other.body_bytes, 100_000_000);
        let grown = peak().saturating_sub(before);
        assert!(grown < 64 << 20, "{grown} bytes more for a caller that does not read");
        drop(stalled);
        world.finish().await;
    });
}
