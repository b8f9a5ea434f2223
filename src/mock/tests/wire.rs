//! The internal store, the mock's own bounds, and the caller.
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::devcerts::{Leaf, LeafPlan};

#[tokio::test]
async fn stock_is_read_and_written() {
    let stage = Stage::warehouse().await;
    for alpn in [Alpn::H1, Alpn::H2] {
        let invented = stage.call(alpn, Call::get("/stock/AB%2FC")).await.unwrap();
        assert_eq!(invented.json()["sku"], "AB/C");
        let put = |body: &str| Call {
            body: Flow::whole(body.to_owned()),
            ..Call::new(http::Method::PUT, "/stock/NEW")
        };
        let written =
            stage.call(alpn, put(&json!({ "quantity": 4_711 }).to_string())).await.unwrap();
        assert_eq!(written.status, 200);
        let read = stage.call(alpn, Call::get("/stock/NEW")).await.unwrap();
        assert_eq!(read.json()["quantity"], 4_711);
        assert_eq!(stage.call(alpn, put("{}")).await.unwrap().status, 400);
        assert_eq!(stage.call(alpn, Call::get("/nowhere")).await.unwrap().status, 404);
    }
    assert_eq!(stage.mock.count(Operation::PutStock), 4);
}

#[tokio::test]
async fn bytes_stream_in_both_directions() {
    let stage = Stage::warehouse().await;
    let size = 20_000_000;
    for alpn in [Alpn::H1, Alpn::H2] {
        let config = CallerConfig { keep_bytes: 100, ..stage.config(alpn) };
        let caller = Caller::new(config).unwrap();
        let to = stage.mock.address();
        let down = caller.call(to, Call::get(&format!("/download/{size}"))).await.unwrap();
        assert_eq!((down.body_bytes, down.end, down.body.len()), (size, BodyEnd::Complete, 100));
        assert_eq!(down.header("content-length"), Some("20000000"));
        for length in [Length::Declared, Length::Unknown] {
            let up = Call::post("/upload", Flow::repeat(size, length));
            assert_eq!(caller.call(to, up).await.unwrap().json()["bytes"], size);
            let framed = stage.mock.last().unwrap().headers.contains_key("content-length");
            assert_eq!(framed, length == Length::Declared);
        }
        let too_large = caller.call(to, Call::get("/download/1073741825")).await.unwrap();
        assert_eq!(too_large.status, 400);
    }
}

#[tokio::test]
async fn slow_uploads_and_request_trailers_arrive() {
    let stage = Stage::warehouse().await;
    for alpn in [Alpn::H1, Alpn::H2] {
        let slow = Flow::slow("0123456789", 3, Duration::from_millis(2));
        let reply = stage.call(alpn, Call::post("/upload", slow)).await.unwrap();
        assert_eq!(reply.json()["bytes"], 10);
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "1".parse().unwrap());
    let call = Call::post("/upload", Flow::trailed("abc", trailers));
    assert_eq!(stage.call(Alpn::H2, call).await.unwrap().json()["bytes"], 3);
    assert_eq!(stage.mock.last().unwrap().trailers.unwrap()["x-sum"], "1");
    // A body that breaks off is no request, so nothing is remembered.
    let before = stage.mock.total();
    let broken = stage.call(Alpn::H2, Call::post("/upload", Flow::broken("abc"))).await;
    assert!(broken.is_err());
    assert_eq!(stage.mock.total(), before);
}

#[tokio::test]
async fn an_answer_to_head_has_no_body_in_either_version() {
    let stage = Stage::amazon().await;
    stage.mock.serve("/jwks", "application/json", stage.pki.signer.jwks());
    for alpn in [Alpn::H1, Alpn::H2] {
        let whole = stage.call(alpn, Call::get("/jwks")).await.unwrap();
        let head = stage.call(alpn, Call::new(http::Method::HEAD, "/jwks")).await.unwrap();
        assert_eq!(head.status, whole.status, "{alpn:?}");
        assert_eq!((head.body.len(), head.end), (0, BodyEnd::Complete), "{alpn:?}");
        for name in ["content-type", "content-length"] {
            assert_eq!(head.header(name), whole.header(name), "{name} {alpn:?}");
        }
    }
}

