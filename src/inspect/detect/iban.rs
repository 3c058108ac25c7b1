//! International bank account numbers (ISO 13616): the length of the country, and a check number modulo 97;
//! in one piece or in groups of four with single spaces.
//!
//! Lengths: SWIFT IBAN Registry, release 100, and its list of territories.

use super::{Outcome, Text};

/// Countries by the length of their numbers.
const COUNTRIES: &[(u8, &str)] = &[
    (15, "NO"),
    (16, "BE"),
    (18, "AX DK FI FK FO GL NL SD"),
    (19, "MK SI"),
    (20, "AT BA EE KZ LT LU MN XK"),
    (21, "CH HR LI LV"),
    (22, "BG BH CR DE GB GE GG IE IM JE ME RS VA"),
    (23, "AE GI IL IQ OM SO TL"),
    (24, "AD CZ ES MD PK RO SA SE SK TN VG"),
    (25, "LY PT ST"),
    (26, "IS TR"),
    (27, "BI BL DJ FR GF GP GR IT MC MF MQ MR NC PF PM RE SM TF WF YT"),
    (28, "AL AZ BY CY DO GT HN HU LB NI PL SV"),
    (29, "BR EG PS QA UA"),
    (30, "JO KW MU YE"),
    (31, "MT SC"),
    (32, "LC"),
    (33, "RU"),
];

/// Length by both letters of a country; 0 where there is none.
static LENGTHS: [[u8; 26]; 26] = {
    let mut lengths = [[0; 26]; 26];
    let mut row = 0;
    while row < COUNTRIES.len() {
        let names = COUNTRIES[row].1.as_bytes();
        let mut at = 0;
        while at < names.len() {
            lengths[(names[at] - b'A') as usize][(names[at + 1] - b'A') as usize] = COUNTRIES[row].0;
            at += 3;
        }
        row += 1;
    }
    lengths
};

/// What begins at `start`.
pub fn at(text: &Text, start: usize, rule: u16) -> Option<Outcome> {
    let first = text.bytes[start];
    if !first.is_ascii_uppercase() || !text.key_may_start(start) {
        return None;
    }
    let Some(second) = text.at(start + 1) else { return Some(Outcome::Live) };
    if !second.is_ascii_uppercase() {
        return None;
    }
    let length = LENGTHS[usize::from(first - b'A')][usize::from(second - b'A')];
    let (mut rest, mut head) = (0, 0);
    let mut at = start;
    let mut count = 0;
    while count < length {
        let Some(byte) = text.at(at) else { return Some(Outcome::Live) };
        at += 1;
        match (count, byte) {
            (2 | 3, b'0'..=b'9') | (0 | 1, _) | (4.., b'0'..=b'9' | b'A'..=b'Z') => {}
            (4.., b' ') if count % 4 == 0 && text.bytes[at - 2] != b' ' => continue,
            _ => return None,
        }
        let (places, value) = match byte {
            b'0'..=b'9' => (10, u32::from(byte - b'0')),
            _ => (100, u32::from(byte - b'A') + 10),
        };
        // The first four stand behind the others when the number is divided.
        if count < 4 {
            head = head * places + value;
        } else {
            rest = (rest * places + value) % 97;
        }
        count += 1;
    }
    // The head is two letters and two digits: six decimal places.
    if length == 0 || (rest * 1_000_000 + head) % 97 != 1 {
        return None;
    }
    match text.at(at) {
        None => Some(Outcome::Live),
        Some(next) if next.is_ascii_alphanumeric() => None,
        Some(_) => Some(Outcome::Match { end: at, rule }),
    }
}
