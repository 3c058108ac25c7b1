//! Server-sent events (WHATWG HTML, "Server-sent events") and the values that LLM protocols stream in them.
//!
//! ```text
//!   bytes ─► Framer ─► event ─► walk ─┬─► strings that are pieces of a value ─► that value's Stream ─┐
//!                                     └─► everything else, by itself ────────────────────────────►─┴─► emit
//! ```
//!
//! An event is held until it is whole, because its members may come in any order and its reader can do
//! nothing with a part of it. What a value's stream holds back goes out with the value's next event, or in
//! an event of our own in front of the one that ends the value. A large event of a type that has no piece
//! of a streamed value is masked line by line as it streams (`response.completed` repeats a whole answer),
//! and so is any that becomes too large to be held. One that has such a piece goes on through that value's
//! stream, see `large`, or is refused.

pub mod dialect;
mod large;
mod lines;
mod values;
mod walk;

/// Where the lines and events of an event stream begin and end.
pub mod events {
    pub use super::lines::{Framer, data_start, lines};
}

use super::Error;
use super::codec::Codec;
use super::stream::Stream;
use super::work::Work;
use crate::buffer::Chunk;
use crate::limits::{INSPECT_SCRATCH_BYTES_MAX, SSE_EVENT_BYTES_MAX, SSE_PIECES_MAX};
use dialect::{Dialect, Grammar};
use large::Large;
use lines::{Framer, LineStream, data_start, lines};
use smallvec::SmallVec;
use std::ops::Range;
use values::{Values, apart};
use walk::{End, Facts, walk};

/// In front of the first line it is no part of it.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// An event of a type that brings no piece of a value is held until so much of it is there.
const EVENT_HEAD_BYTES: usize = 8 << 10;
const _: () = assert!(EVENT_HEAD_BYTES < SSE_EVENT_BYTES_MAX);
// What is held of an event and scratch memory share this room; all else of a stream is less than 16 KiB.
const _: () =
    assert!(SSE_EVENT_BYTES_MAX <= INSPECT_SCRATCH_BYTES_MAX && INSPECT_SCRATCH_BYTES_MAX <= 48 << 10);

/// How an event is masked whose beginning is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// It is held until it is whole.
    Held,
    /// Line by line as it streams.
    ByLine,
    /// As it streams, its piece of a value through that value's stream.
    Large,
}

/// An event stream under inspection.
#[derive(Debug)]
pub struct Sse {
    dialect: &'static Dialect,
    framer: Framer,
    /// The beginning of an event that is not whole, and where it stands in the body.
    pending: Vec<u8>,
    pending_offset: u64,
    /// Whether the current event is masked line by line. Always, if no values are streamed.
    by_line: bool,
    lines: LineStream,
    /// The current event, if it is too large to be held and its piece of a value has begun. What it holds
    /// in `pending` stands behind that piece.
    large: Option<Large>,
    /// The parts of events that are no pieces of values: each is a value by itself.
    shell: Stream,
    /// Strings that hold a whole document.
    document: Stream,
    values: Values,
}

impl Sse {
    /// At the beginning of a body.
    pub fn new(dialect: &'static Dialect) -> Sse {
        Sse {
            dialect,
            framer: Framer::default(),
            pending: Vec::new(),
            pending_offset: 0,
            by_line: dialect.values.is_empty(),
            lines: LineStream::new(dialect),
            large: None,
            shell: Stream::new(Codec::Plain, false).of_parts(),
            document: Stream::new(Codec::QuotedJson, false),
            values: Values::new(dialect),
        }
    }

    /// Received bytes that have not been emitted.
    pub fn held_bytes(&self) -> usize {
        self.pending.len() + self.lines.held_bytes() + self.values.held_bytes()
    }

    /// Memory that the event which is not whole takes.
    pub fn pending_bytes(&self) -> usize {
        self.pending.capacity()
    }

