//! The detectors: what matches, and what may still match when more text comes.
//!
//! Stage A (`hits`, over the bitmaps of `block`) says where a match may be. Stage B are anchored detectors:
//! from one start they say no, a match, or that the text ended before they could tell (`Live`). [`Lane`]
//! joins the detectors of one set of rules: the leftmost match wins, then the longest, then the first rule.
//! Nothing behind a live start is decided; that is why the result cannot depend on how the text was cut. A
//! match without a bound is `Open` once it is confirmed, and `swallow` takes in the rest of it.

mod address;
mod block;
mod card;
mod class;
mod email;
mod entropy;
mod expression;
mod hits;
mod iban;
mod key;
mod keyword;
mod lane;
mod literal;
mod member;
mod path;
mod phone;
mod predicates;
mod provider;
mod random;
mod rows;
mod scalar;
mod ssn;
mod swallow;
mod vectors;

pub use expression::Expression;
pub use hits::{Hits, RANDOM_BYTES_MIN, Scan};
pub use lane::{Lane, Scanned};
pub use path::{Part, Path, Paths, Walk};
pub use swallow::Swallow;

use crate::inspect::codec::{DOCUMENT_CLOSE, DOCUMENT_OPEN};
use std::cell::Cell;

/// Bytes next to a position that most of what looks back needs.
const NEAR_BYTES: usize = 8;
/// Text bytes left of a window that a detector may look at.
pub const LEFT_BYTES: usize = 72;

/// One window of text with what stands left of it.
#[derive(Debug)]
pub struct Text<'a> {
    /// The text.
    pub bytes: &'a [u8],
    /// The bytes in front of it; 0 where there are none.
    pub left: &'a [u8; LEFT_BYTES],
    /// Whether the value ends with this window.
    pub last: bool,
    /// Whether quotes separate, because this is the text of a JSON document.
    pub json: bool,
    /// Whether it may hold documents in strings: [`DOCUMENT_OPEN`] and [`DOCUMENT_CLOSE`] are their ends.
    pub nested: bool,
    /// Where quotes were counted to, and whether that place lies inside of a string.
    quotes: Cell<(usize, bool)>,
    in_string_at_start: bool,
    /// A run of characters of base64 for URLs that was measured: its start and its end.
    url_run: Cell<(usize, usize)>,
}

impl<'a> Text<'a> {
    /// A window; `in_string`: whether it begins inside of a JSON string.
    pub fn new(
        bytes: &'a [u8],
        left: &'a [u8; LEFT_BYTES],
        last: bool,
        json: bool,
        in_string: bool,
    ) -> Text<'a> {
        Text {
            bytes,
            left,
            last,
            json,
            nested: false,
            quotes: Cell::new((0, in_string)),
            in_string_at_start: in_string,
            url_run: Cell::new((0, 0)),
        }
    }

    /// This text, which may hold documents in strings.
    pub fn with_documents(self, nested: bool) -> Text<'a> {
        Text { nested, ..self }
    }

    /// Whether `byte` of this text is an end of a document in a string.
    #[inline]
    pub fn is_document_end(&self, byte: u8) -> bool {
        self.nested && matches!(byte, DOCUMENT_OPEN | DOCUMENT_CLOSE)
    }

    /// The byte `back` places left of position `at`.
    #[inline]
    pub fn before(&self, at: usize, back: usize) -> u8 {
        if back <= at { self.bytes[at - back] } else { self.left[LEFT_BYTES + at - back] }
    }

    /// The bytes next to `at`, left of it.
    #[inline]
    pub fn near(&self, at: usize) -> [u8; NEAR_BYTES] {
        match self.bytes[..at].last_chunk() {
            Some(near) => *near,
            None => {
                let mut near = [0; NEAR_BYTES];
                let (front, back) = near.split_at_mut(NEAR_BYTES - at);
                front.copy_from_slice(&self.left[LEFT_BYTES - front.len()..]);
                back.copy_from_slice(&self.bytes[..at]);
                near
            }
        }
    }

    /// What stands in front of `at`.
    pub fn left_of(&self, at: usize) -> [u8; LEFT_BYTES] {
        match self.bytes[..at].last_chunk() {
            Some(left) => *left,
            None => {
                let mut left = *self.left;
                left.copy_within(at.., 0);
                left[LEFT_BYTES - at..].copy_from_slice(&self.bytes[..at]);
                left
            }
        }
    }

    /// The byte at `at`: `None` if it is not there yet, 0 behind the end of the value.
    #[inline]
    pub fn at(&self, at: usize) -> Option<u8> {
        match self.bytes.get(at) {
            Some(byte) => Some(*byte),
            None if self.last => Some(0),
            None => None,
        }
    }

    /// Whether no word reaches over the left edge of `at`. A letter that belongs to an escape (`\n`,
    /// `\u00e9`), as it stands in JSON or source code inside of a text, is not part of a word.
    pub fn word_may_start(&self, at: usize) -> bool {
        let left = self.before(at, 1);
        if !is_word(left) {
            return true;
        }
        let short = matches!(left, b'n' | b't' | b'r' | b'b' | b'f') && self.before(at, 2) == b'\\';
        short || self.is_behind_unicode_escape(at)
    }

    /// Whether no alphanumeric character stands in front of `at`, but for that of an escape.
    pub fn key_may_start(&self, at: usize) -> bool {
        self.before(at, 1) == b'_' || self.word_may_start(at)
    }

    fn is_behind_unicode_escape(&self, at: usize) -> bool {
        self.before(at, 5) == b'u'
            && self.before(at, 6) == b'\\'
            && (1..5).all(|back| self.before(at, back).is_ascii_hexdigit())
    }

    /// Where the run of characters of base64 for URLs ends that `at` lies in; `at` if it lies in none.
    /// Each run is measured once, however many keys seem to begin in it.
    pub fn url_run_end(&self, at: usize) -> usize {
        let (start, end) = self.url_run.get();
        if (start..end).contains(&at) {
            return end;
        }
        let length = self.bytes[at..].iter().take_while(|byte| provider::URL.has(**byte)).count();
        self.url_run.set((at, at + length));
        at + length
    }

    /// Whether position `at` lies inside of a string of its JSON document. Cheap for ascending positions.
    pub fn in_string(&self, at: usize) -> bool {
        let (from, inside) = match self.quotes.get() {
            (from, inside) if from <= at => (from, inside),
            _ => (0, self.in_string_at_start),
        };
        // Neither a document in a string nor what follows it begins inside of a string.
        let end = || memchr::memrchr2(DOCUMENT_OPEN, DOCUMENT_CLOSE, &self.bytes[from..at]);
        let (from, inside) = match self.nested.then(end).flatten() {
            Some(length) => (from + length + 1, false),
            None => (from, inside),
        };
        let odd = memchr::memchr_iter(b'"', &self.bytes[from..at]).count() % 2 == 1;
        self.quotes.set((at, inside ^ odd));
        inside ^ odd
    }
}

