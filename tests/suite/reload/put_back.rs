//! What was put back stays away, and nothing that was revoked meanwhile waits for it.
use std::time::Duration;

use sekisho::mock::MockHandle;

use super::trial::{MINUTE, STOCK, broken, look, port, printer, rolled_back, served};
use super::{generation, status};
use crate::support::{Plan, World, until};

/// A world with a list of denied tokens, in which an upstream was served.
async fn world() -> World {
    let plan = Plan::default().by_hand().fill("token", "denied = { file = \"denied.jti\" }");
    let world = World::with(plan.file("denied.jti", "# none yet\n")).await;
    for mock in [&world.warehouse, &world.amazon] {
        mock.set(sekisho::mock::Scenario::Echo);
    }
    assert_eq!(served(&printer(&world).await, STOCK, 60).await, 60);
    world.advance(MINUTE);
    world
}

fn token(world: &World) -> String {
    world.token_with("analyst", |claims| {
        claims.extra.insert("jti".to_owned(), "stolen".into());
    })
}

fn deny(world: &World) {
    std::fs::write(world.dir.join("denied.jti"), "stolen\n").unwrap();
}

fn rewrite(world: &World, from: &str, to: &str) {
    let path = world.dir.join("sekisho.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from));
    std::fs::write(&path, text.replace(from, to)).unwrap();
}

/// Moves the upstream to one that fails.
async fn move_away(world: &World) -> MockHandle {
    let other = broken(world).await;
    rewrite(world, &port(&world.warehouse), &port(&other));
    assert!(world.gateway.files_changed().await);
    other
}

/// Calls until what is on trial was judged and put back.
async fn judged(world: &World) {
    let on_trial = generation(world);
    world.advance(Duration::from_secs(1));
    // Whoever judges may be done before the last of them.
    served(&printer(world).await, STOCK, 60).await;
    until("the requests are counted", || {
        let rows = world.requests();
        rows.iter().filter(|row| row["sekisho.snapshot"] == on_trial).count() >= 50
    })
    .await;
    look(world).await;
    until("it is put back", || !world.events("config-rolled-back").is_empty()).await;
}

async fn opens(world: &World, token: &str) -> u16 {
    status(&world.nobody().connect(world.address()).await.unwrap(), token).await
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_3_a_revocation_does_not_wait_for_what_was_put_back() {
    let world = world().await;
    let token = token(&world);
    assert_eq!(opens(&world, &token).await, 200);
    let other = move_away(&world).await;
    judged(&world).await;
    assert_eq!(generation(&world), 1);
    let open = printer(&world).await;

    // One more token is denied: that is in force at once, and the upstream stays where it is.
    deny(&world);
    assert!(world.gateway.files_changed().await);
    assert_eq!((generation(&world), opens(&world, &token).await), (3, 401));
    assert_eq!(served(&open, STOCK, 5).await, 5);
    let reloaded = world.events("config-reloaded").pop().unwrap();
    assert_eq!([&reloaded["sekisho.widens"], &reloaded["sekisho.narrows"]], [0, 1]);
    // The same again is nothing new.
    assert!(!world.gateway.files_changed().await);
    let refused = world.events("config-refused").pop().unwrap();
    assert_eq!(refused["sekisho.reason"], "put-back-before");
    assert_eq!(generation(&world), 3);
    let preview = world.gateway.engine.preview_files().await.unwrap();
    assert!(preview.put_back.is_some(), "whatever they refer to");

    // Something else is taken up as ever, and it again is not.
    rewrite(&world, &port(&other), &port(&world.warehouse));
    assert!(world.gateway.files_changed().await);
    assert_eq!((generation(&world), served(&open, STOCK, 5).await), (4, 5));
    rewrite(&world, &port(&world.warehouse), &port(&other));
    assert!(!world.gateway.files_changed().await);
    assert_eq!(opens(&world, &token).await, 401);
    // Whoever insists is heard.
    assert!(world.gateway.reload().await);
    assert_eq!(served(&open, STOCK, 5).await, 0);
    world.finish().await;
}

/// A list that grows under both is no part of what is on trial: it neither keeps that in force, nor is
/// it given back.
#[tokio::test(flavor = "multi_thread")]
async fn acc_3_a_revocation_during_a_trial_holds_when_that_is_put_back() {
    let world = world().await;
    let token = token(&world);
    let _other = move_away(&world).await;
    assert_eq!(opens(&world, &token).await, 200);
    deny(&world);
    assert!(world.gateway.files_changed().await);
    assert_eq!(opens(&world, &token).await, 401);
    judged(&world).await;
    assert!(world.events("config-suspect").is_empty());
    assert_eq!(served(&printer(&world).await, STOCK, 5).await, 5);
    assert_eq!(opens(&world, &token).await, 401);
    world.finish().await;
}

/// What was written since the one before was read, and was not taken up for want of time.
#[tokio::test(flavor = "multi_thread")]
async fn acc_3_what_was_revoked_last_is_read_when_something_is_put_back() {
    let world = world().await;
    let token = token(&world);
    let _other = move_away(&world).await;
    deny(&world);
    judged(&world).await;
    until("the list is in force", || generation(&world) == 3).await;
    assert_eq!(served(&printer(&world).await, STOCK, 5).await, 5);
    assert_eq!(opens(&world, &token).await, 401);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn log_1_a_key_file_that_is_cut_short_keeps_nothing_from_being_put_back() {
    let world = world().await;
    let token = token(&world);
    let _other = move_away(&world).await;
    std::fs::write(world.dir.join("pki/tokens/signing.jwks"), "{\"keys\": [").unwrap();
    judged(&world).await;
    assert!(world.events("config-suspect").is_empty());
    assert_eq!(served(&printer(&world).await, STOCK, 5).await, 5);
    assert_eq!(opens(&world, &token).await, 200, "the keys before it stay");
    world.finish().await;
}

/// Nothing is put back while another process is about to take over; if it does not, it is judged again.
#[tokio::test(flavor = "multi_thread")]
async fn log_1_an_upgrade_cancels_no_verdict() {
    let world = world().await;
    let _other = move_away(&world).await;
    let hold = world.gateway.engine.hold_reloads().await;
    world.advance(Duration::from_secs(1));
    assert_eq!(served(&printer(&world).await, STOCK, 60).await, 0);
    look(&world).await;
    assert_eq!(generation(&world), 2);
    assert!(world.events("config-suspect").is_empty());
    drop(hold);
    until("the requests are counted", || world.requests().len() >= 120).await;
    look(&world).await;
    rolled_back(&world).await;
    world.finish().await;
}
