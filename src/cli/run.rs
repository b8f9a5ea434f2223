//! `sekisho run`: wires the rooms, serves until a signal, and applies new configurations meanwhile.
//! [`Running`] is the same gateway inside a test or the demo.
mod binary;
mod given;
mod running;
mod sockets;

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal as Sent;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};

use super::args::RunArgs;
use super::notify::{self, Notifier};
use super::say::{self, Failure, Stream};
use super::upgrade::{
    self, Asked, Begins, Control, Entering, Left, Order, Reach, Recall, WITHIN, hand_over,
};
use super::watch::Watched;
use crate::base::Clock;
use crate::config::{self, Loaded, Severity};
use crate::observe::{FrameworkWatch, PanicHook};
use crate::store::Look;
use running::{Prepared, VERSION};

pub(super) use given::Given;
pub use running::Running;

/// How often what happened at the door is written.
const TICK: Duration = Duration::from_secs(2);
/// How often files are looked at for changes. One is read when it has come to rest: a look later, or two.
const LOOK: Duration = Duration::from_millis(250);
/// How long files that changed wait for a new process, which reads them, to serve.
const SWAP_MAX: Duration = Duration::from_secs(1);
/// How long work that nobody waits for may take to end.
const LAST_MAX: Duration = Duration::from_secs(1);
/// Operators who ask for an upgrade at once.
const ORDERS_MAX: usize = 8;

pub(super) fn main(words: &RunArgs) -> Result<ExitCode, Failure> {
    let clock = Clock::system();
    let panics = PanicHook::install(clock.clone());
    let given = Given::by_environment()?;
    let watched = Watched::default();
    let loaded = load(&words.config, &watched, 1, &clock)?;
    let runtime = runtime(loaded.snapshot.threads).map_err(Failure::new)?;
    let served = runtime.block_on(serve(&words.config, (loaded, given), clock, &panics, watched));
    // A reload that was under way may still wait for a program.
    runtime.shutdown_timeout(LAST_MAX);
    served.map(|()| ExitCode::SUCCESS)
}

/// Reads a configuration, and tells the operator what is wrong or doubtful about it.
fn load(path: &Path, watched: &Watched, generation: u64, clock: &Clock) -> Result<Loaded, Failure> {
    let loaded = read(path, watched, generation, clock)?;
    let paint = say::palette(Stream::Err);
    for warning in &loaded.warnings {
        say::err(warning.render(Severity::Warning, paint));
    }
    Ok(loaded)
}

