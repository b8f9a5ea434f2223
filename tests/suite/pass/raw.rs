//! Targets and clients by hand: which bytes pass, and what becomes of those that may not.
use std::net::SocketAddr;
use std::time::Duration;

use sekisho::listen::proxy_header::{Source, Step, parse};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

use super::Edge;
use crate::support::until;
use crate::upstream::free_address;
use crate::wire::{SOON, tcp, until_closed};

/// A target that does nothing by itself.
pub struct Target(pub TcpListener);

impl Target {
    pub async fn start() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    pub fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    /// The next connection that says something: health checks say nothing.
    pub async fn take(&self) -> TcpStream {
        let taken = async {
            loop {
                let (tcp, _) = self.0.accept().await.unwrap();
                if tcp.peek(&mut [0]).await.unwrap_or(0) > 0 {
                    return tcp;
                }
            }
        };
        timeout(SOON, taken).await.expect("a connection")
    }

    /// The next one, behind its PROXY header.
    pub async fn take_from(&self) -> (TcpStream, SocketAddr) {
        let mut tcp = self.take().await;
        let mut header = Vec::new();
        loop {
            header.push(timeout(SOON, tcp.read_u8()).await.expect("a header").unwrap());
            match parse(&header).unwrap() {
                Step::Done { source: Source::Proxied { client }, .. } => return (tcp, client),
                Step::Done { source: Source::Local, .. } => panic!("of nobody"),
                Step::NeedMore => {}
            }
        }
    }
}

/// A hello for a server's name, with padding.
pub fn hello(server_name: Option<&str>, padding: usize) -> Vec<u8> {
    let long = |bytes: &[u8]| [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat();
    let mut extensions = [vec![0, 21], long(&vec![0; padding])].concat();
    if let Some(name) = server_name {
        let list = [&[0][..], &long(name.as_bytes())].concat();
        extensions.extend([vec![0, 0], long(&long(&list))].concat());
    }
    let body =
        [&[3, 3][..], &[7; 32], &[0], &long(&[0x13, 1]), &[1, 0], &long(&extensions)].concat();
    let message =
        [&[1][..], &u32::try_from(body.len()).unwrap().to_be_bytes()[1..], &body].concat();
    message.chunks(16_384).flat_map(|piece| [vec![22, 3, 1], long(piece)].concat()).collect()
}

pub async fn say(stream: &mut TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).await.unwrap();
}

pub async fn hear(stream: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut heard = vec![0; count];
    timeout(SOON, stream.read_exact(&mut heard)).await.expect("bytes").unwrap();
    heard
}

async fn refused(edge: &Edge, hello: &[u8]) -> Vec<u8> {
    let mut client = tcp("127.0.0.2", edge.address()).await;
    say(&mut client, hello).await;
    until_closed(&mut client).await
}

