use super::Protocol;
use crate::inspect::dialect::{ANTHROPIC, Dialect, GENERIC, OPENAI_CHAT, OPENAI_RESPONSES};

/// How values are streamed in an event stream that answers a request for `path`.
pub fn dialect(protocol: Protocol, path: &str) -> &'static Dialect {
    match protocol {
        Protocol::Anthropic => &ANTHROPIC,
        Protocol::OpenAi if path.contains("/responses") => &OPENAI_RESPONSES,
        Protocol::OpenAi => &OPENAI_CHAT,
        Protocol::Http | Protocol::Mcp => &GENERIC,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_tells_the_two_dialects_of_openai_apart() {
        let cases = [
            (Protocol::OpenAi, "/v1/chat/completions", OPENAI_CHAT.name),
            (Protocol::OpenAi, "/v1/responses", OPENAI_RESPONSES.name),
            (Protocol::Anthropic, "/v1/messages", ANTHROPIC.name),
            (Protocol::Mcp, "/mcp", GENERIC.name),
        ];
        for (protocol, path, name) in cases {
            assert_eq!(dialect(protocol, path).name, name, "{path}");
        }
    }
}
