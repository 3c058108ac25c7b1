//! Event streams: values split over deltas, bytes split over chunks.

use crate::bodies::{Masked, run};
use crate::generate::{self, chunks, escape};
use crate::oracle::{self, Reading};
use proptest::prelude::*;
use ringward::inspect::dialect::{ANTHROPIC, Dialect, GENERIC, OPENAI_CHAT, OPENAI_RESPONSES};
use ringward::inspect::{Context, Direction, Error, Kind, Rule};
use serde_json::Value;
use std::collections::BTreeMap;

/// A value that is streamed: its kind, its index, and its pieces (still to be escaped).
#[derive(Clone, Debug)]
pub struct Stream {
    pub json: bool,
    pieces: Vec<String>,
}

impl Stream {
    fn whole(&self) -> String {
        self.pieces.concat()
    }

    pub fn expected(&self, rules: &[Rule]) -> String {
        let reading = if self.json { Reading::JsonInEvents } else { Reading::PlainInEvents };
        let whole = self.whole();
        show(&oracle::mask(rules, Direction::Response, reading, whole.as_bytes()).0)
    }

    /// How many masks a text gets.
    pub fn masks(&self, rules: &[Rule]) -> usize {
        oracle::mask(rules, Direction::Response, Reading::PlainInEvents, self.whole().as_bytes()).1
    }
}

pub fn show(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Cuts `text` into pieces at character boundaries, by repeating `lengths` in characters.
fn pieces(text: &str, lengths: &[usize]) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let mut pieces = Vec::new();
    let mut at = 0;
    let mut lengths = lengths.iter().copied().cycle();
    while at < chars.len() {
        let length = lengths.next().unwrap_or(chars.len()).min(chars.len() - at);
        pieces.push(chars[at..at + length].iter().collect());
        at += length;
    }
    pieces
}

pub fn stream() -> impl Strategy<Value = Stream> {
    let lengths = prop::collection::vec(0usize..9, 1..6)
        .prop_filter("some progress", |lengths| lengths.iter().any(|length| *length > 0));
    let text = generate::text(0..8).prop_map(|text| (text, false));
    let document = generate::document().prop_map(|document| (document, true));
    (prop_oneof![text, document], lengths)
        .prop_map(|((whole, json), lengths)| Stream { json, pieces: pieces(&whole, &lengths) })
}

/// Interleaves the events of several streams; `order` says whose turn it is.
fn interleave(
    streams: &[Stream],
    order: &[u8],
    mut event: impl FnMut(usize, &str, bool),
    mut ping: impl FnMut(usize),
) {
    let mut next = vec![0; streams.len()];
    for turn in order.iter().copied().cycle() {
        let open: Vec<usize> =
            (0..streams.len()).filter(|one| next[*one] < streams[*one].pieces.len()).collect();
        if open.is_empty() {
            return;
        }
        if turn % 16 == 15 {
            ping(usize::from(turn));
        }
        let one = open[usize::from(turn) % open.len()];
        next[one] += 1;
        event(one, &streams[one].pieces[next[one] - 1], next[one] == streams[one].pieces.len());
    }
}