/// The same, for who knows the doubts.
pub(super) fn read(
    path: &Path,
    watched: &Watched,
    generation: u64,
    clock: &Clock,
) -> Result<Loaded, Failure> {
    config::load_from(watched, path, generation, clock.now()).map_err(|errors| {
        say::err(errors.render(say::palette(Stream::Err)));
        Failure::new(format_args!("{} can't be served", path.display()))
    })
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
    (loaded, given): (Loaded, Given),
    clock: Clock,
    panics: &PanicHook,
    watched: Watched,
) -> Result<(), Failure> {
    let mut signals = Signals::install().map_err(Failure::new)?;
    let binary = binary::started_from().map_err(Failure::new)?;
    let notifier = Notifier::open(std::env::var("NOTIFY_SOCKET").ok().as_deref());
    let watched = Arc::new(watched);
    let (mut running, before) = start((loaded, path, &watched), given, clock.clone()).await?;
    let metrics = Arc::clone(&running.engine.metrics);
    panics.attach(running.log.clone(), metrics.panics.clone());
    let framework =
        FrameworkWatch::install(running.log.clone(), metrics, clock).map_err(Failure::new)?;
    let (orders, mut asked) = mpsc::channel(ORDERS_MAX);
    let state_dir = running.engine.live().snapshot.state_dir.clone();
    let open = || {
        let control = Control::open(&state_dir, binary.clone(), orders.clone());
        control.inspect_err(|error| {
            say::err(format_args!(
                "`sekisho upgrade` can't ask this gateway, SIGUSR2 can: {error}"
            ));
        })
    };
    // Before it says that it serves: whoever waits for that may ask at once.
    let mut control = open();
    for (listener, address) in &running.listeners {
        say::err(format_args!("listening on {address} ({listener})"));
    }
    say::err(format_args!("metrics and health on http://{}", running.admin));
    if let Some(api) = running.api {
        say::err(format_args!("operators' API on https://{api}"));
    }
    notifier.ready();

    let mut missed = Missed::default();
    loop {
        let desk = Desk {
            running: &running,
            path,
            watched: Arc::clone(&watched),
            notifier: &notifier,
            framework: &framework,
            binary: binary.clone(),
            before: before.as_ref(),
        };
        let end = Box::pin(desk.work(&mut signals, &mut asked, missed)).await;
        let close = async || {
            if let Ok(control) = control {
                control.close().await;
            }
        };
        let (left, tell, mut theirs) = match end {
            End::Stop => {
                close().await;
                notifier.stopping();
                Box::pin(running.stop_after(before)).await;
                return Ok(());
            }
            End::Leave(left, tell, theirs) => (left, tell, theirs),
        };
        let (pid, reach) = (left.pid, left.probation.reach());
        let in_force = running.retire().await;
        // Until here whoever sent a signal could not know for whom it was.
        theirs.pass_on(&reach);
        // Whoever is told finds that callers are sent to the new process. It may be gone.
        let _ = tell.send(Ok(pid));
        close().await;
        notifier.alive();
        let leaves = Box::pin(running.leave(*left, in_force, || notifier.relieved_by(pid)));
        missed = match signals.passed_on(&reach, &mut theirs, leaves).await {
            Ok(()) => {
                Box::pin(running.end()).await;
                return Ok(());
            }
            // Nobody knows what the one that died has done of it.
            Err(missed) => missed.and(theirs),
        };
        // What was asked meanwhile was asked of a process that went.
        while asked.try_recv().is_ok() {}
        control = open();
    }
}

/// Starts by itself, with a service manager's sockets, or in the place of another process, in which case
/// there is a task that listens to it until it is gone.
async fn start(
    (loaded, path, watched): (Loaded, &Path, &Arc<Watched>),
    given: Given,
    clock: Clock,
) -> Result<(Running, Option<JoinHandle<()>>), Failure> {
    if let Some((entering, given)) = Entering::find()? {
        return enter((loaded, path, watched), clock, entering, given).await;
    }
    let prepared = Prepared::new(loaded, clock, given)?;
    let restored = Box::pin(prepared.restore(Look::Whole)).await?;
    let running = restored.serve()?;
    running.follow(path, watched);
    Ok((running, None))
}

async fn enter(
    (loaded, path, watched): (Loaded, &Path, &Arc<Watched>),
    clock: Clock,
    mut entering: Entering,
    given: Given,
) -> Result<(Running, Option<JoinHandle<()>>), Failure> {
    // By way of the process before, so that whoever asked for it reads it, too.
    say::err(format_args!("process {} is sekisho {VERSION}", std::process::id()));
    let restored = async {
        let prepared = Prepared::new(loaded, clock, given)?;
        entering.prepared(prepared.snapshot(), &watched.texts()).await?;
        let restored = Box::pin(prepared.restore(Look::AsLeft)).await?;
        restored.fetch_keys(entering.keys()).await?;
        entering.ready(restored.store()).await?;
        Ok(restored)
    };
    match restored.await {
        Ok(restored) => {
            let running = restored.serve()?;
            let changes = running.engine.configurations();
            running.follow(path, watched);
            let store = Arc::clone(&running.state().await.store);
            let before = entering.serving(&running.engine, changes, &store).await;
            Ok((running, Some(before)))
        }
        Err(failure) => {
            entering.give_up(&failure).await;
            Err(failure)
        }
    }
}

/// Whoever asked for an upgrade.
type Tell = oneshot::Sender<Result<u32, String>>;

/// How it ends.
enum End {
    Stop,
    /// Another process serves, and somebody is to be told.
    Leave(Box<Left>, Tell, Missed),
}

