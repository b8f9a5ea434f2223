//! Planted records where they are least expected: within a value, in the answer that declines a socket,
//! in the pieces of an upload.
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sekisho::mock::{Alpn, Call, Flow};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::hygiene::printer;
use crate::streams::read_head;
use crate::support::{Plan, World, get, until};
use crate::upstream::{Scripted, lead_to, upstream_tls};
use crate::wire::until_closed;

const PLANTED: &str = "902-4395497-0000029";

async fn world() -> World {
    let plan = Plan::default()
        .file("canaries.txt", PLANTED)
        .fill("more", "[detect.canary]\nfile = \"canaries.txt\"\n");
    World::with(plan).await
}

async fn is_locked(world: &World) {
    until("the lock holds", || !world.gateway.engine.list_locks().is_empty()).await;
    let seen = &world.events("noticed")[0];
    assert_eq!(seen["sekisho.detector"], "canary");
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_4_a_planted_id_is_seen_within_a_value() {
    for value in
        ["id:902-4395497-0000029", "902-1-1%20902-4395497-0000029", "%22902-4395497-0000029%22"]
    {
        let world = world().await;
        let before = world.warehouse.total();
        let reply = world.call(&world.printer(), get(&format!("/stock/A?page={value}"))).await;
        assert_eq!(reply.status, 401, "{value}: {}", reply.text());
        assert_eq!(world.line_of(&reply)["sekisho.denial"], "Canary", "{value}");
        assert_eq!(world.warehouse.total(), before, "it was not even asked for");
        is_locked(&world).await;
        world.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_4_an_answer_that_declines_a_socket_is_searched_as_any_other() {
    let world = world().await;
    let body = format!("{{\"why\":\"no\",\"order\":\"{PLANTED}\"}}");
    let answer = format!(
        "HTTP/1.1 403 Forbidden\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let store = Scripted::start(&world, &[answer.as_bytes()]).await;
    lead_to(&world, store.address, "").await;
    let mut stream = printer(&world, Alpn::H1).stream(world.address()).await.unwrap();
    let ask = "GET /ws HTTP/1.1\r\nhost: localhost\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
               sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(ask.as_bytes()).await.unwrap();
    let said = String::from_utf8(until_closed(&mut stream).await).unwrap();
    assert!(!said.contains("902-"), "{said}");
    is_locked(&world).await;
    drop(stream);
    world.finish().await;
}

/// An upload is cut before the beginning of a planted id has gone up, wherever its pieces end.
#[tokio::test(flavor = "multi_thread")]
async fn mon_4_no_part_of_a_planted_id_goes_up() {
    let world = world().await;
    let (tls, listener) = (upstream_tls(&world), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let to = listener.local_addr().unwrap();
    let came = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&came);
    let upstream = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let mut stream = tls.accept(tcp).await.unwrap();
        read_head(&mut stream).await;
        while let Ok(byte) = stream.read_u8().await {
            seen.lock().push(byte);
        }
    });
    lead_to(&world, to, "").await;
    let body = format!("{{\"note\": \"before\", \"order\": \"{PLANTED}\", \"note\": \"after\"}}");
    let body = Flow::slow(body, 6, Duration::from_millis(20));
    let answer = printer(&world, Alpn::H1).call(world.address(), Call::post("/upload", body)).await;
    if let Ok(reply) = answer {
        world.note(&reply);
        assert_eq!(reply.status, 401);
    }
    is_locked(&world).await;
    upstream.await.unwrap();
    let came = String::from_utf8_lossy(&came.lock()).into_owned();
    assert!(came.contains("ote"), "what is no id went up while it came: {came}");
    assert!(!came.contains("902"), "{came}");
    world.finish().await;
}
