use super::Edit;
use crate::buffer::{Chunk, Segments, Tally};
use std::ops::Range;

/// Who gets what is emitted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reader {
    /// Whoever the body is for, and the record.
    #[default]
    All,
    /// Whoever the body is for.
    Peer,
    /// The record.
    Record,
}

/// What a record gets of a body, where that is not what its reader gets: thinking is masked there alone.
#[derive(Debug, Default)]
pub struct Record {
    /// Whether there is a record.
    pub is_kept: bool,
    /// What it gets, since it was taken last, if that differs.
    pub other: Option<Segments>,
    /// Matches that the reader got as they were.
    pub shown: u64,
    /// Whether one was found that no reader may get.
    pub ends: bool,
}

/// Where decided bytes go: slices of the chunk at hand, or bytes of our own where that is not possible.
/// Neighbouring slices leave as one.
#[derive(Debug)]
pub struct Emit<'a> {
    /// Copies are counted here.
    pub tally: &'a mut Tally,
    /// What was masked.
    pub edits: &'a mut Vec<Edit>,
    /// Matches by rule.
    pub hits: &'a mut [u64],
    /// What the record gets.
    pub record: &'a mut Record,
    reader: Reader,
    out: &'a mut Segments,
    source: Chunk,
    /// Position of the source's first byte in the received body.
    offset: u64,
    /// Decided bytes of the source that have not been pushed yet. Never beside a non-empty `own`.
    kept: Range<usize>,
    own: Vec<u8>,
}

impl<'a> Emit<'a> {
    /// An emitter without a source.
    pub fn new(
        out: &'a mut Segments,
        edits: &'a mut Vec<Edit>,
        tally: &'a mut Tally,
        hits: &'a mut [u64],
        record: &'a mut Record,
    ) -> Emit<'a> {
        let (source, own, reader) = Default::default();
        Emit { tally, edits, hits, record, reader, out, source, offset: 0, kept: 0..0, own }
    }

    /// Goes on for `reader`.
    pub fn only(&mut self, reader: Reader) {
        if self.reader == reader {
            return;
        }
        self.flush();
        self.reader = reader;
        if self.record.is_kept && self.record.other.is_none() {
            self.record.other = Some(self.out.clone());
        }
    }

    /// Who gets what is emitted now.
    pub fn reader(&self) -> Reader {
        self.reader
    }

    /// Goes on with `source`, whose first byte is number `offset` of the received body.
    pub fn source(&mut self, source: Chunk, offset: u64) {
        self.flush();
        self.source = source;
        self.offset = offset;
    }

    /// Goes on with `source`, which stands for what begins at byte `at` of the present one. That one is given
    /// back with its position.
    pub fn replace_source(&mut self, source: Chunk, at: usize) -> (Chunk, u64) {
        self.flush();
        let offset = self.offset;
        self.offset += at as u64;
        (std::mem::replace(&mut self.source, source), offset)
    }

    /// The body position of the source's byte `at`.
    pub fn offset(&self, at: usize) -> u64 {
        self.offset + at as u64
    }

    /// Emits bytes of the source by reference.
    pub fn keep(&mut self, range: Range<usize>) {
        if range.is_empty() {
            return;
        }
        if self.own.is_empty() && self.kept.end == range.start {
            self.kept.end = range.end;
            return;
        }
        self.flush();
        self.kept = range;
    }

    /// Emits bytes that are no slice of the source: masks, and bytes held back before.
    pub fn own(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.flush_kept();
            self.own.extend_from_slice(bytes);
        }
    }

    /// Notes masked bytes; joins them with those of the same match in front of them.
    pub fn edit(&mut self, edit: Edit, joins_last: bool) {
        match self.edits.last_mut() {
            Some(last) if joins_last && last.rule == edit.rule && last.offset + last.len == edit.offset => {
                last.len += edit.len;
            }
            _ => self.edits.push(edit),
        }
    }

    /// Pushes everything that was emitted.
    pub fn flush(&mut self) {
        self.flush_kept();
        if !self.own.is_empty() {
            let own = Chunk::from(std::mem::take(&mut self.own));
            self.push(own);
        }
    }

    fn flush_kept(&mut self) {
        if !self.kept.is_empty() {
            // Own bytes always come behind kept ones, never in front of them: keep() flushes.
            self.push(self.source.slice(self.kept.clone()));
        }
        self.kept = 0..0;
    }

    fn push(&mut self, chunk: Chunk) {
        if let Some(other) = self.record.other.as_mut().filter(|_| self.reader != Reader::Peer) {
            other.push(chunk.clone());
        }
        if self.reader != Reader::Record {
            self.out.push(chunk);
        }
    }
}
