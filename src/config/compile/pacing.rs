//! `pacing` of upstreams, `weight` of roles and identities (MON-2, toward Amazon).
use std::collections::BTreeMap;

use super::Ctx;
use crate::base::{ControlId, OperationIx};
use crate::config::raw::value::TextValue;
use crate::config::raw::{At, KindName, RawPacing, RawPlan, RawUpstream};
use crate::config::read::Entry;
use crate::config::settings::{PacingSettings, UpstreamPacing};
use crate::pacing::{Plan, Rate, Weight};
use crate::policy::{OperationSet, Operations};

impl Ctx<'_> {
    pub(super) fn pacing(&mut self, operations: &Operations) -> PacingSettings {
        let entries = &self.document.upstream.entries;
        let upstreams = entries.iter().map(|entry| self.paced(entry, operations)).collect();
        PacingSettings { upstreams, weights: self.weights() }
    }

    fn paced(
        &mut self,
        entry: &Entry<RawUpstream>,
        operations: &Operations,
    ) -> Option<UpstreamPacing> {
        let default = RawPacing::default();
        let raw = match (super::upstream::kind(entry)?, &entry.raw.pacing) {
            (KindName::SpApi, Some(at)) => &at.value,
            (KindName::SpApi, None) => &default,
            (KindName::Https, Some(at)) => {
                let instead = "remove `pacing`, or write kind = \"sp-api\"";
                let found = "`pacing` is for kind = \"sp-api\" only";
                self.report.error(&entry.at(&at.span), ControlId::Mon2, found, instead);
                return None;
            }
            (KindName::Https, None) => return None,
        };
        let (wait, max_wait) = (raw.wait.0, raw.max_wait.0);
        if wait > max_wait {
            let at = if raw.wait.span.is_empty() { &raw.max_wait.span } else { &raw.wait.span };
            let found = format!("`wait` ({}) is longer than `max_wait`", raw.wait.to_text());
            let instead = "write a shorter `wait`, or a longer `max_wait`";
            self.report.error(&entry.at(at), ControlId::Mon2, found, instead);
        }
        let application = raw.application.as_ref().map(|name| name.0.clone());
        let plans = self.plans(entry, &raw.plans, operations);
        Some(UpstreamPacing { wait, max_wait, application, plans })
    }

    fn plans(
        &mut self,
        entry: &Entry<RawUpstream>,
        plans: &[At<RawPlan>],
        operations: &Operations,
    ) -> Vec<(OperationIx, Plan)> {
        let whole = self.operations_are_whole(operations);
        // A later one that names an operation again is the one that holds for it.
        let mut known: BTreeMap<OperationIx, Plan> = BTreeMap::new();
        for raw in plans {
            let mut set = OperationSet::empty(operations.len());
            for pattern in &raw.operations {
                match operations.select(&pattern.0) {
                    Ok(selected) => set.insert_all(&selected),
                    Err(error) => self.pattern_error(&entry.at(&pattern.span), &error, whole),
                }
            }
            let per_second = f64::from(raw.rate.count) / raw.rate.per.as_secs_f64();
            let plan = Rate::per_second(per_second).and_then(|rate| Plan::new(rate, raw.burst));
            let Ok(plan) = plan else {
                let instead = "write at most 10000/s, at least 1/day, and a burst of 1 to 10000";
                let found = "Amazon has no such plan";
                self.report.error(&entry.at(&raw.rate.span), ControlId::Mon2, found, instead);
                continue;
            };
            let named = operations.iter().map(|(ix, _)| ix).filter(|ix| set.contains(*ix));
            known.extend(named.map(|ix| (ix, plan)));
        }
        known.into_iter().collect()
    }

    /// An identity's own, or the greatest of its roles'.
    fn weights(&self) -> Vec<Weight> {
        let roles = &self.document.role;
        let of_role = |name: &str| {
            let entry = roles.place(name).and_then(|at| roles.entries.get(at));
            entry.and_then(|entry| entry.raw.weight)
        };
        let identities = self.document.identity.entries.iter();
        identities
            .map(|entry| {
                let raw = &entry.raw;
                let greatest =
                    || raw.roles.iter().filter_map(|role| of_role(role.0.as_str())).max();
                let weight = raw.weight.or_else(greatest).unwrap_or(1);
                Weight::new(u16::from(weight)).unwrap_or(Weight::ONE)
            })
            .collect()
    }
}
