//! The permit alone, where the files around it wait or can't be used: that TLS may end here is withdrawn
//! and renewed whatever else is there (TLS-3).
//!
//! Nothing is opened by it. What a renewed permit covers and is closed is opened by the next reload.
use std::sync::Arc;
use std::time::Duration;

use super::Engine;
use super::trial::Proven;
use super::turn::{Again, Order, Outcome, Trigger, Turn, Why, Widening};
use crate::config::PermitSettings;
use crate::config::diff::compare;

impl Engine {
    /// Takes up what became of the permit, if it is anything else than what is in force. Whether it is.
    pub async fn look_at_permit(self: &Arc<Self>) -> bool {
        let mut turn = Arc::clone(&self.reloads.turn).lock_owned().await;
        let engine = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || engine.take_permit(&mut turn));
        // A panic has been told of already; what was in force stays.
        done.await.unwrap_or(false)
    }

    pub(super) fn take_permit(&self, turn: &mut Turn) -> bool {
        let before = self.live();
        let Some(permit) = self.permit_now(&before) else { return false };
        let next = before.snapshot.under(permit.clone(), self.next(turn));
        let diff = compare(&before.snapshot, &next);
        self.sample(self.clock.now());
        let live = match self.numbered(next).and_then(|next| self.put(&before, next)) {
            Ok(live) => live,
            Err(fault) => {
                self.tell_of_refusal(&Why::Fault(fault));
                return false;
            }
        };
        let generation = live.snapshot.generation;
        turn.generation = generation;
        let proven = self.reloads.trial.lock().as_ref().map(|trial| trial.proven.clone());
        let proven = proven.unwrap_or_else(|| Proven {
            snapshot: Arc::clone(&before.snapshot),
            origin: self.reloads.origin.lock().clone(),
        });
        let proven = self.under_as_well(turn, proven, permit);
        let until = self.begin_trial(proven, &live, &diff.scope);
        let (warnings, took, held) = (Vec::new(), Duration::ZERO, None);
        let outcome = Outcome::Applied { generation, diff, warnings, took, until, held };
        let (trigger, widening, again) = (Trigger::File, Widening::Allowed, Again::No);
        self.tell_of(&Order { trigger, expect: None, widening, again }, &outcome);
        true
    }

    /// The last configuration that stood its trial, under the same permit: putting it back gives back
    /// none that was withdrawn, and no key waits in memory for that.
    pub(super) fn under_as_well(
        &self,
        turn: &mut Turn,
        proven: Proven,
        permit: PermitSettings,
    ) -> Proven {
        let snapshot = proven.snapshot.under(permit, self.next(turn));
        let Ok(snapshot) = self.numbered(snapshot) else { return proven };
        turn.generation = snapshot.generation;
        Proven { snapshot, ..proven }
    }
}
