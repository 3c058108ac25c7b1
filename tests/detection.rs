//! How much of a labelled corpus the detectors find, and how much of what they find is there:
//! `cargo nextest run --test detection --no-capture` prints the table, `RINGWARD_MISTAKES=1` every mistake.

#[path = "../benches/labelled/mod.rs"]
mod labelled;

use labelled::Document;
use ringward::buffer::{Chunk, Segments, Tally};
use ringward::inspect::{Context, Direction, Inspector, Kind, MaskSet, Replacement, Rule};
use std::ops::Range;
use std::sync::Arc;

const SEED: u64 = 2026;
const DOCUMENTS: usize = 1_200;

/// Least precision and recall of each kind, in percent.
const FLOORS: [(Kind, f64, f64); 11] = [
    (Kind::CreditCard, 97.0, 99.5),
    (Kind::Email, 99.5, 99.0),
    (Kind::Ssn, 99.5, 99.5),
    (Kind::Phone, 99.5, 99.0),
    (Kind::Iban, 99.5, 99.5),
    (Kind::Ipv4, 99.5, 99.5),
    (Kind::Ipv6, 99.5, 99.5),
    (Kind::Jwt, 99.5, 99.5),
    (Kind::PrivateKey, 99.5, 99.5),
    (Kind::ApiKey, 99.5, 99.5),
    (Kind::GenericSecret, 99.5, 99.0),
];

#[derive(Default)]
struct Score {
    /// Labelled values that are masked whole.
    found: usize,
    missed: usize,
    /// What was masked and is no value.
    wrong: usize,
}

impl Score {
    fn precision(&self) -> f64 {
        100.0 * self.found as f64 / (self.found + self.wrong).max(1) as f64
    }

    fn recall(&self) -> f64 {
        100.0 * self.found as f64 / (self.found + self.missed).max(1) as f64
    }
}

fn set(kind: &Kind) -> Arc<MaskSet> {
    let replace = Replacement::parse("[{kind}]").expect("a good template");
    let rule = Rule {
        name: kind.name().into(),
        kind: kind.clone(),
        replace,
        direction: Direction::Both,
        dry_run: false,
    };
    Arc::new(MaskSet::compile(vec![rule]).expect("a good rule"))
}

fn masked(set: &Arc<MaskSet>, document: &Document) -> Vec<Range<usize>> {
    let context = if document.json { Context::Json } else { Context::Text };
    let mut inspector = Inspector::new(set.clone(), Direction::Both, context);
    let (mut out, mut edits, mut tally) = (Segments::new(), Vec::new(), Tally::default());
    let body = Chunk::from(document.text.clone().into_bytes());
    inspector.push(body, &mut out, &mut edits, &mut tally).expect("a body that can be masked");
    inspector.finish(&mut out, &mut edits, &mut tally).expect("a body that can be masked");
    edits.iter().map(|edit| edit.offset as usize..(edit.offset + edit.len) as usize).collect()
}

fn score(kind: &Kind, documents: &[Document]) -> Score {
    let (set, mut score) = (set(kind), Score::default());
    for document in documents {
        let masked = masked(&set, document);
        for (label, _) in document.labels.iter().filter(|(_, labelled)| labelled == kind) {
            let found = masked.iter().any(|range| range.start <= label.start && label.end <= range.end);
            score.found += usize::from(found);
            score.missed += usize::from(!found);
            if !found {
                tell("missed", kind, document, label);
            }
        }
        for range in masked {
            // What is sensitive for another reason, such as the IPv4 address in an IPv6 one, is no mistake.
            let mut labels = document.labels.iter();
            let is_value = labels.any(|(label, _)| label.start < range.end && range.start < label.end);
            score.wrong += usize::from(!is_value);
            if !is_value {
                tell("wrong", kind, document, &range);
            }
        }
    }
    score
}

fn tell(what: &str, kind: &Kind, document: &Document, range: &Range<usize>) {
    if std::env::var_os("RINGWARD_MISTAKES").is_some() {
        let front = document.text[..range.start].chars().rev().take(24).collect::<Vec<_>>();
        let front: String = front.into_iter().rev().collect();
        println!("{what} {}: {front:?} {:?}", kind.name(), &document.text[range.clone()]);
    }
}

#[test]
fn what_is_found_is_there_and_what_is_there_is_found() {
    let documents = labelled::documents(SEED, DOCUMENTS);
    let bytes: usize = documents.iter().map(|document| document.text.len()).sum();
    println!("{DOCUMENTS} documents, {bytes} bytes, seed {SEED}");
    println!("{:<16}{:>8}{:>8}{:>8}{:>12}{:>9}", "kind", "found", "missed", "wrong", "precision", "recall");
    let mut below = Vec::new();
    for (kind, precision, recall) in FLOORS {
        let score = score(&kind, &documents);
        println!(
            "{:<16}{:>8}{:>8}{:>8}{:>10.1} %{:>7.1} %",
            kind.name(),
            score.found,
            score.missed,
            score.wrong,
            score.precision(),
            score.recall()
        );
        if score.precision() < precision || score.recall() < recall {
            below.push(kind.name());
        }
    }
    assert!(below.is_empty(), "below their floors: {below:?}");
}