pub fn anthropic(streams: &[Stream], order: &[u8], ends_interleaved: bool) -> String {
    let body = std::cell::RefCell::new(String::from(
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\
        \"content\":[]}}\n\n",
    ));
    for (index, stream) in streams.iter().enumerate() {
        let block = if stream.json {
            "{\"type\":\"tool_use\",\"input\":{}}"
        } else {
            "{\"type\":\"text\",\"text\":\"\"}"
        };
        body.borrow_mut().push_str(&format!(
            "event: content_block_start\ndata: {{\"type\":\"content_block_start\",\"index\":{index},\
            \"content_block\":{block}}}\n\n"
        ));
    }
    let stop = |index: usize| {
        body.borrow_mut().push_str(&format!(
            "event: content_block_stop\ndata: {{\"type\":\"content_block_stop\",\"index\":{index}}}\n\n"
        ));
    };
    interleave(
        streams,
        order,
        |index, piece, last| {
            let piece = escape(piece, 15, index as u64 + piece.len() as u64);
            let delta = match streams[index].json {
                true => format!("{{\"type\":\"input_json_delta\",\"partial_json\":\"{piece}\"}}"),
                false => format!("{{\"type\":\"text_delta\",\"text\":\"{piece}\"}}"),
            };
            // Members in either order.
            let members = match piece.len() % 3 {
                0 => format!("\"delta\": {delta}, \"index\":{index},\"type\":\"content_block_delta\""),
                _ => format!("\"type\":\"content_block_delta\",\"index\":{index},\"delta\":{delta}"),
            };
            body.borrow_mut().push_str(&format!("event: content_block_delta\ndata: {{{members}}}\n\n"));
            if last && ends_interleaved {
                stop(index);
            }
        },
        |turn| {
            let ping = match turn % 3 {
                0 => "event: ping\ndata: {\"type\": \"ping\"}\n\n",
                1 => ": keep-alive\n\n",
                _ => "event: future\r\ndata: {\"type\":\"future\",\"index\":0}\r\n\r\n",
            };
            body.borrow_mut().push_str(ping);
        },
    );
    (0..streams.len()).for_each(stop);
    let mut body = body.into_inner();
    body.push_str(
        "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\
    \"end_turn\"}}\n\n",
    );
    body.push_str("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
    body
}

pub fn chat(streams: &[Stream], order: &[u8], in_last: bool) -> String {
    let body = std::cell::RefCell::new(String::new());
    let head = "\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\"";
    let put = |choice: String| {
        body.borrow_mut().push_str(&format!("data: {{{head},\"choices\":[{choice}]}}\n\n"));
    };
    interleave(
        streams,
        order,
        |index, piece, last| {
            let piece = escape(piece, 15, index as u64);
            // Texts are choices; documents are tool calls of choice 0.
            let (choice, delta) = match streams[index].json {
                true => (
                    0,
                    format!(
                        "{{\"tool_calls\":[{{\"index\":{index},\"function\":{{\"arguments\":\"{\
                        piece}\"}}}}]}}"
                    ),
                ),
                false => (index, format!("{{\"content\":\"{piece}\"}}")),
            };
            let ends = last && in_last && !streams[index].json && index > 0;
            let finish = if ends { "\"stop\"" } else { "null" };
            put(format!("{{\"delta\":{delta},\"index\":{choice},\"finish_reason\":{finish}}}"));
        },
        |_| put(String::new()),
    );
    for (index, stream) in streams.iter().enumerate() {
        if index == 0 || !stream.json {
            put(format!("{{\"index\":{index},\"delta\":{{}},\"finish_reason\":\"stop\"}}"));
        }
    }
    body.into_inner() + "data: [DONE]\n\n"
}

fn responses(streams: &[Stream], order: &[u8], expected: &[String]) -> (String, String) {
    let body = std::cell::RefCell::new(String::new());
    let mut number = 0;
    interleave(
        streams,
        order,
        |index, piece, _| {
            let kind = response_kind(streams[index].json);
            let piece = escape(piece, 15, index as u64);
            number += 1;
            body.borrow_mut().push_str(&format!(
                "event: {kind}.delta\ndata: {{\"type\":\"{kind}.delta\",\"sequence_number\":{number},\
                \"item_id\":\"i{index}\",\"output_index\":{index},\"content_index\":0,\"delta\":\"{\
                piece}\"}}\n\n"
            ));
        },
        |_| {},
    );
    let repeats = |wholes: &[String], percent: u64| -> String {
        let done = streams.iter().zip(wholes).enumerate().map(|(index, (stream, whole))| {
            let kind = response_kind(stream.json);
            let member = if stream.json { "arguments" } else { "text" };
            let whole = escape(whole, percent, 7);
            format!(
                "event: {kind}.done\ndata: {{\"type\":\"{kind}.done\",\"output_index\":{index},\
                \"content_index\":0,\"{member}\":\"{whole}\"}}\n\n"
            )
        });
        let done: String = done.collect();
        let output: Vec<String> = streams
            .iter()
            .zip(wholes)
            .map(|(stream, whole)| {
                let whole = escape(whole, percent, 11);
                match stream.json {
                    true => format!("{{\"type\":\"function_call\",\"arguments\":\"{whole}\"}}"),
                    false => format!("{{\"type\":\"message\",\"content\":[{{\"text\":\"{whole}\"}}]}}"),
                }
            })
            .collect();
        format!(
            "{done}event: response.completed\ndata: {{\"type\":\"response.completed\",\
            \"response\":{{\"output\":[{}]}}}}\n\n",
            output.join(",")
        )
    };
    let wholes: Vec<String> = streams.iter().map(Stream::whole).collect();
    (body.into_inner() + &repeats(&wholes, 15), repeats(expected, 0))
}

fn response_kind(json: bool) -> &'static str {
    if json { "response.function_call_arguments" } else { "response.output_text" }
}

