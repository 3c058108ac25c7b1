//! Throughput of inspection on generated bodies: `cargo bench --bench inspect [FILTER]`. Run as a test each
//! case is done once, on little.
//!
//! One line a case: MB/s (the best of several rounds, 64 KiB chunks), matches, and how many of the bytes left
//! as slices of the chunks they came in. The ratio of two lines says more than one line: `memchr` shows what
//! this machine can do.

#[path = "labelled/random.rs"]
#[allow(dead_code, reason = "the labelled corpus needs more of it")]
mod random;

use random::Random;
use ringward::buffer::{Chunk, Segments, Tally};
use ringward::inspect::dialect::{ANTHROPIC, GENERIC};
use ringward::inspect::{Context, Direction, Inspector, Kind, MaskSet, Replacement, Rule};
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

const CHUNK_BYTES: usize = 64 * 1024;
const CORPUS_BYTES: usize = 8 << 20;
const ROUNDS: usize = 7;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let measured = arguments.iter().any(|argument| argument == "--bench");
    let filter = arguments.iter().find(|argument| !argument.starts_with('-')).cloned().unwrap_or_default();
    let bytes = if measured { CORPUS_BYTES } else { CORPUS_BYTES / 64 };
    let words = ["Project Falcon", "Bluebird", "Casper Wexford"].map(str::to_owned).to_vec();
    let sets = [
        ("three kinds", set(some_kinds(words.clone()))),
        ("all kinds", set(all_kinds(words.clone()))),
        ("all + 5,000 names", set(all_kinds(names(5_000)))),
        ("keys and expressions", set(members())),
    ];
    println!("{:<28} {:>9} {:>9} {:>14}", "body, rules", "MB/s", "matches", "by reference");
    for corpus in corpora(bytes) {
        for (name, set) in &sets {
            let title = format!("{}, {name}", corpus.name);
            if title.contains(&filter) {
                report(&title, &corpus, set, if measured { ROUNDS } else { 1 });
            }
        }
        if corpus.name.contains(&filter) && measured {
            let time = best(ROUNDS, || memchr::memchr(0xff, black_box(&corpus.body)));
            println!("{:<28} {:>9.0}", format!("{}, memchr", corpus.name), rate(&corpus.body, time));
        }
    }
}

fn report(title: &str, corpus: &Corpus, set: &Arc<MaskSet>, rounds: usize) {
    let body = Chunk::from(corpus.body.clone());
    let chunks: Vec<Chunk> = (0..body.len())
        .step_by(CHUNK_BYTES)
        .map(|start| body.slice(start..body.len().min(start + CHUNK_BYTES)))
        .collect();
    let (mut matches, mut by_reference) = (0, 0);
    let time = best(rounds, || {
        let mut inspector = Inspector::new(set.clone(), Direction::Response, corpus.context);
        let (mut out, mut edits, mut tally) = (Segments::new(), Vec::new(), Tally::default());
        by_reference = 0;
        for chunk in &chunks {
            inspector
                .push(chunk.clone(), &mut out, &mut edits, &mut tally)
                .expect("a body that can be masked");
            by_reference +=
                out.drain().map(|one| if is_slice(&one, &body) { one.len() } else { 0 }).sum::<usize>();
        }
        inspector.finish(&mut out, &mut edits, &mut tally).expect("a body that can be masked");
        matches = inspector.hits().map(|(_, count)| count).sum::<u64>();
        black_box(&out);
    });
    let part = 100.0 * by_reference as f64 / body.len() as f64;
    println!("{title:<28} {:>9.0} {matches:>9} {part:>13.2}%", rate(&corpus.body, time));
    if corpus.events > 0 {
        let each = time.as_nanos() as f64 / corpus.events as f64;
        println!("{:<28} {each:>9.0} ns an event", "");
    }
}

fn is_slice(slice: &Chunk, of: &Chunk) -> bool {
    of.as_ptr_range().contains(&slice.as_ptr())
}

fn best<T>(rounds: usize, mut run: impl FnMut() -> T) -> Duration {
    let mut best = Duration::MAX;
    for _ in 0..rounds {
        let start = Instant::now();
        black_box(run());
        best = best.min(start.elapsed());
    }
    best
}

fn rate(body: &[u8], time: Duration) -> f64 {
    body.len() as f64 / 1e6 / time.as_secs_f64()
}

