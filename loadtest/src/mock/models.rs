//! What a model says: so many words, whole and as events.

use axum::body::Bytes;
use serde_json::{Value, json};
use std::sync::Arc;

/// Words of an answer, in turn, each with its space.
const WORDS: [&str; 8] =
    ["the ", "gateway ", "forwards ", "what ", "policy ", "allows, ", "and ", "nothing else; "];
/// 2025-10-01T00:00:00Z.
const CREATED_S: u64 = 1_759_276_800;

/// Whose API it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    Anthropic,
    OpenAi,
}

/// One answer, ready to be sent.
pub struct Model {
    pub whole: Bytes,
    events: Arc<[Bytes]>,
    events_with_usage: Arc<[Bytes]>,
}

impl Model {
    /// An answer of so many tokens.
    pub fn new(dialect: Dialect, tokens: u32) -> Model {
        let words: Vec<&str> = WORDS.iter().copied().cycle().take(tokens as usize).collect();
        match dialect {
            Dialect::Anthropic => {
                let events: Arc<[Bytes]> = anthropic_events(&words).iter().map(named).collect();
                let whole = anthropic_message(&words).to_string().into();
                Model { whole, events: events.clone(), events_with_usage: events }
            }
            Dialect::OpenAi => {
                let whole = openai_completion(&words).to_string().into();
                let (events, events_with_usage) = (openai_events(&words, false), openai_events(&words, true));
                Model { whole, events, events_with_usage }
            }
        }
    }

    /// The answer as a stream of events.
    pub fn events(&self, usage: bool) -> Arc<[Bytes]> {
        if usage { self.events_with_usage.clone() } else { self.events.clone() }
    }
}

/// An event with its type as a name.
fn named(event: &Value) -> Bytes {
    format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or_default()).into()
}

fn anthropic_usage(output_tokens: usize) -> Value {
    json!({
        "input_tokens": 25, "output_tokens": output_tokens,
        "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
    })
}

fn anthropic_message(words: &[&str]) -> Value {
    json!({
        "id": "msg_mock", "type": "message", "role": "assistant", "model": "mock",
        "content": [{ "type": "text", "text": words.concat() }],
        "stop_reason": "end_turn", "stop_sequence": null, "usage": anthropic_usage(words.len()),
    })
}

fn anthropic_events(words: &[&str]) -> Vec<Value> {
    let mut message = anthropic_message(&[]);
    message["content"] = json!([]);
    message["stop_reason"] = Value::Null;
    message["usage"] = anthropic_usage(1);
    let text = json!({ "type": "text", "text": "" });
    let mut events = vec![
        json!({ "type": "message_start", "message": message }),
        json!({ "type": "content_block_start", "index": 0, "content_block": text }),
        json!({ "type": "ping" }),
    ];
    events.extend(words.iter().map(|word| {
        let delta = json!({ "type": "text_delta", "text": word });
        json!({ "type": "content_block_delta", "index": 0, "delta": delta })
    }));
    events.push(json!({ "type": "content_block_stop", "index": 0 }));
    let delta = json!({ "stop_reason": "end_turn", "stop_sequence": null });
    let usage = json!({ "output_tokens": words.len() });
    events.push(json!({ "type": "message_delta", "delta": delta, "usage": usage }));
    events.push(json!({ "type": "message_stop" }));
    events
}

fn openai_usage(output_tokens: usize) -> Value {
    json!({ "prompt_tokens": 25, "completion_tokens": output_tokens, "total_tokens": 25 + output_tokens })
}

fn openai_completion(words: &[&str]) -> Value {
    let message = json!({ "role": "assistant", "content": words.concat(), "refusal": null });
    json!({
        "id": "chatcmpl-mock", "object": "chat.completion", "created": CREATED_S, "model": "mock",
        "choices": [{ "index": 0, "message": message, "finish_reason": "stop" }],
        "usage": openai_usage(words.len()),
    })
}

fn openai_events(words: &[&str], usage: bool) -> Arc<[Bytes]> {
    let choice =
        |delta: Value, reason: Value| json!([{ "index": 0, "delta": delta, "finish_reason": reason }]);
    let mut choices = vec![choice(json!({ "role": "assistant", "content": "" }), Value::Null)];
    choices.extend(words.iter().map(|word| choice(json!({ "content": word }), Value::Null)));
    choices.push(choice(json!({}), "stop".into()));
    if usage {
        choices.push(json!([]));
    }
    let last = choices.len() - 1;
    let chunk = |(position, choices): (usize, Value)| -> Bytes {
        let mut chunk = json!({
            "id": "chatcmpl-mock", "object": "chat.completion.chunk", "created": CREATED_S, "model": "mock",
            "choices": choices,
        });
        if usage {
            chunk["usage"] = if position == last { openai_usage(words.len()) } else { Value::Null };
        }
        format!("data: {chunk}\n\n").into()
    };
    let done = Bytes::from_static(b"data: [DONE]\n\n");
    choices.into_iter().enumerate().map(chunk).chain([done]).collect()
}
