//! One difference, in words of the program and of the configuration.
use std::cmp::Ordering;
use std::fmt;
use std::time::Duration;

use ipnet::IpNet;

use crate::base::{ControlId, Name};
use crate::config::raw::value::{SizeText, TextValue as _};

/// The most names in a line; how many there are is said beside.
pub const NAMES_MAX: usize = 8;
/// The most particulars in a line.
pub const ITEMS_MAX: usize = 24;

/// Whether more may be done than before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// More, or it can't be proved that not.
    Widens,
    /// Less.
    Narrows,
    /// Neither: how things are done, not what may be.
    Neutral,
}

impl Direction {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Widens => "widens",
            Self::Narrows => "narrows",
            Self::Neutral => "neutral",
        }
    }

    /// Of a figure of which more means more freedom.
    pub(super) fn more<T: PartialOrd>(old: &T, new: &T) -> Self {
        match new.partial_cmp(old) {
            Some(Ordering::Greater) => Self::Widens,
            Some(Ordering::Less) => Self::Narrows,
            Some(Ordering::Equal) | None => Self::Neutral,
        }
    }

    /// Of a figure of which more means less freedom.
    pub(super) fn less<T: PartialOrd>(old: &T, new: &T) -> Self {
        Self::more(new, old)
    }
}

/// What a change does to what may be done. Where it does both, both are told: neither hides the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Effect {
    pub(super) widens: bool,
    pub(super) narrows: bool,
}

impl Effect {
    /// Of what is given up for something else.
    pub(super) const EXCHANGED: Self = Self { widens: true, narrows: true };

    pub(super) fn directions(self) -> impl Iterator<Item = Direction> {
        let neither = !self.widens && !self.narrows;
        let all = [
            (self.widens, Direction::Widens),
            (self.narrows, Direction::Narrows),
            (neither, Direction::Neutral),
        ];
        all.into_iter().filter_map(|(told, direction)| told.then_some(direction))
    }
}

macro_rules! parts {
    ($($(#[$doc:meta])* $part:ident = $word:literal $control:ident $access:literal;)+) => {
        /// What a line is about.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Part { $($(#[$doc])* $part,)+ }

        impl Part {
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$part => $word,)+ }
            }

            /// The control that it serves.
            #[must_use]
            pub const fn control(self) -> ControlId {
                match self { $(Self::$part => ControlId::$control,)+ }
            }

            /// Whether it decides who may do what.
            pub(super) const fn is_access(self) -> bool {
                match self { $(Self::$part => $access,)+ }
            }
        }
    };
}

parts! {
    Identity = "identity" Acc1 true;
    Credential = "credential" Acc1 true;
    Grant = "grant" Priv1 true;
    Network = "network" Net1 true;
    Operation = "operation" Priv1 true;
    Issuer = "issuer" Acc1 true;
    Token = "token" Acc1 true;
    StepUp = "step-up" Acc4 true;
    Limit = "limit" Mon2 true;
    Operator = "operator" Priv3 false;
    Listener = "listener" Tls1 false;
    Upstream = "upstream" Tls2 false;
    Detector = "detector" Mon8 false;
    Lockout = "lockout" Acc2 false;
    Alarm = "alarm" Mon7 false;
    Log = "log" Log1 false;
    Gateway = "gateway" Log1 false;
}

/// A text made of words of the program, names, numbers, prefixes and hosts of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Said(String);

impl Said {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn number(number: impl Into<u64>) -> Self {
        Self(number.into().to_string())
    }

    pub(super) fn count(number: usize) -> Self {
        Self::number(u64::try_from(number).unwrap_or(u64::MAX))
    }

    pub(super) fn figure(figure: f32) -> Self {
        Self(format!("{figure}"))
    }

    pub(super) fn time(time: Duration) -> Self {
        let units = [(86_400_000, "days"), (3_600_000, "h"), (60_000, "min"), (1_000, "s")];
        let ms = time.as_millis();
        let fits = units.iter().find(|(unit, _)| ms > 0 && ms.is_multiple_of(*unit));
        let (unit, word) = fits.copied().unwrap_or((1, "ms"));
        Self(format!("{} {word}", ms / unit))
    }

