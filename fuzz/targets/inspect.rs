use ringward::buffer::{Chunk, Segments, Tally};
use ringward::inspect::dialect::{ANTHROPIC, Dialect, GENERIC, OPENAI_CHAT, OPENAI_RESPONSES};
use ringward::inspect::{Context, Direction, Edit, Inspector, Kind, MaskSet, Replacement, Rule, Thinking};
use std::sync::{Arc, LazyLock};

/// However a body is cut, the same comes out; what was JSON is JSON. The first byte is the length of the
/// chunks.
pub fn json(data: &[u8]) {
    let Some((length, body)) = data.split_first() else { return };
    // Those of the last have documents in strings of documents.
    for dialect in [&GENERIC, &OPENAI_RESPONSES] {
        let Some((out, _)) = same_for_all_cuts(Context::Json, dialect, body, *length) else { return };
        if serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok() {
            serde_json::from_slice::<serde::de::IgnoredAny>(&out).expect("masked JSON is JSON");
        }
        same_for_all_cuts(Context::Text, dialect, body, *length);
    }
    same_for_all_cuts(Context::Form, &GENERIC, body, *length);
}

/// However an event stream is cut, the same comes out, and what has no match comes out whole. The first two
/// bytes are the dialect and the length of the chunks.
pub fn sse(data: &[u8]) {
    let [dialect, length, body @ ..] = data else { return };
    let dialect = [&ANTHROPIC, &OPENAI_CHAT, &OPENAI_RESPONSES, &GENERIC][usize::from(dialect % 4)];
    same_for_all_cuts(Context::Sse(dialect), dialect, body, *length);
}

fn same_for_all_cuts(
    context: Context,
    dialect: &'static Dialect,
    body: &[u8],
    length: u8,
) -> Option<(Vec<u8>, Vec<Edit>)> {
    let whole = mask(context, dialect, &[body])?;
    let pieces: Vec<&[u8]> = body.chunks(usize::from(length).max(1)).collect();
    if let Some(cut) = mask(context, dialect, &pieces) {
        assert_eq!(String::from_utf8_lossy(&whole.0), String::from_utf8_lossy(&cut.0));
        assert_eq!(whole, cut);
    }
    for edit in &whole.1 {
        assert!(edit.len > 0 && edit.offset + edit.len <= body.len() as u64, "{edit:?}");
    }
    Some(whole)
}

/// Compiled once, which takes much longer than to run them.
static RULES: LazyLock<Arc<MaskSet>> = LazyLock::new(rules);

fn rules() -> Arc<MaskSet> {
    let rule = |name: &str, kind, replace: &str| Rule {
        name: name.into(),
        kind,
        replace: Replacement::parse(replace).expect("a good template"),
        direction: Direction::Both,
        dry_run: false,
    };
    let words = ["falcon", "Project Falcon", "a\"b", "-1", "{"].map(str::to_owned).to_vec();
    let keys = |keys: [&str; 2]| keys.map(str::to_owned).to_vec();
    let rules = vec![
        rule("cards", Kind::CreditCard, "[\"{last4}\"]"),
        rule("emails", Kind::Email, "*"),
        rule("words", Kind::Literals(words), "[{name}]"),
        rule("ssn", Kind::Ssn, "*"),
        rule("phone", Kind::Phone, "[{length}]"),
        rule("iban", Kind::Iban, "[{token}]"),
        rule("v4", Kind::Ipv4, "*"),
        rule("v6", Kind::Ipv6, "[{name}]"),
        rule("jwt", Kind::Jwt, "[{length}]"),
        rule("pem", Kind::PrivateKey, "*"),
        rule("keys", Kind::ApiKey, "[{name}]"),
        rule("secret", Kind::GenericSecret, "[{name}]"),
        rule("regex", Kind::Regex(r"\bEMP-[0-9a-z]{2,20}".to_owned()), "[{name}]"),
        rule("members", Kind::Key(keys(["ssn", "a"])), "[{last4}]"),
        Rule { replace: Replacement::Null, ..rule("paths", Kind::Path(keys(["$.b[*]", "$[*].c"])), "") },
        Rule { dry_run: true, ..rule("dry", Kind::Email, "") },
        Rule { dry_run: true, ..rule("dry paths", Kind::Path(keys(["$.*.b", "$[0][1]"])), "") },
    ];
    Arc::new(MaskSet::compile(rules).expect("good rules"))
}

/// `None` if the body cannot be masked, which may depend on how it is cut.
fn mask(context: Context, dialect: &'static Dialect, pieces: &[&[u8]]) -> Option<(Vec<u8>, Vec<Edit>)> {
    let mut inspector =
        Inspector::new(RULES.clone(), Direction::Response, context).with_thinking(dialect, Thinking::Flag);
    let (mut out, mut edits, mut tally) = (Segments::new(), Vec::new(), Tally::default());
    for piece in pieces {
        inspector.push(Chunk::from(piece.to_vec()), &mut out, &mut edits, &mut tally).ok()?;
    }
    inspector.finish(&mut out, &mut edits, &mut tally).ok()?;
    Some((out.to_vec(), edits))
}
