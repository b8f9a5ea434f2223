//! What holds somebody who is held, and whom it must not hold.
use sekisho::lockout::{Cause, Step};

use crate::lockout::guess;
use crate::support::{ORDERS, Plan, World, bearing, get};

/// Enters with a certificate and a token, and with nothing less.
const IMPORTER: &str = r#"
[identity.importer]
kind = "service"
owner = "platform@example.com"
certificate = { san_uri = "spiffe://sekisho.test/order-importer" }
token = { issuer = "corp", subject = "importer" }
networks = ["loopback"]
roles = ["analysis"]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn acc_2_guesses_without_the_key_lock_nobody_who_needs_one() {
    let world = World::with(Plan::default().fill("identities", IMPORTER).by_hand()).await;
    let importer =
        world.caller(|config| config.identity = world.pki.client("order-importer").cloned());
    let ask = async || {
        world.call(&importer, bearing(get(ORDERS), &world.token("importer"))).await.status.as_u16()
    };
    assert_eq!(ask().await, 200);
    // From the same address, by whoever knows what is no secret.
    guess(&world, &world.nobody(), "importer", 12).await;
    assert_eq!(ask().await, 200);
    assert!(world.gateway.engine.list_locks().is_empty());
    // With the key it is no guess of a stranger's.
    guess(&world, &importer, "importer", 10).await;
    assert_eq!(ask().await, 401);
    let held = world.gateway.engine.list_locks();
    assert_eq!((held[0].step, held[0].cause), (Step::Lock, Cause::LoginFailures));
    world.finish().await;
}
