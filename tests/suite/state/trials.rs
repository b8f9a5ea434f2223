//! Limits on trial among several gateways.
use std::time::Duration;

use rustix::process::Signal;
use sekisho::base::Clock;

use super::{eventually, finish, quick, two_share, value};
use crate::store::redis::Server;
use crate::support::{ORDERS, Plan, World, bearing, get};

const TRIED: &str = r#"
[role.tried]
purpose = "try limits out"
allow = ["orders/getOrders"]
limits = [
    { operations = ["*"], requests = ["12/day"], mode = "shadow" },
    { operations = ["*"], pii_records = ["50/day"], mode = "shadow" },
]
"#;

/// Each is new to the quota.
const NAMES: u32 = 10;

fn name(nth: u32) -> String {
    format!("tried-{nth}")
}

fn identities() -> String {
    let one = |nth| {
        let name = name(nth);
        format!(
            "[identity.{name}]\nkind = \"service\"\nowner = \"platform@example.com\"\n\
             token = {{ issuer = \"corp\", subject = \"{name}\" }}\nnetworks = [\"loopback\"]\n\
             roles = [\"tried\"]\n"
        )
    };
    [TRIED.to_owned(), (0..NAMES).map(one).collect()].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_2_a_limit_on_trial_waits_for_nobody() {
    let server = Server::start().await;
    let plan = |number| {
        let plan = Plan::default().fill("identities", &identities());
        plan.fill("more", &quick(&server, number))
    };
    let both = [World::with(plan(1)).await, World::with(plan(2)).await];
    for world in &both {
        eventually("both share", || two_share(world).then_some(())).await;
    }
    let [world, _] = &both;
    let open = world.nobody().connect(world.address()).await.unwrap();
    let clock = Clock::system();
    let mut quickest = Duration::MAX;
    for nth in 0..NAMES {
        let call = bearing(get(ORDERS), &world.token(&name(nth)));
        server.signal(Signal::STOP);
        let before = clock.now();
        let reply = open.call(call).await.unwrap();
        quickest = quickest.min(clock.now().since(before));
        server.signal(Signal::CONT);
        assert_eq!(reply.status, 200, "{}", reply.text());
        // Whoever asks waits for the time-out, which is 500 ms; a machine at its limits may too.
        if quickest < Duration::from_millis(450) {
            break;
        }
        eventually("it is sound", || value(world, "sekisho_state_sound").then_some(())).await;
    }
    assert!(quickest < Duration::from_millis(450), "{quickest:?}");
    Box::pin(finish(both)).await;
}
