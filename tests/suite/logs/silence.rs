//! LOG-2: requests full of texts that occur nowhere else, and a search for them in all that the
//! gateway wrote or answered by itself.
use std::path::Path;

use http::Method;
use sekisho::devcerts::{LeafPlan, TokenClaims};
use sekisho::mock::{Alpn, Call, Flow, Reply, Scenario};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::admin;
use crate::support::{ORDERS, World, bearing, get, now, put};

/// A text that occurs nowhere else. Lower case, so that it survives as a header name.
fn mark(of: &str) -> String {
    format!("qz7-{of}-planted")
}

fn marked(call: Call, of: &str) -> Call {
    call.header(&format!("x-{}", mark(&format!("{of}-name"))), "1")
        .header("x-note", &mark(&format!("{of}-value")))
        .header("referer", &format!("https://{}/", mark(&format!("{of}-referer"))))
        .header("cookie", &format!("session={}", mark(&format!("{of}-cookie"))))
        .header("x-forwarded-for", "198.51.100.77")
}

#[tokio::test(flavor = "multi_thread")]
async fn log_2_nothing_of_a_request_is_written_down_or_echoed() {
    let world = World::start().await;
    world.warehouse.set_for("/stock/", Scenario::Echo);
    let mut answers: Vec<u8> = Vec::new();
    for alpn in [Alpn::H1, Alpn::H2] {
        let caller = |of: &str| {
            let identity = world.pki.client(of).cloned();
            world.caller(|config| (config.identity, config.alpn) = (identity, alpn))
        };
        let (printer, nobody) = (caller("label-printer"), caller("nobody"));
        let mut told = |reply: Reply, status: u16| {
            assert_eq!(reply.status, status, "{}", reply.text());
            if status >= 400 {
                answers.extend_from_slice(format!("{:?}", reply.headers).as_bytes());
                answers.extend_from_slice(&reply.body);
            }
        };
        let stock = format!("/stock/{}?page={}", mark("path"), mark("query"));
        let agent = |mut call: Call| {
            put(&mut call, "user-agent", &mark("agent"));
            call
        };
        told(world.call(&printer, agent(marked(Call::get(&stock), "granted"))).await, 200);
        let body = Flow::whole(mark("body"));
        let write = Call { body, ..Call::new(Method::PUT, &format!("/stock/{}", mark("path"))) };
        told(world.call(&printer, marked(write, "written")).await, 200);

        let ungranted = format!("/orders/v0/orders/{}/buyerInfo", mark("order"));
        told(world.call(&printer, marked(get(&ungranted), "denied")).await, 403);
        let unknown = format!("/{}?{}={}", mark("path"), mark("parameter"), mark("query"));
        told(world.call(&printer, marked(get(&unknown), "unknown")).await, 404);
        let odd = format!("/stock/{}//x?{}", mark("path"), mark("query"));
        told(world.call(&printer, marked(get(&odd), "odd")).await, 400);
        told(world.call(&nobody, marked(get(ORDERS), "nobody")).await, 401);
        for token in marked_tokens(&world) {
            told(world.call(&nobody, marked(bearing(get(ORDERS), &token), "token")).await, 401);
        }
        let mail = format!("{ORDERS}&BuyerEmail={}", mark("query"));
        let analyst = world.token("analyst");
        told(world.call(&nobody, marked(bearing(get(&mail), &analyst), "query")).await, 403);
        // What makes the engine below complain in its own words.
        for scenario in [Scenario::CloseEarly, Scenario::Garbage, Scenario::Truncate { after: 10 }]
        {
            world.amazon.set(scenario);
            let failing = format!("/orders/v0/orders/{}/address", mark("order"));
            let _ = printer.call(world.address(), marked(get(&failing), "failing")).await;
        }
        world.amazon.clear_scenarios();
    }
    strangers(&world, &mut answers).await;
    let admin = admin(&world, "GET", "/metrics").await;
    let log = world.log();
    assert!(
        world.requests().len() > 30 && !world.events("handshake-failed").is_empty(),
        "{log:#?}"
    );

    let mut places = Vec::new();
    written(&world.dir, &mut places);
    places.push(("answers".to_owned(), answers));
    places.push(("/metrics".to_owned(), admin.into_bytes()));
    assert!(places.iter().any(|(name, bytes)| name.ends_with("access.log") && bytes.len() > 5_000));
    for (place, bytes) in &places {
        let text = String::from_utf8_lossy(bytes).to_lowercase();
        for sign in ["qz7-", "-planted", "198.51.100.77", "127.0.0.1"] {
            assert!(!text.contains(sign), "{sign:?} of a request is in {place}");
        }
    }
    world.finish().await;
}

