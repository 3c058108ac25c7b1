//! From received bytes to the text that the detectors read, and back.
//!
//! A window of received bytes without a backslash *is* its text, in every grammar: it is never copied. Only
//! a window with escapes, or with characters that [`super::fold`] reads otherwise, is decoded into scratch
//! memory, with a map of the places where text and received bytes run apart.
//!
//! In the text of a JSON document a quote is a hard separator (no value reaches over it), therefore an
//! escaped quote decodes to [`ESCAPED_QUOTE`] there, and that character itself to its neighbour.

use super::fold::{self, Allowance, Fold};
use std::ops::Range;

/// What an escaped quote becomes in the text of a JSON document: a character that no literal may hold.
pub const ESCAPED_QUOTE: u8 = 0x1f;
/// What the quotes around a document inside of a document become, see [`super::nested`].
pub const DOCUMENT_OPEN: u8 = 0x1c;
/// The closing one.
pub const DOCUMENT_CLOSE: u8 = 0x1d;
/// What an escaped U+001F becomes there: another separator of information, which detectors know as little.
const UNIT_SEPARATOR: u8 = 0x1e;

/// How a logical value is spelled in the received bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// As it is.
    Plain,
    /// A JSON document: strings and what stands between them.
    Json,
    /// The inside of a JSON string.
    Quoted,
    /// A JSON document inside of a JSON string.
    QuotedJson,
    /// A form (`application/x-www-form-urlencoded`), or a URL: `%XX` is a byte, `+` a space.
    Form,
}

impl Codec {
    /// Whether the text is that of a JSON document, with quotes as separators.
    pub fn is_json(self) -> bool {
        matches!(self, Codec::Json | Codec::QuotedJson)
    }

    /// Whether the text of `raw` may be another one than its bytes.
    pub fn has_escapes(self, raw: &[u8]) -> bool {
        let is_folded = || fold::find(raw, 0, raw.len()).is_some();
        match self {
            Codec::Plain => is_folded(),
            Codec::Form => memchr::memchr2(b'%', b'+', raw).is_some(),
            Codec::Json | Codec::Quoted | Codec::QuotedJson => {
                memchr::memchr(b'\\', raw).is_some() || is_folded()
            }
        }
    }
}

/// Where text and received bytes run apart. Between two breaks they run in parallel, except for the unit
/// that begins at a break: one escape and the bytes it stands for.
#[derive(Debug, Default)]
pub struct Map {
    breaks: Vec<Break>,
    /// What may be left out at the beginning of the text, and at its end.
    first: Allowance,
    last: Allowance,
    /// Whether one of the breaks stands for no text at all: a character was left out.
    leaves_out: bool,
}

#[derive(Clone, Copy, Debug)]
struct Break {
    /// First text byte of an escape, and of what follows it.
    text: u32,
    text_after: u32,
    raw: u32,
    raw_after: u32,
}

impl Map {
    /// Begins anew, for a text that may leave out what `allowance` says.
    pub fn begin(&mut self, allowance: Allowance) {
        self.breaks.clear();
        (self.first, self.last, self.leaves_out) = (allowance, allowance, false);
    }

    /// Bytes of memory that it holds.
    pub fn held_bytes(&self) -> usize {
        self.breaks.capacity() * size_of::<Break>()
    }

    /// The received position of a text position that begins a unit (or ends the text): behind what was left
    /// out there.
    pub fn to_raw(&self, text: usize) -> usize {
        let after = self.breaks.partition_point(|one| one.text as usize <= text);
        match after.checked_sub(1).map(|last| self.breaks[last]) {
            None => text,
            Some(last) if (last.text_after as usize) > text => last.raw as usize,
            Some(last) => last.raw_after as usize + (text - last.text_after as usize),
        }
    }

    /// The same in front of what was left out there: where the text in front of that position ends.
    pub fn to_raw_end(&self, text: usize) -> usize {
        let after = self.breaks.partition_point(|one| (one.text as usize) < text);
        match after.checked_sub(1).map(|last| self.breaks[last]) {
            None => text,
            Some(last) => last.raw_after as usize + (text - last.text_after as usize),
        }
    }

