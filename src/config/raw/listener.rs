//! `[[listener]]`, with its TLS and its bounds.
use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::At;
use super::pass::RawPass;
use super::value::{
    AddressText, ByteRateText, DurationText, NameText, PathText, RateText, SizeText, TextValue,
};

/// Where callers connect. Always with TLS: it ends here (`tls`), or is passed on (`pass`), or both, by
/// the server name that the caller asks for.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawListener {
    /// Names the listener in logs and metrics.
    pub(crate) name: At<NameText>,
    /// IP address and port.
    pub(crate) address: At<AddressText>,
    /// The networks that may connect. Everybody else is refused before TLS starts; an empty list
    /// admits nobody and is an error.
    pub(crate) networks: At<Vec<At<NameText>>>,
    /// The upstreams that are reached through this listener. Needed where TLS ends, and only there.
    #[serde(default)]
    #[schemars(extend("x-control" = "PRIV-1"))]
    pub(crate) upstreams: At<Vec<At<NameText>>>,
    /// Set it behind a load balancer that sends a PROXY header (v1 or v2).
    #[schemars(extend("x-control" = "NET-3"))]
    pub(crate) proxy_protocol: Option<At<RawProxyProtocol>>,
    /// Certificates, versions, client certificates. Without it no key is needed on this host, and every
    /// connection is passed on or refused.
    #[schemars(extend("x-control" = "TLS-1"))]
    pub(crate) tls: Option<At<RawTls>>,
    /// Connections whose TLS ends at another gateway, by server name.
    #[serde(default)]
    #[schemars(length(max = 64), extend("x-control" = "TLS-3"))]
    pub(crate) pass: At<Vec<At<RawPass>>>,
    /// What one client, connection or request may take.
    #[serde(default)]
    #[schemars(extend("x-control" = "MON-5"))]
    pub(crate) bounds: At<RawBounds>,
}

/// The balancers in front of a listener.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawProxyProtocol {
    /// The balancers' networks. The header is mandatory from them, and nobody else may connect.
    pub(crate) from: At<Vec<At<NameText>>>,
}

/// How a listener speaks TLS. There is no switch that turns it off.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawTls {
    /// The first is the default; the others serve the DNS names they hold.
    pub(crate) certificates: At<Vec<At<RawCertified>>>,
    /// PEM file with the authorities of client certificates.
    pub(crate) client_ca: Option<At<PathText>>,
    /// Lists of revoked client certificates (CRL, PEM or DER), one of each authority. With any of them a
    /// certificate passes only if a list that is in date speaks for it, and for each above it.
    #[serde(default)]
    #[schemars(length(max = 32), extend("x-control" = "ACC-3"))]
    pub(crate) client_crl: At<Vec<At<PathText>>>,
    /// Whether clients must, may or need not show a certificate.
    #[serde(default)]
    pub(crate) client_auth: At<ClientAuthName>,
    /// The oldest version that is spoken.
    #[serde(default)]
    pub(crate) min_version: At<TlsVersionName>,
    /// HTTP versions to offer, the preferred one first.
    #[serde(default = "alpn")]
    pub(crate) alpn: At<Vec<At<AlpnName>>>,
}

fn alpn() -> At<Vec<At<AlpnName>>> {
    At::default_of(vec![At::default_of(AlpnName::H2), At::default_of(AlpnName::Http11)])
}

/// A certificate with its private key.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawCertified {
    /// PEM file: the certificate, then its intermediates.
    pub(crate) certificate: At<PathText>,
    /// The private key: a file's path, or `{ file = … }`, `{ env = … }`, `{ command = […] }`.
    #[schemars(extend("x-control" = "PRIV-4"))]
    pub(crate) key: At<SecretRef>,
    /// DER file with what the authority says of the certificate (OCSP), shown to clients with it.
    #[schemars(extend("x-control" = "TLS-5"))]
    pub(crate) ocsp: Option<At<PathText>>,
}

/// Whether a client certificate is asked for.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ClientAuthName {
    /// Not asked for.
    #[default]
    None,
    /// Asked for; one that is sent must verify.
    Optional,
    /// Without one there is no connection.
    Required,
}

/// A TLS version.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema)]
pub(crate) enum TlsVersionName {
    /// TLS 1.2, with AEAD and ECDHE suites only. By explicit choice.
    #[serde(rename = "1.2")]
    V1_2,
    /// TLS 1.3.
    #[default]
    #[serde(rename = "1.3")]
    V1_3,
}

/// An HTTP version as TLS names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub(crate) enum AlpnName {
    /// HTTP/2.
    #[serde(rename = "h2")]
    H2,
    /// HTTP/1.1.
    #[serde(rename = "http/1.1")]
    Http11,
}

