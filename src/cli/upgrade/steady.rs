//! The first seconds of the process that took this one's place. Until they are over this one keeps the
//! listening sockets, without accepting: it has not gone yet, and can go on if the other one dies.
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;
use tokio::sync::watch;

use super::leave::Fault;

/// Whatever a binary dies of at its work, it mostly does so at once.
const STEADY: Duration = Duration::from_secs(5);

/// The process that serves now, watched by the one that did.
#[derive(Debug)]
pub(in crate::cli) struct Probation {
    child: Child,
    reach: Reach,
}

/// How signals reach it, as long as it is watched.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Reach(Arc<Reached>);

#[derive(Debug)]
struct Reached {
    /// Of a child that nobody has waited for: the number is no other process'.
    pid: Mutex<Option<Pid>>,
    stopped: watch::Sender<bool>,
}

impl Reach {
    /// Passes on what is meant for whoever serves.
    pub(in crate::cli) fn pass_on(&self, signal: Signal) {
        if signal == Signal::TERM {
            self.0.stopped.send_replace(true);
        }
        if let Some(pid) = *self.0.pid.lock() {
            let _gone = kill_process(pid, signal);
        }
    }

    /// Returns when whoever serves was told to stop by way of this process.
    pub(in crate::cli) async fn stopped(&self) {
        // The sender is our own.
        let _ = self.0.stopped.subscribe().wait_for(|stopped| *stopped).await;
    }
}

impl Probation {
    pub(super) fn new(child: Child) -> Self {
        let pid = child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        let reached = Reached { pid: Mutex::new(pid), stopped: watch::Sender::new(false) };
        Self { child, reach: Reach(Arc::new(reached)) }
    }

    /// For how long, where connections have this `grace` to end by themselves.
    pub(in crate::cli) fn lasts(grace: Duration) -> Duration {
        STEADY.min(grace)
    }

    pub(in crate::cli) fn reach(&self) -> Reach {
        self.reach.clone()
    }

    /// Why it died, if it does so before `lasts` is over. Otherwise this never returns, and `passed` is
    /// told then whether it is still there: it may have been stopped.
    pub(in crate::cli) async fn dies(self, lasts: Duration, passed: impl FnOnce(bool)) -> Fault {
        let Self { mut child, reach } = self;
        let ended = tokio::time::timeout(lasts, child.wait()).await;
        *reach.0.pid.lock() = None;
        let was_stopped = *reach.0.stopped.borrow();
        drop(child);
        match ended {
            // One that ends in order was told to.
            Ok(Ok(status)) if !status.success() && !was_stopped => return Fault::Ended(status),
            Ok(_) => passed(false),
            Err(_not_ended) => passed(true),
        }
        std::future::pending().await
    }
}
