//! PRIV-3: the API of those who operate the gateway, through real TLS.
mod acts;
mod alarms;
mod ended;
mod exposure;
mod keys;
mod limits;
mod permit;
mod reload;
mod verbs;

use std::net::{IpAddr, Ipv4Addr};

use http::Method;
use sekisho::admin::api::{Does, ROUTES, Route, Verb, document};
use sekisho::devcerts::{Leaf, LeafPlan};
use sekisho::mock::{Alpn, Call, CallFault, Caller, Flow, Reply, TlsVersions};
use serde_json::{Value, json};

use crate::support::{Plan, World, now};

/// The API, and one person for each role. `{…}` is filled in by the test.
const API: &str = r#"
[admin.api]
address = "127.0.0.1:0"
networks = ["{networks}"]
tls = { certificate = "pki/server.pem", key = "pki/server.key", client_ca = "pki/ca.pem" }
two_people = [{two_people}]
[operator.viewer]
certificate = { san_uri = "spiffe://sekisho.test/operators/viewer" }
role = "viewer"
[operator.operator]
certificate = { san_uri = "spiffe://sekisho.test/operators/operator" }
role = "operator"
[operator.officer]
certificate = { san_uri = "spiffe://sekisho.test/operators/officer" }
role = "security-officer"
[operator.second-officer]
certificate = { san_uri = "spiffe://sekisho.test/operators/second-officer" }
role = "security-officer"
"#;

const PEOPLE: [&str; 3] = ["viewer", "operator", "officer"];

fn plan(two_people: &str) -> Plan {
    let lines = API.replace("{networks}", "loopback").replace("{two_people}", two_people);
    Plan::default().fill("more", &lines)
}

async fn world() -> World {
    World::with(plan("")).await
}

/// Whoever shows this certificate, over HTTP/1.1.
fn showing(world: &World, leaf: Option<&Leaf>) -> Caller {
    world.caller(|config| {
        config.identity = leaf.cloned();
        config.alpn = Alpn::H1;
    })
}

fn person(world: &World, name: &str) -> Caller {
    showing(world, Some(world.pki.operator(name).unwrap()))
}

async fn send(world: &World, caller: &Caller, call: Call) -> Result<Reply, CallFault> {
    caller.call(world.gateway.api.unwrap(), call).await
}

/// One call as one of the people. Every answer is searched for personal data at the end.
async fn ask(world: &World, who: &str, call: Call) -> Reply {
    let reply = send(world, &person(world, who), call).await.unwrap();
    world.note_bytes(&reply.body);
    assert!(reply.header("x-sekisho-request-id").is_some());
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    reply
}

