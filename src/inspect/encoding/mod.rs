//! Content codings (RFC 9110 section 8.4.1): encoded bodies become plain ones while they pass through.
//!
//! Everything that can be decoded leaves with the bytes that made it decodable, so that an event of an
//! encoded stream is not late; but it leaves in steps, so that a few bytes that decode to many take no
//! memory. Memory is bounded by the windows that are accepted. What may come out of how little is bounded
//! too: a body that swells more is refused (SECURITY R23, R43).
//!
//! This does not encode, and it takes one coding: a body in several is refused. Start at [`Decoder`].

mod brotli;
mod deflate;
mod gzip;
mod zstd;

use crate::buffer::{Chunk, Segments};
use crate::limits::{
    DECODED_FREE_BYTES, DECODED_PIECE_BYTES, DECODED_RATIO_MAX, DECODED_STEP_BYTES, ENCODED_MEMBER_BYTES_MIN,
    ENCODED_MEMBERS_FREE,
};
use smallvec::SmallVec;
use std::collections::VecDeque;
use std::fmt;

/// A content coding that can be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// RFC 1952, one member or several.
    Gzip,
    /// RFC 1950; data without that format's header is taken as RFC 1951, which some servers mean by it.
    Deflate,
    /// RFC 7932, windows up to 4 MiB.
    Brotli,
    /// RFC 8878, windows up to 8 MiB (RFC 9659).
    Zstd,
}

impl Coding {
    /// Every coding, with its name.
    pub const ALL: [Coding; 4] = [Coding::Gzip, Coding::Deflate, Coding::Brotli, Coding::Zstd];

    /// The coding that the values of all Content-Encoding fields together name; `None` for `identity`.
    ///
    /// # Errors
    /// The codings, if one is not known, or if there are several: the sender is at fault.
    pub fn of<'a>(values: impl Iterator<Item = &'a [u8]>) -> Result<Option<Coding>, String> {
        let tokens = values.flat_map(|value| value.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
        let is_coded = |token: &&[u8]| !token.is_empty() && !token.eq_ignore_ascii_case(b"identity");
        let coded: SmallVec<[&[u8]; 4]> = tokens.filter(is_coded).collect();
        match &coded[..] {
            [] => Ok(None),
            [only] if Coding::named(only).is_some() => Ok(Coding::named(only)),
            unknown => Err(String::from_utf8_lossy(&unknown.join(&b", "[..])).into_owned()),
        }
    }

    /// The coding that is registered by this name; `x-gzip` is another one of `gzip` (RFC 9110 section
    /// 8.4.1.3).
    fn named(token: &[u8]) -> Option<Coding> {
        if token.eq_ignore_ascii_case(b"x-gzip") {
            return Some(Coding::Gzip);
        }
        Coding::ALL.into_iter().find(|coding| token.eq_ignore_ascii_case(coding.as_str().as_bytes()))
    }

    /// The registered name.
    pub fn as_str(self) -> &'static str {
        match self {
            Coding::Gzip => "gzip",
            Coding::Deflate => "deflate",
            Coding::Brotli => "br",
            Coding::Zstd => "zstd",
        }
    }
}

impl fmt::Display for Coding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why an encoded body cannot be decoded. Its sender is at fault, and nothing more of it may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The data breaks the rules of its coding, or its checksum.
    #[error("the body is not valid {0}")]
    Corrupt(Coding),
    /// It ended in the middle.
    #[error("the body ended in the middle of its {0} data")]
    Truncated(Coding),
    /// Something follows its end.
    #[error("something follows the end of the {0} data")]
    Trailing(Coding),
    /// Decoding it would take more memory than is given.
    #[error("the {0} data needs a larger window than is accepted")]
    Window(Coding),
    /// It swells beyond [`DECODED_RATIO_MAX`].
    #[error("the {0} data decodes to more than {DECODED_RATIO_MAX} times its length")]
    Swells(Coding),
    /// It consists of many more parts than such a length needs.
    #[error("the {0} data is cut into too many small parts")]
    TooManyParts(Coding),
}

impl Error {
    /// The reason code for records and metrics.
    pub fn reason(self) -> &'static str {
        match self {
            Error::Corrupt(_) => "encoding_corrupt",
            Error::Truncated(_) => "encoding_truncated",
            Error::Trailing(_) => "encoding_trailing_bytes",
            Error::Window(_) => "encoding_window_too_large",
            Error::Swells(_) => "encoding_swells",
            Error::TooManyParts(_) => "encoding_too_many_parts",
        }
    }
}

/// What one step of a decoder took and gave.
#[derive(Clone, Copy, Debug)]
struct Progress {
    read: usize,
    written: usize,
}

/// The decoder of one coding.
trait Decode: fmt::Debug {
    /// Decodes from `input` into `output` until one of them is used up, or the data has ended. Both may be
    /// empty.
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Progress, Error>;

    /// Whether the data may end here: the end of what began was reached, or nothing has begun.
    fn is_at_end(&self) -> bool;

