//! An operator's connection ends before there is an answer: what was asked for is done to its end all the
//! same, and told.
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use http::Method;
use rustix::process::Signal;
use sekisho::mock::Call;
use serde_json::{Value, json};

use super::{act, person, plan, with_body, world};
use crate::state::shared;
use crate::store::redis::Server;
use crate::support::{World, until, until_some};

/// How long an act waits for a server that says nothing.
const TIME_OUT: Duration = Duration::from_secs(5);

/// Asks for something, and hangs up as soon as it is begun.
async fn hang_up(world: &World, who: &str, call: Call, begun: impl FnMut() -> bool) {
    let session = person(world, who).connect(world.gateway.api.unwrap()).await.unwrap();
    let asking = tokio::spawn(async move { session.call(call).await });
    until("it is begun", begun).await;
    assert!(!asking.is_finished(), "there is an answer already");
    asking.abort();
    let open = "sekisho_connections{listener=\"admin.api\"}";
    until("the connection is gone", || world.metric(open) < 0.5).await;
}

/// What was done, once so much was.
async fn done(world: &World, act: &str, count: usize) -> Vec<Value> {
    until_some("it is told", async || {
        let mut told = world.events("operator-act");
        told.retain(|line| line["sekisho.act"] == act && line["sekisho.outcome"] == "done");
        (told.len() == count).then_some(told)
    })
    .await
}

/// A gateway that writes its locks down at a server as well.
async fn sharing(server: &Server, two_people: &str) -> World {
    let mut plan = plan(two_people);
    plan.fill.get_mut("more").unwrap().push_str(&shared(server, 1));
    let world = World::with(plan).await;
    until("it has the server", || world.metric("sekisho_state_sound") > 0.5).await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_5_everything_is_stopped_and_told_although_nobody_waits_for_it() {
    let server = Server::start().await;
    let world = sharing(&server, "\"kill\"").await;
    let all = json!({ "target": "everything", "case": "INC-7" });
    let asked = act(&world, "officer", "/v1/kills", &all).await.json();
    let id = asked["pending"]["id"].as_str().unwrap();
    let confirm = Call::new(Method::POST, &format!("/v1/pending/{id}/confirm"));
    let locks = || world.gateway.engine.list_locks();
    server.signal(Signal::STOP);
    hang_up(&world, "second-officer", confirm, || !locks().is_empty()).await;
    until("all is closed", || locks().len() == 2).await;
    server.signal(Signal::CONT);
    let since: Vec<_> = locks().iter().map(|lock| lock.since_ms).collect();
    let apart = Duration::from_millis(since[0].abs_diff(since[1]));
    assert!(apart < TIME_OUT / 2, "the last waits until the first is written down: {apart:?}");
    let done = done(&world, "kill", 2).await;
    for (line, upstream) in done.iter().zip(["amazon", "warehouse"]) {
        assert_eq!(
            [&line["sekisho.actor"], &line["sekisho.asked_by"], &line["sekisho.upstream"]],
            ["second-officer", "officer", upstream],
            "{line}"
        );
    }
    Box::pin(world.finish()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn log_1_a_lock_is_told_although_nobody_waits_for_it() {
    let server = Server::start().await;
    let world = sharing(&server, "").await;
    let lock = json!({ "target": { "identity": "analyst" }, "case": "INC-2041" });
    let call = with_body("/v1/locks", &lock);
    server.signal(Signal::STOP);
    hang_up(&world, "operator", call, || !world.gateway.engine.list_locks().is_empty()).await;
    server.signal(Signal::CONT);
    let done = done(&world, "lock", 1).await;
    assert_eq!(
        [&done[0]["sekisho.actor"], &done[0]["user.name"], &done[0]["sekisho.case"]],
        ["operator", "analyst", "INC-2041"]
    );
    Box::pin(world.finish()).await;
}

/// Gives the listener's key, when it may.
const GIVES: &str = "#!/bin/sh\ntouch {here}/asked\n\
    while [ ! -e {here}/may ]; do sleep 0.02; done\ncat {here}/pki/server.key\n";

#[tokio::test(flavor = "multi_thread")]
async fn log_1_a_reload_is_told_although_nobody_waits_for_it() {
    let world = world().await;
    let here = world.dir.to_str().unwrap();
    let gives = world.dir.join("gives");
    std::fs::write(&gives, GIVES.replace("{here}", here)).unwrap();
    std::fs::set_permissions(&gives, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = world.dir.join("sekisho.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let (from, to) = ("key = \"pki/server.key\" }]", "key = { command = [\"{here}/gives\"] } }]");
    assert!(text.contains(from));
    std::fs::write(&path, text.replace(from, &to.replace("{here}", here))).unwrap();
    let call = with_body("/v1/reload", &json!({ "case": "CHG-2041" }));
    hang_up(&world, "officer", call, || world.dir.join("asked").exists()).await;
    std::fs::write(world.dir.join("may"), "").unwrap();
    let act = until_some("it is told", async || world.events("operator-act").pop()).await;
    assert_eq!(
        [&act["sekisho.actor"], &act["sekisho.outcome"], &act["sekisho.case"]],
        ["officer", "done", "CHG-2041"]
    );
    assert_eq!(world.gateway.engine.live().snapshot.generation, 2);
    world.finish().await;
}
