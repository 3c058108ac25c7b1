//! Words and phrases, without regard to the case of ASCII letters, not inside a longer word.
//!
//! Every literal has at least `shortest` bytes, so of so many neighbouring positions of a literal in the text
//! one is a sample. At a sample the next bytes are looked up in a bit set of all grams that literals have
//! near their beginning; only behind a hit the starts that it stands for are looked at, first by the hash of
//! a literal's first bytes. Text without hits costs one look-up every few bytes.

use super::class::FINGERPRINT_BYTES;
use super::{Candidate, Outcome, Text, is_word};
use crate::inspect::codec::ESCAPED_QUOTE;

/// Compiled literals of one lane.
#[derive(Debug)]
pub struct Literals {
    /// Folded, sorted, each with its rule.
    words: Vec<(Box<[u8]>, u16)>,
    /// By folded first byte: where its words begin. One more entry for the end.
    first: [u16; 257],
    /// The grams near the beginning of each word, and the first bytes of each word.
    grams: Grams,
    heads: Grams,
    /// Samples are so far apart.
    stride: usize,
}

/// Bytes of a gram at most.
const GRAM_BYTES: usize = 4;
/// Samples are at most this far apart; more gains nothing.
const STRIDE_MAX: usize = 16;
/// So many literals are found by their first bytes: of more of them too much text would look like one.
const FEW: usize = 40;

impl Literals {
    /// Compiles `words` with their rules; of equal words the first counts. `None` if there are none.
    pub fn compile(words: Vec<(&str, u16)>) -> Option<Literals> {
        let fold = |word: &str| word.bytes().map(|byte| byte.to_ascii_lowercase()).collect();
        let mut words: Vec<(Box<[u8]>, u16)> = words.iter().map(|(word, rule)| (fold(word), *rule)).collect();
        words.sort();
        words.dedup_by(|later, earlier| later.0 == earlier.0);
        let shortest = words.iter().map(|(word, _)| word.len()).min()?;
        let mut first = [0; 257];
        for (byte, start) in first.iter_mut().enumerate() {
            // Bounded by MASK_LITERALS_MAX.
            *start = words.partition_point(|(word, _)| usize::from(word[0]) < byte) as u16;
        }
        let mut heads = Grams::new(words.len(), shortest);
        // A longer gram tells more; a shorter one lets samples be further apart.
        let gram = if shortest < 2 * GRAM_BYTES { shortest.min(GRAM_BYTES - 1) } else { GRAM_BYTES };
        let stride = (shortest - gram + 1).min(STRIDE_MAX);
        let mut grams = Grams::new(words.len() * stride, gram);
        for (word, _) in &words {
            heads.insert(word);
            (0..stride).for_each(|start| grams.insert(&word[start..]));
        }
        Some(Literals { words, first, grams, heads, stride })
    }

    /// Whether stage A finds where they may start: they are few, and all begin with letters or digits.
    pub fn are_hits(&self) -> bool {
        let is_fit = |word: &[u8]| word.len() >= FINGERPRINT_BYTES && word[0].is_ascii_alphanumeric();
        self.words.len() <= FEW && self.words.iter().all(|(word, _)| is_fit(word))
    }

    /// What they begin with, in lower case, also as it stands in the text of a JSON document.
    pub fn prefixes(&self) -> impl Iterator<Item = [u8; FINGERPRINT_BYTES]> {
        let heads = self.words.iter().filter_map(|(word, _)| word.first_chunk().copied());
        heads.flat_map(|head: [u8; FINGERPRINT_BYTES]| {
            [head, head.map(|byte| if byte == b'"' { ESCAPED_QUOTE } else { byte })]
        })
    }

    /// What begins at `start`.
    pub fn at(&self, text: &Text, start: usize) -> Option<Outcome> {
        self.anchored(text, start, if text.json { &FOLD_JSON } else { &FOLD })
    }

    /// The first literal, or the first start of what may become one, from `from` on.
    pub fn find(&self, text: &Text, from: usize) -> Option<Candidate> {
        let fold = if text.json { &FOLD_JSON } else { &FOLD };
        let mut sample = from + self.stride - 1;
        let end = loop {
            match self.grams.next(text.bytes, sample, self.stride) {
                Err(end) => break end,
                Ok(hit) => sample = hit,
            }
            // The starts up to the sample all have its gram in their first bytes.
            let mut starts = sample + 1 - self.stride..=sample;
            if let Some(found) = starts.find_map(|start| self.candidate(text, start, fold)) {
                return Some(found);
            }
            sample += self.stride;
        };
        (end + 1 - self.stride..text.bytes.len()).find_map(|start| self.candidate(text, start, fold))
    }

    fn candidate(&self, text: &Text, start: usize, fold: &[u8; 256]) -> Option<Candidate> {
        if text.bytes[start..].first_chunk().is_some_and(|head| !self.heads.contains(head)) {
            return None;
        }
        let outcome = self.anchored(text, start, fold)?;
        Some(Candidate { start, outcome })
    }

