//! Locks, kill switches, releases, and the second person.
use std::time::Duration;

use http::Method;
use sekisho::mock::Call;
use serde_json::{Value, json};

use super::{act, ask, look, plan, refused, world};
use crate::support::{ORDERS, World, bearing, get, until};

const PRINTER: &str = "/orders/v0/orders/902-4395497-0000029/address";

fn on(identity: &str) -> Value {
    json!({ "target": { "identity": identity }, "case": "INC-2041" })
}

fn release(identity: &str) -> Value {
    json!({
        "target": { "identity": identity }, "reason": "investigation-closed", "case": "INC-2042",
    })
}

async fn locks(world: &World) -> Vec<Value> {
    look(world, "viewer", "/v1/locks").await["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn acc_5_a_lock_refuses_at_once_and_a_release_lets_in_again() {
    let world = world().await;
    let printer = world.printer();
    assert_eq!(world.call(&printer, get(PRINTER)).await.status, 200);
    let done = act(&world, "operator", "/v1/locks", &on("label-printer")).await;
    assert_eq!((done.status.as_u16(), &done.json()["outcome"]), (200, &json!("done")));
    assert_eq!(world.call(&printer, get(PRINTER)).await.status, 401, "as if unknown");

    let [lock] = &locks(&world).await[..] else { panic!("one lock") };
    assert_eq!(lock["target"], json!({ "identity": "label-printer" }));
    assert_eq!(
        [&lock["step"], &lock["cause"], &lock["by"], &lock["ends_by"]],
        ["lock", "emergency", "operator", "unlock"]
    );
    let held = look(&world, "viewer", "/v1/identities").await;
    assert_eq!(
        (&held["items"][1]["name"], &held["items"][1]["held"]),
        (&json!("label-printer"), &json!("lock"))
    );

    let done = act(&world, "operator", "/v1/unlocks", &release("label-printer")).await;
    assert_eq!(done.status, 200, "{}", done.text());
    assert!(locks(&world).await.is_empty());
    assert_eq!(world.call(&printer, get(PRINTER)).await.status, 200);
    let again = act(&world, "operator", "/v1/unlocks", &release("label-printer")).await;
    refused(&again, 409, "not-locked");
    world.finish().await;
}

#[tokio::test]
async fn priv_3_kill_switches_and_security_locks_are_the_officers() {
    let world = world().await;
    refused(&act(&world, "operator", "/v1/kills", &on("label-printer")).await, 403, "role-too-low");
    assert!(locks(&world).await.is_empty());
    assert_eq!(act(&world, "officer", "/v1/kills", &on("label-printer")).await.status, 200);
    assert_eq!(world.call(&world.printer(), get(PRINTER)).await.status, 401);
    let [lock] = &locks(&world).await[..] else { panic!("one lock") };
    assert_eq!([&lock["step"], &lock["ends_by"]], ["kill", "unlock-security-lock"]);
    let tried = act(&world, "operator", "/v1/unlocks", &release("label-printer")).await;
    refused(&tried, 403, "role-too-low");
    assert_eq!(locks(&world).await.len(), 1, "it holds still");
    assert_eq!(act(&world, "officer", "/v1/unlocks", &release("label-printer")).await.status, 200);

    // An officer's lock is an officer's to end, however mild; also when the officer has left.
    let mut slow = on("analyst");
    slow["step"] = json!("slow");
    assert_eq!(act(&world, "officer", "/v1/locks", &slow).await.status, 200);
    refused(
        &act(&world, "operator", "/v1/unlocks", &release("analyst")).await,
        403,
        "role-too-low",
    );
    let gone = |text: String| text.replace("[operator.officer]", "[operator.new-officer]");
    assert!(world.reload(gone).await);
    refused(
        &act(&world, "operator", "/v1/unlocks", &release("analyst")).await,
        403,
        "role-too-low",
    );
    assert_eq!(act(&world, "second-officer", "/v1/unlocks", &release("analyst")).await.status, 200);
    world.finish().await;
}

#[tokio::test]
async fn acc_5_everything_stops_with_one_kill_switch() {
    let world = world().await;
    let all = json!({ "target": "everything", "case": "INC-7" });
    let done = act(&world, "officer", "/v1/kills", &all).await;
    assert_eq!(
        done.json()["targets"],
        json!([{ "upstream": "amazon" }, { "upstream": "warehouse" }])
    );
    assert_eq!(world.call(&world.printer(), get(PRINTER)).await.status, 403);
    let back = json!({ "target": "everything", "reason": "business", "case": "INC-7" });
    assert_eq!(act(&world, "officer", "/v1/unlocks", &back).await.status, 200);
    assert_eq!(world.call(&world.printer(), get(PRINTER)).await.status, 200);
    world.finish().await;
}

#[tokio::test]
async fn acc_5_everything_is_not_stopped_without_the_kill_switch() {
    let world = world().await;
    let all = json!({ "target": "everything", "case": "INC-7" });
    for who in ["operator", "officer"] {
        refused(&act(&world, who, "/v1/locks", &all).await, 400, "killed-not-locked");
    }
    assert!(locks(&world).await.is_empty());
    assert_eq!(world.call(&world.printer(), get(PRINTER)).await.status, 200);
    world.finish().await;
}

/// Whoever locks somebody who is locked already adds a lock, and has none of the others to end.
#[tokio::test(flavor = "multi_thread")]
async fn priv_3_no_lock_is_lifted_by_whoever_locked_on_top_of_it() {
    let mut plan = plan("");
    let canary = "[detect.canary]\nmode = \"enforce\"\nfile = \"canaries.txt\"\n";
    plan.fill.get_mut("more").unwrap().push_str(canary);
    let world = World::with(plan.file("canaries.txt", "902-4395497-0000029\n")).await;
    assert_eq!(world.call(&world.printer(), get(PRINTER)).await.status, 401);
    until("the lock holds", || !world.gateway.engine.list_locks().is_empty()).await;
    assert_eq!(act(&world, "officer", "/v1/locks", &on("analyst")).await.status, 200);

    let both = ["label-printer", "analyst"];
    for identity in both {
        // By name this operator comes after the officer.
        assert_eq!(act(&world, "operator", "/v1/locks", &on(identity)).await.status, 200);
        let tried = act(&world, "operator", "/v1/unlocks", &release(identity)).await;
        refused(&tried, 403, "role-too-low");
    }
    let mut listed: Vec<_> = locks(&world)
        .await
        .iter()
        .map(|lock| {
            let by = lock["by"].as_str().unwrap_or("-");
            let text = |of: &Value| of.as_str().unwrap().to_owned();
            let whose = text(&lock["target"]["identity"]);
            [&whose, &text(&lock["cause"]), by, &text(&lock["ends_by"])].join(" ")
        })
        .collect();
    listed.sort();
    let expected = [
        "analyst emergency officer unlock-security-lock",
        "analyst emergency operator unlock",
        "label-printer canary - unlock-security-lock",
        "label-printer emergency operator unlock",
    ];
    assert_eq!(listed, expected);

    // They are kept as they are held.
    let world = world.restart().await;
    assert_eq!(locks(&world).await.len(), 4);
    for identity in both {
        let tried = act(&world, "operator", "/v1/unlocks", &release(identity)).await;
        refused(&tried, 403, "role-too-low");
        assert_eq!(act(&world, "officer", "/v1/unlocks", &release(identity)).await.status, 200);
    }
    assert!(locks(&world).await.is_empty());
    world.finish().await;
}

#[tokio::test]
async fn priv_3_a_second_person_confirms_what_needs_two() {
    let world = World::with(plan("\"kill\", \"unlock-security-lock\"").by_hand()).await;
    let asked = act(&world, "officer", "/v1/kills", &on("label-printer")).await;
    assert_eq!(asked.status, 202, "{}", asked.text());
    let asked = asked.json();
    assert_eq!(
        (&asked["outcome"], &asked["pending"]["by"]),
        (&json!("pending"), &json!("officer"))
    );
    assert!(locks(&world).await.is_empty(), "nothing is done before");
    assert_eq!(world.call(&world.printer(), get(PRINTER)).await.status, 200);

    let id = asked["pending"]["id"].as_str().unwrap().to_owned();
    let listed = look(&world, "viewer", "/v1/pending").await;
    assert_eq!((&listed["total"], &listed["items"][0]["id"]), (&json!(1), &json!(id)));
    let confirm = |who: &'static str, id: &str| {
        let call = Call::new(Method::POST, &format!("/v1/pending/{id}/confirm"));
        ask(&world, who, call)
    };
    refused(&confirm("officer", &id).await, 403, "same-person");
    refused(&confirm("operator", &id).await, 403, "role-too-low");
    refused(&confirm("viewer", &id).await, 403, "role-too-low");
    refused(&confirm("second-officer", "0123456789abcdef").await, 404, "no-such-pending-act");
    assert_eq!(confirm("second-officer", &id).await.status, 200);
    assert_eq!(locks(&world).await.len(), 1);
    assert_eq!(world.call(&world.printer(), get(PRINTER)).await.status, 401);
    refused(&confirm("second-officer", &id).await, 404, "no-such-pending-act");

    // Too late, and withdrawn.
    let late = act(&world, "second-officer", "/v1/unlocks", &release("label-printer")).await;
    let late = late.json()["pending"]["id"].as_str().unwrap().to_owned();
    world.advance(Duration::from_secs(900));
    refused(&confirm("officer", &late).await, 404, "no-such-pending-act");
    let withdrawn = act(&world, "second-officer", "/v1/unlocks", &release("label-printer")).await;
    let id = withdrawn.json()["pending"]["id"].as_str().unwrap().to_owned();
    let call = Call::new(Method::POST, &format!("/v1/pending/{id}/withdraw"));
    assert_eq!(ask(&world, "second-officer", call).await.json()["outcome"], "withdrawn");
    assert_eq!(locks(&world).await.len(), 1, "it holds still");

    // Whoever asked must be who they were.
    let last = act(&world, "officer", "/v1/unlocks", &release("label-printer")).await;
    let last = last.json()["pending"]["id"].as_str().unwrap().to_owned();
    let lower = |text: String| {
        let officer = "operators/officer\" }\nrole = \"security-officer\"";
        assert!(text.contains(officer));
        text.replace(officer, "operators/officer\" }\nrole = \"viewer\"")
    };
    assert!(world.reload(lower).await);
    refused(&confirm("second-officer", &last).await, 403, "role-too-low");
    assert_eq!(locks(&world).await.len(), 1);

    let told = world.events("operator-act");
    let by = |outcome: &str| {
        told.iter().filter(|line| line["sekisho.outcome"] == outcome).cloned().collect::<Vec<_>>()
    };
    let [done] = &by("done")[..] else { panic!("one act was done") };
    assert_eq!(
        [&done["sekisho.actor"], &done["sekisho.asked_by"], &done["sekisho.act"]],
        ["second-officer", "officer", "kill"]
    );
    assert_eq!((by("pending").len(), by("withdrawn").len()), (4, 1));
    world.finish().await;
}

