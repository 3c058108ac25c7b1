//! Payment card numbers (ISO/IEC 7812): digits in a known grouping, of a known issuer and length, with a
//! right check digit.

use super::{Candidate, Outcome, Text, is_word};

/// Shortest and longest number, in digits.
const DIGITS_MIN: usize = 14;
const DIGITS_MAX: usize = 19;
/// Groups of the longest grouping.
const GROUPS_MAX: usize = 5;
/// Any number covers one sample and the byte behind it; of two neighbours at least one is a digit.
const STRIDE: usize = DIGITS_MIN - 1;

/// Known groupings, as lowest and highest length of each group.
const SHAPES: &[&[(u8, u8)]] = &[
    &[(14, 19)],
    &[(4, 4), (6, 6), (4, 5)],
    &[(4, 4), (4, 4), (4, 4), (2, 7)],
    &[(4, 4), (4, 4), (4, 4), (4, 4), (1, 3)],
    &[(6, 6), (13, 13)],
];

/// Issuers: lowest and highest prefix (of equal length), and the lengths of their numbers in digits.
/// From the public list of issuer identification numbers; the ranges of Maestro and RuPay overlap others.
const ISSUERS: &[(u32, u32, &[std::ops::RangeInclusive<usize>])] = &[
    (4, 4, &[16..=16, 19..=19]),     // Visa
    (51, 55, &[16..=16]),            // Mastercard
    (2221, 2720, &[16..=16]),        // Mastercard
    (34, 34, &[15..=15]),            // American Express
    (37, 37, &[15..=15]),            // American Express
    (300, 305, &[14..=14, 16..=19]), // Diners Club
    (309, 309, &[14..=14, 16..=19]), // Diners Club
    (36, 36, &[14..=19]),            // Diners Club
    (38, 39, &[14..=14, 16..=19]),   // Diners Club
    (6011, 6011, &[16..=19]),        // Discover
    (644, 649, &[16..=19]),          // Discover
    (65, 65, &[16..=19]),            // Discover, RuPay
    (35, 35, &[16..=19]),            // JCB, RuPay
    (1800, 1800, &[15..=15]),        // JCB
    (2131, 2131, &[15..=15]),        // JCB
    (62, 62, &[16..=19]),            // UnionPay
    (81, 82, &[16..=19]),            // UnionPay, RuPay
    (2200, 2205, &[16..=19]),        // Mir, Borica
    (50, 50, &[14..=19]),            // Maestro, RuPay, Verve
    (56, 58, &[14..=19]),            // Maestro
    (63, 63, &[14..=19]),            // Maestro, InterPayment, InstaPayment
    (67, 67, &[14..=19]),            // Maestro
    (60, 60, &[16..=16]),            // RuPay, Hipercard
    (9792, 9792, &[16..=16]),        // Troy
    (8600, 8600, &[16..=16]),        // UzCard
    (9860, 9860, &[16..=16]),        // Humo
];

/// The first number, or the first start of what may become one, from `from` on.
pub fn find(text: &Text, from: usize, rule: u16) -> Option<Candidate> {
    let bytes = text.bytes;
    let mut done = from;
    loop {
        let sample = done + STRIDE - 1;
        if sample + 1 >= bytes.len() {
            break;
        }
        if !bytes[sample].is_ascii_digit() && !bytes[sample + 1].is_ascii_digit() {
            done += STRIDE;
            continue;
        }
        let digit = if bytes[sample].is_ascii_digit() { sample } else { sample + 1 };
        let start = digit - count_parts(bytes[done..digit].iter().rev());
        let length = count_parts(bytes[start..].iter().take(DIGITS_MIN));
        if length < DIGITS_MIN && start + length < bytes.len() {
            done = start + length;
            continue;
        }
        match in_run(text, start, rule) {
            Ok(candidate) => return Some(candidate),
            Err(end) => done = end,
        }
    }
    if text.last || done >= bytes.len() {
        return None;
    }
    // The samples prove nothing about a number that is not whole yet.
    let start = bytes.len() - count_parts(bytes[done..].iter().rev());
    in_run(text, start, rule).ok()
}

fn count_parts<'a>(bytes: impl Iterator<Item = &'a u8>) -> usize {
    bytes.take_while(|byte| is_part(**byte)).count()
}

#[inline]
fn is_part(byte: u8) -> bool {
    byte.is_ascii_digit() || is_separator(byte)
}

#[inline]
fn is_separator(byte: u8) -> bool {
    matches!(byte, b' ' | b'-' | b'.')
}

