//! Calls to Amazon take their turn here (MON-2): the shell of [`crate::pacing`], with its clock, its
//! lock, its one timer and those who wait.
//!
//! 1. Every call that was let through is settled, whatever becomes of its request: [`Admission`].
//! 2. Whoever waits has left the queue when its request ends, for whatever reason: [`Waiting`].
//! 3. Only Amazon's own answers are learned from; our own refusals never slow anything down.
//!
//! One lock for all quotas: a turn holds it for less than a microsecond, and what goes to Amazon is
//! far less than that. What is learned outlives reloads, because nothing here knows of a snapshot.
mod dealt;
mod learned;
mod plans;
#[cfg(test)]
mod tests;
mod waiting;

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::Instant;

pub(super) use learned::Told;
pub(super) use plans::Plans;
pub use plans::Terms;
pub use waiting::Waiting;

use super::{Engine, Live};
use crate::base::{Clock, Denial, HashKey, Moment, Name, OperationIx, PacingFault, UpstreamIx};
use crate::evidence::Fixed;
use crate::observe::PacingMetrics;
use crate::pacing::{
    Answer, Ask, BucketKey, Debts, Limits, Pacer, Pass, Reason, Released, Standing, Ticket, Turn,
    Verdict,
};

/// A clock that is moved by hand rings nobody, so it is looked at this often.
const LOOK: Duration = Duration::from_millis(2);
/// A call that has not left so long after it was let through is counted from when it leaves.
const LATE: Duration = Duration::from_millis(250);
/// Quotas that a listing tells of at most.
const LISTED_MAX: usize = 1_000;

/// See the module.
pub(super) struct Pacing {
    key: HashKey,
    clock: Clock,
    metrics: PacingMetrics,
    state: Mutex<State>,
    /// Calls that were sent while nobody could be asked for their units.
    debts: Mutex<Debts>,
    /// The timer looks again.
    bell: Arc<Notify>,
    /// The moment at which nobody waits any more.
    ending: watch::Sender<Option<Instant>>,
}

struct State {
    pacer: Pacer,
    waiters: HashMap<Ticket, oneshot::Sender<Turn>>,
    due: Vec<Released>,
}

/// A call that is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unpaced {
    pub denial: Denial,
    /// How long to stay away; none where waiting doesn't help.
    pub wait: Option<Duration>,
    /// Where Amazon's quota stands.
    pub standing: Option<Standing>,
}

impl Unpaced {
    /// [`Self::wait`] in whole seconds, rounded up, at least one.
    #[must_use]
    pub fn wait_secs(&self) -> Option<u64> {
        let part = |wait: Duration| u64::from(wait.subsec_nanos() > 0);
        self.wait.map(|wait| wait.as_secs().saturating_add(part(wait)).max(1))
    }
}

/// What becomes of a call now.
#[derive(Debug)]
pub enum Offer {
    Go(Admission),
    Wait(Waiting),
    Refuse(Unpaced),
}

/// The right to send one call, until its answer. Dropped without one, it is settled as what it was:
/// a call that never left gives its place back, one that did counts.
#[derive(Debug)]
#[must_use = "it is settled when it is dropped"]
pub struct Admission {
    pacing: Arc<Pacing>,
    pass: Option<Pass>,
    /// Where gateways take calls one by one.
    unit: Option<dealt::Unit>,
    /// The same, while nobody deals them.
    owed: Option<dealt::Owed>,
    since: Moment,
    sent: Sent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    No,
    Yes,
}

impl Admission {
    fn new(pacing: &Arc<Pacing>, pass: Pass, since: Moment) -> Self {
        let pacing = Arc::clone(pacing);
        Self { pacing, pass: Some(pass), unit: None, owed: None, since, sent: Sent::No }
    }

    /// The call's first byte is about to leave.
    pub fn depart(&mut self) {
        self.sent = Sent::Yes;
        let now = self.pacing.clock.now();
        if now.since(self.since) > LATE {
            let mut state = self.pacing.state.lock();
            self.pass = self.pass.take().map(|pass| state.pacer.depart(pass, now));
        }
        if now.since(self.since) > dealt::LATE {
            if let Some(unit) = &self.unit {
                unit.departs_late();
            }
            if let Some(owed) = self.owed {
                self.pacing.owe(owed);
            }
        }
    }

    /// Amazon answered.
    pub fn settle(mut self, answer: Answer) {
        self.settle_as(answer);
    }

    fn settle_as(&mut self, answer: Answer) {
        if let Some(pass) = self.pass.take() {
            self.pacing.settle(pass, answer);
        }
        if let Some(unit) = self.unit.take() {
            unit.settle(answer);
        }
        if let Some(owed) = self.owed.take() {
            self.pacing.settle_owed(owed, answer);
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.settle_as(match self.sent {
            Sent::No => Answer::Unsent,
            Sent::Yes => Answer::Lost,
        });
    }
}

impl Pacing {
    /// Runs on a Tokio runtime, which keeps its timer.
    pub(super) fn start(
        key: HashKey,
        clock: Clock,
        limits: Limits,
        metrics: PacingMetrics,
    ) -> Arc<Self> {
        let state = State { pacer: Pacer::new(limits), waiters: HashMap::new(), due: Vec::new() };
        let pacing = Arc::new(Self {
            key,
            clock,
            metrics,
            state: Mutex::new(state),
            debts: Mutex::default(),
            bell: Arc::default(),
            ending: watch::Sender::new(None),
        });
        tokio::spawn(keep_time(Arc::downgrade(&pacing), Arc::clone(&pacing.bell)));
        pacing
    }

    pub(super) const fn key(&self) -> &HashKey {
        &self.key
    }

