//! One configuration in force: the snapshot and what was built from it, swapped as a whole.
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::{HeaderValue, Version};
use pingora::upstreams::peer::HttpPeer;
use rustls_pki_types::CertificateDer;

use super::conn::ConnFacts;
use super::door::DoorFault;
use super::gone::{self, Gone};
use super::pacing::Plans;
use super::pass::{self, PassRoute};
use super::peers::{self, MachineRoots, Sharing};
use super::permit::{Believed, Until};
use super::reload::Tally;
use super::tls::{Judge, TlsEnd, TlsFault, Verifier, verifier};
use super::traffic::Traffic;
use crate::base::{HashKey, ListenerIx, Moment, Name, OperationIx, UpstreamFault, UpstreamIx};
use crate::config::{
    API_LISTENER, Endpoint, ListenerSettings, Roots, Snapshot, TlsSettings, UpstreamKind,
    UpstreamProtocol, UpstreamSettings,
};
use crate::evidence::Fixed;
use crate::exposure::{self, FieldTree};
use crate::observe::{ListenerMetrics, Metrics, OperationMetrics, UpstreamMetrics};
use crate::permit::PermitFault;
use crate::policy::{Holds, Operation, OperationTable};
use crate::state::Quotas;
use crate::upstream::{Picked, Upstream};

/// Who reads what is sent to an endpoint: it decides which headers may go there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// The Selling Partner API.
    Amazon,
    /// Login with Amazon's token server.
    TokenServer,
    /// A store of the seller's own.
    Internal,
}

/// Which HTTP version a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// What the upstream is configured for.
    Configured,
    /// A protocol upgrade exists in HTTP/1.1 only (RFC 9113 §8.6).
    Http11,
}

/// Why no TLS ends on a listener of a host that has a permit.
pub(super) const NOT_LISTED: &str = "not_listed";
/// Why none ends where every certificate's time is over.
const OUT_OF_DATE: &str = "certificate_expired";

/// See the module.
#[derive(Debug)]
pub struct Live {
    pub snapshot: Arc<Snapshot>,
    pub(super) quotas: Quotas,
    /// By `ListenerIx`; none where TLS does not end.
    tls: Vec<Option<Arc<TlsEnd>>>,
    pub(super) judges: Vec<Option<Judge>>,
    pub(super) gone: Vec<Gone>,
    until: Option<Until>,
    upstreams: Vec<Routes>,
    passes: Vec<Vec<Arc<PassRoute>>>,
    /// `lwa/token` goes to the token server of its upstream.
    token_operation: Option<OperationIx>,
    /// What answers of each operation hold, where that is known.
    contracts: Vec<Option<Arc<FieldTree>>>,
    pub(super) meters: Meters,
    pub(super) guarded: super::watches::Guarded,
    pub(super) pacing: Plans,
    pub(super) traffic: Traffic,
    pub(super) tally: Tally,
    /// When it was built.
    pub(super) since: Moment,
    api_tls: Option<Arc<TlsEnd>>,
    pub(super) api_verifier: Option<Verifier>,
    pub(super) machine: MachineRoots,
}

/// Handles of the metrics that requests touch, looked up once.
#[derive(Debug)]
pub(super) struct Meters {
    operations: Vec<OperationMetrics>,
    no_operation: OperationMetrics,
    upstreams: Vec<UpstreamMetrics>,
    listeners: Vec<ListenerMetrics>,
}

impl Meters {
    fn of(snapshot: &Snapshot, metrics: &Metrics) -> Self {
        let names = &snapshot.names;
        Self {
            operations: (0..)
                .map_while(|ix| names.operation(OperationIx(ix)))
                .map(|name| metrics.operation(Some(name)))
                .collect(),
            no_operation: metrics.operation(None),
            upstreams: snapshot.upstreams.iter().map(|up| metrics.upstream(&up.name)).collect(),
            listeners: snapshot.listeners.iter().map(|l| metrics.listener(&l.name)).collect(),
        }
    }

    pub(super) fn operation(&self, ix: Option<OperationIx>) -> &OperationMetrics {
        ix.and_then(|ix| self.operations.get(ix.index())).unwrap_or(&self.no_operation)
    }

    pub(super) fn upstream(&self, ix: UpstreamIx) -> Option<&UpstreamMetrics> {
        self.upstreams.get(ix.index())
    }
}

#[derive(Debug)]
struct Routes {
    main: Route,
    token: Option<Route>,
}

/// The way to one endpoint.
pub struct Route {
    pub upstream: UpstreamIx,
    pub reader: Reader,
    /// The Host that the endpoint answers to.
    pub authority: HeaderValue,
    /// SHA-256 of leaf certificates; empty: any that verifies.
    pub pins: Vec<[u8; 32]>,
    pub(super) pool: Arc<Upstream>,
    template: HttpPeer,
    /// Whether the last answer came over HTTP/2, which tells apart whose answer is whose.
    multiplexed: AtomicBool,
}

