//! Values that are written as text: a number with its unit, a name, an address. Each has one parser,
//! used when the shape is checked and again when it is read, and says what to write instead.
use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::base::{ControlId, Name};

/// Why a text is not what it should be.
#[derive(Debug, PartialEq, Eq)]
pub struct Misfit {
    pub control: Option<ControlId>,
    pub found: String,
    pub instead: String,
}

impl Misfit {
    pub(crate) fn new(found: impl Into<String>, instead: impl Into<String>) -> Self {
        Self { control: None, found: found.into(), instead: instead.into() }
    }

    pub(crate) fn under(mut self, control: ControlId) -> Self {
        self.control = Some(control);
        self
    }
}

/// A value with a text form.
pub trait TextValue: Sized {
    /// The schema's `format`, by which the shape check finds the parser.
    const FORMAT: &'static str;
    /// What it is, as in "write a duration".
    const WHAT: &'static str;
    const EXAMPLE: &'static str;
    /// For editors. The parser decides.
    const PATTERN: &'static str;

    fn parse_text(text: &str) -> Result<Self, Misfit>;
    fn to_text(&self) -> Cow<'_, str>;

    /// For a text that is no such value at all.
    fn misfit(text: &str) -> Misfit {
        Misfit::new(
            format!("{} is not {}", quoted(text), Self::WHAT),
            format!("write {}, such as \"{}\"", Self::WHAT, Self::EXAMPLE),
        )
    }
}

/// A text in an error: in quotes, cut to 60 characters, and not at all if it looks like a secret.
pub(crate) fn quoted(text: &str) -> String {
    if crate::config::error::looks_secret(text) {
        return "a text that looks like a secret".to_owned();
    }
    let mut short: String = text.chars().take(60).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("`{}`", short.escape_debug())
}

macro_rules! text_values {
    ($($ty:ident)*) => {
        $(
            impl<'de> Deserialize<'de> for $ty {
                fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                    let text = <Cow<'de, str>>::deserialize(from)?;
                    Self::parse_text(&text).map_err(|m| serde::de::Error::custom(m.found))
                }
            }

            impl Serialize for $ty {
                fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                    to.serialize_str(&self.to_text())
                }
            }

            impl JsonSchema for $ty {
                fn inline_schema() -> bool {
                    true
                }

                fn schema_name() -> Cow<'static, str> {
                    Self::FORMAT.into()
                }

                fn json_schema(_: &mut SchemaGenerator) -> Schema {
                    json_schema!({
                        "type": "string",
                        "format": Self::FORMAT,
                        "pattern": Self::PATTERN,
                        "examples": [Self::EXAMPLE],
                    })
                }
            }
        )*

        /// The parser behind a schema's `format`: what it is, an example, and why `text` does not
        /// fit.
        pub(crate) fn by_format(format: &str) -> Option<Format> {
            $(if format == $ty::FORMAT {
                return Some(Format {
                    what: $ty::WHAT,
                    example: $ty::EXAMPLE,
                    check: |text| $ty::parse_text(text).map(|_| ()),
                });
            })*
            None
        }
    };
}

/// A [`TextValue`] without its type.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Format {
    pub(crate) what: &'static str,
    pub(crate) example: &'static str,
    pub(crate) check: fn(&str) -> Result<(), Misfit>,
}

text_values! {
    DurationText SizeText ByteRateText RateText VolumeText NameText CidrText HttpsUrl KeyPin CertificatePin AddressText PathText
    ServerText HostText MethodText HeaderText AuthSchemeText LoginWord PatternText TemplateText PolicyGlob
    HoursText OffsetText AlarmUrl IssuerText
}

pub use super::alarm::{AlarmUrl, HoursText, OffsetText};
pub use super::permit::IssuerText;
pub use super::pin::{CertificatePin, KeyPin};
pub use super::state::ServerText;
pub use super::text::{
    AuthSchemeText, CidrText, HeaderText, HostText, HttpsUrl, LoginWord, MethodText, PathText,
    PatternText, PolicyGlob, TemplateText,
};

