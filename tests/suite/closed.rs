//! An order that is locked is closed to calls that are under way as well: waiting, or being answered.
use std::time::Duration;

use sekisho::base::Name;
use sekisho::engine::{LockOrder, OrderId, Target};
use sekisho::lockout::Step;
use sekisho::mock::{Alpn, Operation, Rate, Throttling};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::hygiene::printer;
use crate::streams::read_head;
use crate::support::{Plan, World, error_of, get, until};
use crate::upstream::{lead_to, upstream_tls};
use crate::wire::until_closed;

pub const ORDER: &str = "902-4395497-0000029";
const OTHER: &str = "902-4395497-0000030";

fn address(order: &str) -> String {
    format!("/orders/v0/orders/{order}/address")
}

pub async fn lock(world: &World) {
    let name = |text| Name::parse(text).unwrap();
    let target = Target::Order(OrderId::new(ORDER.to_owned()).unwrap());
    let (by, case) = (name("officer"), name("CASE-1"));
    let order = LockOrder { target, step: Step::Lock, lasts: None, by, case };
    world.gateway.engine.lock(&order).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_5_a_lock_of_an_order_reaches_calls_that_wait_for_it() {
    // Three calls at once, then one in two seconds: the mock's and the gateway's.
    let plan = Plan::default()
        .replace(
            "pacing = { plans = [{ operations = [\"*\"], rate = \"10000/s\", burst = 10000 }] }",
            "pacing = { wait = \"5 min\", max_wait = \"10 min\", \
             plans = [{ operations = [\"*\"], rate = \"30/min\", burst = 3 }] }",
        )
        .replace("stage = \"sandbox\"\n", "")
        .throttling(Throttling::Every(Rate { per_second: 0.5, burst: 3 }))
        .by_hand();
    let world = World::with(plan).await;
    for _ in 0..3 {
        world.call(&world.printer(), get(&address(OTHER))).await;
    }
    let waits = |order: &str| {
        let (caller, to, call) = (world.printer(), world.address(), get(&address(order)));
        tokio::spawn(async move { caller.call(to, call).await.unwrap() })
    };
    let (closed, other) = (waits(ORDER), waits(OTHER));
    until("both wait", || world.metric("sekisho_pacing_waiting") > 1.9).await;
    lock(&world).await;
    let reply = closed.await.unwrap();
    world.note(&reply);
    assert_eq!((reply.status.as_u16(), error_of(&reply).0), (403, "Sekisho.Closed".to_owned()));
    assert_eq!(world.line_of(&reply)["sekisho.detail"], "Record");
    // Its turn is the other's.
    world.advance(Duration::from_millis(2_010));
    let reply = other.await.unwrap();
    world.note(&reply);
    assert_eq!(world.line_of(&reply)["event.outcome"], "allowed");
    assert_eq!(world.amazon.count(Operation::GetOrderAddress), 4);
    world.finish().await;
}

const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\
                    transfer-encoding: chunked\r\n\r\n";

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

/// What comes of an answer in two parts to a request of `path`, where the order is locked between them.
async fn locked_between(path: &str, parts: [&str; 2]) -> (String, Vec<u8>) {
    let world = World::start().await;
    let (tls, listener) = (upstream_tls(&world), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let to = listener.local_addr().unwrap();
    let (go, going) = oneshot::channel::<()>();
    let [first, second] = parts.map(chunk);
    let begins = format!("{HEAD}{first}");
    let upstream = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let mut stream = tls.accept(tcp).await.unwrap();
        read_head(&mut stream).await;
        stream.write_all(begins.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        going.await.unwrap();
        // The gateway may have hung up by now.
        let _ = stream.write_all(format!("{second}0\r\n\r\n").as_bytes()).await;
        let _ = stream.flush().await;
        let _ = stream.read_u8().await;
    });
    lead_to(&world, to, "").await;
    let mut stream = printer(&world, Alpn::H1).stream(world.address()).await.unwrap();
    let ask = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    stream.write_all(ask.as_bytes()).await.unwrap();
    let head = read_head(&mut stream).await;
    let mut came = Vec::new();
    while !came.ends_with(parts[0].as_bytes()) {
        came.push(stream.read_u8().await.unwrap());
    }
    lock(&world).await;
    go.send(()).unwrap();
    let rest = until_closed(&mut stream).await;
    drop(stream);
    until("its line", || !world.requests().is_empty()).await;
    let line = world.requests().pop().unwrap();
    assert_eq!(
        (&line["sekisho.denial"], &line["sekisho.detail"]),
        (&"Closed".into(), &"Record".into())
    );
    upstream.await.unwrap();
    world.finish().await;
    (head, rest)
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_5_a_lock_of_an_order_cuts_the_answer_that_is_about_it() {
    let path = format!("/stock/{ORDER}");
    let (head, rest) = locked_between(&path, ["{\"begins\":1,", "\"ends\":2}"]).await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let rest = String::from_utf8_lossy(&rest).into_owned();
    assert!(!rest.contains("ends"), "the rest does not leave: {rest}");
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_5_a_lock_of_an_order_cuts_the_answer_that_comes_to_it() {
    let second = format!("{{\"order\":\"{ORDER}\"}}]");
    let (head, rest) = locked_between("/stock/A", ["[{\"order\":1},", &second]).await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(!String::from_utf8_lossy(&rest).contains(ORDER), "it left");
}

/// A pause is what a socket that has to stop is otherwise given, and whoever steals makes none.
#[tokio::test(flavor = "multi_thread")]
async fn acc_2_a_lock_cuts_a_socket_that_is_never_silent() {
    let world = World::start().await;
    let mut stream = printer(&world, Alpn::H1).stream(world.address()).await.unwrap();
    let ask = "GET /ws HTTP/1.1\r\nhost: localhost\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
               sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(ask.as_bytes()).await.unwrap();
    let head = read_head(&mut stream).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let (mut read, mut write) = tokio::io::split(stream);
    let talking = tokio::spawn(async move {
        let mut tick = tokio::time::interval(Duration::from_millis(50));
        while write.write_all(b"\x81\x05hello").await.is_ok() && write.flush().await.is_ok() {
            tick.tick().await;
        }
    });
    read.read_u8().await.unwrap();
    let name = |text| Name::parse(text).unwrap();
    let (target, step) = (Target::Identity(name("label-printer")), Step::Lock);
    let (by, case) = (name("officer"), name("CASE-1"));
    let lock = LockOrder { target, step, lasts: None, by, case };
    world.gateway.engine.lock(&lock).await.unwrap();
    until_closed(&mut read).await;
    until("its line", || !world.requests().is_empty()).await;
    let line = world.requests().pop().unwrap();
    assert_eq!(
        (&line["sekisho.denial"], &line["http.response.status_code"]),
        (&"Locked".into(), &101.into())
    );
    drop(read);
    talking.await.unwrap();
    world.finish().await;
}
