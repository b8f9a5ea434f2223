//! All detectors of one identity.
use crate::base::{IdentityIx, Moment};

use super::enumeration::{Enumeration, Objects};
use super::event::{Event, Outcome};
use super::failures::Failures;
use super::history::{Bytes, HistoryFault};
use super::logins::Logins;
use super::peers::Usual;
use super::scale::real;
use super::settings::Settings;
use super::sharing::Sharing;
use super::signal::{Detector, Explanation, Level, Response, Severity, Signal, Signals, Subject};
use super::slow::Slow;
use super::told::When;
use super::volume::{HourTotals, Volume};
use super::window::{DAY_MS, Ended, HOUR_MS, QUARTER_MS, Window};

/// What one identity's detectors remember. The first part is at most 1 KiB; the sketches of distinct
/// objects stand beside it.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    pub(super) core: Core,
    objects: Objects,
}

/// In the order in which each request touches it: where every request is another identity's, memory
/// is what they cost.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(super) struct Core {
    /// Limits were set since this process knows the identity.
    begun: bool,
    /// It changed since it was last written down, and somebody knows.
    pub(super) queued: bool,
    logins: Logins,
    quarter: Window,
    hour: Window,
    day: Window,
    pub(super) slow: Slow,
    pub(super) sharing: Sharing,
    /// Its second part is not touched.
    pub(super) volume: Volume,
    pub(super) enumeration: Enumeration,
    pub(super) failures: Failures,
}

const _: () = assert!(size_of::<Core>() <= 1_024);
const _: () = assert!(size_of::<Watch>() <= 1_024 + 2 * 272);

/// What one event brought.
#[derive(Clone, Debug, Default)]
pub struct Watched {
    pub signals: Signals,
    /// For [`Peers::learn`](super::Peers::learn), when an hour is over.
    pub hour: Option<HourTotals>,
    /// It is the first change since [`Watch::encode`].
    pub changed: bool,
}

/// One event as the detectors see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Beat<'a> {
    pub(super) event: &'a Event<'a>,
    pub(super) settings: &'a Settings,
    pub(super) identity: IdentityIx,
    pub(super) quarter: Window,
    pub(super) hour: Window,
    pub(super) day: Window,
}

impl Beat<'_> {
    /// Now, in the hour that runs, for what asks for so much.
    pub(super) fn in_hour(&self, asks: Response) -> When {
        self.when(&self.hour, HOUR_MS, asks)
    }

    pub(super) fn in_day(&self, asks: Response) -> When {
        self.when(&self.day, DAY_MS, asks)
    }

    fn when(&self, window: &Window, length_ms: u64, asks: Response) -> When {
        let lasts = self.settings.lasting.of(asks).as_millis();
        let lasts = real(u64::try_from(lasts).unwrap_or(u64::MAX)) / real(length_ms);
        When { left: window.left(self.event.at, length_ms), lasts }
    }
}

/// Which stretches of time ended with this event.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turned {
    /// It is the first event since this process knows the identity.
    pub(super) first: bool,
    pub(super) quarter: Option<Ended>,
    pub(super) hour: Option<Ended>,
    pub(super) day: Option<Ended>,
}

impl Watch {
    /// `identity` is whose watch this is. An event of which the identity is only claimed counts as a
    /// failed login and as nothing else.
    pub fn observe(
        &mut self,
        identity: IdentityIx,
        event: &Event<'_>,
        peers: &impl Usual,
        settings: &Settings,
    ) -> Watched {
        let mut watched = Watched::default();
        let core = &mut self.core;
        watched.changed = !std::mem::replace(&mut core.queued, true);
        let first = !std::mem::replace(&mut core.begun, true);
        let turned = Turned {
            first,
            quarter: core.quarter.turn(event.at, QUARTER_MS),
            hour: core.hour.turn(event.at, HOUR_MS),
            day: core.day.turn(event.at, DAY_MS),
        };
        let (quarter, hour, day) = (core.quarter, core.hour, core.day);
        let beat = Beat { event, settings, identity, quarter, hour, day };
        if first || turned.quarter.is_some() || turned.hour.is_some() || turned.day.is_some() {
            watched.hour = core.volume.turn(&turned, &beat, peers);
            core.turn(&turned, &mut self.objects);
        }
        let signals = &mut watched.signals;
        if !event.is_authenticated() {
            signals.add(core.logins.observe(&beat));
            return watched;
        }
        let (rate, volume) = core.volume.observe(&beat);
        signals.add(rate);
        signals.add(volume);
        if event.outcome == Outcome::UnderWay {
            return watched;
        }
        signals.add(core.slow.observe(&beat));
        signals.add(core.enumeration.observe(&beat, &mut self.objects, core.volume.age));
        signals.add(core.failures.observe(&beat));
        signals.add(core.sharing.observe(&beat, core.volume.age));
        signals.add(touched(&beat));
        watched
    }

    /// An operator released the identity: what was counted counts no more, what was learned stays.
    /// Whether it is the first change since [`Watch::encode`].
    pub fn forgive(&mut self) -> bool {
        let changed = !self.core.queued;
        *self = Self { core: self.core.learned(), objects: Objects::default() };
        self.core.queued = true;
        changed
    }

    /// The same, and what it does now is its normal use: it is young again, and learns anew.
    pub fn accept(&mut self) -> bool {
        let changed = self.forgive();
        self.core.volume.age = 0;
        self.core.slow = Slow::default();
        self.core.enumeration = Enumeration::default();
        self.core.failures = Failures::default();
        changed
    }
}

impl Watch {
    /// What is counted, over a restart.
    pub(super) fn pass_counts(
        &mut self,
        by: &mut impl Bytes,
        now: Moment,
    ) -> Result<(), HistoryFault> {
        let core = &mut self.core;
        let (quarter, hour, day) = (
            core.quarter.pass(by, now, QUARTER_MS)?,
            core.hour.pass(by, now, HOUR_MS)?,
            core.day.pass(by, now, DAY_MS)?,
        );
        core.volume.pass(by)?;
        core.slow.pass(by)?;
        core.enumeration.pass(by, &mut self.objects)?;
        core.failures.pass(by)?;
        core.logins.pass(by)?;
        core.sharing.pass(by, now)?;
        core.volume.forget(quarter.is_some(), hour.is_some());
        core.turn(&Turned { first: false, quarter, hour, day }, &mut self.objects);
        Ok(())
    }
}

impl Core {
    /// All but volume.
    fn turn(&mut self, turned: &Turned, objects: &mut Objects) {
        self.slow.turn(turned);
        self.enumeration.turn(turned, objects);
        self.failures.turn(turned);
        self.logins.turn(turned);
        self.sharing.turn(turned);
    }
}

/// A canary was touched. Nobody has a reason to, so once is enough.
fn touched(beat: &Beat<'_>) -> Option<Signal> {
    let canary = beat.event.canary?;
    let own = canary.planted_for.is_none_or(|owner| owner == beat.identity);
    let signal = Signal {
        detector: Detector::Canary,
        subject: Subject::Identity(beat.identity),
        level: Level::Act,
        severity: Severity::Critical,
        asks: Response::Lock,
        authenticated: true,
        why: Explanation {
            seen: u64::from(canary.number),
            expected: 0,
            limit: 0,
            // Planted for somebody else: it has leaked there.
            unit: if own { "canary by number" } else { "another's canary by number" },
            since_ms: beat.event.at.unix_ms(),
            setting: "detect.canary.mode",
        },
        at: beat.event.at,
    };
    signal.under(beat.settings.canary.0)
}
