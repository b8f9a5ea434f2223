//! Opens what the gateway remembers, and lets go of it in order.
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::say::{self, Failure};
use super::{lists, permit};
use crate::base::{Moment, Name, Secret, Use};
use crate::config::{RedisSettings, Snapshot};
use crate::engine::Engine;
use crate::store::{
    Condition, Cursor, Embedded, Endpoint, EndpointFault, Exchange, FILE_NAME, Gateway, LOCKS_MAX,
    Login, Look, OpenFault, RemoteSettings, Shared, SharedSecret, Store, StoreFault, TlsFiles,
};

/// How long the server that gateways share is waited for, before anything relies on it.
const CONNECT_MAX: Duration = Duration::from_secs(2);

/// How long those who use the store may take to stop.
const REST_MAX: Duration = Duration::from_secs(2);

/// The state of one gateway, open.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) store: Arc<Exchange>,
    /// This gateway among those that share.
    pub(super) gateway: Gateway,
    /// What gateways that share have in common; a gateway alone has one of its own.
    pub(super) secret: SharedSecret,
    shared: Option<Arc<Shared>>,
    /// Those who look after the store, and the word that ends them.
    keepers: JoinSet<()>,
    rest: watch::Sender<bool>,
    /// Alarms since the file was let go of.
    aside: Option<mpsc::UnboundedReceiver<Vec<u8>>>,
}

impl Opened {
    /// Opens the file in the state directory and, where several gateways share, begins to connect. A
    /// server that can't be had within [`CONNECT_MAX`] is no reason not to start: what is known holds.
    ///
    /// # Errors
    /// What is wrong with the file or the settings, and what to do about it.
    pub(super) async fn open(
        snapshot: &Snapshot,
        own_secret: &Secret<[u8; 32]>,
        now: Moment,
        look: Look,
    ) -> Result<Self, Failure> {
        let gateway = Gateway(snapshot.state.gateway);
        let file = open_file(snapshot, now, look).await?;
        let settings = remote(snapshot)?;
        let secret = match &settings {
            None => SharedSecret::derive(own_secret, &snapshot.environment),
            Some(settings) => settings.secret.clone(),
        };
        let mut shared = None;
        let store: Arc<dyn Store> = match settings {
            None => Arc::new(file),
            Some(settings) => {
                let both = Arc::new(Shared::start(file, settings).await.map_err(|fault| {
                    Failure::new(format_args!("{}: {fault}", snapshot.state_dir.display()))
                })?);
                connected(&both).await;
                Arc::<Shared>::clone(shared.insert(both))
            }
        };
        let (store, keepers) = (Arc::new(Exchange::new(store)), JoinSet::new());
        let rest = watch::Sender::new(false);
        Ok(Self { store, gateway, secret, shared, keepers, rest, aside: None })
    }

    /// Begins to keep locks in step, to write memory down and to look after the store.
    pub(super) fn keep(&mut self, engine: &Arc<Engine>) {
        self.keep_in_step(engine);
        self.keep_records(engine);
        let (keeper, stopped) = (Arc::clone(engine), self.rest.subscribe());
        self.keepers.spawn(async move { keeper.keep_memory(stopped).await });
    }

    /// Begins to write what lies beside the file. Two processes would write it in each other's way, and
    /// the one that knows less perhaps last.
    fn keep_records(&mut self, engine: &Arc<Engine>) {
        let stopped = || self.rest.subscribe();
        self.keepers.spawn(permit::clock::follow(Arc::clone(engine), stopped()));
        self.keepers.spawn(lists::follow(Arc::clone(engine), stopped()));
    }

    /// All of it but what is on disk.
    fn keep_in_step(&mut self, engine: &Arc<Engine>) {
        self.rest.send_replace(false);
        let (keeper, watcher) = (Arc::clone(engine), Arc::clone(engine));
        let (mut resting, mut looks) = (self.rest.subscribe(), self.rest.subscribe());
        self.keepers.spawn(async move {
            tokio::select! {
                () = keeper.follow_locks() => {}
                () = keeper.keep_locks() => {}
                _ = resting.wait_for(|rest| *rest) => {}
            }
        });
        self.keepers.spawn(async move {
            tokio::select! {
                () = watcher.watch_store() => {}
                _ = looks.wait_for(|rest| *rest) => {}
            }
        });
        let Some(shared) = self.shared.clone() else { return };
        let (engine, mut resting) = (Arc::clone(engine), self.rest.subscribe());
        self.keepers.spawn(async move {
            tokio::select! {
                () = keep_proofs(engine, shared) => {}
                _ = resting.wait_for(|rest| *rest) => {}
            }
        });
    }

