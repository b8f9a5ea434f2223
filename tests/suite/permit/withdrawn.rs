//! What a permit opened is given up with it (TLS-3).
use std::sync::{Arc, Weak};

use sekisho::config::Snapshot;

use super::path;
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
