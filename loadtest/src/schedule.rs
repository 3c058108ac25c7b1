//! When requests are due: pure arithmetic from a rate, a kind of arrival and a seed. The same three give the
//! same times, on every machine.

use crate::{limits, units};
use std::time::Duration;

/// Numbers that only look random (SplitMix64, Steele, Lea and Flood 2014): the same for the same seed.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Different seeds give different numbers, also where they are neighbours.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// At least 0, less than 1.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Exponentially distributed with mean 1: the gaps of a Poisson process.
    pub fn exponential(&mut self) -> f64 {
        -(1.0 - self.unit()).ln()
    }
}

/// Requests a second: `from` for `hold`, then more or less until `to` after `over`, and that from then on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    pub from: f64,
    pub to: f64,
    pub over: Duration,
    /// The warm-up, which a ramp begins after.
    pub hold: Duration,
}

impl Rate {
    /// `2000`, or a ramp `100..5000/60s`.
    ///
    /// # Errors
    /// What may be written instead.
    pub fn parse(text: &str) -> Result<Rate, String> {
        const FORM: &str = "write a rate such as 2000, or a ramp such as 100..5000/60s";
        let single = |text: &str| units::number(text.trim()).ok_or(FORM.to_owned());
        let rate = match text.split_once("..") {
            None => {
                let rate = single(text)?;
                Rate { from: rate, to: rate, over: Duration::ZERO, hold: Duration::ZERO }
            }
            Some((from, rest)) => {
                let (to, over) = rest.split_once('/').ok_or(FORM)?;
                Rate {
                    from: single(from)?,
                    to: single(to)?,
                    over: units::duration(over.trim())?,
                    hold: Duration::ZERO,
                }
            }
        };
        let most = rate.from.max(rate.to);
        if most <= 0.0 || most > limits::RATE_MAX {
            return Err(format!("a rate has to be above 0 and at most {}", limits::RATE_MAX));
        }
        Ok(rate)
    }

    /// Requests due so long after the ramp has begun.
    fn count(&self, seconds: f64) -> f64 {
        let over = self.over.as_secs_f64();
        if seconds >= over {
            return (self.from + self.to) / 2.0 * over + self.to * (seconds - over);
        }
        self.from * seconds + (self.to - self.from) * seconds * seconds / (2.0 * over)
    }

    /// When `count` requests are due, in seconds; infinite if never.
    fn time(&self, count: f64) -> f64 {
        let hold = self.hold.as_secs_f64();
        let held = self.from * hold;
        if count < held { count / self.from } else { hold + self.ramp_time(count - held) }
    }

    /// The inverse of [`Rate::count`].
    fn ramp_time(&self, count: f64) -> f64 {
        let over = self.over.as_secs_f64();
        let at_end = self.count(over);
        if count >= at_end {
            let behind = count - at_end;
            return if self.to > 0.0 { over + behind / self.to } else { f64::INFINITY };
        }
        let slope = (self.to - self.from) / over;
        if slope == 0.0 {
            return count / self.from;
        }
        // Of both roots the one that grows with `count`, in the form that does not cancel.
        2.0 * count / (self.from + (self.from * self.from + 2.0 * slope * count).max(0.0).sqrt())
    }
}

/// How arrivals are spread at a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Arrival {
    /// At equal distances.
    Constant,
    /// Independent of each other, as those of many callers are.
    Poisson,
}

/// The part of the arrivals that one worker sends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Part {
    /// Which of the workers.
    pub index: usize,
    /// How many there are.
    pub of: usize,
    /// By which fraction of a gap all arrivals are late: a second lane lies between those of the first.
    pub phase: f64,
}

/// The times of a run, one after the other.
#[derive(Clone, Debug)]
pub enum Schedule {
    /// Each as soon as a connection is free: a closed loop.
    Closed,
    /// At a rate.
    Paced(Paced),
    /// As recorded: nanoseconds since the beginning and the place in the plan, in ascending order.
    Recorded { times: Vec<(u64, usize)>, next: usize },
}

/// Arrivals at a rate.
#[derive(Clone, Debug)]
pub struct Paced {
    rate: Rate,
    arrival: Arrival,
    random: Random,
    part: Part,
    /// Requests due until the next arrival, of all workers together.
    count: f64,
    next_ns: u64,
}

impl Paced {
    /// The arrivals of one worker; `seed` decides those that are random.
    pub fn new(rate: Rate, arrival: Arrival, seed: u64, part: Part) -> Paced {
        let mut paced = Paced { rate, arrival, random: Random::new(seed), part, count: 0.0, next_ns: 0 };
        paced.count = match arrival {
            Arrival::Constant => part.index as f64 + part.phase,
            Arrival::Poisson => paced.gap(),
        };
        paced.next_ns = nanoseconds(rate.time(paced.count));
        paced
    }

    fn gap(&mut self) -> f64 {
        match self.arrival {
            Arrival::Constant => self.part.of as f64,
            Arrival::Poisson => self.part.of as f64 * self.random.exponential(),
        }
    }

    fn advance(&mut self) {
        self.count += self.gap();
        self.next_ns = nanoseconds(self.rate.time(self.count));
    }
}

fn nanoseconds(seconds: f64) -> u64 {
    // A cast of what is too large, or infinite, saturates.
    (seconds * 1e9) as u64
}

impl Schedule {
    /// When the next request is due, in nanoseconds since the beginning; `u64::MAX` if there is none.
    pub fn peek(&self) -> u64 {
        match self {
            Schedule::Closed => 0,
            Schedule::Paced(paced) => paced.next_ns,
            Schedule::Recorded { times, next } => times.get(*next).map_or(u64::MAX, |(at, _)| *at),
        }
    }

