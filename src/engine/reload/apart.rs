//! A process that another one has relieved follows the configuration until its last connection has
//! ended: whoever may enter no more is cut there as well (ACC-3). No socket and no trial comes of it.
//!
//! It follows what the other process has in force, and not what lies on the disk: that may wait for
//! somebody to ask for it, or be of no use. If the other one dies at once and has reloaded nothing, what
//! was in force before it came is so again.
use std::sync::Arc;

use super::files::{Origin, Reading};
use super::hold::Hold;
use super::permit::opens_by_time;
use super::turn::{Turn, Why};
use super::{Engine, Live};
use crate::config::{Machine, Snapshot, Texts};
use crate::engine::Parting;

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
        Before { snapshot: Arc::clone(&self.live().snapshot), origin: self.made_from() }
    }

    /// What it was made from; none, if that is not known.
    #[must_use]
    pub fn made_from(&self) -> Option<Origin> {
        self.reloads.origin.lock().clone()
    }

    /// Puts in force what the other process has, and has it judge what is left here, while nothing else
    /// may come into force. Takes as long as it takes to read it.
    ///
    /// # Errors
    /// What is wrong with it. The one before it stays in force then.
    pub async fn follow(
        self: &Arc<Self>,
        meanwhile: &mut Hold,
        what: Follow,
        parting: &Parting,
    ) -> Result<(), Why> {
        let (known, parting) = (meanwhile.texts.clone(), parting.clone());
        let work =
            move |engine: &Self, turn: &mut Turn| engine.follow_now(turn, &what, &known, &parting);
        let done = meanwhile.aside(self, work).await.unwrap_or(Err(Why::Broken));
        meanwhile.note_texts(self);
        done
    }

    fn follow_now(
        &self,
        turn: &mut Turn,
        what: &Follow,
        known: &[Arc<Texts>],
        parting: &Parting,
    ) -> Result<(), Why> {
        let before = self.live();
        let swap = |turn: &mut Turn, next, origin| {
            let swap = || self.swap_apart(turn, &before, next, origin);
            self.part_again(parting, &before, swap)
        };
        if *what == Follow::Permit {
            let Some(permit) = self.permit_now(&before) else { return Ok(()) };
            let next = before.snapshot.under(permit, self.next(turn));
            return swap(turn, next, self.made_from());
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
        let in_force = self.made_from().map(|origin| origin.print);
        if matches!(what, Follow::IfOther(_)) && in_force == Some(read.origin.print) {
            return Ok(());
        }
        swap(turn, loaded.snapshot, Some(read.origin))
    }

    fn swap_apart(
        &self,
        turn: &mut Turn,
        before: &Arc<Live>,
        next: Snapshot,
        origin: Option<Origin>,
    ) -> Result<(), Why> {
        let next = self.numbered(next).map_err(Why::Fault)?;
        turn.generation = next.generation;
        self.exchange(before, (next, origin), None).map(drop).map_err(Why::Fault)
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
            engine.swap_apart(turn, &live, next, origin)?;
            if let Some(trial) = &mut *engine.reloads.trial.lock() {
                trial.generation = turn.generation;
            }
            Ok(())
        };
        meanwhile.aside(self, work).await.unwrap_or(Err(Why::Broken))
    }
}
