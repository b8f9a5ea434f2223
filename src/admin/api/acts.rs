//! Locks, kill switches, releases: what was asked for, and the doing of it. Evidence is written
//! whatever comes of it. Controls: PRIV-3, ACC-2, ACC-5, LOG-1.
use std::time::Duration;

use super::change;
use super::pending::{Pending, PendingId};
use super::problem::Fault;
use super::service::Call;
use super::shape::{ActOut, PendingOut, TargetOut, Word};
use super::typed::{KillBody, LockBody, UnlockBody, case, lasts};
use crate::base::Name;
use crate::config::{OperatorAct, OperatorRole, OperatorSettings};
use crate::engine::{ActFault, Again, Engine, Listed, LockOrder, Print, Target, Unlock};
use crate::evidence::Fixed;
use crate::lockout::{Cause, ReleaseReason, Step, Subject};
use crate::store::Reach;

/// An act that was asked for, in the program's own words.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) act: OperatorAct,
    /// Hashed already, where they are ids or addresses.
    pub(super) subjects: Vec<Subject>,
    pub(super) how: How,
    pub(super) case: Name,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum How {
    /// None: until it is released.
    Hold {
        step: Step,
        lasts: Option<Duration>,
    },
    Release(ReleaseReason),
    Reload {
        /// What was looked at, and nothing else.
        print: Print,
        again: Again,
    },
}

/// What to write down of an act.
pub(super) struct Told<'a> {
    pub(super) act: Fixed,
    pub(super) outcome: Fixed,
    pub(super) reason: Option<Fixed>,
    pub(super) asked: Option<&'a Asked>,
    pub(super) asked_by: Option<&'a Name>,
}

pub(super) fn lock(engine: &Engine, body: &LockBody) -> Result<Asked, Fault> {
    let act = OperatorAct::Lock;
    let (case, subjects) = (case(&body.case)?, body.target.subjects(engine, act)?);
    // A token has no one who could wait or prove more: it is denied or it is not.
    let is_token = subjects.iter().any(|subject| matches!(subject, Subject::Token(_)));
    let step = if is_token { Step::Lock } else { body.step.step() };
    let is_network = subjects.iter().any(|subject| matches!(subject, Subject::Network(_)));
    if is_network && step != Step::Lock {
        return Err(Fault::NetworkStep);
    }
    Ok(Asked { act, subjects, how: How::Hold { step, lasts: lasts(body.lasts_secs)? }, case })
}

pub(super) fn kill(engine: &Engine, body: &KillBody) -> Result<Asked, Fault> {
    let act = OperatorAct::Kill;
    let how = How::Hold { step: Step::Kill, lasts: None };
    let case = case(&body.case)?;
    Ok(Asked { act, subjects: body.target.subjects(engine, act)?, how, case })
}

pub(super) fn unlock(engine: &Engine, body: &UnlockBody) -> Result<Asked, Fault> {
    let case = case(&body.case)?;
    let subjects = body.target.subjects(engine, OperatorAct::Unlock)?;
    let act = release_of(engine, &subjects);
    Ok(Asked { act, subjects, how: How::Release(body.reason.reason()), case })
}

/// What ending all locks on these subjects is now.
fn release_of(engine: &Engine, subjects: &[Subject]) -> OperatorAct {
    let all = subjects.iter().flat_map(|subject| engine.locks_on(subject));
    all.map(|lock| ended_by(engine, &lock)).max().unwrap_or(OperatorAct::Unlock)
}

/// Which act ends a lock. Those that guard against theft, and those of a security officer, or of
/// somebody who operates the gateway no more, need an officer.
pub(super) fn ended_by(engine: &Engine, lock: &Listed) -> OperatorAct {
    let theft = match lock.cause {
        Cause::Canary
        | Cause::Volume
        | Cause::SlowExfiltration
        | Cause::Enumeration
        | Cause::CredentialSharing => true,
        Cause::Emergency => lock.by.as_ref().is_none_or(|by| {
            let (live, now) = (engine.live(), engine.clock.now());
            let role = live.snapshot.operators.active(by, now).map(|operator| operator.role);
            role.is_none_or(|role| role >= OperatorRole::SecurityOfficer)
        }),
        Cause::LoginFailures
        | Cause::Strangers
        | Cause::Spraying
        | Cause::RefusedCalls
        | Cause::Rate
        | Cause::Intrusion => false,
    };
    if lock.step == Step::Kill || theft {
        OperatorAct::UnlockSecurityLock
    } else {
        OperatorAct::Unlock
    }
}

