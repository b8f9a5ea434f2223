//! Quotas: identity × group of operations × window.
//!
//! Every identity is registered, so every bucket exists from the start and none is ever evicted.
//! Over any time `x` a window lets through at most `burst + x / interval` requests, where
//! `interval` is `per / count`.
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::gcra::Rate;
use crate::base::{IdentityIx, LimitIx, Moment, Name, OperationIx};

/// One rate of a limit, such as 300 per minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Requests per period: at least 1, at most one a microsecond.
    pub count: u32,
    /// The period: whole seconds (the `RateLimit` fields know no less), 1 s to 366 days.
    pub per: Duration,
    /// Requests that may come at once; `count` if not given.
    pub burst: Option<u32>,
}

/// A limit as configured. Each identity that is under it has its own buckets.
#[derive(Clone, Debug)]
pub struct LimitSpec {
    /// Under this name spent state survives a reload, and callers see it in `RateLimit`.
    pub name: Name,
    /// The operations that share the limit's buckets.
    pub operations: Vec<OperationIx>,
    /// All of them hold at once; no two may have the same period.
    pub windows: Vec<Window>,
}

/// What is wrong with a limit or with an identity's list of limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaError {
    /// The limit or the identity.
    pub at: Name,
    pub fault: QuotaFault,
}

/// See [`QuotaError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuotaFault {
    /// A limit without a window, or with more than 16.
    Windows,
    /// A limit without an operation would limit nothing.
    NoOperations,
    /// The count is zero or above one a microsecond.
    Count,
    /// The period is not in whole seconds from 1 s to 366 days, or occurs twice in the limit.
    Period,
    /// The burst is zero, or takes more than ten years to come back.
    Burst,
    /// Two limits, or two identities, have this name.
    NameTwice,
    /// The identity names a limit that does not exist, or one limit twice.
    LimitList,
    /// More than 65,536 limits.
    TooMany,
}

/// Where a caller stands in one window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    pub limit: LimitIx,
    /// Place of the window in its limit.
    pub window: u8,
    /// Requests that could follow at once.
    pub remaining: u32,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charged {
    /// The window with the least left; none where no limit applies.
    pub tightest: Option<Standing>,
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
    accounts: Box<[Account]>,
}

#[derive(Debug)]
struct Limit {
    name: Name,
    operations: OperationSet,
    windows: Box<[Lane]>,
}

/// A window with its texts for the `RateLimit` fields, made once.
#[derive(Debug)]
struct Lane {
    rate: Rate,
    label: Box<str>,
    policy: Box<str>,
}

#[derive(Debug)]
struct Account {
    name: Name,
    /// Whoever holds it is the only writer of the account's buckets, under this configuration or
    /// another: all windows are tested and charged in one turn.
    turn: Arc<Mutex<()>>,
    buckets: Box<[Bucket]>,
}

#[derive(Debug)]
struct Bucket {
    limit: LimitIx,
    window: u8,
    /// Theoretical arrival time, monotonic nanoseconds. Shared with the configuration before and
    /// after this one.
    tat: Arc<AtomicU64>,
}

#[derive(Debug)]
struct OperationSet(Box<[u64]>);

impl OperationSet {
    fn new(operations: &[OperationIx]) -> Self {
        let words = operations.iter().map(|op| op.index() / 64 + 1).max().unwrap_or(0);
        let mut bits = vec![0_u64; words].into_boxed_slice();
        for operation in operations {
            if let Some(word) = bits.get_mut(operation.index() / 64) {
                *word |= 1 << (operation.index() % 64);
            }
        }
        Self(bits)
    }

    fn contains(&self, operation: OperationIx) -> bool {
        let word = self.0.get(operation.index() / 64).copied().unwrap_or(0);
        word >> (operation.index() % 64) & 1 == 1
    }
}