/// Where a secret is kept. It is never written into the configuration itself.
#[derive(Clone, Debug)]
pub(crate) enum SecretRef {
    /// A file that only the gateway's user may read.
    File(PathText),
    /// An environment variable.
    Env(String),
    /// A program and its arguments; what it prints is the secret. Run without a shell, 10 s at most.
    Command(Vec<String>),
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Tagged {
    /// A file that only the gateway's user may read.
    File(PathText),
    /// An environment variable.
    Env(String),
    /// A program and its arguments; what it prints is the secret. Run without a shell, 10 s at most.
    Command(Vec<String>),
}

impl<'de> Deserialize<'de> for SecretRef {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = SecretRef;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a file's path or a reference to a secret")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<SecretRef, E> {
                PathText::parse_text(text).map(SecretRef::File).map_err(|m| E::custom(m.found))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<SecretRef, A::Error> {
                Ok(match Tagged::deserialize(MapAccessDeserializer::new(map))? {
                    Tagged::File(path) => SecretRef::File(path),
                    Tagged::Env(name) => SecretRef::Env(name),
                    Tagged::Command(words) => SecretRef::Command(words),
                })
            }
        }
        from.deserialize_any(Either)
    }
}

impl JsonSchema for SecretRef {
    fn schema_name() -> Cow<'static, str> {
        "SecretRef".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Where a secret is kept: a file's path, or a reference.",
            "anyOf": [PathText::json_schema(generator), Tagged::json_schema(generator)],
        })
    }
}

/// What one client, connection or request may take.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawBounds {
    /// From the TCP connection to the end of the TLS handshake, PROXY header included.
    #[schemars(extend("x-range" = ["1 s", "1 min"]))]
    pub(crate) handshake: DurationText,
    /// From the handshake to the first byte of a request; on a connection where nobody has proved
    /// itself, also from one to the next.
    #[schemars(extend("x-range" = ["1 s", "1 min"]))]
    pub(crate) first_byte: DurationText,
    /// From a request's first byte to the end of its head.
    #[schemars(extend("x-range" = ["1 s", "1 min"]))]
    pub(crate) header: DurationText,
    /// All header fields of a request together.
    #[schemars(extend("x-range" = ["4 KiB", "256 KiB"]))]
    pub(crate) header_bytes: SizeText,
    /// Header fields in a request.
    #[schemars(range(min = 16, max = 256))]
    pub(crate) header_count: u16,
    /// Path and query of a request.
    #[schemars(extend("x-range" = ["1 KiB", "64 KiB"]))]
    pub(crate) target_bytes: SizeText,
    /// A request's body.
    #[schemars(extend("x-range" = ["1 KiB", "16 GiB"]))]
    pub(crate) body_bytes: SizeText,
    /// A body that comes slower than this, after the grace, is cut off; so is an answer that is taken
    /// slower, after `idle`.
    #[schemars(extend("x-range" = ["1 B/s", "1 MiB/s"]))]
    pub(crate) body_rate: ByteRateText,
    /// How long a body may be slower than `body_rate`.
    #[schemars(extend("x-range" = ["1 s", "5 min"]))]
    pub(crate) body_rate_grace: DurationText,
    /// Between two requests of a connection; of a WebSocket, how long both sides may be silent.
    #[schemars(extend("x-range" = ["1 s", "10 min"]))]
    pub(crate) idle: DurationText,
    /// Requests until a connection is closed.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(crate) requests_per_connection: u32,
    /// Connections at a time.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(crate) connections: At<u32>,
    /// Connections at a time from one address (one /64 with IPv6).
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(crate) connections_per_address: At<u32>,
    /// Connections at a time of one identity.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(crate) connections_per_identity: At<u32>,
    /// HTTP/2: requests at a time in one connection.
    #[schemars(range(min = 1, max = 1_000))]
    pub(crate) h2_streams: u16,
    /// HTTP/2: streams reset by the client and not yet forgotten.
    #[schemars(range(min = 1, max = 10_000))]
    pub(crate) h2_resets: u16,
    /// HTTP/2: all header fields of a request together, uncompressed.
    #[schemars(extend("x-range" = ["4 KiB", "256 KiB"]))]
    pub(crate) h2_header_bytes: SizeText,
    /// HTTP/2: PING, SETTINGS and other control frames of one connection.
    pub(crate) h2_control_frames: RateText,
}

impl Default for RawBounds {
    fn default() -> Self {
        let seconds = |s| DurationText(Duration::from_secs(s));
        Self {
            handshake: seconds(10),
            first_byte: seconds(10),
            header: seconds(10),
            header_bytes: SizeText(32 << 10),
            header_count: 100,
            target_bytes: SizeText(8 << 10),
            body_bytes: SizeText(100 << 20),
            body_rate: ByteRateText(1 << 10),
            body_rate_grace: seconds(10),
            idle: seconds(60),
            requests_per_connection: 10_000,
            connections: At::default_of(10_000),
            connections_per_address: At::default_of(1_000),
            connections_per_identity: At::default_of(1_000),
            h2_streams: 100,
            h2_resets: 100,
            h2_header_bytes: SizeText(32 << 10),
            h2_control_frames: RateText { count: 1_000, per: Duration::from_secs(10) },
        }
    }
}
