//! How a mask is written into the place of a match, so that the document around it stays what it was.

use super::codec::{Codec, quote};
use super::detect::{Found, Text};
use super::rule::{Replacement, Rule};

/// Appends the mask of `found` to `out`, spelled for its place; a same-length mask has `length` bytes.
///
/// In a JSON string the mask is escaped. Outside of strings, where `JSON` has only numbers, `true`, `false`
/// and `null`, it becomes a string of its own, or as many nines where the length must stay or the match is
/// only a part of a number.
pub fn mask(codec: Codec, text: &Text, found: Found, length: usize, rule: &Rule, out: &mut Vec<u8>) {
    let bytes = &text.bytes[found.start..found.end];
    let bare = codec.is_json() && !text.in_string(found.start);
    let number = bytes.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'));
    let token = bare && is_edge(text.before(found.start, 1)) && is_edge(text.at(found.end).unwrap_or(0));
    let same_length = rule.replace == Replacement::Asterisks;
    if bare && ((token && same_length) || (!token && number)) {
        out.resize(out.len() + length, b'9');
        return;
    }
    let mut plain = Vec::new();
    let replaced = read_quotes(codec, bytes);
    rule.replace.render(rule, replaced.as_deref().unwrap_or(bytes), length, &mut plain);
    if codec == Codec::Plain {
        out.extend_from_slice(&plain);
        return;
    }
    let mut spelled = Vec::with_capacity(plain.len() + 8);
    if token {
        spelled.push(b'"');
        quote(&plain, &mut spelled);
        spelled.push(b'"');
    } else {
        quote(&plain, &mut spelled);
    }
    match codec {
        Codec::QuotedJson => quote(&spelled, out),
        _ => out.extend_from_slice(&spelled),
    }
}

/// What stands beside a whole token of JSON: structure, white space, or an end.
fn is_edge(byte: u8) -> bool {
    matches!(byte, 0 | b' ' | b'\t' | b'\n' | b'\r' | b'{' | b'}' | b'[' | b']' | b':' | b',' | b'"')
}

/// The match with its escaped quotes as quotes.
fn read_quotes(codec: Codec, bytes: &[u8]) -> Option<Vec<u8>> {
    use super::codec::ESCAPED_QUOTE;
    let any = codec.is_json() && bytes.contains(&ESCAPED_QUOTE);
    any.then(|| bytes.iter().map(|byte| if *byte == ESCAPED_QUOTE { b'"' } else { *byte }).collect())
}