    /// Takes a chunk, which is the emitter's source; its first byte is number `offset` of the body.
    ///
    /// # Errors
    /// [`Error::EventTooLong`], [`Error::TooManyStreams`], [`Error::HoldTooLong`].
    pub fn push(&mut self, work: &mut Work, chunk: &Chunk, offset: u64) -> Result<(), Error> {
        if self.dialect.values.is_empty() {
            return self.lines.push(work, chunk, 0..chunk.len());
        }
        let mut at = 0;
        while at < chunk.len() {
            if self.pending.is_empty() && !self.by_line && self.framer.take_line_feed(&chunk[at..]) {
                work.emit.keep(at..at + 1);
                at += 1;
                continue;
            }
            if let Some(end) = self.repeated_event(work, chunk, at)? {
                at = end;
                continue;
            }
            let end = self.framer.event_end(&chunk[at..]).map(|length| at + length);
            let range = at..end.unwrap_or(chunk.len());
            at = range.end;
            match self.by_line {
                true => self.lines.push(work, chunk, range)?,
                false => self.take(work, chunk, range, end.is_some(), offset)?,
            }
            self.by_line &= end.is_none();
        }
        Ok(())
    }

    /// Handles an event that differs from an earlier one only in its piece of a value, as most do; gives its
    /// end.
    fn repeated_event(&mut self, work: &mut Work, chunk: &Chunk, at: usize) -> Result<Option<usize>, Error> {
        if self.by_line || !self.pending.is_empty() || !self.framer.is_between_events() {
            return Ok(None);
        }
        let Some(repeat) = self.values.repeat(&chunk[at..]) else { return Ok(None) };
        let string = at + repeat.string.start..at + repeat.string.end;
        let end = at + repeat.end;
        work.emit.keep(at..string.start);
        self.values.push_repeated(work, chunk, &repeat, string.clone())?;
        work.emit.keep(string.end..end);
        Ok(Some(end))
    }

    /// The body has ended.
    ///
    /// # Errors
    /// As for [`Sse::push`].
    pub fn finish(&mut self, work: &mut Work) -> Result<(), Error> {
        self.lines.finish(work)?;
        self.values.end_body();
        self.cut_large(work)?;
        if !self.pending.is_empty() {
            // Without its blank line readers drop it, but not all of them do.
            self.pending_event(work)?;
        }
        self.values.flush_ended(work)
    }

    /// Handles the event that has been held until it was whole.
    fn pending_event(&mut self, work: &mut Work) -> Result<(), Error> {
        let event = Chunk::from(std::mem::take(&mut self.pending));
        work.emit.source(event.clone(), self.pending_offset);
        self.event(work, &event, 0..event.len())
    }

    /// Takes `range` of the chunk, the next part of an event, which ends there if it `ends`.
    fn take(
        &mut self,
        work: &mut Work,
        chunk: &Chunk,
        mut range: Range<usize>,
        ends: bool,
        offset: u64,
    ) -> Result<(), Error> {
        if self.large.is_some() {
            return self.go_on(work, chunk, range, ends, offset);
        }
        if self.pending.is_empty() {
            self.pending_offset = offset + range.start as u64;
        }
        // Asked at the same places of an event however it is cut.
        for limit in [EVENT_HEAD_BYTES, SSE_EVENT_BYTES_MAX] {
            let known = self.pending.len();
            if known > limit || known + range.len() <= limit {
                continue;
            }
            if known == 0 {
                let head = &chunk[range.start..range.start + limit];
                // What is there as a whole needs no memory.
                if limit == SSE_EVENT_BYTES_MAX && ends && self.has_piece(head) {
                    continue;
                }
                match self.way_of(work, head)? {
                    Way::Held => continue,
                    Way::ByLine => {
                        self.by_line = true;
                        return self.lines.push(work, chunk, range);
                    }
                    Way::Large => {}
                }
                let head = chunk.slice(range.start..range.start + limit);
                work.emit.source(head.clone(), self.pending_offset);
                self.begin_large(work, &head)?;
                work.emit.source(chunk.clone(), offset);
                return self.go_on(work, chunk, range.start + limit..range.end, ends, offset);
            }
            let split = range.start + limit - known;
            self.keep(work, &chunk[range.start..split]);
            range.start = split;
            let head = std::mem::take(&mut self.pending);
            let way = self.way_of(work, &head)?;
            if way == Way::Held {
                self.pending = head;
                continue;
            }
            let head = Chunk::from(head);
            work.emit.source(head.clone(), self.pending_offset);
            self.by_line = way == Way::ByLine;
            match self.by_line {
                true => self.lines.push(work, &head, 0..head.len())?,
                false => self.begin_large(work, &head)?,
            }
            work.emit.source(chunk.clone(), offset);
            return self.go_on(work, chunk, range, ends, offset);
        }
        if ends && self.pending.is_empty() {
            return self.event(work, chunk, range);
        }
        self.keep(work, &chunk[range]);
        if ends {
            self.pending_event(work)?;
            work.emit.source(chunk.clone(), offset);
        }
        Ok(())
    }

