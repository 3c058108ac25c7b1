//! Thinking and signatures: they reach the caller as they are, or not at all.

use crate::bodies::{Masked, run_with};
use crate::generate::{self, chunks, escape};
use crate::oracle::{self, Reading};
use crate::streams::{Stream, anthropic, collect, data, order, read_anthropic, stream, wanted};
use proptest::prelude::*;
use ringward::inspect::dialect::ANTHROPIC;
use ringward::inspect::{Context, Direction, Error, Kind, Rule, Thinking};

fn run(
    rules: &[Rule],
    context: Context,
    thinking: Thinking,
    body: &str,
    cuts: &[usize],
) -> Result<Masked, Error> {
    let pieces = chunks(body.as_bytes(), cuts);
    run_with(rules, context, &pieces, |inspector| inspector.with_thinking(&ANTHROPIC, thinking).with_record())
}

/// The events of [`anthropic`] with texts as thinking.
fn thought(streams: &[Stream], order: &[u8], interleaved: bool) -> String {
    anthropic(streams, order, interleaved)
        .replace("\"type\":\"text_delta\",\"text\":", "\"type\":\"thinking_delta\",\"thinking\":")
        .replace("\"type\":\"text\",\"text\":", "\"type\":\"thinking\",\"thinking\":")
}

fn texts() -> impl Strategy<Value = Vec<Stream>> {
    prop::collection::vec(stream().prop_filter("a text", |stream| !stream.json), 1..4)
}

fn mask(rules: &[Rule], document: &str) -> String {
    let (masked, _) = oracle::mask(rules, Direction::Response, Reading::Json, document.as_bytes());
    String::from_utf8_lossy(&masked).into_owned()
}

proptest! {
    #![proptest_config(generate::config())]

    #[test]
    fn streamed_thinking_passes_byte_for_byte_and_is_masked_in_the_record(
        rules in generate::rules(), streams in texts(), order in order(), interleaved in any::<bool>(),
        cuts in generate::cuts(),
    ) {
        let body = thought(&streams, &order, interleaved);
        let out = run(&rules, Context::Sse(&ANTHROPIC), Thinking::Flag, &body, &cuts).unwrap();
        prop_assert_eq!(String::from_utf8_lossy(&out.body), body.as_str());
        let events = data(&out.recorded);
        prop_assert_eq!(events.last().map(|event| event["type"].clone()), Some("message_stop".into()));
        let values = collect(&events, read_anthropic);
        prop_assert_eq!(values, wanted(&rules, &streams, |index, _| index.to_string()));
    }

    #[test]
    fn an_answer_ends_in_front_of_what_may_not_pass(
        rules in generate::rules(), streams in texts(), order in order(), cuts in generate::cuts(),
    ) {
        let body = thought(&streams, &order, true);
        let wanted = wanted(&rules, &streams, |index, _| index.to_string());
        let counts = streams.iter().map(|stream| stream.masks(&rules));
        let out = run(&rules, Context::Sse(&ANTHROPIC), Thinking::End, &body, &cuts);
        match counts.sum::<usize>() {
            0 => prop_assert_eq!(collect(&data(&out.unwrap().body), read_anthropic), wanted),
            _ => prop_assert_eq!(out.unwrap_err(), Error::Thinking),
        }
    }

    #[test]
    fn thinking_in_documents_passes_byte_for_byte_and_is_masked_in_the_record(
        rules in generate::rules(), texts in prop::array::uniform3(generate::text(0..5)),
        seed in any::<u64>(),
        cuts in generate::cuts(),
        is_request in any::<bool>(),
        is_sniffed in any::<bool>(),
    ) {
        let [thinking, signature, text] = texts.map(|text| escape(&text, 15, seed));
        let document = |thinking: &str, signature: &str| {
            let blocks = format!(
                "[{{\"type\":\"thinking\",\"thinking\": \"{thinking}\",\"signature\":\"{signature}\"}}, \
                 {{\"type\":\"text\",\"text\":\"{text}\"}}]"
            );
            match is_request {
                true => format!("{{\"messages\":[{{\"content\":\"hello\"}},{{\"content\":{blocks}}}]}}"),
                false => format!("{{\"content\":{blocks}}}"),
            }
        };
        let (body, context) = (document(&thinking, &signature), match is_sniffed {
            true => Context::Text,
            false => Context::Json,
        });
        // The oracle masks all strings alike: those that it must not see are put in behind it.
        let to_caller = mask(&rules, &document("THINK", "SIGN"));
        let to_caller = to_caller.replacen("THINK", &thinking, 1).replacen("SIGN", &signature, 1);
        let recorded = mask(&rules, &document(&thinking, "SIGN")).replacen("SIGN", &signature, 1);
        let out = run(&rules, context, Thinking::Flag, &body, &cuts).unwrap();
        prop_assert_eq!(String::from_utf8_lossy(&out.body), to_caller.as_str());
        prop_assert_eq!(String::from_utf8_lossy(&out.recorded), recorded.as_str());
        let whole = mask(&rules, &document(&thinking, "SIGN"));
        let ended = run(&rules, context, Thinking::End, &body, &cuts);
        prop_assert_eq!(ended.err(), (out.shown > 0).then_some(Error::Thinking), "{}", whole);
    }
}

fn emails() -> Vec<Rule> {
    vec![generate::rule("emails", Kind::Email, "[email]")]
}

fn delta(kind: &str, member: &str, piece: &str) -> String {
    format!(
        "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{{\
         \"type\":\"{kind}_delta\",\"{member}\":\"{piece}\"}}}}\n\n"
    )
}

#[test]
fn thinking_and_signatures_reach_the_caller_as_they_are() {
    let start = |thinking: &str| {
        format!(
            "data: {{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{{\"type\":\"thinking\",\
             \"thinking\":\"{thinking}\",\"signature\":\"a@b.com\"}}}}\n\n"
        )
    };
    let thinking = |piece: &str| delta("thinking", "thinking", piece);
    let signature = delta("signature", "signature", "bob@x.com ");
    let body = start("ann@x.com") + &thinking("ask bob@x") + &thinking(".com") + &signature;
    // What was held back of the thinking stands in front of its signature.
    let recorded = start("[email]") + &thinking("ask ") + &thinking("") + &thinking("[email]") + &signature;
    for length in 1..=body.len() {
        let out = run(&emails(), Context::Sse(&ANTHROPIC), Thinking::Flag, &body, &[length]).unwrap();
        assert_eq!(String::from_utf8(out.body).unwrap(), body);
        assert_eq!(String::from_utf8(out.recorded).unwrap(), recorded, "by {length}");
        assert_eq!((out.hits, out.shown), (2, 2));
    }
}

/// Keys and paths that name thinking find it, and it passes all the same.
#[test]
fn no_rule_replaces_thinking() {
    let body = r#"{"content":[{"thinking":"a secret","signature":"s"}]}"#;
    let path = || Kind::Path(vec!["$.content[*].thinking".to_owned(), "$.content[*].signature".to_owned()]);
    for (kind, replace) in [(Kind::Key(vec!["thinking".to_owned()]), "x"), (path(), "x"), (path(), "null")] {
        let mut rule = generate::rule("r", kind, replace);
        if replace == "null" {
            rule.replace = ringward::inspect::Replacement::Null;
        }
        let out = run(&[rule], Context::Json, Thinking::Flag, body, &[3]).unwrap();
        assert_eq!(String::from_utf8(out.body).unwrap(), body);
        let quoted = if replace == "null" { "null" } else { "\"x\"" };
        assert_eq!(String::from_utf8(out.recorded).unwrap(), body.replace("\"a secret\"", quoted));
    }
}
