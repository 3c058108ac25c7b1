use crate::http::Headers;
use crate::limits::SESSION_ID_BYTES_MAX;

/// What the request's headers say about the client's software. A claim, good for shaping replies only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientHint {
    /// Claude Code: it prefixes every 403 with "Failed to authenticate."
    pub is_claude_code: bool,
}

/// Headers that carry a client's session id, the first that is there wins.
const SESSION_HEADERS: [&str; 3] = ["x-claude-code-session-id", "mcp-session-id", "x-session-id"];

/// Recognises the client by `user-agent` and its own headers.
pub fn client_hint(headers: &Headers) -> ClientHint {
    let named = headers.get_all("user-agent").any(|value| value.starts_with(b"claude-cli/"));
    ClientHint { is_claude_code: named || headers.contains("x-claude-code-session-id") }
}

/// The session that the client claims: 1 to [`SESSION_ID_BYTES_MAX`] visible ASCII characters.
///
/// `None` when there is none or when it is anything else. It is only unique together with issuer and subject.
pub fn session_id(headers: &Headers) -> Option<&str> {
    let claimed = SESSION_HEADERS.iter().find_map(|name| headers.get_str(name))?;
    let plain =
        (1..=SESSION_ID_BYTES_MAX).contains(&claimed.len()) && claimed.bytes().all(|b| b.is_ascii_graphic());
    plain.then_some(claimed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&str, &str)]) -> Headers {
        let mut headers = Headers::new();
        fields.iter().for_each(|(name, value)| headers.append(name, value.as_bytes()));
        headers
    }

    #[test]
    fn claude_code_is_known_by_its_name_or_its_session() {
        let check = |name, value, is| {
            assert_eq!(client_hint(&headers(&[(name, value)])).is_claude_code, is, "{name}: {value}");
        };
        check("user-agent", "claude-cli/2.1.330 (external, cli)", true);
        check("X-Claude-Code-Session-Id", "s", true);
        check("user-agent", "anthropic-sdk-python", false);
        check("user-agent", "curl claude-cli/", false);
    }

    #[test]
    fn a_session_id_is_short_and_visible() {
        let check = |name, value: &str, id| assert_eq!(session_id(&headers(&[(name, value)])), id, "{value}");
        check("x-claude-code-session-id", "7f-1", Some("7f-1"));
        check("Mcp-Session-Id", "m1", Some("m1"));
        check("mcp-session-id", "", None);
        check("mcp-session-id", "a b", None);
        check("mcp-session-id", &"x".repeat(SESSION_ID_BYTES_MAX + 1), None);
        check("cookie", "m1", None);
    }
}
