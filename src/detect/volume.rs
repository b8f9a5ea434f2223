//! Requests, bytes and personal records against the identity's own history (MON-2, MON-3).
//!
//! Expected is what the hour of the week has brought; the limit is where the tail of what differed
//! from it ends. The hour is judged as a whole and by its busiest quarter: a fast scraper takes in
//! some minutes what belongs to an hour, while a busy month's end is only busier throughout. Personal
//! records are judged by the minute as well, where the identity's work does not come in bursts.
use crate::base::{Moment, RoleIx};

use super::burst::{Burst, Over};
use super::event::Metric;
use super::habit::Habit;
use super::history::{Bytes, HistoryFault};
use super::limits::{BLOCK, Limits, floor};
use super::peers::Usual;
use super::scale::{count_of, octaves, real, whole};
use super::settings::VolumeSettings;
use super::signal::{Detector, Explanation, Level, Response, Severity, Signal, Subject};
use super::told::Told;
use super::watch::{Beat, Turned};
use super::window::{HOUR_MS, QUARTER_MS, hour_of_week};

/// What an identity did in an hour that is over: for its role's peers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HourTotals {
    pub role: RoleIx,
    /// Octaves of each metric.
    pub(super) octaves: [f32; 3],
}

/// Longer silence is absence, not habit, and teaches nothing.
const SILENCE_HOURS: u64 = 72;

/// One metric's counts.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Gauge {
    limits: Limits,
    pub(super) hour: u32,
    quarter: u32,
    before: u32,
    /// The most of a sliding quarter within this hour.
    pub(super) peak: u32,
    /// What was said in this hour already.
    pub(super) told: Told,
}

/// Each request touches the first part, and each hour the second.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(super) struct Volume {
    /// Of records.
    pub(super) burst: Burst,
    gauges: [Gauge; 3],
    /// Hours since the first event.
    pub(super) age: u16,
    /// A note was made of this hour. The three rise together, and one note says so.
    noted: bool,
    pub(super) habits: [Habit; 3],
}

/// The strongest signal of each detector.
pub(super) type Both = (Option<Signal>, Option<Signal>);

impl Volume {
    /// Learns what is over and sets the limits of what begins.
    pub(super) fn turn(
        &mut self,
        turned: &Turned,
        beat: &Beat<'_>,
        peers: &impl Usual,
    ) -> Option<HourTotals> {
        if turned.quarter.is_some() {
            for gauge in &mut self.gauges {
                gauge.before = match turned.quarter {
                    Some(ended) if ended.silent == 0 => gauge.quarter,
                    _ => 0,
                };
                gauge.quarter = 0;
            }
        }
        let settings = &beat.settings.volume;
        let mut totals = None;
        if let Some(ended) = turned.hour {
            let hour = hour_of_week(ended.began_ms);
            let role = beat.event.role.filter(|_| ended.whole);
            totals = role.map(|role| HourTotals { role, octaves: self.octaves(settings) });
            let silent = ended.silent.min(SILENCE_HOURS);
            let passed = u16::try_from(ended.silent.saturating_add(1)).unwrap_or(u16::MAX);
            let both = self.gauges.iter().zip(&mut self.habits);
            for ((gauge, habit), metric) in both.zip(Metric::ALL) {
                let floor = floor(metric, settings);
                if ended.whole {
                    if metric == Metric::Records
                        && let Some(part) = gauge.busiest(floor)
                    {
                        self.burst.learn(part);
                    }
                    habit.learn(gauge, hour, self.age, floor);
                }
                for silence in 1..=silent {
                    habit.learn_silence(gauge, hour + silence, self.age);
                }
                habit.fade(passed);
            }
            self.age = self.age.saturating_add(passed);
            self.noted = false;
            self.gauges.iter_mut().for_each(Gauge::begin);
            self.burst.turn(ended.silent);
        }
        if turned.hour.is_some() || turned.first {
            self.set_limits(beat, peers);
        }
        totals
    }

