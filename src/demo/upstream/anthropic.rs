//! The Anthropic Messages API (PROTOCOLS section 1).

use super::PACE;
use super::reply::{Reply, id, pieces, question};
use crate::demo::stream::paced;
use axum::body::Bytes;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

/// Models that are listed; any name is answered.
const MODELS: [(&str, &str); 3] = [
    ("claude-opus-4-5", "Claude Opus 4.5 (demo)"),
    ("claude-sonnet-4-5", "Claude Sonnet 4.5 (demo)"),
    ("claude-haiku-4-5", "Claude Haiku 4.5 (demo)"),
];

/// The API without its credential.
pub(super) fn router() -> Router {
    Router::new()
        .route("/v1/messages", post(messages))
        .route("/v1/messages/count_tokens", post(count_tokens))
        .route("/v1/models", get(models))
        .route("/v1/models/{id}", get(model))
        .fallback(|| async { error(StatusCode::NOT_FOUND, "not_found_error", "there is nothing here") })
}

/// Without the injected key.
pub(super) fn unauthorized() -> Response {
    error(StatusCode::UNAUTHORIZED, "authentication_error", "invalid x-api-key")
}

fn error(status: StatusCode, kind: &str, message: &str) -> Response {
    let request_id = id("req");
    let error = json!({ "type": kind, "message": message });
    let body = json!({ "type": "error", "error": error, "request_id": request_id });
    (status, [("request-id", request_id)], Json(body)).into_response()
}

fn invalid(message: &str) -> Response {
    error(StatusCode::BAD_REQUEST, "invalid_request_error", message)
}

/// What every answer carries.
fn headers() -> [(&'static str, String); 2] {
    [("request-id", id("req")), ("anthropic-organization-id", "org_demo".to_owned())]
}

async fn messages(body: Bytes) -> Response {
    let Ok(request) = serde_json::from_slice::<Value>(&body) else { return invalid("the body is not JSON") };
    let (Some(model), true) = (request["model"].as_str(), request["messages"].is_array()) else {
        return invalid("model and messages are required");
    };
    if request["max_tokens"].as_u64().is_none_or(|most| most == 0) {
        return invalid("max_tokens: a number above 0 is required");
    }
    let tools = request["tools"].as_array().map(Vec::as_slice).unwrap_or_default();
    let tools: Vec<&str> = tools.iter().filter_map(|tool| tool["name"].as_str()).collect();
    let reply = Reply::to(&question(&request["messages"]), &tools);
    let input_tokens = 1 + body.len() / 4;
    if request["stream"] == true {
        let events = events(&reply, model, input_tokens).into_iter().map(|event| {
            // Each event has its type as a name.
            format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or_default())
        });
        let kind = [("content-type", "text/event-stream; charset=utf-8"), ("cache-control", "no-cache")];
        return (headers(), kind, paced(events, PACE)).into_response();
    }
    (headers(), Json(message(&reply, model, input_tokens))).into_response()
}

fn usage(input_tokens: usize, output_tokens: usize) -> Value {
    json!({
        "input_tokens": input_tokens, "output_tokens": output_tokens,
        "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
    })
}

fn stop_reason(reply: &Reply) -> &'static str {
    if reply.tool.is_some() { "tool_use" } else { "end_turn" }
}

/// The whole answer.
fn message(reply: &Reply, model: &str, input_tokens: usize) -> Value {
    let mut content = vec![json!({ "type": "text", "text": reply.text })];
    if let Some(tool) = &reply.tool {
        let block = json!({ "type": "tool_use", "id": id("toolu"), "name": tool.name, "input": tool.input });
        content.push(block);
    }
    json!({
        "id": id("msg"), "type": "message", "role": "assistant", "model": model, "content": content,
        "stop_reason": stop_reason(reply), "stop_sequence": null,
        "usage": usage(input_tokens, reply.tokens()),
    })
}

/// The answer as events.
fn events(reply: &Reply, model: &str, input_tokens: usize) -> Vec<Value> {
    let start = json!({
        "id": id("msg"), "type": "message", "role": "assistant", "model": model, "content": [],
        "stop_reason": null, "stop_sequence": null, "usage": usage(input_tokens, 1),
    });
    let mut events = vec![json!({ "type": "message_start", "message": start })];
    let text = pieces(&reply.text).into_iter().map(|text| json!({ "type": "text_delta", "text": text }));
    block(&mut events, 0, &json!({ "type": "text", "text": "" }), text);
    events.insert(2, json!({ "type": "ping" }));
    if let Some(tool) = &reply.tool {
        let arguments = tool.arguments();
        let start = json!({ "type": "tool_use", "id": id("toolu"), "name": tool.name, "input": {} });
        let parts = pieces(&arguments).into_iter();
        let parts = parts.map(|part| json!({ "type": "input_json_delta", "partial_json": part }));
        block(&mut events, 1, &start, parts);
    }
    let delta = json!({ "stop_reason": stop_reason(reply), "stop_sequence": null });
    let usage = json!({ "output_tokens": reply.tokens() });
    events.push(json!({ "type": "message_delta", "delta": delta, "usage": usage }));
    events.push(json!({ "type": "message_stop" }));
    events
}

fn block(events: &mut Vec<Value>, index: usize, start: &Value, deltas: impl Iterator<Item = Value>) {
    events.push(json!({ "type": "content_block_start", "index": index, "content_block": start }));
    let delta = |delta| json!({ "type": "content_block_delta", "index": index, "delta": delta });
    events.extend(deltas.map(delta));
    events.push(json!({ "type": "content_block_stop", "index": index }));
}

async fn count_tokens(body: Bytes) -> Response {
    match serde_json::from_slice::<Value>(&body) {
        Ok(request) if request["messages"].is_array() => {
            (headers(), Json(json!({ "input_tokens": 1 + body.len() / 4 }))).into_response()
        }
        _ => invalid("messages are required"),
    }
}

fn described((id, name): (&str, &str)) -> Value {
    json!({ "type": "model", "id": id, "display_name": name, "created_at": "2025-10-01T00:00:00Z" })
}

async fn models() -> Response {
    let list = json!({
        "data": MODELS.map(described), "has_more": false,
        "first_id": MODELS[0].0, "last_id": MODELS[MODELS.len() - 1].0,
    });
    (headers(), Json(list)).into_response()
}

async fn model(Path(name): Path<String>) -> Response {
    match MODELS.into_iter().find(|(id, _)| *id == name) {
        Some(model) => (headers(), Json(described(model))).into_response(),
        None => error(StatusCode::NOT_FOUND, "not_found_error", "there is no such model"),
    }
}
