//! `[alarms]` and `[[alarm]]`.
use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::At;
use super::listener::SecretRef;
use super::text::HttpsUrl;
use super::value::{DurationText, Misfit, NameText, PathText, TextValue, quoted};
use crate::base::ControlId;

/// How alarms are gathered before anybody is told.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawAlarms {
    /// The first alarm of its kind and subject is told at once; the same again is gathered for so
    /// long, then for twice as long, and so on.
    #[schemars(extend("x-range" = ["10 s", "1 h"]))]
    pub(crate) group_for: DurationText,
    /// The longest time for which the same is gathered: what goes on is told again so often.
    #[schemars(extend("x-range" = ["1 min", "7 days"]))]
    pub(crate) repeat_after: At<DurationText>,
}

impl Default for RawAlarms {
    fn default() -> Self {
        Self {
            group_for: DurationText(Duration::from_secs(60)),
            repeat_after: At::default_of(DurationText(Duration::from_secs(3_600))),
        }
    }
}

/// Who is told of alarms. Every target has its own place in the queue and is told everything once,
/// however long it was down.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawAlarm {
    /// Names the target in logs and metrics.
    pub(crate) name: At<NameText>,
    /// How it is told.
    pub(crate) kind: At<AlarmKindName>,
    /// For `webhook` and `alertmanager`: where. An Alertmanager on this machine itself may be
    /// `http://127.0.0.1:9093`; its API's path is added.
    pub(crate) url: Option<At<AlarmUrl>>,
    /// PEM file with the authorities of the URL's certificate. Default: the machine's trust store.
    pub(crate) ca: Option<At<PathText>>,
    /// For `webhook`: the key that messages are signed with; at least 16 bytes.
    pub(crate) secret: Option<At<SecretRef>>,
    /// For `alertmanager`: a token that is sent as `Authorization: Bearer`.
    pub(crate) bearer: Option<At<SecretRef>>,
    /// For `syslog` and `journald`: the socket. Default: the system's own.
    pub(crate) path: Option<At<PathText>>,
    /// For `command`: a program by its full path, and its arguments. It is run without a shell, is
    /// given the message on standard input, and ends with 0 if somebody was told.
    #[schemars(length(min = 1, max = 64))]
    pub(crate) command: Option<At<Vec<String>>>,
    /// Lesser alarms are not for this target.
    #[serde(default)]
    pub(crate) min_severity: SeverityName,
    /// Hours in which lesser alarms wait for the morning. Default: none wait.
    pub(crate) quiet: Option<At<RawQuiet>>,
    /// How often a sign of life is given, so that silence is noticed.
    #[serde(default = "heartbeat")]
    #[schemars(extend("x-range" = ["1 min", "7 days"]))]
    pub(crate) heartbeat: DurationText,
    /// How long one delivery may take.
    #[serde(default = "timeout")]
    #[schemars(extend("x-range" = ["1 s", "60 s"]))]
    pub(crate) timeout: DurationText,
}

const fn heartbeat() -> DurationText {
    DurationText(Duration::from_secs(86_400))
}

const fn timeout() -> DurationText {
    DurationText(Duration::from_secs(10))
}

/// How a target is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AlarmKindName {
    /// A signed JSON document over HTTPS.
    Webhook,
    /// Prometheus Alertmanager, API v2.
    Alertmanager,
    /// RFC 5424 over the machine's syslog socket.
    Syslog,
    /// systemd-journald's own protocol.
    Journald,
    /// A program.
    Command,
}

impl AlarmKindName {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Alertmanager => "alertmanager",
            Self::Syslog => "syslog",
            Self::Journald => "journald",
            Self::Command => "command",
        }
    }
}

/// How loud an alarm is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SeverityName {
    #[default]
    Low,
    Medium,
    High,
    Critical,
}

/// Hours in which lesser alarms wait. Critical ones never do.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawQuiet {
    /// From when to when, local time; may cross midnight.
    pub(crate) hours: At<HoursText>,
    /// How far local time is ahead of UTC. There is no daylight saving time in it.
    pub(crate) utc_offset: OffsetText,
    /// Alarms less than this wait.
    #[serde(default = "critical")]
    pub(crate) below: SeverityName,
}

const fn critical() -> SeverityName {
    SeverityName::Critical
}

/// Hours of the day: `22:00-07:00`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoursText {
    /// Minutes after midnight.
    pub from: u16,
    pub to: u16,
}

/// `07:30` as minutes, up to `23:59`.
fn clock_minutes(text: &str, hours_max: u16) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let digits = |part: &str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
    if !digits(hours) || !digits(minutes) {
        return None;
    }
    let (hours, minutes): (u16, u16) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours <= hours_max && minutes < 60).then_some(hours * 60 + minutes)
}

impl TextValue for HoursText {
    const FORMAT: &'static str = "sekisho-hours";
    const WHAT: &'static str = "hours of the day, from and to";
    const EXAMPLE: &'static str = "22:00-07:00";
    const PATTERN: &'static str = "^[0-2][0-9]:[0-5][0-9]-[0-2][0-9]:[0-5][0-9]$";