async fn look(world: &World, who: &str, path: &str) -> Value {
    let reply = ask(world, who, Call::get(path)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

fn with_body(path: &str, body: &Value) -> Call {
    Call::post(path, Flow::whole(body.to_string())).header("content-type", "application/json")
}

async fn act(world: &World, who: &str, path: &str, body: &Value) -> Reply {
    ask(world, who, with_body(path, body)).await
}

/// The end of a problem's type, after its form was checked.
fn problem(reply: &Reply) -> String {
    assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{}", reply.text());
    let body = reply.json();
    assert_eq!(body["status"], reply.status.as_u16());
    for key in ["title", "detail", "control"] {
        assert!(!body[key].as_str().unwrap().is_empty(), "{body}");
    }
    let id = reply.header("x-sekisho-request-id").unwrap();
    assert_eq!(body["instance"], format!("urn:sekisho:request:{id}"));
    body["type"].as_str().unwrap().strip_prefix("urn:sekisho:problem:").unwrap().to_owned()
}

#[track_caller]
fn refused(reply: &Reply, status: u16, slug: &str) {
    assert_eq!((reply.status.as_u16(), problem(reply).as_str()), (status, slug));
}

fn call_of(route: &Route) -> Call {
    let path = route.path.replace("{id}", "0123456789abcdef");
    match route.verb {
        Verb::Get => Call::get(&path),
        // Kinds of bodies that no route takes: whoever may act is told so, and nothing happens.
        Verb::Post if route.path.contains("{id}") => Call::new(Method::POST, &path),
        Verb::Post => with_body(&path, &json!({"unknown": 1})),
    }
}

#[tokio::test]
async fn priv_3_each_route_opens_to_its_role_and_those_above() {
    let world = world().await;
    let roles = ["viewer", "operator", "security-officer"];
    for route in ROUTES {
        let needs = roles.iter().position(|role| *role == route.does.role().as_str()).unwrap();
        for (place, who) in PEOPLE.iter().enumerate() {
            let reply = ask(&world, who, call_of(route)).await;
            let opens = place >= needs;
            match (opens, route.verb) {
                (false, _) => refused(&reply, 403, "role-too-low"),
                (true, Verb::Get) => assert_eq!(reply.status, 200, "{route:?} {who}"),
                (true, Verb::Post) => {
                    let slug = problem(&reply);
                    let late = ["body-malformed", "no-such-pending-act"].contains(&slug.as_str());
                    assert!(late, "{route:?} {who}: {slug}");
                }
            }
        }
    }
    assert_eq!(look(&world, "viewer", "/v1/locks").await["total"], 0, "nothing was changed");
    world.finish().await;
}

#[tokio::test]
async fn priv_3_without_an_accepted_certificate_there_is_no_connection() {
    let world = world().await;
    let bare = send(&world, &showing(&world, None), Call::get("/v1/me")).await;
    assert!(bare.is_err(), "{bare:?}");
    let rogue = showing(&world, Some(&world.pki.rogue.client));
    assert!(send(&world, &rogue, Call::get("/v1/me")).await.is_err());
    let old = world.caller(|config| {
        config.identity = world.pki.operator("officer").cloned();
        config.versions = TlsVersions::Tls12;
    });
    assert!(send(&world, &old, Call::get("/v1/me")).await.is_err(), "TLS 1.2");
    let metric = "sekisho_handshakes_total{listener=\"admin.api\",result=\"handshake\"}";
    assert_eq!(world.metric(metric), 3.0);
    assert_eq!(look(&world, "officer", "/v1/me").await["role"], "security-officer");
    world.finish().await;
}

#[tokio::test]
async fn priv_3_a_certificate_that_names_no_operator_opens_nothing() {
    let lines = format!(
        "{}[operator.leaver]\ncertificate = {{ san_uri = \"spiffe://sekisho.test/order-importer\" }}\n\
         role = \"security-officer\"\ndisabled = \"left the company\"\n",
        API.replace("{networks}", "loopback").replace("{two_people}", "")
    );
    let world = World::with(Plan::default().fill("more", &lines).by_hand()).await;
    for (client, slug) in [("label-printer", "not-an-operator"), ("order-importer", "barred")] {
        let caller = showing(&world, Some(world.pki.client(client).unwrap()));
        for path in ["/v1/me", "/v1/openapi.json", "/nothing"] {
            let reply = send(&world, &caller, Call::get(path)).await.unwrap();
            world.note_bytes(&reply.body);
            refused(&reply, 403, slug);
        }
    }
    let events = world.events("operator-act");
    assert_eq!(events[0]["sekisho.act"], "enter");
    assert_eq!(events[0]["sekisho.reason"], "not-an-operator");
    assert_eq!(events.len(), 1, "strangers are told of once a second");
    world.finish().await;
}

/// By name here and by key there: the configuration can't see it, the API does.
#[tokio::test]
async fn priv_3_nobody_operates_with_the_certificate_of_an_identity() {
    let world = world().await;
    let plan = LeafPlan {
        uris: vec![
            "spiffe://sekisho.test/operators/officer".to_owned(),
            "spiffe://sekisho.test/label-printer".to_owned(),
        ],
        ..LeafPlan::client("both", now())
    };
    let both = world.pki.ca.issue(&plan).unwrap();
    let reply = send(&world, &showing(&world, Some(&both)), Call::get("/v1/me")).await.unwrap();
    refused(&reply, 403, "also-an-identity");
    world.finish().await;
}

#[tokio::test]
async fn net_1_the_api_is_closed_unread_to_addresses_that_are_not_listed() {
    let lines = API.replace("{networks}", "office").replace("{two_people}", "");
    let world = World::with(Plan::default().fill("more", &lines)).await;
    let from = |last| {
        world.caller(|config| {
            config.identity = world.pki.operator("officer").cloned();
            config.alpn = Alpn::H1;
            config.source = Some(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)));
        })
    };
    assert!(send(&world, &from(1), Call::get("/v1/me")).await.is_err());
    assert_eq!(send(&world, &from(2), Call::get("/v1/me")).await.unwrap().status, 200);
    let metric = "sekisho_connections_refused_total{listener=\"admin.api\",reason=\"address\"}";
    assert_eq!(world.metric(metric), 1.0);
    let log = world.stop().await;
    let is_it = |line: &&Value| {
        line["event.action"] == "address-refused" && line["sekisho.listener"] == "admin.api"
    };
    assert_eq!(log.iter().filter(is_it).count(), 1);
}

