//! `[[upstream]]`.
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::At;
use super::listener::RawCertified;
use super::pacing::RawPacing;
use super::value::{
    AddressText, CertificatePin, DurationText, HostText, HttpsUrl, NameText, PathText,
};

/// Where requests go. Always with TLS; the certificate is always verified.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawUpstream {
    /// Names the upstream in listeners, operations, logs and metrics.
    pub(crate) name: At<NameText>,
    /// `sp-api` knows Amazon's hosts and operations; `https` is an internal store.
    pub(crate) kind: At<KindName>,
    /// The seller account that is reached through it; several upstreams may lead to one. Default: the
    /// upstream's name.
    pub(crate) seller: Option<NameText>,
    /// Amazon's region. Needed for `sp-api`, and only there.
    pub(crate) region: Option<At<RegionName>>,
    /// Amazon's production or its sandbox. For `sp-api` only. Default: production.
    #[schemars(extend("x-control" = "PRIV-5"))]
    pub(crate) stage: Option<At<StageName>>,
    /// Host and port. Needed for `https`; for `sp-api` it overrides Amazon's host (mock, tests).
    pub(crate) endpoint: Option<At<HttpsUrl>>,
    /// For `sp-api`: overrides Login with Amazon's token server (mock, tests).
    pub(crate) token_endpoint: Option<At<HttpsUrl>>,
    /// Addresses of `endpoint`, instead of asking DNS.
    #[serde(default)]
    #[schemars(length(max = 256))]
    pub(crate) addresses: At<Vec<At<AddressText>>>,
    /// Serve this upstream only to callers that asked for one of these TLS server names: several
    /// regions on one listener.
    #[serde(default)]
    #[schemars(length(max = 256), extend("x-control" = "PRIV-1"))]
    pub(crate) server_names: At<Vec<At<HostText>>>,
    /// PEM file with the authorities of its certificate. Default: the machine's trust store.
    #[schemars(extend("x-control" = "TLS-2"))]
    pub(crate) ca: Option<At<PathText>>,
    /// SHA-256 of certificates, one of which must be the upstream's own, beside verifying. List the
    /// next one before it is renewed.
    #[serde(default)]
    #[schemars(length(max = 64), extend("x-control" = "TLS-2"))]
    pub(crate) pins: Vec<At<CertificatePin>>,
    /// The certificate this gateway shows.
    pub(crate) client_certificate: Option<At<RawCertified>>,
    /// For the TCP connection, and again for the TLS handshake.
    #[serde(default = "connect_timeout")]
    #[schemars(extend("x-range" = ["100 ms", "1 min"]))]
    pub(crate) connect_timeout: DurationText,
    /// From the end of the request to the answer's head, and between parts of its body.
    #[serde(default = "response_timeout")]
    #[schemars(extend("x-range" = ["1 s", "10 min"]))]
    pub(crate) response_timeout: DurationText,
    /// How long an unused connection is kept.
    #[serde(default = "idle_timeout")]
    #[schemars(extend("x-range" = ["1 s", "10 min"]))]
    pub(crate) idle_timeout: DurationText,
    /// The HTTP version to speak.
    #[serde(default)]
    pub(crate) protocol: ProtocolName,
    /// Further tries when a connection fails before anything was sent.
    #[serde(default = "retries")]
    #[schemars(range(min = 0, max = 5))]
    pub(crate) retries: u8,
    /// When to stop trying for a while.
    #[serde(default)]
    pub(crate) breaker: RawBreaker,
    /// How calls share Amazon's quotas. For `sp-api` only.
    #[schemars(extend("x-control" = "MON-2"))]
    pub(crate) pacing: Option<At<RawPacing>>,
}

const fn connect_timeout() -> DurationText {
    DurationText(Duration::from_secs(5))
}

const fn response_timeout() -> DurationText {
    DurationText(Duration::from_secs(60))
}

const fn idle_timeout() -> DurationText {
    DurationText(Duration::from_secs(60))
}

const fn retries() -> u8 {
    1
}

/// What an upstream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum KindName {
    /// Amazon's Selling Partner API.
    SpApi,
    /// An internal store.
    Https,
}

/// A region of the Selling Partner API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RegionName {
    /// US, CA, MX, BR.
    Na,
    /// Europe, the Middle East, Africa, India.
    Eu,
    /// JP, AU, SG.
    Fe,
}

/// Production or sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StageName {
    /// Real orders.
    Production,
    /// Amazon's sandbox.
    Sandbox,
}

/// The HTTP version spoken to an upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub(crate) enum ProtocolName {
    /// Whatever the upstream picks.
    #[default]
    #[serde(rename = "auto")]
    Auto,
    /// HTTP/1.1.
    #[serde(rename = "http/1.1")]
    Http11,
    /// HTTP/2.
    #[serde(rename = "h2")]
    H2,
}

/// When to stop trying an upstream for a while.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawBreaker {
    /// Failures in a row until it opens.
    #[schemars(range(min = 1, max = 1_000))]
    pub(crate) failures: u32,
    /// How long it stays open.
    #[schemars(extend("x-range" = ["1 s", "10 min"]))]
    pub(crate) open: DurationText,
}

impl Default for RawBreaker {
    fn default() -> Self {
        Self { failures: 5, open: DurationText(Duration::from_secs(10)) }
    }
}