    /// So many in so long.
    pub(super) fn rate(count: u64, per: Duration) -> Self {
        let units = [(86_400, "day"), (3_600, "h"), (60, "min"), (1, "s")];
        let unit = units.iter().find(|(secs, _)| per == Duration::from_secs(*secs));
        let per = unit.map_or_else(|| Self::time(per).0, |(_, word)| (*word).to_owned());
        Self(format!("{count}/{per}"))
    }

    pub(super) fn size(bytes: u64) -> Self {
        Self(SizeText(bytes).to_text().into_owned())
    }

    pub(super) fn prefix(prefix: IpNet) -> Self {
        Self(prefix.to_string())
    }

    /// A day since 1970-01-01 UTC.
    pub(super) fn day(unix_day: u32) -> Self {
        let at = crate::base::Moment::new(u64::from(unix_day).saturating_mul(86_400_000), 0);
        let text = crate::base::Utc::of(at).rfc3339();
        Self(String::from_utf8_lossy(&text).chars().take(10).collect())
    }

    /// A host, address or path of the configuration.
    pub(super) fn place(text: impl fmt::Display) -> Self {
        Self(text.to_string())
    }

    pub(super) fn list<T: Into<Self>>(parts: impl IntoIterator<Item = T>) -> Self {
        let parts: Vec<String> = parts.into_iter().map(|part| part.into().0).collect();
        Self(if parts.is_empty() { "none".to_owned() } else { parts.join(", ") })
    }

    pub(super) fn with(mut self, more: impl Into<Self>) -> Self {
        self.0.push_str(&more.into().0);
        self
    }
}

impl From<&'static str> for Said {
    fn from(word: &'static str) -> Self {
        Self(word.to_owned())
    }
}

impl From<&Name> for Said {
    fn from(name: &Name) -> Self {
        Self(name.as_str().to_owned())
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Line {
    pub direction: Direction,
    pub part: Part,
    /// What it is about, at most [`NAMES_MAX`] of them; none where there is but one such thing.
    pub names: Vec<Name>,
    /// How many it is about.
    pub count: usize,
    /// All of this role's identities, where it is exactly they.
    pub of_role: Option<Name>,
    pub what: &'static str,
    /// At most [`ITEMS_MAX`].
    pub items: Vec<Said>,
    /// How many items there are in all.
    pub item_count: usize,
    pub from: Option<Said>,
    pub to: Option<Said>,
}

impl Line {
    pub(super) const fn new(direction: Direction, part: Part, what: &'static str) -> Self {
        Self {
            direction,
            part,
            names: Vec::new(),
            count: 0,
            of_role: None,
            what,
            items: Vec::new(),
            item_count: 0,
            from: None,
            to: None,
        }
    }

    pub(super) fn about(mut self, name: &Name) -> Self {
        self.names = vec![name.clone()];
        self.count = 1;
        self
    }

    pub(super) fn items(mut self, items: impl IntoIterator<Item = Said>) -> Self {
        for item in items {
            self.item_count += 1;
            if self.items.len() < ITEMS_MAX {
                self.items.push(item);
            }
        }
        self
    }

    pub(super) fn was(mut self, from: impl Into<Said>) -> Self {
        self.from = Some(from.into());
        self
    }

    pub(super) fn is(mut self, to: impl Into<Said>) -> Self {
        self.to = Some(to.into());
        self
    }

    /// What widens first; then by what it is about, and whom it is about most.
    pub(super) fn order(&self, other: &Self) -> Ordering {
        let key = |line: &Self| (line.direction, line.part, std::cmp::Reverse(line.count));
        key(self)
            .cmp(&key(other))
            .then_with(|| {
                (self.what, &self.names, &self.items).cmp(&(other.what, &other.names, &other.items))
            })
            .then_with(|| (&self.from, &self.to).cmp(&(&other.from, &other.to)))
    }
}
