//! Characters that people and models write for ASCII ones: full-width forms, the digits of Arabic, spaces
//! that do not break, typographic hyphens. The detectors read them as what they stand for; what is not masked
//! keeps them as they are.
//!
//! Quotes, brackets and backslashes are never folded: they would change the structure of a document.

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
    /// The beginning of a character that may be one.
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

/// `text` as the detectors read it.
pub fn folded(text: &str) -> String {
    text.chars().map(|char| fold(char).map_or(char, char::from)).collect()
}

/// Bytes that are asked at once whether all of them are ASCII: first many, then few.
const BLOCK_BYTES: [usize; 2] = [4 << 10, 64];

/// The first place in `raw` at which something is folded, from `at` on and in front of `end`.
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
                let mut others = (first..first + small.len()).filter(|at| !raw[*at].is_ascii());
                if let Some(found) = others.find_map(|at| read(&raw[at..]).map(|fold| (at, fold))) {
                    return Some(found);
                }
            }
        }
        start += large.len();
    }
    None
}

/// What stands at the beginning of `bytes`.
fn read(bytes: &[u8]) -> Option<Fold> {
    let length = match bytes.first()? {
        0xc2 | 0xd9 | 0xdb => 2,
        0xe2 | 0xe3 | 0xef => 3,
        _ => return None,
    };
    let Some(char) = bytes.get(..length) else { return Some(Fold::Cut) };
    let char = std::str::from_utf8(char).ok()?.chars().next()?;
    fold(char).map(|ascii| Fold::Char { ascii, length })
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
    fn a_place_is_found_or_waited_for() {
        let text = "plain ascii text 日本 é １".as_bytes();
        let at = text.len() - 3;
        assert_eq!(find(text, 0, text.len()), Some((at, Fold::Char { ascii: b'1', length: 3 })));
        assert_eq!(find(text, 0, at), None);
        for cut in 1..3 {
            assert_eq!(find(&text[..at + cut], 0, at + cut), Some((at, Fold::Cut)));
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
}
