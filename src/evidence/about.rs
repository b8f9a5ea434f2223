//! What events about detectors and locks say.
use std::time::Duration;

use crate::base::{ControlId, Name, Pseudonym, RequestId};

use super::codes::DenialCode;
use super::record::Fixed;

/// What a detector saw.
#[derive(Clone, Debug)]
pub struct Noticed<'a> {
    pub detector: Fixed,
    pub control: ControlId,
    /// `note`, or `act` where the detector's second limit was passed.
    pub level: Fixed,
    /// How bad it is: low, medium, high, critical.
    pub grade: Fixed,
    pub identity: Option<&'a Name>,
    /// Stands for the address of the request that made it be noticed.
    pub source: Option<(Pseudonym, u32)>,
    pub seen: u64,
    pub expected: u64,
    pub limit: u64,
    /// When the counting began, in milliseconds since 1970.
    pub since_ms: u64,
    pub unit: Fixed,
    /// The setting that moves the limit.
    pub setting: Fixed,
}

/// Another binary is to take this process' place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upgrade {
    Begun,
    /// The new process serves.
    Done,
    /// This process goes on.
    Failed {
        fault: Fixed,
    },
}

/// What people are told of.
#[derive(Clone, Debug)]
pub struct Raised<'a> {
    pub alarm: Fixed,
    pub control: ControlId,
    /// low, medium, high, critical.
    pub grade: Fixed,
    /// How often it happened, where several were gathered.
    pub count: u64,
    pub identity: Option<&'a Name>,
    pub operation: Option<&'a Name>,
    pub upstream: Option<&'a Name>,
    pub listener: Option<&'a Name>,
    pub issuer: Option<&'a Name>,
    pub source: Option<(Pseudonym, u32)>,
    /// Seen, expected, and the limit that was passed.
    pub numbers: Option<[u64; 3]>,
}

/// One hold on a subject.
#[derive(Clone, Debug)]
pub struct Held<'a> {
    pub subject: LockSubject<'a>,
    pub step: Fixed,
    pub cause: Fixed,
    pub control: ControlId,
    /// Who imposed it; none for the machine.
    pub actor: Option<&'a Name>,
    pub case: Option<&'a Name>,
    /// None: until it is released.
    pub lasts: Option<Duration>,
}

/// What an operator did or tried to do (PRIV-3).
#[derive(Clone, Debug)]
pub struct Operated<'a> {
    /// None: the certificate names no operator.
    pub operator: Option<&'a Name>,
    pub role: Option<Fixed>,
    pub act: Fixed,
    /// done, unkept, pending, confirmed, withdrawn, refused, failed.
    pub outcome: Fixed,
    /// Why it was refused.
    pub reason: Option<Fixed>,
    pub subject: Option<LockSubject<'a>>,
    pub case: Option<&'a Name>,
    /// Who had asked for it, where a second person answered.
    pub asked_by: Option<&'a Name>,
    pub request: Option<RequestId>,
    /// How often, where it is not written each time.
    pub count: Option<u64>,
}

/// What a lock is on. Sources, accounts, orders and tokens are kept as keyed hashes, which are not
/// written; nor is which network it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockSubject<'a> {
    Identity(&'a Name),
    Operation(&'a Name),
    Upstream(&'a Name),
    Source,
    Network,
    Account,
    Order,
    Token,
}

impl<'a> LockSubject<'a> {
    pub(super) const fn kind(self) -> Fixed {
        Fixed::new(match self {
            Self::Identity(_) => "identity",
            Self::Operation(_) => "operation",
            Self::Upstream(_) => "upstream",
            Self::Source => "source",
            Self::Network => "network",
            Self::Account => "account",
            Self::Order => "order",
            Self::Token => "token",
        })
    }

    pub(super) const fn identity(self) -> Option<&'a Name> {
        match self {
            Self::Identity(name) => Some(name),
            _ => None,
        }
    }

    pub(super) const fn operation(self) -> Option<&'a Name> {
        match self {
            Self::Operation(name) => Some(name),
            _ => None,
        }
    }

    pub(super) const fn upstream(self) -> Option<&'a Name> {
        match self {
            Self::Upstream(name) => Some(name),
            _ => None,
        }
    }
}

/// A target of a route on which connections are passed on.
#[derive(Clone, Debug)]
pub struct Passing<'a> {
    pub listener: &'a Name,
    pub route: &'a Name,
    pub target: &'a Name,
    /// The last of the failures, in a word.
    pub fault: Option<Fixed>,
    /// Targets of the route that are used now.
    pub left: u64,
}

/// What happened at a listener before there was a request.
#[derive(Clone, Debug)]
pub struct AtDoor<'a> {
    pub listener: &'a Name,
    /// The fault's name.
    pub fault: Option<Fixed>,
    /// Stands for the peer's address, where the event is about one peer.
    pub source: Option<(Pseudonym, u32)>,
    /// How often, since the last such event.
    pub count: u64,
}

/// Requests of callers who proved nothing, beyond those that have a line each.
#[derive(Clone, Debug)]
pub struct Gathered<'a> {
    pub listener: Option<&'a Name>,
    /// The code of the answer; none where the caller went away before it.
    pub denial: Option<DenialCode>,
    /// Stands for their address; none where there were too many to tell them apart.
    pub source: Option<(Pseudonym, u32)>,
    /// How many, since the last such event.
    pub count: u64,
}

/// A configuration that came into force.
#[derive(Clone, Debug)]
pub struct Applied<'a> {
    pub generation: u64,
    /// signal, file, operator.
    pub trigger: Fixed,
    pub actor: Option<&'a Name>,
    /// How many differences let more be done, less, and neither.
    pub widens: u64,
    pub narrows: u64,
    pub neutral: u64,
}

/// A configuration under which more failed than before.
#[derive(Clone, Debug)]
pub struct JudgedConfig<'a> {
    /// The configuration that is in force now.
    pub in_force: u64,
    /// The one that was judged.
    pub judged: u64,
    /// Where more failed: upstream, listener, access, gateway.
    pub place: Fixed,
    pub upstream: Option<&'a Name>,
    pub listener: Option<&'a Name>,
    /// Failures in a thousand requests: now, before, and up to where it would have been chance.
    pub seen: u64,
    pub expected: u64,
    pub limit: u64,
    /// Requests, or handshakes, that were looked at.
    pub sent: u64,
    /// What followed, or why nothing did.
    pub why: Fixed,
}
