//! What meets a step-up: more than the accused showed, or something newer.
use super::entry::Lock;
use super::{Proof, Shown};

/// What a step-up asks for. The default, an operator's word or strangers' guesses, accuses nobody who
/// showed anything: a key meets it, and so does any login that is fresh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// A login has to be later than this second since 1970: that of the latest accusation.
    after: u64,
    /// What the accused showed, and what therefore shows nothing more.
    shown: Option<Shown>,
}

impl Demand {
    pub(super) const fn of(lock: &Lock) -> Self {
        match lock.shown {
            None => Self { after: 0, shown: None },
            shown => Self { after: lock.since_ms / 1_000, shown },
        }
    }

    /// Both at once.
    pub(super) fn and(self, other: Self) -> Self {
        Self { after: self.after.max(other.after), shown: self.shown.max(other.shown) }
    }

    /// Whether it is met by what somebody shows now: `login` is the second of a login with several
    /// factors that is fresh, zero if there is none.
    #[must_use]
    pub fn is_met(self, proof: Proof, login: u64) -> bool {
        let key = proof == Proof::Carried && self.shown <= Some(Shown::Bearer);
        key || login > self.after
    }
}