impl Quotas {
    /// The most windows a limit may have.
    pub const WINDOWS_MAX: usize = 16;

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
        let mut names = HashSet::new();
        let mut accounts = Vec::with_capacity(identities.len());
        for (name, under) in identities {
            if !names.insert(name) {
                errors.push(QuotaError { at: name.clone(), fault: QuotaFault::NameTwice });
            }
            match Account::open(name, under, &limits) {
                Ok(account) => accounts.push(account),
                Err(fault) => errors.push(QuotaError { at: name.clone(), fault }),
            }
        }
        if errors.is_empty() {
            Ok(Self { limits: limits.into(), accounts: accounts.into() })
        } else {
            Err(errors)
        }
    }

    /// Tests every window that applies, and charges all of them if all have room; else none.
    pub fn charge(
        &self,
        who: IdentityIx,
        operation: OperationIx,
        now: Moment,
    ) -> Result<Charged, Refused> {
        let account = self.accounts.get(who.index()).ok_or(Refused::Unregistered)?;
        let _turn = account.turn.lock();
        let mut tightest: Option<(u32, &Bucket, &Rate)> = None;
        let mut longest: Option<Standing> = None;
        for (bucket, lane) in self.applying(account, operation) {
            match lane.rate.test(&bucket.tat, now) {
                Ok(left) if tightest.is_none_or(|(least, ..)| left < least) => {
                    tightest = Some((left, bucket, &lane.rate));
                }
                Err(wait) if longest.is_none_or(|standing| standing.reset < wait) => {
                    longest = Some(bucket.standing(0, wait));
                }
                Ok(_) | Err(_) => {}
            }
        }
        if let Some(standing) = longest {
            return Err(Refused::Exceeded(standing));
        }
        for (bucket, lane) in self.applying(account, operation) {
            lane.rate
                .charge(&bucket.tat, now)
                .map_err(|wait| Refused::Exceeded(bucket.standing(0, wait)))?;
        }
        let tightest = tightest.map(|(left, bucket, rate)| {
            let reset = match rate.test(&bucket.tat, now) {
                Ok(_) => rate.interval().saturating_mul(left),
                Err(wait) => wait,
            };
            bucket.standing(left, reset)
        });
        Ok(Charged { tightest })
    }

    /// Takes over what was spent under the configuration before this one, by the names of identity
    /// and limit and by the window's period. Nothing changes for the old configuration, should this
    /// one never come into force. A window whose period is new starts as empty as the emptiest of
    /// its limit. No window starts emptier than empty, so a limit that was raised is felt at once.
    pub fn carry_over(&mut self, old: &Self, now: Moment) {
        let before: HashMap<&Name, &Account> = old.accounts.iter().map(|a| (&a.name, a)).collect();
        for account in &mut self.accounts {
            let Some(previous) = before.get(&account.name) else { continue };
            account.turn = Arc::clone(&previous.turn);
            let _turn = previous.turn.lock();
            for bucket in &mut account.buckets {
                let Some((limit, lane)) = locate(&self.limits, bucket) else { continue };
                let spent = previous.buckets.iter().filter_map(|spent| {
                    let (was, was_lane) = locate(&old.limits, spent)?;
                    (was.name == limit.name).then_some((&spent.tat, was_lane.rate.per()))
                });
                let same = spent.clone().find(|(_, per)| *per == lane.rate.per());
                let value = |tat: &AtomicU64| tat.load(Ordering::Relaxed);
                let drained = lane.rate.drained_tat(now);
                bucket.tat = match same {
                    Some((tat, _)) if value(tat) <= drained => Arc::clone(tat),
                    Some(_) => Arc::new(AtomicU64::new(drained)),
                    None => {
                        let latest = spent.map(|(tat, _)| value(tat)).max().unwrap_or(0);
                        Arc::new(AtomicU64::new(latest.min(drained)))
                    }
                };
            }
        }
    }

    #[must_use]
    pub fn limit_name(&self, limit: LimitIx) -> Option<&Name> {
        self.limits.get(limit.index()).map(|limit| &limit.name)
    }

    /// Appends the value of `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10 §3): every
    /// window that applies, such as `"orders-1s";q=10;w=1, "orders-1m";q=300;w=60`. A burst other
    /// than the quota is told as `sekisho-burst`. Appends nothing where no limit applies.
    pub fn write_policy(&self, who: IdentityIx, operation: OperationIx, out: &mut Vec<u8>) {
        let Some(account) = self.accounts.get(who.index()) else { return };
        let mut separator: &[u8] = b"";
        for (_, lane) in self.applying(account, operation) {
            out.extend_from_slice(separator);
            out.extend_from_slice(lane.policy.as_bytes());
            separator = b", ";
        }
    }

    /// Appends the value of `RateLimit` (the same draft, §4), such as `"orders-1m";r=12;t=3`.
    pub fn write_standing(&self, standing: &Standing, out: &mut Vec<u8>) {
        let limit = self.limits.get(standing.limit.index());
        let lane = limit.and_then(|limit| limit.windows.get(usize::from(standing.window)));
        if let Some(lane) = lane {
            out.extend_from_slice(lane.label.as_bytes());
            out.extend_from_slice(b";r=");
            push_decimal(u64::from(standing.remaining), out);
            out.extend_from_slice(b";t=");
            push_decimal(standing.reset_secs(), out);
        }
    }

    fn applying<'a>(
        &'a self,
        account: &'a Account,
        operation: OperationIx,
    ) -> impl Iterator<Item = (&'a Bucket, &'a Lane)> {
        account.buckets.iter().filter_map(move |bucket| {
            let (limit, lane) = locate(&self.limits, bucket)?;
            limit.operations.contains(operation).then_some((bucket, lane))
        })
    }
}

