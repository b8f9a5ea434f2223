//! What people are told of (MON-7): takes alarms in from everywhere at once, makes few of many, and
//! shows how they fare. Who keeps and delivers them is none of the engine's business.
//!
//! 1. [`Alarms::raise`] takes a microsecond, whatever happens; an alarm for which there is no room is
//!    counted, and told as lost.
//! 2. Every event that people must know of becomes an alarm in one place: [`Alarms::hear`].
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::alarm::{
    Alarm, Aspect, DeliveryFault, Grouper, Kind, Phrase, Severity, Source, Why, Windows,
};
use crate::base::{Clock, Detector, Moment, Name, Pseudonym};
use crate::evidence::{Event, Fixed, JudgedConfig, LockSubject, Noticed, PermitNews};
use crate::observe::AlarmMetrics;

/// Alarms that wait to be kept, after grouping. Some 300 bytes each; they wait for milliseconds, unless
/// the disk stands still.
const RAISED_MAX: usize = 2_048;
/// The latest alarms, to be looked at.
const RECENT_MAX: usize = 256;

/// See the module.
#[derive(Debug)]
pub struct Alarms {
    clock: Clock,
    metrics: AlarmMetrics,
    /// Held for a look-up in a bounded table.
    grouper: Mutex<Grouper>,
    raised: mpsc::Sender<Alarm>,
    heard: Mutex<Option<mpsc::Receiver<Alarm>>>,
    /// Since they were last told of.
    lost: AtomicU64,
    recent: Mutex<VecDeque<Recent>>,
    targets: Mutex<Vec<TargetStatus>>,
}

/// An alarm, as it was told or queued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recent {
    /// Its place in the queue; none if there is no target.
    pub sequence: Option<u64>,
    pub alarm: Alarm,
}

/// How one target fares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetStatus {
    pub name: Name,
    /// The kind of target, in the configuration's word.
    pub kind: &'static str,
    /// Alarms that wait for it.
    pub waiting: u64,
    /// When the oldest of them happened, in milliseconds since 1970.
    pub oldest_ms: Option<u64>,
    /// Alarms it was told since the process started.
    pub told: u64,
    /// Alarms it was never told, ever.
    pub lost: u64,
    /// Why the last attempt failed, if it did.
    pub fault: Option<DeliveryFault>,
    /// When it last took a message, in milliseconds since 1970.
    pub reached_ms: Option<u64>,
}

impl TargetStatus {
    const fn new(name: Name, kind: &'static str) -> Self {
        Self {
            name,
            kind,
            waiting: 0,
            oldest_ms: None,
            told: 0,
            lost: 0,
            fault: None,
            reached_ms: None,
        }
    }
}

impl Alarms {
    pub(super) fn new(clock: Clock, metrics: AlarmMetrics, windows: Windows) -> Self {
        let (raised, heard) = mpsc::channel(RAISED_MAX);
        Self {
            clock,
            metrics,
            grouper: Mutex::new(Grouper::new(windows)),
            raised,
            heard: Mutex::new(Some(heard)),
            lost: AtomicU64::new(0),
            recent: Mutex::default(),
            targets: Mutex::default(),
        }
    }

    /// Has people told of this. Never waits.
    pub fn raise(&self, alarm: Alarm) {
        self.metrics.raised(Fixed::new(alarm.severity.as_str()), alarm.count);
        let first = self.grouper.lock().offer(alarm, self.clock.now());
        if let Some(alarm) = first {
            self.pass_on(alarm);
        }
    }

    /// Raises what an event is an alarm for, if it is.
    pub fn hear(&self, event: &Event<'_>) {
        if let Some(alarm) = of_event(event, self.clock.now()) {
            self.raise(alarm);
        }
    }

    /// Passes on what was gathered in windows that are over.
    pub fn pass_on_due(&self, windows: Windows) {
        let due = {
            let mut grouper = self.grouper.lock();
            grouper.set(windows);
            grouper.due(self.clock.now())
        };
        for alarm in due {
            self.pass_on(alarm);
        }
    }

