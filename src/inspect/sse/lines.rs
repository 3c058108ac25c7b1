//! Lines and events (WHATWG HTML, "Parsing an event stream"): lines end in CR, LF or CRLF, an event ends in
//! a blank line.

use super::dialect::{Dialect, Step};
use crate::buffer::Chunk;
use crate::inspect::Error;
use crate::inspect::codec::Codec;
use crate::inspect::seal::Seal;
use crate::inspect::stream::Stream;
use crate::inspect::work::Work;
use smallvec::SmallVec;
use std::ops::Range;

/// Finds the ends of events over any cutting.
#[derive(Debug, Default)]
pub struct Framer {
    /// Whether the current line has a byte.
    in_line: bool,
    /// Whether the last byte was a CR: a LF behind it belongs to the same line end.
    after_return: bool,
}

impl Framer {
    /// Whether an event begins here and nothing of it, nor a line feed of the one before, can be missing.
    pub fn is_between_events(&self) -> bool {
        !self.in_line && !self.after_return
    }

    /// Whether `bytes` begin with the line feed of a line end whose CR came before. It is taken.
    pub fn take_line_feed(&mut self, bytes: &[u8]) -> bool {
        let taken = self.after_return && bytes.first() == Some(&b'\n');
        self.after_return &= !taken;
        taken
    }

    /// The length of `bytes` up to the end of the event, behind its blank line; `None` if it goes on.
    pub fn event_end(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        if !bytes.is_empty() && std::mem::take(&mut self.after_return) && bytes[0] == b'\n' {
            at = 1;
        }
        while at < bytes.len() {
            let Some(length) = memchr::memchr2(b'\n', b'\r', &bytes[at..]) else {
                self.in_line = true;
                return None;
            };
            let is_blank = length == 0 && !self.in_line;
            at += length + 1;
            if bytes[at - 1] == b'\r' {
                match bytes.get(at) {
                    Some(b'\n') => at += 1,
                    Some(_) => {}
                    None => self.after_return = true,
                }
            }
            self.in_line = false;
            if is_blank {
                return Some(at);
            }
        }
        None
    }
}

/// The lines of `bytes` as ranges without their ends.
pub fn lines(bytes: &[u8]) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = bytes.get(at..).filter(|rest| !rest.is_empty())?;
        let start = at;
        let length = memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
        at += length + 1;
        if rest.get(length..length + 2) == Some(b"\r\n") {
            at += 1;
        }
        Some(start..start + length)
    })
}

/// Where the value of a `data` line starts within the line; `None` for other lines.
pub fn data_start(line: &[u8]) -> Option<usize> {
    match line.strip_prefix(b"data")? {
        [] => Some(4),
        [b':', b' ', ..] => Some(6),
        [b':', ..] => Some(5),
        _ => None,
    }
}

/// Masks line by line, without waiting for the end of an event: each line's content is a value by itself,
/// JSON if it begins like JSON, else text.
#[derive(Debug)]
pub struct LineStream {
    dialect: &'static Dialect,
    state: Line,
    stream: Stream,
}

#[derive(Clone, Copy, Debug)]
enum Line {
    /// So many bytes of `data:` were there.
    Field(usize),
    /// Behind the colon, before the value.
    Space,
    /// Within the value, or within another line.
    Content,
}

const DATA: &[u8] = b"data:";