    /// Ends those who look after the store. What one of them was writing is written with the rest.
    async fn rest(&mut self) {
        self.rest.send_replace(true);
        let ended = async { while self.keepers.join_next().await.is_some() {} };
        if tokio::time::timeout(REST_MAX, ended).await.is_err() {
            self.keepers.shutdown().await;
        }
    }

    /// Writes everything down and lets go of the file, for the process that takes this one's place.
    /// From now on locks are kept in memory, memory is not kept at all, and alarms lie
    /// [`aside`](Self::alarms).
    ///
    /// # Errors
    /// If it can't be written down. Nothing has changed then.
    pub(super) async fn let_go(&mut self, engine: &Arc<Engine>) -> Result<(), StoreFault> {
        let (live, now) = (engine.live(), engine.clock.now());
        let epoch = self.store.meta().await?.epoch;
        let memory = Embedded::in_memory(self.gateway, now).map_err(|_none| StoreFault::Closed)?;
        let settings = remote(&live.snapshot).map_err(|_were_good| StoreFault::Closed)?;
        let (shared, meanwhile): (_, Arc<dyn Store>) = match settings {
            None => (None, Arc::new(memory)),
            // The other gateways see one gateway with this number: it has one instance.
            Some(settings) => {
                let both = Arc::new(Shared::start_as(memory, settings, epoch).await?);
                connected(&both).await;
                (Some(Arc::clone(&both)), both)
            }
        };
        self.rest().await;
        if let Err(fault) = written_down(engine).await {
            self.keep(engine);
            return Err(fault);
        }
        // This process tells it. What can't be taken away is told twice.
        let _twice = crate::deliver::forget_gathered(&*self.store).await;
        self.shared = shared;
        let (aside, alarms) = mpsc::unbounded_channel();
        self.store.set_aside(Some(aside));
        self.aside = Some(alarms);
        self.store.put(meanwhile).await;
        self.keep_in_step(engine);
        Ok(())
    }

    /// Alarms that were raised since the file was let go of.
    pub(super) const fn alarms(&mut self) -> Option<&mut mpsc::UnboundedReceiver<Vec<u8>>> {
        self.aside.as_mut()
    }

    /// Takes the file back, with all that happened meanwhile: what another process wrote there holds
    /// as well.
    ///
    /// # Errors
    /// If it can't be opened; what is in memory still holds then.
    pub(super) async fn take_back(&mut self, engine: &Arc<Engine>) -> Result<(), Failure> {
        let (live, now) = (engine.live(), engine.clock.now());
        let failed = |fault: StoreFault| {
            Failure::new(format_args!("{}: {fault}", live.snapshot.state_dir.display()))
        };
        let settings = remote(&live.snapshot)?;
        let file = open_file(&live.snapshot, now, Look::Whole).await?;
        // While whatever changes now goes on to be kept in memory.
        self.copy_locks(&file).await.map_err(failed)?;
        let (shared, store): (_, Arc<dyn Store>) = match settings {
            None => (None, Arc::new(file)),
            Some(settings) => {
                let both = Arc::new(Shared::start(file, settings).await.map_err(failed)?);
                connected(&both).await;
                (Some(Arc::clone(&both)), both)
            }
        };
        self.rest().await;
        self.shared = shared;
        self.store.put(store).await;
        // What was locked since it was copied is only in the table.
        engine.keep_all_locks();
        self.no_more_aside().await;
        self.keep(engine);
        // Known by their own faults, if they can't be read; nothing that is known here is lost.
        let _ = (engine.restore().await, engine.recall_spent().await);
        Ok(())
    }

    /// Goes on without the file: what is in memory holds, and people are told of alarms again.
    pub(super) async fn do_without(&mut self, engine: &Arc<Engine>) {
        self.no_more_aside().await;
        self.keep_records(engine);
    }

    async fn copy_locks(&self, to: &Embedded) -> Result<(), StoreFault> {
        let mut cursor = Cursor::START;
        loop {
            let page = self.store.locks_since(cursor).await?;
            to.put_locks(&page.records).await?;
            cursor = page.next;
            if !page.more {
                return Ok(());
            }
        }
    }

    async fn no_more_aside(&mut self) {
        self.store.set_aside(None);
        if let Some(mut alarms) = self.aside.take() {
            while let Ok(alarm) = alarms.try_recv() {
                // The store counts one that finds the queue full.
                let _counted = self.store.push_alarm(&alarm).await;
            }
        }
    }

