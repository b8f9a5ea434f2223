//! Issuers whose keys come over HTTPS: fetched once, kept through an outage, replaced by rotation.
use std::time::Duration;

use sekisho::devcerts::{TokenClaims, TokenSigner};
use sekisho::engine::AgedKind;
use sekisho::mock::{Operation, Reply, Scenario};
use serde_json::json;
use tokio::time::Instant;

use super::{fault, token_fault};
use crate::support::{
    AUDIENCE, ISSUER, ORDERS, Plan, World, bearing, error_of, get, until, until_some,
};

const FILE: &str = "jwks = { file = \"pki/tokens/signing.jwks\" }";
const URL: &str = "jwks = { url = \"https://localhost:{amazon}/jwks\", ca = \"pki/ca.pem\" }";

/// The keys are served by the mock, at `/jwks`; at first they are not there.
async fn world() -> World {
    let world = World::with(Plan::default().replace(FILE, URL).by_hand()).await;
    let jwks = world.gateway.engine.jwks.clone();
    until("the first fetch ends", || jwks.status()[0].fault.is_some()).await;
    world
}

fn publish(world: &World, signers: &[&TokenSigner]) {
    let keys: Vec<_> = signers.iter().map(|signer| signer.jwk()).collect();
    world.amazon.serve("/jwks", "application/jwk-set+json", json!({ "keys": keys }).to_string());
}

fn token(world: &World, signer: &TokenSigner, kid: Option<&str>) -> String {
    let mut claims = TokenClaims::new(ISSUER, "analyst", AUDIENCE);
    claims.exp_in = 86_400;
    claims.kid = kid.map(str::to_owned);
    signer.sign(&claims, world.gateway.engine.clock.now()).unwrap()
}

async fn try_with(world: &World, token: &str) -> Reply {
    world.call(&world.nobody(), bearing(get(ORDERS), token)).await
}

/// The same where the token's key has to be fetched: a request waits two seconds for it, and the fetch
/// may take longer. Whoever is refused sooner did not wait.
async fn try_with_new(world: &World, token: &str) -> Reply {
    until_some("the fetch ends", async || {
        let began = Instant::now();
        let reply = try_with(world, token).await;
        (reply.status == 200 || began.elapsed() < Duration::from_secs(2)).then_some(reply)
    })
    .await
}

