//! Puts a configuration in force: the first one and every later one the same way. Built aside,
//! swapped whole; what can't be built changes nothing.
mod apart;
mod barred;
mod files;
mod hold;
mod permit;
mod retry;
mod tally;
mod trial;
mod turn;

use std::fmt;
use std::io;
use std::num::NonZeroU32;
use std::sync::{Arc, Weak};

use tokio::sync::watch;

use super::Engine;
use super::live::Live;
use super::peers::MachineRoots;
use super::permit::Believed;
use super::tls::TlsFault;
use crate::base::{HashKey, Name};
use crate::config::{
    Addresses as Where, Endpoint, IssuerSettings, JwksSource as From, ListenerNumbers, Roots,
    Snapshot, UpstreamSettings,
};
use crate::evidence::Event;
use crate::https;
use crate::keys::{IssuerKeys, JwksFault, JwksSource, JwksStore, JwksUrl, Prepared};
use crate::observe::Metrics;
use crate::state::{Among, QuotaError, Quotas};
use crate::upstream::{
    Addresses, BreakerSpec, NameChange, NameHealth, UpstreamSpec, keep_resolved,
};

pub use apart::{Before, Follow};
pub use files::{Files, Origin, Print, Read, Reading};
pub use hold::Hold;
pub(super) use tally::{Ended, Tally};
pub use trial::{Judged, Ruling, Then, TrialView};
use turn::MaySwap;
pub(super) use turn::Reloads;
pub use turn::{Again, Order, Outcome, Preview, Trigger, Why, Widening};

/// Why a snapshot could not be put in force.
#[derive(Debug)]
pub enum ReloadFault {
    Tls(TlsFault),
    Quotas(Vec<QuotaError>),
    /// Issuers whose key file can't be read.
    Keys(Vec<(Name, JwksFault)>),
    /// The operating system gives no random numbers.
    Random,
    /// These listeners' addresses can't be bound.
    Listeners(Vec<(Name, io::ErrorKind)>),
    /// More listeners had a name in this process than there are numbers for them.
    Numbers,
    /// Another process is about to take this one's place, with what was in force when it began.
    Parting,
    /// This one is about to end.
    Stopping,
    /// These keys have other values, which only a restart can put in force.
    Fixed(Vec<&'static str>),
}

impl ReloadFault {
    /// Its name in the log.
    const fn word(&self) -> &'static str {
        match self {
            Self::Tls(_) => "tls",
            Self::Quotas(_) => "quotas",
            Self::Keys(_) => "keys",
            Self::Random => "no-randomness",
            Self::Listeners(_) => "address-not-to-be-had",
            Self::Numbers | Self::Fixed(_) => "restart-needed",
            Self::Parting => "upgrade-under-way",
            Self::Stopping => "stopping",
        }
    }
}

impl fmt::Display for ReloadFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tls(fault) => fault.fmt(f),
            Self::Quotas(errors) => {
                write!(f, "{} quotas can't be built:", errors.len())?;
                errors.iter().try_for_each(|error| write!(f, " {} ({:?});", error.at, error.fault))
            }
            Self::Keys(faults) => {
                f.write_str("keys can't be read:")?;
                faults
                    .iter()
                    .try_for_each(|(issuer, fault)| write!(f, " issuer {issuer}: {fault};"))
            }
            Self::Random => f.write_str("the operating system gives no random numbers"),
            Self::Listeners(names) => {
                f.write_str("can't be bound:")?;
                names.iter().try_for_each(|(name, kind)| write!(f, " listener {name}: {kind};"))
            }
            Self::Numbers => f.write_str("no number is left for a new listener; restart"),
            Self::Parting => f.write_str("an upgrade is under way; try again when it is over"),
            Self::Stopping => f.write_str("the gateway stops"),
            Self::Fixed(keys) => {
                write!(f, "{} changed; restart to apply that", keys.join(", "))
            }
        }
    }
}

impl std::error::Error for ReloadFault {}

/// A configuration, and what it was made from, if that is known.
type Next = (Arc<Snapshot>, Option<Origin>);

/// A configuration that is ready to be put in force.
pub(super) struct Built {
    pub(super) live: Live,
    pub(super) keys: Prepared,
}

