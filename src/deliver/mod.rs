//! Brings alarms to people: takes in what was raised, keeps it in the store's queue, and has one task
//! per target tell it. Controls: MON-7, TLS-1, TLS-2, LOG-2.
//!
//! Decides nothing: what is the same, what waits, when to try again and in which words is
//! [`alarm`](crate::alarm)'s. Never sees: requests.
//! 1. What is in the queue, or gathered, survives kill -9, restarts and targets that are down; each target has a
//!    place of its own in it and is told in order.
//! 2. A target is told at least once: twice only if the process died between telling and noting it.
//!    Ids stay the same, so that a receiver can tell.
//! 3. Everything is bounded: memory, the queue, a delivery's time, what is read of an answer.
//! 4. HTTPS is always verified; redirects are not followed; programs are run without a shell.
//!
//! On failure: alarms wait in the queue; while the store can't be had, in memory up to a bound. What
//! is lost is counted and told.
mod gathered;
mod program;
mod queue;
mod socket;
mod target;
mod tasks;
mod way;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::alarm::{Alarm, Aspect};
use crate::base::Name;
use crate::engine::{Engine, Recent};
use crate::evidence::{Event, Fixed, Raised};
use gathered::Gathered;
use queue::Queue;
use target::Teller;
use tasks::Tasks;

pub use gathered::forget_gathered;
pub use way::{Failed, Way};

/// How often windows, conditions and the configuration are looked at.
const TICK: Duration = Duration::from_millis(250);
/// Alarms that wait in memory while the store can't be had.
const UNKEPT_MAX: usize = 1_024;

/// Works until `stopped` turns true; then keeps what was raised.
pub async fn run(engine: Arc<Engine>, mut stopped: watch::Receiver<bool>) {
    let Some(raised) = engine.alarms.take() else { return };
    let queue = Arc::new(Queue::open(&engine).await);
    let gathered = Gathered::open(Arc::clone(&engine.store)).await;
    let mut desk = Desk::new(Arc::clone(&engine), queue, gathered);
    desk.work(raised, &mut stopped).await;
}

/// Takes in what was raised, and keeps the targets' tasks.
struct Desk {
    engine: Arc<Engine>,
    queue: Arc<Queue>,
    gathered: Gathered,
    /// Raised and not in the queue yet.
    unkept: VecDeque<Alarm>,
    /// Lost and not told of yet.
    lost: u64,
    generation: Option<u64>,
    targets: Tasks,
}

impl Desk {
    fn new(engine: Arc<Engine>, queue: Arc<Queue>, gathered: Gathered) -> Self {
        Self {
            engine,
            queue,
            gathered,
            unkept: VecDeque::new(),
            lost: 0,
            generation: None,
            targets: Tasks::default(),
        }
    }

    async fn work(
        &mut self,
        mut raised: mpsc::Receiver<Alarm>,
        stopped: &mut watch::Receiver<bool>,
    ) {
        // Before anything is taken in: what is raised at the start has its targets.
        self.follow().await;
        for alarm in self.gathered.left() {
            self.tell(alarm);
        }
        self.keep().await;
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                alarm = raised.recv() => {
                    let Some(alarm) = alarm else { break };
                    self.tell(alarm);
                    // In the log as well before the first of it is waited for.
                    while let Ok(alarm) = raised.try_recv() {
                        self.tell(alarm);
                    }
                }
                _ = tick.tick() => {
                    self.follow().await;
                    self.engine.check_conditions();
                    let windows = self.engine.live().snapshot.alarms.windows;
                    self.engine.alarms.pass_on_due(windows);
                    self.count_lost();
                    self.keep_gathered(&mut raised).await;
                }
                () = told_to_stop(stopped) => break,
            }
            self.keep().await;
        }
        self.engine.alarms.pass_on_rest();
        self.count_lost();
        self.keep_gathered(&mut raised).await;
        self.targets.end().await;
    }

    /// Has what is gathered outlive this process. What was gathered before and is due by now must be in
    /// the queue first.
    async fn keep_gathered(&mut self, raised: &mut mpsc::Receiver<Alarm>) {
        match self.engine.alarms.gathered() {
            // Nobody is there to be told of it later.
            Some(_) if self.targets.is_empty() => self.gathered.set(Vec::new()),
            Some(gathered) => self.gathered.set(gathered),
            None => {}
        }
        while let Ok(alarm) = raised.try_recv() {
            self.tell(alarm);
        }
        self.keep().await;
        if self.unkept.is_empty() {
            self.gathered.keep().await;
        }
    }

    /// Writes an alarm down, and puts it where it is kept from.
    fn tell(&mut self, alarm: Alarm) {
        self.engine.report_event(&Event::AlarmRaised(raised(&alarm)));
        if self.unkept.len() >= UNKEPT_MAX {
            self.lost = self.lost.saturating_add(1);
        } else {
            self.unkept.push_back(alarm);
        }
    }

    /// Puts everything into the queue, in order; what can't be kept now stays.
    async fn keep(&mut self) {
        while let Some(alarm) = self.unkept.front() {
            let sequence = if self.targets.is_empty() {
                None
            } else {
                let Ok(sequence) = self.queue.push(alarm).await else { return };
                Some(sequence)
            };
            if let Some(alarm) = self.unkept.pop_front() {
                self.engine.alarms.remember(Recent { sequence, alarm });
            }
        }
    }

    fn count_lost(&mut self) {
        let count = self.lost.saturating_add(self.engine.alarms.take_lost());
        self.lost = 0;
        if count > 0 {
            self.engine.metrics.alarms.lost(count);
            self.engine.report_event(&Event::AlarmsLost { target: None, count });
        }
    }

    /// Begins and ends targets' tasks as the configuration has them, and begins anew what ended by
    /// itself.
    async fn follow(&mut self) {
        let live = self.engine.live();
        if self.generation == Some(live.snapshot.generation) && !self.targets.lack_one() {
            return;
        }
        self.generation = Some(live.snapshot.generation);
        let targets = &live.snapshot.alarms.targets;
        let names: Vec<Name> = targets.iter().map(|target| target.name.clone()).collect();
        self.queue.only_for(&names).await;
        let kinds = targets.iter().map(|target| target.way.as_str());
        self.engine.alarms.expect(names.into_iter().zip(kinds));
        self.targets.follow(targets, |target, stopped| {
            let (engine, queue) = (Arc::clone(&self.engine), Arc::clone(&self.queue));
            Teller::new(engine, queue, target.clone()).work(stopped)
        });
    }
}

/// Returns when it is time, or nobody is left to say so.
async fn told_to_stop(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stop| *stop).await;
}

fn raised(alarm: &Alarm) -> Raised<'_> {
    Raised {
        alarm: Fixed::new(alarm.kind.as_str()),
        control: alarm.kind.control(),
        grade: Fixed::new(alarm.severity.as_str()),
        count: u64::from(alarm.count),
        identity: alarm.name(Aspect::Identity),
        operation: alarm.name(Aspect::Operation),
        upstream: alarm.name(Aspect::Upstream),
        listener: alarm.name(Aspect::Listener),
        issuer: alarm.name(Aspect::Issuer),
        source: alarm.source.map(|source| (source.pseudonym, source.day)),
        numbers: alarm.why.as_ref().map(|why| [why.seen, why.expected, why.limit]),
    }
}