fn rule(name: &str, kind: Kind, template: &str) -> Rule {
    let replace = Replacement::parse(template).expect("a good template");
    Rule { name: name.into(), kind, replace, direction: Direction::Both, dry_run: false }
}

fn some_kinds(words: Vec<String>) -> Vec<Rule> {
    vec![
        rule("cards", Kind::CreditCard, "[card …{last4}]"),
        rule("emails", Kind::Email, "[email]"),
        rule("words", Kind::Literals(words), "[{name}]"),
    ]
}

fn all_kinds(words: Vec<String>) -> Vec<Rule> {
    let mut rules = some_kinds(words);
    let others = Kind::BUILT_IN.into_iter().filter(|kind| !matches!(kind, Kind::CreditCard | Kind::Email));
    rules.extend(others.map(|kind| rule(kind.name(), kind.clone(), "[{name}]")));
    rules
}

/// Members by key, a tenth of all of them, and an expression.
fn members() -> Vec<Rule> {
    let keys = ["name", "ssn", "phone"].map(str::to_owned).to_vec();
    vec![
        rule("members", Kind::Key(keys), "[{name}]"),
        rule("employees", Kind::Regex(r"EMP-\d{6}\b".to_owned()), "[{name}]"),
    ]
}

fn set(rules: Vec<Rule>) -> Arc<MaskSet> {
    Arc::new(MaskSet::compile(rules).expect("good rules"))
}

struct Corpus {
    name: &'static str,
    context: Context,
    body: Vec<u8>,
    events: usize,
}

fn corpora(bytes: usize) -> Vec<Corpus> {
    let corpus = |name, context, body| Corpus { name, context, body, events: 0 };
    let sse = events(bytes);
    let deltas = memchr::memmem::find_iter(&sse, b"\n\n").count();
    vec![
        corpus("json", Context::Json, json(bytes)),
        corpus("chat json", Context::Json, chat_json(bytes)),
        corpus("text", Context::Text, text(bytes)),
        Corpus { events: deltas, ..corpus("sse deltas", Context::Sse(&ANTHROPIC), sse) },
        corpus("sse lines", Context::Sse(&GENERIC), events(bytes)),
        corpus("digits", Context::Text, runs(bytes, b"0123456789", 3..40, b" ,-.")),
        corpus("digit groups", Context::Text, runs(bytes, b"4111", 4..5, b" ")),
        corpus("at signs", Context::Text, runs(bytes, b"abcdefghij", 1..6, b"@")),
        corpus("keys", Context::Text, repeated(bytes, "sk-ant-a-eyJ-ghp_sk-AKIA-")),
        corpus("colons", Context::Text, runs(bytes, b"0123456789abcdef", 1..4, b":")),
        corpus("key words", Context::Text, repeated(bytes, "password=\"aaaaaaaaaaaaaaaa\" token: bearer ")),
        corpus("base64", Context::Text, runs(bytes, b"ABCDEFGabcdefg0123456789-_", 60..70, b"_")),
        corpus("backslashes", Context::Json, runs(bytes, b"\\", 1..6, b"nu0t\"")),
    ]
}

const WORDS: &[&str] = &[
    "the",
    "of",
    "and",
    "to",
    "in",
    "is",
    "that",
    "it",
    "was",
    "for",
    "server",
    "request",
    "response",
    "database",
    "function",
    "configure",
    "latency",
    "customer",
    "account",
    "invoice",
    "payment",
    "performance",
    "however",
    "implementation",
    "architecture",
    "therefore",
    "consider",
    "people",
    "water",
    "write",
    "number",
];

fn sentence(random: &mut Random, out: &mut String) {
    for index in 0..5 + random.next(20) {
        out.push_str(if index > 0 { " " } else { "" });
        out.push_str(random.pick(WORDS));
    }
    out.push('.');
}

fn sensitive(random: &mut Random) -> String {
    match random.next(7) {
        3 => "123-45-6789".to_owned(),
        4 => "(212) 555-0123".to_owned(),
        5 => "10.11.12.13".to_owned(),
        6 => "DE89 3704 0044 0532 0130 00".to_owned(),
        0 => "4111 1111 1111 1111".to_owned(),
        1 => format!("{}.{}@example.com", random.pick(WORDS), random.pick(WORDS)),
        _ => "Project Falcon".to_owned(),
    }
}

