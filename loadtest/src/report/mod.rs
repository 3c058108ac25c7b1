//! What a run gave: the file that `--out` writes, and what people read. Start at [`Run`].

mod html;
mod series;
mod text;

pub use html::page;
pub use series::{Collector, Point};
pub use text::text;

use crate::{
    exit::Failure,
    expect::Verdict,
    host::Host,
    stages::Stage,
    tally::{Kind, Tally},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use hdrhistogram::{
    Histogram,
    serialization::{Deserializer, Serializer, V2DeflateSerializer},
};
use serde::{Deserialize, Serialize, de, ser::SerializeStruct};
use std::{collections::BTreeMap, fs, path::Path};

/// What stands in `format`; another one is refused.
pub const FORMAT: &str = "ringward-loadtest-1";
/// Largest file that is read back.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// A histogram of nanoseconds. In a file: its figures, and itself in the form of HdrHistogram, V2, deflated,
/// in base64, from which everything else is read back.
#[derive(Clone, Debug, PartialEq)]
pub struct Times(pub Histogram<u64>);

impl Serialize for Times {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bytes = vec![];
        V2DeflateSerializer::new().serialize(&self.0, &mut bytes).map_err(serde::ser::Error::custom)?;
        let at = |quantile| self.0.value_at_quantile(quantile);
        let mut fields = serializer.serialize_struct("Times", 9)?;
        fields.serialize_field("count", &self.0.len())?;
        fields.serialize_field("mean_ns", &self.0.mean().round())?;
        fields.serialize_field("p50_ns", &at(0.5))?;
        fields.serialize_field("p90_ns", &at(0.9))?;
        fields.serialize_field("p99_ns", &at(0.99))?;
        fields.serialize_field("p999_ns", &at(0.999))?;
        fields.serialize_field("max_ns", &self.0.max())?;
        fields.serialize_field("hdr", &STANDARD.encode(bytes))?;
        fields.end()
    }
}

impl<'de> Deserialize<'de> for Times {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Times, D::Error> {
        #[derive(Deserialize)]
        struct Fields {
            hdr: String,
        }
        let bytes = STANDARD.decode(Fields::deserialize(deserializer)?.hdr).map_err(de::Error::custom)?;
        let read = Deserializer::new().deserialize(&mut bytes.as_slice());
        read.map(Times).map_err(|error| de::Error::custom(format!("no histogram: {error:?}")))
    }
}

/// One request of a mix.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RequestRow {
    pub name: String,
    pub done: u64,
    pub errors: u64,
    pub response: Times,
}

/// What was measured of one target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LaneRow {
    pub url: String,
    pub sent: u64,
    pub done: u64,
    pub dropped: u64,
    pub resent: u64,
    pub connections_opened: u64,
    pub bytes_sent: u64,
    pub bytes_received: u64,
    pub tokens: u64,
    /// Whole answers a second.
    pub rate: f64,
    /// By kind.
    pub errors: BTreeMap<String, u64>,
    pub statuses: BTreeMap<u16, u64>,
    pub decisions: BTreeMap<String, u64>,
    /// From the intended send to the last byte: corrected for coordinated omission.
    pub response: Times,
    /// From the actual send to the last byte.
    pub service: Times,
    /// From the intended send to the first token.
    pub ttft: Times,
    pub inter_token: Times,
    pub requests: Vec<RequestRow>,
    pub series: Vec<Point>,
}

impl LaneRow {
    /// What was counted in `seconds`.
    pub fn new(url: &str, tally: &Tally, seconds: f64, series: Vec<Point>) -> LaneRow {
        let request = |request: &crate::tally::ByRequest| RequestRow {
            name: request.name.clone(),
            done: request.done,
            errors: request.errors,
            response: Times(request.response.clone()),
        };
        let errors = Kind::ALL.iter().zip(tally.errors).filter(|(_, count)| *count > 0);
        LaneRow {
            url: url.to_owned(),
            sent: tally.sent,
            done: tally.done,
            dropped: tally.dropped,
            resent: tally.resent,
            connections_opened: tally.connections,
            bytes_sent: tally.bytes_sent,
            bytes_received: tally.bytes_received,
            tokens: tally.tokens,
            rate: tally.done as f64 / seconds,
            errors: errors.map(|(kind, count)| (kind.name().to_owned(), count)).collect(),
            statuses: tally.statuses.clone(),
            decisions: tally.decisions.clone(),
            response: Times(tally.response.clone()),
            service: Times(tally.service.clone()),
            ttft: Times(tally.ttft.clone()),
            inter_token: Times(tally.inter_token.clone()),
            requests: tally.requests.iter().map(request).collect(),
            series,
        }
    }