/// The data of all events, parsed.
pub fn data(body: &[u8]) -> Vec<Value> {
    let body = String::from_utf8(body.to_vec()).expect("UTF-8");
    let lines = body.lines().filter_map(|line| line.strip_prefix("data: "));
    lines
        .filter(|data| *data != "[DONE]")
        .map(|data| serde_json::from_str(data).unwrap_or_else(|error| panic!("{error} in {data}")))
        .collect()
}

/// The streamed values as a client puts them together, by their key. Fails if one goes on behind its end.
pub fn collect(
    events: &[Value],
    read: impl Fn(&Value) -> Vec<(String, Option<String>, bool)>,
) -> BTreeMap<String, String> {
    let mut values: BTreeMap<String, String> = BTreeMap::new();
    let mut ended = Vec::new();
    for event in events {
        for (key, text, ends) in read(event) {
            if let Some(text) = text {
                assert!(!ended.contains(&key) || text.is_empty(), "{key} goes on behind its end: {text}");
                values.entry(key.clone()).or_default().push_str(&text);
            }
            if ends {
                ended.push(key);
            }
        }
    }
    values.retain(|_, value| !value.is_empty());
    values
}

pub fn read_anthropic(event: &Value) -> Vec<(String, Option<String>, bool)> {
    let delta = &event["delta"];
    let pieces = ["text", "partial_json", "thinking"].map(|member| delta[member].as_str());
    let text = pieces.into_iter().flatten().next().map(str::to_owned);
    let is_stop = event["type"] == "content_block_stop";
    vec![(event["index"].to_string(), text.filter(|_| event["type"] == "content_block_delta"), is_stop)]
}

fn read_chat(event: &Value) -> Vec<(String, Option<String>, bool)> {
    let mut found = Vec::new();
    for choice in event["choices"].as_array().into_iter().flatten() {
        let index = choice["index"].to_string();
        let text = choice["delta"]["content"].as_str().map(str::to_owned);
        let calls = choice["delta"]["tool_calls"].as_array().into_iter().flatten();
        for call in calls {
            let arguments = call["function"]["arguments"].as_str().map(str::to_owned);
            found.push((format!("t{}", call["index"]), arguments, false));
        }
        found.push((format!("c{index}"), text, !choice["finish_reason"].is_null()));
    }
    found
}

pub fn read_responses(event: &Value) -> Vec<(String, Option<String>, bool)> {
    let kind = event["type"].as_str().unwrap_or_default();
    let text = event["delta"].as_str().map(str::to_owned);
    vec![(event["output_index"].to_string(), text, kind.ends_with(".done"))]
}

pub fn masked(rules: &[Rule], dialect: &'static Dialect, body: &str, lengths: &[usize]) -> Masked {
    run(rules, Context::Sse(dialect), &chunks(body.as_bytes(), lengths)).expect("a body that can be masked")
}

pub fn wanted(
    rules: &[Rule],
    streams: &[Stream],
    name: impl Fn(usize, bool) -> String,
) -> BTreeMap<String, String> {
    let wanted = streams.iter().enumerate();
    wanted
        .map(|(index, stream)| (name(index, stream.json), stream.expected(rules)))
        .filter(|(_, text)| !text.is_empty())
        .collect()
}

/// Whose turn it is, as [`interleave`] reads it.
pub fn order() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 1..20)
}

