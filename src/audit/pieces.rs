//! One segment in pieces whose hashes were checked, so that somebody else can check what they say meanwhile.

use super::{
    hash::Hash,
    reader::{End, Item, Position, ReadError, SegmentReader},
    record::Kind,
};
use std::{io::Read, ops::Range};

/// Some records of a segment, in their order and each following from the one before, without bodies.
#[derive(Debug, Default)]
pub struct Piece {
    payloads: Vec<u8>,
    pub(super) records: Vec<Checked>,
    /// Bytes of the batch that they are of.
    pub(super) bytes: u64,
    /// What comes behind them, if that is not more of them.
    pub(super) then: Option<Result<Rest, ReadError>>,
}

/// One record of a [`Piece`].
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) kind: Kind,
    pub(super) sequence: u64,
    pub(super) leaf: Hash,
    pub(super) erased: bool,
    /// Where the segment was read to when it came.
    pub(super) offset: u64,
    payload: Range<usize>,
}

/// How a segment ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rest {
    pub(super) end: End,
    pub(super) last: Position,
    pub(super) offset: u64,
}

impl Piece {
    /// Nothing more can be read.
    pub fn failed(error: ReadError) -> Piece {
        Piece { then: Some(Err(error)), ..Piece::default() }
    }

    /// Whether none follows.
    pub fn is_last(&self) -> bool {
        self.then.is_some()
    }

    pub(super) fn payload(&self, record: &Checked) -> &[u8] {
        &self.payloads[record.payload.clone()]
    }
}

/// Reads a segment piece by piece.
#[derive(Debug)]
pub struct Pieces<R>(SegmentReader<R>);

impl<R: Read> Pieces<R> {
    /// Of the segment whose name says `number`, which goes on at `position`.
    ///
    /// # Errors
    /// [`ReadError`] as for [`SegmentReader::open`].
    pub fn open(input: R, number: u64, position: &Position) -> Result<Pieces<R>, ReadError> {
        SegmentReader::open(input, number, Some(position)).map(Pieces)
    }

    /// The next batch, or as much of it as is good. After the last piece there is nothing more to ask for.
    pub fn next_piece(&mut self) -> Piece {
        let mut piece = Piece::default();
        loop {
            let (sequence, offset) = (self.0.position().sequence, self.0.offset());
            match self.0.next_item() {
                Ok(Item::Batch(batch)) => piece.bytes = u64::from(batch.length),
                Ok(Item::Frame(frame)) => {
                    let start = piece.payloads.len();
                    piece.payloads.extend_from_slice(frame.payload);
                    let payload = start..piece.payloads.len();
                    let (kind, leaf, erased) = (frame.kind, frame.leaf, frame.erased);
                    piece.records.push(Checked { kind, sequence, leaf, erased, offset, payload });
                    if self.0.is_between_batches() {
                        return piece;
                    }
                }
                Ok(Item::End(end)) => {
                    let (last, offset) = (self.0.position(), self.0.offset());
                    piece.then = Some(Ok(Rest { end, last, offset }));
                    return piece;
                }
                Err(error) => {
                    piece.then = Some(Err(error));
                    return piece;
                }
            }
        }
    }
}
