//! Where identities stand in their limits, for people.
use std::time::Duration;

use super::limit::Gate;
use super::pool::{Here, Whence};
use super::share::Want;
use super::{Quotas, locate};
use crate::base::{IdentityIx, LimitIx, Moment, Name, OperationIx, UpstreamIx};
use crate::policy::{Mode, Sharing};

/// One window of one limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowView {
    pub limit: Name,
    pub at: LimitIx,
    /// What is counted: `requests`, `bytes`, `pii-records`, `concurrent`.
    pub unit: &'static str,
    pub most: u64,
    /// Zero for `concurrent`.
    pub per: Duration,
    /// What is left now, as far as is known here.
    pub left: u64,
    /// If nothing is: how long until something is.
    pub wait: Duration,
    pub mode: Mode,
    pub sharing: Sharing,
    pub source: Source,
}

/// From where a gateway has what it may spend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// It shares with nobody.
    Own,
    /// From the store that gateways share.
    Store,
    /// The store can't be had: so much of `most` is this gateway's meanwhile.
    Part(u64),
    /// The store can't be had, and nothing is.
    Nothing,
}

impl Source {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Store => "asked",
            Self::Part(_) => "part",
            Self::Nothing => "none",
        }
    }

    #[must_use]
    pub const fn part(self) -> Option<u64> {
        match self {
            Self::Part(part) => Some(part),
            Self::Own | Self::Store | Self::Nothing => None,
        }
    }
}

impl Quotas {
    /// Every window that `who` spends from; where other gateways spend from it too and the store can
    /// be had, with what is to be asked for, because only the store knows what is left.
    #[must_use]
    pub fn view(&self, who: IdentityIx, now: Moment) -> Vec<(WindowView, Option<Want>)> {
        let Some(account) = self.accounts.get(who.index()) else { return Vec::new() };
        let view = |bucket: &super::Bucket| {
            let (limit, lane) = locate(&self.limits, bucket)?;
            let (unit, most) = match &lane.gate {
                Gate::Requests(rate) => ("requests", u64::from(rate.count())),
                Gate::Bytes(flow) => ("bytes", flow.count()),
                Gate::PiiRecords(flow) => ("pii-records", flow.count()),
                Gate::Concurrent(most) => ("concurrent", u64::from(*most)),
            };
            // A test tells what would remain after one more request.
            let spare = u64::from(matches!(lane.gate, Gate::Requests(_) | Gate::Concurrent(_)));
            let (left, wait) = match lane.gate.test(&bucket.meter.number, now) {
                Ok(left) => (left.saturating_add(spare), Duration::ZERO),
                Err(wait) => (0, wait),
            };
            let mut window = WindowView {
                limit: limit.name.clone(),
                at: bucket.limit,
                unit,
                most,
                per: lane.gate.per(),
                left,
                wait,
                mode: limit.mode,
                sharing: limit.sharing,
                source: Source::Own,
            };
            let Some((pool, units)) = bucket.meter.pool.as_deref().zip(lane.gate.units()) else {
                return Some((window, None));
            };
            let Here { whence, left, wait } = pool.here(&units, now);
            window.source = match whence {
                Whence::Asked => Source::Store,
                Whence::Part(part) => Source::Part(units.portion(&part, most)),
                Whence::Nothing => Source::Nothing,
            };
            let asked = window.source == Source::Store;
            let ask = asked.then(|| self.want_of((who, account), bucket, (limit, lane), units));
            if ask.is_none() {
                window.no_more_than(left, wait);
            }
            Some((window, ask))
        };
        account.buckets.iter().filter_map(view).collect()
    }

    /// The operations that a limit covers.
    pub fn operations_of(&self, limit: LimitIx) -> impl Iterator<Item = OperationIx> {
        let limit = self.limits.get(limit.index());
        let members = limit.into_iter().flat_map(|limit| limit.operations.members());
        members.filter_map(|ix| u16::try_from(ix).ok().map(OperationIx))
    }

    /// The upstreams that a limit is kept to; none where it covers them all.
    pub fn upstreams_of(&self, limit: LimitIx) -> impl Iterator<Item = UpstreamIx> {
        let limit = self.limits.get(limit.index());
        let some = limit.and_then(|limit| limit.upstreams.as_ref());
        some.into_iter()
            .flat_map(super::limit::Bits::members)
            .filter_map(|ix| u16::try_from(ix).ok().map(UpstreamIx))
    }
}

impl WindowView {
    /// The store said when the quota will be full again: beside what was given to this gateway, that
    /// is what is left.
    pub fn hear(&mut self, of: &Want, full_in: Duration, now: Moment) {
        let (left, wait) = of.units.left(full_in);
        let here = of.pool().map_or(0, |pool| pool.here(&of.units, now).left);
        self.no_more_than(left.saturating_add(here), wait);
    }

    fn no_more_than(&mut self, left: u64, wait: Duration) {
        self.left = self.left.min(left);
        self.wait = if self.left > 0 { Duration::ZERO } else { self.wait.max(wait) };
    }
}
