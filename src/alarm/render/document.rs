//! The JSON document that webhooks and programs are given; described in deploy/README.md.
use serde_json::{Map, Value, json};

use super::{Message, Origin};
use crate::alarm::kind::Aspect;
use crate::alarm::model::{Alarm, Heartbeat, rfc3339};

/// Raised only when a reader of the version before would misread it.
const VERSION: u8 = 1;

/// One JSON object, without a newline.
#[must_use]
pub fn document(origin: &Origin, message: Message<'_>, now_ms: u64) -> Vec<u8> {
    let mut object = json!({
        "version": VERSION,
        "sent_at": rfc3339(now_ms),
        "environment": origin.environment.as_str(),
        "target": origin.target.as_str(),
        "sekisho": origin.version,
    });
    let (kind, key, value) = match message {
        Message::Alarms(alarms) => {
            let list = alarms.iter().map(|(sequence, alarm)| entry(origin, *sequence, alarm));
            ("alarms", "alarms", Value::Array(list.collect()))
        }
        Message::Heartbeat(heartbeat) => ("heartbeat", "heartbeat", beat(heartbeat)),
    };
    if let Some(map) = object.as_object_mut() {
        map.insert("type".to_owned(), kind.into());
        map.insert(key.to_owned(), value);
    }
    object.to_string().into_bytes()
}

fn entry(origin: &Origin, sequence: u64, alarm: &Alarm) -> Value {
    let subject = alarm.names().iter().filter(|(aspect, _)| *aspect != Aspect::Detail);
    let subject: Map<String, Value> =
        subject.map(|(aspect, name)| (aspect.as_str().to_owned(), name.as_str().into())).collect();
    let mut object = json!({
        "id": origin.id(sequence),
        "fingerprint": format!("{:016x}", alarm.fingerprint()),
        "kind": alarm.kind.as_str(),
        "severity": alarm.severity.as_str(),
        "control": alarm.kind.control().as_str(),
        "text": alarm.sentence(),
        "advice": alarm.kind.advice(),
        "first_at": rfc3339(alarm.first_ms),
        "last_at": rfc3339(alarm.last_ms),
        "count": alarm.count,
        "several_subjects": alarm.several,
        "subject": subject,
    });
    let Some(map) = object.as_object_mut() else { return object };
    if let Some(detail) = alarm.name(Aspect::Detail) {
        map.insert("detail".to_owned(), detail.as_str().into());
    }
    if let Some(source) = alarm.source {
        let pseudonym = String::from_utf8_lossy(&source.pseudonym.to_hex()).into_owned();
        map.insert("source".to_owned(), json!({ "pseudonym": pseudonym, "day": source.day }));
    }
    if let Some(why) = &alarm.why {
        let since = (why.since_ms > 0).then(|| rfc3339(why.since_ms));
        let why = json!({
            "seen": why.seen,
            "expected": why.expected,
            "limit": why.limit,
            "unit": why.unit.as_str(),
            "since": since,
            "setting": why.setting.as_str(),
        });
        map.insert("why".to_owned(), why);
    }
    object
}

fn beat(heartbeat: &Heartbeat) -> Value {
    let within = u64::try_from(heartbeat.within.as_millis()).unwrap_or(u64::MAX);
    json!({
        "at": rfc3339(heartbeat.at_ms),
        "next_by": rfc3339(heartbeat.at_ms.saturating_add(within)),
        "told": heartbeat.told,
        "waiting": heartbeat.waiting,
        "lost": heartbeat.lost,
    })
}
