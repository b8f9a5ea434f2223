//! Settings by detector, for people who look at them: each figure under its name in the configuration.
use super::settings::{PerMetric, Settings, VolumeSettings};
use super::signal::{Detector, Mode};

impl Mode {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Observe => "observe",
            Self::Enforce => "enforce",
        }
    }
}

impl Settings {
    pub const fn mode(&self, detector: Detector) -> Mode {
        match detector {
            Detector::Failures => self.failures.mode,
            Detector::Rate => self.volume.rate_mode,
            Detector::Volume => self.volume.mode,
            Detector::Slow => self.slow.mode,
            Detector::Enumeration => self.enumeration.mode,
            Detector::Canary => self.canary.0,
            Detector::Intrusion => self.intrusion.mode,
            Detector::Logins => self.logins.mode,
            Detector::Sharing => self.sharing.mode,
        }
    }

    /// What can be tuned of a detector, and what it is set to.
    pub fn figures(&self, detector: Detector) -> Vec<(&'static str, f64)> {
        let (failures, volume, slow) = (&self.failures, &self.volume, &self.slow);
        let (wide, intrusion) = (&self.enumeration, &self.intrusion);
        let (logins, sharing) = (&self.logins, &self.sharing);
        match detector {
            Detector::Failures => vec![
                ("failures.refused_note", f64::from(failures.refused_note)),
                ("failures.scope_act", f64::from(failures.scope_act)),
                ("failures.missing_note", f64::from(failures.missing_note)),
                ("failures.missing_act", f64::from(failures.missing_act)),
                ("failures.factor", f64::from(failures.factor)),
            ],
            Detector::Rate => vec![
                ("volume.learn_hours", f64::from(volume.learn_hours)),
                ("volume.least.requests", f64::from(volume.least.requests)),
                ("volume.cold.requests", f64::from(volume.cold.requests)),
                ("volume.quarter_factor.requests", f64::from(volume.quarter_factor.requests)),
            ]
            .into_iter()
            .chain(of_both(volume))
            .collect(),
            Detector::Volume => {
                let two = |bytes, records, of: &PerMetric| {
                    [(bytes, f64::from(of.bytes)), (records, f64::from(of.records))]
                };
                let mut all = vec![("volume.learn_hours", f64::from(volume.learn_hours))];
                all.extend(two("volume.least.bytes", "volume.least.records", &volume.least));
                all.extend(two("volume.cold.bytes", "volume.cold.records", &volume.cold));
                all.extend(two(
                    "volume.quarter_factor.bytes",
                    "volume.quarter_factor.records",
                    &volume.quarter_factor,
                ));
                all.extend(of_both(volume));
                all.push(("volume.burst_factor", f64::from(volume.burst_factor)));
                all.push(("volume.burst_pace", f64::from(volume.burst_pace)));
                all.push(("volume.burst_least", f64::from(volume.burst_least)));
                all
            }
            Detector::Slow => vec![
                ("slow.odds", f64::from(slow.odds)),
                ("slow.note", f64::from(slow.note)),
                ("slow.act", f64::from(slow.act)),
                ("slow.factor", f64::from(slow.factor)),
                ("slow.learn_days", f64::from(slow.learn_days)),
            ],
            Detector::Enumeration => vec![
                ("enumeration.learn_hours", f64::from(wide.learn_hours)),
                ("enumeration.least_hour", f64::from(wide.least_hour)),
                ("enumeration.least_day", f64::from(wide.least_day)),
                ("enumeration.cold_hour", f64::from(wide.cold_hour)),
                ("enumeration.cold_day", f64::from(wide.cold_day)),
                ("enumeration.factor", f64::from(wide.factor)),
                ("enumeration.risk_note", f64::from(wide.risk_note)),
                ("enumeration.risk_act", f64::from(wide.risk_act)),
            ],
            Detector::Canary => Vec::new(),
            Detector::Intrusion => vec![
                ("intrusion.scanner_note", f64::from(intrusion.scanner_note)),
                ("intrusion.scanner_act", f64::from(intrusion.scanner_act)),
                ("intrusion.malformed_note", f64::from(intrusion.malformed_note)),
                ("intrusion.malformed_act", f64::from(intrusion.malformed_act)),
            ],
            Detector::Logins => vec![
                ("logins.source_note", f64::from(logins.source_note)),
                ("logins.source_act", f64::from(logins.source_act)),
                ("logins.spray_act", f64::from(logins.spray_act)),
                ("logins.identity_note", f64::from(logins.identity_note)),
                ("logins.identity_act", f64::from(logins.identity_act)),
            ],
            Detector::Sharing => vec![
                ("sharing.returns_note", f64::from(sharing.returns_note)),
                ("sharing.returns_act", f64::from(sharing.returns_act)),
                ("sharing.factor", f64::from(sharing.factor)),
                ("sharing.learn_hours", f64::from(sharing.learn_hours)),
            ],
        }
    }
}

/// What limits of requests have in common with those of bytes and records.
fn of_both(volume: &VolumeSettings) -> [(&'static str, f64); 7] {
    [
        ("volume.peer_factor", f64::from(volume.peer_factor)),
        ("volume.risk_note", f64::from(volume.risk_note)),
        ("volume.risk_act", f64::from(volume.risk_act)),
        ("volume.hour_factor", f64::from(volume.hour_factor)),
        ("volume.quarter_most", f64::from(volume.quarter_most)),
        ("volume.elsewhere_factor", f64::from(volume.elsewhere_factor)),
        ("volume.factor_max", f64::from(volume.factor_max)),
    ]
}