impl Route {
    /// An address of the endpoint, by health and load, other than those that failed already.
    ///
    /// # Errors
    /// None is known, or the circuit breaker is open.
    pub fn pick(&self, failed: &[SocketAddr], now: Moment) -> Result<Picked, UpstreamFault> {
        self.pool.pick(failed, now)
    }

    /// Waits for the first address of a name that is new, at the start or after a reload. Looking
    /// it up is part of connecting and may take as long.
    ///
    /// # Errors
    /// None is known by then.
    pub async fn resolved(&self) -> Result<(), UpstreamFault> {
        self.pool.ready(self.template.options.connection_timeout.unwrap_or_default()).await
    }

    /// Which of the upstream's endpoints this is, for the log and the metrics: `main` or `token`.
    #[must_use]
    pub const fn endpoint(&self) -> Fixed {
        match self.reader {
            Reader::Amazon | Reader::Internal => Fixed::new("main"),
            Reader::TokenServer => Fixed::new("token"),
        }
    }

    /// A peer for one request of `who`. HTTP/1 tells answers apart by their order alone: a byte too
    /// many, sent when the connection was picked up again, would be read as the next answer. So such
    /// a connection serves one identity only, and until the upstream has shown that it speaks HTTP/2
    /// it is taken not to.
    #[must_use]
    pub fn peer_at(&self, address: SocketAddr, speaks: Speaks, who: &Name) -> Box<HttpPeer> {
        let shared = speaks == Speaks::Configured && self.multiplexed.load(Ordering::Acquire);
        let sharing = if shared { Sharing::All } else { Sharing::One(who) };
        peers::at(&self.template, address, speaks, sharing)
    }

    /// An answer came in this version, on a connection that nobody else has got yet.
    pub fn answered_in(&self, version: Version) {
        let multiplexed = version == Version::HTTP_2;
        if self.multiplexed.load(Ordering::Acquire) != multiplexed {
            self.multiplexed.store(multiplexed, Ordering::Release);
        }
    }
}

impl std::fmt::Debug for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Route")
            .field("upstream", &self.upstream)
            .field("reader", &self.reader)
            .finish_non_exhaustive()
    }
}

impl Live {
    /// Builds what a snapshot needs to be served. Pools of endpoints that did not change are taken
    /// over from `before`, with their health.
    ///
    /// # Errors
    /// See [`TlsFault`].
    pub(super) fn build(
        snapshot: Arc<Snapshot>,
        quotas: Quotas,
        machine: MachineRoots,
        before: Option<&Self>,
        metrics: &Metrics,
        pacing: &HashKey,
        time: &Believed,
    ) -> Result<Self, TlsFault> {
        let now = time.now();
        let end = |name: &str, tls: Option<&TlsSettings>| {
            let build = |tls| TlsEnd::build(name, tls, snapshot.generation, time);
            Ok(tls.map(build).transpose()?.flatten())
        };
        let tls = snapshot
            .listeners
            .iter()
            .map(|listener| end(listener.name.as_str(), listener.tls.as_ref()))
            .collect::<Result<_, TlsFault>>()?;
        let judges = snapshot
            .listeners
            .iter()
            .map(|listener| {
                let before = before.and_then(|live| live.judge_at(&listener.name));
                let Some(tls) = &listener.tls else { return Ok(None) };
                Judge::build(tls, snapshot.generation, before)
            })
            .collect::<Result<_, TlsFault>>()?;
        let gone = before.map(|live| gone::with(live, &snapshot, now)).unwrap_or_default();
        let upstreams = snapshot
            .upstreams
            .iter()
            .map(|settings| Routes::build(settings, &machine, before))
            .collect::<Result<_, _>>()?;
        let token_operation = snapshot.operation("lwa/token");
        let meters = Meters::of(&snapshot, metrics);
        let contracts = contracts(&snapshot);
        let guarded = super::watches::Guarded::build(&snapshot, before);
        let pacing = Plans::of(&snapshot, pacing);
        let traffic = Traffic::of(&snapshot, before);
        let passes = pass::build(&snapshot, before, metrics);
        let permit = snapshot.permit.standing.as_ref();
        let until = permit.ok().map(|permit| Until::of(permit, now));
        let api = snapshot.api.as_ref().map(|api| &api.tls);
        Ok(Self {
            api_tls: end(API_LISTENER, api)?,
            api_verifier: api.map(verifier).transpose()?.flatten(),
            tally: Tally::of(&snapshot),
            since: now,
            snapshot,
            quotas,
            tls,
            judges,
            gone,
            until,
            upstreams,
            passes,
            token_operation,
            contracts,
            meters,
            guarded,
            pacing,
            traffic,
            machine,
        })
    }

