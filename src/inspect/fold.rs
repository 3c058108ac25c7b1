//! Characters that people and models write for ASCII ones: full-width forms, the digits of Arabic, spaces
//! that do not break, typographic hyphens. The detectors read them as what they stand for; what is not masked
//! keeps them as they are.
//!
//! Characters that nobody sees (soft hyphens, zero-width spaces and joiners, marks of direction, selectors of
//! variants, tags) are left out, so that none of them hides a value. An [`Allowance`] bounds how many, for
//! what may still match is held back with all of them.
//!
//! Quotes, brackets and backslashes are never folded: they would change the structure of a document.

use crate::limits::MASK_INVISIBLE_MAX;

/// What stands at one place of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fold {
    /// A character of `length` bytes that stands for an ASCII one.
    Char {
        /// The ASCII character.
        ascii: u8,
        /// Its bytes in UTF-8.
        length: usize,
    },
    /// A character of `length` bytes that nobody sees.
    Invisible {
        /// Its bytes in UTF-8.
        length: usize,
    },
    /// The beginning of a character that may be one of these.
    Cut,
}

/// The ASCII character that `char` stands for.
pub fn fold(char: char) -> Option<u8> {
    // Every range below is at most 26 long, or lies as far from ASCII as all full-width forms do.
    let from = |first: char, ascii: u8| ascii + (char as u32 - first as u32) as u8;
    Some(match char {
        '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => b' ',
        '\u{2010}'..='\u{2015}' | '\u{2212}' => b'-',
        '\u{660}'..='\u{669}' => from('\u{660}', b'0'),
        '\u{6f0}'..='\u{6f9}' => from('\u{6f0}', b'0'),
        '（' | '）' | '＋' | '－' | '．' | '０'..='９' | '＠' | 'Ａ'..='Ｚ' | '＿' | 'ａ'..='ｚ' => {
            from('\u{ff01}', b'!')
        }
        _ => return None,
    })
}