fn fetches(world: &World) -> u64 {
    world.amazon.count(Operation::Document)
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_1_an_issuer_that_never_came_up_is_503_and_heals() {
    let world = world().await;
    let own = token(&world, &world.pki.signer, None);
    let mut seen = Vec::new();
    for _ in 0..3 {
        let reply = try_with(&world, &own).await;
        let unavailable =
            (503, "Sekisho.TokenNotAccepted".to_owned(), "KeysUnavailable".to_owned());
        assert_eq!(fault(&world, &reply), unavailable);
        assert!(reply.header("www-authenticate").is_none(), "no new token would help");
        assert_eq!(reply.header("retry-after"), Some("30"), "the cool-down");
        assert!(reply.text().contains("in 30 s"), "{}", reply.text());
        seen.push(reply);
    }
    world.advance(Duration::from_secs(12));
    assert_eq!(try_with(&world, &own).await.header("retry-after"), Some("18"));
    publish(&world, &[&world.pki.signer]);
    // The cool-down is not over: the next attempt is the background's, and it comes by itself.
    world.advance(Duration::from_secs(31));
    let reply = try_with_new(&world, &own).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(world.gateway.engine.jwks.status()[0].fault, None);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_1_an_unknown_key_is_fetched_once_however_many_ask() {
    let world = world().await;
    publish(&world, &[&world.pki.signer]);
    world.advance(Duration::from_secs(31));
    let own = token(&world, &world.pki.signer, None);
    assert_eq!(try_with_new(&world, &own).await.status, 200);
    world.advance(Duration::from_secs(31));
    let before = fetches(&world);
    // The fetch takes long enough that all of them wait for the same one.
    world.amazon.set_for("/jwks", Scenario::Delay { ms: 300 });
    let forged: Vec<String> =
        (0..40).map(|n| token(&world, &world.pki.other_signer, Some(&format!("k{n}")))).collect();
    let nobody = world.nobody();
    let open = nobody.connect(world.address()).await.unwrap();
    let calls = forged.iter().map(|token| {
        let (open, call) = (open.clone(), bearing(get(ORDERS), token));
        tokio::spawn(async move { open.call(call).await.unwrap() })
    });
    for call in calls.collect::<Vec<_>>() {
        let reply = call.await.unwrap();
        world.note(&reply);
        assert_eq!(error_of(&reply).0, "Sekisho.TokenNotAccepted");
        assert_eq!(reply.status, 401);
    }
    assert_eq!(fetches(&world), before + 1);
    // Within the cool-down nobody can cause another, and nobody waits.
    for token in &forged {
        let reply = try_with(&world, token).await;
        assert_eq!(fault(&world, &reply), token_fault("UnknownKey"));
    }
    assert_eq!(fetches(&world), before + 1);
    assert_eq!(try_with(&world, &own).await.status, 200);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_1_the_last_good_keys_serve_while_the_issuer_is_down() {
    let world = world().await;
    publish(&world, &[&world.pki.signer]);
    world.advance(Duration::from_secs(31));
    let own = token(&world, &world.pki.signer, None);
    assert_eq!(try_with_new(&world, &own).await.status, 200);
    for down in [
        Scenario::Error { status: http::StatusCode::SERVICE_UNAVAILABLE },
        Scenario::Garbage,
        Scenario::CloseEarly,
        Scenario::Truncate { after: 10 },
        Scenario::Endless { bytes: 1 << 20 },
    ] {
        world.amazon.set_for("/jwks", down);
        world.advance(Duration::from_secs(601));
        let jwks = world.gateway.engine.jwks.clone();
        jwks.refresh_due().await;
        until("the fetch fails", || jwks.status()[0].fault.is_some()).await;
        // One that was remembered, and one that is seen for the first time.
        assert_eq!(try_with(&world, &own).await.status, 200, "{down}");
        let new = token(&world, &world.pki.signer, None);
        assert_eq!(try_with(&world, &new).await.status, 200, "{down}");
        world.amazon.set_for("/jwks", Scenario::Normal);
        world.advance(Duration::from_secs(31));
        jwks.refresh_due().await;
        until("the fetch succeeds", || jwks.status()[0].fault.is_none()).await;
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_5_a_rotated_key_is_taken_up_and_the_old_one_let_go() {
    let world = world().await;
    let (old, new) = (&world.pki.signer, &world.pki.other_signer);
    publish(&world, &[old]);
    world.advance(Duration::from_secs(31));
    let (by_old, by_new) = (token(&world, old, None), token(&world, new, None));
    assert_eq!(try_with_new(&world, &by_old).await.status, 200);
    // Both are published: the first token with the new key fetches it.
    publish(&world, &[old, new]);
    world.advance(Duration::from_secs(31));
    let reply = try_with_new(&world, &by_new).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(try_with(&world, &by_old).await.status, 200);
    // The old one is withdrawn: what it signed is worth nothing, remembered or not.
    publish(&world, &[new]);
    world.advance(Duration::from_secs(601));
    world.gateway.engine.jwks.refresh_due().await;
    until("the new set is there", || world.gateway.engine.jwks.status()[0].keys == 1).await;
    let reply = try_with(&world, &by_old).await;
    assert_eq!(fault(&world, &reply), token_fault("UnknownKey"));
    assert_eq!(try_with(&world, &by_new).await.status, 200);
    world.finish().await;
}

/// A gateway that is started anew each week would else never say that a key is due.
#[tokio::test(flavor = "multi_thread")]
async fn tls_5_a_key_is_as_old_after_a_restart_as_before_it() {
    const WEEK: Duration = Duration::from_secs(7 * 86_400);
    let short = "threads = 1\nsecret_max_age = \"30 days\"";
    let mut world = World::with(Plan::default().replace("threads = 1", short).by_hand()).await;
    let (old, new) = (world.pki.signer.jwks(), world.pki.other_signer.jwks());
    let keys = |world: &World| -> Vec<u64> {
        let (all, now) = (world.gateway.engine.view_keys(), world.gateway.engine.clock.now());
        let of_issuer = all.iter().filter(|aged| aged.kind == AgedKind::IssuerKey);
        of_issuer.filter_map(|aged| Some(aged.age_secs(now)? / 86_400)).collect()
    };
    let told = |world: &World| {
        world.gateway.engine.check_conditions();
        let told = world.events("alarm-raised");
        told.iter().any(|event| {
            (&event["sekisho.alarm"], &event["sekisho.issuer"])
                == (&"key-too-old".into(), &"corp".into())
        })
    };
    for days in [7, 14] {
        world.advance(WEEK);
        world = world.restart().await;
        assert_eq!(keys(&world), [days]);
        assert!(!told(&world));
    }
    // Another one for a week, of which a restart sees nothing but its own time.
    std::fs::write(world.dir.join("pki/tokens/signing.jwks"), new).unwrap();
    world = world.restart().await;
    assert_eq!(keys(&world), [0]);
    std::fs::write(world.dir.join("pki/tokens/signing.jwks"), old).unwrap();
    world.advance(Duration::from_secs(2 * 86_400));
    world = world.restart().await;
    assert_eq!(keys(&world), [16]);
    until("it is due within two weeks", || told(&world)).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_2_keys_are_taken_from_a_proven_server_only() {
    let impostor =
        "jwks = { url = \"https://localhost:{amazon}/jwks\", ca = \"pki/rogue/ca.pem\" }";
    let world = World::with(Plan::default().replace(FILE, impostor)).await;
    publish(&world, &[&world.pki.signer]);
    let own = token(&world, &world.pki.signer, None);
    let reply = try_with(&world, &own).await;
    assert_eq!(reply.status, 503);
    assert_eq!(world.amazon.total(), 0, "nothing was asked of it");
    let fault = || world.gateway.engine.jwks.status()[0].fault;
    until("it is not trusted", || fault() == Some(sekisho::keys::JwksFault::Untrusted)).await;
    assert_eq!(world.amazon.total(), 0);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_5_a_key_file_that_was_replaced_is_read_again_by_a_reload() {
    let world = World::start().await;
    let own = token(&world, &world.pki.signer, None);
    assert_eq!(try_with(&world, &own).await.status, 200);
    std::fs::write(world.dir.join("pki/tokens/signing.jwks"), world.pki.other_signer.jwks())
        .unwrap();
    assert!(world.reload(|text| text).await);
    let reply = try_with(&world, &own).await;
    assert_eq!(fault(&world, &reply), token_fault("UnknownKey"));
    let new = token(&world, &world.pki.other_signer, None);
    assert_eq!(try_with(&world, &new).await.status, 200);
    // A file with a private key in it changes nothing of them.
    let broken = json!({ "keys": [{ "kty": "oct", "k": "c2VjcmV0" }] }).to_string();
    std::fs::write(world.dir.join("pki/tokens/signing.jwks"), broken).unwrap();
    assert!(world.reload(|text| text).await);
    assert_eq!(try_with(&world, &new).await.status, 200);
    let reply = try_with(&world, &own).await;
    assert_eq!(fault(&world, &reply), token_fault("UnknownKey"));
    world.finish().await;
}
