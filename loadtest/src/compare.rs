//! Two runs beside each other.

use crate::{
    exit::{self, Failure},
    report::Run,
    slo::{Metric, Unit},
    units,
};
use clap::Args;
use std::{path::PathBuf, str::FromStr};

/// Compare two runs
///
/// Exit code 7 if a condition of --fail-if is met.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// What `run --out` wrote before
    pub base: PathBuf,
    /// What it wrote now
    pub new: PathBuf,
    /// Changes that fail: 'overhead_p99>+10% rate<-5% response_p50>+2ms errors>+0.1%'
    #[arg(long, value_name = "CHANGES", default_value = "", hide_default_value = true)]
    pub fail_if: Conditions,
}

/// By how much a number may change.
#[derive(Clone, Debug, PartialEq)]
struct Condition {
    text: String,
    metric: Metric,
    /// Whether more than this is too much, else less.
    above: bool,
    limit: Limit,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Limit {
    /// Of the value before.
    Relative(f64),
    /// In the unit of the number.
    Absolute(f64),
}

/// All conditions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conditions(Vec<Condition>);

impl FromStr for Conditions {
    type Err = String;

    fn from_str(text: &str) -> Result<Conditions, String> {
        let parts = text.split([' ', ',']).filter(|part| !part.is_empty());
        parts.map(condition).collect::<Result<Vec<_>, _>>().map(Conditions)
    }
}

fn condition(text: &str) -> Result<Condition, String> {
    let form = || format!("`{text}`: write such as overhead_p99>+10%, response_p50>+2ms or rate<-5%");
    let at = text.find(['<', '>']).ok_or_else(form)?;
    let metric: Metric = text[..at].parse()?;
    let (sign, value) = text[at + 1..].split_at_checked(1).ok_or_else(form)?;
    let sign = match sign {
        "+" => 1.0,
        "-" => -1.0,
        _ => return Err(form()),
    };
    let limit = match (metric.unit(), units::percent(value)) {
        // A share changes by points: ten percent of no errors is none.
        (Unit::Share, share) => Limit::Absolute(sign * share.ok_or_else(form)?),
        (_, Some(share)) => Limit::Relative(sign * share),
        (_, None) => Limit::Absolute(sign * metric.parse_value(value).ok_or_else(form)?),
    };
    Ok(Condition { text: text.to_owned(), metric, above: &text[at..=at] == ">", limit })
}

impl Condition {
    /// Whether it is met; what was not measured in both is.
    fn is_met(&self, base: &Run, new: &Run) -> bool {
        let (Some(before), Some(now)) = (self.metric.value(base), self.metric.value(new)) else {
            return true;
        };
        let change = match self.limit {
            Limit::Relative(share) => before.abs() * share,
            Limit::Absolute(change) => change,
        };
        if self.above { now > before + change } else { now < before + change }
    }
}

/// Numbers that are always compared, where both runs have them.
const ROWS: [&str; 14] = [
    "rate",
    "errors",
    "dropped",
    "response_p50",
    "response_p99",
    "response_p99.9",
    "service_p50",
    "service_p99",
    "ttft_p50",
    "ttft_p99",
    "itl_p50",
    "itl_p99",
    "overhead_p50",
    "overhead_p99",
];

/// The comparison as text, and whether a condition is met.
///
/// # Errors
/// A file that is none: exit code 2.
pub fn run(options: &Options) -> Result<(String, u8), Failure> {
    let (base, new) = (Run::read(&options.base)?, Run::read(&options.new)?);
    let mut text = table(&base, &new);
    for (name, before, now) in [
        ("kernel", &base.host.kernel, &new.host.kernel),
        ("processor", &base.host.cpu, &new.host.cpu),
        ("driver", &base.driver, &new.driver),
    ] {
        if before != now {
            text.push_str(&format!("note: another {name}: `{before}` and `{now}`\n"));
        }
    }
    for key in base.options.keys().chain(new.options.keys().filter(|key| !base.options.contains_key(*key))) {
        let value = |run: &Run| run.options.get(key).cloned().unwrap_or_default();
        if key != "url" && key != "baseline" && value(&base) != value(&new) {
            text.push_str(&format!("note: another {key}: `{}` and `{}`\n", value(&base), value(&new)));
        }
    }
    let mut code = 0;
    for condition in &options.fail_if.0 {
        let is_met = condition.is_met(&base, &new);
        text.push_str(&format!("{}  {}\n", if is_met { "FAIL" } else { "pass" }, condition.text));
        if is_met {
            code = exit::THRESHOLD;
        }
    }
    Ok((text, code))
}

fn table(base: &Run, new: &Run) -> String {
    let mut text = format!("{:16}{:>13}{:>13}{:>13}\n", "", "before", "now", "change");
    for name in ROWS {
        // The names are those of numbers.
        let Ok(metric) = name.parse::<Metric>() else { continue };
        let (before, now) = (metric.value(base), metric.value(new));
        if before.is_none() && now.is_none() {
            continue;
        }
        let shown = |value: Option<f64>| value.map_or("–".to_owned(), |value| metric.shown(value));
        let change = match (before, now) {
            (Some(before), Some(now)) if metric.unit() == Unit::Share => {
                format!("{:+.3} pp", (now - before) * 100.0)
            }
            (Some(before), Some(now)) if before.abs() > 0.0 => {
                format!("{:+.1}%", (now - before) / before.abs() * 100.0)
            }
            _ => String::new(),
        };
        text.push_str(&format!("{name:16}{:>13}{:>13}{change:>13}\n", shown(before), shown(now)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;

    #[test]
    fn conditions_are_met_by_what_changed_too_much() {
        let (base, new) = (sample(10), sample(20));
        let check = |text: &str, is_met: bool| {
            let conditions: Conditions = text.parse().expect(text);
            assert!(!conditions.0.is_empty());
            for one in &conditions.0 {
                assert_eq!(one.is_met(&base, &new), is_met, "{}", one.text);
            }
        };
        check("overhead_p99>+10% overhead_p50>+5ms response_p50>+1%", true);
        check("overhead_p99>+150% overhead_p50>+12ms response_p99>+5% rate<-1% errors>+0.1%", false);
        check("ttft_p99>+10%", true);
        for text in ["rate", "rate>5%", "x>+1%", "rate>+", "errors>+5", "response>+5"] {
            assert!(text.parse::<Conditions>().is_err(), "{text}");
        }
    }
}
