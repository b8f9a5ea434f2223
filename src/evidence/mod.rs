//! Decides what may be written down, and in which words. Controls: LOG-1, LOG-2.
//!
//! Never sees: files, sockets, clocks. It turns values into lines in a buffer it is given.
//! 1. A record's fields are [`Loggable`]: a text, an address or a header of a request is a type error.
//! 2. The one value from the wire is [`SafeToken`], by its form.
//! 3. A record is one line of valid JSON, at most [`LINE_BYTES_MAX`] long.
//! 4. Words in lines are stable: they are added to, never changed.
//!
//! On failure: nothing here can fail; what has no value is left out of the line.
mod about;
mod access;
mod action;
pub mod codes;
mod event;
mod passed;
mod permit;
mod place;
#[macro_use]
mod record;
mod token;
mod words;

#[doc(inline)]
pub use crate::__record as record;
pub use crate::base::Utc;
pub use about::{
    Applied, AtDoor, Gathered, Held, JudgedConfig, LockSubject, Noticed, Operated, Passing, Raised,
    Upgrade,
};
pub use access::AccessRecord;
pub use action::Action;
pub use codes::DenialCode;
pub use event::{Event, EventRecord};
pub use passed::PassRecord;
pub use permit::PermitNews;
pub use place::CodePlace;
pub use record::{Fixed, LINE_BYTES_MAX, Loggable, Nanos, Record, needs_no_escape};
pub use token::SafeToken;
pub use words::{Framework, LogFault, Outcome, Proof, Protocol, Severity, TlsVersion};

#[cfg(test)]
mod tests;
