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
    /// 403, but 451 to Claude Code, which shows every 403 as a failed login and sends a request that got 400
    /// six times (2.1.330 drops one beta after the other).
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
            DenyStatus::Auto if client.is_claude_code => 451,
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
/// It may be written anywhere: the empty line in front of it ends an event that was cut in the middle, which
/// no client takes for a whole one, and means nothing between events. After it the stream ends.
pub fn stream_error(protocol: Protocol, refusal: &Refusal, request_id: &str) -> Vec<u8> {
    let status = refusal.code.status();
    let (before, json, after): (&[u8], _, &[u8]) = match (protocol, refusal.rpc_id.as_deref()) {
        (Protocol::Anthropic, _) => {
            (b"\n\nevent: error\ndata: ", shape::anthropic(refusal, request_id, status), b"\n\n")
        }
        (Protocol::OpenAi, _) => {
            (b"\n\ndata: ", shape::openai(refusal, request_id, status), b"\n\ndata: [DONE]\n\n")
        }
        (Protocol::Mcp, Some(id)) => {
            (b"\n\nevent: message\ndata: ", shape::tool_result(refusal, request_id, id), b"\n\n")
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const ID: &str = "req_01";
    const CLAUDE_CODE: ClientHint = ClientHint { is_claude_code: true };
    const OTHER: ClientHint = ClientHint { is_claude_code: false };

    fn blocked() -> Refusal {
        Refusal {
            policy: Some("no-drop".into()),
            rule: Some("ringward.toml:58".into()),
            next: Some("Ask #db-oncall for a runbook.".into()),
            ..Refusal::new(Code::PolicyDenied, "Destructive SQL is blocked. Ask #db-oncall for a runbook.")
        }
    }

    fn parsed(reply: &Reply) -> Value {
        serde_json::from_slice(&reply.body).unwrap()
    }

    fn header<'a>(reply: &'a Reply, name: &str) -> Option<&'a str> {
        reply.headers.get_str(name)
    }

    #[test]
    fn one_body_serves_every_client_of_the_anthropic_api() {
        let reply = render(Protocol::Anthropic, &blocked(), ID, OTHER, DenyStatus::Auto);
        let message =
            "Blocked by policy \"no-drop\": Destructive SQL is blocked. Ask #db-oncall for a runbook.";
        let expected = json!({
            "type": "error",
            "error": {"type": "permission_error", "code": "policy_denied", "message": message},
            "message": message,
            "request_id": ID,
            "code": "policy_denied",
            "title": "Blocked by policy",
            "status": 403,
            "detail": "Destructive SQL is blocked. Ask #db-oncall for a runbook.",
            "instance": "urn:ringward:req:req_01",
            "ringward": {
                "policy": "no-drop",
                "rule": "ringward.toml:58",
                "approval": null,
                "next": "Ask #db-oncall for a runbook.",
            },
        });
        assert_eq!(parsed(&reply), expected);
        assert_eq!(reply.status, 403);
        let check = |name, value| assert_eq!(header(&reply, name), value, "{name}");
        check("content-type", Some("application/json"));
        check("request-id", Some(ID));
        check("x-ringward-response", Some("gateway"));
        check("x-ringward-decision", Some("block"));
        check("x-should-retry", Some("false"));
        check("retry-after", None);
        check("www-authenticate", None);
    }

    #[test]
    fn other_protocols_have_their_own_shape_with_the_same_members() {
        let openai = parsed(&render(Protocol::OpenAi, &blocked(), ID, OTHER, DenyStatus::Auto));
        let message = blocked().message();
        let error =
            json!({"message": message, "type": "permission_error", "param": null, "code": "policy_denied"});
        assert_eq!(openai["error"], error);
        for protocol in [Protocol::Http, Protocol::Mcp] {
            let reply = render(protocol, &blocked(), ID, OTHER, DenyStatus::Auto);
            assert_eq!(header(&reply, "content-type"), Some("application/problem+json"));
            let mut rest = openai.clone();
            rest.as_object_mut().unwrap().remove("error");
            assert_eq!(parsed(&reply), rest);
        }
    }

    #[test]
    fn claude_code_gets_451_for_denials_only() {
        let check = |code, client, deny, status: u16| {
            let reply = render(Protocol::Anthropic, &Refusal::new(code, ""), ID, client, deny);
            assert_eq!(
                (reply.status, parsed(&reply)["status"].as_u64()),
                (status, Some(status.into())),
                "{code}"
            );
        };
        check(Code::PolicyDenied, CLAUDE_CODE, DenyStatus::Auto, 451);
        check(Code::Frozen, CLAUDE_CODE, DenyStatus::Auto, 451);
        check(Code::PolicyDenied, OTHER, DenyStatus::Auto, 403);
        check(Code::PolicyDenied, CLAUDE_CODE, DenyStatus::Fixed(403), 403);
        check(Code::PolicyDenied, OTHER, DenyStatus::Fixed(422), 422);
        check(Code::TokenExpired, CLAUDE_CODE, DenyStatus::Auto, 401);
        check(Code::NoRoute, CLAUDE_CODE, DenyStatus::Fixed(422), 404);
        check(Code::ApprovalUnavailable, CLAUDE_CODE, DenyStatus::Auto, 503);
    }

    #[test]
    fn every_code_keeps_to_the_table_in_every_protocol() {
        let protocols = [Protocol::Http, Protocol::Anthropic, Protocol::OpenAi, Protocol::Mcp];
        for (code, protocol) in Code::all().flat_map(|code| protocols.map(|protocol| (code, protocol))) {
            let reply = render(protocol, &Refusal::new(code, "why"), ID, OTHER, DenyStatus::Auto);
            assert_eq!(reply.status, code.status());
            assert_eq!(
                header(&reply, "x-should-retry"),
                code.should_retry().map(|r| if r { "true" } else { "false" })
            );
            let seconds = code.retry_after_s().map(|seconds| seconds.to_string());
            assert_eq!(header(&reply, "retry-after"), seconds.as_deref());
            assert_eq!(header(&reply, "x-ringward-decision"), Some(code.verdict().as_str()));
            let body = parsed(&reply);
            assert_eq!(body["code"], code.as_str());
            assert_eq!(body["message"], format!("{}: why", code.title()));
        }
    }

    #[test]
    fn a_challenge_cannot_end_its_line() {
        let challenge = "Bearer error=\"invalid_token\", error_description=\"a\r\nx: y\u{e9}\"";
        let refusal =
            Refusal { authenticate: Some(challenge.to_owned()), ..Refusal::new(Code::TokenInvalid, "") };
        let reply = render(Protocol::OpenAi, &refusal, ID, OTHER, DenyStatus::Auto);
        let sent = header(&reply, "www-authenticate");
        assert_eq!(sent, Some("Bearer error=\"invalid_token\", error_description=\"ax: y\""));
        assert_eq!(parsed(&reply)["error"]["type"], "authentication_error");
    }

    #[test]
    fn text_from_outside_stays_inside_its_string() {
        let nasty = "a\"},\u{2028}\n\0\\ </script> \u{1f4a3}";
        let refusal = Refusal::new(Code::MalformedRequest, nasty);
        for protocol in [Protocol::Http, Protocol::Anthropic, Protocol::OpenAi] {
            assert_eq!(parsed(&render(protocol, &refusal, ID, OTHER, DenyStatus::Auto))["detail"], nasty);
        }
        let event = stream_error(Protocol::Anthropic, &refusal, ID);
        assert_eq!(event.iter().filter(|byte| **byte == b'\n').count(), 5);
    }

    #[test]
    fn a_refused_tool_call_is_a_result_that_the_model_sees() {
        let refusal = Refusal { rpc_id: Some("\"c1\"".into()), ..blocked() };
        let reply = render(Protocol::Mcp, &refusal, ID, CLAUDE_CODE, DenyStatus::Auto);
        let body = parsed(&reply);
        assert_eq!((reply.status, header(&reply, "content-type")), (200, Some("application/json")));
        assert_eq!((&body["jsonrpc"], &body["id"]), (&json!("2.0"), &json!("c1")));
        assert_eq!(body["result"]["isError"], true);
        assert_eq!(body["result"]["content"], json!([{"type": "text", "text": blocked().message()}]));
        assert_eq!(body["result"]["_meta"]["ringward/refusal"]["code"], "policy_denied");
        let fault = Refusal { rpc_id: Some("1".into()), ..Refusal::new(Code::TokenMissing, "") };
        assert_eq!(render(Protocol::Mcp, &fault, ID, OTHER, DenyStatus::Auto).status, 401);
        assert_eq!(render(Protocol::Http, &refusal, ID, OTHER, DenyStatus::Auto).status, 403);
    }

    #[test]
    fn a_stream_ends_with_an_event_of_its_protocol() {
        let refusal = Refusal::new(Code::UpstreamTimeout, "idle for 5 min");
        let check = |protocol, before: &str, after: &str| {
            let event = String::from_utf8(stream_error(protocol, &refusal, ID)).unwrap();
            let json = event.strip_prefix(before).and_then(|rest| rest.strip_suffix(after)).unwrap();
            assert_eq!(serde_json::from_str::<Value>(json).unwrap()["error"]["message"], refusal.message());
        };
        check(Protocol::Anthropic, "\n\nevent: error\ndata: ", "\n\n");
        check(Protocol::OpenAi, "\n\ndata: ", "\n\ndata: [DONE]\n\n");
        assert!(stream_error(Protocol::Http, &refusal, ID).is_empty());
        assert!(stream_error(Protocol::Mcp, &refusal, ID).is_empty());
    }

    #[test]
    fn the_message_names_the_policy_and_says_the_next_step_once() {
        let check = |refusal: Refusal, message: &str| assert_eq!(refusal.message(), message);
        check(Refusal::new(Code::NoRoute, ""), "No route");
        check(Refusal::new(Code::NoRoute, "/x"), "No route: /x");
        let next = Some("Wait.".into());
        check(Refusal { next, ..Refusal::new(Code::Overloaded, "full.") }, "Overloaded: full. Wait.");
    }
}
