//! `[lockout]`.
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::value::DurationText;
use crate::lockout::Rules;

/// What follows from failed logins, and from what detectors act upon.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawLockout {
    /// Failed logins of an identity from one source before that pair has to wait: 1, 2, 4 … seconds.
    #[schemars(range(min = 0, max = 10))]
    free_tries: u32,
    /// The longest wait of such a pair.
    #[schemars(extend("x-range" = ["1 s", "1 h"]))]
    wait_max: DurationText,
    /// Failed logins until the account locks: such as came with proof of possession, or from a source
    /// that it has used before. Amazon's policy asks for 10 at most.
    #[schemars(range(min = 1, max = 10))]
    failures: u32,
    /// In this time without failures, all of them are forgiven.
    #[schemars(extend("x-range" = ["15 min", "30 days"]))]
    failures_window: DurationText,
    /// Failed logins of strangers until more is asked of strangers. They lock nobody.
    #[schemars(range(min = 10, max = 100_000))]
    stranger_failures: u32,
    /// How long requests are slowed down.
    #[schemars(extend("x-range" = ["1 min", "7 days"]))]
    slow_for: DurationText,
    /// How long more is asked, or, of whoever has nothing more to show, a lock holds.
    #[schemars(extend("x-range" = ["1 min", "30 days"]))]
    step_up_for: DurationText,
    /// How long an account is locked for failed logins, and a source for what it did. What was done
    /// with a credential is locked until somebody releases it.
    #[schemars(extend("x-range" = ["1 min", "30 days"]))]
    lock_for: DurationText,
    /// How long an identity that was unlocked is judged more strictly.
    #[schemars(extend("x-range" = ["1 h", "90 days"]))]
    probation: DurationText,
    /// Identities that the gateway may lock by itself at a time, in thousandths of all; at least one.
    /// Beyond it there is an alarm, and what was done with a credential leads to step-up, or to waiting.
    #[schemars(range(min = 1, max = 1_000))]
    locked_per_mille: u32,
}

impl Default for RawLockout {
    fn default() -> Self {
        let own = Rules::default();
        Self {
            free_tries: own.free_tries,
            wait_max: DurationText(own.wait_max),
            failures: own.failures,
            failures_window: DurationText(own.failures_window),
            stranger_failures: own.stranger_failures,
            slow_for: DurationText(own.slow_for),
            step_up_for: DurationText(own.step_up_for),
            lock_for: DurationText(own.lock_for),
            probation: DurationText(own.probation),
            locked_per_mille: own.locked_per_mille,
        }
    }
}

impl From<&RawLockout> for Rules {
    fn from(raw: &RawLockout) -> Self {
        let of = |text: DurationText| -> Duration { text.0 };
        Self {
            free_tries: raw.free_tries,
            wait_max: of(raw.wait_max),
            failures: raw.failures,
            failures_window: of(raw.failures_window),
            stranger_failures: raw.stranger_failures,
            slow_for: of(raw.slow_for),
            step_up_for: of(raw.step_up_for),
            lock_for: of(raw.lock_for),
            probation: of(raw.probation),
            locked_per_mille: raw.locked_per_mille,
        }
    }
}
