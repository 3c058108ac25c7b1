//! United States social security numbers: area (not 000, 666, 900 to 999), group (not 00), serial (not 0000),
//! as `123-45-6789` or `123 45 6789`; nine digits in a row only behind a key word.
//!
//! Source: Social Security Administration, "Social Security Number Randomization".

use super::keyword::{self, KeyWords};
use super::{Outcome, Text, is_word};

/// Digits.
const DIGITS: usize = 9;
/// How many digits it may begin with, as bits.
pub const FIRST_RUNS: u32 = 1 << 3 | 1 << DIGITS;
static KEY_WORDS: KeyWords = KeyWords::new(&["ssn", "security", "socialsecurity", "socialsecuritynumber"]);

/// What begins at `start`, a digit at which a number may start.
pub fn at(text: &Text, start: usize, rule: u16) -> Option<Outcome> {
    let mut digits = [0; DIGITS];
    let (mut count, mut offset) = (0, 0);
    let mut separator = None;
    while count < DIGITS {
        let Some(byte) = text.at(start + offset) else { return live(text, start, separator) };
        match byte {
            b'0'..=b'9' if separator.is_none() || offset != 6 => {
                digits[count] = byte - b'0';
                count += 1;
            }
            b'-' | b' ' if offset == 3 => separator = Some(byte),
            _ if offset == 6 && separator == Some(byte) => {}
            _ => return None,
        }
        offset += 1;
    }
    let end = start + offset;
    if !is_valid(&digits)
        || text.bytes.get(end).is_some_and(|next| is_word(*next))
        || !is_beside(text, start, separator)
    {
        return None;
    }
    match (text.at(end), text.at(end + 1)) {
        (None, _) => Some(Outcome::Live),
        (Some(next), _) if is_word(next) => None,
        (Some(b'-' | b'.'), None) => Some(Outcome::Live),
        (Some(b'-' | b'.'), Some(next)) if next.is_ascii_digit() => None,
        _ => Some(Outcome::Match { end, rule }),
    }
}

/// A beginning may become a number with separators; without them only beside a key word.
fn live(text: &Text, start: usize, separator: Option<u8>) -> Option<Outcome> {
    let bare = separator.is_none() && text.bytes.len() - start > 3;
    (!bare || is_beside(text, start, None)).then_some(Outcome::Live)
}

fn is_beside(text: &Text, start: usize, separator: Option<u8>) -> bool {
    separator.is_some() || keyword::is_beside(text, start, &KEY_WORDS)
}

fn is_valid(digits: &[u8; DIGITS]) -> bool {
    let [a, b, c, d, e, serial @ ..] = digits;
    let area = u32::from(*a) * 100 + u32::from(*b) * 10 + u32::from(*c);
    !matches!(area, 0 | 666 | 900..) && d | e != 0 && serial.iter().any(|digit| *digit != 0)
}