    /// What may be left out at `text`, whose received position is `raw`.
    pub fn allowance(&self, text: usize, raw: usize) -> Allowance {
        let mut allowance = self.first;
        let in_front = self.breaks.iter().take_while(|one| one.raw_after as usize <= raw);
        for one in in_front.filter(|one| self.leaves_out && one.text == one.text_after) {
            allowance.take(one.text as usize);
        }
        allowance.on(text)
    }

    /// The text position of a received position that begins a unit (or ends the window).
    pub fn to_text(&self, raw: usize) -> usize {
        let after = self.breaks.partition_point(|one| one.raw as usize <= raw);
        match after.checked_sub(1).map(|last| self.breaks[last]) {
            None => raw,
            Some(last) if (last.raw_after as usize) > raw => last.text as usize,
            Some(last) => last.text_after as usize + (raw - last.raw_after as usize),
        }
    }

    fn push(&mut self, text: usize, text_length: usize, raw: usize, raw_length: usize) {
        // Windows are bounded by INSPECT_BLOCK_BYTES or by a policy's body limit, far below 4 GiB.
        self.leaves_out |= text_length == 0;
        self.breaks.push(Break {
            text: text as u32,
            text_after: (text + text_length) as u32,
            raw: raw as u32,
            raw_after: (raw + raw_length) as u32,
        });
    }
}

/// The string's content `raw` without escapes.
pub fn unescaped(raw: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(raw.len());
    decode_escapes(Codec::Quoted, raw, true, false, &mut text, &mut Map::default());
    text
}

/// Decodes `raw` into `text`; returns how many bytes were decoded: all but an escape, or a character, that
/// is cut off at the end, which counts as plain characters if `last`. Characters that stand for ASCII ones
/// become these, and those that nobody sees are left out, as far as the map allows (but in forms).
///
/// What is no escape of RFC 8259 section 7 stands for its own characters; a lone surrogate becomes U+FFFD.
pub fn decode(codec: Codec, raw: &[u8], last: bool, text: &mut Vec<u8>, map: &mut Map) -> usize {
    match codec {
        Codec::Form => decode_form(raw, last, text, map),
        _ => decode_escapes(codec, raw, last, true, text, map),
    }
}

/// [`decode`] of a part of a window that may hold documents in documents; gives the position behind it.
pub fn decode_range(
    codec: Codec,
    raw: &[u8],
    range: Range<usize>,
    last: bool,
    text: &mut Vec<u8>,
    map: &mut Map,
) -> usize {
    let (start, first, breaks) = (range.start, text.len(), map.breaks.len());
    let end = start + decode(codec, &raw[range], last, text, map);
    for one in &mut map.breaks[breaks..] {
        // Windows are far below 4 GiB, see `Map::push`.
        (one.raw, one.raw_after) = (one.raw + start as u32, one.raw_after + start as u32);
    }
    let mut rest = &mut text[first..];
    while let Some(at) = memchr::memchr2(DOCUMENT_OPEN, DOCUMENT_CLOSE, rest) {
        rest[at] = UNIT_SEPARATOR;
        rest = &mut rest[at + 1..];
    }
    end
}

/// Copies `raw[at..end]`, in which there is no escape; gives where it stopped.
fn copy(raw: &[u8], mut at: usize, end: usize, last: bool, text: &mut Vec<u8>, map: &mut Map) -> usize {
    while let Some((found, fold)) = fold::find(raw, at, end) {
        text.extend_from_slice(&raw[at..found]);
        at = found;
        match fold {
            Fold::Char { ascii, length } => {
                map.push(text.len(), 1, at, length);
                text.push(ascii);
                at += length;
            }
            Fold::Invisible { length } => {
                if map.last.take(text.len()) {
                    map.push(text.len(), 0, at, length);
                } else {
                    text.extend_from_slice(&raw[at..at + length]);
                }
                at += length;
            }
            Fold::Cut if last => break,
            Fold::Cut => return at,
        }
    }
    text.extend_from_slice(&raw[at..end]);
    end
}