fn locate<'a>(limits: &'a [Limit], bucket: &Bucket) -> Option<(&'a Limit, &'a Lane)> {
    let limit = limits.get(bucket.limit.index())?;
    Some((limit, limit.windows.get(usize::from(bucket.window))?))
}

impl Limit {
    fn compile(spec: &LimitSpec, fail: &mut impl FnMut(QuotaFault)) -> Self {
        if spec.operations.is_empty() {
            fail(QuotaFault::NoOperations);
        }
        if spec.windows.is_empty() || spec.windows.len() > Quotas::WINDOWS_MAX {
            fail(QuotaFault::Windows);
        }
        let mut periods = HashSet::new();
        let mut windows = Vec::with_capacity(spec.windows.len());
        for window in &spec.windows {
            if !periods.insert(window.per) {
                fail(QuotaFault::Period);
            }
            match Rate::compile(window) {
                Ok(rate) => windows.push(Lane::new(&spec.name, rate)),
                Err(fault) => fail(fault),
            }
        }
        Self {
            name: spec.name.clone(),
            operations: OperationSet::new(&spec.operations),
            windows: windows.into(),
        }
    }
}

impl Lane {
    fn new(limit: &Name, rate: Rate) -> Self {
        let seconds = rate.per().as_secs();
        let (amount, unit) = [(86_400, 'd'), (3_600, 'h'), (60, 'm')]
            .into_iter()
            .find(|(size, _)| seconds.is_multiple_of(*size))
            .map_or((seconds, 's'), |(size, unit)| (seconds / size, unit));
        // A `Name` holds no character that a structured-field string would have to escape.
        let label = format!("\"{limit}-{amount}{unit}\"");
        let burst = if rate.burst() == rate.count() {
            String::new()
        } else {
            format!(";sekisho-burst={}", rate.burst())
        };
        let policy = format!("{label};q={};w={seconds}{burst}", rate.count());
        Self { rate, label: label.into(), policy: policy.into() }
    }
}

impl Account {
    fn open(name: &Name, under: &[LimitIx], limits: &[Limit]) -> Result<Self, QuotaFault> {
        let mut seen = HashSet::new();
        let mut buckets = Vec::new();
        for &ix in under {
            let limit = limits.get(ix.index()).ok_or(QuotaFault::LimitList)?;
            if !seen.insert(ix) {
                return Err(QuotaFault::LimitList);
            }
            for window in 0..limit.windows.len() {
                let window = u8::try_from(window).map_err(|_| QuotaFault::Windows)?;
                buckets.push(Bucket { limit: ix, window, tat: Arc::default() });
            }
        }
        Ok(Self { name: name.clone(), turn: Arc::default(), buckets: buckets.into() })
    }
}

impl Bucket {
    const fn standing(&self, remaining: u32, reset: Duration) -> Standing {
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
