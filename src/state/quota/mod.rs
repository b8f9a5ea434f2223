//! Quotas: whose use of what, through how much.
//!
//! Every identity is registered, so every bucket exists from the start and none is ever evicted.
//! Over any time `x` a window of requests lets through at most `burst + x / interval`, where
//! `interval` is `per / count`.
mod amount;
mod carry;
mod error;
mod fill;
mod gcra;
mod header;
mod limit;
mod meter;
mod moved;
mod pool;
mod saved;
mod share;
mod units;
mod view;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;

use crate::base::{IdentityIx, LimitIx, Marks, Moment, Name, OperationIx, UpstreamIx};
use crate::policy::{LimitSpec, Mode, Sharing};
pub use error::{QuotaError, QuotaFault};
use limit::{Gate, Lane, Limit};
use meter::{End, Ends, Meter};
pub use moved::Mark;
use pool::Lack;
pub use pool::{Given, Supply};
pub use saved::{Places, SavedFault, Whose};
pub use share::{Among, Want};
pub use units::Units;
pub use view::{Source, WindowView};

/// When it is worth another try, if nobody could be asked what is left.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Where a caller stands in one window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    pub limit: LimitIx,
    /// Place of the window in its limit.
    pub window: u8,
    /// Requests, bytes or records that could follow at once.
    pub remaining: u64,
    /// If nothing remains, the time until one request is possible again. Otherwise the time in
    /// which `remaining` may be spent at the window's own rate: a caller that spreads what remains
    /// over it, as the draft of `RateLimit` asks (§8.5), is neither refused nor slower than it could be.
    pub reset: Duration,
}

impl Standing {
    /// [`Self::reset`] in whole seconds, rounded up: the value of `Retry-After` after a refusal
    /// (RFC 9110 §10.2.3).
    #[must_use]
    pub const fn reset_secs(&self) -> u64 {
        let part = if self.reset.subsec_nanos() == 0 { 0 } else { 1 };
        self.reset.as_secs().saturating_add(part)
    }
}

/// A request was charged in every window that applies to it.
#[derive(Debug)]
pub struct Charged {
    /// The window of requests with the least left; none where no such limit applies.
    pub tightest: Option<Standing>,
    /// The shadow limits that would have refused it; it was charged in none of them.
    pub shadowed: Vec<LimitIx>,
    /// Its places among concurrent requests; given back when this is dropped.
    pub held: Held,
    /// Of a quota that several gateways share little is left here: time to ask for more.
    pub low: bool,
    /// When it was made.
    at: Moment,
    ends: Ends,
}

/// Places among concurrent requests.
#[derive(Debug, Default)]
pub struct Held(Vec<Arc<Meter>>);

impl Drop for Held {
    fn drop(&mut self) {
        for open in &self.0 {
            open.number.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// What a request turned out to take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Bytes of both bodies.
    pub bytes: u64,
    /// Records of personal data that the answer held (MON-3).
    pub pii_records: u64,
}

impl Spent {
    /// What came on top of `before`.
    #[must_use]
    pub const fn since(self, before: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_sub(before.bytes),
            pii_records: self.pii_records.saturating_sub(before.pii_records),
        }
    }
}

/// A request was charged nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The window that takes longest to have room again.
    Exceeded(Standing),
    /// Other gateways spend from the same quota, and nobody has asked for units of it yet, or could be
    /// asked; see [`Quotas::wants`].
    Unasked(Standing),
    /// No such identity in this configuration: a defect of the caller.
    Unregistered,
}

/// All quotas of one configuration, with what is spent.
#[derive(Debug)]
pub struct Quotas {
    limits: Box<[Limit]>,
    /// What all identities under a limit have spent together, by limit and window; the buckets of
    /// limits that are shared are these.
    shared: Box<[Box<[Arc<Meter>]>]>,
    /// Whoever holds it, and then an account's own, is the only writer of shared buckets.
    shared_turn: Arc<Mutex<()>>,
    accounts: Box<[Account]>,
    among: Among,
    /// Accounts, and then limits that are shared, of which something was spent since it was saved.
    changed: Arc<Marks>,
}

