//! Documents in strings of a document: the arguments of tool calls, which APIs carry as JSON in a string.
//!
//! They are found while the bytes are received, and decoded at both levels, so that all rules read them as
//! they read a document that is streamed in deltas. In the text the quotes around them are [`DOCUMENT_OPEN`]
//! and [`DOCUMENT_CLOSE`]; what stands between these begins and ends like a body of its own.
//!
//! ```text
//!   received   {"arguments":"{\"ssn\":\"07\\n8\"}","type":"function"}
//!   text       {"arguments":<{"ssn":"07␊8"}>,"type":"function"}
//! ```

use super::Error;
use super::codec::{self, Codec, DOCUMENT_CLOSE, DOCUMENT_OPEN, Map};
use super::sse::dialect::{PATTERNS_MAX, Step};
use std::collections::VecDeque;
use std::ops::Range;

/// The documents in strings of the value at hand. Positions are those of received bytes.
#[derive(Debug)]
pub struct Nested {
    reader: Reader,
    /// Where the first byte stands that is not decided, and the first that was not read.
    at: u64,
    read: u64,
    /// What lies between the quotes of those that are not passed by; one that goes on ends at `u64::MAX`.
    documents: VecDeque<Range<u64>>,
    /// The paths in front of this one lead to documents; to others no string may stand.
    refused: usize,
}

impl Nested {
    /// At the beginning of a value whose strings at `documents` hold documents, and that may have no string
    /// at `refused`; `None` if there is no path.
    pub fn new(documents: &[&'static [Step]], refused: &[&'static [Step]]) -> Option<Box<Nested>> {
        let paths: Box<[_]> = documents.iter().chain(refused).copied().collect();
        let new =
            |reader| Nested { reader, at: 0, read: 0, documents: VecDeque::new(), refused: documents.len() };
        (!paths.is_empty()).then(|| Box::new(new(Reader::new(paths))))
    }

    /// At the beginning of another value.
    pub fn restart(&mut self) {
        let paths = std::mem::take(&mut self.reader.paths);
        self.reader = Reader::new(paths);
        (self.at, self.read) = (0, 0);
        self.documents.clear();
    }

    /// The value turned out to be a document whose first byte was `opened`; of what came so far `held` bytes
    /// are not decided.
    pub fn begin(&mut self, opened: u8, held: usize) {
        self.reader.read(&[opened], |_, _| {});
        self.read = self.at + held as u64;
    }

    /// Looks at the bytes at hand that are new.
    ///
    /// # Errors
    /// [`Error::EventTooLong`] if a string stands where none may.
    pub fn read(&mut self, raw: &[u8]) -> Result<(), Error> {
        let known = (self.read - self.at) as usize;
        let Some(new) = raw.get(known..) else { return Ok(()) };
        let (from, documents, mut done) = (self.read, &mut self.documents, Ok(()));
        self.reader.read(new, |at, opens| {
            let at = from + at as u64;
            match (opens, documents.back_mut()) {
                (Some(path), _) if path >= self.refused => done = Err(Error::EventTooLong),
                (Some(_), _) => documents.push_back(at + 1..u64::MAX),
                (None, Some(last)) if last.end == u64::MAX => last.end = at,
                (None, _) => {}
            }
        });
        self.read += new.len() as u64;
        done
    }

    /// The first `raw` bytes at hand are decided.
    pub fn forget(&mut self, raw: usize) {
        self.at += raw as u64;
        while self.documents.front().is_some_and(|one| one.end < self.at) {
            self.documents.pop_front();
        }
    }

    /// Whether byte `raw` of those at hand stands in such a document.
    pub fn holds(&self, raw: usize) -> bool {
        let at = self.at + raw as u64;
        self.documents.iter().any(|one| one.contains(&at))
    }

    /// Whether the text of `raw`, the bytes at hand, is another one than its bytes.
    pub fn has_escapes(&self, raw: &[u8]) -> bool {
        let has_mark = || memchr::memchr2(DOCUMENT_OPEN, DOCUMENT_CLOSE, raw).is_some();
        !self.documents.is_empty() || Codec::Json.has_escapes(raw) || has_mark()
    }

    /// [`codec::decode`] of `raw`, the bytes at hand.
    pub fn decode(&self, raw: &[u8], last: bool, text: &mut Vec<u8>, map: &mut Map) -> usize {
        let mut at = 0;
        let place = |position: u64| usize::try_from(position.saturating_sub(self.at)).unwrap_or(usize::MAX);
        for document in &self.documents {
            let start = place(document.start);
            if document.start > self.at {
                if start > raw.len() {
                    break;
                }
                codec::decode_range(Codec::Json, raw, at..start - 1, true, text, map);
                text.push(DOCUMENT_OPEN);
            }
            let end = place(document.end).min(raw.len());
            let is_whole = end < raw.len();
            at = codec::decode_range(Codec::QuotedJson, raw, start..end, last || is_whole, text, map);
            if !is_whole {
                return at;
            }
            text.push(DOCUMENT_CLOSE);
            at = end + 1;
        }
        codec::decode_range(Codec::Json, raw, at..raw.len(), last, text, map)
    }
}

