//! `[[listener.pass]]`: TLS that is passed on and ends elsewhere.
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::At;
use super::value::{DurationText, HostText, NameText, ServerText};

/// Connections whose TLS ends at another gateway. Nothing of them is read but the server name in
/// their first message.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawPass {
    /// Names the route in logs and metrics.
    pub(crate) name: At<NameText>,
    /// The TLS server names whose connections go this way; `*.` in front stands for one label.
    #[serde(default)]
    #[schemars(length(max = 1_024))]
    pub(crate) server_names: At<Vec<At<HostText>>>,
    /// What becomes of connections that name no server. Default: they are refused, or TLS ends here.
    pub(crate) nameless: Option<At<NamelessName>>,
    /// The gateways they go to: each has the same certificates.
    #[schemars(length(max = 64))]
    pub(crate) targets: At<Vec<At<RawPassTarget>>>,
    /// How the client's address is told to the targets.
    #[serde(default)]
    #[schemars(extend("x-control" = "NET-3"))]
    pub(crate) proxy: At<ProxyName>,
    /// For one TCP connection to a target. As many targets are tried as there are, three at most.
    #[serde(default = "connect_timeout")]
    #[schemars(extend("x-range" = ["100 ms", "1 min"]))]
    pub(crate) connect_timeout: DurationText,
    /// How often each target is connected to, to see whether it is there.
    #[serde(default = "check")]
    #[schemars(extend("x-range" = ["1 s", "10 min"]))]
    pub(crate) check: DurationText,
    /// Failures in a row until a target is left alone. One that nobody can connect to comes back with
    /// the first check that succeeds, one that answers no TLS with the first connection that has TLS.
    #[serde(default = "failures")]
    #[schemars(range(min = 1, max = 1_000))]
    pub(crate) failures: u32,
    /// How long both sides may be silent.
    #[serde(default = "idle")]
    #[schemars(extend("x-range" = ["1 s", "24 h"]))]
    pub(crate) idle: DurationText,
    /// Connections at a time. Default: the listener's bound.
    #[schemars(range(min = 1, max = 1_000_000), extend("x-control" = "MON-5"))]
    pub(crate) connections: Option<At<u32>>,
}

const fn connect_timeout() -> DurationText {
    DurationText(Duration::from_secs(3))
}

const fn check() -> DurationText {
    DurationText(Duration::from_secs(5))
}

const fn failures() -> u32 {
    3
}

const fn idle() -> DurationText {
    DurationText(Duration::from_secs(300))
}

/// One gateway.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawPassTarget {
    /// Names the target in logs and metrics.
    pub(crate) name: At<NameText>,
    /// Host and port.
    pub(crate) address: At<ServerText>,
}

/// What becomes of connections that name no server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum NamelessName {
    /// They are passed on.
    Pass,
}

/// How the client's address is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ProxyName {
    /// By a PROXY header of version 2, before the first byte.
    #[default]
    V2,
    /// Not at all: for targets that can't read it. This gateway's address counts there.
    None,
}
