//! A quota that one failed call put apart comes back by itself, and tells what was spent (MON-2, ACC-2).
use std::time::Duration;

use sekisho::mock::Scenario;
use sekisho::state::QuotaSource;

use super::limits::stands;
use super::{eventually, finish, gateway_of, identities, passes, shared, told, two_share, value};
use crate::store::redis::Server;
use crate::support::{Plan, World, until_some};

/// How often it was told that the server could not be had, and that it could be again.
fn outages(world: &World) -> [usize; 2] {
    ["store-faulty", "store-healed"].map(|action| told(world, action).len())
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_2_one_call_that_fails_leaves_no_quota_apart() {
    let mut server = Server::start().await;
    // The server forgets a quota that is full again: everybody's must not be before it is looked at.
    let identities = identities().replace("20000/h", "100/h");
    let plan = Plan::default().fill("identities", &identities);
    let own = World::with(plan.fill("more", &shared(&server, 1)).by_hand()).await;
    own.amazon.set(Scenario::Echo);
    let both = [own, gateway_of(&shared(&server, 2), &identities).await];
    for world in &both {
        let shares = || value(world, "sekisho_state_sound") && two_share(world);
        eventually("both share", || shares().then_some(())).await;
    }
    // A machine that stands still during a start has had one.
    let before = both.each_ref().map(outages);
    let [own, other] = &both;
    // What Amazon gives begins with nothing where somebody joins, and by hand nothing comes back.
    own.advance(Duration::from_secs(1_200));
    assert!(passes(own, "fast").await);

    // The server answers for everything but the quotas.
    let mut admin = server.admin().await;
    let quotas: Vec<Vec<u8>> =
        redis::cmd("KEYS").arg("sekisho:{test}:quota:*").query_async(&mut admin).await.unwrap();
    assert_eq!(quotas.len(), 2, "its own, and everybody's");
    for key in &quotas {
        let mut damage = redis::pipe();
        damage.atomic().cmd("DEL").arg(key).ignore().cmd("RPUSH").arg(key).arg("?").ignore();
        let (): () = damage.query_async(&mut admin).await.unwrap();
    }
    until_some("what was given is used up", async || {
        passes(own, "fast").await;
        (stands(own, "fast").await.window.source == QuotaSource::Part(30)).then_some(())
    })
    .await;
    // From an empty start, one every two minutes; the looks at the server that still fail change nothing.
    assert!(!passes(own, "fast").await);
    own.advance(Duration::from_secs(600));
    for turn in 0..5 {
        assert!(passes(own, "fast").await, "request {turn} of 5");
    }
    assert!(!passes(own, "fast").await);

    for key in &quotas {
        let (): () = redis::cmd("DEL").arg(key).query_async(&mut admin).await.unwrap();
    }
    until_some("it is asked for again", async || {
        (stands(own, "fast").await.window.source == QuotaSource::Store).then_some(())
    })
    .await;
    until_some("the other one knows what was spent", async || {
        (stands(other, "fast").await.window.left <= 55).then_some(())
    })
    .await;
    let after = both.each_ref().map(outages);
    assert_eq!(after, before, "it could be had all the time");

    // What happened then has nothing to do with an outage an hour later.
    own.advance(Duration::from_secs(3_600));
    server.kill();
    let [[known, _], _] = before;
    eventually("the outage is told", || (outages(own)[0] > known).then_some(())).await;
    let fast = stands(own, "fast").await.window;
    assert_eq!((fast.source, fast.left), (QuotaSource::Part(30), 0));
    Box::pin(finish(both)).await;
}
