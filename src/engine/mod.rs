//! Where the rooms meet: owns the configuration in force, the clock, the log, the metrics, quotas,
//! keys and upstream health, and lends them to the door and the request path. Controls: ACC-1,
//! LOG-1, PRIV-1, MON-2.
//!
//! Never sees: request bytes. It is handed facts, and hands back verdicts.
//! 1. A request uses one [`Live`] from start to end; a reload swaps the whole.
//! 2. A [`Clearance`] exists only after the quotas were charged and a place in the log was reserved.
//! 3. A configuration that can't be built leaves the old one in force.
//!
//! On failure: refused with a [`Denial`]; nothing opens.
mod acts;
mod ages;
mod alarms;
mod conditions;
mod conn;
mod door;
mod exposure;
mod failures;
mod forget;
mod gone;
mod granted;
mod guard;
mod histories;
mod leases;
mod limits;
mod live;
mod locks;
mod memory;
mod pacing;
mod parting;
mod pass;
mod peers;
mod permit;
mod prove;
mod reload;
mod remember;
mod report;
mod revealed;
mod revoke;
mod revoked;
mod sights;
mod sources;
mod space;
mod strangers;
mod subjects;
mod tls;
mod traffic;
mod usual;
mod view;
mod watches;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use parking_lot::{Mutex, RwLock};
use pingora::protocols::Stream;
use tokio::sync::watch;

pub use acts::{ActFault, Listed, LockOrder, OrderId, Target, TokenId, Unlock};
pub use ages::{Aged, AgedKind, Owner, State as AgedState};
pub use alarms::{Alarms, Recent, TargetStatus};
pub use conn::{BodyFault, ConnFacts, ConnLink, Cut, InUse};
pub use door::{DoorFault, HandshakeFault};
pub use exposure::Exposed;
pub use forget::FORGOTTEN_AFTER_DAYS;
pub use guard::{Caller, LockedOrders, Pace};
pub use limits::{LimitView, LimitsView};
pub use live::{Live, Reader, Route, Speaks};
pub use memory::{
    ALL_EVERY, Loaded, Memory, PIECES_AT_ONCE, Piece, SAVE_EVERY, Saved, Source, Unreadable,
};
pub use pacing::{Admission, Offer, Terms, Unpaced, Waiting};
pub use parting::{Handed, Parting};
pub use pass::{
    Answer, Chosen, Entered, PASS_ATTEMPTS_MAX, PassEnd, PassFacts, PassRoute, Reached,
};
pub use reload::{
    Again, Before, Files, Follow, Hold, Judged, Order, Origin, Outcome, Preview, Print, Read,
    Reading, ReloadFault, Ruling, Serve as ServeSockets, Sockets, Then, TrialView, Trigger, Why,
    Widening,
};
pub use report::OpenGauge;
use report::{DoorTally, IssuerTally};
pub use revealed::{ExposureView, HOURS_DAYS, KEPT_DAYS};
pub use subjects::written;
pub use tls::{TlsEnd, TlsFault, provider};
pub use traffic::{Done, UnderWay};
pub use view::{DetectorView, GatewayView, IdentityView, NameKind, PAGE_MAX, Page, TrafficView};

use crate::base::{
    ClientAddr, Clock, Denial, IdentityIx, Moment, OperationIx, PseudonymKey, RequestIds, RoleIx,
    Secret, UpstreamIx,
};
use crate::config::{ListenerNumbers, ListenerSettings, Snapshot};
use crate::identity::TokenCache;
use crate::keys::{JwksStore, Patience};
use crate::observe::{LogSink, LogSlot, Metrics};
use crate::pacing::Limits;
use crate::policy::Permit;
use crate::state::{
    Charged, ConnectionCounts, ConnectionFault, ConnectionLimits, Permit as ConnectionPermit,
    Refused, Standing,
};
use crate::store::{Gateway, SharedSecret, Store};

/// Verified tokens that are remembered; at some 100 bytes each.
const TOKENS_MAX: usize = 65_536;

/// Takes a connection from the door to its end. Implemented by the gateway; the door knows no more.
#[async_trait]
pub trait Serve: Send + Sync {
    async fn serve(&self, stream: Stream, link: Arc<ConnLink>, shutdown: watch::Receiver<bool>);
}

