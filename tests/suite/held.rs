//! What holds somebody who is held, and whom it must not hold.
use std::time::Duration;

use sekisho::engine::Target;
use sekisho::lockout::{Cause, Step, Subject};
use sekisho::mock::{Caller, Reply, Scenario};
use tokio::task::JoinSet;

use crate::lockout::{forged, guess, lock, name};
use crate::support::{ORDERS, Plan, World, bearing, error_of, get, until};

const PLANTED: &str = "902-4395497-0000029";

/// Enters with a certificate and a token, and with nothing less.
const IMPORTER: &str = r#"
[identity.importer]
kind = "service"
owner = "platform@example.com"
certificate = { san_uri = "spiffe://sekisho.test/order-importer" }
token = { issuer = "corp", subject = "importer" }
networks = ["loopback"]
roles = ["analysis"]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn acc_2_guesses_without_the_key_lock_nobody_who_needs_one() {
    let world = World::with(Plan::default().fill("identities", IMPORTER).by_hand()).await;
    let importer =
        world.caller(|config| config.identity = world.pki.client("order-importer").cloned());
    let ask = async || {
        world.call(&importer, bearing(get(ORDERS), &world.token("importer"))).await.status.as_u16()
    };
    assert_eq!(ask().await, 200);
    // From the same address, by whoever knows what is no secret.
    guess(&world, &world.nobody(), "importer", 12).await;
    assert_eq!(ask().await, 200);
    assert!(world.gateway.engine.list_locks().is_empty());
    // With the key it is no guess of a stranger's.
    guess(&world, &importer, "importer", 10).await;
    assert_eq!(ask().await, 401);
    let held = world.gateway.engine.list_locks();
    assert_eq!((held[0].step, held[0].cause), (Step::Lock, Cause::LoginFailures));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_2_whoever_is_slowed_down_gains_nothing_by_asking_at_once() {
    let world = World::start().await;
    lock(&world, Target::Identity(name("label-printer")), Step::Slow).await;
    let (printer, clock) = (world.printer(), &world.gateway.engine.clock);
    let began = clock.now();
    let ask = || world.call(&printer, get(ORDERS));
    let (first, second, third) = tokio::join!(ask(), ask(), ask());
    assert!([first, second, third].iter().all(|reply| reply.status == 200));
    let took = clock.now().since(began);
    assert!(took >= Duration::from_secs(3), "{took:?}");
    world.finish().await;
}

/// A quota counts a call when it goes on, not when it began to wait for its turn.
#[tokio::test(flavor = "multi_thread")]
async fn mon_2_whoever_is_slowed_down_is_charged_when_it_is_its_turn() {
    let world = World::start().await;
    let limited = |text: String| {
        let purpose = "purpose = \"print labels\"\n";
        let limits = "limits = [{ operations = [\"orders/*\"], requests = [\"2/s\"] }]\n";
        text.replacen(purpose, &format!("{purpose}{limits}"), 1)
    };
    assert!(world.reload(limited).await);
    lock(&world, Target::Identity(name("label-printer")), Step::Slow).await;
    let printer = world.printer();
    let ask = async || world.call(&printer, get(ORDERS)).await.status.as_u16();
    let mut told = [0; 3];
    // A gateway that is held up for two turns charges three calls together, once. One that charged them as
    // they come would refuse the third of each try.
    for _try in 0..3 {
        told = tokio::join!(ask(), ask(), ask()).into();
        if told == [200; 3] {
            break;
        }
    }
    assert_eq!(told, [200; 3]);
    world.finish().await;
}

/// Time stands still, so every call that comes has to wait for those before it.
#[tokio::test(flavor = "multi_thread")]
async fn acc_2_only_so_many_calls_of_somebody_who_is_slowed_down_wait() {
    let world = World::with(Plan::default().by_hand()).await;
    lock(&world, Target::Identity(name("label-printer")), Step::Slow).await;
    let mut calls = JoinSet::new();
    for _ in 0..21 {
        let (printer, to) = (world.printer(), world.address());
        calls.spawn(async move { printer.call(to, get(ORDERS)).await.unwrap() });
    }
    let refused = loop {
        let reply = calls.join_next().await.expect("one is too many").unwrap();
        if reply.status != 200 {
            break reply;
        }
    };
    world.note(&refused);
    assert_eq!(
        (refused.status.as_u16(), error_of(&refused).0),
        (429, "Sekisho.SlowedDown".to_owned())
    );
    assert_eq!(refused.header("retry-after"), Some("2"));
    let line = world.line_of(&refused);
    assert_eq!(
        (&line["sekisho.denial"], &line["sekisho.control"]),
        (&"SlowedDown".into(), &"ACC-2".into())
    );
    calls.shutdown().await;
    world.finish().await;
}

async fn planted() -> World {
    let plan = Plan::default()
        .file("canaries.txt", PLANTED)
        .fill("more", "[detect.canary]\nfile = \"canaries.txt\"\n");
    let world = World::with(plan).await;
    world.amazon.set(Scenario::Echo);
    world
}

async fn is_locked(world: &World, who: &str) {
    let held = || world.gateway.engine.list_locks();
    let canary = |cause| cause == Cause::Canary;
    until("the lock holds", || held().iter().any(|lock| canary(lock.cause))).await;
    let lock = held().into_iter().find(|lock| canary(lock.cause)).unwrap();
    assert_eq!((lock.subject, lock.step), (Subject::Identity(name(who)), Step::Lock));
}

/// A stolen credential tries what it finds: what it is refused tells of it as well.
#[tokio::test(flavor = "multi_thread")]
async fn mon_4_a_planted_id_is_seen_in_a_call_that_is_refused() {
    let address = format!("/orders/v0/orders/{PLANTED}/address");
    let query = format!("{ORDERS}&BuyerEmail=x&AmazonOrderIds=902-1-1%2C{PLANTED}");
    for (target, status, denial) in [
        (address.clone(), 403, "OperationNotGranted"),
        (query, 403, "QueryNotGranted"),
        (format!("/nowhere/{PLANTED}"), 404, "OperationUnknown"),
    ] {
        let world = planted().await;
        let ask = async |caller: &Caller, target: &str| -> Reply {
            world.call(caller, bearing(get(target), &world.token("analyst"))).await
        };
        let reply = ask(&world.nobody(), &target).await;
        assert_eq!(reply.status, status, "{}", reply.text());
        assert_eq!(world.line_of(&reply)["sekisho.denial"], denial);
        is_locked(&world, "analyst").await;
        assert_eq!(world.events("noticed")[0]["sekisho.detector"], "canary");
        assert_eq!(ask(&world.nobody(), ORDERS).await.status, 401);
        world.finish().await;
    }

    // Also where it is closed to everybody.
    let world = planted().await;
    lock(&world, Target::Operation(name("orders/getOrderAddress")), Step::Lock).await;
    let reply = world.call(&world.printer(), get(&address)).await;
    assert_eq!(error_of(&reply).0, "Sekisho.Closed");
    is_locked(&world, "label-printer").await;
    world.finish().await;

    // Who proves nothing says nothing of anybody.
    let world = planted().await;
    world.call(&world.nobody(), get(&address)).await;
    let reply =
        world.call(&world.nobody(), bearing(get(&address), &forged(&world, "analyst"))).await;
    assert_eq!(reply.status, 401);
    world.line_of(&reply);
    assert!(world.gateway.engine.list_locks().is_empty() && world.events("noticed").is_empty());
    world.finish().await;
}
