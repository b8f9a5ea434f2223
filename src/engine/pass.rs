//! Connections whose TLS ends at another gateway: which target each goes to, how the targets fare, and
//! whether a connection that is open may go on. Controls: TLS-3, NET-1.
//! 1. A target that fails several times in a row is left alone until a check finds it again; then it
//!    takes part as the others do, the least busy first.
//! 2. A connection goes on only while the configuration in force would pass it on as it is.
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use prometheus::IntGauge;
use tokio::net::TcpStream;

use super::{Alarms, Engine, Live};
use crate::base::{ClientAddr, Clock, Moment, Name, Pseudonym, UpstreamFault};
use crate::config::{Addresses as Where, PassSettings, PassTarget, Snapshot, Way};
use crate::evidence::{self, Event, Fixed, Passing};
use crate::lockout::{Step, Subject};
use crate::observe::{LogSink, Metrics, PassMetrics};
use crate::policy::NetworkMask;
use crate::upstream::{
    Addresses, BreakerChange, BreakerSpec, Outcome, Picked, Upstream, UpstreamSpec, keep_resolved,
};

/// The most targets that one connection tries.
pub const PASS_ATTEMPTS_MAX: usize = 3;

/// How a connection that was passed on ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassEnd {
    /// Both sides closed in order.
    Closed,
    /// Both were silent for too long.
    Idle,
    /// The client went away.
    Client,
    /// The target did.
    Target,
    /// No target could be connected to.
    NoTarget,
    /// The route has as many connections as it may.
    Full,
    /// The gateway ended.
    Cut,
    /// The configuration, or a kill, permits it no more.
    Revoked,
}

impl PassEnd {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Idle => "idle",
            Self::Client => "client_reset",
            Self::Target => "target_reset",
            Self::NoTarget => "no_target",
            Self::Full => "route_full",
            Self::Cut => "cut",
            Self::Revoked => "revoked",
        }
    }

    /// For the record.
    #[must_use]
    pub const fn outcome(self) -> evidence::Outcome {
        match self {
            Self::Closed | Self::Idle | Self::Client | Self::Cut => evidence::Outcome::Allowed,
            Self::Full | Self::Revoked => evidence::Outcome::Denied,
            Self::Target | Self::NoTarget => evidence::Outcome::Failed,
        }
    }
}

/// What the door knows of a connection that it passes on.
#[derive(Debug)]
pub struct PassFacts {
    pub listener: Name,
    /// The real client, behind a balancer too (NET-3).
    pub addr: ClientAddr,
    pub source: Pseudonym,
    pub source_day: u32,
    /// As in [`ConnFacts`](super::ConnFacts).
    pub source_hash: u64,
    /// A named network that holds the address.
    pub network: Option<Name>,
    pub balancer: Option<ClientAddr>,
    /// What the client asked for; not written down.
    pub server_name: Option<Box<str>>,
    pub generation: u64,
}

/// One route of a listener, with its targets' health. Lives on across reloads that leave it as it is.
#[derive(Debug)]
pub struct PassRoute {
    listener: Name,
    pub settings: PassSettings,
    targets: Vec<Target>,
    pub metrics: PassMetrics,
    /// Shared with the same route of other configurations.
    open: Arc<AtomicU32>,
    turn: AtomicUsize,
}

#[derive(Debug)]
struct Target {
    pool: Arc<Upstream>,
    open: Arc<AtomicU32>,
    down: AtomicBool,
}

/// A target for one attempt; while it lives, it counts as busy with it.
#[derive(Debug)]
#[must_use = "dropping it ends the attempt"]
pub struct Chosen {
    place: usize,
    picked: Picked,
    _open: Counted,
}

/// One more until it is dropped.
#[derive(Debug)]
struct Counted(Arc<AtomicU32>);

