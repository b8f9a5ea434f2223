//! A target is taken out of service: what is under way there comes to its end.
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::Edge;
use super::raw::{Target, hear, hello, say};
use crate::wire::{tcp, until_closed};

/// A record of TLS, as far as anybody looks.
const RECORD: &[u8] = &[22, 3, 3, 0, 1, 0];

async fn takes(target: &Target) -> TcpStream {
    let (mut taken, _) = target.take_from().await;
    hear(&mut taken, hello(Some("localhost"), 10).len()).await;
    say(&mut taken, RECORD).await;
    taken
}

/// A connection, its other end, and which of the two that is at.
async fn through(edge: &Edge, [one, two]: [&Target; 2]) -> (TcpStream, TcpStream, usize) {
    let mut client = tcp("127.0.0.2", edge.address()).await;
    say(&mut client, &hello(Some("localhost"), 10)).await;
    let (server, place) = tokio::select! {
        server = takes(one) => (server, 0),
        server = takes(two) => (server, 1),
    };
    assert_eq!(hear(&mut client, RECORD.len()).await, RECORD);
    (client, server, place)
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_3_a_target_that_is_taken_out_answers_what_it_was_asked() {
    let targets = [&Target::start().await, &Target::start().await];
    let edge = Edge::before(&targets.map(Target::address), &[]).await;
    let (mut client, mut server, place) = through(&edge, targets).await;
    say(&mut client, b"a question").await;
    hear(&mut server, 10).await;
    let before = Instant::now();
    let gone =
        format!("{{ name = \"gw-{}\", address = \"{}\" }}", place + 1, targets[place].address());
    let without = |text: String| {
        let text = text.replace("shutdown_grace = \"1 s\"", "shutdown_grace = \"6 s\"");
        let less = text.replace(&format!("{gone}, "), "").replace(&format!(", {gone}"), "");
        assert_ne!(less, text);
        less
    };
    assert!(edge.reload(without).await);
    // Whoever comes now goes to the other one.
    for _ in 0..4 {
        let (_client, _server, other) = through(&edge, targets).await;
        assert_ne!(other, place);
    }
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let answer = vec![7; 100_000];
    let (_said, heard) = tokio::join!(say(&mut server, &answer), hear(&mut client, answer.len()));
    assert_eq!(heard, answer);
    // After the grace it ends, whatever its client would like.
    assert_eq!(until_closed(&mut client).await, b"");
    assert!(before.elapsed() >= Duration::from_secs(6), "{:?}", before.elapsed());
    let records = edge.records(5).await;
    let ended = |how: &str| records.iter().filter(|l| l["sekisho.ended"] == how).count();
    assert_eq!(ended("target_gone"), 1, "{records:#?}");
    let record = records.iter().find(|l| l["sekisho.ended"] == "target_gone").unwrap();
    assert_eq!(record["event.outcome"], "allowed");
    edge.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn net_1_where_more_is_gone_than_a_target_nothing_is_left_to_end() {
    let targets = [&Target::start().await, &Target::start().await];
    let edge = Edge::before(&targets.map(Target::address), &[]).await;
    let (mut client, _server, place) = through(&edge, targets).await;
    let gone =
        format!("{{ name = \"gw-{}\", address = \"{}\" }}", place + 1, targets[place].address());
    let without = |text: String| {
        let text = text.replace("shutdown_grace = \"1 s\"", "shutdown_grace = \"20 s\"");
        text.replace(&format!("{gone}, "), "").replace(&format!(", {gone}"), "")
    };
    assert!(edge.reload(without).await);
    let waits = timeout(Duration::from_millis(300), until_closed(&mut client)).await;
    assert!(waits.is_err(), "it has its grace");
    let nobody =
        |text: String| text.replace("networks = [\"loopback\"]", "networks = [\"customers\"]");
    assert!(edge.reload(nobody).await);
    assert_eq!(edge.record().await["sekisho.ended"], "revoked");
    edge.finish().await;
}