#[tokio::test]
async fn priv_3_who_may_not_enter_any_more_is_not_one_of_two_people() {
    let world = World::with(plan("\"kill\"")).await;
    let asked = act(&world, "officer", "/v1/kills", &on("label-printer")).await.json();
    let id = asked["pending"]["id"].as_str().unwrap();
    act(&world, "operator", "/v1/locks", &on("analyst")).await;
    let ends_by = async || locks(&world).await[0]["ends_by"].clone();
    assert_eq!(ends_by().await, "unlock");
    let disable = |text: String| {
        let barred = |text: String, who: &str| {
            let head = format!("[operator.{who}]\n");
            text.replace(&head, &format!("{head}disabled = \"left\"\n"))
        };
        barred(barred(text, "officer"), "operator")
    };
    assert!(world.reload(disable).await);
    let confirm = Call::new(Method::POST, &format!("/v1/pending/{id}/confirm"));
    refused(&ask(&world, "second-officer", confirm).await, 403, "role-too-low");
    assert_eq!(locks(&world).await.len(), 1, "nobody is killed");
    assert_eq!(ends_by().await, "unlock-security-lock", "whose author operates no more");
    world.finish().await;
}

#[tokio::test]
async fn acc_5_an_order_and_an_address_are_locked_and_nowhere_to_be_read() {
    let world = world().await;
    let order = "902-4395497-0000029";
    let body = json!({ "target": { "order": order }, "case": "INC-3", "lasts_secs": 3_600 });
    let done = act(&world, "operator", "/v1/locks", &body).await;
    assert_eq!(done.status, 200, "{}", done.text());
    let target = &done.json()["targets"][0];
    assert_eq!(target["order-hash"].as_str().unwrap().len(), 16);
    let reply = world.call(&world.printer(), get(PRINTER)).await;
    assert_eq!(reply.status, 403, "{}", reply.text());
    let other = get(&PRINTER.replace("0000029", "0000037"));
    assert_ne!(world.call(&world.printer(), other).await.status, 403, "another order");

    // As it is listed it can be released.
    let body = json!({ "target": target, "reason": "owner-confirmed", "case": "INC-3" });
    assert_eq!(act(&world, "operator", "/v1/unlocks", &body).await.status, 200);
    assert_eq!(world.call(&world.printer(), get(PRINTER)).await.status, 200);

    let body = json!({ "target": { "source": "127.0.0.1" }, "case": "INC-4" });
    let done = act(&world, "operator", "/v1/locks", &body).await;
    assert_eq!(done.status, 200, "{}", done.text());
    assert_eq!(world.call(&world.printer(), get(PRINTER)).await.status, 401);
    let metrics = world.gateway.engine.render_metrics();
    assert!(!metrics.contains(order) && !metrics.contains("127.0.0.1"));
    let log = serde_json::to_string(&world.stop().await).unwrap();
    assert!(!log.contains(order) && !log.contains("127.0.0.1"));
}