impl Counted {
    fn new(count: &Arc<AtomicU32>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection on a route; dropping it takes it out.
#[derive(Debug)]
pub struct Entered {
    gauge: IntGauge,
    _open: Counted,
}

impl Entered {
    fn new(open: Counted, gauge: &IntGauge) -> Self {
        gauge.inc();
        Self { gauge: gauge.clone(), _open: open }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}

impl Chosen {
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.picked.address()
    }

    /// Its place among the route's targets.
    #[must_use]
    pub const fn place(&self) -> usize {
        self.place
    }
}

/// What came of connecting to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    Yes,
    Refused,
    TimedOut,
}

/// Where changes are told.
#[derive(Clone)]
struct Teller {
    log: LogSink,
    alarms: Arc<Alarms>,
}

impl Teller {
    fn tell(&self, event: &Event<'_>) {
        self.log.event(event);
        self.alarms.hear(event);
    }
}

impl PassRoute {
    fn new(
        listener: &Name,
        settings: &PassSettings,
        open: Arc<AtomicU32>,
        metrics: PassMetrics,
    ) -> Self {
        let targets = settings.targets.iter().map(|target| {
            metrics.target_up(&target.name).set(1);
            Target {
                pool: Arc::new(Upstream::new(spec(settings, target))),
                open: Arc::default(),
                down: AtomicBool::new(false),
            }
        });
        Self {
            listener: listener.clone(),
            targets: targets.collect(),
            settings: settings.clone(),
            metrics,
            open,
            turn: AtomicUsize::new(0),
        }
    }

    /// A place for one more connection; `None` if all are taken.
    #[must_use]
    pub fn enter(&self) -> Option<Entered> {
        let counted = Counted::new(&self.open);
        let fits = self.open.load(Ordering::Relaxed) <= self.settings.connections;
        fits.then(|| Entered::new(counted, &self.metrics.open))
    }

    #[must_use]
    pub fn target(&self, place: usize) -> Option<&Name> {
        self.settings.targets.get(place).map(|target| &target.name)
    }

    /// The least busy target of those that are not left alone, other than those that were tried; of
    /// equals, each in its turn. One that is left alone is tried if there is no other.
    #[must_use]
    pub fn choose(&self, tried: &[usize], now: Moment) -> Option<Chosen> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let count = self.targets.len();
        let mut order: Vec<_> = (0..count)
            .filter_map(|step| {
                let place = turn.wrapping_add(step).checked_rem(count)?;
                let target = self.targets.get(place).filter(|_| !tried.contains(&place))?;
                let (down, busy) =
                    (target.down.load(Ordering::Relaxed), target.open.load(Ordering::Relaxed));
                Some((down, busy, step, place))
            })
            .collect();
        order.sort_unstable();
        order.into_iter().find_map(|(.., place)| self.pick(place, now).ok())
    }

    fn pick(&self, place: usize, now: Moment) -> Result<Chosen, UpstreamFault> {
        let target = self.targets.get(place).ok_or(UpstreamFault::Unreachable)?;
        let picked = target.pool.pick(&[], now)?;
        Ok(Chosen { place, picked, _open: Counted::new(&target.open) })
    }

    /// Waits until the first of the targets' names is resolved, at the start or after a reload.
    pub async fn ready(&self) {
        let of_name = |target: &&Target| target.pool.spec().addresses == Addresses::Dns;
        if let Some(target) = self.targets.iter().find(of_name) {
            // If it is not by then, no target is chosen.
            let _ = target.pool.ready(self.settings.connect_timeout).await;
        }
    }

    /// What came of an attempt.
    fn report(&self, chosen: &mut Chosen, reached: Reached, now: Moment, teller: &Teller) {
        let place = chosen.place;
        let (outcome, reason) = match reached {
            Reached::Yes => (Outcome::Ok, None),
            Reached::Refused => (Outcome::ConnectFailed, Some("refused")),
            Reached::TimedOut => (Outcome::TimedOut, Some("timed_out")),
        };
        if let (Some(reason), Some(target)) = (reason, self.target(place)) {
            self.metrics.failed(target, Fixed::new(reason));
        }
        match (chosen.picked.report(outcome, now), reached) {
            (Some(BreakerChange::Opened), _) => self.mark(place, true, teller),
            (Some(BreakerChange::Closed), _) | (None, Reached::Yes) => {
                self.mark(place, false, teller);
            }
            (Some(BreakerChange::HalfOpened) | None, _) => {}
        }
    }

