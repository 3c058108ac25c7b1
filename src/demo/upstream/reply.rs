//! What the models of the demo say, whatever the shape of the API: personal data in prose, what they were
//! asked last, and a tool call where the question asks for one.

use super::people::PEOPLE;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of the question that are repeated.
const ECHO_BYTES_MAX: usize = 2_000;
/// Characters of successive pieces of a stream: small and uneven, as tokens are.
const PIECES: [usize; 7] = [3, 1, 4, 2, 6, 5, 3];

/// What a model says.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub text: String,
    pub tool: Option<ToolCall>,
}

/// A tool that the model wants to use.
#[derive(Clone, Debug)]
pub(super) struct ToolCall {
    pub name: String,
    pub input: Value,
}

impl ToolCall {
    /// The input as the APIs stream it.
    pub(super) fn arguments(&self) -> String {
        self.input.to_string()
    }
}

impl Reply {
    /// The answer to `question`, for a client that has these tools. It calls one if the question says
    /// "use NAME".
    pub(super) fn to(question: &str, tools: &[&str]) -> Reply {
        let person = &PEOPLE[0];
        let (name, email, card) = (person.name, person.email, person.card);
        let text = format!(
            "{name} writes from {email}, pays with card {card} and has early access to Project Falcon."
        );
        let called = tools.iter().find(|tool| question.contains(&format!("use {tool}")));
        let tool = called.map(|tool| ToolCall {
            name: (*tool).to_owned(),
            input: json!({ "text": format!("Tell {email} about Project Falcon, card {card}") }),
        });
        let echo = shortened(question);
        let text = if echo.is_empty() { text } else { format!("{text} You wrote: {echo}") };
        Reply { text, tool }
    }

    /// Tokens, roughly.
    pub(super) fn tokens(&self) -> usize {
        let arguments = self.tool.as_ref().map_or(0, |tool| tool.arguments().len());
        1 + (self.text.len() + arguments) / 4
    }
}

/// The beginning of a long question.
fn shortened(question: &str) -> &str {
    let mut end = question.len().min(ECHO_BYTES_MAX);
    while !question.is_char_boundary(end) {
        end -= 1;
    }
    question[..end].trim()
}

/// A text in small pieces.
pub(super) fn pieces(text: &str) -> Vec<&str> {
    let mut sizes = PIECES.iter().cycle();
    let mut rest = text;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        // A cycle over an array that is not empty never ends.
        let size = sizes.next().copied().unwrap_or(1);
        let end = rest.char_indices().nth(size).map_or(rest.len(), |(at, _)| at);
        let (piece, after) = rest.split_at(end);
        pieces.push(piece);
        rest = after;
    }
    pieces
}

/// All texts below a `content` member: a text, or blocks or parts with a `text` each.
pub(super) fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => {
            let texts = blocks.iter().map(|block| match (&block["text"], &block["content"]) {
                (Value::String(text), _) => text.clone(),
                (_, content) => text_of(content),
            });
            texts.filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" ")
        }
        _ => String::new(),
    }
}

/// What the last of `messages` says.
pub(super) fn question(messages: &Value) -> String {
    let last = messages.as_array().and_then(|messages| messages.last());
    last.map(|message| text_of(&message["content"])).unwrap_or_default()
}

/// An id that no other answer of this process has.
pub(super) fn id(prefix: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("{prefix}_demo{:012}", NEXT.fetch_add(1, Ordering::Relaxed))
}
