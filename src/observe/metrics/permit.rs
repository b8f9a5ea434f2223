//! The numbers of the permit under which a host ends TLS (TLS-3).
use prometheus::{IntGauge, IntGaugeVec, Registry};

use super::register::{gauge, gauges};
use super::table::{LISTENER_ENDS_TLS, PERMIT_SECONDS};
use crate::base::Name;

/// See [`METRICS`](super::METRICS).
#[derive(Debug)]
pub struct PermitMetrics {
    /// Seconds.
    pub left: IntGauge,
    ends_tls: IntGaugeVec,
}

impl PermitMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            left: gauge(registry, &PERMIT_SECONDS)?,
            ends_tls: gauges(registry, &LISTENER_ENDS_TLS)?,
        })
    }

    /// Whether a listener of this name ends TLS.
    pub fn ends_tls(&self, listener: &Name, does: bool) {
        self.ends_tls.with_label_values(&[listener.as_str()]).set(i64::from(does));
    }
}
