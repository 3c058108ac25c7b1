//! How a protocol streams values over server-sent events, as constant tables.
//!
//! The table types are open, so that `protocol` can own the tables; those that are known stand here.

/// One way to stream: which members of an event's JSON data are pieces of longer values, what tells those
/// values apart, and what ends them. Everything else in an event is scanned by itself.
#[derive(Debug)]
pub struct Dialect {
    /// For records and logs.
    pub name: &'static str,
    /// Members of which each piece is part of a longer value, or which have a grammar of their own.
    /// At most [`PATTERNS_MAX`] together with `indexes`, `stop_members` and `echo`.
    pub values: &'static [Value],
    /// Integers that tell streamed values apart, at most [`INDEXES_MAX`]; a missing one counts as 0. One
    /// inside an array belongs to the values inside the same element.
    pub indexes: &'static [&'static [Step]],
    /// Event types that end values: those whose indexes agree with all indexes that the event has.
    pub stops: &'static [&'static str],
    /// Members that end values (agreeing as above) when they are there and not `null`.
    pub stop_members: &'static [&'static [Step]],
    /// Root members repeated in an event that the gateway has to make itself, where the last event of the
    /// value had them.
    pub echo: &'static [&'static str],
    /// Strings of whole documents (requests, answers that are not streamed) that must stay as they are.
    pub sealed: &'static [Sealed],
    /// Strings of events that must stay as they are, without those that `values` join.
    pub sealed_in_events: &'static [Sealed],
    /// Strings of whole documents, and of events, that hold documents. At most [`PATTERNS_MAX`].
    pub documents: &'static [&'static [Step]],
}

/// Patterns of one dialect (they are matched as one 64-bit set).
pub const PATTERNS_MAX: usize = 64;
/// Indexes of one dialect.
pub const INDEXES_MAX: usize = 3;

/// One step from an event's data to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The member of an object.
    Key(&'static str),
    /// Every element of an array.
    Each,
}

/// A string member with a treatment of its own.
#[derive(Debug)]
pub struct Value {
    /// The root member `type` must be this; `*` at the start stands for any beginning; `None`: any event.
    pub event: Option<&'static str>,
    /// Where the string is.
    pub path: &'static [Step],
    /// What the string holds.
    pub grammar: Grammar,
    /// `Some`: the strings of successive events are one value. The text is the event that carries what was
    /// held back when the value ends: `$0` to `$2` are the indexes, `$type` the event's type, `$echo` the
    /// echoed members (each with a comma behind it), `$text` the string's content.
    /// `None`: each string is a value by itself.
    pub joined: Option<&'static str>,
}

/// A string of a document that must stay as it is.
#[derive(Debug)]
pub struct Sealed {
    /// Where the string is.
    pub path: &'static [Step],
    /// [`Grammar::Thinking`] or [`Grammar::Opaque`].
    pub grammar: Grammar,
}

/// What a string holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grammar {
    /// Plain text.
    Text,
    /// A JSON document, escaped once more.
    Json,
    /// A model's thinking: plain text that is signed, so that it must stay as it is. It is masked in the
    /// record alone.
    Thinking,
    /// Bytes that must stay as they are (signatures, encrypted thinking). Nothing is looked for in them.
    Opaque,
}

use Step::{Each, Key};

/// No streamed values: every event stands for itself (RFC-less `text/event-stream`, MCP).
pub static GENERIC: Dialect = Dialect {
    name: "generic",
    values: &[],
    indexes: &[],
    stops: &[],
    stop_members: &[],
    echo: &[],
    sealed: &[],
    sealed_in_events: &[],
    documents: &[],
};

