//! While another process is about to take this one's place, no other configuration comes into force: it
//! reads the files by itself, and what was spent is told by the places of the configuration in force.
use std::fmt;
use std::sync::Arc;

use tokio::sync::{OwnedMutexGuard, watch};

use super::turn::Turn;
use super::{Engine, Reloads};
use crate::config::Texts;

/// More than there are in force in the time of a grace.
const TEXTS_MAX: usize = 8;

/// As long as it is there, operators are told so, and everybody else waits.
pub struct Hold {
    /// None while somebody works with it aside.
    turn: Option<OwnedMutexGuard<Turn>>,
    held: watch::Sender<bool>,
    /// Those that are or were in force since it began.
    pub(super) texts: Vec<Arc<Texts>>,
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold").field("turn", &self.turn.is_some()).finish_non_exhaustive()
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.held.send_replace(false);
    }
}

impl Engine {
    /// Returns when the reload under way is over, and has none begin.
    pub async fn hold_reloads(&self) -> Hold {
        self.reloads.held.send_replace(true);
        let mut hold = Hold { turn: None, held: self.reloads.held.clone(), texts: Vec::new() };
        hold.turn = Some(Arc::clone(&self.reloads.turn).lock_owned().await);
        hold.note_texts(self);
        hold
    }
}

impl Hold {
    /// Works with what is in force on a thread that serves nobody. Where nobody waits for that any more,
    /// it is over all the same before anything else is done with it. None, if it panicked.
    pub(super) async fn aside<T: Send + 'static>(
        &mut self,
        engine: &Arc<Engine>,
        work: impl FnOnce(&Engine, &mut Turn) -> T + Send + 'static,
    ) -> Option<T> {
        let mut turn = match self.turn.take() {
            Some(turn) => turn,
            None => Arc::clone(&engine.reloads.turn).lock_owned().await,
        };
        let engine = Arc::clone(engine);
        let done = tokio::task::spawn_blocking(move || {
            let done = work(&engine, &mut turn);
            (turn, done)
        });
        let (turn, done) = done.await.ok()?;
        self.turn = Some(turn);
        Some(done)
    }

    pub(super) fn note_texts(&mut self, engine: &Engine) {
        let Some(texts) = engine.reloads.origin.lock().as_ref().map(|one| Arc::clone(&one.texts))
        else {
            return;
        };
        self.texts.retain(|known| *known != texts);
        self.texts.push(texts);
        if self.texts.len() > TEXTS_MAX {
            self.texts.remove(0);
        }
    }
}

impl Reloads {
    pub(super) fn are_held(&self) -> bool {
        *self.held.borrow()
    }

    /// Whoever gets it may change what is in force; none, if nobody may meanwhile.
    pub(super) async fn turn_or_hold(&self) -> Option<OwnedMutexGuard<Turn>> {
        let mut held = self.held.subscribe();
        let turn = Arc::clone(&self.turn).lock_owned();
        tokio::select! {
            biased;
            _ = held.wait_for(|held| *held) => None,
            turn = turn => Some(turn),
        }
    }
}
