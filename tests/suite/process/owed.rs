//! What a killed process spent while the store could not be had, the next one tells it (MON-2).
use rustix::process::Signal;

use super::{Place, Sekisho};
use crate::logs::eventually;
use crate::state::quick;
use crate::store::redis::Server;
use crate::support::until_some;

/// For how many seconds the one quota there is lacks something in the store.
async fn lacks(server: &Server) -> f64 {
    let mut admin = server.admin().await;
    let keys: Vec<Vec<u8>> =
        redis::cmd("KEYS").arg("sekisho:{test}:quota:*").query_async(&mut admin).await.unwrap();
    let Some(key) = keys.first() else { return 0.0 };
    let row: Option<String> = redis::cmd("GET").arg(key).query_async(&mut admin).await.unwrap();
    let Some((full_at, _)) = row.as_deref().and_then(|row| row.split_once(' ')) else { return 0.0 };
    let (secs, micros): (f64, f64) = redis::cmd("TIME").query_async(&mut admin).await.unwrap();
    full_at.parse::<f64>().unwrap() / 1e6 - secs - micros / 1e6
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_2_what_a_killed_process_spent_in_an_outage_is_told_by_the_next_one() {
    let server = Server::start().await;
    let place = Place::new().await;
    place.write(|text| {
        // Whatever an answer takes comes back in minutes.
        let text = text.replace("requests = [\"3/h\", \"100/day\"]", "bytes = [\"1 MB/day\"]");
        text.replace("#more\n", &quick(&server, 1))
    });
    let first = Sekisho::run(&place);
    assert_eq!(place.limited(&first).await.status, 200);
    let before = until_some("it is told", async || {
        let lacks = lacks(&server).await;
        (lacks > 30.0).then_some(lacks)
    })
    .await;

    server.signal(Signal::STOP);
    let faulty = || place.actions().contains(&"store-faulty".to_owned()).then_some(());
    eventually("the outage is told", faulty).await;
    until_some("its part has something", async || {
        (place.limited(&first).await.status == 200).then_some(())
    })
    .await;
    first.has_written().await;
    first.signal(Signal::KILL);
    first.ended().await;
    server.signal(Signal::CONT);

    // Nobody calls, and the store was never out of this one's reach.
    let second = Sekisho::run(&place);
    second.address().await;
    until_some("what is owed is told", async || {
        (lacks(&server).await > before * 1.5).then_some(())
    })
    .await;
    second.told_to_end().await;
    // Once.
    let after = lacks(&server).await;
    let third = Sekisho::run(&place);
    assert_ne!(place.limited(&third).await.status, 500);
    third.has_written().await;
    assert!(lacks(&server).await < after + before * 1.5, "only what was spent now");
    third.told_to_end().await;
}