    /// Passes on all that was gathered, at the end.
    pub fn pass_on_rest(&self) {
        let rest = self.grouper.lock().flush();
        for alarm in rest {
            self.pass_on(alarm);
        }
    }

    /// What is gathered and was not passed on, if it is not what it was at the last call.
    #[must_use]
    pub fn gathered(&self) -> Option<Vec<Alarm>> {
        self.grouper.lock().gathered()
    }

    fn pass_on(&self, alarm: Alarm) {
        if self.raised.try_send(alarm).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The other end of [`raise`](Self::raise), for the one who brings them on; `None` the second
    /// time.
    #[must_use]
    pub fn take(&self) -> Option<mpsc::Receiver<Alarm>> {
        self.heard.lock().take()
    }

    /// Alarms for which there was no room since the last call.
    #[must_use]
    pub fn take_lost(&self) -> u64 {
        self.lost.swap(0, Ordering::Relaxed)
    }

    /// Remembers an alarm among the latest.
    pub fn remember(&self, recent: Recent) {
        let mut all = self.recent.lock();
        if all.len() == RECENT_MAX {
            all.pop_front();
        }
        all.push_back(recent);
    }

    /// The latest alarms of this process, oldest first.
    #[must_use]
    pub fn recent(&self) -> Vec<Recent> {
        self.recent.lock().iter().cloned().collect()
    }

    /// Puts a target's status in place of the one before. A target that is configured no more has
    /// none.
    pub fn show(&self, status: TargetStatus) {
        let mut all = self.targets.lock();
        if let Some(known) = all.iter_mut().find(|known| known.name == status.name) {
            *known = status;
        }
    }

    /// Which targets there are from now on, each with its kind.
    pub fn expect(&self, targets: impl Iterator<Item = (Name, &'static str)>) {
        let mut all = self.targets.lock();
        let before = std::mem::take(&mut *all);
        *all = targets
            .map(|(name, kind)| {
                let known = before.iter().find(|status| status.name == name && status.kind == kind);
                known.cloned().unwrap_or_else(|| TargetStatus::new(name, kind))
            })
            .collect();
    }

    #[must_use]
    pub fn targets(&self) -> Vec<TargetStatus> {
        self.targets.lock().clone()
    }
}

/// Which events people are told of.
fn of_event(event: &Event<'_>, now: Moment) -> Option<Alarm> {
    use Severity::{Critical, High, Low, Medium};
    let new = |kind, severity| Alarm::new(kind, severity, now);
    Some(match event {
        Event::Noticed(noticed) => of_noticed(noticed, now)?,
        Event::Locked(held) => {
            let (kind, severity) = match held.step.as_str() {
                "kill" => (Kind::Killed, High),
                "lock" => (Kind::Locked, High),
                _ => (Kind::Locked, Medium),
            };
            detail(subject(new(kind, severity), held.subject), held.cause)
        }
        Event::LockWithheld(held) => {
            detail(subject(new(Kind::LockCap, Critical), held.subject), held.cause)
        }
        Event::Unlocked { subject: of, reason, .. } => {
            detail(subject(new(Kind::Unlocked, Low), *of), *reason)
        }
        Event::LocksUnkept { fault } | Event::StoreFaulty { fault } => {
            detail(new(Kind::StoreFaulty, High), *fault)
        }
        Event::MemoryRefused { .. } => {
            detail(new(Kind::StoreFaulty, High), Fixed::new("memory-refused"))
        }
        Event::BreakerOpened { upstream, endpoint, .. } => {
            let alarm = new(Kind::UpstreamFailing, High).about(Aspect::Upstream, upstream);
            named(alarm, Aspect::Endpoint, *endpoint)
        }
        Event::UpstreamUnresolved { upstream, endpoint } => {
            let alarm = new(Kind::UpstreamUnresolved, High).about(Aspect::Upstream, upstream);
            named(alarm, Aspect::Endpoint, *endpoint)
        }
        Event::UpstreamUntrusted { upstream } => {
            new(Kind::UpstreamUntrusted, Critical).about(Aspect::Upstream, upstream)
        }
        Event::TargetDown(passing) => {
            let severity = if passing.left == 0 { High } else { Medium };
            new(Kind::PassFailing, severity)
                .about(Aspect::Listener, passing.listener)
                .about(Aspect::Route, passing.route)
                .about(Aspect::Target, passing.target)
        }
        Event::JwksFailed { issuer, fault } => {
            detail(new(Kind::IssuerKeys, High).about(Aspect::Issuer, issuer), *fault)
        }
        Event::Permit(news) => of_permit(news, now)?,
        Event::ConfigRefused { why, .. } => detail(new(Kind::ConfigRefused, Medium), *why),
        Event::ConfigRolledBack(judged) => of_judged(new(Kind::ConfigRolledBack, High), judged),
        Event::ConfigSuspect(judged) => of_judged(new(Kind::ConfigSuspect, High), judged),
        Event::LogUnavailable { fault } => {
            detail(new(Kind::LogUnavailable, Critical), Fixed::new(fault.as_str()))
        }
        Event::LinesLost { count } => counted(new(Kind::LinesLost, High), *count),
        Event::Panicked { .. } => new(Kind::Panicked, High),
        _ => return None,
    })
}

/// The nearer its end, the louder.
fn of_permit(news: &PermitNews<'_>, now: Moment) -> Option<Alarm> {
    use Severity::{Critical, High, Medium};
    let missing = |severity| Alarm::new(Kind::PermitMissing, severity, now);
    Some(match news {
        PermitNews::Accepted { .. } => return None,
        PermitNews::Refused { fault } => detail(missing(Critical), *fault),
        PermitNews::Kept { fault, .. } => {
            detail(Alarm::new(Kind::PermitExpiring, Medium, now), *fault)
        }
        PermitNews::Ended { .. } => detail(missing(Critical), Fixed::new("expired")),
        PermitNews::Withheld { listener } => missing(High).about(Aspect::Listener, listener),
        PermitNews::Ending { left, .. } => {
            let severity = match left.as_secs() {
                0..=86_400 => Critical,
                86_401..=604_800 => High,
                _ => Medium,
            };
            Alarm::new(Kind::PermitExpiring, severity, now)
        }
    })
}

/// A detector's signal (MON-8): who, and the numbers that it goes by.
fn of_noticed(noticed: &Noticed<'_>, now: Moment) -> Option<Alarm> {
    let word = noticed.detector.as_str();
    let kind = Kind::of(*Detector::ALL.iter().find(|detector| detector.as_str() == word)?);
    let severity = Severity::of(noticed.grade.as_str())?;
    let mut alarm = detail(Alarm::new(kind, severity, now), noticed.level).because(Why {
        seen: noticed.seen,
        expected: noticed.expected,
        limit: noticed.limit,
        unit: Phrase::new(noticed.unit.as_str()),
        since_ms: noticed.since_ms,
        setting: Phrase::new(noticed.setting.as_str()),
    });
    if let Some(identity) = noticed.identity {
        return Some(alarm.about(Aspect::Identity, identity));
    }
    alarm.source =
        noticed.source.map(|(pseudonym, day): (Pseudonym, u32)| Source { pseudonym, day });
    Some(alarm)
}

fn of_judged(alarm: Alarm, judged: &JudgedConfig<'_>) -> Alarm {
    let mut alarm = detail(alarm, judged.place).because(Why {
        seen: judged.seen,
        expected: judged.expected,
        limit: judged.limit,
        unit: Phrase::new("failures in 1,000"),
        since_ms: 0,
        setting: Phrase::new("reload.trial"),
    });
    if let Some(upstream) = judged.upstream {
        alarm = alarm.about(Aspect::Upstream, upstream);
    }
    match judged.listener {
        Some(listener) => alarm.about(Aspect::Listener, listener),
        None => alarm,
    }
}

fn subject(alarm: Alarm, of: LockSubject<'_>) -> Alarm {
    match of {
        LockSubject::Identity(name) => alarm.about(Aspect::Identity, name),
        LockSubject::Operation(name) => alarm.about(Aspect::Operation, name),
        LockSubject::Upstream(name) => alarm.about(Aspect::Upstream, name),
        LockSubject::Source
        | LockSubject::Network
        | LockSubject::Account
        | LockSubject::Order
        | LockSubject::Token => alarm,
    }
}

/// A word of the program that says how.
fn detail(alarm: Alarm, word: Fixed) -> Alarm {
    named(alarm, Aspect::Detail, word)
}

pub(super) fn named(alarm: Alarm, aspect: Aspect, word: Fixed) -> Alarm {
    match Name::parse(word.as_str()) {
        Ok(name) => alarm.about(aspect, &name),
        Err(_) => alarm,
    }
}

pub(super) fn counted(mut alarm: Alarm, count: u64) -> Alarm {
    alarm.count = u32::try_from(count).unwrap_or(u32::MAX).max(1);
    alarm
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::ControlId;
    use crate::detect::Severity as Grade;

    fn noticed(detector: Detector, grade: Grade) -> Noticed<'static> {
        Noticed {
            since_ms: 1_700_000_000_000,
            detector: Fixed::new(detector.as_str()),
            control: detector.control(),
            level: Fixed::new("act"),
            grade: Fixed::new(grade.as_str()),
            identity: None,
            source: None,
            seen: 3,
            expected: 1,
            limit: 2,
            unit: Fixed::new("answers with personal data"),
            setting: Fixed::new("detect.slow.act"),
        }
    }

    /// The words are those of `detect`; a detector or grade that is new there is missed nowhere.
    #[test]
    fn mon_8_every_detector_becomes_an_alarm_of_its_control() {
        let now = Moment::new(0, 0);
        for detector in Detector::ALL {
            for grade in [Grade::Low, Grade::Medium, Grade::High, Grade::Critical] {
                let event = Event::Noticed(noticed(*detector, grade));
                let Some(alarm) = of_event(&event, now) else { panic!("{}", detector.as_str()) };
                assert_eq!(alarm.kind.control(), detector.control(), "{}", detector.as_str());
                assert_eq!(alarm.severity.as_str(), grade.as_str());
                assert_eq!(alarm.why.map(|why| why.limit), Some(2));
            }
        }
    }

    #[test]
    fn mon_7_raising_never_waits_and_what_is_lost_is_counted() {
        let (clock, hand) = Clock::manual(0);
        let metrics = crate::observe::Metrics::new("test", clock.now()).unwrap();
        let windows = Windows { first: Duration::from_secs(10), repeat: Duration::from_secs(10) };
        let alarms = Alarms::new(clock, metrics.alarms.clone(), windows);
        let refused = Event::ConfigRefused { generation: 1, errors: 2, why: Fixed::new("errors") };
        for _ in 0..RAISED_MAX + 7 {
            alarms.hear(&refused);
            alarms.hear(&refused);
            hand.advance(Duration::from_secs(10));
            // The very first one goes at once, the others one by one with their windows.
            alarms.pass_on_due(windows);
        }
        assert_eq!((alarms.take_lost(), alarms.take_lost()), (8, 0));
        let mut heard = alarms.take().unwrap();
        assert!(alarms.take().is_none());
        let alarm = heard.try_recv().unwrap();
        assert_eq!((alarm.kind, alarm.kind.control()), (Kind::ConfigRefused, ControlId::Log1));
        for sequence in 0..300 {
            alarms.remember(Recent { sequence: Some(sequence), alarm: alarm.clone() });
        }
        let recent = alarms.recent();
        assert_eq!((recent.len(), recent[0].sequence), (RECENT_MAX, Some(44)));
    }
}
