//! What `sekisho alarms list` tells whoever was woken (MON-8).
use sekisho::alarm::{Alarm, Aspect, Kind, Phrase, Severity, Source, Why};
use sekisho::base::{Moment, Name, PseudonymKey, Secret};
use serde_json::Value;

use super::verbs::{printed, sekisho};
use super::world;
use crate::support::until_some;

/// 2026-11-22T10:15:00Z.
const AT_MS: u64 = 1_795_342_500_000;

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn mon_8_an_alarm_s_line_says_what_about_whom_by_which_numbers_and_what_to_change() {
    let world = world().await;
    let alarms = &world.gateway.engine.alarms;
    let key = PseudonymKey::of_day(&Secret::new([7; 32]), 20_779);
    let pseudonym = key.pseudonym(b"x");
    let alarm = Alarm::new(Kind::Volume, Severity::High, Moment::new(AT_MS, 0))
        .about(Aspect::Identity, &name("label-printer"))
        .about(Aspect::Operation, &name("orders/getOrder"))
        .about(Aspect::Detail, &name("act"))
        .from(Source { pseudonym, day: 20_779 })
        .because(Why {
            seen: 156,
            expected: 50,
            limit: 245,
            unit: Phrase::new("records"),
            since_ms: AT_MS - 3_600_000,
            setting: Phrase::new("detect.volume.hour_factor"),
        });
    alarms.raise(alarm);
    let lock = Alarm::new(Kind::Locked, Severity::Medium, Moment::new(AT_MS + 60_000, 0));
    let lock = lock.about(Aspect::Upstream, &name("amazon"));
    alarms.raise(lock.about(Aspect::Detail, &name("emergency")));
    let words = ["alarms", "list"];
    let listed = until_some("both are listed", async || {
        let listed = printed(&sekisho(&world, "viewer", &words, "").await, 0);
        (listed.lines().count() == 2).then_some(listed)
    })
    .await;
    let source = String::from_utf8(pseudonym.to_hex().to_vec()).unwrap();
    let expect = format!(
        "2026-11-22T10:16:00.000Z\tmedium\tACC-2\tlocked\tupstream amazon\t1\t\
         A lock is in force (emergency)\tConfirm that this was meant.\n\
         2026-11-22T10:15:00.000Z\thigh\tMON-3\tretrieval-volume\t\
         identity label-printer, operation orders/getOrder, source {source} of 2026-11-22\t1\t\
         More data is retrieved than the identity's own history explains (act); seen 156 records \
         since 2026-11-22T09:15:00.000Z, expected 50, at most 245 by detect.volume.hour_factor\t\
         Ask the identity's owner whether this is theirs; if not, lock it. If it is, raise the \
         setting that is named.\n"
    );
    assert_eq!(listed, expect);
    let json = printed(&sekisho(&world, "viewer", &["alarms", "list", "--json"], "").await, 0);
    let json: Value = serde_json::from_str(&json).unwrap();
    let volume = &json["items"][1];
    assert_eq!(volume["unit"], "records");
    assert_eq!(volume["setting"], "detect.volume.hour_factor");
    assert_eq!(volume["since"], "2026-11-22T09:15:00.000Z");
    assert_eq!(volume["subject"]["operation"], "orders/getOrder");
    assert_eq!((&volume["detail"], &volume["source_day"]), (&"act".into(), &"2026-11-22".into()));
    world.finish().await;
}
