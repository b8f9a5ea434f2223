//! What is passed on beside what ends here: neither takes from the other, and both end with what they
//! stand on.
use sekisho::mock::{Alpn, BodyEnd, Reply, Scenario};
use sekisho::observe::{LogSlot, LogSpec};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Duration, Instant, timeout};
use tokio_rustls::client::TlsStream;

use super::{Edge, raw};
use crate::streams::read_head;
use crate::support::{ORDERS, Plan, World, get, holds, until, within};
use crate::wire::{SOON, as_printer, tcp, until_closed};

/// A gateway that ends TLS, and passes `other.test` on.
async fn both_ways(target: &raw::Target, bounds: &str) -> World {
    let pass = format!(
        "{bounds}\n[[listener.pass]]\nname = \"elsewhere\"\nserver_names = [\"other.test\"]\n\
         targets = [{{ name = \"raw\", address = \"{}\" }}]\nproxy = \"none\"",
        target.address()
    );
    World::with(Plan::default().fill("bounds", &pass)).await
}

fn passed(world: &World) -> Vec<Value> {
    world.log().into_iter().filter(|line| line["event.dataset"] == "sekisho.pass").collect()
}

/// A connection that is passed on, and its other end.
async fn through(world: &World, target: &raw::Target, from: &str) -> (TcpStream, TcpStream) {
    let mut client = tcp(from, world.address()).await;
    raw::say(&mut client, &raw::hello(Some("other.test"), 10)).await;
    (client, target.take().await)
}

#[tokio::test(flavor = "multi_thread")]
async fn log_1_idle_connections_that_are_passed_on_take_no_room_from_requests() {
    let target = raw::Target::start().await;
    let world = both_ways(&target, "").await;
    world.amazon.set(Scenario::Echo);
    // As if so many requests were under way: two more have room.
    let under_way: Vec<LogSlot> =
        (2..LogSpec::LINES_MAX).map(|_| world.gateway.log.reserve().unwrap()).collect();
    let mut idle = Vec::new();
    for _ in 0..12 {
        idle.push(through(&world, &target, "127.0.0.1").await);
    }
    for _ in 0..3 {
        assert_eq!(world.call(&world.printer(), get(ORDERS)).await.status, 200);
        world.gateway.flush_log();
    }
    assert!(world.gateway.engine.readiness().is_ok());
    drop(idle);
    until("their lines", || passed(&world).len() == 12).await;
    assert_eq!(world.metric("sekisho_log_full_total").to_string(), "0");
    under_way.into_iter().for_each(LogSlot::release);
    world.finish().await;
}

/// A WebSocket from 127.0.0.2.
async fn socket(world: &World) -> TlsStream<TcpStream> {
    let caller = world.caller(|config| {
        as_printer(world, config);
        config.source = Some([127, 0, 0, 2].into());
        config.alpn = Alpn::H1;
    });
    let mut socket = caller.stream(world.address()).await.unwrap();
    let head = "GET /ws HTTP/1.1\r\nhost: localhost\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
                sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    socket.write_all(head.as_bytes()).await.unwrap();
    assert!(read_head(&mut socket).await.starts_with("HTTP/1.1 101 "));
    socket
}

