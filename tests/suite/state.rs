//! What gateways share and do not forget: two real gateways, one real Redis.
mod amazon;
mod apart;
mod bursts;
mod crowded;
mod failures;
mod forged;
mod limits;
mod networks;
mod owed;
mod released;
mod renewed;
mod slow;
mod trials;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use sekisho::base::{Clock, Name};
use sekisho::engine::{LockOrder, Target};
use sekisho::lockout::Step;
use sekisho::mock::{Reply, Scenario};
use sekisho::store::Reach;
use serde_json::Value;
use tokio::time::Instant;

use crate::logs::{SOON, eventually};
use crate::store::redis::Server;
use crate::support::{ORDERS, Plan, World, bearing, error_of, get, until_some};

const ORDER: &str = "/orders/v0/orders/902-1845936-5435065";
const ROLES: &str = r#"
[role.fast]
purpose = "be limited by the hour"
allow = ["orders/getOrders"]
limits = [{ operations = ["*"], requests = ["60/h"] }]
[role.slow]
purpose = "be limited by the day"
allow = ["orders/getOrders"]
limits = [{ operations = ["*"], requests = ["12/day"] }]
[role.twice]
purpose = "be limited by the day in two ways"
allow = ["orders/*"]
limits = [
  { operations = ["*"], requests = ["3/day"] },
  { operations = ["orders/getOrders"], requests = ["1/day"] },
]
[role.brisk]
purpose = "be limited by the second"
allow = ["orders/getOrders"]
limits = [{ operations = ["*"], requests = ["120/min"] }]
[role.bulk]
purpose = "be limited by volume"
allow = ["orders/getOrders"]
limits = [{ operations = ["*"], bytes = ["4 kB/h"] }]
[role.single]
purpose = "be limited to one a day"
allow = ["orders/getOrders"]
limits = [{ operations = ["*"], requests = ["1/day"] }]
[role.pair]
purpose = "be limited by the day twice"
allow = ["orders/getOrders"]
limits = [
  { operations = ["*"], requests = ["15/day"] },
  { operations = ["orders/*"], requests = ["12/day"], per = "role" },
]
[limit.everybody]
operations = ["*"]
requests = ["20000/h"]
"#;

fn identities() -> String {
    let one = |role: &str| {
        format!(
            "[identity.{role}]\nkind = \"service\"\nowner = \"platform@example.com\"\n\
             token = {{ issuer = \"corp\", subject = \"{role}\" }}\nnetworks = [\"loopback\"]\n\
             roles = [\"{role}\"]\n"
        )
    };
    [
        ROLES.to_owned(),
        ["fast", "slow", "twice", "brisk", "bulk", "single", "pair"].map(one).concat(),
    ]
    .concat()
}

fn put(dir: &Path, name: &str, content: &[u8]) -> String {
    let path = dir.join(name);
    std::fs::write(&path, content).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path.display().to_string()
}

/// What a gateway's configuration says of the server, for which it waits as long as it may.
pub(crate) fn shared(server: &Server, number: u16) -> String {
    let password = put(server.dir(), "password", b"correct-horse\n");
    let secret = put(server.dir(), "secret", &[7; 32]);
    let ca = server.dir().join("ca.pem");
    format!(
        "[state]\ngateway = {number}\n[state.redis]\naddress = \"127.0.0.1:{}\"\nca = \"{}\"\n\
         user = \"gateway\"\npassword = \"{password}\"\nsecret = \"{secret}\"\npoll = \"200 ms\"\n\
         time_out = \"5 s\"\n",
        server.port,
        ca.display(),
    )
}

/// The same of a server that is to be missed soon.
pub(crate) fn quick(server: &Server, number: u16) -> String {
    shared(server, number).replace("time_out = \"5 s\"", "time_out = \"500 ms\"")
}

async fn gateway(server: &Server, number: u16) -> World {
    gateway_of(&shared(server, number), &identities()).await
}

async fn gateway_of(shared: &str, identities: &str) -> World {
    let plan = Plan::default().fill("identities", identities);
    let world = World::with(plan.fill("more", shared)).await;
    world.amazon.set(Scenario::Echo);
    world
}

