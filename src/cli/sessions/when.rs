//! Points in time as people name them.

use crate::{config::Period, time::Timestamp};
use std::time::{SystemTime, UNIX_EPOCH};

/// How to name a point in time, for help texts.
pub(in crate::cli) const EXAMPLE: &str = "TIME";

/// A time in UTC, or how long ago.
pub(in crate::cli) fn parse(text: &str) -> Result<Timestamp, String> {
    if let Ok(Period(ago)) = text.parse::<Period>() {
        let ago = u64::try_from(ago.as_micros()).unwrap_or(u64::MAX);
        return Ok(Timestamp(now().0.saturating_sub(ago)));
    }
    text.parse::<Timestamp>().map_err(|error| format!("{error}, or how long ago, such as 90m or 7d"))
}

/// Now.
pub(super) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_periods_are_taken() {
        assert_eq!(parse("2026-11-21T10:30:00Z"), Ok(Timestamp(1_795_257_000_000_000)));
        let (before, hour_ago, after) = (now().0, parse("1h").unwrap().0, now().0);
        assert!((before - 3_600_000_000..=after - 3_600_000_000).contains(&hour_ago));
        assert_eq!(parse("99999999d"), Ok(Timestamp(0)));
        for text in ["yesterday", "1", "h", "-1h"] {
            assert!(parse(text).unwrap_err().contains("7d"), "{text}");
        }
    }
}
