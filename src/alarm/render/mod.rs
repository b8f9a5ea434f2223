//! Messages as bytes, one form for each kind of target. All texts in them are ASCII of this program
//! or of the configuration.
mod alertmanager;
mod document;
mod lines;
mod signature;

pub use alertmanager::alertmanager;
pub use document::document;
pub use lines::{journal, syslog};
pub use signature::{BearerToken, SIGNATURE_HEADER, SigningKey};

use super::kind::Severity;
use super::model::{Alarm, Heartbeat};
use crate::base::Name;

/// Who speaks, and to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    pub environment: Name,
    pub target: Name,
    /// A number of the queue that no other queue has: with an alarm's place in it, its id.
    pub queue: u64,
    /// This program's.
    pub version: &'static str,
}

impl Origin {
    /// The same for every attempt to deliver an alarm, so that receivers can tell repetitions.
    fn id(&self, sequence: u64) -> String {
        format!("{:016x}-{sequence}", self.queue)
    }
}

/// What is sent at once.
#[derive(Clone, Copy, Debug)]
pub enum Message<'m> {
    /// Alarms with their places in the queue; at least one.
    Alarms(&'m [(u64, &'m Alarm)]),
    Heartbeat(&'m Heartbeat),
}

/// The severity in syslog's numbers (RFC 5424 §6.2.1).
const fn priority(severity: Severity) -> u8 {
    match severity {
        Severity::Critical => 1,
        Severity::High => 2,
        Severity::Medium => 4,
        Severity::Low => 5,
    }
}
