//! `[identity.…]`.
use schemars::JsonSchema;
use serde::Deserialize;

use super::At;
use super::gateway::Environment;
use super::limit::RawLimit;
use super::value::{HostText, KeyPin, NameText};

/// One person or one service (ACC-1).
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawIdentity {
    /// A person or a service.
    pub(crate) kind: At<IdentityKind>,
    /// Who answers for it: a mail address or a team's name.
    #[schemars(length(min = 1, max = 254))]
    pub(crate) owner: At<String>,
    /// The client certificate that proves it.
    pub(crate) certificate: Option<At<CertificateMatch>>,
    /// Further certificates that prove it, while its key is being replaced.
    #[serde(default)]
    #[schemars(length(max = 8), extend("x-control" = "TLS-5"))]
    pub(crate) certificates: Vec<At<CertificateMatch>>,
    /// The token that proves it.
    pub(crate) token: Option<At<TokenMatch>>,
    /// The networks it may come from. An empty list admits it from nowhere.
    #[schemars(extend("x-control" = "NET-1"))]
    pub(crate) networks: At<Vec<At<NameText>>>,
    /// What it may do.
    #[schemars(length(max = 64), extend("x-control" = "PRIV-1"))]
    pub(crate) roles: At<Vec<At<NameText>>>,
    /// The day its access must have been reviewed, such as `2027-01-31`; at most 90 days ahead.
    #[schemars(extend("x-control" = "ACC-3"))]
    pub(crate) review_by: Option<At<Date>>,
    /// The last day it works.
    #[schemars(extend("x-control" = "ACC-3"))]
    pub(crate) expires: Option<At<Date>>,
    /// Why it may not be used at present.
    #[schemars(length(min = 1, max = 500), extend("x-control" = "ACC-3"))]
    pub(crate) disabled: Option<At<String>>,
    /// The environment it belongs to. Default: this gateway's.
    #[schemars(extend("x-control" = "PRIV-5"))]
    pub(crate) environment: Option<Environment>,
    /// How much it may do, beside what its roles say.
    #[serde(default)]
    #[schemars(length(max = 64), extend("x-control" = "MON-2"))]
    pub(crate) limits: Vec<At<RawLimit>>,
    /// The part of Amazon's quotas that it gets where others want them too, relative to theirs.
    /// Default: the greatest of its roles'.
    #[schemars(range(min = 1, max = 100), extend("x-control" = "MON-2"))]
    pub(crate) weight: Option<u8>,
    /// Connections at a time. Default: the listener's bound.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(crate) connections: Option<u32>,
}

/// A person or a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum IdentityKind {
    /// A program.
    Service,
    /// A human being.
    Person,
}

/// What in a client certificate names the identity. Never the common name.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CertificateMatch {
    /// A URI among the subject's alternative names, such as a SPIFFE id; byte for byte.
    SanUri(#[schemars(length(min = 1, max = 2_048))] String),
    /// A DNS name among the subject's alternative names.
    SanDns(HostText),
    /// SHA-256 of the certificate's public key.
    SpkiSha256(KeyPin),
}

/// Which token names the identity.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenMatch {
    /// The issuer's name in this configuration.
    pub(crate) issuer: At<NameText>,
    /// The subject claim, byte for byte.
    #[schemars(length(min = 1, max = 256))]
    pub(crate) subject: At<String>,
    /// `certificate`: the token counts only together with the client certificate it is bound to
    /// (RFC 8705).
    pub(crate) bound: Option<At<BoundTo>>,
}

/// What a token is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum BoundTo {
    /// The client certificate of the connection.
    Certificate,
}

/// A calendar day, written without quotes: `2027-01-31`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Date {
    pub(crate) year: u16,
    pub(crate) month: u8,
    pub(crate) day: u8,
}

impl Date {
    /// Days since 1970-01-01 (proleptic Gregorian calendar); 0 for anything earlier.
    pub(crate) fn unix_day(self) -> u32 {
        // Days from civil: years begin in March, so that the leap day is the last one.
        let (year, month) = (i64::from(self.year), i64::from(self.month));
        let year = year - i64::from(month <= 2);
        let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let of_year = (153 * ((month + 9) % 12) + 2) / 5 + i64::from(self.day) - 1;
        let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
        u32::try_from(days).unwrap_or(0)
    }

    pub(crate) fn of(datetime: toml::value::Datetime) -> Option<Self> {
        let date = datetime.date.filter(|_| datetime.time.is_none())?;
        Some(Self { year: date.year, month: date.month, day: date.day })
    }
}

impl<'de> Deserialize<'de> for Date {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let datetime = toml::value::Datetime::deserialize(from)?;
        Self::of(datetime).ok_or_else(|| serde::de::Error::custom("a date without a time"))
    }
}

impl JsonSchema for Date {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Date".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "format": "date"})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_count_from_1970() {
        let day = |year, month, day| Date { year, month, day }.unix_day();
        assert_eq!(day(1970, 1, 1), 0);
        assert_eq!(day(2000, 2, 29), 11_016);
        assert_eq!(day(2000, 3, 1), 11_017);
        assert_eq!(day(2027, 1, 31), 20_849);
        assert_eq!(day(1, 1, 1), 0);
        assert_eq!(day(9999, 12, 31), 2_932_896);
    }
}
