//! The host's permit in force (TLS-3): until when TLS may end here, what is told of it, and which time
//! this process believes.
//!
//! 1. The permit is judged when a configuration is read. A connection is compared with two numbers.
//! 2. Within the process the wall clock can't be moved back: see [`Steady`].
//! 3. At its end no new connection is taken; those that are open go on. So it is for what a permit does
//!    not cover any more.
use std::time::Duration;

use parking_lot::Mutex;

use super::live::{Live, NOT_LISTED};
use super::tls::TlsEnd;
use super::{DoorFault, Engine};
use crate::base::{Clock, Moment, Name};
use crate::config::{Apply, Machine, PermitSettings, Snapshot};
use crate::evidence::{Event, Fixed, PermitNews};
use crate::permit::clock::Steady;
use crate::permit::{HostPermit, PermitFault};

/// How far ahead of its end people are told: 14, 7 and 1 days.
const AHEAD_SECS: [u64; 3] = [14 * 86_400, 7 * 86_400, 86_400];
/// How often a permit is looked at again that only waits for its time, or for the clock.
pub(super) const AGAIN: Duration = Duration::from_secs(10);
/// Where what it opens can't be read, each pause is twice the one before, up to this.
pub(super) const AGAIN_MAX: Duration = Duration::from_secs(300);

/// Until when TLS may end here, by both clocks: whichever says first that it is over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Until {
    unix_ms: u64,
    mono_ns: u64,
}

impl Until {
    /// `now` is the time that the process believes.
    pub(super) fn of(permit: &HostPermit, now: Moment) -> Self {
        let unix_ms = permit.expires().saturating_mul(1_000);
        let left = Duration::from_millis(unix_ms.saturating_sub(now.unix_ms()));
        Self { unix_ms, mono_ns: now.plus(left).mono_ns() }
    }

    pub(super) const fn is_over(&self, now: Moment) -> bool {
        now.mono_ns() >= self.mono_ns || now.unix_ms() >= self.unix_ms
    }

    fn left(&self, now: Moment) -> Duration {
        let by_wall = Duration::from_millis(self.unix_ms.saturating_sub(now.unix_ms()));
        by_wall.min(Duration::from_nanos(self.mono_ns.saturating_sub(now.mono_ns())))
    }
}

/// The time that this process believes: the wall clock, but never less than what has passed since its
/// start.
#[derive(Clone, Debug)]
pub(super) struct Believed {
    clock: Clock,
    steady: Steady,
}

impl Believed {
    pub(super) fn of(clock: &Clock) -> Self {
        Self { clock: clock.clone(), steady: Steady::from(clock.now()) }
    }

    pub(super) fn now(&self) -> Moment {
        self.steady.of(self.clock.now())
    }
}

/// What is kept over configurations.
#[derive(Debug)]
pub(super) struct Permits {
    pub(super) time: Believed,
    told: Mutex<Told>,
    again: Mutex<Again>,
}

/// When it was last looked at although nothing of it changed, and how long until it is again.
#[derive(Debug)]
struct Again {
    last: Moment,
    pause: Duration,
}

/// What was told of the permit that is in force.
#[derive(Debug, Default)]
struct Told {
    serial: Option<Name>,
    /// How many of [`AHEAD_SECS`], and its end as one more.
    steps: usize,
}

impl Permits {
    pub(super) fn new(time: Believed) -> Self {
        let start = time.now();
        let again = Again { last: start, pause: AGAIN };
        Self { time, told: Mutex::default(), again: Mutex::new(again) }
    }

    /// It was looked at, and could be taken up or not.
    pub(super) fn tried(&self, could_be: bool) {
        let pause = &mut self.again.lock().pause;
        *pause = if could_be { AGAIN } else { pause.saturating_mul(2).min(AGAIN_MAX) };
    }
}

/// Whether a permit counts for nothing by time alone: it may do so later, with no file changed.
pub(super) const fn waits_for_time(fault: PermitFault) -> bool {
    matches!(fault, PermitFault::NotYet | PermitFault::Expired | PermitFault::ClockWentBack)
}

/// Whether TLS is to end anywhere here; a host that only passes it on needs no permit.
fn wants_permit(snapshot: &Snapshot) -> bool {
    snapshot.api.is_some() || snapshot.listeners.iter().any(|listener| listener.tls.is_some())
}

impl Engine {
    /// The time that this process believes: the wall clock, but never less than what has passed.
    #[must_use]
    pub fn steady_now(&self) -> Moment {
        self.permits.time.now()
    }

