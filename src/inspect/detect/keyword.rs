//! Key words in front of a value: what makes digits a phone number, or a random string a secret.

use super::Text;

/// Longest word that is read.
const WORD_BYTES_MAX: usize = 24;
/// Bytes between two words, or between a word and the value.
pub const GAP_BYTES_MAX: usize = 6;
/// Words that may stand between the key word and the value.
const FILLERS_MAX: usize = 2;
static FILLERS: KeyWords = KeyWords::new(&[
    "is", "no", "nr", "num", "number", "nummer", "numero", "at", "on", "me", "us", "the", "my",
]);

/// Key words, in lower case and of two letters at least.
pub struct KeyWords {
    words: &'static [&'static str],
    /// By last letter: the letters that may stand in front of it, as bits.
    endings: [u32; 26],
}

/// The last letters of key words, for a look at the end of an identifier that takes no branches. By byte: the
/// bytes that may stand in front of it, as bits of [`Endings::bit`].
pub struct Endings {
    /// By the last byte, those in front of it.
    last: [u32; 256],
    /// By the byte in front of the last, those in front of that.
    before: [u32; 256],
}

impl Endings {
    /// Whether an identifier that ends with these bytes may end with one of the words: says no to most.
    #[inline]
    pub fn has(&self, [third, before, last]: [u8; 3]) -> bool {
        let letters = self.last[usize::from(last)];
        let has_two = letters >> Endings::bit(before) & 1 != 0;
        let has_three = self.before[usize::from(before)] >> Endings::bit(third) & 1 != 0;
        // Joints are left out: what stands in front of the last letter is then not the second letter.
        has_two & (has_three | (letters == u32::MAX))
    }

    /// Letters in either case have a bit of their own, which they share with other bytes.
    const fn bit(byte: u8) -> u32 {
        (byte & 31) as u32
    }
}

impl KeyWords {
    /// These words.
    pub const fn new(words: &'static [&'static str]) -> KeyWords {
        let mut endings = [0; 26];
        let mut index = 0;
        while index < words.len() {
            let word = words[index].as_bytes();
            let [.., before, last] = word else { panic!("a key word has two letters") };
            endings[(*last - b'a') as usize] |= 1 << (*before - b'a');
            index += 1;
        }
        KeyWords { words, endings }
    }

    /// The endings of these words, of three letters at least, in either case; underscores and hyphens may
    /// stand between letters.
    pub const fn endings(&self) -> Endings {
        const JOINTS: u32 = 1 << Endings::bit(b'_') | 1 << Endings::bit(b'-');
        let mut endings = Endings { last: [0; 256], before: [0; 256] };
        let mut index = 0;
        while index < self.words.len() {
            let [.., third, before, last] = self.words[index].as_bytes() else {
                panic!("these words have three letters");
            };
            let cases = [[*before, *last], [before.to_ascii_uppercase(), last.to_ascii_uppercase()]];
            let mut case = 0;
            while case < cases.len() {
                let [of_before, of_last] = cases[case];
                endings.last[of_last as usize] |= 1 << Endings::bit(*before) | JOINTS;
                endings.before[of_before as usize] |= 1 << Endings::bit(*third) | JOINTS;
                case += 1;
            }
            index += 1;
        }
        let joints = b"_-";
        let mut index = 0;
        while index < joints.len() {
            endings.last[joints[index] as usize] = u32::MAX;
            endings.before[joints[index] as usize] = u32::MAX;
            index += 1;
        }
        endings
    }

    /// Whether a word whose last two bytes are these may end with one of the words: says no to most words.
    /// `identifier`: as for [`word`].
    #[inline]
    pub fn may_end(&self, [before, last]: [u8; 2], identifier: bool) -> bool {
        let letter = |byte: u8| (byte | 0x20).wrapping_sub(b'a');
        let Some(letters) = self.endings.get(usize::from(letter(last))) else {
            return identifier && is_joint(last);
        };
        match letter(before) {
            place @ 0..26 => letters >> place & 1 != 0,
            _ => identifier && is_joint(before),
        }
    }
}

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
    pub fn ends_in(&self, words: &KeyWords) -> bool {
        words.words.iter().any(|word| self.as_bytes().ends_with(word.as_bytes()))
    }
}

/// Whether one of `words` stands in front of the value that starts at `at`, with a filler or two between.
pub fn is_beside(text: &Text, at: usize, words: &KeyWords) -> bool {
    let mut back = 1;
    for _ in 0..=FILLERS_MAX {
        let gap = gap(text, at, back, |byte| !byte.is_ascii_alphanumeric() && byte != 0);
        let ending = [back + gap + 1, back + gap].map(|back| text.before(at, back));
        if ![words, &FILLERS].iter().any(|words| words.may_end(ending, false)) {
            return false;
        }
        let Some(word) = word(text, at, back + gap, false) else { return false };
        if word.ends_in(words) {
            return true;
        }
        if !FILLERS.words.iter().any(|filler| filler.as_bytes() == word.as_bytes()) {
            return false;
        }
        back += gap + word.length;
    }
    false
}

/// How many bytes from `back` places left of `at` on leftwards are what `is_gap` says.
fn gap(text: &Text, at: usize, back: usize, is_gap: impl Fn(u8) -> bool) -> usize {
    (0..GAP_BYTES_MAX).take_while(|more| is_gap(text.before(at, back + more))).count()
}

fn is_joint(byte: u8) -> bool {
    matches!(byte, b'_' | b'-')
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
        } else if !(identifier && is_joint(byte)) {
            break;
        }
    }
    (word.length > 0).then_some(word)
}
