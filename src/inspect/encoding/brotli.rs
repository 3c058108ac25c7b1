use super::{Coding, Decode, Error, Progress};
use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use std::fmt;

/// A brotli stream (RFC 7932).
pub struct Brotli {
    state: Box<BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>>,
    begun: bool,
    ended: bool,
}

impl Brotli {
    /// A decoder of one body.
    pub fn new() -> Brotli {
        let alloc = StandardAlloc::default;
        let state = Box::new(BrotliState::new_strict(alloc(), alloc(), alloc()));
        Brotli { state, begun: false, ended: false }
    }
}

impl Decode for Brotli {
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Progress, Error> {
        if let (false, Some(first)) = (self.begun, input.first()) {
            if !is_window_accepted(*first) {
                return Err(Error::Window(Coding::Brotli));
            }
            self.begun = true;
        }
        let (mut left, mut read) = (input.len(), 0);
        let (mut room, mut written, mut total) = (output.len(), 0, 0);
        let state = &mut *self.state;
        let result = BrotliDecompressStream(
            &mut left,
            &mut read,
            input,
            &mut room,
            &mut written,
            output,
            &mut total,
            state,
        );
        match result {
            BrotliResult::ResultFailure => Err(Error::Corrupt(Coding::Brotli)),
            BrotliResult::ResultSuccess => {
                self.ended = true;
                Ok(Progress { read, written })
            }
            BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => Ok(Progress { read, written }),
        }
    }

    fn is_at_end(&self) -> bool {
        self.ended
    }

    fn go_on(&mut self) -> bool {
        false
    }
}

/// Whether the window that the first bits of a stream name (RFC 7932 section 9.1) has at most 22 bits. Larger
/// are `1011` and `1111` in the order of the bits, and the windows beyond that RFC, which begin as `1000100`.
fn is_window_accepted(first: u8) -> bool {
    !matches!(first & 0x0f, 0x0d | 0x0f) && first & 0x7f != 0x11
}

impl fmt::Debug for Brotli {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Brotli").field("begun", &self.begun).field("ended", &self.ended).finish()
    }
}
