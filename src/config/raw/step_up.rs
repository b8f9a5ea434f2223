//! `[step_up]`.
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::At;
use super::value::{DurationText, LoginWord, PatternText};
use crate::identity::StrongLogin;

/// Which logins count where more than a token is asked, and what always takes one.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawStepUp {
    /// Methods that tokens name in `amr` (RFC 8176): one of them is enough.
    #[schemars(length(max = 32))]
    pub(crate) amr: Vec<LoginWord>,
    /// Classes that tokens name in `acr`: one of them is enough, too. Callers are told of them.
    #[schemars(length(max = 32))]
    pub(crate) acr: Vec<LoginWord>,
    /// How long ago the login may have been, by the token's `auth_time`.
    #[schemars(extend("x-range" = ["1 min", "24 h"]))]
    pub(crate) within: DurationText,
    /// Operations that take such a login, whoever calls them.
    #[schemars(length(max = 1_024))]
    pub(crate) operations: Vec<At<PatternText>>,
}

impl Default for RawStepUp {
    fn default() -> Self {
        Self {
            amr: StrongLogin::METHODS.map(|word| LoginWord(word.to_owned())).into(),
            acr: Vec::new(),
            within: DurationText(Duration::from_secs(900)),
            operations: Vec::new(),
        }
    }
}

/// When a role takes a fresh login with several factors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum StepUpName {
    /// When something about the identity is out of the ordinary.
    #[default]
    WhenSuspected,
    /// Always.
    Always,
}
