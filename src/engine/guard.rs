//! Whether somebody is locked, and what failed logins lead to: asked by the request path before and
//! while it serves. `lockout` decides. Controls: ACC-2, ACC-5, MON-6.
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{ConnLink, Engine, Live};
use crate::base::{
    ClosedFault, Denial, IdentityIx, LockFault, Moment, OperationIx, StepUpFault, UpstreamIx,
};
use crate::detect::Sought;
use crate::identity::{Possession, Proven};
use crate::lockout::{Asked, Attempt, Proof, Standing, Step, Subject, Trust};

/// Whether any pair of identity and source is made to wait, so that nobody else takes a lock to ask.
#[derive(Debug, Default)]
pub(super) struct Waits {
    until_ns: AtomicU64,
}

/// Who a request turned out to be, for questions that come later: while it waits, while it streams.
#[derive(Clone, Debug)]
pub struct Caller {
    asked: Asked,
    /// What it names that may be an order, by hash: one of them may be locked later.
    orders: Option<Arc<[u64]>>,
    proof: Proof,
    /// When somebody logged in, where that is fresh; zero if not.
    login: u64,
    epoch: u64,
}

/// How a permitted caller goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pace {
    Usual,
    /// After a wait: the ladder's second step.
    Slow,
}

/// Orders that are locked, to be looked for in bodies (ACC-5).
#[derive(Debug)]
pub struct LockedOrders<'e> {
    engine: &'e Engine,
    now: Moment,
}

impl LockedOrders<'_> {
    /// A shorter run is no order's id.
    const LENGTH_MIN: usize = 8;
}

impl Sought for LockedOrders<'_> {
    type Found = ();

    fn is_empty(&self) -> bool {
        !self.engine.locks.holds_orders()
    }

    fn find(&self, id: &[u8]) -> Option<()> {
        let long = id.len() >= Self::LENGTH_MIN;
        (long && self.engine.locks.is_order_locked(id, self.now)).then_some(())
    }
}