/// Tokens that say something they should not be able to make us repeat.
fn marked_tokens(world: &World) -> Vec<String> {
    let note = |claims: &mut TokenClaims| {
        let mail = Value::from(format!("{}@example.com", mark("claim")));
        claims.extra.insert("email".to_owned(), mail);
        claims.extra.insert(mark("claim-name"), Value::from(1));
    };
    let with = |edit: fn(&mut TokenClaims)| {
        world.token_with("analyst", |claims| {
            note(claims);
            edit(claims);
        })
    };
    vec![
        mark("bearer"),
        with(|claims| claims.sub = mark("subject")),
        with(|claims| claims.iss = format!("https://{}", mark("issuer"))),
        with(|claims| claims.aud = vec![mark("audience")]),
        with(|claims| claims.kid = Some(mark("kid"))),
        with(|claims| claims.exp_in = -600),
    ]
}

/// Connections that bring no request, or none that can be read.
async fn strangers(world: &World, answers: &mut Vec<u8>) {
    let foreign = world.caller(|config| config.server_name = format!("{}.test", mark("sni")));
    assert!(foreign.connect(world.address()).await.is_err(), "the gateway has no such certificate");

    let plan = LeafPlan {
        common_name: mark("common-name"),
        uris: vec![format!("spiffe://{}/x", mark("uri"))],
        ..LeafPlan::client("x", now())
    };
    let leaf = world.pki.ca.issue(&plan).unwrap();
    let unknown = world.caller(|config| config.identity = Some(leaf));
    let reply = world.call(&unknown, get(ORDERS)).await;
    assert_eq!(reply.status, 401);
    answers.extend_from_slice(&reply.body);

    let by_hand = world.caller(|config| config.alpn = Alpn::H1);
    for head in [
        format!("GET /{m} HTTP/1.1\r\nhost: localhost\r\nbad {m}: x\r\n\r\n", m = mark("head")),
        format!("{m} / HTTP/1.1\r\nhost: {m}\r\n\r\n", m = mark("head").to_uppercase()),
        format!("GET /{m} HTTP/9.9\r\nhost: localhost\r\n\r\n", m = mark("head")),
        format!(
            "GET / HTTP/1.1\r\nhost: localhost\r\ncontent-length: {m}\r\n\r\n",
            m = mark("head")
        ),
    ] {
        let raw = by_hand.raw(world.address(), head.as_bytes()).await.unwrap();
        assert!(raw.bytes.starts_with(b"HTTP/1.1 4") || raw.bytes.starts_with(b"HTTP/1.1 505"));
        answers.extend_from_slice(&raw.bytes);
    }
    let mut untold = TcpStream::connect(world.address()).await.unwrap();
    untold.write_all(format!("GET /{} HTTP/1.1\r\n\r\n", mark("plain")).as_bytes()).await.unwrap();
    let mut said = Vec::new();
    let _ = untold.read_to_end(&mut said).await;
    answers.extend_from_slice(&said);
}

/// Every file the gateway may have written: all but keys and configuration.
fn written(dir: &Path, into: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.ends_with("pki") || path.ends_with("sekisho.toml") {
            continue;
        }
        if path.is_dir() {
            written(&path, into);
        } else {
            into.push((path.display().to_string(), std::fs::read(&path).unwrap()));
        }
    }
}
