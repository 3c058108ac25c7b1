//! What is known of a masked value, gathered while it streams: enough to write any mask, and never more than
//! the last few bytes of it.

use super::codec::Codec;
use super::spell::unquoted;
use super::token::{SessionTokens, Token};

/// The last characters of a kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Last {
    bytes: [u8; Value::LAST],
    /// How many of them there are.
    count: usize,
}

impl Last {
    /// Adds those of `bytes` that are of the kind; only the last of them are looked for.
    fn extend(&mut self, bytes: impl DoubleEndedIterator<Item = u8>, is_of_kind: impl Fn(u8) -> bool) {
        let mut found = [0; Value::LAST];
        let mut first = Value::LAST;
        for byte in bytes.rev().filter(|byte| is_of_kind(*byte)).take(Value::LAST) {
            first -= 1;
            found[first] = byte;
        }
        self.bytes.rotate_left(Value::LAST - first);
        self.bytes[first..].copy_from_slice(&found[first..]);
        self.count = (self.count + Value::LAST - first).min(Value::LAST);
    }
}

/// A masked value.
#[derive(Clone, Debug, Default)]
pub struct Value {
    length: usize,
    /// Whether its last characters are gathered: to look for them costs more than all else.
    keeps_last: bool,
    digits: Last,
    graphic: Last,
    /// Boxed: a thousand bytes that hardly a rule needs, in something made for each match.
    token: Option<Box<Token>>,
}

impl Value {
    /// As many of the last characters are kept.
    const LAST: usize = 4;
    /// A value of fewer bytes shows none of them.
    const SHOWN_BYTES_MIN: usize = 8;

    /// A value of which no byte is known; with `tokens` it gets one. `keeps_last`: whether
    /// [`Value::last4`] is asked for.
    pub fn new(tokens: Option<&SessionTokens>, keeps_last: bool) -> Value {
        let token = tokens.map(|tokens| Box::new(tokens.begin()));
        Value { token, keeps_last, ..Value::default() }
    }

    /// Adds the next bytes of the value, as text.
    pub fn add(&mut self, codec: Codec, bytes: &[u8]) {
        self.length += bytes.len();
        if let Some(token) = &mut self.token {
            token.add(bytes);
        }
        if !self.keeps_last {
            return;
        }
        self.digits.extend(bytes.iter().copied(), |byte| byte.is_ascii_digit());
        // A quote that ends a string of a JSON value says nothing of it.
        let said = bytes.iter().filter(|byte| !codec.is_json() || **byte != b'"');
        self.graphic.extend(said.map(|byte| unquoted(codec, *byte)), |byte| byte.is_ascii_graphic());
    }

    /// Its token; `None` if it gets none.
    pub fn token(&self) -> Option<String> {
        self.token.as_ref()?.finish()
    }

    /// Its length in text bytes.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Its last four digits, or its last four ASCII characters where it has fewer digits; nothing of a short
    /// value.
    pub fn last4(&self) -> &[u8] {
        let last = if self.digits.count >= Self::LAST { &self.digits } else { &self.graphic };
        match self.length {
            0..Self::SHOWN_BYTES_MIN => &[],
            _ => &last.bytes[Self::LAST - last.count..],
        }
    }
}
