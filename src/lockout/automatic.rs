//! How many identities the machine has locked, known without a walk over all locks.
use std::collections::BTreeSet;

use crate::base::{Moment, Name};

use super::table::Subject;

/// When the last of the machine's locks on each identity ends, on the monotonic clock, and whose it is.
#[derive(Clone, Debug, Default)]
pub(super) struct Automatic(BTreeSet<(u64, Name)>);

impl Automatic {
    /// A subject's end was `before` and is `now`; zero for none. Only identities count.
    pub(super) fn ends(&mut self, subject: &Subject, before: u64, now: u64) {
        let Subject::Identity(name) = subject else { return };
        if before == now {
            return;
        }
        if before > 0 {
            self.0.remove(&(before, name.clone()));
        }
        if now > 0 {
            self.0.insert((now, name.clone()));
        }
    }

    /// Drops what is over.
    pub(super) fn forget(&mut self, now: Moment) {
        while self.0.first().is_some_and(|(end, _)| *end <= now.mono_ns()) {
            self.0.pop_first();
        }
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }
}