    /// Writes everything down, tells the other gateways that this one goes, and returns when all that
    /// was asked of the file is on disk.
    pub(super) async fn close(&mut self, engine: &Engine) {
        self.rest().await;
        if let Err(fault) = engine.save_all().await {
            say::err(format_args!(
                "what was spent and revealed could not be written down: {fault}"
            ));
        }
        if let Err(fault) = engine.flush_state().await {
            say::err(format_args!("locks could not be written down: {fault}"));
        }
        if let Some(shared) = &self.shared {
            shared.leave().await;
        }
    }

    /// As [`close`](Self::close), where another process has the file and this gateway's number.
    pub(super) async fn end(&mut self) {
        self.rest().await;
    }
}

/// Waits for the server for a while: callers would be refused for want of a connection that is there a
/// moment later.
async fn connected(both: &Shared) {
    let mut condition = both.condition();
    let sound = condition.wait_for(|condition| *condition == Condition::Sound);
    let _or_later = tokio::time::timeout(CONNECT_MAX, sound).await;
}

async fn written_down(engine: &Engine) -> Result<(), StoreFault> {
    engine.save_all().await?;
    engine.flush_state().await
}

/// Has certificates, authorities and the password of the shared server renewed as configurations
/// renew them.
async fn keep_proofs(engine: Arc<Engine>, shared: Arc<Shared>) {
    let mut generations = engine.generations();
    let mut before = engine.live();
    while generations.changed().await.is_ok() {
        let live = engine.live();
        let same = match (&before.snapshot.state.redis, &live.snapshot.state.redis) {
            (Some(was), Some(now)) => was.proves_as(now),
            _ => true,
        };
        if !same && let Ok(Some(settings)) = remote(&live.snapshot) {
            shared.renew(settings.endpoint, settings.login);
        }
        before = live;
    }
}

async fn open_file(snapshot: &Snapshot, now: Moment, look: Look) -> Result<Embedded, Failure> {
    let path = snapshot.state_dir.join(FILE_NAME);
    let failed =
        |what: &dyn std::fmt::Display| Failure::new(format_args!("{}: {what}", path.display()));
    let (dir, gateway) = (snapshot.state_dir.clone(), Gateway(snapshot.state.gateway));
    // All of the file is read, which takes a while for a large one.
    let opened =
        tokio::task::spawn_blocking(move || Embedded::open_looking(&dir, gateway, now, look)).await;
    opened
        .map_err(|panicked| failed(&panicked))?
        .map_err(|fault| failed(&format_args!("{fault}; {}", advice(fault))))
}

/// Where several gateways share, by which server.
fn remote(snapshot: &Snapshot) -> Result<Option<RemoteSettings>, Failure> {
    let Some(redis) = &snapshot.state.redis else { return Ok(None) };
    remote_settings(redis, &snapshot.environment, Gateway(snapshot.state.gateway))
        .map(Some)
        .map_err(|fault| Failure::new(format_args!("[state.redis]: {}", words(fault))))
}

fn remote_settings(
    redis: &RedisSettings,
    environment: &Name,
    gateway: Gateway,
) -> Result<RemoteSettings, EndpointFault> {
    let client = redis
        .client_certificate
        .as_ref()
        .map(|own| (own.chain.clone(), own.key.reveal_for(Use::Forward).clone_key()));
    let files = TlsFiles { authorities: redis.authorities.clone(), client };
    let endpoint = Endpoint::new(&redis.host, redis.port, files)?;
    Ok(RemoteSettings {
        endpoint: endpoint.certified_as(&redis.server_name)?,
        login: Login { user: redis.user.clone(), password: redis.password.clone() },
        environment: environment.clone(),
        secret: SharedSecret::derive(&redis.secret, environment),
        gateway,
        time_out: redis.time_out,
        poll: redis.poll,
        locks_max: LOCKS_MAX,
    })
}

/// What an operator does about a file that can't be opened. It is never replaced by the gateway.
const fn advice(fault: OpenFault) -> &'static str {
    match fault {
        OpenFault::InUse => {
            "another gateway runs with this state_dir: stop it, or give each one its own"
        }
        OpenFault::Newer { .. } => {
            "run the newer version, or restore a backup from before it (ACC-2)"
        }
        OpenFault::Corrupt | OpenFault::NotAStore => {
            "the gateway does not start without knowing what is locked (ACC-2)"
        }
        OpenFault::Permission => {
            "state_dir and the file belong to the gateway's user, mode 700 and 600"
        }
        OpenFault::Disk => "check the disk and its free space",
    }
}

const fn words(fault: EndpointFault) -> &'static str {
    match fault {
        EndpointFault::Host => "the server's name can't be verified",
        EndpointFault::Authority => "ca holds no usable authority",
        EndpointFault::ClientKey => "client_certificate can't be used",
    }
}