#[tokio::test]
async fn log_1_every_act_is_told_with_its_operator_done_or_refused() {
    let world = world().await;
    let reply = act(&world, "operator", "/v1/locks", &on("label-printer")).await;
    let request = reply.header("x-sekisho-request-id").unwrap().to_owned();
    act(&world, "viewer", "/v1/locks", &on("analyst")).await;
    act(&world, "operator", "/v1/kills", &on("analyst")).await;
    act(&world, "operator", "/v1/unlocks", &release("analyst")).await;
    act(&world, "operator", "/v1/locks", &json!({ "case": "INC-1" })).await;
    act(&world, "operator", "/v1/unlocks", &release("label-printer")).await;
    look(&world, "viewer", "/v1/locks").await;
    let told: Vec<_> = world
        .events("operator-act")
        .into_iter()
        .map(|line| {
            let text = |key: &str| line[key].as_str().unwrap_or("-").to_owned();
            assert_eq!(line["sekisho.control"], "PRIV-3");
            [
                text("sekisho.actor"),
                text("sekisho.operator_role"),
                text("sekisho.act"),
                text("sekisho.outcome"),
                text("sekisho.reason"),
                text("user.name"),
                text("sekisho.case"),
            ]
            .join(" ")
        })
        .collect();
    assert_eq!(
        told,
        [
            "operator operator lock done - label-printer INC-2041",
            "viewer viewer lock refused role-too-low - -",
            "operator operator kill refused role-too-low - -",
            "operator operator unlock refused not-locked analyst INC-2042",
            "operator operator lock refused body-malformed - -",
            "operator operator unlock done - label-printer INC-2042",
        ]
    );
    assert_eq!(world.events("operator-act")[0]["sekisho.request_id"], request);
    let [locked] = &world.events("locked")[..] else { panic!("one lock") };
    assert_eq!(
        (&locked["sekisho.actor"], &locked["sekisho.case"]),
        (&json!("operator"), &json!("INC-2041"))
    );
    let count = |act: &str, outcome: &str| {
        let labels = format!("act=\"{act}\",outcome=\"{outcome}\"");
        world.metric(&format!("sekisho_admin_acts_total{{{labels}}}"))
    };
    assert_eq!(
        (count("lock", "done"), count("lock", "refused"), count("kill", "refused")),
        (1.0, 2.0, 1.0)
    );
    world.finish().await;
}

