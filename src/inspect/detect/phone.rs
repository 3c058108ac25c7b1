//! Phone numbers.
//!
//! - International (ITU-T E.164): `+`, 8 to 15 digits, groups with up to two separators between.
//! - North American (NANPA): area code and exchange begin with 2 to 9: `(212) 555-0123`, `212-555-0123`,
//!   `212.555.0123`, `212 555 0123`, each also behind `1` and a separator; ten digits in a row only behind a
//!   key word.
//! - National, with the trunk prefix `0`, as in most of Europe, Japan, Australia: 9 to 12 digits with single
//!   separators, behind a key word. British and Japanese numbers also without one, in the groupings that
//!   their plans print them in ([`GROUPINGS`]).

use super::keyword::{self, KeyWords};
use super::{Outcome, Text, is_word};

const INTERNATIONAL_DIGITS: std::ops::RangeInclusive<usize> = 8..=15;
const NATIONAL_DIGITS: std::ops::RangeInclusive<usize> = 9..=12;
/// How many digits a number may begin with, as bits, unless the first is a zero: none (`+`, `(`), `1`, an
/// area code, or all of it.
pub const FIRST_RUNS: u32 = 1 << 0 | 1 << 1 | 1 << 3 | 1 << 10 | 1 << 11;
/// National numbers that need no key word, as they are grouped in Britain and Japan: `#` a digit, `N` one
/// from 2 to 9. Groups of other countries are too much like other numbers.
const GROUPINGS: &[&[u8]] = &[
    b"02# N### ####",
    b"02#-N###-####",
    b"01## N## ####",
    b"07### ######",
    b"03-####-####",
    b"050-####-####",
    b"070-####-####",
    b"080-####-####",
    b"090-####-####",
];
static KEY_WORDS: KeyWords = KeyWords::new(&[
    "phone",
    "tel",
    "telephone",
    "telefon",
    "telefono",
    "mobile",
    "mobil",
    "cell",
    "handy",
    "fax",
    "call",
    "sms",
    "whatsapp",
    "rufnummer",
    "telefonnummer",
    "handynummer",
    "portable",
    "dial",
]);

/// What begins at `start`.
pub fn at(text: &Text, start: usize, rule: u16) -> Option<Outcome> {
    match text.bytes[start] {
        b'+' if may_start(text, start) => international(text, start, rule),
        b'(' if is_word(text.before(start, 1)) => None,
        // `(0` is no American area code.
        b'(' if text.at(start + 1) == Some(b'0') => national(text, start, rule),
        b'(' => american(text, start, rule),
        b'0' if may_start(text, start) => national(text, start, rule),
        b'1'..=b'9' if may_start(text, start) => american(text, start, rule),
        _ => None,
    }
}

fn may_start(text: &Text, start: usize) -> bool {
    let left = text.before(start, 1);
    let joins = matches!(left, b'.' | b'-' | b'/') && text.before(start, 2).is_ascii_alphanumeric();
    left != b'+' && !joins && text.word_may_start(start)
}

/// Whether what ends in front of `end` is not a part of more digits. `None`: the text ended too early.
fn ends_at(text: &Text, end: usize) -> Option<bool> {
    let next = text.at(end)?;
    if is_word(next) {
        return Some(false);
    }
    Some(!matches!(next, b'-' | b'.') || !text.at(end + 1)?.is_ascii_digit())
}

fn decided(text: &Text, end: usize, rule: u16) -> Option<Outcome> {
    match ends_at(text, end) {
        None => Some(Outcome::Live),
        Some(true) => Some(Outcome::Match { end, rule }),
        Some(false) => None,
    }
}

fn international(text: &Text, start: usize, rule: u16) -> Option<Outcome> {
    let (mut count, mut end, mut gap) = (0, start + 1, 0);
    let mut at = start + 1;
    loop {
        let Some(byte) = text.at(at) else { return Some(Outcome::Live) };
        match byte {
            b'0' if count == 0 => return None,
            b'0'..=b'9' if count == *INTERNATIONAL_DIGITS.end() => return None,
            b'0'..=b'9' => (count, end, gap) = (count + 1, at + 1, 0),
            b' ' | b'-' | b'.' | b'(' | b')' if count > 0 && gap < 2 => gap += 1,
            _ => break,
        }
        at += 1;
    }
    let word_behind = text.bytes.get(end).is_some_and(|byte| is_word(*byte));
    (INTERNATIONAL_DIGITS.contains(&count) && !word_behind).then_some(Outcome::Match { end, rule })
}

/// One step of a fixed shape.
#[derive(Clone, Copy)]
enum Step {
    Separator,
    Digit,
    /// 2 to 9.
    High,
    Close,
    /// A space that may be missing.
    Space,
}

