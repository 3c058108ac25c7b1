//! Events that are too large to be held, because of a piece of a streamed value.

use crate::bodies::run;
use crate::generate::{chunks, escape};
use crate::streams::{STOP, all_kinds, delta, masked, show};
use ringward::inspect::dialect::{ANTHROPIC, Dialect, OPENAI_CHAT};
use ringward::inspect::{Context, Error};

/// The text of an event that is too large to be held, with something to find over every place at which it is
/// cut.
fn large_text(filler: &str) -> String {
    let values = "bob\\u0040x.com 4111 1111 1111 1111 \\\"said\\\" \\\\ (212) 555-0123 ";
    (0..60).map(|index| format!("{}{values}", filler.repeat(100 + index % 7))).collect()
}

#[test]
fn a_large_piece_of_a_value_is_masked_as_it_streams() {
    let text = large_text("nothing of it ");
    let ends = [delta("x.com"), STOP.to_owned()].concat();
    let chat = |content: &str, finish: &str| {
        format!(
            "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{content}\"}},\
             \"finish_reason\":{finish}}}]}}\n\n"
        )
    };
    let call = |arguments: &str| {
        format!(
            "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"tool_calls\":[{{\"index\":1,\
             \"function\":{{\"arguments\":\"{arguments}\"}}}}]}}}}]}}\n\n"
        )
    };
    let document = escape(&format!("{{\"a\":[\"{text}\"],\"mail\":\"bob@"), 0, 0);
    let cases: [(&'static Dialect, String); 5] = [
        (&ANTHROPIC, [delta("see ann@"), delta(&format!("x.com {text} ann@")), ends].concat()),
        (&ANTHROPIC, [delta(&format!("{text}4111 1111 ")), delta("1111 1111 and")].concat()),
        (&OPENAI_CHAT, chat(&format!("{text}ann@x.com"), "\"stop\"") + "data: [DONE]\n\n"),
        (&OPENAI_CHAT, [chat("ann", "null"), call(&document), call("x.com\\\"}")].concat()),
        (&ANTHROPIC, "\u{feff}:\r\n".to_owned() + &delta(&format!("{text}ann@")).replace('\n', "\r\n")),
    ];
    for (index, (dialect, body)) in cases.iter().enumerate() {
        let whole = masked(&all_kinds(), dialect, body, &[body.len()]);
        assert!(body.len() > 64 << 10 && whole.hits >= 120, "{index}: {}", whole.hits);
        for lengths in [&[777][..], &[4096], &[16_000], &[49_151], &[49_152], &[49_153], &[50_000, 1, 2, 7]] {
            let out = masked(&all_kinds(), dialect, body, lengths);
            assert!(show(&out.body) == show(&whole.body), "{index} by {lengths:?}");
            assert_eq!((out.hits, &out.edits), (whole.hits, &whole.edits), "{index} by {lengths:?}");
            assert!(out.held_max <= 49_152 + 700, "{index} by {lengths:?}: held {}", out.held_max);
        }
    }
}

#[test]
fn a_body_that_ends_within_a_large_piece_loses_nothing() {
    let text = large_text("nothing of it ");
    let event = delta(&format!("{text}ann@x.com"));
    let whole = show(&masked(&all_kinds(), &ANTHROPIC, &delta(&format!("{text}ann@x.com ")), &[]).body);
    let end = "\"}}\n\n";
    let masked_text = whole.strip_suffix(&format!(" {end}")).expect("its end");
    for cut in ["\"}}\n\n", "}}\n\n", "\n\n", "\n"] {
        let body = event.strip_suffix(cut).expect("its end");
        let out = masked(&all_kinds(), &ANTHROPIC, body, &[4096]);
        let expected = masked_text.to_owned() + end.strip_suffix(cut).expect("its end");
        assert!(show(&out.body) == expected, "{cut:?}");
    }
}

#[test]
fn a_large_piece_whose_value_is_not_known_in_front_of_it_is_refused() {
    let text = large_text("nothing of it ");
    let event =
        |before: &str, after: &str| format!("data: {{{before}\"delta\":{{\"text\":\"{text}\"}}{after}}}\n\n");
    let kind = "\"type\":\"content_block_delta\",";
    let refused = [
        // The type stands behind the piece, or the index does and is another one, or the type once more.
        event("", ",\"type\":\"content_block_delta\""),
        event(kind, ",\"index\":1"),
        event(kind, ",\"type\":\"x\""),
        // A second piece, a second line of data, and what is too large behind it.
        event(kind, ",\"delta\":{\"text\":\"ann@x.com\"}"),
        event(kind, "}\ndata: {\"x\":1"),
        event(kind, &format!(",\"x\":\"{}\"", "x".repeat(9_000))),
        // A line that ends in the midst of it.
        event(kind, "").replacen("4111", "\n4111", 58),
    ];
    for (index, body) in refused.iter().enumerate() {
        for length in [4096, 50_000] {
            let refused = run(&all_kinds(), Context::Sse(&ANTHROPIC), &chunks(body.as_bytes(), &[length]));
            assert_eq!(refused.unwrap_err(), Error::EventTooLong, "{index} by {length}");
        }
    }
    // Whole in one chunk it needs no memory.
    assert!(run(&all_kinds(), Context::Sse(&ANTHROPIC), &[refused[0].as_bytes()]).is_ok());
    let chat = |choice: usize, content: &str, finish: &str| {
        format!(
            "data: {{\"choices\":[{{\"index\":{choice},\"delta\":{{\"content\":\"{content}\"}}}}]\
             {finish}}}\n\n"
        )
    };
    let error = ",\"error\":{}";
    let body = [chat(1, "ann@", ""), chat(0, &text, error)].concat();
    let refused = run(&all_kinds(), Context::Sse(&OPENAI_CHAT), &chunks(body.as_bytes(), &[4096]));
    assert_eq!(refused.unwrap_err(), Error::EventTooLong);
    let body = [chat(1, "ann ", ""), chat(0, &text, error)].concat();
    assert!(run(&all_kinds(), Context::Sse(&OPENAI_CHAT), &chunks(body.as_bytes(), &[4096])).is_ok());
}
