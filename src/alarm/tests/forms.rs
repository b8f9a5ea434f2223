use std::time::Duration;

use proptest::prelude::*;
use serde_json::Value;

use super::{MIDNIGHT, alarm, alarms, name};
use crate::alarm::{
    Alarm, Aspect, Heartbeat, Kind, Message, Origin, Phrase, Severity, SigningKey, Source, Why,
    alertmanager, document, journal, syslog,
};
use crate::base::Pseudonym;

fn origin() -> Origin {
    Origin {
        environment: name("production"),
        target: name("oncall"),
        queue: 0xabc,
        version: "0.1.0",
    }
}

fn volume() -> Alarm {
    let mut alarm = alarm(Kind::Volume, Severity::High, "label-printer", 0)
        .about(Aspect::Detail, &name("enforce"))
        .from(Source { pseudonym: Pseudonym::kept(0x1234), day: 20_779 })
        .because(Why {
            seen: 840,
            expected: 52,
            limit: 410,
            unit: Phrase::new("records"),
            since_ms: MIDNIGHT,
            setting: Phrase::new("detect.volume.hour_factor"),
        });
    alarm.count = 3;
    alarm
}

const BEAT: Heartbeat =
    Heartbeat { at_ms: MIDNIGHT, within: Duration::from_secs(3_600), told: 4, waiting: 2, lost: 1 };

#[test]
fn mon_8_an_alarm_explains_itself_in_one_sentence() {
    assert_eq!(
        volume().sentence(),
        "More data is retrieved than the identity's own history explains: identity label-printer, \
         detail enforce, from source 0000000000001234; seen 840 records since \
         2026-11-22T00:00:00.000Z, expected 52, at most 410 by detect.volume.hour_factor; 3 times \
         since 2026-11-22T00:00:00.000Z"
    );
}

#[test]
fn mon_7_the_document_says_what_is_documented() {
    let one = volume();
    let bytes = document(&origin(), Message::Alarms(&[(7, &one)]), MIDNIGHT + 5);
    let json: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!((&json["version"], &json["type"]), (&1.into(), &"alarms".into()));
    assert_eq!(json["sent_at"], "2026-11-22T00:00:00.005Z");
    let alarm = &json["alarms"][0];
    assert_eq!(alarm["id"], "0000000000000abc-7");
    assert_eq!(alarm["control"], "MON-3");
    assert_eq!(alarm["subject"], serde_json::json!({ "identity": "label-printer" }));
    assert_eq!(alarm["source"]["pseudonym"], "0000000000001234");
    assert_eq!(alarm["why"]["limit"], 410);
    assert_eq!(alarm["count"], 3);
    let bytes = document(&origin(), Message::Heartbeat(&BEAT), MIDNIGHT);
    let json: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(json["type"], "heartbeat");
    assert_eq!(json["heartbeat"]["next_by"], "2026-11-22T01:00:00.000Z");
}

#[test]
fn mon_7_alertmanager_is_given_alerts_that_still_fire() {
    let one = volume();
    let now = MIDNIGHT + 7 * 86_400_000;
    let hold = Duration::from_secs(600);
    let bytes = alertmanager(&origin(), Message::Alarms(&[(7, &one)]), now, hold);
    let json: Value = serde_json::from_slice(&bytes).unwrap();
    let alert = &json[0];
    assert_eq!(alert["labels"]["alertname"], "SekishoRetrievalVolume");
    assert_eq!(alert["labels"]["identity"], "label-printer");
    assert_eq!(alert["labels"]["detail"], Value::Null, "labels tell alerts apart");
    assert_eq!(alert["annotations"]["detail"], "enforce");
    assert_eq!(alert["startsAt"], "2026-11-22T00:00:00.000Z");
    assert_eq!(alert["endsAt"], "2026-11-29T00:10:00.000Z", "not in the past, however late");
    let bytes = alertmanager(&origin(), Message::Heartbeat(&BEAT), now, hold);
    let json: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(json[0]["labels"]["alertname"], "SekishoHeartbeat");
    assert_eq!(json[0]["endsAt"], "2026-11-22T01:00:00.000Z");
}

#[test]
fn mon_7_syslog_and_journal_lines() {
    let one = volume();
    let lines = syslog(&origin(), Message::Alarms(&[(7, &one)]), MIDNIGHT);
    let line = String::from_utf8(lines[0].clone()).unwrap();
    let head = "<82>1 2026-11-22T00:00:00.000Z - sekisho - retrieval-volume \
                [alarm@32473 id=\"0000000000000abc-7\" kind=\"retrieval-volume\" severity=\"high\" \
                control=\"MON-3\"";
    assert!(line.starts_with(head), "{line}");
    assert!(line.contains("] More data is retrieved"), "{line}");
    let entries = journal(&origin(), Message::Alarms(&[(7, &one)]));
    let entry = String::from_utf8(entries[0].clone()).unwrap();
    for field in ["PRIORITY=2\n", "SYSLOG_IDENTIFIER=sekisho\n", "SEKISHO_IDENTITY=label-printer\n"]
    {
        assert!(entry.contains(field), "{entry}");
    }
    let beat = syslog(&origin(), Message::Heartbeat(&BEAT), MIDNIGHT);
    assert!(beat[0].starts_with(b"<86>1 "), "{}", String::from_utf8_lossy(&beat[0]));
}

#[test]
fn mon_7_a_signature_is_hmac_over_time_and_body() {
    assert!(SigningKey::new(b"fifteen bytes!!".to_vec()).is_none());
    let key = SigningKey::new(b"0123456789abcdef".to_vec()).unwrap();
    // printf '1795305600.{}' | openssl dgst -sha256 -hmac 0123456789abcdef
    assert_eq!(
        key.sign(b"{}", 1_795_305_600),
        "t=1795305600,v1=1fae0a08e4f8f7a03f5914dec5b962281a570ee0284f791cc88a701dc633e4e8"
    );
    assert_eq!(format!("{key:?}"), "SigningKey([secret])");
}

proptest! {
    /// Every form of every alarm is whole: valid JSON, one line, fields that end where they should.
    #[test]
    fn mon_7_every_form_is_well_formed(one in alarms()) {
        let list = [(1, &one)];
        for bytes in [
            document(&origin(), Message::Alarms(&list), MIDNIGHT),
            alertmanager(&origin(), Message::Alarms(&list), MIDNIGHT, Duration::from_secs(1)),
        ] {
            let json: Value = serde_json::from_slice(&bytes).unwrap();
            prop_assert!(json.is_object() || json.is_array());
            prop_assert!(bytes.is_ascii());
        }
        let line = syslog(&origin(), Message::Alarms(&list), MIDNIGHT).remove(0);
        prop_assert!(line.iter().all(|b| (b' '..=b'~').contains(b)));
        let line = String::from_utf8(line).unwrap();
        prop_assert_eq!(line.matches(']').count(), 1);
        prop_assert_eq!(line.matches('"').count() % 2, 0);
        let entry = journal(&origin(), Message::Alarms(&list)).remove(0);
        for field in String::from_utf8(entry).unwrap().lines() {
            let (key, _) = field.split_once('=').unwrap();
            prop_assert!(key.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'), "{}", field);
        }
    }
}