/// How much a text of one of the ranged formats stands for, to compare it with its `x-range`.
pub(crate) fn measure(format: &str, text: &str) -> Option<u64> {
    match format {
        DurationText::FORMAT => {
            let length = DurationText::parse_text(text).ok()?.0;
            u64::try_from(length.as_millis()).ok()
        }
        SizeText::FORMAT => SizeText::parse_text(text).ok().map(|size| size.0),
        ByteRateText::FORMAT => ByteRateText::parse_text(text).ok().map(|rate| rate.0),
        _ => None,
    }
}

/// Splits `12 KiB` into 12 and `KiB`. `None` unless it is whole digits, at most one space, a word.
fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = text.split_at_checked(digits)?;
    let unit = rest.strip_prefix(' ').unwrap_or(rest);
    let word = unit.bytes().all(|b| b.is_ascii_alphabetic());
    if !word || unit.is_empty() {
        return None;
    }
    Some((number.parse().ok()?, unit))
}

/// A length of time: `500 ms`, `10 s`, `5 min`, `24 h`, `400 days`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DurationText(pub Duration);

const TIME_UNITS: [(&[&str], u64); 5] = [
    (&["days", "d", "day"], 86_400_000),
    (&["h", "hours", "hour"], 3_600_000),
    (&["min"], 60_000),
    (&["s"], 1_000),
    (&["ms"], 1),
];

/// Milliseconds in the unit of that name.
fn time_unit(name: &str) -> Option<u64> {
    TIME_UNITS.iter().find(|(names, _)| names.contains(&name)).map(|(_, ms)| *ms)
}

impl TextValue for DurationText {
    const FORMAT: &'static str = "sekisho-duration";
    const WHAT: &'static str = "a duration (a whole number and ms, s, min, h or days)";
    const EXAMPLE: &'static str = "10 s";
    const PATTERN: &'static str = "^[0-9]+ ?(ms|s|min|h|hours?|d|days?)$";

    fn parse_text(text: &str) -> Result<Self, Misfit> {
        number_and_unit(text)
            .and_then(|(count, unit)| count.checked_mul(time_unit(unit)?))
            .map(|ms| Self(Duration::from_millis(ms)))
            .ok_or_else(|| Self::misfit(text))
    }

    fn to_text(&self) -> Cow<'_, str> {
        let ms = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        // 24 h stays 24 h and 60 s stays 60 s: a larger unit only where there are several of it.
        let fits = |&&(_, unit): &&(&[&str], u64)| {
            ms.is_multiple_of(unit) && (ms / unit > 1 || unit == 1_000 && ms > 0)
        };
        match TIME_UNITS.iter().find(fits) {
            Some((names, unit)) => {
                format!("{} {}", ms / unit, names.first().unwrap_or(&"ms")).into()
            }
            None => format!("{ms} ms").into(),
        }
    }
}

/// A number of bytes: `512 B`, `32 KiB`, `100 MiB`, `2 GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SizeText(pub u64);

const SIZE_UNITS: [(&str, u64); 4] =
    [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

fn size(text: &str) -> Option<u64> {
    let (count, name) = number_and_unit(text)?;
    let (_, unit) = SIZE_UNITS.iter().find(|(unit, _)| *unit == name)?;
    count.checked_mul(*unit)
}

fn size_text(bytes: u64) -> String {
    let fits = |&&(_, unit): &&(&str, u64)| bytes > 0 && bytes.is_multiple_of(unit);
    let (name, unit) = SIZE_UNITS.iter().find(fits).copied().unwrap_or(("B", 1));
    format!("{} {name}", bytes / unit)
}

impl TextValue for SizeText {
    const FORMAT: &'static str = "sekisho-size";
    const WHAT: &'static str = "a size (a whole number and B, KiB, MiB or GiB)";
    const EXAMPLE: &'static str = "32 KiB";
    const PATTERN: &'static str = "^[0-9]+ ?(B|KiB|MiB|GiB)$";

    fn parse_text(text: &str) -> Result<Self, Misfit> {
        size(text).map(Self).ok_or_else(|| Self::misfit(text))
    }

    fn to_text(&self) -> Cow<'_, str> {
        size_text(self.0).into()
    }
}

/// Bytes per second: `1 KiB/s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteRateText(pub u64);

