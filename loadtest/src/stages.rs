//! Time in each stage of a gateway: from `Server-Timing` of each answer, or from two readings of its metrics.

use crate::{blocking, exit::Failure, target::Url};
use rustls::ClientConfig;
use std::{collections::BTreeMap, path::Path, sync::Arc};

/// Where metrics are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    Url(Url),
    Socket(std::path::PathBuf),
}

impl Source {
    /// `http://…/metrics`, `https://…`, or `unix:PATH` of the admin socket.
    ///
    /// # Errors
    /// It is neither: exit code 2.
    pub fn parse(text: &str) -> Result<Source, Failure> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Source::Socket(path.into()));
        }
        let url = Url::parse(text).map_err(|what| Failure::usage(format!("--stages {text}: {what}")))?;
        let path = if url.path == "/" { "/metrics".to_owned() } else { url.path };
        Ok(Source::Url(Url { path, ..url }))
    }

    /// Reads the histograms as they are now.
    ///
    /// # Errors
    /// What happened.
    pub fn read(&self, tls: &Arc<ClientConfig>) -> Result<Metrics, String> {
        let page = match self {
            Source::Url(url) => blocking::ask(url, tls, "GET", &[("accept", "text/plain")], b"")?,
            Source::Socket(path) => blocking::ask_socket(Path::new(path), "/metrics")?,
        };
        if page.status != 200 {
            return Err(format!("the metrics answered with status {}", page.status));
        }
        Metrics::parse(&String::from_utf8_lossy(&page.body))
    }
}

/// One cumulative histogram: upper bounds in seconds, and how many were at most that.
type Buckets = Vec<(f64, u64)>;

/// The histograms of a gateway at one time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics(BTreeMap<String, Buckets>);

/// One stage over a run.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Stage {
    pub name: String,
    pub count: u64,
    /// Nanoseconds.
    pub p50_ns: f64,
    pub p99_ns: f64,
    /// Whether both are the upper bounds of buckets, so that the times are at most that.
    pub is_bound: bool,
}

impl Metrics {
    /// Prometheus text: `ringward_stage_duration_seconds` by stage, and `ringward_overhead_seconds`.
    ///
    /// # Errors
    /// There is none of them.
    pub fn parse(text: &str) -> Result<Metrics, String> {
        let mut found = Metrics::default();
        for line in text.lines() {
            let Some((name, rest)) = line.split_once("_bucket{") else { continue };
            let Some((labels, value)) = rest.rsplit_once('}') else { continue };
            let stage = match name {
                "ringward_stage_duration_seconds" => label(labels, "stage"),
                "ringward_overhead_seconds" => Some("overhead"),
                _ => None,
            };
            let (Some(stage), Some(bound)) = (stage, label(labels, "le")) else { continue };
            // A value may be followed by a time or an exemplar.
            let count = value.split_whitespace().next().and_then(|count| count.parse::<f64>().ok());
            let bound = if bound == "+Inf" { Some(f64::INFINITY) } else { bound.parse().ok() };
            if let (Some(bound), Some(count)) = (bound, count) {
                found.0.entry(stage.to_owned()).or_default().push((bound, count as u64));
            }
        }
        if found.0.is_empty() {
            return Err(
                "the page holds no ringward_stage_duration_seconds: is it a gateway's /metrics?".into()
            );
        }
        for buckets in found.0.values_mut() {
            buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
        }
        Ok(found)
    }

    /// What happened since `earlier`.
    pub fn since(&self, earlier: &Metrics) -> Vec<Stage> {
        let stage = |(name, buckets): (&String, &Buckets)| {
            let before = earlier.0.get(name);
            let at =
                |index: usize| before.and_then(|before| before.get(index)).map_or(0, |(_, count)| *count);
            let counts: Buckets = buckets
                .iter()
                .enumerate()
                .map(|(index, (bound, count))| (*bound, count.saturating_sub(at(index))))
                .collect();
            let count = counts.last().map_or(0, |(_, count)| *count);
            let bound = |share: f64| {
                let rank = (count as f64 * share).ceil() as u64;
                let found = counts.iter().find(|(_, count)| *count >= rank.max(1));
                found.map_or(f64::MAX, |(bound, _)| bound.min(3_600.0) * 1e9)
            };
            (count > 0).then(|| Stage {
                name: name.clone(),
                count,
                p50_ns: bound(0.5),
                p99_ns: bound(0.99),
                is_bound: true,
            })
        };
        self.0.iter().filter_map(stage).collect()
    }
}

fn label<'a>(labels: &'a str, name: &str) -> Option<&'a str> {
    labels.split(',').find_map(|one| {
        let (key, value) = one.split_once('=')?;
        (key.trim() == name).then(|| value.trim().trim_matches('"'))
    })
}

/// Names and nanoseconds of a `Server-Timing` field (W3C Server Timing, section 2).
pub fn of_timing(value: &str) -> impl Iterator<Item = (&str, u64)> {
    value.split(',').filter_map(|metric| {
        let mut parts = metric.split(';').map(str::trim);
        let name = parts.next().filter(|name| !name.is_empty() && name.len() <= 64)?;
        let ms = parts.find_map(|part| {
            let (key, value) = part.split_once('=')?;
            key.trim()
                .eq_ignore_ascii_case("dur")
                .then(|| value.trim().trim_matches('"').parse::<f64>().ok())?
        })?;
        (ms >= 0.0).then_some((name, (ms * 1e6) as u64))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_timing_is_read_and_what_has_no_duration_left_out() {
        let read = |value| of_timing(value).collect::<Vec<_>>();
        assert_eq!(read("db;dur=53.2, app;desc=\"x\";dur=0"), [("db", 53_200_000), ("app", 0)]);
        assert_eq!(read("miss, a;dur=x, b;DUR=\"1\", ;dur=1, c;dur=-1"), [("b", 1_000_000)]);
    }

    #[test]
    fn stages_are_the_difference_of_two_readings() {
        let text = |small: u64, large: u64| {
            let bucket = |le: &str, count| {
                format!("ringward_stage_duration_seconds_bucket{{le=\"{le}\",stage=\"record\"}} {count}\n")
            };
            let all = small + large;
            format!(
                "# TYPE x histogram\n{}{}{}other_bucket{{le=\"1\"}} 5\n\
                 ringward_overhead_seconds_bucket{{le=\"+Inf\"}} 0\n",
                bucket("0.001", all),
                bucket("0.0001", small),
                bucket("+Inf", all)
            )
        };
        let before = Metrics::parse(&text(1_000, 500)).expect("metrics");
        let after = Metrics::parse(&text(1_060, 540)).expect("metrics");
        let stages = after.since(&before);
        assert_eq!(stages.len(), 1, "{stages:?}");
        let stage = &stages[0];
        assert_eq!((stage.name.as_str(), stage.count), ("record", 100));
        assert_eq!((stage.p50_ns as u64, stage.p99_ns as u64), (100_000, 1_000_000));
        assert!(Metrics::parse("nothing 1\n").is_err());
    }
}