    /// Leaves a target alone, or uses it again.
    fn mark(&self, place: usize, down: bool, teller: &Teller) {
        let (Some(target), Some(name)) = (self.targets.get(place), self.target(place)) else {
            return;
        };
        if target.down.swap(down, Ordering::AcqRel) == down {
            return;
        }
        self.metrics.target_up(name).set(i64::from(!down));
        let up = |target: &&Target| !target.down.load(Ordering::Acquire);
        let left = self.targets.iter().filter(up).count();
        let passing = Passing {
            listener: &self.listener,
            route: &self.settings.name,
            target: name,
            left: u64::try_from(left).unwrap_or(u64::MAX),
        };
        teller.tell(&if down { Event::TargetDown(passing) } else { Event::TargetUp(passing) });
    }

    /// Connects to a target once, to see whether it is there.
    async fn check(&self, place: usize, clock: &Clock, teller: &Teller) {
        match self.pick(place, clock.now()) {
            Ok(mut chosen) => {
                let connect = TcpStream::connect(chosen.address());
                let reached =
                    match tokio::time::timeout(self.settings.connect_timeout, connect).await {
                        Ok(Ok(_tcp)) => Reached::Yes,
                        Ok(Err(_error)) => Reached::Refused,
                        Err(_elapsed) => Reached::TimedOut,
                    };
                self.report(&mut chosen, reached, clock.now(), teller);
            }
            Err(UpstreamFault::Unreachable) => {
                if let Some(target) = self.target(place) {
                    self.metrics.failed(target, Fixed::new("unresolved"));
                }
                self.mark(place, true, teller);
            }
            // It is left alone, and its time has not come.
            Err(_open) => {}
        }
    }
}

fn spec(settings: &PassSettings, target: &PassTarget) -> UpstreamSpec {
    UpstreamSpec {
        name: target.name.clone(),
        host: target.host.clone(),
        port: target.port,
        addresses: match &target.addresses {
            Where::Dns => Addresses::Dns,
            Where::Fixed(addresses) => Addresses::Fixed(addresses.clone()),
        },
        breaker: BreakerSpec {
            failures: NonZeroU32::new(settings.failures).unwrap_or(NonZeroU32::MIN),
            // Over by the time of the next check, which comes a little sooner or later each time.
            open: settings.check / 2,
        },
    }
}

/// Checks a target now and then, until its route is dropped.
async fn keep_checked(route: Weak<PassRoute>, place: usize, clock: Clock, teller: Teller) {
    let mut salt = clock.now().mono_ns();
    let mut first = true;
    loop {
        let every = match route.upgrade() {
            Some(route) => route.settings.check,
            None => return,
        };
        salt = salt.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        let pause = if first { spread(every, salt, 0, 100) } else { spread(every, salt, 90, 110) };
        first = false;
        tokio::time::sleep(pause).await;
        let Some(route) = route.upgrade() else { return };
        route.check(place, &clock, &teller).await;
    }
}

/// Between so many hundredths of `every`, so that not all targets are checked at once, nor by all
/// gateways.
fn spread(every: Duration, salt: u64, low: u32, high: u32) -> Duration {
    let span = u64::from(high.saturating_sub(low)).saturating_add(1);
    let more = (salt >> 33).checked_rem(span).and_then(|more| u32::try_from(more).ok());
    every.saturating_mul(low.saturating_add(more.unwrap_or(0))) / 100
}

