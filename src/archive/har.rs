//! HTTP Archive 1.2, which browsers and proxies read (<http://www.softwareishard.com/blog/har-12-spec/>).
//!
//! What the log does not hold is left empty, as the format wants: where it has no response fields, as before
//! they were recorded, the type of a response is told from its bytes.

use super::recording::{Body, Recording};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

/// Writes one archive, entry by entry, so that it never lies in memory as a whole.
#[derive(Debug, Default)]
pub struct Har {
    entries: u64,
}

impl Har {
    /// What comes before the first entry.
    pub fn begin() -> String {
        let creator = json!({ "name": env!("CARGO_PKG_NAME"), "version": env!("CARGO_PKG_VERSION") });
        format!("{{\"log\":{{\"version\":\"1.2\",\"creator\":{creator},\"entries\":[\n")
    }

    /// One more entry.
    pub fn entry(&mut self, recording: &Recording) -> String {
        let comma = if self.entries == 0 { "" } else { ",\n" };
        self.entries += 1;
        format!("{comma}{}", entry(recording))
    }

    /// What comes behind the last entry.
    pub fn end() -> &'static str {
        "\n]}}\n"
    }
}

/// One exchange as an entry of `log.entries`. What the format has no place for is in `_ringward`.
pub fn entry(recording: &Recording) -> Value {
    let exchange = &recording.exchange;
    let first = recording.response.pieces.first().map_or(0, |piece| piece.at_us);
    let total = exchange.duration_us.unwrap_or(0).max(first);
    let ms = |us: u64| us as f64 / 1_000.0;
    json!({
        "startedDateTime": exchange.started,
        "time": ms(total),
        "request": request(recording),
        "response": response(recording),
        "cache": {},
        "timings": { "send": 0, "wait": ms(first), "receive": ms(total - first) },
        "_ringward": {
            "id": exchange.id,
            "session": exchange.session,
            "sequence": exchange.sequence,
            "who": recording.who,
            "route": exchange.route,
            "upstream": exchange.upstream,
            "decision": exchange.decision,
            "ruling": recording.ruling,
            "cause": exchange.cause,
            "reason": exchange.reason,
            "masks": recording.masks,
            "folded": recording.folded,
            "request_whole": recording.request.whole,
            "response_whole": recording.response.whole,
        },
    })
}

fn request(recording: &Recording) -> Value {
    let exchange = &recording.exchange;
    let mut request = json!({
        "method": exchange.method.as_deref().unwrap_or(""),
        "url": url(recording),
        "httpVersion": "HTTP/1.1",
        "cookies": [],
        "headers": fields(&recording.headers),
        "queryString": query(exchange.target.as_deref().unwrap_or("")),
        "headersSize": -1,
        "bodySize": recording.request.bytes,
    });
    let body = recording.request.content();
    if !body.is_empty() {
        let kind = field(&recording.headers, "content-type").unwrap_or_else(|| kind(&body));
        let mut data = json!({ "mimeType": kind, "text": String::from_utf8_lossy(&body) });
        if std::str::from_utf8(&body).is_err() {
            // The format has base64 for responses only.
            data["text"] = STANDARD.encode(&body).into();
            data["comment"] = "base64".into();
        }
        request["postData"] = data;
    }
    request
}

fn response(recording: &Recording) -> Value {
    let status = recording.exchange.status.unwrap_or(0);
    let status_text = axum::http::StatusCode::from_u16(status).ok().and_then(|code| code.canonical_reason());
    json!({
        "status": status,
        "statusText": status_text.unwrap_or(""),
        "httpVersion": "HTTP/1.1",
        "cookies": [],
        "headers": fields(&recording.response_headers),
        "content": content(&recording.response, field(&recording.response_headers, "content-type")),
        "redirectURL": field(&recording.response_headers, "location").unwrap_or(""),
        "headersSize": -1,
        "bodySize": recording.response.bytes,
    })
}

/// Fields of a message, in their order.
fn fields(headers: &[(String, String)]) -> Vec<Value> {
    headers.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect()
}

/// The first field of that name.
fn field<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(named, _)| named.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

fn content(body: &Body, named: Option<&str>) -> Value {
    let bytes = body.content();
    let mut content = json!({ "size": body.bytes, "mimeType": named.unwrap_or_else(|| kind(&bytes)) });
    match String::from_utf8(bytes) {
        Ok(text) if text.is_empty() => {}
        Ok(text) => content["text"] = text.into(),
        Err(error) => {
            content["text"] = STANDARD.encode(error.as_bytes()).into();
            content["encoding"] = "base64".into();
        }
    }
    content
}

/// What a body looks like.
fn kind(body: &[u8]) -> &'static str {
    let Ok(text) = std::str::from_utf8(body) else { return "application/octet-stream" };
    let text = text.trim_start();
    let starts = |starts: &[&str]| starts.iter().any(|start| text.starts_with(start));
    if text.is_empty() {
        "x-unknown"
    } else if starts(&["data:", "event:", "id:", "retry:", ":"]) {
        "text/event-stream"
    } else if starts(&["{", "["]) {
        "application/json"
    } else {
        "text/plain"
    }
}

/// Where the caller sent its request; https, as callers should, where the scheme was not recorded.
fn url(recording: &Recording) -> String {
    let authority = if recording.authority.is_empty() { "unknown.invalid" } else { &recording.authority };
    let target = recording.exchange.target.as_deref().filter(|target| target.starts_with('/')).unwrap_or("/");
    format!("{}://{authority}{target}", recording.scheme.as_deref().unwrap_or("https"))
}

fn query(target: &str) -> Vec<Value> {
    let Some((_, query)) = target.split_once('?') else { return Vec::new() };
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        json!({ "name": name, "value": value })
    };
    pairs.map(pair).collect()
}
