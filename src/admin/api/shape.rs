//! The API's answers. Their texts are [`Word`]s: of the program, of the configuration, times and keyed
//! hashes; nothing of a request can become one on the way out (LOG-2).
use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::change::ReloadedOut;
use crate::alarm::Phrase;
use crate::base::{Moment, Name, RequestId, SourceRange};
use crate::config::diff::Said;
use crate::evidence::Utc;
use crate::lockout::Subject;

/// A text in an answer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Word(String);

impl Word {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn joined(parts: &[&'static str]) -> Self {
        Self(parts.concat())
    }

    pub(super) fn request(id: RequestId) -> Self {
        Self(format!("urn:sekisho:request:{}", id.as_str()))
    }

    pub(super) fn hex(number: u64) -> Self {
        Self(format!("{number:016x}"))
    }

    pub(super) fn hex_pair(upper: u64, lower: u64) -> Self {
        Self(format!("{upper:016x}{lower:016x}"))
    }

    /// Of a network nothing that may be personal data.
    pub(super) fn range(range: SourceRange) -> Self {
        Self(range.to_string())
    }

    /// A word of the program that went through the store; it has kept its form there.
    pub(super) fn phrase(phrase: &Phrase) -> Self {
        Self(phrase.as_str().to_owned())
    }

    /// A text of the configuration, or about it.
    pub(super) fn of_configuration(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// `2026-11-22T10:15:00.000Z`.
    pub(super) fn time(unix_ms: u64) -> Self {
        Self(String::from_utf8_lossy(&Utc::of(Moment::new(unix_ms, 0)).rfc3339()).into_owned())
    }

    /// `2027-01-31`.
    pub(super) fn day(unix_day: u32) -> Self {
        let mut time = Self::time(u64::from(unix_day).saturating_mul(86_400_000));
        time.0.truncate(10);
        time
    }
}

impl From<&'static str> for Word {
    fn from(text: &'static str) -> Self {
        Self(text.to_owned())
    }
}

impl From<&Name> for Word {
    fn from(name: &Name) -> Self {
        Self(name.as_str().to_owned())
    }
}

impl From<&Said> for Word {
    fn from(said: &Said) -> Self {
        Self(said.as_str().to_owned())
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Some of a list.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "PageOf{T}")]
pub struct Paged<T> {
    pub items: Vec<T>,
    /// `from` of the next page; not there on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
    /// Entries of the whole list.
    pub total: u64,
}

impl<T> Paged<T> {
    pub(super) fn whole(items: Vec<T>) -> Self {
        let total = u64::try_from(items.len()).unwrap_or(u64::MAX);
        Self { items, next: None, total }
    }
}

/// The gateway as a whole.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Gateway")]
pub struct GatewayOut {
    pub environment: Word,
    pub version: Word,
    /// Generation of the configuration in force.
    pub snapshot: u64,
    /// Why a balancer should send nothing here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unready: Option<Word>,
    /// Connections of callers that are open.
    pub connections: u64,
    pub requests_under_way: u64,
    /// Locks that hold.
    pub locks: u64,
    pub pending_acts: u64,
}

/// A key, a certificate, or what an authority says of certificates.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Key")]
pub struct KeyOut {
    /// certificate, key, authority, revocation-list, staple, key-set, issuer-key, secret, host-key,
    /// permit-issuer; of files that can't be used also network, denied-tokens.
    pub kind: Word,
    /// listener, upstream, issuer, api, redis, alarm, gateway.
    pub owner: Word,
    /// The owner's name, where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Word>,
    /// Place among the owner's of this kind, from 1.
    pub place: u64,
    /// Since when it counts; of a key set, when it was last fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Word>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_secs: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Word>,
    /// How old it may become.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age_secs: Option<u64>,
    /// good, ends-soon, ended, due-soon, too-old, unusable-file.
    pub state: Word,
}

/// Who asks.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Me")]
pub struct MeOut {
    pub operator: Word,
    pub role: Word,
    /// The acts this role may do.
    pub may: Vec<Word>,
}

/// What a lock is on; can be sent back as a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "ListedTarget")]
pub enum TargetOut {
    /// An identity's name.
    Identity(Word),
    /// An operation's name.
    Operation(Word),
    /// An upstream's name.
    Upstream(Word),
    /// Keyed hash of a seller's name.
    AccountHash(Word),
    /// Keyed hash of an IPv4 address, or of an IPv6 /64.
    SourceHash(Word),
    /// A network of source addresses, such as `203.0.113.0/24`; a narrow one, which may be one person's, as
    /// `ipv4/29/` and its keyed hash.
    Network(Word),
    /// Keyed hash of an order's id.
    OrderHash(Word),
    /// Keyed hash of a token's id.
    TokenHash(Word),
}

impl TargetOut {
    /// Its key in JSON, and its value.
    #[must_use]
    pub const fn parts(&self) -> (&'static str, &Word) {
        match self {
            Self::Identity(word) => ("identity", word),
            Self::Operation(word) => ("operation", word),
            Self::Upstream(word) => ("upstream", word),
            Self::AccountHash(word) => ("account-hash", word),
            Self::SourceHash(word) => ("source-hash", word),
            Self::Network(word) => ("network", word),
            Self::OrderHash(word) => ("order-hash", word),
            Self::TokenHash(word) => ("token-hash", word),
        }
    }
}

impl From<&Subject> for TargetOut {
    fn from(subject: &Subject) -> Self {
        match subject {
            Subject::Identity(name) => Self::Identity(name.into()),
            Subject::Operation(name) => Self::Operation(name.into()),
            Subject::Upstream(name) => Self::Upstream(name.into()),
            Subject::Account(hash) => Self::AccountHash(Word::hex(*hash)),
            Subject::Source(hash) => Self::SourceHash(Word::hex(*hash)),
            Subject::Network(range) => Self::Network(Word::range(*range)),
            Subject::Order(hash) => Self::OrderHash(Word::hex(*hash)),
            Subject::Token(hash) => Self::TokenHash(Word::hex(*hash)),
        }
    }
}

/// A lock that holds.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "HeldLock")]
pub struct LockOut {
    pub target: TargetOut,
    /// slow, step-up, lock, kill.
    pub step: Word,
    pub cause: Word,
    pub control: Word,
    /// The operator who imposed it; not there for the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Word>,
    pub since: Word,
    /// Not there: until it is released.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Word>,
    /// Requests refused because of it.
    pub attempts: u64,
    /// `unlock`, or `unlock-security-lock` where a security officer must do it.
    pub ends_by: Word,
}

/// An act that waits for a second person.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "PendingAct")]
pub struct PendingOut {
    pub id: Word,
    pub act: Word,
    pub targets: Vec<TargetOut>,
    /// The step of a lock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<Word>,
    /// The reason of a release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Word>,
    /// Of a reload: stands for what is to be read, as in the dry run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub print: Option<Word>,
    pub case: Word,
    /// Who asked for it, and can't confirm it.
    pub by: Word,
    pub since: Word,
    pub until: Word,
    /// The least role that may confirm it.
    pub role: Word,
}

/// What came of an act.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Done")]
pub struct ActOut {
    /// done; unkept: in force on this gateway, and not written down yet; pending: a second person has
    /// to confirm it; withdrawn.
    pub outcome: Word,
    pub act: Word,
    pub targets: Vec<TargetOut>,
    /// How far it has come: everywhere, or here. The others follow when the state can be reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reach: Option<Word>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<PendingOut>,
    /// What a reload changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reload: Option<ReloadedOut>,
}

/// One identity. Its owner is not told: a mail address is personal data.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Identity")]
pub struct IdentityOut {
    pub name: Word,
    /// service or person.
    pub kind: Word,
    pub roles: Vec<Word>,
    /// The hardest step that is on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Word>,
    /// Why it may not enter by the configuration: disabled, environment, expired.
    pub barred: Vec<Word>,
    /// When its access must have been reviewed (ACC-3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review_by: Option<Word>,
    /// Not there: not since this gateway was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<Word>,
}

/// What one identity was shown by one operation.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Exposure")]
pub struct ExposureOut {
    pub identity: Word,
    pub operation: Word,
    /// The beginning of the first hour or day that is counted, and the end of the last.
    pub from: Word,
    pub until: Word,
    pub answers: u64,
    pub bytes: u64,
    /// Records with personal data of anyone; one that was read twice counts twice.
    pub records: u64,
    /// Of these, records of a buyer or recipient.
    pub customers: u64,
    /// Different records among them, within 5 % or so.
    pub distinct: u64,
    /// Records that may stand in answers nobody could read, at most; in none of the other counts.
    pub unread: u64,
    /// For each class the records it occurs in.
    pub classes: BTreeMap<Word, u64>,
}

/// One detector.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Detector")]
pub struct DetectorOut {
    pub name: Word,
    pub control: Word,
    /// off, observe, enforce.
    pub mode: Word,
    /// What can be tuned, and what it is set to.
    pub settings: BTreeMap<String, f64>,
}

/// Who did most in the last minute.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Traffic")]
pub struct TrafficOut {
    pub at: Word,
    pub connections: u64,
    pub requests_under_way: u64,
    pub locks: u64,
    pub rows: Vec<TrafficRow>,
}

/// What one identity did in the last minute.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TrafficRow {
    /// Not there: callers who proved nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Word>,
    pub requests: u64,
    /// Of those, requests that were not served.
    pub refused: u64,
    pub bytes: u64,
    pub records: u64,
    /// The hardest step that is on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Word>,
}

/// Somebody who is told of alarms, and whether that works.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "AlarmTarget")]
pub struct TargetStatusOut {
    pub name: Word,
    /// webhook, alertmanager, syslog, journald, command.
    pub kind: Word,
    /// Alarms that wait for it.
    pub waiting: u64,
    /// When the oldest of them happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest: Option<Word>,
    /// Alarms it was told since the gateway started.
    pub told: u64,
    /// Alarms it was never told, ever.
    pub lost: u64,
    /// Why the last attempt failed; not there if it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Word>,
    /// When it last took a message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reached: Option<Word>,
}
