//! What the shells are given: plain values, parsed, ranged and loaded, so that nothing below has to
//! read a file, a unit or a name again. Made by `compile.rs` only.
mod alarm;
mod files;
mod pass;
mod permit;
mod reload;
mod secret;
mod state;
mod tls;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;
use rustls_pki_types::{CertificateDer, ServerName};

use crate::base::{IdentityIx, LimitIx, ListenerIx, Name};
use crate::base::{NetworkIx, OperationIx, RoleIx, UpstreamIx};
use crate::detect::{CanarySet, Settings};
use crate::identity::Basic;
use crate::pacing::{Plan, Weight};
use crate::policy::{LimitSpec, NetworkMask};

pub use alarm::{AlarmSettings, AlarmTarget, AlarmWay, Posted};
pub use files::{AuthoritiesOf, FileOf, NamedFile};
pub use pass::{Nameless, PassProxy, PassSettings, PassTable, PassTarget, Way};
pub use permit::{ClientKey, KeyFault, PermitPaper, PermitSettings, TlsKey};
pub use reload::{Apply, OnErrors, ReloadSettings};
pub use secret::{SecretAge, SecretOf};
pub use state::{RedisSettings, StateSettings};
pub use tls::{
    Alpn, CertifiedChain, ClientAuth, Expired, OnDisk, RevocationList, Staple, TlsSettings,
    TlsVersion, Withheld,
};

/// One `[[listener]]` (NET-1, NET-3, TLS-1).
#[derive(Clone, Debug)]
pub struct ListenerSettings {
    pub ix: ListenerIx,
    pub name: Name,
    pub address: SocketAddr,
    /// Who may connect. Never empty: such a listener is refused when the configuration is read.
    pub networks: NetworkMask,
    /// `Some`: every connection comes from these networks and opens with a PROXY header (NET-3).
    pub proxy_from: Option<NetworkMask>,
    /// `None`: TLS does not end here (TLS-3).
    pub tls: Option<TlsSettings>,
    /// What is passed on; empty unless something is.
    pub pass: PassTable,
    pub bounds: Bounds,
    /// In the order of the file; for SP-API upstreams see [`UpstreamSettings::server_names`].
    pub upstreams: Vec<UpstreamIx>,
}

impl ListenerSettings {
    /// What becomes of a connection that asks for `name` (lower case), or for none.
    #[must_use]
    pub fn way(&self, name: Option<&str>) -> Way {
        self.pass.way(name, self.tls.is_some())
    }
}

/// What one client, connection or request may take (MON-5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// From TCP accept to the end of the TLS handshake, PROXY header included.
    pub handshake: Duration,
    /// From the handshake to the first byte of a request.
    pub first_byte: Duration,
    /// From a request's first byte to the end of its head.
    pub header: Duration,
    pub header_bytes: usize,
    pub header_count: usize,
    pub target_bytes: usize,
    pub body_bytes: u64,
    /// A body slower than this many bytes a second, after the grace, is cut off.
    pub body_rate: u64,
    pub body_rate_grace: Duration,
    /// Between requests of one connection; of a socket, how long both sides may be silent.
    pub idle: Duration,
    pub requests_per_connection: u32,
    pub connections: u32,
    pub connections_per_address: u32,
    pub connections_per_identity: u32,
    pub h2_streams: u32,
    /// Streams reset by the client and not yet forgotten.
    pub h2_resets: u32,
    pub h2_header_bytes: u32,
    pub h2_control_frames: Rate,
}

#[cfg(test)]
impl Bounds {
    /// Small ones, for tests that change what they are about.
    pub(crate) const fn small() -> Self {
        const SECOND: Duration = Duration::from_secs(1);
        Self {
            handshake: SECOND,
            first_byte: SECOND,
            header: Duration::from_secs(2),
            header_bytes: 4_096,
            header_count: 16,
            target_bytes: 1_024,
            body_bytes: 1 << 20,
            body_rate: 1_000,
            body_rate_grace: Duration::from_secs(10),
            idle: Duration::from_secs(5),
            requests_per_connection: 10,
            connections: 10,
            connections_per_address: 10,
            connections_per_identity: 10,
            h2_streams: 10,
            h2_resets: 10,
            h2_header_bytes: 4_096,
            h2_control_frames: Rate { count: 10, per: SECOND },
        }
    }
}

