//! Decides whether what happened is out of the ordinary, and says why. Controls: MON-1 to MON-6,
//! MON-8; the detection half of ACC-1.
//!
//! Never sees: addresses, ids, paths or bodies (only their keyed hashes and counts; the canary scan
//! looks at bytes and keeps none), sockets, clocks.
//! 1. A signal holds numbers and words of this program, so it can be written down as it is (LOG-2).
//! 2. Memory is fixed: one [`Watch`] is at most 1 KiB and its sketches, a source is one place in a
//!    table of fixed size.
//! 3. What is unusual for one identity is judged by its own history: the hour of the week, the tail
//!    of what it has done. The young are judged by their role's peers.
//! 4. Counts are judged with each event, not at the hour's end.
//! 5. A window ends by the monotonic clock. The wall clock says only which hour of the week it was,
//!    and an hour in which it jumped teaches nothing. Over a restart it says how much of a window is
//!    left: what is counted of an identity or a source goes on from where it was.
//! 6. Off, observe and enforce differ only in what a signal says of itself.
//! 7. Each level is said once in an hour or a day; acting is said again when the step is over that it
//!    led to and what led to it goes on. A release takes away what was counted, not what was learned.
//!
//! On failure: counters stop at their greatest value, which is above every limit; a history of
//! another version or cut short is refused, and its identity is young again.
mod burst;
mod canary;
mod enumeration;
mod event;
mod failures;
mod figures;
mod habit;
mod history;
mod intrusion;
mod limits;
mod logins;
mod paths;
mod peers;
mod scale;
mod scan;
mod settings;
mod sharing;
mod signal;
mod sketch;
mod slow;
mod sources;
mod tail;
mod told;
mod volume;
mod watch;
mod week;
mod window;

pub use canary::{Canary, CanaryFault, CanarySet};
pub use event::{Event, Metric, Outcome};
pub use history::HistoryFault;
pub use paths::is_scanner_path;
pub use peers::{Peers, Usual};
pub use scan::{Scan, Scanned, Sought, each_id, is_id};
pub use settings::{
    CanaryMode, EnumerationSettings, FailureSettings, IntrusionSettings, Lasting, LoginSettings,
    PerMetric, Settings, SharingSettings, SlowSettings, VolumeSettings,
};
pub use signal::{Explanation, Level, Mode, Response, Severity, Signal, Signals, Subject};

pub use crate::base::Detector;
pub use sketch::Sketch;
pub use sources::Sources;
pub use volume::HourTotals;
pub use watch::{Watch, Watched};

#[cfg(test)]
mod tests;
