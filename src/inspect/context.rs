use super::sse::dialect::Dialect;

/// The grammar of a body.
#[derive(Clone, Copy, Debug)]
pub enum Context {
    /// JSON (RFC 8259), one document or one a line. Escapes are decoded, the masked body is JSON again.
    Json,
    /// Any text whose ASCII characters are single bytes. If its first significant bytes are those of JSON it
    /// is taken as JSON, for types lie.
    Text,
    /// A form (`application/x-www-form-urlencoded`). What is masked is a form again.
    Form,
    /// Server-sent events.
    Sse(&'static Dialect),
}

impl Context {
    /// The grammar for a `Content-Type` value; `dialect` is that of the route, used for event streams.
    ///
    /// A missing type is text. `None` means that the body cannot be masked (binary, multipart, or a
    /// charset in which ASCII characters are not single bytes): where masks apply the caller refuses it.
    pub fn of(content_type: Option<&str>, dialect: &'static Dialect) -> Option<Context> {
        let Some(value) = content_type else { return Some(Context::Text) };
        // What nearly all messages say, without a look at its parts.
        match value {
            "application/json" => return Some(Context::Json),
            "text/event-stream" | "text/event-stream; charset=utf-8" => return Some(Context::Sse(dialect)),
            _ => {}
        }
        let (essence, parameters) = value.split_once(';').unwrap_or((value, ""));
        if !charset_is_ascii_superset(parameters) {
            return None;
        }
        let essence = essence.trim().to_ascii_lowercase();
        let (kind, subtype) = essence.split_once('/').unwrap_or((essence.as_str(), ""));
        let suffix = subtype.rsplit_once('+').map(|(_, suffix)| suffix);
        match (kind, subtype) {
            ("", "") => Some(Context::Text),
            ("text", "event-stream") => Some(Context::Sse(dialect)),
            (_, "json" | "x-json") => Some(Context::Json),
            ("application", "x-www-form-urlencoded") => Some(Context::Form),
            ("application", subtype) if JSON_LINES.contains(&subtype) => Some(Context::Json),
            _ if suffix == Some("json") || suffix == Some("json-seq") => Some(Context::Json),
            ("text", _) => Some(Context::Text),
            ("application", subtype) if TEXTS.contains(&subtype) => Some(Context::Text),
            _ if suffix == Some("xml") || suffix == Some("yaml") => Some(Context::Text),
            _ => None,
        }
    }
}

/// Subtypes of `application/` with one JSON document a line or record.
const JSON_LINES: &[&str] =
    &["x-ndjson", "ndjson", "jsonl", "x-jsonl", "jsonlines", "x-jsonlines", "json-seq", "x-json-stream"];

/// Subtypes of `application/` that are text.
const TEXTS: &[&str] = &[
    "xml",
    "javascript",
    "x-javascript",
    "ecmascript",
    "graphql",
    "yaml",
    "x-yaml",
    "toml",
    "sql",
    "x-sh",
    "csv",
];

fn charset_is_ascii_superset(parameters: &str) -> bool {
    parameters.split(';').filter_map(|parameter| parameter.split_once('=')).all(|(name, value)| {
        let value = value.trim().trim_matches('"').to_ascii_lowercase();
        !name.trim().eq_ignore_ascii_case("charset")
            || ["utf-8", "utf8", "us-ascii", "ascii", ""].contains(&value.as_str())
            || value.starts_with("iso-8859-")
            || value.starts_with("windows-125")
            || value == "latin1"
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::dialect::GENERIC;

    fn check(content_type: &str, expected: &str) {
        let name = match Context::of(Some(content_type), &GENERIC) {
            Some(Context::Json) => "json",
            Some(Context::Text) => "text",
            Some(Context::Form) => "form",
            Some(Context::Sse(_)) => "sse",
            None => "none",
        };
        assert_eq!(name, expected, "{content_type}");
    }

    #[test]
    fn content_types_choose_their_grammar() {
        check("application/json", "json");
        check("Application/JSON; charset=\"UTF-8\"", "json");
        check("application/problem+json", "json");
        check("application/x-ndjson", "json");
        check("text/event-stream;charset=utf-8", "sse");
        check("text/html", "text");
        check("image/svg+xml", "text");
        check("application/xml; charset=ISO-8859-1", "text");
        check("", "text");
        check("application/json; charset=utf-16", "none");
        check("text/plain; charset=utf-7", "none");
        check("application/octet-stream", "none");
        check("application/x-www-form-urlencoded", "form");
        check("multipart/form-data; boundary=x", "none");
        check("application/vnd.amazon.eventstream", "none");
        check("nonsense", "none");
        assert!(matches!(Context::of(None, &GENERIC), Some(Context::Text)));
    }
}
