//! What two parsers could read in two ways is refused, told and written down (MON-5). HTTP/1.
use sekisho::mock::Scenario;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::support::{ORDERS, World, bearing, error_of, get, until};
use crate::wire::{MARK, SOON, answers, printer_h1, reached, refused};

const GET: &str = "GET /orders/v0/orders?MarketplaceIds=A1VC38T7YXB528 HTTP/1.1\r\n";
const POST: &str = "POST /upload HTTP/1.1\r\n";
const HOST: &str = "Host: localhost\r\n";
/// What Amazon wants of a request.
const TOKEN: &str = "x-amz-access-token: Atza|mock-access-token\r\nUser-Agent: suite/1.0\r\n";

/// A request of these parts, with the mark in a field before them.
fn request(line: &str, fields: &str, body: &str) -> Vec<u8> {
    format!("{line}X-Mark: {MARK}\r\n{fields}\r\n{body}").into_bytes()
}

async fn heads(world: &World, cases: &[(&str, &str, u16, &str)]) {
    for (line, fields, status, detail) in cases {
        refused(world, &request(line, fields, ""), *status, "HeadNotAccepted", Some(detail)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_5_two_lengths_never_pass() {
    let world = World::start().await;
    let case = |fields: &str| request(POST, &format!("{HOST}{fields}"), "0\r\n\r\n");
    for (fields, detail) in [
        ("Content-Length: 3\r\nContent-Length: 3\r\n", "Length"),
        ("Content-Length: 3\r\nContent-Length: 5\r\n", "Length"),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "Length"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "Length"),
        ("Content-Length: 3, 3\r\n", "Length"),
        ("Content-Length: +5\r\n", "Length"),
        ("Content-Length: 0x5\r\n", "Length"),
        ("Content-Length: 05\r\n", "Length"),
        ("Content-Length:\r\n", "Length"),
        ("Content-Length: 99999999999999999999\r\n", "Length"),
        ("Transfer-Encoding: gzip, chunked\r\n", "TransferCoding"),
        ("Transfer-Encoding: chunked, identity\r\n", "TransferCoding"),
        ("Transfer-Encoding: xchunked\r\n", "TransferCoding"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "TransferCoding"),
    ] {
        refused(&world, &case(fields), 400, "HeadNotAccepted", Some(detail)).await;
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_5_lines_have_one_spelling() {
    let world = World::start().await;
    heads(
        &world,
        &[
            (GET, "Host: localhost\nX-A: b\r\n", 400, "BareLineEnd"),
            (GET, "Host: localhost\rX-A: b\r\n", 400, "BareLineEnd"),
            ("GET / HTTP/1.1\n", HOST, 400, "BareLineEnd"),
            (GET, "Host: localhost\r\nX-A: a\0b\r\n", 400, "ControlByte"),
            (GET, "Host: localhost\r\nX-A: a\x1bb\r\n", 400, "ControlByte"),
            (GET, "Host: localhost\r\n folded\r\n", 400, "FieldLine"),
            (GET, "Host : localhost\r\n", 400, "FieldLine"),
            (GET, "Host: localhost\r\nContent-Length : 5\r\n", 400, "FieldLine"),
            (GET, "Host: localhost\r\n: nameless\r\n", 400, "FieldLine"),
            (GET, "Host: localhost\r\nno-colon\r\n", 400, "FieldLine"),
            ("GET  / HTTP/1.1\r\n", HOST, 400, "RequestLine"),
            ("GET / HTTP/1.1 \r\n", HOST, 400, "RequestLine"),
            ("GET /\r\n", HOST, 400, "RequestLine"),
            ("GET\t/ HTTP/1.1\r\n", HOST, 400, "RequestLine"),
        ],
    )
    .await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_5_a_target_has_no_fragment() {
    let world = World::start().await;
    heads(
        &world,
        &[
            ("GET /stock/17#a HTTP/1.1\r\n", HOST, 400, "RequestLine"),
            ("GET /stock/17?page=1#a HTTP/1.1\r\n", HOST, 400, "RequestLine"),
            ("GET /stock/17# HTTP/1.1\r\n", HOST, 400, "RequestLine"),
            ("GET https://localhost/stock/17#a HTTP/1.1\r\n", HOST, 400, "RequestLine"),
        ],
    )
    .await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_5_versions_and_methods_nobody_needs_are_refused() {
    let world = World::start().await;
    heads(
        &world,
        &[
            ("GET / HTTP/1.0\r\n", HOST, 505, "Version"),
            ("GET / HTTP/0.9\r\n", HOST, 505, "Version"),
            ("GET / HTTP/2.0\r\n", HOST, 505, "Version"),
            ("PRI * HTTP/2.0\r\n", HOST, 405, "Method"),
            ("CONNECT localhost:443 HTTP/1.1\r\n", HOST, 405, "Method"),
            ("TRACE / HTTP/1.1\r\n", HOST, 405, "Method"),
            ("OPTIONS * HTTP/1.1\r\n", HOST, 405, "Method"),
            ("get / HTTP/1.1\r\n", HOST, 405, "Method"),
            ("PROPFIND / HTTP/1.1\r\n", HOST, 405, "Method"),
        ],
    )
    .await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_5_a_request_names_one_host() {
    let world = World::start().await;
    heads(
        &world,
        &[
            (GET, "", 400, "Host"),
            (GET, "Host: localhost\r\nHost: localhost\r\n", 400, "Host"),
            (GET, "Host: localhost\r\nhost: other.test\r\n", 400, "Host"),
            (GET, "Host: user@localhost\r\n", 400, "Host"),
            (GET, "Host: local host\r\n", 400, "Host"),
            (GET, "Host:\r\n", 400, "Host"),
            ("GET https://other.test/orders/v0/orders HTTP/1.1\r\n", HOST, 400, "Host"),
            ("GET https://u@localhost/orders/v0/orders HTTP/1.1\r\n", HOST, 400, "Host"),
            ("GET http://localhost/orders/v0/orders HTTP/1.1\r\n", HOST, 400, "RequestLine"),
            ("GET orders/v0/orders HTTP/1.1\r\n", HOST, 400, "RequestLine"),
        ],
    )
    .await;
    for host in ["other.test", "127.0.0.1", "localhost.", "gateway.test"] {
        let wrong = request(GET, &format!("Host: {host}\r\nConnection: close\r\n"), "");
        refused(&world, &wrong, 421, "WrongHost", None).await;
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_5_an_absolute_target_with_the_same_host_goes_up_as_a_path() {
    let world = World::start().await;
    let ask =
        format!("GET https://localhost{ORDERS} HTTP/1.1\r\n{HOST}{TOKEN}Connection: close\r\n\r\n");
    let reply = printer_h1(&world).raw(world.address(), ask.as_bytes()).await.unwrap();
    assert_eq!(answers(&reply.bytes)[0].status, 200);
    let seen = world.amazon.last().unwrap();
    assert_eq!(seen.target, ORDERS);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_5_a_chunked_body_has_one_spelling() {
    let world = World::start().await;
    let fields = format!("{HOST}Transfer-Encoding: chunked\r\n");
    for body in [
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5;ext=1\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello, and more\r\n0\r\n\r\n",
        "11111111111111111\r\nhello",
        "5\r\nhello\r\n0\r\nX-Trailer: 1\r\n\r\n",
        "\r\n\r\n",
    ] {
        let before = reached(&world);
        let bytes = request(POST, &fields, body);
        let reply = printer_h1(&world).raw(world.address(), &bytes).await.unwrap();
        crate::wire::check_refusal(
            &world,
            &reply,
            &body.escape_debug().to_string(),
            400,
            "HeadNotAccepted",
            Some("TransferCoding"),
        );
        assert_eq!(reached(&world), before, "{body:?}");
    }
    let whole = request(POST, &format!("{fields}Connection: close\r\n"), "5\r\nhello\r\n0\r\n\r\n");
    let reply = printer_h1(&world).raw(world.address(), &whole).await.unwrap();
    assert_eq!(answers(&reply.bytes)[0].status, 200);
    assert_eq!(world.warehouse.last().unwrap().body_bytes, 5);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_5_a_second_request_in_the_same_bytes_is_never_smuggled() {
    let world = World::start().await;
    let first = format!("{GET}{HOST}{TOKEN}\r\n");
    // The second would be granted if it were read by itself; it must not run as part of the first.
    let second = format!("GET /stock/{MARK} HTTP/1.1\r\n{HOST}\r\n");
    for bytes in [
        format!("{first}{second}"),
        format!("{POST}{HOST}Content-Length: 5\r\n\r\nhello{second}"),
        format!("{POST}{HOST}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n{second}"),
    ] {
        let reply = printer_h1(&world).raw(world.address(), bytes.as_bytes()).await.unwrap();
        assert_ne!(reply.end, sekisho::mock::RawEnd::Deadline);
        let answers = answers(&reply.bytes);
        assert!(answers.len() <= 1, "{answers:?}");
        assert_eq!(answers[0].status, 200, "{answers:?}");
    }
    // The same while the first is being answered: no answer, or one.
    // So long that the second comes meanwhile in any case: after it, it would be a request of its own.
    world.amazon.set(Scenario::Delay { ms: 3_000 });
    let mut stream = printer_h1(&world).stream(world.address()).await.unwrap();
    stream.write_all(first.as_bytes()).await.unwrap();
    until("the first request is there", || world.amazon.total() == 2).await;
    stream.write_all(second.as_bytes()).await.unwrap();
    let said = crate::wire::until_closed(&mut stream).await;
    assert!(answers(&said).len() <= 1, "{}", String::from_utf8_lossy(&said));
    let seen = world.warehouse.requests();
    assert!(!seen.iter().any(|seen| seen.target.contains(MARK)), "smuggled");
    assert!(seen.iter().all(|seen| seen.body_bytes == 5), "{seen:?}");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_5_expect_100_continue_works_and_no_other_expectation() {
    let world = World::start().await;
    let odd = request(GET, &format!("{HOST}Expect: 200-ok\r\nConnection: close\r\n"), "");
    refused(&world, &odd, 400, "HeadNotAccepted", Some("FieldLine")).await;

    let fields =
        format!("{HOST}Content-Length: 5\r\nExpect: 100-continue\r\nConnection: close\r\n");
    let mut stream = printer_h1(&world).stream(world.address()).await.unwrap();
    stream.write_all(&request(POST, &fields, "")).await.unwrap();
    let mut said = [0; 25];
    timeout(SOON, stream.read_exact(&mut said)).await.expect("a 100 response").unwrap();
    assert_eq!(&said, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"hello").await.unwrap();
    let rest = crate::wire::until_closed(&mut stream).await;
    assert_eq!(answers(&rest)[0].status, 200);
    assert_eq!(world.warehouse.last().unwrap().body_bytes, 5);

    // A refused request is told so at once, and its body is not asked for.
    let fields = fields.replace("localhost", "other.test");
    refused(&world, &request(POST, &fields, ""), 421, "WrongHost", None).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_5_what_is_refused_before_the_engine_says_so_in_the_same_words() {
    let world = World::start().await;
    let nobody = world.caller(|config| config.alpn = sekisho::mock::Alpn::H1);
    let reply =
        world.call(&nobody, bearing(get("/orders/v0//orders"), &world.token("analyst"))).await;
    assert_eq!(
        (reply.status.as_u16(), error_of(&reply).0.as_str()),
        (400, "Sekisho.PathNotAccepted")
    );
    let raw = nobody.raw(world.address(), format!("{GET}\r\n").as_bytes()).await.unwrap();
    let early = &answers(&raw.bytes)[0];
    for name in ["content-type", "cache-control", "x-amzn-errortype"] {
        assert_eq!(early.field(name), reply.header(name), "{name}");
    }
    assert!(reply.header("server").is_none() && early.field("server").is_none());
    let metric = "sekisho_denials_total{code=\"HeadNotAccepted\"}";
    assert!((world.metric(metric) - 1.0).abs() < 0.1);
    world.finish().await;
}
