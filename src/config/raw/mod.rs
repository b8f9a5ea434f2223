//! The configuration as it is written: one struct per section. The doc comments become the
//! descriptions in the JSON Schema, `x-range` what a value must lie between, `x-control` the control
//! that an error names. Nothing here judges one key by another; that is `check`.
mod admin;
mod alarm;
mod denied;
mod detect;
mod gateway;
mod identity;
mod issuer;
mod limit;
mod listener;
mod lockout;
mod log;
mod network;
mod operation;
mod pacing;
mod pass;
mod permit;
mod pin;
mod reload;
mod role;
mod state;
mod step_up;
mod text;
mod upstream;
pub(super) mod value;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::{Deref, Range};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub(super) use admin::{ActName, RawApi, RawOperator, RoleName as OperatorRoleName};
pub(super) use alarm::{AlarmKindName, RawAlarm, RawAlarms, SeverityName};
pub(super) use denied::RawDenied;
pub(super) use detect::{DetectMode, RawDetect};
pub(super) use gateway::{BasicName, RawAdmin, RawGateway, RawToken};
pub(super) use identity::{BoundTo, CertificateMatch, IdentityKind, RawIdentity};
pub(super) use issuer::{AlgorithmName, ClaimText, Presence, RawIssuer};
pub(super) use limit::{ModeName, Per, RawLimit};
pub(super) use listener::{
    AlpnName, ClientAuthName, RawBounds, RawCertified, RawListener, RawTls, SecretRef,
    TlsVersionName,
};
pub(super) use lockout::RawLockout;
pub(super) use log::{AccessTo, RawLog};
pub(super) use network::RawNetwork;
pub(super) use operation::RawOperation;
pub(super) use pacing::{RawPacing, RawPlan};
pub(super) use pass::{NamelessName, ProxyName, RawPass};
pub(super) use permit::RawPermit;
pub(super) use reload::{ApplyName, OnErrorsName, RawReload};
pub(super) use role::{RawQuery, RawRole};
pub(super) use state::{RawRedis, RawState};
pub(super) use step_up::{RawStepUp, StepUpName};
pub(super) use upstream::{KindName, ProtocolName, RawUpstream, RegionName, StageName};

/// Configuration of Sekisho: one main file, and policy files of the same form that are merged in.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Sekisho")]
#[expect(dead_code, reason = "read section by section, so that one mistake hides no other")]
pub(super) struct RawConfig {
    /// What this process is. Main file only.
    gateway: RawGateway,
    /// The platform team's word that this host may end TLS. Main file only.
    #[schemars(extend("x-control" = "TLS-3"))]
    permit: Option<RawPermit>,
    /// What survives restarts, and what several gateways share.
    #[serde(default)]
    #[schemars(extend("x-control" = "ACC-2"))]
    state: RawState,
    /// Named lists of addresses. Every other place names networks, never addresses.
    #[serde(default)]
    #[schemars(extend("x-control" = "NET-1"))]
    network: BTreeMap<String, RawNetwork>,
    /// Where callers connect.
    #[serde(default)]
    #[schemars(extend("x-control" = "NET-1"))]
    listener: Vec<RawListener>,
    /// Where requests go: Amazon's Selling Partner API, or an internal store.
    #[serde(default)]
    #[schemars(extend("x-control" = "TLS-1"))]
    upstream: Vec<RawUpstream>,
    /// Operations of internal stores. Those of the Selling Partner API are built in.
    #[serde(default)]
    #[schemars(extend("x-control" = "PRIV-1"))]
    operation: Vec<RawOperation>,
    /// Where callers put their token.
    #[serde(default)]
    #[schemars(extend("x-control" = "ACC-1"))]
    token: RawToken,
    /// Who may sign tokens.
    #[serde(default)]
    #[schemars(extend("x-control" = "ACC-1"))]
    issuer: Vec<RawIssuer>,
    /// What may be done, for which purpose.
    #[serde(default)]
    #[schemars(extend("x-control" = "PRIV-1"))]
    role: BTreeMap<String, RawRole>,
    /// How much all identities may do together.
    #[serde(default)]
    #[schemars(extend("x-control" = "MON-2"))]
    limit: BTreeMap<String, RawLimit>,
    /// Who may do it: one entry per person or service.
    #[serde(default)]
    #[schemars(extend("x-control" = "ACC-1"))]
    identity: BTreeMap<String, RawIdentity>,
    /// When something is out of the ordinary.
    #[serde(default)]
    #[schemars(extend("x-control" = "MON-8"))]
    detect: RawDetect,
    /// What follows from failed logins, and from what detectors act upon.
    #[serde(default)]
    #[schemars(extend("x-control" = "ACC-2"))]
    lockout: RawLockout,
    /// Which logins count where more than a token is asked, and what always takes one.
    #[serde(default)]
    #[schemars(extend("x-control" = "ACC-4"))]
    step_up: RawStepUp,
    /// Who operates the gateway: one entry per person. Main file only.
    #[serde(default)]
    #[schemars(extend("x-control" = "PRIV-3"))]
    operator: BTreeMap<String, RawOperator>,
    /// How another configuration comes into force. Main file only.
    #[serde(default)]
    #[schemars(extend("x-control" = "LOG-1"))]
    reload: RawReload,
    /// The access log.
    #[serde(default)]
    #[schemars(extend("x-control" = "LOG-1"))]
    log: RawLog,
    /// How alarms are gathered before anybody is told.
    #[serde(default)]
    #[schemars(extend("x-control" = "MON-7"))]
    alarms: RawAlarms,
    /// Who is told of alarms.
    #[serde(default)]
    #[schemars(extend("x-control" = "MON-7"))]
    alarm: Vec<RawAlarm>,
    /// Metrics and health, and the API of operators.
    #[serde(default)]
    #[schemars(extend("x-control" = "PRIV-3"))]
    admin: RawAdmin,
}

/// A value and where it stands in its file. A default stands nowhere: its range is empty.
#[derive(Clone, Debug, Default)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) span: Range<usize>,
}

impl<T> At<T> {
    const fn default_of(value: T) -> Self {
        Self { value, span: 0..0 }
    }
}

impl<T> Deref for At<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for At<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let spanned = toml::Spanned::<T>::deserialize(from)?;
        Ok(Self { span: spanned.span(), value: spanned.into_inner() })
    }
}

impl<T: Serialize> Serialize for At<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(to)
    }
}

impl<T: JsonSchema> JsonSchema for At<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// A calendar day that stands in a file beside the configuration, in days since 1970.
pub(super) fn day(text: &str) -> Option<u32> {
    identity::Date::of(text.parse().ok()?).map(identity::Date::unix_day)
}

/// Whether a TOML date-time is a calendar day and nothing more.
pub(super) fn is_date(datetime: toml::value::Datetime) -> bool {
    identity::Date::of(datetime).is_some()
}
