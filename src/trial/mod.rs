//! Decides whether a configuration that came into force a short while ago is to blame for what fails
//! now. Controls: LOG-1, MON-8.
//! Never sees: configurations, requests, clocks - only what changed, and counts of before and after.
//!
//! The rule:
//! 1. Counts are kept apart: each upstream, each listener, access as a whole, the gateway itself. One
//!    broken upstream among twenty is seen by its own share, not lost in the other nineteen's.
//! 2. Only what the change touched can count against it. An upstream whose settings are the same and
//!    that fails now fails by itself.
//! 3. More fails than before by chance: at least [`SENT_MIN`] requests on either side, [`FAILED_MIN`]
//!    failures, a share that rose by [`RISE`] and by [`SIGMAS`] standard errors of the difference of two
//!    shares. Looked at twice a second for two minutes in twenty places, the same share as before gets
//!    there once in some hundred changes; a tenth that fails where nothing failed gets there within
//!    the first hundred requests.
//! 4. What strangers can make fail (handshakes, refusals) counts only if, besides, less than half of
//!    what succeeded in the same time before succeeds now, and that would have been [`SENT_MIN`] at
//!    least: a flood of bad handshakes or tokens can add failures and takes no success away.
//! 5. What was taken away stays away. A change that narrows anything is never put back by itself,
//!    whatever fails: its refusals are meant, and putting back the whole would open again what
//!    somebody closed. People are told, with the figures, and decide.
//!
//! On nothing to compare with (no traffic before, a new upstream): no verdict.
mod history;
mod judge;

pub use history::{History, Sample, Spot};
pub use judge::{Blame, FAILED_MIN, Figures, Kind, RISE, SENT_MIN, SIGMAS, Verdict, judge};
