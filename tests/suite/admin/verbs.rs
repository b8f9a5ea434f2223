//! The verbs, against a gateway that runs.
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::{plan, world};
use crate::support::{ORDERS, World, bearing, get, until_some};

/// Runs a verb as one of the people.
pub async fn sekisho(world: &World, who: &str, words: &[&str], stdin: &str) -> Output {
    let pki = world.dir.join("pki");
    let mut command = Command::new(env!("CARGO_BIN_EXE_sekisho"));
    command
        .args(words)
        .env("SEKISHO_API", format!("https://localhost:{}", world.gateway.api.unwrap().port()))
        .env("SEKISHO_API_CA", pki.join("ca.pem"))
        .env("SEKISHO_API_CERT", pki.join(format!("operators/{who}.pem")))
        .env("SEKISHO_API_KEY", pki.join(format!("operators/{who}.key")))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let stdin = stdin.to_owned();
    let run = move || {
        let mut child = command.spawn().unwrap();
        // A verb that reads nothing may have ended already.
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        child.wait_with_output().unwrap()
    };
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    world.note_bytes(&output.stdout);
    world.note_bytes(&output.stderr);
    output
}

/// What it printed, after its exit code was checked.
#[track_caller]
pub fn printed(output: &Output, code: i32) -> String {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{out}{err}");
    out + &err
}