impl Call {
    /// Does it, or has it wait for a second person.
    pub(super) async fn act(&self, asked: Asked) -> Result<ActOut, Fault> {
        let done = self.act_or_wait(&asked).await;
        if let Err(fault) = &done {
            self.refused(asked.act.as_str(), *fault, Some(&asked));
        }
        done
    }

    async fn act_or_wait(&self, asked: &Asked) -> Result<ActOut, Fault> {
        if self.who.role < asked.act.role() {
            return Err(Fault::Role);
        }
        let api = self.live.snapshot.api.as_ref().ok_or(Fault::Internal)?;
        if !api.two_people.contains(&asked.act) {
            return self.perform(asked, &self.who.name, None).await;
        }
        let mut id = [0; 8];
        aws_lc_rs::rand::fill(&mut id).map_err(|_unspecified| Fault::Internal)?;
        let id = PendingId(u64::from_be_bytes(id));
        let waits = {
            let mut pending = self.state.pending.lock();
            let asked = (asked.clone(), &self.who.name);
            out(id, pending.add(id, asked, api.confirm_within, self.now)?)
        };
        self.tell(&Told {
            act: Fixed::new(asked.act.as_str()),
            outcome: Fixed::new("pending"),
            reason: None,
            asked: Some(asked),
            asked_by: None,
        });
        Ok(ActOut { pending: Some(waits), ..answer(asked, "pending") })
    }

    pub(super) async fn confirm(&self, id: PendingId) -> Result<ActOut, Fault> {
        let pending = self.state.pending.lock().confirm(id, &self.who, self.now);
        let pending = pending.inspect_err(|fault| self.refused("confirm", *fault, None))?;
        let Pending { asked, by, .. } = pending;
        let done = self.confirmed(&asked, &by).await;
        done.inspect_err(|fault| self.refused(asked.act.as_str(), *fault, Some(&asked)))
    }

    /// Both must be who they were, and the act what it was.
    async fn confirmed(&self, asked: &Asked, by: &Name) -> Result<ActOut, Fault> {
        let operators = &self.live.snapshot.operators;
        let first = operators.active(by, self.now);
        if first.is_none_or(|first| first.role < asked.act.role()) {
            return Err(Fault::Role);
        }
        if let How::Release(_) = asked.how
            && release_of(&self.state.engine, &asked.subjects) != asked.act
        {
            return Err(Fault::Changed);
        }
        self.perform(asked, &self.who.name, Some(by)).await
    }

    pub(super) fn withdraw(&self, id: PendingId) -> Result<ActOut, Fault> {
        let pending = self.state.pending.lock().withdraw(id, &self.who, self.now);
        let pending = pending.inspect_err(|fault| self.refused("withdraw", *fault, None))?;
        self.tell(&Told {
            act: Fixed::new(pending.asked.act.as_str()),
            outcome: Fixed::new("withdrawn"),
            reason: None,
            asked: Some(&pending.asked),
            asked_by: Some(&pending.by),
        });
        Ok(answer(&pending.asked, "withdrawn"))
    }

