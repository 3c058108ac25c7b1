use crate::buffer::{Chunk, Segments};
use crate::http::Rejection;
use crate::http::syntax::{hex, is_token_byte, is_value_byte};
use crate::limits::{CHUNK_EXTENSION_BYTES_MAX, CHUNK_SIZE_DIGITS_MAX, TRAILER_BYTES_MAX};

/// The chunked coding (RFC 9112 section 7.1), byte by byte outside of the data.
///
/// ```text
///             ┌───────────────────── DataLf ◀─ DataCr ◀─┐
///             ▼                                         │
///           Size ──▶ SizeLf ──▶ Data (size > 0) ────────┘
///           │  ▲       │
///         ; ▼  │ CR    └──▶ TrailerStart (size 0) ──▶ EndLf ──▶ Done
///        Extension              │    ▲
///                               ▼    │
///                      TrailerName ─▶ TrailerValue ─▶ TrailerLf
/// ```
#[derive(Debug, Default)]
pub(super) struct Chunked {
    state: State,
    /// Of the current chunk: its size so far, then its bytes still to come.
    left: u64,
    /// Digits of the current size.
    digits: usize,
    /// Bytes of the current chunk's extensions.
    extension_bytes: usize,
    /// Bytes of the trailer section.
    trailer_bytes: usize,
    /// Name of the current trailer field, in lower case.
    name: TrailerName,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Size,
    Extension(Extension),
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    Done,
}

/// Where in `*( ";" name [ "=" value ] )` (RFC 9112 section 7.1.1). White space around `;` and `=` is "bad"
/// by the grammar's own word and refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extension {
    NameStart,
    Name,
    ValueStart,
    Token,
    Quoted,
    /// Behind a backslash in a quoted string.
    Escaped,
    /// Behind a quoted string.
    Closed,
}

/// First bytes of a trailer's name: enough to tell the forbidden ones.
#[derive(Debug, Default)]
struct TrailerName {
    bytes: [u8; 24],
    len: usize,
}

impl Chunked {
    /// Takes `input`; returns how many of its bytes belong to this body.
    pub fn push(&mut self, input: &Chunk, out: &mut Segments) -> Result<usize, Rejection> {
        let mut at = 0;
        while at < input.len() && self.state != State::Done {
            if self.state == State::Data {
                let taken = usize::try_from(self.left).unwrap_or(usize::MAX).min(input.len() - at);
                out.push(input.slice(at..at + taken));
                self.left -= taken as u64;
                at += taken;
                if self.left == 0 {
                    self.state = State::DataCr;
                }
            } else {
                self.state = self.next(input[at])?;
                at += 1;
            }
        }
        Ok(at)
    }

