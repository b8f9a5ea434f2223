//! Another binary takes this process' place, and no request is lost. Controls: ACC-2, MON-2, LOG-1.
//!
//! ```text
//! process that goes                          process that stays
//!   starts it, one socket between them   ──►   reads and compiles its configuration, if it is still
//!                                               the one that was looked at
//!   listening sockets, where the state is ─►   takes them, accepts nobody
//!   writes everything down                ◄──  "prepared"
//!   lets go of the state                  ──►  issuers' keys, "go": opens it, brings everything back
//!                                         ◄──  "ready"
//!                                         ──►  "serve": accepts
//!   stops accepting, tells callers to go  ◄──  "serving"
//!   locks, spent quotas, what was revealed ─►  adds them; its own locks the other way
//!   cuts whoever may enter no more        ◄──  what is in force now
//!   ends when nobody is left, or after `gateway.shutdown_grace`; what is passed on unread ends when
//!   it pauses, for nobody can be told to go
//! ```
//!
//! 1. Somebody accepts at every moment: the sockets are the same ones, and the one that goes accepts
//!    until the other one does.
//! 2. Until "serving" everything can be taken back: what was started is killed, the state is opened
//!    again, and nobody outside has noticed. So it can for a few seconds more, if the new process dies:
//!    then the configuration of before is in force again, too, or what was reloaded since.
//! 3. The socket between the two has no name: nobody else can speak on it. The one by which an
//!    operator asks lies in a directory that only the gateway's user may enter.
//!
//! 4. What is left to the process that goes is judged as it would be in the one that stays. Where nobody
//!    tells any more who is locked out, nothing is left.
//!
//! On failure the process that was to go goes on, and the operator reads why.
mod around;
mod ask;
mod bridge;
mod control;
mod enter;
mod leave;
mod steady;
mod words;

pub(super) use around::Begins;
pub(super) use ask::main;
pub(super) use bridge::{Leaving, Stand};
pub(super) use control::{Asked, Control};
pub(super) use enter::Entering;
pub(super) use leave::{Fault, Left, Order, Recall, WITHIN, go_on, hand_over};
pub(super) use steady::{Probation, Reach};
