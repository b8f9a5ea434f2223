//! A gateway at work: how it starts, takes on another configuration, and stops.
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{Mutex, MutexGuard, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use super::Missed;
use super::given::Given;
use super::sockets::{Bound, House, Keeper, Purpose, Sockets, Wanted};
use crate::base::{Clock, Moment, Name, Secret};
use crate::cli::say::{self, Failure};
use crate::cli::state::Opened;
use crate::cli::upgrade::{Leaving, Left, Probation, Stand, go_on};
use crate::cli::{permit, reload, secret};
use crate::config::{AccessLog, Apply, Loaded, Snapshot};
use crate::deliver;
use crate::engine::{Before, Engine, Handed, Parts, provider};
use crate::evidence::{Event, Fixed};
use crate::gateway::Gateway;
use crate::observe::{LogSink, LogSpec, LogTarget, Metrics, Rotation};
use crate::store::{Exchange, Look, Store};

pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");
/// How long connections that are cut may take to end.
const CUT_MAX: Duration = Duration::from_secs(2);
/// How long those that are passed on may take then to come to rest, where the process stops.
const REST_MAX: Duration = Duration::from_secs(1);
/// The same where another process serves, in graces: nobody waits for this one.
const RESTS: u32 = 10;
/// How long the log may take to be written out at the end.
const LOG_CLOSE_MAX: Duration = Duration::from_secs(5);
/// How long a process that takes another one's place waits for issuers' keys, and how often it looks.
const KEYS_MAX: Duration = Duration::from_secs(6);
const KEYS_LOOK: Duration = Duration::from_millis(5);
/// How long background work may take to end.
const TASKS_MAX: Duration = Duration::from_secs(2);

/// A gateway at work.
#[derive(Debug)]
pub struct Running {
    pub engine: Arc<Engine>,
    /// Listeners by name, with the addresses they were given at the start.
    pub listeners: Vec<(String, SocketAddr)>,
    /// Metrics and health, as bound at the start.
    pub admin: SocketAddr,
    /// Where operators connect, as bound at the start.
    pub api: Option<SocketAddr>,
    pub log: LogSink,
    pub(super) house: House,
    pub(super) sockets: Arc<Keeper>,
    pub(super) state: Mutex<Box<Opened>>,
    began: Moment,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

/// A gateway that has all it needs but its memory, and serves nobody.
pub(super) struct Prepared {
    snapshot: Snapshot,
    clock: Clock,
    began: Moment,
    metrics: Arc<Metrics>,
    log: LogSink,
    pseudonym_master: Secret<[u8; 32]>,
    bound: Bound,
    given: Given,
}

/// A gateway that remembers, and serves nobody yet.
pub(super) struct Restored {
    engine: Arc<Engine>,
    gateway: Arc<Gateway>,
    state: Box<Opened>,
    bound: Bound,
    given: Given,
    log: LogSink,
    began: Moment,
}

impl Prepared {
    /// Binds everything. Port 0 in the configuration takes a free port.
    ///
    /// # Errors
    /// What can't be opened or bound, and what to do about it.
    pub(super) fn new(loaded: Loaded, clock: Clock, mut given: Given) -> Result<Self, Failure> {
        // Pingora would install another provider; the first one stays.
        let _ = rustls::crypto::CryptoProvider::install_default(provider().as_ref().clone());
        let began = clock.now();
        let snapshot = loaded.snapshot;
        let metrics = Arc::new(Metrics::new(VERSION, clock.now()).map_err(Failure::new)?);
        let log = LogSink::open(&log_spec(&snapshot), clock.clone(), metrics.log())
            .map_err(|fault| Failure::new(format_args!("[log] access: {fault}")))?;
        let pseudonym_master = secret::pseudonym_master(&snapshot.state_dir)?;
        let bound = Sockets::default().bind(&snapshot, &mut given).map_err(|failures| {
            let each = failures.iter().map(|(wanted, error)| {
                format!("{} {} can't be bound: {error}", wanted.purpose, wanted.address)
            });
            Failure::new(each.collect::<Vec<_>>().join("; "))
        })?;
        given.forget_before();
        given.tell_unused(|address| bound.holds(address));
        Ok(Self { snapshot, clock, began, metrics, log, pseudonym_master, bound, given })
    }

    pub(super) const fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Opens the memory and brings it back.
    ///
    /// # Errors
    /// What can't be opened or read, and what to do about it.
    pub(super) async fn restore(self, look: Look) -> Result<Restored, Failure> {
        let Self { snapshot, clock, began, metrics, log, pseudonym_master, bound, given } = self;
        let threads = usize::from(snapshot.threads.unwrap_or(1));
        let opened = Opened::open(&snapshot, &pseudonym_master, clock.now(), look);
        let state = Box::new(Box::pin(opened).await?);
        let store: Arc<dyn Store> = Arc::<Exchange>::clone(&state.store);
        let parts = Parts {
            clock,
            log: log.clone(),
            metrics,
            pseudonym_master,
            store,
            number: state.gateway,
            shared: state.secret.clone(),
        };
        let engine = Engine::start(parts, snapshot).map_err(Failure::new)?;
        // What was locked when the process ended is locked before the first request.
        engine.restore().await.map_err(|fault| {
            Failure::new(format_args!("the locks of the state directory can't be read: {fault}"))
        })?;
        // So is what was spent, and what was revealed.
        Box::pin(engine.recall()).await.map_err(|fault| {
            Failure::new(format_args!("the memory of the state directory can't be read: {fault}"))
        })?;
        let gateway = Gateway::new(Arc::clone(&engine), threads);
        Ok(Restored { engine, gateway, state, bound, given, log, began })
    }
}

impl Restored {
    pub(super) fn store(&self) -> &Exchange {
        &self.state.store
    }

    /// Takes the issuers' keys that the process before has, and waits for the others, if they can be had
    /// in time: callers must not notice that this process had none.
    ///
    /// # Errors
    /// If there are none of an issuer of which the process before has some.
    pub(super) async fn fetch_keys(&self, before: &[Handed]) -> Result<(), Failure> {
        let jwks = &self.engine.jwks;
        jwks.take(before);
        let there = async {
            while jwks.status().iter().any(|issuer| issuer.keys == 0 && issuer.fault.is_none()) {
                tokio::time::sleep(KEYS_LOOK).await;
            }
        };
        tokio::select! {
            () = jwks.keep_fresh() => {}
            _ = tokio::time::timeout(KEYS_MAX, there) => {}
        }
        let Some((issuer, fault)) = jwks.lacks(before) else { return Ok(()) };
        let why = fault.map_or_else(|| "they did not come in time".to_owned(), |f| f.to_string());
        Err(Failure::new(format_args!(
            "issuer {issuer}: the process before has keys, and from where they are now there are none \
             to be had: {why}"
        )))
    }

    /// Begins to serve.
    ///
    /// # Errors
    /// If a socket broke since it was bound.
    pub(super) fn serve(self) -> Result<Running, Failure> {
        let Self { engine, gateway, mut state, bound, given, log, began } = self;
        let (mut listeners, mut admin, mut api) = (Vec::new(), None, None);
        for (purpose, address) in bound.addresses() {
            let address = address.map_err(Failure::new)?;
            match purpose {
                Purpose::Listener(name) => listeners.push((name.to_string(), address)),
                Purpose::Admin => admin = Some(address),
                Purpose::Api => api = Some(address),
            }
        }
        let admin = admin.ok_or_else(|| Failure::new("[admin] has no address"))?;
        let house = House { engine: Arc::clone(&engine), gateway };
        let sockets = Keeper::new(house.clone(), given);
        sockets.adopt(bound).map_err(Failure::new)?;
        let follows: Weak<Keeper> = Arc::downgrade(&sockets);
        engine.listen_by(follows);
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        tasks.spawn(deliver::run(Arc::clone(&engine), stopped.clone()));
        tasks.spawn(reload::judge(Arc::clone(&engine), stopped.clone()));
        let keys = Arc::clone(&engine);
        tasks.spawn(async move {
            let mut stopped = stopped;
            tokio::select! {
                () = keys.jwks.keep_fresh() => {}
                _ = stopped.wait_for(|stop| *stop) => {}
            }
        });
        state.keep(&engine);
        let generation = engine.live().snapshot.generation;
        engine.report_event(&Event::Started { version: Fixed::new(VERSION), generation });
        let state = Mutex::new(state);
        Ok(Running {
            engine,
            listeners,
            admin,
            api,
            log,
            house,
            sockets,
            state,
            began,
            stop,
            tasks,
        })
    }
}

impl Running {
    /// Binds everything, then serves. Port 0 in the configuration takes a free port.
    ///
    /// # Errors
    /// What can't be opened or bound, and what to do about it.
    pub async fn start(loaded: Loaded, clock: Clock) -> Result<Self, Failure> {
        let prepared = Prepared::new(loaded, clock, Given::default())?;
        let restored = Box::pin(prepared.restore(Look::Whole)).await?;
        restored.serve()
    }

    /// The address that a listener had at the start.
    #[must_use]
    pub fn address(&self, listener: &str) -> Option<SocketAddr> {
        self.listeners.iter().find(|(name, _)| name == listener).map(|(_, address)| *address)
    }

    /// The address that a listener has now.
    pub fn listens_at(&self, listener: &str) -> Option<SocketAddr> {
        let name = Name::parse(listener).ok()?;
        self.sockets.address(&Purpose::Listener(name))
    }

    /// Where metrics and health are to be had now, and where operators connect.
    pub fn administered_at(&self) -> (Option<SocketAddr>, Option<SocketAddr>) {
        let sockets = &self.sockets;
        (sockets.address(&Purpose::Admin), sockets.address(&Purpose::Api))
    }

    /// Stops accepting, lets requests in flight finish within the grace, writes the log out.
    pub async fn stop(self) {
        Box::pin(self.stop_after(None)).await;
    }

    /// The same; the process before, if it still finishes its requests, may tell what they spent.
    pub(in crate::cli) async fn stop_after(mut self, before: Option<JoinHandle<()>>) {
        self.engine.close_reloads();
        let grace = self.engine.live().snapshot.shutdown_grace;
        self.engine.begin_drain();
        self.engine.report_event(&Event::Draining);
        self.stop.send_replace(true);
        // Until the end it can be asked how it stands.
        self.sockets.end(|purpose| *purpose != Purpose::Admin).await;
        self.house.gateway.retire();
        end_tasks(&mut self.tasks).await;
        // Whoever has a connection is told with its next answer that it is the last; a request that is
        // on its way on one that waits would be lost with it. Half of the time is for those that come.
        let told_within = grace / 2;
        idle_within(&self.engine, told_within).await;
        self.house.gateway.drain().await;
        let told = async {
            if let Some(before) = before {
                let _ = tokio::time::timeout(grace, before).await;
            }
        };
        let rest = grace.saturating_sub(told_within);
        tokio::join!(end_connections(&self.engine, rest, REST_MAX), told);
        self.sockets.close(|_| true).await;
        let state = self.state.get_mut();
        Box::pin(state.close(&self.engine)).await;
        permit::clock::keep(&self.engine).await;
        self.end_log().await;
    }

    /// Another process serves in this one's place: stops accepting, and has callers go there with their
    /// next request.
    pub(super) async fn retire(&self) -> Before {
        self.engine.begin_drain();
        self.engine.report_event(&Event::Draining);
        self.sockets.pause().await;
        let in_force = self.engine.in_force();
        self.house.gateway.retire();
        in_force
    }

    /// After [`Self::retire`]: returns when nobody is left or the grace is over. The process that took
    /// this one's place is watched meanwhile; once it is `steady`, this one is not needed any more.
    ///
    /// # Errors
    /// It died at once. This one serves again then, as before and with everything back; what comes back
    /// is what the other one was asked for meanwhile.
    pub(super) async fn leave(
        &mut self,
        left: Left,
        in_force: Before,
        steady: impl FnOnce(),
    ) -> Result<(), Missed> {
        let Left { mut link, parting, probation, mut hold, begun_with, .. } = left;
        let engine = Arc::clone(&self.engine);
        let grace = engine.live().snapshot.shutdown_grace;
        let lasts = Probation::lasts(grace);
        let state = self.state.get_mut();
        let store = Arc::clone(&state.store);
        let (stop, tasks) = (&self.stop, &mut self.tasks);
        let reach = probation.reach();
        let over = async {
            let rests = grace.saturating_mul(RESTS);
            let ended = async {
                tokio::select! {
                    () = end_connections(&engine, grace, rests) => {}
                    // The service as a whole stops, and this process with it.
                    () = reach.stopped() => end_connections(&engine, grace, REST_MAX).await,
                }
            };
            tokio::join!(ended, tokio::time::sleep(lasts));
            stop.send_replace(true);
            end_tasks(tasks).await;
            // To the memory that took the file's place, from where it is carried over.
            let _carried = engine.flush_state().await;
        };
        let Some(alarms) = state.alarms() else { return Ok(()) };
        let now = Instant::now();
        let mut leaving = Leaving {
            engine: &engine,
            store: &store,
            alarms,
            parting: &parting,
            hold: &mut hold,
            begun_with,
            stand: Stand::AsBegun,
            watched_until: now.checked_add(lasts).unwrap_or(now),
        };
        let sockets = Arc::clone(&self.sockets);
        let dies = probation.dies(lasts, |is_there| {
            // From now on whoever connects while nobody serves is to know.
            sockets.let_go();
            if is_there {
                steady();
            }
        });
        let fault = tokio::select! {
            biased;
            fault = dies => fault,
            told = leaving.tell(&mut link, over) => {
                // The other process misses what could not be told; nobody else can be.
                if told.is_err() {
                    say::err("the new process could not be told everything that was spent and locked");
                }
                return Ok(());
            }
        };
        let (stand, mut missed) = (leaving.stand, Missed::default());
        // What it had in force since stays: whoever was taken out there must not be let in here (ACC-3).
        let outcome = match stand {
            Stand::AsBegun => engine.go_back(&mut hold, in_force).await,
            Stand::Behind | Stand::Level => Ok(()),
        };
        drop(hold);
        go_on(&engine, state, parting, &fault).await;
        self.house.gateway.go_on();
        engine.end_drain();
        if let Err(why) = outcome {
            say::err(format_args!(
                "the configuration of the process that ended is in force, since the one before can't be: \
                 {}",
                why.word()
            ));
            missed.reload = true;
        }
        match (stand, engine.live().snapshot.reload.apply) {
            (Stand::AsBegun, _) => {}
            // Before anybody comes.
            (Stand::Behind, _) => drop(self.reload().await),
            (Stand::Level, Apply::OnChange) => missed.changed = true,
            (Stand::Level, Apply::OnRequest) => missed.reload = true,
        }
        missed.reload |= !self.sockets.go_on();
        Err(missed)
    }

    /// The end of a process that another one has relieved.
    pub(super) async fn end(mut self) {
        self.state.get_mut().end().await;
        self.end_log().await;
    }

    /// Every listening socket, with its name and the address that is configured for it.
    pub(in crate::cli) fn listening(&self) -> Vec<(String, SocketAddr, Arc<TcpListener>)> {
        let of = |(wanted, socket): (Wanted, Arc<TcpListener>)| {
            (wanted.purpose.label().to_owned(), wanted.address, socket)
        };
        self.sockets.all().into_iter().map(of).collect()
    }

    /// Those that a service manager has as well.
    pub(in crate::cli) fn given(&self) -> parking_lot::MutexGuard<'_, Given> {
        self.sockets.given()
    }

    pub(in crate::cli) async fn state(&self) -> MutexGuard<'_, Box<Opened>> {
        self.state.lock().await
    }

    async fn end_log(self) {
        let ran = self.engine.clock.now().since(self.began);
        self.engine.report_event(&Event::Stopped { ran });
        let log = self.log.clone();
        let closed = tokio::task::spawn_blocking(move || log.close(LOG_CLOSE_MAX)).await;
        if let Ok(Err(unwritten)) = closed {
            say::err(format_args!("{} log lines could not be written", unwritten.0));
        }
    }

    /// Writes out what the log has, for tests that read it.
    pub fn flush_log(&self) {
        self.engine.flush_counts();
        let _ = self.log.flush(LOG_CLOSE_MAX);
    }
}