    /// Whether the last chunk and the trailer section are behind.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    fn next(&mut self, byte: u8) -> Result<State, Rejection> {
        match (self.state, byte) {
            (State::Size, byte) => self.size(byte),
            (State::Extension(at), byte) => self.extension(at, byte),
            (State::SizeLf, b'\n') => {
                self.digits = 0;
                self.extension_bytes = 0;
                Ok(if self.left == 0 { State::TrailerStart } else { State::Data })
            }
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => Ok(State::Size),
            (State::TrailerStart, b'\r') => Ok(State::EndLf),
            (State::EndLf, b'\n') => Ok(State::Done),
            (State::TrailerStart | State::TrailerName | State::TrailerValue | State::TrailerLf, byte) => {
                self.trailer(byte)
            }
            (State::SizeLf, _) => Err(Rejection::BareCr),
            (State::EndLf, _) => Err(Rejection::TrailerInvalid),
            // `push` takes data itself and stops when done.
            (State::DataCr | State::DataLf | State::Data | State::Done, _) => Err(Rejection::ChunkEndInvalid),
        }
    }

    fn size(&mut self, byte: u8) -> Result<State, Rejection> {
        match (hex(byte), byte) {
            (Some(digit), _) if self.digits < CHUNK_SIZE_DIGITS_MAX => {
                self.digits += 1;
                // 16 digits fit into 64 bits; were the limit larger, the size would be refused here.
                self.left = self.left.checked_mul(16).ok_or(Rejection::ChunkSizeInvalid)? | u64::from(digit);
                Ok(State::Size)
            }
            (None, b'\r') if self.digits > 0 => Ok(State::SizeLf),
            (None, b';') if self.digits > 0 => Ok(State::Extension(Extension::NameStart)),
            (None, b'\n') if self.digits > 0 => Err(Rejection::BareLf),
            _ => Err(Rejection::ChunkSizeInvalid),
        }
    }

    fn extension(&mut self, at: Extension, byte: u8) -> Result<State, Rejection> {
        self.extension_bytes += 1;
        if self.extension_bytes > CHUNK_EXTENSION_BYTES_MAX {
            return Err(Rejection::ChunkExtensionTooLong);
        }
        let next = match (at, byte) {
            (Extension::Quoted, b'"') => Extension::Closed,
            (Extension::Quoted, b'\\') => Extension::Escaped,
            (Extension::Quoted | Extension::Escaped, byte) if is_value_byte(byte) => Extension::Quoted,
            (Extension::NameStart | Extension::Name, byte) if is_token_byte(byte) => Extension::Name,
            (Extension::ValueStart | Extension::Token, byte) if is_token_byte(byte) => Extension::Token,
            (Extension::ValueStart, b'"') => Extension::Quoted,
            (Extension::Name, b'=') => Extension::ValueStart,
            (Extension::Name | Extension::Token | Extension::Closed, b';') => Extension::NameStart,
            (Extension::Name | Extension::Token | Extension::Closed, b'\r') => return Ok(State::SizeLf),
            (_, b'\n') => return Err(Rejection::BareLf),
            _ => return Err(Rejection::ChunkExtensionInvalid),
        };
        Ok(State::Extension(next))
    }

    fn trailer(&mut self, byte: u8) -> Result<State, Rejection> {
        self.trailer_bytes += 1;
        if self.trailer_bytes > TRAILER_BYTES_MAX {
            return Err(Rejection::TrailerTooLong);
        }
        match (self.state, byte) {
            (State::TrailerStart, byte) if is_token_byte(byte) => {
                self.name.len = 0;
                self.name.push(byte);
                Ok(State::TrailerName)
            }
            (State::TrailerName, byte) if is_token_byte(byte) => {
                self.name.push(byte);
                Ok(State::TrailerName)
            }
            (State::TrailerName, b':') if self.name.is_forbidden() => Err(Rejection::TrailerForbidden),
            (State::TrailerName, b':') => Ok(State::TrailerValue),
            (State::TrailerValue, b'\r') => Ok(State::TrailerLf),
            (State::TrailerValue, byte) if is_value_byte(byte) => Ok(State::TrailerValue),
            (State::TrailerLf, b'\n') => Ok(State::TrailerStart),
            (_, b'\n') => Err(Rejection::BareLf),
            _ => Err(Rejection::TrailerInvalid),
        }
    }
}

impl TrailerName {
    fn push(&mut self, byte: u8) {
        if let Some(slot) = self.bytes.get_mut(self.len) {
            *slot = byte.to_ascii_lowercase();
        }
        self.len += 1;
    }

    /// Fields that frame, route or authenticate (RFC 9110 section 6.5.1). A trailer with one of these is an
    /// attempt to change what was already decided.
    fn is_forbidden(&self) -> bool {
        let Some(name) = self.bytes.get(..self.len) else { return false };
        matches!(
            name,
            b"content-length"
                | b"transfer-encoding"
                | b"host"
                | b"authorization"
                | b"proxy-authorization"
                | b"x-api-key"
                | b"cookie"
                | b"set-cookie"
        )
    }
}
