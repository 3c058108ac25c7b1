//! The chunks of a body (RFC 9112 section 7.1).

use super::Error;
use crate::limits;

/// Where in the chunks the next byte stands.
///
/// ```text
///      ┌───────────────────────────────────────────────┐
///      ▼                                               │
///    Size ──digits──▶ Size ──;──▶ Extension ──CR──▶ SizeLf ──LF, size > 0──▶ Data ──▶ DataCr ──▶ DataLf
///                                                     └─LF, size 0─▶ Trailer ──empty line──▶ Done
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size {
        digits: u8,
    },
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// Bytes of this line so far.
    Trailer {
        bytes: usize,
    },
    /// As [`State::Trailer`], after a CR.
    TrailerLf {
        bytes: usize,
    },
    Done,
}

/// What one step found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// So many bytes of the body come next in the input.
    Data(usize),
    /// The body is over.
    End,
    /// All of the input was read.
    More,
}

/// Reads chunks from pieces of any length; keeps nothing of them.
#[derive(Clone, Debug)]
pub(super) struct Chunks {
    state: State,
    /// Bytes of the chunk that are still to come, or its size as far as it was read.
    left: u64,
    /// Bytes of the size line, or of all trailer lines.
    line: usize,
}

impl Chunks {
    pub fn new() -> Chunks {
        Chunks { state: State::Size { digits: 0 }, left: 0, line: 0 }
    }

    /// Reads on. The bytes of [`Step::Data`] are the caller's to skip; the others are skipped here.
    pub fn step(&mut self, input: &mut &[u8]) -> Result<Step, Error> {
        loop {
            if self.state == State::Done {
                return Ok(Step::End);
            }
            if self.state == State::Data {
                if self.left == 0 {
                    self.state = State::DataCr;
                    continue;
                }
                let count = input.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
                if count == 0 {
                    return Ok(Step::More);
                }
                self.left -= count as u64;
                return Ok(Step::Data(count));
            }
            let Some((&byte, rest)) = input.split_first() else { return Ok(Step::More) };
            *input = rest;
            self.byte(byte)?;
        }
    }

    fn byte(&mut self, byte: u8) -> Result<(), Error> {
        self.state = match (self.state, byte) {
            (State::Size { digits }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                if digits == 16 {
                    return Err(Error::Chunk);
                }
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                self.left = self.left << 4 | u64::from(digit);
                State::Size { digits: digits + 1 }
            }
            (State::Size { digits: 1.. }, b'\r') | (State::Extension, b'\r') => State::SizeLf,
            (State::Size { digits: 1.. }, b';' | b' ' | b'\t') => State::Extension,
            (State::Extension, b'\n') => return Err(Error::Chunk),
            (State::Extension, _) => self.counted(State::Extension)?,
            (State::SizeLf, b'\n') => {
                self.line = 0;
                if self.left == 0 { State::Trailer { bytes: 0 } } else { State::Data }
            }
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size { digits: 0 },
            (State::Trailer { bytes }, b'\r') => State::TrailerLf { bytes },
            (State::Trailer { .. }, b'\n') => return Err(Error::FieldLine),
            (State::Trailer { bytes }, _) => self.counted(State::Trailer { bytes: bytes + 1 })?,
            (State::TrailerLf { bytes: 0 }, b'\n') => State::Done,
            (State::TrailerLf { .. }, b'\n') => State::Trailer { bytes: 0 },
            _ => return Err(Error::Chunk),
        };
        Ok(())
    }

    fn counted(&mut self, state: State) -> Result<State, Error> {
        self.line += 1;
        if self.line > limits::CHUNK_LINE_BYTES_MAX { Err(Error::Chunk) } else { Ok(state) }
    }
}
