//! Decides what people are told, when and in which form. Controls: MON-7, MON-8, LOG-2.
//!
//! Never sees: sockets, files, clocks, requests. It is given alarms and moments, and gives bytes.
//! 1. An [`Alarm`] is made of closed words, configured names, pseudonyms, numbers and times: text of
//!    a request is a type error.
//! 2. Of what is the same, the first is told at once and the rest as one with a count ([`Grouper`]).
//! 3. What may wait until morning waits in the queue; what is critical never waits ([`Quiet`]).
//! 4. Each target has its own place in the queue ([`Progress`]); one that is down holds nobody up.
//! 5. What was lost is counted, for each target, and told.
//!
//! On failure: what can't be read back is counted as lost, never guessed.
mod attempt;
mod codec;
mod group;
mod kind;
mod model;
mod progress;
mod quiet;
mod render;
#[cfg(test)]
mod tests;

pub use attempt::{ASKED_MAX, DeliveryFault, RETRY_FIRST, RETRY_MAX, UNACCEPTABLE_MAX, wait};
pub use codec::{DecodeFault, in_pages, of_page};
pub use group::{Grouper, SUBJECTS_MAX, Windows};
pub use kind::{Aspect, Kind, Severity};
pub use model::{Alarm, Heartbeat, NAMES_MAX, Phrase, Source, Why};
pub use progress::{Ahead, LAG_MAX, Progress, Rules, Selection, TARGETS_MAX, TargetProgress};
pub use quiet::Quiet;
pub use render::{
    BearerToken, Message, Origin, SIGNATURE_HEADER, SigningKey, alertmanager, document, journal,
    syslog,
};
