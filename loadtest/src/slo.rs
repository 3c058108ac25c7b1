//! Numbers of a run by name, and promises about them: `ttft<50ms overhead_p99<1ms errors<0.1%`.

use crate::{expect::Verdict, report::Run, units};
use std::{fmt, str::FromStr};

/// Which histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Times {
    Response,
    Service,
    Ttft,
    InterToken,
    Overhead,
}

/// Which number of it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Figure {
    Quantile(f64),
    Mean,
    Max,
}

/// One number of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    name: String,
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum What {
    Time(Times, Figure),
    /// Of those that were sent or should have been.
    Errors,
    Dropped,
    Rate,
}

/// What a number is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Nanoseconds,
    Share,
    PerSecond,
}

impl FromStr for Metric {
    type Err = String;

    fn from_str(name: &str) -> Result<Metric, String> {
        let unknown = || {
            format!(
                "`{name}` is no number of a run: there are response, service, ttft, itl and overhead, each \
                 with _p50, _p99.9, _mean or _max, and errors, dropped and rate"
            )
        };
        let what = match name {
            "errors" => What::Errors,
            "dropped" => What::Dropped,
            "rate" => What::Rate,
            _ => {
                let (times, figure) = name.split_once('_').unwrap_or((name, "p99"));
                let times = match times {
                    "response" => Times::Response,
                    "service" => Times::Service,
                    "ttft" => Times::Ttft,
                    "itl" => Times::InterToken,
                    "overhead" => Times::Overhead,
                    _ => return Err(unknown()),
                };
                What::Time(times, figure_of(figure).ok_or_else(unknown)?)
            }
        };
        Ok(Metric { name: name.to_owned(), what })
    }
}

fn figure_of(text: &str) -> Option<Figure> {
    match text {
        "mean" => Some(Figure::Mean),
        "max" => Some(Figure::Max),
        _ => {
            let percent = units::number(text.strip_prefix('p')?)?;
            (percent <= 100.0).then_some(Figure::Quantile(percent / 100.0))
        }
    }
}

impl Metric {
    /// In what it is counted.
    pub fn unit(&self) -> Unit {
        match self.what {
            What::Time(..) => Unit::Nanoseconds,
            What::Errors | What::Dropped => Unit::Share,
            What::Rate => Unit::PerSecond,
        }
    }

    /// Its value; none where nothing of it was measured.
    pub fn value(&self, run: &Run) -> Option<f64> {
        let lane = &run.target;
        let of = |figure: Figure, times: &crate::report::Times| {
            (!times.0.is_empty()).then(|| match figure {
                Figure::Quantile(quantile) => times.0.value_at_quantile(quantile) as f64,
                Figure::Mean => times.0.mean(),
                Figure::Max => times.0.max() as f64,
            })
        };
        let all = (lane.sent + lane.dropped).max(1) as f64;
        match self.what {
            What::Time(Times::Response, figure) => of(figure, &lane.response),
            What::Time(Times::Service, figure) => of(figure, &lane.service),
            What::Time(Times::Ttft, figure) => of(figure, &lane.ttft),
            What::Time(Times::InterToken, figure) => of(figure, &lane.inter_token),
            What::Time(Times::Overhead, figure) => {
                let baseline = of(figure, &run.baseline.as_ref()?.response)?;
                Some(of(figure, &lane.response)? - baseline)
            }
            What::Errors => Some(lane.error_count() as f64 / all),
            What::Dropped => Some(lane.dropped as f64 / all),
            What::Rate => Some(lane.rate),
        }
    }

    /// A value of it, for people.
    pub fn shown(&self, value: f64) -> String {
        match self.unit() {
            Unit::Nanoseconds => units::shown_ns(value),
            Unit::Share => format!("{:.3}%", value * 100.0),
            Unit::PerSecond => format!("{value:.1}/s"),
        }
    }

    /// A value of it as it is written.
    pub fn parse_value(&self, text: &str) -> Option<f64> {
        match self.unit() {
            Unit::Nanoseconds => {
                // A bare number of nobody knows what is refused.
                let has_unit = text.ends_with(|c: char| c.is_ascii_alphabetic());
                units::duration(text).ok().filter(|_| has_unit).map(|time| time.as_nanos() as f64)
            }
            Unit::Share => units::percent(text),
            Unit::PerSecond => units::number(text),
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[derive(Clone, Debug, PartialEq)]
struct Objective {
    text: String,
    metric: Metric,
    /// Whether the value has to be below the limit, else above.
    below: bool,
    limit: f64,
}

/// All promises of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Objectives(Vec<Objective>);

impl FromStr for Objectives {
    type Err = String;

    fn from_str(text: &str) -> Result<Objectives, String> {
        let parts = text.split([' ', ',']).filter(|part| !part.is_empty());
        parts.map(objective).collect::<Result<Vec<_>, _>>().map(Objectives)
    }
}

fn objective(text: &str) -> Result<Objective, String> {
    let form = || format!("`{text}`: write such as response_p99<50ms, errors<0.1% or rate>1900");
    let at = text.find(['<', '>']).ok_or_else(form)?;
    let metric: Metric = text[..at].parse()?;
    let limit = metric.parse_value(&text[at + 1..]).ok_or_else(form)?;
    Ok(Objective { text: text.to_owned(), metric, below: &text[at..=at] == "<", limit })
}

impl Objectives {
    /// Whether a promise is about numbers of this name.
    pub fn names(&self, prefix: &str) -> bool {
        self.0.iter().any(|one| one.metric.name.starts_with(prefix))
    }

    /// What became of each; what was not measured was not kept.
    pub fn judge(&self, run: &Run) -> Vec<Verdict> {
        let judged = |one: &Objective| {
            let value = one.metric.value(run);
            let holds =
                value.is_some_and(|value| if one.below { value < one.limit } else { value > one.limit });
            let found = value.map_or("not measured".to_owned(), |value| one.metric.shown(value));
            Verdict { text: one.text.clone(), found, holds }
        };
        self.0.iter().map(judged).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn promises_are_read_or_refused_with_what_there_is() {
        let objectives: Objectives =
            "ttft<50ms, overhead_p99.9<1ms errors<0.1% rate>1900 itl_max<1s".parse().expect("promises");
        assert_eq!(objectives.0.len(), 5);
        assert!(objectives.names("overhead") && !objectives.names("service"));
        assert_eq!(objectives.0[0].metric.what, What::Time(Times::Ttft, Figure::Quantile(0.99)));
        assert_eq!((objectives.0[0].limit, objectives.0[2].limit), (5e7, 0.001));
        for text in
            ["ttft", "ttft<5", "ttft<5%", "x<5ms", "errors<5", "ttft_p101<1ms", "ttft_x<1ms", "rate>5ms"]
        {
            assert!(text.parse::<Objectives>().is_err(), "{text}");
        }
    }
}
