//! `[[issuer]]`.
use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::At;
use super::gateway::Environment;
use super::value::{DurationText, HttpsUrl, NameText, PathText};

/// Who may sign tokens.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawIssuer {
    /// Names the issuer in identities and logs.
    pub(crate) name: At<NameText>,
    /// The `iss` claim, byte for byte.
    #[schemars(length(min = 1, max = 1_024))]
    pub(crate) iss: At<String>,
    /// The `aud` claim must hold one of these.
    #[schemars(length(min = 1, max = 32))]
    pub(crate) audiences: At<Vec<At<String>>>,
    /// The only signature algorithms that are accepted.
    #[schemars(length(min = 1, max = 8))]
    pub(crate) algorithms: At<Vec<At<AlgorithmName>>>,
    /// Its public keys (RFC 7517).
    pub(crate) jwks: At<RawJwks>,
    /// How far clocks may differ.
    #[serde(default = "clock_skew")]
    #[schemars(extend("x-range" = ["0 s", "5 min"]))]
    pub(crate) clock_skew: DurationText,
    /// The environment whose tokens it signs, and no other's. Default: this gateway's.
    #[schemars(extend("x-control" = "PRIV-5"))]
    pub(crate) environment: Option<Environment>,
    /// A claim that must hold the environment's name.
    #[schemars(length(min = 1, max = 128), extend("x-control" = "PRIV-5"))]
    pub(crate) environment_claim: Option<At<String>>,
    /// Whether a token must say from when it counts (`nbf`). Some identity providers never do.
    #[serde(default)]
    pub(crate) not_before: Presence,
    /// Claims that must have exactly these values.
    #[serde(default)]
    pub(crate) required_claims: BTreeMap<String, ClaimText>,
    /// The claim that names the identity's subject.
    #[serde(default = "subject_claim")]
    #[schemars(length(min = 1, max = 128))]
    pub(crate) subject_claim: At<String>,
    /// Least time between two fetches of the keys that a token's unknown `kid` causes.
    #[serde(default = "jwks_cooldown")]
    #[schemars(extend("x-range" = ["1 s", "1 h"]))]
    pub(crate) jwks_cooldown: DurationText,
    /// Time between two fetches of the keys otherwise.
    #[serde(default = "jwks_refresh")]
    #[schemars(extend("x-range" = ["10 s", "24 h"]))]
    pub(crate) jwks_refresh: DurationText,
}

const fn clock_skew() -> DurationText {
    DurationText(Duration::from_secs(30))
}

fn subject_claim() -> At<String> {
    At::default_of("sub".to_owned())
}

const fn jwks_cooldown() -> DurationText {
    DurationText(Duration::from_secs(30))
}

const fn jwks_refresh() -> DurationText {
    DurationText(Duration::from_secs(600))
}

/// Whether something must be there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Presence {
    /// It must.
    #[default]
    Required,
    /// It need not.
    Optional,
}

/// A claim's value: a text, a whole number, or true or false.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum ClaimText {
    Text(String),
    Number(i64),
    Flag(bool),
}

/// Where a key set is: a file, or a URL.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawJwks {
    /// A file with the key set.
    pub(crate) file: Option<At<PathText>>,
    /// Where to fetch the key set.
    pub(crate) url: Option<At<HttpsUrl>>,
    /// PEM file with the authorities of the URL's certificate. Default: the machine's trust store.
    pub(crate) ca: Option<At<PathText>>,
}

/// A signature algorithm (RFC 7518, RFC 8037). `none` and shared secrets (HS256 …) do not exist here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub(crate) enum AlgorithmName {
    ES256,
    ES384,
    #[serde(rename = "EdDSA")]
    EdDsa,
    PS256,
    PS384,
    PS512,
    RS256,
    RS384,
    RS512,
}
