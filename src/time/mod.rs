//! Points in time as plain values. Nothing here reads a clock: the io modules do, and hand [`Now`] down, so
//! that every decision can be tested at any moment.

use std::{fmt, ops::Add, str::FromStr, time::Duration};

/// A monotonic instant: nanoseconds since an origin that one process chose at its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(pub u64);

impl Instant {
    /// Time that passed since `earlier`; zero if `earlier` is later.
    pub fn since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;

    fn add(self, duration: Duration) -> Instant {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Instant(self.0.saturating_add(nanos))
    }
}

/// Wall-clock time: microseconds since 1970-01-01T00:00:00Z, without leap seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Whole seconds since the epoch, as JWT's `NumericDate` counts them (RFC 7519 section 2).
    pub fn unix_seconds(self) -> u64 {
        self.0 / 1_000_000
    }
}

/// `2026-11-21T09:30:00.123456Z` (RFC 3339, UTC, microseconds).
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, micros) = (self.0 / 1_000_000, self.0 % 1_000_000);
        let (year, month, day) = civil_from_days(seconds / 86_400);
        let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
    }
}

/// A text that is no point in time; whoever typed it is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a time in UTC such as 2026-11-21T09:30:00Z or 2026-11-21")]
pub struct TimestampError;

/// Reads `2026-11-21T09:30:00.123456Z` with or without a fraction (RFC 3339, UTC only), or a date for its
/// midnight, from 1970 on.
impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Timestamp, TimestampError> {
        parse(text).ok_or(TimestampError)
    }
}

fn parse(text: &str) -> Option<Timestamp> {
    let (date, time) = match text.split_once(['T', ' ']) {
        Some((date, time)) => (date, time.strip_suffix(['Z', 'z'])?),
        None => (text, "00:00:00"),
    };
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let micros = format!("{fraction:0<6}");
    let (year, month, day) = three(date, '-', 4)?;
    let (hour, minute, second) = three(time, ':', 2)?;
    let fits = (1970..10_000).contains(&year) && hour < 24 && minute < 60 && second < 60;
    let days = days_from_civil(year, month, day);
    // A day that is none, such as 30 February, is another one on the way back.
    if !fits || micros.len() > 9 || civil_from_days(days) != (year, month, day) {
        return None;
    }
    let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second;
    Some(Timestamp(seconds * 1_000_000 + digits(micros.get(..6)?)?))
}

/// Three numbers, the first with so many digits, the others with two.
fn three(text: &str, between: char, first: usize) -> Option<(u64, u64, u64)> {
    let mut parts = text.split(between);
    let (a, b, c) = (parts.next()?, parts.next()?, parts.next()?);
    let fits = parts.next().is_none() && (a.len(), b.len(), c.len()) == (first, 2, 2);
    if fits { Some((digits(a)?, digits(b)?, digits(c)?)) } else { None }
}

fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Both clocks, read together once per event.
#[derive(Clone, Copy, Debug, Default)]
pub struct Now {
    pub instant: Instant,
    pub wall: Timestamp,
}

/// Days since the epoch to a proleptic Gregorian date (Howard Hinnant, "chrono-compatible low-level date
/// algorithms", for days that are not negative).
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let era = z / 146_097;
    let day_of_era = z % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

/// The way back; `month` and `day` may be anything below 100, which gives some other day.
fn days_from_civil(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year.saturating_sub(1) } else { year };
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day.saturating_sub(1);
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    (era * 146_097 + day_of_era).saturating_sub(719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_print_as_rfc_3339() {
        let cases = [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_827_696_000_007, "2000-02-29T12:34:56.000007Z"),
            (1_795_257_000_123_456, "2026-11-21T10:30:00.123456Z"),
        ];
        for (micros, text) in cases {
            assert_eq!(Timestamp(micros).to_string(), text);
        }
    }

    #[test]
    fn times_are_read_as_they_are_printed() {
        for micros in [0, 951_827_696_000_007, 951_782_400_000_000, 1_795_257_000_123_456] {
            assert_eq!(Timestamp(micros).to_string().parse(), Ok(Timestamp(micros)));
        }
        let cases = [
            ("2026-11-21T10:30:00Z", 1_795_257_000_000_000),
            ("2026-11-21T10:30:00.5Z", 1_795_257_000_500_000),
            ("2026-11-21T10:30:00.123456789Z", 1_795_257_000_123_456),
            ("2026-11-21", 1_795_219_200_000_000),
            ("1970-01-01", 0),
            ("2000-02-29", 951_782_400_000_000),
        ];
        for (text, micros) in cases {
            assert_eq!(text.parse(), Ok(Timestamp(micros)), "{text}");
        }
        for text in [
            "",
            "now",
            "2026",
            "2026-02-30",
            "2025-02-29",
            "2026-13-01",
            "2026-00-01",
            "1969-12-31",
            "2026-11-21T10:30:00",
            "2026-11-21T24:00:00Z",
            "2026-11-21T10:30Z",
            "2026-1-21",
            "2026-11-21T10:30:00+01:00",
            "2026-11-21T10:30:00.Zé",
            "2026-11-21T10:30:00.éZ",
            "+026-11-21",
        ] {
            assert_eq!(text.parse::<Timestamp>(), Err(TimestampError), "{text}");
        }
    }

    #[test]
    fn instants_saturate_instead_of_wrapping() {
        assert_eq!(Instant(5).since(Instant(9)), Duration::ZERO);
        assert_eq!(Instant(u64::MAX) + Duration::from_secs(1), Instant(u64::MAX));
    }
}
