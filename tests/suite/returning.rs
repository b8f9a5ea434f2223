//! Whoever a reload takes away and another one brings back is who it was.
use std::time::Duration;

use sekisho::lockout::Step;
use sekisho::store::Shelf;

use crate::support::{ORDERS, Plan, World, bearing, get, until};

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

/// Six orders before it was taken away and six after it came back are twelve.
#[tokio::test(flavor = "multi_thread")]
async fn mon_3_a_returned_identity_s_objects_are_counted_on() {
    let few = "[detect.enumeration]\nmode = \"enforce\"\ncold_hour = 10\ncold_day = 10\n";
    let world = World::with(Plan::default().fill("more", few).by_hand()).await;
    let engine = std::sync::Arc::clone(&world.gateway.engine);
    let ask = async |from: u32| {
        let ids: Vec<String> = (from..from + 6).map(|n| format!("902-4395497-01{n:05}")).collect();
        let call = get(&format!("{ORDERS}&AmazonOrderIds={}", ids.join(",")));
        let reply = world.call(&world.nobody(), bearing(call, &world.token("analyst"))).await;
        world.line_of(&reply);
        reply.status.as_u16()
    };
    assert_eq!(ask(0).await, 200);
    engine.save_all().await.unwrap();
    assert!(world.reload(|text| text.replace(ANALYST, "#analyst\n")).await);
    assert!(world.reload(|text| text.replace("#analyst\n", ANALYST)).await);
    // What it does before it is remembered must not replace what is kept.
    assert_eq!(ask(0).await, 200);
    engine.save_all().await.unwrap();
    assert_eq!(engine.list_locks().len(), 0);
    assert_eq!(ask(6).await, 200);
    until("it is acted upon", || !engine.list_locks().is_empty()).await;
    world.finish().await;
}

const ANALYSIS: &str = r#"[role.analysis]
purpose = "count orders"
allow = ["orders/getOrders", "sellers/*"]
query = [{ operations = ["orders/getOrders"], deny = ["BuyerEmail"] }, { operations = ["orders/getOrders"], parameter = "MarketplaceIds", values = ["A1VC38T7YXB528"] }]
"#;

/// What the members of a role do at most, in octaves of requests, as it is kept.
async fn usual(world: &World) -> f32 {
    let engine = &world.gateway.engine;
    engine.save_all().await.unwrap();
    let kept = engine.store.scan_blobs(Shelf::Peers, None).await.unwrap();
    let requests = |value: &[u8]| value[1..5].try_into().map(f32::from_be_bytes).unwrap();
    kept.iter().map(|blob| requests(&blob.state.value)).fold(0.0, f32::max)
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_2_a_returned_role_knows_what_is_usual() {
    let world = World::with(Plan::default().by_hand()).await;
    let work = async |hours: u32| {
        for _hour in 0..hours {
            for _ in 0..20 {
                assert_eq!(status(&world, &world.token("analyst")).await, 200);
            }
            until("all are seen", || world.requests().len().is_multiple_of(20)).await;
            world.advance(Duration::from_secs(3_600));
        }
    };
    work(5).await;
    let before = usual(&world).await;
    assert!(before > 0.2, "several hours taught it: {before}");
    let gone = |text: String| text.replace(ANALYST, "#analyst\n").replace(ANALYSIS, "#analysis\n");
    let back = |text: String| text.replace("#analyst\n", ANALYST).replace("#analysis\n", ANALYSIS);
    assert!(world.reload(gone).await);
    assert!(world.reload(back).await);
    assert!((usual(&world).await - before).abs() < f32::EPSILON, "nobody taught anything");
    work(2).await;
    let after = usual(&world).await;
    assert!(after > before, "{after} after {before}");
    world.finish().await;
}