proptest! {
    #![proptest_config(generate::config())]

    #[test]
    fn anthropic_blocks_are_masked_over_any_split(
        rules in generate::rules_with_paths(), streams in prop::collection::vec(stream(), 1..4),
        order in order(), interleaved in any::<bool>(), cuts in generate::cuts(),
    ) {
        let body = anthropic(&streams, &order, interleaved);
        let out = masked(&rules, &ANTHROPIC, &body, &cuts);
        let events = data(&out.body);
        prop_assert_eq!(events.last().map(|event| event["type"].clone()), Some("message_stop".into()));
        let values = collect(&events, read_anthropic);
        prop_assert_eq!(values, wanted(&rules, &streams, |index, _| index.to_string()));
    }

    #[test]
    fn chat_choices_and_tool_calls_are_masked_over_any_split(
        rules in generate::rules_with_paths(), streams in prop::collection::vec(stream(), 1..4),
        order in order(), in_last in any::<bool>(), cuts in generate::cuts(),
    ) {
        let body = chat(&streams, &order, in_last);
        let out = masked(&rules, &OPENAI_CHAT, &body, &cuts);
        prop_assert!(out.body.ends_with(b"data: [DONE]\n\n"));
        let values = collect(&data(&out.body), read_chat);
        let name = |index, json| if json { format!("t{index}") } else { format!("c{index}") };
        prop_assert_eq!(values, wanted(&rules, &streams, name));
    }

    #[test]
    fn responses_and_their_repeats_are_masked_alike(
        rules in generate::rules_with_paths(), streams in prop::collection::vec(stream(), 1..4),
        order in order(), cuts in generate::cuts(),
    ) {
        let expected: Vec<String> = streams.iter().map(|stream| stream.expected(&rules)).collect();
        let (body, repeats) = responses(&streams, &order, &expected);
        let out = masked(&rules, &OPENAI_RESPONSES, &body, &cuts);
        let events = data(&out.body);
        let values = collect(&events, read_responses);
        prop_assert_eq!(values, wanted(&rules, &streams, |index, _| index.to_string()));
        let repeated = data(repeats.as_bytes());
        let others: Vec<Value> = events.into_iter().filter(|event| event["delta"].is_null()).collect();
        prop_assert_eq!(others, repeated);
    }

    #[test]
    fn other_events_are_masked_by_themselves(
        rules in generate::rules(), cuts in generate::cuts(),
        texts in prop::collection::vec((generate::text(0..6), generate::document()), 0..5),
    ) {
        let (mut body, mut expected) = (Vec::new(), Vec::new());
        for (text, document) in texts {
            let text = text.replace(['\n', '\r'], " ");
            let document = document.replace('\n', " ");
            let is_json = document.trim_start().starts_with(['{', '[', '"']);
            let reading = if is_json { Reading::JsonInEvents } else { Reading::PlainInEvents };
            let json = oracle::mask(&rules, Direction::Response, reading, document.trim_start().as_bytes()).0;
            let plain = oracle::mask(&rules, Direction::Response, Reading::PlainInEvents, format!("x{\
            text}").as_bytes()).0;
            body.extend_from_slice(format!("data: x{text}\n\nevent: e\ndata:{document}\r\n\r\n").as_bytes());
            let space = &document[..document.len() - document.trim_start().len()];
            expected.extend_from_slice(&[b"data: ", plain.as_slice(), b"\n\nevent: e\ndata:\
            ", space.as_bytes(), &json, b"\r\n\r\n"].concat());
        }
        let out = masked(&rules, &GENERIC, &show(&body), &cuts);
        prop_assert_eq!(show(&out.body), show(&expected));
    }

    #[test]
    fn an_untouched_stream_leaves_as_it_came(
        streams in prop::collection::vec(stream(), 1..4), order in order(),
        cuts in generate::cuts(),
    ) {
        let rules = [generate::rule("none", Kind::Literals(vec!["Nebuchadnezzar".into()]), "[{name}]")];
        let body = anthropic(&streams, &order, false);
        let out = masked(&rules, &ANTHROPIC, &body, &cuts);
        let held_n = body.contains('n') || body.contains('N') || body.contains("\\u00");
        prop_assert!(held_n || show(&out.body) == body);
        // What was held moves to a later event, nothing else changes.
        let values = collect(&data(&out.body), read_anthropic);
        prop_assert_eq!(values, wanted(&rules, &streams, |index, _| index.to_string()));
    }
}

