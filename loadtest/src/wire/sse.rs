//! Server-sent events (WHATWG HTML, section 9.2.6), counted and told apart without being parsed.

use crate::limits;
use memchr::{memchr2, memmem};

/// Whose events they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Anthropic Messages: a token is a `content_block_delta`, the end a `message_stop`.
    Anthropic,
    /// OpenAI chat completions: a token is a chunk that says something, the end `[DONE]`.
    OpenAi,
    /// Any: every event with data is a token, and the end is that of the body.
    Any,
}

/// What an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// A piece of what the model says.
    Token,
    /// The last event of a whole stream.
    Last,
    /// The stream ends with a fault.
    Error,
    /// Anything else.
    Other,
}

/// Finds the ends of events in pieces of any length, and keeps the beginning of one event at most.
#[derive(Clone, Debug)]
pub struct Events {
    dialect: Dialect,
    /// The beginning of the current event's lines, without line ends.
    event: Vec<u8>,
    /// Whether the event has a line with data.
    has_data: bool,
    /// Bytes of the line that is being read.
    line: usize,
    /// Where that line begins in `event`.
    line_start: usize,
    /// Whether the last byte was a CR, whose LF belongs to it.
    after_cr: bool,
}

impl Events {
    /// Of a stream that begins.
    pub fn new(dialect: Dialect) -> Events {
        let event = Vec::with_capacity(limits::EVENT_BYTES_LOOKED_AT);
        Events { dialect, event, has_data: false, line: 0, line_start: 0, after_cr: false }
    }

    /// Begins another stream.
    pub fn reset(&mut self) {
        self.end_event();
        self.after_cr = false;
    }

    /// Reads a piece of the body; `found` gets each event that ends in it.
    pub fn push(&mut self, mut piece: &[u8], mut found: impl FnMut(Sort)) {
        while let Some(&first) = piece.first() {
            if std::mem::take(&mut self.after_cr) && first == b'\n' {
                piece = &piece[1..];
                continue;
            }
            let Some(end) = memchr2(b'\n', b'\r', piece) else {
                self.keep(piece);
                return;
            };
            self.keep(&piece[..end]);
            self.after_cr = piece[end] == b'\r';
            piece = &piece[end + 1..];
            if let Some(sort) = self.end_line() {
                found(sort);
            }
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.line += bytes.len();
        let room = limits::EVENT_BYTES_LOOKED_AT - self.event.len();
        self.event.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn end_line(&mut self) -> Option<Sort> {
        if self.line > 0 {
            let line = &self.event[self.line_start..];
            // A line that begins behind what is looked at is data in all likelihood: long data does that.
            self.has_data |= line.starts_with(b"data") || line.len() < 4.min(self.line);
            self.line = 0;
            // Lines are told apart by a byte that no line holds.
            if self.event.len() < limits::EVENT_BYTES_LOOKED_AT {
                self.event.push(b'\n');
            }
            self.line_start = self.event.len();
            return None;
        }
        let sort = self.has_data.then(|| self.sort());
        self.end_event();
        sort
    }

    fn end_event(&mut self) {
        self.event.clear();
        (self.has_data, self.line, self.line_start) = (false, 0, 0);
    }

    fn sort(&self) -> Sort {
        let has = |text: &str| memmem::find(&self.event, text.as_bytes()).is_some();
        match self.dialect {
            Dialect::Anthropic if has("content_block_delta") => Sort::Token,
            Dialect::Anthropic if has("\"type\":\"message_stop\"") || has("event: message_stop") => {
                Sort::Last
            }
            Dialect::Anthropic if has("event: error") || has("\"type\":\"error\"") => Sort::Error,
            Dialect::OpenAi if has("data: [DONE]") || has("data:[DONE]") => Sort::Last,
            Dialect::OpenAi if has("\"error\":{") => Sort::Error,
            Dialect::OpenAi if self.says_something() => Sort::Token,
            Dialect::Any => Sort::Token,
            _ => Sort::Other,
        }
    }

    /// Whether a chunk of a completion has content, an argument of a tool, or reasoning.
    fn says_something(&self) -> bool {
        ["\"content\":", "\"reasoning_content\":", "\"reasoning\":", "\"arguments\":"].iter().any(|name| {
            let at = memmem::find(&self.event, name.as_bytes()).map(|at| at + name.len());
            let value = at.map(|at| self.event[at..].trim_ascii_start()).unwrap_or_default();
            value.starts_with(b"\"") && !value.starts_with(b"\"\"")
        })
    }
}
