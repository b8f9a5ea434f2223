//! A release counts on every gateway, not only on the one that was asked.
use std::time::Duration;

use sekisho::base::Name;
use sekisho::engine::{Target, Unlock};
use sekisho::lockout::ReleaseReason;

use super::failures::{enters, guess};
use super::{eventually, finish, shared, two_share};
use crate::store::redis::Server;
use crate::support::{Plan, World, get, until, until_some};

/// Two gateways that know of each other, time by hand.
async fn two(server: &Server, more: &str) -> [World; 2] {
    let plan = |number| {
        let more = shared(server, number) + more;
        Plan::default().fill("more", &more).by_hand()
    };
    let both = [World::with(plan(1)).await, World::with(plan(2)).await];
    for world in &both {
        eventually("both share", || two_share(world).then_some(())).await;
        // Parts of Amazon's quotas begin empty.
        world.advance(Duration::from_secs(5));
    }
    both
}

async fn release(world: &World, who: &str, reason: ReleaseReason) {
    let name = |text: &str| Name::parse(text).unwrap();
    let (by, case) = (name("officer"), name("CASE-1"));
    let unlock = Unlock { target: Target::Identity(name(who)), by, reason, case };
    world.gateway.engine.unlock(&unlock).await.unwrap();
}

async fn holds_nobody(world: &World) {
    until("the lock is gone", || world.gateway.engine.list_locks().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_2_a_release_forgives_the_failures_that_any_gateway_has_counted() {
    let server = Server::start().await;
    let both = Box::pin(two(&server, "")).await;
    for world in &both {
        assert!(enters(world, "analyst").await);
    }
    guess(&both[1], "analyst", 10).await;
    for world in &both {
        until_some("it is locked", async || (!enters(world, "analyst").await).then_some(())).await;
    }
    release(&both[0], "analyst", ReleaseReason::CredentialReplaced).await;
    for world in &both {
        holds_nobody(world).await;
    }
    // Two in probation are not three. Together with the ten of before they would be.
    guess(&both[1], "analyst", 2).await;
    assert!(both[1].gateway.engine.list_locks().is_empty());
    for world in &both {
        assert!(enters(world, "analyst").await);
    }
    Box::pin(finish(both)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_8_what_was_a_false_alarm_is_learned_by_the_gateway_that_raised_it() {
    let server = Server::start().await;
    let few = "[detect.enumeration]\nmode = \"enforce\"\ncold_hour = 10\nleast_hour = 1\n";
    let both = Box::pin(two(&server, few)).await;
    let printer = both[1].printer();
    let ask = async |nth: u32| {
        let order = format!("/orders/v0/orders/902-4395497-00{nth:05}/address");
        let reply = both[1].call(&printer, get(&order)).await;
        // Observed before its line is written.
        both[1].line_of(&reply);
    };
    let mut asked = 0;
    while both[1].gateway.engine.list_locks().is_empty() {
        asked += 1;
        assert!(asked < 40, "distinct objects beyond the limit are acted upon");
        ask(asked).await;
    }
    eventually("the other one knows", || both[0].gateway.engine.list_locks().pop()).await;
    release(&both[0], "label-printer", ReleaseReason::FalseAlarm).await;
    holds_nobody(&both[1]).await;
    for nth in 1..=3 {
        ask(40 + nth).await;
    }
    let held = both[1].gateway.engine.list_locks();
    assert!(held.is_empty(), "what was asked before does not count any more: {held:?}");
    Box::pin(finish(both)).await;
}
