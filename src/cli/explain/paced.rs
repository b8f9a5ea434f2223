//! What Amazon's own quotas mean for a call, in words and as JSON.
use std::time::Duration;

use serde_json::{Value, json};

use super::words::span;
use super::{Allowed, Case};
use crate::base::OperationIx;
use crate::config::{Stage, UpstreamKind, UpstreamPacing};
use crate::policy::{Endpoint, catalogue};

impl Case<'_> {
    /// How an allowed call shares Amazon's quota; none where it goes elsewhere.
    fn paced(&self, operation: Option<OperationIx>, allowed: Allowed) -> Option<Paced<'_>> {
        let snapshot = self.snapshot;
        let (ix, at) = (operation?, allowed.upstream.index());
        let pacing = snapshot.pacing.upstreams.get(at)?.as_ref()?;
        let name = snapshot.names.operation(ix)?;
        let own = catalogue().iter().find(|own| own.name == *name)?;
        if own.endpoint() == Endpoint::Token {
            return None;
        }
        let sandbox = matches!(
            snapshot.upstreams.get(at)?.kind,
            UpstreamKind::SpApi { stage: Stage::Sandbox, .. }
        );
        let granted = pacing.plans.iter().any(|(granted, _)| *granted == ix);
        let plan = match (granted, sandbox, own.rate) {
            (true, ..) => "as `pacing.plans` says".to_owned(),
            (false, true, _) => "the sandbox's, for all operations together".to_owned(),
            (false, false, Some(rate)) => {
                format!("{}/s, {} at once, as published", rate.per_second, rate.burst)
            }
            (false, false, None) => "not published, taken for 0.5/s, one at once".to_owned(),
        };
        let weight = snapshot.pacing.weights.get(self.who.index())?.get();
        Some(Paced { plan, pacing, weight })
    }

    /// A line about it.
    pub(super) fn paced_words(
        &self,
        operation: Option<OperationIx>,
        allowed: Allowed,
    ) -> Option<String> {
        let Paced { plan, pacing, weight } = self.paced(operation, allowed)?;
        let (wait, most) = (short(pacing.wait), short(pacing.max_wait));
        Some(format!(
            "Amazon's quota: {plan}, or what Amazon says since; a call waits {wait} for its turn, {most} if \
             it asks by Sekisho-Max-Wait; weight {weight}"
        ))
    }

    pub(super) fn paced_json(&self, operation: Option<OperationIx>, allowed: Allowed) -> Value {
        self.paced(operation, allowed).map_or(Value::Null, |Paced { plan, pacing, weight }| {
            json!({
                "plan": plan,
                "wait_seconds": pacing.wait.as_secs_f64(),
                "max_wait_seconds": pacing.max_wait.as_secs_f64(),
                "weight": weight,
            })
        })
    }
}

fn short(wait: Duration) -> String {
    if wait.subsec_millis() == 0 { span(wait) } else { format!("{} ms", wait.as_millis()) }
}

struct Paced<'s> {
    plan: String,
    pacing: &'s UpstreamPacing,
    weight: u16,
}