/// The routes of all listeners, by listener and place.
pub(super) fn build(
    snapshot: &Snapshot,
    before: Option<&Live>,
    metrics: &Metrics,
) -> Vec<Vec<Arc<PassRoute>>> {
    let known = |listener: &Name, name: &Name| {
        let mut all = before.into_iter().flat_map(Live::passes);
        all.find(|route| route.listener == *listener && route.settings.name == *name)
    };
    let of_listener = |listener: &crate::config::ListenerSettings| {
        let route = |settings: &PassSettings| match known(&listener.name, &settings.name) {
            Some(route) if route.settings == *settings => Arc::clone(route),
            known => {
                let open = known.map(|route| Arc::clone(&route.open)).unwrap_or_default();
                let metrics = metrics.pass(&listener.name, &settings.name);
                Arc::new(PassRoute::new(&listener.name, settings, open, metrics))
            }
        };
        listener.pass.routes().iter().map(route).collect()
    };
    snapshot.listeners.iter().map(of_listener).collect()
}

impl Engine {
    fn teller(&self) -> Teller {
        Teller { log: self.log.clone(), alarms: Arc::clone(&self.alarms) }
    }

    /// What came of connecting to a target.
    pub fn report_target(&self, route: &PassRoute, chosen: &mut Chosen, reached: Reached) {
        route.report(chosen, reached, self.clock.now(), &self.teller());
    }

    /// Watches the targets of new routes, as long as a configuration uses them.
    pub(super) fn watch_targets(&self, live: &Live, before: Option<&Live>) {
        for route in live.passes() {
            let mut known = before.into_iter().flat_map(Live::passes);
            if known.any(|earlier| Arc::ptr_eq(earlier, route)) {
                continue;
            }
            for (place, target) in route.targets.iter().enumerate() {
                let (clock, teller) = (self.clock.clone(), self.teller());
                tokio::spawn(keep_checked(Arc::downgrade(route), place, clock, teller));
                // Names that don't resolve show in the checks.
                tokio::spawn(keep_resolved(Arc::downgrade(&target.pool), |_resolution| {}));
            }
        }
    }

    /// Returns when a connection that is passed on may no longer go on.
    pub async fn unpassed(&self, facts: &PassFacts, to: (&str, u16)) {
        let (mut reloads, mut locks) = (self.generations.subscribe(), self.locks.changes());
        while self.still_passes(facts, to) {
            // Their senders live as long as the engine.
            let _ = tokio::select! {
                changed = reloads.changed() => changed,
                changed = locks.changed() => changed,
            };
        }
    }

    /// Whether the configuration in force would pass a connection on to this host and port.
    fn still_passes(&self, facts: &PassFacts, (host, port): (&str, u16)) -> bool {
        let live = self.live();
        let snapshot = &live.snapshot;
        let mut listeners = snapshot.listeners.iter();
        let Some(listener) = listeners.find(|listener| listener.name == facts.listener) else {
            return false;
        };
        let lists =
            |addr: &ClientAddr, list: &NetworkMask| snapshot.networks.lookup(addr).intersects(list);
        let balancer = match (&facts.balancer, &listener.proxy_from) {
            (Some(balancer), Some(list)) => lists(balancer, list),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        let route = match listener.way(facts.server_name.as_deref()) {
            Way::Pass(route) => listener.pass.routes().get(route),
            Way::End | Way::Unknown | Way::Nameless => None,
        };
        let leads = route.is_some_and(|route| {
            route.targets.iter().any(|target| target.host == host && target.port == port)
        });
        balancer && leads && lists(&facts.addr, &listener.networks) && !self.is_killed(facts)
    }

    /// Whether everything that comes from a client's network was stopped by hand (ACC-2).
    #[must_use]
    pub fn is_killed(&self, facts: &PassFacts) -> bool {
        let subject = Subject::Source(facts.source_hash);
        let now = self.clock.now();
        self.locks
            .read(|table| table.held(&subject, now).is_some_and(|(step, _)| step == Step::Kill))
    }
}

#[cfg(test)]
mod tests;
