//! Turns of those who are slowed down.
use std::collections::HashMap;
use std::time::Duration;

use crate::base::{Moment, Name};

/// From one call of an identity to its next.
const APART: Duration = Duration::from_secs(1);
/// No call waits longer for its turn.
const LONGEST: Duration = Duration::from_secs(20);

/// When the last turn that was given to an identity comes, on the monotonic clock. Whoever goes away
/// while it waits has had its turn.
#[derive(Debug, Default)]
pub struct Turns(HashMap<Name, u64>);

impl Turns {
    /// How long until the identity's next turn.
    ///
    /// # Errors
    /// As many calls wait as may; how long until there is room for another one.
    pub fn take(&mut self, who: &Name, now: Moment) -> Result<Duration, Duration> {
        let last = self.0.get(who).copied().unwrap_or(0);
        let wait = Duration::from_nanos(last.saturating_sub(now.mono_ns())).saturating_add(APART);
        if wait > LONGEST {
            return Err(wait.saturating_sub(LONGEST));
        }
        if self.0.len() == self.0.capacity() {
            // Before it grows: whose turn is over is like anybody else.
            self.0.retain(|_, last| *last > now.mono_ns());
        }
        self.0.insert(who.clone(), now.plus(wait).mono_ns());
        Ok(wait)
    }
}
