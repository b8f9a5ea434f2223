//! What a key signed that its issuer has no more: wherever the issuer's keys are by then, and whenever
//! its request came.
use std::sync::Arc;

use sekisho::base::ClientAddr;
use sekisho::engine::{ConnFacts, ConnLink};
use sekisho::evidence::{Protocol, TlsVersion};
use sekisho::identity::Presented;
use serde_json::json;

use super::open::OPEN;
use super::*;
use crate::support::ISSUER;

const FILE: &str = "jwks = { file = \"pki/tokens/signing.jwks\" }";

/// It leaked, and the issuer moved: between its old keys and its new ones there are none.
#[tokio::test(flavor = "multi_thread")]
async fn acc_3_a_key_that_is_gone_when_its_issuer_has_moved_ends_what_its_tokens_opened() {
    let world = World::start().await;
    let caller = world.caller(|config| {
        config.alpn = Alpn::H1;
        config.source = Some([127, 0, 0, 2].into());
    });
    let mut stream = caller.stream(world.address()).await.unwrap();
    let head = format!("{OPEN}authorization: Bearer {}\r\n\r\n", world.token("office-clerk"));
    stream.write_all(head.as_bytes()).await.unwrap();
    assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 101 "));
    let url = format!(
        "jwks = {{ url = \"https://localhost:{}/moved\", ca = \"pki/ca.pem\" }}",
        world.amazon.address().port()
    );
    let jwks = world.gateway.engine.jwks.clone();
    // Where nobody answers, nothing is known of any key.
    world.amazon.set_for("/moved", Scenario::CloseEarly);
    assert!(world.reload(|text| text.replacen(FILE, &url, 1)).await);
    until("it is tried", || jwks.status()[0].fault.is_some()).await;
    for _ in 0..3 {
        stream.write_all(b".").await.unwrap();
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 1);
    }
    let keys = json!({ "keys": [world.pki.other_signer.jwk()] }).to_string();
    world.amazon.set_for("/moved", Scenario::Normal);
    world.amazon.serve("/moved", "application/jwk-set+json", keys);
    // A reload is a good moment to try again.
    assert!(world.reload_as_it_is().await);
    until("they are fetched", || jwks.status()[0].keys == 1).await;
    let _ = within(SECOND, "it is cut", stream.read_to_end(&mut Vec::new())).await;
    until("its line", || !world.requests().is_empty()).await;
    assert_revoked(&world.requests().pop().unwrap(), "Identity");
    world.finish().await;
}

/// A connection that nobody has come by.
pub(super) fn link(world: &World) -> Arc<ConnLink> {
    let engine = &world.gateway.engine;
    let (live, now) = (engine.live(), engine.clock.now());
    let listener = &live.snapshot.listeners[0];
    let addr = ClientAddr::new([127, 0, 0, 1].into());
    ConnLink::new(ConnFacts {
        listener: listener.ix,
        listener_name: listener.name.clone(),
        addr,
        source: addr.pseudonym(&engine.pseudonyms(now)),
        source_day: now.unix_day(),
        source_hash: engine.source(&addr),
        fingerprint: 0,
        networks: live.snapshot.networks.lookup(&addr),
        generation: live.snapshot.generation,
        server_name: None,
        certificate: None,
        chain: Vec::new(),
        authorities: live.authorities(listener.ix, now),
        balancer: None,
        tls: TlsVersion::V1_3,
        http: Protocol::Http2,
        bounds: listener.bounds.clone(),
    })
}

/// The look for what it opened was over before the connection was known to be somebody's.
#[tokio::test(flavor = "multi_thread")]
async fn acc_3_a_key_lost_between_a_proof_and_its_connection_ends_that_one() {
    let world = World::start().await;
    let engine = &world.gateway.engine;
    let (live, now) = (engine.live(), engine.clock.now());
    let token = world.token("analyst");
    let (before, between) = (link(&world), link(&world));
    let prove = |link| engine.prove(&live, link, Presented::Bearer(token.as_bytes()), now).unwrap();
    let who = prove(&before);
    let _in_use = engine.count_connection(&live, &before, &who, now).unwrap();
    assert!(before.why_cut().is_none());
    let who = prove(&between);
    let set = json!({ "keys": [world.pki.other_signer.jwk()] }).to_string();
    std::fs::write(world.dir.join("pki/tokens/signing.jwks"), set).unwrap();
    let _others = engine.jwks.refetch(ISSUER).await;
    let _in_use = engine.count_connection(&live, &between, &who, now).unwrap();
    let cut = between.why_cut().expect("nobody else looks at it");
    assert_eq!(cut.identity.as_ref().map(Name::as_str), Some("analyst"));
    assert_eq!(engine.live().snapshot.generation, live.snapshot.generation);
    world.finish().await;
}
