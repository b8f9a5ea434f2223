//! A target that is down for a week, by hand: how often it is tried, what waits, and what is lost.
use std::sync::Arc;
use std::time::Duration;

use sekisho::alarm::{Alarm, Aspect, Kind, LAG_MAX, Severity};
use sekisho::base::Name;

use super::receiver::Receiver;
use super::{Desk, finish, raise, subjects};
use crate::support::{Plan, World, until};
use crate::upstream::nobody_s;

const HOUR: u64 = 3_600;

fn attempts(world: &World) -> f64 {
    world.metric("sekisho_alarm_messages_total{result=\"unreachable\",target=\"down\"}")
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_7_a_target_that_is_down_for_a_week_is_told_everything_there_was_room_for() {
    let desk = Desk::new();
    let (socket, address) = nobody_s();
    let targets = desk.webhook("down", address.port(), "");
    let world = World::with(Plan::default().fill("more", &targets).by_hand()).await;
    // One thing an hour; it is tried no more often than every two and a half minutes, and at least
    // every five.
    let mut expect = Vec::new();
    for hour in 0..7 * 24 {
        let name = format!("upstream-{hour}");
        raise(&world, Kind::UpstreamFailing, Severity::High, &name);
        expect.push(name);
        let before = attempts(&world);
        world.advance(Duration::from_secs(HOUR));
        until("it is tried again", || attempts(&world) > before).await;
    }
    let tried = attempts(&world);
    assert!(tried <= f64::from(7 * 24 * 24 + 20), "{tried}");
    let status = || world.gateway.engine.alarms.targets().remove(0);
    until("all of them wait", || status().waiting == 7 * 24).await;
    assert_eq!(status().lost, 0);
    let oldest = world.metric("sekisho_alarms_oldest_seconds{target=\"down\"}");
    assert!(oldest >= 6.9 * 86_400.0, "{oldest} {:?}", world.gateway.engine.alarms.targets());
    let failures = || {
        world.gateway.flush_log();
        world.events("alarm-failed").len()
    };
    let told = failures();
    assert!((1..=7 * 24 + 1).contains(&told), "once an hour, not for each try: {told}");

    // More than may wait: the oldest go, and that is said.
    let (store, now) = (Arc::clone(&world.gateway.engine.store), world.gateway.engine.clock.now());
    let more = LAG_MAX + 10 - 7 * 24;
    for chunk in (0..more).collect::<Vec<_>>().chunks(200) {
        let pushed = chunk.iter().map(|nth| {
            let name = Name::parse(&format!("more-{nth}")).unwrap();
            let alarm = Alarm::new(Kind::UpstreamFailing, Severity::High, now);
            let (store, alarm) = (Arc::clone(&store), alarm.about(Aspect::Upstream, &name));
            tokio::spawn(async move { store.push_alarm(&alarm.encode()).await.unwrap() })
        });
        for pushed in pushed.collect::<Vec<_>>() {
            pushed.await.unwrap();
        }
    }
    raise(&world, Kind::UpstreamFailing, Severity::High, "the-last");
    until("the oldest are given up", || status().lost == 11).await;
    assert_eq!(world.metric("sekisho_alarms_lost_total{target=\"down\"}"), 11.0);
    world.gateway.flush_log();
    let lost: u64 =
        world.events("alarms-lost").iter().map(|l| l["sekisho.count"].as_u64().unwrap()).sum();
    assert_eq!(lost, 11);

    // It is back: everything that waited, in order, once.
    let receiver = Receiver::on(socket, Some(&desk.credentials));
    world.advance(Duration::from_secs(300));
    let all = usize::try_from(LAG_MAX).unwrap();
    // However long that takes here, it goes on.
    loop {
        let before = receiver.count();
        if receiver.alarms().len() >= all {
            break;
        }
        until("more of them", || receiver.count() > before).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let told = subjects(&receiver.alarms());
    assert_eq!(told.len(), all);
    assert_eq!(told[..7 * 24 - 11], expect[11..]);
    assert_eq!(told.last().map(String::as_str), Some("the-last"));
    until("nothing waits", || status().waiting == 0 && status().fault.is_none()).await;
    finish(world, &[&receiver]).await;
}
