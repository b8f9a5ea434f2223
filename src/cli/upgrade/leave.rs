//! The side of the process that goes.
use std::fmt;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream as Socket;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};

use super::around::{self, Around, Begins};
use super::enter::TAKE_PLACE;
use super::steady::Probation;
use super::words::{Hello, Link, PROTOCOL, Passed, Word, greet, standard_error};
use crate::cli::run::Running;
use crate::cli::state::Opened;
use crate::cli::{permit, say};
use crate::engine::{Engine, Hold, Parting};
use crate::evidence::{Event, Fixed, Upgrade};

/// How long the new process may take for each step, unless the operator says otherwise.
pub(in crate::cli) const WITHIN: Duration = Duration::from_secs(30);
/// The most that an operator may say.
pub(in crate::cli) const WITHIN_MAX: Duration = Duration::from_secs(60);
/// From "serve" to "serving" it has nothing left to do.
const SERVE_MAX: Duration = Duration::from_secs(5);
/// How often the state is opened again before it is given up.
const TAKE_BACK_TRIES: u32 = 5;
const TAKE_BACK_PAUSE: Duration = Duration::from_secs(1);
/// How long what a process said last is waited for.
const LAST_WORDS_MAX: Duration = Duration::from_millis(500);

/// Starts this, and hears how it goes.
#[derive(Debug)]
pub(in crate::cli) struct Order {
    pub(in crate::cli) binary: PathBuf,
    pub(in crate::cli) within: Duration,
    pub(in crate::cli) begins: Begins,
    /// Whoever asked; nobody, if a signal did.
    pub(in crate::cli) tell: Option<mpsc::UnboundedSender<String>>,
}

/// What came in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::cli) enum Recall {
    None,
    /// Files changed: whoever is taken out by them must not stay in for as long as this takes.
    Files,
    /// This process is to stop.
    Stop,
}

/// Why nothing came of it.
#[derive(Debug)]
pub(in crate::cli) enum Fault {
    /// It would put in force what may not be by itself.
    Around(Around),
    /// The binary can't be started.
    Start(io::Error),
    /// What listens can't be passed on.
    Sockets(io::Error),
    Ended(ExitStatus),
    Late(&'static str),
    /// What the new process says of itself.
    Said(String),
    /// It says something else than what comes next, or nothing any more.
    Link,
    /// What is to be remembered can't be written down.
    State(crate::store::StoreFault),
    /// Files changed, and are read first.
    Files,
    /// This process is to stop.
    Stopped,
}

impl Fault {
    const fn of(recall: Recall) -> Self {
        match recall {
            Recall::Files => Self::Files,
            Recall::None | Recall::Stop => Self::Stopped,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Around(around) => around.fmt(f),
            Self::Start(error) => write!(f, "the binary can't be started: {error}"),
            Self::Sockets(error) => write!(f, "the sockets can't be handed over: {error}"),
            Self::Ended(status) => write!(f, "the new process ended by itself ({status})"),
            Self::Late(step) => write!(f, "the new process was not {step} in time"),
            Self::Said(why) => write!(f, "the new process can't take over: {why}"),
            Self::Link => f.write_str("the new process does not speak as a gateway does"),
            Self::State(fault) => write!(f, "the state can't be written down: {fault}"),
            Self::Files => f.write_str(
                "files of the configuration changed meanwhile, and the gateway reads them first: try again",
            ),
            Self::Stopped => f.write_str("the gateway was told to stop"),
        }
    }
}

impl Fault {
    const fn word(&self) -> &'static str {
        match self {
            Self::Around(_) => "configuration",
            Self::Start(_) => "start",
            Self::Sockets(_) => "sockets",
            Self::Ended(_) => "ended",
            Self::Late(_) => "late",
            Self::Said(_) => "refused",
            Self::Link => "protocol",
            Self::State(_) => "state",
            Self::Files => "files",
            Self::Stopped => "stopped",
        }
    }
}

/// The new process serves; this one finishes what it has.
#[derive(Debug)]
pub(in crate::cli) struct Left {
    pub(in crate::cli) pid: u32,
    pub(in crate::cli) probation: Probation,
    pub(in crate::cli) link: Link,
    pub(in crate::cli) parting: Parting,
    /// To the end: nothing that was begun before may have this process accept again.
    pub(in crate::cli) hold: Hold,
    /// The texts that it began with; none, if somebody insisted on whatever was there.
    pub(in crate::cli) begun_with: Option<String>,
}

/// The process that was started.
struct Started {
    child: Child,
    link: Link,
    within: Duration,
    /// By what it is taken back; none once it may have callers.
    recall: Option<watch::Receiver<Recall>>,
    errors: tokio::task::JoinHandle<()>,
}

