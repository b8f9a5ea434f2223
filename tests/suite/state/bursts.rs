//! Many calls at once at gateways that have no unit yet: each has its turn, and none is told that what is
//! left is not known (MON-2).
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::slow::far_away;
use super::{World, ask, error_of, eventually, finish, gateway, passes, two, two_of, value};
use crate::store::redis::Server;
use crate::support::{ORDERS, bearing, get};

/// Waits until so many more have passed one after the other.
async fn passes_in_all(world: &World, who: &str, count: usize) {
    let mut passed = 0;
    let last = Instant::now() + Duration::from_secs(20);
    while passed < count {
        assert!(Instant::now() < last, "{passed} of {count}");
        passed += usize::from(passes(world, who).await);
    }
}

/// So many calls of one identity at each of these gateways at once: how many passed of all of them.
async fn burst(worlds: &[World], who: &str, count: usize) -> usize {
    let mut open = Vec::new();
    for world in worlds {
        for _ in 0..count {
            let call = bearing(get(ORDERS), &world.token(who));
            open.push((world.nobody().connect(world.address()).await.unwrap(), call));
        }
    }
    let mut calls = JoinSet::new();
    for (session, call) in open {
        calls.spawn(async move { session.call(call).await.unwrap().status.as_u16() });
    }
    let statuses = calls.join_all().await;
    assert!(statuses.iter().all(|status| [200, 429].contains(status)), "{statuses:?}");
    statuses.into_iter().filter(|status| *status == 200).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_2_a_burst_after_a_pause_is_let_through() {
    let server = Server::start().await;
    let worlds = [gateway(&server, 1).await];
    eventually("it is sound", || value(&worlds[0], "sekisho_state_sound").then_some(())).await;
    assert_eq!(burst(&worlds, "brisk", 64).await, 64, "of 120 a minute");
    assert_eq!(burst(&worlds, "fast", 48).await, 48, "of 60 an hour");
    let [world] = worlds;
    Box::pin(world.finish()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_2_a_burst_at_two_gateways_has_all_of_a_slow_limit_and_no_more() {
    let server = Server::start().await;
    let both = two(&server).await;
    assert_eq!(burst(&both, "slow", 12).await, 12, "twelve a day");
    for world in &both {
        let reply = ask(world, "slow").await;
        assert_eq!(error_of(&reply).0, "Sekisho.QuotaExceeded");
    }
    finish(both).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_2_a_burst_is_let_through_where_the_server_is_far_away() {
    let server = Server::start().await;
    let worlds = [far_away(&server).await];
    assert_eq!(burst(&worlds, "brisk", 64).await, 64, "of 120 a minute");
    assert_eq!(burst(&worlds, "slow", 12).await, 12, "twelve a day");
    let [world] = worlds;
    assert_eq!(error_of(&ask(&world, "slow").await).0, "Sekisho.QuotaExceeded");
    Box::pin(world.finish()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_2_calls_under_two_slow_limits_each_have_both_of_a_server_that_is_far_away() {
    let server = Server::start().await;
    let worlds = [far_away(&server).await];
    assert_eq!(burst(&worlds, "pair", 12).await, 12, "of twelve and fifteen a day");
    let [world] = worlds;
    Box::pin(world.finish()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_2_what_refused_calls_fetched_is_there_for_the_other_gateway() {
    let server = Server::start().await;
    let edit = |text: &str| text.replace("20000/h", "64/h");
    let both = two_of(&server, edit).await;
    // Of a limit that all share, a burst of somebody whose own is used up by one.
    assert_eq!(burst(&both[..1], "single", 40).await, 1);
    // But for a batch that is kept for whoever comes.
    passes_in_all(&both[1], "fast", 64 - 1 - 4).await;
    finish(both).await;
}