    #[must_use]
    pub const fn quotas(&self) -> &Quotas {
        &self.quotas
    }

    #[must_use]
    pub fn listener(&self, ix: ListenerIx) -> Option<&ListenerSettings> {
        self.snapshot.listener(ix)
    }

    pub(super) fn listener_metrics(&self, ix: ListenerIx) -> Option<&ListenerMetrics> {
        self.meters.listeners.get(self.snapshot.names.listener_place(ix)?)
    }

    /// A route by which connections of a listener are passed on.
    #[must_use]
    pub fn pass(&self, ix: ListenerIx, route: usize) -> Option<&Arc<PassRoute>> {
        self.passes.get(self.snapshot.names.listener_place(ix)?)?.get(route)
    }

    pub(super) fn passes(&self) -> impl Iterator<Item = &Arc<PassRoute>> {
        self.passes.iter().flatten()
    }

    /// What ends TLS on a listener, if this host may do so there and then (TLS-3): one comparison.
    ///
    /// # Errors
    /// It may not, or there is no such listener.
    pub fn may_end_tls(&self, ix: ListenerIx, now: Moment) -> Result<&Arc<TlsEnd>, DoorFault> {
        let place = self.snapshot.names.listener_place(ix).ok_or(DoorFault::Gone)?;
        let end = self.tls.get(place).ok_or(DoorFault::Gone)?;
        let settings = self.snapshot.listeners.get(place).and_then(|one| one.tls.as_ref());
        self.permitted(end.as_ref(), settings, now)
    }

    /// The same for the API of operators.
    ///
    /// # Errors
    /// As above.
    pub fn api_tls(&self, now: Moment) -> Result<&Arc<TlsEnd>, DoorFault> {
        self.permitted(self.api_tls.as_ref(), None, now)
    }

    fn permitted<'l>(
        &self,
        end: Option<&'l Arc<TlsEnd>>,
        settings: Option<&TlsSettings>,
        now: Moment,
    ) -> Result<&'l Arc<TlsEnd>, DoorFault> {
        let over = self.until.as_ref().is_none_or(|until| until.is_over(now));
        if let Some(end) = end.filter(|_| !over) {
            return Ok(end);
        }
        Err(DoorFault::NotPermitted(match &self.snapshot.permit.standing {
            Err(fault) => fault.as_str(),
            Ok(_) if over => PermitFault::Expired.as_str(),
            Ok(_) if settings.is_some_and(|tls| !tls.expired.is_empty()) => OUT_OF_DATE,
            Ok(_) => NOT_LISTED,
        }))
    }

    /// Whether TLS may end on any listener now, or is passed on.
    pub(super) fn serves_any(&self, now: Moment) -> bool {
        let ends = self.tls.iter().any(|end| self.permitted(end.as_ref(), None, now).is_ok());
        ends || self.passes.iter().any(|routes| !routes.is_empty())
    }

    pub(super) const fn until(&self) -> Option<&Until> {
        self.until.as_ref()
    }

    /// Whether a chain shown on this listener earlier would be accepted now.
    pub(super) fn still_verifies(
        &self,
        ix: ListenerIx,
        chain: &[CertificateDer<'static>],
        now: Moment,
    ) -> bool {
        if let Some(judge) = self.judge(ix) {
            return judge.admits(chain, now);
        }
        gone::admits(self, ix, chain, now)
    }

    /// Stands for the authorities and revocation lists of a listener, as they count now: another
    /// number when they may judge a chain otherwise.
    #[must_use]
    pub fn authorities(&self, ix: ListenerIx, now: Moment) -> u64 {
        let stale = || self.all_judges().any(|judge| now.unix_secs() >= judge.stale_at);
        let gone = || self.snapshot.generation.saturating_mul(2).saturating_add(stale().into());
        self.judge(ix).map_or_else(gone, |judge| judge.state(now))
    }

    /// When any of them will count otherwise by itself, in seconds since 1970.
    pub(super) fn authorities_until(&self, now: Moment) -> u64 {
        let ends = self.all_judges().map(|judge| judge.stale_at);
        ends.filter(|at| *at > now.unix_secs()).min().unwrap_or(u64::MAX)
    }

    fn all_judges(&self) -> impl Iterator<Item = &Judge> {
        self.judges.iter().flatten().chain(self.gone.iter().map(Gone::judge))
    }

    fn judge(&self, ix: ListenerIx) -> Option<&Judge> {
        let place = self.snapshot.names.listener_place(ix)?;
        self.judges.get(place)?.as_ref()
    }

    fn judge_at(&self, listener: &Name) -> Option<&Judge> {
        let ix = self.snapshot.listeners.iter().position(|own| own.name == *listener)?;
        self.judges.get(ix)?.as_ref()
    }

    #[must_use]
    pub fn upstream(&self, ix: UpstreamIx) -> Option<&UpstreamSettings> {
        self.snapshot.upstreams.get(ix.index())
    }

    /// The operations served to a connection opened for `server_name`.
    #[must_use]
    pub fn table(&self, ix: ListenerIx, server_name: Option<&str>) -> Option<&OperationTable> {
        self.snapshot.table(ix, server_name)
    }

    #[must_use]
    pub fn route(&self, upstream: UpstreamIx, operation: OperationIx) -> Option<&Route> {
        let routes = self.upstreams.get(upstream.index())?;
        if self.token_operation == Some(operation) {
            return routes.token.as_ref();
        }
        Some(&routes.main)
    }

    /// What answers of an operation hold, if it is one of Amazon's.
    #[must_use]
    pub fn contract(&self, operation: OperationIx) -> Option<&Arc<FieldTree>> {
        self.contracts.get(operation.index())?.as_ref()
    }

    /// Whether answers of an operation hold personal data that no contract describes.
    #[must_use]
    pub fn holds_unread(&self, operation: OperationIx) -> bool {
        let operation = self.snapshot.policy.operations().get(operation);
        operation.is_some_and(|operation| operation.holds == Holds::PersonalData)
    }

    pub(super) fn routes(&self) -> impl Iterator<Item = &Route> {
        self.upstreams.iter().flat_map(|routes| std::iter::once(&routes.main).chain(&routes.token))
    }

    /// Whether a request for `host` belongs on a connection: its server name, or the name of an
    /// upstream behind it, which SDKs put into Host by themselves (RFC 9110 §7.4). A connection
    /// opened without a name fits any host, because nothing is chosen by it.
    #[must_use]
    pub fn host_fits(&self, conn: &ConnFacts, host: &[u8]) -> bool {
        let Some(opened_for) = conn.server_name.as_deref() else { return true };
        host.eq_ignore_ascii_case(opened_for.as_bytes())
            || self.listener(conn.listener).is_some_and(|listener| {
                listener.upstreams.iter().filter_map(|ix| self.upstream(*ix)).any(|upstream| {
                    host.eq_ignore_ascii_case(upstream.endpoint.host.as_bytes())
                        || upstream
                            .token_endpoint
                            .as_ref()
                            .is_some_and(|token| host.eq_ignore_ascii_case(token.host.as_bytes()))
                })
            })
    }
}