/// A fatal alert, in a record of its own.
pub fn alert(why: u8) -> [u8; 7] {
    [21, 3, 3, 0, 2, 2, why]
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_3_the_bytes_that_arrive_are_those_that_were_sent() {
    let target = Target::start().await;
    let edge = Edge::before(&[target.address()], &[]).await;
    // 64 KiB in one-byte packets, then bytes that are no TLS at all: nobody here reads them.
    let hello = hello(Some("a.apps.test"), 65_400);
    assert!((65_400..=65_536).contains(&hello.len()), "{}", hello.len());
    let mut client = tcp("127.0.0.2", edge.address()).await;
    client.set_nodelay(true).unwrap();
    let from = client.local_addr().unwrap();
    for byte in &hello {
        client.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    client.write_all(b"plain words").await.unwrap();
    // It is waited for from now on: a busy machine may take longer over all those packets.
    let (mut taken, told) = target.take_from().await;
    assert_eq!(told, from, "address and port");
    assert_eq!(hear(&mut taken, hello.len()).await, hello);
    assert_eq!(hear(&mut taken, 11).await, b"plain words");
    // Of what comes back only the first byte is looked at.
    say(&mut taken, b"\x16 anything after that.").await;
    assert_eq!(hear(&mut client, 22).await, b"\x16 anything after that.");

    // Half a connection is one: what the target says afterwards still comes.
    client.shutdown().await.unwrap();
    assert_eq!(until_closed(&mut taken).await, b"");
    say(&mut taken, b"late").await;
    assert_eq!(hear(&mut client, 4).await, b"late");
    drop(taken);
    assert_eq!(until_closed(&mut client).await, b"");
    let record = edge.record().await;
    assert_eq!(record["sekisho.ended"], "closed");
    assert_eq!(record["event.outcome"], "allowed");
    assert_eq!(record["source.bytes"], hello.len() + 11);
    assert_eq!(record["destination.bytes"], 26);
    edge.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_3_a_balancers_client_is_told_to_the_target() {
    let target = Target::start().await;
    let listener = "proxy_protocol = { from = [\"balancers\"] }";
    let edge = Edge::before(&[target.address()], &[("listener", listener)]).await;
    assert!(
        edge.reload(|text| text.replace("networks = [\"loopback\"]", "networks = [\"customers\"]"))
            .await
    );
    for client in ["203.0.113.7:5000", "[2001:db8::7]:5001"] {
        let client: SocketAddr = client.parse().unwrap();
        let kind = if client.is_ipv4() { "TCP4" } else { "TCP6" };
        let to = if client.is_ipv4() { "192.0.2.1" } else { "::1" };
        let header = format!("PROXY {kind} {} {to} {} 443\r\n", client.ip(), client.port());
        let mut balancer = tcp("127.0.0.9", edge.address()).await;
        let hello = hello(Some("localhost"), 10);
        say(&mut balancer, &[header.as_bytes(), &hello].concat()).await;
        let (mut taken, told) = target.take_from().await;
        assert_eq!(told, client);
        assert_eq!(hear(&mut taken, hello.len()).await, hello);
    }
    assert_eq!(edge.records(2).await[0]["sekisho.network"], "customers");
    edge.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_3_what_nobody_serves_is_told_so_and_goes_nowhere() {
    let target = Target::start().await;
    let edge = Edge::before(&[target.address()], &[]).await;
    let shorter = |text: String| text.replace("handshake = \"20 s\"", "handshake = \"2 s\"");
    assert!(edge.reload(shorter).await);
    for name in ["elsewhere.test", "a.b.apps.test", "apps.test", "10.0.0.1", "x y"] {
        assert_eq!(refused(&edge, &hello(Some(name), 10)).await, alert(112), "{name}");
    }
    assert_eq!(refused(&edge, &hello(None, 10)).await, alert(109));
    // Bytes that are no hello are given no answer.
    for nonsense in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\x16\x03\x01\x00\x04\x02zzz", b"\0"] {
        assert_eq!(refused(&edge, nonsense).await, b"");
    }
    // Nor is one that never ends.
    let began = Instant::now();
    let mut torn = tcp("127.0.0.2", edge.address()).await;
    say(&mut torn, &hello(Some("localhost"), 10)[..40]).await;
    assert_eq!(until_closed(&mut torn).await, b"");
    assert!((1_900..10_000).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    for (result, count) in [
        ("unknown_server_name", 5.0),
        ("no_server_name", 1.0),
        ("not_tls", 2.0),
        ("hello", 1.0),
        ("timed_out", 1.0),
    ] {
        let series = format!("sekisho_handshakes_total{{listener=\"edge\",result=\"{result}\"}}");
        edge.counts(&series, count).await;
    }
    assert!(edge.passed().is_empty());
    let connections = async {
        loop {
            let (mut tcp, _) = target.0.accept().await.unwrap();
            assert_eq!(tcp.read(&mut [0]).await.unwrap(), 0, "health checks only");
        }
    };
    assert!(timeout(Duration::from_millis(300), connections).await.is_err());
    edge.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_3_connections_without_a_name_are_passed_on_where_that_is_asked_for() {
    let target = Target::start().await;
    let edge = Edge::before(&[target.address()], &[("pass", "nameless = \"pass\"")]).await;
    let mut client = tcp("127.0.0.2", edge.address()).await;
    let hello = hello(None, 10);
    say(&mut client, &hello).await;
    let (mut taken, _) = target.take_from().await;
    assert_eq!(hear(&mut taken, hello.len()).await, hello);
    drop((client, taken));
    edge.record().await;
    edge.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_3_a_target_that_refuses_is_left_alone_until_it_is_back() {
    let (well, ill) = (Target::start().await, free_address());
    let edge = Edge::before(&[ill, well.address()], &[]).await;
    let up = "sekisho_pass_target_up{listener=\"edge\",route=\"apps\",target=\"gw-1\"}";
    assert!((edge.metric(up) - 1.0).abs() < 0.1);
    let hello = hello(Some("localhost"), 10);
    // Whichever is tried first, the one that is there is reached.
    for _ in 0..4 {
        let mut client = tcp("127.0.0.2", edge.address()).await;
        say(&mut client, &hello).await;
        let (mut taken, _) = well.take_from().await;
        assert_eq!(hear(&mut taken, hello.len()).await, hello);
    }
    let records = edge.records(4).await;
    assert!(records.iter().all(|record| record["sekisho.target"] == "gw-2"), "{records:#?}");
    assert!(records.iter().any(|record| record["sekisho.attempts"] == 2), "{records:#?}");
    // By failures of connections and of checks.
    edge.counts(up, 0.0).await;
    let down = edge.told("target-down").await;
    assert_eq!((&down["sekisho.target"], &down["sekisho.count"]), (&"gw-1".into(), &1.into()));
    assert_eq!(down["sekisho.control"], "TLS-3");
    let failures = "sekisho_pass_target_failures_total\
                    {listener=\"edge\",reason=\"refused\",route=\"apps\",target=\"gw-1\"}";
    assert!(edge.metric(failures) >= 3.0);

    // A check finds it again.
    let back = Target(TcpListener::bind(ill).await.unwrap());
    edge.counts(up, 1.0).await;
    edge.told("target-up").await;
    assert_eq!(edge.events("target-up").len(), 1);
    drop(well);
    let mut client = tcp("127.0.0.2", edge.address()).await;
    say(&mut client, &hello).await;
    back.take_from().await;
    edge.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_3_without_a_target_the_client_is_told_so_and_people_are() {
    let edge = Edge::before(&[free_address()], &[("pass", "failures = 1")]).await;
    let hello = hello(Some("localhost"), 10);
    assert_eq!(refused(&edge, &hello).await, alert(80));
    let record = edge.record().await;
    assert_eq!(record["sekisho.ended"], "no_target");
    assert_eq!(record["event.outcome"], "failed");
    assert!(record.get("sekisho.target").is_none(), "{record}");
    let recent = || edge.gateway.engine.alarms.recent();
    until("an alarm", || !recent().is_empty()).await;
    let raised = edge.told("alarm-raised").await;
    assert_eq!(raised["sekisho.alarm"], "pass-failing");
    assert_eq!(raised["sekisho.severity"], "high");
    assert_eq!(raised["sekisho.listener"], "edge");
    // Left alone, it is not even tried.
    assert_eq!(refused(&edge, &hello).await, alert(80));
    assert!(edge.records(2).await[1]["sekisho.attempts"].as_u64().unwrap() <= 1);
    edge.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_3_a_target_that_dies_midway_ends_its_connections() {
    let target = Target::start().await;
    let edge = Edge::before(&[target.address()], &[]).await;
    let mut client = tcp("127.0.0.2", edge.address()).await;
    say(&mut client, &hello(Some("localhost"), 10)).await;
    let (mut taken, _) = target.take_from().await;
    say(&mut taken, b"\x16half an ans").await;
    assert_eq!(hear(&mut client, 12).await, b"\x16half an ans");
    // With bytes unread, the system answers with a reset.
    drop(taken);
    assert_eq!(until_closed(&mut client).await, b"");
    let record = edge.record().await;
    assert_eq!(record["sekisho.ended"], "target_reset");
    assert_eq!(record["event.outcome"], "failed");
    assert_eq!(record["destination.bytes"], 12);
    edge.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_5_a_client_that_does_not_read_holds_no_more_than_the_sockets_do() {
    let target = Target::start().await;
    let edge = Edge::before(&[target.address()], &[("pass", "idle = \"1 s\"")]).await;
    let mut client = tcp("127.0.0.2", edge.address()).await;
    say(&mut client, &hello(Some("localhost"), 10)).await;
    let (mut taken, _) = target.take_from().await;
    // As much as fits in the buffers of four sockets and a pipe; then nothing moves.
    let flood = async {
        let (mut sent, piece) = (0, vec![22; 1 << 16]);
        while let Ok(count @ 1..) = taken.write(&piece).await {
            sent += count;
            assert!(sent < 64 << 20, "it is swallowed");
        }
    };
    timeout(2 * SOON, flood).await.expect("the idle bound ends it");
    assert_eq!(edge.record().await["sekisho.ended"], "idle");
    drop(client);
    edge.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_5_a_slow_reader_gets_all_of_it() {
    let target = Target::start().await;
    let edge = Edge::before(&[target.address()], &[]).await;
    let mut client = tcp("127.0.0.2", edge.address()).await;
    say(&mut client, &hello(Some("localhost"), 10)).await;
    let (mut taken, _) = target.take_from().await;
    let all: Vec<u8> = (22..3_000_022_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
    let sent = all.clone();
    let sender = tokio::spawn(async move {
        taken.write_all(&sent).await.unwrap();
        taken.shutdown().await.unwrap();
        taken
    });
    let mut heard = Vec::new();
    let mut piece = vec![0; 100_000];
    loop {
        let count = timeout(SOON, client.read(&mut piece)).await.unwrap().unwrap();
        if count == 0 {
            break;
        }
        heard.extend_from_slice(&piece[..count]);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(heard == all, "{} of {}", heard.len(), all.len());
    drop((sender.await.unwrap(), client));
    assert_eq!(edge.record().await["destination.bytes"], 3_000_000);
    edge.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn net_1_an_address_not_on_the_list_gets_nothing_and_goes_nowhere() {
    let target = Target::start().await;
    let edge = Edge::before(&[target.address()], &[]).await;
    assert!(
        edge.reload(|text| text.replace("networks = [\"loopback\"]", "networks = [\"office\"]"))
            .await
    );
    let mut stranger = tcp("127.0.0.4", edge.address()).await;
    let _ = stranger.write_all(&hello(Some("localhost"), 10)).await;
    assert_eq!(until_closed(&mut stranger).await, b"");
    let series = "sekisho_connections_refused_total{listener=\"edge\",reason=\"address\"}";
    edge.counts(series, 1.0).await;
    assert!(edge.passed().is_empty());
    edge.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_5_connections_that_are_passed_on_are_bounded() {
    let target = Target::start().await;
    let places = [("bounds", "connections_per_address = 2"), ("pass", "connections = 3")];
    let edge = Edge::before(&[target.address()], &places).await;
    let hello = hello(Some("localhost"), 10);
    let mut held = Vec::new();
    for from in ["127.0.0.2", "127.0.0.2", "127.0.0.3"] {
        let mut client = tcp(from, edge.address()).await;
        say(&mut client, &hello).await;
        held.push((client, target.take_from().await));
    }
    // One address has its share.
    let mut third = tcp("127.0.0.2", edge.address()).await;
    let _ = third.write_all(&hello).await;
    assert_eq!(until_closed(&mut third).await, b"");
    // The route is full for everybody.
    let mut other = tcp("127.0.0.4", edge.address()).await;
    say(&mut other, &hello).await;
    assert_eq!(until_closed(&mut other).await, alert(80));
    let full = edge.record().await;
    assert_eq!(
        (&full["sekisho.ended"], &full["event.outcome"]),
        (&"route_full".into(), &"denied".into())
    );
    held.pop();
    edge.records(2).await;
    let mut again = tcp("127.0.0.4", edge.address()).await;
    say(&mut again, &hello).await;
    target.take_from().await;
    edge.finish().await;
}
