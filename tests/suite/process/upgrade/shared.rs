//! An upgrade of one of several gateways: units and locks are the server's, and both processes have it.
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::StatusCode;
use sekisho::mock::Alpn;

use super::super::Place;
use super::super::alarms::metric;
use super::keys::status;
use super::told::{WATCHED, api_of, lock};
use super::{Line, caller, limited, orders, spend};
use crate::logs::eventually;
use crate::state::shared;
use crate::store::redis::Server;
use crate::support::crowd::{Crowd, Habit};
use crate::support::{ORDERS, get, until_some};

/// Everybody asks the server for units now and then.
const EVERYBODY: &str = "[limit.everybody]\noperations = [\"*\"]\nrequests = [\"40000/h\"]\n";

#[tokio::test(flavor = "multi_thread")]
async fn mon_2_units_of_a_shared_quota_are_there_before_meanwhile_and_after() {
    const EACH: usize = 3;
    let server = Server::start().await;
    let place = Place::new().await;
    std::fs::write(place.dir.join("canaries.txt"), "902-1111111-2222222\n").unwrap();
    place.write(|text| {
        let more = [shared(&server, 1).as_str(), WATCHED, EVERYBODY].concat();
        let text = text.replace("shutdown_grace = \"2 s\"", "shutdown_grace = \"60 s\"");
        let text = text.replace("[\"3/h\", \"100/day\"]", "[\"9/day\"]");
        text.replace("#more\n", &more)
    });
    let mut line = Line::start(&place).await;
    let (to, first) = (line.address().await, line.pid);
    let api = api_of(&line).await;
    let limited_at = async || limited(&place, to).await;
    let mut crowd = Crowd::new();
    crowd.add(
        8,
        &Habit {
            caller: caller(&place, Alpn::H1),
            to,
            call: || get(ORDERS),
            every: Duration::from_millis(20),
            keeps: true,
        },
    );
    let mut open = Vec::new();
    eventually("it has the server", || {
        metric(&line.first, "sekisho_state_sound").filter(|sound| *sound > 0.5)
    })
    .await;
    for _ in 0..EACH {
        assert_eq!(spend(&place, &limited_at().await).await.status, 200, "before");
        open.push(limited_at().await);
    }
    lock(&place, api, "analyst").await;
    line.upgrade(&place, &[]).await;
    assert_eq!(status(&place, &line).await, StatusCode::UNAUTHORIZED, "the lock went along");
    for open in open {
        let reply = spend(&place, &open).await;
        assert_eq!(reply.status, 200, "meanwhile: {}", reply.text());
        assert_eq!(reply.header("connection"), Some("close"));
    }
    for _ in 0..EACH {
        let reply = spend(&place, &limited_at().await).await;
        assert_eq!(reply.status, 200, "after: {}", reply.text());
    }
    assert_eq!(spend(&place, &limited_at().await).await.status, 429, "nine a day");
    let before = crowd.tally.ok.load(Ordering::Relaxed);
    eventually("calls go on", || {
        (crowd.tally.ok.load(Ordering::Relaxed) > before + 100).then_some(())
    })
    .await;
    let tally = crowd.stop().await;
    assert_eq!(tally.failed.load(Ordering::Relaxed), 0, "{:#?}", tally.faults.lock());

    // What is locked by the new one is locked at once in the one that goes, and for good.
    let printer = caller(&place, Alpn::H1);
    assert_eq!(printer.call(to, orders()).await.unwrap().status, 200);
    lock(&place, api, "label-printer").await;
    until_some("the lock is in force", async || {
        (printer.call(to, orders()).await.unwrap().status == 401).then_some(())
    })
    .await;
    line.ended(first).await;
    assert_eq!(spend(&place, &limited_at().await).await.status, 429);
    line.stop().await;
}
