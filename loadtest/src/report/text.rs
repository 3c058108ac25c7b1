//! A run as text.

use super::{LaneRow, Run, Times};
use crate::units::{shown_count, shown_ns};

/// Quantiles of every row of times.
const COLUMNS: [(&str, f64); 5] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)];

/// What people read.
pub fn text(run: &Run) -> String {
    let mut text = head(run);
    text.push('\n');
    text.push_str(&counts(run));
    text.push('\n');
    text.push_str(&times(run));
    for lane in [Some(&run.target), run.baseline.as_ref()].into_iter().flatten() {
        let name = if std::ptr::eq(lane, &run.target) { "" } else { " of the baseline" };
        listed(&mut text, &format!("errors{name}"), lane.errors.iter());
        let is_plain = lane.statuses.keys().all(|status| *status == 200) && lane.decisions.len() <= 1;
        if !is_plain {
            listed(&mut text, &format!("statuses{name}"), lane.statuses.iter());
            listed(&mut text, &format!("decisions{name}"), lane.decisions.iter());
        }
    }
    verdicts(run, &mut text);
    for note in &run.notes {
        text.push_str(&format!("note: {note}\n"));
    }
    text
}

fn head(run: &Run) -> String {
    let option = |name: &str| run.options.get(name).map_or("", String::as_str);
    let load = match option("closed") {
        "true" => "closed loop".to_owned(),
        _ if option("timing") == "recorded" => "as recorded".to_owned(),
        _ => format!("{} a second, {}", option("rate"), option("arrival")),
    };
    let ended = if run.is_cut_short { ", ended early" } else { "" };
    let host = &run.host;
    let commit = if host.commit.is_empty() { String::new() } else { format!(", commit {}", host.commit) };
    format!(
        "{}: {load}; connections: {}, threads: {}, {}; {:.1} s after {:.1} s of warm-up{ended}\n{}; {}; \
         CPUs: {}{commit}; seed {}\n",
        run.target.url,
        option("connections"),
        option("cores"),
        run.driver,
        run.seconds,
        run.warmup_seconds,
        host.cpu,
        host.kernel,
        host.cpus,
        option("seed"),
    )
}

fn counts(run: &Run) -> String {
    let mut text = format!(
        "{:14}{:>11}{:>11}{:>10}{:>10}{:>13}{:>11}{:>11}\n",
        "", "sent", "done", "errors", "dropped", "a second", "MB/s in", "MB/s out"
    );
    let row = |name: &str, lane: &LaneRow| {
        format!(
            "{name:14}{:>11}{:>11}{:>10}{:>10}{:>13.1}{:>11.2}{:>11.2}\n",
            shown_count(lane.sent),
            shown_count(lane.done),
            shown_count(lane.error_count()),
            shown_count(lane.dropped),
            lane.rate,
            lane.bytes_received as f64 / run.seconds / 1e6,
            lane.bytes_sent as f64 / run.seconds / 1e6,
        )
    };
    text.push_str(&row("target", &run.target));
    if let Some(baseline) = &run.baseline {
        text.push_str(&row("baseline", baseline));
    }
    text
}

fn times(run: &Run) -> String {
    let mut text = format!("{:24}", "");
    for (name, _) in COLUMNS {
        text.push_str(&format!("{name:>11}"));
    }
    text.push_str(&format!("{:>11}\n", "mean"));
    let mut row = |name: &str, times: &Times| {
        if times.0.is_empty() {
            return;
        }
        let values = COLUMNS.map(|(_, quantile)| times.0.value_at_quantile(quantile) as f64);
        text.push_str(&line(name, values.into_iter().chain([times.0.mean()])));
    };
    let target = &run.target;
    row("response", &target.response);
    row("service", &target.service);
    row("first token", &target.ttft);
    row("between tokens", &target.inter_token);
    for request in &target.requests {
        row(&format!("  {}", request.name), &request.response);
    }
    if let Some(baseline) = &run.baseline {
        row("baseline response", &baseline.response);
        row("baseline first token", &baseline.ttft);
        let values = COLUMNS[..4].iter().filter_map(|(_, quantile)| run.overhead_ns(*quantile));
        let values: Vec<f64> = values.collect();
        if !values.is_empty() {
            text.push_str(&line("overhead", values.into_iter()));
        }
    }
    for stage in &run.stages {
        let most = if stage.is_bound { "≤ " } else { "" };
        let (p50, p99) = (shown_ns(stage.p50_ns), shown_ns(stage.p99_ns));
        let name = format!("stage {}", stage.name);
        text.push_str(&format!(
            "{name:24}{:>11}{:>11}{:>11}\n",
            format!("{most}{p50}"),
            "",
            format!("{most}{p99}")
        ));
    }
    text
}

fn line(name: &str, values: impl Iterator<Item = f64>) -> String {
    let cells: String = values.map(|value| format!("{:>11}", shown_ns(value))).collect();
    format!("{name:24}{cells}\n")
}

fn listed<'a, K: std::fmt::Display + 'a>(
    text: &mut String,
    name: &str,
    counts: impl Iterator<Item = (&'a K, &'a u64)>,
) {
    let counts: Vec<String> = counts.map(|(key, count)| format!("{key} {}", shown_count(*count))).collect();
    if !counts.is_empty() {
        text.push_str(&format!("{name}: {}\n", counts.join(", ")));
    }
}

fn verdicts(run: &Run, text: &mut String) {
    for (name, verdicts) in [("promised", &run.promises), ("expected", &run.expected)] {
        for verdict in verdicts {
            let holds = if verdict.holds { "pass" } else { "FAIL" };
            text.push_str(&format!("{holds}  {name} {}: {}\n", verdict.text, verdict.found));
        }
    }
}
