//! Keeps the log and the numbers, and silences everything else that would speak. Controls: LOG-1,
//! LOG-2, LOG-4, MON-5.
//!
//! Never sees: requests. It is given records whose types hold nothing personal, and words of the
//! program.
//! 1. A request is admitted only with room for its line ([`LogSink::reserve`]); a line is never dropped
//!    unseen: losses are counted, and reported in the log and in a metric.
//! 2. A line is written whole and once, in the order of the queue, over full disks and rotations.
//! 3. Nothing a library, a panic or a peer says is written as text.
//! 4. The request path waits for a copy of one line under a mutex, never for a disk.
//!
//! On failure: lines wait in memory, up to a bound; beyond it requests are refused.
mod framework;
mod log;
mod metrics;
mod panic;

pub use framework::{AlreadyInstalled, FrameworkWatch};
pub use log::{LogFull, LogOpenFault, LogSink, LogSlot, LogSpec, LogTarget, Rotation, Unwritten};
pub use metrics::{
    AlarmMetrics, BUCKETS, IssuerMetrics, ListenerMetrics, LogMetrics, METRICS, MetricDoc,
    MetricKind, Metrics, MetricsFault, NO_OPERATION, OperationMetrics, PacingMetrics, PassMetrics,
    PermitMetrics, TargetMetrics, UpstreamMetrics,
};
pub use panic::PanicHook;

/// Standard error, for the few lines that can't go to the log.
fn say(line: &[u8]) {
    use std::io::Write;
    // Nobody is left to tell if this fails, too.
    let _ = std::io::stderr().write_all(line);
}