/// Has another process take this one's place. Serves on meanwhile, and if nothing comes of it.
///
/// # Errors
/// See [`Fault`]; the operator was told, and this process goes on.
pub(in crate::cli) async fn hand_over(
    running: &Running,
    order: Order,
    config: PathBuf,
    recall: watch::Receiver<Recall>,
) -> Result<Left, Fault> {
    let engine = &running.engine;
    engine.report_event(&Event::Upgrade(Upgrade::Begun));
    let outcome = exchange(running, order, config, recall).await;
    match &outcome {
        Ok(left) => {
            engine.report_event(&Event::Upgrade(Upgrade::Done));
            say::err(format_args!("process {} serves; this one finishes what it has", left.pid));
        }
        Err(fault) => report(engine, fault),
    }
    outcome
}

async fn exchange(
    running: &Running,
    order: Order,
    config: PathBuf,
    mut recall: watch::Receiver<Recall>,
) -> Result<Left, Fault> {
    // Before anything is read: what the new process reads is not older than what is in force here.
    let ready = async {
        let hold = running.engine.hold_reloads().await;
        let texts = match order.begins {
            Begins::Settled => around::look(&running.engine).await.map_err(Fault::Around)?,
            Begins::AsOnDisk => None,
        };
        Ok((hold, texts))
    };
    let (hold, texts) = tokio::select! {
        ready = ready => ready?,
        recall = recalled(&mut recall) => return Err(Fault::of(recall)),
    };
    // By this the new process judges the permit: what ended here does not begin anew there, whatever
    // became of the clock meanwhile (TLS-3).
    permit::clock::keep(&running.engine).await;
    let begun_with = texts.clone();
    let mut started = Started::start((running, texts), order, config, recall).await?;
    if let Err(fault) = started.expect(&Word::Prepared, "prepared").await {
        return Err(started.end(fault).await);
    }
    let engine = &running.engine;
    let mut state = running.state().await;
    let parting = engine.part();
    if let Err(fault) = state.let_go(engine).await {
        engine.rejoin(parting);
        return Err(started.end(Fault::State(fault)).await);
    }
    let served = async {
        for keys in engine.jwks.hand_over() {
            started.say(&Word::Keys(keys.into())).await?;
        }
        started.say(&Word::Go).await?;
        started.expect(&Word::Ready, "ready").await?;
        // From here on it may have callers, reads what changes by itself, and is told to stop in order.
        (started.within, started.recall) = (SERVE_MAX, None);
        started.say(&Word::Serve).await?;
        started.expect(&Word::Serving, "serving").await
    };
    if let Err(fault) = served.await {
        // Dead before its file is opened again.
        let fault = started.end(fault).await;
        have_back(engine, &mut state, parting).await;
        return Err(fault);
    }
    let pid = started.child.id().unwrap_or(0);
    let probation = Probation::new(started.child);
    Ok(Left { pid, probation, link: started.link, parting, hold, begun_with })
}

/// The process that took this one's place died at once: tells everybody, and has everything back.
pub(in crate::cli) async fn go_on(
    engine: &Arc<Engine>,
    state: &mut Opened,
    parting: Parting,
    fault: &Fault,
) {
    have_back(engine, state, parting).await;
    report(engine, fault);
}

fn report(engine: &Engine, fault: &Fault) {
    engine.report_event(&Event::Upgrade(Upgrade::Failed { fault: Fixed::new(fault.word()) }));
    say::err(format_args!("the upgrade failed, and the gateway goes on as it was: {fault}"));
}

/// Has everything back that was let go of.
async fn have_back(engine: &Arc<Engine>, state: &mut Opened, parting: Parting) {
    engine.rejoin(parting);
    for _ in 1..TAKE_BACK_TRIES {
        if state.take_back(engine).await.is_ok() {
            return;
        }
        tokio::time::sleep(TAKE_BACK_PAUSE).await;
    }
    if let Err(failure) = state.take_back(engine).await {
        say::err(format_args!(
            "the state can't be opened again, and is kept in memory only; restart: {failure}"
        ));
        state.do_without(engine).await;
        engine.report_event(&Event::StoreFaulty { fault: Fixed::new("closed") });
    }
}

