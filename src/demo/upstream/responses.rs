//! The OpenAI responses API: one text, whole or as typed events whose last ones repeat it.

use super::openai::{CREATED_S, event_stream, invalid};
use super::reply::{Reply, id, pieces, question, text_of};
use axum::Json;
use axum::body::Bytes;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// `POST /v1/responses`.
pub(super) async fn responses(body: Bytes) -> Response {
    let Ok(request) = serde_json::from_slice::<Value>(&body) else { return invalid("the body is not JSON") };
    let Some(model) = request["model"].as_str() else { return invalid("model is required") };
    let asked = match &request["input"] {
        Value::String(text) => text.clone(),
        messages @ Value::Array(_) => question(messages),
        other => text_of(other),
    };
    let answer = Answer {
        id: id("resp"),
        item: id("msg"),
        model,
        reply: Reply::to(&asked, &[]),
        input_tokens: 1 + body.len() / 4,
    };
    if request["stream"] == true {
        let events = answer.events().into_iter().enumerate().map(|(number, mut event)| {
            event["sequence_number"] = number.into();
            format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or_default())
        });
        return event_stream(events);
    }
    ([("x-request-id", id("req"))], Json(answer.response("completed"))).into_response()
}

struct Answer<'a> {
    id: String,
    item: String,
    model: &'a str,
    reply: Reply,
    input_tokens: usize,
}

impl Answer<'_> {
    fn part(&self, text: &str) -> Value {
        json!({ "type": "output_text", "text": text, "annotations": [] })
    }

    fn item(&self, status: &str) -> Value {
        let content = if status == "completed" { vec![self.part(&self.reply.text)] } else { Vec::new() };
        json!({
            "id": self.item, "type": "message", "status": status, "role": "assistant", "content": content,
        })
    }

    fn response(&self, status: &str) -> Value {
        let done = status == "completed";
        let (input, output) = (self.input_tokens, self.reply.tokens());
        let usage = json!({
            "input_tokens": input, "input_tokens_details": { "cached_tokens": 0 },
            "output_tokens": output, "output_tokens_details": { "reasoning_tokens": 0 },
            "total_tokens": input + output,
        });
        json!({
            "id": self.id, "object": "response", "created_at": CREATED_S, "status": status, "error": null,
            "incomplete_details": null, "instructions": null, "max_output_tokens": null,
            "model": self.model, "output": if done { vec![self.item(status)] } else { Vec::new() },
            "parallel_tool_calls": true, "previous_response_id": null, "store": false,
            "temperature": 1.0, "text": { "format": { "type": "text" } }, "tool_choice": "auto",
            "tools": [], "top_p": 1.0, "truncation": "disabled", "metadata": {},
            "usage": if done { usage } else { Value::Null },
        })
    }

    fn events(&self) -> Vec<Value> {
        let text = &self.reply.text;
        let place = |kind: &str, member: &str, value: Value| {
            let mut event =
                json!({ "type": kind, "item_id": self.item, "output_index": 0, "content_index": 0 });
            event[member] = value;
            event
        };
        let item = |kind: &str, status| json!({ "type": kind, "output_index": 0, "item": self.item(status) });
        let whole = |kind: &str, status| json!({ "type": kind, "response": self.response(status) });
        let mut events = vec![
            whole("response.created", "in_progress"),
            whole("response.in_progress", "in_progress"),
            item("response.output_item.added", "in_progress"),
            place("response.content_part.added", "part", self.part("")),
        ];
        let delta = |piece: &str| place("response.output_text.delta", "delta", piece.into());
        events.extend(pieces(text).into_iter().map(delta));
        events.push(place("response.output_text.done", "text", text.as_str().into()));
        events.push(place("response.content_part.done", "part", self.part(text)));
        events.push(item("response.output_item.done", "completed"));
        events.push(whole("response.completed", "completed"));
        events
    }
}
