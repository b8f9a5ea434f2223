//! What the machine could not do in a moment is tried again, though no file changes.
use std::net::TcpListener;
use std::time::Duration;

use super::generation;
use crate::support::{Plan, World};
use crate::upstream::free_address;

/// Waits as long as it takes until the files are read again, and not less.
async fn again(world: &World, pause: u64) -> bool {
    world.advance(Duration::from_secs(pause - 1));
    assert!(!world.gateway.engine.files_are_due(), "{pause}");
    world.advance(Duration::from_secs(1));
    assert!(world.gateway.engine.files_are_due(), "{pause}");
    world.gateway.files_changed().await
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_3_what_a_program_did_not_yield_is_asked_for_again() {
    let world = World::with(Plan::default().by_hand()).await;
    let [file, aside] = ["secret", "aside"].map(|name| world.dir.join(name));
    let target = format!(
        "[[alarm]]\nname = \"on-call\"\nkind = \"webhook\"\nca = \"pki/ca.pem\"\n\
         url = \"https://localhost:1/hook\"\nsecret = {{ command = [\"/bin/cat\", {file:?}] }}\n"
    );
    std::fs::write(&aside, "s3cret-".repeat(8)).unwrap();
    assert!(!world.reload(|text| format!("{text}\n{target}")).await);
    for pause in [10, 20, 40] {
        assert!(!again(&world, pause).await, "{pause}");
    }
    std::fs::rename(&aside, &file).unwrap();
    assert!(again(&world, 80).await);
    assert_eq!(generation(&world), 2);
    world.advance(Duration::from_secs(300));
    assert!(!world.gateway.engine.files_are_due());
    // What is wrong in itself waits for its next change, and so does all that waits to be asked for.
    assert!(!world.reload(|text| text.replace("[log]", "[lag]")).await);
    world.advance(Duration::from_secs(300));
    assert!(!world.gateway.engine.files_are_due());
    let on_request = "\n[reload]\napply = \"on-request\"\n";
    assert!(world.reload(|text| text.replace("[lag]", "[log]") + on_request).await);
    std::fs::rename(&file, &aside).unwrap();
    assert!(!world.reload_as_it_is().await);
    world.advance(Duration::from_secs(300));
    assert!(!world.gateway.engine.files_are_due());
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn net_1_an_address_that_is_not_to_be_had_is_asked_for_again() {
    let world = World::with(Plan::default().by_hand()).await;
    let taken = TcpListener::bind(free_address()).unwrap();
    let address = taken.local_addr().unwrap();
    let second = format!(
        "[[listener]]\nname = \"second\"\naddress = \"{address}\"\nnetworks = [\"loopback\"]\n\
         upstreams = [\"amazon\"]\n[listener.tls]\n\
         certificates = [{{ certificate = \"pki/server.pem\", key = \"pki/server.key\" }}]\n\
         client_auth = \"none\"\n[[upstream]]\nname = \"amazon\"\n"
    );
    let edit = |text: String| text.replacen("[[upstream]]\nname = \"amazon\"\n", &second, 1);
    assert!(!world.reload(edit).await);
    let refused = world.events("config-refused").pop().unwrap();
    assert_eq!(refused["sekisho.reason"], "address-not-to-be-had");
    assert!(!again(&world, 10).await);
    drop(taken);
    assert!(again(&world, 20).await);
    assert_eq!(generation(&world), 2);
    world.finish().await;
}
