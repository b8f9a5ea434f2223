//! Where an id could hide from who looks for it: in a range, a coding, a charset, a header. MON-4 and
//! ACC-5; `canaries` and `closed` have it in plain sight.
use std::sync::Arc;

use http::{HeaderMap, HeaderName};
use parking_lot::Mutex;
use sekisho::mock::{Alpn, BodyEnd, Call, Flow, Reply};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use crate::canaries::{is_locked, world};
use crate::closed::{ORDER, lock};
use crate::hygiene::printer;
use crate::streams::read_head;
use crate::support::{Plan, World, error_of, until};
use crate::upstream::{Scripted, lead_to, upstream_tls};

const FILE: &str = r#"[{"order":"902-4395497-0000029"}]"#;

/// A store that serves one file, in ranges where they are asked for, and remembers the heads it saw.
async fn store_with_ranges(world: &World) -> Arc<Mutex<Vec<String>>> {
    let (tls, listener) = (upstream_tls(world), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let to = listener.local_addr().unwrap();
    let heads = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&heads);
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = tls.accept(tcp).await else { continue };
            let head = read_head(&mut stream).await.to_ascii_lowercase();
            let range = head.split_once("range: bytes=").map(|(_, rest)| {
                let (first, last) = rest.split_once("\r\n").unwrap().0.split_once('-').unwrap();
                (first.parse::<usize>().unwrap(), last.parse::<usize>().unwrap())
            });
            seen.lock().push(head);
            let (status, part) = match range {
                Some((first, last)) => ("206 Partial Content", &FILE[first..=last]),
                None => ("200 OK", FILE),
            };
            let answer = format!(
                "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
                 connection: close\r\n\r\n{part}",
                part.len()
            );
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    lead_to(world, to, "protocol = \"http/1.1\"").await;
    heads
}

/// Asks for the file in pieces that hold no id. No byte of one comes.
async fn by_sevens(world: &World, denied: u16) {
    let heads = store_with_ranges(world).await;
    for name in ["range", "request-range", "x-ms-range"] {
        for first in (0..FILE.len() - 6).step_by(7) {
            let range = format!("bytes={first}-{}", first + 6);
            let call = Call::get("/stock/A").header(name, &range).header("if-range", "\"1\"");
            let reply = world.call(&world.printer(), call).await;
            assert!(reply.status == denied || reply.end == BodyEnd::Broken, "{}", reply.text());
            assert!(!reply.text().contains("902"), "{}", reply.text());
        }
    }
    let heads = heads.lock().clone();
    assert!(!heads.is_empty());
    assert!(!heads.iter().any(|head| head.contains("range")), "{heads:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_4_a_range_does_not_cut_an_id_apart() {
    let world = world().await;
    by_sevens(&world, 401).await;
    is_locked(&world).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_5_a_range_does_not_cut_a_locked_order_apart() {
    let world = World::start().await;
    lock(&world).await;
    by_sevens(&world, 403).await;
    world.finish().await;
}

fn utf_16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_be_bytes).collect()
}

