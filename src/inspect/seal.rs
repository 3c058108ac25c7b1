//! Strings that must stay as they are: the thinking of a model, which its API takes back only with the bytes
//! that it signed, and the signatures.

use super::detect::{Found, Outcome, Part, Path, Paths, Text, Walk};
use super::sse::dialect::{Grammar, Sealed};
use smallvec::SmallVec;
use std::ops::Range;

/// What becomes of an answer in whose thinking something was found that a mask would replace. The record
/// holds thinking masked either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Thinking {
    /// It goes on as it is; the matches are counted.
    #[default]
    Flag,
    /// It ends in front of the first match.
    End,
}

/// What of a value is sealed.
#[derive(Debug, Default)]
pub enum Seal {
    /// Nothing.
    #[default]
    Nothing,
    /// All of it is thinking.
    Thinking,
    /// Some strings of a document.
    Members(Box<Members>),
}

/// The sealed strings of a document that is being read.
#[derive(Debug)]
pub struct Members {
    sealed: &'static [Sealed],
    paths: Paths,
    walk: Walk,
    /// Those that are not passed by yet: where they stand in the received bytes at hand, with their quotes,
    /// and what they hold.
    strings: SmallVec<[(Range<usize>, Grammar); 2]>,
    /// By lane: whether a match goes on that lies in a string where nothing is looked for.
    ignores: [bool; 2],
}

impl Seal {
    /// The seals of documents.
    pub fn of(sealed: &'static [Sealed]) -> Seal {
        if sealed.is_empty() {
            return Seal::Nothing;
        }
        let mut paths = Paths::default();
        for (index, one) in sealed.iter().enumerate() {
            paths.push(Path::from(one.path), index as u16, true);
        }
        let (walk, strings) = (Walk::new(&paths, None).of(Part::Outside), SmallVec::new());
        Seal::Members(Box::new(Members { sealed, paths, walk, strings, ignores: [false; 2] }))
    }

    /// The document's first byte was passed by.
    pub fn begin(&mut self, opened: u8) {
        if let Seal::Members(members) = self {
            members.walk = Walk::new(&members.paths, Some(opened)).of(Part::Outside);
        }
    }

    /// Whether thinking stands at `raw`.
    pub fn is_thinking(&self, raw: usize) -> bool {
        match self {
            Seal::Nothing => false,
            Seal::Thinking => true,
            Seal::Members(members) => members.at(raw) == Some(Grammar::Thinking),
        }
    }
}

impl Members {
    /// Reads on in the text at hand; `to_text` and `to_raw` lead between its positions and those of the
    /// received bytes.
    pub fn read(&mut self, text: &Text, to_text: impl Fn(usize) -> usize, to_raw: impl Fn(usize) -> usize) {
        self.walk.at = to_text(self.walk.at);
        if let Some((last, _)) = self.strings.last_mut().filter(|(last, _)| last.end == usize::MAX) {
            last.end = string_end(text, self.walk.at).map_or(usize::MAX, &to_raw);
        }
        let mut from = 0;
        while let Some(found) = self.walk.find(&self.paths, text, from) {
            from = found.start + 1;
            if let (b'"', Outcome::Value { rule, .. }) = (text.bytes[found.start], found.outcome) {
                let end = string_end(text, from).map_or(usize::MAX, &to_raw);
                let grammar = self.sealed[usize::from(rule)].grammar;
                self.strings.push((to_raw(found.start)..end, grammar));
            }
        }
        self.walk.at = to_raw(self.walk.at);
    }

    /// Whether a match of a lane, which begins at `raw` or goes on there, is none, for it lies where nothing
    /// is looked for.
    pub fn ignores(&mut self, lane: usize, found: &Found, raw: usize) -> bool {
        if found.begins {
            self.ignores[lane] = self.at(raw) == Some(Grammar::Opaque);
        }
        self.ignores[lane]
    }

    /// The first `raw` received bytes are passed by.
    pub fn forget(&mut self, raw: usize) {
        self.walk.at -= raw;
        self.strings.retain(|(string, _)| string.end > raw);
        for (string, _) in &mut self.strings {
            string.start = string.start.saturating_sub(raw);
            string.end = if string.end == usize::MAX { string.end } else { string.end - raw };
        }
    }

    fn at(&self, raw: usize) -> Option<Grammar> {
        let after = self.strings.partition_point(|(string, _)| string.start <= raw);
        let (string, grammar) = self.strings.get(after.checked_sub(1)?)?;
        (raw < string.end).then_some(*grammar)
    }
}

/// Where the string's closing quote stands that is open at `from`.
fn string_end(text: &Text, from: usize) -> Option<usize> {
    memchr::memchr(b'"', &text.bytes[from..]).map(|length| from + length)
}
