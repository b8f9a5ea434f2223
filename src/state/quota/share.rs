//! What a gateway among several has to ask the others for, and to tell them.
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::limit::{Lane, Limit};
use super::pool::{Given, Pool, Supply};
use super::units::{Counts, Units};
use super::{Account, Bucket, Meter, Quotas, locate};
use crate::base::{IdentityIx, Marks, Moment, Name, OperationIx, UpstreamIx};
use crate::policy::{Mode, Sharing};

/// How many gateways spend from the quotas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Among {
    /// This one alone: what is spent here is all that is spent.
    One,
    /// Perhaps others too: each spends what it was given.
    Several,
}

/// One quota of which units are needed, or something is to be told.
#[derive(Clone, Debug)]
pub struct Want {
    pub limit: Name,
    /// Whose; `None` where all identities under the limit spend together.
    pub account: Option<Name>,
    pub period: Duration,
    pub units: Units,
    pub mode: Mode,
    meter: Arc<Meter>,
    changed: Arc<Marks>,
    /// Whose mark to set there.
    place: usize,
}

/// A request that waits for a unit, until this is dropped. All that wait are asked for together: one
/// unit for each asking would go to whoever is quickest, and others would ask in vain.
#[derive(Debug)]
pub struct Waiting(Arc<Meter>);

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(pool) = &self.0.pool {
            pool.waiting.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl Want {
    pub(super) fn pool(&self) -> Option<&Pool> {
        self.meter.pool.as_deref()
    }

    /// Waits until nobody else asks for it.
    pub async fn turn(&self) -> Option<tokio::sync::MutexGuard<'_, ()>> {
        match self.pool() {
            Some(pool) => Some(pool.turn.lock().await),
            None => None,
        }
    }

    /// Whether nobody else is about to ask; whoever is told so is.
    #[must_use]
    pub fn begin_soon(&self) -> bool {
        self.pool().is_some_and(|pool| !pool.soon.swap(true, Ordering::AcqRel))
    }

    /// What is spent from now on needs another asking.
    pub fn end_soon(&self) {
        if let Some(pool) = self.pool() {
            pool.soon.store(false, Ordering::Release);
        }
    }

    /// Whether it is known only afterwards how much was spent.
    #[must_use]
    pub fn is_of_amounts(&self) -> bool {
        self.units.counts == Counts::Amounts
    }

    /// Whether it may be asked for before a request needs it. A unit that nobody needs soon is one that
    /// the other gateways have to refuse somebody for.
    #[must_use]
    pub fn comes_ahead(&self, now: Moment) -> bool {
        self.is_of_amounts() || self.pool().is_some_and(|pool| pool.comes_ahead(&self.units, now))
    }

    /// Still, or is it settled meanwhile?
    #[must_use]
    pub fn is_still(&self, now: Moment) -> bool {
        self.pool().is_some_and(|pool| pool.is_wanting(&self.units, now))
    }

    /// Units that are owed, and units to ask for. A limit on trial that is slow only tells: a unit that
    /// it held would be missing on the other gateways, which then would say that they had refused.
    #[must_use]
    pub fn ask(&self) -> (u32, u32) {
        let (told, wanted) = self.pool().map_or((0, 0), |pool| pool.ask(&self.units));
        let only_tells = self.mode == Mode::Shadow && self.units.kept_for().is_some();
        (told, if only_tells { 0 } else { wanted })
    }

    /// For how long there is none, of a quota that is full again then.
    #[must_use]
    pub fn none_for(&self, full_in: Duration) -> Duration {
        match self.units.left(full_in) {
            (0, wait) => wait,
            _ => Duration::ZERO,
        }
    }

    /// The units owed were charged, and what was given may be spent here.
    pub fn answered(&self, told: u32, given: Given, now: Moment) {
        if let Some(pool) = self.pool() {
            pool.answered(told, given, &self.units, now);
            if told > 0 {
                // It is owed no more.
                self.changed.mark(self.place);
            }
        }
    }

    /// Whether there is something to give back, now or later, and nobody looks after it yet; whoever is
    /// told so does.
    #[must_use]
    pub fn begin_return(&self, now: Moment) -> bool {
        self.pool().is_some_and(|pool| pool.begin_return(&self.units, now))
    }

    /// Takes out what was given and is not needed here now, to be given back; and in how long to look
    /// again, if whoever looks after it still has to.
    #[must_use]
    pub fn take_unspent(&self, now: Moment) -> (u32, Option<Duration>) {
        self.pool().map_or((0, None), |pool| pool.take_unspent(&self.units, now))
    }

    /// Nobody can be asked; units come from there meanwhile.
    pub fn supply(&self, supply: Supply, now: Moment) {
        if let Some(pool) = self.pool() {
            pool.supply(supply, now);
        }
    }

    /// There was no room to ask now.
    pub fn put_off(&self, now: Moment) {
        if let Some(pool) = self.pool() {
            pool.put_off(now);
        }
    }

    /// Whose it is, as text that tells all quotas apart.
    #[must_use]
    pub fn label(&self) -> String {
        let account = self.account.as_ref().map_or("", Name::as_str);
        format!("{} {account} {}", self.limit, self.period.as_secs())
    }
}