pub fn all_kinds() -> Vec<Rule> {
    vec![
        generate::rule("cards", Kind::CreditCard, "[card …{last4}]"),
        generate::rule("emails", Kind::Email, "[email]"),
        generate::rule("words", Kind::Literals(vec!["Project Falcon".into()]), "[\"{name}\"]"),
    ]
}

fn check(dialect: &'static Dialect, body: &str, expected: &str) {
    for length in 1..=body.len() {
        let out = masked(&all_kinds(), dialect, body, &[length]);
        assert_eq!(show(&out.body), expected, "by {length}");
    }
}

pub fn delta(text: &str) -> String {
    format!(
        "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":0,\
        \"delta\":{{\"type\":\"text_delta\",\"text\":\"{text}\"}}}}\n\n"
    )
}

pub const STOP: &str = "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n";

#[test]
fn what_is_held_goes_out_with_the_next_delta_or_in_front_of_the_stop() {
    let body = [delta("see bo"), delta("b@x.com or Pro"), delta("ject"), STOP.to_owned()].concat();
    let expected =
        [delta("see "), delta("[email] or "), delta(""), delta("Project"), STOP.to_owned()].concat();
    check(&ANTHROPIC, &body, &expected);
    let body = [delta("bob@x.com"), STOP.to_owned()].concat();
    check(&ANTHROPIC, &body, &[delta(""), delta("[email]"), STOP.to_owned()].concat());
    // Without its end the value ends with the body.
    check(&ANTHROPIC, &delta("bob@x.com"), &[delta(""), delta("[email]")].concat());
}

