//! Words and phrases, without regard to the case of ASCII letters, not inside a longer word.
//!
//! Every literal has at least `shortest` bytes, so among any `shortest - gram + 1` neighbouring positions of
//! a literal in the text one is a sample. At a sample the next `gram` bytes are looked up in a bit set of all
//! grams that literals have near their beginning: only a hit is looked at closely. Text without hits costs
//! one look-up every few bytes.

use super::{Candidate, Outcome, Text, is_word};
use crate::inspect::codec::ESCAPED_QUOTE;

/// Compiled literals of one lane.
#[derive(Debug)]
pub struct Literals {
    /// Folded, sorted, each with its rule.
    words: Vec<(Box<[u8]>, u16)>,
    /// By folded first byte: where its words begin. One more entry for the end.
    first: [u16; 257],
    grams: Grams,
    shortest: usize,
}

/// Bytes of a gram, where literals are long enough.
const GRAM_BYTES: usize = 3;
/// Samples are at most this far apart; more gains nothing.
const STRIDE_MAX: usize = 16;

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
        let grams = Grams::new(&words, shortest);
        Some(Literals { words, first, grams, shortest })
    }

    /// The first literal, or the first start of what may become one, from `from` on.
    pub fn find(&self, text: &Text, from: usize) -> Option<Candidate> {
        let fold = if text.json { &FOLD_JSON } else { &FOLD };
        let gram = self.grams.length;
        let stride = self.grams.stride;
        let mut start = from;
        while start + self.shortest <= text.bytes.len() {
            // Starts in start..start + stride all have this gram in their first bytes.
            let sample = start + stride - 1;
            if self.grams.contains(&text.bytes[sample..sample + gram], fold) {
                let found = (start..start + stride).find_map(|start| self.candidate(text, start, fold));
                if found.is_some() {
                    return found;
                }
            }
            start += stride;
        }
        // What is left is too short for a whole literal.
        let left = if text.last { text.bytes.len() } else { start };
        (left..text.bytes.len()).find_map(|start| self.candidate(text, start, fold))
    }

    fn candidate(&self, text: &Text, start: usize, fold: &[u8; 256]) -> Option<Candidate> {
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
        !inside_word && !(text.json && found.iter().any(is_structure) && !text.in_string(start))
    }
}

/// A bit set of folded grams, by hash.
#[derive(Debug)]
struct Grams {
    bits: Box<[u64]>,
    shift: u32,
    length: usize,
    stride: usize,
}

impl Grams {
    fn new(words: &[(Box<[u8]>, u16)], shortest: usize) -> Grams {
        let length = shortest.min(GRAM_BYTES);
        let stride = (shortest - length + 1).min(STRIDE_MAX);
        // At most one bit in 16 set, so that chance hits stay rare; 8 KiB to 64 KiB.
        let log2 = (words.len() * stride * 16).next_power_of_two().ilog2().clamp(16, 19);
        let bits = vec![0; 1 << (log2 - 6)].into();
        let mut grams = Grams { bits, shift: 32 - log2, length, stride };
        for (word, _) in words {
            for start in 0..stride {
                let hash = grams.hash(&word[start..start + length], &IDENTITY);
                grams.bits[hash >> 6] |= 1 << (hash & 63);
            }
        }
        grams
    }

    #[inline]
    fn contains(&self, bytes: &[u8], fold: &[u8; 256]) -> bool {
        let hash = self.hash(bytes, fold);
        self.bits[hash >> 6] >> (hash & 63) & 1 != 0
    }

    #[inline]
    fn hash(&self, bytes: &[u8], fold: &[u8; 256]) -> usize {
        let gram = bytes.iter().fold(0u32, |gram, byte| gram << 8 | u32::from(fold[usize::from(*byte)]));
        (gram.wrapping_mul(0x9e37_79b1) >> self.shift) as usize
    }
}

static IDENTITY: [u8; 256] = folding(false, false);
static FOLD: [u8; 256] = folding(true, false);
/// In the text of a JSON document a quote matches nothing and the escaped one matches a quote.
static FOLD_JSON: [u8; 256] = folding(true, true);

const fn folding(lower: bool, json: bool) -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = if lower { (byte as u8).to_ascii_lowercase() } else { byte as u8 };
        byte += 1;
    }
    if json {
        table[b'"' as usize] = 0;
        table[ESCAPED_QUOTE as usize] = b'"';
    }
    table
}