    /// Takes the next request, which [`Schedule::peek`] said is due; gives its place in a recorded plan.
    pub fn take(&mut self) -> Option<usize> {
        match self {
            Schedule::Closed => None,
            Schedule::Paced(paced) => {
                paced.advance();
                None
            }
            Schedule::Recorded { times, next } => {
                let place = times.get(*next).map(|(_, place)| *place);
                *next += 1;
                place
            }
        }
    }

    /// Whether all of a recording has been taken.
    pub fn is_used_up(&self) -> bool {
        matches!(self, Schedule::Recorded { times, next } if *next >= times.len())
    }

    /// Takes all that are due before `end_ns`; gives how many.
    pub fn drop_until(&mut self, end_ns: u64) -> u64 {
        let mut count = 0;
        while !matches!(self, Schedule::Closed) && self.peek() < end_ns {
            self.take();
            count += 1;
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALONE: Part = Part { index: 0, of: 1, phase: 0.0 };

    fn times(rate: &str, arrival: Arrival, seed: u64, part: Part, until_s: u64) -> Vec<u64> {
        let mut schedule =
            Schedule::Paced(Paced::new(Rate::parse(rate).expect("a rate"), arrival, seed, part));
        let mut times = vec![];
        while schedule.peek() < until_s * 1_000_000_000 {
            times.push(schedule.peek());
            schedule.take();
        }
        times
    }

    #[test]
    fn constant_arrivals_lie_at_equal_distances_also_shared_among_workers() {
        let all = times("1000", Arrival::Constant, 1, ALONE, 2);
        assert_eq!(all.len(), 2_000);
        assert!(all.windows(2).all(|pair| (999_999..=1_000_001).contains(&(pair[1] - pair[0]))));
        let mut shared: Vec<u64> = (0..3)
            .flat_map(|index| times("1000", Arrival::Constant, 1, Part { index, of: 3, phase: 0.0 }, 2))
            .collect();
        shared.sort_unstable();
        assert_eq!(shared, all);
        let between = times("1000", Arrival::Constant, 1, Part { phase: 0.5, ..ALONE }, 2);
        assert_eq!(between[0], 500_000);
    }

    #[test]
    fn a_ramp_sends_what_lies_under_its_line() {
        // 10 s from 100 to 1100 are 6,000; then 1,100 a second.
        let ramp = times("100..1100/10s", Arrival::Constant, 1, ALONE, 12);
        assert!((8_199..=8_201).contains(&ramp.len()), "{}", ramp.len());
        let half = ramp.iter().filter(|at| **at < 5_000_000_000).count();
        assert!((1_749..=1_751).contains(&half), "{half}");
        assert!(ramp.windows(2).all(|pair| pair[0] <= pair[1]));
        let warm = Rate { hold: Duration::from_secs(3), ..Rate::parse("100..1100/10s").expect("a rate") };
        let mut held = Schedule::Paced(Paced::new(warm, Arrival::Constant, 1, ALONE));
        assert_eq!(held.drop_until(3_000_000_000), 300);
        let first: Vec<u64> = ramp.iter().take(50).map(|at| at + 3_000_000_000).collect();
        for at in first {
            assert!(held.peek().abs_diff(at) < 1_000, "{} is not {at}", held.peek());
            held.take();
        }
        let falling = times("1000..0/10s", Arrival::Constant, 1, ALONE, 60);
        assert!((4_998..=5_001).contains(&falling.len()), "{}", falling.len());
        let from_nothing = times("0..1000/10s", Arrival::Poisson, 3, ALONE, 10);
        assert!((4_600..=5_400).contains(&from_nothing.len()), "{}", from_nothing.len());
    }

    #[test]
    fn poisson_arrivals_are_those_of_their_seed() {
        let first = times("500", Arrival::Poisson, 7, ALONE, 20);
        assert_eq!(first, times("500", Arrival::Poisson, 7, ALONE, 20));
        assert_ne!(first, times("500", Arrival::Poisson, 8, ALONE, 20));
        // 10,000 expected; four standard deviations are 400.
        assert!((9_600..=10_400).contains(&first.len()), "{}", first.len());
        // Gaps of a Poisson process vary as much as they are long.
        let gaps: Vec<f64> = first.windows(2).map(|pair| (pair[1] - pair[0]) as f64).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((0.9..1.1).contains(&(variance.sqrt() / mean)));
    }

    #[test]
    fn what_is_no_rate_is_refused_with_the_form_of_one() {
        for text in ["", "-5", "0", "a", "10..20", "10../5s", "10..20/x", "1e9", "99999999999"] {
            assert!(Rate::parse(text).is_err(), "{text}");
        }
        assert_eq!(
            Rate::parse("1..5.5/2m"),
            Ok(Rate { from: 1.0, to: 5.5, over: Duration::from_secs(120), hold: Duration::ZERO })
        );
    }

    #[test]
    fn what_was_due_and_not_taken_is_counted() {
        let rate = Rate::parse("100").expect("a rate");
        let mut schedule = Schedule::Paced(Paced::new(rate, Arrival::Constant, 1, ALONE));
        (0..30).for_each(|_| assert_eq!(schedule.take(), None));
        assert_eq!(schedule.drop_until(1_000_000_000), 70);
        assert_eq!(Schedule::Closed.drop_until(1_000_000_000), 0);
        let mut recorded = Schedule::Recorded { times: vec![(5, 2), (9, 0)], next: 0 };
        assert_eq!((recorded.peek(), recorded.take()), (5, Some(2)));
        assert_eq!(recorded.drop_until(100), 1);
        assert!(recorded.peek() == u64::MAX && recorded.is_used_up() && !Schedule::Closed.is_used_up());
    }
}