/// So many in so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// At least 1.
    pub count: u32,
    /// At least one second, at most 400 days.
    pub per: Duration,
}

/// One `[[upstream]]` (TLS-1, TLS-2).
#[derive(Clone, Debug)]
pub struct UpstreamSettings {
    pub ix: UpstreamIx,
    pub name: Name,
    /// The account that is reached through it; see [`LimitSpec`].
    pub seller: Name,
    pub kind: UpstreamKind,
    pub endpoint: Endpoint,
    /// Login with Amazon's token server; `Some` for SP-API upstreams only.
    pub token_endpoint: Option<Endpoint>,
    /// Serves only connections opened for these names (lower case); empty: for every name.
    pub server_names: Vec<String>,
    pub roots: Roots,
    /// SHA-256 of leaf certificates (DER), one of which it must be; empty: any that verifies.
    pub pins: Vec<[u8; 32]>,
    pub client_certificate: Option<CertifiedChain<ClientKey>>,
    pub connect_timeout: Duration,
    pub response_timeout: Duration,
    pub idle_timeout: Duration,
    pub protocol: UpstreamProtocol,
    /// Further tries of a request of which nothing was sent or which is idempotent. 0 to 5.
    pub retries: u8,
    pub breaker: Breaker,
}

/// What an upstream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamKind {
    SpApi { region: Region, stage: Stage },
    Https,
}

/// A region of the Selling Partner API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Region {
    Na,
    Eu,
    Fe,
}

/// Real orders, or Amazon's sandbox (PRIV-5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Production,
    Sandbox,
}

/// Where to connect, and the name that must be proved there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// For SNI and for verification (TLS-2).
    pub server_name: ServerName<'static>,
    /// The `Host` header's value: the host, with the port unless it is 443.
    pub authority: String,
    /// The host alone; an IPv6 address without brackets.
    pub host: String,
    pub port: u16,
    pub addresses: Addresses,
}

/// How an endpoint's addresses are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// Ask the resolver for `host`.
    Dns,
    /// Exactly these, in any order. Never empty.
    Fixed(Vec<SocketAddr>),
}

/// Who may vouch for an upstream's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Roots {
    /// The machine's trust store.
    System,
    /// These and no other. Never empty.
    Private(Vec<CertificateDer<'static>>),
}

/// The HTTP version spoken to an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamProtocol {
    /// Whatever the upstream picks by ALPN.
    Auto,
    Http11,
    H2,
}

/// When to stop trying an upstream for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// Failures in a row until it opens. At least 1.
    pub failures: u32,
    /// How long it stays open.
    pub open: Duration,
}

/// Where callers put their token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenSettings {
    pub header: HeaderName,
    /// The word before the token, compared without case; `None`: the bare token.
    pub scheme: Option<String>,
    /// Whether Basic credentials may carry it as well.
    pub basic: Basic,
    pub bytes_max: usize,
    /// Tokens that count for nothing (ACC-3).
    pub denied: Vec<DeniedToken>,
}

/// A token that counts for nothing until a moment, by which it is expired anyhow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeniedToken {
    /// [`crate::identity::token_digest`] of its `jti`; the text is not kept.
    pub digest: [u8; 32],
    /// `u64::MAX`: for good.
    pub until_unix_secs: u64,
}

/// Where an issuer's keys come from, for the shell that fetches them. In the order of the trust's
/// issuers.
#[derive(Clone, Debug)]
pub struct IssuerSettings {
    pub name: Name,
    pub jwks: JwksSource,
    /// Least time between two fetches that an unknown `kid` causes.
    pub cooldown: Duration,
    /// Time between two fetches otherwise.
    pub refresh: Duration,
}

/// Where a key set is.
#[derive(Clone, Debug)]
pub enum JwksSource {
    /// Read again at every refresh.
    File(PathBuf),
    Url {
        endpoint: Endpoint,
        path: String,
        roots: Roots,
    },
}

/// The access log (LOG-1, LOG-4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    pub access: AccessLog,
    pub rotate_bytes: u64,
    pub rotate_every: Duration,
    /// At least 365 days.
    pub keep: Duration,
}

/// Where access records go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLog {
    Stdout,
    File(PathBuf),
}

