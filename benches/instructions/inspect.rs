//! Looking for what is sensitive in bodies that hold nothing of it.

use super::{Cases, Operation};
use ringward::{
    buffer::{Chunk, Segments, Tally},
    inspect::{Context, Direction, Inspector, Kind, MaskSet, Replacement, Rule, dialect::ANTHROPIC},
};
use std::{hint::black_box, sync::Arc};

pub const CASES: Cases =
    &[("inspect_json_64k", || body(Context::Json, json())), ("inspect_sse_event", event)];

fn masks() -> Arc<MaskSet> {
    let rule = |name: &str, kind| Rule {
        name: name.into(),
        kind,
        replace: Replacement::parse("[gone]").expect("a template"),
        direction: Direction::Both,
        dry_run: false,
    };
    let words = Kind::Literals(vec!["Project Falcon".to_owned()]);
    let rules = vec![rule("cards", Kind::CreditCard), rule("emails", Kind::Email), rule("projects", words)];
    Arc::new(MaskSet::compile(rules).expect("rules"))
}

fn json() -> Vec<u8> {
    let row = r#"{"id":17,"status":"open","note":"the gateway answers every caller with what it may see"},"#;
    let rows = row.repeat(65_500 / row.len());
    format!("[{rows}null]").into_bytes()
}

/// One whole body in one piece.
fn body(context: Context, bytes: Vec<u8>) -> Operation {
    let (masks, body) = (masks(), Chunk::from(bytes));
    Box::new(move || {
        let mut inspector = Inspector::new(masks.clone(), Direction::Response, context);
        let (mut out, mut edits, mut tally) = (Segments::new(), Vec::new(), Tally::default());
        inspector.push(body.clone(), &mut out, &mut edits, &mut tally).expect("it can be masked");
        inspector.finish(&mut out, &mut edits, &mut tally).expect("it can be masked");
        assert!(edits.is_empty());
        black_box(&out);
    })
}

/// One event of a stream that never ends.
fn event() -> Operation {
    let text = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\
        \"delta\":{\"type\":\"text_delta\",\"text\":\" gateway\"}}\n\n";
    let event = Chunk::from_static(text.as_bytes());
    let mut inspector = Inspector::new(masks(), Direction::Response, Context::Sse(&ANTHROPIC));
    let (mut edits, mut tally) = (Vec::new(), Tally::default());
    Box::new(move || {
        let mut out = Segments::new();
        inspector.push(event.clone(), &mut out, &mut edits, &mut tally).expect("it can be masked");
        assert!(edits.is_empty());
        black_box(&out);
    })
}