/// Whether nobody sees `char`: it has the property `Default_Ignorable_Code_Point` (Unicode Standard, section
/// 5.21 and `DerivedCoreProperties.txt`).
pub fn is_invisible(char: char) -> bool {
    matches!(char,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// `text` as the detectors read it, however many of its characters nobody sees.
pub fn folded(text: &str) -> String {
    let seen = text.chars().filter(|char| !is_invisible(*char));
    seen.map(|char| fold(char).map_or(char, char::from)).collect()
}

/// How many invisible characters may be left out at one place of a text: between any two places at most
/// [`MASK_INVISIBLE_MAX`] more than bytes of text. What is beyond stays in the text, where it separates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    left: usize,
    /// The place in the text for which that was counted.
    at: usize,
}

impl Default for Allowance {
    fn default() -> Allowance {
        Allowance { left: MASK_INVISIBLE_MAX, at: 0 }
    }
}

impl Allowance {
    /// Whether a character at `at` may be left out, which then counts.
    pub fn take(&mut self, at: usize) -> bool {
        *self = self.on(at);
        let may = self.left > 0;
        self.left -= usize::from(may);
        may
    }

    /// What it is at `at`, behind no more of them.
    pub fn on(self, at: usize) -> Allowance {
        Allowance { left: MASK_INVISIBLE_MAX.min(self.left + (at - self.at)), at }
    }

    /// The same where the text begins at this place.
    pub fn rebased(self) -> Allowance {
        Allowance { at: 0, ..self }
    }
}

/// Bytes that are asked at once whether all of them are ASCII: first many, then few.
const BLOCK_BYTES: [usize; 2] = [4 << 10, 64];

/// First bytes of the characters that are folded or left out, with their length; 0 for all others.
static LENGTHS: [u8; 256] = {
    let mut lengths = [0; 256];
    let firsts: [(u8, &[u8]); 3] =
        [(2, &[0xc2, 0xcd, 0xd8, 0xd9, 0xdb]), (3, &[0xe1, 0xe2, 0xe3, 0xef]), (4, &[0xf0, 0xf3])];
    let mut kind = 0;
    while kind < firsts.len() {
        let mut index = 0;
        while index < firsts[kind].1.len() {
            lengths[firsts[kind].1[index] as usize] = firsts[kind].0;
            index += 1;
        }
        kind += 1;
    }
    lengths
};

/// The first place in `raw` at which something is folded or left out, from `at` on and in front of `end`.
pub fn find(raw: &[u8], at: usize, end: usize) -> Option<(usize, Fold)> {
    let mut start = at;
    while start < end {
        let large = &raw[start..end.min(start + BLOCK_BYTES[0])];
        if !large.is_ascii() {
            for (index, small) in large.chunks(BLOCK_BYTES[1]).enumerate() {
                if small.is_ascii() {
                    continue;
                }
                let first = start + index * BLOCK_BYTES[1];
                let mut firsts = firsts(small);
                while firsts != 0 {
                    let at = first + firsts.trailing_zeros() as usize;
                    if let Some(fold) = read(&raw[at..]) {
                        return Some((at, fold));
                    }
                    firsts &= firsts - 1;
                }
            }
        }
        start += large.len();
    }
    None
}

/// Where in `block` a character may begin that is folded or left out.
fn firsts(block: &[u8]) -> u64 {
    let is_first = |byte: &u8| u64::from(LENGTHS[usize::from(*byte)] != 0);
    block.iter().enumerate().fold(0, |firsts, (index, byte)| firsts | is_first(byte) << index)
}

/// What stands at the beginning of `bytes`.
fn read(bytes: &[u8]) -> Option<Fold> {
    let length = usize::from(LENGTHS[usize::from(*bytes.first()?)]);
    // Emoji, kana and most letters of other scripts are told by their second byte.
    match bytes {
        [0xe1, second, ..] if !matches!(second, 0x85 | 0x9e | 0xa0) => return None,
        [0xe3, second, ..] if !matches!(second, 0x80 | 0x85) => return None,
        [0xf0, second, ..] if !matches!(second, 0x9b | 0x9d) => return None,
        [0xf3, second, ..] if *second != 0xa0 => return None,
        _ if length == 0 => return None,
        _ => {}
    }
    let Some(char) = bytes.get(..length) else { return Some(Fold::Cut) };
    let char = std::str::from_utf8(char).ok()?.chars().next()?;
    match fold(char) {
        Some(ascii) => Some(Fold::Char { ascii, length }),
        None => is_invisible(char).then_some(Fold::Invisible { length }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_for_ascii_is_read_as_ascii() {
        let check = |text: &str, expected: &str| assert_eq!(folded(text), expected, "{text}");
        check("４１１１\u{a0}١٢\u{202f}۳۴", "4111 12 34");
        check("ａｎｎ＿ｂ＠ｅｘａｍｐｌｅ．ｃｏｍ", "ann_b@example.com");
        check("（０）２１２‑５５５–１２３４", "(0)212-555-1234");
        check("“ＺＥＤ”：｛＂＼｝é日 😀", "“ZED”：｛＂＼｝é日 😀");
    }

    #[test]
    fn what_nobody_sees_is_left_out() {
        let check = |text: &str, expected: &str| assert_eq!(folded(text), expected, "{text:?}");
        check("4111\u{200b}1111\u{feff}", "41111111");
        check("a\u{ad}n\u{34f}n\u{2060}@\u{e0041}\u{fe0f}x\u{180e}", "ann@x");
        check("\u{202e}👩\u{200d}💻\u{2069}\u{1d173}", "👩💻");
    }

    #[test]
    fn every_character_is_found_as_what_it_is() {
        for char in '\u{80}'..=char::MAX {
            let text = char.to_string();
            let length = text.len();
            let expected = match fold(char) {
                Some(ascii) => Some((0, Fold::Char { ascii, length })),
                None => is_invisible(char).then_some((0, Fold::Invisible { length })),
            };
            assert_eq!(find(text.as_bytes(), 0, length), expected, "{char:?}");
        }
    }

    #[test]
    fn a_place_is_found_or_waited_for() {
        for (char, fold) in [
            ('１', Fold::Char { ascii: b'1', length: 3 }),
            ('\u{ad}', Fold::Invisible { length: 2 }),
            ('\u{e0001}', Fold::Invisible { length: 4 }),
        ] {
            let text = format!("plain ascii text 日本 é ひ 😀 {char}").into_bytes();
            let at = text.len() - char.len_utf8();
            assert_eq!(find(&text, 0, text.len()), Some((at, fold)));
            assert_eq!(find(&text, 0, at), None);
            for cut in 1..char.len_utf8() {
                assert_eq!(find(&text[..at + cut], 0, at + cut), Some((at, Fold::Cut)));
            }
        }
    }

    #[test]
    fn a_place_is_found_at_every_place_of_a_block() {
        for at in (0..2 * BLOCK_BYTES[1]).chain(BLOCK_BYTES[0] - 4..BLOCK_BYTES[0] + 4) {
            for before in ["a", "é", "日"] {
                let mut text = "b".repeat(at % before.len()) + &before.repeat(at / before.len());
                text.push_str("１ and more");
                let found = find(text.as_bytes(), 0, text.len());
                assert_eq!(found, Some((at, Fold::Char { ascii: b'1', length: 3 })), "{at} {before}");
                assert_eq!(find(text.as_bytes(), at + 3, text.len()), None);
            }
        }
    }

    #[test]
    fn an_allowance_grows_with_the_text() {
        let mut allowance = Allowance::default();
        assert!((0..MASK_INVISIBLE_MAX).all(|_| allowance.take(9)));
        assert!(!allowance.take(9));
        assert!(allowance.take(10) && !allowance.take(10));
        assert_eq!(allowance.on(12), allowance.on(11).on(12));
        assert_eq!(allowance.on(9_999).rebased(), Allowance::default());
    }
}
