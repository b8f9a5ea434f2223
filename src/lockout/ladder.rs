//! Which step an accusation leads to.
use std::time::Duration;

use crate::base::{IdentityIx, Moment};

use super::{Backing, Cause, Deadline, Shown, Step, Until};

/// Somebody says that an identity did something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accusation {
    pub identity: IdentityIx,
    pub asks: Step,
    pub backing: Backing,
    pub shown: Shown,
    pub cause: Cause,
    pub at: Moment,
}

impl Accusation {
    /// Whether a step-up would be asked in vain: what was done took the strongest proof there is, so
    /// that whoever did it shows it again.
    const fn shows_all(&self) -> bool {
        matches!((self.backing, self.shown), (Backing::Credential, Shown::Certificate))
    }

    /// What is done where a lock is due and too many are locked. Nobody may use up the cap to steal at
    /// leisure; what could be anybody's guess has its own waits.
    const fn short_of_a_lock(&self) -> Step {
        match (self.backing, self.shown) {
            (Backing::Credential, Shown::Certificate) => Step::Slow,
            (Backing::Credential, Shown::Bearer | Shown::KeyAndToken) => Step::StepUp,
            (Backing::Stranger | Backing::Familiar, _) => Step::Note,
        }
    }
}

/// Whether the identity was unlocked a short while ago. On probation a step that is asked counts as
/// the next one (slow as step-up, step-up as lock), a lock has no end but a release, no try is free
/// and the account locks at three failures instead of ten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probation {
    Over,
    Running,
}

/// How many identities there are, and how many of them the machine has locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Census {
    pub identities: u32,
    pub locked_automatically: u32,
}

/// The figures of the ladder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Failed logins of a pair before the first wait.
    pub free_tries: u32,
    /// The longest wait of a pair.
    pub wait_max: Duration,
    /// Familiar failures until the account locks: 1 to 10.
    pub failures: u32,
    /// In this time without failures, all of them are forgiven.
    pub failures_window: Duration,
    /// Failures from strangers until step-up is demanded of strangers.
    pub stranger_failures: u32,
    /// How long each step lasts.
    pub slow_for: Duration,
    pub step_up_for: Duration,
    /// A lock for failed logins.
    pub lock_for: Duration,
    /// After an unlock.
    pub probation: Duration,
    /// Identities that the machine may lock at once, in thousandths of all; at least one.
    pub locked_per_mille: u32,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            free_tries: 3,
            wait_max: Duration::from_secs(300),
            failures: 10,
            failures_window: Duration::from_secs(86_400),
            stranger_failures: 100,
            slow_for: Duration::from_secs(900),
            step_up_for: Duration::from_secs(86_400),
            lock_for: Duration::from_secs(1_800),
            probation: Duration::from_secs(7 * 86_400),
            locked_per_mille: 50,
        }
    }
}

/// On probation an account locks at this many familiar failures.
const FAILURES_ON_PROBATION: u32 = 3;

impl Rules {
    /// Never more than ten, which is the policy's figure, and never none.
    pub(super) fn failures(&self, probation: Probation) -> u32 {
        match probation {
            Probation::Over => self.failures.clamp(1, 10),
            Probation::Running => self.failures.clamp(1, FAILURES_ON_PROBATION),
        }
    }

    pub(super) const fn free_tries(&self, probation: Probation) -> u32 {
        match probation {
            Probation::Over => self.free_tries,
            Probation::Running => 0,
        }
    }

    fn cap(&self, identities: u32) -> u32 {
        let share = u64::from(identities) * u64::from(self.locked_per_mille.min(1_000)) / 1_000;
        u32::try_from(share).unwrap_or(u32::MAX).max(1)
    }
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub step: Step,
    /// None for a note, which is over when it was said.
    pub until: Option<Until>,
    pub cause: Cause,
    /// A lock was due, and too many identities are locked already: this is an alarm of its own, and
    /// the step is the hardest that is none.
    pub capped: bool,
}

/// Where the accusation leads, given that it is enforced.
pub fn judge(
    accusation: &Accusation,
    probation: Probation,
    census: Census,
    rules: &Rules,
) -> Verdict {
    let asked = match probation {
        Probation::Over => accusation.asks,
        Probation::Running => accusation.asks.harder(),
    };
    let asked = asked.min(accusation.backing.ceiling());
    let in_vain = asked == Step::StepUp && accusation.shows_all();
    let due = if in_vain { Step::Lock } else { asked };
    let capped = due >= Step::Lock && census.locked_automatically >= rules.cap(census.identities);
    let step = if capped { accusation.short_of_a_lock() } else { due };
    let after = |length| Some(Until::At(Deadline::after(accusation.at, length)));
    // What stands for a lock lasts as long as that.
    let lasting = if step == Step::Note { step } else { due };
    let until = match (lasting, accusation.backing, probation) {
        (Step::Note, _, _) => None,
        (Step::Slow, _, _) => after(rules.slow_for),
        // A lock in its place lasts as long.
        (Step::StepUp, _, _) => after(rules.step_up_for),
        (Step::Lock, _, _) if in_vain => after(rules.step_up_for),
        // Guesses end by themselves; what was done with a credential is looked at by somebody.
        (Step::Lock, Backing::Stranger | Backing::Familiar, Probation::Over) => {
            after(rules.lock_for)
        }
        (Step::Lock | Step::Kill, _, _) => Some(Until::Released),
    };
    Verdict { step, until, cause: accusation.cause, capped }
}
