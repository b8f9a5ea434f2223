//! Records in Redis that no gateway wrote are an alarm, grouped (MON-7).
use sekisho::lockout::Step;
use serde_json::Value;

use super::{eventually, gateway, order, told, value};
use crate::store::redis::Server;

#[tokio::test(flavor = "multi_thread")]
async fn mon_7_forged_records_are_told_once_however_many_they_are() {
    let server = Server::start().await;
    let world = gateway(&server, 1).await;
    eventually("it is sound", || value(&world, "sekisho_state_sound").then_some(())).await;
    world.gateway.engine.lock(&order("slow")).await.unwrap();
    let mut admin = server.admin().await;
    let places: Vec<Vec<u8>> =
        redis::cmd("HKEYS").arg("sekisho:{test}:locks").query_async(&mut admin).await.unwrap();
    let place = places.first().unwrap();
    let alarms = || -> Vec<Value> {
        let raised = told(&world, "alarm-raised");
        raised.into_iter().filter(|line| line["sekisho.alarm"] == "store-forged").collect()
    };
    for nth in 1..=3 {
        crate::store::hostile::plant(&mut admin, place, &[nth; 40]).await;
        let forged = || world.metric("sekisho_state_forged_records_total") > f64::from(nth) - 0.5;
        eventually("it is counted", || forged().then_some(())).await;
    }
    let line = eventually("it is told", || alarms().pop()).await;
    assert_eq!(line["sekisho.severity"], "critical");
    assert_eq!(line["sekisho.control"], "ACC-2");
    assert_eq!(alarms().len(), 1, "the rest is gathered");
    // And the lock holds.
    let held = world.gateway.engine.list_locks();
    assert_eq!(held.first().map(|lock| lock.step), Some(Step::Lock));
    Box::pin(world.finish()).await;
}
