use crate::inspect::{
    dialect::{ANTHROPIC, Dialect, Grammar, OPENAI_CHAT, OPENAI_RESPONSES, Step, Value as Entry},
    events::{Framer, data_start, lines},
};
use serde_json::Value;

/// The dialects whose streams are known. Their events are told apart by their own members, so that all of
/// them are looked for.
const DIALECTS: [&Dialect; 3] = [&ANTHROPIC, &OPENAI_CHAT, &OPENAI_RESPONSES];

/// Who speaks, or what for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voice {
    /// Text for the person.
    Text,
    /// The model's own thoughts.
    Thinking,
    /// The name of a tool that it calls.
    Call,
    /// The arguments of that call, JSON in pieces.
    Arguments,
    /// An error of the service.
    Error,
}

/// A piece of what a body carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    pub voice: Voice,
    pub text: String,
}

/// Takes the text out of an event stream of a language model, as it comes.
#[derive(Debug, Default)]
pub struct Carried {
    framer: Framer,
    /// The bytes of the event that is not whole yet.
    event: Vec<u8>,
}

impl Carried {
    /// What the events say that `bytes` complete. Events that say nothing a person reads give nothing.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Said> {
        let mut said = Vec::new();
        let mut rest = bytes;
        while let Some(end) = self.framer.event_end(rest) {
            self.event.extend_from_slice(&rest[..end]);
            rest = &rest[end..];
            event(&std::mem::take(&mut self.event), &mut said);
        }
        self.event.extend_from_slice(rest);
        said
    }
}

fn event(event: &[u8], said: &mut Vec<Said>) {
    let mut data = Vec::new();
    for line in lines(event).map(|range| &event[range]) {
        if let Some(start) = data_start(line) {
            data.extend_from_slice(&line[start..]);
            data.push(b'\n');
        }
    }
    let Ok(document) = serde_json::from_slice::<Value>(&data) else { return };
    let kind = document["type"].as_str().unwrap_or("");
    for call in [&document["content_block"]["name"], &document["item"]["name"]] {
        say(Voice::Call, call, said);
    }
    for choice in each(&document["choices"]) {
        for call in each(&choice["delta"]["tool_calls"]) {
            say(Voice::Call, &call["function"]["name"], said);
        }
    }
    for entry in DIALECTS.iter().flat_map(|dialect| dialect.values) {
        let before = said.len();
        if let Some(voice) = voice(entry, kind) {
            members(&document, entry.path, &mut |value| say(voice, value, said));
        }
        // The first entry that fits is the one: later ones are more general.
        if said.len() > before {
            break;
        }
    }
    say(Voice::Error, &document["error"]["message"], said);
}

/// What an entry of a dialect's table holds in events of that type, if it is a piece of something readable.
fn voice(entry: &Entry, kind: &str) -> Option<Voice> {
    let fits = entry.event.is_none_or(|event| match event.strip_prefix('*') {
        Some(end) => kind.ends_with(end),
        None => kind == event,
    });
    let last = entry.path.last()?;
    if !fits || entry.joined.is_none() {
        return None;
    }
    let is_thinking = *last == Step::Key("reasoning_content") || kind.contains("reasoning");
    Some(match entry.grammar {
        _ if is_thinking => Voice::Thinking,
        Grammar::Thinking => Voice::Thinking,
        Grammar::Json => Voice::Arguments,
        Grammar::Text | Grammar::Opaque => Voice::Text,
    })
}

/// Every member at `path`.
fn members(value: &Value, path: &[Step], take: &mut dyn FnMut(&Value)) {
    match path.split_first() {
        None => take(value),
        Some((Step::Key(key), rest)) => members(&value[*key], rest, take),
        Some((Step::Each, rest)) => each(value).iter().for_each(|value| members(value, rest, take)),
    }
}