#[tokio::test]
async fn a_web_socket_echoes_after_the_handshake_of_rfc_6455() {
    let stage = Stage::warehouse().await;
    let mut stream = stage.caller(Alpn::H1).stream(stage.mock.address()).await.unwrap();
    let head = "GET /ws HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.unwrap());
    }
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 101 "));
    assert!(answer.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    stream.write_all(b"\x81\x05hello").await.unwrap();
    let mut back = [0; 7];
    stream.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"\x81\x05hello");
    let plain = stage.call(Alpn::H1, Call::get("/ws")).await.unwrap();
    assert_eq!(plain.status, 426);
}

#[tokio::test]
async fn documents_can_be_put_there_and_replaced() {
    let stage = Stage::amazon().await;
    stage.mock.serve("/jwks", "application/json", stage.pki.signer.jwks());
    let first = stage.call(Alpn::H1, Call::get("/jwks")).await.unwrap();
    assert_eq!(first.json()["keys"][0]["kid"], stage.pki.signer.kid());
    stage.mock.serve("/jwks", "application/json", stage.pki.other_signer.jwks());
    let second = stage.call(Alpn::H2, Call::get("/jwks")).await.unwrap();
    assert_eq!(second.json()["keys"][0]["kid"], stage.pki.other_signer.kid());
    assert_eq!(stage.mock.count(Operation::Document), 2);
}

