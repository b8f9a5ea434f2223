//! `sekisho explain` says beforehand what the wire says then.
use std::process::Command;

use http::Method;
use sekisho::mock::{Call, Scenario};
use serde_json::Value;

use super::{ADDRESS, call_as, world};
use crate::support::{ORDERS, World, amazon, error_of};

fn explained(world: &World, who: &str, method: &str, target: &str, from: &str) -> Value {
    let out = Command::new(env!("CARGO_BIN_EXE_sekisho"))
        .args(["explain", "--json", "--identity", who, "--method", method, "--path", target])
        .args(["--from", from])
        .arg(world.dir.join("sekisho.toml"))
        .output()
        .unwrap();
    let told: Value = serde_json::from_slice(&out.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&out.stderr)));
    assert_eq!(out.status.success(), told["decision"] == "allowed");
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn priv_1_explain_agrees_with_the_wire() {
    let world = world().await;
    world.amazon.set(Scenario::NoContent);
    world.warehouse.set(Scenario::NoContent);
    for (who, method, target) in [
        ("label-printer", "GET", ORDERS),
        ("label-printer", "HEAD", ORDERS),
        ("label-printer", "GET", ADDRESS),
        ("label-printer", "POST", ORDERS),
        ("label-printer", "GET", "/orders/v0/orders/"),
        ("label-printer", "GET", "/orders/v0/orders/%2e%2e/address"),
        ("label-printer", "GET", "/stock/A%2FB"),
        ("label-printer", "GET", "/stock/%2e%2e"),
        ("label-printer", "GET", "/stock/A1?sort=a"),
        ("label-printer", "GET", "/sellers/v1/marketplaceParticipations"),
        ("label-printer", "OPTIONS", ORDERS),
        ("label-printer", "GET", "/nothing/here"),
        ("analyst", "GET", ORDERS),
        ("analyst", "GET", "/orders/v0/orders"),
        ("analyst", "GET", "/orders/v0/orders?MarketplaceIds=A1VC38T7YXB528&buyeremail=x"),
        ("analyst", "GET", "/orders/v0/orders?MarketplaceIds=other"),
        ("analyst", "GET", "/orders/v0/orders?a=1;b=2"),
        ("analyst", "GET", ADDRESS),
        ("roleless", "GET", ORDERS),
        ("reader", "GET", "/stock/A1"),
        ("reader", "PUT", "/stock/A1"),
        ("writer", "PUT", "/stock/A1"),
        ("two-roles", "GET", "/orders/v0/orders?NextToken=page-1"),
        ("nowhere", "GET", ORDERS),
        ("office-clerk", "GET", ORDERS),
        ("leaver", "GET", ORDERS),
    ] {
        let told = explained(&world, who, method, target, "127.0.0.1");
        let verb = Method::from_bytes(method.as_bytes()).unwrap();
        let call: Call = amazon(verb.clone(), target);
        let reply = call_as(&world, who, call).await;
        let line = world.line_of(&reply);
        let what = format!("{who} {method} {target}: {told}\n{line}");
        match told["refusal"].as_object() {
            None => {
                assert_eq!(line["event.outcome"], "allowed", "{what}");
                assert_eq!(told["role"], line["sekisho.role"], "{what}");
                assert_eq!(told["upstream"], line["sekisho.upstream"], "{what}");
            }
            Some(refusal) => {
                assert_eq!(refusal["status"], reply.status.as_u16(), "{what}");
                assert_eq!(refusal["control"], line["sekisho.control"], "{what}");
                let detail = refusal["detail"].as_str();
                assert_eq!(detail, line["sekisho.detail"].as_str(), "{what}");
                if verb != Method::HEAD {
                    assert_eq!(refusal["code"].as_str().unwrap(), error_of(&reply).0, "{what}");
                }
            }
        }
        // A refused identity's operation is not looked up on the wire.
        if line["sekisho.operation"] != Value::Null {
            assert_eq!(told["operation"], line["sekisho.operation"], "{what}");
        }
    }
    // From the network where the clerk may come from, and from one where nobody may.
    let told = explained(&world, "office-clerk", "GET", ORDERS, "127.0.0.2");
    assert_eq!(told["decision"], "allowed");
    let told = explained(&world, "label-printer", "GET", ORDERS, "192.0.2.1");
    assert_eq!(told["refusal"]["code"], "AddressRefused");
    world.finish().await;
}
