//! A limit, compiled: what it applies to, its rates, and their texts for the `RateLimit` fields.
use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::amount::{BYTES_STEP, Flow, RECORDS_STEP};
use super::error::QuotaFault;
use super::gcra::Rate;
use super::units::{Counts, Units};
use crate::base::{Moment, Name, OperationIx, UpstreamIx};
use crate::policy::{LimitSpec, Measure, Mode, Sharing};

/// The most windows a limit may have.
pub(super) const WINDOWS_MAX: usize = 16;

#[derive(Debug)]
pub(super) struct Limit {
    pub(super) name: Name,
    pub(super) sharing: Sharing,
    pub(super) mode: Mode,
    pub(super) operations: Bits,
    pub(super) upstreams: Option<Bits>,
    pub(super) lanes: Box<[Lane]>,
}

/// One rate of a limit, with its texts, made once.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) gate: Gate,
    pub(super) label: Box<str>,
    pub(super) policy: Box<str>,
}

/// How a lane lets through. The number that belongs to it is a theoretical arrival time in
/// monotonic nanoseconds, or how many are open.
#[derive(Debug)]
pub(super) enum Gate {
    Requests(Rate),
    Bytes(Flow),
    PiiRecords(Flow),
    Concurrent(u32),
}

impl Gate {
    /// What would remain after one more request, or how long to wait. Changes nothing.
    #[inline]
    pub(super) fn test(&self, number: &AtomicU64, now: Moment) -> Result<u64, Duration> {
        match self {
            Self::Requests(rate) => rate.test(number, now).map(u64::from),
            Self::Bytes(flow) | Self::PiiRecords(flow) => flow.test(number, now),
            Self::Concurrent(most) => {
                let open = number.load(Ordering::Acquire).saturating_add(1);
                // Nobody knows when one of the open requests ends.
                u64::from(*most).checked_sub(open).ok_or(Duration::from_secs(1))
            }
        }
    }

    /// The number of a bucket from which everything has just been taken.
    pub(super) fn drained(&self, now: Moment) -> u64 {
        match self {
            Self::Requests(rate) => rate.drained_tat(now),
            Self::Bytes(flow) | Self::PiiRecords(flow) => flow.drained_tat(now),
            Self::Concurrent(_) => u64::MAX,
        }
    }

    /// The rate in units that gateways can share; open requests are each gateway's own.
    #[inline]
    pub(super) fn units(&self) -> Option<Units> {
        match self {
            Self::Requests(rate) => Some(Units {
                interval: rate.interval(),
                burst: rate.burst(),
                grain: 1,
                counts: Counts::Requests,
            }),
            Self::Bytes(flow) | Self::PiiRecords(flow) => Some(flow.units()),
            Self::Concurrent(_) => None,
        }
    }

    /// The period; zero where there is none.
    pub(super) const fn per(&self) -> Duration {
        match self {
            Self::Requests(rate) => rate.per(),
            Self::Bytes(flow) | Self::PiiRecords(flow) => flow.per(),
            Self::Concurrent(_) => Duration::ZERO,
        }
    }

