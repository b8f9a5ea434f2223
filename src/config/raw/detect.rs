//! `[detect]`: when something is out of the ordinary. Names, ranges and what they are for; the
//! defaults are the detectors' own, and come from the table in deploy/README.md.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

use super::At;
use super::value::PathText;
use crate::detect;

/// What a detector's signals may lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DetectMode {
    /// Nothing is said; history is learned still.
    Off,
    /// Alarms only.
    Observe,
    /// Alarms, and the step of the ladder that is asked for.
    Enforce,
}

impl From<detect::Mode> for DetectMode {
    fn from(mode: detect::Mode) -> Self {
        match mode {
            detect::Mode::Off => Self::Off,
            detect::Mode::Observe => Self::Observe,
            detect::Mode::Enforce => Self::Enforce,
        }
    }
}

impl From<DetectMode> for detect::Mode {
    fn from(mode: DetectMode) -> Self {
        match mode {
            DetectMode::Off => Self::Off,
            DetectMode::Observe => Self::Observe,
            DetectMode::Enforce => Self::Enforce,
        }
    }
}

/// A decimal number.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(transparent)]
pub(crate) struct Figure(f32);

/// As it is written: 0.001, not the nearest number with 24 binary digits.
impl Serialize for Figure {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_f64(self.0.to_string().parse().unwrap_or_default())
    }
}

impl From<f32> for Figure {
    fn from(figure: f32) -> Self {
        Self(figure)
    }
}

impl From<Figure> for f32 {
    fn from(figure: Figure) -> Self {
        figure.0
    }
}

/// One figure for each metric.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawPerMetric {
    /// Of requests.
    #[schemars(range(min = 0, max = 1_000_000_000_000_u64))]
    requests: Figure,
    /// Of bytes.
    #[schemars(range(min = 0, max = 1_000_000_000_000_000_u64))]
    bytes: Figure,
    /// Of records with personal data.
    #[schemars(range(min = 0, max = 1_000_000_000_000_u64))]
    records: Figure,
}

impl From<detect::PerMetric> for RawPerMetric {
    fn from(own: detect::PerMetric) -> Self {
        Self { requests: own.requests.into(), bytes: own.bytes.into(), records: own.records.into() }
    }
}

impl From<RawPerMetric> for detect::PerMetric {
    fn from(raw: RawPerMetric) -> Self {
        Self { requests: raw.requests.into(), bytes: raw.bytes.into(), records: raw.records.into() }
    }
}

