//! IPv4 addresses in dotted form, and IPv6 addresses in the text forms of RFC 4291 section 2.2.

use super::class::Class;
use super::{Outcome, Text, is_word};
use std::net::Ipv6Addr;

/// The first octet of an address begins at `start`: four octets without leading zeros, not a part of a longer
/// dotted run.
pub fn v4(text: &Text, start: usize, rule: u16) -> Option<Outcome> {
    if !text.bytes[start].is_ascii_digit() || text.before(start, 1) == b'.' || !text.word_may_start(start) {
        return None;
    }
    let mut at = start;
    for octet in 0..4 {
        let (mut value, mut length) = (0, 0);
        loop {
            let Some(byte) = text.at(at) else { return Some(Outcome::Live) };
            if !byte.is_ascii_digit() {
                break;
            }
            if length == 3 || (length == 1 && value == 0) {
                return None;
            }
            value = value * 10 + u32::from(byte - b'0');
            length += 1;
            at += 1;
        }
        // The byte at `at` was there.
        let next = text.at(at)?;
        if length == 0 || value > 255 || (octet < 3 && next != b'.') {
            return None;
        }
        at += usize::from(octet < 3);
    }
    match (text.at(at), text.at(at + 1)) {
        (Some(next), _) if is_word(next) => None,
        (Some(b'.'), None) => Some(Outcome::Live),
        (Some(b'.'), Some(next)) if is_word(next) => None,
        _ => Some(Outcome::Match { end: at, rule }),
    }
}

const V6: Class = Class::of(b"0123456789abcdefABCDEF:.");
/// Longest form: six groups and an IPv4 address.
const V6_BYTES_MAX: usize = 45;

/// An IPv6 address begins at `start`: as long as it may be, with a digit among its characters, so that paths
/// of programs (`de::Error`) are none.
pub fn v6(text: &Text, start: usize, rule: u16) -> Option<Outcome> {
    let first = text.bytes[start];
    if !V6.has(first) || first == b'.' || matches!(text.before(start, 1), b':' | b'.') {
        return None;
    }
    if !text.word_may_start(start) {
        return None;
    }
    let rest = &text.bytes[start..];
    let length = rest.iter().take(V6_BYTES_MAX + 2).take_while(|byte| V6.has(**byte)).count();
    let run = &rest[..length];
    if length > V6_BYTES_MAX + 1 || !begins_v6(run) {
        return None;
    }
    let Some(next) = text.at(start + length) else { return Some(Outcome::Live) };
    // A sentence may go on with a full stop or a colon.
    let trimmed = match run {
        [front @ .., b'.'] => front,
        [front @ .., b':'] if !front.ends_with(b":") => front,
        _ => run,
    };
    let whole = trimmed.len() < length || !is_word(next);
    let is_address = trimmed.iter().any(u8::is_ascii_digit)
        && std::str::from_utf8(trimmed).is_ok_and(|address| address.parse::<Ipv6Addr>().is_ok());
    (whole && is_address).then_some(Outcome::Match { end: start + trimmed.len(), rule })
}

/// Whether a first group stands there, as far as there is one.
fn begins_v6(run: &[u8]) -> bool {
    match run.iter().position(|byte| !byte.is_ascii_hexdigit()) {
        None => run.len() <= 4,
        Some(0) => run.len() < 2 || run.starts_with(b"::"),
        Some(length) => length <= 4 && run[length] == b':',
    }
}