/// Everything that can fail, before anything changes.
pub(super) fn build(
    snapshot: Arc<Snapshot>,
    jwks: &JwksStore,
    before: Option<&Live>,
    time: &Believed,
    metrics: &Metrics,
    pacing: &HashKey,
) -> Result<Built, ReloadFault> {
    let keys = jwks.prepare(issuers(&snapshot)).map_err(ReloadFault::Keys)?;
    let among = if snapshot.state.redis.is_some() { Among::Several } else { Among::One };
    let mut quotas = Quotas::build_among(&snapshot.quotas.limits, &snapshot.quotas.accounts, among)
        .map_err(ReloadFault::Quotas)?;
    if let Some(before) = before {
        quotas.carry_over(&before.quotas, time.now());
    }
    let machine = MachineRoots::read(before.map(|before| &before.machine));
    let live = Live::build(snapshot, quotas, machine, before, metrics, pacing, time)
        .map_err(ReloadFault::Tls)?;
    Ok(Built { live, keys })
}

impl Engine {
    /// Puts another configuration in force. Requests under way keep the one they began with.
    ///
    /// # Errors
    /// See [`ReloadFault`]; the configuration before it then stays in force.
    pub fn reload(&self, snapshot: Snapshot) -> Result<(), ReloadFault> {
        self.put(&self.live(), (self.numbered(snapshot)?, self.made_from())).map(drop)
    }

    /// Changes with each configuration that comes in force.
    #[must_use]
    pub fn generations(&self) -> watch::Receiver<u64> {
        self.generations.subscribe()
    }

    /// Whoever owns the listening sockets follows the configuration from now on.
    pub fn listen_by(&self, sockets: Weak<dyn Sockets>) {
        *self.sockets.lock() = Some(sockets);
    }

    /// No configuration comes into force any more; what is under way is not waited for.
    pub fn close_reloads(&self) {
        *self.reloads.may_swap.lock() = MaySwap::No;
    }

    /// Listeners keep the numbers of their names.
    fn numbered(&self, mut snapshot: Snapshot) -> Result<Arc<Snapshot>, ReloadFault> {
        number(&mut self.numbers.lock(), &mut snapshot)?;
        Ok(Arc::new(snapshot))
    }

    /// The same, in the place of what is in force now. One at a time; blocks for as long as it takes to
    /// build, and holds nobody up but for the exchange of a pointer.
    fn put(&self, before: &Arc<Live>, next: Next) -> Result<Arc<Live>, ReloadFault> {
        unmoved(&before.snapshot, &next.0)?;
        // What can't be bound refuses the whole.
        let bound = self.bind(&next.0)?;
        self.exchange(before, next, bound)
    }

    /// The same, with these sockets.
    fn exchange(
        &self,
        before: &Arc<Live>,
        (snapshot, origin): Next,
        bound: Option<Serve>,
    ) -> Result<Arc<Live>, ReloadFault> {
        let (time, key) = (&self.permits.time, self.pacing.key());
        let built = build(snapshot, &self.jwks, Some(before), time, &self.metrics, key)?;
        // To the end of this function: whoever stops the gateway closes what serves afterwards.
        let may_swap = self.reloads.may_swap.lock();
        if *may_swap == MaySwap::No {
            return Err(ReloadFault::Stopping);
        }
        self.jwks.adopt(built.keys);
        let live = Arc::new(built.live);
        self.tokens.adopt(&before.snapshot.trust, &live.snapshot.trust);
        self.count_listeners(&live.snapshot);
        self.locks.adopt(&live.snapshot, self.clock.now());
        self.histories.adopt(before, &live);
        self.reloads.retire(self.live.swap(Arc::clone(&live)));
        // At once: who still accepts for a listener that is gone, or has another name, serves nobody.
        if let Some(serve) = bound {
            serve();
        }
        self.resolve(&live, Some(before));
        self.watch_targets(&live, Some(before));
        // Whoever hears of it finds what it was made from, and must not wait for the rest of a reload.
        self.generations.send_modify(|generation| {
            *generation = live.snapshot.generation;
            *self.reloads.origin.lock() = origin;
        });
        self.report_configuration(&live);
        self.report_permit(&live, Some(before));
        self.ring();
        Ok(live)
    }

    /// None, where nobody owns sockets.
    fn bind(&self, snapshot: &Snapshot) -> Result<Option<Serve>, ReloadFault> {
        let sockets = self.sockets.lock().as_ref().and_then(Weak::upgrade);
        let bound = sockets.map(|sockets| sockets.bind(snapshot)).transpose();
        bound.map_err(ReloadFault::Listeners)
    }