/// Declares a table of figures that mirrors a detector's settings, field by field.
macro_rules! figures {
    ($(
        $(#[$meta:meta])*
        $raw:ident for $own:ident {
            $( $(#[$doc:meta])* $field:ident: $kind:ty $(= [$low:literal, $high:literal])?; )+
        }
    )+) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub(crate) struct $raw {
            $( $(#[$doc])* $(#[schemars(range(min = $low, max = $high))])? $field: $kind, )+
        }

        impl Default for $raw {
            fn default() -> Self {
                let own = detect::$own::default();
                Self { $($field: own.$field.into(),)+ }
            }
        }

        impl From<&$raw> for detect::$own {
            fn from(raw: &$raw) -> Self {
                Self { $($field: raw.$field.into(),)+ }
            }
        }
    )+};
}

figures! {
    /// Refused calls (MON-1), in a sliding quarter of an hour.
    RawFailures for FailureSettings {
        /// `off`, `observe` or `enforce`.
        mode: DetectMode;
        /// Refused calls (401, 403, the gateway's 429) that are worth a note.
        refused_note: u16 = [1, 65_535];
        /// Distinct operations asked for and not granted, acted upon: somebody tries what a credential can do.
        scope_act: u16 = [1, 64];
        /// Objects asked for that do not exist, worth a note.
        missing_note: u16 = [1, 65_535];
        /// Objects asked for that do not exist, acted upon.
        missing_act: u16 = [1, 65_535];
        /// At least so many times the identity's own usual most.
        factor: Figure = [1, 100];
    }
    /// Requests, bytes and records of personal data in an hour, against the identity's own history of
    /// that hour of the week (MON-2, MON-3).
    RawVolume for VolumeSettings {
        /// For requests: `off`, `observe` or `enforce`.
        rate_mode: DetectMode;
        /// For bytes and records: `off`, `observe` or `enforce`.
        mode: DetectMode;
        /// Hours of history until an identity is judged by it rather than by its role's peers.
        learn_hours: u16 = [1, 8_784];
        /// Below this a count is as good as nothing.
        floor: RawPerMetric;
        /// No limit is lower, in one hour.
        least: RawPerMetric;
        /// What a new identity may always do in an hour, whatever its peers do.
        cold: RawPerMetric;
        /// A new identity may do so many times what its role's peers hardly ever do.
        peer_factor: Figure = [1, 100];
        /// Probability that a normal hour is noted.
        risk_note: Figure = [0, 1];
        /// Probability that a normal hour is acted upon.
        risk_act: Figure = [0, 1];
        /// No hour is acted upon below so many times its normal.
        hour_factor: Figure = [1, 1_000];
        /// No quarter of an hour is acted upon below so many times the normal of the whole hour.
        quarter_factor: RawPerMetric;
        /// Nor above so many, for an identity whose hours are even.
        quarter_most: Figure = [1, 1_000];
        /// Records that come faster than at so many times the hour's normal are a burst.
        burst_pace: Figure = [1, 1_000];
        /// A burst is acted upon above so many times the hour's normal; not where an identity works in
        /// jobs of minutes.
        burst_factor: Figure = [0, 1_000];
        /// No burst of fewer records is acted upon.
        burst_least: Figure = [1, 1_000_000_000];
        /// In an hour in which the identity hardly ever works: no limit below so many times what it
        /// takes in one in which it works.
        elsewhere_factor: Figure = [1, 1_000];
        /// No limit is above so many times the normal.
        factor_max: Figure = [1, 1_000];
    }
    /// A share of answers with personal data that rose a little and stayed (MON-3).
    RawSlow for SlowSettings {
        /// `off`, `observe` or `enforce`.
        mode: DetectMode;
        /// Odds of such an answer that are to be found, as a multiple of the usual odds.
        odds: Figure = [1, 1_000];
        /// Evidence that is noted: the natural logarithm of a likelihood ratio.
        note: Figure = [1, 1_000];
        /// Evidence that is acted upon.
        act: Figure = [1, 1_000];
        /// Times the most that normal days brought.
        factor: Figure = [1, 100];
        /// Days of history until it says anything.
        learn_days: u16 = [1, 366];
    }
    /// Distinct objects asked for, against the identity's history (MON-3).
    RawEnumeration for EnumerationSettings {
        /// `off`, `observe` or `enforce`.
        mode: DetectMode;
        /// Hours of history until an identity is judged by it.
        learn_hours: u16 = [1, 8_784];
        /// No limit is lower, in an hour.
        least_hour: Figure = [1, 1_000_000_000];
        /// No limit is lower, in a day.
        least_day: Figure = [1, 1_000_000_000];
        /// For an identity without history, in an hour.
        cold_hour: Figure = [1, 1_000_000_000];
        /// For an identity without history, in a day.
        cold_day: Figure = [1, 1_000_000_000];
        /// Times what its history hardly ever exceeds.
        factor: Figure = [1, 1_000];
        /// Probability that a normal hour is noted.
        risk_note: Figure = [0, 1];
        /// Probability that a normal hour is acted upon.
        risk_act: Figure = [0, 1];
    }
    /// Scanner paths and malformed requests of one source, in a quarter of an hour (MON-5).
    RawIntrusion for IntrusionSettings {
        /// `off`, `observe` or `enforce`.
        mode: DetectMode;
        /// Scanner paths that are noted.
        scanner_note: u16 = [1, 65_535];
        /// Scanner paths that are acted upon.
        scanner_act: u16 = [1, 65_535];
        /// Malformed requests that are noted.
        malformed_note: u16 = [1, 65_535];
        /// Malformed requests that are acted upon.
        malformed_act: u16 = [1, 65_535];
    }
    /// Failed logins, in a quarter of an hour (MON-6).
    RawLogins for LoginSettings {
        /// `off`, `observe` or `enforce`.
        mode: DetectMode;
        /// Failed logins of one source outside of every named network, noted.
        source_note: u16 = [1, 65_535];
        /// Failed logins of one source outside of every named network, acted upon.
        source_act: u16 = [1, 65_535];
        /// Distinct identities that one source tried and failed, acted upon.
        spray_act: u16 = [1, 256];
        /// Failed logins of one identity from networks without a name, noted.
        identity_note: u16 = [1, 65_535];
        /// Failed logins of one identity from networks without a name, acted upon.
        identity_act: u16 = [1, 65_535];
    }
    /// One credential in several places at once (ACC-1).
    RawSharing for SharingSettings {
        /// `off`, `observe` or `enforce`.
        mode: DetectMode;
        /// Returns within ten minutes to a place with another network and another kind of client, in
        /// one hour, noted.
        returns_note: u16 = [1, 65_535];
        /// Such returns that are acted upon.
        returns_act: u16 = [1, 65_535];
        /// Times the most that its history has.
        factor: u16 = [1, 1_000];
        /// Hours of history until it says anything.
        learn_hours: u16 = [1, 8_784];
    }
}

/// When something is out of the ordinary. Every detector observes unless it is told otherwise, but
/// canaries, which have no innocent explanation.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawDetect {
    /// Refused calls.
    #[schemars(extend("x-control" = "MON-1"))]
    pub(crate) failures: RawFailures,
    /// Requests, bytes and records against history.
    #[schemars(extend("x-control" = "MON-3"))]
    pub(crate) volume: RawVolume,
    /// Slow exfiltration.
    #[schemars(extend("x-control" = "MON-3"))]
    pub(crate) slow: RawSlow,
    /// Distinct objects.
    #[schemars(extend("x-control" = "MON-3"))]
    pub(crate) enumeration: RawEnumeration,
    /// Planted records.
    #[schemars(extend("x-control" = "MON-4"))]
    pub(crate) canary: RawCanary,
    /// Scanner paths and malformed requests.
    #[schemars(extend("x-control" = "MON-5"))]
    pub(crate) intrusion: RawIntrusion,
    /// Failed logins.
    #[schemars(extend("x-control" = "MON-6"))]
    pub(crate) logins: RawLogins,
    /// One credential in several places.
    #[schemars(extend("x-control" = "ACC-1"))]
    pub(crate) sharing: RawSharing,
}

/// Planted records, of which nobody has a reason to ask (MON-4).
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawCanary {
    /// `off`, `observe` or `enforce`: then nothing of a request or an answer that holds one leaves,
    /// and the identity is locked.
    pub(crate) mode: DetectMode,
    /// A file with one id a line, of 8 to 63 letters, digits, `-` and `_`, and behind it the identity
    /// that it was planted for, if it is one's alone. What follows a `#` is a comment.
    pub(crate) file: Option<At<PathText>>,
}

impl Default for RawCanary {
    fn default() -> Self {
        Self { mode: detect::CanaryMode::default().0.into(), file: None }
    }
}
