//! What the mock does wrong, and when.
use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;

use http::StatusCode;

/// How a request is answered. Written as on a command line in each comment; numbers can be left out
/// where the comment says what they default to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scenario {
    /// `normal`
    #[default]
    Normal,
    /// `error=503` (default 500): that status, with the error envelope of the API.
    Error { status: StatusCode },
    /// `delay=200`: the answer comes so many milliseconds late.
    Delay { ms: u64 },
    /// `truncate=100` (default 1): so many body bytes, fewer than Content-Length says, then the end
    /// of the connection (HTTP/2: of the stream).
    Truncate { after: u32 },
    /// `lie-length`: Content-Length says less than is sent; the rest looks like another response. The
    /// connection stays open for five seconds. HTTP/2: more data than Content-Length says.
    LieLength,
    /// `close-early`: closed before the response head (HTTP/2: the stream is reset).
    CloseEarly,
    /// `endless=1073741824` (default 1 GiB): so many bytes, chunked.
    Endless { bytes: u64 },
    /// `informational=3`: so many 103 responses before the real one; `informational`: without end,
    /// one every 10 ms. HTTP/2: the stream is reset.
    Informational { count: Option<u32> },
    /// `throttle`: 429 as Amazon sends it.
    Throttle,
    /// `slow-body=16/100` (default 1/100): so many bytes every so many milliseconds.
    SlowBody { bytes: u32, tick_ms: u32 },
    /// `garbage`: bytes that are no HTTP (HTTP/2: the stream is reset).
    Garbage,
    /// `big-headers=65536` (default 65536): response headers of about so many bytes.
    BigHeaders { bytes: u32 },
    /// `trailers`: a chunked body with the trailer `x-mock-trailer`.
    Trailers,
    /// `no-content`: 204.
    NoContent,
    /// `not-modified`: 304 with an `ETag`.
    NotModified,
    /// `bad-banner`: `Server`, `Via`, `Set-Cookie` and `X-Powered-By` on top.
    BadBanner,
    /// `echo`: 200 with the request as the mock received it, as JSON.
    Echo,
}

/// The text names no [`Scenario`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownScenario;

impl fmt::Display for UnknownScenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "no such scenario; write [/path/prefix:] and one of normal, error=STATUS, delay=MS, \
             truncate=BYTES, lie-length, close-early, endless=BYTES, informational[=COUNT], throttle, \
             slow-body=BYTES/MS, garbage, big-headers=BYTES, trailers, no-content, not-modified, \
             bad-banner, echo",
        )
    }
}

impl std::error::Error for UnknownScenario {}

impl FromStr for Scenario {
    type Err = UnknownScenario;

    fn from_str(text: &str) -> Result<Self, UnknownScenario> {
        fn number<T: FromStr>(text: &str) -> Result<T, UnknownScenario> {
            text.parse().map_err(|_| UnknownScenario)
        }
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        Ok(match (name, value) {
            ("normal", None) => Self::Normal,
            ("error", None) => Self::Error { status: StatusCode::INTERNAL_SERVER_ERROR },
            ("error", Some(v)) => {
                let status = number::<StatusCode>(v)?;
                if status.is_informational() {
                    return Err(UnknownScenario);
                }
                Self::Error { status }
            }
            ("delay", Some(v)) => Self::Delay { ms: number(v)? },
            ("truncate", v) => Self::Truncate { after: v.map_or(Ok(1), number)? },
            ("lie-length", None) => Self::LieLength,
            ("close-early", None) => Self::CloseEarly,
            ("endless", v) => Self::Endless { bytes: v.map_or(Ok(1 << 30), number)? },
            ("informational", v) => Self::Informational { count: v.map(number).transpose()? },
            ("throttle", None) => Self::Throttle,
            ("slow-body", None) => Self::SlowBody { bytes: 1, tick_ms: 100 },
            ("slow-body", Some(v)) => {
                let (bytes, tick) = v.split_once('/').ok_or(UnknownScenario)?;
                Self::SlowBody { bytes: number(bytes)?, tick_ms: number(tick)? }
            }
            ("garbage", None) => Self::Garbage,
            ("big-headers", v) => Self::BigHeaders { bytes: v.map_or(Ok(1 << 16), number)? },
            ("trailers", None) => Self::Trailers,
            ("no-content", None) => Self::NoContent,
            ("not-modified", None) => Self::NotModified,
            ("bad-banner", None) => Self::BadBanner,
            ("echo", None) => Self::Echo,
            _ => return Err(UnknownScenario),
        })
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Normal => f.write_str("normal"),
            Self::Error { status } => write!(f, "error={}", status.as_u16()),
            Self::Delay { ms } => write!(f, "delay={ms}"),
            Self::Truncate { after } => write!(f, "truncate={after}"),
            Self::LieLength => f.write_str("lie-length"),
            Self::CloseEarly => f.write_str("close-early"),
            Self::Endless { bytes } => write!(f, "endless={bytes}"),
            Self::Informational { count: None } => f.write_str("informational"),
            Self::Informational { count: Some(count) } => write!(f, "informational={count}"),
            Self::Throttle => f.write_str("throttle"),
            Self::SlowBody { bytes, tick_ms } => write!(f, "slow-body={bytes}/{tick_ms}"),
            Self::Garbage => f.write_str("garbage"),
            Self::BigHeaders { bytes } => write!(f, "big-headers={bytes}"),
            Self::Trailers => f.write_str("trailers"),
            Self::NoContent => f.write_str("no-content"),
            Self::NotModified => f.write_str("not-modified"),
            Self::BadBanner => f.write_str("bad-banner"),
            Self::Echo => f.write_str("echo"),
        }
    }
}

