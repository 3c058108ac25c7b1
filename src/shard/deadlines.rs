//! How long the two directions of one connection may take.

use crate::{
    exchange::{Cause, plan::CallerLimits},
    metrics::Limit,
    runtime::Control,
    time::Instant,
};
use std::{cell::Cell, rc::Rc, time::Duration};

/// A deadline, and the bound that is met when it passes.
pub type Until = (Instant, Limit);

/// Deadlines of the two directions of one connection; the earlier one counts.
#[derive(Clone)]
pub struct Deadlines(Rc<TwoDeadlines>);

struct TwoDeadlines {
    control: Control,
    reading: Cell<Option<Until>>,
    writing: Cell<Option<Until>>,
}

impl Deadlines {
    /// No deadline yet.
    pub fn new(control: Control) -> Deadlines {
        Deadlines(Rc::new(TwoDeadlines { control, reading: Cell::new(None), writing: Cell::new(None) }))
    }

    /// Sets the deadline of the reading side.
    pub fn reading(&self, deadline: Option<Until>) {
        self.0.reading.set(deadline);
        self.apply();
    }

    /// Sets the deadline of the writing side.
    pub fn writing(&self, deadline: Option<Until>) {
        self.0.writing.set(deadline);
        self.apply();
    }

    /// The connection behind.
    pub fn control(&self) -> &Control {
        &self.0.control
    }

    /// Why a read or write ended without success.
    pub fn cause(&self) -> Cause {
        match self.0.control.expired().and_then(Limit::from_byte) {
            Some(limit) => Cause::Timeout(limit),
            None => Cause::Closed,
        }
    }

    fn apply(&self) {
        let (reading, writing) = (self.0.reading.get(), self.0.writing.get());
        let earliest = match (reading, writing) {
            (Some(reading), Some(writing)) if writing.0 < reading.0 => Some(writing),
            (reading, writing) => reading.or(writing),
        };
        let cause = earliest.map_or(0, |(_, limit)| limit as u8);
        self.0.control.set_deadline(earliest.map(|(at, _)| at), cause);
    }
}

/// How fast a request's body comes: time spent waiting for it is paid with its bytes. Time in which nobody
/// waited, because upstream or the journal did not take them, costs nothing (SECURITY R41).
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Waiting that is still allowed.
    credit: Duration,
}

impl Pace {
    /// A body of which nothing was waited for.
    pub fn new(limits: &CallerLimits) -> Pace {
        Pace { credit: limits.body_rate_grace }
    }

    /// When waiting that begins now must end.
    pub fn until(&self, now: Instant, limits: &CallerLimits) -> Until {
        if limits.body_rate_min > 0 && self.credit < limits.body_idle {
            return (now + self.credit, Limit::BodyRate);
        }
        (now + limits.body_idle, Limit::BodyIdle)
    }

    /// Takes note of bytes that were waited for.
    pub fn took(&mut self, waited: Duration, bytes: usize, limits: &CallerLimits) {
        if limits.body_rate_min == 0 {
            return;
        }
        let earned = Duration::from_secs_f64(bytes as f64 / limits.body_rate_min as f64);
        // What came quickly long ago pays for one pause, not for hours of trickling.
        let most = limits.body_rate_grace + limits.body_idle;
        self.credit = self.credit.saturating_sub(waited).saturating_add(earned).min(most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Instant = Instant(1_000);

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_body_must_come_with_its_rate_after_the_grace() {
        let limits = CallerLimits::default();
        let mut pace = Pace::new(&limits);
        assert_eq!(pace.until(START, &limits), (START + seconds(10), Limit::BodyRate));
        // 1 KiB/s is just enough, for ever.
        for _ in 0..1_000 {
            pace.took(seconds(1), 1_024, &limits);
        }
        assert_eq!(pace.until(START, &limits), (START + seconds(10), Limit::BodyRate));
        // Half of it uses the grace up.
        for _ in 0..10 {
            pace.took(seconds(1), 512, &limits);
        }
        assert_eq!(pace.until(START, &limits), (START + seconds(5), Limit::BodyRate));
        pace.took(seconds(60), 0, &limits);
        assert_eq!(pace.until(START, &limits), (START, Limit::BodyRate));
    }

    #[test]
    fn what_came_quickly_pays_for_one_pause() {
        let limits = CallerLimits::default();
        let mut pace = Pace::new(&limits);
        pace.took(seconds(1), 100 << 20, &limits);
        assert_eq!(pace.until(START, &limits), (START + seconds(30), Limit::BodyIdle));
        pace.took(seconds(29), 1, &limits);
        assert_eq!(pace.until(START, &limits).1, Limit::BodyRate);
    }

    #[test]
    fn without_a_rate_only_silence_counts() {
        let limits = CallerLimits { body_rate_min: 0, ..CallerLimits::default() };
        let mut pace = Pace::new(&limits);
        pace.took(seconds(1_000), 1, &limits);
        assert_eq!(pace.until(START, &limits), (START + seconds(30), Limit::BodyIdle));
    }
}
