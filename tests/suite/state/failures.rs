//! Guesses that are spread over gateways: two real ones, one real Redis, time by hand.
use std::time::Duration;

use super::{eventually, finish, shared, told, two_share};
use crate::store::redis::Server;
use crate::support::{ORDERS, Plan, World, bearing, get, until_some};

/// The subject's token with a signature that is not its issuer's.
fn forged(world: &World, subject: &str) -> String {
    let (genuine, other) = (world.token(subject), world.token("somebody-else"));
    let (signed, _) = genuine.rsplit_once('.').unwrap();
    let (_, signature) = other.rsplit_once('.').unwrap();
    format!("{signed}.{signature}")
}

pub(super) async fn guess(world: &World, subject: &str, times: u32) {
    for _ in 0..times {
        let call = bearing(get(ORDERS), &forged(world, subject));
        assert_eq!(world.call(&world.nobody(), call).await.status, 401);
        // Past every wait of the pair, so that each guess is looked at.
        world.advance(Duration::from_secs(301));
    }
}

pub(super) async fn enters(world: &World, subject: &str) -> bool {
    let call = bearing(get(ORDERS), &world.token(subject));
    world.call(&world.nobody(), call).await.status == 200
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_2_ten_guesses_lock_an_identity_however_many_gateways_they_are_spread_over() {
    let server = Server::start().await;
    let plan = |number| Plan::default().fill("more", &shared(&server, number)).by_hand();
    let both = [World::with(plan(1)).await, World::with(plan(2)).await];
    for world in &both {
        eventually("both share", || two_share(world).then_some(())).await;
        // Parts of Amazon's quotas begin empty.
        world.advance(Duration::from_secs(5));
        assert!(enters(world, "analyst").await, "it works from here");
    }
    guess(&both[0], "analyst", 5).await;
    guess(&both[1], "analyst", 4).await;
    for world in &both {
        assert!(enters(world, "analyst").await, "nine are not ten");
        assert!(told(world, "locked").is_empty());
    }
    guess(&both[1], "analyst", 1).await;
    for world in &both {
        until_some("it is locked", async || (!enters(world, "analyst").await).then_some(())).await;
    }
    let line = eventually("the lock is told", || told(&both[1], "locked").pop()).await;
    assert_eq!(line["sekisho.cause"], "login-failures");
    Box::pin(finish(both)).await;
}