    /// Those of one kind can take over each other's state.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

impl Limit {
    pub(super) fn compile(spec: &LimitSpec, fail: &mut impl FnMut(QuotaFault)) -> Self {
        let nowhere = spec.upstreams.as_ref().is_some_and(Vec::is_empty);
        if spec.operations.is_empty() || nowhere {
            fail(QuotaFault::NoOperations);
        }
        let gates: Vec<_> = match &spec.measure {
            Measure::Requests(windows) => {
                windows.iter().map(|window| Rate::compile(window).map(Gate::Requests)).collect()
            }
            Measure::Bytes(amounts) => {
                let compile = |amount| Flow::compile(amount, BYTES_STEP).map(Gate::Bytes);
                amounts.iter().map(compile).collect()
            }
            Measure::PiiRecords(amounts) => {
                let compile = |amount| Flow::compile(amount, RECORDS_STEP).map(Gate::PiiRecords);
                amounts.iter().map(compile).collect()
            }
            Measure::Concurrent(0) => vec![Err(QuotaFault::Count)],
            Measure::Concurrent(most) => vec![Ok(Gate::Concurrent(*most))],
        };
        if gates.is_empty() || gates.len() > WINDOWS_MAX {
            fail(QuotaFault::Windows);
        }
        let mut periods = HashSet::new();
        let mut lanes = Vec::with_capacity(gates.len());
        for gate in gates {
            match gate {
                Ok(gate) => {
                    if !periods.insert(gate.per()) {
                        fail(QuotaFault::Period);
                    }
                    lanes.push(Lane::new(&spec.name, gate));
                }
                Err(fault) => fail(fault),
            }
        }
        Self {
            name: spec.name.clone(),
            sharing: spec.sharing,
            mode: spec.mode,
            operations: Bits::new(spec.operations.iter().map(|ix| ix.index())),
            upstreams: spec
                .upstreams
                .as_ref()
                .map(|all| Bits::new(all.iter().map(|ix| ix.index()))),
            lanes: lanes.into(),
        }
    }

    #[inline]
    pub(super) fn applies(&self, operation: OperationIx, upstream: UpstreamIx) -> bool {
        self.operations.contains(operation.index())
            && self.upstreams.as_ref().is_none_or(|some| some.contains(upstream.index()))
    }
}

impl Lane {
    /// The draft's `qu` (§3.1.2) names the unit where it is not requests; it has none for records.
    fn new(limit: &Name, gate: Gate) -> Self {
        let seconds = gate.per().as_secs();
        let (amount, unit) = [(86_400, 'd'), (3_600, 'h'), (60, 'm')]
            .into_iter()
            .find(|(size, _)| seconds.is_multiple_of(*size))
            .map_or((seconds, 's'), |(size, unit)| (seconds / size, unit));
        // A `Name` holds no character that a structured-field string would have to escape.
        let timed = format!("\"{limit}-{amount}{unit}\"");
        let (label, policy) = match &gate {
            Gate::Requests(rate) => {
                let burst = if rate.burst() == rate.count() {
                    String::new()
                } else {
                    format!(";sekisho-burst={}", rate.burst())
                };
                (timed.clone(), format!("{timed};q={};w={seconds}{burst}", rate.count()))
            }
            Gate::Bytes(flow) => {
                let unit = "content-bytes";
                (timed.clone(), format!("{timed};q={};qu=\"{unit}\";w={seconds}", flow.count()))
            }
            Gate::PiiRecords(flow) => {
                let unit = "sekisho-pii-records";
                (timed.clone(), format!("{timed};q={};qu=\"{unit}\";w={seconds}", flow.count()))
            }
            Gate::Concurrent(most) => {
                let label = format!("\"{limit}\"");
                (label.clone(), format!("{label};q={most};qu=\"concurrent-requests\""))
            }
        };
        Self { gate, label: label.into(), policy: policy.into() }
    }
}

#[derive(Debug)]
pub(super) struct Bits(Box<[u64]>);

impl Bits {
    fn new(members: impl Iterator<Item = usize>) -> Self {
        let mut bits: Vec<u64> = Vec::new();
        for member in members {
            bits.resize(bits.len().max(member / 64 + 1), 0);
            if let Some(word) = bits.get_mut(member / 64) {
                *word |= 1 << (member % 64);
            }
        }
        Self(bits.into())
    }

    pub(super) fn members(&self) -> impl Iterator<Item = usize> {
        (0..self.0.len() * 64).filter(|member| self.contains(*member))
    }

    fn contains(&self, member: usize) -> bool {
        let word = self.0.get(member / 64).copied().unwrap_or(0);
        word >> (member % 64) & 1 == 1
    }
}
