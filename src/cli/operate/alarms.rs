//! The alarms of a gateway that runs, for whoever was woken by one.
use std::fmt::Write as _;

use super::args::AlarmsArgs;
use super::client::{Client, Refused};
use super::table::{self, Cell, left, right};
use crate::admin::api::{AlarmOut, Paged};
use crate::cli::say::Colour;

pub(super) async fn alarms(client: &Client, words: &AlarmsArgs) -> Result<(), Refused> {
    let list: Paged<AlarmOut> = client.list("/v1/alarms").await?;
    if words.api.json {
        return Ok(super::print(&list)?);
    }
    let columns = [
        left("AT"),
        left("SEVERITY"),
        left("CONTROL"),
        left("ALARM"),
        left("ABOUT"),
        right("COUNT"),
        left("WHY"),
        left("WHAT TO DO"),
    ];
    let row = |alarm: &AlarmOut| {
        let colour = match alarm.severity.as_str() {
            "high" | "critical" => Some(Colour::Red),
            "medium" => Some(Colour::Yellow),
            _ => None,
        };
        vec![
            Cell::of(&alarm.at),
            Cell::of(&alarm.severity).in_colour(colour),
            Cell::of(&alarm.control),
            Cell::of(&alarm.kind),
            Cell::maybe(about(alarm)),
            Cell::of(alarm.count),
            Cell::of(why(alarm)),
            Cell::of(&alarm.advice),
        ]
    };
    let rows: Vec<_> = list.items.iter().map(row).collect();
    table::print(&columns, &rows, "there was no alarm");
    Ok(())
}

/// `identity label-printer, operation orders/getOrder, source 5f0c9e0b7a4d21c6 of 2026-11-28`.
fn about(alarm: &AlarmOut) -> Option<String> {
    let mut parts: Vec<String> =
        alarm.subject.iter().map(|(aspect, name)| format!("{aspect} {name}")).collect();
    if let Some((source, day)) = alarm.source.as_ref().zip(alarm.source_day.as_ref()) {
        parts.push(format!("source {source} of {day}"));
    }
    if alarm.several {
        parts.push("several".to_owned());
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// What happened, how, and by which numbers; at the end, which setting moves the limit.
fn why(alarm: &AlarmOut) -> String {
    let mut text = alarm.summary.to_string();
    if let Some(detail) = &alarm.detail {
        let _ = write!(text, " ({detail})");
    }
    if let Some(((seen, expected), limit)) = alarm.seen.zip(alarm.expected).zip(alarm.limit) {
        let unit = alarm.unit.as_ref().map(|unit| format!(" {unit}")).unwrap_or_default();
        let since = alarm.since.as_ref().map(|since| format!(" since {since}")).unwrap_or_default();
        let _ = write!(text, "; seen {seen}{unit}{since}, expected {expected}, at most {limit}");
    }
    if let Some(setting) = &alarm.setting {
        let _ = write!(text, " by {setting}");
    }
    if alarm.count > 1 {
        let _ = write!(text, "; since {}", alarm.first);
    }
    text
}
