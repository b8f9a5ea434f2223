//! What the machine could not do in a moment is tried again, with no file changed: a list was not read for
//! want of a descriptor, an address was not free yet (ACC-3). What is wrong with the files themselves
//! waits for their next change.
use std::time::Duration;

use super::turn::{Outcome, Why};
use super::{Engine, ReloadFault};
use crate::base::Moment;
use crate::config::Apply;
use crate::engine::permit::{AGAIN, AGAIN_MAX};

/// When the files are read again although none changed.
#[derive(Debug, Default)]
pub(super) struct Retry {
    /// Since when they wait, until they are.
    since: Option<Moment>,
    /// How long; twice as long as the time before.
    pause: Option<Duration>,
}

impl Retry {
    fn note(&mut self, fell_short: bool, now: Moment) {
        let longer = |pause: Duration| pause.saturating_mul(2).min(AGAIN_MAX);
        *self = if fell_short {
            let pause = self.pause.map_or(AGAIN, longer);
            Self { since: Some(now), pause: Some(pause) }
        } else {
            Self::default()
        };
    }

    /// Once each time.
    fn is_due(&mut self, now: Moment) -> bool {
        let pause = self.pause.unwrap_or_default();
        self.since.take_if(|since| now.since(*since) >= pause).is_some()
    }
}

impl Why {
    /// Whether the same files may be put in force a moment later.
    const fn may_pass(&self) -> bool {
        match self {
            Self::Broken => true,
            Self::Fault(fault) => matches!(
                fault,
                ReloadFault::Keys(_) | ReloadFault::Random | ReloadFault::Listeners(_)
            ),
            Self::NoFiles | Self::Errors(_) | Self::PutBack(_) | Self::Changed | Self::Widens => {
                false
            }
        }
    }
}

impl Engine {
    /// Whether the files should be read again although none changed. Never where they wait to be asked
    /// for: nobody knows what else would be taken up.
    pub fn files_are_due(&self) -> bool {
        self.live().snapshot.reload.apply == Apply::OnChange
            && self.reloads.retry.lock().is_due(self.clock.now())
    }

    /// They were read; what came of it, where something was to.
    pub(super) fn note_retry(&self, outcome: Option<&Outcome>) {
        let files = self.reloads.files.lock().clone();
        let unread = files.is_some_and(|files| files.fell_short());
        let refused = matches!(outcome, Some(Outcome::Refused { why, .. }) if why.may_pass());
        self.reloads.retry.lock().note(unread || refused, self.clock.now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Clock;

    #[test]
    fn acc_3_files_are_read_again_after_longer_and_longer_pauses() {
        let (clock, hand) = Clock::manual(0);
        let mut retry = Retry::default();
        assert!(!retry.is_due(clock.now()), "nothing fell short");
        for pause in [10, 20, 40, 80, 160, 300, 300] {
            retry.note(true, clock.now());
            hand.advance(Duration::from_secs(pause - 1));
            assert!(!retry.is_due(clock.now()), "{pause}");
            hand.advance(Duration::from_secs(1));
            assert!(retry.is_due(clock.now()), "{pause}");
            assert!(!retry.is_due(clock.now()), "twice");
        }
        retry.note(false, clock.now());
        hand.advance(AGAIN_MAX);
        assert!(!retry.is_due(clock.now()));
        retry.note(true, clock.now());
        hand.advance(AGAIN);
        assert!(retry.is_due(clock.now()), "it begins anew");
    }
}
