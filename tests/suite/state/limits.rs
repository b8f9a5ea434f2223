//! Where several gateways share a limit, each of them can say why a call was refused (MON-2).
use std::time::Duration;

use sekisho::engine::LimitView;
use sekisho::state::QuotaSource;

use super::{eventually, finish, passes, spend_all, told, two};
use crate::store::redis::Server;
use crate::support::{World, until_some};

/// Where somebody stands in the limit of its role.
pub(super) async fn stands(world: &World, who: &str) -> LimitView {
    let view = world.gateway.engine.view_limits_of(who).await.unwrap();
    let own = view.limits.into_iter().find(|limit| limit.window.limit.as_str() != "everybody");
    own.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_2_a_gateway_says_what_the_other_one_spent() {
    let server = Server::start().await;
    let both = two(&server).await;
    for world in &both {
        let slow = stands(world, "slow").await.window;
        assert_eq!((slow.left, slow.most, slow.source), (12, 12, QuotaSource::Store));
    }
    for turn in 0..12 {
        assert!(passes(&both[0], "slow").await, "request {turn}");
        // Nobody asked the other one for anything, and it knows; to look spends nothing, and what else
        // the request was charged to keeps no unit of the day from the others.
        assert_eq!(stands(&both[1], "slow").await.window.left, 11 - turn);
    }
    let slow = stands(&both[1], "slow").await;
    assert_eq!((slow.window.left, slow.window.source), (0, QuotaSource::Store));
    let interval = Duration::from_secs(2 * 3_600);
    assert!(slow.window.wait > interval / 2 && slow.window.wait <= interval, "{slow:?}");
    assert!(slow.operations.iter().any(|name| name.as_str() == "orders/getOrders"));
    assert_eq!(spend_all(&both, "slow").await, 0, "and so it is");
    // Bytes are told of when they are spent, and come back at one a second.
    while passes(&both[0], "bulk").await {}
    until_some("the other one knows", async || {
        let bulk = stands(&both[1], "bulk").await.window;
        assert_eq!((bulk.most, bulk.unit), (4_000, "bytes"));
        (bulk.left < 100).then_some(())
    })
    .await;
    let page = both[1].gateway.engine.view_limits(0, 100).await;
    let slow = page.items.iter().find(|view| view.identity.as_str() == "slow").unwrap();
    assert!(slow.limits.iter().any(|limit| limit.window.left == 0));
    Box::pin(finish(both)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_2_a_gateway_without_redis_says_what_its_part_is() {
    let mut server = Server::start().await;
    let both = two(&server).await;
    server.kill();
    for world in &both {
        eventually("the outage is told", || told(world, "store-faulty").pop()).await;
        let brisk = stands(world, "brisk").await.window;
        assert_eq!((brisk.source, brisk.most), (QuotaSource::Part(60), 120));
        // From an empty start, one a second.
        assert!(brisk.left < 60, "{brisk:?}");
        assert!(brisk.left > 0 || brisk.wait <= Duration::from_secs(1), "{brisk:?}");
    }
    Box::pin(finish(both)).await;
}
