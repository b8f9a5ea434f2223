//! What the HTTP/2 engine answers by itself is explained like any refusal (MON-5, LOG-1).
use sekisho::mock::Scenario;

use super::{GET, STOCK, open, refused_so_far, with};
use crate::support::{ORDERS, Plan, World, error_of, get, holds};
use crate::wire::{DATA, Ended, PING, SETTINGS, code, printer_h2};

/// The request id in a header block whose own fields are literals in plain text.
fn id_in(block: &[u8]) -> String {
    let name = b"x-sekisho-request-id";
    let at = memchr::memmem::find(block, name).expect("a request id") + name.len();
    let length = usize::from(block[at]);
    String::from_utf8(block[at + 1..=at + length].to_vec()).unwrap()
}

/// The fields of a request, and the detail and status of its refusal.
type Refused<'a> = (Vec<(&'a str, &'a str)>, &'static str, u64);

/// What the engine itself answers where `h2_header_bytes` is 4 KiB.
fn answered_by_the_engine(fill: &str) -> [Refused<'_>; 2] {
    [(with(&[("host", "other.test")]), "Host", 400), (with(&[("x-fill", fill)]), "TooLarge", 431)]
}

/// The refusal's own line, and that the answer's head agrees with it.
fn refused_with(world: &World, head: &[u8], detail: &str, status: u64) -> String {
    let id = id_in(head);
    let line = world.line(&id);
    assert_eq!(line["sekisho.denial"], "HeadNotAccepted");
    assert_eq!(line["sekisho.detail"], detail);
    assert_eq!(line["http.response.status_code"], status);
    assert!(holds(head, "x-amzn-errortype") && holds(head, "InvalidInput"), "{head:?}");
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_5_the_engine_s_own_answers_explain_themselves() {
    let world = World::with(Plan::default().fill("bounds", "h2_header_bytes = \"4 KiB\"")).await;
    let fill = "f".repeat(10_000);
    let mut h2 = open(&world).await;
    h2.widen(1 << 20).await;
    let mut streams = (1..).step_by(2);
    for whole in [true, false, true] {
        for (fields, detail, status) in answered_by_the_engine(&fill) {
            let stream = streams.next().unwrap();
            h2.headers(stream, &fields, whole).await;
            let (head, body) = h2.answer_of(stream).await;
            let id = refused_with(&world, &head, detail, status);
            assert_eq!(code(&body), "Sekisho.HeadNotAccepted");
            assert!(holds(&body, &id) && holds(&body, "MON-5"), "{body:?}");
            for field in ["application/json", "no-store", &body.len().to_string()] {
                assert!(holds(&head, field), "{field}: {head:?}");
            }
            world.note_bytes(&[head, body].concat());
        }
    }
    // What is compressed after those answers is still understood.
    let stream = streams.next().unwrap();
    h2.headers(stream, &GET, true).await;
    assert!(matches!(h2.ended(stream).await, Ended::Answered(body) if body.starts_with(STOCK)));
    refused_so_far(&world, 6).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_5_a_client_library_reads_the_engine_s_own_answers() {
    let world = World::with(Plan::default().fill("bounds", "h2_header_bytes = \"4 KiB\"")).await;
    let session = printer_h2(&world).connect(world.address()).await.unwrap();
    for _ in 0..3 {
        let mut call = get(ORDERS);
        crate::support::put(&mut call, "x-fill", &"f".repeat(10_000));
        let reply = session.call(call).await.unwrap();
        assert_eq!(reply.status, 431);
        assert_eq!(error_of(&reply).0, "Sekisho.HeadNotAccepted");
        assert_eq!(world.line_of(&reply)["sekisho.detail"], "TooLarge");
        let reply = session.call(get(ORDERS)).await.unwrap();
        assert_eq!(reply.status, 200);
        assert!(reply.header("x-amzn-requestid").is_some(), "{reply:?}");
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn log_1_the_engine_s_own_answers_bear_a_request_id_where_no_body_may_follow() {
    let world = World::with(Plan::default().fill("bounds", "h2_header_bytes = \"4 KiB\"")).await;
    let fill = "f".repeat(10_000);
    for (narrow, widened, method) in [
        (None, 1 << 20, "HEAD"),
        // The client has allowed no more than every connection begins with, or too little on a stream.
        (None, 100, "GET"),
        (Some(100_u32), 1 << 20, "GET"),
    ] {
        let mut h2 = open(&world).await;
        h2.widen(widened).await;
        if let Some(bytes) = narrow {
            h2.send(SETTINGS, 0, 0, &[&[0, 4][..], &bytes.to_be_bytes()].concat()).await;
        }
        for ((mut fields, detail, status), stream) in
            answered_by_the_engine(&fill).into_iter().zip([1, 3])
        {
            fields[0].1 = method;
            h2.headers(stream, &fields, true).await;
            let (head, body) = h2.answer_of(stream).await;
            refused_with(&world, &head, detail, status);
            assert_eq!(body, b"", "{narrow:?} {widened} {method}");
        }
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_5_explanations_take_no_window_that_the_client_did_not_give() {
    let world = World::start().await;
    world.warehouse.set(Scenario::Endless { bytes: 1 << 20 });
    let mut h2 = open(&world).await;
    let (first, more) = (65_535, 40_000);
    // The stream's own window is no bound here.
    h2.send(SETTINGS, 0, 0, &[0, 4, 0, 0x7f, 0xff, 0xff]).await;
    h2.widen(more).await;
    let mut came = 0;
    for stream in (1..21).step_by(2) {
        h2.headers(stream, &with(&[("host", "other.test")]), true).await;
        let (_head, body) = h2.answer_of(stream).await;
        assert_eq!(code(&body), "Sekisho.HeadNotAccepted");
        came += body.len();
    }
    h2.headers(21, &GET, true).await;
    let allowed = usize::try_from(first + more).unwrap();
    // The rest of what was kept may stay unused.
    while came < allowed - 8_192 {
        let frame = h2.next().await.expect("more of the body");
        came += if frame.kind == DATA { frame.payload.len() } else { 0 };
    }
    // An answer to this PING comes behind whatever else the engine believed it may send.
    h2.send(PING, 0, 0, &[7; 8]).await;
    loop {
        let frame = h2.next().await.expect("the answer to a PING");
        match frame.kind {
            DATA => came += frame.payload.len(),
            PING => break,
            _ => {}
        }
    }
    assert!(came <= allowed, "{came} bytes of {allowed}");
    world.finish().await;
}