/// What the configuration says of an identity beside its credentials and roles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentitySettings {
    pub kind: IdentityKind,
    /// Why it may not enter, for the operator. Whether it may is [`Trust`](crate::identity::Trust)'s
    /// to say, which does not know the reason, so that no answer can tell reasons apart (ACC-1).
    pub barred: Vec<Barred>,
    /// Connections at a time; `None`: the listener's bound.
    pub connections: Option<u32>,
    /// The day (since 1970-01-01, UTC) its access must have been reviewed (ACC-3).
    pub review_by_unix_day: Option<u32>,
}

/// A reason not to let an identity enter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Barred {
    /// Disabled, for this reason.
    Disabled(String),
    /// Of this other environment (PRIV-5).
    Environment(Name),
    /// After its last day, in days since 1970-01-01 UTC (ACC-3).
    After(u32),
}

/// A person or a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityKind {
    Service,
    Person,
}

/// How much identities may do (MON-2); what is spent is kept elsewhere.
#[derive(Clone, Debug, Default)]
pub struct QuotaSettings {
    /// By `LimitIx`.
    /// `role/NAME/1`, `identity/NAME/1`, `limit/NAME` and so on: the same over reloads.
    pub limits: Vec<LimitSpec>,
    /// By `IdentityIx`: the identity's name, and the limits it is under.
    pub accounts: Vec<(Name, Vec<LimitIx>)>,
}

/// `[detect]`.
#[derive(Clone, Debug, Default)]
pub struct DetectSettings {
    pub settings: Settings,
    /// Planted records (MON-4).
    pub canaries: CanarySet,
    /// The same, for comparing two lists: the set hashes each under a key of its own.
    pub planted: Planted,
}

/// Planted records by the SHA-256 of their ids, with whom they were planted for.
pub type Planted = BTreeMap<[u8; 32], Option<Name>>;

/// How identities share Amazon's quotas (MON-2); where the quotas stand is kept elsewhere.
#[derive(Clone, Debug, Default)]
pub struct PacingSettings {
    /// By `UpstreamIx`; none for internal stores.
    pub upstreams: Vec<Option<UpstreamPacing>>,
    /// By `IdentityIx`.
    pub weights: Vec<Weight>,
}

/// How one upstream's calls are paced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamPacing {
    /// How long a call waits at most that says nothing of it.
    pub wait: Duration,
    /// How long one may wait that asks for it. At least `wait`.
    pub max_wait: Duration,
    /// Whose tokens callers bring, as far as that is configured.
    pub application: Option<Name>,
    /// Plans that differ from those that Amazon publishes.
    pub plans: Vec<(OperationIx, Plan)>,
}

/// The listener for metrics and health: loopback only (PRIV-3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdminSettings {
    pub address: SocketAddr,
}

/// Names by index, for the log and for answers.
#[derive(Clone, Debug, Default)]
pub struct Names {
    pub(super) identities: Vec<Name>,
    pub(super) roles: Vec<Name>,
    pub(super) operations: Vec<Name>,
    pub(super) networks: Vec<Name>,
    pub(super) listeners: Vec<Name>,
    /// By a listener's number; before numbers were given they are places.
    pub(super) listener_places: Option<Vec<Option<usize>>>,
    pub(super) upstreams: Vec<Name>,
}

macro_rules! names {
    ($($one:ident, $many:ident: $ix:ty;)*) => {
        impl Names {
            /// The place of an identity. Slow: for acts of people.
            #[must_use]
            pub fn identity_named(&self, name: &Name) -> Option<IdentityIx> {
                (0..).map(IdentityIx).zip(&self.identities).find(|(_, own)| *own == name).map(|(ix, _)| ix)
            }
        $(
            /// `None` for an index of another snapshot.
            #[must_use]
            pub fn $one(&self, ix: $ix) -> Option<&Name> {
                self.$many.get(ix.index())
            }
        )*}
    };
}
names! {
    identity, identities: IdentityIx;
    role, roles: RoleIx;
    operation, operations: OperationIx;
    network, networks: NetworkIx;
    upstream, upstreams: UpstreamIx;
}

impl Names {
    /// Where this configuration has a listener; `None` if it has none of this number.
    #[must_use]
    pub fn listener_place(&self, ix: ListenerIx) -> Option<usize> {
        match &self.listener_places {
            Some(places) => places.get(ix.index()).copied().flatten(),
            None => Some(ix.index()),
        }
    }

    /// `None` for a listener that this configuration does not have.
    #[must_use]
    pub fn listener(&self, ix: ListenerIx) -> Option<&Name> {
        self.listeners.get(self.listener_place(ix)?)
    }
}
