//! `[gateway]`, `[token]`, `[admin]`.
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::At;
use super::admin::RawApi;
use super::denied::RawDenied;
use super::value::{
    AddressText, AuthSchemeText, DurationText, HeaderText, NameText, PathText, PolicyGlob, SizeText,
};

/// The name of an environment, such as `production` or `test`.
pub(crate) type Environment = At<NameText>;

/// What this process is.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawGateway {
    /// The environment this gateway serves, such as `production` or `test`. Identities and keys of
    /// another environment are refused.
    #[schemars(extend("x-control" = "PRIV-5"))]
    pub(crate) environment: Environment,
    /// Directory for what the gateway must remember. It must exist and belong to the gateway's user.
    pub(crate) state_dir: At<PathText>,
    /// Worker threads. Default: one per processor.
    #[schemars(range(min = 1, max = 256))]
    pub(crate) threads: Option<u16>,
    /// How long requests may take to end when the gateway is told to stop.
    #[serde(default = "shutdown_grace")]
    #[schemars(extend("x-range" = ["1 s", "10 min"]))]
    pub(crate) shutdown_grace: DurationText,
    /// How old a private key may become before people are told to replace it.
    #[serde(default = "key_max_age")]
    #[schemars(extend("x-range" = ["1 day", "365 days"], "x-control" = "TLS-5"))]
    pub(crate) key_max_age: DurationText,
    /// How old a secret may become before people are told to replace it: passwords, what alarms are
    /// signed with, the host's key, the gateway's own; and the keys of those who sign permits or tokens.
    #[serde(default = "secret_max_age")]
    #[schemars(extend("x-range" = ["1 day", "1095 days"], "x-control" = "TLS-5"))]
    pub(crate) secret_max_age: DurationText,
    /// Policy files to merge in, such as `policy/*.toml`; read in the order of their names, at most
    /// 256 of them.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub(crate) policy: Vec<At<PolicyGlob>>,
}

const fn shutdown_grace() -> DurationText {
    DurationText(Duration::from_secs(30))
}

const fn key_max_age() -> DurationText {
    DurationText(Duration::from_secs(90 * 86_400))
}

const fn secret_max_age() -> DurationText {
    DurationText(Duration::from_secs(365 * 86_400))
}

/// Where callers put their token.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawToken {
    /// The request header that carries the token.
    pub(crate) header: At<HeaderText>,
    /// The word before the token; an empty text for a bare token.
    pub(crate) scheme: AuthSchemeText,
    /// Whether the token may also come as the password of Basic credentials (RFC 7617), from clients
    /// that can't set a header but take `https://user:TOKEN@gateway/…`. Default: it may not.
    pub(crate) basic: Option<At<BasicName>>,
    /// Tokens that count for nothing, by their `jti`: a list, or a file. Beside those that operators deny
    /// with `sekisho revoke`.
    #[schemars(extend("x-control" = "ACC-3"))]
    pub(crate) denied: RawDenied,
    /// The longest token that is looked at.
    #[schemars(extend("x-range" = ["1 KiB", "32 KiB"]))]
    pub(crate) bytes_max: SizeText,
}

/// What Basic credentials carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum BasicName {
    /// The password is the token; the user name is ignored.
    PasswordIsToken,
}

impl Default for RawToken {
    fn default() -> Self {
        Self {
            header: At::default_of(HeaderText("authorization".to_owned())),
            scheme: AuthSchemeText("Bearer".to_owned()),
            basic: None,
            denied: RawDenied::default(),
            bytes_max: SizeText(8 << 10),
        }
    }
}

/// Metrics and health, and the API of operators.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawAdmin {
    /// Where metrics and health are served. Loopback only.
    pub(crate) address: At<AddressText>,
    /// Where operators look, lock and unlock. Without it there is no such listener.
    pub(crate) api: Option<At<RawApi>>,
}

impl Default for RawAdmin {
    fn default() -> Self {
        let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9464);
        Self { address: At::default_of(AddressText(address)), api: None }
    }
}