    /// The longest literal that starts at `start`.
    fn anchored(&self, text: &Text, start: usize, fold: &[u8; 256]) -> Option<Outcome> {
        let head = fold[usize::from(text.bytes[start])];
        let mut low = usize::from(self.first[usize::from(head)]);
        let mut high = usize::from(self.first[usize::from(head) + 1]);
        if low == high || (is_word(head) && !text.word_may_start(start)) {
            return None;
        }
        let mut best = None;
        let mut length = 1;
        loop {
            // All of low..high agree with the text in their first `length` bytes; the shortest comes first.
            let next = text.at(start + length);
            if self.words[low].0.len() == length {
                match (next, self.ends_here(text, start, length, next)) {
                    (None, _) => return Some(Outcome::Live),
                    (_, true) => best = Some(self.matched(start, length, low)),
                    _ => {}
                }
                low += 1;
            }
            if low == high {
                return best;
            }
            let Some(next) = next else { return Some(Outcome::Live) };
            let next = if text.bytes.len() > start + length { fold[usize::from(next)] } else { 0 };
            low += self.words[low..high].partition_point(|(word, _)| word[length] < next);
            high = low + self.words[low..high].partition_point(|(word, _)| word[length] == next);
            if low == high {
                return best;
            }
            length += 1;
        }
    }

    fn matched(&self, start: usize, length: usize, word: usize) -> Outcome {
        Outcome::Match { end: start + length, rule: self.words[word].1 }
    }

    /// Whether no word reaches over the right edge, and no JSON structure would be masked.
    fn ends_here(&self, text: &Text, start: usize, length: usize, next: Option<u8>) -> bool {
        let found = &text.bytes[start..start + length];
        let inside_word = is_word(found[length - 1]) && next.is_some_and(is_word);
        let is_structure = |byte: &u8| matches!(byte, b'{' | b'}' | b'[' | b']' | b':' | b',');
        let structure = text.json && found.iter().any(is_structure) && !text.in_string(start);
        !inside_word && !structure
    }
}

/// A bit set of grams, by hash. Case is folded coarsely: it only has to say no.
#[derive(Debug)]
struct Grams {
    bits: Box<[u64]>,
    shift: u32,
    /// The bytes of a gram within four bytes of text.
    mask: u32,
}

/// Folds the case of letters, and some other characters into each other.
const FOLD_COARSELY: u32 = 0x2020_2020;

impl Grams {
    /// An empty set for `count` grams of `length` bytes.
    fn new(count: usize, length: usize) -> Grams {
        // At most one bit in 16 set, so that chance hits stay rare; 8 KiB to 64 KiB.
        let log2 = (count * 16).next_power_of_two().ilog2().clamp(16, 19);
        let mask = u32::MAX >> (8 * (GRAM_BYTES - length.min(GRAM_BYTES)));
        Grams { bits: vec![0; 1 << (log2 - 6)].into(), shift: 32 - log2, mask }
    }

    /// Inserts the gram at the beginning of `word`, also as it stands in the text of a JSON document.
    fn insert(&mut self, word: &[u8]) {
        for quote in [b'"', ESCAPED_QUOTE] {
            let bytes = std::array::from_fn(|index| match word.get(index) {
                Some(b'"') => quote,
                Some(byte) => *byte,
                None => 0,
            });
            let (index, bit) = self.place(u32::from_le_bytes(bytes));
            self.bits[index] |= bit;
        }
    }

    /// The first of the positions `sample`, `sample + stride` and so on whose gram may be in the set, or
    /// that has no four bytes any more.
    #[inline]
    fn next(&self, text: &[u8], mut sample: usize, stride: usize) -> Result<usize, usize> {
        while let Some(gram) = text.get(sample..).and_then(<[u8]>::first_chunk) {
            if self.contains(gram) {
                return Ok(sample);
            }
            sample += stride;
        }
        Err(sample)
    }

    /// Whether the gram at the beginning of these bytes may be in the set.
    #[inline]
    fn contains(&self, bytes: &[u8; GRAM_BYTES]) -> bool {
        let (index, bit) = self.place(u32::from_le_bytes(*bytes));
        self.bits[index] & bit != 0
    }

    #[inline]
    fn place(&self, gram: u32) -> (usize, u64) {
        let hash = ((gram | FOLD_COARSELY) & self.mask).wrapping_mul(0x9e37_79b1) >> self.shift;
        ((hash >> 6) as usize, 1 << (hash & 63))
    }
}

static FOLD: [u8; 256] = folding(false);
/// In the text of a JSON document a quote matches nothing and the escaped one matches a quote.
static FOLD_JSON: [u8; 256] = folding(true);

const fn folding(json: bool) -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).to_ascii_lowercase();
        byte += 1;
    }
    if json {
        table[b'"' as usize] = 0;
        table[ESCAPED_QUOTE as usize] = b'"';
    }
    table
}