fn decode_escapes(
    codec: Codec,
    raw: &[u8],
    last: bool,
    folds: bool,
    text: &mut Vec<u8>,
    map: &mut Map,
) -> usize {
    let read = if codec == Codec::QuotedJson { two_levels } else { one_level };
    let is_short = matches!(codec, Codec::Json | Codec::Quoted);
    // Most windows have nothing to fold but what escapes stand for.
    let has_folds = folds && fold::find(raw, 0, raw.len()).is_some();
    let mut at = 0;
    while at < raw.len() {
        if is_short {
            at = short_escapes(codec, raw, at, text, map);
            if at == raw.len() {
                break;
            }
        }
        if raw[at] != b'\\' || codec == Codec::Plain {
            let escape = memchr::memchr(b'\\', &raw[at..]).filter(|_| codec != Codec::Plain);
            let end = escape.map_or(raw.len(), |length| at + length);
            if has_folds {
                at = copy(raw, at, end, last, text, map);
            } else {
                text.extend_from_slice(&raw[at..end]);
                at = end;
            }
            if at < end {
                return at;
            }
            continue;
        }
        let unit = match read(raw, at) {
            Unit::Cut if !last => return at,
            // A character that no escape contains shows what the cut one is worth.
            Unit::Cut => read(&[&raw[at..], b"x"].concat(), 0),
            unit => unit,
        };
        let Unit::Char { char, length, escaped } = unit else { return at };
        let before = text.len();
        match char {
            '"' if escaped && codec.is_json() => text.push(ESCAPED_QUOTE),
            '\u{1f}' if codec.is_json() => text.push(UNIT_SEPARATOR),
            '\0'..='\x7f' => text.push(char as u8),
            _ if let Some(ascii) = fold::fold(char).filter(|_| folds) => text.push(ascii),
            _ if folds && fold::is_invisible(char) && map.last.take(before) => {}
            _ => text.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
        }
        map.push(before, text.len() - before, at, length);
        at += length;
    }
    at
}

/// Decodes escapes of one letter, of one level, and the few bytes between them, until something else comes;
/// gives where it stopped.
fn short_escapes(codec: Codec, raw: &[u8], mut at: usize, text: &mut Vec<u8>, map: &mut Map) -> usize {
    let mut plain = 0;
    while let Some(byte) = raw.get(at) {
        if *byte != b'\\' {
            if plain == SHORT_RUN_BYTES || !byte.is_ascii() {
                return at;
            }
            text.push(*byte);
            (at, plain) = (at + 1, plain + 1);
            continue;
        }
        let char = match raw.get(at + 1) {
            Some(b'"') if codec.is_json() => ESCAPED_QUOTE,
            Some(letter @ (b'"' | b'\\' | b'/')) => *letter,
            Some(b'n') => b'\n',
            Some(b't') => b'\t',
            Some(b'r') => b'\r',
            Some(b'b') => 8,
            Some(b'f') => 12,
            _ => return at,
        };
        map.push(text.len(), 1, at, 2);
        text.push(char);
        (at, plain) = (at + 2, 0);
    }
    at
}

/// Bytes between two escapes that are copied one by one: to look for the next escape costs as much.
const SHORT_RUN_BYTES: usize = 2;

/// [`decode`] of a form (URL standard, section 5.1). What is no escape stands for its own characters.
fn decode_form(raw: &[u8], last: bool, text: &mut Vec<u8>, map: &mut Map) -> usize {
    let hex = |at: usize| raw.get(at).and_then(|digit| (*digit as char).to_digit(16));
    let mut at = 0;
    while at < raw.len() {
        let run = memchr::memchr2(b'%', b'+', &raw[at..]).unwrap_or(raw.len() - at);
        text.extend_from_slice(&raw[at..at + run]);
        at += run;
        let (byte, length) = match (raw.get(at), hex(at + 1), hex(at + 2)) {
            (None, ..) => break,
            (Some(b'+'), ..) => (b' ', 1),
            // Two digits are below 256.
            (Some(_), Some(high), Some(low)) => ((high * 16 + low) as u8, 3),
            (Some(_), high, _) if !last && (at + 1 == raw.len() || high.is_some() && at + 2 == raw.len()) => {
                return at;
            }
            _ => (b'%', 1),
        };
        map.push(text.len(), 1, at, length);
        text.push(byte);
        at += length;
    }
    at
}