fn answer(status: &str, fields: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\n{fields}\r\ncontent-length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

fn is_withheld(world: &World, reply: &Reply, detail: &str) {
    let line = world.line_of(reply);
    assert_eq!(
        (&line["sekisho.denial"], &line["sekisho.detail"]),
        (&"Withheld".into(), &detail.into())
    );
    assert_eq!(
        (&line["sekisho.control"], &line["event.outcome"]),
        (&"MON-4".into(), &"denied".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_4_a_coded_answer_is_refused_by_its_name() {
    let answers = [
        (answer("200 OK", "content-encoding: gzip", b"\x1f\x8b\x08"), "Coding", "compressed"),
        (
            answer("206 Partial Content", "content-range: bytes 0-6/90", b"[{\"orde"),
            "Partial",
            "a part",
        ),
        (
            answer("200 OK", "content-type: text/plain; charset=IBM037", b"\xf9"),
            "Charset",
            "charset",
        ),
    ];
    let world = World::start().await;
    let scripts: Vec<&[u8]> = answers.iter().map(|(answer, ..)| answer.as_slice()).collect();
    let store = Scripted::start(&world, &scripts).await;
    lead_to(&world, store.address, "protocol = \"http/1.1\"").await;
    // As long as nothing is looked for, they pass.
    for _ in &answers {
        let reply = world.call(&world.printer(), Call::get("/stock/A")).await;
        assert!(reply.status.is_success(), "{}", reply.text());
    }
    lock(&world).await;
    for (_, detail, word) in &answers {
        let reply = world.call(&world.printer(), Call::get("/stock/A")).await;
        let (code, message) = error_of(&reply);
        assert_eq!((reply.status.as_u16(), code.as_str()), (403, "Sekisho.Withheld"));
        assert!(message.contains(word), "{message}");
        is_withheld(&world, &reply, detail);
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_4_an_answer_in_utf_16_does_not_pass() {
    let body = utf_16(FILE);
    let world = world().await;
    let named = answer("200 OK", "content-type: application/json;charset=UTF-16BE", &body);
    let unnamed = answer("200 OK", "content-type: application/json", &body);
    let store = Scripted::start(&world, &[&named, &unnamed]).await;
    lead_to(&world, store.address, "protocol = \"http/1.1\"").await;
    for _ in 0..2 {
        let call = Call::get("/stock/A").header("accept", "application/json;charset=UTF-16BE");
        let reply = world.call(&world.printer(), call).await;
        assert!(reply.status == 403 || reply.end == BodyEnd::Broken, "{}", reply.status);
        assert!(!reply.text().contains('\0'), "it left");
        is_withheld(&world, &reply, "Charset");
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_5_a_locked_order_is_not_named_in_gzip() {
    let world = World::start().await;
    lock(&world).await;
    let upload = |body: Vec<u8>| Call::post("/upload", Flow::whole(body));
    let before = world.warehouse.total();
    let json = "application/json";
    for alpn in [Alpn::H1, Alpn::H2] {
        let gzip = upload(vec![0x1f, 0x8b, 8]).header("content-encoding", "gzip");
        let wide = upload(utf_16(FILE)).header("content-type", &format!("{json}; charset=utf-16"));
        for (call, detail) in [(gzip, "RequestCoding"), (wide, "RequestCharset")] {
            let reply = world.call(&printer(&world, alpn), call).await;
            let told = (reply.status.as_u16(), error_of(&reply).0);
            assert_eq!(told, (415, "Sekisho.Withheld".to_owned()));
            is_withheld(&world, &reply, detail);
        }
    }
    assert_eq!(world.warehouse.total(), before, "it was not even asked");
    // What says nothing of its charset is recognised by readers of JSON, and here by what no text holds.
    for call in [upload(utf_16(FILE)), upload(utf_16(FILE)).header("content-type", json)] {
        let lines = world.requests().len();
        if let Ok(reply) = printer(&world, Alpn::H1).call(world.address(), call).await {
            world.note(&reply);
            assert_eq!(reply.status, 415);
        }
        until("its line", || world.requests().len() > lines).await;
        assert_eq!(world.requests().pop().unwrap()["sekisho.detail"], "RequestCharset");
    }
    // What is no text may hold any byte.
    let binary = upload(vec![0; 90]).header("content-type", "application/pdf");
    assert!(world.call(&world.printer(), binary).await.status.is_success());
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_5_a_locked_order_in_a_header() {
    let world = World::start().await;
    let fields = [
        "location: /orders/902%2D4395497-0000029".to_owned(),
        format!("content-disposition: attachment; filename=\"{ORDER}.pdf\""),
    ];
    let answers = fields.map(|field| answer("200 OK", &field, b"%PDF"));
    let store = Scripted::start(&world, &answers.each_ref().map(Vec::as_slice)).await;
    lead_to(&world, store.address, "protocol = \"http/1.1\"").await;
    lock(&world).await;
    let is_closed = |reply: &Reply| {
        let denied = (reply.status.as_u16(), error_of(reply).0);
        assert_eq!(denied, (403, "Sekisho.Closed".to_owned()));
        assert_eq!(world.line_of(reply)["sekisho.detail"], "Record");
        assert!(!format!("{:?}", reply.headers).contains("4395497"));
    };
    for _ in &answers {
        is_closed(&world.call(&world.printer(), Call::get("/stock/A")).await);
    }
    assert_eq!(store.heads(), 2);
    for alpn in [Alpn::H1, Alpn::H2] {
        let call = Call::get("/stock/A").header("x-order", &format!("id={ORDER}"));
        is_closed(&world.call(&printer(&world, alpn), call).await);
    }
    assert_eq!(store.heads(), 2, "the store was not asked");
    world.finish().await;
}

/// Trailers are headers that come late.
#[tokio::test(flavor = "multi_thread")]
async fn net_3_what_comes_behind_a_request_s_body_reaches_no_upstream() {
    for protocol in ["http/1.1", "h2"] {
        let line = format!("protocol = \"{protocol}\"");
        let world = World::with(Plan::default().fill("warehouse", &line)).await;
        for alpn in [Alpn::H1, Alpn::H2] {
            let late = HeaderMap::from_iter(
                [("x-remote-user", "admin"), ("x-late", "yes")]
                    .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())),
            );
            let call = Call::post("/upload", Flow::trailed("on time", late));
            let reply = world.call(&printer(&world, alpn), call).await;
            assert!(reply.status.is_success(), "{}", reply.text());
            let seen = world.warehouse.last().unwrap();
            assert_eq!((seen.body_bytes, seen.trailers), (7, None), "{alpn:?} over {protocol}");
            assert_eq!(seen.headers.get("x-late"), None);
        }
        world.finish().await;
    }
}
