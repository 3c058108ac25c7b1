//! The detectors: what matches, and what may still match when more text comes.
//!
//! A detector is anchored: from one start it says no, a match, or that the text ended before it could tell
//! (`Live`). A finder gives the first start, from a position on, that is not a no. [`Lane`] joins the finders
//! of one set of rules: the leftmost match wins, then the longest, then the first rule. Nothing behind a live
//! start is decided; that is why the result cannot depend on how the text was cut.

mod card;
mod email;
mod literal;

pub use literal::Literals;

use super::rule::{Direction, Kind, Rule};
use std::cell::Cell;

/// Text bytes left of a window that a detector may look at.
pub const LEFT_BYTES: usize = 8;

/// One window of text with what stands left of it.
#[derive(Debug)]
pub struct Text<'a> {
    /// The text.
    pub bytes: &'a [u8],
    /// The bytes in front of it; 0 where there are none.
    pub left: [u8; LEFT_BYTES],
    /// Whether the value ends with this window.
    pub last: bool,
    /// Whether quotes separate, because this is the text of a JSON document.
    pub json: bool,
    /// Where quotes were counted to, and whether that place lies inside of a string.
    quotes: Cell<(usize, bool)>,
    in_string_at_start: bool,
}

impl<'a> Text<'a> {
    /// A window; `in_string`: whether it begins inside of a JSON string.
    pub fn new(bytes: &'a [u8], left: [u8; LEFT_BYTES], last: bool, json: bool, in_string: bool) -> Text<'a> {
        Text { bytes, left, last, json, quotes: Cell::new((0, in_string)), in_string_at_start: in_string }
    }

    /// The byte `back` places left of position `at`.
    #[inline]
    pub fn before(&self, at: usize, back: usize) -> u8 {
        if back <= at { self.bytes[at - back] } else { self.left[LEFT_BYTES + at - back] }
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

    fn is_behind_unicode_escape(&self, at: usize) -> bool {
        self.before(at, 5) == b'u'
            && self.before(at, 6) == b'\\'
            && (1..5).all(|back| self.before(at, back).is_ascii_hexdigit())
    }

    /// Whether position `at` lies inside of a JSON string. Cheap for ascending positions.
    pub fn in_string(&self, at: usize) -> bool {
        let (from, inside) = match self.quotes.get() {
            (from, inside) if from <= at => (from, inside),
            _ => (0, self.in_string_at_start),
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
}

/// A start with what was found there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The start.
    pub start: usize,
    /// What is there.
    pub outcome: Outcome,
}

/// A decided match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// First text byte of the match.
    pub start: usize,
    /// First text byte behind it.
    pub end: usize,
    /// Index of the rule.
    pub rule: u16,
}

/// Rules that compete for the same text: those that change it, or those that only count.
#[derive(Debug)]
pub struct Lane {
    card: Option<u16>,
    email: Option<u16>,
    literals: Option<Literals>,
}

/// Number of finders in a lane.
const FINDERS: usize = 3;

impl Lane {
    /// The lane of those rules that go `way` and are (or are not) dry runs; `None` if there are none.
    pub fn compile(rules: &[Rule], way: Direction, dry_run: bool) -> Option<Lane> {
        let (mut card, mut email, mut words) = (None, None, Vec::new());
        let chosen = |rule: &&Rule| rule.dry_run == dry_run && rule.direction.covers(way);
        for rule in rules.iter().filter(chosen) {
            // Bounded by MASK_RULES_MAX.
            let index = rules.iter().position(|other| std::ptr::eq(other, rule)).unwrap_or(0) as u16;
            match &rule.kind {
                Kind::CreditCard => card = card.or(Some(index)),
                Kind::Email => email = email.or(Some(index)),
                Kind::Literals(literals) => {
                    words.extend(literals.iter().map(|literal| (literal.as_str(), index)));
                }
            }
        }
        let literals = Literals::compile(words);
        let any = card.is_some() || email.is_some() || literals.is_some();
        any.then_some(Lane { card, email, literals })
    }

    /// Decides `text` from `from` on; gives the matches in order and returns up to where it is decided.
    pub fn scan(&self, text: &Text, from: usize, mut give: impl FnMut(Found)) -> usize {
        let mut at = from;
        let mut next: [Option<Candidate>; FINDERS] = [None; FINDERS];
        // A finder that found nothing has nothing further on either.
        let mut spent = [false; FINDERS];
        loop {
            for finder in 0..FINDERS {
                if !spent[finder] && next[finder].is_none_or(|candidate| candidate.start < at) {
                    next[finder] = self.find(finder, text, at);
                    spent[finder] = next[finder].is_none();
                }
            }
            let Some(best) = next.iter().flatten().copied().reduce(better) else { return text.bytes.len() };
            let Outcome::Match { end, rule } = best.outcome else { return best.start };
            give(Found { start: best.start, end, rule });
            at = end;
        }
    }

    fn find(&self, finder: usize, text: &Text, from: usize) -> Option<Candidate> {
        match finder {
            0 => self.card.and_then(|rule| card::find(text, from, rule)),
            1 => self.email.and_then(|rule| email::find(text, from, rule)),
            _ => self.literals.as_ref().and_then(|literals| literals.find(text, from)),
        }
    }
}

/// Leftmost, then undecided, then longest, then the first rule.
fn better(one: Candidate, other: Candidate) -> Candidate {
    let key = |candidate: Candidate| match candidate.outcome {
        Outcome::Live => (candidate.start, 0, 0, 0),
        Outcome::Match { end, rule } => (candidate.start, 1, usize::MAX - end, rule),
    };
    if key(other) < key(one) { other } else { one }
}
