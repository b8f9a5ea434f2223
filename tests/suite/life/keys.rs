//! What a key signed that its issuer has no more: wherever the issuer's keys are by then.
use serde_json::json;

use super::open::OPEN;
use super::*;

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
    let began = Instant::now();
    let _ = stream.read_to_end(&mut Vec::new()).await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    until("its line", || !world.requests().is_empty()).await;
    assert_revoked(&world.requests().pop().unwrap(), "Identity");
    world.finish().await;
}
