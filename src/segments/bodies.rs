//! The bodies in a segment: where their bytes lie, and reading it with zeros in their place.

use super::{Keys, SegmentFile};
use crate::audit::{BATCH_HEADER_BYTES, Frame, Item, ReadError, Record, SegmentReader};
use std::{
    io::{self, Read},
    ops::Range,
    sync::Arc,
};

/// Calls `each` for the records of a segment: their sequence, what they say without bodies, and the place of
/// salt and bytes where there are any left. Of the segment in use (`is_growing`) what is not whole is left
/// out. `keys` open a segment that is encrypted.
///
/// # Errors
/// The segment cannot be read, or is damaged (`InvalidData`).
pub fn each_record(
    segment: &SegmentFile,
    keys: &Keys,
    is_growing: bool,
    mut each: impl FnMut(u64, Record, Option<Range<u64>>),
) -> io::Result<()> {
    let damaged = |error: String| io::Error::new(io::ErrorKind::InvalidData, error);
    let unread = |error: ReadError| match error {
        ReadError::Damage(_) if is_growing => Ok(()),
        error => Err(damaged(error.to_string())),
    };
    let input = segment.open(keys)?;
    let mut reader = match SegmentReader::open(input, segment.number, None) {
        Ok(reader) => reader,
        Err(error) => return unread(error),
    };
    // Where the next record begins.
    let mut start = 0;
    loop {
        // Behind the last whole batch.
        let behind = reader.offset();
        let item = match reader.next_item() {
            Ok(item) => item,
            Err(error) => return unread(error),
        };
        match item {
            Item::Batch(_) => start = behind + BATCH_HEADER_BYTES as u64,
            Item::End(_) => return Ok(()),
            Item::Frame(frame) => {
                start += frame.length as u64;
                let tail = frame.kept.filter(|_| !frame.erased);
                let tail = tail.map(|kept| start - kept.len() as u64..start);
                let record = Frame { kept: None, ..frame }.decode();
                each(frame.sequence, record.map_err(|error| damaged(error.to_string()))?, tail);
            }
        }
    }
}

/// Reads zeros in the place of some ranges.
pub struct Zeroed {
    input: Box<dyn Read>,
    /// In order, apart from each other.
    ranges: Arc<[Range<u64>]>,
    /// The first one that does not lie before `offset`.
    next: usize,
    offset: u64,
}

impl Zeroed {
    /// Reads `input` with zeros in `ranges`, which are in order and apart from each other.
    pub fn new(input: Box<dyn Read>, ranges: Arc<[Range<u64>]>) -> Zeroed {
        Zeroed { input, ranges, next: 0, offset: 0 }
    }
}

impl Read for Zeroed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        let end = self.offset + read as u64;
        while let Some(range) = self.ranges.get(self.next)
            && range.start < end
        {
            let from = range.start.max(self.offset) - self.offset;
            let to = range.end.min(end) - self.offset;
            buffer[from as usize..to as usize].fill(0);
            if range.end > end {
                break;
            }
            self.next += 1;
        }
        self.offset = end;
        Ok(read)
    }
}
