use super::{Code, Protocol, Refusal, Verdict};
use serde::Serialize;
use serde_json::value::RawValue;

/// The members of RFC 9457 and the gateway's own, the same in every shape.
#[derive(Serialize)]
struct Common<'a> {
    message: &'a str,
    request_id: &'a str,
    title: &'static str,
    status: u16,
    detail: &'a str,
    instance: String,
    code: &'static str,
    ringward: Extension<'a>,
}

/// The `ringward` member.
#[derive(Serialize)]
struct Extension<'a> {
    policy: Option<&'a str>,
    rule: Option<&'a str>,
    approval: Option<&'a str>,
    next: Option<&'a str>,
}

#[derive(Serialize)]
struct Anthropic<'a> {
    r#type: &'static str,
    error: AnthropicError<'a>,
    #[serde(flatten)]
    common: Common<'a>,
}

#[derive(Serialize)]
struct AnthropicError<'a> {
    r#type: &'static str,
    code: &'static str,
    message: &'a str,
}

#[derive(Serialize)]
struct OpenAi<'a> {
    error: OpenAiError<'a>,
    #[serde(flatten)]
    common: Common<'a>,
}

#[derive(Serialize)]
struct OpenAiError<'a> {
    message: &'a str,
    r#type: &'static str,
    param: Option<&'a str>,
    code: &'static str,
}

#[derive(Serialize)]
struct ToolAnswer<'a> {
    jsonrpc: &'static str,
    id: &'a RawValue,
    result: ToolResult<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ToolResult<'a> {
    content: [ToolText<'a>; 1],
    is_error: bool,
    #[serde(rename = "_meta")]
    meta: ToolMeta<'a>,
}

#[derive(Serialize)]
struct ToolText<'a> {
    r#type: &'static str,
    text: &'a str,
}

#[derive(Serialize)]
struct ToolMeta<'a> {
    #[serde(rename = "ringward/refusal")]
    refusal: Common<'a>,
}

/// The Anthropic shape, `{"type":"error","error":{…}}`, with the common members beside it.
pub(super) fn anthropic(refusal: &Refusal, request_id: &str, status: u16) -> Vec<u8> {
    let message = refusal.message();
    let code = refusal.code;
    let error = AnthropicError { r#type: code.anthropic_type(), code: code.as_str(), message: &message };
    write(&Anthropic { r#type: "error", error, common: common(refusal, &message, request_id, status) })
}

/// The OpenAI shape, `{"error":{…}}`, with the common members beside it.
pub(super) fn openai(refusal: &Refusal, request_id: &str, status: u16) -> Vec<u8> {
    let message = refusal.message();
    let code = refusal.code;
    let error =
        OpenAiError { message: &message, r#type: code.openai_type(), param: None, code: code.as_str() };
    write(&OpenAi { error, common: common(refusal, &message, request_id, status) })
}

/// A problem document (RFC 9457).
pub(super) fn problem(refusal: &Refusal, request_id: &str, status: u16) -> Vec<u8> {
    let message = refusal.message();
    write(&common(refusal, &message, request_id, status))
}

/// Whether the model should see this refusal as the result of its tool call: decisions, not faults.
pub(super) fn is_tool_result(protocol: Protocol, code: Code) -> bool {
    protocol == Protocol::Mcp && code.verdict() != Verdict::Refuse
}

/// A tool's result with `isError`. `rpc_id` is JSON; what is not JSON becomes `null`.
pub(super) fn tool_result(refusal: &Refusal, request_id: &str, rpc_id: &str) -> Vec<u8> {
    let message = refusal.message();
    let parsed = RawValue::from_string(rpc_id.to_owned()).ok();
    let meta = ToolMeta { refusal: common(refusal, &message, request_id, refusal.code.status()) };
    let content = [ToolText { r#type: "text", text: &message }];
    let result = ToolResult { content, is_error: true, meta };
    write(&ToolAnswer { jsonrpc: "2.0", id: parsed.as_deref().unwrap_or(RawValue::NULL), result })
}

fn common<'a>(refusal: &'a Refusal, message: &'a str, request_id: &'a str, status: u16) -> Common<'a> {
    Common {
        message,
        request_id,
        title: refusal.code.title(),
        status,
        detail: &refusal.detail,
        instance: format!("urn:ringward:req:{request_id}"),
        code: refusal.code.as_str(),
        ringward: Extension {
            policy: refusal.policy.as_deref(),
            rule: refusal.rule.as_deref(),
            approval: refusal.approval.as_deref(),
            next: refusal.next.as_deref(),
        },
    }
}

fn write(shape: &impl Serialize) -> Vec<u8> {
    // Structs of strings and numbers always serialise, and writing into memory does not fail.
    serde_json::to_vec(shape).unwrap_or_default()
}
