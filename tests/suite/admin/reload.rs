//! Reloads by operators: dry run, roles, the second person, mistakes.
use http::Method;
use sekisho::mock::Call;
use serde_json::{Value, json};

use super::{act, ask, look, plan, refused, world};
use crate::support::World;

const GRANT: &str = "allow = [\"orders/getOrders\", \"orders/getOrderAddress\",";
const LESS: &str = "allow = [\"orders/getOrders\",";

fn edit(world: &World, from: &str, to: &str) {
    let path = world.dir.join("sekisho.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{from}");
    std::fs::write(&path, text.replace(from, to)).unwrap();
}

async fn dry_run(world: &World) -> Value {
    let reply = ask(world, "operator", Call::new(Method::POST, "/v1/reload/dry-run")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

fn generation(world: &World) -> u64 {
    world.gateway.engine.live().snapshot.generation
}

fn body() -> Value {
    json!({ "case": "CHG-2041" })
}

#[tokio::test]
async fn priv_3_a_dry_run_tells_and_changes_nothing() {
    let world = world().await;
    let nothing = dry_run(&world).await;
    assert_eq!((&nothing["outcome"], &nothing["change"]["lines"]), (&json!("can"), &json!([])));
    edit(&world, GRANT, LESS);
    edit(&world, "office = [\"127.0.0.2\"", "office = [\"203.0.113.0/24\", \"127.0.0.2\"");
    let told = dry_run(&world).await;
    assert_eq!([&told["outcome"], &told["act"]], ["can", "reload-widening"]);
    let lines = told["change"]["lines"].as_array().unwrap();
    let short: Vec<String> = lines
        .iter()
        .map(|line| {
            let text = |key: &str| line[key].as_str().unwrap().to_owned();
            format!("{} {} {} {}", text("direction"), text("control"), text("what"), line["items"])
        })
        .collect();
    assert_eq!(
        short,
        [
            "widens NET-1 gains prefixes [\"203.0.113.0/24\"]",
            "narrows PRIV-1 loses [\"orders/getOrderAddress\"]",
        ]
    );
    assert_eq!(lines[1]["of_role"], "shipping");
    assert_eq!(lines[1]["count"], 3);
    assert_eq!(generation(&world), 1);
    assert_eq!(look(&world, "viewer", "/v1/reload").await, json!({ "snapshot": 1 }));
    assert!(world.events("config-reloaded").is_empty());
    world.finish().await;
}

#[tokio::test]
async fn priv_3_what_widens_is_an_officers_act() {
    let world = world().await;
    // Less first: an operator's.
    edit(&world, GRANT, LESS);
    let done = act(&world, "operator", "/v1/reload", &body()).await;
    assert_eq!(done.status, 200, "{}", done.text());
    let done = done.json();
    assert_eq!([&done["outcome"], &done["act"]], ["done", "reload"]);
    assert_eq!((&done["reload"]["snapshot"], generation(&world)), (&json!(2), 2));
    assert_eq!(done["reload"]["change"]["narrows"], 1);
    assert!(look(&world, "viewer", "/v1/reload").await["trial_until"].is_string());
    // And back.
    edit(&world, LESS, GRANT);
    refused(&act(&world, "operator", "/v1/reload", &body()).await, 403, "role-too-low");
    assert_eq!(generation(&world), 2);
    let done = act(&world, "officer", "/v1/reload", &body()).await.json();
    assert_eq!([&done["outcome"], &done["act"]], ["done", "reload-widening"]);
    assert_eq!(generation(&world), 3);
    let events = world.events("config-reloaded");
    let by: Vec<_> = events.iter().map(|event| event["sekisho.actor"].as_str().unwrap()).collect();
    assert_eq!(by, ["operator", "officer"]);
    let acts = world.events("operator-act");
    let told: Vec<String> = acts
        .iter()
        .map(|act| {
            let text = |key: &str| act[key].as_str().unwrap().to_owned();
            format!("{} {} {}", text("sekisho.actor"), text("sekisho.act"), text("sekisho.outcome"))
        })
        .collect();
    assert_eq!(
        told,
        [
            "operator reload done",
            "operator reload-widening refused",
            "officer reload-widening done"
        ]
    );
    assert_eq!(acts[0]["sekisho.case"], "CHG-2041");
    world.finish().await;
}

/// More connections than the listener lets others have, an account under another name, an alarm that
/// runs a program: none of it is an operator's.
#[tokio::test]
async fn priv_3_an_operator_widens_nothing_by_the_way() {
    let world = world().await;
    for (place, more, what) in [
        ("[identity.analyst]\n", "connections = 1000000\n", "connections at a time"),
        ("name = \"warehouse\"\n", "seller = \"acme\"\n", "leads to the seller"),
        (
            "access = { file = \"access.log\" }\n",
            "[[alarm]]\nname = \"quiet\"\nkind = \"command\"\ncommand = [\"/bin/true\"]\n",
            "alarms go to",
        ),
    ] {
        edit(&world, place, &[place, more].concat());
        let told = dry_run(&world).await;
        assert_eq!(told["act"], "reload-widening", "{what}");
        let lines = told["change"]["lines"].as_array().unwrap();
        let says = |line: &Value| line["direction"] == "widens" && line["what"] == what;
        assert!(lines.iter().any(says), "{told}");
        refused(&act(&world, "operator", "/v1/reload", &body()).await, 403, "role-too-low");
        edit(&world, more, "");
    }
    assert_eq!(generation(&world), 1);
    world.finish().await;
}

#[tokio::test]
async fn priv_3_two_people_put_in_force_what_both_looked_at() {
    let world = World::with(plan("\"reload-widening\"")).await;
    edit(&world, "deny = [\"BuyerEmail\"]", "deny = [\"SellerOrderId\"]");
    let print = dry_run(&world).await["print"].clone();
    let waits =
        act(&world, "officer", "/v1/reload", &json!({"case": "CHG-1", "print": print})).await;
    assert_eq!(waits.status, 202, "{}", waits.text());
    let pending = look(&world, "viewer", "/v1/pending").await["items"][0].clone();
    assert_eq!([&pending["act"], &pending["print"]], [&json!("reload-widening"), &print]);
    let confirm = |id: &Value| {
        Call::new(Method::POST, &format!("/v1/pending/{}/confirm", id.as_str().unwrap()))
    };
    refused(&ask(&world, "officer", confirm(&pending["id"])).await, 403, "same-person");
    // In between somebody else writes the file.
    edit(&world, "deny = [\"SellerOrderId\"]", "deny = [\"SellerOrderId\", \"BuyerEmail\"]");
    let late = ask(&world, "second-officer", confirm(&pending["id"])).await;
    refused(&late, 409, "changed-meanwhile");
    assert_eq!(generation(&world), 1);
    edit(&world, "deny = [\"SellerOrderId\", \"BuyerEmail\"]", "deny = [\"SellerOrderId\"]");
    let waits = act(&world, "officer", "/v1/reload", &body()).await.json();
    let done = ask(&world, "second-officer", confirm(&waits["pending"]["id"])).await;
    assert_eq!(done.status, 200, "{}", done.text());
    assert_eq!((&done.json()["reload"]["snapshot"], generation(&world)), (&json!(2), 2));
    let event = world.events("config-reloaded").pop().unwrap();
    assert_eq!(event["sekisho.actor"], "second-officer", "who confirms answers for it");
    let act = world.events("operator-act").pop().unwrap();
    assert_eq!(act["sekisho.asked_by"], "officer");
    world.finish().await;
}

#[tokio::test]
async fn log_1_a_bad_configuration_is_told_to_the_operator() {
    let world = world().await;
    edit(&world, "roles = [\"limited\"]", "roles = [\"limted\"]");
    let told = dry_run(&world).await;
    assert_eq!(told["outcome"], "can-not");
    assert_eq!(told["mistakes"][0]["control"], "PRIV-1");
    let reply = act(&world, "officer", "/v1/reload", &body()).await;
    refused(&reply, 422, "configuration-refused");
    let mistake = reply.json()["mistakes"][0].clone();
    assert!(mistake["found"].as_str().unwrap().contains("limted"), "{mistake}");
    assert!(mistake["instead"].as_str().unwrap().contains("limited"), "{mistake}");
    assert_eq!(generation(&world), 1);
    assert_eq!(world.metric("sekisho_config_reloads_total{result=\"refused\"}"), 1.0);
    let event = world.events("config-refused").pop().unwrap();
    assert_eq!(
        [&event["sekisho.reason"], &event["sekisho.snapshot"]],
        [&json!("errors"), &json!(1)]
    );
    let recent = || world.gateway.engine.alarms.recent();
    let refused_kind = sekisho::alarm::Kind::ConfigRefused;
    crate::support::until("people are told", || {
        recent().iter().any(|recent| recent.alarm.kind == refused_kind)
    })
    .await;

    // What only a restart can change is named.
    edit(&world, "roles = [\"limted\"]", "roles = [\"limited\"]");
    edit(&world, "threads = 1", "threads = 2");
    let told = dry_run(&world).await;
    assert_eq!(told["outcome"], "can-not");
    assert!(told["blocked"].as_str().unwrap().contains("gateway.threads"), "{told}");
    refused(&act(&world, "officer", "/v1/reload", &body()).await, 409, "restart-needed");
    assert_eq!(generation(&world), 1);
    world.finish().await;
}

/// Whether it could be put in force is tried out, and given up again.
#[tokio::test]
async fn priv_3_a_dry_run_binds_and_builds_and_keeps_nothing() {
    let world = world().await;
    // Where no other test takes a port while this one is let go of.
    let taken = std::net::TcpListener::bind("127.77.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let second = format!(
        "[[listener]]\nname = \"second\"\naddress = \"{address}\"\nnetworks = [\"loopback\"]\n\
         upstreams = [\"amazon\"]\n[listener.tls]\n\
         certificates = [{{ certificate = \"pki/server.pem\", key = \"pki/server.key\" }}]\n\
         client_auth = \"none\"\n[[upstream]]\nname = \"amazon\"\n"
    );
    edit(&world, "[[upstream]]\nname = \"amazon\"\n", &second);
    let told = dry_run(&world).await;
    assert_eq!(told["outcome"], "can-not", "{told}");
    let blocked = told["blocked"].as_str().unwrap();
    assert!(blocked.contains("listener second: address in use"), "{blocked}");
    let reply = act(&world, "officer", "/v1/reload", &body()).await;
    refused(&reply, 409, "address-not-to-be-had");
    let event = world.events("config-refused").pop().unwrap();
    assert_eq!(event["sekisho.reason"], "address-not-to-be-had");
    drop(taken);
    assert_eq!(dry_run(&world).await["outcome"], "can");
    let again = std::net::TcpListener::bind(address).expect("nobody listens there");
    assert!(!world.gateway.engine.render_metrics().contains("\"second\""));
    drop(again);
    assert_eq!(act(&world, "officer", "/v1/reload", &body()).await.status, 200);
    assert_eq!(world.gateway.listens_at("second"), Some(address));

    // Another process is about to take over.
    let hold = world.gateway.engine.hold_reloads().await;
    assert_eq!(dry_run(&world).await["outcome"], "can-not");
    let reply = act(&world, "officer", "/v1/reload", &body()).await;
    refused(&reply, 503, "upgrade-under-way");
    drop(hold);
    assert_eq!(act(&world, "officer", "/v1/reload", &body()).await.status, 200);
    world.finish().await;
}