/// Permission to go upstream. Only [`Engine::settle`] makes one.
#[derive(Debug)]
pub struct Clearance {
    permit: Permit,
    /// Keeps the request's place in the log.
    slot: LogSlot,
    charged: Charged,
}

impl Clearance {
    #[must_use]
    pub const fn operation(&self) -> OperationIx {
        self.permit.operation()
    }

    #[must_use]
    pub const fn upstream(&self) -> UpstreamIx {
        self.permit.upstream()
    }

    #[must_use]
    pub const fn role(&self) -> RoleIx {
        self.permit.role()
    }

    #[must_use]
    pub const fn charged(&self) -> &Charged {
        &self.charged
    }

    /// The request turned into something that lasts: its place in the log is none that others need.
    pub fn lasts(&mut self) {
        self.slot.lasts();
    }

    /// Gives the place in the log to the record.
    pub fn into_slot(self) -> LogSlot {
        self.slot
    }
}

/// A permitted request that may not go on.
#[derive(Clone, Copy, Debug)]
pub struct Unsettled {
    pub denial: Denial,
    /// Where the caller stands in the quota that is used up.
    pub standing: Option<Standing>,
}

/// See the module.
pub struct Engine {
    pub clock: Clock,
    pub ids: RequestIds,
    pub log: LogSink,
    pub metrics: Arc<Metrics>,
    pub jwks: JwksStore,
    /// Where to have people told of something.
    pub alarms: Arc<Alarms>,
    conditions: Mutex<conditions::Conditions>,
    permits: permit::Permits,
    pub store: Arc<dyn Store>,
    live: ArcSwap<Live>,
    tokens: TokenCache,
    /// One for each listener: TCP connections by their peer.
    connections: RwLock<Vec<Arc<ConnectionCounts>>>,
    numbers: Mutex<ListenerNumbers>,
    /// Real clients behind balancers, and identities.
    clients: Arc<ConnectionCounts>,
    memory: Memory,
    leases: leases::Leases,
    locks: locks::Locks,
    roll: revoke::Roll,
    waits: guard::Waits,
    watches: watches::Watches,
    histories: histories::Histories,
    door: Mutex<DoorTally>,
    strangers: Mutex<strangers::Strangers>,
    issuers: Mutex<IssuerTally>,
    exposures: exposure::Exposures,
    pacing: Arc<pacing::Pacing>,
    reloads: reload::Reloads,
    /// Requests that are under way.
    under_way: Arc<AtomicU64>,
    pseudonym_master: Secret<[u8; 32]>,
    pseudonyms: ArcSwap<PseudonymKey>,
    draining: AtomicBool,
    cut: watch::Sender<Option<Duration>>,
    /// The generation in force.
    generations: watch::Sender<u64>,
    sockets: Mutex<Option<Weak<dyn Sockets>>>,
}

/// What an engine is made of, besides its first configuration.
#[derive(Debug)]
pub struct Parts {
    pub clock: Clock,
    pub log: LogSink,
    pub metrics: Arc<Metrics>,
    /// From which each day's pseudonym key is derived.
    pub pseudonym_master: Secret<[u8; 32]>,
    pub store: Arc<dyn Store>,
    /// This gateway's number among those that share the store.
    pub number: Gateway,
    /// Under which they name and hash things alike.
    pub shared: SharedSecret,
}

