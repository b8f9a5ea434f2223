//! `[log]`.
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::At;
use super::value::{DurationText, PathText, SizeText};

/// The access log.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawLog {
    /// Where access records go: `"stdout"`, or `{ file = "…" }`.
    pub(crate) access: At<AccessTo>,
    /// A log file is closed and a new one begun at this size.
    #[schemars(extend("x-range" = ["1 MiB", "16 GiB"]))]
    pub(crate) rotate_bytes: SizeText,
    /// … or at this age.
    #[schemars(extend("x-range" = ["1 min", "31 days"]))]
    pub(crate) rotate_every: DurationText,
    /// How long log files are kept. Amazon's policy asks for 12 months.
    #[schemars(extend("x-range" = ["365 days", "3660 days"], "x-control" = "LOG-4"))]
    pub(crate) keep: At<DurationText>,
}

impl Default for RawLog {
    fn default() -> Self {
        Self {
            access: At::default(),
            rotate_bytes: SizeText(256 << 20),
            rotate_every: DurationText(Duration::from_secs(86_400)),
            keep: At::default_of(DurationText(Duration::from_secs(400 * 86_400))),
        }
    }
}

/// Where access records go.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AccessTo {
    /// Standard output; whoever collects it must keep it long enough.
    #[default]
    Stdout,
    /// A file, rotated beside itself.
    File(PathText),
}
