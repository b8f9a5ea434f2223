//! `pacing` of an upstream, and the weights of roles and identities.
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::At;
use super::value::{DurationText, NameText, PatternText, RateText};

/// How calls share Amazon's quotas.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawPacing {
    /// How long a call waits for its turn at most if it does not say so itself.
    #[serde(default = "wait")]
    #[schemars(extend("x-range" = ["0 s", "10 min"]))]
    pub(crate) wait: At<DurationText>,
    /// How long a call may wait that asks for it by `Sekisho-Max-Wait`.
    #[serde(default = "max_wait")]
    #[schemars(extend("x-range" = ["0 s", "10 min"]))]
    pub(crate) max_wait: At<DurationText>,
    /// The application that callers' tokens belong to: Amazon counts each apart. Default: one for
    /// all upstreams, so that no quota is taken for two.
    pub(crate) application: Option<NameText>,
    /// Plans that Amazon has granted and that differ from those it publishes. What it says in
    /// `x-amzn-RateLimit-Limit` is followed without being written here. Where two name an operation
    /// the later one holds.
    #[serde(default)]
    #[schemars(length(max = 256))]
    pub(crate) plans: Vec<At<RawPlan>>,
}

/// One of Amazon's plans: a rate, and how many calls may come at once.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawPlan {
    /// The operations that have it, each for itself.
    #[schemars(length(min = 1, max = 256))]
    pub(crate) operations: Vec<At<PatternText>>,
    /// Calls over time, such as `1/min`: at most 10000 a second, at least one a day.
    pub(crate) rate: At<RateText>,
    /// Calls at once.
    #[schemars(range(min = 1, max = 10_000))]
    pub(crate) burst: u32,
}

/// Half of the shortest time after which a common client gives an answer up (the 10 s of `OkHttp`, which
/// Amazon's SDK for Java has): the other half is for Amazon's answer.
const fn wait() -> At<DurationText> {
    At::default_of(DurationText(Duration::from_secs(5)))
}

/// As long as most clients and everything between them and the gateway keep a silent connection.
const fn max_wait() -> At<DurationText> {
    At::default_of(DurationText(Duration::from_secs(60)))
}

impl Default for RawPacing {
    fn default() -> Self {
        Self { wait: wait(), max_wait: max_wait(), application: None, plans: Vec::new() }
    }
}
