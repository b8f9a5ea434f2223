//! Numbers about alarms (MON-7).
use prometheus::{IntCounter, IntCounterVec, IntGaugeVec, Registry};

use super::NO_OPERATION;
use super::register::{counters, gauges};
use super::table::{ALARM_MESSAGES, ALARM_OLDEST, ALARMS_LOST, ALARMS_RAISED, ALARMS_WAITING};
use crate::base::Name;
use crate::evidence::Fixed;

/// Handles for all targets.
#[derive(Clone, Debug)]
pub struct AlarmMetrics {
    raised: IntCounterVec,
    messages: IntCounterVec,
    lost: IntCounterVec,
    waiting: IntGaugeVec,
    oldest: IntGaugeVec,
}

/// One target's numbers.
#[derive(Clone, Debug)]
pub struct TargetMetrics {
    all: AlarmMetrics,
    name: Name,
    delivered: IntCounter,
    pub lost: IntCounter,
}

impl AlarmMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            raised: counters(registry, &ALARMS_RAISED)?,
            messages: counters(registry, &ALARM_MESSAGES)?,
            lost: counters(registry, &ALARMS_LOST)?,
            waiting: gauges(registry, &ALARMS_WAITING)?,
            oldest: gauges(registry, &ALARM_OLDEST)?,
        })
    }

    /// So many alarms of this severity; a word of the program.
    pub fn raised(&self, severity: Fixed, count: u32) {
        self.raised.with_label_values(&[severity.as_str()]).inc_by(u64::from(count));
    }

    /// Alarms that were lost before they were anybody's.
    pub fn lost(&self, count: u64) {
        self.lost.with_label_values(&[NO_OPERATION]).inc_by(count);
    }

    #[must_use]
    pub fn target(&self, name: &Name) -> TargetMetrics {
        TargetMetrics {
            delivered: self.messages.with_label_values(&["delivered", name.as_str()]),
            lost: self.lost.with_label_values(&[name.as_str()]),
            name: name.clone(),
            all: self.clone(),
        }
    }
}

impl TargetMetrics {
    pub fn delivered(&self) {
        self.delivered.inc();
    }

    /// An attempt failed; `reason` is a word of the program.
    pub fn failed(&self, reason: Fixed) {
        self.all.messages.with_label_values(&[reason.as_str(), self.name.as_str()]).inc();
    }

    /// How many alarms wait, and for how many seconds the oldest.
    pub fn waiting(&self, count: u64, oldest_secs: u64) {
        let labels = [self.name.as_str()];
        let number = |value| i64::try_from(value).unwrap_or(i64::MAX);
        self.all.waiting.with_label_values(&labels).set(number(count));
        self.all.oldest.with_label_values(&labels).set(number(oldest_secs));
    }
}
