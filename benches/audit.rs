//! Verification against plain SHA-256 of the same bytes: `cargo bench --bench audit`. Run as a test each case
//! is done once, on little.
//!
//! The logs are written by the journal itself. The ratio says what everything else costs beside the hash: the
//! chain, the tree, the order, and what the records say.

use aws_lc_rs::digest::{Context, SHA256};
use ringward::{
    archive::{Archive, Span},
    audit::{
        Action, Cause, Commit, Content, Decision, Direction, ExchangeId, Head, Intent, IntentBody, Lengths,
        Outcome, Place, Record, Stages,
    },
    buffer::Chunk,
    http::Method,
    journal::{Ack, AckSink, Journal, Options, Packing, Producer, Submission, verify_dir},
    segments::{Form, Keys, list},
    time::Timestamp,
};
use std::{
    io::Read,
    path::Path,
    time::{Duration, Instant},
};

const ROUNDS: usize = 5;

struct Nobody;

impl AckSink for Nobody {
    fn deliver(&mut self, _: usize, acks: &mut Vec<Ack>) {
        acks.clear();
    }
}

fn main() {
    let measured = std::env::args().any(|argument| argument == "--bench");
    println!(
        "{:<26} {:>8} {:>9} {:>13} {:>13} {:>7}",
        "log", "MB", "records", "SHA-256 MB/s", "verify MB/s", "ratio"
    );
    for (name, body, bytes) in [
        ("bodies of 64 KiB", 64 << 10, 256 << 20),
        ("bodies of 4 KiB", 4 << 10, 128 << 20),
        ("no bodies", 0, 64 << 20),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        write_log(folder.path(), body, if measured { bytes } else { bytes / 256 });
        report(name, &folder.path().join("audit"), if measured { ROUNDS } else { 1 });
    }
    println!("\n{:<28} {:>9} {:>9} {:>9}", "bytes an exchange", "JSONL", "log", "packed");
    for (body, exchanges) in [(0, 5_000), (1 << 10, 5_000), (16 << 10, 1_000)] {
        disk(body, if measured { exchanges } else { 20 });
    }
}

/// What an exchange with text bodies takes on the disk: as a line of an export, as it is written, and when it
/// is packed.
fn disk(body: usize, exchanges: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("audit");
    let mut words = Words(1);
    write_exchanges(folder.path(), exchanges, body, || words.text(body));
    let raw = verify_dir(&log, |_, _| {}).expect("a good log").bytes;
    let lines = exported(&log);
    let mut options = Options::new(&log, folder.path().join("openings"));
    options.key = Some(folder.path().join("keys/log.key"));
    options.packing = Packing { compress: true, recipients: Vec::new() };
    let (journal, _) = Journal::open(options, 1, Box::new(Nobody)).expect("a journal");
    let sealed = || list(&log).expect("a log").0.into_iter().rev().skip(1).collect::<Vec<_>>();
    // Nothing tells when the idle thread has packed the last one.
    while sealed().iter().any(|segment| segment.form != Form::Packed) {
        std::thread::sleep(Duration::from_millis(10));
    }
    let packed: u64 = sealed().iter().map(|segment| segment.bytes).sum();
    journal.close().expect("all is written");
    let each = |bytes: u64| bytes as f64 / exchanges as f64;
    let name = format!("text of {body} bytes each way");
    println!("{name:<28} {:>9.0} {:>9.0} {:>9.0}", each(lines), each(raw), each(packed));
}

/// Bytes of all exchanges as lines of an export.
fn exported(log: &Path) -> u64 {
    let archive = Archive::open(log).expect("an index");
    archive.catch_up(0).expect("the log is indexed");
    let (mut lines, mut span) = (0, Span { limit: Some(500), ..Span::default() });
    loop {
        let page = archive.exchanges(&span).expect("the exchanges");
        for exchange in &page {
            let recording = archive.recording(exchange).expect("what was recorded");
            lines += serde_json::to_string(&recording).expect("it is text").len() as u64 + 1;
        }
        let Some(last) = page.last() else { return lines };
        span.after = Some(last.sequence);
    }
}

/// Text of words that repeat as words do: few are frequent, many are rare.
struct Words(u64);

impl Words {
    fn text(&mut self, len: usize) -> Chunk {
        let mut text = String::new();
        while text.len() < len {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let word = (self.0 >> 33) as usize;
            text.push_str(&format!("w{} ", word % (1 << (word % 13))));
        }
        text.truncate(len);
        Chunk::from(text.into_bytes())
    }
}

