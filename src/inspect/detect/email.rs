//! E-mail addresses, found at their `@`.
//!
//! Local part: the run of `A-Z a-z 0-9 . _ % + -` left of the `@`, its last 64 bytes, without leading dots.
//! Domain: up to 254 bytes of labels (letters, digits, hyphens within; up to 63 bytes) between dots; it ends
//! behind the last label, other than the first, that is a top level: 2 to 24 letters, or punycode. Names of
//! pictures (`icon@2x.png`) are no addresses: what their formats are called is no top level.

use super::class::Class;
use super::{Candidate, Outcome, Text};
use crate::limits::{EMAIL_DOMAIN_BYTES_MAX, EMAIL_LOCAL_BYTES_MAX};

const LABEL_BYTES_MAX: usize = 63;
/// Formats of pictures that come in several resolutions; none is a top level in the root zone.
const FORMATS: &[&str] = &["png", "jpg", "jpeg", "gif", "svg", "webp", "avif"];
const TOP_LEVEL_LETTERS: std::ops::RangeInclusive<usize> = 2..=24;

/// The first address, or the first start of what may become one, from `from` on; `signs` are the positions of
/// `@`, of which those in front of number `next` have been looked at.
pub fn find(text: &Text, signs: &[u32], next: &mut usize, from: usize, rule: u16) -> Option<Candidate> {
    while let Some(sign) = signs.get(*next).map(|sign| *sign as usize) {
        // Behind another match less of the local part may be left: a sign that is one is looked at again.
        let outcome = match domain_end(text, sign + 1) {
            _ if sign < from => None,
            Domain::No => None,
            Domain::Live => Some(Outcome::Live),
            Domain::End(end) => Some(Outcome::Match { end, rule }),
        };
        if let Some(outcome) = outcome
            && let Some(start) = local_start(text, from, sign)
        {
            return Some(Candidate { start, outcome });
        }
        *next += 1;
    }
    if text.last {
        return None;
    }
    let start = local_start(text, from, text.bytes.len())?;
    Some(Candidate { start, outcome: Outcome::Live })
}

/// Where the local part that ends at `end` starts, not before `from`.
fn local_start(text: &Text, from: usize, end: usize) -> Option<usize> {
    let earliest = from.max(end.saturating_sub(EMAIL_LOCAL_BYTES_MAX));
    let mut start = text.bytes[earliest..end]
        .iter()
        .rposition(|byte| !is_local(*byte))
        .map_or(earliest, |at| earliest + at + 1);
    start = behind_escape(text, start, end);
    start += text.bytes[start..end].iter().take_while(|byte| **byte == b'.').count();
    (start < end).then_some(start)
}

/// Moves a start that lies in an escape (as it stands in JSON or source code inside of a text) behind it: a
/// mask over a part of it would leave a broken one.
fn behind_escape(text: &Text, start: usize, end: usize) -> usize {
    if !(1..=5).any(|back| text.before(start, back) == b'\\') {
        return start;
    }
    let at = |offset: usize, back: usize| match (start + offset).checked_sub(back) {
        Some(at) if at >= start => text.bytes[at],
        _ => text.before(start, back - offset),
    };
    let is_short = |letter: u8| matches!(letter, b'n' | b't' | b'r' | b'b' | b'f');
    if start < end && at(0, 1) == b'\\' && is_short(at(0, 0)) {
        return start + 1;
    }
    let long = (1..=5).find(|back| {
        start + 6 - back <= end
            && at(0, *back) == b'\\'
            && at(1, *back) == b'u'
            && (2..6).all(|digit| at(digit, *back).is_ascii_hexdigit())
    });
    long.map_or(start, |back| start + 6 - back)
}

enum Domain {
    No,
    Live,
    End(usize),
}

fn domain_end(text: &Text, start: usize) -> Domain {
    let mut best = Domain::No;
    let mut label_start = start;
    loop {
        let rest = &text.bytes[label_start..];
        let length = rest.iter().take(LABEL_BYTES_MAX + 1).take_while(|byte| is_label(**byte)).count();
        let end = label_start + length;
        if end - start > EMAIL_DOMAIN_BYTES_MAX || length > LABEL_BYTES_MAX {
            return best;
        }
        let Some(behind) = text.at(end) else { return Domain::Live };
        let label = &rest[..length];
        if label_start > start
            && let Some(trimmed) = top_level(label)
        {
            best = Domain::End(label_start + trimmed);
        }
        if behind != b'.' || length == 0 || label[0] == b'-' || label[length - 1] == b'-' {
            return best;
        }
        label_start = end + 1;
    }
}

/// The length of a top level label without hyphens behind it (`a@b.com--`).
fn top_level(label: &[u8]) -> Option<usize> {
    let hyphens = label.iter().rev().take_while(|byte| **byte == b'-').count();
    let label = &label[..label.len() - hyphens];
    let letters = TOP_LEVEL_LETTERS.contains(&label.len()) && label.iter().all(u8::is_ascii_alphabetic);
    let is_format = FORMATS.iter().any(|format| label.eq_ignore_ascii_case(format.as_bytes()));
    let punycode = label.len() > 4 && label[..4].eq_ignore_ascii_case(b"xn--");
    ((letters && !is_format) || punycode).then_some(label.len())
}

const LOCAL: Class = Class::of(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz._%+-");
const LABEL: Class = Class::of(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-");

#[inline]
fn is_local(byte: u8) -> bool {
    LOCAL.has(byte)
}

#[inline]
fn is_label(byte: u8) -> bool {
    LABEL.has(byte)
}