/// ASCII letters, digits and the underscore. Bytes of other characters are not: a typographic quote or a
/// CJK character beside a word does not hide it.
#[inline]
pub fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// What a detector says of one start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The text ended before it could tell.
    Live,
    /// A match up to `end`, by rule number `rule`.
    Match {
        /// First byte behind the match.
        end: usize,
        /// Index of the rule.
        rule: u16,
    },
    /// A match of rule number `rule` up to `end` at least; what follows is told by `swallow`.
    Open {
        /// First byte behind what is confirmed.
        end: usize,
        /// Index of the rule.
        rule: u16,
        /// How it goes on.
        swallow: Swallow,
    },
    /// The JSON value that begins at `start`, of rule number `rule`; in front of it stand at most white space
    /// and a colon.
    Value {
        /// Its first byte that is masked.
        start: usize,
        /// Index of the rule.
        rule: u16,
        /// How it goes on.
        swallow: Swallow,
    },
}

impl Outcome {
    /// The better one of two that start at the same place: a JSON value, then undecided, then without a
    /// bound, then longer, then of the earlier rule.
    pub fn better(self, other: Outcome) -> Outcome {
        if other.rank() < self.rank() { other } else { self }
    }

    fn rank(self) -> (u8, usize, u16) {
        match self {
            Outcome::Value { rule, .. } => (0, 0, rule),
            Outcome::Live => (1, 0, 0),
            Outcome::Open { rule, .. } => (2, 0, rule),
            Outcome::Match { end, rule } => (3, usize::MAX - end, rule),
        }
    }
}

/// A start with what was found there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The start.
    pub start: usize,
    /// What is there.
    pub outcome: Outcome,
}

/// A decided match, or a part of one without a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// First text byte.
    pub start: usize,
    /// First text byte behind it.
    pub end: usize,
    /// Index of the rule.
    pub rule: u16,
    /// Whether the match begins here.
    pub begins: bool,
    /// Whether it ends here.
    pub ends: bool,
    /// How far it reaches.
    pub extent: Extent,
}

/// How far a match reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// As far as its detector said at once.
    Bounded,
    /// As far as more of the same follows.
    Unbounded,
    /// It is a whole JSON value that is no string, or a string with its quotes.
    JsonValue,
    /// It is the inside of a string that is a JSON value.
    String,
    /// It is all of a document in a string, without that string's quotes.
    Document,
}
