use super::{Coding, Decode, Error, Progress};
use flate2::{Decompress, FlushDecompress, Status};

/// The data of `deflate`: RFC 1950 by its header, RFC 1951 where there is none.
#[derive(Debug)]
pub struct Deflate {
    /// The header's first byte, when only that has come.
    first: Option<u8>,
    inflate: Option<Inflate>,
}

impl Deflate {
    /// A decoder of one body.
    pub fn new() -> Deflate {
        Deflate { first: None, inflate: None }
    }
}

impl Decode for Deflate {
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Progress, Error> {
        if let Some(inflate) = &mut self.inflate {
            return inflate.step(input, output).ok_or(Error::Corrupt(Coding::Deflate));
        }
        let (first, second) = match (self.first, input) {
            (None, [first, second, ..]) => (*first, *second),
            (Some(first), [second, ..]) => (first, *second),
            (None, [first]) => {
                self.first = Some(*first);
                return Ok(Progress { read: 1, written: 0 });
            }
            (_, []) => return Ok(Progress { read: 0, written: 0 }),
        };
        let inflate = self.inflate.insert(Inflate::new(has_header(first, second)));
        if self.first.is_some() {
            // Nothing can come out of one byte.
            inflate.step(&[first], output).ok_or(Error::Corrupt(Coding::Deflate))?;
        }
        inflate.step(input, output).ok_or(Error::Corrupt(Coding::Deflate))
    }

    fn is_at_end(&self) -> bool {
        self.inflate.as_ref().is_some_and(|inflate| inflate.ended)
    }

    fn go_on(&mut self) -> bool {
        false
    }
}

/// RFC 1950 section 2.2: method 8, a window up to 32 KiB, a checksum of both bytes, no preset dictionary.
fn has_header(cmf: u8, flg: u8) -> bool {
    cmf & 0x0f == 8 && cmf >> 4 <= 7 && u16::from_be_bytes([cmf, flg]).is_multiple_of(31) && flg & 0x20 == 0
}

/// Compressed blocks (RFC 1951), with or without the header and the checksum of RFC 1950.
#[derive(Debug)]
pub struct Inflate {
    state: Decompress,
    /// Whether the last block was read, with what follows it.
    pub ended: bool,
}

impl Inflate {
    /// A decoder at the beginning.
    pub fn new(header: bool) -> Inflate {
        Inflate { state: Decompress::new(header), ended: false }
    }

    /// Begins anew, without a header.
    pub fn restart(&mut self) {
        self.state.reset(false);
        self.ended = false;
    }

    /// One step; `None` if the data is not valid.
    pub fn step(&mut self, input: &[u8], output: &mut [u8]) -> Option<Progress> {
        let (before_in, before_out) = (self.state.total_in(), self.state.total_out());
        let status = self.state.decompress(input, output, FlushDecompress::None).ok()?;
        self.ended = status == Status::StreamEnd;
        // Both differences are within the slices.
        let read = (self.state.total_in() - before_in) as usize;
        Some(Progress { read, written: (self.state.total_out() - before_out) as usize })
    }
}