/// Two gateways that know of each other.
async fn two(server: &Server) -> [World; 2] {
    two_of(server, str::to_owned).await
}

/// The same, whose limits are others.
async fn two_of(server: &Server, edit: impl Fn(&str) -> String) -> [World; 2] {
    two_with([1, 2].map(|number| shared(server, number)), &edit(&identities())).await
}

async fn two_with([one, other]: [String; 2], identities: &str) -> [World; 2] {
    let both = [gateway_of(&one, identities).await, gateway_of(&other, identities).await];
    for world in &both {
        eventually("both share", || {
            let shares = value(world, "sekisho_state_sound") && two_share(world);
            shares.then_some(())
        })
        .await;
    }
    both
}

fn value(world: &World, gauge: &str) -> bool {
    world.metric(gauge) > 0.5
}

fn two_share(world: &World) -> bool {
    world.metric("sekisho_state_gateways") > 1.5
}

async fn ask(world: &World, who: &str) -> Reply {
    ask_for(world, who, ORDERS).await
}

async fn ask_for(world: &World, who: &str, target: &str) -> Reply {
    world.call(&world.nobody(), bearing(get(target), &world.token(who))).await
}

/// Whether it passed; what did not was beyond the quota.
async fn passes(world: &World, who: &str) -> bool {
    passes_for(world, who, ORDERS).await
}

async fn passes_for(world: &World, who: &str, target: &str) -> bool {
    let reply = ask_for(world, who, target).await;
    if reply.status == 200 {
        return true;
    }
    assert_eq!(reply.status, 429, "{}", reply.text());
    assert_eq!(error_of(&reply).0, "Sekisho.QuotaExceeded");
    false
}

/// Asks both in turn until neither lets anything through; how many passed.
async fn spend_all(both: &[World; 2], who: &str) -> u32 {
    let mut passed = 0;
    loop {
        let mut any = false;
        for world in both {
            if passes(world, who).await {
                passed += 1;
                any = true;
            }
        }
        if !any {
            return passed;
        }
    }
}

