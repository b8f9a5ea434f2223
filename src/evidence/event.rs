//! What the gateway itself does and suffers: a closed list of events, and the line each becomes.
mod parts;

use std::time::Duration;

use crate::__record as record;
use crate::base::{ControlId, Moment, Name, Pseudonym, RequestId};

use super::about::{
    Applied, AtDoor, Gathered, Held, JudgedConfig, LockSubject, Noticed, Operated, Passing, Raised,
    Upgrade,
};
use super::action::{Action, kind};
use super::codes::DenialCode;
use super::permit::PermitNews;
use super::place::CodePlace;
use super::record::Fixed;
use super::words::{Framework, LogFault, Severity};

/// Something that happened to the gateway rather than to one request (LOG-1).
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// The process is ready to serve.
    Started {
        version: Fixed,
        generation: u64,
    },
    /// It takes no more connections and finishes what it has.
    Draining,
    Upgrade(Upgrade),
    /// The last line of a process that ended in order.
    Stopped {
        ran: Duration,
    },
    ListenerBound {
        listener: &'a Name,
        port: u16,
    },
    /// It takes no more connections; those that are open have the grace to end in.
    ListenerClosed {
        listener: &'a Name,
    },
    /// A new configuration is in force.
    ConfigReloaded(Applied<'a>),
    /// A configuration was refused; `generation` stays in force.
    ConfigRefused {
        generation: u64,
        errors: u64,
        why: Fixed,
    },
    /// More failed than before, and the configuration before it is in force again.
    ConfigRolledBack(JudgedConfig<'a>),
    /// More fails than before; the configuration stays in force all the same.
    ConfigSuspect(JudgedConfig<'a>),
    /// A configuration stood its trial.
    ConfigProven {
        generation: u64,
    },
    /// NET-1, before TLS. Counted by the door, written now and then.
    AddressRefused(AtDoor<'a>),
    /// Open connections were cut, because what they stood on was taken away (ACC-3).
    ConnectionsCut {
        listener: &'a Name,
        identity: Option<&'a Name>,
        cause: Fixed,
        count: u64,
    },
    /// As many connections are open as are allowed.
    ConnectionsExceeded(AtDoor<'a>),
    /// NET-3.
    ProxyHeaderRefused(AtDoor<'a>),
    /// TLS-1.
    HandshakeFailed(AtDoor<'a>),
    /// TLS-3: no TLS ends on this listener of this host.
    TlsNotPermitted(AtDoor<'a>),
    /// What became of the host's permit (TLS-3).
    Permit(PermitNews<'a>),
    /// Traffic that no request owns: malformed heads, floods of HTTP/2 frames (MON-5).
    ProtocolRefused(AtDoor<'a>),
    /// Requests that were refused before anybody was proved, and are counted instead of written whole.
    RequestsRefused(Gathered<'a>),
    /// `endpoint`: main or token, which have a breaker each.
    BreakerOpened {
        upstream: &'a Name,
        endpoint: Fixed,
        failures: u64,
    },
    BreakerClosed {
        upstream: &'a Name,
        endpoint: Fixed,
    },
    /// The name of an endpoint does not resolve; addresses known before stay in use.
    UpstreamUnresolved {
        upstream: &'a Name,
        endpoint: Fixed,
    },
    UpstreamResolved {
        upstream: &'a Name,
        endpoint: Fixed,
    },
    /// Certificate, name or pin did not verify (TLS-2).
    UpstreamUntrusted {
        upstream: &'a Name,
    },
    /// A gateway that connections are passed on to is left alone (TLS-3).
    TargetDown(Passing<'a>),
    /// It is used again.
    TargetUp(Passing<'a>),
    /// An issuer's keys can't be had; those remembered stay in use.
    JwksFailed {
        issuer: &'a Name,
        fault: Fixed,
    },
    JwksRecovered {
        issuer: &'a Name,
        keys: u64,
    },
    /// Lines can't be written. This line is written when they can be again.
    LogUnavailable {
        fault: LogFault,
    },
    /// `refused`: requests that were turned away for want of a log, in `outage`.
    LogRecovered {
        refused: u64,
        outage: Duration,
    },
    /// Lines that could not be kept since the last such event.
    LinesLost {
        count: u64,
    },
    /// A log file was closed and a new one begun.
    LogRotated {
        bytes: u64,
    },
    /// It should have been, and the old file stays in use.
    LogRotationFailed {
        fault: LogFault,
    },
    /// LOG-4: files past their time were deleted.
    LogExpired {
        files: u64,
        bytes: u64,
    },
    /// A detector saw something out of the ordinary (MON-8): what, against what was expected, by
    /// which setting.
    Noticed(Noticed<'a>),
    /// Somebody or something stands on a step of the ladder from now on (ACC-2, ACC-5).
    Locked(Held<'a>),
    /// A named operator ended a lock.
    Unlocked {
        subject: LockSubject<'a>,
        actor: &'a Name,
        reason: Fixed,
        case: &'a Name,
    },
    /// A lock was due, and too many identities are locked already, or the table is full.
    LockWithheld(Held<'a>),
    /// A lock could not be written down yet; it holds all the same.
    LocksUnkept {
        fault: Fixed,
    },
    LocksKept,
    /// An operator's act, done or refused (PRIV-3).
    OperatorAct(Operated<'a>),
    /// The state can't be had: its file, or the server that gateways share (ACC-2). Locks hold,
    /// quotas fall to this gateway's part.
    StoreFaulty {
        fault: Fixed,
    },
    StoreHealed {
        outage: Duration,
    },
    /// Pieces of memory that could not be read at the start.
    MemoryRefused {
        count: u64,
    },
    /// People are told of this, at once or when they can be had (MON-7).
    AlarmRaised(Raised<'a>),
    /// A target was told of so many alarms.
    AlarmDelivered {
        target: &'a Name,
        count: u64,
    },
    /// A target can't be told, and its alarms wait. Written when that begins, when the reason
    /// changes, and once an hour.
    AlarmFailed {
        target: &'a Name,
        fault: Fixed,
        failures: u64,
    },
    /// So many alarms this target, or nobody, is told of.
    AlarmsLost {
        target: Option<&'a Name>,
        count: u64,
    },
    /// A thread or task panicked. Its message stays unsaid (LOG-2).
    Panicked {
        place: CodePlace,
    },
    /// A library below us said something. Its words stay unsaid (LOG-2).
    Framework {
        framework: Framework,
        severity: Severity,
        count: u64,
    },
}

record! {
    /// The line of an [`Event`]. Made by [`EventRecord::new`] only.
    #[derive(Clone, Debug)]
    pub struct EventRecord<'a> in "sekisho.event" {
        at: Moment = "@timestamp",
        action: Action = "event.action",
        severity: Severity = "log.level",
        control: ControlId = "sekisho.control",
        listener: Option<&'a Name> = "sekisho.listener",
        permit: Option<&'a Name> = "sekisho.permit",
        identity: Option<&'a Name> = "user.name",
        operation: Option<&'a Name> = "sekisho.operation",
        detector: Option<Fixed> = "sekisho.detector",
        level: Option<Fixed> = "sekisho.level",
        grade: Option<Fixed> = "sekisho.severity",
        seen: Option<u64> = "sekisho.seen",
        expected: Option<u64> = "sekisho.expected",
        most: Option<u64> = "sekisho.at_most",
        since: Option<u64> = "sekisho.since_ms",
        unit: Option<Fixed> = "sekisho.unit",
        setting: Option<Fixed> = "sekisho.setting",
        subject: Option<Fixed> = "sekisho.subject",
        step: Option<Fixed> = "sekisho.step",
        cause: Option<Fixed> = "sekisho.cause",
        actor: Option<&'a Name> = "sekisho.actor",
        asked_by: Option<&'a Name> = "sekisho.asked_by",
        role: Option<Fixed> = "sekisho.operator_role",
        act: Option<Fixed> = "sekisho.act",
        outcome: Option<Fixed> = "sekisho.outcome",
        request: Option<RequestId> = "sekisho.request_id",
        reason: Option<Fixed> = "sekisho.reason",
        case: Option<&'a Name> = "sekisho.case",
        alarm: Option<Fixed> = "sekisho.alarm",
        target: Option<&'a Name> = "sekisho.target",
        route: Option<&'a Name> = "sekisho.route",
        upstream: Option<&'a Name> = "sekisho.upstream",
        issuer: Option<&'a Name> = "sekisho.issuer",
        denial: Option<DenialCode> = "sekisho.denial",
        fault: Option<Fixed> = "sekisho.detail",
        source: Option<Pseudonym> = "sekisho.source",
        source_day: Option<u32> = "sekisho.source_day",
        framework: Option<Framework> = "sekisho.framework",
        place: Option<CodePlace> = "log.origin.file.name",
        line: Option<u32> = "log.origin.file.line",
        version: Option<Fixed> = "service.version",
        port: Option<u16> = "server.port",
        generation: Option<u64> = "sekisho.snapshot",
        judged: Option<u64> = "sekisho.judged_snapshot",
        widens: Option<u64> = "sekisho.widens",
        narrows: Option<u64> = "sekisho.narrows",
        neutral: Option<u64> = "sekisho.neutral",
        count: Option<u64> = "sekisho.count",
        bytes: Option<u64> = "sekisho.bytes",
        elapsed: Option<Duration> = "sekisho.elapsed_us",
    }
}

impl<'a> EventRecord<'a> {
    #[must_use]
    #[expect(clippy::too_many_lines, reason = "one table, to be read as a whole")]
    pub fn new(at: Moment, event: &Event<'a>) -> Self {
        let (action, severity, control) = kind(event);
        let bare = Self::bare(at, action, severity, control);
        match event {
            Event::Started { version, generation } => {
                Self { version: Some(*version), generation: Some(*generation), ..bare }
            }
            Event::Draining | Event::Upgrade(Upgrade::Begun | Upgrade::Done) => bare,
            Event::Upgrade(Upgrade::Failed { fault }) => Self { fault: Some(*fault), ..bare },
            Event::Stopped { ran } => Self { elapsed: Some(*ran), ..bare },
            Event::ListenerBound { listener, port } => {
                Self { listener: Some(listener), port: Some(*port), ..bare }
            }
            Event::ListenerClosed { listener } => Self { listener: Some(listener), ..bare },
            Event::ConfigReloaded(applied) => bare.applied(applied),
            Event::ConfigRolledBack(judged) | Event::ConfigSuspect(judged) => bare.judged(judged),
            Event::ConfigProven { generation } => Self { generation: Some(*generation), ..bare },
            Event::ConfigRefused { generation, errors, why } => Self {
                generation: Some(*generation),
                count: Some(*errors),
                reason: Some(*why),
                ..bare
            },
            Event::AddressRefused(door)
            | Event::ConnectionsExceeded(door)
            | Event::ProxyHeaderRefused(door)
            | Event::HandshakeFailed(door)
            | Event::TlsNotPermitted(door)
            | Event::ProtocolRefused(door) => Self {
                listener: Some(door.listener),
                fault: door.fault,
                source: door.source.map(|(pseudonym, _)| pseudonym),
                source_day: door.source.map(|(_, day)| day),
                count: Some(door.count),
                ..bare
            },
            Event::RequestsRefused(gathered) => bare.gathered(gathered),
            Event::ConnectionsCut { listener, identity, cause, count } => Self {
                listener: Some(listener),
                identity: *identity,
                cause: Some(*cause),
                count: Some(*count),
                ..bare
            },
            Event::Permit(news) => Self {
                permit: news.serial(),
                listener: news.listener(),
                fault: news.fault(),
                elapsed: news.left(),
                ..bare
            },
            Event::BreakerOpened { upstream, endpoint, failures } => Self {
                upstream: Some(upstream),
                fault: Some(*endpoint),
                count: Some(*failures),
                ..bare
            },
            Event::BreakerClosed { upstream, endpoint }
            | Event::UpstreamUnresolved { upstream, endpoint }
            | Event::UpstreamResolved { upstream, endpoint } => {
                Self { upstream: Some(upstream), fault: Some(*endpoint), ..bare }
            }
            Event::UpstreamUntrusted { upstream } => Self { upstream: Some(upstream), ..bare },
            Event::TargetDown(passing) | Event::TargetUp(passing) => Self {
                listener: Some(passing.listener),
                route: Some(passing.route),
                target: Some(passing.target),
                fault: passing.fault,
                count: Some(passing.left),
                ..bare
            },
            Event::JwksFailed { issuer, fault } => {
                Self { issuer: Some(issuer), fault: Some(*fault), ..bare }
            }
            Event::JwksRecovered { issuer, keys } => {
                Self { issuer: Some(issuer), count: Some(*keys), ..bare }
            }
            Event::LogUnavailable { fault } | Event::LogRotationFailed { fault } => {
                Self { fault: Some(Fixed::new(fault.as_str())), ..bare }
            }
            Event::LogRecovered { refused, outage } => {
                Self { count: Some(*refused), elapsed: Some(*outage), ..bare }
            }
            Event::LinesLost { count } => Self { count: Some(*count), ..bare },
            Event::LogRotated { bytes } => Self { bytes: Some(*bytes), ..bare },
            Event::LogExpired { files, bytes } => {
                Self { count: Some(*files), bytes: Some(*bytes), ..bare }
            }
            Event::Noticed(noticed) => Self {
                detector: Some(noticed.detector),
                level: Some(noticed.level),
                grade: Some(noticed.grade),
                identity: noticed.identity,
                source: noticed.source.map(|(pseudonym, _)| pseudonym),
                source_day: noticed.source.map(|(_, day)| day),
                seen: Some(noticed.seen),
                expected: Some(noticed.expected),
                most: Some(noticed.limit),
                since: Some(noticed.since_ms),
                unit: Some(noticed.unit),
                setting: Some(noticed.setting),
                ..bare
            },
            Event::Locked(held) | Event::LockWithheld(held) => Self {
                step: Some(held.step),
                cause: Some(held.cause),
                actor: held.actor,
                case: held.case,
                elapsed: held.lasts,
                ..bare.about(held.subject)
            },
            Event::Unlocked { subject, actor, reason, case } => Self {
                actor: Some(actor),
                reason: Some(*reason),
                case: Some(case),
                ..bare.about(*subject)
            },
            Event::LocksUnkept { fault } => Self { fault: Some(*fault), ..bare },
            Event::LocksKept => bare,
            Event::OperatorAct(act) => bare.operated(act),
            Event::StoreFaulty { fault } => Self { fault: Some(*fault), ..bare },
            Event::StoreHealed { outage } => Self { elapsed: Some(*outage), ..bare },
            Event::MemoryRefused { count } => Self { count: Some(*count), ..bare },
            Event::AlarmRaised(raised) => bare.raised(raised),
            Event::AlarmDelivered { target, count } => bare.of_target(Some(target), *count),
            Event::AlarmsLost { target, count } => bare.of_target(*target, *count),
            Event::AlarmFailed { target, fault, failures } => {
                Self { fault: Some(*fault), ..bare.of_target(Some(target), *failures) }
            }
            Event::Panicked { place } => {
                Self { place: Some(*place), line: Some(place.line), ..bare }
            }
            Event::Framework { framework, count, .. } => {
                Self { framework: Some(*framework), count: Some(*count), ..bare }
            }
        }
    }

    const fn applied(self, applied: &Applied<'a>) -> Self {
        Self {
            generation: Some(applied.generation),
            cause: Some(applied.trigger),
            actor: applied.actor,
            widens: Some(applied.widens),
            narrows: Some(applied.narrows),
            neutral: Some(applied.neutral),
            ..self
        }
    }

    const fn judged(self, judged: &JudgedConfig<'a>) -> Self {
        Self {
            generation: Some(judged.in_force),
            judged: Some(judged.judged),
            subject: Some(judged.place),
            upstream: judged.upstream,
            listener: judged.listener,
            seen: Some(judged.seen),
            expected: Some(judged.expected),
            most: Some(judged.limit),
            unit: Some(Fixed::new("failures in 1,000")),
            count: Some(judged.sent),
            reason: Some(judged.why),
            ..self
        }
    }

    const fn bare(at: Moment, action: Action, severity: Severity, control: ControlId) -> Self {
        Self {
            at,
            action,
            severity,
            control,
            listener: None,
            permit: None,
            identity: None,
            operation: None,
            detector: None,
            level: None,
            grade: None,
            seen: None,
            expected: None,
            most: None,
            since: None,
            unit: None,
            setting: None,
            subject: None,
            step: None,
            cause: None,
            actor: None,
            asked_by: None,
            role: None,
            act: None,
            outcome: None,
            request: None,
            reason: None,
            case: None,
            alarm: None,
            target: None,
            route: None,
            upstream: None,
            issuer: None,
            denial: None,
            fault: None,
            source: None,
            source_day: None,
            framework: None,
            place: None,
            line: None,
            version: None,
            port: None,
            generation: None,
            judged: None,
            widens: None,
            narrows: None,
            neutral: None,
            count: None,
            bytes: None,
            elapsed: None,
        }
    }
}