/// A set of paths, one bit each.
type Set = u64;
const _: () = assert!(PATTERNS_MAX <= Set::BITS as usize);

/// An array or object that paths lead into.
#[derive(Debug)]
struct Level {
    open: Set,
    is_array: bool,
}

/// What comes next in the innermost one.
#[derive(Clone, Copy, Debug)]
enum Next {
    /// A value, which the paths of the set lead to.
    Value(Set),
    /// A key, or the end of an object.
    Key,
    InKey,
    /// Within a string, and whether a path ends there.
    InString(bool),
    /// A comma or an end, behind a value; or the rest of a number or word.
    Behind,
}

/// Bytes of a key that are kept, as received: more than any key of a path has if all of it is escaped.
const KEY_BYTES_MAX: usize = 128;

/// What is looked at where all is skipped.
static STRUCTURE: [bool; 256] = {
    let (mut table, mut index) = ([false; 256], 0);
    while index < b"\"\\{}[]".len() {
        table[b"\"\\{}[]"[index] as usize] = true;
        index += 1;
    }
    table
};

/// Finds the strings at paths in bytes as they are received. Lenient in what is no JSON, as the walk over
/// paths of rules is; what it skips it skips by a counter.
#[derive(Debug)]
struct Reader {
    paths: Box<[&'static [Step]]>,
    /// Not deeper than the longest path.
    levels: Vec<Level>,
    next: Next,
    key: Vec<u8>,
    skipped: u32,
    in_skipped_string: bool,
    /// Whether the last byte was a backslash that the next one may belong to.
    escaped: bool,
}

impl Reader {
    fn new(paths: Box<[&'static [Step]]>) -> Reader {
        let (levels, key) = (Vec::new(), Vec::new());
        let next = Next::Value(Set::MAX);
        Reader { paths, levels, next, key, skipped: 0, in_skipped_string: false, escaped: false }
    }

    /// Reads on; gives the quotes of strings that a path leads to, and the path where they open one.
    fn read(&mut self, bytes: &[u8], mut give: impl FnMut(usize, Option<usize>)) {
        let mut at = 0;
        while let Some(byte) = bytes.get(at).copied() {
            // As the codec reads it, also between strings, where no backslash belongs.
            if std::mem::take(&mut self.escaped) && matches!(byte, b'"' | b'\\') {
                self.note_key(&[byte]);
                at += 1;
                continue;
            }
            if self.is_in_string() {
                let rest = &bytes[at..];
                let length = memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
                self.note_key(&rest[..length]);
                at += length;
                match bytes.get(at) {
                    Some(b'"') => self.end_string(|| give(at, None)),
                    Some(_) => self.begin_escape(),
                    None => {}
                }
            } else if self.skipped > 0 {
                let ends = bytes[at..].iter().position(|byte| STRUCTURE[usize::from(*byte)]);
                let Some(length) = ends else { return };
                at += length;
                match bytes[at] {
                    b'"' => self.in_skipped_string = true,
                    b'\\' => self.begin_escape(),
                    b'{' | b'[' => self.skipped = self.skipped.saturating_add(1),
                    b'}' | b']' => self.skipped -= 1,
                    _ => {}
                }
            } else if byte == b'\\' {
                self.begin_escape();
            } else {
                self.structure(byte, |path| give(at, Some(path)));
            }
            at += 1;
        }
    }

    fn is_in_string(&self) -> bool {
        self.in_skipped_string || matches!(self.next, Next::InKey | Next::InString(_)) && self.skipped == 0
    }

    fn begin_escape(&mut self) {
        self.note_key(b"\\");
        self.escaped = true;
    }

    fn note_key(&mut self, part: &[u8]) {
        if matches!(self.next, Next::InKey) && self.skipped == 0 {
            // One byte more than any key has says that it is none of them.
            let room = (KEY_BYTES_MAX + 1).saturating_sub(self.key.len()).min(part.len());
            self.key.extend_from_slice(&part[..room]);
        }
    }

    fn end_string(&mut self, give: impl FnOnce()) {
        if std::mem::take(&mut self.in_skipped_string) {
            return;
        }
        self.next = match (self.next, self.levels.last()) {
            (Next::InKey, Some(level)) => {
                let key = codec::unescaped(&self.key);
                let is_key = |step: &Step| matches!(step, Step::Key(name) if name.as_bytes() == key);
                Next::Value(self.step(level.open, self.levels.len() - 1, is_key))
            }
            (Next::InString(true), _) => {
                give();
                Next::Behind
            }
            _ => Next::Behind,
        };
    }

    /// A byte outside of strings.
    fn structure(&mut self, byte: u8, give: impl FnOnce(usize)) {
        let depth = self.levels.len();
        match (self.next, byte) {
            (_, b' ' | b'\t' | b'\r' | b'\n') => {}
            (_, b']' | b'}') => {
                self.levels.pop();
                self.next = Next::Behind;
            }
            (_, b',') => {
                self.next = match self.levels.last() {
                    None => Next::Value(Set::MAX),
                    Some(Level { is_array: false, .. }) => Next::Key,
                    Some(Level { open, .. }) => Next::Value(self.each(*open, depth - 1)),
                }
            }
            (Next::Value(_), b':') => {}
            (Next::Value(set), _) => self.begin_value(byte, set, give),
            // One document a line: the next one begins.
            (Next::Behind, b'{' | b'[') if depth == 0 => self.begin_value(byte, Set::MAX, give),
            (Next::Behind, b'"') => self.next = Next::InString(false),
            (Next::Key, b'"') => {
                self.key.clear();
                self.next = Next::InKey;
            }
            _ => {}
        }
    }

    fn begin_value(&mut self, byte: u8, set: Set, give: impl FnOnce(usize)) {
        let depth = self.levels.len();
        let leads_in = self.step(set, depth, |_| true) != 0;
        self.next = match byte {
            b'"' => {
                let ends = |path: &usize| set >> path & 1 != 0 && self.paths[*path].len() == depth;
                let ends = (0..self.paths.len()).find(ends);
                if let Some(path) = ends {
                    give(path);
                }
                Next::InString(ends.is_some())
            }
            b'{' | b'[' if !leads_in => {
                self.skipped = 1;
                Next::Behind
            }
            b'{' | b'[' => {
                let is_array = byte == b'[';
                self.levels.push(Level { open: set, is_array });
                if is_array { Next::Value(self.each(set, depth)) } else { Next::Key }
            }
            _ => Next::Behind,
        };
    }

    fn each(&self, open: Set, depth: usize) -> Set {
        self.step(open, depth, |step| *step == Step::Each)
    }

    /// Those of `open`, which lead into a container at `depth`, whose next step is as asked.
    fn step(&self, open: Set, depth: usize, is_next: impl Fn(&Step) -> bool) -> Set {
        let goes_on =
            |path: &usize| open >> path & 1 != 0 && self.paths[*path].get(depth).is_some_and(&is_next);
        (0..self.paths.len()).filter(goes_on).fold(0, |set, path| set | 1 << path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::dialect::{OPENAI_CHAT, OPENAI_RESPONSES};

    fn check(paths: &[&'static [Step]], body: &str, expected: &str) {
        for length in 1..=body.len() {
            let mut nested = Nested::new(paths, &[]).expect("paths");
            let mut held = Vec::new();
            let (mut text, mut done) = (Vec::new(), 0);
            for piece in body.as_bytes().chunks(length) {
                held.extend_from_slice(piece);
                nested.read(&held).expect("nothing is refused");
                done += piece.len();
                let taken = nested.decode(&held, done == body.len(), &mut text, &mut Map::default());
                held.drain(..taken);
                nested.forget(taken);
            }
            let marks = |byte: &u8| match *byte {
                DOCUMENT_OPEN => '<',
                DOCUMENT_CLOSE => '>',
                codec::ESCAPED_QUOTE => '\'',
                byte => byte as char,
            };
            assert_eq!(text.iter().map(marks).collect::<String>(), expected, "by {length}");
        }
    }

    #[test]
    fn documents_in_strings_are_read_at_both_levels_over_any_cut() {
        let check = |body: &str, expected: &str| check(OPENAI_RESPONSES.documents, body, expected);
        check(
            r#"{"output":[{"x":"{\"","\u0061rguments" : "{\"a\":\"\\u0062\\\"\"}","y":{"arguments":"\""}}]}"#,
            r#"{"output":[{"x":"{'","arguments" : <{"a":"b'"}>,"y":{"arguments":"'"}}]}"#,
        );
        check(
            r#"{"input":[{"arguments":""},{"arguments":"\"}"#,
            r#"{"input":[{"arguments":<>},{"arguments":<"}"#,
        );
        check(r#"{"arguments":"{\"a\":\u007b\u005Cu005c"}"#, r#"{"arguments":<{"a":{\>}"#);
        check(
            "{\"x\":\"\u{1c}\\u001d\",\"arguments\":\"\u{1d}\"}",
            "{\"x\":\"\u{1e}\u{1e}\",\"arguments\":<\u{1e}>}",
        );
        check(r#"{"arguments":"1\u0"}{"arguments":"\\"#, r#"{"arguments":<1\u0>}{"arguments":<\"#);
    }

    #[test]
    fn a_document_is_found_only_where_a_path_leads() {
        let check = |body: &str, expected: &str| check(OPENAI_CHAT.documents, body, expected);
        check(
            r#"{"arguments":"\"","messages":[{"x":"\"","tool_calls":[{"function":{"arguments":"\""}}]}]}"#,
            r#"{"arguments":"'","messages":[{"x":"'","tool_calls":[{"function":{"arguments":<">}}]}]}"#,
        );
        check(
            r#"{"choices":[{"message":{"function_call":{"arguments":"\""}},"arguments":"\""}]}"#,
            r#"{"choices":[{"message":{"function_call":{"arguments":<">}},"arguments":"'"}]}"#,
        );
    }
}
