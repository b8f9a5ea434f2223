//! `[admin.api]` and `[operator.…]`.
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::At;
use super::identity::{CertificateMatch, Date};
use super::listener::SecretRef;
use super::value::{AddressText, DurationText, NameText, PathText};

/// Where operators connect. Always with TLS 1.3 and a client certificate.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawApi {
    /// IP address and port.
    pub(crate) address: At<AddressText>,
    /// The networks that may connect. Everybody else is refused before TLS starts; an empty list
    /// admits nobody.
    #[schemars(extend("x-control" = "NET-1"))]
    pub(crate) networks: At<Vec<At<NameText>>>,
    /// The certificate shown to operators, and who signs theirs.
    #[schemars(extend("x-control" = "TLS-1"))]
    pub(crate) tls: At<RawApiTls>,
    /// Acts that a second operator must confirm, another person with a sufficient role.
    #[serde(default)]
    #[schemars(length(max = 8))]
    pub(crate) two_people: At<Vec<At<ActName>>>,
    /// How long an act waits for the second person.
    #[serde(default = "confirm_within")]
    #[schemars(extend("x-range" = ["1 min", "24 h"]))]
    pub(crate) confirm_within: DurationText,
}

const fn confirm_within() -> DurationText {
    DurationText(Duration::from_secs(900))
}

/// How the API speaks TLS.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawApiTls {
    /// PEM file: the certificate, then its intermediates.
    pub(crate) certificate: At<PathText>,
    /// The private key: a file's path, or `{ file = … }`, `{ env = … }`, `{ command = […] }`.
    #[schemars(extend("x-control" = "PRIV-4"))]
    pub(crate) key: At<SecretRef>,
    /// PEM file with the authorities of operators' certificates.
    pub(crate) client_ca: At<PathText>,
}

/// An act of an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ActName {
    /// Locking until a time or until it is released.
    Lock,
    /// A kill switch.
    Kill,
    /// Ending a lock.
    Unlock,
    /// Ending a lock that guards against theft: a kill, or one that a canary, volume, enumeration, a
    /// shared credential or a security officer led to.
    UnlockSecurityLock,
    /// Having a configuration put in force that lets nothing more be done than before.
    Reload,
    /// Having one put in force that lets more be done.
    ReloadWidening,
}

/// One person who operates the gateway (PRIV-3).
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawOperator {
    /// The client certificate that proves the person. It may be no identity's, nor another operator's.
    #[schemars(extend("x-control" = "ACC-1"))]
    pub(crate) certificate: At<CertificateMatch>,
    /// Further certificates, while the key is being replaced.
    #[serde(default)]
    #[schemars(length(max = 8), extend("x-control" = "TLS-5"))]
    pub(crate) certificates: Vec<At<CertificateMatch>>,
    /// What the person may do.
    pub(crate) role: At<RoleName>,
    /// The last day the person may act.
    #[schemars(extend("x-control" = "ACC-3"))]
    pub(crate) expires: Option<At<Date>>,
    /// Why the person may not act at present.
    #[schemars(length(min = 1, max = 500), extend("x-control" = "ACC-3"))]
    pub(crate) disabled: Option<At<String>>,
}

/// What an operator may do. Each may do what the one before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RoleName {
    /// Look.
    Viewer,
    /// Lock, and end locks that need no officer.
    Operator,
    /// Kill switches, and ending any lock.
    SecurityOfficer,
}
