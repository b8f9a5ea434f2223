//! Numbers in headers, read one way or not at all. Amazon's are learned from, a caller's are obeyed,
//! so neither may be guessed at.
use std::time::Duration;

use crate::base::Moment;

/// Why a header's value is no number for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberFault {
    /// Not `1*DIGIT [ "." 1*DIGIT ]`: empty, signed, spaced, exponential, a list, or a word.
    Spelling,
    /// Longer than [`LENGTH_MAX`] bytes.
    Length,
    /// Below the least or above the greatest value that makes sense here.
    Range,
}

/// A decimal number longer than this is not one that Amazon or a sane caller writes.
pub const LENGTH_MAX: usize = 32;

const NANO: u64 = 1_000_000_000;

/// A plain decimal number in billionths; digits beyond the ninth decimal are dropped.
pub(super) fn billionths(text: &[u8]) -> Result<u64, NumberFault> {
    if text.len() > LENGTH_MAX {
        return Err(NumberFault::Length);
    }
    let mut parts = text.splitn(2, |byte| *byte == b'.');
    let whole = digits(parts.next().unwrap_or_default())?
        .try_fold(0_u64, |value, digit| value.checked_mul(10)?.checked_add(u64::from(digit)));
    let mut value = whole.and_then(|whole| whole.checked_mul(NANO)).ok_or(NumberFault::Range)?;
    if let Some(decimals) = parts.next() {
        let mut unit = NANO / 10;
        for digit in digits(decimals)? {
            value = value.checked_add(unit * u64::from(digit)).ok_or(NumberFault::Range)?;
            unit /= 10;
        }
    }
    Ok(value)
}

fn digits(text: &[u8]) -> Result<impl Iterator<Item = u8> + use<'_>, NumberFault> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return Err(NumberFault::Spelling);
    }
    Ok(text.iter().map(|digit| digit - b'0'))
}

/// How long a caller waits for its turn at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience(Duration);

impl Patience {
    /// Whatever is configured or asked for, nobody waits longer: connections die before.
    pub const MAX: Duration = Duration::from_secs(3_600);
    /// Refused at once unless admitted at once.
    pub const NONE: Self = Self(Duration::ZERO);

    #[must_use]
    pub fn new(wait: Duration) -> Self {
        Self(wait.min(Self::MAX))
    }

    /// The value of `Sekisho-Max-Wait`: seconds, decimals allowed, `0` for no wait at all. A caller
    /// may ask for less than the configuration allows, never for more: a greater number means `max`.
    ///
    /// # Errors
    /// The value is not a plain decimal number below 18 billion.
    pub fn parse(text: &[u8], max: Self) -> Result<Self, NumberFault> {
        billionths(text).map(|nanos| Self(Duration::from_nanos(nanos).min(max.0)))
    }

    #[must_use]
    pub const fn duration(self) -> Duration {
        self.0
    }
}

/// Amazon may ask for a rest of at most this; longer is taken as this. A wrong clock or digit must
/// not stop a seller for a week.
pub const REST_MAX: Duration = Duration::from_secs(3_600);

/// The value of `Retry-After` (RFC 9110 §10.2.3): seconds, or a date in the one form that senders
/// may use (§5.6.7), told relative to `now`'s wall clock. Nothing if it is neither: the throttle's
/// own rest then holds.
#[must_use]
pub fn retry_after(text: &[u8], now: Moment) -> Option<Duration> {
    if text.len() <= LENGTH_MAX && !text.is_empty() && text.iter().all(u8::is_ascii_digit) {
        let secs = billionths(text).map_or(u64::MAX, |nanos| nanos / NANO);
        return Some(Duration::from_secs(secs).min(REST_MAX));
    }
    let at = http_date(text)?;
    Some(Duration::from_secs(at.saturating_sub(now.unix_secs())).min(REST_MAX))
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` as seconds since 1970. The day's name is not compared.
fn http_date(text: &[u8]) -> Option<u64> {
    const MONTHS: [&[u8]; 12] = [
        b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov",
        b"Dec",
    ];
    let field = |from: usize, to: usize| text.get(from..to);
    let number = |from, to| {
        let digits = digits(field(from, to)?).ok()?;
        Some(digits.fold(0_u64, |value, digit| value * 10 + u64::from(digit)))
    };
    let fixed = [(3, 5, &b", "[..]), (7, 8, b" "), (11, 12, b" "), (16, 17, b" "), (19, 20, b":")];
    let rest = [(22, 23, &b":"[..]), (25, 29, b" GMT")];
    let fits = |(from, to, want): &(usize, usize, &[u8])| field(*from, *to) == Some(*want);
    if text.len() != 29 || !fixed.iter().chain(&rest).all(fits) {
        return None;
    }
    let month = MONTHS.iter().position(|name| field(8, 11) == Some(*name))?;
    let (day, year) = (number(5, 7)?, number(12, 16)?);
    let (hour, minute, second) = (number(17, 19)?, number(20, 22)?, number(23, 25)?);
    if !(1..=31).contains(&day) || year < 1970 || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // Days since 1970 of a proleptic Gregorian date, years begun in March so that a leap day is last.
    let month = u64::try_from(month).ok()? + 1;
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    Some((days - 719_468) * 86_400 + hour * 3_600 + minute * 60 + second)
}
