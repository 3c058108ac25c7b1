//! Runs against servers of all kinds. Nothing here asserts a time: only counts, and which of two is more.

mod server;

use loadtest::report::Run;
use server::{Answer, Server};
use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
        mpsc::channel,
    },
    time::Duration,
};

/// Nothing here takes this long; it bounds tests that hang.
const DEADLINE: Duration = Duration::from_secs(60);

fn loadtest(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command.args(arguments).env_remove("RINGWARD_ADMIN").stdin(Stdio::null());
    command
}

/// What `run` writes, and how it ended.
fn run(arguments: &[&str]) -> (Run, Output) {
    let directory = tempfile::tempdir().expect("a folder");
    let out = directory.path().join("run.json");
    let output = loadtest(&[&["run", "--warmup", "0s", "--ui", "none"], arguments].concat())
        .arg("--out")
        .arg(&out)
        .output()
        .expect("it runs");
    let run = Run::read(&out).unwrap_or_else(|failure| panic!("{failure}: {output:?}"));
    (run, output)
}

/// The same, where nothing may go wrong.
fn good(arguments: &[&str]) -> Run {
    let (run, output) = run(arguments);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!((run.target.error_count(), run.target.done), (0, run.target.sent), "{:?}", run.target.errors);
    assert!(run.target.done > 0);
    run
}

