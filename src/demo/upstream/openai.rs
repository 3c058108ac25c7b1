//! The OpenAI chat completions API (PROTOCOLS section 3); the responses API is in `responses`.

use super::PACE;
use super::reply::{Reply, id, pieces, question};
use super::responses::responses;
use crate::demo::stream::paced;
use axum::body::Bytes;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

/// Models that are listed; any name is answered.
const MODELS: [&str; 2] = ["gpt-5", "gpt-5-mini"];
/// 2025-10-01T00:00:00Z: when everything here was made.
pub(super) const CREATED_S: u64 = 1_759_276_800;

/// The API without its credential.
pub(super) fn router() -> Router {
    Router::new()
        .route("/v1/chat/completions", post(completions))
        .route("/v1/responses", post(responses))
        .route("/v1/models", get(models))
        .route("/v1/models/{id}", get(model))
        .fallback(|| async { error(StatusCode::NOT_FOUND, None, "there is nothing here") })
}

/// Without the injected key.
pub(super) fn unauthorized() -> Response {
    error(StatusCode::UNAUTHORIZED, Some("invalid_api_key"), "Incorrect API key provided.")
}

fn error(status: StatusCode, code: Option<&str>, message: &str) -> Response {
    let error = json!({ "message": message, "type": "invalid_request_error", "param": null, "code": code });
    (status, Json(json!({ "error": error }))).into_response()
}

pub(super) fn invalid(message: &str) -> Response {
    error(StatusCode::BAD_REQUEST, None, message)
}

/// A stream of such events, each a block of lines.
pub(super) fn event_stream(events: impl Iterator<Item = String>) -> Response {
    let kind = [("content-type", "text/event-stream; charset=utf-8"), ("cache-control", "no-cache")];
    ([("x-request-id", id("req"))], kind, paced(events, PACE)).into_response()
}

async fn completions(body: Bytes) -> Response {
    let Ok(request) = serde_json::from_slice::<Value>(&body) else { return invalid("the body is not JSON") };
    let (Some(model), true) = (request["model"].as_str(), request["messages"].is_array()) else {
        return invalid("model and messages are required");
    };
    let tools = request["tools"].as_array().map(Vec::as_slice).unwrap_or_default();
    let tools: Vec<&str> = tools.iter().filter_map(|tool| tool["function"]["name"].as_str()).collect();
    let reply = Reply::to(&question(&request["messages"]), &tools);
    let usage = usage(1 + body.len() / 4, reply.tokens());
    if request["stream"] == true {
        let usage = (request["stream_options"]["include_usage"] == true).then_some(usage);
        let chunks = chunks(&reply, model, usage.as_ref()).into_iter();
        let events = chunks.map(|chunk| format!("data: {chunk}\n\n"));
        return event_stream(events.chain(["data: [DONE]\n\n".to_owned()]));
    }
    ([("x-request-id", id("req"))], Json(completion(&reply, model, &usage))).into_response()
}

fn usage(input_tokens: usize, output_tokens: usize) -> Value {
    json!({
        "prompt_tokens": input_tokens, "completion_tokens": output_tokens,
        "total_tokens": input_tokens + output_tokens,
    })
}

fn finish_reason(reply: &Reply) -> &'static str {
    if reply.tool.is_some() { "tool_calls" } else { "stop" }
}

/// The whole answer.
fn completion(reply: &Reply, model: &str, usage: &Value) -> Value {
    let mut message = json!({ "role": "assistant", "content": reply.text, "refusal": null });
    if let Some(tool) = &reply.tool {
        let function = json!({ "name": tool.name, "arguments": tool.arguments() });
        message["tool_calls"] = json!([{ "id": id("call"), "type": "function", "function": function }]);
    }
    let choice = json!({ "index": 0, "message": message, "finish_reason": finish_reason(reply) });
    json!({
        "id": id("chatcmpl"), "object": "chat.completion", "created": CREATED_S, "model": model,
        "choices": [choice], "usage": usage,
    })
}

/// The answer as chunks; `usage` stands in a last one of its own, if it is wanted.
fn chunks(reply: &Reply, model: &str, usage: Option<&Value>) -> Vec<Value> {
    let mut deltas = vec![json!({ "role": "assistant", "content": "", "refusal": null })];
    deltas.extend(pieces(&reply.text).into_iter().map(|text| json!({ "content": text })));
    if let Some(tool) = &reply.tool {
        let call = |call: Value| json!({ "tool_calls": [call] });
        let function = json!({ "name": tool.name, "arguments": "" });
        let start = json!({ "index": 0, "id": id("call"), "type": "function", "function": function });
        deltas.push(call(start));
        let arguments = tool.arguments();
        let parts = pieces(&arguments).into_iter();
        deltas.extend(parts.map(|part| call(json!({ "index": 0, "function": { "arguments": part } }))));
    }
    let mut choices: Vec<Value> = deltas
        .into_iter()
        .map(|delta| json!([{ "index": 0, "delta": delta, "finish_reason": null }]))
        .collect();
    choices.push(json!([{ "index": 0, "delta": {}, "finish_reason": finish_reason(reply) }]));
    if usage.is_some() {
        choices.push(json!([]));
    }
    let (id, last) = (id("chatcmpl"), choices.len() - 1);
    let chunk = |(position, choices): (usize, Value)| {
        let mut chunk = json!({
            "id": id, "object": "chat.completion.chunk", "created": CREATED_S, "model": model,
            "choices": choices,
        });
        if let Some(usage) = usage {
            chunk["usage"] = if position == last { usage.clone() } else { Value::Null };
        }
        chunk
    };
    choices.into_iter().enumerate().map(chunk).collect()
}

fn described(id: &str) -> Value {
    json!({ "id": id, "object": "model", "created": CREATED_S, "owned_by": "demo" })
}

async fn models() -> Json<Value> {
    Json(json!({ "object": "list", "data": MODELS.map(described) }))
}

async fn model(Path(name): Path<String>) -> Response {
    match MODELS.into_iter().find(|id| *id == name) {
        Some(model) => Json(described(model)).into_response(),
        None => error(StatusCode::NOT_FOUND, Some("model_not_found"), "There is no such model."),
    }
}
