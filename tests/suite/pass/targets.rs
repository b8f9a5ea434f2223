//! Targets that are there and are no gateways, and targets that are gone.
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::Edge;
use super::raw::{Target, alert, hear, hello, say};
use crate::support::{until, until_some};
use crate::wire::{tcp, until_closed};

const UP: &str = "sekisho_pass_target_up{listener=\"edge\",route=\"apps\",target=\"gw-1\"}";
/// A record of TLS, as far as anybody looks.
const RECORD: &[u8] = &[22, 3, 3, 0, 1, 0];

const GREETS: u8 = 0;
const CLOSES: u8 = 1;
const SPEAKS_TLS: u8 = 2;

/// A target that answers by itself.
struct Answering {
    address: SocketAddr,
    how: Arc<AtomicU8>,
    /// Connections that said nothing.
    checks: Arc<AtomicU64>,
}

impl Answering {
    async fn start(how: u8) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (how, checks) = (Arc::new(AtomicU8::new(how)), Arc::new(AtomicU64::new(0)));
        let address = listener.local_addr().unwrap();
        tokio::spawn({
            let (how, checks) = (Arc::clone(&how), Arc::clone(&checks));
            async move {
                loop {
                    let (mut tcp, _) = listener.accept().await.unwrap();
                    let (how, checks) = (how.load(Ordering::SeqCst), Arc::clone(&checks));
                    if how == CLOSES {
                        continue;
                    }
                    tokio::spawn(async move {
                        if tcp.peek(&mut [0]).await.unwrap_or(0) == 0 {
                            checks.fetch_add(1, Ordering::SeqCst);
                            return;
                        }
                        let says =
                            if how == GREETS { &b"220 smtp.test ready\r\n"[..] } else { RECORD };
                        let _ = tcp.write_all(says).await;
                        drain(&mut tcp).await;
                    });
                }
            }
        });
        Self { address, how, checks }
    }
}

async fn drain(tcp: &mut tokio::net::TcpStream) {
    use tokio::io::AsyncReadExt;
    let mut sink = [0; 4_096];
    while let Ok(1..) = tcp.read(&mut sink).await {}
}

/// Clients that stay as long as they are served. How many were not, and what they were told.
async fn crowd(edge: &Edge, count: usize, told: &[u8]) -> usize {
    let (mut served, mut turned_away) = (Vec::new(), 0);
    for _ in 0..count {
        let mut client = tcp("127.0.0.2", edge.address()).await;
        say(&mut client, &hello(Some("localhost"), 10)).await;
        let mut first = [0];
        if client.peek(&mut first).await.is_ok_and(|said| said == 1) && first[0] == 22 {
            assert_eq!(hear(&mut client, RECORD.len()).await, RECORD);
            served.push(client);
        } else {
            assert_eq!(until_closed(&mut client).await, told);
            turned_away += 1;
        }
    }
    turned_away
}

