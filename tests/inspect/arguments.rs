//! Arguments of tool calls: documents that are streamed, and repeated whole.

use crate::bodies::run;
use crate::generate::{self, chunks, escape};
use crate::streams::{collect, data, masked, read_responses};
use ringward::inspect::dialect::{OPENAI_CHAT, OPENAI_RESPONSES};
use ringward::inspect::{Context, Error, Kind, Replacement};

/// Key and path rules find members of arguments wherever they are cut, also in what repeats them.
#[test]
fn members_of_streamed_arguments_are_masked_over_any_cut() {
    let keys = generate::rule("keys", Kind::Key(vec!["ssn".to_owned()]), "[{name}]");
    let mut gone = generate::rule("gone", Kind::Path(vec!["$.who.notes".to_owned()]), "x");
    gone.replace = Replacement::Null;
    let paths = generate::rule("paths", Kind::Path(vec!["$.list[*].id".to_owned()]), "[{name}]");
    let rules = [keys, paths, gone];
    let arguments =
        r#"{"who":{"notes":["a","\u0062"],"ssn":"12\"3"},"list":[{"id":7},{"no":8,"id":"nine"}]}"#;
    let expected =
        r#"{"who":{"notes":null,"ssn":"[keys]"},"list":[{"id":"[paths]"},{"no":8,"id":"[paths]"}]}"#;
    let event = |kind: &str, member: &str, text: &str| {
        let text = escape(text, 0, 0);
        format!(
            "data: {{\"type\":\"response.function_call_arguments.{kind}\",\"output_index\":0,\
             \"{member}\":\"{text}\"}}\n\n"
        )
    };
    let tail = |text: &str| {
        let done = event("done", "arguments", text);
        let item = format!("{{\"type\":\"function_call\",\"arguments\":\"{}\"}}", escape(text, 0, 0));
        format!(
            "{done}data: {{\"type\":\"response.output_item.done\",\"output_index\":0,\"item\":{item}}}\n\n\
             data: {{\"type\":\"response.completed\",\"response\":{{\"output\":[{item}]}}}}\n\n"
        )
    };
    for cut in 0..arguments.len() {
        let (first, second) = arguments.split_at(cut);
        let body = event("delta", "delta", first) + &event("delta", "delta", second) + &tail(arguments);
        for length in [1, 50, 10_000] {
            let out = masked(&rules, &OPENAI_RESPONSES, &body, &[length]);
            assert!(out.body.ends_with(tail(expected).as_bytes()), "{}", String::from_utf8_lossy(&out.body));
            let values = collect(&data(&out.body), read_responses);
            assert_eq!(values["0"], expected, "cut at {cut}, by {length}");
        }
    }
}

/// `response.completed` with `arguments`, and much else in front of it.
fn completed(arguments: &str, secret: &str, tail: &str) -> String {
    let text = "Nothing to see in here, move along. ".repeat(300);
    let arguments = escape(arguments, 0, 0);
    format!(
        "event: response.completed\ndata: {{\"type\":\"response.completed\",\"response\":{{\
         \"ssn\":\"{secret}\",\"text\":\"{text}\",\
         \"output\":[{{\"encrypted_content\":\"123-45-6789\",\"arguments\":\"{arguments}\"}},\
         {{\"list\":[7]}}]}}{tail}}}\n\n"
    )
}

/// A large event in one chunk was read in another way than the same event in pieces, of which arguments were
/// one string and sealed strings were none.
#[test]
fn a_large_event_is_read_alike_however_it_is_cut() {
    let rules = [
        generate::rule("keys", Kind::Key(vec!["ssn".to_owned()]), "[{name}]"),
        generate::rule("paths", Kind::Path(vec!["$.list[*]".to_owned()]), "[{name}]"),
        generate::rule("kind", Kind::Ssn, "[{name}]"),
    ];
    let after = "data: {\"type\":\"x\",\"ssn\":1}\n\n";
    let body = completed(r#"{"ssn":"a\"b","list":[1,"2"]}"#, "a", "") + after;
    let expected = completed(r#"{"ssn":"[keys]","list":["[paths]","[paths]"]}"#, "[keys]", "")
        + "data: {\"type\":\"x\",\"ssn\":\"[keys]\"}\n\n";
    for length in [1, 7, 100, 4096, 8192, 8193, 10_000, body.len()] {
        let out = masked(&rules, &OPENAI_RESPONSES, &body, &[length]);
        assert_eq!(String::from_utf8_lossy(&out.body), expected, "by {length}");
        assert!(out.held_max <= 8192 + 4096, "held {}", out.held_max);
    }
}

/// A large event is not joined with others, so that it may bring none of their values.
#[test]
fn a_large_event_that_brings_a_piece_after_all_is_refused() {
    let rules = [generate::rule("kind", Kind::Ssn, "[{name}]")];
    let body = completed("{}", "a", ",\"type\":\"response.output_text.delta\",\"delta\":\"123-4\"");
    for length in [1, 1000, body.len()] {
        let pieces = chunks(body.as_bytes(), &[length]);
        let refused = run(&rules, Context::Sse(&OPENAI_RESPONSES), &pieces);
        assert_eq!(refused.unwrap_err(), Error::EventTooLong, "by {length}");
    }
}

/// A value of which nothing was held was forgotten for another one, and then read on as if it began.
#[test]
fn a_document_that_goes_on_is_not_forgotten() {
    let rules = [generate::rule("paths", Kind::Path(vec!["$.a.b".to_owned()]), "[{name}]")];
    let call = |index: usize, piece: &str| {
        let piece = escape(piece, 0, 0);
        format!(
            "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"tool_calls\":[{{\"index\":{index},\
             \"function\":{{\"arguments\":\"{piece}\"}}}}]}}}}]}}\n\n"
        )
    };
    let body = |pieces: &[&str]| -> String {
        pieces.iter().flat_map(|piece| (0..20).map(move |index| call(index, piece))).collect()
    };
    let halves = body(&["{\"a\":{\"c\":1,", "\"b\":\"secret\"}}"]);
    let refused = run(&rules, Context::Sse(&OPENAI_CHAT), &[halves.as_bytes()]);
    assert_eq!(refused.unwrap_err(), Error::TooManyStreams);
    let whole = masked(&rules, &OPENAI_CHAT, &body(&["{\"a\":{\"b\":\"secret\"}}"]), &[]);
    assert!(
        !String::from_utf8_lossy(&whole.body).contains("secret"),
        "{}",
        String::from_utf8_lossy(&whole.body)
    );
}
