//! When a notice that did not arrive is sent again.

use crate::limits::{NOTIFY_PAUSES, NOTIFY_RETRY_AFTER_MAX};
use std::time::Duration;

/// The pause after so many tries in vain, from 1; `None`: it is given up. Up to a fifth is added by `random`,
/// so that many gateways do not come back to a receiver all at once.
pub fn pause_after(failures: usize, random: u8) -> Option<Duration> {
    let pause = *NOTIFY_PAUSES.get(failures.checked_sub(1)?)?;
    Some(pause + pause.mul_f64(f64::from(random) / 255.0 / 5.0))
}

/// How long a receiver asks to be left alone, in the seconds of its `Retry-After` field (RFC 9110 section
/// 10.2.3); bounded, and nothing where it says a date.
pub fn wait_asked_for(field: Option<&str>) -> Option<Duration> {
    let seconds = field?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(NOTIFY_RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_with_jitter_and_end() {
        assert_eq!(pause_after(0, 0), None);
        assert_eq!(pause_after(1, 0), Some(Duration::from_secs(5)));
        assert_eq!(pause_after(1, 255), Some(Duration::from_secs(6)));
        for failures in 1..NOTIFY_PAUSES.len() {
            assert!(pause_after(failures, 0) < pause_after(failures + 1, 0), "{failures}");
            assert!(pause_after(failures, 255) <= pause_after(failures + 1, 0), "{failures}");
        }
        assert_eq!(pause_after(NOTIFY_PAUSES.len() + 1, 0), None);
    }

    #[test]
    fn a_receiver_may_ask_for_time_but_not_for_ever() {
        let cases = [
            (None, None),
            (Some("7"), Some(7)),
            (Some(" 7 "), Some(7)),
            (Some("999999"), Some(3_600)),
            (Some("-1"), None),
            (Some("Sun, 22 Nov 2026 18:00:00 GMT"), None),
        ];
        for (field, seconds) in cases {
            assert_eq!(wait_asked_for(field), seconds.map(Duration::from_secs), "{field:?}");
        }
    }
}
