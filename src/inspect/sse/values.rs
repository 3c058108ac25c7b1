//! The values that are streamed in pieces: one stream each, told apart by its indexes.

use super::codec;
use super::dialect::{Dialect, Grammar, INDEXES_MAX, Value};
use super::walk::{Facts, Found, Place};
use crate::buffer::Chunk;
use crate::inspect::emit::Reader;
use crate::inspect::stream::Stream;
use crate::inspect::work::Work;
use crate::inspect::{Error, Thinking};
use crate::limits::{SSE_ECHO_BYTES_MAX, SSE_STREAMS_MAX};
use smallvec::SmallVec;
use std::ops::Range;

/// The open values of one body, the least recently used first.
#[derive(Debug)]
pub struct Values {
    dialect: &'static Dialect,
    open: Vec<Open>,
    /// Whether the body has ended, so that the last event ends what it brings.
    body_ended: bool,
}

/// What tells a value from others.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    /// Index of its entry in the dialect.
    value: usize,
    /// The event type, where the entry stands for several.
    kind: SmallVec<[u8; 24]>,
    indexes: [u32; INDEXES_MAX],
}

/// A value of which more may come.
#[derive(Debug)]
struct Open {
    key: Key,
    stream: Stream,
    /// The members to repeat, as they are spelled, each with a comma behind it, and the event type: for the
    /// event that carries what is held.
    echo: Vec<u8>,
    kind: SmallVec<[u8; 32]>,
    /// What stands around the value's piece in its last event, if another event like it needs no reading:
    /// nothing was found there, and nothing ends.
    shape: Option<Shape>,
    /// Whether the current event ends it, and how many pieces that event still has for it.
    ended: bool,
    pieces: u32,
}

/// All bytes of an event but those of its one piece.
#[derive(Debug)]
struct Shape {
    before: Box<[u8]>,
    after: Box<[u8]>,
}

/// Where the piece of an event of known shape stands, and where the event ends.
#[derive(Debug)]
pub struct Repeat {
    index: usize,
    /// The string without its quotes.
    pub string: Range<usize>,
    /// The end of the event.
    pub end: usize,
}

impl Values {
    /// No values yet.
    pub fn new(dialect: &'static Dialect) -> Values {
        Values { dialect, open: Vec::new(), body_ended: false }
    }

    /// Received bytes that have not been emitted.
    pub fn held_bytes(&self) -> usize {
        self.open.iter().map(|open| open.stream.held_bytes()).sum()
    }