    /// Keeps the names of new upstreams resolved, as long as a configuration uses them.
    pub(super) fn resolve(&self, live: &Live, before: Option<&Live>) {
        for route in live.routes() {
            let known = before.is_some_and(|before| {
                before.routes().any(|earlier| Arc::ptr_eq(&earlier.pool, &route.pool))
            });
            if known {
                continue;
            }
            let Some(metrics) = live.meters.upstream(route.upstream) else { continue };
            let endpoint = route.endpoint();
            // Its breaker is a new one and closed, whatever the one before it was.
            metrics.breaker_open(endpoint).set(0);
            let unresolved = metrics.unresolved(endpoint);
            unresolved.set(0);
            let (log, upstream) = (self.log.clone(), route.pool.spec().name.clone());
            let alarms = Arc::clone(&self.alarms);
            let mut health = NameHealth::default();
            tokio::spawn(keep_resolved(Arc::downgrade(&route.pool), move |resolution| {
                let upstream = &upstream;
                match health.note(resolution) {
                    // Whoever sees the number finds the line.
                    Some(NameChange::Lost) => {
                        let event = Event::UpstreamUnresolved { upstream, endpoint };
                        log.event(&event);
                        alarms.hear(&event);
                        unresolved.set(1);
                    }
                    Some(NameChange::Found) => {
                        log.event(&Event::UpstreamResolved { upstream, endpoint });
                        unresolved.set(0);
                    }
                    None => {}
                }
            }));
        }
    }
}

/// Owns the listening sockets.
pub trait Sockets: Send + Sync {
    /// Has every socket of a configuration. What comes back puts them in service, once that is in
    /// force; dropped, it changes nothing.
    ///
    /// # Errors
    /// Those that can't be bound.
    fn bind(&self, snapshot: &Snapshot) -> Result<Serve, Vec<(Name, io::ErrorKind)>>;
}

/// See [`Sockets::bind`].
pub type Serve = Box<dyn FnOnce() + Send>;

/// Listeners keep the numbers of their names.
pub(super) fn number(
    numbers: &mut ListenerNumbers,
    snapshot: &mut Snapshot,
) -> Result<(), ReloadFault> {
    snapshot.number_listeners(numbers).map_err(|_none_left| ReloadFault::Numbers)
}

/// What a running process can't change about itself.
fn unmoved(before: &Snapshot, after: &Snapshot) -> Result<(), ReloadFault> {
    let (log, other) = (&before.log, &after.log);
    let changed: Vec<&'static str> = [
        (log.access != other.access, "[log] access"),
        (log.rotate_bytes != other.rotate_bytes, "[log] rotate_bytes"),
        (log.rotate_every != other.rotate_every, "[log] rotate_every"),
        (log.keep != other.keep, "[log] keep"),
        (before.environment != after.environment, "gateway.environment"),
        (before.state_dir != after.state_dir, "gateway.state_dir"),
        (before.threads != after.threads, "gateway.threads"),
    ]
    .into_iter()
    .filter_map(|(differs, key)| differs.then_some(key))
    .chain(before.state.changed(&after.state))
    .collect();
    if changed.is_empty() { Ok(()) } else { Err(ReloadFault::Fixed(changed)) }
}

fn issuers(snapshot: &Snapshot) -> Vec<IssuerKeys> {
    let source = |settings: &IssuerSettings| match &settings.jwks {
        From::File(path) => JwksSource::File(path.clone()),
        From::Url { endpoint, path, roots } => JwksSource::Url(Box::new(JwksUrl {
            site: https::Site {
                server_name: endpoint.server_name.clone(),
                authority: endpoint.authority.clone(),
                host: endpoint.host.clone(),
                port: endpoint.port,
                addresses: match &endpoint.addresses {
                    Where::Dns => Vec::new(),
                    Where::Fixed(addresses) => addresses.clone(),
                },
            },
            path: path.clone(),
            roots: match roots {
                Roots::System => https::Roots::System,
                Roots::Private(roots) => https::Roots::Private(roots.clone()),
            },
        })),
    };
    (0..)
        .map(crate::identity::IssuerIx)
        .zip(&snapshot.issuers)
        .filter_map(|(ix, settings)| {
            Some(IssuerKeys {
                name: settings.name.clone(),
                iss: Arc::from(snapshot.trust.iss(ix)?),
                source: source(settings),
                cooldown: settings.cooldown,
                refresh: settings.refresh,
            })
        })
        .collect()
}

pub(super) fn upstream_spec(settings: &UpstreamSettings, endpoint: &Endpoint) -> UpstreamSpec {
    UpstreamSpec {
        name: settings.name.clone(),
        host: endpoint.host.clone(),
        port: endpoint.port,
        addresses: match &endpoint.addresses {
            Where::Dns => Addresses::Dns,
            Where::Fixed(addresses) => Addresses::Fixed(addresses.clone()),
        },
        breaker: BreakerSpec {
            failures: NonZeroU32::new(settings.breaker.failures).unwrap_or(NonZeroU32::MIN),
            open: settings.breaker.open,
        },
    }
}
