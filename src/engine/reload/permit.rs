//! The permit alone, where the files around it wait or can't be used: that TLS may end here is withdrawn
//! and renewed whatever else is there (TLS-3).
//!
//! Nothing is opened by it but by time: what a permit covers that counted for nothing yet is opened when
//! its time comes, which is nobody's change; as long as that can't be read the permit waits on, and is
//! asked for again. What another permit covers and is closed is opened by the next reload.
use std::sync::Arc;
use std::time::Duration;

use super::files::Reading;
use super::trial::Proven;
use super::turn::{Again, Order, Outcome, Trigger, Turn, Why, Widening};
use super::{Engine, Live};
use crate::config::diff::compare;
use crate::config::{PermitSettings, Snapshot};
use crate::engine::permit::waits_for_time;

/// What became of the permit.
#[derive(Clone, Copy)]
pub(super) enum Taken<'t> {
    /// Whatever it covers, nothing is opened.
    Alone(&'t PermitSettings),
    /// Its time has come: what it opens is read.
    Opens(&'t Snapshot),
}

impl Taken<'_> {
    fn by(&self, snapshot: &Snapshot, generation: u64) -> Snapshot {
        match self {
            Self::Alone(permit) => snapshot.under(PermitSettings::clone(permit), generation),
            Self::Opens(read) => snapshot.opened_as(read, generation),
        }
    }
}

impl Engine {
    /// Takes up what became of the permit, if it is anything else than what is in force. Whether it is.
    ///
    /// # Errors
    /// Why it can't be taken up, which was told.
    pub async fn look_at_permit(self: &Arc<Self>) -> Result<bool, Why> {
        let mut turn = Arc::clone(&self.reloads.turn).lock_owned().await;
        let engine = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || engine.take_permit(&mut turn));
        // A panic has been told of already; what was in force stays.
        done.await.unwrap_or(Ok(false))
    }

    pub(super) fn take_permit(&self, turn: &mut Turn) -> Result<bool, Why> {
        let taken = self.try_permit(turn);
        self.permits.tried(taken.is_ok());
        taken.inspect_err(|why| self.tell_of_refusal(why))
    }

    fn try_permit(&self, turn: &mut Turn) -> Result<bool, Why> {
        let before = self.live();
        let Some(permit) = self.permit_now(&before) else { return Ok(false) };
        let read = self.opened_by_time(turn, &before, &permit)?;
        let taken = read.as_ref().map_or(Taken::Alone(&permit), Taken::Opens);
        let next = taken.by(&before.snapshot, self.next(turn));
        let diff = compare(&before.snapshot, &next);
        self.sample(self.clock.now());
        let next = self.numbered(next).map(|next| (next, self.made_from()));
        let live = next.and_then(|next| self.put(&before, next)).map_err(Why::Fault)?;
        let generation = live.snapshot.generation;
        turn.generation = generation;
        let proven = self.reloads.trial.lock().as_ref().map(|trial| trial.proven.clone());
        let proven = proven.unwrap_or_else(|| Proven {
            snapshot: Arc::clone(&before.snapshot),
            origin: self.made_from(),
        });
        let proven = self.under_as_well(turn, proven, taken);
        let until = self.begin_trial(proven, &live, &diff.scope);
        let (warnings, took, held) = (Vec::new(), Duration::ZERO, None);
        let outcome = Outcome::Applied { generation, diff, warnings, took, until, held };
        let (trigger, widening, again) = (Trigger::File, Widening::Allowed, Again::No);
        self.tell_of(&Order { trigger, expect: None, widening, again }, &outcome);
        Ok(true)
    }

    /// The texts in force read again, where a permit counts now that waited for its time. Of what they
    /// refer to only certificates are taken.
    fn opened_by_time(
        &self,
        turn: &Turn,
        before: &Live,
        permit: &PermitSettings,
    ) -> Result<Option<Snapshot>, Why> {
        if !opens_by_time(&before.snapshot.permit, permit) {
            return Ok(None);
        }
        let (files, origin) = (self.reloads.files.lock().clone(), self.made_from());
        let (Some(files), Some(origin)) = (files, origin) else { return Ok(None) };
        let (again, now) = (Reading::Again(&origin.texts), self.steady_now());
        let read = files.read(again, self.next(turn), now, &before.snapshot);
        read.loaded.map(|loaded| Some(loaded.snapshot)).map_err(Why::Errors)
    }

    /// The last configuration that stood its trial, under the same permit: putting it back gives back
    /// none that was withdrawn, and no key waits in memory for that.
    pub(super) fn under_as_well(
        &self,
        turn: &mut Turn,
        proven: Proven,
        taken: Taken<'_>,
    ) -> Proven {
        let snapshot = taken.by(&proven.snapshot, self.next(turn));
        let Ok(snapshot) = self.numbered(snapshot) else { return proven };
        turn.generation = snapshot.generation;
        Proven { snapshot, ..proven }
    }
}

/// Whether a permit counts now that waited for its time.
pub(super) fn opens_by_time(before: &PermitSettings, now: &PermitSettings) -> bool {
    now.standing.is_ok() && before.standing.as_ref().is_err_and(|fault| waits_for_time(*fault))
}
