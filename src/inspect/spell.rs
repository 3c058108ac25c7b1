//! How a mask is written into the place of a match, so that the document around it stays what it was.

use super::codec::{Codec, ESCAPED_QUOTE, percent, quote};
use super::detect::{Extent, Found, RANDOM_BYTES_MIN, Text};
use super::rule::{Replacement, Rule};
use super::value::Value;

/// Where in a document a match stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// In text, or in a string; or where JSON has nothing that could be kept what it is.
    #[default]
    Text,
    /// Outside of strings, where JSON has only numbers, `true`, `false` and `null`; it is a whole one.
    Token,
    /// Outside of strings, a part of a number.
    Number,
}

/// Of a match without a bound so many bytes say whether it is a number: each has them when it is confirmed,
/// however its text was cut.
const NUMBER_BYTES: usize = RANDOM_BYTES_MIN;

impl Place {
    /// The place of `found`. A match without a bound is a whole token only as a JSON value: the end
    /// of others is not known.
    pub fn of(codec: Codec, text: &Text, found: Found) -> Place {
        let in_string = matches!(found.extent, Extent::String | Extent::Document);
        if !codec.is_json() || in_string || text.in_string(found.start) {
            return Place::Text;
        }
        let bytes = &text.bytes[found.start..found.end];
        let is_number = |bytes: &[u8]| bytes.iter().all(|byte| b"0123456789+-.eE".contains(byte));
        match found.extent {
            Extent::JsonValue => Place::Token,
            Extent::Bounded if is_alone(text, found) => Place::Token,
            Extent::Bounded if is_number(bytes) => Place::Number,
            Extent::Unbounded if is_number(&bytes[..bytes.len().min(NUMBER_BYTES)]) => Place::Number,
            _ => Place::Text,
        }
    }
}

/// Appends the mask of `value`, or, unless it `ends`, what a part of `length` bytes gives already; a
/// same-length mask has `length` bytes.
///
/// In a JSON string the mask is escaped. Outside of strings it becomes a string of its own, or as many nines
/// where the length must stay or the match is only a part of a number.
pub fn mask(
    codec: Codec,
    place: Place,
    value: &Value,
    length: usize,
    ends: bool,
    rule: &Rule,
    out: &mut Vec<u8>,
) {
    let same_length = rule.replace == Replacement::Asterisks;
    let nines = match place {
        Place::Text => false,
        Place::Token => same_length,
        Place::Number => true,
    };
    if nines {
        out.resize(out.len() + length, b'9');
        return;
    }
    if same_length {
        out.resize(out.len() + length, b'*');
        return;
    }
    if !ends {
        return;
    }
    if rule.replace == Replacement::Null {
        out.extend_from_slice(b"null");
        return;
    }
    let start = out.len();
    let has_quotes = place == Place::Token && !matches!(codec, Codec::Plain | Codec::Form);
    out.extend(has_quotes.then_some(b'"'));
    let inside = out.len();
    rule.replace.render(rule, value, out);
    match codec {
        Codec::Plain => {}
        Codec::Form => respell(out, start, percent),
        Codec::Json | Codec::Quoted | Codec::QuotedJson => quote_from(out, inside),
    }
    out.extend(has_quotes.then_some(b'"'));
    if codec == Codec::QuotedJson {
        quote_from(out, start);
    }
}

/// Spells what stands in `out` from `start` on as the inside of a JSON string. Hardly a mask has to be
/// written anew for that.
fn quote_from(out: &mut Vec<u8>, start: usize) {
    if out[start..].iter().any(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)) {
        respell(out, start, quote);
    }
}

fn respell(out: &mut Vec<u8>, start: usize, spell: fn(&[u8], &mut Vec<u8>)) {
    let plain = out.split_off(start);
    spell(&plain, out);
}

/// Whether only what stands beside a whole token of JSON is beside a match: structure, white space, or an
/// end.
fn is_alone(text: &Text, found: Found) -> bool {
    let is_edge = |byte: u8| b"\0 \t\n\r{}[]:,\"".contains(&byte) || text.is_document_end(byte);
    is_edge(text.before(found.start, 1)) && is_edge(text.at(found.end).unwrap_or(0))
}

/// The text of a match with its escaped quotes as quotes.
pub fn unquoted(codec: Codec, byte: u8) -> u8 {
    if byte == ESCAPED_QUOTE && codec.is_json() { b'"' } else { byte }
}