/// Appends `plain` to `out` as it is spelled in a form or a URL (RFC 3986 section 2.1).
pub fn percent(plain: &[u8], out: &mut Vec<u8>) {
    for byte in plain {
        if byte.is_ascii_alphanumeric() || b"-_.~*".contains(byte) {
            out.push(*byte);
        } else {
            out.push(b'%');
            out.extend([byte >> 4, byte & 15].map(|nibble| b"0123456789ABCDEF"[nibble as usize]));
        }
    }
}

/// What stands at one position: a character with its length as received, or an escape that is cut off.
/// A byte that is not ASCII and not part of an escape is read as some character that no escape contains.
#[derive(Clone, Copy)]
enum Unit {
    Cut,
    Char { char: char, length: usize, escaped: bool },
}

fn no_level(raw: &[u8], at: usize) -> Unit {
    match raw.get(at) {
        None => Unit::Cut,
        Some(byte) => Unit::Char { char: *byte as char, length: 1, escaped: false },
    }
}

fn one_level(raw: &[u8], at: usize) -> Unit {
    escape(raw, at, no_level)
}

fn two_levels(raw: &[u8], at: usize) -> Unit {
    escape(raw, at, |raw, at| match one_level(raw, at) {
        // For the inner document an escape of the outer one is a plain character.
        Unit::Char { char, length, .. } => Unit::Char { char, length, escaped: false },
        Unit::Cut => Unit::Cut,
    })
}

/// The unit at `at`, where `read` gives the characters that an escape is made of.
fn escape(raw: &[u8], at: usize, read: impl Fn(&[u8], usize) -> Unit) -> Unit {
    let first = read(raw, at);
    let Unit::Char { char: '\\', length: backslash, .. } = first else { return first };
    let Unit::Char { char: letter, length, .. } = read(raw, at + backslash) else { return Unit::Cut };
    let short = backslash + length;
    let escaped = |char, length| Unit::Char { char, length, escaped: true };
    match letter {
        '"' | '\\' | '/' => escaped(letter, short),
        'b' => escaped('\u{8}', short),
        'f' => escaped('\u{c}', short),
        'n' => escaped('\n', short),
        'r' => escaped('\r', short),
        't' => escaped('\t', short),
        'u' => match four_digits(raw, at + short, &read) {
            Digits::Cut => Unit::Cut,
            Digits::None => first,
            Digits::Code(high @ 0xd800..0xdc00, end) => match low_half(raw, end, &read) {
                Digits::Cut => Unit::Cut,
                Digits::None => escaped(char::REPLACEMENT_CHARACTER, end - at),
                Digits::Code(low, end) => {
                    let code = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                    escaped(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), end - at)
                }
            },
            Digits::Code(code, end) => {
                escaped(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), end - at)
            }
        },
        _ => first,
    }
}

enum Digits {
    Cut,
    None,
    /// The code unit and the position behind it.
    Code(u32, usize),
}

fn four_digits(raw: &[u8], mut at: usize, read: &impl Fn(&[u8], usize) -> Unit) -> Digits {
    let mut code = 0;
    for _ in 0..4 {
        let Unit::Char { char, length, .. } = read(raw, at) else { return Digits::Cut };
        let Some(digit) = char.to_digit(16) else { return Digits::None };
        code = code * 16 + digit;
        at += length;
    }
    Digits::Code(code, at)
}

/// The second half of a surrogate pair.
fn low_half(raw: &[u8], mut at: usize, read: &impl Fn(&[u8], usize) -> Unit) -> Digits {
    for wanted in ['\\', 'u'] {
        match read(raw, at) {
            Unit::Cut => return Digits::Cut,
            Unit::Char { char, length, .. } if char == wanted => at += length,
            Unit::Char { .. } => return Digits::None,
        }
    }
    match four_digits(raw, at, read) {
        Digits::Code(low @ 0xdc00..0xe000, end) => Digits::Code(low, end),
        Digits::Code(..) => Digits::None,
        other => other,
    }
}