    fn parse_text(text: &str) -> Result<Self, Misfit> {
        let parse = || {
            let (from, to) = text.split_once('-')?;
            Some(Self { from: clock_minutes(from, 23)?, to: clock_minutes(to, 23)? })
        };
        parse().ok_or_else(|| Self::misfit(text).under(ControlId::Mon7))
    }

    fn to_text(&self) -> Cow<'_, str> {
        let Self { from, to } = self;
        format!("{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, to / 60, to % 60).into()
    }
}

/// How far local time is ahead of UTC: `+09:00`, `-03:30`, `+00:00`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetText(pub i16);

impl TextValue for OffsetText {
    const FORMAT: &'static str = "sekisho-utc-offset";
    const WHAT: &'static str = "an offset from UTC";
    const EXAMPLE: &'static str = "+09:00";
    const PATTERN: &'static str = "^[+-][01][0-9]:[0-5][0-9]$";

    fn parse_text(text: &str) -> Result<Self, Misfit> {
        let parse = || {
            let sign = match text.get(..1)? {
                "+" => 1,
                "-" => -1,
                _ => return None,
            };
            let minutes = i16::try_from(clock_minutes(text.get(1..)?, 18)?).ok()?;
            (minutes <= 18 * 60).then_some(Self(sign * minutes))
        };
        parse().ok_or_else(|| Self::misfit(text).under(ControlId::Mon7))
    }

    fn to_text(&self) -> Cow<'_, str> {
        let (sign, minutes) = (if self.0 < 0 { '-' } else { '+' }, self.0.unsigned_abs());
        format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60).into()
    }
}

/// Where alarms are posted: an `https://` URL, or `http://` on loopback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AlarmUrl {
    Https(HttpsUrl),
    /// Without TLS, on this machine itself.
    Loopback {
        address: SocketAddr,
        path: String,
    },
}

impl TextValue for AlarmUrl {
    const FORMAT: &'static str = "sekisho-alarm-url";
    const WHAT: &'static str = "an https:// address";
    const EXAMPLE: &'static str = "https://alerts.internal/hooks/sekisho";
    const PATTERN: &'static str =
        "^(https://[^/?#@]+|http://(127\\.[0-9.]+|\\[::1\\])(:[0-9]+)?)(/[^?#]*)?$";

    fn parse_text(text: &str) -> Result<Self, Misfit> {
        let Some(rest) = text.strip_prefix("http://") else {
            return HttpsUrl::parse_text(text).map(Self::Https);
        };
        let parse = || {
            let url = HttpsUrl::parse_text(&format!("https://{rest}")).ok()?;
            let ip: IpAddr = url.host.parse().ok()?;
            let named = rest.strip_prefix(&*url.authority_without_port())?.starts_with(':');
            let port = if named { url.port } else { 80 };
            let address = SocketAddr::new(ip, port);
            ip.is_loopback().then_some(Self::Loopback { address, path: url.path })
        };
        parse().ok_or_else(|| {
            let found = format!("{} would be told without TLS", quoted(text));
            Misfit::new(found, "write https://; only 127.0.0.1 and [::1] may do without")
                .under(ControlId::Tls1)
        })
    }

    fn to_text(&self) -> Cow<'_, str> {
        match self {
            Self::Https(url) => url.to_text().into_owned().into(),
            Self::Loopback { address, path } => format!("http://{address}{path}").into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_1_only_this_machine_itself_is_told_without_tls() {
        for (text, expect) in [
            ("http://127.0.0.1:9093", Some("127.0.0.1:9093")),
            ("http://[::1]:9093/am", Some("[::1]:9093")),
            ("http://127.0.0.1", Some("127.0.0.1:80")),
            ("http://127.0.0.1:443", Some("127.0.0.1:443")),
            ("http://localhost:9093", None),
            ("http://10.0.0.1:9093", None),
            ("http://127.0.0.1.example.com", None),
            ("http://127.0.0.1@10.0.0.1/", None),
            ("http://0.0.0.0:9093", None),
        ] {
            let address = match AlarmUrl::parse_text(text) {
                Ok(AlarmUrl::Loopback { address, .. }) => Some(address.to_string()),
                Ok(AlarmUrl::Https(_)) => panic!("{text}"),
                Err(_) => None,
            };
            assert_eq!(address.as_deref(), expect, "{text}");
        }
    }

    #[test]
    fn hours_and_offsets_have_one_form() {
        for good in ["22:00-07:00", "00:00-23:59", "12:30-12:31"] {
            assert_eq!(HoursText::parse_text(good).unwrap().to_text(), good);
        }
        for bad in ["22-07", "24:00-07:00", "22:00-7:00", "22:60-07:00", "22:00 - 07:00", ""] {
            assert!(HoursText::parse_text(bad).is_err(), "{bad}");
        }
        for (good, minutes) in [("+09:00", 540), ("-03:30", -210), ("+00:00", 0)] {
            let offset = OffsetText::parse_text(good).unwrap();
            assert_eq!((offset.0, &*offset.to_text()), (minutes, good));
        }
        for bad in ["09:00", "+9:00", "+19:00", "+18:30", "JST", "", "é"] {
            assert!(OffsetText::parse_text(bad).is_err(), "{bad}");
        }
    }
}
