//! Reads an event's JSON data once and notes what a dialect asks for: the strings with a treatment of their
//! own, the indexes that tell them apart, the members that end values, and the type.
//!
//! Lenient, like the parsers of clients: order does not matter, unknown members are skipped, escaped keys
//! are read. It proves nothing about the document; what it does not understand is scanned as it stands.

use super::dialect::{Dialect, INDEXES_MAX, Step};
use crate::inspect::codec;
use smallvec::SmallVec;
use std::borrow::Cow;
use std::ops::Range;

/// What an event's data holds.
#[derive(Debug, Default)]
pub struct Facts {
    /// The root member `type`, as it stands.
    kind: Option<Range<usize>>,
    /// Strings that a value's path leads to, in order.
    pub strings: SmallVec<[Found; 4]>,
    indexes: SmallVec<[(usize, Place, u32); 4]>,
    /// Where a stop member is there and not `null`.
    pub stops: SmallVec<[Place; 2]>,
    /// The string that the data ends in, if a value's path leads to it.
    pub cut: Option<Found>,
    /// Echoed members: index in the dialect's list, the value as it stands.
    pub echo: SmallVec<[(usize, Range<usize>); 6]>,
}

/// A string, without its quotes.
#[derive(Clone, Debug)]
pub struct Found {
    /// The values whose path leads here, as a bit set.
    pub values: u64,
    /// Where it stands in the data.
    pub range: Range<usize>,
    /// In which elements.
    pub place: Place,
}

/// The numbers of the array elements on the way to a member.
pub type Place = SmallVec<[u32; 2]>;

/// How a reading ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With the end of the document.
    Whole,
    /// The data ended before the document.
    Cut,
    /// It is no JSON object.
    Broken,
}

impl Facts {
    /// The root member `type`, decoded.
    pub fn kind<'a>(&self, data: &'a [u8]) -> Cow<'a, [u8]> {
        self.kind.clone().map_or(Cow::Borrowed(&[]), |range| decoded(&data[range]))
    }

    /// Whether the root member `type` was read.
    pub fn has_kind(&self) -> bool {
        self.kind.is_some()
    }

    /// The indexes that belong to `place`: those outside of arrays, and in the same elements.
    pub fn indexes_at(&self, place: &Place) -> [Option<u32>; INDEXES_MAX] {
        let mut indexes = [None; INDEXES_MAX];
        for (slot, of, value) in &self.indexes {
            if place.starts_with(of) {
                indexes[*slot] = Some(*value);
            }
        }
        indexes
    }
}

/// Reads `data`.
pub fn walk(dialect: &Dialect, data: &[u8]) -> (Facts, End) {
    let mut walker = Walker { dialect, data, at: 0, facts: Facts::default(), frames: SmallVec::new() };
    let end = match walker.document() {
        Ok(()) => End::Whole,
        Err(end) => end,
    };
    (walker.facts, end)
}

/// An object or array on a path.
struct Frame {
    /// The patterns whose path leads here and goes on.
    patterns: u64,
    /// The number of the element in an array.
    element: Option<u32>,
}

struct Walker<'a> {
    dialect: &'a Dialect,
    data: &'a [u8],
    at: usize,
    facts: Facts,
    /// As deep as the longest path; other containers are skipped as a whole.
    frames: SmallVec<[Frame; 8]>,
}

impl<'a> Walker<'a> {
    fn document(&mut self) -> Result<(), End> {
        if self.peek()? != b'{' {
            return Err(End::Broken);
        }
        self.at += 1;
        self.frames.push(Frame { patterns: u64::MAX, element: None });
        while let Some(element) = self.frames.last().map(|frame| frame.element) {
            match (self.peek()?, element) {
                (b'}', None) | (b']', Some(_)) => {
                    self.at += 1;
                    self.frames.pop();
                }
                (b',', element) => {
                    self.at += 1;
                    let next = element.map(|element| element.saturating_add(1));
                    self.frames.last_mut().ok_or(End::Broken)?.element = next;
                }
                (b'"', None) => self.member()?,
                (_, Some(_)) => {
                    let patterns = self.patterns(|step| step == Step::Each);
                    self.value(patterns)?;
                }
                _ => return Err(End::Broken),
            }
        }
        Ok(())
    }

    fn member(&mut self) -> Result<(), End> {
        let key = self.string().ok_or(End::Cut)?;
        let key = decoded(&self.data[key]);
        if self.peek()? != b':' {
            return Err(End::Broken);
        }
        self.at += 1;
        let patterns =
            self.patterns(|step| matches!(step, Step::Key(name) if name.as_bytes() == key.as_ref()));
        let start = self.value(patterns)?;
        if self.frames.len() == 1 {
            self.root_member(&key, start..self.at);
        }
        Ok(())
    }

    fn root_member(&mut self, key: &[u8], value: Range<usize>) {
        let is_string = self.data[value.start] == b'"';
        if key == b"type" && is_string {
            self.facts.kind = Some(value.start + 1..value.end - 1);
        }
        if let Some(index) = self.dialect.echo.iter().position(|name| name.as_bytes() == key) {
            self.facts.echo.push((index, value));
        }
    }