    /// `by` is who answers for it: the one who confirmed, where two were needed.
    async fn perform(
        &self,
        asked: &Asked,
        by: &Name,
        asked_by: Option<&Name>,
    ) -> Result<ActOut, Fault> {
        let engine = &self.state.engine;
        // A door may be shut without a line in the log, never opened.
        let opens =
            matches!(asked.how, How::Release(_)) || asked.act == OperatorAct::ReloadWidening;
        if opens && engine.log.is_full() {
            return Err(Fault::LogFull);
        }
        if let How::Reload { print, again } = asked.how {
            let reload = self.apply(asked.act, (print, again), by).await?;
            self.tell(&Told {
                act: Fixed::new(asked.act.as_str()),
                outcome: Fixed::new("done"),
                reason: None,
                asked: Some(asked),
                asked_by,
            });
            return Ok(ActOut { reload: Some(reload), ..answer(asked, "done") });
        }
        // All of them first: the last must not stay open until the first is written down.
        let (mut done, mut first) = (Vec::new(), None);
        for subject in &asked.subjects {
            match perform_one(engine, asked, subject, by) {
                Ok(subject) => done.push(subject),
                Err(fault) => first = first.or(Some(fault)),
            }
        }
        if done.is_empty() {
            return Err(first.map_or(Fault::TargetUnknown, of_engine));
        }
        let (outcome, reach) = match engine.kept(&done).await {
            Ok(Reach::Everywhere) => ("done", "everywhere"),
            Ok(Reach::HereOnly) => ("done", "here"),
            Err(_unkept) => ("unkept", "here"),
        };
        self.tell(&Told {
            act: Fixed::new(asked.act.as_str()),
            outcome: Fixed::new(outcome),
            reason: None,
            asked: Some(asked),
            asked_by,
        });
        Ok(ActOut { reach: Some(reach.into()), ..answer(asked, outcome) })
    }

    pub(super) fn refused(&self, act: &'static str, fault: Fault, asked: Option<&Asked>) {
        let outcome = if fault.status() >= 500 { "failed" } else { "refused" };
        self.tell(&Told {
            act: Fixed::new(act),
            outcome: Fixed::new(outcome),
            reason: Some(Fixed::new(fault.slug())),
            asked,
            asked_by: None,
        });
    }
}

fn perform_one(
    engine: &Engine,
    asked: &Asked,
    subject: &Subject,
    by: &Name,
) -> Result<Subject, ActFault> {
    let target = Target::Listed(subject.clone());
    let (by, case) = (by.clone(), asked.case.clone());
    match asked.how {
        How::Hold { step, lasts } => engine.impose(&LockOrder { target, step, lasts, by, case }),
        How::Release(reason) => engine.release(&Unlock { target, by, reason, case }),
        // It has no subject.
        How::Reload { .. } => Err(ActFault::Unknown),
    }
}

const fn of_engine(fault: ActFault) -> Fault {
    match fault {
        ActFault::Unknown => Fault::TargetUnknown,
        ActFault::NotLocked => Fault::NotLocked,
        ActFault::Full => Fault::LocksFull,
        ActFault::TooWide => Fault::TargetTooWide,
        ActFault::NoLock | ActFault::Unkept(_) => Fault::Internal,
    }
}

fn answer(asked: &Asked, outcome: &'static str) -> ActOut {
    ActOut {
        outcome: outcome.into(),
        act: asked.act.as_str().into(),
        targets: asked.subjects.iter().map(TargetOut::from).collect(),
        reach: None,
        pending: None,
        reload: None,
    }
}

pub(super) fn out(id: PendingId, pending: &Pending) -> PendingOut {
    let asked = &pending.asked;
    let (step, reason, print) = match asked.how {
        How::Hold { step, .. } => (Some(step.as_str()), None, None),
        How::Release(reason) => (None, Some(reason.as_str()), None),
        How::Reload { print, .. } => (None, None, Some(print)),
    };
    PendingOut {
        id: Word::hex(id.0),
        act: asked.act.as_str().into(),
        targets: asked.subjects.iter().map(TargetOut::from).collect(),
        step: step.map(Word::from),
        reason: reason.map(Word::from),
        print: print.map(change::written),
        case: (&asked.case).into(),
        by: (&pending.by).into(),
        since: Word::time(pending.since.unix_ms()),
        until: Word::time(pending.until.unix_ms()),
        role: asked.act.role().as_str().into(),
    }
}

/// The acts that a role may do.
pub(super) fn acts_of(who: &OperatorSettings) -> Vec<Word> {
    let may = OperatorAct::ALL.iter().filter(|act| who.role >= act.role());
    may.map(|act| act.as_str().into()).collect()
}