    /// Lets the call go, lets it wait, or refuses it.
    fn offer(self: &Arc<Self>, ask: &Ask) -> Offer {
        let now = self.clock.now();
        let mut state = self.state.lock();
        match state.pacer.offer(ask, now) {
            Verdict::Admit(pass) => Offer::Go(Admission::new(self, pass, now)),
            Verdict::Refuse(refused) => {
                let standing = state.pacer.standing(ask.bucket, now);
                drop(state);
                Offer::Refuse(self.refuse(fault(refused.reason), refused.wait, standing))
            }
            Verdict::Wait { ticket, expected, .. } => {
                let (tell, told) = oneshot::channel();
                state.waiters.insert(ticket, tell);
                drop(state);
                self.bell.notify_one();
                Offer::Wait(Waiting::new(self, ticket, ask.bucket, expected, told))
            }
        }
    }

    fn refuse(&self, fault: PacingFault, wait: Duration, standing: Option<Standing>) -> Unpaced {
        self.metrics.refused(Fixed::new(word(fault)));
        Unpaced { denial: Denial::UpstreamQuota(fault), wait: Some(wait), standing }
    }

    fn settle(&self, pass: Pass, answer: Answer) {
        let now = self.clock.now();
        let mut state = self.state.lock();
        state.pacer.settle(pass, answer, now);
        let waited_for = state.pacer.size().1 > 0;
        drop(state);
        if waited_for {
            self.bell.notify_one();
        }
    }

    fn standing(&self, bucket: BucketKey) -> Option<Standing> {
        let now = self.clock.now();
        self.state.lock().pacer.standing(bucket, now)
    }

    /// Tells everybody whose turn it is, or whose time is over. How long until the next.
    fn release(&self) -> Option<Duration> {
        let now = self.clock.now();
        let mut state = self.state.lock();
        let State { pacer, waiters, due } = &mut *state;
        pacer.release(now, due);
        for Released { ticket, turn } in due.drain(..) {
            let untold = match waiters.remove(&ticket) {
                Some(tell) => tell.send(turn).err(),
                None => Some(turn),
            };
            // It went away in this very moment: what it was given is given back.
            if let Some(Turn::Admit(pass)) = untold {
                pacer.settle(pass, Answer::Unsent, now);
            }
        }
        let next = pacer.next_wake(now)?;
        Some(match self.clock {
            Clock::System { .. } => next,
            Clock::Manual(_) => next.min(LOOK),
        })
    }

    /// From now on nobody waits for longer than half of the grace; the other half is for Amazon's
    /// answers.
    pub(super) fn end_within(&self, grace: Duration) {
        let now = Instant::now();
        self.ending.send_replace(Some(now.checked_add(grace / 2).unwrap_or(now)));
    }

    /// Whoever comes from now on waits as long as ever.
    pub(super) fn go_on(&self) {
        self.ending.send_replace(None);
    }
}

impl Drop for Pacing {
    fn drop(&mut self) {
        self.bell.notify_one();
    }
}

impl std::fmt::Debug for Pacing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pacing")
    }
}

/// The timer.
async fn keep_time(pacing: Weak<Pacing>, bell: Arc<Notify>) {
    loop {
        let next = match pacing.upgrade() {
            Some(pacing) => pacing.release(),
            None => return,
        };
        match next {
            Some(next) => drop(tokio::time::timeout(next, bell.notified()).await),
            None => bell.notified().await,
        }
    }
}

const fn fault(reason: Reason) -> PacingFault {
    match reason {
        Reason::Patience => PacingFault::Patience,
        Reason::Places => PacingFault::Places,
        Reason::Buckets => PacingFault::Buckets,
    }
}

const fn word(fault: PacingFault) -> &'static str {
    match fault {
        PacingFault::Patience => "patience",
        PacingFault::Places => "places",
        PacingFault::Buckets => "buckets",
        PacingFault::Late => "late",
        PacingFault::Draining => "draining",
    }
}

impl Engine {
    /// A call wants to go to Amazon.
    #[must_use]
    pub fn offer(&self, ask: &Ask) -> Offer {
        self.pacing.offer(ask)
    }

    /// Amazon's quotas that are in use, and where they stand, by upstream and operation. A quota that
    /// several share is told once, and no more than a thousand are.
    #[must_use]
    pub fn pacing_standings(&self) -> Vec<(Name, Name, Standing)> {
        let live = self.live();
        let names = &live.snapshot.names;
        let mut told = std::collections::HashSet::new();
        let mut standings = Vec::new();
        for (upstream, operation, bucket) in live.pacing.buckets() {
            if standings.len() >= LISTED_MAX {
                break;
            }
            let Some(standing) = self.pacing.standing(bucket) else { continue };
            if let (true, Some(upstream), Some(operation)) =
                (told.insert(bucket), names.upstream(upstream), names.operation(operation))
            {
                standings.push((upstream.clone(), operation.clone(), standing));
            }
        }
        standings
    }

    /// Amazon itself refused a call: 429 or 503.
    pub fn report_throttled(&self, live: &Live, upstream: UpstreamIx, answer: Answer) {
        let status = match answer {
            Answer::Throttled { .. } => Fixed::new("429"),
            Answer::Overloaded { .. } => Fixed::new("503"),
            Answer::Served { .. } | Answer::Unsent | Answer::Lost => return,
        };
        if let Some(upstream) = live.snapshot.names.upstream(upstream) {
            self.metrics.pacing.throttled(upstream, status);
        }
    }
}

impl Live {
    /// On which terms an identity's call of an operation goes to Amazon; none where it goes elsewhere.
    #[must_use]
    pub fn terms(
        &self,
        who: crate::base::IdentityIx,
        operation: OperationIx,
        upstream: UpstreamIx,
    ) -> Option<Terms> {
        self.pacing.terms(who, operation, upstream)
    }
}
