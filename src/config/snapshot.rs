//! A whole configuration, compiled: immutable, shared by pointer, replaced as one (PRIV-1).
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::operating::{API_LISTENER, ApiSettings, Operators};
use super::settings::{
    AdminSettings, AlarmSettings, CertifiedChain, DetectSettings, IdentitySettings, IssuerSettings,
    ListenerSettings, LogSettings, NamedFile, Names, PacingSettings, PermitSettings, QuotaSettings,
    ReloadSettings, SecretAge, StateSettings, TlsSettings, TokenSettings, UpstreamSettings,
    Withheld,
};
use crate::base::{IdentityIx, ListenerIx, Name, OperationIx};
use crate::identity::Trust;
use crate::lockout::Rules;
use crate::policy::{NetTable, OperationTable, Policy, Prefixes, StepUp};

/// Everything a request is judged by. A request holds one of these from its first byte to its last,
/// so no two decisions about it come from different configurations.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Differs between any two snapshots of a process.
    pub generation: u64,
    pub environment: Name,
    pub state_dir: PathBuf,
    /// Whether this host may end TLS (TLS-3).
    pub permit: PermitSettings,
    pub state: StateSettings,
    /// `None`: one worker per processor.
    pub threads: Option<u16>,
    pub shutdown_grace: Duration,
    /// How old a private key may become before people are told (TLS-5).
    pub key_max_age: Duration,
    /// The same of a secret, and of keys that others sign with.
    pub secret_max_age: Duration,
    /// How old they are; the gateway's own is not among them.
    pub secrets: Vec<SecretAge>,
    /// Files of which other parts are made, and how they stand.
    pub files: Vec<NamedFile>,
    pub networks: Arc<NetTable>,
    /// What each named network holds, by `NetworkIx`.
    pub prefixes: Vec<Prefixes>,
    /// In the order of the file; see [`listener`](Self::listener).
    pub listeners: Vec<ListenerSettings>,
    /// By `UpstreamIx`.
    pub upstreams: Vec<UpstreamSettings>,
    pub trust: Trust,
    /// By the places of the trust's issuers.
    pub issuers: Vec<IssuerSettings>,
    pub policy: Policy,
    /// By [`IdentityIx`].
    pub identities: Vec<IdentitySettings>,
    pub quotas: QuotaSettings,
    /// What detectors take for out of the ordinary (MON-1 to MON-8).
    pub detect: DetectSettings,
    /// What follows from it (ACC-2).
    pub lockout: Rules,
    /// What takes a fresh login, and which is one (ACC-4).
    pub step_up: StepUp,
    /// Classes of logins that count; callers are told of them.
    pub acr: Vec<String>,
    pub pacing: PacingSettings,
    /// How the next one comes into force.
    pub reload: ReloadSettings,
    pub token: TokenSettings,
    pub log: LogSettings,
    /// Who is told of alarms (MON-7).
    pub alarms: AlarmSettings,
    pub admin: AdminSettings,
    /// Where operators connect; `None`: nowhere (PRIV-3).
    pub api: Option<ApiSettings>,
    pub operators: Operators,
    pub names: Names,
    /// By `UpstreamIx`: the operations that it answers.
    pub(super) served: Vec<Vec<OperationIx>>,
    pub(super) tables: Vec<Tables>,
}

/// The operations of one listener.
#[derive(Clone, Debug)]
pub(super) struct Tables {
    /// For connections opened for another name, or none.
    pub(super) default: Arc<OperationTable>,
    /// By server name, in lower case.
    pub(super) by_server_name: HashMap<String, Arc<OperationTable>>,
}

impl Snapshot {
    /// What a listener serves to a connection that was opened for `server_name` (lower case, without
    /// a dot at the end). `None` for a listener of another snapshot.
    #[must_use]
    pub fn table(&self, ix: ListenerIx, server_name: Option<&str>) -> Option<&OperationTable> {
        let tables = self.tables.get(self.names.listener_place(ix)?)?;
        let named = server_name.and_then(|name| tables.by_server_name.get(name));
        Some(named.unwrap_or(&tables.default))
    }

    /// `None` for a listener that this configuration does not have.
    #[must_use]
    pub fn listener(&self, ix: ListenerIx) -> Option<&ListenerSettings> {
        self.listeners.get(self.names.listener_place(ix)?)
    }

    /// The same under another permit: what that does not cover is closed, and what was closed stays
    /// so, for nothing is opened here.
    #[must_use]
    pub fn under(&self, permit: PermitSettings, generation: u64) -> Self {
        let mut next = Self { generation, permit, ..self.clone() };
        let permit = next.permit.standing.as_ref().ok();
        let listeners = next.listeners.iter_mut();
        let listeners = listeners.filter_map(|one| Some((one.name.as_str(), one.tls.as_mut()?)));
        let api = next.api.iter_mut().map(|api| (API_LISTENER, &mut api.tls));
        for (name, tls) in listeners.chain(api) {
            let (open, closed): (Vec<_>, Vec<_>) = std::mem::take(&mut tls.certificates)
                .into_iter()
                .partition(|one| permit.is_some_and(|own| own.covers(name, &one.server_names)));
            tls.certificates = open;
            tls.withheld.extend(closed.into_iter().map(|one| {
                let CertifiedChain { file, server_names, .. } = one;
                Withheld { file, server_names }
            }));
        }
        next
    }

    /// The same under the permit of `read`, what `read` opened of the same files open.
    #[must_use]
    pub fn opened_as(&self, read: &Self, generation: u64) -> Self {
        fn files(tls: &TlsSettings) -> BTreeSet<&Path> {
            let closed = tls.withheld.iter().map(|one| &one.file);
            let closed = closed.chain(tls.expired.iter().map(|one| &one.file));
            tls.certificates
                .iter()
                .map(|one| &one.file)
                .chain(closed)
                .map(PathBuf::as_path)
                .collect()
        }
        let mut next = self.under(read.permit.clone(), generation);
        let other = |name: &str| {
            let own = read.listeners.iter().find(|own| own.name.as_str() == name);
            own.and_then(|own| own.tls.as_ref())
        };
        let listeners = next.listeners.iter_mut();
        let listeners =
            listeners.filter_map(|one| Some((other(one.name.as_str()), one.tls.as_mut()?)));
        let api = read.api.as_ref().map(|api| &api.tls);
        let api = next.api.iter_mut().map(|own| (api, &mut own.tls));
        for (other, tls) in listeners.chain(api) {
            if let Some(other) = other.filter(|other| files(other) == files(tls)) {
                tls.certificates.clone_from(&other.certificates);
                tls.withheld.clone_from(&other.withheld);
                tls.expired.clone_from(&other.expired);
            }
        }
        next
    }

    /// The operation of that name.
    #[must_use]
    pub fn operation(&self, name: &str) -> Option<OperationIx> {
        self.policy.operations().find(name)
    }

    /// What the configuration says of an identity.
    #[must_use]
    pub fn identity(&self, ix: IdentityIx) -> Option<&IdentitySettings> {
        self.identities.get(ix.index())
    }
}
