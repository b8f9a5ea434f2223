//! The detectors' figures. Each default was chosen from the table that `cargo bench --bench
//! detectors` prints.
use std::time::Duration;

use super::event::Metric;
use super::signal::{Mode, Response};

/// All detectors' settings. Every [`Mode`] is `Observe` by default, except canaries, which have no
/// innocent explanation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    pub failures: FailureSettings,
    pub volume: VolumeSettings,
    pub slow: SlowSettings,
    pub enumeration: EnumerationSettings,
    pub canary: CanaryMode,
    pub intrusion: IntrusionSettings,
    pub logins: LoginSettings,
    pub sharing: SharingSettings,
    pub lasting: Lasting,
}

/// How long the steps last that signals ask for, as the rules of lockout have it: what still goes on then
/// is told again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lasting {
    pub slow: Duration,
    pub step_up: Duration,
}

impl Default for Lasting {
    fn default() -> Self {
        Self { slow: Duration::from_secs(900), step_up: Duration::from_secs(86_400) }
    }
}

impl Lasting {
    pub(super) const fn of(&self, asks: Response) -> Duration {
        match asks {
            Response::Slow => self.slow,
            Response::StepUp => self.step_up,
            // A note is over at once, and a lock ends with a release.
            Response::Note | Response::Lock => Duration::MAX,
        }
    }
}

/// The mode of the canary detector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CanaryMode(pub Mode);

impl Default for CanaryMode {
    fn default() -> Self {
        Self(Mode::Enforce)
    }
}

/// One figure for each metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PerMetric {
    pub requests: f32,
    pub bytes: f32,
    pub records: f32,
}

impl PerMetric {
    pub(super) const fn of(&self, metric: Metric) -> f32 {
        match metric {
            Metric::Requests => self.requests,
            Metric::Bytes => self.bytes,
            Metric::Records => self.records,
        }
    }
}

/// MON-1. Counted in a sliding quarter of an hour.
#[derive(Clone, Debug, PartialEq)]
pub struct FailureSettings {
    pub mode: Mode,
    /// Refused calls (401, 403, our 429) that are worth a note.
    pub refused_note: u16,
    /// Distinct operations asked for and not granted: somebody tries what the credential can do.
    pub scope_act: u16,
    /// Objects asked for that do not exist.
    pub missing_note: u16,
    pub missing_act: u16,
    /// As often as the identity's own usual most, at least.
    pub factor: f32,
}

/// MON-2 and MON-3, fast.
#[derive(Clone, Debug, PartialEq)]
pub struct VolumeSettings {
    /// For requests.
    pub rate_mode: Mode,
    /// For bytes and personal records.
    pub mode: Mode,
    /// Hours of history until an identity is judged by it rather than by its peers.
    pub learn_hours: u16,
    /// Below this a count is as good as nothing.
    pub floor: PerMetric,
    /// No limit is lower, in one hour.
    pub least: PerMetric,
    /// What a new identity may always do in an hour, whatever its peers do.
    pub cold: PerMetric,
    /// A new identity may do so many times what its role's peers hardly ever do.
    pub peer_factor: f32,
    /// Probability that a normal hour is noted, and that it is acted upon.
    pub risk_note: f32,
    pub risk_act: f32,
    /// No hour is acted upon below so many times its normal,
    pub hour_factor: f32,
    /// and no quarter below so many times the normal of the whole hour.
    pub quarter_factor: PerMetric,
    /// Nor above so many, for an identity whose hours are even.
    pub quarter_most: f32,
    /// Records that come faster than at so many times the hour's normal
    pub burst_pace: f32,
    /// are acted upon once they are more than so many times that normal,
    pub burst_factor: f32,
    /// and more than this.
    pub burst_least: f32,
    /// In an hour in which the identity hardly ever works, nothing is acted upon below so many times
    /// what it takes in one in which it works.
    pub elsewhere_factor: f32,
    /// No limit is above so many times the normal, whatever the tail says.
    pub factor_max: f32,
}

/// MON-3, slow.
#[derive(Clone, Debug, PartialEq)]
pub struct SlowSettings {
    pub mode: Mode,
    /// Odds of an answer with personal data that are to be found, as a multiple of the usual odds.
    pub odds: f32,
    /// Evidence that is noted, in natural units of a likelihood ratio's logarithm,
    pub note: f32,
    /// and that is acted upon.
    pub act: f32,
    /// Times the most that normal days brought.
    pub factor: f32,
    pub learn_days: u16,
}

