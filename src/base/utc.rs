//! Calendar dates in UTC, for lines and for names of rotated files. Proleptic Gregorian, no leap
//! seconds, years 1970 to 9999.
use super::Moment;

const DAY_MS: u64 = 86_400_000;
/// 9999-12-31T23:59:59.999Z: RFC 3339 has four digits for the year.
const LAST_MS: u64 = 253_402_300_799_999;

/// A moment taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Utc {
    year: u64,
    month: u64,
    day: u64,
    hour: u64,
    minute: u64,
    second: u64,
    milli: u64,
}

impl Utc {
    /// Moments past the year 9999 count as its end.
    #[must_use]
    pub const fn of(moment: Moment) -> Self {
        let ms = if moment.unix_ms() < LAST_MS { moment.unix_ms() } else { LAST_MS };
        let (year, month, day) = civil(ms / DAY_MS);
        let in_day = ms % DAY_MS;
        Self {
            year,
            month,
            day,
            hour: in_day / 3_600_000,
            minute: in_day / 60_000 % 60,
            second: in_day / 1_000 % 60,
            milli: in_day % 1_000,
        }
    }

    /// `2026-11-22T10:15:00.000Z` (RFC 3339 §5.6).
    #[must_use]
    pub const fn rfc3339(self) -> [u8; 24] {
        let Self { year: y, month: mo, day: d, hour: h, minute: mi, second: s, milli: ms } = self;
        [
            digit(y / 1_000),
            digit(y / 100),
            digit(y / 10),
            digit(y),
            b'-',
            digit(mo / 10),
            digit(mo),
            b'-',
            digit(d / 10),
            digit(d),
            b'T',
            digit(h / 10),
            digit(h),
            b':',
            digit(mi / 10),
            digit(mi),
            b':',
            digit(s / 10),
            digit(s),
            b'.',
            digit(ms / 100),
            digit(ms / 10),
            digit(ms),
            b'Z',
        ]
    }

    /// `20261122T101500Z` (ISO 8601 basic format), for file names.
    #[must_use]
    pub fn compact(self) -> String {
        let Self { year, month, day, hour, minute, second, .. } = self;
        format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
    }

    /// Reads `2026-11-22T10:15:00Z`, in whole seconds and in UTC; seconds since 1970. No other
    /// spelling is accepted.
    #[must_use]
    pub fn parse_seconds(text: &str) -> Option<u64> {
        let bytes = text.as_bytes();
        let marked = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'Z')];
        if bytes.len() != 20 || marked.iter().any(|(at, mark)| bytes.get(*at) != Some(mark)) {
            return None;
        }
        let compact: String = text.chars().filter(|c| !matches!(c, '-' | ':')).collect();
        Self::parse_compact(&compact).map(|ms| ms / 1_000)
    }

    /// `2026-11-22T10:15:00Z`: what [`Utc::parse_seconds`] reads.
    #[must_use]
    pub fn seconds(self) -> String {
        let Self { year, month, day, hour, minute, second, .. } = self;
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }

    /// Reads what [`Utc::compact`] writes; milliseconds since 1970. Nothing else is accepted.
    #[must_use]
    pub fn parse_compact(text: &str) -> Option<u64> {
        let number = |from: usize, to: usize| -> Option<u64> {
            let digits = text.get(from..to)?;
            if !digits.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            digits.parse().ok()
        };
        if text.len() != 16 || text.get(8..9)? != "T" || text.get(15..)? != "Z" {
            return None;
        }
        let days = days(number(0, 4)?, number(4, 6)?, number(6, 8)?)?;
        let (hour, minute, second) = (number(9, 11)?, number(11, 13)?, number(13, 15)?);
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        Some(days * DAY_MS + hour * 3_600_000 + minute * 60_000 + second * 1_000)
    }
}

/// The last decimal digit of `value`.
pub(crate) const fn digit(value: u64) -> u8 {
    b'0' + (value % 10) as u8
}

/// Howard Hinnant's `civil_from_days`, for days since 1970-01-01.
const fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468; // 0000-03-01: the leap day comes last in such years.
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

/// Howard Hinnant's `days_from_civil`; none for a date that does not exist or is before 1970.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    if year < 1970 || !(1..=12).contains(&month) {
        return None;
    }
    let shifted_year = if month <= 2 { year - 1 } else { year };
    let year_of_era = shifted_year % 400;
    let shifted_month = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * shifted_month + 2) / 5 + day.checked_sub(1)?;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = (shifted_year / 400 * 146_097 + day_of_era).checked_sub(719_468)?;
    // 31 February comes out as a day in March: the way back tells.
    (civil(days) == (year, month, day)).then_some(days)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(unix_ms: u64) -> String {
        String::from_utf8(Utc::of(Moment::new(unix_ms, 0)).rfc3339().to_vec()).unwrap()
    }

    #[test]
    fn dates_agree_with_the_calendar() {
        assert_eq!(text(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(text(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(text(1_795_342_500_123), "2026-11-22T10:15:00.123Z");
        assert_eq!(text(4_107_542_399_999), "2100-02-28T23:59:59.999Z");
        assert_eq!(text(4_107_542_400_000), "2100-03-01T00:00:00.000Z");
        assert_eq!(text(u64::MAX), "9999-12-31T23:59:59.999Z");
    }

    #[test]
    fn every_day_of_four_centuries_survives_the_way_there_and_back() {
        let mut previous = (1969, 12, 31);
        for day in 0..146_097 {
            let date = civil(day);
            assert!(date > previous);
            assert_eq!(days(date.0, date.1, date.2), Some(day));
            previous = date;
        }
    }

    #[test]
    fn a_time_has_one_spelling() {
        let text = Utc::of(Moment::new(1_795_342_500_123, 0)).seconds();
        assert_eq!(text, "2026-11-22T10:15:00Z");
        assert_eq!(Utc::parse_seconds(&text), Some(1_795_342_500));
        for bad in [
            "",
            "2026-11-22",
            "2026-11-22 10:15:00Z",
            "2026-11-22T10:15:00z",
            "2026-11-22T10:15:00",
            "2026-11-22T10:15:00.0Z",
            "2026-11-22T10:15:00+00:00",
            "2026-02-31T10:15:00Z",
            "2026-11-2-T10:15:00Z",
        ] {
            assert_eq!(Utc::parse_seconds(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_file_name_that_is_no_date_is_not_read_as_one() {
        let compact = Utc::of(Moment::new(1_795_342_500_123, 0)).compact();
        assert_eq!(compact, "20261122T101500Z");
        assert_eq!(Utc::parse_compact(&compact), Some(1_795_342_500_000));
        for bad in [
            "",
            "20261122T101500",
            "20261122T101500ZZ",
            "20260231T101500Z",
            "20261322T101500Z",
            "20261100T101500Z",
            "20261122T241500Z",
            "20261122T106000Z",
            "2026112+T101500Z",
            "19691231T235959Z",
            "20261122 101500Z",
            "２0261122T10150Z",
        ] {
            assert_eq!(Utc::parse_compact(bad), None, "{bad}");
        }
    }
}
