//! The numbers of what the gateway remembers and shares.
use prometheus::{IntCounter, IntCounterVec, IntGauge, Registry};

use super::register::{counter, counters, gauge};
use super::table::{
    QUOTA_ASKS, STATE_FAULTS, STATE_FORGED, STATE_GATEWAYS, STATE_REFUSED, STATE_SOUND,
    STATE_WAITING, STATE_WRITTEN,
};
use crate::evidence::Fixed;

/// See [`METRICS`](super::METRICS).
#[derive(Debug)]
pub struct StateMetrics {
    pub sound: IntGauge,
    /// Seconds since 1970.
    pub written_at: IntGauge,
    pub waiting: IntGauge,
    pub refused: IntCounter,
    pub gateways: IntGauge,
    forged: IntCounter,
    faults: IntCounterVec,
    asks: IntCounterVec,
}

impl StateMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            sound: gauge(registry, &STATE_SOUND)?,
            written_at: gauge(registry, &STATE_WRITTEN)?,
            waiting: gauge(registry, &STATE_WAITING)?,
            refused: counter(registry, &STATE_REFUSED)?,
            gateways: gauge(registry, &STATE_GATEWAYS)?,
            forged: counter(registry, &STATE_FORGED)?,
            faults: counters(registry, &STATE_FAULTS)?,
            asks: counters(registry, &QUOTA_ASKS)?,
        };
        Ok(metrics)
    }

    /// `reason` is a word of the program.
    pub fn fault(&self, reason: Fixed) {
        self.faults.with_label_values(&[reason.as_str()]).inc();
    }

    /// So many records were found forged so far.
    pub fn forged(&self, so_far: u64) {
        self.forged.inc_by(so_far.saturating_sub(self.forged.get()));
    }

    /// What came of asking for units; `result` is a word of the program.
    pub fn asked(&self, result: Fixed) {
        self.asks.with_label_values(&[result.as_str()]).inc();
    }
}