async fn end_tasks(tasks: &mut JoinSet<()>) {
    let ended = async { while tasks.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(TASKS_MAX, ended).await;
}

/// Returns when nothing is under way any more; the grace is for those that don't end by themselves.
/// Those that are passed on know of none, and have `rests` on top of it to come to rest.
async fn end_connections(engine: &Engine, grace: Duration, rests: Duration) {
    if !idle_within(engine, grace).await {
        // Cut, so that even these requests have their lines before the log is closed.
        engine.cut_connections(rests);
        idle_within(engine, rests.saturating_add(CUT_MAX)).await;
    }
    engine.flush_counts();
}

/// Waits until no connection is open and no request under way, which over HTTP/2 may outlive its
/// connection; false if that takes longer.
async fn idle_within(engine: &Engine, time: Duration) -> bool {
    let idle = async {
        while engine.open_connections() > 0 || engine.requests_under_way() > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(time, idle).await.is_ok()
}

fn log_spec(snapshot: &Snapshot) -> LogSpec {
    let settings = &snapshot.log;
    let target = match &settings.access {
        AccessLog::Stdout => LogTarget::Stdout,
        AccessLog::File(path) => LogTarget::File(
            path.clone(),
            Rotation {
                bytes: settings.rotate_bytes,
                every: settings.rotate_every,
                keep: settings.keep,
            },
        ),
    };
    LogSpec::new(target, snapshot.environment.clone())
}
