//! The first seconds of the process that took this one's place. Until they are over this one keeps the
//! listening sockets, without accepting: it has not gone yet, and can go on if the other one dies.
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;

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
pub(in crate::cli) struct Reach(Arc<Mutex<Reached>>);

#[derive(Debug)]
struct Reached {
    /// Of a child that nobody has waited for: the number is no other process'.
    pid: Option<Pid>,
    is_stopped: bool,
}

impl Reach {
    /// Passes on what is meant for whoever serves.
    pub(in crate::cli) fn pass_on(&self, signal: Signal) {
        let mut reached = self.0.lock();
        reached.is_stopped |= signal == Signal::TERM;
        if let Some(pid) = reached.pid {
            let _gone = kill_process(pid, signal);
        }
    }
}

impl Probation {
    pub(super) fn new(child: Child) -> Self {
        let pid = child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        let reached = Reached { pid, is_stopped: false };
        Self { child, reach: Reach(Arc::new(Mutex::new(reached))) }
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
        let was_stopped = {
            let mut reached = reach.0.lock();
            reached.pid = None;
            reached.is_stopped
        };
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
