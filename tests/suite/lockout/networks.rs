//! Networks that are locked: by what is open from there, by what comes from there, and by what does not.
use std::net::IpAddr;

use sekisho::engine::Target;
use sekisho::lockout::{Step, Subject};
use sekisho::mock::{Alpn, BodyEnd, Call, Caller, Scenario};

use super::{lock, unlock};
use crate::front_door::{balanced, through, v2};
use crate::support::{ORDERS, World, get, until};

const REFUSED: &str =
    "sekisho_connections_refused_total{listener=\"apps\",reason=\"network_locked\"}";

fn network(text: &str) -> Target {
    Target::Network(text.parse().unwrap())
}

fn printer(world: &World, from: &str, alpn: Alpn) -> Caller {
    let from: IpAddr = from.parse().unwrap();
    world.caller(|config| {
        config.source = Some(from);
        config.alpn = alpn;
        config.identity = world.pki.client("label-printer").cloned();
    })
}

async fn is_shut_out(world: &World, caller: &Caller) -> bool {
    caller.stream(world.address()).await.is_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_5_what_is_open_from_a_locked_network_is_cut_and_nobody_comes_from_there() {
    for (alpn, step) in [(Alpn::H1, Step::Lock), (Alpn::H2, Step::Kill)] {
        let world = World::start().await;
        let there = printer(&world, "127.1.2.3", alpn);
        let idle = there.connect(world.address()).await.unwrap();
        let elsewhere = world.printer().connect(world.address()).await.unwrap();
        for session in [&idle, &elsewhere] {
            assert_eq!(session.call(get(ORDERS)).await.unwrap().status, 200);
        }
        world.warehouse.script(&[Scenario::SlowBody { bytes: 1, tick_ms: 300 }]);
        let busy = printer(&world, "127.1.255.1", alpn).connect(world.address()).await.unwrap();
        let under_way = async { busy.call(Call::get("/stock/A")).await };
        let locking = async {
            until("the upstream answers", || world.warehouse.total() > 0).await;
            lock(&world, network("127.1.0.0/16"), step).await;
        };
        let (answer, ()) = tokio::join!(under_way, locking);
        let cut = answer.map_or(true, |reply| reply.end != BodyEnd::Complete);
        assert!(cut, "{alpn:?}: the answer went on to its end");
        until("two are cut", || world.gateway.engine.open_connections() == 1).await;
        assert!(idle.call(get(ORDERS)).await.is_err());
        assert_eq!(elsewhere.call(get(ORDERS)).await.unwrap().status, 200);
        until("it is told", || !world.events("connections-cut").is_empty()).await;
        let cuts = world.events("connections-cut");
        assert_eq!(cuts[0]["sekisho.cause"], "lock", "{cuts:?}");

        // Before TLS, and after a restart too.
        assert!(is_shut_out(&world, &there).await);
        assert!((world.metric(REFUSED) - 1.0).abs() < 0.5);
        let world = Box::pin(world.restart()).await;
        assert!(is_shut_out(&world, &there).await);
        assert_eq!(world.call(&world.printer(), get(ORDERS)).await.status, 200);
        let held = world.gateway.engine.list_locks();
        let Subject::Network(range) = &held[0].subject else { panic!("{held:?}") };
        assert_eq!((range.to_string().as_str(), held[0].attempts), ("127.1.0.0/16", 2));
        unlock(&world, Target::Listed(held[0].subject.clone())).await;
        assert_eq!(world.call(&there, get(ORDERS)).await.status, 200);
        Box::pin(world.finish()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_5_behind_a_balancer_the_client_s_network_is_the_one_that_counts() {
    let world = World::with(balanced("[\"customers\"]")).await;
    let from = |addr: &str| through(&world, &v2(1, addr.parse().unwrap()));
    let (mapped, other, six) =
        (from("::ffff:203.0.113.7"), from("203.0.113.200"), from("2001:db8:5::1"));
    let open = mapped.connect(world.address()).await.unwrap();
    assert_eq!(open.call(get(ORDERS)).await.unwrap().status, 200);
    // The balancer's own, which stops nobody; half of the customers'.
    lock(&world, network("127.0.0.0/24"), Step::Lock).await;
    assert_eq!(open.call(get(ORDERS)).await.unwrap().status, 200);
    lock(&world, network("203.0.113.0/25"), Step::Lock).await;
    until("it is cut", || world.gateway.engine.open_connections() == 0).await;
    assert!(open.call(get(ORDERS)).await.is_err());
    assert!(is_shut_out(&world, &mapped).await);
    for caller in [&other, &six] {
        assert_eq!(world.call(caller, get(ORDERS)).await.status, 200);
    }
    lock(&world, network("2001:db8::/32"), Step::Lock).await;
    assert!(is_shut_out(&world, &six).await);
    assert_eq!(world.call(&other, get(ORDERS)).await.status, 200);
    world.finish().await;
}
