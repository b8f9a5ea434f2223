//! One credential in several places at once (ACC-1). A place is a network with the kind of client
//! that speaks from it. Who moves leaves a place and does not return, and takes the client along; a
//! new version speaks from the network of the old one. Where two share a credential, two clients in
//! two networks come back again and again.
use crate::base::{Moment, NetworkIx};

use super::event::Event;
use super::history::{Bytes, HistoryFault};
use super::limits::higher;
use super::signal::{Detector, Explanation, Level, Response, Severity, Signal, Subject};
use super::told::{Told, When};
use super::watch::{Beat, Turned};

const PLACES: usize = 4;
const AT_ONCE_SECS: u32 = 600;
/// When this process' clock began. There is room before it for what came before a restart.
const ORIGIN: u32 = AT_ONCE_SECS + 2;

#[derive(Clone, Copy, Debug, Default)]
struct Place {
    /// Hash of the network in the upper half, of the client in the lower. Zero: none yet.
    key: u32,
    /// Seconds by the monotonic clock; see [`ORIGIN`].
    last_secs: u32,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sharing {
    places: [Place; PLACES],
    latest: u32,
    returns: u16,
    /// The most of a normal hour; fades.
    pub(super) usual_most: u16,
    told: Told,
}

impl Sharing {
    pub(super) fn turn(&mut self, turned: &Turned) {
        if turned.day.is_some() {
            self.usual_most -= self.usual_most / 32;
        }
        if turned.hour.is_some() {
            if !self.told.acted() {
                self.usual_most = self.usual_most.max(self.returns);
            }
            (self.returns, self.told) = (0, Told::default());
        }
    }

    /// What it counts, over a restart.
    pub(super) fn pass(&mut self, by: &mut impl Bytes, now: Moment) -> Result<(), HistoryFault> {
        for place in &mut self.places {
            let ago = seconds(now).saturating_sub(place.last_secs);
            let mut last_unix = now.unix_secs().saturating_sub(u64::from(ago));
            by.u32(&mut place.key)?;
            by.u64(&mut last_unix)?;
            let ago = now.unix_secs().saturating_sub(last_unix).min(u64::from(AT_ONCE_SECS) + 1);
            let last_secs = seconds(now).saturating_sub(u32::try_from(ago).unwrap_or(u32::MAX));
            place.last_secs = if place.key == 0 { 0 } else { last_secs };
        }
        by.u32(&mut self.latest)?;
        by.u16(&mut self.returns)?;
        by.told(&mut self.told)
    }

    pub(super) fn observe(&mut self, beat: &Beat<'_>, age: u16) -> Option<Signal> {
        let (key, secs) = (place_of(beat.event), seconds(beat.event.at));
        let elsewhere = differs(key, self.latest);
        let came_back = elsewhere
            && self.places.iter().any(|place| {
                place.key == key && secs.saturating_sub(place.last_secs) <= AT_ONCE_SECS
            });
        let used = self.places.iter().filter(|place| place.key != 0);
        let is_new = used.clone().count() > 0 && used.into_iter().all(|p| differs(key, p.key));
        self.note(key, secs);
        self.latest = key;
        let settings = &beat.settings.sharing;
        if age < settings.learn_hours {
            self.returns = self.returns.saturating_add(u16::from(came_back));
            return None;
        }
        if is_new && self.told.rises(Level::Note, When::ONCE) {
            return moved(beat).under(settings.mode);
        }
        if !came_back {
            return None;
        }
        self.returns = self.returns.saturating_add(1);
        let usual = self.usual_most.saturating_mul(settings.factor);
        // It has to be more than usual, and as much as is noted or acted upon.
        let usual = (usual.saturating_add(1), "detect.sharing.factor");
        let act = higher((settings.returns_act, "detect.sharing.returns_act"), usual);
        let note = higher((settings.returns_note, "detect.sharing.returns_note"), usual);
        let (level, limit) = match () {
            () if self.returns >= act.0 => (Level::Act, act),
            () if self.returns >= note.0 => (Level::Note, note),
            () => return None,
        };
        if !self.told.rises(level, beat.in_hour(Response::StepUp)) {
            return None;
        }
        self.shared(beat, level, limit).under(settings.mode)
    }

    /// The place's own entry, or that of the place that was left longest ago.
    fn note(&mut self, key: u32, secs: u32) {
        let own = self.places.iter().position(|place| place.key == key);
        let oldest =
            || (0..).zip(&self.places).min_by_key(|(_, place)| place.last_secs).map(|(ix, _)| ix);
        if let Some(place) = own.or_else(oldest).and_then(|ix| self.places.get_mut(ix)) {
            *place = Place { key, last_secs: secs };
        }
    }

    fn shared(
        &self,
        beat: &Beat<'_>,
        level: Level,
        (limit, setting): (u16, &'static str),
    ) -> Signal {
        let why = Explanation {
            seen: u64::from(self.returns),
            expected: u64::from(self.usual_most),
            limit: u64::from(limit),
            unit: "returns between places in use at once",
            since_ms: beat.hour.began_ms(),
            setting,
        };
        signal(beat, level, why)
    }
}

/// It is somewhere where it was not before, with a client that it did not have.
fn moved(beat: &Beat<'_>) -> Signal {
    let why = Explanation {
        seen: 1,
        expected: 0,
        limit: 0,
        unit: "places where it was not before",
        since_ms: beat.event.at.unix_ms(),
        setting: "detect.sharing.learn_hours",
    };
    signal(beat, Level::Note, why)
}

fn signal(beat: &Beat<'_>, level: Level, why: Explanation) -> Signal {
    // Never a lock on this alone: two who share behind one name look like one who travels.
    let (asks, severity) = match level {
        Level::Note => (Response::Note, Severity::Medium),
        Level::Act => (Response::StepUp, Severity::High),
    };
    Signal {
        detector: Detector::Sharing,
        subject: Subject::Identity(beat.identity),
        level,
        severity,
        asks,
        authenticated: true,
        why,
        at: beat.event.at,
    }
}

fn place_of(event: &Event<'_>) -> u32 {
    // A named network is one place, however many addresses it has.
    let network = match event.network {
        Some(NetworkIx(network)) => u64::from(network) + 1,
        None => event.source,
    };
    let half = |value: u64| u32::try_from(value.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48);
    (half(network).unwrap_or(0) << 16 | half(event.fingerprint).unwrap_or(0)).max(1)
}

/// Both in the network and in the client.
const fn differs(one: u32, other: u32) -> bool {
    let differing = one ^ other;
    differing >> 16 != 0 && differing & 0xffff != 0
}

fn seconds(at: Moment) -> u32 {
    u32::try_from(at.mono_ns() / 1_000_000_000).unwrap_or(u32::MAX).saturating_add(ORIGIN)
}
