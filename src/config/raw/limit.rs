//! `limits` of roles and identities, and `[limit.…]`.
use schemars::JsonSchema;
use serde::Deserialize;

use super::At;
use super::value::{PatternText, RateText, VolumeText};

/// How much may be done. Everything that is given holds at once.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawLimit {
    /// The operations that are counted together.
    #[schemars(length(min = 1, max = 256))]
    pub(crate) operations: Vec<At<PatternText>>,
    /// Requests, such as `["10/s", "300/min"]`.
    #[serde(default)]
    #[schemars(length(max = 8))]
    pub(crate) requests: Vec<At<RateText>>,
    /// Bytes of request and answer bodies, such as `["2 GB/day"]`. Charged while they pass: what has
    /// begun may end, but is cut once it has run over by as much again, 4 MiB at most; who has run over
    /// waits until it is made up for.
    #[serde(default)]
    #[schemars(length(max = 8), extend("x-control" = "MON-3"))]
    pub(crate) bytes: Vec<At<VolumeText>>,
    /// Records of personal data in answers, such as `["5000/day"]`. Charged as bytes are; cut is what
    /// has run over by as much again, 100 records at most.
    #[serde(default)]
    #[schemars(length(max = 8), extend("x-control" = "MON-3"))]
    pub(crate) pii_records: Vec<At<RateText>>,
    /// Requests at the same time.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(crate) concurrent: Option<u32>,
    /// Whose use is added up: `identity` or `role` in a role, `seller` or `gateway` in `[limit.…]`.
    /// Default: `identity`, and in `[limit.…]` `gateway`.
    pub(crate) per: Option<At<Per>>,
    /// What happens when it is used up. Default: enforce.
    #[serde(default)]
    pub(crate) mode: ModeName,
}

/// Whose use a limit adds up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Per {
    /// Each identity has its own.
    Identity,
    /// All that hold the role share one.
    Role,
    /// All share one for each seller account; see `seller` of an upstream.
    Seller,
    /// All share one.
    Gateway,
}

/// What happens when a limit is used up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ModeName {
    /// Refuse.
    #[default]
    Enforce,
    /// Let pass and count, to try a limit out beside those in force.
    Shadow,
}