async fn is_left_alone(how: u8, told: &[u8], ended: &str, reason: &str) {
    let (wrong, well) = (Answering::start(how).await, Answering::start(SPEAKS_TLS).await);
    let settings = [("pass", "failures = 2"), ("bounds", "connections_per_address = 100")];
    let edge = Edge::before(&[wrong.address, well.address], &settings).await;
    // It has the fewest connections all the time, and would draw every one of them.
    let turned_away = crowd(&edge, 30, told).await;
    assert!((2..6).contains(&turned_away), "{turned_away} of 30");
    edge.counts(UP, 0.0).await;
    let down = edge.told("target-down").await;
    assert_eq!(
        (&down["sekisho.target"], &down["sekisho.detail"]),
        (&"gw-1".into(), &reason.into())
    );
    let failures = format!(
        "sekisho_pass_target_failures_total\
         {{listener=\"edge\",reason=\"{reason}\",route=\"apps\",target=\"gw-1\"}}"
    );
    assert!(edge.metric(&failures) >= 2.0);
    let records = edge.records(30).await;
    let failed: Vec<_> =
        records.iter().filter(|record| record["sekisho.target"] == "gw-1").collect();
    assert_eq!(failed.len(), turned_away);
    for record in failed {
        assert_eq!(record["sekisho.ended"], ended, "{record}");
        assert_eq!(record["event.outcome"], "failed", "{record}");
        assert_eq!(record["destination.bytes"], 0, "{record}");
    }
    // Checks that find it there don't clear it.
    wrong.how.store(GREETS, Ordering::SeqCst);
    let before = wrong.checks.load(Ordering::SeqCst);
    until("two checks", || wrong.checks.load(Ordering::SeqCst) >= before + 2).await;
    assert!(edge.metric(UP) < 0.1 && edge.events("target-up").is_empty());
    // A connection does, once it is a gateway.
    wrong.how.store(SPEAKS_TLS, Ordering::SeqCst);
    until_some("it is used again", async || {
        crowd(&edge, 1, b"").await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        (edge.metric(UP) > 0.9).then_some(())
    })
    .await;
    edge.told("target-up").await;
    assert_eq!(edge.events("target-up").len(), 1);
    edge.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_3_a_target_that_speaks_something_else_is_left_alone_and_no_word_of_it_arrives() {
    is_left_alone(GREETS, &alert(80), "not_tls", "not_tls").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_3_a_target_that_closes_at_once_is_left_alone() {
    is_left_alone(CLOSES, b"", "target_silent", "silent").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_3_a_client_that_leaves_first_is_no_failure_of_the_target() {
    let target = Target::start().await;
    let edge = Edge::before(&[target.address()], &[("pass", "failures = 1")]).await;
    for _ in 0..3 {
        let mut client = tcp("127.0.0.2", edge.address()).await;
        say(&mut client, &hello(Some("localhost"), 10)).await;
        let mut taken = target.take().await;
        client.shutdown().await.unwrap();
        until_closed(&mut taken).await;
        drop(taken);
        assert_eq!(until_closed(&mut client).await, b"");
    }
    assert!(edge.records(3).await.iter().all(|record| record["sekisho.ended"] == "closed"));
    assert!(edge.metric(UP) > 0.9 && edge.events("target-down").is_empty());
    edge.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_3_a_route_of_the_past_checks_nobody_and_tells_of_nobody() {
    let (stays, goes) = (Answering::start(SPEAKS_TLS).await, Target::start().await);
    let edge = Edge::before(&[stays.address, goes.address()], &[]).await;
    let other = "sekisho_pass_target_up{listener=\"edge\",route=\"apps\",target=\"gw-2\"}";
    until("checks", || stays.checks.load(Ordering::SeqCst) > 1).await;
    let mut client = tcp("127.0.0.2", edge.address()).await;
    loop {
        // The one that stays has it.
        say(&mut client, &hello(Some("localhost"), 10)).await;
        let mut first = [0];
        tokio::select! {
            said = client.peek(&mut first) => {
                assert_eq!((said.unwrap(), first), (1, [22]));
                break;
            }
            _other = goes.take() => {}
        }
        client = tcp("127.0.0.2", edge.address()).await;
    }
    let gone = format!(", {{ name = \"gw-2\", address = \"{}\" }}", goes.address());
    let fewer = |text: String| {
        assert!(text.contains(&gone));
        text.replace(&gone, "").replace("check = \"1 s\"", "check = \"10 min\"")
    };
    assert!(edge.reload(fewer).await);
    drop(goes);
    // The connection keeps the route it came by, and nothing else does.
    let before = stays.checks.load(Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    let after = stays.checks.load(Ordering::SeqCst);
    assert!(after <= before + 1, "{} checks", after - before);
    assert!(edge.events("target-down").is_empty());
    let metrics = edge.gateway.engine.render_metrics();
    assert!(!metrics.contains(other) && metrics.contains(UP), "{metrics}");
    assert!(edge.passed().iter().all(|record| record["sekisho.target"] != "gw-1"), "it goes on");
    edge.finish().await;
}