fn each(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn say(voice: Voice, value: &Value, said: &mut Vec<Said>) {
    if let Some(text) = value.as_str().filter(|text| !text.is_empty()) {
        said.push(Said { voice, text: text.to_owned() });
    }
}

/// What a whole answer of a language model says; nothing where it is no such answer.
pub fn answer(body: &[u8]) -> Vec<Said> {
    let mut said = Vec::new();
    let Ok(document) = serde_json::from_slice::<Value>(body) else { return said };
    content(&document["content"], &mut said);
    for choice in each(&document["choices"]) {
        message(&choice["message"], &mut said);
        say(Voice::Text, &choice["text"], &mut said);
    }
    for item in each(&document["output"]) {
        item_of_responses(item, &mut said);
    }
    say(Voice::Error, &document["error"]["message"], &mut said);
    said
}

/// What the last turn of a conversation asks, in a request to a language model: an agent sends all turns
/// again each time. Nothing where the body is no such request.
pub fn question(body: &[u8]) -> Vec<Said> {
    let mut said = Vec::new();
    let Ok(document) = serde_json::from_slice::<Value>(body) else { return said };
    for turns in [&document["messages"], &document["input"]] {
        let turns = each(turns);
        let is_answer = |turn: &Value| turn["role"] == "assistant" || turn["type"] == "function_call";
        let last = turns.iter().rposition(is_answer).map_or(0, |at| at + 1);
        turns[last..].iter().for_each(|turn| match turn["type"].as_str() {
            None | Some("message") => message(turn, &mut said),
            Some(_) => item_of_responses(turn, &mut said),
        });
    }
    say(Voice::Text, &document["input"], &mut said);
    say(Voice::Text, &document["prompt"], &mut said);
    said
}

fn message(message: &Value, said: &mut Vec<Said>) {
    say(Voice::Thinking, &message["reasoning_content"], said);
    say(Voice::Text, &message["refusal"], said);
    content(&message["content"], said);
    for call in each(&message["tool_calls"]) {
        say(Voice::Call, &call["function"]["name"], said);
        say(Voice::Arguments, &call["function"]["arguments"], said);
    }
}

fn item_of_responses(item: &Value, said: &mut Vec<Said>) {
    content(&item["content"], said);
    content(&item["summary"], said);
    say(Voice::Call, &item["name"], said);
    say(Voice::Arguments, &item["arguments"], said);
    say(Voice::Text, &item["output"], said);
}

/// A text, or blocks of several kinds.
fn content(value: &Value, said: &mut Vec<Said>) {
    say(Voice::Text, value, said);
    for block in each(value) {
        say(Voice::Text, &block["text"], said);
        say(Voice::Thinking, &block["thinking"], said);
        say(Voice::Call, &block["name"], said);
        if block["input"].is_object() {
            said.push(Said { voice: Voice::Arguments, text: block["input"].to_string() });
        }
        // The result of a tool holds text or blocks in its turn, and those hold no more of them.
        match &block["content"] {
            Value::Array(inner) => inner.iter().for_each(|inner| say(Voice::Text, &inner["text"], said)),
            text => say(Voice::Text, text, said),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Voice::{Arguments, Call, Error, Text, Thinking};

    fn check(stream: &str, expected: &[(Voice, &str)]) {
        let expected: Vec<_> =
            expected.iter().map(|(voice, text)| Said { voice: *voice, text: (*text).to_owned() }).collect();
        for cut in 0..=stream.len() {
            let mut carried = Carried::default();
            let mut said = carried.push(&stream.as_bytes()[..cut]);
            said.extend(carried.push(&stream.as_bytes()[cut..]));
            assert_eq!(said, expected, "cut at {cut}");
        }
    }

    #[test]
    fn anthropic_streams_are_read_over_any_cut() {
        check(
            "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"content\":[]}}\n\n\
             event: content_block_delta\r\n\
             data: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"thinking_delta\",\
             \"thinking\":\"hm\"}}\
             \r\n\r\n\
             data: {\"type\":\"content_block_delta\",\"delta\":{\"text\":\"Hé\"}}\n\n\
             data: {\"type\":\"content_block_start\",\"content_block\":{\"type\":\"tool_use\",\
             \"name\":\"run\",\"input\":{}}}\n\n\
             data: {\"type\":\"content_block_delta\",\"delta\":{\"partial_json\":\"{\\\"a\\\":1\"}}\n\n\
             data: {\"type\":\"content_block_delta\",\"delta\":{\"signature\":\"c2ln\"}}\n\n\
             data: {\"type\":\"error\",\"error\":{\"message\":\"overloaded\"}}\n\n",
            &[(Thinking, "hm"), (Text, "Hé"), (Call, "run"), (Arguments, "{\"a\":1"), (Error, "overloaded")],
        );
    }

    #[test]
    fn openai_streams_are_read_over_any_cut() {
        check(
            "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n\
             data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\n\
             data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"function\":{\"name\":\"f\",\
             \"arguments\":\"{}\"}}]}}]}\n\n\
             data: {\"type\":\"response.reasoning_summary_text.delta\",\"delta\":\"why\"}\n\n\
             data: {\"type\":\"response.output_text.delta\",\"delta\":\"so\"}\n\n\
             data: {\"type\":\"response.output_text.done\",\"text\":\"so\"}\n\n\
             data: {\"type\":\"response.function_call_arguments.delta\",\"delta\":\"[]\"}\n\n\
             data: not json\n\ndata: [DONE]\n\n",
            &[
                (Text, "Hi"),
                (Call, "f"),
                (Arguments, "{}"),
                (Thinking, "why"),
                (Text, "so"),
                (Arguments, "[]"),
            ],
        );
    }

    #[test]
    fn whole_bodies_say_the_same() {
        let said = |said: Vec<Said>| said.into_iter().map(|one| one.text).collect::<Vec<_>>().join("|");
        let answers = [
            (
                concat!(
                    r#"{"content":[{"type":"text","text":"a"},"#,
                    r#"{"type":"tool_use","name":"t","input":{"x":1}}]}"#
                ),
                "a|t|{\"x\":1}",
            ),
            (
                concat!(
                    r#"{"choices":[{"message":{"content":"b","#,
                    r#""tool_calls":[{"function":{"name":"g","arguments":"{}"}}]}}]}"#
                ),
                "b|g|{}",
            ),
            (r#"{"output":[{"type":"message","content":[{"type":"output_text","text":"c"}]}]}"#, "c"),
            (r#"{"error":{"message":"no"}}"#, "no"),
            ("[1]", ""),
            ("text", ""),
        ];
        for (body, expected) in answers {
            assert_eq!(said(answer(body.as_bytes())), expected, "{body}");
        }
        let questions = [
            (
                concat!(
                    r#"{"messages":[{"role":"user","content":"old"},{"role":"assistant","content":"x"},"#,
                    r#"{"role":"user","content":[{"type":"tool_result","content":"#,
                    r#"[{"type":"text","text":"r"}]},{"type":"text","text":"new"}]}]}"#
                ),
                "r|new",
            ),
            (r#"{"input":"direct"}"#, "direct"),
            (
                concat!(
                    r#"{"input":[{"type":"function_call","name":"f"},"#,
                    r#"{"type":"function_call_output","output":"42"}]}"#
                ),
                "42",
            ),
            (r#"{"a":1}"#, ""),
        ];
        for (body, expected) in questions {
            assert_eq!(said(question(body.as_bytes())), expected, "{body}");
        }
    }
}