impl TextValue for ByteRateText {
    const FORMAT: &'static str = "sekisho-byte-rate";
    const WHAT: &'static str = "a data rate (a size and /s)";
    const EXAMPLE: &'static str = "1 KiB/s";
    const PATTERN: &'static str = "^[0-9]+ ?(B|KiB|MiB|GiB)/s$";

    fn parse_text(text: &str) -> Result<Self, Misfit> {
        text.strip_suffix("/s").and_then(size).map(Self).ok_or_else(|| Self::misfit(text))
    }

    fn to_text(&self) -> Cow<'_, str> {
        (size_text(self.0) + "/s").into()
    }
}

/// So many in so long: `10/s`, `300/min`, `5000/day`, `1000/10s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateText {
    /// 1 to 1,000,000.
    pub count: u32,
    /// 1 s to 400 days.
    pub per: Duration,
}

impl RateText {
    const COUNT_MAX: u32 = 1_000_000;
    const PER_MAX: Duration = Duration::from_secs(400 * 86_400);
}

impl TextValue for RateText {
    const FORMAT: &'static str = "sekisho-rate";
    const WHAT: &'static str = "a rate (1 to 1000000 per s, min, h or day, or per several of them)";
    const EXAMPLE: &'static str = "300/min";
    const PATTERN: &'static str = "^[0-9]+/([0-9]+ ?)?(s|min|h|hours?|d|days?)$";

    fn parse_text(text: &str) -> Result<Self, Misfit> {
        let parse = || {
            let (count, window) = text.split_once('/')?;
            let digits = count.bytes().all(|b| b.is_ascii_digit());
            let count =
                count.parse().ok().filter(|n| digits && (1..=Self::COUNT_MAX).contains(n))?;
            Some(Self { count, per: window_of(window)? })
        };
        parse().ok_or_else(|| Self::misfit(text))
    }

    fn to_text(&self) -> Cow<'_, str> {
        format!("{}/{}", self.count, window_text(self.per)).into()
    }
}

/// So many bytes in so long: `2 GB/day`, `500 MiB/h`, `1 GiB/10 min`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VolumeText {
    /// At least 1.
    pub bytes: u64,
    /// 1 s to 400 days.
    pub per: Duration,
}

/// Of a thousand, beside [`SIZE_UNITS`]: contracts and bills count so.
const DECIMAL_UNITS: [(&str, u64); 4] =
    [("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)];

impl TextValue for VolumeText {
    const FORMAT: &'static str = "sekisho-volume";
    const WHAT: &'static str = "a volume (a size and per s, min, h or day, or per several of them)";
    const EXAMPLE: &'static str = "2 GB/day";
    const PATTERN: &'static str =
        "^[0-9]+ ?(B|kB|MB|GB|TB|KiB|MiB|GiB)/([0-9]+ ?)?(s|min|h|hours?|d|days?)$";

    fn parse_text(text: &str) -> Result<Self, Misfit> {
        let parse = || {
            let (volume, window) = text.split_once('/')?;
            let (count, name) = number_and_unit(volume)?;
            let mut units = SIZE_UNITS.iter().chain(&DECIMAL_UNITS);
            let (_, unit) = units.find(|(unit, _)| *unit == name)?;
            let bytes = count.checked_mul(*unit).filter(|bytes| *bytes > 0)?;
            Some(Self { bytes, per: window_of(window)? })
        };
        parse().ok_or_else(|| Self::misfit(text))
    }

    fn to_text(&self) -> Cow<'_, str> {
        let fits = |&&(_, unit): &&(&str, u64)| self.bytes.is_multiple_of(unit);
        let decimal = DECIMAL_UNITS.iter().find(fits);
        let volume = decimal.map_or_else(
            || size_text(self.bytes),
            |(name, unit)| format!("{} {name}", self.bytes / unit),
        );
        format!("{volume}/{}", window_text(self.per)).into()
    }
}

/// The period behind the slash: `day`, `10s`, `10 min`; 1 s to 400 days.
fn window_of(text: &str) -> Option<Duration> {
    let (many, unit) = number_and_unit(text).or_else(|| number_and_unit_of_one(text))?;
    let per = Duration::from_millis(many.checked_mul(time_unit(unit)?)?);
    (Duration::from_secs(1)..=RateText::PER_MAX).contains(&per).then_some(per)
}

fn window_text(per: Duration) -> String {
    let ms = u64::try_from(per.as_millis()).unwrap_or(u64::MAX);
    match TIME_UNITS.iter().find(|(_, unit)| *unit == ms) {
        Some((names, _)) => (*names.last().unwrap_or(&"s")).to_owned(),
        None => DurationText(per).to_text().replace(' ', ""),
    }
}

fn number_and_unit_of_one(window: &str) -> Option<(u64, &str)> {
    window.bytes().all(|b| b.is_ascii_alphabetic()).then_some((1, window))
}

/// A name in the configuration; see [`Name`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameText(pub Name);

impl TextValue for NameText {
    const FORMAT: &'static str = "sekisho-name";
    const WHAT: &'static str = "a name";
    const EXAMPLE: &'static str = "label-printer";
    const PATTERN: &'static str = "^[A-Za-z0-9][A-Za-z0-9._/:@-]{0,95}$";

    fn parse_text(text: &str) -> Result<Self, Misfit> {
        Name::parse(text).map(Self).map_err(|why| {
            Misfit::new(
                format!("{} is not a name: {why}", quoted(text)),
                format!("write a name such as \"{}\"", Self::EXAMPLE),
            )
        })
    }

    fn to_text(&self) -> Cow<'_, str> {
        self.0.as_str().into()
    }
}