#[tokio::test]
async fn acc_2_an_operators_lock_outlives_the_operator() {
    let world = world().await;
    act(&world, "operator", "/v1/locks", &on("label-printer")).await;
    assert!(world.reload(|text| text.replace("[operator.operator]", "[operator.renamed]")).await);
    assert_eq!(world.call(&world.printer(), get(PRINTER)).await.status, 401);
    let [lock] = &locks(&world).await[..] else { panic!("one lock") };
    assert_eq!(lock["ends_by"], "unlock-security-lock", "nobody knows what role it was");
    world.finish().await;
}

#[tokio::test]
async fn mon_2_limits_and_traffic_show_where_identities_stand() {
    let world = world().await;
    let token = world.token("limited-caller");
    for _ in 0..4 {
        world.call(&world.nobody(), bearing(get(ORDERS), &token)).await;
    }
    world.call(&world.nobody(), get(ORDERS)).await;
    let path = "/v1/limits?identity=limited-caller";
    let limits = look(&world, "viewer", path).await;
    let windows = limits["items"][0]["windows"].as_array().unwrap();
    let of = |per: u64| windows.iter().find(|window| window["per_secs"] == per).unwrap();
    assert_eq!(
        (&of(60)["most"], &of(60)["left"], &of(60)["unit"]),
        (&json!(3), &json!(0), &json!("requests"))
    );
    assert!(of(60)["wait_secs"].as_u64().unwrap() > 0);
    assert_eq!((&of(86_400)["most"], &of(86_400)["left"]), (&json!(100), &json!(97)));

    // Records are noted after the last byte of an answer.
    let mut rows = Vec::new();
    for _ in 0..200 {
        let traffic = look(&world, "viewer", "/v1/traffic?by=requests").await;
        rows = traffic["rows"].as_array().unwrap().clone();
        if rows.iter().map(|row| row["requests"].as_u64().unwrap()).sum::<u64>() == 5 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let row = |who: Value| {
        rows.iter().find(|row| row.get("identity").cloned().unwrap_or(Value::Null) == who).cloned()
    };
    let limited = row(json!("limited-caller")).unwrap();
    assert_eq!((&limited["requests"], &limited["refused"]), (&json!(4), &json!(1)), "{rows:?}");
    assert!(limited["bytes"].as_u64().unwrap() > 1_000, "{limited}");
    assert_eq!(row(Value::Null).unwrap()["refused"], 1, "somebody who proved nothing");
    let identities = look(&world, "viewer", "/v1/identities?from=3&most=1").await;
    assert_eq!((&identities["total"], &identities["next"]), (&json!(5), &json!(4)));
    let seen = &identities["items"][0];
    assert_eq!((&seen["name"], &seen["roles"]), (&json!("limited-caller"), &json!(["limited"])));
    assert!(seen["last_seen"].is_string());
    assert!(!identities.to_string().contains("platform@"), "an owner is personal data");
    world.finish().await;
}

#[tokio::test]
async fn mon_8_detectors_are_listed_with_mode_and_settings() {
    let world = world().await;
    let detectors = look(&world, "viewer", "/v1/detectors").await;
    let all = detectors["items"].as_array().unwrap();
    assert_eq!(all.len(), 9);
    let canary = all.iter().find(|one| one["name"] == "canary").unwrap();
    assert_eq!((&canary["control"], &canary["mode"]), (&json!("MON-4"), &json!("enforce")));
    let failures = all.iter().find(|one| one["name"] == "failures").unwrap();
    assert!(failures["settings"]["failures.refused_note"].as_f64().unwrap() > 0.0);
    world.finish().await;
}

#[tokio::test]
async fn acc_5_a_network_is_locked_listed_and_released() {
    let world = world().await;
    let on = |network: &str| json!({ "target": { "network": network }, "case": "INC-2041" });
    let release = |network: &Value| json!({ "target": { "network": network }, "reason": "business", "case": "INC-2042" });
    for wide in ["0.0.0.0/0", "::/0", "96.0.0.0/7", "2001::/15"] {
        let tried = act(&world, "operator", "/v1/locks", &on(wide)).await;
        refused(&tried, 400, "network-too-wide");
    }
    for bad in ["office", "127.9.0.0/33", "ipv4/16/0000000000000000", ""] {
        let tried = act(&world, "operator", "/v1/locks", &on(bad)).await;
        refused(&tried, 400, "target-malformed");
    }
    let mut slow = on("127.9.0.0/16");
    slow["step"] = json!("slow");
    refused(&act(&world, "operator", "/v1/locks", &slow).await, 400, "network-only-locked");
    assert!(locks(&world).await.is_empty());

    // A narrow one is listed by its hash, and released by that as well.
    for (network, listed) in [
        ("127.9.0.0/16", "127.9.0.0/16"),
        ("127.9.1.0/29", "ipv4/29/"),
        ("2001:db8::/32", "2001:db8::/32"),
        ("2001:db8:7:8::/64", "ipv6/64/"),
    ] {
        let done = act(&world, "operator", "/v1/locks", &on(network)).await;
        assert_eq!(done.status, 200, "{}", done.text());
        let [lock] = &locks(&world).await[..] else { panic!("one lock") };
        let target = &lock["target"]["network"];
        assert!(target.as_str().unwrap().starts_with(listed), "{target}");
        assert_eq!([&lock["step"], &lock["by"]], ["lock", "operator"]);
        let done = act(&world, "operator", "/v1/unlocks", &release(target)).await;
        assert_eq!(done.status, 200, "{}", done.text());
        assert!(locks(&world).await.is_empty());
    }
    world.finish().await;
}
