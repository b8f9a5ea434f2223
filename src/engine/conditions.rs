//! Conditions that no event tells of, looked at from time to time: a log without room, lost lines,
//! panics, certificates that end soon (MON-7, TLS-5).
use std::time::Duration;

use super::Engine;
use super::alarms::counted;
use crate::alarm::{Alarm, Aspect, Kind, Severity};
use crate::base::{Moment, Name};

/// What lasts is told again so often.
const REMIND: Duration = Duration::from_secs(3_600);
/// How often certificates are looked at, and told of.
const CERTIFICATES: Duration = Duration::from_secs(86_400);
/// How long before its end a certificate is told of (as `check` warns), and how long before it is
/// pressing.
const ENDING_SECS: u64 = 14 * 86_400;
const PRESSING_SECS: u64 = 3 * 86_400;

/// What was seen last.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    log_full: Lasting,
    lines_lost: u64,
    panics: u64,
    /// When certificates were looked at, and under which configuration.
    certificates: Option<(Moment, u64)>,
}

/// A condition that holds for a while.
#[derive(Debug, Default)]
struct Lasting(Option<Moment>);

impl Lasting {
    /// Whether it is to be told of now: when it begins, and once more each [`REMIND`].
    fn is_news(&mut self, holds: bool, now: Moment) -> bool {
        let news = holds && self.0.is_none_or(|told| now.since(told) >= REMIND);
        match (holds, news) {
            (false, _) => self.0 = None,
            (true, true) => self.0 = Some(now),
            (true, false) => {}
        }
        news
    }
}

impl Engine {
    /// Looks at everything that nobody tells, and raises what people must know.
    pub fn check_conditions(&self) {
        let now = self.clock.now();
        self.check_permit(now);
        for alarm in self.found(now) {
            self.alarms.raise(alarm);
        }
    }

    fn found(&self, now: Moment) -> Vec<Alarm> {
        let mut seen = self.conditions.lock();
        let mut found = Vec::new();
        if seen.log_full.is_news(self.log.is_full(), now) {
            found.push(Alarm::new(Kind::LogUnavailable, Severity::Critical, now));
        }
        let lost = self.metrics.lines_lost();
        if let Some(more @ 1..) = lost.checked_sub(seen.lines_lost) {
            found.push(counted(Alarm::new(Kind::LinesLost, Severity::High, now), more));
        }
        let panics = self.metrics.panics.get();
        if let Some(more @ 1..) = panics.checked_sub(seen.panics) {
            found.push(counted(Alarm::new(Kind::Panicked, Severity::High, now), more));
        }
        (seen.lines_lost, seen.panics) = (lost, panics);
        let live = self.live();
        let generation = live.snapshot.generation;
        let due = seen
            .certificates
            .is_none_or(|(at, of)| of != generation || now.since(at) >= CERTIFICATES);
        if due {
            seen.certificates = Some((now, generation));
            let certificates = live.snapshot.listeners.iter().filter_map(|listener| {
                let chains = listener.tls.as_ref()?.certificates.iter();
                let ends = chains.map(|chain| chain.not_after_unix_secs).min()?;
                ending(&listener.name, ends, now)
            });
            found.extend(certificates);
        }
        found
    }
}

fn ending(listener: &Name, ends_secs: u64, now: Moment) -> Option<Alarm> {
    let left = ends_secs.saturating_sub(now.unix_secs());
    let severity = match left {
        0 => Severity::Critical,
        1..=PRESSING_SECS => Severity::High,
        _ if left <= ENDING_SECS => Severity::Medium,
        _ => return None,
    };
    Some(Alarm::new(Kind::CertificateExpiring, severity, now).about(Aspect::Listener, listener))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_5_a_certificate_is_told_of_before_its_end() {
        let now = Moment::new(1_000_000_000_000, 0);
        let apps = Name::parse("apps").unwrap();
        let severity = |days: u64| {
            let ends = now.unix_secs() + days * 86_400;
            ending(&apps, ends, now).map(|alarm| alarm.severity)
        };
        assert_eq!(severity(15), None);
        assert_eq!(severity(14), Some(Severity::Medium));
        assert_eq!(severity(3), Some(Severity::High));
        assert_eq!(severity(0), Some(Severity::Critical));
    }

    #[test]
    fn mon_7_what_lasts_is_told_once_an_hour() {
        let mut lasting = Lasting::default();
        let at = |secs: u64| Moment::new(0, secs * 1_000_000_000);
        let told: Vec<u64> =
            (0..7_300).step_by(10).filter(|secs| lasting.is_news(true, at(*secs))).collect();
        assert_eq!(told, [0, 3_600, 7_200]);
        assert!(!lasting.is_news(false, at(7_310)));
        assert!(lasting.is_news(true, at(7_320)), "it began anew");
    }
}
