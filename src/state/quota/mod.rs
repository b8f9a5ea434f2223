//! Quotas: whose use of what, through how much.
//!
//! Every identity is registered, so every bucket exists from the start and none is ever evicted.
//! Over any time `x` a window of requests lets through at most `burst + x / interval`, where
//! `interval` is `per / count`.
mod amount;
mod error;
mod gcra;
mod limit;
mod view;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::base::{IdentityIx, LimitIx, Moment, Name, OperationIx, UpstreamIx};
use crate::policy::{LimitSpec, Mode, Sharing};
pub use error::{QuotaError, QuotaFault};
use limit::{Gate, Lane, Limit};
pub use view::WindowView;

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
    /// A shadow limit that would have refused it.
    pub shadowed: Option<LimitIx>,
    /// Its places among concurrent requests; given back when this is dropped.
    pub held: Held,
}

/// Places among concurrent requests.
#[derive(Debug, Default)]
pub struct Held(Vec<Arc<AtomicU64>>);

impl Drop for Held {
    fn drop(&mut self) {
        for open in &self.0 {
            open.fetch_sub(1, Ordering::AcqRel);
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

/// A request was charged nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The window that takes longest to have room again.
    Exceeded(Standing),
    /// No such identity in this configuration: a defect of the caller.
    Unregistered,
}

/// All quotas of one configuration, with what is spent.
#[derive(Debug)]
pub struct Quotas {
    limits: Box<[Limit]>,
    /// What all identities under a limit have spent together, by limit and window; the buckets of
    /// limits that are shared are these.
    shared: Box<[Box<[Number]>]>,
    /// Whoever holds it, and then an account's own, is the only writer of shared buckets.
    shared_turn: Arc<Mutex<()>>,
    accounts: Box<[Account]>,
}

/// A theoretical arrival time in monotonic nanoseconds, or a count of what is open. Shared with the
/// configuration before and after this one.
type Number = Arc<AtomicU64>;

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
    number: Number,
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
        let shared: Box<[Box<[Number]>]> = limits
            .iter()
            .map(|limit| limit.lanes.iter().map(|_lane| Number::default()).collect())
            .collect();
        let mut names = HashSet::new();
        let mut accounts = Vec::with_capacity(identities.len());
        for (name, under) in identities {
            if !names.insert(name) {
                errors.push(QuotaError { at: name.clone(), fault: QuotaFault::NameTwice });
            }
            match Account::open(name, under, &limits, &shared) {
                Ok(account) => accounts.push(account),
                Err(fault) => errors.push(QuotaError { at: name.clone(), fault }),
            }
        }
        if errors.is_empty() {
            let (limits, accounts) = (limits.into(), accounts.into());
            Ok(Self { limits, shared, shared_turn: Arc::default(), accounts })
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
        let mut shadowed = None;
        for (bucket, limit, lane) in applying() {
            match (lane.gate.test(&bucket.number, now), limit.mode) {
                (Ok(left), Mode::Enforced) => {
                    if let Gate::Requests(rate) = &lane.gate
                        && tightest.is_none_or(|(least, ..)| left < least)
                    {
                        tightest = Some((left, bucket, rate));
                    }
                }
                (Err(wait), Mode::Enforced) => {
                    if longest.is_none_or(|standing| standing.reset < wait) {
                        longest = Some(bucket.standing(0, wait));
                    }
                }
                (Ok(_), Mode::Shadow) => {}
                (Err(_), Mode::Shadow) => shadowed = shadowed.or(Some(bucket.limit)),
            }
        }
        if let Some(standing) = longest {
            return Err(Refused::Exceeded(standing));
        }
        let mut held = Held::default();
        for (bucket, limit, lane) in applying() {
            match (&lane.gate, limit.mode) {
                (Gate::Requests(rate), Mode::Enforced) => {
                    rate.charge(&bucket.number, now)
                        .map_err(|wait| Refused::Exceeded(bucket.standing(0, wait)))?;
                }
                // What it would refuse it doesn't charge either.
                (Gate::Requests(rate), Mode::Shadow) => drop(rate.charge(&bucket.number, now)),
                (Gate::Concurrent(_), _) => {
                    bucket.number.fetch_add(1, Ordering::AcqRel);
                    held.0.push(Arc::clone(&bucket.number));
                }
                (Gate::Bytes(_) | Gate::PiiRecords(_), _) => {}
            }
        }
        let tightest = tightest.map(|(left, bucket, rate)| {
            let reset = match rate.test(&bucket.number, now) {
                Ok(_) => rate.interval().saturating_mul(u32::try_from(left).unwrap_or(u32::MAX)),
                Err(wait) => wait,
            };
            bucket.standing(left, reset)
        });
        Ok(Charged { tightest, shadowed, held })
    }

    /// Takes back a charge of `taken`, because the request was refused after all.
    pub fn give_back(
        &self,
        who: IdentityIx,
        operation: OperationIx,
        upstream: UpstreamIx,
        charged: &Charged,
        taken: Moment,
        now: Moment,
    ) {
        let Some(account) = self.accounts.get(who.index()) else { return };
        let _shared = (account.shares == Shares::Something).then(|| self.shared_turn.lock());
        let _turn = account.turn.lock();
        for (bucket, limit, lane) in self.applying(account, operation, upstream) {
            // Which of several limits on trial was not charged is not known; then none is taken back.
            let charged = limit.mode == Mode::Enforced || charged.shadowed.is_none();
            if let (Gate::Requests(rate), true) = (&lane.gate, charged) {
                rate.give_back(&bucket.number, taken, now);
            }
        }
    }

    /// Charges what is known only now. It may be more than there was: whoever is in debt waits.
    pub fn spend(
        &self,
        who: IdentityIx,
        operation: OperationIx,
        upstream: UpstreamIx,
        spent: Spent,
        now: Moment,
    ) {
        let Some(account) = self.accounts.get(who.index()) else { return };
        for (bucket, _limit, lane) in self.applying(account, operation, upstream) {
            match &lane.gate {
                Gate::Bytes(flow) if spent.bytes > 0 => {
                    flow.spend(&bucket.number, spent.bytes, now);
                }
                Gate::PiiRecords(flow) if spent.pii_records > 0 => {
                    flow.spend(&bucket.number, spent.pii_records, now);
                }
                Gate::Requests(_) | Gate::Bytes(_) | Gate::PiiRecords(_) | Gate::Concurrent(_) => {}
            }
        }
    }

    /// Takes over what was spent under the configuration before this one, by the names of identity
    /// and limit and by the window's period. Nothing changes for the old configuration, should this
    /// one never come into force. A window whose period is new starts as empty as the emptiest of
    /// its limit. No window starts emptier than empty, so a limit that was raised is felt at once.
    pub fn carry_over(&mut self, old: &Self, now: Moment) {
        self.shared_turn = Arc::clone(&old.shared_turn);
        let turn = Arc::clone(&self.shared_turn);
        let _shared = turn.lock();
        let places: HashMap<&Name, usize> =
            (0..).zip(&old.limits).map(|(at, l)| (&l.name, at)).collect();
        for (limit, numbers) in self.limits.iter().zip(&mut self.shared) {
            let Some(at) = places.get(&limit.name).copied() else { continue };
            if limit.sharing == Sharing::Each {
                continue;
            }
            for (lane, number) in limit.lanes.iter().zip(numbers) {
                *number = inherited(old.spent_on(at), limit, lane, now);
            }
        }
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
                        let number = shared.and_then(|all| all.get(usize::from(bucket.window)));
                        if let Some(number) = number {
                            bucket.number = Arc::clone(number);
                        }
                    }
                    (Sharing::Each, Some(previous)) => {
                        let spent = previous.buckets.iter().filter_map(|bucket| old.of(bucket));
                        bucket.number = inherited(spent, limit, lane, now);
                    }
                    (Sharing::Each, None) => {}
                }
            }
        }
    }

    /// Everything spent on one limit, by whomever.
    fn spent_on(&self, limit: usize) -> Vec<(&Limit, &Lane, &Number)> {
        let of_limit = |bucket: &&Bucket| bucket.limit.index() == limit;
        match (self.limits.get(limit), self.shared.get(limit)) {
            (Some(of), Some(numbers)) if of.sharing == Sharing::All => {
                of.lanes.iter().zip(numbers).map(|(lane, number)| (of, lane, number)).collect()
            }
            _ => {
                let buckets = self.accounts.iter().flat_map(|account| &account.buckets);
                buckets.filter(of_limit).filter_map(|bucket| self.of(bucket)).collect()
            }
        }
    }

    fn of<'a>(&'a self, bucket: &'a Bucket) -> Option<(&'a Limit, &'a Lane, &'a Number)> {
        let (limit, lane) = locate(&self.limits, bucket)?;
        Some((limit, lane, &bucket.number))
    }

    #[must_use]
    pub fn limit_name(&self, limit: LimitIx) -> Option<&Name> {
        self.limits.get(limit.index()).map(|limit| &limit.name)
    }

    /// Appends the value of `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10 §3): every
    /// window that applies, such as `"orders-1s";q=10;w=1, "orders-1m";q=300;w=60`. A burst other
    /// than the quota is told as `sekisho-burst`. Appends nothing where no limit applies.
    pub fn write_policy(
        &self,
        who: IdentityIx,
        operation: OperationIx,
        upstream: UpstreamIx,
        out: &mut Vec<u8>,
    ) {
        let Some(account) = self.accounts.get(who.index()) else { return };
        let mut separator: &[u8] = b"";
        for (_, limit, lane) in self.applying(account, operation, upstream) {
            if limit.mode == Mode::Shadow {
                continue;
            }
            out.extend_from_slice(separator);
            out.extend_from_slice(lane.policy.as_bytes());
            separator = b", ";
        }
    }

    /// Appends the value of `RateLimit` (the same draft, §4), such as `"orders-1m";r=12;t=3`.
    pub fn write_standing(&self, standing: &Standing, out: &mut Vec<u8>) {
        let limit = self.limits.get(standing.limit.index());
        let lane = limit.and_then(|limit| limit.lanes.get(usize::from(standing.window)));
        if let Some(lane) = lane {
            out.extend_from_slice(lane.label.as_bytes());
            out.extend_from_slice(b";r=");
            push_decimal(standing.remaining, out);
            out.extend_from_slice(b";t=");
            push_decimal(standing.reset_secs(), out);
        }
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

/// What a lane of a new configuration starts with, given what was spent before.
fn inherited<'a>(
    spent: impl IntoIterator<Item = (&'a Limit, &'a Lane, &'a Number)>,
    limit: &Limit,
    lane: &Lane,
    now: Moment,
) -> Number {
    let mut latest = 0;
    for (was, was_lane, number) in spent {
        if was.name != limit.name || !was_lane.gate.is_like(&lane.gate) {
            continue;
        }
        let value = number.load(Ordering::Relaxed);
        let same = was_lane.gate.per() == lane.gate.per() && was.sharing == limit.sharing;
        if same && value <= lane.gate.drained(now) {
            return Arc::clone(number);
        }
        latest = latest.max(value);
    }
    // Open requests hold their places in the old count only.
    let latest = if let Gate::Concurrent(_) = lane.gate { 0 } else { latest };
    Arc::new(AtomicU64::new(latest.min(lane.gate.drained(now))))
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
        shared: &[Box<[Number]>],
    ) -> Result<Self, QuotaFault> {
        let mut seen = HashSet::new();
        let (mut buckets, mut spends) = (Vec::new(), Shares::Nothing);
        for &ix in under {
            let both = limits.get(ix.index()).zip(shared.get(ix.index()));
            let (limit, numbers) = both.ok_or(QuotaFault::LimitList)?;
            if !seen.insert(ix) {
                return Err(QuotaFault::LimitList);
            }
            for (window, shared) in numbers.iter().enumerate() {
                let window = u8::try_from(window).map_err(|_| QuotaFault::Windows)?;
                let number = match limit.sharing {
                    Sharing::Each => Number::default(),
                    Sharing::All => {
                        spends = Shares::Something;
                        Arc::clone(shared)
                    }
                };
                buckets.push(Bucket { limit: ix, window, number });
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

fn push_decimal(mut number: u64, out: &mut Vec<u8>) {
    let mut digits = [b'0'; 20];
    let mut used = 0;
    for place in digits.iter_mut().rev() {
        *place = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
        used += 1;
        if number == 0 {
            break;
        }
    }
    out.extend(digits.iter().skip(20 - used));
}