#[tokio::test]
async fn priv_3_what_is_no_request_of_the_table_is_a_problem() {
    let world = world().await;
    let lock = |body: &str| {
        let flow = Flow::whole(body.to_owned());
        Call::post("/v1/locks", flow).header("content-type", "application/json")
    };
    let good = r#"{"target":{"identity":"label-printer"},"case":"INC-1"}"#;
    let padded = format!("{}{good}", " ".repeat(17_000));
    for (call, status, slug) in [
        (Call::get("/"), 404, "no-such-path"),
        (Call::get("/v1/locks/"), 404, "no-such-path"),
        (Call::get("/V1/locks"), 404, "no-such-path"),
        (Call::new(Method::DELETE, "/v1/locks"), 405, "method-not-allowed"),
        (Call::get("/v1/kills"), 405, "method-not-allowed"),
        (Call::get("/v1/locks?most=0"), 400, "query-malformed"),
        (Call::get("/v1/locks?identity=x"), 400, "query-malformed"),
        (Call::get("/v1/limits?identity=nobody"), 404, "no-such-target"),
        (Call::post("/v1/locks", Flow::whole(good.to_owned())), 415, "not-json"),
        (lock(&padded), 413, "body-too-large"),
        (lock(""), 400, "body-malformed"),
        (lock("{"), 400, "body-malformed"),
        (lock(&good.replace("\"case\"", "\"extra\":1,\"case\"")), 400, "body-malformed"),
        (lock(&good.replace("identity\"", "person\"")), 400, "body-malformed"),
        (lock(&good.replace("INC-1", "")), 400, "case-malformed"),
        (lock(&good.replace("INC-1", "hanako@example.com")), 400, "case-malformed"),
        (lock(&good.replace("label-printer", "902-4395497-0000029")), 404, "no-such-target"),
        (lock(&good.replace("\"case\"", "\"lasts_secs\":0,\"case\"")), 400, "lasts-out-of-range"),
        (lock(&good.replace("\"case\"", "\"step\":\"kill\",\"case\"")), 400, "body-malformed"),
        (lock(&good.replace("identity", "source")), 400, "target-malformed"),
        (lock(&good.replace("identity", "order-hash")), 400, "target-malformed"),
    ] {
        let shown = format!("{} {}", call.method, call.target);
        let reply = ask(&world, "operator", call).await;
        assert_eq!((reply.status.as_u16(), problem(&reply).as_str()), (status, slug), "{shown}");
        assert!(!reply.text().contains("902-") && !reply.text().contains("hanako"), "echoed");
        assert_eq!(reply.header("allow").is_some(), status == 405, "{shown}");
    }
    let broken = ask(&world, "operator", lock("{\n \"case\": 7}")).await.json();
    assert_eq!(broken["line"], 2, "{broken}");
    assert_eq!(look(&world, "viewer", "/v1/locks").await["total"], 0, "nothing was changed");
    let log = world.stop().await;
    let text = serde_json::to_string(&log).unwrap();
    assert!(!text.contains("902-4395497-0000029") && !text.contains("hanako@"), "in the log");
}

#[tokio::test]
async fn priv_3_one_operator_can_not_keep_the_gateway_busy() {
    let world = World::with(plan("").by_hand()).await;
    let caller = person(&world, "viewer");
    let session = caller.connect(world.gateway.api.unwrap()).await.unwrap();
    let mut slowed = None;
    for count in 0..200 {
        let reply = session.call(Call::get("/v1/me")).await.unwrap();
        if reply.status == 429 {
            assert_eq!(
                (problem(&reply).as_str(), reply.header("retry-after")),
                ("too-many-requests", Some("1"))
            );
            slowed = Some(count);
            break;
        }
    }
    assert_eq!(slowed, Some(100));
    assert_eq!(look(&world, "operator", "/v1/me").await["operator"], "operator", "others may");
    world.finish().await;
}

#[tokio::test]
async fn priv_3_a_reload_decides_for_connections_that_are_open() {
    let world = world().await;
    let session = person(&world, "operator").connect(world.gateway.api.unwrap()).await.unwrap();
    let me = |call| async { session.call(call).await.unwrap() };
    assert_eq!(me(Call::get("/v1/me")).await.json()["role"], "operator");
    assert!(world.reload(|text| text.replace("role = \"operator\"", "role = \"viewer\"")).await);
    assert_eq!(me(Call::get("/v1/me")).await.json()["role"], "viewer");
    let gone = "spiffe://sekisho.test/operators/operator";
    assert!(world.reload(|text| text.replace(gone, "spiffe://sekisho.test/operators/next")).await);
    refused(&me(Call::get("/v1/me")).await, 403, "not-an-operator");
    world.finish().await;
}

#[test]
fn priv_3_the_openapi_document_is_current_and_whole() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/admin-openapi.json");
    let written: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let made = document();
    assert_eq!(written, made, "write it anew: sekisho admin-openapi > deploy/admin-openapi.json");
    assert_eq!(made["openapi"], "3.1.0");
    let mut count = 0;
    for route in ROUTES {
        let operation = &made["paths"][route.path][route.verb.as_str().to_lowercase()];
        assert_eq!(operation["x-sekisho-role"], route.does.role().as_str(), "{route:?}");
        assert_eq!(operation["requestBody"].is_object(), {
            matches!(route.does, Does::Lock | Does::Kill | Does::Unlock | Does::Reload)
        });
        count += 1;
    }
    let told = made["paths"].as_object().unwrap().values();
    assert_eq!(told.map(|path| path.as_object().unwrap().len()).sum::<usize>(), count);
    references(&made, &made);
}

/// Every reference leads somewhere.
fn references(part: &Value, whole: &Value) {
    match part {
        Value::Object(map) => {
            if let Some(to) = map.get("$ref") {
                let pointer = to.as_str().unwrap().trim_start_matches('#');
                assert!(whole.pointer(pointer).is_some(), "{to}");
            }
            map.values().for_each(|part| references(part, whole));
        }
        Value::Array(list) => list.iter().for_each(|part| references(part, whole)),
        _ => {}
    }
}