impl Engine {
    /// Orders that are locked now.
    #[must_use]
    pub fn locked_orders(&self) -> LockedOrders<'_> {
        LockedOrders { engine: self, now: self.clock.now() }
    }

    /// Whether there are any.
    #[must_use]
    pub fn holds_locked_orders(&self) -> bool {
        self.locks.holds_orders()
    }

    /// Returns when there is one.
    pub async fn order_locked(&self) {
        let mut changes = self.locks.changes();
        while !self.holds_locked_orders() && changes.changed().await.is_ok() {}
    }

    /// Stands for an order, by its id.
    #[must_use]
    pub fn order(&self, id: &[u8]) -> u64 {
        self.locks.keys().order(id)
    }

    /// ACC-2: whether somebody who proved who they are may go on at all.
    ///
    /// # Errors
    /// Locked, or made to prove more.
    pub fn admit_caller(
        &self,
        live: &Live,
        link: &ConnLink,
        who: &Proven,
        now: Moment,
    ) -> Result<(Caller, Pace), Denial> {
        let login = who.fresh_login(now, live.snapshot.step_up.within.as_secs());
        let (proof, trust) = if who.proof().is_of_possession() {
            (Proof::Carried, Trust::Proof)
        } else {
            (Proof::Absent, Trust::Stranger)
        };
        let asked = Asked {
            identity: Some(who.identity()),
            trust,
            source: link.facts.source_hash,
            operation: None,
            upstream: None,
            account: None,
            order: None,
        };
        let epoch = self.locks.epoch();
        let mut caller = Caller { asked, orders: None, proof, login, epoch };
        let pace = self.judge_standing(live, &mut caller, now)?;
        if asked.trust == Trust::Stranger
            && self.waits.until_ns.load(Ordering::Relaxed) > now.mono_ns()
        {
            let attempt = attempt(who.identity(), link, Proof::Absent, now);
            if !self.locks.logins(|logins, _| logins.wait(&attempt)).is_zero() {
                return Err(Denial::Locked(LockFault::Waiting));
            }
        }
        Ok((caller, pace))
    }

    /// ACC-4: whether what a caller asks for takes a fresh login, and it has one. A certificate is none.
    ///
    /// # Errors
    /// It takes one.
    pub fn admit_login(
        &self,
        live: &Live,
        who: &Proven,
        operation: OperationIx,
        now: Moment,
    ) -> Result<(), Denial> {
        let (step_up, policy) = (&live.snapshot.step_up, &live.snapshot.policy);
        if step_up.is_due(policy, who.identity(), operation)
            && !who.is_fresh(now, step_up.within.as_secs())
        {
            return Err(Denial::StepUp(StepUpFault::Demanded));
        }
        Ok(())
    }

    /// ACC-5: whether what a caller asks for is closed to everybody.
    ///
    /// # Errors
    /// What is.
    pub fn admit_target(
        &self,
        live: &Live,
        caller: &mut Caller,
        (operation, upstream): (OperationIx, UpstreamIx),
        orders: Vec<u64>,
        now: Moment,
    ) -> Result<Pace, Denial> {
        let keys = self.locks.keys();
        caller.asked.operation = Some(operation);
        caller.asked.upstream = Some(upstream);
        caller.asked.account =
            live.upstream(upstream).map(|upstream| keys.account(&upstream.seller));
        caller.orders = (!orders.is_empty()).then(|| orders.into());
        self.judge_standing(live, caller, now)
    }

    /// Whether a caller who went on may still: to be asked while it waits and while it is answered.
    /// Costs one read of a number as long as no lock changed.
    ///
    /// # Errors
    /// It may not.
    pub fn still_admitted(&self, live: &Live, caller: &mut Caller) -> Result<(), Denial> {
        let epoch = self.locks.epoch();
        if caller.epoch == epoch {
            return Ok(());
        }
        caller.epoch = epoch;
        match self.judge_standing(live, caller, self.clock.now()) {
            // What was let through before more was asked is let through to its end.
            Ok(_) | Err(Denial::StepUp(_)) => Ok(()),
            Err(denial) => Err(denial),
        }
    }

    /// How long until it is the turn of a call whose caller is slowed down: one a second, however many
    /// come at once.
    ///
    /// # Errors
    /// Too many of its calls wait already; after so many seconds another one may.
    pub fn slow_turn(&self, live: &Live, caller: &Caller) -> Result<Duration, u64> {
        let name = caller.asked.identity.and_then(|ix| live.snapshot.names.identity(ix));
        let Some(name) = name else { return Err(1) };
        let turn = self.locks.turns.lock().take(name, self.clock.now());
        turn.map_err(|wait| wait.as_secs().saturating_add(1))
    }

    /// Returns when a caller may no longer go on. For those who wait for something else meanwhile.
    pub async fn revoked(&self, live: Arc<Live>, mut caller: Caller) -> Denial {
        let mut changes = self.locks.changes();
        loop {
            if let Err(denial) = self.still_admitted(&live, &mut caller) {
                return denial;
            }
            if changes.changed().await.is_err() {
                return Denial::Internal;
            }
        }
    }

    fn judge_standing(
        &self,
        live: &Live,
        caller: &mut Caller,
        now: Moment,
    ) -> Result<Pace, Denial> {
        let named = caller.orders.as_deref().unwrap_or_default();
        caller.asked.order = self.locks.locked_among(named, now);
        let mut standing = self.locks.standing(live, &caller.asked, now);
        let Some((mut step, _)) = standing.step else { return Ok(Pace::Usual) };
        if caller.asked.trust == Trust::Stranger
            && let Some(identity) = caller.asked.identity
        {
            // Rare enough to ask now: a source that the identity has used before is no stranger's.
            let (source, proof) = (caller.asked.source, Proof::Absent);
            caller.asked.trust = self.locks.trust(&Attempt { identity, source, proof, at: now });
            standing = self.locks.standing(live, &caller.asked, now);
            let Some((again, _)) = standing.step else { return Ok(Pace::Usual) };
            step = again;
        }
        match step {
            Step::Note => Ok(Pace::Usual),
            Step::Slow => Ok(Pace::Slow),
            Step::StepUp if standing.demand.is_met(caller.proof, caller.login) => {
                Ok(if standing.is_slowed { Pace::Slow } else { Pace::Usual })
            }
            Step::StepUp => Err(Denial::StepUp(StepUpFault::Suspected)),
            Step::Lock | Step::Kill => Err(self.refuse(live, &caller.asked, now)),
        }
    }

    /// What it is that is locked, and one more attempt in spite of it.
    fn refuse(&self, live: &Live, asked: &Asked, now: Moment) -> Denial {
        let nobody = Asked {
            identity: None,
            operation: None,
            upstream: None,
            account: None,
            order: None,
            ..*asked
        };
        let held = |asked: &Asked| {
            let Standing { step, .. } = self.locks.standing(live, asked, now);
            step.is_some_and(|(step, _)| step >= Step::Lock)
        };
        let names = &live.snapshot.names;
        if held(&nobody) {
            self.locks.attempted(Subject::Source(asked.source));
            return Denial::Locked(LockFault::Source);
        }
        if held(&Asked { identity: asked.identity, ..nobody }) {
            if let Some(name) = asked.identity.and_then(|ix| names.identity(ix)) {
                self.locks.attempted(Subject::Identity(name.clone()));
            }
            return Denial::Locked(LockFault::Identity);
        }
        let (subject, fault) = if held(&Asked { operation: asked.operation, ..nobody }) {
            let name = asked.operation.and_then(|ix| names.operation(ix));
            (name.map(|name| Subject::Operation(name.clone())), ClosedFault::Operation)
        } else if held(&Asked { upstream: asked.upstream, ..nobody }) {
            let name = asked.upstream.and_then(|ix| names.upstream(ix));
            (name.map(|name| Subject::Upstream(name.clone())), ClosedFault::Upstream)
        } else if held(&Asked { account: asked.account, ..nobody }) {
            (asked.account.map(Subject::Account), ClosedFault::Account)
        } else {
            (asked.order.map(Subject::Order), ClosedFault::Record)
        };
        if let Some(subject) = subject {
            self.locks.attempted(subject);
        }
        Denial::Closed(fault)
    }

    /// A caller proved itself on a connection for the first time.
    pub(super) fn logged_in(
        &self,
        live: &Live,
        link: &ConnLink,
        (who, proof): (IdentityIx, Proof),
        now: Moment,
    ) {
        let attempt = attempt(who, link, proof, now);
        if self.locks.logins(|logins, _table| logins.succeeded(&attempt))
            && let Some(name) = live.snapshot.names.identity(who)
        {
            self.histories.changed_login(name);
        }
    }

    /// A credential was looked at and was not this identity's: slows down the pair of identity and
    /// source, and accuses where that was too often.
    pub fn login_failed(
        self: &Arc<Self>,
        live: &Live,
        link: &ConnLink,
        (who, possession): (IdentityIx, Possession),
        now: Moment,
    ) {
        let proof = match possession {
            Possession::Proved => Proof::Carried,
            Possession::Unproved => Proof::Absent,
            Possession::Missing => Proof::Missing,
        };
        let attempt = attempt(who, link, proof, now);
        let Some(name) = live.snapshot.names.identity(who) else { return };
        let subject = Subject::Identity(name.clone());
        let rules = &live.snapshot.lockout;
        let failed = self.locks.logins(|logins, table| {
            // While a pair waits its credential counts as not looked at.
            let waits = !logins.wait(&attempt).is_zero();
            (!waits).then(|| {
                let released = table.last_release(&subject).map_or(0, |last| last.at_ms);
                (logins.failed(&attempt, table.probation(&subject, now), rules), released)
            })
        });
        let Some((failed, released)) = failed else { return };
        self.histories.changed_login(name);
        if !failed.wait.is_zero() {
            self.waits.until_ns.fetch_max(now.plus(failed.wait).mono_ns(), Ordering::Relaxed);
        }
        if let Some(accusation) = failed.accuses {
            self.accuse(live, &accusation);
        }
        self.tell_failure(name, &failed, released, now);
    }
}

const fn attempt(identity: IdentityIx, link: &ConnLink, proof: Proof, at: Moment) -> Attempt {
    Attempt { identity, source: link.facts.source_hash, proof, at }
}
