//! MON-7: alarms reach people, over real TLS, sockets and programs; through outages, in order, once.
mod forms;
pub mod receiver;
mod week;

use std::path::PathBuf;
use std::time::Duration;

use aws_lc_rs::hmac;
use sekisho::alarm::{Alarm, Aspect, Kind, Severity};
use sekisho::base::Name;
use serde_json::Value;

use crate::logs::eventually;
use crate::support::{Plan, World, scratch, until, until_some};
use crate::upstream::nobody_s;
use receiver::{Credentials, Manner, Receiver, SECRET};

/// A folder for what targets need beside the world's.
struct Desk {
    dir: PathBuf,
    credentials: Credentials,
}

impl Drop for Desk {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

impl Desk {
    fn new() -> Self {
        let dir = scratch();
        let credentials = Credentials::new(&dir);
        Self { dir, credentials }
    }

    fn receiver(&self) -> Receiver {
        Receiver::anywhere(Some(&self.credentials))
    }

    fn webhook(&self, name: &str, port: u16, more: &str) -> String {
        let dir = self.dir.display();
        format!(
            "[[alarm]]\nname = \"{name}\"\nkind = \"webhook\"\nurl = \"https://localhost:{port}/hook\"\n\
             ca = \"{dir}/receiver-ca.pem\"\nsecret = {{ file = \"{dir}/secret\" }}\n{more}\n"
        )
    }
}

fn raise(world: &World, kind: Kind, severity: Severity, upstream: &str) {
    let name = Name::parse(upstream).unwrap();
    let now = world.gateway.engine.clock.now();
    let alarm = Alarm::new(kind, severity, now).about(Aspect::Upstream, &name);
    world.gateway.engine.alarms.raise(alarm);
}

fn subjects(alarms: &[Value]) -> Vec<String> {
    let name = |alarm: &Value| alarm["subject"]["upstream"].as_str().unwrap_or("-").to_owned();
    alarms.iter().map(name).collect()
}

/// Everything that was sent is searched for personal data with the rest.
async fn finish(world: World, receivers: &[&Receiver]) -> Vec<Value> {
    for message in receivers.iter().flat_map(|receiver| receiver.taken()) {
        world.note_bytes(&message.body);
        assert!(!crate::support::holds(&message.body, SECRET));
    }
    let metrics = world.gateway.engine.render_metrics();
    assert!(!metrics.contains(SECRET));
    let log = world.stop().await;
    assert!(log.iter().all(|line| !line.to_string().contains(SECRET)));
    log
}

/// The recipe of deploy/README.md.
fn is_genuine(header: &str, body: &[u8], secret: &[u8], now_secs: u64) -> bool {
    let field = |key: &str| {
        header.split(',').find_map(|part| part.split_once('=').filter(|(own, _)| *own == key))
    };
    let (Some((_, time)), Some((_, code))) = (field("t"), field("v1")) else { return false };
    let Ok(sent) = time.parse::<u64>() else { return false };
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let code: Option<Vec<u8>> = (0..code.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(code.get(at..at + 2)?, 16).ok())
        .collect();
    let signed = [time.as_bytes(), b".", body].concat();
    let matches = code.is_some_and(|code| hmac::verify(&key, &signed, &code).is_ok());
    matches && now_secs.abs_diff(sent) <= 300
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_7_a_real_condition_is_told_signed_and_forgeries_are_found() {
    let desk = Desk::new();
    let receiver = desk.receiver();
    let targets = desk.webhook("on-call", receiver.address.port(), "");
    let world = World::with(Plan::default().fill("more", &targets)).await;
    until("the first sign of life", || !receiver.heartbeats().is_empty()).await;
    assert!(!world.reload(|text| text.replace("[gateway]", "[gateway]\nnonsense = 1")).await);
    until("the alarm", || !receiver.alarms().is_empty()).await;
    let alarm = receiver.alarms().remove(0);
    assert_eq!((&alarm["kind"], &alarm["severity"]), (&"config-refused".into(), &"medium".into()));
    assert_eq!(alarm["control"], "LOG-1");
    assert!(alarm["text"].as_str().unwrap().contains("stays in force"), "{alarm}");

    let message = receiver.taken().pop().unwrap();
    assert_eq!(message.header("content-type"), Some("application/json"));
    let signature = message.header("sekisho-signature").unwrap();
    let now = world.gateway.engine.clock.now().unix_secs();
    let genuine = |header: &str, body: &[u8], secret: &str, now| {
        is_genuine(header, body, secret.as_bytes(), now)
    };
    assert!(genuine(signature, &message.body, SECRET, now));
    assert!(!genuine(signature, &message.body, "another secret, as long as it", now));
    let mut altered = message.body.clone();
    altered[10] ^= 1;
    assert!(!genuine(signature, &altered, SECRET, now));
    assert!(!genuine(signature, &message.body, SECRET, now + 301), "replayed");
    let later = signature.replace("t=", "t=1");
    assert!(!genuine(&later, &message.body, SECRET, now), "the time is signed, too");

    assert_eq!(world.metric("sekisho_alarms_raised_total{severity=\"medium\"}"), 1.0);
    let delivered = "sekisho_alarm_messages_total{result=\"delivered\",target=\"on-call\"}";
    until("the count", || world.metric(delivered) >= 2.0).await;
    let log = finish(world, &[&receiver]).await;
    for action in ["alarm-raised", "alarm-delivered"] {
        assert!(log.iter().any(|line| line["event.action"] == action), "{action}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_7_a_target_that_was_down_is_told_everything_in_order_and_once() {
    let desk = Desk::new();
    let ((socket, down), up) = (nobody_s(), desk.receiver());
    let targets =
        desk.webhook("down", down.port(), "") + &desk.webhook("up", up.address.port(), "");
    let world = World::with(Plan::default().fill("more", &targets).by_hand()).await;
    let mut expect = Vec::new();
    for nth in 0..50 {
        let kind = if nth % 2 == 0 { Kind::UpstreamFailing } else { Kind::UpstreamUntrusted };
        let name = format!("upstream-{nth}");
        raise(&world, kind, Severity::High, &name);
        expect.push(name);
    }
    told(&up, 50).await;
    assert_eq!(subjects(&up.alarms()), expect);
    let status = |name: &str| {
        let all = world.gateway.engine.alarms.targets();
        all.into_iter().find(|target| target.name.as_str() == name).unwrap()
    };
    until("the queue is shown", || status("down").waiting == 50 && status("up").waiting == 0).await;
    until("the failure is shown", || status("down").fault.is_some()).await;
    until("its age", || world.metric("sekisho_alarms_waiting{target=\"down\"}") == 50.0).await;
    let receiver = Receiver::on(socket, Some(&desk.credentials));
    world.advance(Duration::from_secs(300));
    told(&receiver, 50).await;
    raise(&world, Kind::UpstreamUnresolved, Severity::High, "afterwards");
    expect.push("afterwards".to_owned());
    until("what came after", || receiver.alarms().len() >= 51 && up.alarms().len() >= 51).await;
    for one in [&receiver, &up] {
        assert_eq!(subjects(&one.alarms()), expect, "in order, once");
        let ids: std::collections::BTreeSet<_> =
            one.alarms().iter().map(|alarm| alarm["id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(ids.len(), 51);
    }
    until("nothing waits", || status("down").waiting == 0).await;
    assert_eq!((status("down").lost, status("down").fault), (0, None));
    // What all were told is let go of.
    let store = &world.gateway.engine.store;
    until_some("the queue is empty", async || {
        store.peek_alarms(0).await.unwrap().alarms.is_empty().then_some(())
    })
    .await;
    let log = finish(world, &[&receiver, &up]).await;
    let failures = log.iter().filter(|line| line["event.action"] == "alarm-failed").count();
    assert_eq!(failures, 1, "written when it begins, not for each attempt");
}

/// Waits for so many alarms. Each of them is written down before it is told, and however long that takes
/// here, it goes on.
async fn told(receiver: &Receiver, count: usize) {
    loop {
        let before = receiver.count();
        if receiver.alarms().len() >= count {
            return;
        }
        until("more of them", || receiver.count() > before).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_7_ten_thousand_same_alarms_are_two_messages() {
    let desk = Desk::new();
    let receiver = desk.receiver();
    let targets = desk.webhook("on-call", receiver.address.port(), "");
    let world = World::with(Plan::default().fill("more", &targets).by_hand()).await;
    for _ in 0..10_000 {
        raise(&world, Kind::UpstreamFailing, Severity::High, "amazon");
    }
    until("the first one", || receiver.alarms().len() == 1).await;
    world.advance(Duration::from_secs(60));
    until("the rest", || receiver.alarms().len() == 2).await;
    let counts: Vec<_> = receiver.alarms().iter().map(|alarm| alarm["count"].clone()).collect();
    assert_eq!(counts, [1, 9_999]);
    assert_eq!(world.metric("sekisho_alarms_raised_total{severity=\"high\"}"), 10_000.0);
    assert_eq!(world.metric("sekisho_alarms_lost_total{target=\"-\"}"), 0.0);
    let log = finish(world, &[&receiver]).await;
    assert_eq!(log.iter().filter(|line| line["event.action"] == "alarm-raised").count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_7_in_quiet_hours_critical_alarms_come_and_the_rest_waits_for_the_morning() {
    let desk = Desk::new();
    let (asleep, awake) = (desk.receiver(), desk.receiver());
    let quiet = "quiet = { hours = \"22:00-07:00\", utc_offset = \"+09:00\" }";
    let targets = desk.webhook("asleep", asleep.address.port(), quiet)
        + &desk.webhook("awake", awake.address.port(), "min_severity = \"high\"");
    let world = World::with(Plan::default().fill("more", &targets).by_hand()).await;
    let day = 86_400_000;
    let today = world.gateway.engine.clock.now().unix_ms() / day * day;
    // 23:00 in Japan.
    world.hand.as_ref().unwrap().jump_wall_to(today + 14 * 3_600_000);
    raise(&world, Kind::UpstreamFailing, Severity::High, "waits");
    raise(&world, Kind::UpstreamUnresolved, Severity::Low, "waits-too");
    raise(&world, Kind::UpstreamUntrusted, Severity::Critical, "does-not-wait");
    until("the critical one", || !asleep.alarms().is_empty()).await;
    until("the other target", || awake.alarms().len() == 2).await;
    assert_eq!(subjects(&asleep.alarms()), ["does-not-wait"]);
    assert_eq!(subjects(&awake.alarms()), ["waits", "does-not-wait"], "low is not for it");
    world.advance(Duration::from_secs(8 * 3_600));
    until("the morning", || asleep.alarms().len() >= 3).await;
    assert_eq!(subjects(&asleep.alarms()), ["does-not-wait", "waits", "waits-too"]);
    finish(world, &[&asleep, &awake]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_7_silence_is_noticed_by_the_signs_of_life() {
    let desk = Desk::new();
    let receiver = desk.receiver();
    let targets = desk.webhook("on-call", receiver.address.port(), "heartbeat = \"1 h\"");
    let world = World::with(Plan::default().fill("more", &targets).by_hand()).await;
    until("the first", || receiver.heartbeats().len() == 1).await;
    raise(&world, Kind::UpstreamFailing, Severity::High, "amazon");
    until("the alarm", || receiver.alarms().len() == 1).await;
    world.advance(Duration::from_secs(3_599));
    raise(&world, Kind::UpstreamUntrusted, Severity::High, "amazon");
    until("another alarm", || receiver.alarms().len() == 2).await;
    assert_eq!(receiver.heartbeats().len(), 1, "not before its time");
    world.advance(Duration::from_secs(1));
    until("the second", || receiver.heartbeats().len() == 2).await;
    let beat = receiver.heartbeats().remove(1)["heartbeat"].clone();
    assert_eq!((&beat["told"], &beat["lost"], &beat["waiting"]), (&2.into(), &0.into(), &0.into()));
    finish(world, &[&receiver]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_7_a_target_that_takes_no_signs_of_life_is_told_alarms() {
    let desk = Desk::new();
    let receiver = desk.receiver();
    receiver.behave(Manner::Alarms);
    let targets = desk.webhook("strict", receiver.address.port(), "heartbeat = \"1 h\"");
    let world = World::with(Plan::default().fill("more", &targets).by_hand()).await;
    let tried =
        || world.metric("sekisho_alarm_messages_total{result=\"unacceptable\",target=\"strict\"}");
    until("the first sign of life", || tried() > 0.5).await;
    raise(&world, Kind::UpstreamFailing, Severity::High, "amazon");
    until("it is told", || subjects(&receiver.alarms()) == ["amazon"]).await;
    assert_eq!(tried(), 1.0, "not before its time");
    world.advance(Duration::from_secs(3_600));
    until("the next sign of life", || tried() > 1.5).await;
    raise(&world, Kind::UpstreamFailing, Severity::High, "warehouse");
    until("the next alarm", || subjects(&receiver.alarms()) == ["amazon", "warehouse"]).await;
    assert!(receiver.heartbeats().is_empty());
    let log = finish(world, &[&receiver]).await;
    assert!(log.iter().any(|line| line["event.action"] == "alarm-failed"), "and that is told");
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_7_a_target_that_misbehaves_is_tried_again_and_redirects_are_not_followed() {
    let desk = Desk::new();
    let (receiver, elsewhere) = (desk.receiver(), desk.receiver());
    let targets = desk.webhook("on-call", receiver.address.port(), "timeout = \"1 s\"");
    let world = World::with(Plan::default().fill("more", &targets)).await;
    // A second is not much for a machine that stands still: it may be given again.
    until("the first sign of life", || !receiver.heartbeats().is_empty()).await;
    let fault =
        || world.gateway.engine.alarms.targets()[0].fault.map(sekisho::alarm::DeliveryFault::word);
    let redirect = format!(
        "307 Temporary Redirect\r\nlocation: https://localhost:{}/\r\n",
        elsewhere.address.port()
    );
    let says = |head: &str| Manner::Says(head.to_owned());
    let manners = [
        (says(&redirect), "redirected"),
        (says("503 Service Unavailable\r\nretry-after: 1\r\n"), "failed"),
        (says("401 Unauthorized\r\n"), "unauthorized"),
        (says(&format!("200 OK\r\nx: {}\r\n", "x".repeat(200_000))), "malformed"),
        (Manner::Garbage, "malformed"),
        (Manner::Hangs, "timed-out"),
    ];
    for (nth, (manner, word)) in manners.into_iter().enumerate() {
        receiver.behave(manner);
        let name = format!("upstream-{nth}");
        raise(&world, Kind::UpstreamFailing, Severity::High, &name);
        until(word, || fault() == Some(word)).await;
        receiver.behave(Manner::Takes);
        until("it is told all the same", || fault().is_none()).await;
    }
    receiver.behave(Manner::Slow);
    raise(&world, Kind::UpstreamFailing, Severity::High, "slow");
    until("the slow one", || subjects(&receiver.alarms()).last().unwrap() == "slow").await;
    receiver.behave(Manner::Huge);
    raise(&world, Kind::UpstreamFailing, Severity::High, "huge");
    until("the endless answer", || subjects(&receiver.alarms()).last().unwrap() == "huge").await;
    receiver.behave(Manner::Takes);
    raise(&world, Kind::UpstreamFailing, Severity::High, "last");
    until("the last", || subjects(&receiver.alarms()).last().unwrap() == "last").await;
    let mut told = subjects(&receiver.alarms());
    // A head of 200 KB said 200, and is not believed: that one alone is told again.
    told.dedup();
    let expect: Vec<String> = (0..6).map(|nth| format!("upstream-{nth}")).collect();
    assert_eq!(told[..6], expect);
    assert_eq!(told[6..], ["slow", "huge", "last"]);
    assert!(elsewhere.taken().is_empty(), "redirects are not followed");
    finish(world, &[&receiver]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_7_an_alarm_that_a_target_never_accepts_does_not_hold_up_the_next() {
    let desk = Desk::new();
    let receiver = desk.receiver();
    let targets = desk.webhook("picky", receiver.address.port(), "");
    let world = World::with(Plan::default().fill("more", &targets).by_hand()).await;
    until("the first sign of life", || receiver.heartbeats().len() == 1).await;
    receiver.behave(Manner::Says("422 Unprocessable Content\r\n".to_owned()));
    raise(&world, Kind::UpstreamFailing, Severity::High, "poison");
    let lost = || world.metric("sekisho_alarms_lost_total{target=\"picky\"}");
    eventually("it is given up", || {
        world.advance(Duration::from_secs(60));
        (lost() == 1.0).then_some(())
    })
    .await;
    receiver.behave(Manner::Takes);
    raise(&world, Kind::UpstreamFailing, Severity::High, "fine");
    eventually("the next", || {
        world.advance(Duration::from_secs(60));
        subjects(&receiver.alarms()).contains(&"fine".to_owned()).then_some(())
    })
    .await;
    assert!(!world.events("alarms-lost").is_empty(), "and that is told");
    finish(world, &[&receiver]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_7_a_target_without_the_right_certificate_is_told_nothing() {
    let desk = Desk::new();
    let receiver = desk.receiver();
    let other = Desk::new();
    let targets = other.webhook("on-call", receiver.address.port(), "");
    let world = World::with(Plan::default().fill("more", &targets)).await;
    raise(&world, Kind::UpstreamFailing, Severity::High, "amazon");
    let fault = || world.gateway.engine.alarms.targets().first().and_then(|target| target.fault);
    until("it is not trusted", || {
        fault().map(sekisho::alarm::DeliveryFault::word) == Some("untrusted")
    })
    .await;
    assert!(receiver.taken().is_empty());
    // A target that is configured anew is told from then on, by another task.
    let right = desk.webhook("second", receiver.address.port(), "");
    assert!(world.reload(|text| text + &right).await);
    until("the new target", || !receiver.heartbeats().is_empty()).await;
    raise(&world, Kind::UpstreamUnresolved, Severity::High, "later");
    until("it is told", || subjects(&receiver.alarms()) == ["later"]).await;
    assert!(world.reload(|text| text.replace(&right, "")).await);
    until("it is forgotten", || world.gateway.engine.alarms.targets().len() == 1).await;
    finish(world, &[&receiver]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_7_without_a_target_alarms_stand_in_the_log() {
    let world = World::start().await;
    raise(&world, Kind::UpstreamFailing, Severity::High, "amazon");
    let recent = || world.gateway.engine.alarms.recent();
    until("it is remembered", || !recent().is_empty()).await;
    assert_eq!(recent()[0].sequence, None);
    let line = world.events("alarm-raised").remove(0);
    assert_eq!(line["sekisho.alarm"], "upstream-failing");
    assert_eq!(line["sekisho.upstream"], "amazon");
    assert_eq!(line["sekisho.severity"], "high");
    assert!(world.gateway.engine.store.peek_alarms(0).await.unwrap().alarms.is_empty());
    world.finish().await;
}
