//! Members of JSON objects by their key: `"ssn": …` with whatever value follows.
//!
//! In the text of a JSON document every quote is one of a string's ends, so that a key between quotes with a
//! colon behind it is a member's wherever it stands, unless it is a value itself, with a colon in front. The
//! match is the value: the inside of a string, or a whole number, word, array or object. It is waited for
//! from the key on.

use super::{Candidate, Outcome, Swallow, Text};
use crate::inspect::codec::{DOCUMENT_CLOSE, DOCUMENT_OPEN};
use crate::inspect::fold;
use crate::limits::MASK_MEMBER_GAP_BYTES_MAX;

/// Keys of one lane with their rules.
#[derive(Debug, Default)]
pub struct Members {
    /// In lower case; what the rule replaces as a whole, quotes included.
    keys: Vec<(Box<[u8]>, u16, bool)>,
}

impl Members {
    /// Adds a key; `whole`: a string is matched with its quotes.
    pub fn push(&mut self, key: &str, rule: u16, whole: bool) {
        self.keys.push((fold::folded(key).to_ascii_lowercase().into_bytes().into(), rule, whole));
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// What keys begin with, in any case: the quote and two more bytes.
    pub fn prefixes(&self) -> Vec<[u8; 3]> {
        let mut prefixes = Vec::new();
        for (key, _, _) in &self.keys {
            let first = key.first().copied().unwrap_or(b'"');
            let second = key.get(1).copied().unwrap_or(b'"');
            for (first, second) in [(0, 0), (1, 0), (0, 1), (1, 1)].map(|(upper_first, upper_second)| {
                let cased = |byte: u8, upper: u8| if upper == 1 { byte.to_ascii_uppercase() } else { byte };
                (cased(first, upper_first), cased(second, upper_second))
            }) {
                prefixes.push([b'"', first, second]);
            }
        }
        prefixes
    }

    /// The first value that starts at `from` or behind it, of the members whose keys may begin at `hits`; or
    /// the key of one of which too little is there. No key begins in front of `floor`.
    pub fn find(
        &self,
        text: &Text,
        hits: &[u32],
        next: &mut usize,
        from: usize,
        floor: usize,
    ) -> Option<Candidate> {
        while let Some(hit) = hits.get(*next).map(|hit| *hit as usize) {
            if hit >= floor
                && let Some(candidate) = self.at(text, hit).filter(|one| is_ahead(one, hit, from))
            {
                return Some(candidate);
            }
            *next += 1;
        }
        let tail = text.bytes.len().saturating_sub(2).max(from);
        (tail..text.bytes.len())
            .find_map(|quote| self.at(text, quote).filter(|one| is_ahead(one, quote, from)))
    }

    /// What the member is whose key's first quote stands at `quote`.
    fn at(&self, text: &Text, quote: usize) -> Option<Candidate> {
        if text.bytes[quote] != b'"' || is_value(text, quote) {
            return None;
        }
        let live = Candidate { start: quote, outcome: Outcome::Live };
        let mut best: Option<Candidate> = None;
        for (key, rule, whole) in &self.keys {
            let rest = &text.bytes[quote + 1..];
            let length = rest.len().min(key.len());
            if !rest[..length].eq_ignore_ascii_case(&key[..length]) {
                continue;
            }
            let behind = quote + 1 + key.len();
            match (length == key.len()).then(|| text.at(behind)).flatten() {
                None if !text.last => return Some(live),
                Some(b'"') => {}
                _ => continue,
            }
            match value_start(text, behind + 1) {
                Err(true) => return Some(live),
                Err(false) => return None,
                Ok(start) => {
                    let candidate = value(text, quote, behind + 1, start, *rule, *whole);
                    best = best.into_iter().chain(candidate).reduce(better);
                }
            }
        }
        best
    }
}

/// Leftmost, then of the first rule.
fn better(one: Candidate, other: Candidate) -> Candidate {
    let is_first = other.start == one.start && one.outcome.better(other.outcome) != one.outcome;
    if other.start < one.start || is_first { other } else { one }
}

fn is_ahead(candidate: &Candidate, quote: usize, from: usize) -> bool {
    match candidate.outcome {
        // What is not decided keeps all behind it from being decided, so that nothing overtook it.
        Outcome::Live => quote >= from,
        _ => candidate.start >= from,
    }
}

/// Whether the string whose first quote stands at `quote` is a member's value. In JSON no colon follows one;
/// where one does, a value that was masked as a whole would otherwise be a key only where both were looked at
/// together.
fn is_value(text: &Text, quote: usize) -> bool {
    let mut left = (1..=MASK_MEMBER_GAP_BYTES_MAX).map(|back| text.before(quote, back));
    left.find(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r')) == Some(b':')
}

/// The value's first byte behind a key; the error says whether more of the text may bring it.
fn value_start(text: &Text, behind_key: usize) -> Result<usize, bool> {
    let mut colon = false;
    for at in behind_key..=behind_key + MASK_MEMBER_GAP_BYTES_MAX {
        match text.at(at) {
            None => return Err(true),
            Some(b' ' | b'\t' | b'\n' | b'\r') => {}
            Some(b':') if !colon => colon = true,
            Some(0 | b',' | b'}' | b']' | b':') => return Err(false),
            Some(DOCUMENT_CLOSE) if text.nested => return Err(false),
            Some(_) => return if colon { Ok(at) } else { Err(false) },
        }
    }
    Err(false)
}

/// The match for the value whose first byte stands at `first`.
///
/// `quote`: where a search has to begin again if too little of it is there. `order`: where it begins as far
/// as other matches are concerned. `whole`: a string's quotes belong to it.
pub fn value(
    text: &Text,
    quote: usize,
    order: usize,
    first: usize,
    rule: u16,
    whole: bool,
) -> Option<Candidate> {
    let begins = |start: usize, swallow: Swallow| {
        Some(Candidate { start: order, outcome: Outcome::Value { start, rule, swallow } })
    };
    match text.bytes[first] {
        b'"' if whole => begins(first, Swallow::of_value(0, true)),
        DOCUMENT_OPEN if text.nested && whole => begins(first, Swallow::Document { whole }),
        DOCUMENT_OPEN if text.nested => match text.at(first + 1) {
            None => Some(Candidate { start: quote, outcome: Outcome::Live }),
            Some(DOCUMENT_CLOSE) => None,
            Some(_) if first + 1 == text.bytes.len() => None,
            Some(_) => begins(first + 1, Swallow::Document { whole }),
        },
        // An empty string hides nothing.
        b'"' => match text.at(first + 1) {
            None => Some(Candidate { start: quote, outcome: Outcome::Live }),
            Some(b'"') => None,
            Some(_) if first + 1 == text.bytes.len() => None,
            Some(_) => begins(first + 1, Swallow::String),
        },
        b'{' | b'[' => begins(first, Swallow::of_value(1, false)),
        _ => begins(first, Swallow::Scalar),
    }
}
