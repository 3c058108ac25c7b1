//! An event that is too large to be held because of one piece of a streamed value: the piece goes through
//! that value's stream as it comes.
//!
//! ```text
//!   data: {"type":"…","index":0,"delta":{"text":"…………………………………………"}}␊␊
//!   head, read when the event is too large ─────┘ piece, as it comes └ tail, held until it is whole
//! ```
//!
//! What stands in front of the piece has to say which value it belongs to, and what stands behind it must
//! not say otherwise, nor end another value of which something is held: that would have to go out first.

use super::walk::{End, walk};
use super::{EVENT_HEAD_BYTES, Sse, data_in, data_of};
use crate::buffer::Chunk;
use crate::inspect::Error;
use crate::inspect::work::Work;
use std::ops::Range;

/// What is known of a large event whose piece has begun.
#[derive(Debug)]
pub struct Large {
    /// The event's data up to the piece, its opening quote included.
    head: Vec<u8>,
    /// Whether the last byte of the piece was a backslash that the next one belongs to.
    escaped: bool,
    /// Whether the piece has ended.
    is_behind: bool,
}

impl Large {
    /// The end of the piece, if it is in `bytes`, its next ones.
    fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = usize::from(std::mem::take(&mut self.escaped) && !bytes.is_empty());
        loop {
            at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
            if bytes[at] == b'"' {
                return Some(at);
            }
            self.escaped = at + 1 == bytes.len();
            at += 2;
        }
    }
}

impl Sse {
    /// Begins an event whose first bytes are `head`, the emitter's source.
    ///
    /// # Errors
    /// [`Error::EventTooLong`] if these say too little; else as for [`Sse::push`].
    pub(super) fn begin_large(&mut self, work: &mut Work, head: &Chunk) -> Result<(), Error> {
        let (_, mut lines) = data_in(head, 0..head.len());
        // One data line, which is the one that is cut.
        let (Some(Range { start, end }), None) = (lines.next(), lines.next()) else {
            return Err(Error::EventTooLong);
        };
        if end < head.len() {
            return Err(Error::EventTooLong);
        }
        let data = &head[start..];
        let (mut facts, _) = walk(self.dialect, data);
        let kind = facts.kind(data).into_owned();
        let Some(found) = facts.cut.take() else { return Err(Error::EventTooLong) };
        let is_joined = self.values.choose(found.values, &kind).is_some_and(|value| value.joined.is_some());
        let is_only = facts.strings.is_empty() && facts.stops.is_empty() && !self.values.is_stop(&kind);
        if !is_joined || !is_only || found.range.start > EVENT_HEAD_BYTES {
            return Err(Error::EventTooLong);
        }
        let string = start + found.range.start..head.len();
        let mut large = Large { head: data[..found.range.start].to_vec(), escaped: false, is_behind: false };
        large.end(&head[string.clone()]);
        facts.strings.push(found);
        self.values.note_pieces(data, &facts)?;
        self.text(work, head, 0..start)?;
        self.between(work, head, start..string.start, false)?;
        self.values.push(work, head, string, &facts, &facts.strings[0], &kind, data)?;
        self.large = Some(large);
        Ok(())
    }

    /// Takes `range` of the chunk, the next part of an event that is not held, which ends there if it `ends`.
    ///
    /// # Errors
    /// As for [`Sse::push`].
    pub(super) fn go_on(
        &mut self,
        work: &mut Work,
        chunk: &Chunk,
        mut range: Range<usize>,
        ends: bool,
        offset: u64,
    ) -> Result<(), Error> {
        let Some(large) = &mut self.large else { return self.lines.push(work, chunk, range) };
        if !large.is_behind {
            let end = large.end(&chunk[range.clone()]).map(|length| range.start + length);
            large.is_behind = end.is_some();
            let piece = range.start..end.unwrap_or(range.end);
            // A line ends in the midst of it.
            if memchr::memchr2(b'\n', b'\r', &chunk[piece.clone()]).is_some() {
                return Err(Error::EventTooLong);
            }
            range.start = piece.end;
            self.pending_offset = offset + range.start as u64;
            self.values.push_on(work, chunk, piece, false)?;
        }
        if self.pending.len() + range.len() > EVENT_HEAD_BYTES {
            return Err(Error::EventTooLong);
        }
        self.keep(work, &chunk[range]);
        if ends {
            let tail = Chunk::from(std::mem::take(&mut self.pending));
            work.emit.source(tail.clone(), self.pending_offset);
            self.end_large(work, &tail)?;
            work.emit.source(chunk.clone(), offset);
        }
        Ok(())
    }

    /// Handles what stands behind the piece, which is whole.
    fn end_large(&mut self, work: &mut Work, tail: &Chunk) -> Result<(), Error> {
        let Some(Large { head: mut data, .. }) = self.large.take() else { return Ok(()) };
        let start = data.len();
        let line = memchr::memchr2(b'\n', b'\r', tail).unwrap_or(tail.len());
        data.extend_from_slice(&tail[..line]);
        let (facts, end) = walk(self.dialect, &data);
        let kind = facts.kind(&data);
        let is_same = match facts.strings.as_slice() {
            [found] => found.range == (start..start) && self.values.is_last(&facts, found, &kind),
            _ => false,
        };
        if end != End::Whole || !is_same || data_of(&tail[line..]).next().is_some() {
            return Err(Error::EventTooLong);
        }
        self.values.note_pieces(&data, &facts)?;
        self.values.end_by(&facts, &kind);
        if self.values.owe_output() {
            return Err(Error::EventTooLong);
        }
        self.values.flush_ended(work)?;
        self.values.push(work, tail, 0..0, &facts, &facts.strings[0], &kind, &data)?;
        self.between(work, tail, 0..line, true)?;
        self.text(work, tail, line..tail.len())?;
        self.values.forget_ended();
        Ok(())
    }

    /// The body has ended within such an event, if there is one.
    ///
    /// # Errors
    /// As for [`Sse::push`].
    pub(super) fn cut_large(&mut self, work: &mut Work) -> Result<(), Error> {
        if self.large.take().is_none() {
            return Ok(());
        }
        self.values.push_on(work, &Chunk::default(), 0..0, true)?;
        let tail = Chunk::from(std::mem::take(&mut self.pending));
        work.emit.source(tail.clone(), self.pending_offset);
        self.between(work, &tail, 0..tail.len(), true)
    }
}
