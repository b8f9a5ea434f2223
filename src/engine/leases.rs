//! Quotas that several gateways share (MON-2): units are asked for before they are spent, so the sum
//! over all gateways is the limit. A gateway alone never comes here.
//!
//! Asked for ahead of need, in batches that follow the traffic; a request waits for the answer only
//! where this gateway has none of its quota, which is the first after a pause, and where the quota is
//! slower than one unit a minute, of which as many are asked for as requests wait; what they do not
//! need after all goes back.
//! What is counted afterwards (bytes, records) is told within [`TELL_AFTER`].
//! While nobody can be asked, this gateway's part of the rate is what it spends, and what it spent is
//! told when it can be again, by the process that there is then: `store::allowance` decides.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinSet;

use super::{Caller, Clearance, Engine, Live, Unsettled};
use crate::base::{Denial, IdentityIx, Moment, OperationIx, UpstreamIx};
use crate::evidence::Fixed;
use crate::policy::{Mode, Permit};
use crate::state::{Among, Charged, Given, Spent, Standing, Supply, Want};
use crate::store::{
    Allowance, Ask, Condition, KeyId, LeaseKey, Metered, Rate, SharedSecret, Sight, Store,
    StoreFault, allowance,
};

/// Amounts that become known in such a time are told together.
const TELL_AFTER: Duration = Duration::from_millis(50);
/// How often a request asks again when others were quicker to spend what it asked for. Of twenty gateways
/// each is given a twentieth of what is left at a time.
const TRIES: u32 = 128;
/// The longest that a request goes on asking.
const ASKING_MAX: Duration = Duration::from_secs(5);
/// Debts that are told at a time, after the store could not be had.
const TOLD_AT_ONCE: usize = 64;

/// See the module.
#[derive(Debug)]
pub(super) struct Leases {
    pub(super) store: Arc<dyn Store>,
    pub(super) secret: SharedSecret,
    /// Since when the store can't be had, for all quotas or for some; their parts were empty then.
    pub(super) faulty_since: Mutex<Option<Moment>>,
    /// The store may be owed what nobody is about to tell: by the process before this one, or for want
    /// of room.
    pub(super) untold: AtomicBool,
}

impl Leases {
    pub(super) fn new(store: Arc<dyn Store>, secret: SharedSecret) -> Self {
        let (faulty_since, untold) = (Mutex::new(None), AtomicBool::new(false));
        Self { store, secret, faulty_since, untold }
    }
}

impl Engine {
    /// As [`settle`](Self::settle), where other gateways may spend from the same quotas.
    ///
    /// # Errors
    /// The quota is used up, here or everywhere, or nobody could be asked, or the caller was locked
    /// meanwhile.
    pub async fn settle_among(
        self: &Arc<Self>,
        live: &Arc<Live>,
        (who, caller): (IdentityIx, &Caller),
        permit: Permit,
        now: Moment,
    ) -> Result<Clearance, Unsettled> {
        if live.quotas.among() == Among::One {
            return self.settle(live, who, permit, now);
        }
        let (operation, upstream) = (permit.operation(), permit.upstream());
        let (began, mut now, mut tries) = (now, now, 0);
        let (mut waiting, mut in_vain) = (None, false);
        loop {
            let unsettled = match self.settle(live, who, permit, now) {
                Ok(clearance) => {
                    drop(waiting);
                    if clearance.charged.low {
                        self.ask_soon(live.quotas.wants(who, operation, upstream, now));
                    }
                    return Ok(clearance);
                }
                Err(unsettled) => unsettled,
            };
            let late = tries >= TRIES || now.since(began) >= ASKING_MAX;
            if unsettled.denial != Denial::QuotaUnknown || late || in_vain {
                return Err(unsettled);
            }
            waiting.get_or_insert_with(|| live.quotas.begin_waiting(who, operation, upstream));
            let mut wants = live.quotas.wants(who, operation, upstream, now);
            // Nobody waits because of a limit on trial.
            wants.retain(|want| want.mode == Mode::Enforced);
            let put_off = live.quotas.put_off_for(who, operation, upstream, now);
            let asked = async {
                match put_off {
                    Some(rest) if wants.is_empty() => tokio::time::sleep(rest).await,
                    _ => self.ask_at_once(&wants).await,
                }
            };
            tokio::select! {
                biased;
                () = asked => {}
                denial = self.revoked(Arc::clone(live), caller.clone()) => {
                    return Err(Unsettled { denial, standing: None });
                }
            }
            // What somebody else has asked for meanwhile may be there at the second look.
            in_vain = wants.is_empty() && put_off.is_none();
            now = self.clock.now();
            tries += 1;
        }
    }

