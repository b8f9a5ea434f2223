//! An alarm, built from values that can't hold anything of a request.
use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::time::Duration;

use super::kind::{Aspect, Kind, Severity};
use crate::base::{HashKey, Moment, Name, Pseudonym, Utc};

/// The most names in one alarm.
pub const NAMES_MAX: usize = 8;

/// Words of this program, such as a unit. What is read back from the store has its form: printable
/// ASCII without quotes and backslashes, at most 96 bytes.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Phrase(Cow<'static, str>);

impl Phrase {
    pub(super) const LENGTH_MAX: usize = 96;

    #[must_use]
    pub const fn new(words: &'static str) -> Self {
        Self(Cow::Borrowed(words))
    }

    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let plain = |b: &u8| (b' '..=b'~').contains(b) && !b"\"\\".contains(b);
        let fits = bytes.len() <= Self::LENGTH_MAX && bytes.iter().all(plain);
        let text = std::str::from_utf8(bytes).ok().filter(|_| fits)?;
        Some(Self(Cow::Owned(text.to_owned())))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Phrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where from, as the access log of that day names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Source {
    pub pseudonym: Pseudonym,
    /// The day of the pseudonym's key, since 1970-01-01 UTC.
    pub day: u32,
}

/// The numbers behind an alarm (MON-8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Why {
    pub seen: u64,
    pub expected: u64,
    /// The limit that was passed.
    pub limit: u64,
    /// What is counted.
    pub unit: Phrase,
    /// When the counting began, in milliseconds since 1970; zero if that means nothing here.
    pub since_ms: u64,
    /// The setting that moves the limit.
    pub setting: Phrase,
}

/// Something that people must be told. There is no way to put a text of a request in:
///
/// ```compile_fail,E0308
/// use sekisho::alarm::{Alarm, Aspect, Kind, Severity};
/// use sekisho::base::Moment;
/// let path = String::from("/orders/v0/orders?BuyerEmail=hanako@example.com");
/// Alarm::new(Kind::Canary, Severity::Critical, Moment::new(0, 0)).about(Aspect::Operation, &path);
/// ```
/// ```compile_fail,E0308
/// use sekisho::alarm::{Alarm, Kind, Severity};
/// use sekisho::base::{ClientAddr, Moment};
/// let client = ClientAddr::new("203.0.113.7".parse().unwrap());
/// Alarm::new(Kind::Logins, Severity::High, Moment::new(0, 0)).from(client);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    pub kind: Kind,
    pub severity: Severity,
    /// Sorted by what they are names of; one of each, at most [`NAMES_MAX`].
    names: Vec<(Aspect, Name)>,
    pub source: Option<Source>,
    pub why: Option<Why>,
    /// When it happened first, in milliseconds since 1970.
    pub first_ms: u64,
    /// When it happened last.
    pub last_ms: u64,
    /// How often it happened. At least 1.
    pub count: u32,
    /// It is about several subjects: there were too many for an alarm each.
    pub several: bool,
}

impl Alarm {
    #[must_use]
    pub const fn new(kind: Kind, severity: Severity, at: Moment) -> Self {
        let (first_ms, last_ms) = (at.unix_ms(), at.unix_ms());
        Self {
            kind,
            severity,
            names: Vec::new(),
            source: None,
            why: None,
            first_ms,
            last_ms,
            count: 1,
            several: false,
        }
    }

    /// Adds or replaces a name.
    #[must_use]
    pub fn about(mut self, aspect: Aspect, name: &Name) -> Self {
        match self.names.binary_search_by_key(&aspect, |(known, _)| *known) {
            Ok(at) => {
                if let Some((_, known)) = self.names.get_mut(at) {
                    *known = name.clone();
                }
            }
            Err(at) if self.names.len() < NAMES_MAX => {
                self.names.insert(at, (aspect, name.clone()));
            }
            Err(_) => {}
        }
        self
    }

    #[must_use]
    pub const fn from(mut self, source: Source) -> Self {
        self.source = Some(source);
        self
    }

    #[must_use]
    pub fn because(mut self, why: Why) -> Self {
        self.why = Some(why);
        self
    }

    #[must_use]
    pub fn names(&self) -> &[(Aspect, Name)] {
        &self.names
    }

    #[must_use]
    pub fn name(&self, aspect: Aspect) -> Option<&Name> {
        self.names.iter().find(|(known, _)| *known == aspect).map(|(_, name)| name)
    }

    /// The same for alarms that are about the same thing: one kind, one subject, one source. The
    /// particulars, numbers and times may differ. Stable over restarts and versions.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = HashKey::new(*b"sekisho alarm v1").hasher();
        hasher.write_byte(self.kind.code());
        hasher.write_byte(u8::from(self.several));
        for (aspect, name) in self.names.iter().filter(|(of, _)| *of != Aspect::Detail) {
            hasher.write_byte(aspect.code());
            hasher.write(name.as_str().as_bytes());
            hasher.write_byte(0);
        }
        if let Some(source) = self.source {
            hasher.write(&source.pseudonym.bits().to_be_bytes());
        }
        hasher.finish()
    }

    /// Takes in another one about the same thing: counts add up, and particulars and numbers are those
    /// of the graver one, or of the newer.
    pub(super) fn absorb(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.first_ms = self.first_ms.min(other.first_ms);
        if (other.severity, other.last_ms) >= (self.severity, self.last_ms) {
            self.severity = other.severity;
            self.names.clone_from(&other.names);
            self.why.clone_from(&other.why);
        }
        self.last_ms = self.last_ms.max(other.last_ms);
    }

    /// Without its subject: it stands for several.
    pub(super) fn of_several(mut self) -> Self {
        self.names.retain(|(aspect, _)| *aspect == Aspect::Listener);
        self.source = None;
        self.several = true;
        self
    }

    /// One line for people: what, about whom, the numbers, and which setting moves them.
    #[must_use]
    pub fn sentence(&self) -> String {
        let mut text = self.kind.summary().to_owned();
        for (nth, (aspect, name)) in self.names.iter().enumerate() {
            let joint = if nth == 0 { ": " } else { ", " };
            let _ = write!(text, "{joint}{} {name}", aspect.as_str());
        }
        if let Some(source) = self.source {
            let hex = source.pseudonym.to_hex();
            let _ = write!(text, ", from source {}", String::from_utf8_lossy(&hex));
        }
        if self.several {
            text.push_str(", several subjects");
        }
        if let Some(why) = &self.why {
            let unit = why.unit.as_str();
            let _ = write!(text, "; seen {} {unit}", why.seen);
            if why.since_ms > 0 {
                let _ = write!(text, " since {}", rfc3339(why.since_ms));
            }
            let _ = write!(text, ", expected {}, at most {}", why.expected, why.limit);
            if !why.setting.as_str().is_empty() {
                let _ = write!(text, " by {}", why.setting.as_str());
            }
        }
        if self.count > 1 {
            let _ = write!(text, "; {} times since {}", self.count, rfc3339(self.first_ms));
        }
        text
    }
}

pub(super) fn rfc3339(unix_ms: u64) -> String {
    String::from_utf8_lossy(&Utc::of(Moment::new(unix_ms, 0)).rfc3339()).into_owned()
}

/// A sign of life for one target, so that silence is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    pub at_ms: u64,
    /// The next one comes by then at the latest; if it does not, nobody is watching any more.
    pub within: Duration,
    /// Alarms that this target was told since the one before.
    pub told: u64,
    /// Alarms that wait for this target.
    pub waiting: u64,
    /// Alarms that were lost for it, ever.
    pub lost: u64,
}