#[tokio::test(flavor = "multi_thread")]
async fn priv_3_the_verbs_lock_list_and_release() {
    let world = world().await;
    let lock = ["lock", "identity", "label-printer", "--case", "INC-2041", "--for", "2h"];
    let said = printed(&sekisho(&world, "operator", &lock, "").await, 0);
    assert_eq!(said, "done: lock on identity label-printer, on every gateway\n");
    let listed = printed(&sekisho(&world, "viewer", &["locks"], "").await, 0);
    let fields: Vec<&str> = listed.trim_end().split('\t').collect();
    assert_eq!(fields[..5], ["identity", "label-printer", "lock", "emergency", "operator"]);
    assert_eq!(fields[7..], ["0", "unlock"]);
    let listed = printed(&sekisho(&world, "viewer", &["locks", "--json"], "").await, 0);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed["items"][0]["target"]["identity"], "label-printer");

    let refused = printed(&sekisho(&world, "viewer", &lock, "").await, 1);
    assert!(
        refused.contains("The operator's role does not allow this") && refused.contains("PRIV-3"),
        "{refused}"
    );
    let kill = ["kill", "identity", "analyst", "--case", "INC-1", "--json"];
    let refused = printed(&sekisho(&world, "operator", &kill, "").await, 1);
    let refused: Value = serde_json::from_str(&refused).unwrap();
    assert_eq!(refused["type"], "urn:sekisho:problem:role-too-low");

    let unlock =
        ["unlock", "identity", "label-printer", "--reason", "false-alarm", "--case", "INC-2041"];
    printed(&sekisho(&world, "operator", &unlock, "").await, 0);
    assert_eq!(printed(&sekisho(&world, "viewer", &["locks"], "").await, 0), "");
    assert!(printed(&sekisho(&world, "operator", &unlock, "").await, 1).contains("No lock holds"));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_5_an_orders_id_comes_by_standard_input_only() {
    let world = world().await;
    let id = "902-4395497-0000029";
    let by_word = ["lock", "order", id, "--case", "INC-1"];
    let said = printed(&sekisho(&world, "operator", &by_word, "").await, 1);
    assert!(said.contains("standard input") && !said.contains(id), "{said}");
    let lock = ["lock", "order", "-", "--case", "INC-1"];
    let said = printed(&sekisho(&world, "operator", &lock, &format!("{id}\n")).await, 0);
    let hash = said.split("order-hash ").nth(1).unwrap().split(',').next().unwrap();
    assert!(hash.len() == 16 && !said.contains(id), "{said}");
    let unlock = ["unlock", "order-hash", hash, "--reason", "business", "--case", "INC-1"];
    printed(&sekisho(&world, "operator", &unlock, "").await, 0);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn priv_3_confirm_lists_and_confirms() {
    let world = World::with(plan("\"kill\"")).await;
    let kill = ["kill", "upstream", "warehouse", "--case", "INC-9"];
    let said = printed(&sekisho(&world, "officer", &kill, "").await, 0);
    assert!(said.starts_with("waits for a second person: kill on upstream warehouse\n"), "{said}");
    let listed = printed(&sekisho(&world, "second-officer", &["confirm"], "").await, 0);
    let id = listed.split('\t').next().unwrap();
    assert!(said.contains(id));
    assert_eq!(
        printed(&sekisho(&world, "officer", &["confirm", id], "").await, 1)
            .matches("another person")
            .count(),
        1
    );
    let said = printed(&sekisho(&world, "second-officer", &["confirm", id], "").await, 0);
    assert!(said.starts_with("done: kill on upstream warehouse"), "{said}");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_2_top_limits_identities_detectors_alarms() {
    let world = world().await;
    for _ in 0..3 {
        world.call(&world.nobody(), bearing(get(ORDERS), &world.token("analyst"))).await;
    }
    let mut frame = String::new();
    for _ in 0..50 {
        frame =
            printed(&sekisho(&world, "viewer", &["top", "--once", "--by", "bytes"], "").await, 0);
        if frame.contains("analyst") {
            break;
        }
    }
    let row =
        frame.lines().find(|line| line.starts_with("analyst")).unwrap_or_else(|| panic!("{frame}"));
    let fields: Vec<&str> = row.split_whitespace().collect();
    assert_eq!((fields[1].parse::<u32>().unwrap() >= 1, fields[2]), (true, "0"), "{frame}");
    assert!(frame.contains("IDENTITY") && frame.contains("no lock"), "{frame}");
    let json = printed(&sekisho(&world, "viewer", &["top", "--once", "--json"], "").await, 0);
    assert!(serde_json::from_str::<Value>(&json).unwrap()["rows"].is_array());

    let limits = printed(&sekisho(&world, "viewer", &["limits", "limited-caller"], "").await, 0);
    assert!(limits.contains("requests\t3\t3\t1 min\t-\teach\tenforce"), "{limits}");
    let identities = printed(&sekisho(&world, "viewer", &["identities"], "").await, 0);
    assert_eq!(identities.lines().count(), 5);
    assert!(identities.contains("leaver\tperson\tshipping\t-\tdisabled\t-\t-"), "{identities}");
    assert_eq!(printed(&sekisho(&world, "viewer", &["detectors"], "").await, 0).lines().count(), 9);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn priv_3_words_that_make_no_sense_end_with_2_and_no_gateway_with_1() {
    let world = world().await;
    for words in [
        &["lock", "identity", "--case", "INC-1"][..],
        &["lock", "person", "x", "--case", "INC-1"],
        &["lock", "identity", "label-printer"],
        &["unlock", "identity", "x", "--case", "INC-1"],
        &["confirm", "--withdraw"],
        &["top", "--interval", "0s"],
    ] {
        printed(&sekisho(&world, "officer", words, "").await, 2);
    }
    let nobody = ["locks", "--api", "https://localhost:1"];
    assert!(
        printed(&sekisho(&world, "officer", &nobody, "").await, 1).contains("can't be reached")
    );
    let plain = ["locks", "--api", "http://localhost:1"];
    assert!(printed(&sekisho(&world, "officer", &plain, "").await, 1).contains("no https"));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn priv_3_the_verb_reload_looks_applies_and_waits() {
    let world = world().await;
    let path = world.dir.join("sekisho.toml");
    let good = std::fs::read_to_string(&path).unwrap();
    let (shipping, less) = ("\"orders/getOrderAddress\", ", "");
    std::fs::write(&path, good.replace(shipping, less)).unwrap();
    let looked = printed(&sekisho(&world, "operator", &["reload", "--dry-run"], "").await, 0);
    assert!(
        looked.contains(
            "narrows\tgrant\tPRIV-1\tall 3 of role shipping\tloses orders/getOrderAddress"
        ),
        "{looked}"
    );
    let print = looked.split("--print ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    let refused = printed(&sekisho(&world, "operator", &["reload"], "").await, 2);
    assert!(refused.contains("--case"), "{refused}");
    let apply = ["reload", "--case", "CHG-2041", "--print", &print];
    let said = printed(&sekisho(&world, "operator", &apply, "").await, 0);
    assert!(
        said.contains("done: reload") && said.contains("configuration 2 is in force"),
        "{said}"
    );
    // And back, which is more than an operator may.
    std::fs::write(&path, &good).unwrap();
    printed(&sekisho(&world, "operator", &["reload", "--dry-run"], "").await, 3);
    let back = ["reload", "--case", "CHG-2041"];
    let refused = printed(&sekisho(&world, "operator", &back, "").await, 1);
    assert!(refused.contains("role does not allow this"), "{refused}");
    std::fs::write(&path, good.replace("roles = [\"limited\"]", "roles = [\"limted\"]")).unwrap();
    let refused = printed(&sekisho(&world, "officer", &back, "").await, 1);
    assert!(refused.contains("limted") && refused.contains("write \"limited\""), "{refused}");
    let json = ["reload", "--case", "CHG-2041", "--json"];
    let refused = printed(&sekisho(&world, "officer", &json, "").await, 1);
    let refused: Value = serde_json::from_str(&refused).unwrap();
    assert_eq!(refused["mistakes"].as_array().unwrap().len(), 1);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_7_the_verbs_show_who_is_told_of_alarms() {
    let desk = "[[alarm]]\nname = \"desk\"\nkind = \"syslog\"\npath = \"/nonexistent/log\"\n";
    let mut plan = plan("");
    plan.fill.entry("more").and_modify(|lines| lines.push_str(desk));
    let world = World::with(plan).await;
    let words = ["alarms", "targets"];
    until_some("it was tried", async || {
        let listed = printed(&sekisho(&world, "viewer", &words, "").await, 0);
        if listed.is_empty() {
            // Its place in the queue is written down first.
            return None;
        }
        let fields: Vec<&str> = listed.trim_end().split('\t').collect();
        assert_eq!(fields[..3], ["desk", "syslog", "0"], "{listed}");
        (fields[7] != "-").then_some(())
    })
    .await;
    let listed = printed(&sekisho(&world, "viewer", &["alarms", "targets", "--json"], "").await, 0);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let target = &listed["items"][0];
    assert_eq!((&target["name"], &target["lost"]), (&"desk".into(), &0.into()));
    assert!(target["fault"].is_string() && target["reached"].is_null(), "{target}");
    world.finish().await;
}