#[derive(Debug)]
struct Account {
    name: Name,
    /// Whoever holds it is the only writer of the account's buckets, under this configuration or
    /// another: all windows are tested and charged in one turn.
    turn: Arc<Mutex<()>>,
    shares: Shares,
    buckets: Box<[Bucket]>,
}

/// Whether an account is under a limit that others spend from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shares {
    Nothing,
    Something,
}

#[derive(Debug)]
struct Bucket {
    limit: LimitIx,
    window: u8,
    meter: Arc<Meter>,
}

impl Quotas {
    /// The most windows a limit may have.
    pub const WINDOWS_MAX: usize = limit::WINDOWS_MAX;

    /// Compiles limits and opens an account for each identity, with the limits it is under. The
    /// order of both lists gives the indices.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn build(
        specs: &[LimitSpec],
        identities: &[(Name, Vec<LimitIx>)],
    ) -> Result<Self, Vec<QuotaError>> {
        Self::build_among(specs, identities, Among::One)
    }

    /// As [`build`](Self::build), for a gateway that may have to share with others.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn build_among(
        specs: &[LimitSpec],
        identities: &[(Name, Vec<LimitIx>)],
        among: Among,
    ) -> Result<Self, Vec<QuotaError>> {
        let mut errors = Vec::new();
        let mut names = HashSet::new();
        let mut limits = Vec::with_capacity(specs.len());
        for (place, spec) in specs.iter().enumerate() {
            let mut fail = |fault| errors.push(QuotaError { at: spec.name.clone(), fault });
            if u16::try_from(place).is_err() {
                fail(QuotaFault::TooMany);
                break;
            }
            if !names.insert(&spec.name) {
                fail(QuotaFault::NameTwice);
            }
            limits.push(Limit::compile(spec, &mut fail));
        }
        let meters = |limit: &Limit| {
            limit.lanes.iter().map(|lane| Meter::new(0, &lane.gate, among)).collect()
        };
        let shared: Box<[Box<[Arc<Meter>]>]> = limits.iter().map(meters).collect();
        let mut names = HashSet::new();
        let mut accounts = Vec::with_capacity(identities.len());
        for (name, under) in identities {
            if !names.insert(name) {
                errors.push(QuotaError { at: name.clone(), fault: QuotaFault::NameTwice });
            }
            match Account::open(name, under, &limits, &shared, among) {
                Ok(account) => accounts.push(account),
                Err(fault) => errors.push(QuotaError { at: name.clone(), fault }),
            }
        }
        if errors.is_empty() {
            let changed = Arc::new(Marks::new(accounts.len().saturating_add(limits.len())));
            let (limits, accounts) = (limits.into(), accounts.into());
            Ok(Self { limits, shared, shared_turn: Arc::default(), accounts, among, changed })
        } else {
            Err(errors)
        }
    }

    /// Tests every window that applies, and charges all of them if all have room; else none.
    pub fn charge(
        &self,
        who: IdentityIx,
        operation: OperationIx,
        upstream: UpstreamIx,
        now: Moment,
    ) -> Result<Charged, Refused> {
        let account = self.accounts.get(who.index()).ok_or(Refused::Unregistered)?;
        let _shared = (account.shares == Shares::Something).then(|| self.shared_turn.lock());
        let _turn = account.turn.lock();
        let applying = || self.applying(account, operation, upstream);
        let mut tightest: Option<(u64, &Bucket, &gcra::Rate)> = None;
        let mut longest: Option<Standing> = None;
        let (mut shadowed, mut unasked): (Vec<LimitIx>, Option<Standing>) = (Vec::new(), None);
        for (bucket, limit, lane) in applying() {
            match (bucket.meter.test(&lane.gate, limit.mode, now), limit.mode) {
                (Ok(left), Mode::Enforced) => {
                    if let Gate::Requests(rate) = &lane.gate
                        && tightest.is_none_or(|(least, ..)| left < least)
                    {
                        tightest = Some((left, bucket, rate));
                    }
                }
                (Err(Lack::Unasked), Mode::Enforced) => {
                    unasked = Some(bucket.standing(0, ASK_AGAIN));
                }
                (Err(Lack::Dry(wait)), Mode::Enforced) => {
                    if longest.is_none_or(|standing| standing.reset < wait) {
                        longest = Some(bucket.standing(0, wait));
                    }
                }
                // Nobody waits for the others because of a limit on trial: they are told afterwards.
                (Ok(_) | Err(Lack::Unasked), Mode::Shadow) => {}
                (Err(Lack::Dry(_)), Mode::Shadow) => {
                    if !shadowed.contains(&bucket.limit) {
                        shadowed.push(bucket.limit);
                    }
                }
            }
        }
        if let Some(standing) = longest {
            return Err(Refused::Exceeded(standing));
        }
        if let Some(standing) = unasked {
            return Err(Refused::Unasked(standing));
        }
        let (mut held, mut low, mut ends) = (Held::default(), false, Ends::default());
        for (bucket, limit, lane) in applying() {
            // What it would refuse it doesn't charge either.
            if shadowed.contains(&bucket.limit) {
                continue;
            }
            match &lane.gate {
                Gate::Requests(rate) => {
                    rate.charge(&bucket.meter.number, now)
                        .map_err(|wait| Refused::Exceeded(bucket.standing(0, wait)))?;
                    let (taken, is_low) = bucket.meter.take(&lane.gate, 1, now);
                    ends.push(End { mark: bucket.meter.mark(), taken });
                    low |= is_low;
                }
                Gate::Concurrent(_) => {
                    bucket.meter.number.fetch_add(1, Ordering::AcqRel);
                    held.0.push(Arc::clone(&bucket.meter));
                }
                Gate::Bytes(_) | Gate::PiiRecords(_) => {
                    low |= limit.mode == Mode::Shadow
                        && bucket.meter.is_unasked(&lane.gate, limit.mode, now);
                }
            }
            if limit.sharing == Sharing::All {
                self.changed.mark_under_lock(self.accounts.len() + bucket.limit.index());
            }
        }
        self.changed.mark_under_lock(who.index());
        let tightest = tightest.map(|(left, bucket, rate)| {
            let reset = match rate.test(&bucket.meter.number, now) {
                Ok(_) => rate.interval().saturating_mul(u32::try_from(left).unwrap_or(u32::MAX)),
                Err(wait) => wait,
            };
            bucket.standing(left, reset)
        });
        Ok(Charged { tightest, shadowed, held, low, at: now, ends })
    }

    /// Takes back a charge, because the request was refused after all.
    pub fn give_back(
        &self,
        who: IdentityIx,
        operation: OperationIx,
        upstream: UpstreamIx,
        charged: &Charged,
        now: Moment,
    ) {
        let Some(account) = self.accounts.get(who.index()) else { return };
        let _shared = (account.shares == Shares::Something).then(|| self.shared_turn.lock());
        let _turn = account.turn.lock();
        let mut ends = charged.ends.iter();
        for (bucket, limit, lane) in self.applying(account, operation, upstream) {
            let was_charged = !charged.shadowed.contains(&bucket.limit);
            if let (Gate::Requests(rate), true) = (&lane.gate, was_charged)
                && let Some(end) = ends.next()
            {
                bucket.meter.give_back(rate, end.mark, now);
                if let Some((pool, units)) = bucket.meter.pool.as_ref().zip(lane.gate.units()) {
                    pool.give_back(end.taken, charged.at, &units, now);
                }
                if limit.sharing == Sharing::All {
                    self.changed.mark_under_lock(self.accounts.len() + bucket.limit.index());
                }
            }
        }
        self.changed.mark_under_lock(who.index());
    }

    /// Whether so much more was spent than there was that nothing further may pass of what is under way:
    /// the window that takes longest to have room again.
    #[must_use]
    pub fn overdrawn(
        &self,
        who: IdentityIx,
        operation: OperationIx,
        upstream: UpstreamIx,
        now: Moment,
    ) -> Option<Standing> {
        let account = self.accounts.get(who.index())?;
        let applying = self.applying(account, operation, upstream);
        let over = applying.filter_map(|(bucket, limit, lane)| {
            let (Gate::Bytes(flow) | Gate::PiiRecords(flow)) = &lane.gate else { return None };
            let enforced = limit.mode == Mode::Enforced;
            let wait = if enforced { bucket.meter.overdrawn(flow, now) } else { None };
            wait.map(|wait| bucket.standing(0, wait))
        });
        over.max_by_key(|standing| standing.reset)
    }

    /// Charges what is known only now. It may be more than there was: whoever is in debt waits. Says
    /// whether others are to be told of it; see [`wants`](Self::wants).
    pub fn spend(
        &self,
        who: IdentityIx,
        operation: OperationIx,
        upstream: UpstreamIx,
        spent: Spent,
        now: Moment,
    ) -> bool {
        let Some(account) = self.accounts.get(who.index()) else { return false };
        let mut tell = false;
        for (bucket, limit, lane) in self.applying(account, operation, upstream) {
            let (flow, amount) = match &lane.gate {
                Gate::Bytes(flow) => (flow, spent.bytes),
                Gate::PiiRecords(flow) => (flow, spent.pii_records),
                Gate::Requests(_) | Gate::Concurrent(_) => continue,
            };
            if amount == 0 {
                continue;
            }
            flow.spend(&bucket.meter.number, amount, now);
            tell |= bucket.meter.take(&lane.gate, amount, now).1;
            self.changed.mark(match limit.sharing {
                Sharing::Each => who.index(),
                Sharing::All => self.accounts.len() + bucket.limit.index(),
            });
        }
        tell
    }

    #[must_use]
    pub fn limit_name(&self, limit: LimitIx) -> Option<&Name> {
        self.limits.get(limit.index()).map(|limit| &limit.name)
    }

    #[inline]
    fn applying<'a>(
        &'a self,
        account: &'a Account,
        operation: OperationIx,
        upstream: UpstreamIx,
    ) -> impl Iterator<Item = (&'a Bucket, &'a Limit, &'a Lane)> {
        account.buckets.iter().filter_map(move |bucket| {
            let (limit, lane) = locate(&self.limits, bucket)?;
            limit.applies(operation, upstream).then_some((bucket, limit, lane))
        })
    }
}

