//! Key words in front of a value: what makes digits a phone number, or a random string a secret.

use super::Text;

/// Longest word that is read.
const WORD_BYTES_MAX: usize = 24;
/// Bytes between two words, or between a word and the value.
const GAP_BYTES_MAX: usize = 6;
/// Words that may stand between the key word and the value.
const FILLERS_MAX: usize = 2;
const FILLERS: &[&str] =
    &["is", "no", "nr", "num", "number", "nummer", "numero", "at", "on", "me", "us", "the", "my"];

/// A word in lower case.
#[derive(Clone, Copy)]
pub struct Word {
    bytes: [u8; WORD_BYTES_MAX],
    length: usize,
}

impl Word {
    /// The word.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[WORD_BYTES_MAX - self.length..]
    }

    /// Whether it ends in one of `words`, as `customerPhone` does in `phone`.
    pub fn ends_in(&self, words: &[&str]) -> bool {
        let (bytes, last) = (self.as_bytes(), self.bytes[WORD_BYTES_MAX - 1]);
        words.iter().any(|word| word.as_bytes().last() == Some(&last) && bytes.ends_with(word.as_bytes()))
    }
}

/// Whether one of `words` stands in front of the value that starts at `at`, with a filler or two between.
pub fn is_beside(text: &Text, at: usize, words: &[&str]) -> bool {
    let mut back = 1;
    for _ in 0..=FILLERS_MAX {
        let gap = gap(text, at, back, |byte| !byte.is_ascii_alphanumeric() && byte != 0);
        let Some(word) = word(text, at, back + gap, false) else { return false };
        if word.ends_in(words) {
            return true;
        }
        if !FILLERS.iter().any(|filler| filler.as_bytes() == word.as_bytes()) {
            return false;
        }
        back += gap + word.length;
    }
    false
}

/// How many bytes from `back` places left of `at` on leftwards are what `is_gap` says.
pub fn gap(text: &Text, at: usize, back: usize, is_gap: impl Fn(u8) -> bool) -> usize {
    (0..GAP_BYTES_MAX).take_while(|more| is_gap(text.before(at, back + more))).count()
}

/// The word whose last letter stands `back` places left of `at`. In an `identifier` underscores and hyphens
/// are left out: `api_key` is `apikey`.
pub fn word(text: &Text, at: usize, back: usize, identifier: bool) -> Option<Word> {
    let mut word = Word { bytes: [0; WORD_BYTES_MAX], length: 0 };
    for more in 0..WORD_BYTES_MAX + 8 {
        let byte = text.before(at, back + more);
        if byte.is_ascii_alphanumeric() {
            if word.length == WORD_BYTES_MAX {
                break;
            }
            word.length += 1;
            word.bytes[WORD_BYTES_MAX - word.length] = byte.to_ascii_lowercase();
        } else if !(identifier && matches!(byte, b'_' | b'-')) {
            break;
        }
    }
    (word.length > 0).then_some(word)
}
