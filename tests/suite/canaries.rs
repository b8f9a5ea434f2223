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

pub async fn world() -> World {
    let plan = Plan::default()
        .file("canaries.txt", PLANTED)
        .fill("more", "[detect.canary]\nfile = \"canaries.txt\"\n");
    World::with(plan).await
}

pub async fn is_locked(world: &World) {
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
async fn mon_4_a_doubly_encoded_id_is_found() {
    let world = world().await;
    let before = world.warehouse.total();
    let call = Call::get("/stock/902%252D4395497%252D0000029");
    let reply = world.call(&world.printer(), call).await;
    assert_eq!(reply.status, 401, "{}", reply.text());
    assert_eq!(world.line_of(&reply)["sekisho.denial"], "Canary");
    assert_eq!(world.warehouse.total(), before);
    is_locked(&world).await;
    world.finish().await;
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
    // Slow enough that the first pieces go up before the id is whole.
    let body = Flow::slow(body, 6, Duration::from_millis(200));
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

/// A frame; a client's is masked.
fn frame(first: u8, mask: Option<[u8; 4]>, payload: &str) -> Vec<u8> {
    let bit = if mask.is_some() { 0x80 } else { 0 };
    let mut out = vec![first, bit | u8::try_from(payload.len()).unwrap()];
    out.extend(mask.iter().flatten());
    let mask = mask.unwrap_or_default();
    out.extend(payload.bytes().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    out
}

/// Either side may say it, in one frame or in several.
#[tokio::test(flavor = "multi_thread")]
async fn mon_4_a_socket_ends_before_a_planted_id_has_passed() {
    let (begin, end) = PLANTED.split_at(9);
    let (before, after) = (format!("{{\"id\":\"{begin}"), format!("{end}\"}}"));
    let extension = "sec-websocket-extensions: permessage-deflate\r\n";
    for side in ["client", "upstream"] {
        let world = world().await;
        let (tls, listener) =
            (upstream_tls(&world), TcpListener::bind("127.0.0.1:0").await.unwrap());
        let to = listener.local_addr().unwrap();
        let speech = if side == "upstream" {
            [frame(0x01, None, &before), frame(0x80, None, &after)].concat()
        } else {
            frame(0x81, None, "hello")
        };
        let upstream = tokio::spawn(async move {
            let (tcp, _) = listener.accept().await.unwrap();
            let mut stream = tls.accept(tcp).await.unwrap();
            let head = read_head(&mut stream).await.to_ascii_lowercase();
            assert!(!head.contains("permessage-deflate"), "{head}");
            let open = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
            stream.write_all(&[open.as_bytes(), &speech].concat()).await.unwrap();
            stream.flush().await.unwrap();
            let mut came = Vec::new();
            while let Ok(byte) = stream.read_u8().await {
                came.push(byte);
            }
            came
        });
        lead_to(&world, to, "").await;
        let mut stream = printer(&world, Alpn::H1).stream(world.address()).await.unwrap();
        let ask = format!(
            "GET /ws HTTP/1.1\r\nhost: localhost\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
             {extension}sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(ask.as_bytes()).await.unwrap();
        let head = read_head(&mut stream).await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        if side == "client" {
            let mask = Some([7, 77, 177, 27]);
            stream.write_all(&frame(0x01, mask, &before)).await.unwrap();
            stream.write_all(&frame(0x80, mask, &after)).await.unwrap();
            stream.flush().await.unwrap();
        }
        let said = String::from_utf8_lossy(&until_closed(&mut stream).await).into_owned();
        assert!(!said.contains(end), "{said}");
        is_locked(&world).await;
        drop(stream);
        let up = upstream.await.unwrap();
        let last = frame(0x80, Some([7, 77, 177, 27]), &after);
        assert!(!up.windows(last.len()).any(|part| part == last), "{side}");
        world.finish().await;
    }
}
