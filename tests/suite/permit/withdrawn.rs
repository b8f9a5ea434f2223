//! What a permit opened is given up with it (TLS-3).
use std::sync::{Arc, Weak};

use sekisho::config::Snapshot;
use tokio::net::TcpStream;

use super::{install, open, path, serves};
use crate::support::{Late, ORDERS, Plan, World, get, until};

const CERTIFICATE: &str = "{ certificate = \"pki/server.pem\", key = \"pki/server.key\" }";
const OTHER: &str = "{ certificate = \"pki/upstream.pem\", key = \"pki/upstream.key\" }";

/// The configuration in force, as long as anybody holds it.
fn held(world: &World) -> Weak<Snapshot> {
    Arc::downgrade(&world.gateway.engine.live().snapshot)
}

fn opened(world: &World) -> usize {
    let live = world.gateway.engine.live();
    let tls = live.snapshot.listeners.iter().filter_map(|listener| listener.tls.as_ref());
    tls.map(|tls| tls.certificates.len()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_3_no_configuration_keeps_the_keys_of_a_permit_that_was_withdrawn() {
    let world = World::start().await;
    for alone in [true, false] {
        assert_eq!(opened(&world), 1);
        let whole = std::fs::read(path(&world)).unwrap();
        let with_keys = held(&world);
        std::fs::remove_file(path(&world)).unwrap();
        if alone {
            assert!(world.gateway.engine.look_at_permit().await.unwrap());
        } else {
            assert!(world.reload(|text| text).await);
        }
        assert_eq!(opened(&world), 0);
        // Neither as one that could be put back.
        assert!(world.gateway.engine.view_trial().until.is_some());
        until("it is given up", || with_keys.upgrade().is_none()).await;
        std::fs::write(path(&world), whole).unwrap();
        assert!(world.reload(|text| text).await);
    }
    world.finish().await;
}

/// A client that takes its time does not get in by the permit that there was when it came.
#[tokio::test(flavor = "multi_thread")]
async fn tls_3_no_handshake_is_ended_once_the_permit_was_withdrawn() {
    let world = World::start().await;
    let early = TcpStream::connect(world.address()).await.unwrap();
    // They are taken in their order.
    serves(&open(&world).await).await;
    std::fs::remove_file(path(&world)).unwrap();
    assert!(world.reload(|text| text).await);
    let late = Late::over(early).await;
    assert!(world.printer().connect(late.at_once()).await.is_err());
    until("it is told", || !world.events("tls-not-permitted").is_empty()).await;
    world.finish().await;
}

/// Nor does he with a certificate that it does not cover any more, whether he asks for its name or is
/// shown it because he asks for none.
#[tokio::test(flavor = "multi_thread")]
async fn tls_3_no_handshake_is_ended_with_a_certificate_that_the_permit_covers_no_more() {
    let both = format!("{CERTIFICATE}, {OTHER}");
    let series = "sekisho_connections_refused_total{listener=\"apps\",reason=\"no_permit\"}";
    for (asked, covered) in [("upstream.test", "gateway.test"), ("127.0.0.1", "upstream.test")] {
        let world = World::with(Plan::default().replace(CERTIFICATE, &both)).await;
        let asking = |name: &str| {
            world.caller(|config| {
                config.identity = world.pki.client("label-printer").cloned();
                name.clone_into(&mut config.server_name);
            })
        };
        let connected = async || TcpStream::connect(world.address()).await.unwrap();
        let [early, other, begun] =
            [connected().await, connected().await, connected().await].map(Late::over);
        serves(&open(&world).await).await;
        let begun = begun.await;
        let (caller, to) = (asking(asked), begun.at);
        let narrowed = async {
            let goes_on = begun.answered().await;
            let (host, now) = (&world.pki.host, world.gateway.engine.clock.now());
            let names = ["localhost", covered].map(str::to_owned);
            let narrow = host.claims("test", &["apps"], &names, now).unwrap();
            assert!(install(&world, host.issuer.sign(&narrow)).await);
            drop(goes_on);
        };
        let (answer, ()) = tokio::join!(caller.call(to, get(ORDERS)), narrowed);
        assert!(answer.is_err(), "{asked}");
        until("the refusal at the door", || world.metric(series) > 0.0).await;
        // By what is in force is judged who says his hello now.
        if asked != "127.0.0.1" {
            let early = early.await.at_once();
            assert!(asking(asked).connect(early).await.is_err(), "{asked}");
        }
        let other = other.await.at_once();
        assert_eq!(asking(covered).call(other, get(ORDERS)).await.unwrap().status, 200);
        world.finish().await;
    }
}
