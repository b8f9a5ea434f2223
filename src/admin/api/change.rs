//! What a reload would change or changed, as answers, and how a configuration stands its trial.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shape::Word;
use crate::config::diff::{Diff, Line};
use crate::config::{ConfigError, ConfigErrors};
use crate::engine::{Judged, Print, TrialView};

/// The most mistakes that are told; `sekisho check` tells more.
const ERRORS_MAX: usize = 50;

/// What another configuration changes; what widens comes first.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Change")]
pub struct ChangeOut {
    /// Differences that let more be done,
    pub widens: u64,
    /// that let less be done,
    pub narrows: u64,
    /// and that do neither.
    pub neutral: u64,
    pub lines: Vec<ChangeLine>,
    /// Lines that are left out, the least telling first.
    pub omitted: u64,
}

/// One difference.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ChangeLine {
    /// widens, narrows, neutral.
    pub direction: Word,
    pub control: Word,
    /// What it is about: identity, grant, network, listener and so on.
    pub part: Word,
    /// About which, at most eight of them.
    pub names: Vec<Word>,
    /// How many it is about.
    pub count: u64,
    /// All of this role's identities, where it is exactly they.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of_role: Option<Word>,
    pub what: Word,
    /// Operations, prefixes and the like, at most 24 of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<Word>,
    /// How many items there are.
    #[serde(default)]
    pub item_count: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Word>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Word>,
}

/// A mistake in the configuration, or a doubt about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Mistake")]
pub struct MistakeOut {
    pub file: Word,
    pub line: u64,
    pub column: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control: Option<Word>,
    pub found: Word,
    /// What to write instead.
    pub instead: Word,
}

/// What the files would change.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "DryRun")]
pub struct DryRunOut {
    /// Generation of the configuration in force.
    pub snapshot: u64,
    /// Whether it could be put in force: can, can-not, put-back-before.
    pub outcome: Word,
    /// Stands for what was read: a reload that is asked for with it applies that and nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub print: Option<Word>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<ChangeOut>,
    /// The act that it would be: reload, or reload-widening.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<Word>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mistakes: Vec<MistakeOut>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<MistakeOut>,
    /// Why it could not be put in force all the same: what only a restart can change, an address that
    /// can't be had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked: Option<Word>,
    /// Why it was put back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub put_back: Option<JudgedOut>,
}

/// A reload that was done.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Reloaded")]
pub struct ReloadedOut {
    pub snapshot: u64,
    pub took_ms: u64,
    /// Until when it is on trial.
    pub trial_until: Word,
    pub change: ChangeOut,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<MistakeOut>,
    /// Why the files' own texts were put back and are not in force: only what those in force refer to
    /// was read again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<JudgedOut>,
}

/// How the configuration in force stands.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Trial")]
pub struct TrialOut {
    pub snapshot: u64,
    /// Until when it is on trial; not there if it stood it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial_until: Option<Word>,
    /// What was put back last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub put_back: Option<JudgedOut>,
}

/// What a configuration was found to have done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Judged")]
pub struct JudgedOut {
    pub snapshot: u64,
    pub at: Word,
    /// upstream, listener, access, gateway.
    pub place: Word,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Word>,
    /// Requests, or handshakes, that were looked at,
    pub sent: u64,
    /// and how many of them failed.
    pub failed: u64,
    /// Failures in a thousand now, before, and up to where it would have been chance.
    pub seen: u64,
    pub expected: u64,
    pub limit: u64,
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

impl From<&Diff> for ChangeOut {
    fn from(diff: &Diff) -> Self {
        Self {
            widens: count(diff.counts.widens),
            narrows: count(diff.counts.narrows),
            neutral: count(diff.counts.neutral),
            lines: diff.lines.iter().map(ChangeLine::from).collect(),
            omitted: count(diff.omitted),
        }
    }
}

impl From<&Line> for ChangeLine {
    fn from(line: &Line) -> Self {
        Self {
            direction: line.direction.as_str().into(),
            control: line.part.control().as_str().into(),
            part: line.part.as_str().into(),
            names: line.names.iter().map(Word::from).collect(),
            count: count(line.count),
            of_role: line.of_role.as_ref().map(Word::from),
            what: line.what.into(),
            items: line.items.iter().map(Word::from).collect(),
            item_count: count(line.item_count),
            from: line.from.as_ref().map(Word::from),
            to: line.to.as_ref().map(Word::from),
        }
    }
}

impl From<&ConfigError> for MistakeOut {
    fn from(error: &ConfigError) -> Self {
        Self {
            file: Word::of_configuration(error.file.display().to_string()),
            line: count(error.line),
            column: count(error.column),
            control: error.control.map(|control| control.as_str().into()),
            found: Word::of_configuration(&error.found),
            instead: Word::of_configuration(&error.instead),
        }
    }
}

impl MistakeOut {
    pub(super) fn all(errors: &ConfigErrors) -> Vec<Self> {
        Self::some(&errors.errors)
    }

    pub(super) fn some(list: &[ConfigError]) -> Vec<Self> {
        list.iter().take(ERRORS_MAX).map(Self::from).collect()
    }
}

impl From<&Judged> for JudgedOut {
    fn from(judged: &Judged) -> Self {
        Self {
            snapshot: judged.generation,
            at: Word::time(judged.at.unix_ms()),
            place: judged.place().into(),
            name: judged.name().map(Word::from),
            sent: judged.blame.sent,
            failed: judged.blame.failed,
            seen: judged.blame.seen,
            expected: judged.blame.expected,
            limit: judged.blame.limit,
        }
    }
}

impl From<&TrialView> for TrialOut {
    fn from(view: &TrialView) -> Self {
        Self {
            snapshot: view.generation,
            trial_until: view.until.map(|until| Word::time(until.unix_ms())),
            put_back: view.put_back.as_ref().map(JudgedOut::from),
        }
    }
}

/// 32 digits.
pub(super) fn written(print: Print) -> Word {
    let (upper, lower) = (print.0.first_chunk::<8>(), print.0.last_chunk::<8>());
    let half = |bytes: Option<&[u8; 8]>| u64::from_be_bytes(bytes.copied().unwrap_or_default());
    Word::hex_pair(half(upper), half(lower))
}
