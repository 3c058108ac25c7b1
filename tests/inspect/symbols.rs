//! A body as the oracle reads it: symbols, each with the received bytes it stands for.

use crate::folded::folded;

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

/// A text with the characters that stand for ASCII ones as these.
pub fn fold(text: Vec<Symbol>) -> Vec<Symbol> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let found = (2..=3).find_map(|length| {
            let symbols = text.get(at..at + length)?;
            let bytes: Vec<u8> =
                symbols.iter().map(|one| u8::try_from(one.value)).collect::<Result<_, _>>().ok()?;
            let char = std::str::from_utf8(&bytes).ok()?.chars().next().filter(|char| !char.is_ascii())?;
            let ascii = folded(char);
            let (first, last) = (symbols[0], symbols[length - 1]);
            let symbol = Symbol { value: ascii as u16, start: first.start, end: last.end };
            ascii.is_ascii().then_some((symbol, length))
        });
        let (symbol, length) = found.unwrap_or((text[at], 1));
        out.push(symbol);
        at += length;
    }
    out
}

fn code_unit(digits: &[u8]) -> Option<u16> {
    let digits = digits.get(..4)?;
    digits.iter().all(u8::is_ascii_hexdigit).then_some(())?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}
