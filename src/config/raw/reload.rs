//! `[reload]`.
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::value::DurationText;

/// How another configuration comes into force. Main file only.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawReload {
    /// Whether files that changed are taken up by themselves, or wait for SIGHUP or `sekisho reload`.
    pub(crate) apply: ApplyName,
    /// How long a configuration is on trial: more failures than in the ten minutes before, beyond
    /// chance, count against it.
    #[schemars(extend("x-range" = ["10 s", "30 min"]))]
    pub(crate) trial: DurationText,
    /// What follows then. Whatever is said here, nothing that a change took away is given back.
    pub(crate) on_errors: OnErrorsName,
}

impl Default for RawReload {
    fn default() -> Self {
        Self {
            apply: ApplyName::default(),
            trial: DurationText(Duration::from_secs(120)),
            on_errors: OnErrorsName::default(),
        }
    }
}

/// When files that changed are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ApplyName {
    /// Within two seconds.
    #[default]
    OnChange,
    /// When somebody asks for it.
    OnRequest,
}

/// What follows when more fails than before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum OnErrorsName {
    /// The configuration before it is put back in force, and people are told.
    #[default]
    RollBack,
    /// People are told.
    Alarm,
}
