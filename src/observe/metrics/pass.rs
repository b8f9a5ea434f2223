//! Numbers about connections whose TLS ends elsewhere (TLS-3).
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};

use super::Metrics;
use super::register::{counters, gauges};
use super::table::{PASS_BYTES, PASS_CONNECTIONS, PASS_FAILURES, PASS_TARGET_UP, PASSED};
use crate::base::Name;
use crate::evidence::Fixed;

/// All routes' numbers.
#[derive(Clone, Debug)]
pub(super) struct Passes {
    open: IntGaugeVec,
    ended: IntCounterVec,
    bytes: IntCounterVec,
    target_up: IntGaugeVec,
    failures: IntCounterVec,
}

impl Passes {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            open: gauges(registry, &PASS_CONNECTIONS)?,
            ended: counters(registry, &PASSED)?,
            bytes: counters(registry, &PASS_BYTES)?,
            target_up: gauges(registry, &PASS_TARGET_UP)?,
            failures: counters(registry, &PASS_FAILURES)?,
        })
    }
}

/// One route's numbers.
#[derive(Clone, Debug)]
pub struct PassMetrics {
    pub open: IntGauge,
    /// Bytes from clients to targets.
    pub up: IntCounter,
    /// Bytes from targets to clients.
    pub down: IntCounter,
    listener: Name,
    route: Name,
    all: Passes,
}

impl PassMetrics {
    /// A connection ended; `result` is a word of the program.
    pub fn ended(&self, result: Fixed) {
        let labels = [self.listener.as_str(), result.as_str(), self.route.as_str()];
        self.all.ended.with_label_values(&labels).inc();
    }

    /// 1 while the target is used.
    #[must_use]
    pub fn target_up(&self, target: &Name) -> IntGauge {
        let labels = [self.listener.as_str(), self.route.as_str(), target.as_str()];
        self.all.target_up.with_label_values(&labels)
    }

    /// The target is nobody's any more.
    pub fn forget(&self, target: &Name) {
        let labels = [self.listener.as_str(), self.route.as_str(), target.as_str()];
        // It may not be there.
        let _ = self.all.target_up.remove_label_values(&labels);
    }

    /// A target failed; `reason` is a word of the program.
    pub fn failed(&self, target: &Name, reason: Fixed) {
        let labels =
            [self.listener.as_str(), reason.as_str(), self.route.as_str(), target.as_str()];
        self.all.failures.with_label_values(&labels).inc();
    }
}

impl Metrics {
    /// Handles for one route of a listener.
    #[must_use]
    pub fn pass(&self, listener: &Name, route: &Name) -> PassMetrics {
        let all = self.passes.clone();
        let bytes =
            |way: &str| all.bytes.with_label_values(&[way, listener.as_str(), route.as_str()]);
        PassMetrics {
            open: all.open.with_label_values(&[listener.as_str(), route.as_str()]),
            up: bytes("up"),
            down: bytes("down"),
            listener: listener.clone(),
            route: route.clone(),
            all,
        }
    }
}