/// A scenario for every path that starts with `prefix`; `/` is every path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScenarioRule {
    pub prefix: String,
    pub scenario: Scenario,
}

/// `delay=200`, or `/orders/:delay=200`.
impl FromStr for ScenarioRule {
    type Err = UnknownScenario;

    fn from_str(text: &str) -> Result<Self, UnknownScenario> {
        let (prefix, scenario) = text.rsplit_once(':').unwrap_or(("/", text));
        if !prefix.starts_with('/') {
            return Err(UnknownScenario);
        }
        Ok(Self { prefix: prefix.to_owned(), scenario: scenario.parse()? })
    }
}

/// Which scenario a request meets: the next of the script while there is one, then the rule with the
/// longest matching prefix, then [`Scenario::Normal`].
#[derive(Debug, Default)]
pub(super) struct ScenarioTable {
    script: VecDeque<Scenario>,
    rules: Vec<ScenarioRule>,
}

impl ScenarioTable {
    pub(super) fn set(&mut self, rule: ScenarioRule) {
        self.rules.retain(|old| old.prefix != rule.prefix);
        self.rules.push(rule);
        self.rules.sort_by_key(|rule| std::cmp::Reverse(rule.prefix.len()));
    }

    pub(super) fn script(&mut self, scenarios: &[Scenario]) {
        self.script.extend(scenarios);
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn take(&mut self, path: &str) -> Scenario {
        self.script.pop_front().unwrap_or_else(|| {
            let rule = self.rules.iter().find(|rule| path.starts_with(&rule.prefix));
            rule.map_or(Scenario::Normal, |rule| rule.scenario)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_can_be_written() {
        let all = [
            Scenario::Normal,
            Scenario::Error { status: StatusCode::BAD_GATEWAY },
            Scenario::Delay { ms: 7 },
            Scenario::Truncate { after: 3 },
            Scenario::LieLength,
            Scenario::CloseEarly,
            Scenario::Endless { bytes: 1 << 30 },
            Scenario::Informational { count: None },
            Scenario::Informational { count: Some(2) },
            Scenario::Throttle,
            Scenario::SlowBody { bytes: 16, tick_ms: 5 },
            Scenario::Garbage,
            Scenario::BigHeaders { bytes: 70_000 },
            Scenario::Trailers,
            Scenario::NoContent,
            Scenario::NotModified,
            Scenario::BadBanner,
            Scenario::Echo,
        ];
        for scenario in all {
            assert_eq!(scenario.to_string().parse(), Ok(scenario));
        }
        for text in
            ["", "Normal", "error=99", "error=103", "delay", "delay=x", "slow-body=1", "echo=1"]
        {
            assert_eq!(text.parse::<Scenario>(), Err(UnknownScenario), "{text}");
        }
    }

    #[test]
    fn a_script_comes_first_then_the_longest_prefix() {
        let mut table = ScenarioTable::default();
        table.set("echo".parse().unwrap());
        table.set("/orders/:throttle".parse().unwrap());
        table.script(&[Scenario::CloseEarly]);
        assert_eq!(table.take("/orders/v0"), Scenario::CloseEarly);
        assert_eq!(table.take("/orders/v0"), Scenario::Throttle);
        assert_eq!(table.take("/stock/a"), Scenario::Echo);
        table.set("/orders/:normal".parse().unwrap());
        assert_eq!(table.take("/orders/v0"), Scenario::Normal);
        table.clear();
        assert_eq!(table.take("/stock/a"), Scenario::Normal);
        assert_eq!("orders:echo".parse::<ScenarioRule>(), Err(UnknownScenario));
    }
}
