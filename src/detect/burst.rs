//! Records of personal data within minutes (MON-3): a leaky bucket that empties at several times the
//! hour's normal. Ordinary work and a deployment's retries leave it nearly empty; who takes in minutes
//! what belongs to an hour fills it, wherever in the hour the minutes fall.
//!
//! It is Page's CUSUM of a rate in continuous time, and like it finds a rise sooner than a window of
//! any length with as few false alarms (Lorden, 1971).
use crate::base::Moment;

use super::history::{Bytes, HistoryFault};
use super::limits::{By, higher};
use super::scale::real;
use super::settings::VolumeSettings;

#[derive(Clone, Copy, Debug)]
pub(super) struct Burst {
    /// The part of an hour's records that comes in its busiest quarter, on average over hours.
    pub(super) habit: f32,
    level: f32,
    /// How much leaves it in an hour.
    pace: f32,
    limit: f32,
    by: By,
    /// The part of the hour that was to come when it was last looked at.
    left: f32,
    /// When it was last empty, in milliseconds since 1970.
    since_ms: u64,
}

/// It holds more than it may.
#[derive(Clone, Copy, Debug)]
pub(super) struct Over {
    pub(super) level: f32,
    pub(super) limit: f32,
    pub(super) by: By,
    pub(super) since_ms: u64,
}

/// Where more comes in one quarter, the identity works in jobs: one is all that its hour brings, and
/// the minutes of a job look like a scraper's.
const JOBS: f32 = 0.7;
const HOURS_WEIGHED: f32 = 24.0;

impl Default for Burst {
    fn default() -> Self {
        // Until a dozen hours say otherwise it may be jobs.
        Self {
            habit: 1.0,
            level: 0.0,
            pace: 0.0,
            limit: f32::INFINITY,
            by: By::BurstFactor,
            left: 1.0,
            since_ms: 0,
        }
    }
}

impl Burst {
    /// From an hour with work that is over: `part` of it came in its busiest quarter.
    pub(super) fn learn(&mut self, part: f32) {
        self.habit += (part.clamp(0.0, 1.0) - self.habit) / HOURS_WEIGHED;
    }

    /// An hour is over, and so many after it in which nothing came.
    pub(super) fn turn(&mut self, silent: u64) {
        self.leak(0.0);
        self.left = 1.0;
        if silent > 0 {
            self.level = 0.0;
        }
    }

    /// The hour should bring `normal` records; of a `young` identity nobody knows.
    pub(super) fn expect(&mut self, normal: f32, young: bool, settings: &VolumeSettings) {
        self.pace = normal * settings.burst_pace;
        let judged = !young && self.habit < JOBS;
        let by_factor = (normal * settings.burst_factor, By::BurstFactor);
        let (limit, by) = higher(by_factor, (settings.burst_least, By::BurstLeast));
        (self.limit, self.by) = (if judged { limit } else { f32::INFINITY }, by);
    }

    /// What is in it, over a restart.
    pub(super) fn pass(&mut self, by: &mut impl Bytes) -> Result<(), HistoryFault> {
        by.within(&mut self.level, 0.0, f32::MAX)?;
        by.within(&mut self.pace, 0.0, f32::MAX)?;
        by.within(&mut self.left, 0.0, 1.0)?;
        by.u64(&mut self.since_ms)
    }

    /// `left`: the part of the hour that is to come at `at`.
    pub(super) fn count(&mut self, records: u64, left: f32, at: Moment) -> Option<Over> {
        self.leak(left);
        if self.level <= 0.0 {
            self.since_ms = at.unix_ms();
        }
        self.level += real(records);
        let Self { level, limit, by, since_ms, .. } = *self;
        (level > limit).then_some(Over { level, limit, by, since_ms })
    }

    fn leak(&mut self, left: f32) {
        self.level = (self.level - self.pace * (self.left - left).max(0.0)).max(0.0);
        self.left = left;
    }
}