impl LineStream {
    /// At the beginning of a line of an event that brings no piece of a streamed value.
    pub fn new(dialect: &'static Dialect) -> LineStream {
        let mut stream = Stream::new(Codec::Plain, false);
        if !dialect.values.is_empty() {
            stream = stream.of_parts();
        }
        let pieces: SmallVec<[&'static [Step]; 8]> =
            dialect.values.iter().filter(|value| value.joined.is_some()).map(|value| value.path).collect();
        stream.documents_at(dialect.documents, &pieces);
        LineStream { dialect, state: Line::Field(0), stream }
    }

    /// Received bytes that have not been emitted.
    pub fn held_bytes(&self) -> usize {
        self.stream.held_bytes()
    }

    /// Takes `range` of `source`.
    ///
    /// # Errors
    /// As [`Stream::push`].
    pub fn push(&mut self, work: &mut Work, source: &Chunk, range: Range<usize>) -> Result<(), Error> {
        let mut at = range.start;
        while at < range.end {
            let byte = source[at];
            let ends_line = matches!(byte, b'\n' | b'\r');
            match self.state {
                Line::Content => {
                    at = self.content(work, source, at..range.end)?;
                    continue;
                }
                _ if ends_line => self.state = Line::Field(0),
                // A byte order mark in front of the first line.
                Line::Field(0) if matches!(byte, 0xef | 0xbb | 0xbf) => {}
                Line::Field(length) if byte == DATA[length] => {
                    self.state = if length + 1 == DATA.len() { Line::Space } else { Line::Field(length + 1) };
                }
                Line::Space if byte == b' ' => {}
                Line::Field(_) | Line::Space => {
                    let is_json = matches!((self.state, byte), (Line::Space, b'{' | b'[' | b'"'));
                    self.stream.restart(if is_json { Codec::Json } else { Codec::Plain }, false);
                    if is_json {
                        self.stream.seal(Seal::of(self.dialect.sealed_in_events));
                    }
                    self.state = Line::Content;
                    continue;
                }
            }
            work.emit.keep(at..at + 1);
            at += 1;
        }
        Ok(())
    }

    fn content(&mut self, work: &mut Work, source: &Chunk, range: Range<usize>) -> Result<usize, Error> {
        match memchr::memchr2(b'\n', b'\r', &source[range.clone()]) {
            None => {
                self.stream.push(work, source, range.clone(), false)?;
                Ok(range.end)
            }
            Some(length) => {
                let end = range.start + length;
                self.stream.push(work, source, range.start..end, true)?;
                self.state = Line::Field(0);
                work.emit.keep(end..end + 1);
                Ok(end + 1)
            }
        }
    }

    /// The body has ended.
    ///
    /// # Errors
    /// As [`Stream::push`].
    pub fn finish(&mut self, work: &mut Work) -> Result<(), Error> {
        self.stream.push(work, &Chunk::default(), 0..0, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &[u8], expected: &[usize]) {
        for length in 1..=body.len() {
            let mut framer = Framer::default();
            let mut ends = Vec::new();
            for (index, piece) in body.chunks(length).enumerate() {
                let mut at = 0;
                while let Some(end) = framer.event_end(&piece[at..]) {
                    at += end;
                    ends.push(index * length + at);
                }
            }
            assert_eq!(ends, expected, "{:?} by {length}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn events_end_in_blank_lines_of_any_kind() {
        check(b"data: a\n\ndata: b\n\n", &[9, 18]);
        check(b"\n\na\n\n", &[1, 2, 5]);
        check(b"data: a\n", &[]);
        check(b"a\r\rb\r\r", &[3, 6]);
    }

    #[test]
    fn carriage_returns_and_line_feeds_pair_up_over_any_cut() {
        let body = b"data: a\r\n\r\ndata: b\n\r\ndata: c\r\n\n";
        for length in 1..=body.len() {
            let mut framer = Framer::default();
            let ends: usize = body
                .chunks(length)
                .map(|piece| {
                    let (mut at, mut count) = (0, 0);
                    while let Some(end) = framer.event_end(&piece[at..]) {
                        at += end;
                        count += 1;
                    }
                    count
                })
                .sum();
            assert_eq!(ends, 3, "by {length}");
        }
    }

    #[test]
    fn data_lines_are_told_from_others() {
        assert_eq!(data_start(b"data: x"), Some(6));
        assert_eq!(data_start(b"data:x"), Some(5));
        assert_eq!(data_start(b"data"), Some(4));
        assert_eq!(data_start(b"database: x"), None);
        assert_eq!(data_start(b"event: data"), None);
        let found: Vec<_> = lines(b"a\r\nb\rc\n\nd").collect();
        assert_eq!(found, [0..1, 3..4, 5..6, 7..7, 8..9]);
    }
}
