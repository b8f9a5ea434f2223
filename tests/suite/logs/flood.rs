//! LOG-1 against strangers: whatever they send without a credential, the log grows by little.
use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::support::{World, error_of, get, until};

/// Far more than are written whole in a minute.
const FLOOD: usize = 2_000;
/// Lines a minute that are written whole, and how many of each kind beyond them.
const WHOLE: usize = 120;
const EACH_KIND: usize = 2;
/// As many as one connection may ask without a credential.
const EACH: usize = 8;

fn count(line: &Value) -> usize {
    usize::try_from(line["sekisho.count"].as_u64().unwrap()).unwrap()
}

#[tokio::test]
async fn log_1_a_flood_of_refusals_leaves_a_bounded_log() {
    let began = Instant::now();
    let world = World::start().await;
    let mut first = None;
    for _ in 0..FLOOD / EACH {
        let stranger = world.nobody().connect(world.address()).await.unwrap();
        for _ in 0..EACH {
            let reply = stranger.call(get("/x")).await.unwrap();
            let id = reply.header("x-sekisho-request-id").map(str::to_owned);
            first = first.or(id);
        }
    }
    let gathered = |world: &World| world.events("requests-refused");
    let told = |world: &World| -> usize {
        world.requests().len() + gathered(world).iter().map(count).sum::<usize>()
    };
    until("every refusal is told of", || told(&world) == FLOOD).await;
    let whole = world.requests();
    // The gateway's minutes that it may have reached into, however long that takes here.
    let minutes = usize::try_from(began.elapsed().as_secs() / 60).unwrap() + 1;
    let kinds: BTreeSet<_> = whole.iter().map(|line| line["sekisho.denial"].as_str()).collect();
    let most = minutes * (WHOLE + EACH_KIND * kinds.len());
    assert!(whole.len() <= most, "{} whole lines, and at most {most}", whole.len());
    assert_eq!(whole[0]["sekisho.request_id"].as_str(), first.as_deref(), "the first are whole");
    for line in gathered(&world) {
        assert_eq!(line["sekisho.listener"], "apps");
        assert_eq!(line["sekisho.source"], whole[0]["sekisho.source"]);
        assert!(whole.iter().any(|whole| whole["sekisho.denial"] == line["sekisho.denial"]));
    }
    let few = u64::try_from(FLOOD - whole.len()).unwrap();
    assert_eq!(world.metric("sekisho_log_gathered_total").to_string(), few.to_string());
    // Whoever is proved has a line each, meanwhile as ever.
    let reply = world.call(&world.printer(), get("/x")).await;
    assert_eq!(error_of(&reply).0, "Sekisho.OperationUnknown");
    assert_eq!(world.line_of(&reply)["user.name"], "label-printer");
    tokio::time::timeout(Duration::from_secs(60), Box::pin(world.finish())).await.unwrap();
}
