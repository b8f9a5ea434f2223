//! What gateways owe to a quota of Amazon's after an outage of what they share (MON-2): what they sent,
//! and nothing else, whatever became of them meanwhile.
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use sekisho::mock::Throttling;

use super::amazon::{ask, two_of};
use super::{eventually, finish, told};
use crate::store::redis::{ClientCertificate, Keeps, Server};
use crate::support::{Plan, World, until_some};
use crate::upstream::nobody_s;

/// Of which each of two gateways has one in a hundred seconds.
const SLOW: &str =
    "pacing = { wait = \"0 s\", plans = [{ operations = [\"*\"], rate = \"72/h\", burst = 20 }] }";
const ITS_PART: Duration = Duration::from_secs(101);

/// In how many seconds the bucket that they share will be full.
async fn full_in(admin: &mut MultiplexedConnection) -> u64 {
    let keys: Vec<Vec<u8>> =
        redis::cmd("KEYS").arg("sekisho:{test}:quota:*").query_async(admin).await.unwrap();
    let mut most = 0;
    for key in keys {
        let left: i64 = redis::cmd("TTL").arg(key).query_async(admin).await.unwrap();
        most = most.max(u64::try_from(left).unwrap_or(0));
    }
    most
}

async fn outage(server: &mut Server, both: &[World; 2]) {
    server.kill();
    for world in both {
        eventually("the outage is told", || told(world, "store-faulty").pop()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_2_calls_that_amazon_never_got_are_owed_to_nobody() {
    let mut server = Server::start_with(ClientCertificate::Optional, Keeps::Everything).await;
    let (_kept, closed) = nobody_s();
    let closed = format!("https://localhost:{}", closed.port());
    let both = two_of(&server, Throttling::Off, SLOW, |plan: Plan| {
        plan.by_hand().replace("https://localhost:{amazon}", &closed)
    })
    .await;
    outage(&mut server, &both).await;
    for world in &both {
        world.advance(ITS_PART);
        for turn in 0..15 {
            let reply = ask(world).await;
            assert!(reply.status.is_server_error(), "{turn}: {}", reply.text());
        }
    }
    server.restart().await;
    for world in &both {
        eventually("the healing is told", || told(world, "store-healed").pop()).await;
        // With whatever is owed.
        until_some("a unit is given", async || {
            ask(world).await;
            (world.metric("sekisho_quota_asks_total{result=\"given\"}") > 0.5).then_some(())
        })
        .await;
    }
    let mut admin = server.admin().await;
    until_some("what was given and not sent is back", async || {
        (full_in(&mut admin).await < 10).then_some(())
    })
    .await;
    Box::pin(finish(both)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_2_what_was_sent_in_an_outage_is_told_by_the_process_after_it() {
    let mut server = Server::start_with(ClientCertificate::Optional, Keeps::Everything).await;
    let [own, other] = two_of(&server, Throttling::Off, SLOW, Plan::by_hand).await;
    let both = [own, other];
    outage(&mut server, &both).await;
    for turn in 0..5 {
        both[0].advance(ITS_PART);
        assert_eq!(ask(&both[0]).await.status, 200, "{turn}");
    }
    let [own, other] = both;
    let own = Box::pin(own.restart()).await;
    server.restart().await;
    let mut admin = server.admin().await;
    let left = until_some("it is told", async || {
        Some(full_in(&mut admin).await).filter(|left| *left > 10)
    })
    .await;
    assert!((200..=260).contains(&left), "five calls of fifty seconds each, and {left} s");
    Box::pin(finish([own, other])).await;
}
