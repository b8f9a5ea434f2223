//! Quotas of Amazon's that several gateways take from (MON-2). Fast ones are divided; of slow ones
//! each call, after its turn here and before it leaves, needs a unit of the bucket that all of them
//! share in the store: `store::bucket` counts it as late as Amazon can. A gateway alone never comes
//! here.
//!
//! 1. A unit goes back if its call is not sent, whoever went away meanwhile.
//! 2. While the store can't be had everything is divided, and begins with nothing; what was sent then
//!    is owed, over restarts too, and told afterwards.
use std::sync::Arc;
use std::time::Duration;

use super::{Admission, Pacing};
use crate::base::Clock;
use crate::engine::Engine;
use crate::evidence::Fixed;
use crate::pacing::{Among, Answer, BucketKey, Dealer, Dealt, Limits, Tempo, Told};
use crate::state;
use crate::store::{Ask, Condition, KeyId, LeaseKey, Metered, Peers, Rate, Store};

/// A call leaves so long after it asked for its turn: the store's answer, and a connection to Amazon. One
/// that leaves later counts twice.
pub(super) const LATE: Duration = Duration::from_secs(1);
/// It is not asked again sooner.
const DRY_MIN: Duration = Duration::from_millis(5);
/// After an ask that failed; the store's condition soon tells what holds instead.
const FAILED: Duration = Duration::from_millis(200);

/// A call of such a quota is counted so long after it was let through, at the latest.
pub(super) fn counted_within() -> Duration {
    Limits::default().counted_within.saturating_add(LATE)
}

/// A call that goes without a unit, because nobody deals any.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owed {
    pub(super) bucket: BucketKey,
    pub(super) tempo: Tempo,
}

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

    /// One call leaves without a unit: for the first time, or later than the shared bucket reckons with.
    pub(super) fn owe(&self, owed: Owed) {
        self.owe_calls(owed, 1);
    }

    fn owe_calls(&self, Owed { bucket, tempo }: Owed, calls: u32) {
        let now = self.clock.now();
        self.debts.lock().owe(bucket, (tempo, calls), counted_within(), now);
    }

    /// What became of it.
    pub(super) fn settle_owed(&self, owed: Owed, answer: Answer) {
        match answer {
            Answer::Unsent => self.debts.lock().take_back(owed.bucket),
            // Amazon says that nothing is left.
            Answer::Throttled { .. } => self.owe_calls(owed, owed.tempo.burst),
            Answer::Served { .. } | Answer::Overloaded { .. } | Answer::Lost => {}
        }
    }
}

impl Engine {
    /// Before a call that has its turn here leaves: whether other gateways leave it a unit. None: they
    /// did not, and it may ask for another turn, which will be later.
    pub async fn confirm(
        self: &Arc<Self>,
        bucket: BucketKey,
        mut admission: Admission,
    ) -> Option<Admission> {
        let tempo = match self.pacing.dealt(bucket) {
            Dealt::Not => return Some(admission),
            Dealt::Owed(tempo) => {
                let owed = Owed { bucket, tempo };
                self.pacing.owe(owed);
                admission.owed = Some(owed);
                return Some(admission);
            }
            Dealt::Unit(tempo) => tempo,
        };
        let ask = self.unit_of(bucket, tempo)?;
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
        let telling = self.pacing.debts.lock().tell(bucket, self.clock.now());
        let debt = telling.map_or(0, |telling| telling.debt);
        let dealt = self.leases.store.lease(Ask { debt, wanted: 1, ..ask }, self.clock.now()).await;
        if let Some(telling) = telling {
            self.pacing.debts.lock().told(telling, Told::of(&dealt));
        }
        let (result, wait) = match dealt {
            Ok(lease) if lease.granted > 0 => {
                let store = Arc::clone(&self.leases.store);
                admission.unit = Some(Unit { store, clock: self.clock.clone(), ask });
                self.metrics.state.asked(Fixed::new("given"));
                return Some(admission);
            }
            Ok(lease) => ("dry", lease.wait.max(DRY_MIN)),
            Err(_told_by_condition) => ("failed", FAILED),
        };
        self.metrics.state.asked(Fixed::new(result));
        self.pacing.dry(admission, bucket, wait);
        None
    }

    fn unit_of(&self, bucket: BucketKey, tempo: Tempo) -> Option<Ask> {
        let BucketKey { seller, application, operation } = bucket;
        let name = [seller, application, operation].map(u64::to_be_bytes).concat();
        let id = KeyId::of(&self.leases.secret, "amazon quota", &name);
        Some(Ask {
            key: LeaseKey { of: Metered::Upstream, id, window: 0 },
            // No rate fails that the pacer has.
            rate: Rate::new(Duration::from_nanos(tempo.interval_ns), tempo.burst).ok()?,
            wanted: 0,
            debt: 0,
            returned: 0,
            late: counted_within(),
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
            self.tell_owed();
        }
    }

    /// Tells what was sent while nobody could be asked, by this process or the one before.
    fn tell_owed(self: &Arc<Self>) {
        let owing = self.pacing.debts.lock().owing();
        if owing.is_empty() {
            return;
        }
        let engine = Arc::clone(self);
        tokio::spawn(async move {
            for bucket in owing {
                let now = engine.clock.now();
                let Some(telling) = engine.pacing.debts.lock().tell(bucket, now) else { continue };
                let told = match engine.unit_of(bucket, telling.tempo) {
                    Some(ask) => {
                        let ask = Ask { debt: telling.debt, ..ask };
                        Told::of(&engine.leases.store.lease(ask, now).await)
                    }
                    None => Told::No,
                };
                engine.pacing.debts.lock().told(telling, told);
            }
        });
    }
}
