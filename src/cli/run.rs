//! `sekisho run`: wires the rooms, serves until a signal, and applies new configurations meanwhile.
//! [`Running`] is the same gateway inside a test or the demo.
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::args::RunArgs;
use super::notify::{self, Notifier};
use super::permit;
use super::reload;
use super::say::{self, Failure, Stream};
use super::secret;
use super::state::Opened;
use super::watch::Watched;
use crate::admin::Admin;
use crate::admin::api::Api;
use crate::base::{Clock, Moment};
use crate::config::{self, AccessLog, Loaded, LogSettings, Severity, Snapshot};
use crate::deliver;
use crate::engine::{Engine, Parts, provider};
use crate::evidence::{Event, Fixed};
use crate::gateway::Gateway;
use crate::listen;
use crate::observe::{FrameworkWatch, LogSink, LogSpec, LogTarget, Metrics, PanicHook, Rotation};

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// How often files are looked at for changes, and what happened at the door is written.
const TICK: Duration = Duration::from_secs(2);
/// How long connections that are cut may take to end.
const CUT_MAX: Duration = Duration::from_secs(2);
/// How long the log may take to be written out at the end.
const LOG_CLOSE_MAX: Duration = Duration::from_secs(5);

pub(super) fn main(words: &RunArgs) -> Result<ExitCode, Failure> {
    let clock = Clock::system();
    let panics = PanicHook::install(clock.clone());
    let watched = Watched::default();
    let loaded = load(&words.config, &watched, 1, &clock)?;
    let runtime = runtime(loaded.snapshot.threads).map_err(Failure::new)?;
    runtime.block_on(serve(&words.config, loaded, clock, &panics, watched))?;
    Ok(ExitCode::SUCCESS)
}

/// Reads a configuration, and tells the operator what is wrong or doubtful about it.
fn load(path: &Path, watched: &Watched, generation: u64, clock: &Clock) -> Result<Loaded, Failure> {
    let paint = say::palette(Stream::Err);
    let loaded = config::load_from(watched, path, generation, clock.now()).map_err(|errors| {
        say::err(errors.render(paint));
        Failure::new(format_args!("{} can't be served", path.display()))
    })?;
    for warning in &loaded.warnings {
        say::err(warning.render(Severity::Warning, paint));
    }
    Ok(loaded)
}

/// The workers of the data path.
pub(super) fn runtime(threads: Option<u16>) -> io::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = threads {
        builder.worker_threads(usize::from(threads.max(1)));
    }
    builder.thread_name("sekisho").enable_all().build()
}

async fn serve(
    path: &Path,
    loaded: Loaded,
    clock: Clock,
    panics: &PanicHook,
    watched: Watched,
) -> Result<(), Failure> {
    let mut signals = Signals::install().map_err(Failure::new)?;
    let notifier = Notifier::open(std::env::var("NOTIFY_SOCKET").ok().as_deref());
    let running = Running::start(loaded, clock.clone()).await?;
    let metrics = Arc::clone(&running.engine.metrics);
    panics.attach(running.log.clone(), metrics.panics.clone());
    let framework =
        FrameworkWatch::install(running.log.clone(), metrics, clock).map_err(Failure::new)?;
    for (listener, address) in &running.listeners {
        say::err(format_args!("listening on {address} ({listener})"));
    }
    say::err(format_args!("metrics and health on http://{}", running.admin));
    if let Some(api) = running.api {
        say::err(format_args!("operators' API on https://{api}"));
    }
    notifier.ready();

    let watched = Arc::new(watched);
    running.follow(path, &watched);
    let mut tick = tokio::time::interval(TICK);
    let alive = notify::watchdog_interval(std::env::var("WATCHDOG_USEC").ok().as_deref());
    let mut alive = tokio::time::interval(alive.unwrap_or(Duration::from_secs(3_600)));
    loop {
        tokio::select! {
            _ = signals.term.recv() => break,
            _ = signals.int.recv() => break,
            _ = signals.reload.recv() => {
                notifier.reloading();
                running.reload().await;
                notifier.ready();
            }
            _ = signals.reopen.recv() => running.log.reopen(),
            _ = alive.tick() => notifier.alive(),
            _ = tick.tick() => {
                running.engine.flush_door();
                running.engine.flush_keys();
                framework.tick();
                if watched.changed() || running.engine.permit_is_due() {
                    running.files_changed().await;
                }
            }
        }
    }
    notifier.stopping();
    running.stop().await;
    Ok(())
}