#[test]
fn doubly_escaped_arguments_are_read_and_stay_json() {
    let json = |piece: &str| {
        format!(
            "data: {{\"type\":\"content_block_delta\",\"index\":1,\"delta\":{{\"type\":\
            \"input_json_delta\",\"partial_json\":\"{piece}\"}}}}\n\n"
        )
    };
    let stop = STOP.replace(":0}", ":1}");
    let body = [
        json(r#"{\"to\":\"bob\\u00"#),
        json(r#"40x.com\",\"n\":41111111"#),
        json(r#"11111111,\"f\":\"Project Falcon\\n\"}"#),
        stop.clone(),
    ];
    let expected = [
        json(r#"{\"to\":\""#),
        json(r#"[email]\",\"n\":"#),
        json(r#"\"[card …1111]\",\"f\":\"[\\\"words\\\"]\\n\"}"#),
        stop,
    ];
    check(&ANTHROPIC, &body.concat(), &expected.concat());
}

#[test]
fn everything_else_in_an_event_is_masked_by_itself() {
    let body = concat!(
        ": bob@x.com\n",
        "data: {\"type\":\"error\",\"error\":{\"message\":\"no such user: bob\\u0040x.com\"}}\n\n",
        "data: plain 4111111111111111\n\n",
        "data: {\"type\":\"content_block_start\",\"content_block\":{\"content\":[{\"url\":\"mailto:\
        eve@x.com\"}]}}\n\n",
        "\n",
    );
    let expected = concat!(
        ": [email]\n",
        "data: {\"type\":\"error\",\"error\":{\"message\":\"no such user: [email]\"}}\n\n",
        "data: plain [card …1111]\n\n",
        "data: {\"type\":\"content_block_start\",\"content_block\":{\"content\":[{\"url\":\"mailto:\
        [email]\"}]}}\n\n",
        "\n",
    );
    check(&ANTHROPIC, body, expected);
}

#[test]
fn escaped_member_names_and_several_data_lines_hide_nothing() {
    let body = concat!(
        "data: {\"type\":\"content_block_delta\",\"index\":0,\"d\\u0065lta\":{\"text\":\"bob@\"}}\n\n",
        "event: x\ndata: {\"type\":\"content_block_delta\",\r\ndata: \"index\":0,\"delta\":{\"text\":\
        \"x.com \"}}\n\n",
    );
    let expected = concat!(
        "data: {\"type\":\"content_block_delta\",\"index\":0,\"d\\u0065lta\":{\"text\":\"\"}}\n\n",
        "event: x\ndata: {\"type\":\"content_block_delta\", \"index\":0,\"delta\":{\"text\":\"[email] \
        \"}}\n\n",
    );
    check(&ANTHROPIC, body, expected);
}

/// Lines behind a byte order mark were joined again and again, without an end.
#[test]
fn several_data_lines_behind_a_byte_order_mark_are_joined_once() {
    let body = "\u{feff}data: {\"delta\":\n\u{feff}data: x\ndata: {\"text\":\"bob@x.com\"}}\n\n";
    let expected = "\u{feff}\u{feff}data: x\ndata: {\"delta\": {\"text\":\"[email]\"}}\n\n";
    check(&ANTHROPIC, body, expected);
}

/// An event of our own stood between the two bytes of a line end.
#[test]
fn a_line_end_over_a_cut_stays_together() {
    let crlf = |event: String| event.replace('\n', "\r\n");
    let body = [crlf(delta("bob@x.com")), crlf(STOP.to_owned())].concat();
    check(&ANTHROPIC, &body, &[crlf(delta("")), delta("[email]"), crlf(STOP.to_owned())].concat());
}

#[test]
fn a_chat_that_ends_with_its_text_is_flushed_in_place() {
    let event = |text: &str, finish: &str| {
        format!(
            "data: {{\"id\":\"c\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}},\
            \"finish_reason\":{finish}}}]}}\n\n"
        )
    };
    check(&OPENAI_CHAT, &event("bob@x.com", "\"stop\""), &event("[email]", "\"stop\""));
    let done = "data: [DONE]\n\n";
    let body = [&event("bob@x.com", "null"), done].concat();
    let flushed = "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"[email]\"},\
    \"finish_reason\":null}]}\n\n";
    check(&OPENAI_CHAT, &body, &[&event("", "null"), flushed, done].concat());
}

#[test]
fn large_events_are_masked_as_they_stream() {
    let filler = "nothing in here \\n".repeat(20_000);
    let event = |email: &str| {
        format!(
            "event: response.completed\ndata: {{\"type\":\"response.completed\",\"text\":\"{filler}{\
            email} {filler}\"}}\n\n"
        )
    };
    let tail =
        "data: {\"type\":\"response.output_text.delta\",\"output_index\":0,\"delta\":\"bob@x.com \"}\n\n";
    let body = event("bob\\u0040x.com") + tail;
    let expected = event("[email]") + &tail.replace("bob@x.com", "[email]");
    for length in [777, 16_000, 65_536, 65_537, body.len()] {
        let out = masked(&all_kinds(), &OPENAI_RESPONSES, &body, &[length]);
        assert!(show(&out.body) == expected, "by {length}");
        assert!(length > 65_536 || out.held_max <= 66_000, "held {}", out.held_max);
    }
}

#[test]
fn too_many_unfinished_values_are_refused_and_finished_ones_forgotten() {
    let body = |text: &str| -> String {
        (0..40).map(|index| delta(text).replace(":0,", &format!(":{index},"))).collect()
    };
    let refused = run(&all_kinds(), Context::Sse(&ANTHROPIC), &[body("bob").as_bytes()]);
    assert_eq!(refused.unwrap_err(), Error::TooManyStreams);
    assert!(run(&all_kinds(), Context::Sse(&ANTHROPIC), &[body("bob. ").as_bytes()]).is_ok());
}

#[test]
fn untouched_events_are_not_copied_and_edits_say_where_the_bytes_stood() {
    let body = [delta("nothing. "), delta("see bob@x"), delta(".com. "), STOP.to_owned()].concat();
    let out = masked(&all_kinds(), &ANTHROPIC, &body, &[]);
    assert_eq!(out.tally.copied, "bob@x".len() as u64);
    let found: Vec<&str> =
        out.edits.iter().map(|edit| &body[edit.offset as usize..(edit.offset + edit.len) as usize]).collect();
    assert_eq!(found, ["bob@x", ".com"]);
    assert_eq!(out.hits, 1);
}
