//! One answer, from pieces.

use super::{
    Error, Head, Want,
    chunked::{Chunks, Step},
    head::{self, Framing},
};
use crate::limits;
use memchr::memmem;

/// What came next.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// The head of the final answer; informational ones are skipped.
    Head(Head),
    /// Bytes of the body, at least one.
    Data(&'a [u8]),
    /// The answer is over; what is left of the input is not part of it.
    End,
}

#[derive(Clone, Debug)]
enum State {
    /// Bytes of the head that have been searched for its end.
    Head {
        searched: usize,
    },
    Length(u64),
    Chunked(Chunks),
    UntilClose,
    Done,
}

/// Decodes one answer.
#[derive(Clone, Debug)]
pub struct Decoder {
    state: State,
    is_head: bool,
    want: Want,
}

impl Decoder {
    /// Of the answer to a request; `is_head` says that its method was HEAD (RFC 9112 section 6.3).
    pub fn new(is_head: bool, want: Want) -> Decoder {
        Decoder { state: State::Head { searched: 0 }, is_head, want }
    }

    /// Whether anything of the answer, even of its head, has come.
    pub fn has_begun(&self) -> bool {
        !matches!(self.state, State::Head { searched: 0 })
    }

    /// The next event, and `input` moved behind it. Without an event more input is needed: bytes of a head
    /// stay in `input`, and have to stand at the start of the next one.
    ///
    /// # Errors
    /// The peer's faults; after one the connection is of no use.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Event<'a>>, Error> {
        loop {
            match &mut self.state {
                State::Head { searched } => {
                    let from = searched.saturating_sub(3);
                    let Some(found) = memmem::find(input.get(from..).unwrap_or_default(), b"\r\n\r\n") else {
                        *searched = input.len();
                        let too_long = input.len() >= limits::HEAD_BYTES_MAX;
                        return if too_long { Err(Error::HeadTooLong) } else { Ok(None) };
                    };
                    let end = from + found + 4;
                    if end > limits::HEAD_BYTES_MAX {
                        return Err(Error::HeadTooLong);
                    }
                    let head = head::parse(&input[..end], self.is_head, self.want)?;
                    *input = &input[end..];
                    if self.begin(&head)? {
                        return Ok(Some(Event::Head(head)));
                    }
                }
                State::Length(0) => self.state = State::Done,
                State::Length(left) => {
                    let count = input.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= count as u64;
                    return Ok(data(input, count));
                }
                State::Chunked(chunks) => match chunks.step(input)? {
                    Step::Data(count) => return Ok(data(input, count)),
                    Step::More => return Ok(None),
                    Step::End => self.state = State::Done,
                },
                State::UntilClose => return Ok(data(input, input.len())),
                State::Done => return Ok(Some(Event::End)),
            }
        }
    }

    /// Takes a head; says whether it is the final one.
    fn begin(&mut self, head: &Head) -> Result<bool, Error> {
        self.state = match head.status {
            101 => return Err(Error::Switched),
            100..200 => State::Head { searched: 0 },
            _ => match head.framing {
                Framing::Length(length) => State::Length(length),
                Framing::Chunked => State::Chunked(Chunks::new()),
                Framing::UntilClose => State::UntilClose,
            },
        };
        Ok(head.status >= 200)
    }

    /// The connection has ended.
    ///
    /// # Errors
    /// [`Error::Truncated`] if the answer had not.
    pub fn finish(&self) -> Result<(), Error> {
        if matches!(self.state, State::UntilClose | State::Done) { Ok(()) } else { Err(Error::Truncated) }
    }
}

fn data<'a>(input: &mut &'a [u8], count: usize) -> Option<Event<'a>> {
    let (data, rest) = input.split_at_checked(count).filter(|_| count > 0)?;
    *input = rest;
    Some(Event::Data(data))
}
