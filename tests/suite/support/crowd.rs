//! Callers who go on calling while the gateway behind an address changes, and count what they lose. As
//! any client they open another connection where they were told to, and resend what a server has said
//! it did not begin (RFC 9113 §6.8); nothing else.
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use sekisho::mock::{BodyEnd, Call, CallFault, Caller, Reply};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// What happened to all of them together.
#[derive(Debug, Default)]
pub struct Tally {
    pub ok: AtomicU64,
    pub connections: AtomicU64,
    /// Sent again on another connection, because the server had not begun them.
    pub resent: AtomicU64,
    pub failed: AtomicU64,
    /// Those of the failed that ended, before anything of the answer, with a connection which had been in
    /// use. A client sends such a call again (RFC 9110 §9.2.2); here it counts as lost.
    pub cut: AtomicU64,
    /// What went wrong first.
    pub faults: Mutex<Vec<String>>,
    /// In microseconds.
    pub took: Mutex<Vec<u32>>,
}

/// How a caller calls.
#[derive(Clone)]
pub struct Habit {
    pub caller: Caller,
    pub to: SocketAddr,
    pub call: fn() -> Call,
    pub every: Duration,
    /// One connection for each call, or one for as long as it may be.
    pub keeps: bool,
}

/// Callers at work.
pub struct Crowd {
    pub tally: Arc<Tally>,
    stop: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

impl Crowd {
    pub fn new() -> Self {
        Self { tally: Arc::default(), stop: Arc::default(), tasks: JoinSet::new() }
    }

    pub fn add(&mut self, count: usize, habit: &Habit) {
        for place in 0..count {
            let (habit, tally, stop) =
                (habit.clone(), Arc::clone(&self.tally), Arc::clone(&self.stop));
            // Not all at the same moment.
            let offset = habit.every.mul_f64(place as f64 / count as f64);
            self.tasks.spawn(async move {
                tokio::time::sleep(offset).await;
                work(&habit, &tally, &stop).await;
            });
        }
    }

    /// Ends when each has its last answer.
    pub async fn stop(mut self) -> Arc<Tally> {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
        self.tally
    }
}

async fn work(habit: &Habit, tally: &Tally, stop: &AtomicBool) {
    let mut tick = interval(habit.every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut open, mut used) = (None, false);
    while !stop.load(Ordering::Relaxed) {
        tick.tick().await;
        let began = Instant::now();
        let mut again = true;
        while std::mem::take(&mut again) {
            if open.is_none() {
                tally.connections.fetch_add(1, Ordering::Relaxed);
                match habit.caller.connect(habit.to).await {
                    Ok(session) => (open, used) = (Some(session), false),
                    Err(fault) => {
                        fail(tally, &format!("connecting: {fault}"));
                        break;
                    }
                }
            }
            let Some(session) = &open else { break };
            match session.call((habit.call)()).await {
                Ok(reply) if is_whole(&reply) => {
                    tally.ok.fetch_add(1, Ordering::Relaxed);
                    let took = u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX);
                    tally.took.lock().push(took);
                    if !habit.keeps || reply.header("connection") == Some("close") {
                        open = None;
                    }
                    used = true;
                }
                Ok(reply) => {
                    fail(tally, &format!("answered {} {:?}", reply.status, reply.end));
                    open = None;
                }
                Err(fault) if was_not_begun(&fault) => {
                    tally.resent.fetch_add(1, Ordering::Relaxed);
                    (open, again) = (None, true);
                }
                Err(fault) => {
                    fail(tally, &format!("{fault}"));
                    if used && matches!(fault, CallFault::Io(_)) {
                        tally.cut.fetch_add(1, Ordering::Relaxed);
                    }
                    open = None;
                }
            }
        }
    }
}

fn is_whole(reply: &Reply) -> bool {
    reply.status == 200 && reply.end == BodyEnd::Complete
}

/// The server said so, or the connection was closed to new requests before this one went out.
fn was_not_begun(fault: &CallFault) -> bool {
    let CallFault::Http(error) = fault else { return false };
    let said = format!("{error:?}");
    error.is_canceled() || error.is_closed() || said.contains("GoAway") && said.contains("NO_ERROR")
}

fn fail(tally: &Tally, what: &str) {
    tally.failed.fetch_add(1, Ordering::Relaxed);
    let mut faults = tally.faults.lock();
    if faults.len() < 20 {
        faults.push(what.to_owned());
    }
}