    /// Charges what a cleared request takes, a part at a time, here and, soon, everywhere.
    pub fn spend(
        self: &Arc<Self>,
        live: &Live,
        (who, operation, upstream): (IdentityIx, OperationIx, UpstreamIx),
        spent: Spent,
        now: Moment,
    ) {
        if live.quotas.spend(who, operation, upstream, spent, now) {
            self.ask_soon(live.quotas.wants(who, operation, upstream, now));
        }
    }

    /// Whether nothing further may pass of a call that is under way: where it stands in the limit.
    #[must_use]
    pub fn overdrawn(
        &self,
        live: &Live,
        (who, operation, upstream): (IdentityIx, OperationIx, UpstreamIx),
        now: Moment,
    ) -> Option<Standing> {
        live.quotas.overdrawn(who, operation, upstream, now)
    }

    /// Asks for all of them at a time: what the first ones give is not kept for long. Each in a task of
    /// its own, so that whoever goes away meanwhile leaves no unit behind.
    async fn ask_at_once(self: &Arc<Self>, wants: &[Want]) {
        let ask = |want: &Want| {
            let (engine, want) = (Arc::clone(self), want.clone());
            tokio::spawn(async move { engine.ask(&want).await })
        };
        let asking: Vec<_> = wants.iter().map(ask).collect();
        for asked in asking {
            let _or_not = asked.await;
        }
    }

    /// Asks in the background; one task for each quota at a time.
    fn ask_soon(self: &Arc<Self>, wants: Vec<Want>) {
        // A request that ends when the runtime does has nobody to tell.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let now = self.clock.now();
        for want in wants {
            if !want.comes_ahead(now) || !want.begin_soon() {
                continue;
            }
            let engine = Arc::clone(self);
            runtime.spawn(async move {
                if want.is_of_amounts() {
                    tokio::time::sleep(TELL_AFTER).await;
                }
                want.end_soon();
                engine.ask(&want).await;
            });
        }
    }

    /// Takes back the charge of a request that was refused after all.
    pub fn give_back(
        self: &Arc<Self>,
        live: &Live,
        (who, operation, upstream): (IdentityIx, OperationIx, UpstreamIx),
        charged: &Charged,
    ) {
        live.quotas.give_back(who, operation, upstream, charged, self.clock.now());
        if live.quotas.among() == Among::Several {
            // A request that ends when the runtime does has nobody to give it back.
            let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
            for want in live.quotas.returning(who, operation, upstream, self.clock.now()) {
                runtime.spawn(Arc::clone(self).look_after(want));
            }
        }
    }

    /// Units that nobody spends go back, to whoever needs them; so does what refused requests were charged.
    async fn look_after(self: Arc<Self>, want: Want) {
        let mut rest = Some(want.units.kept_for().unwrap_or(TELL_AFTER));
        while let Some(time) = rest {
            tokio::time::sleep(time).await;
            let _one_at_a_time = want.turn().await;
            let now = self.clock.now();
            let (returned, next) = want.take_unspent(now);
            if let (1.., Some(ask)) = (returned, self.ask_of(&want, (0, 0, returned))) {
                // Whether a call that failed had come through is not known; then it is lost.
                let _less = self.leases.store.lease(ask, now).await;
            }
            rest = next;
        }
    }