/// The Anthropic Messages API.
pub static ANTHROPIC: Dialect = Dialect {
    name: "anthropic",
    values: &[
        Value {
            event: Some("content_block_delta"),
            path: &[Key("delta"), Key("text")],
            grammar: Grammar::Text,
            joined: Some(concat!(
                "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":$0,",
                "\"delta\":{\"type\":\"text_delta\",\"text\":\"$text\"}}\n\n"
            )),
        },
        Value {
            event: Some("content_block_delta"),
            path: &[Key("delta"), Key("partial_json")],
            grammar: Grammar::Json,
            joined: Some(concat!(
                "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":$0,",
                "\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"$text\"}}\n\n"
            )),
        },
        Value {
            event: Some("content_block_delta"),
            path: &[Key("delta"), Key("thinking")],
            grammar: Grammar::Thinking,
            joined: Some(concat!(
                "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":$0,",
                "\"delta\":{\"type\":\"thinking_delta\",\"thinking\":\"$text\"}}\n\n"
            )),
        },
        opaque("content_block_delta", &[Key("delta"), Key("signature")]),
        Value {
            event: Some("content_block_start"),
            path: &[Key("content_block"), Key("thinking")],
            grammar: Grammar::Thinking,
            joined: None,
        },
        opaque("content_block_start", &[Key("content_block"), Key("signature")]),
        opaque("content_block_start", &[Key("content_block"), Key("data")]),
    ],
    indexes: &[&[Key("index")]],
    stops: &["content_block_stop", "message_delta", "message_stop", "error"],
    // The signature of thinking comes behind all of it.
    stop_members: &[&[Key("delta"), Key("signature")]],
    echo: &[],
    sealed: &[
        thinking(&[Key("content"), Each, Key("thinking")]),
        sealed(&[Key("content"), Each, Key("signature")]),
        sealed(&[Key("content"), Each, Key("data")]),
        thinking(&[Key("messages"), Each, Key("content"), Each, Key("thinking")]),
        sealed(&[Key("messages"), Each, Key("content"), Each, Key("signature")]),
        sealed(&[Key("messages"), Each, Key("content"), Each, Key("data")]),
    ],
    sealed_in_events: &[
        sealed(&[Key("delta"), Key("signature")]),
        thinking(&[Key("content_block"), Key("thinking")]),
        sealed(&[Key("content_block"), Key("signature")]),
        sealed(&[Key("content_block"), Key("data")]),
    ],
    documents: &[],
};

/// The OpenAI chat completions API, and completions of old.
pub static OPENAI_CHAT: Dialect = Dialect {
    name: "openai_chat",
    values: &[
        chat(
            &[Key("choices"), Each, Key("delta"), Key("content")],
            Grammar::Text,
            concat!(
                "data: {$echo\"choices\":[{\"index\":$0,\"delta\":{\"content\":\"$text\"},",
                "\"finish_reason\":null}]}\n\n"
            ),
        ),
        chat(
            &[Key("choices"), Each, Key("delta"), Key("refusal")],
            Grammar::Text,
            concat!(
                "data: {$echo\"choices\":[{\"index\":$0,\"delta\":{\"refusal\":\"$text\"},",
                "\"finish_reason\":null}]}\n\n"
            ),
        ),
        chat(
            &[Key("choices"), Each, Key("delta"), Key("reasoning_content")],
            Grammar::Text,
            concat!(
                "data: {$echo\"choices\":[{\"index\":$0,\"delta\":{\"reasoning_content\":\"$text\"},",
                "\"finish_reason\":null}]}\n\n"
            ),
        ),
        chat(
            &[Key("choices"), Each, Key("delta"), Key("tool_calls"), Each, Key("function"), Key("arguments")],
            Grammar::Json,
            concat!(
                "data: {$echo\"choices\":[{\"index\":$0,\"delta\":{\"tool_calls\":[{\"index\":$1,",
                "\"function\":{\"arguments\":\"$text\"}}]},\"finish_reason\":null}]}\n\n"
            ),
        ),
        chat(
            &[Key("choices"), Each, Key("delta"), Key("function_call"), Key("arguments")],
            Grammar::Json,
            concat!(
                "data: {$echo\"choices\":[{\"index\":$0,\"delta\":{\"function_call\":",
                "{\"arguments\":\"$text\"}},\"finish_reason\":null}]}\n\n"
            ),
        ),
        chat(
            &[Key("choices"), Each, Key("text")],
            Grammar::Text,
            "data: {$echo\"choices\":[{\"index\":$0,\"text\":\"$text\",\"finish_reason\":null}]}\n\n",
        ),
    ],
    indexes: &[
        &[Key("choices"), Each, Key("index")],
        &[Key("choices"), Each, Key("delta"), Key("tool_calls"), Each, Key("index")],
    ],
    stops: &[],
    stop_members: &[&[Key("choices"), Each, Key("finish_reason")], &[Key("error")]],
    echo: &["id", "object", "created", "model"],
    sealed: &[],
    sealed_in_events: &[],
    documents: &[
        &[Key("messages"), Each, Key("tool_calls"), Each, Key("function"), Key("arguments")],
        &[Key("messages"), Each, Key("function_call"), Key("arguments")],
        &[Key("choices"), Each, Key("message"), Key("tool_calls"), Each, Key("function"), Key("arguments")],
        &[Key("choices"), Each, Key("message"), Key("function_call"), Key("arguments")],
    ],
};

