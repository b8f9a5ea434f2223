//! What a permit opened is given up with it (TLS-3).
use std::sync::{Arc, Weak};

use sekisho::config::Snapshot;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use super::{open, path, serves};
use crate::support::{World, until};

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
            assert!(world.gateway.engine.look_at_permit().await);
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
    let mut early = TcpStream::connect(world.address()).await.unwrap();
    // They are taken in their order.
    serves(&open(&world).await).await;
    std::fs::remove_file(path(&world)).unwrap();
    assert!(world.reload(|text| text).await);
    let relay = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = relay.local_addr().unwrap();
    let carried = tokio::spawn(async move {
        let (mut client, _from) = relay.accept().await.unwrap();
        let _ = copy_bidirectional(&mut client, &mut early).await;
    });
    assert!(world.printer().connect(at).await.is_err());
    carried.await.unwrap();
    until("it is told", || !world.events("tls-not-permitted").is_empty()).await;
    world.finish().await;
}
