//! Scanner paths, malformed protocol (MON-5) and failed logins (MON-6) of one source.
use crate::base::Moment;

use super::event::{Event, Outcome};
use super::history::{Bytes, HistoryFault};
use super::settings::Settings;
use super::signal::{Detector, Explanation, Level, Mode, Response, Severity, Signal, Subject};
use super::told::{Told, When};

pub(super) const WINDOW_NS: u64 = 900_000_000_000;

/// The monotonic clock, put forward by a window: so what began before the process did has its moment,
/// too, and none is zero.
pub(super) const fn ticks(at: Moment) -> u64 {
    at.mono_ns().saturating_add(WINDOW_NS + 1)
}

/// What the wall clock, as it is set `now`, said at `ticks`.
pub(super) const fn wall_ms(at_ticks: u64, now: Moment) -> u64 {
    now.unix_ms().saturating_sub(ticks(now).saturating_sub(at_ticks) / 1_000_000)
}

/// The other way round. What is still to come, by a clock that was set back, is now.
pub(super) const fn ticks_of(wall_ms: u64, now: Moment) -> u64 {
    let passed_ns = now.unix_ms().saturating_sub(wall_ms).saturating_mul(1_000_000);
    ticks(now).saturating_sub(passed_ns)
}

/// What one source did in its last quarter of an hour, which begins with its first bad event.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SourceCounts {
    /// In ticks.
    began_ns: u64,
    began_ms: u64,
    scanner: u16,
    malformed: u16,
    logins: u16,
    /// Which identities it tried, one of 256 bits each.
    tried: [u64; 4],
    told_intrusion: Told,
    told_logins: Told,
}

impl SourceCounts {
    /// Intrusion and logins.
    pub(super) fn observe(
        &mut self,
        event: &Event<'_>,
        settings: &Settings,
    ) -> (Option<Signal>, Option<Signal>) {
        if self.are_over(event.at) {
            *self = Self { began_ns: ticks(event.at), ..Self::default() };
            self.began_ms = event.at.unix_ms();
        }
        match event.outcome {
            Outcome::ScannerPath => self.scanner = self.scanner.saturating_add(1),
            Outcome::Malformed => self.malformed = self.malformed.saturating_add(1),
            Outcome::NotAuthenticated => {
                // A typing error at the office is for the login rules.
                self.logins = self.logins.saturating_add(u16::from(event.network.is_none()));
                self.try_identity(event);
            }
            _ => return (None, None),
        }
        let subject = Subject::Source(event.source);
        (self.intrusion(subject, event.at, settings), self.logins(subject, event.at, settings))
    }

    /// Or have not begun.
    pub(super) const fn are_over(&self, now: Moment) -> bool {
        ticks(now).saturating_sub(self.began_ns) > WINDOW_NS
    }

    /// Over a restart, in which the wall clock went on.
    pub(super) fn pass(&mut self, by: &mut impl Bytes, now: Moment) -> Result<(), HistoryFault> {
        let mut began_ms = wall_ms(self.began_ns, now);
        by.u64(&mut began_ms)?;
        self.began_ns = ticks_of(began_ms, now);
        self.began_ms = began_ms.min(now.unix_ms());
        for count in [&mut self.scanner, &mut self.malformed, &mut self.logins] {
            by.u16(count)?;
        }
        for word in &mut self.tried {
            by.u64(word)?;
        }
        by.told(&mut self.told_intrusion)?;
        by.told(&mut self.told_logins)
    }

    fn try_identity(&mut self, event: &Event<'_>) {
        let Some(identity) = event.identity else { return };
        let mixed = u64::from(identity.0).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56;
        let word = usize::try_from(mixed >> 6).unwrap_or(0);
        if let Some(word) = self.tried.get_mut(word) {
            *word |= 1 << (mixed & 63);
        }
    }

    fn intrusion(&mut self, subject: Subject, at: Moment, settings: &Settings) -> Option<Signal> {
        let own = &settings.intrusion;
        let scanner = reached(
            self.scanner,
            (own.scanner_note, "detect.intrusion.scanner_note"),
            (own.scanner_act, "detect.intrusion.scanner_act"),
        );
        let malformed = reached(
            self.malformed,
            (own.malformed_note, "detect.intrusion.malformed_note"),
            (own.malformed_act, "detect.intrusion.malformed_act"),
        );
        let (level, limit, seen, unit) = match (scanner, malformed) {
            (Some((level, limit)), other) if other.is_none_or(|(other, _)| level >= other) => {
                (level, limit, self.scanner, "scanner paths")
            }
            (_, Some((level, limit))) => (level, limit, self.malformed, "malformed requests"),
            _ => return None,
        };
        let why = self.explain(seen, limit, unit);
        if !self.told_intrusion.rises(level, When::ONCE) {
            return None;
        }
        signal(Detector::Intrusion, (subject, at), level, why, own.mode)
    }

    fn logins(&mut self, subject: Subject, at: Moment, settings: &Settings) -> Option<Signal> {
        let own = &settings.logins;
        let tried: u32 = self.tried.iter().map(|word| word.count_ones()).sum();
        let tried = u16::try_from(tried).unwrap_or(u16::MAX);
        let (level, why) = if tried >= own.spray_act {
            let limit = (own.spray_act, "detect.logins.spray_act");
            (Level::Act, self.explain(tried, limit, "identities that one source failed to be"))
        } else {
            let (level, limit) = reached(
                self.logins,
                (own.source_note, "detect.logins.source_note"),
                (own.source_act, "detect.logins.source_act"),
            )?;
            (level, self.explain(self.logins, limit, "failed logins of one source"))
        };
        if !self.told_logins.rises(level, When::ONCE) {
            return None;
        }
        signal(Detector::Logins, (subject, at), level, why, own.mode)
    }

    fn explain(&self, seen: u16, (limit, setting): Limit, unit: &'static str) -> Explanation {
        Explanation {
            seen: u64::from(seen),
            expected: 0,
            limit: u64::from(limit),
            unit,
            since_ms: self.began_ms,
            setting,
        }
    }
}

/// With what sets it.
type Limit = (u16, &'static str);

fn reached(seen: u16, note: Limit, act: Limit) -> Option<(Level, Limit)> {
    match () {
        () if seen >= act.0 => Some((Level::Act, act)),
        () if seen >= note.0 => Some((Level::Note, note)),
        () => None,
    }
}

fn signal(
    detector: Detector,
    (subject, at): (Subject, Moment),
    level: Level,
    why: Explanation,
    mode: Mode,
) -> Option<Signal> {
    let (asks, severity) = match level {
        Level::Note => (Response::Note, Severity::Low),
        // The source is locked, never an identity that it names.
        Level::Act => (Response::Lock, Severity::Medium),
    };
    let authenticated = false;
    Signal { detector, subject, level, severity, asks, authenticated, why, at }.under(mode)
}
