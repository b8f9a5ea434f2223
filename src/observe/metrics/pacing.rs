//! Numbers about Amazon's quotas (MON-2).
use prometheus::{Histogram, IntCounterVec, IntGauge, Registry};

use super::register::{NO_LABELS, counters, gauge, histograms};
use super::table::{PACING_REFUSED, PACING_WAIT, PACING_WAITING, UPSTREAM_THROTTLED};
use crate::base::Name;
use crate::evidence::Fixed;

/// How calls fare in the queues for Amazon's quotas.
#[derive(Clone, Debug)]
pub struct PacingMetrics {
    /// In seconds, of those that waited.
    pub wait: Histogram,
    pub waiting: IntGauge,
    refused: IntCounterVec,
    throttled: IntCounterVec,
}

impl PacingMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            wait: histograms(registry, &PACING_WAIT)?.with_label_values(NO_LABELS),
            waiting: gauge(registry, &PACING_WAITING)?,
            refused: counters(registry, &PACING_REFUSED)?,
            throttled: counters(registry, &UPSTREAM_THROTTLED)?,
        })
    }

    /// A call was not sent; `reason` is a word of the program.
    pub fn refused(&self, reason: Fixed) {
        self.refused.with_label_values(&[reason.as_str()]).inc();
    }

    /// Amazon refused a call; `status` is a word of the program.
    pub fn throttled(&self, upstream: &Name, status: Fixed) {
        self.throttled.with_label_values(&[status.as_str(), upstream.as_str()]).inc();
    }
}
