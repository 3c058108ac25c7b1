use super::*;
use crate::tally::{Answered, Interval};

/// A run of a thousand answers, from one to a thousand milliseconds, each `added_ms` later than those of
/// the baseline.
pub fn sample(added_ms: u64) -> Run {
    let lane = |added_ms: u64| {
        let (mut tally, mut collector) = (Tally::new(&[]), Collector::default());
        for ms in 1..=1_000u64 {
            let response_ns = (ms + added_ms) * 1_000_000;
            tally.answer(0, Answered { response_ns, service_ns: response_ns / 2 });
            let mut interval = Interval::new(ms / 100);
            (interval.sent, interval.done) = (1, 1);
            interval.response.saturating_record(response_ns);
            collector.add(interval);
        }
        (tally.sent, tally.done) = (1_001, 1_000);
        tally.error(0, Kind::Timeout);
        tally.statuses.insert(200, 1_000);
        LaneRow::new("http://127.0.0.1:1/<a>?x&y", &tally, 10.0, collector.finish())
    };
    Run {
        format: FORMAT.to_owned(),
        version: "0".to_owned(),
        started: 1,
        options: BTreeMap::from([("rate".to_owned(), "100".to_owned())]),
        host: Host::default(),
        driver: "io_uring".to_owned(),
        seconds: 10.0,
        warmup_seconds: 0.0,
        is_cut_short: false,
        target: lane(added_ms),
        baseline: Some(lane(0)),
        stages: vec![],
        expected: vec![],
        promises: vec![],
        notes: vec![],
    }
}

#[test]
fn a_run_comes_back_from_its_file_with_all_its_histograms() {
    let run = sample(5);
    let text = serde_json::to_string(&run).expect("it serialises");
    assert!(text.contains("\"hdr\":\"HISTFAAA"), "the usual beginning of such histograms");
    let directory = tempfile::tempdir().expect("a folder");
    let path = directory.path().join("run.json");
    write(&path, &text).expect("written");
    assert_eq!(Run::read(&path).expect("read"), run);
    write(&path, &text.replace(FORMAT, "other")).expect("written again");
    let refused = Run::read(&path).expect_err("another format");
    assert!(refused.code == 2 && refused.message.contains("other"), "{refused}");
    write(&path, "{}").expect("written again");
    assert!(Run::read(&path).is_err_and(|failure| failure.code == 2));
    assert_eq!(
        std::fs::read_dir(directory.path()).expect("a folder").count(),
        1,
        "nothing is left beside it"
    );
}

#[test]
fn promises_are_judged_by_what_was_measured() {
    let run = sample(5);
    let check = |text: &str, holds: bool| {
        let verdicts = text.parse::<crate::slo::Objectives>().expect(text).judge(&run);
        assert!(
            !verdicts.is_empty() && verdicts.iter().all(|verdict| verdict.holds == holds),
            "{verdicts:?}"
        );
    };
    check("response<1s rate>99 errors<0.2% service_p50<260ms overhead_p50<6ms overhead_p99>4ms", true);
    check("response_max<1s rate>101 errors<0.05% overhead_p50<4ms ttft<10s", false);
}

#[test]
fn the_page_needs_nothing_and_takes_no_markup_from_the_run() {
    let page = page(&sample(5));
    for outside in ["<script", "http://www", "https://", "src=", "href=", "@import", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(page.contains("default-src 'none'"));
    assert!(page.contains("/&lt;a&gt;?x&amp;y") && !page.contains("<a>"));
    assert_eq!(page.matches("<svg").count(), 4);
    assert!(page.contains("99.9%") && !page.contains("NaN") && !page.contains("inf"));
}

#[test]
fn an_empty_run_is_shown_all_the_same() {
    let mut run = sample(0);
    run.target = LaneRow::new("http://x/", &Tally::new(&[]), 1.0, vec![]);
    run.baseline = None;
    let page = page(&run);
    assert!(!page.contains("NaN"), "{page}");
    assert!(text(&run).contains("target"));
    assert!(hgrm(&run.target.response).contains("Total count"));
}

#[test]
fn text_says_counts_times_and_what_was_missed() {
    let mut run = sample(5);
    run.promises = "response<1ms".parse::<crate::slo::Objectives>().expect("a promise").judge(&run);
    let text = text(&run);
    for part in ["1,001", "1,000", "errors: timeout 1", "overhead", "4.98 ms", "FAIL  promised response<1ms"]
    {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    let hgrm = hgrm(&run.target.response);
    assert!(hgrm.lines().count() > 20 && hgrm.contains("1.000000000000"), "{hgrm}");
}
