//! A call of which nothing went upstream takes nothing from its caller's quotas, whatever refused it.
use sekisho::base::Name;
use sekisho::engine::{LockOrder, Target, Unlock};
use sekisho::lockout::{ReleaseReason, Step};
use sekisho::mock::{Rate, Reply, Throttling};

use crate::support::{ORDERS, Plan, World, bearing, error_of, get, until};
use crate::upstream::{lead_to, nobody_s};

const METERED: &str = r#"
[role.metered]
purpose = "be limited"
allow = ["warehouse/getStock", "orders/getOrders"]
limits = [
  { operations = ["*"], requests = ["4/day"] },
  { operations = ["warehouse/*"], bytes = ["20 kB/day"] },
]
[identity.metered]
kind = "service"
owner = "platform@example.com"
token = { issuer = "corp", subject = "metered" }
networks = ["loopback"]
roles = ["metered"]
"#;

async fn ask(world: &World, path: &str) -> Reply {
    world.call(&world.nobody(), bearing(get(path), &world.token("metered"))).await
}

/// Before the breaker is open and after, and where no name leads to an address.
#[tokio::test(flavor = "multi_thread")]
async fn mon_2_an_outage_of_an_upstream_uses_no_quota_up() {
    let world = World::with(Plan::default().fill("identities", METERED)).await;
    let (_kept, dead) = nobody_s();
    lead_to(&world, dead, "").await;
    for _ in 0..100 {
        let reply = ask(&world, "/stock/A").await;
        assert_eq!(error_of(&reply).0, "Sekisho.UpstreamFailed");
    }
    lead_to(&world, world.warehouse.address(), "").await;
    for _ in 0..4 {
        let reply = ask(&world, "/stock/A").await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    assert_eq!(error_of(&ask(&world, "/stock/A").await).0, "Sekisho.QuotaExceeded");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_2_a_lock_that_strikes_a_call_that_waits_charges_nothing() {
    let plan = Plan::default()
        .fill("identities", METERED)
        .replace(
            "pacing = { plans = [{ operations = [\"*\"], rate = \"10000/s\", burst = 10000 }] }",
            "pacing = { wait = \"5 min\", max_wait = \"10 min\", \
             plans = [{ operations = [\"*\"], rate = \"30/min\", burst = 1 }] }",
        )
        .replace("stage = \"sandbox\"\n", "")
        .throttling(Throttling::Every(Rate { per_second: 0.5, burst: 1 }))
        .by_hand();
    let world = World::with(plan).await;
    let name = |text| Name::parse(text).unwrap();
    let target = || Target::Identity(name("metered"));
    assert_eq!(ask(&world, ORDERS).await.status, 200);
    for _ in 0..5 {
        let (caller, to) = (world.nobody(), world.address());
        let call = bearing(get(ORDERS), &world.token("metered"));
        let waiting = tokio::spawn(async move { caller.call(to, call).await.unwrap() });
        until("it waits", || world.metric("sekisho_pacing_waiting") > 0.9).await;
        let (step, by, case) = (Step::Lock, name("officer"), name("CASE-1"));
        let lock = LockOrder { target: target(), step, lasts: None, by, case };
        world.gateway.engine.lock(&lock).await.unwrap();
        let reply = waiting.await.unwrap();
        world.note(&reply);
        assert_eq!(world.line_of(&reply)["sekisho.denial"], "Locked");
        let (reason, by, case) = (ReleaseReason::FalseAlarm, name("officer"), name("CASE-1"));
        let unlock = Unlock { target: target(), by, reason, case };
        world.gateway.engine.unlock(&unlock).await.unwrap();
    }
    for _ in 0..3 {
        assert_eq!(ask(&world, "/stock/A").await.status, 200);
    }
    assert_eq!(error_of(&ask(&world, "/stock/A").await).0, "Sekisho.QuotaExceeded");
    world.finish().await;
}
