//! Answers as they come from the wire: HTTP/1.1 (RFC 9112) and server-sent events, from pieces of any length.
//!
//! Nothing here knows a socket, and nothing is kept of a body. Start at [`Decoder`] and [`Events`].

mod chunked;
mod decoder;
mod head;
mod sse;
#[cfg(test)]
mod tests;

pub use decoder::{Decoder, Event};
pub use head::{Head, Want};
pub use sse::{Dialect, Events, Sort};

use std::fmt;

/// What an answer has wrong: the peer's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// No `HTTP/1.x NNN` at the start.
    StatusLine,
    /// A field line without a name, or with a byte that may not be there.
    FieldLine,
    /// More than [`crate::limits::HEAD_BYTES_MAX`] or [`crate::limits::FIELDS_MAX`].
    HeadTooLong,
    /// Two lengths, a length that is none, or a length beside chunks (RFC 9112 section 6.3).
    Framing,
    /// A chunk whose size or end is not what RFC 9112 section 7.1 says.
    Chunk,
    /// Another protocol was switched to, which nobody asked for.
    Switched,
    /// The connection ended before the answer did.
    Truncated,
    /// Bytes followed the end of the answer.
    Surplus,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Error::StatusLine => "the answer does not begin with an HTTP/1 status line",
            Error::FieldLine => "a field line of the answer is malformed",
            Error::HeadTooLong => "the head of the answer is too long",
            Error::Framing => "the length of the answer is ambiguous",
            Error::Chunk => "a chunk of the answer is malformed",
            Error::Switched => "the answer switches to another protocol",
            Error::Truncated => "the connection ended before the answer did",
            Error::Surplus => "bytes followed the answer",
        })
    }
}
