//! What recording costs: `cargo bench --bench journal [FILTER]`. Run as a test each case is done briefly.
//!
//! One line a case: CPU of the whole process a record that is counted, and how long its acknowledgement took.
//! The log is written into the folder for temporary files (`TMPDIR`), so that is the disk that is measured.

use crossbeam::queue::ArrayQueue;
use ringward::{
    audit::{Cause, Commit, Content, Direction, ExchangeId, Head, Intent, Outcome, Record},
    buffer::{Chunk, Segments},
    journal::{Ack, AckSink, Journal, Options, Producer, Submission},
    time::Timestamp,
};
use std::{
    fs,
    sync::Arc,
    thread::{self, Thread},
    time::{Duration, Instant},
};

/// One way to use the journal.
struct Case {
    name: &'static str,
    commit: Commit,
    /// Exchanges that wait for their INTENT at once.
    in_flight: usize,
    /// Body bytes and number of the CONTENT records behind each INTENT; nobody waits for them.
    content: (usize, usize),
    /// Exchanges a second; 0: as many as go.
    rate: u32,
}

const CASES: &[Case] = &[
    Case { name: "written, 100/s", commit: Commit::Written, in_flight: 1, content: (0, 0), rate: 100 },
    Case { name: "written, 1,000/s", commit: Commit::Written, in_flight: 1, content: (0, 0), rate: 1_000 },
    Case { name: "written, one by one", commit: Commit::Written, in_flight: 1, content: (0, 0), rate: 0 },
    Case { name: "written, 64 in flight", commit: Commit::Written, in_flight: 64, content: (0, 0), rate: 0 },
    Case { name: "durable, 100/s", commit: Commit::Durable, in_flight: 1, content: (0, 0), rate: 100 },
    Case { name: "written, 5,000/s", commit: Commit::Written, in_flight: 64, content: (0, 0), rate: 5_000 },
    Case { name: "durable, 1,000/s", commit: Commit::Durable, in_flight: 64, content: (0, 0), rate: 1_000 },
    Case { name: "durable, 5,000/s", commit: Commit::Durable, in_flight: 64, content: (0, 0), rate: 5_000 },
    Case { name: "durable, one by one", commit: Commit::Durable, in_flight: 1, content: (0, 0), rate: 0 },
    Case { name: "durable, 64 in flight", commit: Commit::Durable, in_flight: 64, content: (0, 0), rate: 0 },
    Case {
        name: "64 KiB, 1,000/s",
        commit: Commit::Written,
        in_flight: 1,
        content: (65_536, 1),
        rate: 1_000,
    },
    Case { name: "200 B, 3,200/s", commit: Commit::Written, in_flight: 1, content: (200, 100), rate: 32 },
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let measured = arguments.iter().any(|argument| argument == "--bench");
    let filter = arguments.iter().find(|argument| !argument.starts_with('-')).cloned().unwrap_or_default();
    let time = Duration::from_millis(if measured { 2_500 } else { 40 });
    println!("{:<24} {:>9} {:>9} {:>9} {:>9}", "case", "records/s", "CPU, us", "p50, us", "p99, us");
    for case in CASES.iter().filter(|case| case.name.contains(&filter)) {
        run(case, time);
    }
}

/// Acknowledgements on their way to the thread that waits for them.
struct Acks(Arc<ArrayQueue<(u64, Instant)>>, Thread);

impl AckSink for Acks {
    fn deliver(&mut self, _: usize, acks: &mut Vec<Ack>) {
        let now = Instant::now();
        for ack in acks.drain(..) {
            ack.result.expect("a disk with room");
            self.0.push((ack.ticket, now)).expect("room for what is in flight");
        }
        self.1.unpark();
    }
}