fn report(name: &str, log: &Path, rounds: usize) {
    let segments = list(log).expect("a log").0;
    let hash = || {
        for segment in &segments {
            let mut file = segment.open(&Keys::default()).expect("a segment");
            let mut context = Context::new(&SHA256);
            let mut piece = vec![0; 256 << 10];
            while let Ok(read @ 1..) = file.read(&mut piece) {
                context.update(&piece[..read]);
            }
            std::hint::black_box(context.finish());
        }
    };
    let mut found = None;
    let verify = || found = Some(verify_dir(log, |_, _| {}).expect("a good log"));
    let (hashing, verifying) = (best(rounds, hash), best(rounds, verify));
    let found = found.expect("it was verified");
    let rate = |time: Duration| found.bytes as f64 / 1e6 / time.as_secs_f64();
    println!(
        "{name:<26} {:>8.0} {:>9} {:>13.0} {:>13.0} {:>7.2}",
        found.bytes as f64 / 1e6,
        found.records,
        rate(hashing),
        rate(verifying),
        rate(verifying) / rate(hashing)
    );
}

fn best(rounds: usize, mut run: impl FnMut()) -> Duration {
    let time = |_| {
        let started = Instant::now();
        run();
        started.elapsed()
    };
    (0..rounds).map(time).min().unwrap_or_default()
}

/// Exchanges with a body each way, until so many bytes are written.
fn write_log(folder: &Path, body: usize, bytes: usize) {
    let content = Chunk::from((0..body).map(|at| (at * 31 / 7) as u8).collect::<Vec<u8>>());
    write_exchanges(folder, bytes / (2 * body + 800), body, || content.clone());
}

/// So many exchanges, each body as `content` gives it.
fn write_exchanges(folder: &Path, exchanges: usize, body: usize, mut content: impl FnMut() -> Chunk) {
    let mut options = Options::new(folder.join("audit"), folder.join("openings"));
    options.key = Some(folder.join("keys/log.key"));
    let (journal, mut producers) = Journal::open(options, 1, Box::new(Nobody)).expect("a journal");
    let producer = &mut producers[0];
    for number in 0..exchanges {
        let id = ExchangeId::new(Timestamp(1 + number as u64), [number as u8; 10]);
        submit(producer, Record::Intent(Box::new(intent(id))));
        for direction in [Direction::Request, Direction::Response].into_iter().filter(|_| body > 0) {
            submit(producer, Record::Content(Box::new(part(id, direction, content()))));
        }
        submit(producer, Record::Outcome(Box::new(outcome(id, body as u64))));
    }
    journal.close().expect("all is written");
}

fn submit(producer: &mut Producer, record: Record) {
    let mut submission = Submission { share: 0, ticket: 0, commit: Commit::Written, record };
    while producer.inflight_bytes() > 16 << 20 {
        std::thread::yield_now();
    }
    while let Err(full) = producer.submit(submission) {
        std::thread::yield_now();
        submission = full.0;
    }
}

fn intent(id: ExchangeId) -> Intent {
    let mut head = Head { listener: "agents".into(), method: Some(Method::Post), ..Head::default() };
    head.target = "/v1/messages?beta=true".into();
    head.headers.append("user-agent", b"claude-cli/2.1 (external, cli)");
    head.headers.append("accept", b"application/json");
    head.headers.append("content-type", b"application/json");
    head.headers.append("anthropic-version", b"2023-06-01");
    Intent {
        id,
        at: Timestamp(1_795_257_000_000_000),
        generation: 1,
        session: "0191d3b2-7c5e-7c1a-9f3e-5a0b7d2c4e6f".into(),
        subject: None,
        head,
        decision: Decision { action: Action::Allow, policy: Some("default".into()), ..Decision::default() },
        secrets: vec!["anthropic".into()],
        body: IntentBody::Streamed,
    }
}

fn part(id: ExchangeId, direction: Direction, bytes: Chunk) -> Content {
    let (offset, elapsed_us, upstream, edits, leaves) = Default::default();
    Content { id, direction, offset, elapsed_us, bytes: bytes.into(), upstream, edits, keep: true, leaves }
}

fn outcome(id: ExchangeId, bytes: u64) -> Outcome {
    let both = Lengths { received: bytes, sent: bytes };
    Outcome {
        status: Some(200),
        cause: Cause::Complete,
        place: Place::End,
        request: both,
        response: both,
        stages: Stages { head_us: 40, connect_us: 12, total_us: 900, ..Stages::default() },
        ..Outcome::lost(id, Timestamp(1_795_257_000_900_000))
    }
}
