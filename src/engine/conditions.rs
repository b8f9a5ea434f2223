//! Conditions that no event tells of, looked at from time to time: a log without room, lost lines,
//! panics, forged records, full file systems, keys and certificates that age (MON-7, TLS-5).
use std::collections::HashMap;
use std::time::Duration;

use super::Engine;
use super::ages::{Aged, AgedKind, Owner, State as AgedState};
use super::alarms::{counted, named};
use super::space::Space;
use crate::alarm::{Alarm, Aspect, Kind, Severity};
use crate::base::{Moment, Name};
use crate::evidence::Fixed;

/// What lasts is told again so often.
const REMIND: Duration = Duration::from_secs(3_600);
/// How often file systems and ages are looked at.
const LOOK: Duration = Duration::from_secs(60);
/// What ages is told of again so often.
const REMIND_OF_AGES: Duration = Duration::from_secs(86_400);

/// What was seen last.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    log_full: Lasting,
    lines_lost: u64,
    panics: u64,
    forged: u64,
    cells_lost: u64,
    space: [Space; 2],
    ages: Told,
    /// When file systems and ages were looked at, and under which configuration.
    looked: Option<(Moment, u64)>,
}

/// What ages and was told of: how bad it was, and when.
#[derive(Debug, Default)]
struct Told(HashMap<Which, (Severity, Moment)>);

type Which = (AgedKind, Owner, Option<Name>, u32);

/// A condition that holds for a while.
#[derive(Debug, Default)]
pub(super) struct Lasting(Option<Moment>);

impl Lasting {
    /// Whether it is to be told of now: when it begins, and once more each [`REMIND`].
    pub(super) fn is_news(&mut self, holds: bool, now: Moment) -> bool {
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
        let forged = self.store.forged();
        if let Some(more @ 1..) = forged.checked_sub(seen.forged) {
            found.push(counted(Alarm::new(Kind::StoreForged, Severity::Critical, now), more));
        }
        let cells_lost = self.exposures.lost();
        if let Some(more @ 1..) = cells_lost.checked_sub(seen.cells_lost) {
            found.push(counted(Alarm::new(Kind::LedgerLost, Severity::High, now), more));
        }
        (seen.lines_lost, seen.panics) = (lost, panics);
        (seen.forged, seen.cells_lost) = (forged, cells_lost);
        let generation = self.live().snapshot.generation;
        let due =
            seen.looked.is_none_or(|(at, under)| under != generation || now.since(at) >= LOOK);
        if due {
            seen.looked = Some((now, generation));
            found.extend(self.look_at_space(&mut seen.space, now));
            found.extend(seen.ages.news(&self.view_keys(), now));
            self.report_ages();
        }
        found
    }
}

impl Told {
    /// What is worse than when it was told of last, or was told of a day ago.
    fn news(&mut self, all: &[Aged], now: Moment) -> Vec<Alarm> {
        let mut told = HashMap::new();
        let mut news = Vec::new();
        for aged in all {
            let (state, Some(severity)) = aged.stands(now) else { continue };
            let which = (aged.kind, aged.owner, aged.name.clone(), aged.place);
            let before = self.0.get(&which).copied();
            let known =
                before.filter(|(last, at)| severity <= *last && now.since(*at) < REMIND_OF_AGES);
            if known.is_none() {
                news.push(alarm_of(aged, state, severity, now));
            }
            told.insert(which, known.unwrap_or((severity, now)));
        }
        self.0 = told;
        news
    }
}

fn alarm_of(aged: &Aged, state: AgedState, severity: Severity, now: Moment) -> Alarm {
    let kind = match state {
        AgedState::Ageing | AgedState::TooOld => Kind::KeyTooOld,
        AgedState::Unusable => Kind::FileUnusable,
        AgedState::Good | AgedState::Ending | AgedState::Ended => Kind::CertificateExpiring,
    };
    let detail = Fixed::new(aged.kind.as_str());
    let alarm = named(Alarm::new(kind, severity, now), Aspect::Detail, detail);
    let aspect = match aged.owner {
        Owner::Alarm | Owner::Gateway => Some(Aspect::Target),
        Owner::Listener => Some(Aspect::Listener),
        Owner::Upstream => Some(Aspect::Upstream),
        Owner::Issuer => Some(Aspect::Issuer),
        Owner::Api | Owner::Redis => None,
    };
    let alarm = match (aspect, &aged.name) {
        (Some(aspect), Some(name)) => alarm.about(aspect, name),
        (None, _) | (_, None) => alarm,
    };
    let target = match aged.owner {
        // Its own name is there.
        Owner::Alarm | Owner::Gateway if aged.name.is_some() => return alarm,
        // Of different kinds, and told apart.
        Owner::Gateway => aged.kind.as_str(),
        owner => owner.as_str(),
    };
    named(alarm, Aspect::Target, Fixed::new(target))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::OnDisk;

    #[test]
    fn tls_5_what_ages_is_told_once_a_day_and_when_it_gets_worse() {
        let at = |hours: u64| Moment::new(hours * 3_600_000, hours * 3_600 * 1_000_000_000);
        let aged = |days: u64| Aged {
            kind: AgedKind::Certificate,
            owner: Owner::Listener,
            name: Name::parse("apps").ok(),
            place: 1,
            begins: Some(0),
            ends: Some(days * 86_400),
            max_age: None,
            on_disk: OnDisk::Same,
        };
        let mut told = Told::default();
        let mut tell = |all: &[Aged], hours| -> Vec<Severity> {
            told.news(all, at(hours)).iter().map(|alarm| alarm.severity).collect()
        };
        let all = [aged(13), aged(60)];
        assert_eq!(tell(&all, 0), [Severity::Medium]);
        assert_eq!(tell(&all, 23), []);
        assert_eq!(tell(&all, 24), [Severity::Medium]);
        assert_eq!(tell(&all, 6 * 24), [Severity::High], "seven days are left");
        assert_eq!(tell(&all, 6 * 24 + 1), []);
        // Renewed; and later it ends again.
        assert_eq!(tell(&[aged(60)], 7 * 24), []);
        assert_eq!(tell(&[aged(14)], 7 * 24 + 1), [Severity::High]);
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
