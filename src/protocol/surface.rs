use super::Protocol;
use crate::http::Method;

/// Whether a request is allowed without being named in the config.
///
/// Language model APIs allow their inference paths only: files, batches and stored objects are shared by all
/// callers of one injected key. `path` is the canonical path as it goes upstream, without the query.
pub fn allows_by_default(protocol: Protocol, method: &Method, path: &str) -> bool {
    match protocol {
        Protocol::Http | Protocol::Mcp => true,
        Protocol::Anthropic => match method {
            Method::Post => matches!(path, "/v1/messages" | "/v1/messages/count_tokens"),
            _ => reads_models(method, path),
        },
        Protocol::OpenAi => match method {
            Method::Post => matches!(path, "/v1/chat/completions" | "/v1/responses"),
            _ => reads_models(method, path),
        },
    }
}

/// The path that a request to a language model usually has; others have none.
pub fn usual_path(protocol: Protocol, method: &Method) -> Option<&'static str> {
    match (protocol, method) {
        (Protocol::Http | Protocol::Mcp, _) => None,
        (Protocol::Anthropic, Method::Post) => Some("/v1/messages"),
        (Protocol::OpenAi, Method::Post) => Some("/v1/chat/completions"),
        _ => Some("/v1/models"),
    }
}

/// `GET /v1/models` and `GET /v1/models/{id}`.
fn reads_models(method: &Method, path: &str) -> bool {
    let Some(rest) = path.strip_prefix("/v1/models") else { return false };
    let one = rest.strip_prefix('/').is_some_and(|id| !id.is_empty() && !id.contains('/'));
    matches!(method, Method::Get | Method::Head) && (rest.is_empty() || one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_inference_paths_of_models_are_allowed_by_default() {
        let check = |protocol: Protocol, method: &str, path, allowed| {
            let method = Method::from_token(method);
            assert_eq!(allows_by_default(protocol, &method, path), allowed, "{protocol} {method} {path}");
        };
        let (anthropic, openai) = (Protocol::Anthropic, Protocol::OpenAi);
        check(anthropic, "POST", "/v1/messages", true);
        check(anthropic, "POST", "/v1/messages/count_tokens", true);
        check(anthropic, "GET", "/v1/messages", false);
        check(anthropic, "POST", "/v1/messages/batches", false);
        check(anthropic, "GET", "/v1/files/f/content", false);
        check(anthropic, "GET", "/v1/models", true);
        check(anthropic, "GET", "/v1/models/claude", true);
        check(anthropic, "GET", "/v1/models/", false);
        check(anthropic, "GET", "/v1/models/a/b", false);
        check(anthropic, "DELETE", "/v1/models/a", false);
        check(anthropic, "POST", "/v1/chat/completions", false);
        check(openai, "POST", "/v1/chat/completions", true);
        check(openai, "POST", "/v1/responses", true);
        check(openai, "GET", "/v1/responses/r1", false);
        check(openai, "GET", "/v1/files", false);
        check(openai, "HEAD", "/v1/models", true);
        check(Protocol::Http, "DELETE", "/any", true);
        check(Protocol::Mcp, "POST", "/mcp", true);
    }
    #[test]
    fn usual_paths_are_allowed() {
        for protocol in [Protocol::Anthropic, Protocol::OpenAi] {
            for method in [Method::Get, Method::Post] {
                let path = usual_path(protocol, &method).unwrap();
                assert!(allows_by_default(protocol, &method, path), "{protocol} {method} {path}");
            }
        }
        assert_eq!(usual_path(Protocol::Mcp, &Method::Post), None);
    }
}
