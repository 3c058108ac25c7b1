use crate::time::Timestamp;
use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasherDefault, Hasher},
    str::FromStr,
};

/// Crockford's base 32: no I, L, O, U, so that an id survives being read aloud.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// What every printed id begins with.
const PREFIX: &str = "req_";
/// 128 bits in digits of 5 bits.
const DIGITS: usize = 26;

/// The name of one exchange, everywhere: reply headers, records, logs. 48 bits of Unix milliseconds, then 80
/// random bits, so that ids sort by time (the layout of a ULID).
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExchangeId(pub [u8; 16]);

/// A map by exchange ids. They are drawn by the gateway: nobody can choose such that collide.
pub type ByExchange<T> = HashMap<ExchangeId, T, BuildHasherDefault<RandomPart>>;

/// Hashes an id by its random bytes, as they are.
#[derive(Clone, Copy, Debug, Default)]
pub struct RandomPart(u64);

impl Hasher for RandomPart {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.last_chunk().map_or(self.0, |last| u64::from_le_bytes(*last));
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// A text that is no exchange id; whoever typed it is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a request id: want req_ and 26 characters of 0-9, A-Z without I, L, O, U")]
pub struct IdError;

impl ExchangeId {
    /// An id for an exchange that began at `at`. The caller draws `random` from a strong source.
    pub fn new(at: Timestamp, random: [u8; 10]) -> ExchangeId {
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&(at.0 / 1_000).to_be_bytes()[2..]);
        bytes[6..].copy_from_slice(&random);
        ExchangeId(bytes)
    }

    /// The printed form on the stack: `req_` and 26 characters, all ASCII.
    pub fn to_ascii(self) -> [u8; 30] {
        let mut text = [0; PREFIX.len() + DIGITS];
        text[..PREFIX.len()].copy_from_slice(PREFIX.as_bytes());
        let mut rest = u128::from_be_bytes(self.0);
        for digit in text[PREFIX.len()..].iter_mut().rev() {
            *digit = ALPHABET[(rest & 31) as usize];
            rest >>= 5;
        }
        text
    }
}

/// `req_01KAJ3…`: the form that people and headers carry.
impl fmt::Display for ExchangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.to_ascii();
        // The alphabet is ASCII, so the text always is UTF-8.
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for ExchangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Reads the printed form; letters in any case. `Err` when it is something else.
impl FromStr for ExchangeId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<ExchangeId, IdError> {
        let digits = text.strip_prefix(PREFIX).ok_or(IdError)?.as_bytes();
        // 26 digits hold 130 bits: the first one may use only 3 of its 5.
        if digits.len() != DIGITS || !(b'0'..=b'7').contains(&digits[0]) {
            return Err(IdError);
        }
        let mut value: u128 = 0;
        for byte in digits {
            let upper = byte.to_ascii_uppercase();
            let digit = ALPHABET.iter().position(|a| *a == upper).ok_or(IdError)?;
            value = value << 5 | digit as u128;
        }
        Ok(ExchangeId(value.to_be_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_print_and_parse() {
        let cases = [
            ([0; 16], "req_00000000000000000000000000"),
            ([0xff; 16], "req_7ZZZZZZZZZZZZZZZZZZZZZZZZZ"),
            (ExchangeId::new(Timestamp(1_469_922_850_259_000), [0; 10]).0, "req_01ARZ3NDEK0000000000000000"),
        ];
        for (bytes, text) in cases {
            assert_eq!(ExchangeId(bytes).to_string(), text);
            assert_eq!(text.parse(), Ok(ExchangeId(bytes)));
            assert_eq!(text.to_ascii_lowercase().parse(), Ok(ExchangeId(bytes)));
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "req_",
            "01ARZ3NDEK0000000000000000",
            "req_8ZZZZZZZZZZZZZZZZZZZZZZZZZ",
            "req_0000000000000000000000000U",
        ] {
            assert_eq!(text.parse::<ExchangeId>(), Err(IdError), "{text}");
        }
    }

    #[test]
    fn later_ids_sort_behind_earlier_ones() {
        let early = ExchangeId::new(Timestamp(1_000_000), [0xff; 10]);
        let late = ExchangeId::new(Timestamp(1_001_000), [0; 10]);
        assert!(early < late && early.to_string() < late.to_string());
    }
}
