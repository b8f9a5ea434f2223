//! Why a call was refused that a quota let through before: where identities stand in their limits, over
//! all gateways, for people. Looking spends nothing.
use std::collections::HashMap;
use std::time::Duration;

use super::view::{Page, identity_called, page};
use super::{Engine, Live};
use crate::base::{IdentityIx, Name};
use crate::state::{Want, WindowView};
use crate::store::Condition;

/// Where one identity stands in all its limits.
#[derive(Clone, Debug)]
pub struct LimitsView {
    pub identity: Name,
    pub limits: Vec<LimitView>,
}

/// Where it stands in one window of one of them.
#[derive(Clone, Debug)]
pub struct LimitView {
    pub window: WindowView,
    /// The operations that the limit covers.
    pub operations: Vec<Name>,
    /// The upstreams that it is kept to; none where it covers them all.
    pub upstreams: Vec<Name>,
}

/// What the store said of quotas, so that it is asked once for one that many spend from; none once it
/// did not answer.
type Heard = Option<HashMap<String, Duration>>;

impl Engine {
    /// Where each identity stands in its limits.
    pub async fn view_limits(&self, from: usize, most: usize) -> Page<LimitsView> {
        let live = self.live();
        let page = page(&live, from, most, |ix, name| Some((ix, name.clone())));
        let mut heard = Some(HashMap::new());
        let mut items = Vec::with_capacity(page.items.len());
        for (ix, identity) in page.items {
            let limits = self.look_at_limits(&live, ix, &mut heard).await;
            items.push(LimitsView { identity, limits });
        }
        Page { items, next: page.next, total: page.total }
    }

    /// The same for the identity of that name.
    pub async fn view_limits_of(&self, name: &str) -> Option<LimitsView> {
        let live = self.live();
        let ix = identity_called(&live, name)?;
        let identity = live.snapshot.names.identity(ix)?.clone();
        let limits = self.look_at_limits(&live, ix, &mut Some(HashMap::new())).await;
        Some(LimitsView { identity, limits })
    }

    /// How many operations there are, for who wants to know whether a limit covers them all.
    #[must_use]
    pub fn count_operations(&self) -> usize {
        self.live().snapshot.policy.operations().len()
    }

    async fn look_at_limits(
        &self,
        live: &Live,
        who: IdentityIx,
        heard: &mut Heard,
    ) -> Vec<LimitView> {
        let condition = *self.leases.store.condition().borrow();
        let mut windows = live.quotas.view(who, self.clock.now());
        if let Condition::Faulty(fault) = condition {
            // As its next request would: from now on it spends its own part.
            for want in windows.iter().filter_map(|(_, want)| want.as_ref()) {
                self.go_apart(want, fault, self.clock.now()).await;
            }
            windows = live.quotas.view(who, self.clock.now());
        }
        let mut limits = Vec::with_capacity(windows.len());
        for (mut window, want) in windows {
            if let Some(want) = want
                && let Some(full_in) = self.full_in(&want, heard).await
            {
                window.hear(&want, full_in, self.clock.now());
            }
            let (names, quotas) = (&live.snapshot.names, &live.quotas);
            let operations = quotas.operations_of(window.at);
            let upstreams = quotas.upstreams_of(window.at);
            limits.push(LimitView {
                operations: operations.filter_map(|ix| names.operation(ix).cloned()).collect(),
                upstreams: upstreams.filter_map(|ix| names.upstream(ix).cloned()).collect(),
                window,
            });
        }
        limits
    }

    /// When the store says that the quota will be full again.
    async fn full_in(&self, want: &Want, heard: &mut Heard) -> Option<Duration> {
        let known = heard.as_mut()?;
        let label = want.label();
        if let Some(full_in) = known.get(&label) {
            return Some(*full_in);
        }
        let ask = self.ask_of(want, (0, 0, 0))?;
        let Ok(lease) = self.leases.store.lease(ask, self.clock.now()).await else {
            *heard = None;
            return None;
        };
        known.insert(label, lease.full_in);
        Some(lease.full_in)
    }
}
