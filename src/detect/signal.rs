//! What a detector says: who, what, how bad, and the numbers.
pub(super) use crate::base::Detector;
use crate::base::{IdentityIx, Moment};

/// What a detector's signals may lead to (MON-8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// Nothing is looked at; history is learned still, so that it can be switched on at any time.
    Off,
    /// Alarms only.
    #[default]
    Observe,
    /// Alarms, and what the signal asks for.
    Enforce,
}

/// How loud an alarm is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    Low,
    Medium,
    High,
    Critical,
}

impl Severity {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// Which of a detector's two limits was passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Unusual: worth a note.
    Note,
    /// Beyond what normal use explains: worth the response.
    Act,
}

/// What a signal asks for where its detector is enforced. The lockout rules decide what becomes of
/// it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Response {
    Note,
    Slow,
    StepUp,
    Lock,
}

/// Whom a signal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    Identity(IdentityIx),
    /// Keyed hash of a source network. For the lock table, not for the log.
    Source(u64),
}

/// Why, in numbers and words of this program (MON-8): "seen 840 records within 900 s, expected 52, at
/// most 410 by `volume.hour_factor`".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explanation {
    pub seen: u64,
    /// What history or settings expect.
    pub expected: u64,
    /// The limit that was passed.
    pub limit: u64,
    /// What is counted.
    pub unit: &'static str,
    /// When the counting began, in milliseconds since 1970.
    pub since_ms: u64,
    /// The setting that moves the limit.
    pub setting: &'static str,
}

/// Something out of the ordinary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal {
    pub detector: Detector,
    pub subject: Subject,
    pub level: Level,
    pub severity: Severity,
    pub asks: Response,
    /// Only a request that was authenticated could do this.
    pub authenticated: bool,
    pub why: Explanation,
    pub at: Moment,
}

impl Signal {
    /// Whether what it asks for is to be done.
    pub const fn is_enforced(&self) -> bool {
        !matches!(self.asks, Response::Note)
    }

    /// In observe mode a signal keeps its level and severity and asks for no more than a note.
    pub(super) fn under(self, mode: Mode) -> Option<Self> {
        match mode {
            Mode::Off => None,
            Mode::Observe => Some(Self { asks: Response::Note, ..self }),
            Mode::Enforce => Some(self),
        }
    }
}

/// The signals of one event: at most one of each detector. Most events bring none, and cost nothing
/// here.
#[derive(Clone, Debug, Default)]
pub struct Signals(Vec<Signal>);

impl Signals {
    pub(super) fn add(&mut self, signal: Option<Signal>) {
        self.0.extend(signal);
    }

    pub fn iter(&self) -> impl Iterator<Item = &Signal> {
        self.0.iter()
    }

    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
