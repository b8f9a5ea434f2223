//! How fast Amazon lets us be: what it published, what it says, and what its refusals show.
//!
//! Cut and recovery are in parts of the rate and in its own intervals, because rates here differ by
//! a factor of 14,000; the AWS SDK's adaptive mode, whose constants are calls per second, would take
//! minutes to notice at 80/s what it would never undo at 0.0056/s. Two refusals with no idle time
//! between them measure the rate: Amazon's bucket was empty at both, so what it served in between is
//! what it refilled. Without a measurement the cut is CUBIC's 0.7 (RFC 9438 §4.6).
//!
//! The way back takes 100 intervals, and twice as many after each further refusal on that way, up
//! to 6,400: a limit that is lower for good costs a refusal ever more rarely.
use std::time::Duration;

use super::rate::{Plan, Rate};

/// Part of the rate that is kept without a measurement, in thousandths.
const KEPT: u64 = 700;
/// Part of a measured rate that is used, in thousandths.
const MEASURED: u64 = 970;
/// No single refusal cuts deeper, in thousandths: a measurement may have seen a pause of ours.
const KEPT_MIN: u64 = 500;
/// A rate is measured over so many calls at least; fewer are too coarse.
const SAMPLE_MIN: u32 = 5;
/// No cut goes below the ceiling's sixty-fourth, so that recovery always starts.
const FLOOR: u64 = 1_000 / 64;
/// What one interval gives back, in millionths of the ceiling.
const STEP: u64 = 3_000;
const DOUBLINGS_MAX: u32 = 6;
/// Fast quotas probe as rarely as slow ones: they go on doubling up to this way back.
const WAY_BACK_NS: u64 = 6 * 3_600 * 1_000_000_000;
const WAY_BACK_STEPS: u64 = 100;
/// Up to this part of the rate that was refused the way back is not doubled, in thousandths.
const PROVEN: u64 = 900;
/// One call of the burst comes back in so many steps.
const BURST_STEPS: u64 = 16;
/// A step takes no less, however fast the rate.
const STEP_MIN_NS: u64 = 100_000_000;
/// After a 503 that names no time.
const REST: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Throttle {
    plan: Plan,
    learned: Option<Rate>,
    cut: Option<Cut>,
    /// Nothing is sent before.
    rest_until_ns: u64,
}

#[derive(Debug)]
struct Cut {
    rate: Rate,
    burst: u32,
    /// Below this the way back is fast.
    proven: Rate,
    /// Calls sent before this met the old pace, and their refusals say nothing new.
    since_ns: u64,
    grown_ns: u64,
    doublings: u32,
    burst_steps: u64,
    sample: Sample,
    /// The sample before this one: joined to it where this one is too small.
    before: Option<Sample>,
}

/// What Amazon did since a refusal.
#[derive(Clone, Copy, Debug)]
struct Sample {
    since_ns: u64,
    /// Calls that it served.
    served: u32,
    /// Whether the bucket was full in between, and Amazon's perhaps too: then nothing is measured.
    overflowed: bool,
}

/// What Amazon refused, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// 429, with the tokens that our bucket believed to be spare.
    Quota { spare: u32 },
    /// 503.
    Overload,
}

impl Throttle {
    pub(super) const fn new(plan: Plan) -> Self {
        Self { plan, learned: None, cut: None, rest_until_ns: 0 }
    }

    pub(super) const fn plan(&self) -> Plan {
        self.plan
    }

    pub(super) const fn rest_until_ns(&self) -> u64 {
        self.rest_until_ns
    }

    /// What Amazon said last.
    pub(super) const fn learned(&self) -> Option<Rate> {
        self.learned
    }

    /// What Amazon said last, or what it published.
    pub(super) fn ceiling(&self) -> Rate {
        self.learned.unwrap_or(self.plan.rate())
    }

    pub(super) fn rate(&self) -> Rate {
        self.cut.as_ref().map_or(self.ceiling(), |cut| cut.rate.min(self.ceiling()))
    }

    pub(super) fn burst(&self) -> u32 {
        self.cut.as_ref().map_or(self.plan.burst(), |cut| cut.burst.min(self.plan.burst()))
    }

    /// Nothing would be forgotten that makes us slower than a new bucket is.
    pub(super) fn is_forgettable(&self, now: u64) -> bool {
        let fast = self.learned.is_none_or(|learned| learned >= self.plan.rate());
        self.cut.is_none() && fast && self.rest_until_ns <= now
    }

    pub(super) const fn is_cut(&self) -> bool {
        self.cut.is_some()
    }

    /// A configuration may bring another plan.
    pub(super) const fn adopt(&mut self, plan: Plan) {
        self.plan = plan;
    }

    pub(super) const fn learn(&mut self, rate: Rate) {
        self.learned = Some(rate);
    }

    /// Amazon let through a call that was sent at `sent_ns`.
    pub(super) const fn served(&mut self, sent_ns: u64) {
        if let Some(cut) = &mut self.cut
            && sent_ns >= cut.since_ns
        {
            cut.sample.served = cut.sample.served.saturating_add(1);
        }
    }

