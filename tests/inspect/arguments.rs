//! Arguments of tool calls: documents that are streamed, and repeated whole.

use crate::bodies::run;
use crate::generate::{self, escape};
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