fn american(text: &Text, start: usize, rule: u16) -> Option<Outcome> {
    use Step::{Close, Digit, High, Separator, Space};
    const BRACED: &[Step] = &[High, Digit, Digit, Close, Space];
    const GROUPED: &[Step] = &[High, Digit, Digit, Separator];
    const REST: &[Step] = &[High, Digit, Digit, Separator, Digit, Digit, Digit, Digit];
    let mut at = start;
    if text.bytes[start] == b'1' {
        match text.at(start + 1) {
            None => return Some(Outcome::Live),
            Some(b' ' | b'-' | b'.') => at += 2,
            _ => return bare(text, start, rule),
        }
    }
    let braced = match text.at(at) {
        None => return Some(Outcome::Live),
        Some(byte) => byte == b'(',
    };
    at += usize::from(braced);
    for step in if braced { BRACED } else { GROUPED }.iter().chain(REST) {
        let Some(byte) = text.at(at) else {
            // A row of digits that has not ended may still be a bare number.
            return Some(Outcome::Live);
        };
        let fits = match step {
            Step::Separator => matches!(byte, b' ' | b'-' | b'.'),
            Step::Digit => byte.is_ascii_digit(),
            Step::High => matches!(byte, b'2'..=b'9'),
            Step::Close => byte == b')',
            Step::Space => true,
        };
        if !fits {
            return if braced || at != start + 3 { None } else { bare(text, start, rule) };
        }
        at += usize::from(!matches!(step, Step::Space) || byte == b' ');
    }
    decided(text, at, rule)
}

/// Ten digits in a row, or `1` and ten, behind a key word.
fn bare(text: &Text, start: usize, rule: u16) -> Option<Outcome> {
    let first = start + usize::from(text.bytes[start] == b'1');
    for (at, place) in (first..first + 10).zip(0..) {
        let Some(byte) = text.at(at) else {
            return keyword::is_beside(text, start, &KEY_WORDS).then_some(Outcome::Live);
        };
        if !byte.is_ascii_digit() || (matches!(place, 0 | 3) && byte < b'2') {
            return None;
        }
    }
    let ends = match text.at(first + 10) {
        Some(byte) if byte.is_ascii_digit() => None,
        _ => decided(text, first + 10, rule),
    };
    ends.filter(|_| keyword::is_beside(text, start, &KEY_WORDS))
}

fn national(text: &Text, start: usize, rule: u16) -> Option<Outcome> {
    // Not the month, the minute or the decimals of something else; `hits` rules these out, too.
    let left = text.before(start, 1);
    let joined = left.is_ascii_alphanumeric() || matches!(left, b'-' | b'.' | b'_');
    let minute = left == b':' && text.before(start, 2).is_ascii_digit();
    if joined || minute {
        return None;
    }
    if !keyword::is_beside(text, start, &KEY_WORDS) {
        return grouped(text, start, rule);
    }
    let (mut count, mut end, mut gap) = (0, start, 0);
    let mut at = start;
    loop {
        let Some(byte) = text.at(at) else { return Some(Outcome::Live) };
        match byte {
            b'(' if at == start => {}
            b'0'..=b'9' if count == *NATIONAL_DIGITS.end() => return None,
            b'0'..=b'9' => (count, end, gap) = (count + 1, at + 1, 0),
            b' ' | b'-' | b'.' | b'/' | b')' if count > 0 && gap == 0 => gap += 1,
            b' ' if gap == 1 && text.bytes[at - 1] == b')' => gap += 1,
            _ => break,
        }
        at += 1;
    }
    let word_behind = text.bytes.get(end).is_some_and(|byte| is_word(*byte));
    (NATIONAL_DIGITS.contains(&count) && !word_behind).then_some(Outcome::Match { end, rule })
}

/// A number in one of [`GROUPINGS`], with no further group beside it.
fn grouped(text: &Text, start: usize, rule: u16) -> Option<Outcome> {
    if text.before(start, 1) == b' ' && text.before(start, 2).is_ascii_digit() {
        return None;
    }
    GROUPINGS.iter().find_map(|grouping| {
        for (at, place) in (start..).zip(*grouping) {
            let Some(byte) = text.at(at) else { return Some(Outcome::Live) };
            let fits = match place {
                b'#' => byte.is_ascii_digit(),
                b'N' => matches!(byte, b'2'..=b'9'),
                place => byte == *place,
            };
            if !fits {
                return None;
            }
        }
        let end = start + grouping.len();
        match (text.at(end), text.at(end + 1)) {
            (Some(b' '), None) => Some(Outcome::Live),
            (Some(b' '), Some(next)) if next.is_ascii_digit() => None,
            _ => decided(text, end, rule),
        }
    })
}
