//! What was told to people, as answers (MON-7, MON-8).
use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shape::Word;
use crate::alarm::Aspect;
use crate::engine::Recent;

/// An alarm that was raised since the gateway started.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Alarm")]
pub struct AlarmOut {
    /// When it happened last.
    pub at: Word,
    /// info, low, medium, high, critical.
    pub severity: Word,
    pub control: Word,
    pub kind: Word,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Word>,
    /// Everything it is about: identity, operation, upstream, listener, target and others, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub subject: BTreeMap<Word, Word>,
    /// It stands for several subjects: there were too many for an alarm each.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub several: bool,
    /// Where from, as the access log names it on `source_day`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Word>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_day: Option<Word>,
    /// How: the fault, or the cause of a lock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Word>,
    /// How often it happened.
    pub count: u64,
    /// When it happened first.
    pub first: Word,
    /// What was seen and expected, and the limit that was passed (MON-8).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// What these numbers count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<Word>,
    /// When the counting began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Word>,
    /// The setting of the configuration that moves the limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setting: Option<Word>,
    /// What it means.
    pub summary: Word,
    /// What to do about it first.
    pub advice: Word,
    /// Its place in the queue; not there where nobody is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
}

impl From<&Recent> for AlarmOut {
    fn from(recent: &Recent) -> Self {
        let alarm = &recent.alarm;
        let why = alarm.why.as_ref();
        let subject = alarm.names().iter().filter(|(aspect, _)| *aspect != Aspect::Detail);
        Self {
            at: Word::time(alarm.last_ms),
            severity: alarm.severity.as_str().into(),
            control: alarm.kind.control().as_str().into(),
            kind: alarm.kind.as_str().into(),
            identity: alarm.name(Aspect::Identity).map(Word::from),
            subject: subject.map(|(aspect, name)| (aspect.as_str().into(), name.into())).collect(),
            several: alarm.several,
            source: alarm.source.map(|source| Word::hex(source.pseudonym.bits())),
            source_day: alarm.source.map(|source| Word::day(source.day)),
            detail: alarm.name(Aspect::Detail).map(Word::from),
            count: alarm.count.into(),
            first: Word::time(alarm.first_ms),
            seen: why.map(|why| why.seen),
            expected: why.map(|why| why.expected),
            limit: why.map(|why| why.limit),
            unit: why.map(|why| Word::phrase(&why.unit)),
            since: why.filter(|why| why.since_ms > 0).map(|why| Word::time(why.since_ms)),
            setting: why
                .filter(|why| !why.setting.as_str().is_empty())
                .map(|why| Word::phrase(&why.setting)),
            summary: alarm.kind.summary().into(),
            advice: alarm.kind.advice().into(),
            sequence: recent.sequence,
        }
    }
}