    /// The entry that a string belongs to: the first of `values` for events of type `kind`.
    pub fn choose(&self, values: u64, kind: &[u8]) -> Option<&'static Value> {
        self.index(values, kind).map(|index| &self.dialect.values[index])
    }

    /// Whether events of type `kind` may bring pieces of values.
    pub fn have_pieces(&self, kind: &[u8]) -> bool {
        let mut joined = self.dialect.values.iter().filter(|value| value.joined.is_some());
        joined.any(|value| value.event.is_none_or(|event| is_like(kind, event)))
    }

    fn index(&self, values: u64, kind: &[u8]) -> Option<usize> {
        (0..self.dialect.values.len()).find(|index| {
            let is_kind = self.dialect.values[*index].event.is_none_or(|event| is_like(kind, event));
            values >> index & 1 != 0 && is_kind
        })
    }

    /// Marks the values that an event ends.
    pub fn end_by(&mut self, facts: &Facts, kind: &[u8]) {
        let places = facts.stops.iter().cloned().chain(self.is_stop(kind).then(Place::new));
        for place in places {
            let indexes = facts.indexes_at(&place);
            for open in &mut self.open {
                let agrees = |slot: usize| indexes[slot].is_none_or(|index| index == open.key.indexes[slot]);
                open.ended |= (0..INDEXES_MAX).all(agrees);
            }
        }
    }

    /// Whether events of type `kind` end values.
    pub fn is_stop(&self, kind: &[u8]) -> bool {
        self.dialect.stops.iter().any(|stop| is_like(kind, stop))
    }

    /// Marks all values as ended.
    pub fn end_all(&mut self) {
        self.open.iter_mut().for_each(|open| open.ended = true);
    }

    /// The body has ended: so have all values, after the event that may still be at hand.
    pub fn end_body(&mut self) {
        self.end_all();
        self.body_ended = true;
    }

    /// Counts the pieces that an event brings, and opens the values that begin with it.
    ///
    /// # Errors
    /// [`Error::TooManyStreams`].
    pub fn note_pieces(&mut self, data: &[u8], facts: &Facts) -> Result<(), Error> {
        let kind = facts.kind(data);
        for found in &facts.strings {
            let Some(key) = self.key(facts, found, &kind) else { continue };
            let index = match self.open.iter().position(|open| open.key == key) {
                Some(index) => index,
                None => self.begin(key)?,
            };
            self.open[index].pieces += 1;
        }
        Ok(())
    }

    fn key(&self, facts: &Facts, found: &Found, kind: &[u8]) -> Option<Key> {
        let value = self.index(found.values, kind)?;
        let entry = &self.dialect.values[value];
        entry.joined?;
        let is_one_kind = entry.event.is_none_or(|event| !event.starts_with('*'));
        let kind = if is_one_kind { SmallVec::new() } else { SmallVec::from_slice(kind) };
        let indexes = facts.indexes_at(&found.place).map(|index| index.unwrap_or(0));
        Some(Key { value, kind, indexes })
    }

    /// Takes `string` of `source`, a noted piece of the value that `found` belongs to.
    ///
    /// # Errors
    /// As [`Stream::push`].
    #[allow(clippy::too_many_arguments)]
    pub fn push(
        &mut self,
        work: &mut Work,
        source: &Chunk,
        string: Range<usize>,
        facts: &Facts,
        found: &Found,
        kind: &[u8],
        data: &[u8],
    ) -> Result<(), Error> {
        let Some(key) = self.key(facts, found, kind) else { return Ok(()) };
        let Some(index) = self.open.iter().position(|open| open.key == key) else { return Ok(()) };
        let echo_names = self.dialect.echo;
        let open = &mut self.open[index];
        open.pieces = open.pieces.saturating_sub(1);
        open.shape = None;
        open.kind = SmallVec::from_slice(kind);
        open.echo.clear();
        for (name, range) in &facts.echo {
            if open.echo.len() + range.len() < SSE_ECHO_BYTES_MAX {
                let name = echo_names[*name].as_bytes();
                open.echo.extend_from_slice(&[b"\"", name, b"\":", &data[range.clone()], b","].concat());
            }
        }
        let last = open.ended && open.pieces == 0;
        let grammar = self.dialect.values[open.key.value].grammar;
        apart(grammar, work, string.clone(), |work| open.stream.push(work, source, string, last))?;
        // The most recently used last.
        self.open[index..].rotate_left(1);
        Ok(())
    }

    /// Whether an event of known shape begins here.
    pub fn repeat(&self, bytes: &[u8]) -> Option<Repeat> {
        self.open.iter().enumerate().rev().find_map(|(index, open)| {
            let shape = open.shape.as_ref()?;
            let rest = bytes.strip_prefix(&*shape.before)?;
            let length = string_length(rest)?;
            rest[length..].starts_with(&shape.after).then(|| {
                let start = shape.before.len();
                Repeat { index, string: start..start + length, end: start + length + shape.after.len() }
            })
        })
    }

    /// Takes `string` of `source`, the piece of an event of known shape.
    ///
    /// # Errors
    /// As [`Stream::push`].
    pub fn push_repeated(
        &mut self,
        work: &mut Work,
        source: &Chunk,
        repeat: &Repeat,
        string: Range<usize>,
    ) -> Result<(), Error> {
        let open = &mut self.open[repeat.index];
        let grammar = self.dialect.values[open.key.value].grammar;
        apart(grammar, work, string.clone(), |work| open.stream.push(work, source, string, false))?;
        self.open[repeat.index..].rotate_left(1);
        Ok(())
    }

    /// Takes `string` of `source`, which goes on with the piece that was taken last; `last`: the value ends.
    ///
    /// # Errors
    /// As [`Stream::push`].
    pub fn push_on(
        &mut self,
        work: &mut Work,
        source: &Chunk,
        string: Range<usize>,
        last: bool,
    ) -> Result<(), Error> {
        let Some(open) = self.open.last_mut() else { return Ok(()) };
        let grammar = self.dialect.values[open.key.value].grammar;
        apart(grammar, work, string.clone(), |work| open.stream.push(work, source, string, last))
    }

    /// Whether the string `found` belongs to the value of which a piece was taken last.
    pub fn is_last(&self, facts: &Facts, found: &Found, kind: &[u8]) -> bool {
        let key = self.key(facts, found, kind);
        key.is_some() && key.as_ref() == self.open.last().map(|open| &open.key)
    }

    /// Whether an ended value to which the current event adds nothing has something to be written.
    pub fn owe_output(&self) -> bool {
        self.open.iter().any(|open| open.ended && open.pieces == 0 && open.stream.owes_output())
    }

    /// Remembers the shape of the event that has just brought the most recently used value its one piece.
    pub fn note_shape(&mut self, before: &[u8], after: &[u8]) {
        if before.len() + after.len() <= SSE_ECHO_BYTES_MAX
            && let Some(open) = self.open.last_mut()
        {
            open.shape = Some(Shape { before: before.into(), after: after.into() });
        }
    }

    fn begin(&mut self, key: Key) -> Result<usize, Error> {
        if self.open.len() == SSE_STREAMS_MAX {
            // It loses only its left context.
            let idle = self.open.iter().position(|open| open.stream.may_be_forgotten() && open.pieces == 0);
            self.open.remove(idle.ok_or(Error::TooManyStreams)?);
        }
        let grammar = self.dialect.values[key.value].grammar;
        let mut stream = Stream::new(codec(grammar), false);
        if grammar == Grammar::Thinking {
            stream.seal_thinking();
        }
        let kind = SmallVec::new();
        let echo = Vec::new();
        self.open.push(Open { key, stream, echo, kind, shape: None, ended: self.body_ended, pieces: 0 });
        Ok(self.open.len() - 1)
    }

    /// Emits what is held of the ended values to which the current event adds nothing, in events of our own.
    ///
    /// # Errors
    /// As [`Stream::push`].
    pub fn flush_ended(&mut self, work: &mut Work) -> Result<(), Error> {
        let dialect = self.dialect;
        for open in self.open.iter_mut().filter(|open| open.ended && open.pieces == 0) {
            let grammar = dialect.values[open.key.value].grammar;
            apart(grammar, work, 0..0, |work| flush(dialect, open, work))?;
        }
        self.open.retain(|open| !open.ended || open.pieces > 0);
        Ok(())
    }

    /// Forgets the values that the current event has ended; says whether there were any.
    pub fn forget_ended(&mut self) -> bool {
        let count = self.open.len();
        self.open.retain(|open| !open.ended);
        self.open.len() < count
    }
}

