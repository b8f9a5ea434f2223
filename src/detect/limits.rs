//! Where the limits of an hour are, and which setting puts each of them there (MON-8).
use super::event::Metric;
use super::scale::{count_of, real};
use super::settings::VolumeSettings;
use super::signal::Level;
use super::tail::Tail;

/// Bytes are counted in blocks, so that 32 bits are enough for a terabyte.
pub(super) const BLOCK: u64 = 256;

/// The setting that moves a limit of volume.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum By {
    #[default]
    Least,
    Cold,
    PeerFactor,
    RiskNote,
    RiskAct,
    HourFactor,
    QuarterFactor,
    QuarterMost,
    FactorMax,
    ElsewhereFactor,
    BurstFactor,
    BurstLeast,
}

impl By {
    pub(super) const fn setting(self, metric: Metric) -> &'static str {
        match (self, metric) {
            (Self::Least, Metric::Requests) => "detect.volume.least.requests",
            (Self::Least, Metric::Bytes) => "detect.volume.least.bytes",
            (Self::Least, Metric::Records) => "detect.volume.least.records",
            (Self::Cold, Metric::Requests) => "detect.volume.cold.requests",
            (Self::Cold, Metric::Bytes) => "detect.volume.cold.bytes",
            (Self::Cold, Metric::Records) => "detect.volume.cold.records",
            (Self::QuarterFactor, Metric::Requests) => "detect.volume.quarter_factor.requests",
            (Self::QuarterFactor, Metric::Bytes) => "detect.volume.quarter_factor.bytes",
            (Self::QuarterFactor, Metric::Records) => "detect.volume.quarter_factor.records",
            (Self::PeerFactor, _) => "detect.volume.peer_factor",
            (Self::RiskNote, _) => "detect.volume.risk_note",
            (Self::RiskAct, _) => "detect.volume.risk_act",
            (Self::HourFactor, _) => "detect.volume.hour_factor",
            (Self::QuarterMost, _) => "detect.volume.quarter_most",
            (Self::FactorMax, _) => "detect.volume.factor_max",
            (Self::ElsewhereFactor, _) => "detect.volume.elsewhere_factor",
            (Self::BurstFactor, _) => "detect.volume.burst_factor",
            (Self::BurstLeast, _) => "detect.volume.burst_least",
        }
    }
}

/// The higher of two limits, each with what sets it.
pub(super) fn higher<L: PartialOrd, S>(one: (L, S), other: (L, S)) -> (L, S) {
    if other.0 > one.0 { other } else { one }
}

fn lower(one: (f32, By), other: (f32, By)) -> (f32, By) {
    if other.0 < one.0 { other } else { one }
}

/// One metric's limits: for a note, and to act.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Limits {
    hour: [f32; 2],
    quarter: [f32; 2],
    by: [[By; 2]; 2],
}

/// Where an identity's hours of work are, in counts of one metric.
#[derive(Clone, Copy, Debug)]
pub(super) struct Normal<'t> {
    /// Of this hour, in octaves.
    pub(super) usual: f32,
    /// Of the hour with the most.
    pub(super) highest: f32,
    /// The most of the last days.
    pub(super) recent: f32,
    pub(super) hour_tail: &'t Tail,
    pub(super) quarter_tail: &'t Tail,
}

/// A job that is run again is not much larger than it was.
const RECENT_FACTOR: f32 = 1.5;
/// In octaves of the hour's normal: in nineteen of twenty hours no quarter has more than so much.
const EVEN: f32 = -0.5;
const BURSTS: f32 = 0.1;

impl Limits {
    pub(super) fn of_peers(ceiling: f32, metric: Metric, settings: &VolumeSettings) -> Self {
        let peers = count_of(ceiling, floor(metric, settings)) * settings.peer_factor;
        let cold = in_blocks(settings.cold.of(metric), metric);
        let act = higher((cold, By::Cold), (peers, By::PeerFactor));
        let note = (act.0 / 2.0, act.1);
        Self::new([note, act], [note, act])
    }

