//! What one metric's hours bring: what detection is held against.
use super::event::Metric;
use super::limits::{Limits, Normal};
use super::scale::{count_of, octaves, real};
use super::settings::VolumeSettings;
use super::tail::Tail;
use super::volume::Gauge;
use super::week::Week;

/// Octaves in an hour.
const FADING: f32 = 0.01;
const WEEKS_WEIGHED: u16 = 3;
const HOURS_OF_WEEK: u16 = 168;

/// Touched when an hour begins or ends.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Habit {
    pub(super) week: Week,
    pub(super) hour_tail: Tail,
    pub(super) quarter_tail: Tail,
    /// The most of an hour in the last days, in octaves; fades by an octave in four days.
    pub(super) recent: f32,
}

impl Habit {
    /// Learns from an hour that is over.
    pub(super) fn learn(&mut self, counted: &Gauge, hour: u64, age: u16, floor: f32) {
        let seen = octaves(u64::from(counted.hour), floor);
        if !counted.told.acted() {
            self.recent = self.recent.max(seen);
        }
        let usual = self.week.around(hour);
        let worked = seen >= 1.0 || usual >= 1.0;
        // The first week has nothing to differ from, and an attack is no part of what is usual.
        if age >= HOURS_OF_WEEK && worked && !counted.told.acted() {
            self.hour_tail.learn(seen - usual);
            if usual >= 1.5 && counted.peak > 0 {
                self.quarter_tail.learn(octaves(u64::from(counted.peak), floor) - usual);
            }
        }
        self.learn_hour(counted, hour, seen, age);
    }

    pub(super) fn learn_silence(&mut self, counted: &Gauge, hour: u64, age: u16) {
        self.learn_hour(counted, hour, 0.0, age);
    }

    fn learn_hour(&mut self, counted: &Gauge, hour: u64, seen: f32, age: u16) {
        let weeks = age / HOURS_OF_WEEK;
        let before = self.week.at(hour);
        // A holiday or a month's end is no new habit; what is done in other hours already may become
        // one in this hour too.
        let most = if counted.told.acted() { before } else { self.week.highest() + 0.5 };
        let seen = if weeks < 2 { seen } else { seen.clamp(before - 2.0, most) };
        // Forgetting is slower: what was normal a month ago is no surprise.
        let weighed = if seen < before { 3 * WEEKS_WEIGHED } else { WEEKS_WEIGHED };
        let weight = 1.0 / f32::from((weeks + 1).min(weighed));
        self.week.learn(hour, seen, weight, dither(hour, age));
    }

    /// So many hours have passed.
    pub(super) fn fade(&mut self, hours: u16) {
        self.recent = (self.recent - FADING * f32::from(hours)).max(0.0);
    }

    pub(super) fn limits(&self, hour: u64, metric: Metric, settings: &VolumeSettings) -> Limits {
        let normal = Normal {
            usual: self.week.around(hour),
            highest: self.week.highest(),
            recent: self.recent,
            hour_tail: &self.hour_tail,
            quarter_tail: &self.quarter_tail,
        };
        Limits::of(&normal, metric, settings)
    }

    /// In octaves.
    pub(super) fn usual(&self, hour: u64) -> f32 {
        self.week.around(hour)
    }

    /// What this hour brings; in one in which the identity hardly ever works, what one brings in which
    /// it does.
    pub(super) fn normal(&self, hour: u64, floor: f32) -> f32 {
        let (usual, highest) = (self.week.around(hour), self.week.highest());
        count_of(if usual < highest - 1.5 { highest } else { usual }, floor).max(floor)
    }
}

/// Evenly spread over 0 to 1 and the same on every run.
fn dither(hour: u64, age: u16) -> f32 {
    let mixed = (hour ^ u64::from(age) << 16).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48;
    real(mixed) / 65_536.0
}
