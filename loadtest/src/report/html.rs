//! A run as a page: curves drawn here, no script, nothing from elsewhere.

use super::{LaneRow, Point, Run, Times, text};
use crate::units::shown_ns;

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 280.0;
/// Room for the axes.
const LEFT: f64 = 78.0;
const BOTTOM: f64 = 34.0;
const TOP: f64 = 12.0;
const RIGHT: f64 = 14.0;

const STYLE: &str = "
:root{color-scheme:light dark}
body{font:15px/1.5 system-ui,sans-serif;max-width:900px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.3rem;overflow-wrap:anywhere}h2{font-size:1.05rem;margin-top:2rem}
pre{overflow-x:auto;font:12.5px/1.45 ui-monospace,monospace}
svg{width:100%;height:auto}svg text{font:11px system-ui,sans-serif;fill:currentColor}
.axis{stroke:currentColor;stroke-opacity:.5}.grid{stroke:currentColor;stroke-opacity:.13}
path{fill:none;stroke-width:1.8;stroke-linejoin:round}
.c0{stroke:#2563eb}.c1{stroke:#ea580c}.c2{stroke:#16a34a}.c3{stroke:#9333ea}.c4{stroke:#64748b}
.k0{color:#2563eb}.k1{color:#ea580c}.k2{color:#16a34a}.k3{color:#9333ea}.k4{color:#64748b}
.key{margin-right:1.2rem}";

/// One curve: its name and its points.
struct Curve {
    name: &'static str,
    points: Vec<(f64, f64)>,
}

/// A row of a chart over time: its name, the seconds, and what of each is drawn.
type Row<'a> = (&'static str, &'a [Point], fn(&Point) -> f64);

/// Where a value lies, from 0 to 1.
type Scale = fn(f64, f64) -> f64;

struct Axis {
    most: f64,
    scale: Scale,
    /// Values that get a line, and what is written there.
    ticks: Vec<(f64, String)>,
}

/// The page.
pub fn page(run: &Run) -> String {
    let mut body = format!("<h1>{}</h1>\n<pre>{}</pre>\n", escaped(&run.target.url), escaped(&text(run)));
    body.push_str("<h2>Percentiles</h2>\n");
    body.push_str(&spectrum(run));
    let series = &run.target.series;
    if series.len() > 1 {
        body.push_str("<h2>Rate: answers a second</h2>\n");
        body.push_str(&over_time(&[
            ("sent", series, |point| point.sent as f64),
            ("done", series, |point| point.done as f64),
        ]));
        body.push_str("<h2>Response, second by second</h2>\n");
        body.push_str(&latency(&run.target, run.baseline.as_ref()));
        body.push_str("<h2>Errors a second</h2>\n");
        body.push_str(&over_time(&[("errors", series, |point| point.errors as f64)]));
    }
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width\">\n<meta http-equiv=\"Content-Security-Policy\" content=\"default-src \
         'none'; style-src 'unsafe-inline'\">\n<title>Load test</title>\n<style>{STYLE}</style>\n<body>\n\
         {body}</body>\n</html>\n"
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn linear(value: f64, most: f64) -> f64 {
    value / most
}

/// Nines: 0 % lies at 0, and each further nine as far from the last.
fn nines(value: f64, most: f64) -> f64 {
    value.log10() / most.log10()
}

/// Percentiles of all times, so that the tail has as much room as the rest.
fn spectrum(run: &Run) -> String {
    let rows: [(&'static str, Option<&Times>); 5] = [
        ("response", Some(&run.target.response)),
        ("service", Some(&run.target.service)),
        ("first token", Some(&run.target.ttft)),
        ("between tokens", Some(&run.target.inter_token)),
        ("baseline response", run.baseline.as_ref().map(|lane| &lane.response)),
    ];
    let measured = rows.iter().filter_map(|(name, times)| Some((*name, (*times)?)));
    let measured: Vec<_> = measured.filter(|(_, times)| !times.0.is_empty()).collect();
    let count = measured.iter().map(|(_, times)| times.0.len()).max().unwrap_or(1);
    // Beyond one in all of them there is nothing to see.
    let most = (count as f64).clamp(10.0, 1e7);
    let curve = |(name, times): &(&'static str, &Times)| {
        let steps = 240;
        let points = (0..=steps).map(|step| {
            let inverse = most.powf(f64::from(step) / f64::from(steps));
            (inverse, times.0.value_at_quantile(1.0 - 1.0 / inverse) as f64)
        });
        Curve { name, points: points.collect() }
    };
    let curves: Vec<Curve> = measured.iter().map(curve).collect();
    let labels = [(1.0, "0%"), (2.0, "50%"), (10.0, "90%"), (100.0, "99%"), (1e3, "99.9%"), (1e4, "99.99%")];
    let labels = labels.into_iter().chain([(1e5, "99.999%"), (1e6, "99.9999%")]);
    let ticks = labels.filter(|(at, _)| *at <= most).map(|(at, label)| (at, label.to_owned())).collect();
    chart(&curves, &Axis { most, scale: nines, ticks }, &time_axis(&curves))
}

fn latency(target: &LaneRow, baseline: Option<&LaneRow>) -> String {
    let points = |lane: &LaneRow, value: fn(&Point) -> u64| {
        lane.series.iter().map(|point| (point.second as f64, value(point) as f64)).collect()
    };
    let mut curves = vec![
        Curve { name: "p50", points: points(target, |point| point.p50_ns) },
        Curve { name: "p99", points: points(target, |point| point.p99_ns) },
        Curve { name: "max", points: points(target, |point| point.max_ns) },
    ];
    if let Some(lane) = baseline {
        curves.push(Curve { name: "baseline p99", points: points(lane, |point| point.p99_ns) });
    }
    let vertical = time_axis(&curves);
    chart(&curves, &seconds_axis(&curves), &vertical)
}

fn over_time(rows: &[Row<'_>]) -> String {
    let curve = |(name, points, value): &Row<'_>| Curve {
        name,
        points: points.iter().map(|point| (point.second as f64, value(point))).collect(),
    };
    let curves: Vec<Curve> = rows.iter().map(curve).collect();
    let most = highest(&curves).max(1.0) * 1.08;
    let ticks = steps(most).map(|value| (value, format!("{value:.0}"))).collect();
    chart(&curves, &seconds_axis(&curves), &Axis { most, scale: linear, ticks })
}

fn highest(curves: &[Curve]) -> f64 {
    curves.iter().flat_map(|curve| &curve.points).map(|(_, y)| *y).fold(0.0, f64::max)
}

fn time_axis(curves: &[Curve]) -> Axis {
    let most = highest(curves).max(1_000.0) * 1.08;
    Axis { most, scale: linear, ticks: steps(most).map(time_label).collect() }
}

fn time_label(value: f64) -> (f64, String) {
    (value, if value == 0.0 { "0".to_owned() } else { shown_ns(value) })
}

fn seconds_axis(curves: &[Curve]) -> Axis {
    let last = curves.iter().flat_map(|curve| &curve.points).map(|(x, _)| *x).fold(1.0, f64::max);
    Axis {
        most: last,
        scale: linear,
        ticks: steps(last).map(|value| (value, format!("{value:.0} s"))).collect(),
    }
}

/// Round values from 0 on, six at most.
fn steps(most: f64) -> impl Iterator<Item = f64> {
    let rough = most / 5.0;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|one| one * power).find(|step| *step >= rough);
    let step = step.unwrap_or(power);
    (0..=6).map(move |count| f64::from(count) * step).take_while(move |value| *value <= most)
}

fn chart(curves: &[Curve], horizontal: &Axis, vertical: &Axis) -> String {
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    let x = |value: f64| LEFT + (horizontal.scale)(value, horizontal.most) * (right - LEFT);
    let y = |value: f64| bottom - (vertical.scale)(value, vertical.most) * (bottom - TOP);
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">\n");
    for (value, label) in &vertical.ticks {
        let at = y(*value);
        svg.push_str(&format!(
            "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{right}\" y2=\"{at:.1}\"/>"
        ));
        let (left, at) = (LEFT - 6.0, at + 4.0);
        svg.push_str(&format!("<text x=\"{left}\" y=\"{at:.1}\" text-anchor=\"end\">{label}</text>\n"));
    }
    for (value, label) in &horizontal.ticks {
        let at = x(*value);
        svg.push_str(&format!(
            "<line class=\"grid\" x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{bottom}\"/>"
        ));
        let below = bottom + 18.0;
        svg.push_str(&format!("<text x=\"{at:.1}\" y=\"{below}\" text-anchor=\"middle\">{label}</text>\n"));
    }
    svg.push_str(&format!("<path class=\"axis\" d=\"M{LEFT} {TOP}V{bottom}H{right}\"/>\n"));
    for (index, curve) in curves.iter().enumerate() {
        let place = |(number, (px, py)): (usize, &(f64, f64))| {
            format!("{}{:.1} {:.1}", if number == 0 { 'M' } else { 'L' }, x(*px), y(*py))
        };
        let path: String = curve.points.iter().enumerate().map(place).collect();
        svg.push_str(&format!("<path class=\"c{index}\" d=\"{path}\"/>\n"));
    }
    svg.push_str("</svg>\n<p>");
    for (index, curve) in curves.iter().enumerate() {
        svg.push_str(&format!("<span class=\"key k{index}\">■ {}</span>", curve.name));
    }
    svg.push_str("</p>\n");
    svg
}