#[tokio::test]
async fn tls_2_the_caller_trusts_one_authority_and_one_name() {
    let stage = Stage::amazon().await;
    let to = stage.mock.address();
    for (trust, name) in [
        (stage.pki.rogue.ca.certificate(), "localhost"),
        (stage.pki.ca.certificate(), "elsewhere.test"),
    ] {
        let config = CallerConfig { server_name: name.to_owned(), ..CallerConfig::trusting(trust) };
        let fault = Caller::new(config).unwrap().connect(to).await.unwrap_err();
        assert!(matches!(fault, CallFault::Tls(rustls::Error::InvalidCertificate(_))), "{fault:?}");
    }
    assert_eq!(stage.mock.connections(), 0);
    let session = stage.caller(Alpn::Both).connect(to).await.unwrap();
    assert_eq!(session.certificate(), stage.pki.upstream.chain().first());
    assert_eq!(session.tls_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    assert_eq!(
        session.call(sp_api(Call::get(ORDERS))).await.unwrap().version,
        http::Version::HTTP_2
    );
}

#[tokio::test]
async fn a_required_client_certificate_is_required_and_seen() {
    let stage = Stage::with(Personality::Amazon, |pki, config| {
        config.client_auth = ClientAuth::Required(vec![pki.ca.certificate()]);
    })
    .await;
    let to = stage.mock.address();
    let call = async |identity: Option<Leaf>, alpn| {
        let config = CallerConfig { identity, ..stage.config(alpn) };
        Caller::new(config).unwrap().call(to, sp_api(Call::get(ORDERS))).await
    };
    let now = Clock::system().now();
    let late = LeafPlan { not_after: now.unix_secs() - 10, ..LeafPlan::client("late", now) };
    for alpn in [Alpn::H1, Alpn::H2] {
        let leaf = stage.pki.client("label-printer").unwrap();
        assert_eq!(call(Some(leaf.clone()), alpn).await.unwrap().status, 200);
        assert_eq!(stage.mock.last().unwrap().client_certificate, Some(leaf.sha256()));
        for refused in
            [None, Some(stage.pki.rogue.client.clone()), Some(stage.pki.ca.issue(&late).unwrap())]
        {
            let fault = call(refused, alpn).await.unwrap_err();
            assert!(matches!(fault, CallFault::Tls(rustls::Error::AlertReceived(_))), "{fault:?}");
        }
    }
    assert_eq!(stage.mock.handshakes_failed(), 6);
}

#[tokio::test]
async fn one_connection_carries_several_calls() {
    let stage = Stage::amazon().await;
    for (n, alpn) in [Alpn::H1, Alpn::H2].into_iter().enumerate() {
        let session = stage.caller(alpn).connect(stage.mock.address()).await.unwrap();
        let calls = (0..5).map(|_| {
            let session = session.clone();
            tokio::spawn(async move { session.call(sp_api(Call::get(ORDERS))).await })
        });
        for call in calls.collect::<Vec<_>>() {
            assert_eq!(call.await.unwrap().unwrap().status, 200);
        }
        assert_eq!(stage.mock.connections(), n as u64 + 1);
    }
    assert_eq!(stage.mock.total(), 10);
}

#[tokio::test]
async fn net_3_a_preamble_comes_before_the_handshake() {
    let stage = Stage::amazon().await;
    let config = CallerConfig {
        preamble: b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n".to_vec(),
        ..stage.config(Alpn::H1)
    };
    // The mock knows no PROXY header, so to it this is a broken handshake.
    let fault = Caller::new(config).unwrap().connect(stage.mock.address()).await.unwrap_err();
    assert!(matches!(fault, CallFault::Tls(_) | CallFault::Io(_)), "{fault:?}");
    assert_eq!((stage.mock.connections(), stage.mock.handshakes_failed()), (0, 1));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn net_1_the_caller_chooses_its_address() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = listener.local_addr().unwrap();
    let stage = Stage::amazon().await;
    let config = CallerConfig {
        source: Some("127.0.0.9".parse().unwrap()),
        deadline: Duration::from_secs(5),
        ..stage.config(Alpn::H1)
    };
    let caller = Caller::new(config).unwrap();
    let connecting = tokio::spawn(async move { caller.stream(to).await });
    let (_, from) = listener.accept().await.unwrap();
    assert_eq!(from.ip().to_string(), "127.0.0.9");
    connecting.abort();
}

#[tokio::test]
async fn requests_that_are_no_requests_are_refused_by_the_caller() {
    let stage = Stage::amazon().await;
    for call in [Call::get(""), Call::get("/a b"), Call::get("/").header("x", "a\nb")] {
        for alpn in [Alpn::H1, Alpn::H2] {
            let call = Call { target: call.target.clone(), ..Call::get("") };
            let fault = stage.call(alpn, call).await;
            assert!(matches!(fault, Err(CallFault::Request)), "{fault:?}");
        }
    }
    assert_eq!(stage.mock.total(), 0);
}

#[tokio::test]
async fn large_bodies_are_refused_and_connections_bounded() {
    let stage = Stage::with(Personality::Warehouse, |_, config| {
        config.bounds.body_bytes = 1_000;
        config.bounds.connections = 1;
    })
    .await;
    let caller = stage.caller(Alpn::H2);
    let first = caller.connect(stage.mock.address()).await.unwrap();
    let up = |bytes| Call::post("/upload", Flow::repeat(bytes, Length::Unknown));
    assert_eq!(first.call(up(1_000)).await.unwrap().status, 200);
    assert_eq!(first.call(up(1_001)).await.unwrap().status, 413);
    // Whoever is to be served has all the time that it takes here; only who waits in vain has little.
    let config = CallerConfig { deadline: Duration::from_millis(200), ..stage.config(Alpn::H2) };
    let second = Caller::new(config).unwrap().connect(stage.mock.address()).await;
    assert!(matches!(second, Err(CallFault::Deadline)));
    drop(first);
    // The place is free as soon as the mock has noticed; the kernel's queue held the caller.
    assert!(caller.connect(stage.mock.address()).await.is_ok());
}

#[tokio::test]
async fn dropping_the_handle_closes_everything() {
    let stage = Stage::amazon().await;
    let to = stage.mock.address();
    let session = stage.caller(Alpn::H1).connect(to).await.unwrap();
    stage.mock.set(Scenario::Delay { ms: 60_000 });
    let waiting = {
        let session = session.clone();
        tokio::spawn(async move { session.call(sp_api(Call::get(ORDERS))).await })
    };
    while stage.mock.total() == 0 {
        tokio::task::yield_now().await;
    }
    let caller = stage.caller(Alpn::H1);
    stage.mock.shutdown().await;
    assert!(waiting.await.unwrap().is_err());
    assert!(matches!(caller.connect(to).await, Err(CallFault::Connect(_))));
}

#[tokio::test]
async fn a_taken_address_is_told() {
    let stage = Stage::amazon().await;
    let config = MockConfig {
        address: stage.mock.address(),
        ..MockConfig::new(Personality::Amazon, stage.pki.upstream.clone())
    };
    let fault = MockSpApi::start(config).await.unwrap_err();
    assert_eq!(fault, MockFault::Bind(std::io::ErrorKind::AddrInUse));
}
