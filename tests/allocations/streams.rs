//! How much memory the inspection of one body holds between two pieces of it, beside the pieces themselves
//! and the compiled rules, which all bodies share.

use crate::{COUNTS, counting};
use ringward::buffer::{Chunk, Segments, Tally};
use ringward::inspect::dialect::{ANTHROPIC, OPENAI_RESPONSES};
use ringward::inspect::{Context, Direction, Inspector, Kind, MaskSet, Replacement, Rule, Thinking};
use std::sync::{Arc, PoisonError};

/// What a stream may hold, with an event that has a piece of a streamed value and is held until it is whole.
const STATE_BYTES_MAX: i64 = 64 << 10;

fn rules() -> Arc<MaskSet> {
    let rule = |kind: Kind| Rule {
        name: kind.name().into(),
        kind,
        replace: Replacement::parse("[{kind}]").unwrap(),
        direction: Direction::Both,
        dry_run: false,
    };
    let others = [
        Kind::Literals(vec!["Project Falcon".to_owned()]),
        Kind::Regex(r"EMP-\d{6}\b".to_owned()),
        Kind::Key(vec!["ssn".to_owned()]),
        Kind::Path(vec!["$.customers[*].name".to_owned()]),
    ];
    Arc::new(MaskSet::compile(Kind::BUILT_IN.into_iter().chain(others).map(rule).collect()).unwrap())
}

/// The most that is held after any piece of `body`; it may be refused.
fn held_max(set: &Arc<MaskSet>, context: Context, body: &str, length: usize) -> i64 {
    let pieces: Vec<Chunk> =
        body.as_bytes().chunks(length).map(|piece| Chunk::from(piece.to_vec())).collect();
    // The first copy of a chunk takes the memory that counts them all.
    let _copies = pieces.clone();
    let mut most = 0;
    // The allocator counts for threads of this name.
    let counted = std::thread::Builder::new().name("shard-memory".to_owned());
    std::thread::scope(|scope| {
        let run = || {
            counting::count(|| {
                let mut inspector = Inspector::new(set.clone(), Direction::Response, context)
                    .with_thinking(&OPENAI_RESPONSES, Thinking::Flag);
                for piece in &pieces {
                    let (mut out, mut edits, mut tally) = (Segments::new(), Vec::new(), Tally::default());
                    let taken = inspector.push(piece.clone(), &mut out, &mut edits, &mut tally);
                    drop((out, edits));
                    most = most.max(counting::live());
                    if taken.is_err() {
                        break;
                    }
                }
            });
        };
        counted.spawn_scoped(scope, run).unwrap();
    });
    most
}

#[test]
fn an_inspected_stream_holds_little_memory() {
    let _counts = COUNTS.lock().unwrap_or_else(PoisonError::into_inner);
    let values = "bob@example.com 4111 1111 1111 1111 Project Falc EMP-12345 password=\\\"q8Zr3LmX0vTn ";
    let deltas = |index: usize, text: &str| {
        format!(
            "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":{index},\
             \"delta\":{{\"type\":\"text_delta\",\"text\":\"{text}\"}}}}\n\n"
        )
    };
    let open = "-----BEGIN PRIVATE KEY-----\\nMII";
    let sse = Context::Sse(&ANTHROPIC);
    let calls =
        format!("{{\"arguments\":\"{{\\\"a\\\":\\\"{}\\\"}}\"}},", "x EMP-12345 ".repeat(20)).repeat(400);
    let completed = format!(
        "event: response.completed\ndata: {{\"type\":\"response.completed\",\
         \"response\":{{\"output\":[{calls}1]}}}}\n\n"
    );
    let arguments = format!("{{\"output\":[{calls}1]}}");
    let open_deltas: String = (0..400).map(|index| deltas(index % 16, open)).collect();
    let cases = [
        ("text", Context::Text, values.repeat(1000)),
        ("document", Context::Json, format!("{{\"customers\":[{{\"ssn\":\"{}\"}}", values.repeat(1000))),
        ("deep", Context::Json, "{\"a\":[".repeat(20_000)),
        ("escapes", Context::Json, format!("[\"{}", "\\u0061".repeat(15_000))),
        ("key", Context::Text, format!("eyJhbGciOiJIUzI1NiJ9.eyJ{}", "abcd".repeat(20_000))),
        ("deltas", sse, (0..400).map(|_| deltas(0, values)).collect()),
        ("open deltas", sse, open_deltas.clone()),
        ("large event", sse, format!("data: {{\"type\":\"x\",\"text\":\"{}\"}}\n\n", values.repeat(1000))),
        ("completed", Context::Sse(&OPENAI_RESPONSES), completed),
        ("held delta", sse, deltas(0, &values.repeat(570))),
        ("large delta", sse, deltas(0, &values.repeat(2_000))),
        ("with open ones", sse, open_deltas + &deltas(0, &values.repeat(570))),
        ("arguments", Context::Json, arguments),
    ];
    let set = rules();
    for (name, context, body) in cases {
        for length in [1, 1_400, 16_384] {
            // One byte after the other of a part is as good as of the whole.
            let body = if length == 1 { &body[..body.len().min(9_000)] } else { &body };
            let held = held_max(&set, context, body, length);
            println!("{name:<12} by {length:>6}: {held:>7} bytes held");
            assert!(held <= STATE_BYTES_MAX, "{name} by {length}: {held} bytes");
        }
    }
}