/// The OpenAI Responses API. The `*.done` events and `response.completed` repeat whole values.
pub static OPENAI_RESPONSES: Dialect = Dialect {
    name: "openai_responses",
    values: &[
        responses("response.function_call_arguments.delta", Grammar::Json),
        responses("response.mcp_call_arguments.delta", Grammar::Json),
        responses("*.delta", Grammar::Text),
        Value {
            event: Some("*_arguments.done"),
            path: &[Key("arguments")],
            grammar: Grammar::Json,
            joined: None,
        },
        Value { event: None, path: &[Key("item"), Key("arguments")], grammar: Grammar::Json, joined: None },
        Value {
            event: None,
            path: &[Key("response"), Key("output"), Each, Key("arguments")],
            grammar: Grammar::Json,
            joined: None,
        },
        Value {
            event: None,
            path: &[Key("item"), Key("encrypted_content")],
            grammar: Grammar::Opaque,
            joined: None,
        },
        Value {
            event: None,
            path: &[Key("response"), Key("output"), Each, Key("encrypted_content")],
            grammar: Grammar::Opaque,
            joined: None,
        },
    ],
    indexes: &[&[Key("output_index")], &[Key("content_index")], &[Key("summary_index")]],
    stops: &["*.done", "response.completed", "response.incomplete", "response.failed", "error"],
    stop_members: &[],
    echo: &["sequence_number", "item_id", "output_index", "content_index", "summary_index"],
    sealed: &[
        sealed(&[Key("output"), Each, Key("encrypted_content")]),
        sealed(&[Key("input"), Each, Key("encrypted_content")]),
    ],
    sealed_in_events: &[
        sealed(&[Key("item"), Key("encrypted_content")]),
        sealed(&[Key("response"), Key("output"), Each, Key("encrypted_content")]),
    ],
    documents: &[
        &[Key("input"), Each, Key("arguments")],
        &[Key("output"), Each, Key("arguments")],
        &[Key("arguments")],
        &[Key("item"), Key("arguments")],
        &[Key("response"), Key("output"), Each, Key("arguments")],
    ],
};

const fn sealed(path: &'static [Step]) -> Sealed {
    Sealed { path, grammar: Grammar::Opaque }
}

const fn thinking(path: &'static [Step]) -> Sealed {
    Sealed { path, grammar: Grammar::Thinking }
}

const fn opaque(event: &'static str, path: &'static [Step]) -> Value {
    Value { event: Some(event), path, grammar: Grammar::Opaque, joined: None }
}

const fn chat(path: &'static [Step], grammar: Grammar, flush: &'static str) -> Value {
    Value { event: None, path, grammar, joined: Some(flush) }
}

const fn responses(event: &'static str, grammar: Grammar) -> Value {
    const FLUSH: &str = "event: $type\ndata: {\"type\":\"$type\",$echo\"delta\":\"$text\"}\n\n";
    Value { event: Some(event), path: &[Key("delta")], grammar, joined: Some(FLUSH) }
}