    pub(super) fn of(own: &Normal<'_>, metric: Metric, settings: &VolumeSettings) -> Self {
        let floor = floor(metric, settings);
        let least = (in_blocks(settings.least.of(metric), metric), By::Least);
        let normal = count_of(own.usual, floor);
        // A job that runs at another hour than ever, or beside another, is noted, and acted upon only
        // if it takes more than the identity takes in the hours in which it works. What it took of
        // late has no setting, and one that outdoes it.
        let worked = f32::max(
            count_of(own.highest, floor) * settings.elsewhere_factor,
            count_of(own.recent, floor) * RECENT_FACTOR,
        );
        let worked = (worked, By::ElsewhereFactor);
        // An identity that never does in a quarter what belongs to an hour has no need to; one that
        // always does is judged by the hour.
        let habit = own.quarter_tail.threshold();
        let hour_factor = (settings.hour_factor, By::HourFactor);
        let hour_most = (settings.factor_max, By::FactorMax);
        let quarter_factor = (settings.quarter_factor.of(metric), By::QuarterFactor);
        let (quarter_factor, quarter_most) = match () {
            () if habit < EVEN => (quarter_factor, (settings.quarter_most, By::QuarterMost)),
            () if habit < BURSTS => (quarter_factor, (2.0 * quarter_factor.0, quarter_factor.1)),
            () => (hour_factor, hour_most),
        };
        let limit = |tail: &Tail, risk: (f32, By), factor: (f32, By), most: (f32, By)| {
            let by_tail = (count_of(own.usual + tail.quantile(risk.0), floor), risk.1);
            let by_factor = (normal * factor.0, factor.1);
            let most = higher(by_factor, (normal * most.0, most.1));
            higher(lower(higher(by_tail, by_factor), most), least)
        };
        let half = |(factor, by): (f32, By)| (factor / 2.0, by);
        let (to_note, to_act) =
            ((settings.risk_note, By::RiskNote), (settings.risk_act, By::RiskAct));
        let hour = |risk, factor| limit(own.hour_tail, risk, factor, hour_most);
        let quarter = |risk, factor| limit(own.quarter_tail, risk, factor, quarter_most);
        let quarter_act = quarter(to_act, quarter_factor);
        let by_hour = own.usual < own.highest - 1.5 || habit >= BURSTS;
        Self::new(
            [hour(to_note, half(hour_factor)), higher(hour(to_act, hour_factor), worked)],
            [
                quarter(to_note, half(quarter_factor)),
                if by_hour { higher(quarter_act, worked) } else { quarter_act },
            ],
        )
    }

    const fn new(hour: [(f32, By); 2], quarter: [(f32, By); 2]) -> Self {
        let [(hour_note, by_hour_note), (hour_act, by_hour_act)] = hour;
        let [(quarter_note, by_quarter_note), (quarter_act, by_quarter_act)] = quarter;
        Self {
            hour: [hour_note, hour_act],
            quarter: [quarter_note, quarter_act],
            by: [[by_hour_note, by_hour_act], [by_quarter_note, by_quarter_act]],
        }
    }

    /// Of the hour, and of its busiest quarter.
    pub(super) const fn at(&self, level: Level) -> (f32, f32) {
        let ([hour_note, hour_act], [quarter_note, quarter_act]) = (self.hour, self.quarter);
        match level {
            Level::Note => (hour_note, quarter_note),
            Level::Act => (hour_act, quarter_act),
        }
    }

    /// What sets them.
    pub(super) const fn by(&self, level: Level) -> (By, By) {
        let [[hour_note, hour_act], [quarter_note, quarter_act]] = self.by;
        match level {
            Level::Note => (hour_note, quarter_note),
            Level::Act => (hour_act, quarter_act),
        }
    }
}

/// In what is counted: blocks, for bytes.
pub(super) fn floor(metric: Metric, settings: &VolumeSettings) -> f32 {
    in_blocks(settings.floor.of(metric), metric).max(1.0)
}

fn in_blocks(count: f32, metric: Metric) -> f32 {
    match metric {
        Metric::Bytes => count / real(BLOCK),
        Metric::Requests | Metric::Records => count,
    }
}