    /// Reads a value; returns where it starts.
    fn value(&mut self, patterns: u64) -> Result<usize, End> {
        let first = self.peek()?;
        let start = self.at;
        let values = self.ending(patterns, 0, self.dialect.values.len());
        match first {
            b'"' => {
                let Some(range) = self.string() else {
                    let range = start + 1..self.data.len();
                    self.facts.cut = (values != 0).then(|| Found { values, range, place: self.place() });
                    return Err(End::Cut);
                };
                if values != 0 {
                    let place = self.place();
                    self.facts.strings.push(Found { values, range, place });
                }
                self.note_stop(patterns);
            }
            b'{' | b'[' => {
                self.note_stop(patterns);
                if patterns & !self.ending(patterns, 0, self.pattern_count()) != 0 {
                    self.at += 1;
                    self.frames.push(Frame { patterns, element: (first == b'[').then_some(0) });
                } else {
                    self.skip()?;
                }
            }
            b'}' | b']' | b':' | b',' => return Err(End::Broken),
            _ => self.scalar(patterns)?,
        }
        Ok(start)
    }

    fn scalar(&mut self, patterns: u64) -> Result<(), End> {
        let rest = &self.data[self.at..];
        let is_end = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\r' | b'\n' | b'"');
        let length = rest.iter().position(is_end).ok_or(End::Cut)?;
        let scalar = &rest[..length];
        self.at += length.max(1);
        if scalar != b"null" {
            self.note_stop(patterns);
        }
        let number = std::str::from_utf8(scalar).ok().and_then(|number| number.parse().ok());
        let first = self.dialect.values.len();
        for slot in 0..self.dialect.indexes.len() {
            if let Some(number) = number
                && self.ending(patterns, first + slot, 1) != 0
            {
                let place = self.place();
                self.facts.indexes.push((slot, place, number));
            }
        }
        Ok(())
    }

    fn note_stop(&mut self, patterns: u64) {
        let first = self.dialect.values.len() + self.dialect.indexes.len();
        if self.ending(patterns, first, self.dialect.stop_members.len()) != 0 {
            let place = self.place();
            self.facts.stops.push(place);
        }
    }

    /// Skips a container with everything in it.
    fn skip(&mut self) -> Result<(), End> {
        let mut depth = 0u32;
        loop {
            let rest = self.data.get(self.at..).ok_or(End::Cut)?;
            let next = rest.iter().position(|byte| matches!(byte, b'"' | b'{' | b'[' | b'}' | b']'));
            self.at += next.ok_or(End::Cut)?;
            match self.data[self.at] {
                b'"' => {
                    self.string().ok_or(End::Cut)?;
                    continue;
                }
                b'{' | b'[' => depth = depth.saturating_add(1),
                _ => depth -= 1,
            }
            self.at += 1;
            if depth == 0 {
                return Ok(());
            }
        }
    }

    /// The next byte that is not white space.
    fn peek(&mut self) -> Result<u8, End> {
        loop {
            match self.data.get(self.at) {
                None => return Err(End::Cut),
                Some(b' ' | b'\t' | b'\r' | b'\n') => self.at += 1,
                Some(byte) => return Ok(*byte),
            }
        }
    }

    /// Reads the string that begins here; gives what stands between its quotes.
    fn string(&mut self) -> Option<Range<usize>> {
        let start = self.at + 1;
        let mut at = start;
        loop {
            at += memchr::memchr2(b'"', b'\\', self.data.get(at..)?)?;
            if self.data[at] == b'"' {
                self.at = at + 1;
                return Some(start..at);
            }
            at += 2;
        }
    }

    fn place(&self) -> Place {
        self.frames.iter().filter_map(|frame| frame.element).collect()
    }

    fn pattern_count(&self) -> usize {
        self.dialect.values.len() + self.dialect.indexes.len() + self.dialect.stop_members.len()
    }

    fn path(&self, pattern: usize) -> &'static [Step] {
        let (values, indexes) = (self.dialect.values.len(), self.dialect.indexes.len());
        match pattern {
            _ if pattern < values => self.dialect.values[pattern].path,
            _ if pattern < values + indexes => self.dialect.indexes[pattern - values],
            _ => self.dialect.stop_members[pattern - values - indexes],
        }
    }

    /// The patterns of the innermost container whose next step is as asked.
    fn patterns(&self, is_next: impl Fn(Step) -> bool) -> u64 {
        let depth = self.frames.len() - 1;
        let open = self.frames[depth].patterns;
        (0..self.pattern_count())
            .filter(|pattern| open >> pattern & 1 != 0)
            .filter(|pattern| self.path(*pattern).get(depth).is_some_and(|step| is_next(*step)))
            .fold(0, |set, pattern| set | 1 << pattern)
    }

    /// Those of `patterns`, among `count` from `first` on, whose path ends at the current value.
    fn ending(&self, patterns: u64, first: usize, count: usize) -> u64 {
        if patterns == 0 {
            return 0;
        }
        (first..first + count)
            .filter(|pattern| patterns >> pattern & 1 != 0 && self.path(*pattern).len() == self.frames.len())
            .fold(0, |set, pattern| set | 1 << pattern)
    }
}

/// A string's content without escapes.
fn decoded(string: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'\\', string).is_none() {
        return Cow::Borrowed(string);
    }
    Cow::Owned(codec::unescaped(string))
}
