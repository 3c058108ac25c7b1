use super::{Coding, Decode, Error, Progress};
use crate::limits::ZSTD_WINDOW_BITS_MAX;
use std::fmt;
use zstd::stream::raw::{DParameter, Decoder, Operation};

/// The frames of a zstd stream (RFC 8878 section 3.1).
pub struct Zstd {
    /// `None` if there was no memory for it.
    decoder: Option<Decoder<'static>>,
    ended: bool,
}

impl Zstd {
    /// A decoder of one body.
    pub fn new() -> Zstd {
        let made = Decoder::new().and_then(|mut decoder| {
            decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_BITS_MAX))?;
            Ok(decoder)
        });
        Zstd { decoder: made.ok(), ended: false }
    }
}

impl Decode for Zstd {
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Progress, Error> {
        let decoder = self.decoder.as_mut().ok_or(Error::Window(Coding::Zstd))?;
        let status = decoder.run_on_buffers(input, output).map_err(|error| {
            // The library names its errors by text only.
            let is_window = error.to_string().contains("too much memory");
            if is_window { Error::Window(Coding::Zstd) } else { Error::Corrupt(Coding::Zstd) }
        })?;
        self.ended = status.remaining == 0;
        Ok(Progress { read: status.bytes_read, written: status.bytes_written })
    }

    fn is_at_end(&self) -> bool {
        self.ended
    }

    fn go_on(&mut self) -> bool {
        // The library begins the next frame by itself.
        self.ended = false;
        true
    }
}

impl fmt::Debug for Zstd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Zstd").field("ended", &self.ended).finish()
    }
}
