//! Failed and successful logins, and what they lead to.
use std::time::Duration;

use crate::base::{IdentityIx, Moment};

use super::account::Account;
use super::ladder::{Accusation, Probation, Rules};
use super::pair::Pairs;
use super::{Backing, Cause, Proof, Shown, Step};

/// Somebody presents a credential in the name of an identity.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    /// As claimed; nothing is proved by a name.
    pub identity: IdentityIx,
    /// Keyed hash of the source network, under a key that lives as long as this table.
    pub source: u64,
    pub proof: Proof,
    pub at: Moment,
}

/// Whether the caller is more than a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    Proof,
    KnownSource,
    Stranger,
}

/// What a failed login leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed {
    /// The pair is not listened to for so long.
    pub wait: Duration,
    /// What is to be judged about the identity.
    pub accuses: Option<Accusation>,
    /// Who failed, and how many failures of such callers are too many.
    pub trust: Trust,
    pub limit: u32,
}

impl Accusation {
    /// Too many failed logins of such callers.
    #[must_use]
    pub const fn of_logins(identity: IdentityIx, trust: Trust, at: Moment) -> Self {
        let (asks, backing, cause) = match trust {
            Trust::Proof | Trust::KnownSource => {
                (Step::Lock, Backing::Familiar, Cause::LoginFailures)
            }
            Trust::Stranger => (Step::StepUp, Backing::Stranger, Cause::Strangers),
        };
        Self { identity, asks, backing, shown: Shown::Bearer, cause, at }
    }
}

/// The memory of logins: 192 bytes for each identity and 32 for each pair there is room for.
#[derive(Debug)]
pub struct Logins {
    pairs: Pairs,
    accounts: Box<[Account]>,
}

impl Logins {
    pub fn new(identities: usize, pairs: usize) -> Self {
        Self {
            pairs: Pairs::new(pairs),
            accounts: vec![Account::default(); identities].into_boxed_slice(),
        }
    }

    /// The same memory for a new configuration: `before[n]` is where its identity `n` was.
    #[must_use]
    pub fn moved(self, before: &[Option<IdentityIx>]) -> Self {
        let mut after = vec![None; self.accounts.len()];
        for (new, old) in (0..).zip(before) {
            if let Some(place) = old.and_then(|old| after.get_mut(old.index())) {
                *place = Some(IdentityIx(new));
            }
        }
        let of = |old: &Option<IdentityIx>| old.and_then(|ix| self.accounts.get(ix.index()));
        let accounts = before.iter().map(|old| of(old).copied().unwrap_or_default()).collect();
        Self { pairs: self.pairs.moved(&after), accounts }
    }

    /// What is remembered of one identity, for the store; nothing if there is nothing. Pairs are not
    /// part of it: after a restart every pair has its free tries again.
    pub fn encode(&self, identity: IdentityIx) -> Option<Vec<u8>> {
        let account = self.accounts.get(identity.index())?;
        (!account.is_blank()).then(|| account.encode())
    }

    /// Takes back what was remembered; false if it was something else.
    pub fn restore(&mut self, identity: IdentityIx, bytes: &[u8], now: Moment) -> bool {
        let place = self.accounts.get_mut(identity.index());
        let Some((place, account)) = place.zip(Account::decode(bytes, now)) else { return false };
        *place = account;
        true
    }

    /// How long until this pair may try again. Until then the credential is not looked at, the
    /// answer is that of a wrong one, and no failure is counted.
    pub fn wait(&self, attempt: &Attempt) -> Duration {
        self.pairs.wait(attempt.identity, attempt.source, attempt.at)
    }

    pub fn trust(&self, attempt: &Attempt) -> Trust {
        let account = self.accounts.get(attempt.identity.index());
        match attempt.proof {
            Proof::Carried => Trust::Proof,
            Proof::Absent if account.is_some_and(|a| a.knows(attempt.source, attempt.at)) => {
                Trust::KnownSource
            }
            Proof::Absent | Proof::Missing => Trust::Stranger,
        }
    }

    /// Counts a credential that was looked at and found wrong.
    pub fn failed(&mut self, attempt: &Attempt, probation: Probation, rules: &Rules) -> Failed {
        let (identity, at) = (attempt.identity, attempt.at);
        let free = rules.free_tries(probation);
        let wait = self.pairs.fail((identity, attempt.source), at, free, rules.wait_max);
        let trust = self.trust(attempt);
        let window = rules.failures_window;
        let limit = match trust {
            Trust::Proof | Trust::KnownSource => rules.failures(probation),
            Trust::Stranger => rules.stranger_failures,
        };
        let reached = self.accounts.get_mut(identity.index()).is_some_and(|account| match trust {
            Trust::Proof | Trust::KnownSource => {
                account.familiar_failure(at, window, limit) >= limit
            }
            Trust::Stranger => account.stranger_failure(at, window, limit) >= limit,
        });
        let accuses = reached.then(|| Accusation::of_logins(identity, trust, at));
        Failed { wait, accuses, trust, limit }
    }

    /// The pair is forgiven, and its source is no stranger from now on. Whether there is anything new
    /// to be remembered.
    pub fn succeeded(&mut self, attempt: &Attempt) -> bool {
        self.pairs.succeed(attempt.identity, attempt.source);
        self.accounts
            .get_mut(attempt.identity.index())
            .is_some_and(|account| account.succeeded_from(attempt.source, attempt.at))
    }

    /// An operator released the identity.
    pub fn released(&mut self, identity: IdentityIx) {
        if let Some(account) = self.accounts.get_mut(identity.index()) {
            account.forgive();
        }
    }
}
