//! MON-3: what was revealed to whom, for who operates the gateway.
use serde_json::Value;

use super::verbs::{printed, sekisho};
use super::world;
use crate::support::{ORDERS, bearing, get, until};

const ADDRESS: &str = "/orders/v0/orders/902-4395497-0000029/address";

#[tokio::test(flavor = "multi_thread")]
async fn mon_3_operators_see_what_was_revealed_to_whom() {
    let world = world().await;
    let nothing = printed(&sekisho(&world, "viewer", &["exposure"], "").await, 0);
    assert_eq!(nothing, "");
    let mut records = 0;
    for target in [ORDERS, ADDRESS, ADDRESS] {
        let reply = world.call(&world.printer(), get(target)).await;
        assert_eq!(reply.status, 200);
        records += world.line_of(&reply)["sekisho.pii_records"].as_u64().unwrap();
    }
    world.call(&world.nobody(), bearing(get(ORDERS), &world.token("analyst"))).await;
    until("the last answer is counted", || world.requests().len() >= 4).await;

    let words = ["exposure", "label-printer", "--since", "400", "--json"];
    let shown = printed(&sekisho(&world, "viewer", &words, "").await, 0);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let items = shown["items"].as_array().unwrap();
    let of = |name: &str| items.iter().find(|item| item["operation"] == name).unwrap();
    assert_eq!(items.len(), 2, "{shown}");
    let address = of("orders/getOrderAddress");
    let of_address = ["answers", "customers", "distinct", "unread"].map(|key| &address[key]);
    assert_eq!(of_address, [2, 2, 1, 0], "{address}");
    assert!(address["bytes"].as_u64().unwrap() > 0);
    assert_eq!(address["classes"]["address"], 2);
    let customers: u64 = items.iter().map(|item| item["customers"].as_u64().unwrap()).sum();
    assert_eq!(customers, records);
    assert!(address["from"].as_str().unwrap() < address["until"].as_str().unwrap());

    let lines = printed(&sekisho(&world, "viewer", &["exposure"], "").await, 0);
    assert!(lines.lines().count() >= 3, "{lines}");
    let line = lines.lines().find(|line| line.contains("getOrderAddress")).unwrap();
    assert!(line.starts_with("label-printer\torders/getOrderAddress\t2\t"), "{line}");
    // Somebody whom no configuration knows has seen nothing; nonsense is refused.
    let words = ["exposure", "nobody-of-that-name"];
    assert_eq!(printed(&sekisho(&world, "viewer", &words, "").await, 0), "");
    assert_ne!(
        sekisho(&world, "viewer", &["exposure", "--since", "401"], "").await.status.code(),
        Some(0)
    );
    let said = printed(&sekisho(&world, "viewer", &["exposure", "a b"], "").await, 1);
    assert!(said.contains("no identity has such a name"), "{said}");
    world.finish().await;
}
