//! What `sekisho limits` tells of a refused call (MON-2).
use std::time::Duration;

use sekisho::mock::{Rate, Throttling};
use serde_json::Value;

use super::verbs::{printed, sekisho};
use super::{plan, world};
use crate::support::{ORDERS, World, bearing, get};

const UNPACED: &str =
    "pacing = { plans = [{ operations = [\"*\"], rate = \"10000/s\", burst = 10000 }] }";
/// Three calls at once, then one in two seconds.
const PACED: &str =
    "pacing = { wait = \"0 s\", plans = [{ operations = [\"*\"], rate = \"30/min\", burst = 3 }] }";

async fn ask(world: &World, who: &str) -> u16 {
    world.call(&world.nobody(), bearing(get(ORDERS), &world.token(who))).await.status.as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_2_limits_say_what_is_left_whence_and_what_they_cover() {
    let world = world().await;
    for _ in 0..3 {
        assert_eq!(ask(&world, "limited-caller").await, 200);
    }
    assert_eq!(ask(&world, "limited-caller").await, 429);
    let listed = printed(&sekisho(&world, "viewer", &["limits", "limited-caller"], "").await, 0);
    let row = listed.lines().find(|line| line.contains("requests")).unwrap();
    let fields: Vec<&str> = row.split('\t').collect();
    assert_eq!((fields[0], fields[2]), ("limited-caller", "requests"));
    assert_eq!(fields[3..6], ["0", "3", "1 min"]);
    assert!(fields[6].ends_with(" s"), "it says when: {row}");
    assert_eq!(fields[7..10], ["each", "enforce", "own"]);
    assert!(fields[10].starts_with("orders/") && fields[10].ends_with(" more"), "{row}");
    let all = printed(&sekisho(&world, "viewer", &["limits", "--json"], "").await, 0);
    let all: Value = serde_json::from_str(&all).unwrap();
    let windows =
        all["items"].as_array().unwrap().iter().filter_map(|one| one["windows"].as_array());
    for window in windows.flatten() {
        assert_eq!(window["source"], "own");
        assert!(window["covers"].as_u64().unwrap() > 0 && window["operations"].is_null());
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_2_limits_show_amazon_s_empty_bucket() {
    let slow = Throttling::Every(Rate { per_second: 0.5, burst: 3 });
    let plan = plan("").replace(UNPACED, PACED).replace("stage = \"sandbox\"\n", "");
    let world = World::with(plan.by_hand().throttling(slow)).await;
    let words = ["limits", "--amazon"];
    assert_eq!(printed(&sekisho(&world, "viewer", &words, "").await, 0), "");
    for _ in 0..3 {
        assert_eq!(ask(&world, "analyst").await, 200);
    }
    assert_eq!(ask(&world, "analyst").await, 429);
    let listed = printed(&sekisho(&world, "viewer", &words, "").await, 0);
    assert_eq!(listed, "amazon\torders/getOrders\t0\t3\t0.5/s\t0\t-\n");
    world.advance(Duration::from_millis(2_010));
    let json = printed(&sekisho(&world, "viewer", &["limits", "--amazon", "--json"], "").await, 0);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["items"][0]["spare"], 1);
    let both = ["limits", "label-printer", "--amazon"];
    printed(&sekisho(&world, "viewer", &both, "").await, 2);
    world.finish().await;
}