    fn set_limits(&mut self, beat: &Beat<'_>, peers: &impl Usual) {
        let settings = &beat.settings.volume;
        let young = self.age < settings.learn_hours;
        let hour = hour_of_week(beat.event.at.unix_ms());
        let ceilings = if young { peers.at_most(beat.event.role) } else { [0.0; 3] };
        let both = self.gauges.iter_mut().zip(&self.habits);
        for (((gauge, habit), metric), ceiling) in both.zip(Metric::ALL).zip(ceilings) {
            gauge.limits = if young {
                Limits::of_peers(ceiling, metric, settings)
            } else {
                habit.limits(hour, metric, settings)
            };
        }
        let [.., records] = &self.habits;
        let normal = records.normal(hour, floor(Metric::Records, settings));
        self.burst.expect(normal, young, settings);
    }

    /// What it counts, over a restart.
    pub(super) fn pass(&mut self, by: &mut impl Bytes) -> Result<(), HistoryFault> {
        for gauge in &mut self.gauges {
            let Gauge { hour, quarter, before, peak, told, .. } = gauge;
            for count in [hour, quarter, before, peak] {
                by.u32(count)?;
            }
            by.told(told)?;
        }
        let mut noted = u8::from(self.noted);
        by.u8(&mut noted)?;
        self.noted = noted != 0;
        self.burst.pass(by)
    }

    /// Of these stretches nobody knows any more.
    pub(super) fn forget(&mut self, quarter: bool, hour: bool) {
        for gauge in self.gauges.iter_mut().filter(|_| quarter) {
            (gauge.quarter, gauge.before) = (0, 0);
        }
        if hour {
            self.noted = false;
            self.gauges.iter_mut().for_each(Gauge::begin);
            self.burst.turn(1);
        }
    }

    /// Rate, and volume.
    pub(super) fn observe(&mut self, beat: &Beat<'_>) -> Both {
        let (mut rate, mut volume) = (None, None);
        if !beat.event.is_served() {
            return (rate, volume);
        }
        let left = beat.quarter.left(beat.event.at, QUARTER_MS);
        let both = self.gauges.iter_mut().zip(&self.habits);
        for ((gauge, habit), metric) in both.zip(Metric::ALL) {
            gauge.count(metric.of(beat.event), metric, left);
            let mut burst = None;
            if metric == Metric::Records {
                let left = beat.hour.left(beat.event.at, HOUR_MS);
                burst = self.burst.count(beat.event.records, left, beat.event.at);
            }
            let Some(level) = gauge.rises(burst.is_some(), left, metric, beat) else { continue };
            if level == Level::Note && self.noted {
                continue;
            }
            let (said, mode) = match metric {
                Metric::Requests => (&mut rate, beat.settings.volume.rate_mode),
                Metric::Bytes | Metric::Records => (&mut volume, beat.settings.volume.mode),
            };
            let usual = habit.usual(hour_of_week(beat.event.at.unix_ms()));
            let signal = gauge.signal(level, metric, usual, beat, burst).under(mode);
            self.noted |= signal.is_some();
            *said = stronger(*said, signal);
        }
        (rate, volume)
    }

    fn octaves(&self, settings: &VolumeSettings) -> [f32; 3] {
        let mut all = [0.0; 3];
        for ((to, gauge), metric) in all.iter_mut().zip(&self.gauges).zip(Metric::ALL) {
            *to = octaves(u64::from(gauge.hour), floor(metric, settings));
        }
        all
    }
}

fn stronger(one: Option<Signal>, other: Option<Signal>) -> Option<Signal> {
    let rank = |signal: &Option<Signal>| signal.map(|signal| (signal.level, signal.severity));
    if rank(&other) > rank(&one) { other } else { one }
}

/// What too much of it leads to.
const fn asks(metric: Metric) -> Response {
    match metric {
        Metric::Requests => Response::Slow,
        Metric::Bytes => Response::StepUp,
        Metric::Records => Response::Lock,
    }
}

impl Gauge {
    fn begin(&mut self) {
        self.hour = 0;
        self.peak = 0;
        self.told = Told::default();
    }