impl Started {
    async fn start(
        (running, texts): (&Running, Option<String>),
        order: Order,
        config: PathBuf,
        recall: watch::Receiver<Recall>,
    ) -> Result<Self, Fault> {
        let (ours, theirs) = Socket::pair().map_err(Fault::Start)?;
        let mut child = Command::new(&order.binary)
            .arg("run")
            .arg(config)
            .env(TAKE_PLACE, "1")
            // Meant for this process; the sockets come by the other way.
            .env_remove("LISTEN_PID")
            .env_remove("LISTEN_FDS")
            .env_remove("LISTEN_FDNAMES")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::inherit())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(Fault::Start)?;
        let errors = tokio::spawn(pass_on(child.stderr.take(), order.tell.clone()));
        // Our end stays open here until it is clear what failed: a process that finds nobody there would
        // name that as the reason.
        let greeted =
            introduce((running, texts), &ours).and_then(|()| Link::over(ours.try_clone()?));
        let error = match greeted {
            Ok(link) => {
                let (within, recall) = (order.within, Some(recall));
                return Ok(Self { child, link, within, recall, errors });
            }
            Err(error) => error,
        };
        let fault = match error.kind() {
            // It has closed its own end.
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => {
                last_of(&mut child).await.unwrap_or(Fault::Start(error))
            }
            _ => Fault::Sockets(error),
        };
        let _ = child.kill().await;
        let _ = tokio::time::timeout(LAST_WORDS_MAX, errors).await;
        Err(fault)
    }

    async fn say(&mut self, word: &Word) -> Result<(), Fault> {
        if self.link.saying.say(word).await.is_ok() {
            return Ok(());
        }
        Err(last_of(&mut self.child).await.unwrap_or(Fault::Link))
    }

    /// Waits for the one word that comes next.
    async fn expect(&mut self, wanted: &Word, step: &'static str) -> Result<(), Fault> {
        let recall = async {
            match &mut self.recall {
                Some(recall) => recalled(recall).await,
                None => std::future::pending().await,
            }
        };
        let heard = tokio::select! {
            biased;
            heard = self.link.hearing.hear() => heard,
            () = tokio::time::sleep(self.within) => return Err(Fault::Late(step)),
            recall = recall => return Err(Fault::of(recall)),
        };
        match heard {
            Ok(word) if word == *wanted => Ok(()),
            Ok(Word::Failed(why)) => Err(Fault::Said(why)),
            Ok(_) => Err(Fault::Link),
            Err(_) => Err(last_of(&mut self.child).await.unwrap_or(Fault::Link)),
        }
    }

    /// Kills it, and returns when it is gone and what it said was passed on.
    async fn end(self, fault: Fault) -> Fault {
        let Self { mut child, errors, .. } = self;
        let _ = child.kill().await;
        let _ = tokio::time::timeout(LAST_WORDS_MAX, errors).await;
        fault
    }
}

/// Returns when something came in between, or nobody is there any more who could wait for it.
async fn recalled(recall: &mut watch::Receiver<Recall>) -> Recall {
    recall.wait_for(|recall| *recall > Recall::None).await.map_or(Recall::Stop, |recall| *recall)
}

/// Of a process that does not speak any more, its exit code, if that comes.
async fn last_of(child: &mut Child) -> Option<Fault> {
    let ended = tokio::time::timeout(LAST_WORDS_MAX, child.wait()).await;
    ended.ok()?.ok().map(Fault::Ended)
}

/// Who we are, and every listening socket.
fn introduce((running, texts): (&Running, Option<String>), to: &Socket) -> io::Result<()> {
    let (sockets, given) = (running.listening(), running.given());
    let stderr = standard_error()?;
    let live = running.engine.live();
    let listening = sockets.iter().map(|(label, address, socket)| {
        (Passed { label: label.clone(), address: *address, managers: false }, socket.as_fd())
    });
    let managers = given.managers().map(|(name, address, socket)| {
        (Passed { label: name.to_owned(), address, managers: true }, socket.as_fd())
    });
    let (passed, mut fds): (Vec<_>, Vec<_>) = listening.chain(managers).unzip();
    fds.push(stderr.as_fd());
    let hello = Hello {
        protocol: PROTOCOL,
        pid: std::process::id(),
        environment: live.snapshot.environment.to_string(),
        state_dir: live.snapshot.state_dir.clone(),
        gateway: live.snapshot.state.gateway,
        sockets: passed,
        texts,
        hears_in_force: true,
    };
    greet(to, &hello, &fds)
}

/// What the new process says before it serves comes out here, and where it was asked for.
async fn pass_on(
    from: Option<impl AsyncRead + Unpin>,
    tell: Option<mpsc::UnboundedSender<String>>,
) {
    let Some(from) = from else { return };
    let mut lines = BufReader::new(from).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        say::err(&line);
        if let Some(tell) = &tell {
            // Whoever asked may be gone.
            let _ = tell.send(line);
        }
    }
}