    /// Appends to what is held of the current event. The memory for it grows as that of vectors does, but
    /// not beyond what an event may take.
    fn keep(&mut self, work: &mut Work, bytes: &[u8]) {
        let needed = self.pending.len() + bytes.len();
        if needed > self.pending.capacity() {
            let room = (2 * self.pending.capacity()).min(SSE_EVENT_BYTES_MAX).max(needed);
            self.pending.reserve_exact(room - self.pending.len());
        }
        work.emit.tally.copy(&mut self.pending, bytes);
    }

    /// How an event that begins with `head` is masked: as it streams if it is of a type that brings no piece
    /// of a value, or too large to be held.
    fn way_of(&mut self, work: &mut Work, head: &[u8]) -> Result<Way, Error> {
        let is_full = head.len() >= SSE_EVENT_BYTES_MAX;
        if is_full && self.has_piece(head) {
            return Ok(Way::Large);
        }
        let read: SmallVec<[(&[u8], Facts); 2]> =
            data_of(head).map(|data| (data, walk(self.dialect, data).0)).collect();
        let is_other =
            |(data, facts): &(&[u8], Facts)| facts.has_kind() && !self.values.have_pieces(&facts.kind(data));
        if !is_full && (read.is_empty() || !read.iter().all(is_other)) {
            return Ok(Way::Held);
        }
        for (data, facts) in &read {
            self.values.end_by(facts, &facts.kind(data));
        }
        self.values.flush_ended(work)?;
        Ok(Way::ByLine)
    }

    /// Whether a piece of a value begins in the beginning of an event.
    fn has_piece(&self, head: &[u8]) -> bool {
        data_of(head).any(|data| {
            let facts = walk(self.dialect, data).0;
            let kind = facts.kind(data);
            let mut values = facts.strings.iter().filter_map(|found| self.values.choose(found.values, &kind));
            let is_piece =
                |value: &dialect::Value| value.joined.is_some() || value.grammar == Grammar::Thinking;
            values.any(is_piece) || facts.cut.is_some()
        })
    }

    /// Handles a whole event, `range` of `source`.
    fn event(&mut self, work: &mut Work, source: &Chunk, range: Range<usize>) -> Result<(), Error> {
        let (first, data) = data_in(source, range.clone());
        let data: SmallVec<[Range<usize>; 2]> = data.collect();
        match data.as_slice() {
            [_, _, ..] => match self.join_lines(source, range.clone(), first, &data) {
                Some(joined) => self.joined_event(work, joined, range.start..data[data.len() - 1].end),
                None => self.read_event(work, source, range, data),
            },
            _ => self.read_event(work, source, range, data),
        }
    }