/// What came for one process and is another one's to follow.
#[derive(Clone, Copy, Debug, Default)]
struct Missed {
    stop: bool,
    reload: bool,
    /// Files changed, which the next process reads by itself.
    changed: bool,
}

impl Missed {
    const fn and(self, other: Self) -> Self {
        Self {
            stop: self.stop | other.stop,
            reload: self.reload | other.reload,
            changed: self.changed | other.changed,
        }
    }

    fn pass_on(self, to: &Reach) {
        let signals = [(self.reload, Sent::HUP), (self.stop, Sent::TERM)];
        for (_, signal) in signals.into_iter().filter(|(came, _)| *came) {
            to.pass_on(signal);
        }
    }
}

/// What a process does while its gateway serves.
struct Desk<'d> {
    running: &'d Running,
    path: &'d Path,
    watched: Arc<Watched>,
    notifier: &'d Notifier,
    framework: &'d FrameworkWatch,
    /// What this process was started from.
    binary: PathBuf,
    /// Listens to the process before.
    before: Option<&'d JoinHandle<()>>,
}

/// A reload under way.
type Reloading<'d> = Pin<Box<dyn Future<Output = ()> + Send + 'd>>;

/// An upgrade under way.
struct UnderWay<'d> {
    outcome: Pin<Box<dyn Future<Output = Result<Left, upgrade::Fault>> + Send + 'd>>,
    recall: watch::Sender<Recall>,
    /// Of what changed before it began: the new process reads that by itself.
    knows: bool,
    /// Since when other files are known to have changed.
    changed: Option<Instant>,
    tell: Tell,
}

impl UnderWay<'_> {
    /// Files were looked at. One that changes in the moment of an upgrade is no reason to take that back;
    /// a new process that takes its time is.
    fn looked(&mut self, settled: bool) {
        if settled && !std::mem::take(&mut self.knows) {
            self.changed.get_or_insert_with(Instant::now);
        }
        if self.changed.is_some_and(|since| since.elapsed() >= SWAP_MAX) {
            self.recall(Recall::Files);
        }
    }

    fn recall(&self, why: Recall) {
        self.recall.send_if_modified(|recall| {
            let is_more = *recall < why;
            *recall = why.max(*recall);
            is_more
        });
    }
}

impl<'d> Desk<'d> {
    async fn work(
        &'d self,
        signals: &mut Signals,
        asked: &mut mpsc::Receiver<Asked>,
        missed: Missed,
    ) -> End {
        let (mut tick, mut look) = (tokio::time::interval(TICK), tokio::time::interval(LOOK));
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let alive = notify::watchdog_interval(std::env::var("WATCHDOG_USEC").ok().as_deref());
        let mut alive = tokio::time::interval(alive.unwrap_or(Duration::from_secs(3_600)));
        let mut under_way: Option<UnderWay<'d>> = None;
        let mut reloading: Option<Reloading<'d>> = None;
        // Asked for during either: the stop of this process, another look at the configuration.
        let Missed { mut stop, mut reload, mut changed } = missed;
        loop {
            tokio::select! {
                _ = signals.term.recv() => stop = true,
                _ = signals.int.recv() => stop = true,
                _ = signals.reload.recv() => reload = true,
                _ = signals.reopen.recv() => self.running.log.reopen(),
                _ = signals.upgrade.recv() => {
                    let (binary, begins) = (self.binary.clone(), Begins::Settled);
                    let order = Order { binary, within: WITHIN, begins, tell: None };
                    let (tell, _nobody) = oneshot::channel();
                    self.begin(Asked { order, outcome: tell }, &mut under_way);
                }
                Some(asked) = asked.recv() => self.begin(asked, &mut under_way),
                (outcome, tell) = outcome_of(&mut under_way) => match outcome {
                    // It reads the files by itself: of them it misses nothing.
                    Ok(left) => {
                        return End::Leave(Box::new(left), tell, Missed { stop, reload, changed });
                    }
                    // Whoever asked may be gone.
                    Err(fault) => drop(tell.send(Err(fault.to_string()))),
                },
                () = end_of(&mut reloading) => {}
                _ = alive.tick() => self.notifier.alive(),
                _ = tick.tick() => {
                    self.running.engine.flush_door();
                    self.running.engine.flush_keys();
                    self.framework.tick();
                }
                _ = look.tick() => {
                    let settled = self.watched.settled();
                    changed |= settled;
                    let engine = &self.running.engine;
                    match &mut under_way {
                        Some(under_way) => under_way.looked(settled),
                        None => changed |= engine.permit_is_due() | engine.files_are_due(),
                    }
                }
            }
            match &under_way {
                // It is taken back first: what was written down must not be lost.
                Some(under_way) if stop => under_way.recall(Recall::Stop),
                Some(_) => {}
                None if stop => return End::Stop,
                None if reloading.is_some() => {}
                None if reload => {
                    // What changed is read along.
                    (reload, changed) = (false, false);
                    reloading = Some(Box::pin(self.reload()));
                }
                None if changed => {
                    changed = false;
                    reloading = Some(Box::pin(self.follow_files()));
                }
                None => {}
            }
        }
    }

