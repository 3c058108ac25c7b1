//! Which answers are expected, and how many of them: `--expect 'block=5% 2xx>90% 503=0'`.

use crate::{tally::Tally, units};
use std::str::FromStr;

/// Percentage points by which `=` may be missed where no tolerance is said.
const TOLERANCE: f64 = 0.01;

/// What is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Subject {
    /// `x-ringward-decision`; `allow` is every answer without one.
    Decision(String),
    /// All statuses from the first to before the second.
    Status(u16, u16),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Bound {
    Share { least: f64, most: f64 },
    Count { least: u64, most: u64 },
}

#[derive(Clone, Debug, PartialEq)]
struct Expectation {
    text: String,
    subject: Subject,
    bound: Bound,
}

/// All of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Expectations(Vec<Expectation>);

/// What became of a promise or an expectation.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Verdict {
    /// As it was written.
    pub text: String,
    /// What was measured, for people.
    pub found: String,
    pub holds: bool,
}

impl FromStr for Expectations {
    type Err = String;

    fn from_str(text: &str) -> Result<Expectations, String> {
        let parts = text.split([' ', ',']).filter(|part| !part.is_empty());
        parts.map(Expectation::parse).collect::<Result<Vec<_>, _>>().map(Expectations)
    }
}

impl Expectation {
    fn parse(text: &str) -> Result<Expectation, String> {
        let form = || format!("`{text}`: write such as block=5%, block=5%±1%, 2xx>95%, 403<100 or 503=0");
        let at = text.find(['=', '<', '>']).filter(|at| *at > 0).ok_or_else(form)?;
        let (subject, rest) = text.split_at(at);
        let (operator, value) = rest.split_at(1);
        let bound = bound(operator, value).ok_or_else(form)?;
        Ok(Expectation { text: text.to_owned(), subject: Subject::parse(subject).ok_or_else(form)?, bound })
    }
}

fn bound(operator: &str, value: &str) -> Option<Bound> {
    if let Ok(count) = value.parse::<u64>() {
        return Some(match operator {
            "<" => Bound::Count { least: 0, most: count.checked_sub(1)? },
            ">" => Bound::Count { least: count.checked_add(1)?, most: u64::MAX },
            _ => Bound::Count { least: count, most: count },
        });
    }
    let (value, tolerance) = match value.split_once('±').or_else(|| value.split_once("+-")) {
        Some((value, tolerance)) if operator == "=" => (value, units::percent(tolerance)?),
        Some(_) => return None,
        None => (value, TOLERANCE),
    };
    let share = units::percent(value).filter(|share| *share <= 1.0)?;
    Some(match operator {
        "<" => Bound::Share { least: 0.0, most: share },
        ">" => Bound::Share { least: share, most: 1.0 },
        _ => Bound::Share { least: share - tolerance, most: share + tolerance },
    })
}

impl Subject {
    fn parse(text: &str) -> Option<Subject> {
        if let [class @ b'1'..=b'5', b'x', b'x'] = text.as_bytes() {
            let first = u16::from(class - b'0') * 100;
            return Some(Subject::Status(first, first + 100));
        }
        if let Ok(status) = text.parse::<u16>() {
            return (100..600).contains(&status).then_some(Subject::Status(status, status + 1));
        }
        let is_name = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_' || byte == b'-');
        is_name.then(|| Subject::Decision(text.to_owned()))
    }

    fn is(&self, status: u16, decision: &str) -> bool {
        match self {
            Subject::Decision(name) => name == decision,
            Subject::Status(first, end) => (*first..*end).contains(&status),
        }
    }

    fn count(&self, tally: &Tally) -> u64 {
        match self {
            Subject::Decision(name) => tally.decisions.get(name).copied().unwrap_or_default(),
            Subject::Status(first, end) => tally.statuses.range(first..end).map(|(_, count)| count).sum(),
        }
    }
}

impl Expectations {
    /// Whether an answer is one of those that are named.
    pub fn names(&self, status: u16, decision: &str) -> bool {
        self.0.iter().any(|one| one.subject.is(status, decision))
    }

    /// What became of each.
    pub fn judge(&self, tally: &Tally) -> Vec<Verdict> {
        let judged = |one: &Expectation| {
            let count = one.subject.count(tally);
            let share = count as f64 / tally.done.max(1) as f64;
            let holds = match one.bound {
                // Without any answer no share holds.
                Bound::Share { least, most } => tally.done > 0 && least <= share && share <= most,
                Bound::Count { least, most } => (least..=most).contains(&count),
            };
            let found = format!("{} of {} ({:.2}%)", count, tally.done, share * 100.0);
            Verdict { text: one.text.clone(), found, holds }
        };
        self.0.iter().map(judged).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_counts_are_judged_by_decision_and_status() {
        let mut tally = Tally::new(&[]);
        tally.done = 1_000;
        tally.statuses = [(200, 948), (403, 52)].into();
        tally.decisions = [("allow".to_owned(), 948), ("block".to_owned(), 52)].into();
        let check = |text: &str, holds: bool| {
            let verdicts = text.parse::<Expectations>().expect(text).judge(&tally);
            assert!(verdicts.iter().all(|verdict| verdict.holds == holds), "{verdicts:?}");
        };
        check("block=5%,allow=95%", true);
        check("block=5%±0.3% block>5% block<5.3% 4xx=52 503=0 2xx>900", true);
        check("block=5%+-0.1%", false);
        check("block=6.3% block=4% block<5% 403<52 503>0 nobody=5%", false);
        assert!("block=5%".parse::<Expectations>().is_ok_and(|expected| {
            expected.names(403, "block") && !expected.names(403, "allow") && !expected.names(403, "refuse")
        }));
        for text in ["block", "=5%", "block=5%5", "600=1", "block=x", "Block=1%", "a=101%", "a<0", "a>5%±1%"]
        {
            assert!(text.parse::<Expectations>().is_err(), "{text}");
        }
        assert!(Expectations::default().judge(&Tally::new(&[])).is_empty());
        assert!(!"2xx=0%".parse::<Expectations>().expect("fine").judge(&Tally::new(&[]))[0].holds);
    }
}
