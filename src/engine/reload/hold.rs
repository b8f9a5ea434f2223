//! While another process is about to take this one's place, no other configuration comes into force: it
//! reads the files by itself, and what was spent is told by the places of the configuration in force.
use std::fmt;
use std::sync::Arc;

use tokio::sync::{OwnedMutexGuard, watch};

use super::turn::Turn;
use super::{Engine, Reloads};

/// As long as it is there, operators are told so, and everybody else waits.
pub struct Hold {
    turn: Option<OwnedMutexGuard<Turn>>,
    held: watch::Sender<bool>,
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
        let mut hold = Hold { turn: None, held: self.reloads.held.clone() };
        hold.turn = Some(Arc::clone(&self.reloads.turn).lock_owned().await);
        hold
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