impl Engine {
    /// Puts the first configuration in force. Runs on a Tokio runtime, which keeps names resolved.
    ///
    /// # Errors
    /// See [`ReloadFault`].
    pub fn start(parts: Parts, mut snapshot: Snapshot) -> Result<Arc<Self>, ReloadFault> {
        let Parts { clock, log, metrics, pseudonym_master, store, number, shared } = parts;
        let now = clock.now();
        let jwks = JwksStore::new(clock.clone(), Patience::default());
        let pacing = pacing::Pacing::start(
            shared.hash_key("pacing"),
            clock.clone(),
            Limits::default(),
            metrics.pacing.clone(),
        );
        let mut numbers = ListenerNumbers::default();
        reload::number(&mut numbers, &mut snapshot)?;
        let time = permit::Believed::of(&clock);
        let built = reload::build(Arc::new(snapshot), &jwks, None, &time, &metrics, pacing.key())?;
        jwks.adopt(built.keys);
        if built.live.quotas.among() == crate::state::Among::Several {
            pacing.share(crate::pacing::Among::Unheard);
        }
        let mut random = [0_u8; 48];
        // aws-lc's generator fails only where the process can't run at all; zeros would make ids
        // and cache keys guessable, so start-up is refused.
        aws_lc_rs::rand::fill(&mut random).map_err(|_unspecified| ReloadFault::Random)?;
        let (token_key, seeds) = random.split_at(32);
        let seed =
            |bytes: &[u8]| bytes.iter().fold(0_u64, |seed, byte| (seed << 8) | u64::from(*byte));
        let (first, second) = seeds.split_at(8);
        let token_key: [u8; 32] = token_key.try_into().map_err(|_never| ReloadFault::Random)?;
        let environment = &built.live.snapshot.environment;
        let memory = Memory::new(Arc::clone(&store), environment);
        let leases = leases::Leases::new(Arc::clone(&store), shared.clone());
        let watches = watches::Watches::new(&shared);
        let kept = Arc::clone(&store);
        let locks = locks::Locks::new(number, kept, shared, &built.live.snapshot, now);
        let engine = Arc::new(Self {
            ids: RequestIds::new([seed(first), seed(second)]),
            connections: RwLock::default(),
            numbers: Mutex::new(numbers),
            clients: ConnectionCounts::new(),
            waits: guard::Waits::default(),
            watches,
            histories: histories::Histories::default(),
            memory,
            leases,
            alarms: Arc::new(Alarms::new(
                clock.clone(),
                metrics.alarms.clone(),
                built.live.snapshot.alarms.windows,
            )),
            conditions: Mutex::default(),
            permits: permit::Permits::new(time),
            store,
            tokens: TokenCache::new(&Secret::new(token_key), locks.keys().token, TOKENS_MAX),
            locks,
            roll: revoke::Roll::default(),
            pseudonyms: ArcSwap::from_pointee(PseudonymKey::of_day(
                &pseudonym_master,
                now.unix_day(),
            )),
            exposures: exposure::Exposures::new(&pseudonym_master, now),
            pacing,
            reloads: reload::Reloads::default(),
            under_way: Arc::default(),
            pseudonym_master,
            live: ArcSwap::from_pointee(built.live),
            door: Mutex::new(DoorTally::default()),
            strangers: Mutex::default(),
            issuers: Mutex::new(IssuerTally::default()),
            draining: AtomicBool::new(false),
            cut: watch::Sender::new(None),
            generations: watch::Sender::new(0),
            sockets: Mutex::new(None),
            clock,
            log,
            metrics,
            jwks,
        });
        let live = engine.live();
        tokio::spawn(revoke::keep_watch(Arc::downgrade(&engine)));
        tokio::spawn(locks::keep_out(Arc::downgrade(&engine)));
        engine.count_listeners(&live.snapshot);
        engine.resolve(&live, None);
        engine.watch_targets(&live, None);
        engine.report_configuration(&live);
        engine.report_permit(&live, None);
        Ok(engine)
    }

    #[must_use]
    pub fn live(&self) -> Arc<Live> {
        self.live.load_full()
    }

    /// Today's key; made anew when the UTC day changes.
    pub fn pseudonyms(&self, now: Moment) -> Arc<PseudonymKey> {
        let key = self.pseudonyms.load_full();
        if key.day() == now.unix_day() {
            return key;
        }
        let key = Arc::new(PseudonymKey::of_day(&self.pseudonym_master, now.unix_day()));
        self.pseudonyms.store(Arc::clone(&key));
        key
    }

    /// Stands for a client's address where it is counted; keyed, so that nobody can choose addresses
    /// that meet.
    #[must_use]
    pub fn source(&self, addr: &ClientAddr) -> u64 {
        addr.source(&self.locks.keys().source)
    }

