use serde::Deserialize;
use serde_json::value::RawValue;

/// The members of a JSON-RPC request that a refusal needs.
#[derive(Deserialize)]
struct Call<'a> {
    #[serde(borrow)]
    method: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    id: &'a RawValue,
}

/// The JSON text of the id of a `tools/call` request, to be put into [`super::Refusal::rpc_id`].
///
/// `None` when the body is not one such request with a string or a number as its id (JSON-RPC 2.0
/// section 4): then a refusal is an HTTP error.
pub fn tools_call_id(body: &[u8]) -> Option<&str> {
    let call: Call = serde_json::from_slice(body).ok()?;
    let id = call.id.get();
    let scalar = id.starts_with(|c: char| c == '"' || c == '-' || c.is_ascii_digit());
    (call.method == "tools/call" && scalar).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tool_calls_with_a_scalar_id_are_answered_in_the_protocol() {
        let check = |body: &str, id| assert_eq!(tools_call_id(body.as_bytes()), id, "{body}");
        check(r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{}}"#, Some("7"));
        check(r#"{"id":"a\"b","method":"tools\/call"}"#, Some(r#""a\"b""#));
        check(r#"{"id":7,"method":"tools/list"}"#, None);
        check(r#"{"method":"tools/call"}"#, None);
        check(r#"{"id":null,"method":"tools/call"}"#, None);
        check(r#"{"id":{},"method":"tools/call"}"#, None);
        check(r#"[{"id":1,"method":"tools/call"}]"#, None);
        check("", None);
    }
}
