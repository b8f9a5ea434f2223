//! Decides what follows from a failed login or an accusation, and who is locked. Controls: ACC-2,
//! ACC-5, MON-6.
//!
//! Never sees: addresses, tokens, order ids or seller accounts (only their keyed hashes, and networks that
//! are nobody's alone), sockets, files.
//! 1. A failed login slows down the pair of identity and source, and nobody else.
//! 2. An account locks by itself only on failures that carried proof of possession or came from a
//!    source it has used before. Strangers bring it to step-up, which asks nothing of callers who
//!    prove themselves or come from such a source.
//!    Where an identity can't be entered without a key, whoever guesses without it is a stranger.
//! 3. A lock for what was done needs an act that was possible only with a valid credential. What such an
//!    act leads to is met by a proof that is stronger than the one it was done with, or fresher; where
//!    there is none, a lock takes the step-up's place, and its time.
//! 4. The share of identities locked by the machine is capped; beyond it, there is an alarm, and for
//!    what was done with a credential the hardest step that is no lock.
//! 5. A lock ends by its own time or by a release that names who and why; probation follows. Locks on
//!    one subject stand side by side, by cause and author: none makes another milder, shorter or easier
//!    to end.
//! 6. Tables of several gateways merge to the same table in any order, and a release ends only the
//!    locks that its author saw.
//!
//! On failure: a full table refuses the new lock and says so, and forgets none it has. A jump of the
//! wall clock neither ends a lock nor prolongs one, as long as the process runs. After a restart the
//! wall clock is believed.
mod account;
mod automatic;
mod codec;
mod deadline;
mod demand;
mod entry;
mod ladder;
mod login;
mod pair;
mod ranges;
mod share;
mod standing;
mod step;
mod table;
mod turn;

pub use codec::DecodeFault;
pub use deadline::{Deadline, Until};
pub use demand::Demand;
pub use entry::{Author, GatewayId, Grounds, Lock, Release, ReleaseReason};
pub use ladder::{Accusation, Census, Probation, Rules, Verdict, judge};
pub use login::{Attempt, Failed, Logins, Trust};
pub use share::{Heard, Part, Told};
pub use standing::{Asked, Places, Standing, Standings};
pub use step::{Backing, Cause, Proof, Shown, Step};
pub use table::{Imposed, LockTable, Subject, TableFault};
pub use turn::Turns;

#[cfg(test)]
mod tests;
