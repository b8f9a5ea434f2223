//! Quotas of Amazon's that several gateways take from (MON-2). Fast ones are divided; of slow ones
//! each call, after its turn here and before it leaves, needs a unit of the bucket that all of them
//! share in the store: `store::bucket` counts it as late as Amazon can. A gateway alone never comes
//! here.
//!
//! 1. A unit goes back if its call is not sent, whoever went away meanwhile.
//! 2. While the store can't be had everything is divided, and begins with nothing; what was sent then
//!    is told afterwards.
use std::sync::Arc;
use std::time::Duration;

use super::{Admission, Pacing};
use crate::base::{Clock, Moment};
use crate::engine::Engine;
use crate::evidence::Fixed;
use crate::pacing::{Among, Answer, BucketKey, Dealer, Dealt, Limits};
use crate::state;
use crate::store::{Ask, Condition, KeyId, LeaseKey, Metered, Peers, Rate, Store};

/// A call leaves so long after it asked for its turn: the store's answer, and a connection to Amazon. One
/// that leaves later counts twice.
pub(super) const LATE: Duration = Duration::from_secs(1);
/// It is not asked again sooner.
const DRY_MIN: Duration = Duration::from_millis(5);
/// After an ask that failed; the store's condition soon tells what holds instead.
const FAILED: Duration = Duration::from_millis(200);

/// A unit that a call was given.
pub(super) struct Unit {
    store: Arc<dyn Store>,
    clock: Clock,
    ask: Ask,
}

impl std::fmt::Debug for Unit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Unit")
    }
}

impl Unit {
    /// The call leaves later than the bucket reckons with: it is charged once more.
    pub(super) fn departs_late(&self) {
        self.tell(Ask { debt: 1, ..self.ask });
    }

    /// What became of the call.
    pub(super) fn settle(self, answer: Answer) {
        match answer {
            Answer::Unsent => self.tell(Ask { returned: 1, ..self.ask }),
            // Amazon says that nothing is left.
            Answer::Throttled { .. } => self.tell(Ask { debt: self.ask.rate.burst(), ..self.ask }),
            Answer::Served { .. } | Answer::Overloaded { .. } | Answer::Lost => {}
        }
    }

    fn tell(&self, ask: Ask) {
        // A call that ends when the runtime does has nobody to tell.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (store, clock) = (Arc::clone(&self.store), self.clock.clone());
        runtime.spawn(async move {
            // Whether one that failed had come through is not known; then it is lost.
            let _less = store.lease(Ask { wanted: 0, ..ask }, clock.now()).await;
        });
    }
}

impl Pacing {
    /// Tells who else takes from Amazon's quotas.
    pub(in crate::engine) fn share(&self, among: Among) {
        self.state.lock().pacer.share(among, self.clock.now());
        self.bell.notify_one();
    }

    fn dealt(&self, bucket: BucketKey) -> Dealt {
        self.state.lock().pacer.dealt(bucket)
    }

    /// Others were quicker: the call does not go, and its quota is empty for so long.
    fn dry(&self, mut admission: Admission, bucket: BucketKey, wait: Duration) {
        let now = self.clock.now();
        let mut state = self.state.lock();
        if let Some(pass) = admission.pass.take() {
            state.pacer.settle(pass, Answer::Unsent, now);
        }
        state.pacer.emptied(bucket, wait, now);
        drop(state);
        self.bell.notify_one();
    }

    pub(super) fn owe(&self, bucket: BucketKey, calls: u32) {
        if calls > 0 {
            let mut owed = self.owed.lock();
            let own = owed.entry(bucket).or_default();
            *own = own.saturating_add(calls);
        }
    }

    fn take_owed(&self, bucket: BucketKey) -> u32 {
        self.owed.lock().remove(&bucket).unwrap_or(0)
    }

    pub(super) fn owing(&self) -> Vec<BucketKey> {
        self.owed.lock().keys().copied().collect()
    }