    /// All errors.
    pub fn error_count(&self) -> u64 {
        self.errors.values().sum()
    }
}

/// A whole run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    pub format: String,
    pub version: String,
    /// Seconds since 1970.
    pub started: u64,
    /// What was said on the command line, by option; never a field or a token.
    pub options: BTreeMap<String, String>,
    pub host: Host,
    /// `io_uring` or `epoll`.
    pub driver: String,
    /// Time that was measured, and the warm-up before it.
    pub seconds: f64,
    pub warmup_seconds: f64,
    pub is_cut_short: bool,
    pub target: LaneRow,
    pub baseline: Option<LaneRow>,
    pub stages: Vec<Stage>,
    pub expected: Vec<Verdict>,
    pub promises: Vec<Verdict>,
    /// What makes the numbers count less.
    pub notes: Vec<String>,
}

impl Run {
    /// Reads what `--out` wrote.
    ///
    /// # Errors
    /// It cannot be read, or is something else: exit code 2.
    pub fn read(path: &Path) -> Result<Run, Failure> {
        let wrong = |what: String| Failure::usage(format!("{}: {what}", path.display()));
        let length = fs::metadata(path).map_err(|error| wrong(error.to_string()))?.len();
        if length > FILE_BYTES_MAX {
            return Err(wrong("too large for what `loadtest run --out` writes".to_owned()));
        }
        let text = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        let run: Run = serde_json::from_str(&text)
            .map_err(|error| wrong(format!("{error}: it has to be what `loadtest run --out` writes")))?;
        if run.format != FORMAT {
            return Err(wrong(format!("its format is `{}`, and `{FORMAT}` is read here", run.format)));
        }
        Ok(run)
    }

    /// What the gateway adds at one quantile: the difference to the baseline, in nanoseconds.
    pub fn overhead_ns(&self, quantile: f64) -> Option<f64> {
        let baseline = &self.baseline.as_ref()?.response.0;
        let is_measured = !baseline.is_empty() && !self.target.response.0.is_empty();
        let at = |times: &Histogram<u64>| times.value_at_quantile(quantile) as f64;
        is_measured.then(|| at(&self.target.response.0) - at(baseline))
    }

    /// Whether a promise or an expectation was not kept.
    pub fn has_missed(&self) -> bool {
        self.promises.iter().chain(&self.expected).any(|verdict| !verdict.holds)
    }
}

/// The percentiles of a histogram in milliseconds, in the form that HdrHistogram's plotter reads.
pub fn hgrm(times: &Times) -> String {
    let (histogram, total) = (&times.0, times.0.len());
    let mut text =
        format!("{:>12} {:>14} {:>10} {:>14}\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
    for step in histogram.iter_quantiles(5) {
        let (value, quantile) = (step.value_iterated_to() as f64 / 1e6, step.quantile_iterated_to());
        let count = histogram.count_between(0, step.value_iterated_to());
        let inverse = if quantile < 1.0 { format!("{:14.2}", 1.0 / (1.0 - quantile)) } else { String::new() };
        text.push_str(format!("{value:12.3} {quantile:2.12} {count:10} {inverse}").trim_end());
        text.push('\n');
    }
    let (mean, deviation) = (histogram.mean() / 1e6, histogram.stdev() / 1e6);
    let max = histogram.max() as f64 / 1e6;
    text.push_str(&format!("#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]\n"));
    text.push_str(&format!("#[Max     = {max:12.3}, Total count    = {total:12}]\n"));
    let buckets = histogram.buckets();
    text.push_str(&format!("#[Buckets = {buckets:12}, SubBuckets     = {:12}]\n", 2048));
    text
}

/// Writes a file as a whole: an old one is there until the new one is.
///
/// # Errors
/// It cannot be written: exit code 1.
pub fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::failed(format!("cannot write {}: {error}", path.display()));
    if path == Path::new("-") {
        print!("{text}");
        return Ok(());
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.part", std::process::id()));
    fs::write(&beside, text).and_then(|()| fs::rename(&beside, path)).map_err(|error| {
        drop(fs::remove_file(&beside));
        failed(error)
    })
}

#[cfg(test)]
pub(crate) mod tests;