/// MON-3, distinct objects.
#[derive(Clone, Debug, PartialEq)]
pub struct EnumerationSettings {
    pub mode: Mode,
    pub learn_hours: u16,
    /// No limit is lower.
    pub least_hour: f32,
    pub least_day: f32,
    /// For an identity without history.
    pub cold_hour: f32,
    pub cold_day: f32,
    /// Times what its history hardly ever exceeds.
    pub factor: f32,
    pub risk_note: f32,
    pub risk_act: f32,
}

/// MON-5. Per source, in a sliding quarter of an hour.
#[derive(Clone, Debug, PartialEq)]
pub struct IntrusionSettings {
    pub mode: Mode,
    pub scanner_note: u16,
    pub scanner_act: u16,
    pub malformed_note: u16,
    pub malformed_act: u16,
}

/// MON-6. In a sliding quarter of an hour.
#[derive(Clone, Debug, PartialEq)]
pub struct LoginSettings {
    pub mode: Mode,
    /// Failed logins from one source outside of every named network.
    pub source_note: u16,
    pub source_act: u16,
    /// Distinct identities that one source tried and failed.
    pub spray_act: u16,
    /// Failed logins of one identity from networks that are not named.
    pub identity_note: u16,
    pub identity_act: u16,
}

/// ACC-1.
#[derive(Clone, Debug, PartialEq)]
pub struct SharingSettings {
    pub mode: Mode,
    /// Returns within ten minutes to a place with another network and another kind of client, in one
    /// hour, that are noted,
    pub returns_note: u16,
    /// and acted upon.
    pub returns_act: u16,
    /// Times the most that its history has.
    pub factor: u16,
    pub learn_hours: u16,
}

impl Default for FailureSettings {
    fn default() -> Self {
        Self {
            mode: Mode::Observe,
            refused_note: 20,
            scope_act: 12,
            missing_note: 40,
            missing_act: 200,
            factor: 4.0,
        }
    }
}

impl Default for VolumeSettings {
    fn default() -> Self {
        Self {
            rate_mode: Mode::Observe,
            mode: Mode::Observe,
            learn_hours: 336,
            floor: PerMetric { requests: 16.0, bytes: 1_048_576.0, records: 16.0 },
            least: PerMetric { requests: 60.0, bytes: 8_388_608.0, records: 80.0 },
            cold: PerMetric { requests: 2_000.0, bytes: 268_435_456.0, records: 1_000.0 },
            peer_factor: 2.0,
            risk_note: 1e-3,
            risk_act: 1e-4,
            hour_factor: 5.5,
            quarter_factor: PerMetric { requests: 2.5, bytes: 2.2, records: 2.2 },
            quarter_most: 2.3,
            burst_pace: 9.0,
            burst_factor: 0.7,
            burst_least: 40.0,
            elsewhere_factor: 3.0,
            factor_max: 7.5,
        }
    }
}

impl Default for SlowSettings {
    fn default() -> Self {
        Self { mode: Mode::Observe, odds: 5.0, note: 10.0, act: 16.0, factor: 2.0, learn_days: 14 }
    }
}

impl Default for EnumerationSettings {
    fn default() -> Self {
        Self {
            mode: Mode::Observe,
            learn_hours: 336,
            least_hour: 200.0,
            least_day: 500.0,
            cold_hour: 2_000.0,
            cold_day: 10_000.0,
            factor: 2.5,
            risk_note: 1e-3,
            risk_act: 1e-6,
        }
    }
}

impl Default for IntrusionSettings {
    fn default() -> Self {
        Self {
            mode: Mode::Observe,
            scanner_note: 3,
            scanner_act: 10,
            malformed_note: 10,
            malformed_act: 50,
        }
    }
}

impl Default for LoginSettings {
    fn default() -> Self {
        Self {
            mode: Mode::Observe,
            source_note: 10,
            source_act: 40,
            spray_act: 10,
            identity_note: 20,
            identity_act: 100,
        }
    }
}

impl Default for SharingSettings {
    fn default() -> Self {
        Self { mode: Mode::Observe, returns_note: 6, returns_act: 16, factor: 2, learn_hours: 336 }
    }
}
