use super::deflate::Inflate;
use super::{Coding, Decode, Error, Progress};
use crate::limits::GZIP_HEADER_BYTES_MAX;
use flate2::Crc;

/// The members of a gzip file (RFC 1952 section 2.2).
#[derive(Debug)]
pub struct Gzip {
    phase: Phase,
    inflate: Inflate,
    /// Of the decoded bytes of this member.
    check: Crc,
}

/// What comes next.
///
/// ```text
///   Header ──► Data ──► Trailer ──► End ──► Header …
/// ```
#[derive(Debug)]
enum Phase {
    Header(Header),
    Data,
    Trailer([u8; 8], usize),
    End,
}

impl Gzip {
    /// A decoder of one body.
    pub fn new() -> Gzip {
        Gzip { phase: Phase::Header(Header::new()), inflate: Inflate::new(false), check: Crc::new() }
    }
}

impl Decode for Gzip {
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Progress, Error> {
        const CORRUPT: Error = Error::Corrupt(Coding::Gzip);
        match &mut self.phase {
            Phase::Header(header) => {
                let read = header.read(input).ok_or(CORRUPT)?;
                if header.is_whole() {
                    self.phase = Phase::Data;
                }
                Ok(Progress { read, written: 0 })
            }
            Phase::Data => {
                let progress = self.inflate.step(input, output).ok_or(CORRUPT)?;
                self.check.update(&output[..progress.written]);
                if self.inflate.ended {
                    self.phase = Phase::Trailer([0; 8], 0);
                }
                Ok(progress)
            }
            Phase::Trailer(bytes, have) => {
                let read = input.len().min(bytes.len() - *have);
                bytes[*have..*have + read].copy_from_slice(&input[..read]);
                *have += read;
                if *have == bytes.len() {
                    // CRC32 and length, both of the decoded bytes (RFC 1952 section 2.3.1).
                    let [a, b, c, d, e, f, g, h] = *bytes;
                    let (sum, length) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
                    if (sum, length) != (self.check.sum(), self.check.amount()) {
                        return Err(CORRUPT);
                    }
                    self.phase = Phase::End;
                }
                Ok(Progress { read, written: 0 })
            }
            Phase::End => Ok(Progress { read: 0, written: 0 }),
        }
    }

    fn is_at_end(&self) -> bool {
        matches!(self.phase, Phase::End)
    }

    fn go_on(&mut self) -> bool {
        self.inflate.restart();
        self.check.reset();
        self.phase = Phase::Header(Header::new());
        true
    }
}

/// A member's header (RFC 1952 section 2.3), of which nothing is kept.
///
/// ```text
///   1f 8b │ 08 │ FLG │ MTIME ×4 │ XFL │ OS │ [XLEN ×2, XLEN bytes] │ [name 00] │ [comment 00] │ [CRC16 ×2]
/// ```
#[derive(Debug)]
struct Header {
    part: Part,
    flags: u8,
    bytes: usize,
    /// Of the header's bytes in front of its own CRC16.
    check: Crc,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// Bytes of the fixed part that were read.
    Fixed(usize),
    ExtraLength(Option<u8>),
    Extra(u16),
    Name,
    Comment,
    Check(Option<u8>),
    Whole,
}

const FHCRC: u8 = 2;
const FEXTRA: u8 = 4;
const FNAME: u8 = 8;
const FCOMMENT: u8 = 16;
const RESERVED: u8 = 0xe0;

impl Header {
    fn new() -> Header {
        Header { part: Part::Fixed(0), flags: 0, bytes: 0, check: Crc::new() }
    }

    fn is_whole(&self) -> bool {
        self.part == Part::Whole
    }

    /// Reads until the header is whole, or the input ends; `None` if it is no such header, or too long.
    fn read(&mut self, input: &[u8]) -> Option<usize> {
        let mut read = 0;
        for byte in input {
            if self.is_whole() {
                break;
            }
            self.part = self.take(*byte)?;
            read += 1;
        }
        self.bytes += read;
        (self.bytes <= GZIP_HEADER_BYTES_MAX).then_some(read)
    }

    fn take(&mut self, byte: u8) -> Option<Part> {
        let is_covered = !matches!(self.part, Part::Check(_));
        let part = match self.part {
            Part::Fixed(at) => {
                match at {
                    0 if byte != 0x1f => return None,
                    1 if byte != 0x8b => return None,
                    2 if byte != 8 => return None,
                    3 if byte & RESERVED != 0 => return None,
                    3 => self.flags = byte,
                    _ => {}
                }
                if at < 9 { Part::Fixed(at + 1) } else { self.after(0) }
            }
            Part::ExtraLength(None) => Part::ExtraLength(Some(byte)),
            Part::ExtraLength(Some(low)) => match u16::from_le_bytes([low, byte]) {
                0 => self.after(FEXTRA),
                length => Part::Extra(length),
            },
            Part::Extra(1) => self.after(FEXTRA),
            Part::Extra(left) => Part::Extra(left - 1),
            Part::Name if byte == 0 => self.after(FNAME),
            Part::Comment if byte == 0 => self.after(FCOMMENT),
            Part::Check(None) => Part::Check(Some(byte)),
            Part::Check(Some(low)) => {
                let matches = u16::from_le_bytes([low, byte]) == (self.check.sum() & 0xffff) as u16;
                return matches.then_some(Part::Whole);
            }
            same @ (Part::Name | Part::Comment | Part::Whole) => same,
        };
        if is_covered {
            self.check.update(&[byte]);
        }
        Some(part)
    }

    /// What follows the optional part of `flag`; zero stands for the fixed part.
    fn after(&self, flag: u8) -> Part {
        let order = [
            (FEXTRA, Part::ExtraLength(None)),
            (FNAME, Part::Name),
            (FCOMMENT, Part::Comment),
            (FHCRC, Part::Check(None)),
        ];
        let rest = match order.iter().position(|(known, _)| *known == flag) {
            Some(index) => &order[index + 1..],
            None => &order[..],
        };
        let next = rest.iter().find(|(known, _)| self.flags & known != 0);
        next.map_or(Part::Whole, |(_, part)| *part)
    }
}
