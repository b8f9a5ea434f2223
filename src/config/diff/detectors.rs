//! What watches: harder to notice or to act upon is wider (MON-1 to MON-8).
use super::Out;
use super::line::{Direction, Line, Part, Said};
use crate::base::Name;
use crate::config::settings::DetectSettings;
use crate::detect::{
    CanaryMode, Detector, EnumerationSettings, FailureSettings, IntrusionSettings, LoginSettings,
    Mode, PerMetric, Settings, SharingSettings, SlowSettings, VolumeSettings,
};

/// What a greater figure means.
#[derive(Clone, Copy)]
enum Greater {
    /// More is done before it is noticed.
    Looser,
    Tighter,
    /// For some it is the one, for some the other.
    Either,
}
use Greater::{Either, Looser, Tighter};

impl Greater {
    fn direction(self, from: f32, to: f32) -> Direction {
        match self {
            Looser => Direction::more(&from, &to),
            Tighter => Direction::less(&from, &to),
            Either => Direction::Widens,
        }
    }
}

struct Figure {
    of: Detector,
    key: &'static str,
    value: f32,
    greater: Greater,
}

pub(super) fn compare(old: &DetectSettings, new: &DetectSettings, out: &mut Out) {
    let DetectSettings { settings: _, canaries: _, planted: _ } = new;
    let line = |direction, of: Detector, what| {
        let line = Line::new(direction, Part::Detector, what);
        match Name::parse(of.as_str()) {
            Ok(name) => line.about(&name),
            Err(_) => line,
        }
    };
    let strength = |mode: Mode| match mode {
        Mode::Off => 0_u8,
        Mode::Observe => 1,
        Mode::Enforce => 2,
    };
    for of in Detector::ALL {
        let (from, to) = (old.settings.mode(*of), new.settings.mode(*of));
        if from != to {
            let direction = Direction::less(&strength(from), &strength(to));
            out.add(line(direction, *of, "mode").was(from.as_str()).is(to.as_str()));
        }
    }
    for (was, now) in figures(&old.settings).into_iter().zip(figures(&new.settings)) {
        let (from, to) = (was.value, now.value);
        if from.to_bits() != to.to_bits() {
            let line = line(now.greater.direction(from, to), now.of, now.key);
            out.add(line.was(Said::figure(from)).is(Said::figure(to)));
        }
    }
    canaries(old, new, |direction, what| line(direction, Detector::Canary, what), out);
}

/// Every figure of every detector; one that is new does not compile until it is here.
fn figures(of: &Settings) -> Vec<Figure> {
    let Settings {
        failures,
        volume,
        slow,
        enumeration,
        canary,
        intrusion,
        logins,
        sharing,
        // As `[lockout]` has it, where it is told of.
        lasting: _,
    } = of;
    let CanaryMode(_) = canary;
    let mut all = Vec::new();
    let mut add = |of, key, value: f32, greater| all.push(Figure { of, key, value, greater });

    let FailureSettings { mode: _, refused_note, scope_act, missing_note, missing_act, factor } =
        failures;
    let of = Detector::Failures;
    add(of, "failures.refused_note", (*refused_note).into(), Looser);
    add(of, "failures.scope_act", (*scope_act).into(), Looser);
    add(of, "failures.missing_note", (*missing_note).into(), Looser);
    add(of, "failures.missing_act", (*missing_act).into(), Looser);
    add(of, "failures.factor", *factor, Looser);

    volumes(volume, &mut add);

    let SlowSettings { mode: _, odds, note, act, factor, learn_days } = slow;
    let of = Detector::Slow;
    // A test for large odds is late for small ones, and the other way round.
    add(of, "slow.odds", *odds, Either);
    add(of, "slow.note", *note, Looser);
    add(of, "slow.act", *act, Looser);
    add(of, "slow.factor", *factor, Looser);
    // Until then nothing is said.
    add(of, "slow.learn_days", (*learn_days).into(), Looser);

    let EnumerationSettings {
        mode: _,
        learn_hours,
        least_hour,
        least_day,
        cold_hour,
        cold_day,
        factor,
        risk_note,
        risk_act,
    } = enumeration;
    let of = Detector::Enumeration;
    // Until then the limits of the young hold, from then on those of a history that may be too short.
    add(of, "enumeration.learn_hours", (*learn_hours).into(), Either);
    add(of, "enumeration.least_hour", *least_hour, Looser);
    add(of, "enumeration.least_day", *least_day, Looser);
    add(of, "enumeration.cold_hour", *cold_hour, Looser);
    add(of, "enumeration.cold_day", *cold_day, Looser);
    add(of, "enumeration.factor", *factor, Looser);
    // What is called unusual is what happens less often than so.
    add(of, "enumeration.risk_note", *risk_note, Tighter);
    add(of, "enumeration.risk_act", *risk_act, Tighter);

    let IntrusionSettings { mode: _, scanner_note, scanner_act, malformed_note, malformed_act } =
        intrusion;
    let of = Detector::Intrusion;
    add(of, "intrusion.scanner_note", (*scanner_note).into(), Looser);
    add(of, "intrusion.scanner_act", (*scanner_act).into(), Looser);
    add(of, "intrusion.malformed_note", (*malformed_note).into(), Looser);
    add(of, "intrusion.malformed_act", (*malformed_act).into(), Looser);

    let LoginSettings { mode: _, source_note, source_act, spray_act, identity_note, identity_act } =
        logins;
    let of = Detector::Logins;
    add(of, "logins.source_note", (*source_note).into(), Looser);
    add(of, "logins.source_act", (*source_act).into(), Looser);
    add(of, "logins.spray_act", (*spray_act).into(), Looser);
    add(of, "logins.identity_note", (*identity_note).into(), Looser);
    add(of, "logins.identity_act", (*identity_act).into(), Looser);

    let SharingSettings { mode: _, returns_note, returns_act, factor, learn_hours } = sharing;
    let of = Detector::Sharing;
    add(of, "sharing.returns_note", (*returns_note).into(), Looser);
    add(of, "sharing.returns_act", (*returns_act).into(), Looser);
    add(of, "sharing.factor", (*factor).into(), Looser);
    // Until then nothing is said.
    add(of, "sharing.learn_hours", (*learn_hours).into(), Looser);
    all
}