/// A gateway at work.
#[derive(Debug)]
pub struct Running {
    pub engine: Arc<Engine>,
    /// Listeners by name, with the addresses they were given.
    pub listeners: Vec<(String, SocketAddr)>,
    pub admin: SocketAddr,
    /// Where operators connect.
    pub api: Option<SocketAddr>,
    pub log: LogSink,
    began: Moment,
    gateway: Arc<Gateway>,
    state: Box<Opened>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Running {
    /// Binds everything, then serves. Port 0 in the configuration takes a free port.
    ///
    /// # Errors
    /// What can't be opened or bound, and what to do about it.
    pub async fn start(loaded: Loaded, clock: Clock) -> Result<Self, Failure> {
        // Pingora would install another provider; the first one stays.
        let _ = rustls::crypto::CryptoProvider::install_default(provider().as_ref().clone());
        let began = clock.now();
        let snapshot = loaded.snapshot;
        let metrics = Arc::new(Metrics::new(VERSION, clock.now()).map_err(Failure::new)?);
        let log = LogSink::open(&log_spec(&snapshot.log), clock.clone(), metrics.log())
            .map_err(|fault| Failure::new(format_args!("[log] access: {fault}")))?;
        let pseudonym_master = secret::pseudonym_master(&snapshot.state_dir)?;
        let bound = snapshot
            .listeners
            .iter()
            .map(|listener| {
                let bound = listen::bind(listener.ix, listener.address);
                bound.map(|bound| (listener.name.to_string(), bound)).map_err(|error| {
                    Failure::new(format_args!(
                        "listener {}: {} can't be bound: {error}",
                        listener.name, listener.address
                    ))
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let admin = Admin::bind(snapshot.admin.address).await.map_err(|error| {
            Failure::new(format_args!("[admin] address {}: {error}", snapshot.admin.address))
        })?;
        let admin_address = admin.address().map_err(Failure::new)?;
        let api = bind_api(&snapshot).await?;
        let threads = usize::from(snapshot.threads.unwrap_or(1));
        let opened = Opened::open(&snapshot, &pseudonym_master, clock.now());
        let mut state = Box::new(Box::pin(opened).await?);
        let parts = Parts {
            clock,
            log: log.clone(),
            metrics,
            pseudonym_master,
            store: Arc::clone(&state.store),
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

        let (stop, stopped) = watch::channel(false);
        let (mut tasks, mut listeners) = (JoinSet::new(), Vec::new());
        for (name, socket) in bound {
            let address = socket.address().map_err(Failure::new)?;
            if let Ok(listener) = crate::base::Name::parse(&name) {
                engine.report_event(&Event::ListenerBound {
                    listener: &listener,
                    port: address.port(),
                });
            }
            listeners.push((name, address));
            let app = Arc::clone(&gateway);
            tasks.spawn(socket.serve(Arc::clone(&engine), app, stopped.clone()));
        }
        tasks.spawn(admin.serve(Arc::clone(&engine), stopped.clone()));
        let api_address = api.as_ref().map(Api::address).transpose().map_err(Failure::new)?;
        if let Some(api) = api {
            tasks.spawn(api.serve(Arc::clone(&engine), stopped.clone()));
        }
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
        let (keeper, mut ending) = (Arc::clone(&engine), stop.subscribe());
        tasks.spawn(async move {
            tokio::select! {
                () = keeper.follow_locks() => {}
                () = keeper.keep_locks() => {}
                _ = ending.wait_for(|stop| *stop) => {}
            }
        });
        state.keep(&engine);
        tasks.spawn(permit::clock::follow(Arc::clone(&engine), stop.subscribe()));
        let generation = engine.live().snapshot.generation;
        engine.report_event(&Event::Started { version: Fixed::new(VERSION), generation });
        Ok(Self {
            engine,
            listeners,
            admin: admin_address,
            api: api_address,
            log,
            began,
            gateway,
            state,
            stop,
            tasks,
        })
    }

    /// The address of a listener.
    #[must_use]
    pub fn address(&self, listener: &str) -> Option<SocketAddr> {
        self.listeners.iter().find(|(name, _)| name == listener).map(|(_, address)| *address)
    }

    /// Stops accepting, lets requests in flight finish within the grace, writes the log out.
    pub async fn stop(mut self) {
        let grace = self.engine.live().snapshot.shutdown_grace;
        self.engine.begin_drain();
        self.engine.report_event(&Event::Draining);
        self.stop.send_replace(true);
        let _ = tokio::time::timeout(Duration::from_secs(2), async {
            while self.tasks.join_next().await.is_some() {}
        })
        .await;
        self.gateway.drain().await;
        if !self.idle_within(grace).await {
            // Cut, so that even these requests have their lines before the log is closed.
            self.engine.cut_connections();
            self.idle_within(CUT_MAX).await;
        }
        self.engine.flush_door();
        Box::pin(self.state.close(&self.engine)).await;
        permit::clock::keep(&self.engine);
        let ran = self.engine.clock.now().since(self.began);
        self.engine.report_event(&Event::Stopped { ran });
        let log = self.log.clone();
        let closed = tokio::task::spawn_blocking(move || log.close(LOG_CLOSE_MAX)).await;
        if let Ok(Err(unwritten)) = closed {
            say::err(format_args!("{} log lines could not be written", unwritten.0));
        }
    }

    /// Waits until no connection is open; false if that takes longer.
    async fn idle_within(&self, time: Duration) -> bool {
        let idle = async {
            while self.engine.open_connections() > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(time, idle).await.is_ok()
    }

    /// Writes out what the log has, for tests that read it.
    pub fn flush_log(&self) {
        self.engine.flush_door();
        let _ = self.log.flush(LOG_CLOSE_MAX);
    }
}

async fn bind_api(snapshot: &Snapshot) -> Result<Option<Api>, Failure> {
    let Some(settings) = &snapshot.api else { return Ok(None) };
    let bound = Api::bind(settings.address).await.map_err(|error| {
        Failure::new(format_args!("[admin.api] address {}: {error}", settings.address))
    })?;
    Ok(Some(bound))
}

fn log_spec(settings: &LogSettings) -> LogSpec {
    LogSpec::new(match &settings.access {
        AccessLog::Stdout => LogTarget::Stdout,
        AccessLog::File(path) => LogTarget::File(
            path.clone(),
            Rotation {
                bytes: settings.rotate_bytes,
                every: settings.rotate_every,
                keep: settings.keep,
            },
        ),
    })
}

struct Signals {
    term: Signal,
    int: Signal,
    reload: Signal,
    reopen: Signal,
}

impl Signals {
    fn install() -> io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            reload: signal(SignalKind::hangup())?,
            reopen: signal(SignalKind::user_defined1())?,
        })
    }
}