fn code(arguments: &[&str]) -> (i32, String) {
    let output = loadtest(arguments).output().expect("it runs");
    (output.status.code().expect("a code"), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// `loadtest mock` as a process.
struct Mock {
    child: Child,
    url: String,
}

impl Mock {
    fn start(arguments: &[&str]) -> Mock {
        let mut command = loadtest(&[&["mock"], arguments].concat());
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("one line");
        let ready: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        Mock { child, url: ready["url"].as_str().expect("a URL").to_owned() }
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn an_open_load_sends_what_is_due_and_counts_all_of_it() {
    let mock = Mock::start(&[]);
    let url = mock.at("/bytes/1000");
    let run = good(&[&url, "--rate", "300", "--duration", "1s"]);
    let lane = &run.target;
    assert_eq!(lane.sent + lane.dropped, 300);
    assert_eq!((lane.response.0.len(), lane.service.0.len()), (lane.done, lane.done));
    assert_eq!(lane.statuses, [(200, lane.done)].into());
    assert_eq!(lane.decisions, [("allow".to_owned(), lane.done)].into());
    assert!(lane.bytes_received > lane.done * 1_000 && lane.bytes_sent > lane.done * 30);
    assert_eq!(lane.series.iter().map(|point| point.done).sum::<u64>(), lane.done);
    assert!(!run.host.kernel.is_empty() && run.host.cpus > 0);
}

#[test]
fn chunks_large_bodies_and_every_method_are_sent_and_read() {
    let mock = Mock::start(&[]);
    let directory = tempfile::tempdir().expect("a folder");
    let body = directory.path().join("body");
    std::fs::write(&body, "x".repeat(300_000)).expect("a body");
    let (echo, chunked, bytes) = (mock.at("/echo"), mock.at("/chunked/200000"), mock.at("/bytes/100000"));
    let few = ["--rate", "20", "--duration", "500ms", "--connections", "2"];
    let run = good(&[&few[..], &[&echo, "--body", body.to_str().expect("a path")]].concat());
    assert!(run.target.bytes_received > run.target.done * 300_000);
    assert!(run.target.bytes_sent > run.target.done * 300_000);
    let run = good(&[&few[..], &[&chunked]].concat());
    assert!(run.target.bytes_received > run.target.done * 200_000);
    let run = good(&[&few[..], &[&bytes, "--method", "HEAD"]].concat());
    assert!(run.target.bytes_received < run.target.done * 1_000);
    let run = good(&[&few[..], &[&bytes, "--no-keepalive"]].concat());
    assert!(run.target.connections_opened >= run.target.done);
}

/// The server stops once. Ten times more requests have to wait for it than are in flight then, so that only
/// what is measured from the intended send can tell.
#[test]
fn a_stall_is_seen_by_the_response_and_not_by_the_service_time() {
    let mock = Mock::start(&["--stall", "100/800ms"]);
    let run = good(&[&mock.at("/"), "--rate", "200", "--duration", "2s", "--connections", "1"]);
    let late = |times: &loadtest::report::Times| times.0.count_between(200_000_000, u64::MAX);
    let (response, service) = (late(&run.target.response), late(&run.target.service));
    assert!(service >= 1, "one request was in flight");
    assert!(response >= 10 * service, "{response} responses and {service} services were late");
    let p90 = |times: &loadtest::report::Times| times.0.value_at_quantile(0.9);
    assert!(p90(&run.target.response) > p90(&run.target.service));
}

#[test]
fn a_closed_load_keeps_its_connections_busy() {
    let mock = Mock::start(&[]);
    let run = good(&[&mock.at("/"), "--closed", "--concurrency", "5", "--duration", "300ms"]);
    assert_eq!((run.target.connections_opened, run.target.dropped), (5, 0));
    assert_eq!(run.options["closed"], "true");
}

#[test]
fn epoll_does_what_the_ring_does() {
    let mock = Mock::start(&["--tokens", "5"]);
    let directory = tempfile::tempdir().expect("a folder");
    let out = directory.path().join("run.json");
    let url = mock.at("/");
    let arguments = ["run", &url, "--rate", "200", "--duration", "500ms", "--warmup", "0s", "--ui", "none"];
    let output = loadtest(&arguments)
        .args(["--profile", "anthropic-sse", "--out"])
        .arg(&out)
        .env("LOADTEST_DRIVER", "epoll")
        .output()
        .expect("it runs");
    let run = Run::read(&out).unwrap_or_else(|failure| panic!("{failure}: {output:?}"));
    assert_eq!((run.driver.as_str(), run.target.error_count()), ("epoll", 0), "{:?}", run.target.errors);
    assert_eq!(run.target.sent + run.target.dropped, 100);
    assert_eq!(run.target.tokens, 5 * run.target.done);
}

#[test]
fn tokens_of_both_dialects_are_counted_one_by_one() {
    let mock = Mock::start(&["--tokens", "12", "--itl", "1ms"]);
    for profile in ["anthropic-sse", "openai-sse"] {
        let run = good(&[&mock.url, "--profile", profile, "--rate", "20", "--duration", "1s"]);
        let (lane, done) = (&run.target, run.target.done);
        assert_eq!((lane.tokens, lane.ttft.0.len()), (12 * done, done), "{profile}");
        assert_eq!(lane.inter_token.0.len(), 11 * done, "{profile}");
    }
    let run = good(&[&mock.url, "--profile", "anthropic-json", "--rate", "20", "--duration", "500ms"]);
    assert_eq!((run.target.tokens, run.target.ttft.0.len()), (0, 0));
}

#[test]
fn streams_that_are_none_or_end_too_early_are_errors() {
    let mock = Mock::start(&[]);
    let few = ["--rate", "20", "--duration", "300ms", "--connections", "2", "--profile", "anthropic-sse"];
    // Not a stream at all.
    let plain = Server::start(|_| Answer::new(200, "{}"));
    let (run, _) = run(&[&few[..], &[plain.url()]].concat());
    assert_eq!(run.target.errors, [("stream".to_owned(), run.target.sent)].into());
    // A stream without its last event, whose body ends as it should.
    let event = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\"}\n\n";
    let cut = Server::start(move |_| Answer::new(200, event).field("content-type", "text/event-stream"));
    let (run, _) = self::run(&[&few[..], &[cut.url()]].concat());
    assert_eq!(run.target.errors, [("stream".to_owned(), run.target.sent)].into());
    assert_eq!(run.target.tokens, run.target.sent);
    // A connection that ends in the middle of its body.
    let gone = Server::start(|_| Answer::new(200, "short").field("content-length", "500").close());
    let (run, _) = self::run(&["--rate", "20", "--duration", "300ms", gone.url()]);
    assert_eq!(run.target.errors, [("closed".to_owned(), run.target.sent)].into());
    assert_eq!(run.target.done, 0);
    drop(mock);
}

#[test]
fn a_kept_connection_that_was_closed_meanwhile_is_no_error() {
    // It says nothing of closing, and closes.
    let server = Server::start(|_| Answer::new(200, "once").close());
    let run = good(&[server.url(), "--rate", "100", "--duration", "500ms", "--connections", "2"]);
    assert!(run.target.resent > 0 && run.target.resent <= run.target.done);
}

#[test]
fn a_server_that_never_answers_is_counted_and_ends_nothing() {
    let server = Server::start(|_| Answer::never());
    let arguments = [server.url(), "--rate", "40", "--duration", "500ms", "--timeout", "100ms"];
    let (run, output) = run(&arguments);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(run.target.sent + run.target.dropped, 20);
    assert_eq!(run.target.errors, [("timeout".to_owned(), run.target.sent)].into());
}

#[test]
fn what_is_no_http_is_a_protocol_error() {
    let server = Server::start(|_| Answer::raw("SSH-2.0-OpenSSH\r\n\r\n"));
    let (run, _) = run(&[server.url(), "--rate", "20", "--duration", "300ms"]);
    assert_eq!(run.target.errors, [("protocol".to_owned(), run.target.sent)].into());
}

#[test]
fn decisions_are_counted_and_what_is_expected_is_no_error() {
    let count = AtomicU64::new(0);
    let server = Server::start(move |_| match count.fetch_add(1, Ordering::Relaxed) % 4 {
        0 => Answer::new(403, "no").field("x-ringward-decision", "block"),
        _ => Answer::new(200, "yes"),
    });
    let few = [server.url(), "--rate", "40", "--duration", "500ms", "--connections", "1"];
    let (run, output) = run(&[&few[..], &["--expect", "block=25%±15% allow>50% 4xx>0 503=0"]].concat());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!((run.target.decisions["block"], run.target.error_count()), (run.target.done.div_ceil(4), 0));
    let (run, output) = self::run(&[&few[..], &["--expect", "block=1%"]].concat());
    assert_eq!((output.status.code(), run.expected[0].holds), (Some(7), false));
    let (run, _) = self::run(&few);
    assert_eq!(run.target.errors, [("status".to_owned(), run.target.statuses[&403])].into());
}

#[test]
fn promises_and_comparisons_that_fail_end_with_7() {
    let mock = Mock::start(&[]);
    let directory = tempfile::tempdir().expect("a folder");
    let file = |name: &str| directory.path().join(name).display().to_string();
    let (base, new, page, percentiles) = (file("a.json"), file("b.json"), file("a.html"), file("a.hgrm"));
    let arguments =
        ["run", &mock.url, "--rate", "50", "--duration", "300ms", "--warmup", "0s", "--ui", "none"];
    let end = |more: &[&str]| code(&[&arguments[..], more].concat()).0;
    assert_eq!(end(&["--out", &base, "--plot", &page, "--hdr", &percentiles, "--slo", "response<1m"]), 0);
    assert_eq!(end(&["--out", &new, "--slo", "response<1us errors<1%"]), 7);
    let compared = |condition| code(&["compare", &base, &new, "--fail-if", condition]).0;
    assert_eq!(compared("rate<-99% response_p50>+1m"), 0);
    assert_eq!(compared("rate>-99%"), 7);
    assert_eq!(code(&["compare", &base, &page]).0, 2);
    let page = std::fs::read_to_string(&page).expect("a page");
    assert!(page.starts_with("<!doctype html>") && !page.contains("<script") && !page.contains("src="));
    assert!(std::fs::read_to_string(&percentiles).expect("percentiles").contains("#[Mean"));
    let report = loadtest(&["report", &base, "--format", "html"]).output().expect("it runs");
    assert_eq!(String::from_utf8_lossy(&report.stdout), page);
    let text = loadtest(&["report", &base]).output().expect("it runs");
    assert!(String::from_utf8_lossy(&text.stdout).contains("pass  promised response<1m"));
}

#[test]
fn what_is_wrong_is_said_with_its_place_and_nobody_there_is_5() {
    let check = |arguments: &[&str], expected: i32, part: &str| {
        let (found, said) = code(&[&["run"], arguments].concat());
        assert!(found == expected && said.contains(part), "{arguments:?}: {found}, {said}");
    };
    check(&["http://127.0.0.1:1/"], 5, "127.0.0.1:1");
    check(&["http://no.such.name.invalid/"], 5, "no.such.name.invalid");
    check(&["localhost"], 2, "http://");
    check(&["http://x/", "--http", "2"], 2, "1.1");
    check(&["http://x/", "--rate", "0"], 2, "above 0");
    check(&["http://x/", "--rate", "1..2"], 2, "100..5000/60s");
    check(&["http://x/", "--connections", "0"], 2, "--connections");
    check(&["http://x/", "--auth", "token:abc"], 2, "token:@FILE");
    check(&["http://127.0.0.1:1/", "--auth", "oidc:x"], 5, "127.0.0.1:1");
    check(&["http://x/", "--slo", "overhead<1ms"], 2, "--baseline");
    check(&["http://x/", "--slo", "speed<1ms"], 2, "response");
    check(&["http://x/", "--mix", "/no/such/file"], 2, "/no/such/file");
    check(&["http://x/", "--closed", "--rate", "5"], 2, "--rate");
    check(&["http://x/", "--ca", "/no/such/file"], 2, "/no/such/file");
    assert_eq!(code(&["report", "/no/such/file"]).0, 2);
}

#[test]
fn an_interrupt_ends_the_run_and_what_was_measured_is_reported() {
    let (seen, arrived) = channel();
    let seen = Mutex::new(seen);
    let server = Server::start(move |_| {
        let _ = seen.lock().map(|seen| seen.send(()));
        Answer::new(200, "x")
    });
    let arguments = ["run", server.url(), "--rate", "100", "--duration", "2m", "--warmup", "0s", "--json"];
    let mut command = loadtest(&arguments);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    (0..20).for_each(|_| arrived.recv_timeout(DEADLINE).expect("a request"));
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs");
    assert!(kill.success());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let run: Run = serde_json::from_slice(&output.stdout).expect("JSON on standard output");
    assert!(run.is_cut_short && run.target.done >= 20 && run.target.done <= run.target.sent);
    assert_eq!(run.target.errors.get("timeout"), None);
}

#[test]
fn a_baseline_is_loaded_alike_and_gives_the_overhead() {
    let (mock, slower) = (Mock::start(&[]), Mock::start(&["--ttft", "200ms"]));
    let arguments = [&slower.url, "--baseline", &mock.url, "--rate", "50", "--duration", "1s"];
    let run = good(&[&arguments[..], &["--slo", "overhead_p50>10ms"]].concat());
    let baseline = run.baseline.as_ref().expect("a baseline");
    assert_eq!((run.target.sent + run.target.dropped, baseline.sent + baseline.dropped), (50, 50));
    assert!(run.overhead_ns(0.5).is_some_and(|overhead| overhead > 0.0));
    assert!(run.promises[0].holds, "the mock waits 200 ms longer: {:?}", run.promises);
}

#[test]
fn recorded_requests_are_sent_once_at_recorded_times() {
    let (seen, arrived) = channel();
    let seen = Mutex::new(seen);
    let server = Server::start(move |request| {
        let _ = seen.lock().map(|seen| seen.send((request.line.clone(), request.body.clone())));
        Answer::new(200, "x")
    });
    let directory = tempfile::tempdir().expect("a folder");
    let file: PathBuf = directory.path().join("session.jsonl");
    let line = |start_us: u64, target: &str, text: &str| {
        serde_json::json!({
            "started_us": start_us, "method": "POST", "target": target, "headers": [["x-a", "b"]],
            "request": {"bytes": text.len(), "whole": true, "pieces": [{"text": text}]},
        })
    };
    let lines = [line(1_000_000, "/a", "one"), line(1_100_000, "/b", "two"), line(1_050_000, "/c", "three")];
    std::fs::write(&file, lines.map(|line| format!("{line}\n")).concat()).expect("a file");
    let run = good(&[server.url(), "--replay", file.to_str().expect("a path"), "--timing", "recorded"]);
    assert_eq!((run.target.sent, run.target.dropped), (3, 0));
    let requests: Vec<_> = (0..3).map(|_| arrived.recv_timeout(DEADLINE).expect("a request")).collect();
    let expected = [("POST /a HTTP/1.1", "one"), ("POST /c HTTP/1.1", "three"), ("POST /b HTTP/1.1", "two")];
    for (line, body) in expected {
        assert!(requests.iter().any(|(l, b)| l == line && b == body.as_bytes()), "{line} in {requests:?}");
    }
}
