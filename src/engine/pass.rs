//! Connections whose TLS ends at another gateway: which target each goes to, how the targets fare, and
//! whether a connection that is open may go on. Controls: TLS-3, NET-1.
//! 1. A target that fails several times in a row is left alone until it is found to be well again; then
//!    it takes part as the others do, the least busy first. How that is found: [`answers`].
//! 2. A connection goes on only while the configuration in force would pass it on as it is.
//! 3. Targets are watched, and their state is told, for the configuration in force alone.
mod answers;
mod checks;
mod open;

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use parking_lot::Mutex;
use prometheus::IntGauge;
use tokio::task::AbortHandle;

pub use answers::Answer;
use answers::Answers;
pub use checks::Reached;
pub use open::{PassEnd, PassFacts};

use super::{Alarms, Engine, Live};
use crate::base::{Moment, Name, UpstreamFault};
use crate::config::{Addresses as Where, PassSettings, PassTarget, Snapshot};
use crate::evidence::{Event, Fixed, Passing};
use crate::observe::{LogSink, Metrics, PassMetrics};
use crate::upstream::{Addresses, BreakerChange, BreakerSpec, Picked, Upstream, UpstreamSpec};

/// The most targets that one connection tries.
pub const PASS_ATTEMPTS_MAX: usize = 3;

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
    /// The configuration in force has it no more.
    retired: AtomicBool,
    /// Those that watch the targets.
    tasks: Mutex<Vec<AbortHandle>>,
}

#[derive(Debug)]
struct Target {
    pool: Arc<Upstream>,
    open: Arc<AtomicU32>,
    health: Mutex<Health>,
}

/// How a target fares.
#[derive(Debug)]
struct Health {
    /// Its breaker is.
    open: bool,
    /// Its name leads nowhere.
    unresolved: bool,
    answers: Answers,
    /// As last told.
    down: bool,
}

impl Health {
    const fn is_gone(&self) -> bool {
        self.open || self.unresolved
    }

    const fn is_down(&self) -> bool {
        self.is_gone() || self.answers.are_wrong()
    }

    /// Whether others are to be taken first.
    fn is_left_alone(&self, now: Moment) -> bool {
        self.is_gone() || self.answers.rest(now)
    }
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
        let targets = settings.targets.iter().map(|target| Target {
            pool: Arc::new(Upstream::new(spec(settings, target))),
            open: Arc::default(),
            health: Mutex::new(Health {
                open: false,
                unresolved: false,
                answers: Answers::new(settings.failures, settings.check),
                down: false,
            }),
        });
        Self {
            listener: listener.clone(),
            targets: targets.collect(),
            settings: settings.clone(),
            metrics,
            open,
            turn: AtomicUsize::new(0),
            retired: AtomicBool::new(false),
            tasks: Mutex::default(),
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
    /// equals, each in its turn. One that is left alone is tried if there is no other, as far as its
    /// breaker allows.
    #[must_use]
    pub fn choose(&self, tried: &[usize], now: Moment) -> Option<Chosen> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let count = self.targets.len();
        let mut order: Vec<_> = (0..count)
            .filter_map(|step| {
                let place = turn.wrapping_add(step).checked_rem(count)?;
                let target = self.targets.get(place).filter(|_| !tried.contains(&place))?;
                let alone = target.health.lock().is_left_alone(now);
                Some((alone, target.open.load(Ordering::Relaxed), step, place))
            })
            .collect();
        order.sort_unstable();
        let chosen = order.into_iter().find_map(|(.., place)| self.pick(place, now).ok())?;
        self.targets.get(chosen.place)?.health.lock().answers.begin(now);
        Some(chosen)
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

    /// What came of an attempt to connect.
    fn report(&self, chosen: &mut Chosen, reached: Reached, now: Moment, teller: &Teller) {
        let (place, failure) = (chosen.place, reached.failure());
        if let Some(reason) = failure {
            self.count(place, reason);
        }
        let open = match (chosen.picked.report(reached.outcome(), now), reached) {
            (Some(BreakerChange::Opened), _) => Some(true),
            (Some(BreakerChange::Closed), _) => Some(false),
            // One that set out before the breaker opened, and arrived after it, says nothing of now.
            (None, Reached::Yes) => None,
            (Some(BreakerChange::HalfOpened) | None, _) => return,
        };
        self.note(place, failure, teller, |health| {
            health.open = open.unwrap_or(health.open);
            health.unresolved &= reached != Reached::Yes;
        });
    }

    /// What a target said first.
    fn hear(&self, place: usize, answer: Answer, now: Moment, teller: &Teller) {
        let failure = answer.failure();
        if let Some(reason) = failure {
            self.count(place, reason);
        }
        self.note(place, failure, teller, |health| health.answers.note(answer, now));
    }

    fn count(&self, place: usize, reason: &'static str) {
        if let Some(target) = self.target(place) {
            self.metrics.failed(target, Fixed::new(reason));
        }
    }

    /// Something was learned of a target. Told if it is left alone from now on, or used again.
    fn note(
        &self,
        place: usize,
        failure: Option<&'static str>,
        teller: &Teller,
        learn: impl FnOnce(&mut Health),
    ) {
        let (Some(target), Some(name)) = (self.targets.get(place), self.target(place)) else {
            return;
        };
        let mut health = target.health.lock();
        learn(&mut health);
        let down = health.is_down();
        if health.down == down || self.retired.load(Ordering::Acquire) {
            return;
        }
        health.down = down;
        self.metrics.target_up(name).set(i64::from(!down));
        drop(health);
        let left = self.targets.iter().filter(|target| !target.health.lock().down).count();
        let passing = Passing {
            listener: &self.listener,
            route: &self.settings.name,
            target: name,
            fault: failure.filter(|_| down).map(Fixed::new),
            left: u64::try_from(left).unwrap_or(u64::MAX),
        };
        teller.tell(&if down { Event::TargetDown(passing) } else { Event::TargetUp(passing) });
    }

    /// Has its targets in the metrics.
    fn show(&self) {
        for target in &self.settings.targets {
            self.metrics.target_up(&target.name).set(1);
        }
    }

    /// The configuration in force has it no more. Connections that are open may keep it for long.
    fn retire(&self) {
        self.retired.store(true, Ordering::Release);
        self.tasks.lock().drain(..).for_each(|task| task.abort());
        for (target, named) in self.targets.iter().zip(&self.settings.targets) {
            // Whoever learns something at this moment comes first, or says nothing.
            let _health = target.health.lock();
            self.metrics.forget(&named.name);
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

    /// What a target said first.
    pub fn report_answer(&self, route: &PassRoute, place: usize, answer: Answer) {
        route.hear(place, answer, self.clock.now(), &self.teller());
    }
}

#[cfg(test)]
mod tests;