/// Only contracts of operations that somebody may call: each takes some KB.
fn contracts(snapshot: &Snapshot) -> Vec<Option<Arc<FieldTree>>> {
    let policy = &snapshot.policy;
    let of = |(ix, operation): (OperationIx, &Operation)| {
        let name = operation.alias.as_ref().unwrap_or(&operation.name);
        let granted = !policy.roles_granting(ix).is_empty();
        granted.then(|| exposure::contract(name.as_str())).flatten()
    };
    policy.operations().iter().map(of).collect()
}

impl Routes {
    fn build(
        settings: &UpstreamSettings,
        machine: &MachineRoots,
        before: Option<&Live>,
    ) -> Result<Self, TlsFault> {
        let anchors = match &settings.roots {
            Roots::System => Arc::clone(&machine.anchors),
            Roots::Private(roots) => peers::anchors(roots),
        };
        let reader = match settings.kind {
            UpstreamKind::SpApi { .. } => Reader::Amazon,
            UpstreamKind::Https => Reader::Internal,
        };
        let route = |endpoint: &Endpoint, reader| {
            let spec = super::reload::upstream_spec(settings, endpoint);
            let known = before.and_then(|live| {
                live.routes().find(|route| route.reader == reader && route.pool.is_for(&spec))
            });
            Ok(Route {
                upstream: settings.ix,
                reader,
                authority: HeaderValue::from_str(&endpoint.authority)
                    .map_err(|_error| TlsFault::Version)?,
                pins: settings.pins.clone(),
                pool: known
                    .map_or_else(|| Arc::new(Upstream::new(spec)), |route| Arc::clone(&route.pool)),
                template: peers::template(settings, endpoint, &anchors),
                multiplexed: AtomicBool::new(settings.protocol == UpstreamProtocol::H2),
            })
        };
        Ok(Self {
            main: route(&settings.endpoint, reader)?,
            token: settings
                .token_endpoint
                .as_ref()
                .map(|endpoint| route(endpoint, Reader::TokenServer))
                .transpose()?,
        })
    }
}
