use super::{Form, SEPARATOR};
use crate::limits::ECHO_PIECE_BYTES;
use zeroize::Zeroizing;

/// All spellings of some values.
#[derive(Default)]
pub struct Spellings {
    /// Each with a separator behind it.
    pub text: Zeroizing<Vec<u8>>,
    /// Where they lie, in order.
    pub forms: Vec<Form>,
}

const LOWER: &[u8; 16] = b"0123456789abcdef";
const UPPER: &[u8; 16] = b"0123456789ABCDEF";
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const BASE64_URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// Characters of base64 that depend on nothing but a piece, at any of the three offsets.
const BASE64_PIECE_BYTES: usize = (ECHO_PIECE_BYTES * 8 - 4) / 6;

impl Spellings {
    /// Adds all spellings of `value`, unless it is too short.
    pub fn add(&mut self, value: &[u8]) {
        let value = &value[public_bytes(value)..];
        if value.len() < ECHO_PIECE_BYTES {
            return;
        }
        self.escaped(value, ECHO_PIECE_BYTES);
        for digits in [LOWER, UPPER] {
            let hex = each(value, |byte, out| out.extend(hex(byte, digits)));
            self.form(&hex, 2 * ECHO_PIECE_BYTES);
            let percent = each(value, |byte, out| percent(byte, digits, out));
            self.form(&percent, 3 * ECHO_PIECE_BYTES);
        }
        for alphabet in [BASE64, BASE64_URL] {
            for offset in 0..3 {
                self.escaped(&base64(value, offset, alphabet), BASE64_PIECE_BYTES);
            }
        }
        if let Ok(text) = std::str::from_utf8(value) {
            let wide = |order: fn(u16) -> [u8; 2]| {
                let bytes: Vec<u8> = text.encode_utf16().flat_map(order).collect();
                Zeroizing::new(bytes)
            };
            self.form(&wide(u16::to_le_bytes), 2 * ECHO_PIECE_BYTES);
            self.form(&wide(u16::to_be_bytes), 2 * ECHO_PIECE_BYTES);
        }
    }

    /// Adds `value` as it is, and as it looks in URLs, JSON and HTML.
    fn escaped(&mut self, value: &[u8], piece: usize) {
        self.form(value, piece);
        for digits in [LOWER, UPPER] {
            let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
            let url = |space: &'static [u8]| {
                each(value, |byte, out| match byte {
                    b' ' => out.extend_from_slice(space),
                    byte if unreserved(byte) => out.push(byte),
                    byte => percent(byte, digits, out),
                })
            };
            self.form(&url(b"%20"), piece);
            self.form(&url(b"+"), piece);
            // Writers differ in what they escape beside what they must (RFC 8259 section 7).
            for extra in [&b""[..], b"<>&", b"<>&'+\"", b"<>&'+\"/=`"] {
                self.form(&json(value, extra, digits), piece);
            }
        }
        for style in HTML {
            self.form(&html(value, style), piece);
        }
        let slashed = each(value, |byte, out| match byte {
            b'/' => out.extend_from_slice(b"\\/"),
            byte => json_byte(byte, b"", LOWER, out),
        });
        self.form(&slashed, piece);
        // JSON within a string of JSON.
        let once = json(value, b"", LOWER);
        self.form(&json(&once, b"", LOWER), piece);
    }

    fn form(&mut self, spelled: &[u8], piece: usize) {
        let is_known = |form: &Form| &self.text[form.start as usize..form.end as usize] == spelled;
        if spelled.len() < piece || self.forms.iter().any(is_known) {
            return;
        }
        // Growing by itself the vector would leave copies behind that are not wiped.
        if self.text.capacity() - self.text.len() <= spelled.len() {
            let mut grown = Zeroizing::new(Vec::with_capacity((self.text.len() + spelled.len() + 1) * 2));
            grown.extend_from_slice(&self.text);
            self.text = grown;
        }
        let start = self.text.len() as u32;
        self.text.extend_from_slice(spelled);
        self.forms.push(Form { start, end: self.text.len() as u32, piece: piece as u8 });
        self.text.push(SEPARATOR);
    }
}

/// Bytes in front that say nothing: the header of a JWT is the same for all tokens of an issuer (and its
/// claims begin as all JSON does), and keys begin with the name of their kind. A piece has one byte more.
fn public_bytes(value: &[u8]) -> usize {
    let public = if value.starts_with(b"eyJ") {
        memchr::memmem::find(value, b".eyJ").map_or(0, |dot| dot + 4)
    } else if let Some(rest) = value.strip_prefix(b"sk-ant-") {
        rest.iter().take(8).position(|byte| *byte == b'-').map_or(0, |dash| dash + 8)
    } else {
        0
    };
    let left_out = public.saturating_sub(ECHO_PIECE_BYTES - 1);
    if value.len() - left_out < ECHO_PIECE_BYTES { 0 } else { left_out }
}

