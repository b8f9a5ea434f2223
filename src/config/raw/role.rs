//! `[role.…]`.
use schemars::JsonSchema;
use serde::Deserialize;

use super::At;
use super::issuer::Presence;
use super::limit::RawLimit;
use super::step_up::StepUpName;
use super::value::PatternText;

/// What may be done, for which purpose.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawRole {
    /// Why somebody needs this, for the record of processing.
    #[schemars(length(min = 1, max = 500), extend("x-control" = "AUD-2"))]
    pub(crate) purpose: At<String>,
    /// Operations, such as `orders/getOrders`, `orders/*`, `warehouse/*:read`. An empty list grants
    /// nothing.
    #[schemars(length(max = 1_024))]
    pub(crate) allow: At<Vec<At<PatternText>>>,
    /// What a query must look like.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub(crate) query: Vec<At<RawQuery>>,
    /// How much each identity with this role may do.
    #[serde(default)]
    #[schemars(length(max = 64), extend("x-control" = "MON-2"))]
    pub(crate) limits: Vec<At<RawLimit>>,
    /// The part of Amazon's quotas that each identity with this role gets where others want them
    /// too, relative to theirs. Default: 1.
    #[schemars(range(min = 1, max = 100), extend("x-control" = "MON-2"))]
    pub(crate) weight: Option<u8>,
    /// Whether what this role grants takes a fresh login with several factors; see `[step_up]`.
    #[serde(default)]
    #[schemars(extend("x-control" = "ACC-4"))]
    pub(crate) step_up: At<StepUpName>,
}

/// A condition on the query: parameters that are refused, or a parameter's permitted values.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawQuery {
    /// The operations it holds for.
    #[schemars(length(min = 1, max = 256))]
    pub(crate) operations: Vec<At<PatternText>>,
    /// Parameters that must not be sent.
    #[schemars(length(min = 1, max = 128))]
    pub(crate) deny: Option<Vec<At<String>>>,
    /// A parameter each of whose values must be one of `values`.
    #[schemars(length(min = 1, max = 128))]
    pub(crate) parameter: Option<At<String>>,
    /// The values that are permitted; `*` is any run of characters.
    #[schemars(length(min = 1, max = 1_024))]
    pub(crate) values: Option<At<Vec<At<String>>>>,
    /// Whether the parameter must be sent: leaving it out often means "all".
    #[serde(default)]
    pub(crate) presence: Presence,
}
