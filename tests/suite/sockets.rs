//! `WebSocket`s: who gets one, that every byte passes and is counted, and how each comes to its end.
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sekisho::mock::{Alpn, Call};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_rustls::{client, server};

use crate::hygiene::printer;
use crate::streams::read_head;
use crate::support::{Plan, World, until};
use crate::upstream::{lead_to, lead_to_all, nobody_s, pin, upstream_tls};
use crate::wire::{all_closed, until_closed};

const STOCK: &str = "/stock/A";
pub const HELLO: &[u8] = b"\x81\x05hello";
pub const OPEN: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n\
                      upgrade: websocket\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

type Client = client::TlsStream<TcpStream>;
type Store = server::TlsStream<TcpStream>;

pub fn handshake(path: &str, upgrade: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: Upgrade\r\nupgrade: {upgrade}\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// Sends these bytes on a connection of their own, and reads the head that answers them.
async fn ask(world: &World, bytes: &[u8]) -> (Client, String) {
    let mut stream = printer(world, Alpn::H1).stream(world.address()).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let head = read_head(&mut stream).await;
    (stream, head)
}

/// A socket that is open, and the id of its request.
async fn open(world: &World) -> (Client, String) {
    let (stream, head) = ask(world, handshake("/ws", "websocket").as_bytes()).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    (stream, id_of(&head))
}

fn id_of(head: &str) -> String {
    let field = |line: &str| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("x-sekisho-request-id").then(|| value.to_owned())
    };
    head.split("\r\n").find_map(field).expect("a request id")
}

pub async fn echoes(stream: &mut Client, frame: &[u8]) {
    stream.write_all(frame).await.unwrap();
    stream.flush().await.unwrap();
    expect(stream, frame).await;
}

async fn expect(stream: &mut (impl AsyncReadExt + Unpin), bytes: &[u8]) {
    let mut came = vec![0; bytes.len()];
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read_exact(&mut came));
    read.await.expect("bytes in time").unwrap();
    assert_eq!(came, bytes);
}

/// How a socket was written down: outcome, bytes up, bytes down.
#[track_caller]
fn assert_line(line: &Value, outcome: &str, up: usize, down: usize) {
    assert_eq!(line["sekisho.operation"], "warehouse/socket");
    assert_eq!(line["http.response.status_code"], 101, "{line}");
    assert_eq!(line["event.outcome"], outcome, "{line}");
    assert_eq!(line["http.request.body.bytes"], up, "{line}");
    assert_eq!(line["http.response.body.bytes"], down, "{line}");
}

/// An upstream whose side of each connection is played by a function, which gets the stream as TLS
/// left it.
struct Played {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Played {
    async fn start<F>(world: &World, play: impl Fn(Store) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (tls, listener) =
            (upstream_tls(world), TcpListener::bind("127.0.0.1:0").await.unwrap());
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let Ok(stream) = tls.accept(tcp).await else { continue };
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(play(stream));
            }
        });
        Self { address, connections, task }
    }
}