    /// Handles an event whose values of `data` lines are known.
    fn read_event(
        &mut self,
        work: &mut Work,
        source: &Chunk,
        range: Range<usize>,
        data: SmallVec<[Range<usize>; 2]>,
    ) -> Result<(), Error> {
        let read: SmallVec<[(Range<usize>, Facts, End); 2]> = data
            .into_iter()
            .map(|range| {
                let (facts, end) = walk(self.dialect, &source[range.clone()]);
                (range, facts, end)
            })
            .collect();
        // What ends values must not overtake what was held of them.
        for (data, facts, _) in &read {
            let data = &source[data.clone()];
            if data.trim_ascii() == b"[DONE]" {
                self.values.end_all();
            }
            if facts.strings.len() > SSE_PIECES_MAX {
                return Err(Error::TooManyStreams);
            }
            self.values.note_pieces(data, facts)?;
            self.values.end_by(facts, &facts.kind(data));
        }
        self.values.flush_ended(work)?;
        let piece = self.only_piece(source, &read);
        let hits: u64 = work.emit.hits.iter().sum();
        let mut at = range.start;
        for (data, facts, end) in read {
            self.text(work, source, at..data.start)?;
            at = data.end;
            self.data(work, source, data, &facts, end)?;
        }
        self.text(work, source, at..range.end)?;
        let ended = self.values.forget_ended();
        let bom = source[range.start..].starts_with(BYTE_ORDER_MARK);
        let quiet = !bom && !ended && hits == work.emit.hits.iter().sum::<u64>();
        if let Some(piece) = piece.filter(|_| quiet) {
            self.values.note_shape(&source[range.start..piece.start], &source[piece.end..range.end]);
        }
        Ok(())
    }

    /// The piece of a streamed value, if an event has one data line with one such piece and no other string
    /// with a treatment of its own.
    fn only_piece(&self, source: &Chunk, read: &[(Range<usize>, Facts, End)]) -> Option<Range<usize>> {
        let [(data, facts, End::Whole)] = read else { return None };
        let [found] = facts.strings.as_slice() else { return None };
        let value = self.values.choose(found.values, &facts.kind(&source[data.clone()]))?;
        value.joined?;
        (facts.stops.is_empty()).then(|| data.start + found.range.start..data.start + found.range.end)
    }

    /// Field names, comments and line ends.
    fn text(&mut self, work: &mut Work, source: &Chunk, range: Range<usize>) -> Result<(), Error> {
        if source[range.clone()].iter().all(u8::is_ascii_whitespace) {
            work.emit.keep(range);
            return Ok(());
        }
        self.shell.restart(Codec::Plain, false);
        self.shell.push(work, source, range, true)
    }

    /// The value of a `data` line.
    fn data(
        &mut self,
        work: &mut Work,
        source: &Chunk,
        range: Range<usize>,
        facts: &Facts,
        end: End,
    ) -> Result<(), Error> {
        if end != End::Whole && facts.strings.is_empty() {
            let is_json =
                matches!(source[range.clone()].trim_ascii_start().first(), Some(b'{' | b'[' | b'"'));
            self.shell.restart(if is_json { Codec::Json } else { Codec::Plain }, false);
            return self.shell.push(work, source, range, true);
        }
        let kind = facts.kind(&source[range.clone()]);
        let mut at = range.start;
        for found in &facts.strings {
            let Some(value) = self.values.choose(found.values, &kind) else { continue };
            let string = range.start + found.range.start..range.start + found.range.end;
            self.between(work, source, at..string.start, at > range.start)?;
            at = string.end;
            match (value.joined, value.grammar) {
                (_, Grammar::Opaque) => work.emit.keep(string),
                (Some(_), _) => {
                    let data = &source[range.clone()];
                    self.values.push(work, source, string, facts, found, &kind, data)?;
                }
                (None, grammar) => self.alone(work, source, string, grammar)?,
            }
        }
        self.between(work, source, at..range.end, at > range.start)
    }