/// Appends `plain` to `out` as it is spelled inside a JSON string (RFC 8259 section 7).
pub fn quote(plain: &[u8], out: &mut Vec<u8>) {
    for byte in plain {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0..0x20 => {
                out.extend_from_slice(b"\\u00");
                out.extend([byte >> 4, byte & 15].map(|nibble| b"0123456789abcdef"[nibble as usize]));
            }
            _ => out.push(*byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(codec: Codec, raw: &str, expected: &str, decoded: usize) {
        let (mut text, mut map) = (Vec::new(), Map::default());
        let length = decode(codec, raw.as_bytes(), false, &mut text, &mut map);
        assert_eq!((String::from_utf8_lossy(&text).as_ref(), length), (expected, decoded), "{raw}");
        let ends = [(0, 0), (text.len(), length)];
        for (text_at, raw_at) in ends.into_iter().filter(|(text_at, _)| *text_at == 0 || length > 0) {
            assert_eq!(map.to_raw(text_at), raw_at, "{raw}: text {text_at}");
            assert_eq!(map.to_text(raw_at), text_at, "{raw}: raw {raw_at}");
        }
    }

    #[test]
    fn escapes_decode_and_cut_ones_wait() {
        use Codec::*;
        check(Json, r#"{"a":"b\u0040c"}"#, r#"{"a":"b@c"}"#, 16);
        check(Json, r#""a\"b""#, "\"a\u{1f}b\"", 6);
        check(Json, r#""a\u001fb""#, "\"a\u{1e}b\"", 10);
        check(Quoted, r"a\u001fb", "a\u{1f}b", 8);
        check(Quoted, r#"a\"b\u0022"#, "a\"b\"", 10);
        check(QuotedJson, r#"{\"a\":\"b\\u0040\\\"\\\\c\"}"#, "{\"a\":\"b@\u{1f}\\c\"}", 29);
        check(QuotedJson, r"\u005cu0040", "@", 11);
        check(Quoted, r"\ud83d\ude00", "😀", 12);
        check(Quoted, r"\ud83dx", "\u{fffd}x", 7);
        check(Quoted, r"\ud83d\n", "\u{fffd}\n", 8);
        check(Quoted, r"a\", "a", 1);
        check(Quoted, r"a\u00", "a", 1);
        check(Quoted, r"a\ud83d", "a", 1);
        check(Quoted, r"a\ud83d\ude", "a", 1);
        check(QuotedJson, r"a\\", "a", 1);
        check(QuotedJson, r"a\\\", "a", 1);
        check(QuotedJson, r"a\\u00\", "a", 1);
        check(Quoted, r"\x\uzz", r"\x\uzz", 6);
        check(Form, "a=b%40c&d=e+f%2b", "a=b@c&d=e f+", 16);
        check(Form, "100%+%zz%4g", "100% %zz%4g", 11);
        check(Form, "a%", "a", 1);
        check(Form, "a%4", "a", 1);
    }

    #[test]
    fn what_was_left_out_lies_between_two_places_of_the_text() {
        let raw = "1\u{200b}\\u00ad2\u{feff}".as_bytes();
        let (mut text, mut map) = (Vec::new(), Map::default());
        assert_eq!(decode(Codec::Json, raw, false, &mut text, &mut map), raw.len());
        assert_eq!(text, b"12");
        assert_eq!([0, 1, 2].map(|text| map.to_raw(text)), [0, 10, 14]);
        assert_eq!([0, 1, 2].map(|text| map.to_raw_end(text)), [0, 1, 11]);
        assert_eq!([0, 1, 4, 10, 11, 14].map(|raw| map.to_text(raw)), [0, 1, 1, 1, 2, 2]);
        let mut left = Allowance::default();
        assert!(left.take(1) && left.take(1));
        assert_eq!(map.allowance(1, 10), left);
        assert_ne!(map.allowance(1, 1), left);
    }

    #[test]
    fn a_cut_escape_at_the_end_is_plain() {
        for (codec, raw) in [
            (Codec::Json, r"a\u00"),
            (Codec::Quoted, r"a\"),
            (Codec::QuotedJson, r"a\u00"),
            (Codec::Form, "a%4"),
        ] {
            let (mut text, mut map) = (Vec::new(), Map::default());
            let decoded = decode(codec, raw.as_bytes(), true, &mut text, &mut map);
            assert_eq!(decoded, raw.len());
            assert_eq!(text, raw.as_bytes());
        }
    }
}
