//! Second by second: what of a run is kept of each, while it goes on.

use crate::tally::Interval;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Seconds whose histograms are kept, because a worker may tell late.
const OPEN_SECONDS: u64 = 4;

/// One second.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Point {
    pub second: u64,
    pub sent: u64,
    pub done: u64,
    pub errors: u64,
    pub p50_ns: u64,
    pub p99_ns: u64,
    pub max_ns: u64,
}

impl Point {
    fn new(interval: &Interval) -> Point {
        let at = |quantile| interval.response.value_at_quantile(quantile);
        Point {
            second: interval.second,
            sent: interval.sent,
            done: interval.done,
            errors: interval.errors,
            p50_ns: at(0.5),
            p99_ns: at(0.99),
            max_ns: interval.response.max(),
        }
    }
}

/// Puts the seconds of all workers together.
#[derive(Debug, Default)]
pub struct Collector {
    open: BTreeMap<u64, Interval>,
    points: Vec<Point>,
    /// Sent, done and failed in all seconds so far.
    pub total: Point,
}

impl Collector {
    /// Adds what one worker counted in one second.
    pub fn add(&mut self, interval: Interval) {
        self.total.sent += interval.sent;
        self.total.done += interval.done;
        self.total.errors += interval.errors;
        let second = interval.second;
        match self.open.get_mut(&second) {
            Some(own) => own.add(&interval),
            None => drop(self.open.insert(second, interval)),
        }
        while self.open.len() as u64 > OPEN_SECONDS {
            self.settle();
        }
    }

    fn settle(&mut self) {
        let Some((_, interval)) = self.open.pop_first() else { return };
        let point = Point::new(&interval);
        // Told later than its neighbours: the counts are right, the percentiles those of most of it.
        match self.points.iter_mut().find(|known| known.second == point.second) {
            Some(known) => {
                known.sent += point.sent;
                known.done += point.done;
                known.errors += point.errors;
            }
            None => self.points.push(point),
        }
    }

    /// The second that ended last, as far as it is known.
    pub fn latest(&self) -> Option<Point> {
        self.open.last_key_value().map(|(_, interval)| Point::new(interval))
    }

    /// All seconds in their order.
    pub fn finish(mut self) -> Vec<Point> {
        while !self.open.is_empty() {
            self.settle();
        }
        self.points.sort_by_key(|point| point.second);
        self.points.retain(|point| point.sent + point.done + point.errors > 0);
        self.points
    }
}
