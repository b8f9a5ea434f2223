//! Failed logins from networks without a name (MON-6), as one identity sees them. What one source
//! does is in `sources`.
use super::event::Outcome;
use super::history::{Bytes, HistoryFault};
use super::scale::{real, whole};
use super::signal::{Detector, Explanation, Level, Response, Severity, Signal, Subject};
use super::told::Told;
use super::watch::{Beat, Turned};
use super::window::QUARTER_MS;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Logins {
    quarter: u16,
    before: u16,
    told: Told,
}

impl Logins {
    pub(super) fn turn(&mut self, turned: &Turned) {
        if let Some(ended) = turned.quarter {
            self.before = if ended.silent == 0 { self.quarter } else { 0 };
            self.quarter = 0;
        }
        if turned.hour.is_some() {
            self.told = Told::default();
        }
    }

    /// What it counts, over a restart.
    pub(super) fn pass(&mut self, by: &mut impl Bytes) -> Result<(), HistoryFault> {
        by.u16(&mut self.quarter)?;
        by.u16(&mut self.before)?;
        by.told(&mut self.told)
    }

    pub(super) fn observe(&mut self, beat: &Beat<'_>) -> Option<Signal> {
        if beat.event.outcome != Outcome::NotAuthenticated || beat.event.network.is_some() {
            return None;
        }
        let settings = &beat.settings.logins;
        self.quarter = self.quarter.saturating_add(1);
        let left = beat.quarter.left(beat.event.at, QUARTER_MS);
        let before = u16::try_from(whole(real(u64::from(self.before)) * left));
        let seen = self.quarter.saturating_add(before.unwrap_or(u16::MAX));
        let (level, limit, setting) = if seen >= settings.identity_act {
            (Level::Act, settings.identity_act, "detect.logins.identity_act")
        } else if seen >= settings.identity_note {
            (Level::Note, settings.identity_note, "detect.logins.identity_note")
        } else {
            return None;
        };
        if !self.told.rises(level, beat.in_hour(Response::StepUp)) {
            return None;
        }
        let (asks, severity) = match level {
            Level::Note => (Response::Note, Severity::Medium),
            Level::Act => (Response::StepUp, Severity::High),
        };
        let signal = Signal {
            detector: Detector::Logins,
            subject: Subject::Identity(beat.identity),
            level,
            severity,
            asks,
            authenticated: false,
            why: Explanation {
                seen: u64::from(seen),
                expected: 0,
                limit: u64::from(limit),
                unit: "failed logins from unknown networks",
                since_ms: beat.event.at.unix_ms().saturating_sub(QUARTER_MS),
                setting,
            },
            at: beat.event.at,
        };
        signal.under(settings.mode)
    }
}