fn each(value: &[u8], spell: impl Fn(u8, &mut Vec<u8>)) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(value.len() * 6));
    value.iter().for_each(|byte| spell(*byte, &mut out));
    out
}

fn hex(byte: u8, digits: &[u8; 16]) -> [u8; 2] {
    [digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]]
}

fn percent(byte: u8, digits: &[u8; 16], out: &mut Vec<u8>) {
    out.push(b'%');
    out.extend(hex(byte, digits));
}

/// A string of JSON; those of `extra` are escaped by their number.
fn json(value: &[u8], extra: &[u8], digits: &[u8; 16]) -> Zeroizing<Vec<u8>> {
    each(value, |byte, out| json_byte(byte, extra, digits, out))
}

fn json_byte(byte: u8, extra: &[u8], digits: &[u8; 16], out: &mut Vec<u8>) {
    match byte {
        byte if extra.contains(&byte) => {
            out.extend_from_slice(b"\\u00");
            out.extend(hex(byte, digits));
        }
        b'"' | b'\\' => out.extend([b'\\', byte]),
        b'\t' => out.extend_from_slice(b"\\t"),
        byte => out.push(byte),
    }
}

/// How a writer of HTML spells the two quotes, and which other characters it spells by what number.
type Html = (&'static str, &'static str, &'static [(u8, &'static str)]);

/// The styles of the usual libraries and template engines.
const HTML: &[Html] = &[
    ("\"", "'", &[]),
    ("&quot;", "'", &[]),
    ("&quot;", "&apos;", &[]),
    ("&quot;", "&#39;", &[]),
    ("&quot;", "&#039;", &[]),
    ("&quot;", "&#x27;", &[]),
    ("&quot;", "&#x27;", &[(b'/', "&#x2F;")]),
    ("&quot;", "&#x27;", &[(b'/', "&#x2f;")]),
    ("&quot;", "&#x27;", &[(b'=', "&#x3D;"), (b'`', "&#x60;")]),
    ("&quot;", "&#39;", &[(b'/', "&#x2F;"), (b'=', "&#x3D;"), (b'`', "&#x60;")]),
    ("&#34;", "&#39;", &[]),
    ("&#34;", "&#39;", &[(b'+', "&#43;")]),
    ("&#34;", "&#39;", &[(b'/', "&#47;"), (b'=', "&#61;"), (b'`', "&#96;"), (b'+', "&#43;")]),
    ("&#x22;", "&#x27;", &[(b'/', "&#x2F;"), (b'=', "&#x3D;"), (b'`', "&#x60;"), (b'+', "&#x2B;")]),
];

/// Text or an attribute of HTML (section 13.1.4 of its standard).
fn html(value: &[u8], (quote, apostrophe, others): &Html) -> Zeroizing<Vec<u8>> {
    each(value, |byte, out| match (byte, others.iter().find(|(other, _)| *other == byte)) {
        (_, Some((_, spelled))) => out.extend_from_slice(spelled.as_bytes()),
        (b'&', _) => out.extend_from_slice(b"&amp;"),
        (b'<', _) => out.extend_from_slice(b"&lt;"),
        (b'>', _) => out.extend_from_slice(b"&gt;"),
        (b'"', _) => out.extend_from_slice(quote.as_bytes()),
        (b'\'', _) => out.extend_from_slice(apostrophe.as_bytes()),
        _ => out.push(byte),
    })
}

/// Base64 (RFC 4648 sections 4 and 5) of `value` behind `offset` other bytes: the characters that depend on
/// nothing but the value.
fn base64(value: &[u8], offset: usize, alphabet: &[u8; 64]) -> Zeroizing<Vec<u8>> {
    let bits = value.len() * 8;
    let bit = |at: usize| value[at / 8] >> (7 - at % 8) & 1;
    // The first bit of the first character that holds none of the bytes in front.
    let first = (6 - offset * 8 % 6) % 6;
    let mut out = Zeroizing::new(Vec::with_capacity(bits / 6 + 1));
    let mut at = first;
    while at + 6 <= bits {
        let index = (at..at + 6).fold(0, |index, at| index << 1 | bit(at));
        out.push(alphabet[usize::from(index)]);
        at += 6;
    }
    out
}