async fn finish(both: [World; 2]) {
    for world in both {
        Box::pin(world.finish()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_2_a_limit_of_two_gateways_is_one_limit() {
    let server = Server::start().await;
    let both = two(&server).await;
    // One at a time, so to the unit, and nobody is refused before that.
    for turn in 0..12 {
        assert!(passes(&both[turn % 2], "slow").await, "request {turn} of 12");
    }
    assert_eq!(spend_all(&both, "slow").await, 0);
    let reply = ask(&both[0], "slow").await;
    assert!(reply.header("retry-after").is_some_and(|wait| wait != "0"), "it is told when");
    // In batches: what one holds back is lost after a while, and nothing is spent twice.
    let passed = spend_all(&both, "fast").await;
    assert!((50..=61).contains(&passed), "{passed} of 60");
    // Everything on one of them is as much as on both. Two a second come back.
    let (began, mut alone) = (Instant::now(), 0);
    while alone < 5_000 && passes(&both[0], "brisk").await {
        alone += 1;
    }
    let most = 150 + 2 * began.elapsed().as_secs();
    assert!((100..=most).contains(&alone), "{alone} of 120 and what came back, {most} at most");
    for world in &both {
        assert!(world.metric("sekisho_quota_asks_total{result=\"given\"}") > 0.5);
        assert!(world.metric("sekisho_quota_asks_total{result=\"dry\"}") > 0.5);
    }
    Box::pin(finish(both)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_2_a_unit_that_a_refused_request_did_not_need_is_there_for_the_other_gateway() {
    let server = Server::start().await;
    let both = two(&server).await;
    assert!(passes(&both[0], "twice").await);
    // Refused by the one a day; what was asked for of the three a day goes back.
    for turn in 0..8 {
        assert!(!passes(&both[turn % 2], "twice").await);
    }
    for turn in 1..3 {
        until_some("a unit is back", async || {
            passes_for(&both[turn % 2], "twice", ORDER).await.then_some(())
        })
        .await;
    }
    for world in &both {
        assert!(!passes_for(world, "twice", ORDER).await);
    }
    Box::pin(finish(both)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_3_what_one_gateway_sent_counts_on_the_other() {
    let server = Server::start().await;
    let both = two(&server).await;
    let mut passed = 0;
    while passed < 100 && passes(&both[0], "bulk").await {
        passed += 1;
    }
    assert!((1..100).contains(&passed), "{passed}");
    // The other one learns it from the server, at its next request at the latest.
    eventually_refused(&both[1], "bulk").await;
    Box::pin(finish(both)).await;
}

async fn eventually_refused(world: &World, who: &str) {
    until_some("it is refused", async || (ask(world, who).await.status != 200).then_some(())).await;
}

/// Told from a quota that was used up by asking.
async fn eventually_locked(world: &World, who: &str) {
    until_some("it is locked", async || (ask(world, who).await.status == 401).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_2_a_lock_holds_on_the_other_gateway_within_a_second() {
    let server = Server::start().await;
    let both = two(&server).await;
    let mut quickest = Duration::MAX;
    // A busy machine may be slow, but not all the time.
    for who in ["slow", "brisk", "bulk", "twice"] {
        assert!(passes(&both[1], who).await);
        let began = Instant::now();
        let reach = both[0].gateway.engine.lock(&order(who)).await.unwrap();
        assert_eq!(reach, Reach::Everywhere);
        while ask(&both[1], who).await.status != 401 {
            assert!(began.elapsed() < SOON, "{who}");
        }
        quickest = quickest.min(began.elapsed());
        assert_eq!(ask(&both[0], who).await.status, 401);
        if quickest < Duration::from_secs(1) {
            break;
        }
    }
    assert!(quickest < Duration::from_secs(1), "{quickest:?}");
    assert!(passes(&both[1], "fast").await, "others go on");
    Box::pin(finish(both)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_2_a_lock_holds_on_a_gateway_whose_clock_is_ahead_of_its_end() {
    let server = Server::start().await;
    let plan = |number| {
        let plan = Plan::default().fill("identities", &identities());
        plan.fill("more", &shared(&server, number)).by_hand()
    };
    let both = [World::with(plan(1)).await, World::with(plan(2)).await];
    for world in &both {
        world.amazon.set(Scenario::Echo);
        eventually("both share", || two_share(world).then_some(())).await;
    }
    let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
    both[1].advance(minutes(31));
    let lock = LockOrder { lasts: Some(minutes(30)), ..order("brisk") };
    assert_eq!(both[0].gateway.engine.lock(&lock).await.unwrap(), Reach::Everywhere);
    // Not by asking: by hand nothing of a quota comes back.
    eventually("it is known there", || both[1].gateway.engine.list_locks().pop()).await;
    assert_eq!(ask(&both[1], "brisk").await.status, 401);
    both[1].advance(minutes(29));
    assert_eq!(ask(&both[1], "brisk").await.status, 401);
    both[1].advance(minutes(2));
    until_some("it is over", async || (ask(&both[1], "brisk").await.status == 200).then_some(()))
        .await;
    Box::pin(finish(both)).await;
}

fn order(who: &str) -> LockOrder {
    LockOrder {
        target: Target::Identity(Name::parse(who).unwrap()),
        step: Step::Lock,
        lasts: None,
        by: Name::parse("officer").unwrap(),
        case: Name::parse("case-1").unwrap(),
    }
}

fn told(world: &World, action: &str) -> Vec<Value> {
    world.gateway.flush_log();
    world.events(action)
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_2_without_redis_locks_hold_and_quotas_are_a_share_and_it_heals() {
    let mut server = Server::start().await;
    let both = two(&server).await;
    both[0].gateway.engine.lock(&order("slow")).await.unwrap();
    eventually_locked(&both[1], "slow").await;
    assert!(passes(&both[0], "brisk").await);

    let cut = Clock::system();
    server.kill();
    for world in &both {
        eventually("the outage is told", || told(world, "store-faulty").pop()).await;
        assert!(!value(world, "sekisho_state_sound"));
        assert!(world.metric("sekisho_state_faults_total{reason=\"unreachable\"}") > 0.5);
        assert_eq!(ask(world, "slow").await.status, 401, "a known lock holds");
    }
    // The part of each is one a second, from an empty start.
    let mut passed = [0_u64; 2];
    while passed.iter().any(|passed| *passed < 2) {
        for (world, passed) in both.iter().zip(&mut passed) {
            *passed += u64::from(passes(world, "brisk").await);
        }
        let seconds = cut.now().mono_ns() / 1_000_000_000;
        assert!(seconds < 20, "{passed:?} in {seconds} s");
    }
    let seconds = cut.now().mono_ns() / 1_000_000_000 + 2;
    // A few units of before may have been left.
    let most = seconds + 4;
    assert!(passed.iter().all(|passed| *passed <= most), "{passed:?} in {seconds} s");

    // It comes back and has forgotten everything.
    server.restart().await;
    for world in &both {
        eventually("the healing is told", || told(world, "store-healed").pop()).await;
        assert_eq!(ask(world, "slow").await.status, 401, "the server never knew, and it holds");
    }
    // Nothing was refilled: what was forgotten is taken for spent.
    assert!(!passes(&both[0], "fast").await);
    for world in &both {
        let mut tries = 0;
        while !passes(world, "brisk").await {
            tries += 1;
            assert!(tries < 2_000, "it does not come back");
            tokio::task::yield_now().await;
        }
    }
    Box::pin(finish(both)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_2_a_redis_that_hangs_holds_no_request_up_for_long() {
    let server = Server::start().await;
    let both = two_with([1, 2].map(|number| quick(&server, number)), &identities()).await;
    // A busy machine may be too slow for such a time-out, but not all the time.
    until_some("it passes", async || passes(&both[0], "fast").await.then_some(())).await;
    server.signal(Signal::STOP);
    let mut took = Vec::new();
    for _ in 0..5 {
        let before = Instant::now();
        // Within the time-out of 500 ms, whatever the outcome.
        passes(&both[0], "slow").await;
        took.push(before.elapsed());
    }
    // A busy machine may be slow, but not all the time.
    took.sort_unstable();
    assert!(took[3] < Duration::from_secs(3) && took[4] < Duration::from_secs(10), "{took:?}");
    eventually("the outage is told", || told(&both[0], "store-faulty").pop()).await;
    server.signal(Signal::CONT);
    eventually("the healing is told", || told(&both[0], "store-healed").pop()).await;
    Box::pin(finish(both)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_2_a_gateway_starts_without_redis_spends_nothing_and_finds_it_later() {
    let mut server = Server::start().await;
    server.kill();
    let world = gateway(&server, 1).await;
    eventually("the outage is told", || told(&world, "store-faulty").pop()).await;
    // Nobody knows how many share, which is not the caller's doing.
    let reply = ask(&world, "fast").await;
    assert_eq!(
        (reply.status.as_u16(), error_of(&reply).0),
        (429, "Sekisho.QuotaUnknown".to_owned())
    );
    assert!(reply.header("retry-after").is_some());
    let reach = world.gateway.engine.lock(&order("slow")).await.unwrap();
    assert_eq!(reach, Reach::HereOnly);
    assert_ne!(ask(&world, "slow").await.status, 200);
    server.restart().await;
    eventually("the healing is told", || told(&world, "store-healed").pop()).await;
    assert!(passes(&world, "fast").await, "a server that is new has given nothing away");
    // Whoever comes later learns of the lock, and its start is no outage, unless the machine stands still.
    let mut outages = Vec::new();
    for number in 2..5 {
        let late = gateway(&server, number).await;
        eventually_locked(&late, "slow").await;
        outages.push(told(&late, "store-faulty").len());
        Box::pin(late.finish()).await;
        if outages.ends_with(&[0]) {
            break;
        }
    }
    assert!(outages.ends_with(&[0]), "{outages:?}");
    Box::pin(world.finish()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_2_state_is_changed_by_a_restart_only() {
    let world = World::start().await;
    let reloaded = world.reload(|text| format!("{text}\n[state]\ngateway = 2\n")).await;
    assert!(!reloaded);
    assert!(world.reload(|text| text.replace("gateway = 2", "gateway = 1")).await);
    world.finish().await;
}