    /// Which part of this hour came in its busiest quarter, if it was an hour with work.
    fn busiest(&self, floor: f32) -> Option<f32> {
        let (peak, hour) = (real(u64::from(self.peak)), real(u64::from(self.hour)));
        (hour >= floor && !self.told.acted()).then_some(peak / hour)
    }

    fn count(&mut self, amount: u64, metric: Metric, left: f32) {
        let amount = match metric {
            Metric::Bytes => amount.div_ceil(BLOCK),
            Metric::Requests | Metric::Records => amount,
        };
        let amount = u32::try_from(amount).unwrap_or(u32::MAX);
        self.hour = self.hour.saturating_add(amount);
        self.quarter = self.quarter.saturating_add(amount);
        self.peak = self.peak.max(self.sliding(left));
    }

    /// What the last fifteen minutes brought, if the quarter before was an even one.
    fn sliding(&self, left: f32) -> u32 {
        let before = whole(real(u64::from(self.before)) * left);
        self.quarter.saturating_add(u32::try_from(before).unwrap_or(u32::MAX))
    }

    /// The level that is reached for the first time in this hour. What was acted upon goes on if the
    /// last quarter brought too much as well, for a quarter or at its pace for an hour.
    fn rises(&mut self, over: bool, left: f32, metric: Metric, beat: &Beat<'_>) -> Option<Level> {
        let passed = |level, hour: u32, quarter: u32| {
            let (by_hour, by_quarter) = self.limits.at(level);
            real(u64::from(hour)) > by_hour || real(u64::from(quarter)) > by_quarter
        };
        let level = match () {
            () if over || passed(Level::Act, self.hour, self.peak) => Level::Act,
            () if passed(Level::Note, self.hour, self.peak) => Level::Note,
            () => return None,
        };
        if self.told.acted() && !over {
            let quarter = self.sliding(left);
            if !passed(Level::Act, quarter.saturating_mul(4), quarter) {
                return None;
            }
        }
        self.told.rises(level, beat.in_hour(asks(metric))).then_some(level)
    }

    /// `usual`: what the hour brings, in octaves.
    fn signal(
        &self,
        level: Level,
        metric: Metric,
        usual: f32,
        beat: &Beat<'_>,
        burst: Option<Over>,
    ) -> Signal {
        let at: Moment = beat.event.at;
        let (hour_limit, quarter_limit) = self.limits.at(level);
        let (by_hour, by_quarter) = self.limits.by(level);
        let (hour, peak) = (real(u64::from(self.hour)), real(u64::from(self.peak)));
        let (seen, limit, since_ms, by) = if let Some(burst) = burst {
            (burst.level, burst.limit, burst.since_ms, burst.by)
        } else if hour > hour_limit {
            (hour, hour_limit, beat.hour.began_ms(), by_hour)
        } else {
            (peak, quarter_limit, at.unix_ms().saturating_sub(QUARTER_MS), by_quarter)
        };
        let usual = count_of(usual, floor(metric, &beat.settings.volume));
        let unit = if metric == Metric::Bytes { BLOCK } else { 1 };
        let (asks, severity) = match (level, metric) {
            (Level::Note, _) => (Response::Note, Severity::Low),
            (Level::Act, Metric::Requests) => (asks(metric), Severity::Medium),
            (Level::Act, Metric::Bytes) => (asks(metric), Severity::High),
            (Level::Act, Metric::Records) => (asks(metric), Severity::Critical),
        };
        Signal {
            detector: match metric {
                Metric::Requests => Detector::Rate,
                Metric::Bytes | Metric::Records => Detector::Volume,
            },
            subject: Subject::Identity(beat.identity),
            level,
            severity,
            asks,
            authenticated: true,
            why: Explanation {
                seen: whole(seen).saturating_mul(unit),
                expected: whole(usual).saturating_mul(unit),
                limit: whole(limit).saturating_mul(unit),
                unit: metric.as_str(),
                since_ms,
                setting: by.setting(metric),
            },
            at,
        }
    }
}
