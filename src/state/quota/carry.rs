//! From one configuration to the next: what was spent stays spent.
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::limit::{Gate, Lane, Limit};
use super::{Account, Among, Bucket, Meter, Quotas, locate};
use crate::base::{Moment, Name};
use crate::policy::Sharing;

impl Quotas {
    /// Takes over what was spent under the configuration before this one, by the names of identity
    /// and limit and by the window's period. Nothing changes for the old configuration, should this
    /// one never come into force. A window whose period is new starts as empty as the emptiest of
    /// its limit. No window starts emptier than empty, so a limit that was raised is felt at once.
    pub fn carry_over(&mut self, old: &Self, now: Moment) {
        self.shared_turn = Arc::clone(&old.shared_turn);
        let turn = Arc::clone(&self.shared_turn);
        let shared = turn.lock();
        let places: HashMap<&Name, usize> =
            (0..).zip(&old.limits).map(|(at, l)| (&l.name, at)).collect();
        for (limit, meters) in self.limits.iter().zip(&mut self.shared) {
            let Some(at) = places.get(&limit.name).copied() else { continue };
            if limit.sharing == Sharing::Each {
                continue;
            }
            for (lane, meter) in limit.lanes.iter().zip(meters) {
                *meter = inherited(old.spent_on(at), limit, lane, self.among, now);
            }
        }
        // Whoever spends from a shared limit need not wait for ten thousand accounts.
        drop(shared);
        let before: HashMap<&Name, &Account> = old.accounts.iter().map(|a| (&a.name, a)).collect();
        for account in &mut self.accounts {
            let previous = before.get(&account.name);
            if let Some(previous) = previous {
                account.turn = Arc::clone(&previous.turn);
            }
            let _turn = previous.map(|previous| previous.turn.lock());
            for bucket in &mut account.buckets {
                let Some((limit, lane)) = locate(&self.limits, bucket) else { continue };
                match (limit.sharing, previous) {
                    (Sharing::All, _) => {
                        let shared = self.shared.get(bucket.limit.index());
                        let meter = shared.and_then(|all| all.get(usize::from(bucket.window)));
                        if let Some(meter) = meter {
                            bucket.meter = Arc::clone(meter);
                        }
                    }
                    (Sharing::Each, Some(previous)) => {
                        let spent = previous.buckets.iter().filter_map(|bucket| old.of(bucket));
                        bucket.meter = inherited(spent, limit, lane, self.among, now);
                    }
                    (Sharing::Each, None) => {}
                }
            }
        }
        // Whatever the configuration before has not saved yet.
        self.mark_spent(now);
    }

    /// Everything spent on one limit, by whomever.
    fn spent_on(&self, limit: usize) -> Vec<(&Limit, &Lane, &Arc<Meter>)> {
        let of_limit = |bucket: &&Bucket| bucket.limit.index() == limit;
        match (self.limits.get(limit), self.shared.get(limit)) {
            (Some(of), Some(meters)) if of.sharing == Sharing::All => {
                of.lanes.iter().zip(meters).map(|(lane, meter)| (of, lane, meter)).collect()
            }
            _ => {
                let buckets = self.accounts.iter().flat_map(|account| &account.buckets);
                buckets.filter(of_limit).filter_map(|bucket| self.of(bucket)).collect()
            }
        }
    }

    fn of<'a>(&'a self, bucket: &'a Bucket) -> Option<(&'a Limit, &'a Lane, &'a Arc<Meter>)> {
        let (limit, lane) = locate(&self.limits, bucket)?;
        Some((limit, lane, &bucket.meter))
    }
}

/// What a lane of a new configuration starts with, given what was spent before. One that is as before
/// keeps even a debt; of one that is not, what has to be told of it stays.
fn inherited<'a>(
    spent: impl IntoIterator<Item = (&'a Limit, &'a Lane, &'a Arc<Meter>)>,
    limit: &Limit,
    lane: &Lane,
    among: Among,
    now: Moment,
) -> Arc<Meter> {
    let (mut latest, mut pool) = (0, None);
    for (was, was_lane, meter) in spent {
        if was.name != limit.name || !was_lane.gate.is_like(&lane.gate) {
            continue;
        }
        let value = meter.number.load(Ordering::Relaxed);
        let same = was_lane.gate.per() == lane.gate.per() && was.sharing == limit.sharing;
        let as_before = was_lane.gate.units() == lane.gate.units();
        if same && (as_before || value <= lane.gate.drained(now)) {
            return Arc::clone(meter);
        }
        if same {
            pool.clone_from(&meter.pool);
        }
        latest = latest.max(value);
    }
    // Open requests hold their places in the old count only.
    let latest = if let Gate::Concurrent(_) = lane.gate { 0 } else { latest };
    let number = latest.min(lane.gate.drained(now));
    match pool {
        Some(_) => Meter::with(number, pool),
        None => Meter::new(number, &lane.gate, among),
    }
}