    /// A place for one more TCP connection. A balancer's are bounded in total only.
    ///
    /// # Errors
    /// All places, or all of this source, are taken.
    pub fn admit_peer(
        &self,
        listener: &ListenerSettings,
        peer: &ClientAddr,
    ) -> Result<ConnectionPermit, ConnectionFault> {
        let bounds = &listener.bounds;
        let per_source = match listener.proxy_from {
            None => bounds.connections_per_address,
            Some(_) => bounds.connections,
        };
        let limits = ConnectionLimits { total: bounds.connections, per_source };
        let counts = self.connections.read().get(listener.ix.index()).map(Arc::clone);
        let counts = counts.ok_or(ConnectionFault::Total)?;
        counts.try_admit(self.source(peer), limits)
    }

    /// A place for one more connection of a client behind a balancer.
    ///
    /// # Errors
    /// All places of this source are taken.
    pub fn admit_client(
        &self,
        listener: &ListenerSettings,
        client: &ClientAddr,
    ) -> Result<ConnectionPermit, ConnectionFault> {
        let limits = ConnectionLimits {
            total: u32::MAX,
            per_source: listener.bounds.connections_per_address,
        };
        self.clients.try_admit(self.source(client), limits)
    }

    /// Connections that are open now, on all listeners.
    #[must_use]
    pub fn open_connections(&self) -> u32 {
        self.connections.read().iter().map(|counts| counts.open()).sum()
    }

    /// A listener that is new has no connections yet.
    fn count_listeners(&self, snapshot: &Snapshot) {
        let highest = snapshot.listeners.iter().map(|listener| listener.ix.index()).max();
        let mut connections = self.connections.write();
        let most = connections.len().max(highest.map_or(0, |highest| highest + 1));
        connections.resize_with(most, ConnectionCounts::new);
    }

    /// Charges the quotas of a permitted request. Refused calls charge nothing; without a place in
    /// the log nothing is charged either.
    pub fn settle(
        &self,
        live: &Live,
        who: IdentityIx,
        permit: Permit,
        now: Moment,
    ) -> Result<Clearance, Unsettled> {
        let slot = self
            .log
            .reserve()
            .map_err(|_full| Unsettled { denial: Denial::LogUnavailable, standing: None })?;
        let unsettled = match live.quotas.charge(who, permit.operation(), permit.upstream(), now) {
            Ok(charged) => return Ok(Clearance { permit, slot, charged }),
            Err(Refused::Exceeded(standing)) => {
                Unsettled { denial: Denial::QuotaExceeded, standing: Some(standing) }
            }
            // Asked for by whoever settles among several.
            Err(Refused::Unasked(standing)) => {
                Unsettled { denial: Denial::QuotaUnknown, standing: Some(standing) }
            }
            Err(Refused::Unregistered) => Unsettled { denial: Denial::Internal, standing: None },
        };
        slot.release();
        Err(unsettled)
    }

    /// From now on the process finishes what it has and takes no more.
    pub fn begin_drain(&self) {
        self.draining.store(true, Ordering::Release);
        self.pacing.end_within(self.live().snapshot.shutdown_grace);
    }

    /// Ends every connection now. Their requests leave their records on the way out. Those that are
    /// passed on may take so long to come to rest: nobody can tell them to go.
    pub fn cut_connections(&self, passed: Duration) {
        self.cut.send_replace(Some(passed));
    }

    /// Returns when connections are to be cut.
    pub async fn cut_off(&self) {
        // The sender lives as long as the engine, so there is nothing else to wait for.
        let _ = self.cut.subscribe().wait_for(Option::is_some).await;
    }

    /// Within which time connections that are passed on are to come to rest, if they are to.
    pub fn cuts(&self) -> watch::Receiver<Option<Duration>> {
        self.cut.subscribe()
    }

    /// Whether a balancer should send traffic here.
    ///
    /// # Errors
    /// The reason why not, for the operator.
    pub fn readiness(&self) -> Result<(), &'static str> {
        if self.draining.load(Ordering::Acquire) {
            return Err("draining");
        }
        if self.log.is_full() {
            return Err("the access log can't be written");
        }
        if !self.live().serves_any(self.clock.now()) {
            return Err("this host has no permit to end TLS");
        }
        Ok(())
    }

    #[must_use]
    pub fn render_metrics(&self) -> String {
        self.meter_permit();
        self.metrics.render()
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Engine")
    }
}