    /// More follows the end: begins anew, or says that nothing may follow.
    fn go_on(&mut self) -> bool;
}

/// Decodes one body: what was received waits here, and comes out in steps of bounded size.
#[derive(Debug)]
pub struct Decoder {
    coding: Coding,
    inner: Box<dyn Decode>,
    /// What is not decoded yet.
    waiting: VecDeque<Chunk>,
    waiting_bytes: u64,
    /// Whether more may come out of what was read already.
    is_full: bool,
    received: u64,
    decoded: u64,
    /// Ends within the data: gzip members, zstd frames.
    ends: u64,
}

impl Decoder {
    /// A decoder for one body in `coding`.
    pub fn new(coding: Coding) -> Decoder {
        let inner: Box<dyn Decode> = match coding {
            Coding::Gzip => Box::new(gzip::Gzip::new()),
            Coding::Deflate => Box::new(deflate::Deflate::new()),
            Coding::Brotli => Box::new(brotli::Brotli::new()),
            Coding::Zstd => Box::new(zstd::Zstd::new()),
        };
        let (waiting, waiting_bytes, is_full, received, decoded, ends) = Default::default();
        Decoder { coding, inner, waiting, waiting_bytes, is_full, received, decoded, ends }
    }

    /// Takes the next encoded bytes.
    pub fn push(&mut self, chunk: Chunk) {
        if !chunk.is_empty() {
            self.received += chunk.len() as u64;
            self.waiting_bytes += chunk.len() as u64;
            self.waiting.push_back(chunk);
        }
    }

    /// Whether more can be decoded of what was received.
    pub fn has_more(&self) -> bool {
        self.is_full || !self.waiting.is_empty()
    }

    /// Appends to `out` what can be decoded, but hardly more than [`DECODED_STEP_BYTES`].
    ///
    /// # Errors
    /// [`Error`]; the decoder must not be used again. What `out` has got is decoded and may be used.
    pub fn pull(&mut self, out: &mut Segments) -> Result<(), Error> {
        let mut pulled = 0;
        while pulled < DECODED_STEP_BYTES && self.has_more() {
            pulled += self.piece(pulled, out)?;
        }
        Ok(())
    }

    /// Decodes one piece; gives its length.
    fn piece(&mut self, pulled: usize, out: &mut Segments) -> Result<usize, Error> {
        let rest = self.waiting.front().map_or(&[][..], |chunk| chunk);
        if self.inner.is_at_end() && self.received > self.waiting_bytes {
            if rest.is_empty() {
                self.is_full = false;
                return Ok(0);
            }
            self.ends += 1;
            if !self.inner.go_on() {
                return Err(Error::Trailing(self.coding));
            }
            if self.ends > ENCODED_MEMBERS_FREE + self.received / ENCODED_MEMBER_BYTES_MIN {
                return Err(Error::TooManyParts(self.coding));
            }
        }
        let mut piece = vec![0; piece_bytes(rest.len(), pulled)];
        let Progress { read, written } = self.inner.step(rest, &mut piece)?;
        if read == 0 && written == 0 && !rest.is_empty() && !self.inner.is_at_end() {
            return Err(Error::Corrupt(self.coding));
        }
        self.is_full = written == piece.len();
        self.take(read);
        self.decoded += written as u64;
        if written > 0 {
            piece.truncate(written);
            if written * 2 < piece.capacity() {
                piece.shrink_to_fit();
            }
            out.push(Chunk::from(piece));
        }
        // What waits is not asked: it could be anything, and more of a body may arrive at once than is read.
        let consumed = self.received - self.waiting_bytes;
        match self.decoded > DECODED_FREE_BYTES + consumed * DECODED_RATIO_MAX {
            true => Err(Error::Swells(self.coding)),
            false => Ok(written),
        }
    }

    /// The first `read` waiting bytes are decoded.
    fn take(&mut self, read: usize) {
        self.waiting_bytes -= read as u64;
        if let Some(first) = self.waiting.front_mut() {
            drop(first.split_to(read));
            if first.is_empty() {
                self.waiting.pop_front();
            }
        }
    }

    /// The body has ended as it should. A body without a byte is empty, whatever its coding.
    ///
    /// # Errors
    /// [`Error::Truncated`].
    pub fn finish(&self) -> Result<(), Error> {
        if self.received == 0 || self.inner.is_at_end() { Ok(()) } else { Err(Error::Truncated(self.coding)) }
    }

    /// Decoded bytes so far.
    pub fn decoded_bytes(&self) -> u64 {
        self.decoded
    }
}

/// Length of the buffer for what comes next: small bodies and events take little memory.
fn piece_bytes(input: usize, pulled: usize) -> usize {
    match pulled {
        0 => (input * 4).clamp(DECODED_PIECE_BYTES / 32, DECODED_PIECE_BYTES),
        _ => DECODED_PIECE_BYTES,
    }
}

#[cfg(test)]
mod tests;