fn locate<'a>(limits: &'a [Limit], bucket: &Bucket) -> Option<(&'a Limit, &'a Lane)> {
    let limit = limits.get(bucket.limit.index())?;
    Some((limit, limit.lanes.get(usize::from(bucket.window))?))
}

impl Account {
    fn open(
        name: &Name,
        under: &[LimitIx],
        limits: &[Limit],
        shared: &[Box<[Arc<Meter>]>],
        among: Among,
    ) -> Result<Self, QuotaFault> {
        let mut seen = HashSet::new();
        let (mut buckets, mut spends) = (Vec::new(), Shares::Nothing);
        for &ix in under {
            let both = limits.get(ix.index()).zip(shared.get(ix.index()));
            let (limit, meters) = both.ok_or(QuotaFault::LimitList)?;
            if !seen.insert(ix) {
                return Err(QuotaFault::LimitList);
            }
            for (window, (shared, lane)) in meters.iter().zip(&limit.lanes).enumerate() {
                let window = u8::try_from(window).map_err(|_| QuotaFault::Windows)?;
                let meter = match limit.sharing {
                    Sharing::Each => Meter::new(0, &lane.gate, among),
                    Sharing::All => {
                        spends = Shares::Something;
                        Arc::clone(shared)
                    }
                };
                buckets.push(Bucket { limit: ix, window, meter });
            }
        }
        Ok(Self {
            name: name.clone(),
            turn: Arc::default(),
            shares: spends,
            buckets: buckets.into(),
        })
    }
}

impl Bucket {
    const fn standing(&self, remaining: u64, reset: Duration) -> Standing {
        Standing { limit: self.limit, window: self.window, remaining, reset }
    }
}