#[tokio::test(flavor = "multi_thread")]
async fn log_1_sockets_that_are_open_take_no_room_from_requests() {
    let world = World::start().await;
    world.amazon.set(Scenario::Echo);
    let under_way: Vec<LogSlot> =
        (1..LogSpec::LINES_MAX).map(|_| world.gateway.log.reserve().unwrap()).collect();
    let mut open = Vec::new();
    for _ in 0..4 {
        open.push(socket(&world).await);
        until("its room is free", || !world.gateway.log.is_full()).await;
    }
    assert_eq!(world.call(&world.printer(), get(ORDERS)).await.status, 200);
    drop(open);
    until("their lines", || world.requests().len() == 5).await;
    assert_eq!(world.metric("sekisho_log_lines_lost_total").to_string(), "0");
    under_way.into_iter().for_each(LogSlot::release);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn net_1_a_listener_that_goes_cuts_what_it_passes_on() {
    let mut quickest = Duration::MAX;
    // A busy machine may be slow, but not all the time.
    for _ in 0..3 {
        let target = raw::Target::start().await;
        let edge = Edge::before(&[target.address()], &[]).await;
        let mut client = tcp("127.0.0.2", edge.address()).await;
        raw::say(&mut client, &raw::hello(Some("localhost"), 10)).await;
        let _taken = target.take().await;
        assert!(edge.reload(|text| text.replace("name = \"edge\"", "name = \"moved\"")).await);
        let began = Instant::now();
        assert_eq!(until_closed(&mut client).await, b"");
        quickest = quickest.min(began.elapsed());
        let record = edge.record().await;
        assert_eq!(
            (&record["sekisho.ended"], &record["sekisho.listener"]),
            (&"revoked".into(), &"edge".into())
        );
        edge.finish().await;
        if quickest < Duration::from_secs(1) {
            return;
        }
    }
    panic!("{quickest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn net_1_a_network_that_goes_cuts_whatever_came_from_it() {
    let target = raw::Target::start().await;
    let world = both_ways(&target, "").await;
    let from = |address: &str| {
        world.caller(|config| {
            as_printer(&world, config);
            config.source = Some(address.parse().unwrap());
        })
    };
    // A socket,
    let mut socket = socket(&world).await;
    // an answer over HTTP/2,
    world.amazon.set(Scenario::SlowBody { bytes: 64, tick_ms: 50 });
    let asked = world.amazon.total();
    let slow = tokio::spawn({
        let open = from("127.0.0.2").connect(world.address()).await.unwrap();
        async move { open.call(get(ORDERS)).await }
    });
    until("the upstream is asked", || world.amazon.total() > asked).await;
    // what is passed on, and what comes from elsewhere.
    let (mut client, _taken) = through(&world, &target, "127.0.0.2").await;
    let (_stays, _behind) = through(&world, &target, "127.0.0.3").await;
    tokio::time::sleep(Duration::from_millis(100)).await;

    let (all, few) = ("loopback = [\"127.0.0.0/8\", \"::1\"]", "loopback = [\"127.0.0.3\"]");
    assert!(world.reload(|text| text.replace(all, few)).await);
    let mut rest = Vec::new();
    let ended = within(Duration::from_secs(4), "all of it is cut", async {
        let _ = timeout(SOON, socket.read_to_end(&mut rest)).await.expect("the socket is cut");
        assert_eq!(until_closed(&mut client).await, b"");
        slow.await.unwrap()
    })
    .await;
    // All of it is a refusal where its head was not out yet.
    let is_refused = |reply: &Reply| reply.end == BodyEnd::Broken || reply.status.as_u16() >= 400;
    assert!(ended.as_ref().map_or(true, is_refused), "{ended:?}");
    until("their lines", || world.requests().len() == 2 && passed(&world).len() == 1).await;
    for line in world.requests() {
        assert_eq!(
            (&line["event.outcome"], &line["sekisho.denial"], &line["sekisho.detail"]),
            (&"denied".into(), &"AccessRevoked".into(), &"Network".into()),
            "{line}"
        );
    }
    assert_eq!(passed(&world)[0]["sekisho.ended"], "revoked");
    world.amazon.set(Scenario::Echo);
    assert_eq!(from("127.0.0.3").call(world.address(), get(ORDERS)).await.unwrap().status, 200);
    world.finish().await;
}

/// As long a hello as there may be, each byte in a packet of its own.
async fn dribbled(world: &World, name: &str) -> Vec<u8> {
    let hello = raw::hello(Some(name), 65_400);
    let mut client = tcp("127.0.0.1", world.address()).await;
    client.set_nodelay(true).unwrap();
    for byte in &hello {
        // Whoever is turned away midway may stop.
        if client.write_all(&[*byte]).await.is_err() {
            break;
        }
        tokio::task::yield_now().await;
    }
    until_closed(&mut client).await
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_5_a_long_hello_in_small_packets_is_bounded_where_tls_ends() {
    let target = raw::Target::start().await;
    let bound = "handshake = \"2 s\"";
    for world in
        [World::with(Plan::default().fill("bounds", bound)).await, both_ways(&target, bound).await]
    {
        let both = async {
            tokio::join!(dribbled(&world, "localhost"), async {
                tokio::time::sleep(Duration::from_millis(100)).await;
                world.call(&world.printer(), get(ORDERS)).await
            })
        };
        let (said, reply) = within(Duration::from_secs(8), "it is turned away", both).await;
        assert_eq!(reply.status, 200, "others are served meanwhile");
        // An alert, if anything.
        assert!(said.is_empty() || said[0] == 21, "{said:?}");
        assert!(!holds(&said, "HTTP"));
        crate::wire::all_closed(&world).await;
        world.finish().await;
    }
}