impl Drop for Played {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn priv_1_a_web_socket_opens_where_the_operation_has_one() {
    for protocol in ["auto", "http/1.1"] {
        let lines = format!("protocol = \"{protocol}\"");
        let world = World::with(Plan::default().fill("warehouse", &lines)).await;
        let caller = printer(&world, Alpn::H1);
        // Another request first, so that an HTTP/2 connection may lie in the pool.
        assert_eq!(world.call(&caller, Call::get(STOCK)).await.status, 200);
        let (mut stream, head) = ask(&world, handshake("/ws", "websocket").as_bytes()).await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        let lower = head.to_ascii_lowercase();
        assert!(
            lower.contains("upgrade: websocket") && lower.contains("connection: upgrade"),
            "{head}"
        );
        assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
        echoes(&mut stream, HELLO).await;
        echoes(&mut stream, &vec![0x82; 70_000]).await;
        stream.shutdown().await.unwrap();
        assert_eq!(until_closed(&mut stream).await, b"");
        let line = world.line(&id_of(&head));
        assert_line(&line, "allowed", 70_007, 70_007);
        assert_eq!(line["sekisho.upstream"], "warehouse");
        let lines = world.requests();
        let of_socket = lines.iter().filter(|l| l["sekisho.operation"] == "warehouse/socket");
        assert_eq!(of_socket.count(), 1, "one record: {lines:#?}");

        let before = world.warehouse.total();
        for (path, upgrade) in
            [(STOCK, "websocket"), ("/ws", "h2c"), ("/orders/v0/orders/902-1", "websocket")]
        {
            let (_, head) = ask(&world, handshake(path, upgrade).as_bytes()).await;
            assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
            let code = "x-amzn-errortype: invalidinput";
            assert!(head.to_ascii_lowercase().contains(code), "{head}");
        }
        let refusals = "sekisho_denials_total{code=\"UpgradeNotAllowed\"}";
        until("three refusals", || world.metric(refusals) > 2.5).await;
        assert_eq!(world.warehouse.total(), before);
        // The same address without a handshake is an ordinary request.
        let plain = world.call(&caller, Call::get("/ws")).await;
        assert_eq!(plain.status, 426);
        world.finish().await;
    }
}

/// The answer is there before the question was written. Pingora 0.9.1 by itself ends every second of
/// these sockets.
#[tokio::test(flavor = "multi_thread")]
async fn a_101_that_is_quicker_than_its_request_opens_a_socket_like_any_other() {
    let world = World::start().await;
    let store = Played::start(&world, |mut stream| async move {
        stream.write_all(&[OPEN, HELLO].concat()).await.unwrap();
        stream.flush().await.unwrap();
        read_head(&mut stream).await;
        expect(&mut stream, HELLO).await;
        stream.shutdown().await.unwrap();
    })
    .await;
    lead_to(&world, store.address, "").await;
    for _ in 0..16 {
        let (mut stream, id) = open(&world).await;
        expect(&mut stream, HELLO).await;
        stream.write_all(HELLO).await.unwrap();
        assert_eq!(until_closed(&mut stream).await, b"");
        drop(stream);
        assert_line(&world.line(&id), "allowed", HELLO.len(), HELLO.len());
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_right_behind_either_head_belong_to_the_socket() {
    let world = World::start().await;
    let store = Played::start(&world, |mut stream| async move {
        let head = read_head(&mut stream).await.to_ascii_lowercase();
        assert!(head.contains("upgrade: websocket"), "{head}");
        let hint = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
        stream.write_all(&[&hint[..], OPEN, b"glued "].concat()).await.unwrap();
        stream.flush().await.unwrap();
        expect(&mut stream, b"early late").await;
        stream.write_all(b"told").await.unwrap();
        stream.shutdown().await.unwrap();
    })
    .await;
    lead_to(&world, store.address, "").await;
    let question = format!("{}early ", handshake("/ws", "websocket"));
    let (mut stream, head) = ask(&world, question.as_bytes()).await;
    assert!(head.starts_with("HTTP/1.1 103 "), "{head}");
    let head = read_head(&mut stream).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    expect(&mut stream, b"glued ").await;
    stream.write_all(b"late").await.unwrap();
    assert_eq!(until_closed(&mut stream).await, b"told");
    drop(stream);
    assert_line(&world.line(&id_of(&head)), "allowed", 10, 10);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_5_a_socket_is_no_body_ten_megabytes_pass_each_way_and_are_counted() {
    let lines = "body_bytes = \"10 KiB\"\nbody_rate = \"1 MiB/s\"\nbody_rate_grace = \"1 s\"";
    let world = World::with(Plan::default().fill("bounds", lines)).await;
    let (stream, id) = open(&world).await;
    let sent: Vec<u8> = (0..10_000_000_u32).map(|at| (at % 251) as u8).collect();
    let (mut read, mut write) = tokio::io::split(stream);
    let mut back = vec![0; sent.len()];
    let writing = async {
        write.write_all(&sent).await?;
        // TLS may still hold the last of it.
        write.flush().await
    };
    tokio::try_join!(read.read_exact(&mut back), writing).unwrap();
    assert!(back == sent, "other bytes came back");
    let mut stream = read.unsplit(write);
    stream.shutdown().await.unwrap();
    assert_eq!(until_closed(&mut stream).await, b"");
    let line = world.line(&id);
    assert_line(&line, "allowed", sent.len(), sent.len());
    assert!((world.metric("sekisho_request_body_bytes_total") - 10e6).abs() < 1.0);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_5_a_socket_ends_when_both_sides_were_silent_and_not_by_the_response_time() {
    let plan = Plan::default().fill("bounds", "idle = \"3 s\"");
    let world = World::with(plan.fill("warehouse", "response_timeout = \"2 s\"")).await;
    let (mut stream, id) = open(&world).await;
    // Before the last byte passes: the gateway counts from there, and this side may hear of it late.
    let began = Instant::now();
    echoes(&mut stream, HELLO).await;
    assert_eq!(until_closed(&mut stream).await, b"");
    let took = began.elapsed();
    assert!((Duration::from_millis(2_900)..Duration::from_secs(20)).contains(&took), "{took:?}");
    drop(stream);
    let line = world.line(&id);
    assert_line(&line, "allowed", HELLO.len(), HELLO.len());
    let ns = u128::from(line["event.duration"].as_u64().unwrap());
    assert!(ns >= Duration::from_millis(2_900).as_nanos(), "the record is of the end: {line}");
    world.finish().await;
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Farewell {
    Closes,
    /// Ends TCP without a word of TLS's.
    Vanishes,
    Resets,
}

#[tokio::test(flavor = "multi_thread")]
async fn log_1_whoever_ends_or_vanishes_a_socket_leaves_one_record() {
    use Farewell::{Closes, Resets, Vanishes};
    let world = World::start().await;
    for (how, outcome) in [(Closes, "allowed"), (Vanishes, "allowed"), (Resets, "failed")] {
        let store = Played::start(&world, move |mut stream| async move {
            read_head(&mut stream).await;
            stream.write_all(OPEN).await.unwrap();
            stream.flush().await.unwrap();
            expect(&mut stream, b"go").await;
            match how {
                Closes => stream.shutdown().await.unwrap(),
                Vanishes => {}
                Resets => stream.get_ref().0.set_zero_linger().unwrap(),
            }
        })
        .await;
        lead_to(&world, store.address, "").await;
        let (mut stream, id) = open(&world).await;
        stream.write_all(b"go").await.unwrap();
        assert_eq!(until_closed(&mut stream).await, b"", "the store {how:?}");
        drop(stream);
        let line = world.line(&id);
        assert_line(&line, outcome, 2, 0);
        assert_eq!(line["sekisho.detail"] == "Closed", how == Resets, "{line}");
        drop(store);

        lead_to(&world, world.warehouse.address(), "").await;
        let (mut stream, id) = open(&world).await;
        echoes(&mut stream, HELLO).await;
        match how {
            Closes => stream.shutdown().await.unwrap(),
            Vanishes => {}
            Resets => stream.get_ref().0.set_zero_linger().unwrap(),
        }
        drop(stream);
        let line = world.line(&id);
        assert_line(&line, outcome, HELLO.len(), HELLO.len());
        assert_eq!(line["sekisho.detail"] == "CallerWentAway", how == Resets, "{line}");
    }
    all_closed(&world).await;
    let lines = world.requests();
    assert_eq!(lines.len(), 6, "one each: {lines:#?}");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_declines_is_heard_and_the_connection_carries_nothing_else() {
    const ANSWERS: [(&str, &str); 4] = [
        ("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\nserver: x\r\n\r\nno", "no"),
        (
            "HTTP/1.1 426 Upgrade Required\r\ntransfer-encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n",
            "no",
        ),
        ("HTTP/1.1 200 OK\r\n\r\nto the end", "to the end"),
        ("HTTP/1.1 204 No Content\r\n\r\n", ""),
    ];
    let world = World::start().await;
    for (answer, body) in ANSWERS {
        let (told, mut behind) = tokio::sync::mpsc::unbounded_channel();
        let store = Played::start(&world, move |mut stream| {
            let told = told.clone();
            async move {
                read_head(&mut stream).await;
                stream.write_all(answer.as_bytes()).await.unwrap();
                stream.shutdown().await.unwrap();
                told.send(until_closed(&mut stream).await).unwrap();
            }
        })
        .await;
        lead_to(&world, store.address, "").await;
        let twice = format!("{0}{0}", handshake("/ws", "websocket"));
        let (mut stream, head) = ask(&world, twice.as_bytes()).await;
        let status: u16 = answer[9..12].parse().unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        assert!(!head.to_ascii_lowercase().contains("server:"), "{head}");
        let rest = String::from_utf8(until_closed(&mut stream).await).unwrap();
        assert!(rest.contains(body), "{rest}");
        assert!(!rest.contains("HTTP/1.1"), "another answer: {rest}");
        assert_eq!(behind.recv().await.unwrap(), b"", "bytes behind the handshake went up");
        assert_eq!(store.connections.load(Ordering::SeqCst), 1);
        drop(stream);
        let line = world.line(&id_of(&head));
        assert_eq!(line["event.outcome"], "allowed", "{line}");
        assert_eq!(line["http.response.status_code"], status);
        assert_eq!(line["http.response.body.bytes"], body.len());
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_answers_a_handshake_with_nonsense_is_not_passed_on() {
    const ANSWERS: [&str; 7] = [
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         upgrade: h2c\r\n\r\n",
        "HTTP/1.0 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        "SSH-2.0-nonsense\r\n\r\n",
        "HTTP/1.1 101 Switching",
        "",
    ];
    let world = World::start().await;
    for answer in ANSWERS {
        let store = Played::start(&world, move |mut stream| async move {
            read_head(&mut stream).await;
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
        })
        .await;
        lead_to(&world, store.address, "breaker = { failures = 1000, open = \"1 s\" }").await;
        let (_, head) = ask(&world, handshake("/ws", "websocket").as_bytes()).await;
        assert!(head.starts_with("HTTP/1.1 502 "), "{answer:?}: {head}");
        let line = world.line(&id_of(&head));
        assert_eq!(line["event.outcome"], "failed", "{line}");
        assert_eq!(line["sekisho.denial"], "UpstreamFailed", "{line}");
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_2_a_socket_s_upstream_proves_itself_and_another_address_may_stand_in() {
    let world = World::start().await;
    let pins = format!("pins = [\"{}\"]", pin(&world.pki.server));
    lead_to(&world, world.warehouse.address(), &pins).await;
    let before = world.warehouse.total();
    let (_, head) = ask(&world, handshake("/ws", "websocket").as_bytes()).await;
    assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
    assert_eq!(world.line(&id_of(&head))["sekisho.detail"], "Untrusted");
    assert_eq!(world.warehouse.total(), before);
    let open_breaker = "sekisho_upstream_breaker_open{upstream=\"warehouse\"}";
    assert!(world.metric(open_breaker) < 0.5);

    let (_kept, dead) = nobody_s();
    let alive = world.warehouse.address();
    for (retries, opens) in [(0, false), (1, true)] {
        // One of two picks is the dead address; without a retry one of eight at least fails.
        let lines = format!(
            "ca = \"pki/ca.pem\"\nretries = {retries}\n\
             breaker = {{ failures = 1000, open = \"1 s\" }}"
        );
        lead_to_all(&world, alive.port(), &[dead, alive], &lines).await;
        let mut opened = 0;
        for _ in 0..8 {
            let (mut stream, head) = ask(&world, handshake("/ws", "websocket").as_bytes()).await;
            if head.starts_with("HTTP/1.1 101 ") {
                echoes(&mut stream, HELLO).await;
                opened += 1;
            }
        }
        assert_eq!(opened == 8, opens, "{opened} of 8 with {retries} retries");
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_1_a_socket_counts_as_its_identity_s_connection_until_its_end() {
    let lines = "connections_per_identity = 1";
    let world = World::with(Plan::default().fill("bounds", lines)).await;
    let (mut stream, _) = open(&world).await;
    echoes(&mut stream, HELLO).await;
    assert_eq!(world.gateway.engine.open_connections(), 1);
    let (_, head) = ask(&world, handshake("/ws", "websocket").as_bytes()).await;
    assert!(head.starts_with("HTTP/1.1 429 "), "{head}");
    echoes(&mut stream, HELLO).await;
    stream.shutdown().await.unwrap();
    assert_eq!(until_closed(&mut stream).await, b"");
    all_closed(&world).await;
    let (mut stream, _) = open(&world).await;
    echoes(&mut stream, HELLO).await;
    drop(stream);
    world.finish().await;
}

/// A socket that pauses ends soon after the gateway was told to stop; one that never does is cut when
/// the grace is over. Both have their record.
#[tokio::test(flavor = "multi_thread")]
async fn log_1_a_stopping_gateway_ends_its_sockets_within_the_grace() {
    // On a busy machine whoever is never silent may be so for a second.
    for _ in 0..3 {
        if sockets_end_within_the_grace().await {
            return;
        }
    }
    panic!("it had no grace");
}

/// Whether the one that never pauses had all of it.
async fn sockets_end_within_the_grace() -> bool {
    let world = World::start().await;
    let (mut silent, silent_id) = open(&world).await;
    echoes(&mut silent, HELLO).await;
    let (mut busy, busy_id) = open(&world).await;
    echoes(&mut busy, HELLO).await;
    let began = Instant::now();
    let silent = tokio::spawn(async move {
        assert_eq!(until_closed(&mut silent).await, b"");
        Instant::now()
    });
    let busy = tokio::spawn(async move {
        let mut frame = [0; HELLO.len()];
        let mut echoed = HELLO.len();
        while busy.write_all(HELLO).await.is_ok() && busy.read_exact(&mut frame).await.is_ok() {
            echoed += HELLO.len();
        }
        (Instant::now(), echoed)
    });
    let lines = world.stop().await;
    let took = began.elapsed();
    let (silent, (busy, echoed)) = (silent.await.unwrap(), busy.await.unwrap());
    if busy - began < Duration::from_millis(1_900) {
        return false;
    }
    assert!(silent < busy, "a pause was waited for");
    assert!(took < Duration::from_secs(20), "{took:?}");
    let of = |id: &str| lines.iter().find(|l| l["sekisho.request_id"] == id).expect("its line");
    assert_line(of(&silent_id), "allowed", HELLO.len(), HELLO.len());
    let busy = of(&busy_id);
    assert_eq!(busy["event.outcome"], "allowed", "{busy}");
    let down = busy["http.response.body.bytes"].as_u64().unwrap();
    assert!(down >= u64::try_from(echoed).unwrap(), "{down} of {echoed}: {busy}");
    assert_eq!(lines.last().unwrap()["event.action"], "stopped");
    true
}