/// The first candidate among the starts of the run of digits and separators that begins at `start`, or the
/// end of the run.
fn in_run(text: &Text, start: usize, rule: u16) -> Result<Candidate, usize> {
    let mut at = start;
    while let Some(byte) = text.bytes.get(at).filter(|byte| is_part(**byte)) {
        if byte.is_ascii_digit() && may_start(text, at) {
            match number(text, at) {
                Number::No => {}
                Number::Live => return Ok(Candidate { start: at, outcome: Outcome::Live }),
                Number::End(end) => {
                    return Ok(Candidate { start: at, outcome: Outcome::Match { end, rule } });
                }
            }
        }
        at += 1;
    }
    Err(at)
}

/// Not inside of a word, not the fraction of a decimal, not behind a group with `-`.
fn may_start(text: &Text, at: usize) -> bool {
    let left = text.before(at, 1);
    if matches!(left, b'.' | b'-') && text.before(at, 2).is_ascii_digit() {
        return false;
    }
    text.word_may_start(at)
}

enum Number {
    No,
    Live,
    End(usize),
}

/// Reads groups from `start`; remembers the longest valid end.
fn number(text: &Text, start: usize) -> Number {
    let mut best = Number::No;
    let mut digits = [0u8; DIGITS_MAX];
    let mut count = 0;
    let mut groups = [0u8; GROUPS_MAX];
    let mut group = 0;
    let mut separator = None;
    let mut at = start;
    loop {
        let Some(byte) = text.at(at) else {
            return if may_continue(&groups[..=group], &digits[..count]) { Number::Live } else { best };
        };
        if byte.is_ascii_digit() {
            if count == DIGITS_MAX {
                return best;
            }
            digits[count] = byte - b'0';
            count += 1;
            groups[group] += 1;
            at += 1;
            continue;
        }
        if !is_word(byte) && is_valid(&groups[..=group], &digits[..count]) {
            best = Number::End(at);
        }
        let may_join = is_separator(byte) && separator.is_none_or(|one| one == byte);
        if !may_join || group + 1 == GROUPS_MAX || !group_may_follow(&groups[..=group]) {
            return best;
        }
        match text.at(at + 1) {
            None if issuer_may_match(&digits[..count]) => return Number::Live,
            Some(next) if next.is_ascii_digit() => {}
            _ => return best,
        }
        separator = Some(byte);
        group += 1;
        at += 1;
    }
}

fn is_valid(groups: &[u8], digits: &[u8]) -> bool {
    let fits = |shape: &&[(u8, u8)]| {
        shape.len() == groups.len()
            && shape.iter().zip(groups).all(|((low, high), group)| (low..=high).contains(&group))
    };
    digits.len() >= DIGITS_MIN
        && SHAPES.iter().any(fits)
        && digits.iter().any(|digit| *digit != digits[0])
        && issuer_matches(digits)
        && check_digit_is_right(digits)
}

/// Whether more digits or groups may make a valid number of these: all groups are whole but the last.
fn may_continue(groups: &[u8], digits: &[u8]) -> bool {
    let Some((last, whole)) = groups.split_last() else { return true };
    let fits = |shape: &&[(u8, u8)]| {
        shape.len() >= groups.len()
            && shape.iter().zip(whole).all(|((low, high), group)| (low..=high).contains(&group))
            && *last <= shape[groups.len() - 1].1
    };
    SHAPES.iter().any(fits) && issuer_may_match(digits)
}

/// Whether a grouping goes on behind these whole groups.
fn group_may_follow(groups: &[u8]) -> bool {
    SHAPES.iter().any(|shape| {
        shape.len() > groups.len()
            && shape.iter().zip(groups).all(|((low, high), group)| (low..=high).contains(&group))
    })
}

fn issuer_matches(digits: &[u8]) -> bool {
    ISSUERS.iter().any(|(low, high, lengths)| {
        let prefix = value(&digits[..low.ilog10() as usize + 1]);
        (low..=high).contains(&&prefix) && lengths.iter().any(|length| length.contains(&digits.len()))
    })
}

/// Whether a number that begins with these digits may be of a known issuer.
fn issuer_may_match(digits: &[u8]) -> bool {
    ISSUERS.iter().any(|(low, high, _)| {
        let length = low.ilog10() as usize + 1;
        let known = digits.len().min(length);
        let missing = 10u32.pow((length - known) as u32);
        let prefix = value(&digits[..known]);
        (low / missing..=high / missing).contains(&prefix)
    })
}

fn value(digits: &[u8]) -> u32 {
    digits.iter().fold(0, |value, digit| value * 10 + u32::from(*digit))
}

/// ISO/IEC 7812-1 annex B, "Luhn".
fn check_digit_is_right(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| match (place % 2, u32::from(*digit)) {
            (0, digit) => digit,
            (_, digit @ 0..5) => digit * 2,
            (_, digit) => digit * 2 - 9,
        })
        .sum();
    sum % 10 == 0
}
