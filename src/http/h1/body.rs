use super::chunked::Chunked;
use crate::buffer::{Chunk, Segments};
use crate::http::{Framing, Rejection};

/// What one [`BodyDecoder::push`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the input that belong to this message. Those behind it belong to the next one, or to nobody.
    pub consumed: usize,
    /// Whether the body is whole.
    pub done: bool,
}

/// Takes a body out of its framing (RFC 9112 sections 6 and 7), without copying it.
///
/// After an error every further call gives the same error: a body that was refused never continues.
#[derive(Debug)]
pub struct BodyDecoder {
    state: State,
}

#[derive(Debug)]
enum State {
    Done,
    /// Bytes still to come; never 0.
    Length(u64),
    Chunked(Chunked),
    Close,
    Refused(Rejection),
}

impl BodyDecoder {
    /// A decoder for the body behind a head with this framing.
    pub fn new(framing: Framing) -> BodyDecoder {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Chunked(Chunked::default()),
            Framing::Close => State::Close,
        };
        BodyDecoder { state }
    }

    /// Takes the next received bytes. Data goes to `out` as slices of `input`; chunk framing and trailers
    /// are dropped.
    ///
    /// # Errors
    /// The sender's fault: malformed chunks, extensions or trailers. What is in `out` must not be forwarded
    /// as whole.
    pub fn push(&mut self, input: Chunk, out: &mut Segments) -> Result<Progress, Rejection> {
        let consumed = match &mut self.state {
            State::Done => 0,
            State::Refused(rejection) => return Err(*rejection),
            State::Close => {
                let consumed = input.len();
                out.push(input);
                consumed
            }
            State::Length(left) => {
                let consumed = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= consumed as u64;
                if *left == 0 {
                    self.state = State::Done;
                }
                out.push(input.slice(..consumed));
                consumed
            }
            State::Chunked(chunked) => match chunked.push(&input, out) {
                Ok(consumed) => {
                    if chunked.is_done() {
                        self.state = State::Done;
                    }
                    consumed
                }
                Err(rejection) => {
                    self.state = State::Refused(rejection);
                    return Err(rejection);
                }
            },
        };
        Ok(Progress { consumed, done: self.is_done() })
    }

    /// The connection has ended. It ends a body that lasts until then; any other body is incomplete.
    ///
    /// # Errors
    /// `BodyIncomplete`, or what the body was refused for: what was forwarded so far must not end cleanly.
    pub fn finish_on_eof(&mut self) -> Result<(), Rejection> {
        match self.state {
            State::Done => Ok(()),
            State::Close => {
                self.state = State::Done;
                Ok(())
            }
            State::Refused(rejection) => Err(rejection),
            State::Length(_) | State::Chunked(_) => Err(Rejection::BodyIncomplete),
        }
    }

    /// Whether the body is whole.
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }
}
