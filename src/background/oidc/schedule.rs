use crate::{limits, time::Instant};
use std::time::Duration;

/// How often keys are fetched and how long they are trusted.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Least time between the end of a fetch and the next one that a token causes.
    pub refetch: Duration,
    /// Time between two fetches when all is well.
    pub refresh: Duration,
    /// Keys older than this are taken away.
    pub stale: Duration,
    /// First pause while no keys were ever fetched; it doubles up to `refetch`.
    pub retry: Duration,
    /// One request, from connect to the last byte.
    pub timeout: Duration,
}

impl Default for Timing {
    fn default() -> Timing {
        Timing {
            refetch: limits::JWKS_REFETCH_INTERVAL,
            refresh: limits::JWKS_REFRESH_INTERVAL,
            stale: limits::JWKS_STALE_MAX,
            retry: limits::JWKS_RETRY_FIRST,
            timeout: limits::JWKS_FETCH_TIMEOUT,
        }
    }
}

/// When the next fetch is due, allowed, and when keys have become too old. Knows times only.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    timing: Timing,
    /// End of the last fetch.
    attempt: Option<Instant>,
    /// End of the last one that brought keys.
    success: Option<Instant>,
    /// Failures since then.
    failures: u32,
}

impl Schedule {
    /// Nothing was fetched yet: a fetch is due at once.
    pub fn new(timing: Timing) -> Schedule {
        Schedule { timing, attempt: None, success: None, failures: 0 }
    }

    /// The same history under another `timing`.
    pub fn with(self, timing: Timing) -> Schedule {
        Schedule { timing, ..self }
    }

    /// Whether a token may cause a fetch now: at most one per `refetch`, whatever the rate (SECURITY R30).
    pub fn may_refetch(&self, now: Instant) -> bool {
        self.attempt.is_none_or(|attempt| now.since(attempt) >= self.timing.refetch)
    }

    /// When to fetch without being asked: after `refresh`, or after a failure by `refetch`, or sooner while
    /// there were never keys, since that is when the gateway cannot serve anybody.
    pub fn due(&self) -> Instant {
        let Some(attempt) = self.attempt else {
            return Instant::default();
        };
        let pause = match (self.failures, self.success) {
            (0, _) => self.timing.refresh,
            (_, Some(_)) => self.timing.refetch,
            (failures, None) => {
                let doublings = (failures - 1).min(16);
                self.timing.retry.saturating_mul(1 << doublings).min(self.timing.refetch)
            }
        };
        attempt + pause
    }

    /// When the keys of the last success become too old; `None` without one.
    pub fn stale_at(&self) -> Option<Instant> {
        self.success.map(|success| success + self.timing.stale)
    }

    /// Time since the keys were fetched; `None` if there are none.
    pub fn age(&self, now: Instant) -> Option<Duration> {
        self.success.map(|success| now.since(success))
    }

    /// Notes that a fetch ended at `now`.
    pub fn note(&mut self, now: Instant, is_success: bool) {
        self.attempt = Some(now);
        if is_success {
            self.success = Some(now);
            self.failures = 0;
        } else {
            self.failures = self.failures.saturating_add(1);
        }
    }

    /// Notes that the keys were taken away.
    pub fn forget(&mut self) {
        self.success = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::default() + Duration::from_secs(seconds)
    }

    #[test]
    fn tokens_cause_at_most_one_fetch_in_30_s() {
        let mut schedule = Schedule::new(Timing::default());
        let mut fetches = 0;
        for second in 0..600 {
            for _ in 0..1000 {
                if schedule.may_refetch(at(second)) {
                    schedule.note(at(second), second % 2 == 0);
                    fetches += 1;
                }
            }
        }
        assert_eq!(fetches, 20);
    }

    #[test]
    fn a_rotated_key_is_there_within_a_minute() {
        // Whenever the last fetch was, a token of a new key may cause one at most 30 s later.
        let mut schedule = Schedule::new(Timing::default());
        schedule.note(at(100), true);
        let first = (100..).find(|second| schedule.may_refetch(at(*second)));
        assert_eq!(first, Some(130));
    }

    #[test]
    fn an_unreachable_issuer_is_tried_again_ever_more_slowly() {
        let mut schedule = Schedule::new(Timing::default());
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let now = schedule.due();
            schedule.note(now, false);
            pauses.push(schedule.due().since(now).as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30, 30]);
        (0..100).for_each(|_| schedule.note(at(1), false));
        assert_eq!(schedule.due(), at(31));
    }

    #[test]
    fn keys_are_refreshed_kept_through_errors_and_given_up_after_an_hour() {
        let mut schedule = Schedule::new(Timing::default());
        assert_eq!((schedule.due(), schedule.stale_at()), (at(0), None));
        schedule.note(at(10), true);
        assert_eq!(schedule.due(), at(310));
        schedule.note(at(310), false);
        assert_eq!((schedule.due(), schedule.stale_at()), (at(340), Some(at(3610))));
        assert_eq!(schedule.age(at(340)), Some(Duration::from_secs(330)));
        schedule.forget();
        assert_eq!((schedule.stale_at(), schedule.age(at(3610))), (None, None));
    }
}
