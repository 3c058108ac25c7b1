use super::Edit;
use crate::buffer::{Chunk, Segments, Tally};
use std::ops::Range;

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
    ) -> Emit<'a> {
        Emit { tally, edits, hits, out, source: Chunk::default(), offset: 0, kept: 0..0, own: Vec::new() }
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
            self.out.push(Chunk::from(std::mem::take(&mut self.own)));
        }
    }

    fn flush_kept(&mut self) {
        if !self.kept.is_empty() {
            // Own bytes always come behind kept ones, never in front of them: keep() flushes.
            self.out.push(self.source.slice(self.kept.clone()));
        }
        self.kept = 0..0;
    }
}
