//! MON-3: what answers reveal is counted while they stream by, charged, written down, and not kept.
use sekisho::mock::{Alpn, Call, Scenario};
use serde_json::Value;

use crate::hygiene::printer;
use crate::support::{ORDERS, Plan, World, error_of, get, put};
use crate::upstream::Scripted;

const ADDRESS: &str = "/orders/v0/orders/902-4395497-0000029/address";

async fn world() -> World {
    World::with(Plan::default()).await
}

/// Orders of a page that name a buyer or a recipient, by a reader of the whole document.
fn people(page: &Value) -> u64 {
    let orders = page["payload"]["Orders"].as_array().unwrap();
    let told = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
    let named = |order: &&Value| {
        let buyer = order["BuyerInfo"].as_object().into_iter().flatten();
        let address = order["ShippingAddress"].as_object().into_iter().flatten();
        // A country and a kind of address are nobody's.
        let personal = |key: &str| !["CountryCode", "AddressType"].contains(&key);
        buyer.chain(address).any(|(key, value)| personal(key) && told(value))
    };
    u64::try_from(orders.iter().filter(named).count()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_3_the_records_that_an_answer_reveals_are_written_down() {
    let world = world().await;
    for (alpn, upstream) in [(Alpn::H1, "http/1.1"), (Alpn::H2, "h2")] {
        assert!(
            world
                .reload(|text| text.replace("#amazon\n", &format!("protocol = \"{upstream}\"\n")))
                .await
        );
        let caller = printer(&world, alpn);
        let reply = world.call(&caller, get(ORDERS)).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let page = reply.json();
        let expected = people(&page);
        assert!(expected > 0 && page["payload"]["Orders"].as_array().unwrap().len() > 1);
        let line = world.line_of(&reply);
        assert_eq!(line["sekisho.pii_records"], expected, "{line}");
        assert!(line.get("sekisho.drift").is_none(), "{line}");
        let reply = world.call(&caller, get(ADDRESS)).await;
        assert_eq!(world.line_of(&reply)["sekisho.pii_records"], 1, "{}", reply.text());
        assert!(
            world
                .reload(|text| text.replace(&format!("protocol = \"{upstream}\"\n"), "#amazon\n"))
                .await
        );
    }
    assert!(world.metric("sekisho_pii_records_total{class=\"address\"}") > 1.5);
    assert!(world.metric("sekisho_exposure_ledger_bytes") > 0.5);
    // An error of Amazon's, a refusal of ours and a store's answer reveal nothing.
    let caller = printer(&world, Alpn::Both);
    world.amazon.set(Scenario::Error { status: http::StatusCode::NOT_FOUND });
    let reply = world.call(&caller, get(ADDRESS)).await;
    assert_eq!(world.line_of(&reply)["sekisho.pii_records"], 0);
    let reply = world.call(&caller, get("/stock/A")).await;
    assert!(world.line_of(&reply).get("sekisho.pii_records").is_none());
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_3_a_limit_on_records_holds() {
    let limit = "limits = [{ operations = [\"orders/*\"], pii_records = [\"2/h\"] }]\nallow = [\"orders/getOrders\", \"orders/getOrderAddress\"";
    let plan = Plan::default()
        .replace("allow = [\"orders/getOrders\", \"orders/getOrderAddress\"", limit)
        .by_hand();
    let world = World::with(plan).await;
    let caller = printer(&world, Alpn::Both);
    for _ in 0..2 {
        let reply = world.call(&caller, get(ADDRESS)).await;
        assert_eq!(reply.status, 200);
        // What an answer revealed is charged when it is over, before its line is written.
        world.line_of(&reply);
    }
    let reply = world.call(&caller, get(ADDRESS)).await;
    assert_eq!(reply.status, 429, "{}", reply.text());
    assert_eq!(error_of(&reply).0, "Sekisho.QuotaExceeded");
    assert_eq!(world.line_of(&reply)["sekisho.limit"], "role/shipping/1/pii");
    world.advance(std::time::Duration::from_secs(1_801));
    assert_eq!(world.call(&caller, get(ADDRESS)).await.status, 200);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_3_what_is_to_be_counted_comes_readable_or_is_told() {
    let world = world().await;
    let caller = printer(&world, Alpn::Both);
    let asked = |target: &str| {
        let mut call: Call = get(target);
        put(&mut call, "accept-encoding", "gzip, br");
        call
    };
    assert_eq!(world.call(&caller, asked(ADDRESS)).await.status, 200);
    assert_eq!(world.amazon.last().unwrap().headers["accept-encoding"], "identity");
    // Who says nothing of codings would take any.
    assert_eq!(world.call(&caller, get(ADDRESS)).await.status, 200);
    assert_eq!(world.amazon.last().unwrap().headers["accept-encoding"], "identity");
    // A store's answers are not counted, so they may be compressed.
    assert_eq!(world.call(&caller, asked("/stock/A")).await.status, 200);
    assert_eq!(world.warehouse.last().unwrap().headers["accept-encoding"], "gzip, br");
    // Cut off: what passed is counted, and that it was cut is told.
    world.amazon.set(Scenario::Truncate { after: 90 });
    let _ = caller.call(world.address(), get(ADDRESS)).await;
    crate::support::until("the cut answer is told", || {
        world.metric("sekisho_answers_unread_total{reason=\"truncated\"}") > 0.5
    })
    .await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_3_an_answer_that_nobody_can_read_is_charged_for_what_it_may_hold() {
    let limit = "limits = [{ operations = [\"orders/*\"], pii_records = [\"20/h\"] }]\nallow = [\"orders/getOrders\", \"orders/getOrderAddress\"";
    let plan = Plan::default()
        .replace("allow = [\"orders/getOrders\", \"orders/getOrderAddress\"", limit)
        .by_hand();
    let world = World::with(plan).await;
    for (answer, records) in [
        // 2,000 bytes that say they are compressed.
        (answer("content-encoding: gzip\r\n", ""), 32),
        // An address, and bytes behind it that are no JSON.
        (answer("", PERSON), 33),
    ] {
        let scripted = Scripted::start(&world, &[&answer]).await;
        let port = scripted.address.port();
        let of = |text: String| {
            let (before, rest) = text.split_once("kind = \"sp-api\"\n").unwrap();
            let (_, after) = rest.split_once("\n\n").unwrap();
            format!(
                "{before}kind = \"sp-api\"\nregion = \"fe\"\nstage = \"sandbox\"\n\
                 endpoint = \"https://localhost:{port}\"\naddresses = [\"127.0.0.1:{port}\"]\n\
                 token_endpoint = \"https://localhost:{port}\"\nca = \"pki/ca.pem\"\n\
                 protocol = \"http/1.1\"\n\n{after}"
            )
        };
        assert!(world.reload(of).await);
        let caller = printer(&world, Alpn::Both);
        let reply = world.call(&caller, get(ADDRESS)).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let line = world.line_of(&reply);
        assert_eq!(line["sekisho.pii_records"], records, "{line}");
        let reply = world.call(&caller, get(ADDRESS)).await;
        assert_eq!(error_of(&reply).0, "Sekisho.QuotaExceeded");
        world.advance(std::time::Duration::from_secs(7_200));
    }
    // And entered, apart from what could be read.
    let shown = world.gateway.engine.view_exposure(None, 1).await.unwrap();
    let [row] = &shown[..] else { panic!("{shown:?}") };
    assert_eq!((row.sum.requests, row.sum.customers, row.sum.unread), (2, 1, 64));
    world.finish().await;
}

const PERSON: &str =
    "{\"payload\":{\"AmazonOrderId\":\"902-1-1\",\"ShippingAddress\":{\"Name\":\"A B\"}}}";

/// An answer of the script's with 2,000 bytes behind `lead`.
fn answer(fields: &str, lead: &str) -> Vec<u8> {
    let length = lead.len() + 2_000;
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{fields}content-length: {length}\r\n\r\n"
    );
    [head.as_bytes(), lead.as_bytes(), &[b'x'; 2_000]].concat()
}