    /// Takes out what is owed of a bucket, with its rate; if nobody can be told just now, it stays.
    pub(super) fn take_told(&self, bucket: BucketKey) -> Option<(u32, (u64, u32))> {
        let Dealt::Unit { interval_ns, burst } = self.dealt(bucket) else { return None };
        Some((self.take_owed(bucket), (interval_ns, burst)))
    }
}

impl Engine {
    /// Before a call that has its turn here leaves: whether other gateways leave it a unit. None: they
    /// did not, and it may ask for another turn, which will be later.
    pub async fn confirm(
        self: &Arc<Self>,
        bucket: BucketKey,
        admission: Admission,
    ) -> Option<Admission> {
        let (rate, dealt) = match self.pacing.dealt(bucket) {
            Dealt::Not => return Some(admission),
            Dealt::Owed { .. } => {
                self.pacing.owe(bucket, 1);
                return Some(admission);
            }
            Dealt::Unit { interval_ns, burst } => (interval_ns, burst),
        };
        let ask = self.unit_of(bucket, (rate, dealt))?;
        let engine = Arc::clone(self);
        // In a task of its own, so that whoever goes away meanwhile leaves no unit behind.
        let dealing = tokio::spawn(async move { engine.deal(bucket, ask, admission).await });
        dealing.await.ok().flatten()
    }

    async fn deal(
        self: Arc<Self>,
        bucket: BucketKey,
        ask: Ask,
        mut admission: Admission,
    ) -> Option<Admission> {
        let debt = self.pacing.take_owed(bucket);
        let dealt = self.leases.store.lease(Ask { debt, wanted: 1, ..ask }, self.clock.now()).await;
        let (result, wait) = match dealt {
            Ok(lease) if lease.granted > 0 => {
                let store = Arc::clone(&self.leases.store);
                admission.unit = Some(Unit { store, clock: self.clock.clone(), ask });
                self.metrics.state.asked(Fixed::new("given"));
                return Some(admission);
            }
            Ok(lease) => ("dry", lease.wait.max(DRY_MIN)),
            Err(_told_by_condition) => {
                self.pacing.owe(bucket, debt);
                ("failed", FAILED)
            }
        };
        self.metrics.state.asked(Fixed::new(result));
        self.pacing.dry(admission, bucket, wait);
        None
    }

    fn unit_of(&self, bucket: BucketKey, (interval_ns, burst): (u64, u32)) -> Option<Ask> {
        let BucketKey { seller, application, operation } = bucket;
        let name = [seller, application, operation].map(u64::to_be_bytes).concat();
        let id = KeyId::of(&self.leases.secret, "amazon quota", &name);
        Some(Ask {
            key: LeaseKey { of: Metered::Upstream, id, window: 0 },
            // No rate fails that the pacer has.
            rate: Rate::new(Duration::from_nanos(interval_ns), burst).ok()?,
            wanted: 0,
            debt: 0,
            returned: 0,
            late: Limits::default().counted_within.saturating_add(LATE),
        })
    }

    /// Who shares the store now, and whether it can be had.
    pub(in crate::engine) fn share_amazon(self: &Arc<Self>, is: Condition, peers: Peers) {
        if self.live().quotas.among() == state::Among::One || peers.count == 0 {
            return;
        }
        let dealer = match is {
            Condition::Sound => Dealer::There,
            Condition::Faulty(_) => Dealer::Gone,
        };
        let Peers { count, place } = peers;
        self.pacing.share(Among::Several { place, count, dealer });
        if dealer == Dealer::There {
            self.tell_owed(self.clock.now());
        }
    }

    /// Tells what was sent while nobody could be asked.
    fn tell_owed(self: &Arc<Self>, now: Moment) {
        let owing = self.pacing.owing();
        if owing.is_empty() {
            return;
        }
        let engine = Arc::clone(self);
        tokio::spawn(async move {
            for bucket in owing {
                let Some((debt @ 1.., rate)) = engine.pacing.take_told(bucket) else { continue };
                let Some(ask) = engine.unit_of(bucket, rate) else { continue };
                if engine.leases.store.lease(Ask { debt, ..ask }, now).await.is_err() {
                    engine.pacing.owe(bucket, debt);
                }
            }
        });
    }
}
