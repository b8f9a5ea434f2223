//! `[state]`: what survives restarts, and what several gateways share.
use std::borrow::Cow;
use std::time::Duration;

use rustls_pki_types::ServerName;
use schemars::JsonSchema;
use serde::Deserialize;

use super::At;
use super::listener::{RawCertified, SecretRef};
use super::value::{DurationText, HostText, Misfit, NameText, PathText, TextValue, quoted};
use crate::base::ControlId;

/// Where the gateway keeps what it must not forget: locks, spent quotas, what was revealed to whom,
/// histories. Always in a file of `gateway.state_dir`; several gateways share locks and quotas through
/// a server beside it.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawState {
    /// The number of this gateway among those that share a server: another one on each, the same after
    /// a restart. Needed with `redis`.
    #[schemars(range(min = 1, max = 65_535))]
    pub(crate) gateway: Option<At<u16>>,
    /// The server through which several gateways share locks and quotas.
    pub(crate) redis: Option<At<RawRedis>>,
}

/// A Redis 7 or Valkey server. Always with TLS 1.3; its certificate is always verified.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawRedis {
    /// Host and port of the server, which is one: behind a name that follows the primary where there
    /// are several.
    #[schemars(extend("x-control" = "TLS-1"))]
    pub(crate) address: At<ServerText>,
    /// The name in the server's certificate. Default: the host of `address`.
    #[schemars(extend("x-control" = "TLS-2"))]
    pub(crate) server_name: Option<At<HostText>>,
    /// PEM file with the authorities of the server's certificate. There is no default: a server of
    /// state is the operator's own.
    #[schemars(extend("x-control" = "TLS-2"))]
    pub(crate) ca: At<PathText>,
    /// The certificate that this gateway shows, where the server asks for one.
    pub(crate) client_certificate: Option<At<RawCertified>>,
    /// A user of the server's access list, who may no more than `deploy/README.md` says.
    #[schemars(extend("x-control" = "PRIV-4"))]
    pub(crate) user: NameText,
    /// The user's password: a file's path, or `{ file = … }`, `{ env = … }`, `{ command = […] }`.
    #[schemars(extend("x-control" = "PRIV-4"))]
    pub(crate) password: At<SecretRef>,
    /// The secret of the gateways, the same on all of them: 32 random bytes, or 64 hexadecimal digits.
    /// What the server says is believed only under it.
    #[schemars(extend("x-control" = "PRIV-5"))]
    pub(crate) secret: At<SecretRef>,
    /// The longest wait for an answer of the server.
    #[serde(default = "time_out")]
    #[schemars(extend("x-range" = ["50 ms", "5 s"]))]
    pub(crate) time_out: DurationText,
    /// How often to look for locks of other gateways without being told of them.
    #[serde(default = "poll")]
    #[schemars(extend("x-range" = ["50 ms", "1 s"]))]
    pub(crate) poll: DurationText,
}

const fn time_out() -> DurationText {
    DurationText(Duration::from_millis(500))
}

const fn poll() -> DurationText {
    DurationText(Duration::from_millis(250))
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerText {
    /// Lower case; an IPv6 address without brackets.
    pub host: String,
    pub port: u16,
}

impl TextValue for ServerText {
    const FORMAT: &'static str = "sekisho-server";
    const WHAT: &'static str = "a host and its port";
    const EXAMPLE: &'static str = "redis.internal:6379";
    const PATTERN: &'static str = "^(\\[[0-9A-Fa-f:.]+\\]|[A-Za-z0-9._-]+):[0-9]{1,5}$";

    fn parse_text(text: &str) -> Result<Self, Misfit> {
        if let Some((scheme, rest)) = text.split_once("://") {
            let found = match scheme {
                "redis" | "unix" => {
                    format!("{} is plaintext, which is never spoken", quoted(scheme))
                }
                _ => format!("{} is a URL", quoted(text)),
            };
            let instead = match Self::parts(rest) {
                Some(server) => format!("write \"{}\"; it is always TLS", server.to_text()),
                None => format!("write {}, such as \"{}\"", Self::WHAT, Self::EXAMPLE),
            };
            return Err(Misfit::new(found, instead).under(ControlId::Tls1));
        }
        Self::parts(text).ok_or_else(|| Self::misfit(text).under(ControlId::Tls1))
    }

    fn to_text(&self) -> Cow<'_, str> {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port).into()
        } else {
            format!("{}:{}", self.host, self.port).into()
        }
    }
}

impl ServerText {
    fn parts(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let digits = port.bytes().all(|b| b.is_ascii_digit());
        let port = port.parse().ok().filter(|port| digits && *port > 0)?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        if bare.unwrap_or(host).contains(':') != bare.is_some() {
            return None;
        }
        let host = bare.unwrap_or(host).to_ascii_lowercase();
        ServerName::try_from(host.clone()).ok()?;
        Some(Self { host, port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_1_a_server_is_a_host_and_a_port_and_never_plaintext() {
        for (text, normal) in [
            ("Redis.internal:6379", "redis.internal:6379"),
            ("127.0.0.1:1", "127.0.0.1:1"),
            ("[::1]:6380", "[::1]:6380"),
        ] {
            assert_eq!(ServerText::parse_text(text).unwrap().to_text(), normal);
        }
        for bad in
            ["redis", "redis:", "redis:0", "redis:+1", "::1:6379", "[redis]x:1", ":1", "a b:1"]
        {
            assert!(ServerText::parse_text(bad).is_err(), "{bad}");
        }
        let misfit = ServerText::parse_text("redis://localhost:6379").unwrap_err();
        assert!(misfit.found.contains("plaintext"), "{misfit:?}");
        assert_eq!(misfit.instead, "write \"localhost:6379\"; it is always TLS");
        assert!(ServerText::parse_text("unix:///run/redis.sock").is_err());
    }
}
