//! One datagram for each alarm: syslog (RFC 5424), and systemd-journald's own protocol.
use std::fmt::Write as _;

use super::{Message, Origin, priority};
use crate::alarm::kind::Aspect;
use crate::alarm::model::{Alarm, Heartbeat, rfc3339};

/// Security and authorisation messages (RFC 5424 §6.2.1).
const FACILITY: u8 = 10;
/// Severities of syslog that alarms do not have.
const INFORMATIONAL: u8 = 6;
/// Tells our alarms from other entries: `journalctl MESSAGE_ID=…`.
const JOURNAL_ID: &str = "5f0d3a1c7b1e4d02a6d1f8a9c4e7b360";

/// One message for each alarm. Names hold no character that RFC 5424 §6.3.3 would have escaped.
#[must_use]
pub fn syslog(origin: &Origin, message: Message<'_>, now_ms: u64) -> Vec<Vec<u8>> {
    let line = |severity: u8, at: u64, msgid: &str, data: &str, text: &str| {
        let (priority, at) = (FACILITY * 8 + severity, rfc3339(at));
        // 32473 is the enterprise number for examples (RFC 5612): this program has none of its own.
        format!("<{priority}>1 {at} - sekisho - {msgid} [alarm@32473{data}] {text}").into_bytes()
    };
    match message {
        Message::Alarms(alarms) => alarms
            .iter()
            .map(|(sequence, alarm)| {
                let mut data = String::new();
                for (key, value) in fields(origin, *sequence, alarm) {
                    let _ = write!(data, " {}=\"{value}\"", key.to_ascii_lowercase());
                }
                let severity = priority(alarm.severity);
                line(severity, alarm.last_ms, alarm.kind.as_str(), &data, &alarm.sentence())
            })
            .collect(),
        Message::Heartbeat(heartbeat) => {
            let data = format!(" environment=\"{}\"", origin.environment);
            vec![line(INFORMATIONAL, now_ms, "heartbeat", &data, &alive(heartbeat))]
        }
    }
}

/// One entry for each alarm (systemd.journal-fields(7)): `KEY=value` lines.
#[must_use]
pub fn journal(origin: &Origin, message: Message<'_>) -> Vec<Vec<u8>> {
    let entry = |severity: u8, text: &str, fields: &[(&str, String)]| {
        let mut out = format!(
            "MESSAGE={text}\nPRIORITY={severity}\nSYSLOG_IDENTIFIER=sekisho\nSYSLOG_FACILITY=\
             {FACILITY}\nMESSAGE_ID={JOURNAL_ID}\n"
        );
        for (key, value) in fields {
            let _ = writeln!(out, "SEKISHO_{key}={value}");
        }
        out.into_bytes()
    };
    match message {
        Message::Alarms(alarms) => alarms
            .iter()
            .map(|(sequence, alarm)| {
                let fields = fields(origin, *sequence, alarm);
                entry(priority(alarm.severity), &alarm.sentence(), &fields)
            })
            .collect(),
        Message::Heartbeat(heartbeat) => {
            let fields =
                [("KIND", "heartbeat".to_owned()), ("ENVIRONMENT", origin.environment.to_string())];
            vec![entry(INFORMATIONAL, &alive(heartbeat), &fields)]
        }
    }
}

fn alive(heartbeat: &Heartbeat) -> String {
    let Heartbeat { told, waiting, lost, within, .. } = heartbeat;
    format!(
        "The gateway watches: {told} alarms told, {waiting} waiting, {lost} lost; the next sign of \
         life comes within {} s",
        within.as_secs()
    )
}

fn fields(origin: &Origin, sequence: u64, alarm: &Alarm) -> Vec<(&'static str, String)> {
    let mut fields = vec![
        ("ID", origin.id(sequence)),
        ("KIND", alarm.kind.as_str().to_owned()),
        ("SEVERITY", alarm.severity.as_str().to_owned()),
        ("CONTROL", alarm.kind.control().as_str().to_owned()),
        ("ENVIRONMENT", origin.environment.to_string()),
        ("COUNT", alarm.count.to_string()),
        ("FIRST_AT", rfc3339(alarm.first_ms)),
    ];
    fields.extend(alarm.names().iter().map(|(aspect, name)| (key(*aspect), name.to_string())));
    if let Some(source) = alarm.source {
        let pseudonym = String::from_utf8_lossy(&source.pseudonym.to_hex()).into_owned();
        fields.push(("SOURCE", pseudonym));
        fields.push(("SOURCE_DAY", source.day.to_string()));
    }
    if let Some(why) = &alarm.why {
        fields.push(("SEEN", why.seen.to_string()));
        fields.push(("EXPECTED", why.expected.to_string()));
        fields.push(("LIMIT_VALUE", why.limit.to_string()));
        fields.push(("UNIT", why.unit.as_str().to_owned()));
        fields.push(("SETTING", why.setting.as_str().to_owned()));
    }
    fields
}

const fn key(aspect: Aspect) -> &'static str {
    match aspect {
        Aspect::Identity => "IDENTITY",
        Aspect::Role => "ROLE",
        Aspect::Operation => "OPERATION",
        Aspect::Upstream => "UPSTREAM",
        Aspect::Endpoint => "ENDPOINT",
        Aspect::Listener => "LISTENER",
        Aspect::Issuer => "ISSUER",
        Aspect::Limit => "LIMIT",
        Aspect::Target => "TARGET",
        Aspect::Account => "ACCOUNT",
        Aspect::Detail => "DETAIL",
        Aspect::Route => "ROUTE",
    }
}
