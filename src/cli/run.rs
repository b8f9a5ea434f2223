//! `sekisho run`: wires the rooms, serves until a signal, and applies new configurations meanwhile.
//! [`Running`] is the same gateway inside a test or the demo.
mod given;
mod running;
mod sockets;

use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::args::RunArgs;
use super::notify::{self, Notifier};
use super::say::{self, Failure, Stream};
use super::watch::Watched;
use crate::base::Clock;
use crate::config::{self, Loaded, Severity};
use crate::observe::{FrameworkWatch, PanicHook};
use crate::store::Look;
use given::Given;
use running::Prepared;

pub use running::Running;

/// How often files are looked at for changes, and what happened at the door is written.
const TICK: Duration = Duration::from_secs(2);

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
    let variable = |name: &str| std::env::var(name).ok();
    let given = Given::by_manager(
        variable("LISTEN_PID").as_deref(),
        variable("LISTEN_FDS").as_deref(),
        variable("LISTEN_FDNAMES").as_deref(),
    )?;
    let prepared = Prepared::new(loaded, clock.clone(), given)?;
    let running = Box::pin(prepared.restore(Look::Whole)).await?.serve().await?;
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
    let mut tick = tokio::time::interval(TICK);
    let alive = notify::watchdog_interval(std::env::var("WATCHDOG_USEC").ok().as_deref());
    let mut alive = tokio::time::interval(alive.unwrap_or(Duration::from_secs(3_600)));
    loop {
        tokio::select! {
            _ = signals.term.recv() => break,
            _ = signals.int.recv() => break,
            _ = signals.reload.recv() => {
                notifier.reloading();
                running.reload(path, &watched).await;
                notifier.ready();
            }
            _ = signals.reopen.recv() => running.log.reopen(),
            _ = alive.tick() => notifier.alive(),
            _ = tick.tick() => {
                running.engine.flush_door();
                running.engine.flush_keys();
                framework.tick();
                if watched.changed() {
                    running.reload(path, &watched).await;
                }
            }
        }
    }
    notifier.stopping();
    running.stop().await;
    Ok(())
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
