//! Where identities stand in their limits, for people.
use std::time::Duration;

use super::limit::Gate;
use super::{Quotas, locate};
use crate::base::{IdentityIx, Moment, Name};
use crate::policy::{Mode, Sharing};

/// One window of one limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowView {
    pub limit: Name,
    /// What is counted: `requests`, `bytes`, `pii-records`, `concurrent`.
    pub unit: &'static str,
    pub most: u64,
    /// Zero for `concurrent`.
    pub per: Duration,
    /// What is left now.
    pub left: u64,
    /// If nothing is: how long until something is.
    pub wait: Duration,
    pub mode: Mode,
    pub sharing: Sharing,
}

impl Quotas {
    /// Every window that `who` spends from.
    #[must_use]
    pub fn view(&self, who: IdentityIx, now: Moment) -> Vec<WindowView> {
        let Some(account) = self.accounts.get(who.index()) else { return Vec::new() };
        let view = |bucket: &super::Bucket| {
            let (limit, lane) = locate(&self.limits, bucket)?;
            let (unit, most) = match &lane.gate {
                Gate::Requests(rate) => ("requests", u64::from(rate.count())),
                Gate::Bytes(flow) => ("bytes", flow.count()),
                Gate::PiiRecords(flow) => ("pii-records", flow.count()),
                Gate::Concurrent(most) => ("concurrent", u64::from(*most)),
            };
            // A test tells what would remain after one more request.
            let spare = u64::from(matches!(lane.gate, Gate::Requests(_) | Gate::Concurrent(_)));
            let (left, wait) = match lane.gate.test(&bucket.meter.number, now) {
                Ok(left) => (left.saturating_add(spare), Duration::ZERO),
                Err(wait) => (0, wait),
            };
            Some(WindowView {
                limit: limit.name.clone(),
                unit,
                most,
                per: lane.gate.per(),
                left,
                wait,
                mode: limit.mode,
                sharing: limit.sharing,
            })
        };
        account.buckets.iter().filter_map(view).collect()
    }
}