    async fn follow_files(&self) {
        self.running.files_changed().await;
    }

    async fn reload(&self) {
        self.notifier.reloading();
        self.running.reload().await;
        self.notifier.ready();
    }

    /// Begins an upgrade, if none is under way.
    fn begin(&'d self, asked: Asked, under_way: &mut Option<UnderWay<'d>>) {
        let why_not = if under_way.is_some() {
            Some("an upgrade is under way already")
        } else if self.before.is_some_and(|before| !before.is_finished()) {
            Some("the process before still finishes its requests; try again when it has ended")
        } else {
            None
        };
        if let Some(why_not) = why_not {
            say::err(format_args!("no upgrade: {why_not}"));
            // Whoever asked may be gone.
            let _ = asked.outcome.send(Err(why_not.to_owned()));
            return;
        }
        let (recall, recalled) = watch::channel(Recall::None);
        let (path, knows) = (self.path.to_owned(), self.watched.has_news());
        let outcome = Box::pin(hand_over(self.running, asked.order, path, recalled));
        *under_way = Some(UnderWay { outcome, recall, knows, changed: None, tell: asked.outcome });
    }
}

/// How an upgrade ended, and who asked for it.
async fn outcome_of(under_way: &mut Option<UnderWay<'_>>) -> (Result<Left, upgrade::Fault>, Tell) {
    let outcome = match under_way {
        Some(under_way) => under_way.outcome.as_mut().await,
        None => std::future::pending().await,
    };
    match under_way.take() {
        Some(ended) => (outcome, ended.tell),
        None => std::future::pending().await,
    }
}

/// Returns when the reload under way is over.
async fn end_of(reloading: &mut Option<Reloading<'_>>) {
    match reloading {
        Some(under_way) => under_way.await,
        None => std::future::pending().await,
    }
    *reloading = None;
}

struct Signals {
    term: Signal,
    int: Signal,
    reload: Signal,
    reopen: Signal,
    upgrade: Signal,
}

impl Signals {
    fn install() -> io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            reload: signal(SignalKind::hangup())?,
            reopen: signal(SignalKind::user_defined1())?,
            upgrade: signal(SignalKind::user_defined2())?,
        })
    }

    /// Waits for the end of something, during which signals are for another process. That may have ended, and
    /// this one go on instead: what they ask for is noted as well.
    async fn passed_on<T>(
        &mut self,
        to: &Reach,
        what: &mut Missed,
        mut end: impl Future<Output = T> + Unpin,
    ) -> T {
        loop {
            tokio::select! {
                ended = &mut end => return ended,
                _ = self.term.recv() => {
                    what.stop = true;
                    to.pass_on(Sent::TERM);
                }
                _ = self.int.recv() => {
                    what.stop = true;
                    to.pass_on(Sent::TERM);
                }
                _ = self.reload.recv() => {
                    what.reload = true;
                    to.pass_on(Sent::HUP);
                }
                _ = self.reopen.recv() => to.pass_on(Sent::USR1),
            }
        }
    }
}