    pub(super) fn ask_of(
        &self,
        want: &Want,
        (told, wanted, returned): (u32, u32, u32),
    ) -> Option<Ask> {
        // No rate fails that passed the configuration.
        let rate = Rate::new(want.units.interval, want.units.burst).ok()?;
        let id = KeyId::of(&self.leases.secret, "quota", want.label().as_bytes());
        let key = LeaseKey { of: Metered::Identity, id, window: 0 };
        Some(Ask { key, rate, wanted, debt: told, returned, late: Duration::ZERO })
    }

    /// Tells what is owed and asks for units, if that is still needed when its turn comes.
    async fn ask(self: &Arc<Self>, want: &Want) {
        let _one_at_a_time = want.turn().await;
        let now = self.clock.now();
        if want.is_still(now) {
            self.lease(want, want.ask(), now).await;
        }
    }

    /// Tells and asks, for whoever has the turn.
    async fn lease(self: &Arc<Self>, want: &Want, (told, wanted): (u32, u32), now: Moment) {
        let condition = *self.leases.store.condition().borrow();
        if let Condition::Faulty(fault) = condition {
            return self.go_apart(want, fault, now).await;
        }
        let Some(ask) = self.ask_of(want, (told, wanted, 0)) else {
            return want.supply(Supply::Nothing, now);
        };
        let result = match self.leases.store.lease(ask, now).await {
            Ok(lease) => {
                let dry_for = if wanted == 0 { want.none_for(lease.full_in) } else { lease.wait };
                let given = Given { units: lease.granted, wait: dry_for, full_in: lease.full_in };
                want.answered(told, given, self.clock.now());
                if want.begin_return(self.clock.now()) {
                    tokio::spawn(Arc::clone(self).look_after(want.clone()));
                }
                if lease.granted > 0 { "given" } else { "dry" }
            }
            Err(fault) if fault.is_of_store() => {
                self.go_apart(want, fault, now).await;
                "failed"
            }
            // Of the call, not of the store: what is in hand is spent, and who comes later asks again.
            Err(_busy) => {
                want.put_off(self.clock.now());
                self.leases.untold.store(true, Ordering::Release);
                "failed"
            }
        };
        self.metrics.state.asked(Fixed::new(result));
    }

    /// What may be spent of a quota while nobody can be asked.
    pub(super) async fn go_apart(&self, want: &Want, fault: StoreFault, now: Moment) {
        let peers = self.leases.store.peers().await.unwrap_or_default();
        // Held to the end: whoever brings quotas together finds this one, or that there is one.
        let mut faulty_since = self.leases.faulty_since.lock();
        let since = *faulty_since.get_or_insert(now);
        let sight = Sight {
            of: Metered::Identity,
            condition: Condition::Faulty(fault),
            since: now.since(since),
            peers,
            owned: Duration::ZERO,
        };
        let part = |rate: Rate| want.units.part(rate.interval(), rate.burst());
        let supply = match Rate::new(want.units.interval, want.units.burst) {
            Ok(rate) => match allowance(rate, &sight) {
                Allowance::Part(rate) => Supply::Part { units: part(rate), empty_at: since },
                Allowance::Store | Allowance::Whole | Allowance::Nothing(_) => Supply::Nothing,
            },
            Err(_) => Supply::Nothing,
        };
        want.supply(supply, now);
    }

    /// The store can be had again: it is told what was spent without it, and units come from it. What
    /// it does not answer for goes on as it was.
    pub(super) async fn come_together(self: &Arc<Self>) {
        *self.leases.faulty_since.lock() = None;
        let live = self.live();
        let mut telling = JoinSet::new();
        for want in live.quotas.apart() {
            if telling.len() >= TOLD_AT_ONCE {
                telling.join_next().await;
            }
            let engine = Arc::clone(self);
            telling.spawn(async move {
                let _one_at_a_time = want.turn().await;
                let (told, wanted) = want.ask();
                // Whoever needs a request's unit asks for it.
                let wanted = if want.is_of_amounts() { wanted } else { 0 };
                engine.lease(&want, (told, wanted), engine.clock.now()).await;
            });
        }
        while telling.join_next().await.is_some() {}
    }
}