impl Quotas {
    /// What is to be asked or told before or after such a request.
    #[must_use]
    pub fn wants(
        &self,
        who: IdentityIx,
        operation: OperationIx,
        upstream: UpstreamIx,
        now: Moment,
    ) -> Vec<Want> {
        self.asking(who, operation, upstream, |pool, units| pool.is_wanting(units, now))
    }

    /// The quotas of such a request that nobody looks after yet, though there is something to give back;
    /// whoever is told so does.
    #[must_use]
    pub fn returning(
        &self,
        who: IdentityIx,
        operation: OperationIx,
        upstream: UpstreamIx,
        now: Moment,
    ) -> Vec<Want> {
        self.asking(who, operation, upstream, |pool, units| pool.begin_return(units, now))
    }

    /// A request waits for a unit of each of its limits, until what is returned here is dropped.
    #[must_use]
    pub fn begin_waiting(
        &self,
        who: IdentityIx,
        operation: OperationIx,
        upstream: UpstreamIx,
    ) -> Vec<Waiting> {
        let Some(account) = self.accounts.get(who.index()) else { return Vec::new() };
        self.applying(account, operation, upstream)
            .filter(|(_, limit, _)| limit.mode == Mode::Enforced)
            .filter_map(|(bucket, ..)| {
                bucket.meter.pool.as_ref()?.waiting.fetch_add(1, Ordering::AcqRel);
                Some(Waiting(Arc::clone(&bucket.meter)))
            })
            .collect()
    }

    /// For how long nobody is asked for units of such a request, since there was no room to ask.
    #[must_use]
    pub fn put_off_for(
        &self,
        who: IdentityIx,
        operation: OperationIx,
        upstream: UpstreamIx,
        now: Moment,
    ) -> Option<Duration> {
        let account = self.accounts.get(who.index())?;
        self.applying(account, operation, upstream)
            .filter(|(_, limit, _)| limit.mode == Mode::Enforced)
            .filter_map(|(bucket, ..)| bucket.meter.pool.as_ref()?.put_off_for(now))
            .max()
    }

    fn asking(
        &self,
        who: IdentityIx,
        operation: OperationIx,
        upstream: UpstreamIx,
        which: impl Fn(&Pool, &Units) -> bool,
    ) -> Vec<Want> {
        let Some(account) = self.accounts.get(who.index()) else { return Vec::new() };
        self.applying(account, operation, upstream)
            .filter_map(|(bucket, limit, lane)| {
                let (pool, units) = bucket.meter.pool.as_deref().zip(lane.gate.units())?;
                which(pool, &units)
                    .then(|| self.want_of((who, account), bucket, (limit, lane), units))
            })
            .collect()
    }

    /// Every quota whose units do not come by asking, or of which something was spent and not told; each
    /// of them once.
    #[must_use]
    pub fn apart(&self) -> Vec<Want> {
        let mut apart = Vec::new();
        let mut look = |account, place, (limit, lane): (&Limit, &Lane), meter: &Arc<Meter>| {
            if let Some((pool, units)) = meter.pool.as_deref().zip(lane.gate.units())
                && pool.is_apart(&units)
            {
                apart.push(self.want(account, place, (limit, lane), (meter, units)));
            }
        };
        for (place, account) in self.accounts.iter().enumerate() {
            for bucket in &account.buckets {
                if let Some((limit, lane)) = locate(&self.limits, bucket)
                    && limit.sharing == Sharing::Each
                {
                    look(Some(&account.name), place, (limit, lane), &bucket.meter);
                }
            }
        }
        let places = self.accounts.len()..;
        for (place, (limit, meters)) in places.zip(self.limits.iter().zip(&self.shared)) {
            if limit.sharing == Sharing::All {
                for (lane, meter) in limit.lanes.iter().zip(meters) {
                    look(None, place, (limit, lane), meter);
                }
            }
        }
        apart
    }

    /// Of one window that an identity spends from.
    pub(super) fn want_of(
        &self,
        (who, account): (IdentityIx, &Account),
        bucket: &Bucket,
        (limit, lane): (&Limit, &Lane),
        units: Units,
    ) -> Want {
        let (account, place) = match limit.sharing {
            Sharing::Each => (Some(&account.name), who.index()),
            Sharing::All => (None, self.accounts.len() + bucket.limit.index()),
        };
        self.want(account, place, (limit, lane), (&bucket.meter, units))
    }

    fn want(
        &self,
        account: Option<&Name>,
        place: usize,
        (limit, lane): (&Limit, &Lane),
        (meter, units): (&Arc<Meter>, Units),
    ) -> Want {
        Want {
            limit: limit.name.clone(),
            account: account.cloned(),
            period: lane.gate.per(),
            units,
            mode: limit.mode,
            meter: Arc::clone(meter),
            changed: Arc::clone(&self.changed),
            place,
        }
    }

    #[must_use]
    pub const fn among(&self) -> Among {
        self.among
    }
}
