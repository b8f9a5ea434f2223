//! Distinct objects per hour and per day, against the most that the identity's own hours and days
//! have brought (MON-3).
use super::history::{Bytes, HistoryFault};
use super::limits::higher;
use super::scale::{count_of, octaves, real, whole};
use super::settings::EnumerationSettings;
use super::signal::{Detector, Explanation, Level, Response, Severity, Signal, Subject};
use super::sketch::Sketch;
use super::tail::Tail;
use super::told::Told;
use super::watch::{Beat, Turned};

/// The part that is kept within an identity's 1 KiB.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Enumeration {
    pub(super) hour_tail: Tail,
    pub(super) day_tail: Tail,
    told_hour: Told,
    told_day: Told,
}

/// What was asked for in this hour and in this day.
#[derive(Clone, Debug, Default)]
pub(super) struct Objects {
    hour: Sketch,
    day: Sketch,
}

/// Distinct objects that count for as good as nothing.
const FLOOR: f32 = 16.0;

impl Enumeration {
    pub(super) fn turn(&mut self, turned: &Turned, objects: &mut Objects) {
        if let Some(ended) = turned.hour {
            let seen = octaves(objects.hour.estimate(), FLOOR);
            if ended.whole && seen >= 0.5 && !self.told_hour.acted() {
                self.hour_tail.learn(seen);
            }
            objects.hour.clear();
            self.told_hour = Told::default();
        }
        if let Some(ended) = turned.day {
            let seen = octaves(objects.day.estimate(), FLOOR);
            if ended.whole && seen >= 0.5 && !self.told_day.acted() {
                self.day_tail.learn(seen);
            }
            objects.day.clear();
            self.told_day = Told::default();
        }
    }

    /// What it counts, over a restart.
    pub(super) fn pass(
        &mut self,
        by: &mut impl Bytes,
        objects: &mut Objects,
    ) -> Result<(), HistoryFault> {
        by.told(&mut self.told_hour)?;
        by.told(&mut self.told_day)?;
        objects.hour.pass(by)?;
        objects.day.pass(by)
    }

    pub(super) fn observe(
        &mut self,
        beat: &Beat<'_>,
        objects: &mut Objects,
        age: u16,
    ) -> Option<Signal> {
        if !beat.event.is_served() {
            return None;
        }
        // Most of the time an object changes no sketch, and then there is nothing to judge.
        let mut changed = false;
        for object in beat.event.object.iter().chain(beat.event.named) {
            changed |= objects.hour.add(*object) | objects.day.add(*object);
        }
        if !changed {
            return None;
        }
        let settings = &beat.settings.enumeration;
        let young = age < settings.learn_hours;
        let mut strongest: Option<Signal> = None;
        for (seen, tail, told, is_hour) in [
            (objects.hour.estimate(), &self.hour_tail, &mut self.told_hour, true),
            (objects.day.estimate(), &self.day_tail, &mut self.told_day, false),
        ] {
            let Some((level, limit)) = passed(seen, limits(tail, young, is_hour, settings)) else {
                continue;
            };
            let asks = Response::StepUp;
            let when = if is_hour { beat.in_hour(asks) } else { beat.in_day(asks) };
            if !told.rises(level, when) {
                continue;
            }
            if strongest.is_none_or(|signal| signal.level < level) {
                let expected = whole(count_of(tail.quantile(0.05), FLOOR));
                strongest = Some(signal(beat, level, (seen, expected), limit, is_hour));
            }
        }
        strongest?.under(settings.mode)
    }
}

/// With what sets it.
type Limit = (f32, &'static str);

/// For a note, and to act.
fn limits(
    tail: &Tail,
    young: bool,
    is_hour: bool,
    settings: &EnumerationSettings,
) -> (Limit, Limit) {
    let (least, cold) = if is_hour {
        (
            (settings.least_hour, "detect.enumeration.least_hour"),
            (settings.cold_hour, "detect.enumeration.cold_hour"),
        )
    } else {
        (
            (settings.least_day, "detect.enumeration.least_day"),
            (settings.cold_day, "detect.enumeration.cold_day"),
        )
    };
    if young {
        return ((cold.0 / 2.0, cold.1), cold);
    }
    let at = |risk| count_of(tail.quantile(risk), FLOOR);
    let to_note = (at(settings.risk_note), "detect.enumeration.risk_note");
    let to_act = (at(settings.risk_act), "detect.enumeration.risk_act");
    let most = (at(0.05) * settings.factor, "detect.enumeration.factor");
    (higher(to_note, least), higher(higher(to_act, most), least))
}

fn passed(seen: u64, (note, act): (Limit, Limit)) -> Option<(Level, Limit)> {
    let seen = real(seen);
    match () {
        () if seen > act.0 => Some((Level::Act, act)),
        () if seen > note.0 => Some((Level::Note, note)),
        () => None,
    }
}

fn signal(
    beat: &Beat<'_>,
    level: Level,
    (seen, expected): (u64, u64),
    (limit, setting): Limit,
    is_hour: bool,
) -> Signal {
    let (asks, severity) = match level {
        Level::Note => (Response::Note, Severity::Low),
        Level::Act => (Response::StepUp, Severity::High),
    };
    let window = if is_hour { &beat.hour } else { &beat.day };
    Signal {
        detector: Detector::Enumeration,
        subject: Subject::Identity(beat.identity),
        level,
        severity,
        asks,
        authenticated: true,
        why: Explanation {
            seen,
            expected,
            limit: whole(limit),
            unit: "distinct objects",
            since_ms: window.began_ms(),
            setting,
        },
        at: beat.event.at,
    }
}