fn run(case: &Case, time: Duration) {
    let root = std::env::temp_dir().join(format!("ringward-bench-{}", std::process::id()));
    let acks = Arc::new(ArrayQueue::new(1_024));
    let options = Options::new(root.join("audit"), root.join("openings"));
    let sink = Box::new(Acks(Arc::clone(&acks), thread::current()));
    let (journal, mut producers) = Journal::open(options, 1, sink).expect("a journal");
    let (producer, body) = (&mut producers[0], Chunk::from(vec![b'x'; case.content.0]));
    let (start, cpu) = (Instant::now(), cpu_ns());
    let (mut latencies, mut open, mut number) = (Vec::new(), Vec::<(u64, Instant)>::new(), 0);
    while start.elapsed() < time || !open.is_empty() {
        let due = if case.rate == 0 { start } else { start + Duration::from_secs(1) / case.rate * number };
        let is_due = start.elapsed() < time && open.len() < case.in_flight;
        if is_due && Instant::now() >= due {
            number += 1;
            open.push((number.into(), Instant::now()));
            submit(producer, number.into(), case.commit, intent(number));
        } else if open.is_empty() {
            thread::sleep(due.saturating_duration_since(Instant::now()));
        } else {
            // The next one may be due before an acknowledgement comes.
            let pause =
                if is_due { due.saturating_duration_since(Instant::now()) } else { Duration::from_secs(1) };
            thread::park_timeout(pause);
        }
        while let Some((ticket, at)) = acks.pop() {
            let index = open.iter().position(|(open, _)| *open == ticket).expect("a ticket in flight");
            latencies.push(at - open.swap_remove(index).1);
            for _ in 0..case.content.1 {
                submit(producer, 0, Commit::Written, content(ticket as u32, &body));
            }
            submit(producer, 0, Commit::Written, outcome(ticket as u32));
        }
    }
    let (cpu, counted) = (cpu_ns() - cpu, number as usize * case.content.1.max(1));
    let per_second = counted as f64 / start.elapsed().as_secs_f64();
    journal.close().expect("a disk with room");
    fs::remove_dir_all(&root).expect("the folder of this run");
    latencies.sort();
    let at = |part: usize| latencies[(latencies.len() - 1) * part / 100].as_nanos() as f64 / 1e3;
    let each = cpu as f64 / 1e3 / counted as f64;
    println!("{:<24} {per_second:>9.0} {each:>9.1} {:>9.1} {:>9.1}", case.name, at(50), at(99));
}

/// CPU time of all threads, those that ended left out, in nanoseconds.
fn cpu_ns() -> u64 {
    let tasks = fs::read_dir("/proc/self/task").expect("procfs");
    let spent = |path: std::path::PathBuf| {
        let text = fs::read_to_string(path.join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    };
    tasks.flatten().filter_map(|task| spent(task.path())).sum()
}

fn submit(producer: &mut Producer, ticket: u64, commit: Commit, record: Record) {
    let mut submission = Submission { share: 0, ticket, commit, record };
    while let Err(full) = producer.submit(submission) {
        submission = full.0;
        thread::yield_now();
    }
}

fn id(number: u32) -> ExchangeId {
    let mut random = [0; 10];
    random[..4].copy_from_slice(&number.to_le_bytes());
    ExchangeId::new(Timestamp(1_795_257_000_000_000), random)
}

fn intent(number: u32) -> Record {
    let head = Head { authority: "api.example".into(), target: "/v1/messages".into(), ..Head::default() };
    Record::Intent(Box::new(Intent {
        id: id(number),
        at: Timestamp(1_795_257_000_000_000),
        generation: 1,
        session: "session".into(),
        subject: None,
        head,
        decision: Default::default(),
        secrets: Vec::new(),
        body: Default::default(),
    }))
}

fn content(number: u32, body: &Chunk) -> Record {
    Record::Content(Box::new(Content {
        id: id(number),
        direction: Direction::Response,
        offset: 0,
        elapsed_us: 1,
        bytes: Segments::from(body.clone()),
        upstream: None,
        edits: Vec::new(),
        keep: true,
        leaves: None,
    }))
}

fn outcome(number: u32) -> Record {
    let mut outcome = Outcome::lost(id(number), Timestamp(1_795_257_000_000_001));
    outcome.cause = Cause::Complete;
    Record::Outcome(Box::new(outcome))
}
