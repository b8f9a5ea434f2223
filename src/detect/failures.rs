//! Refused calls of an identity (MON-1): how many, and over how many operations. A deployment that
//! lost a permission is refused at the same few operations again and again; who tries what a
//! credential can do is refused at many.
use super::event::Outcome;
use super::history::{Bytes, HistoryFault};
use super::limits::higher;
use super::scale::{count_of, octaves, real, whole};
use super::settings::FailureSettings;
use super::signal::{Detector, Explanation, Level, Response, Severity, Signal, Subject};
use super::tail::Tail;
use super::told::Told;
use super::watch::{Beat, Turned};
use super::window::QUARTER_MS;

/// One kind of failure in a sliding quarter of an hour.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    quarter: u16,
    before: u16,
    /// The most of this hour.
    peak: u16,
    told: Told,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Failures {
    refused: Count,
    missing: Count,
    /// Which operations were refused that the identity may not use, one of 64 bits each.
    operations: u64,
    operations_before: u64,
    /// Of the hourly peaks, refused and missing together.
    pub(super) tail: Tail,
}

/// Refused calls that count for as good as nothing.
const FLOOR: f32 = 4.0;
const RISK: f32 = 1e-5;

impl Failures {
    pub(super) fn turn(&mut self, turned: &Turned) {
        if let Some(ended) = turned.quarter {
            for count in [&mut self.refused, &mut self.missing] {
                count.before = if ended.silent == 0 { count.quarter } else { 0 };
                count.quarter = 0;
            }
            self.operations_before = if ended.silent == 0 { self.operations } else { 0 };
            self.operations = 0;
        }
        if turned.hour.is_some_and(|ended| ended.whole) {
            let most = u64::from(self.refused.peak.saturating_add(self.missing.peak));
            if most > 0 && !(self.refused.told.acted() || self.missing.told.acted()) {
                self.tail.learn(octaves(most, FLOOR));
            }
        }
        if turned.hour.is_some() {
            for count in [&mut self.refused, &mut self.missing] {
                (count.peak, count.told) = (0, Told::default());
            }
        }
    }

    /// What it counts, over a restart.
    pub(super) fn pass(&mut self, by: &mut impl Bytes) -> Result<(), HistoryFault> {
        for Count { quarter, before, peak, told } in [&mut self.refused, &mut self.missing] {
            for count in [quarter, before, peak] {
                by.u16(count)?;
            }
            by.told(told)?;
        }
        by.u64(&mut self.operations)?;
        by.u64(&mut self.operations_before)
    }

    pub(super) fn observe(&mut self, beat: &Beat<'_>) -> Option<Signal> {
        let left = beat.quarter.left(beat.event.at, QUARTER_MS);
        match beat.event.outcome {
            Outcome::NotPermitted | Outcome::OverQuota => self.refused(beat, left),
            Outcome::NotFound => self.missing(beat, left),
            // Who fails to log in may be anybody; a throttle of Amazon's is no act of the caller.
            _ => None,
        }
    }

    fn refused(&mut self, beat: &Beat<'_>, left: f32) -> Option<Signal> {
        let settings = &beat.settings.failures;
        // Whoever is over its own quota tries nothing that it may not.
        let forbidden = beat.event.outcome == Outcome::NotPermitted;
        if let Some(operation) = beat.event.operation.filter(|_| forbidden) {
            let mixed = u64::from(operation.0).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            self.operations |= 1 << (mixed >> 58);
        }
        let seen = self.refused.count(left);
        let step_up = beat.in_hour(Response::StepUp);
        let breadth = (self.operations | self.operations_before).count_ones();
        if forbidden
            && breadth >= u32::from(settings.scope_act)
            && self.refused.told.rises(Level::Act, step_up)
        {
            let numbers = (u64::from(breadth), 1, u64::from(settings.scope_act));
            let why = explain(beat, numbers, "operations not granted", "detect.failures.scope_act");
            return signal(beat, Level::Act, Response::StepUp, why).under(settings.mode);
        }
        let note = (settings.refused_note, "detect.failures.refused_note");
        let (limit, setting) = higher(note, self.usual(settings));
        if seen <= limit || !self.refused.told.rises(Level::Note, step_up) {
            return None;
        }
        let numbers = (u64::from(seen), self.expected(), u64::from(limit));
        let why = explain(beat, numbers, "calls refused", setting);
        signal(beat, Level::Note, Response::Note, why).under(settings.mode)
    }

    fn missing(&mut self, beat: &Beat<'_>, left: f32) -> Option<Signal> {
        let settings = &beat.settings.failures;
        let seen = self.missing.count(left);
        let usual = self.usual(settings);
        let note = higher((settings.missing_note, "detect.failures.missing_note"), usual);
        let act = higher((settings.missing_act, "detect.failures.missing_act"), usual);
        let (level, asks, (limit, setting)) = match () {
            () if seen > act.0 => (Level::Act, Response::Slow, act),
            () if seen > note.0 => (Level::Note, Response::Note, note),
            () => return None,
        };
        if !self.missing.told.rises(level, beat.in_hour(asks)) {
            return None;
        }
        let numbers = (u64::from(seen), self.expected(), u64::from(limit));
        let why = explain(beat, numbers, "objects that do not exist", setting);
        signal(beat, level, asks, why).under(settings.mode)
    }

    /// So many times what its own history hardly ever exceeds.
    fn usual(&self, settings: &FailureSettings) -> (u16, &'static str) {
        let most = count_of(self.tail.quantile(RISK), FLOOR);
        let most = u16::try_from(whole(most * settings.factor / 2.0));
        (most.unwrap_or(u16::MAX), "detect.failures.factor")
    }

    /// What nineteen of twenty hours with such calls do not exceed.
    fn expected(&self) -> u64 {
        whole(count_of(self.tail.threshold(), FLOOR))
    }
}

impl Count {
    fn count(&mut self, left: f32) -> u16 {
        self.quarter = self.quarter.saturating_add(1);
        let before = whole(real(u64::from(self.before)) * left);
        let seen = self.quarter.saturating_add(u16::try_from(before).unwrap_or(u16::MAX));
        self.peak = self.peak.max(seen);
        seen
    }
}

fn explain(
    beat: &Beat<'_>,
    (seen, expected, limit): (u64, u64, u64),
    unit: &'static str,
    setting: &'static str,
) -> Explanation {
    let since_ms = beat.event.at.unix_ms().saturating_sub(QUARTER_MS);
    Explanation { seen, expected, limit, unit, since_ms, setting }
}

fn signal(beat: &Beat<'_>, level: Level, asks: Response, why: Explanation) -> Signal {
    let severity = match level {
        Level::Note => Severity::Low,
        Level::Act => Severity::High,
    };
    Signal {
        detector: Detector::Failures,
        subject: Subject::Identity(beat.identity),
        level,
        severity,
        asks,
        authenticated: beat.event.is_authenticated(),
        why,
        at: beat.event.at,
    }
}
