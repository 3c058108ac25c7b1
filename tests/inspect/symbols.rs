//! A body as the oracle reads it: symbols, each with the received bytes it stands for.

use crate::folded::{INVISIBLE_MAX, folded, is_invisible};

/// One decoded byte, or a hard separator, with the received bytes it stands for.
#[derive(Clone, Copy, Debug)]
pub struct Symbol {
    pub value: u16,
    pub start: usize,
    pub end: usize,
}

/// An unescaped quote of a JSON document.
pub const SEPARATOR: u16 = 256;
/// Beyond either end.
pub const NOTHING: u16 = 257;

/// The bytes of a text.
pub fn plain(body: &[u8]) -> Vec<Symbol> {
    body.iter()
        .enumerate()
        .map(|(at, byte)| Symbol { value: u16::from(*byte), start: at, end: at + 1 })
        .collect()
}

/// RFC 8259 section 7, by looking at each position afresh.
pub fn decode_json(body: &[u8]) -> Vec<Symbol> {
    let mut text = Vec::new();
    let mut at = 0;
    while at < body.len() {
        let (units, length): (Vec<u16>, usize) = match &body[at..] {
            [b'"', ..] => (vec![SEPARATOR], 1),
            [b'\\', letter @ (b'"' | b'\\' | b'/'), ..] => (vec![u16::from(*letter)], 2),
            [b'\\', b'n', ..] => (vec![10], 2),
            [b'\\', b't', ..] => (vec![9], 2),
            [b'\\', b'r', ..] => (vec![13], 2),
            [b'\\', b'b', ..] => (vec![8], 2),
            [b'\\', b'f', ..] => (vec![12], 2),
            [b'\\', b'u', rest @ ..] => match code_unit(rest) {
                None => (vec![u16::from(b'\\')], 1),
                Some(high) => {
                    let low = match rest.get(4..) {
                        Some([b'\\', b'u', low @ ..]) => code_unit(low),
                        _ => None,
                    };
                    let pair = low.map(|low| String::from_utf16(&[high, low]));
                    match (pair, String::from_utf16(&[high])) {
                        (_, Ok(one)) => (one.bytes().map(u16::from).collect(), 6),
                        (Some(Ok(pair)), _) => (pair.bytes().map(u16::from).collect(), 12),
                        _ => ("\u{fffd}".bytes().map(u16::from).collect(), 6),
                    }
                }
            },
            [byte, ..] => (vec![u16::from(*byte)], 1),
            [] => unreachable!("the loop ends before"),
        };
        text.extend(units.into_iter().map(|value| Symbol { value, start: at, end: at + length }));
        at += length;
    }
    text
}

/// Reads characters as the ASCII ones that they stand for, and leaves out those that nobody sees.
pub fn fold(text: Vec<Symbol>) -> Vec<Symbol> {
    let mut out: Vec<Symbol> = Vec::new();
    let mut at = 0;
    let mut left_out = LeftOut::default();
    while at < text.len() {
        let found = (2..=4).find_map(|length| Some((char_of(text.get(at..at + length)?)?, length)));
        match found {
            Some((char, length)) if is_invisible(char) && left_out.may_be(out.len()) => at += length,
            Some((char, length)) if folded(char) != char => {
                let (start, end) = (text[at].start, text[at + length - 1].end);
                out.push(Symbol { value: folded(char) as u16, start, end });
                at += length;
            }
            _ => {
                let length = found.map_or(1, |(_, length)| length);
                out.extend_from_slice(&text[at..at + length]);
                at += length;
            }
        }
    }
    out
}

/// The one character, which is not ASCII, that these are the bytes of.
fn char_of(symbols: &[Symbol]) -> Option<char> {
    let bytes: Vec<u8> = symbols.iter().map(|one| u8::try_from(one.value)).collect::<Result<_, _>>().ok()?;
    let mut chars = std::str::from_utf8(&bytes).ok()?.chars();
    chars.next().filter(|char| !char.is_ascii() && chars.next().is_none())
}

/// Where characters were left out: between any two places at most [`INVISIBLE_MAX`] more than bytes of text.
#[derive(Default)]
struct LeftOut(Vec<usize>);

impl LeftOut {
    fn may_be(&mut self, at: usize) -> bool {
        let mut others = self.0.iter().rev().enumerate();
        let is_full = others.any(|(between, first)| between + 1 >= INVISIBLE_MAX + (at - first));
        if !is_full {
            self.0.push(at);
        }
        !is_full
    }
}

fn code_unit(digits: &[u8]) -> Option<u16> {
    let digits = digits.get(..4)?;
    digits.iter().all(u8::is_ascii_hexdigit).then_some(())?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}
