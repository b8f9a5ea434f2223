//! Whoever a reload takes away and another one brings back is who it was.
use std::time::Duration;

use sekisho::lockout::Step;

use crate::support::{ORDERS, Plan, World, bearing, get};

const ANALYST: &str = r#"[identity.analyst]
kind = "service"
owner = "platform@example.com"
token = { issuer = "corp", subject = "analyst" }
networks = ["loopback"]
roles = ["analysis"]
"#;

/// A token of the analyst's with somebody else's signature.
fn forged(world: &World) -> String {
    let (genuine, other) = (world.token("analyst"), world.token("somebody-else"));
    let (signed, _) = genuine.rsplit_once('.').unwrap();
    let (_, signature) = other.rsplit_once('.').unwrap();
    format!("{signed}.{signature}")
}

async fn status(world: &World, token: &str) -> u16 {
    world.call(&world.nobody(), bearing(get(ORDERS), token)).await.status.as_u16()
}

/// From where somebody logs in is known again; that is what ten guesses from there lock it by.
#[tokio::test(flavor = "multi_thread")]
async fn acc_2_a_returned_identity_knows_its_sources() {
    let world = World::with(Plan::default().by_hand()).await;
    let engine = std::sync::Arc::clone(&world.gateway.engine);
    assert_eq!(status(&world, &world.token("analyst")).await, 200);
    engine.save_all().await.unwrap();
    assert!(world.reload(|text| text.replace(ANALYST, "#analyst\n")).await);
    assert_eq!(status(&world, &world.token("analyst")).await, 401);
    assert!(world.reload(|text| text.replace("#analyst\n", ANALYST)).await);
    // Something changes of it before it is remembered: this must not replace what is kept.
    assert_eq!(status(&world, &forged(&world)).await, 401);
    engine.save_all().await.unwrap();
    for _ in 0..10 {
        assert_eq!(status(&world, &forged(&world)).await, 401);
        // Past every wait of the pair, so that each guess is looked at.
        world.advance(Duration::from_secs(301));
    }
    let held = engine.list_locks();
    assert_eq!(held.first().map(|held| held.step), Some(Step::Lock), "{held:?}");
    world.finish().await;
}