    /// A string that is a value by itself.
    fn alone(
        &mut self,
        work: &mut Work,
        source: &Chunk,
        string: Range<usize>,
        grammar: Grammar,
    ) -> Result<(), Error> {
        let stream = if grammar == Grammar::Json { &mut self.document } else { &mut self.shell };
        stream.restart(codec(grammar), false);
        if grammar == Grammar::Thinking {
            stream.seal_thinking();
        }
        apart(grammar, work, string.clone(), |work| stream.push(work, source, string, true))
    }

    /// A part of the data between strings with a treatment of their own.
    fn between(
        &mut self,
        work: &mut Work,
        source: &Chunk,
        range: Range<usize>,
        in_string: bool,
    ) -> Result<(), Error> {
        self.shell.restart(Codec::Json, in_string);
        self.shell.push(work, source, range, true)
    }

    /// An event with several data lines, the first line at `first`, as one with a single data line, if that
    /// is JSON: a line end is white space there. Gives the event, and where its data stands in it.
    fn join_lines(
        &self,
        source: &Chunk,
        range: Range<usize>,
        first: usize,
        data: &[Range<usize>],
    ) -> Option<(Vec<u8>, Range<usize>)> {
        let pieces: Vec<&[u8]> = data.iter().map(|range| &source[range.clone()]).collect();
        let joined = pieces.join(&b' ');
        if walk(self.dialect, &joined).1 != End::Whole {
            return None;
        }
        let last = data.last()?.end;
        let mut event = Vec::with_capacity(range.len());
        event.extend_from_slice(&source[range.start..first]);
        for line in lines(&source[first..last]).map(|line| &source[first..last][line]) {
            if data_start(line).is_none() {
                event.extend_from_slice(line);
                event.push(b'\n');
            }
        }
        event.extend_from_slice(b"data: ");
        let start = event.len();
        event.extend_from_slice(&joined);
        let end = event.len();
        event.extend_from_slice(&source[last..range.end]);
        Some((event, start..end))
    }

    /// Handles an event that was joined from the lines in `range`.
    fn joined_event(
        &mut self,
        work: &mut Work,
        (event, data): (Vec<u8>, Range<usize>),
        range: Range<usize>,
    ) -> Result<(), Error> {
        work.emit.tally.copied += event.len() as u64;
        let event = Chunk::from(event);
        let edits = work.emit.edits.len();
        let (source, offset) = work.emit.replace_source(event.clone(), range.start);
        self.read_event(work, &event, 0..event.len(), SmallVec::from_iter([data]))?;
        work.emit.source(source, offset);
        // Where in the lines a mask begins is not known any more: all of them count as masked.
        if let Some(edit) = work.emit.edits.get(edits).copied() {
            work.emit.edits.truncate(edits);
            let (offset, len) = (offset + range.start as u64, range.len() as u64);
            work.emit.edits.push(super::Edit { offset, len, rule: edit.rule });
        }
        Ok(())
    }
}

/// The values of the `data` lines of an event, or of the beginning of one.
fn data_of(event: &[u8]) -> impl Iterator<Item = &[u8]> {
    data_ranges(event).map(|range| &event[range])
}

/// Where they stand in it.
fn data_ranges(event: &[u8]) -> impl Iterator<Item = Range<usize>> {
    lines(event).filter_map(|line| Some(line.start + data_start(&event[line.clone()])?..line.end))
}

/// Where the first line of an event begins, `range` of `source`, behind a byte order mark; and where the
/// values of its `data` lines stand there.
fn data_in(source: &[u8], range: Range<usize>) -> (usize, impl Iterator<Item = Range<usize>>) {
    let has_mark = source[range.clone()].starts_with(BYTE_ORDER_MARK);
    let first = range.start + if has_mark { BYTE_ORDER_MARK.len() } else { 0 };
    let data = data_ranges(&source[first..range.end]);
    (first, data.map(move |data| first + data.start..first + data.end))
}

/// How a string with this content is spelled.
fn codec(grammar: Grammar) -> Codec {
    match grammar {
        Grammar::Json => Codec::QuotedJson,
        Grammar::Text | Grammar::Thinking | Grammar::Opaque => Codec::Quoted,
    }
}
