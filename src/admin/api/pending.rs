//! Acts that wait for a second person (PRIV-3). In memory only: a restart forgets them.
use std::collections::BTreeMap;
use std::time::Duration;

use super::acts::Asked;
use super::problem::Fault;
use crate::base::{Moment, Name};
use crate::config::{OperatorRole, OperatorSettings};

/// Acts that wait at the same time.
pub(super) const PENDING_MAX: usize = 64;

/// Names a pending act. Random, so that nobody confirms one by guessing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PendingId(pub(super) u64);

/// An act that waits.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    pub(super) asked: Asked,
    pub(super) by: Name,
    pub(super) since: Moment,
    pub(super) until: Moment,
}

/// All that wait.
#[derive(Debug, Default)]
pub(super) struct PendingActs(BTreeMap<PendingId, Pending>);

impl PendingActs {
    /// # Errors
    /// If too many wait already.
    pub(super) fn add(
        &mut self,
        id: PendingId,
        (asked, by): (Asked, &Name),
        within: Duration,
        now: Moment,
    ) -> Result<&Pending, Fault> {
        self.prune(now);
        if self.0.len() >= PENDING_MAX {
            return Err(Fault::PendingFull);
        }
        let pending = Pending { asked, by: by.clone(), since: now, until: now.plus(within) };
        Ok(self.0.entry(id).or_insert(pending))
    }

    /// Takes an act out for the one who confirms it.
    ///
    /// # Errors
    /// If there is none, or it is not for this person to confirm; it then goes on waiting.
    pub(super) fn confirm(
        &mut self,
        id: PendingId,
        who: &OperatorSettings,
        now: Moment,
    ) -> Result<Pending, Fault> {
        let pending = self.get(id, now)?;
        if pending.by == who.name {
            return Err(Fault::SamePerson);
        }
        if who.role < pending.asked.act.role() {
            return Err(Fault::Role);
        }
        self.0.remove(&id).ok_or(Fault::PendingUnknown)
    }

    /// Takes an act out that nobody shall do: whoever asked for it may, and any officer.
    ///
    /// # Errors
    /// As [`Self::confirm`].
    pub(super) fn withdraw(
        &mut self,
        id: PendingId,
        who: &OperatorSettings,
        now: Moment,
    ) -> Result<Pending, Fault> {
        let pending = self.get(id, now)?;
        if pending.by != who.name && who.role < OperatorRole::SecurityOfficer {
            return Err(Fault::Role);
        }
        self.0.remove(&id).ok_or(Fault::PendingUnknown)
    }

    pub(super) fn get(&mut self, id: PendingId, now: Moment) -> Result<&Pending, Fault> {
        self.prune(now);
        self.0.get(&id).ok_or(Fault::PendingUnknown)
    }

    pub(super) fn all(&mut self, now: Moment) -> impl Iterator<Item = (PendingId, &Pending)> {
        self.prune(now);
        self.0.iter().map(|(id, pending)| (*id, pending))
    }

    /// By the clock that can't be set back.
    fn prune(&mut self, now: Moment) {
        self.0.retain(|_, pending| pending.until.mono_ns() > now.mono_ns());
    }
}

#[cfg(test)]
mod tests {
    use super::super::acts::How;
    use super::*;
    use crate::config::OperatorAct;
    use crate::lockout::Step;

    fn who(name: &str, role: OperatorRole) -> OperatorSettings {
        OperatorSettings { name: Name::parse(name).unwrap(), role }
    }

    fn asked(act: OperatorAct) -> Asked {
        let how = How::Hold { step: Step::Kill, lasts: None };
        Asked { act, subjects: Vec::new(), how, case: Name::parse("INC-1").unwrap() }
    }

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn priv_3_another_person_with_the_role_confirms_and_only_in_time() {
        let now = Moment::new(0, 1);
        let (first, second) = (
            who("first", OperatorRole::SecurityOfficer),
            who("second", OperatorRole::SecurityOfficer),
        );
        let low = who("low", OperatorRole::Operator);
        let mut acts = PendingActs::default();
        let id = PendingId(7);
        acts.add(id, (asked(OperatorAct::Kill), &first.name), MINUTE, now).unwrap();
        assert_eq!(acts.confirm(PendingId(8), &second, now).unwrap_err(), Fault::PendingUnknown);
        assert_eq!(acts.confirm(id, &first, now).unwrap_err(), Fault::SamePerson);
        assert_eq!(acts.confirm(id, &low, now).unwrap_err(), Fault::Role);
        assert_eq!(acts.withdraw(id, &low, now).unwrap_err(), Fault::Role);
        assert_eq!(acts.confirm(id, &second, now).unwrap().by, first.name);
        assert_eq!(acts.confirm(id, &second, now).unwrap_err(), Fault::PendingUnknown, "once");

        acts.add(id, (asked(OperatorAct::Kill), &first.name), MINUTE, now).unwrap();
        assert!(acts.confirm(id, &second, now.plus(MINUTE)).is_err(), "too late");
        acts.add(id, (asked(OperatorAct::Lock), &low.name), MINUTE, now).unwrap();
        assert!(acts.withdraw(id, &low, now).is_ok(), "one's own");
    }

    #[test]
    fn priv_3_pending_acts_are_bounded() {
        let now = Moment::new(0, 1);
        let mut acts = PendingActs::default();
        let name = Name::parse("first").unwrap();
        for id in 0..PENDING_MAX as u64 {
            acts.add(PendingId(id), (asked(OperatorAct::Kill), &name), MINUTE, now).unwrap();
        }
        let one_more = |acts: &mut PendingActs, now| {
            acts.add(PendingId(9_999), (asked(OperatorAct::Kill), &name), MINUTE, now).map(drop)
        };
        assert_eq!(one_more(&mut acts, now), Err(Fault::PendingFull));
        assert_eq!(one_more(&mut acts, now.plus(MINUTE)), Ok(()), "those in time are gone");
    }
}