fn volumes(of: &VolumeSettings, add: &mut impl FnMut(Detector, &'static str, f32, Greater)) {
    let VolumeSettings {
        rate_mode: _,
        mode: _,
        learn_hours,
        floor,
        least,
        cold,
        peer_factor,
        risk_note,
        risk_act,
        hour_factor,
        quarter_factor,
        quarter_most,
        burst_pace,
        burst_factor,
        burst_least,
        elsewhere_factor,
        factor_max,
    } = of;
    let mut each = |keys: [&'static str; 3], of: &PerMetric, greater| {
        let PerMetric { requests, bytes, records } = *of;
        let [of_requests, of_bytes, of_records] = keys;
        add(Detector::Rate, of_requests, requests, greater);
        add(Detector::Volume, of_bytes, bytes, greater);
        add(Detector::Volume, of_records, records, greater);
    };
    let keys = ["volume.least.requests", "volume.least.bytes", "volume.least.records"];
    each(keys, least, Looser);
    let keys = ["volume.cold.requests", "volume.cold.bytes", "volume.cold.records"];
    each(keys, cold, Looser);
    // It is the measure of what is above it and of what is below.
    let keys = ["volume.floor.requests", "volume.floor.bytes", "volume.floor.records"];
    each(keys, floor, Either);
    let keys = [
        "volume.quarter_factor.requests",
        "volume.quarter_factor.bytes",
        "volume.quarter_factor.records",
    ];
    each(keys, quarter_factor, Looser);
    // Of both detectors; told as volume's.
    let of = Detector::Volume;
    add(of, "volume.learn_hours", (*learn_hours).into(), Either);
    add(of, "volume.peer_factor", *peer_factor, Looser);
    add(of, "volume.risk_note", *risk_note, Tighter);
    add(of, "volume.risk_act", *risk_act, Tighter);
    add(of, "volume.hour_factor", *hour_factor, Looser);
    add(of, "volume.quarter_most", *quarter_most, Looser);
    add(of, "volume.burst_pace", *burst_pace, Looser);
    add(of, "volume.burst_factor", *burst_factor, Looser);
    add(of, "volume.burst_least", *burst_least, Looser);
    add(of, "volume.elsewhere_factor", *elsewhere_factor, Looser);
    add(of, "volume.factor_max", *factor_max, Looser);
}

/// Planted records, each by itself: as many as before may be others.
fn canaries(
    old: &DetectSettings,
    new: &DetectSettings,
    line: impl Fn(Direction, &'static str) -> Line,
    out: &mut Out,
) {
    let lacking = |these: &DetectSettings, those: &DetectSettings| {
        these.planted.keys().filter(|digest| !those.planted.contains_key(*digest)).count()
    };
    let others = old
        .planted
        .iter()
        .filter(|(digest, owner)| new.planted.get(*digest).is_some_and(|now| now != *owner));
    for (direction, what, count) in [
        (Direction::Widens, "planted records that are looked for no more", lacking(old, new)),
        (Direction::Narrows, "planted records that are looked for", lacking(new, old)),
        // Only what is said of a leak changes.
        (Direction::Neutral, "planted records that are for somebody else", others.count()),
    ] {
        if count > 0 {
            out.add(line(direction, what).is(Said::count(count)));
        }
    }
}