/// The answer of an API: records with ids, times, numbers and short texts; 1 % of the texts are sensitive.
fn json(bytes: usize) -> Vec<u8> {
    let mut random = Random(1);
    let mut out = String::from("{\"customers\":[");
    while out.len() < bytes {
        let id = random.next(1 << 40);
        let (first, last) = (random.pick(WORDS), random.pick(WORDS));
        let mut notes = String::new();
        sentence(&mut random, &mut notes);
        if random.next(100) < 3 {
            notes = sensitive(&mut random);
        }
        let newline = if random.next(10) == 0 { "\\n\\\"quoted\\\"" } else { "" };
        out.push_str(&format!(
            "{{\"id\":{id},\"uuid\":\"{id:08x}-41ab-4f00-a000-{id:012x}\",\"name\":\"{first} {last}\",\
             \"created_at\":\"2026-01-{:02}T10:{:02}:00Z\",\"updated_ms\":17{:011},\"balance\":{}.{:02},\
             \"geo\":[{}.{:06},-{}.{:06}],\"verified\":true,\"plan\":null,\"notes\":\"{notes}{newline}\"}},",
            1 + random.next(28),
            random.next(60),
            random.next(99_999_999_999),
            random.next(9999),
            random.next(100),
            random.next(90),
            random.next(999_999),
            random.next(180),
            random.next(999_999),
        ));
    }
    (out + "null]}").into_bytes()
}

/// The request of an agent: long texts with an escape in every line.
fn chat_json(bytes: usize) -> Vec<u8> {
    let mut random = Random(2);
    let mut out = String::from("{\"messages\":[{\"role\":\"user\",\"content\":\"");
    while out.len() < bytes {
        sentence(&mut random, &mut out);
        out.push_str(random.pick(&["\\n", "\\n", "\\n\\t", " \\\"said\\\" ", "\\u2014"]));
        if random.next(100) == 0 {
            out.push_str(&sensitive(&mut random));
        }
    }
    (out + "\"}]}").into_bytes()
}

fn text(bytes: usize) -> Vec<u8> {
    let mut random = Random(3);
    let mut out = String::new();
    while out.len() < bytes {
        sentence(&mut random, &mut out);
        if random.next(100) == 0 {
            out.push(' ');
            out.push_str(&sensitive(&mut random));
        }
        out.push_str(random.pick(&["\n", " ", " "]));
    }
    out.into_bytes()
}

/// Deltas of a few bytes each.
fn events(bytes: usize) -> Vec<u8> {
    let mut random = Random(4);
    let words = text(bytes / 20);
    let mut out = Vec::new();
    let mut rest = words.as_slice();
    while !rest.is_empty() {
        let (piece, others) = rest.split_at(rest.len().min(2 + random.next(7)));
        rest = others;
        let piece = String::from_utf8_lossy(piece).replace('\n', "\\n");
        out.extend_from_slice(
            b"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,",
        );
        out.extend_from_slice(b"\"delta\":{\"type\":\"text_delta\",\"text\":\"");
        out.extend_from_slice(piece.as_bytes());
        out.extend_from_slice(b"\"}}\n\n");
    }
    out
}

/// Runs of `alphabet` of a length in `lengths`, with one of `between` behind each: made to be slow.
fn runs(bytes: usize, alphabet: &[u8], lengths: std::ops::Range<usize>, between: &[u8]) -> Vec<u8> {
    let mut random = Random(5);
    let mut out = vec![b'x'];
    while out.len() < bytes {
        for _ in 0..lengths.start + random.next(lengths.len()) {
            out.push(alphabet[random.next(alphabet.len())]);
        }
        out.push(between[random.next(between.len())]);
    }
    out
}

fn repeated(bytes: usize, text: &str) -> Vec<u8> {
    text.repeat(bytes / text.len() + 1).into_bytes()
}

fn names(count: usize) -> Vec<String> {
    const SYLLABLES: &[&str] = &[
        "ka", "lo", "mi", "ra", "ten", "vor", "sha", "bel", "dro", "gin", "hul", "jos", "pel", "qui", "zan",
    ];
    let mut random = Random(6);
    (0..count)
        .map(|_| {
            let mut name = String::new();
            for part in 0..5 {
                name.push_str(if part == 2 { " " } else { random.pick(SYLLABLES) });
            }
            name
        })
        .collect()
}
