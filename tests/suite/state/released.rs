//! A release counts on every gateway, not only on the one that was asked, and over a restart.
use std::pin::pin;
use std::time::Duration;

use sekisho::base::Name;
use sekisho::engine::{Target, Unlock};
use sekisho::lockout::ReleaseReason;
use sekisho::store::{Blob, Register, Shelf};

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

/// An order's address, of which eleven different ones are too many.
async fn look_up(world: &World, nth: u32) {
    let order = format!("/orders/v0/orders/902-4395497-02{nth:05}/address");
    let printer = world.printer();
    let mut called = pin!(world.call(&printer, get(&order)));
    // What Amazon gives begins with nothing where somebody joins, and by hand nothing comes back.
    let reply = loop {
        world.advance(Duration::from_secs(5));
        match tokio::time::timeout(Duration::from_millis(500), &mut called).await {
            Ok(reply) => break reply,
            Err(_waiting) => {}
        }
    };
    // Observed before its line is written.
    world.line_of(&reply);
}

/// What is forgiven does not count, and what comes after it does.
async fn is_found(world: &World, from: u32) {
    for nth in from..from + 6 {
        look_up(world, nth).await;
    }
    let held = world.gateway.engine.list_locks();
    assert!(held.is_empty(), "what was asked before does not count any more: {held:?}");
    let mut next = from + 6;
    while world.gateway.engine.list_locks().is_empty() {
        assert!(next < from + 40, "what is asked for now counts");
        look_up(world, next).await;
        next += 1;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_3_who_goes_on_after_a_release_is_found_again_even_if_the_gateway_was_down() {
    let server = Server::start().await;
    let few = "[detect.enumeration]\nmode = \"enforce\"\ncold_hour = 10\ncold_day = 10\n";
    let [first, second] = Box::pin(two(&server, few)).await;
    let release_it = async || {
        eventually("the other one knows", || first.gateway.engine.list_locks().pop()).await;
        release(&first, "label-printer", ReleaseReason::InvestigationClosed).await;
    };
    is_found(&second, 0).await;
    release_it().await;
    holds_nobody(&second).await;
    is_found(&second, 100).await;
    let second = Box::pin(second.restart_after(release_it)).await;
    holds_nobody(&second).await;
    is_found(&second, 200).await;
    Box::pin(finish([first, second])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acc_2_a_release_forgives_what_a_gateway_that_was_down_had_counted() {
    let server = Server::start().await;
    let [first, second] = Box::pin(two(&server, "")).await;
    assert!(enters(&second, "analyst").await);
    for _ in 0..10 {
        // So that each time it is locked anew its end is another.
        for world in [&first, &second] {
            world.advance(Duration::from_secs(1));
        }
        guess(&second, "analyst", 1).await;
    }
    // All of it: a lock that the one who releases has not heard of is not released.
    let ends = |world: &World| {
        let held = world.gateway.engine.list_locks();
        held.iter().map(|lock| (lock.since_ms, lock.until_ms)).collect::<Vec<_>>()
    };
    assert!(!ends(&second).is_empty());
    until("the other one knows", || ends(&first) == ends(&second)).await;
    let release_it = || release(&first, "analyst", ReleaseReason::CredentialReplaced);
    let second = Box::pin(second.restart_after(async || release_it().await)).await;
    holds_nobody(&second).await;
    guess(&second, "analyst", 2).await;
    let held = second.gateway.engine.list_locks();
    assert!(held.is_empty(), "two in probation are not three: {held:?}");
    // Those two are not forgiven by the same release once more.
    let second = Box::pin(second.restart()).await;
    guess(&second, "analyst", 1).await;
    assert!(!second.gateway.engine.list_locks().is_empty());
    Box::pin(finish([first, second])).await;
}

/// As after a `kill -9`: the release is on disk, and what was counted is as it was before.
#[tokio::test(flavor = "multi_thread")]
async fn acc_2_what_was_written_down_before_a_release_counts_no_more() {
    let world = World::with(Plan::default().by_hand()).await;
    let engine = std::sync::Arc::clone(&world.gateway.engine);
    assert!(enters(&world, "analyst").await);
    guess(&world, "analyst", 10).await;
    engine.save_all().await.unwrap();
    let before = engine.store.scan_blobs(Shelf::Login, None).await.unwrap();
    release(&world, "analyst", ReleaseReason::Business).await;
    engine.save_all().await.unwrap();
    let old = |Blob { key, state }: Blob| Blob {
        key,
        state: Register { version: state.version + 1_000_000, ..state },
    };
    engine.store.put_blobs(before.into_iter().map(old).collect()).await.unwrap();
    drop(engine);
    let world = Box::pin(world.restart()).await;
    guess(&world, "analyst", 2).await;
    assert!(world.gateway.engine.list_locks().is_empty());
    world.finish().await;
}