    /// Says what a configuration's permit is worth.
    pub(super) fn report_permit(&self, live: &Live, before: Option<&Live>) {
        let now = self.steady_now();
        let permit = &live.snapshot.permit;
        let standing = &permit.standing;
        let known = before.map(|before| &before.snapshot.permit);
        let same = known.is_some_and(|known| known.standing == *standing);
        let told = known.and_then(|known| known.refused);
        if let (Ok(kept), Some(fault)) = (standing, permit.refused.filter(|new| told != Some(*new)))
        {
            let (serial, fault) = (kept.serial(), Fixed::new(fault.as_str()));
            self.report_event(&Event::Permit(PermitNews::Kept { serial, fault }));
        }
        match standing {
            Ok(permit) if !same => {
                let left = live.until().map(|until| until.left(now)).unwrap_or_default();
                let serial = permit.serial();
                self.report_event(&Event::Permit(PermitNews::Accepted { serial, left }));
            }
            // Its end was told already.
            Err(PermitFault::Expired) if self.permits.told.lock().steps > AHEAD_SECS.len() => {}
            Err(fault) if !same && wants_permit(&live.snapshot) => {
                let fault = Fixed::new(fault.as_str());
                self.report_event(&Event::Permit(PermitNews::Refused { fault }));
            }
            Ok(_) | Err(_) => {}
        }
        if standing.is_ok() {
            let withheld = |live: &Live, name: &Name| {
                let mut all = live.snapshot.listeners.iter();
                all.any(|l| {
                    l.name == *name && l.tls.as_ref().is_some_and(|tls| !tls.withheld.is_empty())
                })
            };
            for listener in live.snapshot.listeners.iter().map(|listener| &listener.name) {
                let told = same && before.is_some_and(|before| withheld(before, listener));
                if withheld(live, listener) && !told {
                    self.report_event(&Event::Permit(PermitNews::Withheld { listener }));
                }
            }
        }
        self.check_permit(now);
    }

    /// Tells of the permit's end, once at each step on the way there.
    pub(super) fn check_permit(&self, now: Moment) {
        let live = self.live();
        let (Ok(permit), Some(until)) = (&live.snapshot.permit.standing, live.until()) else {
            return;
        };
        let left = until.left(now);
        let passed = AHEAD_SECS.iter().filter(|ahead| left.as_secs() <= **ahead).count();
        let steps = passed + usize::from(until.is_over(now));
        let serial = permit.serial();
        // Kept until it is told: whoever finds here that it was finds it in the log.
        let mut told = self.permits.told.lock();
        if told.serial.as_ref() != Some(serial) {
            *told = Told { serial: Some(serial.clone()), steps: 0 };
        }
        if steps <= told.steps {
            return;
        }
        told.steps = steps;
        self.report_event(&Event::Permit(if steps > AHEAD_SECS.len() {
            PermitNews::Ended { serial }
        } else {
            PermitNews::Ending { serial, left }
        }));
    }

    /// Whether the configuration should be read again although no file of it changed: the permit is
    /// over, and what it opened is to be forgotten; or its time has come, or the clock came back, or it
    /// can be read.
    pub fn permit_is_due(&self) -> bool {
        let (live, now) = (self.live(), self.clock.now());
        let permit = &live.snapshot.permit;
        let over = live.until().is_some_and(|until| until.is_over(now));
        let fault = permit.standing.as_ref().err().copied().or(permit.refused);
        {
            let mut again = self.permits.again.lock();
            // It could not be read: perhaps for want of a descriptor.
            let unread = fault == Some(PermitFault::Unreadable);
            let waits = over || unread || fault.is_some_and(waits_for_time);
            if !waits || now.since(again.last) < again.pause {
                return false;
            }
            again.last = now;
        }
        self.permit_now(&live).is_some()
    }

    /// What became of the permit alone since a configuration was read, if that is anything else. One
    /// that is over needs nothing done where files wait to be asked for: its end is felt at the door,
    /// and a clock that comes back opens it.
    pub(super) fn permit_now(&self, live: &Live) -> Option<PermitSettings> {
        let (known, environment) = (&live.snapshot.permit, &live.snapshot.environment);
        let now = known.again(&Machine, environment, self.steady_now());
        let same = (&now.standing, now.refused) == (&known.standing, known.refused);
        let rests = live.snapshot.reload.apply == Apply::OnRequest
            && known.standing.is_ok()
            && now.standing == Err(PermitFault::Expired);
        (!same && !rests).then_some(now)
    }

    /// Whether the permit in force still covers what a handshake shows that began under an earlier one
    /// perhaps: clients take their time. While no other configuration came, this is two comparisons.
    ///
    /// # Errors
    /// Why it does not.
    pub fn still_covers(&self, end: &TlsEnd, asked: Option<&str>) -> Result<(), DoorFault> {
        let (live, now) = (self.live(), self.clock.now());
        let same = end.generation == live.snapshot.generation;
        let why = match &live.snapshot.permit.standing {
            Err(fault) => fault.as_str(),
            Ok(_) if live.until().is_none_or(|until| until.is_over(now)) => {
                PermitFault::Expired.as_str()
            }
            Ok(_) if same => return Ok(()),
            Ok(permit) if permit.covers(&end.listener, end.names_shown_to(asked)) => return Ok(()),
            Ok(_) => NOT_LISTED,
        };
        Err(DoorFault::NotPermitted(why))
    }

    pub(super) fn meter_permit(&self) {
        let (live, now) = (self.live(), self.clock.now());
        let left = live.until().map(|until| until.left(now).as_secs()).unwrap_or_default();
        let metrics = &self.metrics.permit;
        metrics.left.set(i64::try_from(left).unwrap_or(i64::MAX));
        for listener in &live.snapshot.listeners {
            let Some(tls) = &listener.tls else { continue };
            let whole = tls.closed_names().next().is_none();
            metrics.ends_tls(&listener.name, whole && live.may_end_tls(listener.ix, now).is_ok());
        }
    }
}
