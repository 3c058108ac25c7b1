//! Matches without a bound: once they are confirmed, what belongs to them is taken in with constant state.

use super::class::Class;
use crate::inspect::codec::{DOCUMENT_CLOSE, DOCUMENT_OPEN};

/// How the rest of a confirmed match is told from what stands behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swallow {
    /// Characters of a JSON web token.
    Token,
    /// Characters of a key: letters, digits, `_` and `-`.
    Key,
    /// Characters of a random string.
    Random,
    /// A block of PEM up to its end line: the characters of that line that were read, if it has begun.
    Pem(PemEnd),
    /// The inside of a JSON string.
    String,
    /// A JSON number or word.
    Scalar,
    /// A JSON array or object, so deep inside of it; at depth 0 a string with its quotes.
    Nested {
        /// Brackets that are open.
        depth: u32,
        /// Whether a string is.
        in_string: bool,
        /// Whether a document in a string is.
        in_document: bool,
    },
    /// A document in a string; `whole`: with the quotes around it.
    Document {
        /// Whether its quotes belong to the match.
        whole: bool,
    },
}

/// How much of `-----END …-----` was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PemEnd {
    /// So many bytes of `-----END `.
    Mark(u8),
    /// The label, and so many hyphens behind it.
    Label(u8),
}

const TOKEN: Class = Class::of(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-.=");
/// What a PEM block holds: base64, header fields, line ends, also as they stand in source code.
pub const PEM: Class =
    Class::of(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz+/=-:,.\\ \t\r\n");
const PEM_END: &[u8] = b"-----END ";

impl Swallow {
    /// A JSON value with so many open brackets, or an open string.
    pub fn of_value(depth: u32, in_string: bool) -> Swallow {
        Swallow::Nested { depth, in_string, in_document: false }
    }

    /// The state at the end of `text`, or how many of its bytes belong to the match. `nested`: the text may
    /// hold documents in strings, and what begins in one ends there.
    pub fn take(self, text: &[u8], nested: bool) -> Result<Swallow, usize> {
        let class = match self {
            Swallow::Token => &TOKEN,
            Swallow::Key => &super::provider::URL,
            Swallow::Random => &super::hits::RANDOM,
            Swallow::Pem(end) => return take_pem(end, text),
            Swallow::String if nested => {
                return memchr::memchr2(b'"', DOCUMENT_CLOSE, text).map_or(Ok(self), Err);
            }
            Swallow::String => return memchr::memchr(b'"', text).map_or(Ok(self), Err),
            Swallow::Scalar => {
                let ends = |byte: &u8| b",]}\" \t\r\n".contains(byte);
                let is_mark = |byte: &u8| nested && matches!(*byte, DOCUMENT_OPEN | DOCUMENT_CLOSE);
                return text.iter().position(|byte| ends(byte) || is_mark(byte)).map_or(Ok(self), Err);
            }
            Swallow::Nested { depth, in_string, in_document } => {
                return take_nested(depth, in_string, in_document, text, nested);
            }
            Swallow::Document { whole } => {
                let end = memchr::memchr(DOCUMENT_CLOSE, text);
                return end.map_or(Ok(self), |length| Err(length + usize::from(whole)));
            }
        };
        match text.iter().position(|byte| !class.has(*byte)) {
            Some(end) => Err(end),
            None => Ok(self),
        }
    }
}

/// Every quote of the text of a JSON document is one of a string's ends.
fn take_nested(
    mut depth: u32,
    mut in_string: bool,
    mut in_document: bool,
    text: &[u8],
    nested: bool,
) -> Result<Swallow, usize> {
    let mut at = 0;
    while at < text.len() {
        if in_document {
            let Some(length) = memchr::memchr(DOCUMENT_CLOSE, &text[at..]) else { break };
            at += length + 1;
            in_document = false;
        } else if in_string {
            let end = match nested {
                true => memchr::memchr2(b'"', DOCUMENT_CLOSE, &text[at..]),
                false => memchr::memchr(b'"', &text[at..]),
            };
            let Some(length) = end else { break };
            at += length;
            if text[at] == DOCUMENT_CLOSE {
                return Err(at);
            }
            at += 1;
            in_string = false;
        } else {
            match text[at] {
                // What begins in a document ends with it.
                DOCUMENT_CLOSE if nested => return Err(at),
                DOCUMENT_OPEN if nested => in_document = true,
                b'"' => in_string = true,
                b'{' | b'[' => depth = depth.saturating_add(1),
                b'}' | b']' => depth = depth.saturating_sub(1),
                _ => {}
            }
            at += 1;
        }
        if depth == 0 && !in_string && !in_document {
            return Err(at);
        }
    }
    Ok(Swallow::Nested { depth, in_string, in_document })
}

fn take_pem(mut state: PemEnd, text: &[u8]) -> Result<Swallow, usize> {
    for (at, byte) in text.iter().enumerate() {
        if !PEM.has(*byte) {
            return Err(at);
        }
        state = match state {
            PemEnd::Mark(read) if *byte == PEM_END[usize::from(read)] => {
                if usize::from(read) + 1 == PEM_END.len() { PemEnd::Label(0) } else { PemEnd::Mark(read + 1) }
            }
            // A run of hyphens longer than five still ends in five.
            PemEnd::Mark(5) if *byte == b'-' => PemEnd::Mark(5),
            PemEnd::Mark(_) => PemEnd::Mark(u8::from(*byte == b'-')),
            PemEnd::Label(4) if *byte == b'-' => return Err(at + 1),
            PemEnd::Label(read) if *byte == b'-' => PemEnd::Label(read + 1),
            PemEnd::Label(_) => PemEnd::Label(0),
        };
    }
    Ok(Swallow::Pem(state))
}
