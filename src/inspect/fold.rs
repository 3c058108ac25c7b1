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

/// The first place in `raw` at which something is folded, from `at` on and in front of `end`.
pub fn find(raw: &[u8], mut at: usize, end: usize) -> Option<(usize, Fold)> {
    while at < end {
        if raw[at] < 0x80 {
            let eight = raw[at..end].first_chunk().map_or(u64::MAX, |eight| u64::from_ne_bytes(*eight));
            at += if eight & 0x8080_8080_8080_8080 == 0 { 8 } else { 1 };
            continue;
        }
        if let Some(fold) = read(&raw[at..]) {
            return Some((at, fold));
        }
        at += 1;
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
}