/// Masks `piece` of the source, a part of a value of `grammar`. Thinking that goes on whatever is found in it
/// is masked for the record alone.
pub fn apart(
    grammar: Grammar,
    work: &mut Work,
    piece: Range<usize>,
    mask: impl FnOnce(&mut Work) -> Result<(), Error>,
) -> Result<(), Error> {
    if grammar != Grammar::Thinking || work.thinking == Thinking::End {
        return mask(work);
    }
    work.emit.only(Reader::Peer);
    work.emit.keep(piece);
    work.emit.only(Reader::Record);
    let done = mask(work);
    work.emit.only(Reader::All);
    done
}

/// Bytes up to the quote that ends a string; `None` if it does not end within its line.
fn string_length(bytes: &[u8]) -> Option<usize> {
    let mut length = 0;
    loop {
        length += memchr::memchr2(b'"', b'\\', bytes.get(length..)?)?;
        if bytes[length] == b'"' {
            return memchr::memchr2(b'\n', b'\r', &bytes[..length]).is_none().then_some(length);
        }
        length += 2;
    }
}

/// Whether an event type is `pattern`, or ends in what follows its `*`.
fn is_like(kind: &[u8], pattern: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some(suffix) => kind.ends_with(suffix.as_bytes()),
        None => kind == pattern.as_bytes(),
    }
}

fn flush(dialect: &Dialect, open: &mut Open, work: &mut Work) -> Result<(), Error> {
    let nothing = Chunk::default();
    let template = dialect.values[open.key.value].joined.and_then(|template| template.split_once("$text"));
    let Some((head, tail)) = template.filter(|_| open.stream.owes_output()) else {
        return open.stream.push(work, &nothing, 0..0, true);
    };
    let mut event = Vec::with_capacity(head.len() + open.echo.len() + 8);
    let mut rest = head;
    while let Some((before, after)) = rest.split_once('$') {
        event.extend_from_slice(before.as_bytes());
        rest = after;
        if let Some(after) = rest.strip_prefix("echo") {
            event.extend_from_slice(&open.echo);
            rest = after;
        } else if let Some(after) = rest.strip_prefix("type") {
            event.extend_from_slice(&open.kind);
            rest = after;
        } else if let Some(slot) = rest.bytes().next().map(|byte| usize::from(byte.wrapping_sub(b'0'))) {
            let index = open.key.indexes.get(slot).copied().unwrap_or(0);
            event.extend_from_slice(index.to_string().as_bytes());
            rest = &rest[1..];
        }
    }
    event.extend_from_slice(rest.as_bytes());
    work.emit.own(&event);
    open.stream.push(work, &nothing, 0..0, true)?;
    work.emit.own(tail.as_bytes());
    Ok(())
}
