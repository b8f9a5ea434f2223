//! Prometheus Alertmanager's API v2: the body of `POST /api/v2/alerts`.
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{Message, Origin};
use crate::alarm::kind::Aspect;
use crate::alarm::model::{Alarm, Heartbeat, rfc3339};

/// A JSON array of alerts. Each fires for `hold` from now on: Alertmanager takes one that has ended
/// for resolved and tells nobody, so an alarm that had to wait does not end in the past.
#[must_use]
pub fn alertmanager(origin: &Origin, message: Message<'_>, now_ms: u64, hold: Duration) -> Vec<u8> {
    let hold = u64::try_from(hold.as_millis()).unwrap_or(u64::MAX);
    let alerts = match message {
        Message::Alarms(alarms) => {
            let ends = now_ms.saturating_add(hold);
            alarms.iter().map(|(sequence, one)| alert(origin, *sequence, one, ends)).collect()
        }
        Message::Heartbeat(heartbeat) => Value::Array(vec![watchdog(origin, heartbeat)]),
    };
    alerts.to_string().into_bytes()
}

/// Labels tell alerts apart, so what differs from one message to the next is an annotation.
fn alert(origin: &Origin, sequence: u64, alarm: &Alarm, ends_ms: u64) -> Value {
    let mut labels = labels(origin, &format!("Sekisho{}", camel(alarm.kind.as_str())));
    let mut put = |key: &str, value: &str| labels.insert(key.to_owned(), value.into());
    put("severity", alarm.severity.as_str());
    put("control", alarm.kind.control().as_str());
    for (aspect, name) in alarm.names().iter().filter(|(aspect, _)| *aspect != Aspect::Detail) {
        put(aspect.as_str(), name.as_str());
    }
    if let Some(source) = alarm.source {
        put("source", &String::from_utf8_lossy(&source.pseudonym.to_hex()));
    }
    let mut annotations = json!({
        "summary": alarm.kind.summary(),
        "description": alarm.sentence(),
        "advice": alarm.kind.advice(),
        "count": alarm.count.to_string(),
        "id": origin.id(sequence),
    });
    if let (Some(map), Some(detail)) = (annotations.as_object_mut(), alarm.name(Aspect::Detail)) {
        map.insert("detail".to_owned(), detail.as_str().into());
    }
    json!({
        "labels": labels,
        "annotations": annotations,
        "startsAt": rfc3339(alarm.first_ms.min(ends_ms)),
        "endsAt": rfc3339(ends_ms),
    })
}

/// Fires all the time while the gateway lives, and ends by itself when it does not.
fn watchdog(origin: &Origin, heartbeat: &Heartbeat) -> Value {
    let mut labels = labels(origin, "SekishoHeartbeat");
    labels.insert("severity".to_owned(), "none".into());
    let within = u64::try_from(heartbeat.within.as_millis()).unwrap_or(u64::MAX);
    json!({
        "labels": labels,
        "annotations": {
            "summary": "Alarms of the gateway arrive",
            "told": heartbeat.told.to_string(),
            "waiting": heartbeat.waiting.to_string(),
            "lost": heartbeat.lost.to_string(),
        },
        "startsAt": rfc3339(heartbeat.at_ms),
        "endsAt": rfc3339(heartbeat.at_ms.saturating_add(within)),
    })
}

fn labels(origin: &Origin, name: &str) -> Map<String, Value> {
    let pairs = [("alertname", name), ("environment", origin.environment.as_str())];
    pairs.map(|(key, value)| (key.to_owned(), Value::from(value))).into_iter().collect()
}

/// `log-unavailable` becomes `LogUnavailable`.
fn camel(word: &str) -> String {
    let parts = word.split('-').map(|part| {
        let mut letters = part.chars();
        letters.next().map_or_else(String::new, |first| {
            first.to_ascii_uppercase().to_string() + letters.as_str()
        })
    });
    parts.collect()
}