/// An address to listen on, with its port: `0.0.0.0:8443`, `[::1]:9464`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressText(pub SocketAddr);

impl TextValue for AddressText {
    const FORMAT: &'static str = "sekisho-address";
    const WHAT: &'static str = "an IP address with a port";
    const EXAMPLE: &'static str = "0.0.0.0:8443";
    const PATTERN: &'static str = "^(\\[[0-9A-Fa-f:.]+\\]|[0-9.]+):[0-9]{1,5}$";

    fn parse_text(text: &str) -> Result<Self, Misfit> {
        text.parse().map(Self).map_err(|_| Self::misfit(text))
    }

    fn to_text(&self) -> Cow<'_, str> {
        self.0.to_string().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: TextValue>(good: &[(&str, &str)], bad: &[&str]) {
        for (text, normal) in good {
            let value = T::parse_text(text).unwrap_or_else(|m| panic!("{text}: {m:?}"));
            assert_eq!(value.to_text(), *normal);
        }
        for text in bad {
            assert!(T::parse_text(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_have_a_whole_number_and_a_unit() {
        check::<DurationText>(
            &[
                ("10 s", "10 s"),
                ("90s", "90 s"),
                ("60 min", "60 min"),
                ("2 h", "2 h"),
                ("24 h", "24 h"),
                ("1 s", "1 s"),
                ("400 days", "400 days"),
            ],
            &[
                "",
                "10",
                "s",
                "1.5 s",
                "-1 s",
                "10  s",
                " 10 s",
                "10 S",
                "10 weeks",
                "99999999999999999999 s",
                "9999999999999999 days",
                "1 m",
            ],
        );
    }

    #[test]
    fn sizes_and_data_rates_are_binary() {
        check::<SizeText>(
            &[("32 KiB", "32 KiB"), ("1024KiB", "1 MiB"), ("1000 B", "1000 B"), ("0 B", "0 B")],
            &["32 KB", "32", "KiB", "1.5 MiB", "99999999999999 GiB"],
        );
        check::<ByteRateText>(&[("1 KiB/s", "1 KiB/s")], &["1 KiB", "1 KiB/min", "/s"]);
    }

    #[test]
    fn rates_have_a_window() {
        check::<RateText>(
            &[
                ("300/min", "300/min"),
                ("10/s", "10/s"),
                ("5000/day", "5000/day"),
                ("1000/10s", "1000/10s"),
                ("60/60 s", "60/min"),
            ],
            &[
                "300",
                "0/s",
                "+1/s",
                "300/",
                "/s",
                "1/ms",
                "1/0 s",
                "1/401 days",
                "1000001/s",
                "1/s/s",
            ],
        );
    }

    #[test]
    fn addresses_have_a_port() {
        check::<AddressText>(
            &[("127.0.0.1:9464", "127.0.0.1:9464"), ("[::1]:1", "[::1]:1")],
            &["127.0.0.1", "localhost:80", ":80", "1.2.3.4:99999"],
        );
    }
}
