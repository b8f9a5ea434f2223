//! A process that another one has relieved follows the configuration until its last connection has
//! ended: whoever may enter no more is cut there as well (ACC-3). No socket and no trial comes of it.
//!
//! It follows what the other process has in force, and not what lies on the disk: that may wait for
//! somebody to ask for it, or be of no use. If the other one dies at once, what was in force before it
//! came is so again.
use std::sync::Arc;

use super::files::{Origin, Reading};
use super::hold::Hold;
use super::permit::opens_by_time;
use super::turn::{Turn, Why};
use super::{Engine, Live};
use crate::config::{Machine, Snapshot, Texts};

/// What is put in force here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Follow {
    /// What the other process began with, if it differs from what is in force: the texts that this
    /// stands for, or whatever is on disk.
    IfOther(Option<String>),
    /// The files at once: the other process has done so.
    AtOnce,
    /// The texts that this stands for, with what they refer to.
    Texts(String),
    /// What became of the permit, and nothing else.
    Permit,
}

/// What was in force when another process came.
#[derive(Debug)]
pub struct Before {
    snapshot: Arc<Snapshot>,
    origin: Option<Origin>,
}

impl Engine {
    /// What is in force now, to go back to.
    #[must_use]
    pub fn in_force(&self) -> Before {
        let origin = self.reloads.origin.lock().clone();
        Before { snapshot: Arc::clone(&self.live().snapshot), origin }
    }

    /// What it was made from, once the reload under way is over.
    pub async fn made_from(&self) -> Option<Origin> {
        let _turn = Arc::clone(&self.reloads.turn).lock_owned().await;
        self.reloads.origin.lock().clone()
    }

    /// Puts in force what the other process has, and has it judge what is left here, while nothing else
    /// may come into force. What was in force before, if it is so no more.
    ///
    /// # Errors
    /// What is wrong with it. The one before it stays in force then.
    pub async fn follow(
        self: &Arc<Self>,
        meanwhile: &mut Hold,
        what: Follow,
    ) -> Result<Option<Arc<Live>>, Why> {
        let known = meanwhile.texts.clone();
        let work = move |engine: &Self, turn: &mut Turn| engine.follow_now(turn, &what, &known);
        let done = meanwhile.aside(self, work).await.unwrap_or(Err(Why::Broken));
        meanwhile.note_texts(self);
        done
    }

    fn follow_now(
        &self,
        turn: &mut Turn,
        what: &Follow,
        known: &[Arc<Texts>],
    ) -> Result<Option<Arc<Live>>, Why> {
        let before = self.live();
        if *what == Follow::Permit {
            let Some(permit) = self.permit_now(&before) else { return Ok(None) };
            let next = before.snapshot.under(permit, self.next(turn));
            return self.swap_apart(turn, &before, next).map(|()| Some(before));
        }
        let files = self.reloads.files.lock().clone().ok_or(Why::NoFiles)?;
        let wanted = match what {
            Follow::Texts(wanted) | Follow::IfOther(Some(wanted)) => Some(wanted),
            Follow::IfOther(None) | Follow::AtOnce | Follow::Permit => None,
        };
        let known = known.iter().find(|texts| wanted == Some(&texts.digest()));
        let reading = known.map_or(Reading::ToLook, |texts| Reading::Again(texts));
        let read = files.read(reading, self.next(turn), self.steady_now(), &before.snapshot);
        let loaded = read.loaded.map_err(Why::Errors)?;
        if wanted.is_some_and(|wanted| *wanted != read.origin.texts.digest()) {
            return Err(Why::Changed);
        }
        let in_force = self.reloads.origin.lock().as_ref().map(|origin| origin.print);
        if matches!(what, Follow::IfOther(_)) && in_force == Some(read.origin.print) {
            return Ok(None);
        }
        self.swap_apart(turn, &before, loaded.snapshot)?;
        *self.reloads.origin.lock() = Some(read.origin);
        Ok(Some(before))
    }

    fn swap_apart(&self, turn: &mut Turn, before: &Arc<Live>, next: Snapshot) -> Result<(), Why> {
        let next = self.numbered(next).map_err(Why::Fault)?;
        turn.generation = next.generation;
        self.exchange(before, next, None).map(drop).map_err(Why::Fault)
    }

    /// The other process is gone, and what it had in force was never this one's: what was in force before
    /// is so again, under the permit that there is now (TLS-3).
    ///
    /// # Errors
    /// Why it can't be. What the other process had stays in force then.
    pub async fn go_back(self: &Arc<Self>, meanwhile: &mut Hold, to: Before) -> Result<(), Why> {
        let work = move |engine: &Self, turn: &mut Turn| {
            let (live, Before { snapshot, origin }) = (engine.live(), to);
            if Arc::ptr_eq(&live.snapshot, &snapshot) {
                return Ok(());
            }
            let environment = &snapshot.environment;
            let permit = snapshot.permit.again(&Machine, environment, engine.steady_now());
            // Nothing is read here, so one that waited for its time waits until it is asked for again.
            let opens = opens_by_time(&snapshot.permit, &permit);
            let permit = if opens { snapshot.permit.clone() } else { permit };
            let next = snapshot.under(permit, engine.next(turn));
            engine.swap_apart(turn, &live, next)?;
            *engine.reloads.origin.lock() = origin;
            if let Some(trial) = &mut *engine.reloads.trial.lock() {
                trial.generation = turn.generation;
            }
            Ok(())
        };
        meanwhile.aside(self, work).await.unwrap_or(Err(Why::Broken))
    }
}
