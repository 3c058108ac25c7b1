use super::{ClientHint, Code, Protocol, shape};
use crate::http::Headers;
use std::sync::Arc;

/// Why a request is answered by the gateway, and what the caller is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    pub code: Code,
    /// A sentence or two for the caller, such as the policy's reason. Never holds a secret.
    pub detail: String,
    /// Name of the policy that decided.
    pub policy: Option<Arc<str>>,
    /// Where that policy stands, such as `ringward.toml:58`.
    pub rule: Option<Arc<str>>,
    /// What the caller can do about it.
    pub next: Option<Arc<str>>,
    /// Id of the approval that waits, was refused or is used up.
    pub approval: Option<Arc<str>>,
    /// Value of `WWW-Authenticate`; on 401 only.
    pub authenticate: Option<String>,
    /// JSON text of the id of a refused MCP `tools/call`, from [`super::tools_call_id`].
    pub rpc_id: Option<Arc<str>>,
}

/// `[deny] status` of the config: the status of denials that would be 403.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DenyStatus {
    /// 403, but 400 to Claude Code, which shows every 403 as a failed login.
    #[default]
    Auto,
    /// Always this status.
    Fixed(u16),
}

/// A whole response of the gateway's own making. `content-length` is not among its headers.
#[derive(Clone, Debug)]
pub struct Reply {
    /// 200 for a refused MCP tool call, else 400 to 599.
    pub status: u16,
    pub headers: Headers,
    /// JSON. A reply to HEAD goes out without it.
    pub body: Vec<u8>,
}

impl Refusal {
    /// A refusal without policy, approval and challenge.
    pub fn new(code: Code, detail: impl Into<String>) -> Refusal {
        Refusal {
            code,
            detail: detail.into(),
            policy: None,
            rule: None,
            next: None,
            approval: None,
            authenticate: None,
            rpc_id: None,
        }
    }

    /// The status that goes on the wire outside of MCP tool calls.
    pub fn status(&self, client: ClientHint, deny: DenyStatus) -> u16 {
        match deny {
            _ if !self.code.is_denial() => self.code.status(),
            DenyStatus::Auto if client.is_claude_code => 400,
            DenyStatus::Auto => self.code.status(),
            DenyStatus::Fixed(status) => status,
        }
    }

    /// The one sentence that every client shows: who refused, why, and what to do next.
    pub fn message(&self) -> String {
        let mut message = match &self.policy {
            Some(policy) => format!("{} \"{policy}\"", self.code.title()),
            None => self.code.title().to_owned(),
        };
        if !self.detail.is_empty() {
            message.push_str(": ");
            message.push_str(&self.detail);
        }
        if let Some(next) = self.next.as_deref().filter(|next| !message.ends_with(next)) {
            message.push(' ');
            message.push_str(next);
        }
        message
    }
}

/// Makes the reply to a refused request, in the shape of the route's protocol.
///
/// `request_id` is the gateway's id (`req_…`), visible ASCII. Sources: RFC 9457 (problem details), RFC 6750
/// section 3 (challenge), the error shapes of the Anthropic and OpenAI APIs, MCP `tools/call`.
pub fn render(
    protocol: Protocol,
    refusal: &Refusal,
    request_id: &str,
    client: ClientHint,
    deny: DenyStatus,
) -> Reply {
    let rpc_id = refusal.rpc_id.as_deref().filter(|_| shape::is_tool_result(protocol, refusal.code));
    let status = if rpc_id.is_some() { 200 } else { refusal.status(client, deny) };
    let body = match (protocol, rpc_id) {
        (_, Some(id)) => shape::tool_result(refusal, request_id, id),
        (Protocol::Anthropic, _) => shape::anthropic(refusal, request_id, status),
        (Protocol::OpenAi, _) => shape::openai(refusal, request_id, status),
        (Protocol::Http | Protocol::Mcp, _) => shape::problem(refusal, request_id, status),
    };
    let plain_json = protocol.is_llm() || rpc_id.is_some();
    let mut headers = Headers::new();
    headers
        .append("content-type", if plain_json { b"application/json" } else { b"application/problem+json" });
    headers.append("request-id", request_id.as_bytes());
    headers.append("x-ringward-response", b"gateway");
    headers.append("x-ringward-decision", refusal.code.verdict().as_str().as_bytes());
    append_advice(&mut headers, refusal);
    Reply { status, headers, body }
}

/// What tells an SSE client of a fault after a 200 head was sent; empty where the connection must be cut.
///
/// It may only be written where an event could begin. After it the stream ends.
pub fn stream_error(protocol: Protocol, refusal: &Refusal, request_id: &str) -> Vec<u8> {
    let status = refusal.code.status();
    let (before, json, after): (&[u8], _, &[u8]) = match (protocol, refusal.rpc_id.as_deref()) {
        (Protocol::Anthropic, _) => {
            (b"event: error\ndata: ", shape::anthropic(refusal, request_id, status), b"\n\n")
        }
        (Protocol::OpenAi, _) => {
            (b"data: ", shape::openai(refusal, request_id, status), b"\n\ndata: [DONE]\n\n")
        }
        (Protocol::Mcp, Some(id)) => {
            (b"event: message\ndata: ", shape::tool_result(refusal, request_id, id), b"\n\n")
        }
        (Protocol::Mcp, None) | (Protocol::Http, _) => return Vec::new(),
    };
    [before, &json, after].concat()
}

fn append_advice(headers: &mut Headers, refusal: &Refusal) {
    if let Some(retry) = refusal.code.should_retry() {
        headers.append("x-should-retry", if retry { b"true" } else { b"false" });
    }
    if let Some(seconds) = refusal.code.retry_after_s() {
        headers.append("retry-after", itoa::Buffer::new().format(seconds).as_bytes());
    }
    if let Some(challenge) = &refusal.authenticate {
        // The detail of a token error may come from the token itself: nothing in it may end the line.
        let visible: Vec<u8> = challenge.bytes().filter(|b| (b' '..=b'~').contains(b)).collect();
        headers.append("www-authenticate", &visible);
    }
}