    pub(super) const fn overflowed(&mut self) {
        if let Some(cut) = &mut self.cut {
            cut.sample.overflowed = true;
        }
    }

    /// Amazon refused a call that was sent at `sent_ns`.
    pub(super) fn refused(
        &mut self,
        refusal: Refusal,
        sent_ns: u64,
        retry_after: Option<Duration>,
        now: u64,
    ) {
        let rest = retry_after.or((refusal == Refusal::Overload).then_some(REST));
        let rest_ns = u64::try_from(rest.unwrap_or_default().as_nanos()).unwrap_or(u64::MAX);
        self.rest_until_ns = self.rest_until_ns.max(now.saturating_add(rest_ns));
        if self.cut.as_ref().is_some_and(|cut| sent_ns < cut.since_ns) {
            return;
        }
        let (rate, burst) = (self.rate(), self.burst());
        let before = self.cut.as_ref().map(Cut::window);
        let measured = before.and_then(|sample| sample.rate(refusal, now));
        let next = measured.map_or(rate.scaled(KEPT), |measured| {
            measured.clamp(rate.scaled(KEPT_MIN), rate.scaled(MEASURED))
        });
        let surplus = match refusal {
            Refusal::Quota { spare } => spare,
            Refusal::Overload => 0,
        };
        let doublings = self.cut.as_ref().map_or(0, |cut| doubled(cut.doublings, rate));
        self.cut = Some(Cut {
            rate: next.max(self.ceiling().scaled(FLOOR)),
            burst: burst.saturating_sub(surplus).max(1),
            proven: rate.scaled(PROVEN),
            since_ns: now,
            grown_ns: now,
            doublings,
            burst_steps: 0,
            // An overload says nothing about the bucket: this sample does not begin with an empty one.
            sample: Sample { since_ns: now, served: 0, overflowed: refusal == Refusal::Overload },
            before,
        });
    }

    /// Gives back what time has earned.
    pub(super) fn recover(&mut self, now: u64) {
        let (ceiling, plan) = (self.ceiling(), self.plan);
        let Some(cut) = &mut self.cut else { return };
        cut.rate = cut.rate.min(ceiling);
        let step_ns = step_ns(cut.rate);
        let steps = now.saturating_sub(cut.grown_ns) / step_ns;
        if steps == 0 {
            return;
        }
        cut.grown_ns = cut.grown_ns.saturating_add(steps.saturating_mul(step_ns));
        let gained = u128::from(ceiling.nano_hz()) * u128::from(steps) * u128::from(STEP);
        let doublings = if cut.rate < cut.proven { 0 } else { cut.doublings };
        let gained = u64::try_from((gained / 1_000_000) >> doublings).unwrap_or(u64::MAX);
        cut.rate = Rate::from_nano_hz(cut.rate.nano_hz().saturating_add(gained)).min(ceiling);
        cut.burst_steps = cut.burst_steps.saturating_add(steps);
        let per_call = BURST_STEPS << cut.doublings;
        let calls = u32::try_from(cut.burst_steps / per_call).unwrap_or(u32::MAX);
        cut.burst_steps %= per_call;
        cut.burst = cut.burst.saturating_add(calls).min(plan.burst());
        if cut.rate == ceiling && cut.burst == plan.burst() {
            self.cut = None;
        }
    }
}

fn step_ns(rate: Rate) -> u64 {
    rate.interval_ns().max(STEP_MIN_NS)
}

fn doubled(doublings: u32, rate: Rate) -> u32 {
    let way_back_ns = step_ns(rate).saturating_mul(WAY_BACK_STEPS << doublings.min(24));
    if doublings < DOUBLINGS_MAX || way_back_ns < WAY_BACK_NS { doublings + 1 } else { doublings }
}

impl Cut {
    /// The latest sample, with the one before if it is too small alone.
    fn window(&self) -> Sample {
        let alone = |_: &Sample| self.sample.served < SAMPLE_MIN;
        self.before.filter(alone).map_or(self.sample, |before| Sample {
            since_ns: before.since_ns,
            served: before.served.saturating_add(self.sample.served),
            overflowed: before.overflowed || self.sample.overflowed,
        })
    }
}

impl Sample {
    /// What Amazon's bucket refilled, a little less than it.
    fn rate(self, refusal: Refusal, now: u64) -> Option<Rate> {
        let empty = matches!(refusal, Refusal::Quota { .. }) && !self.overflowed;
        let elapsed = u128::from(now.saturating_sub(self.since_ns));
        if !empty || self.served < SAMPLE_MIN || elapsed == 0 {
            return None;
        }
        let nano_hz = u128::from(self.served) * 1_000_000_000_000_000_000 / elapsed;
        Some(Rate::from_nano_hz(u64::try_from(nano_hz).unwrap_or(u64::MAX)).scaled(MEASURED))
    }
}
