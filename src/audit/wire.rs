use super::ExchangeId;
use crate::time::Timestamp;
use smallvec::SmallVec;
use std::sync::Arc;

/// Why a payload is not one. The writer of the log is at fault, or somebody changed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A field reaches beyond the payload.
    #[error("a field reaches beyond its end")]
    Truncated,
    /// A length or number is not in its one shortest form.
    #[error("field {0}: not in its shortest form")]
    Padded(u8),
    /// A field comes twice or behind a higher one.
    #[error("field {0}: out of order")]
    Order(u8),
    /// A field that must be understood is not known.
    #[error("field {0}: unknown")]
    Unknown(u8),
    /// A required field is not there.
    #[error("field {0}: missing")]
    Missing(u8),
    /// A value is not one of its type.
    #[error("field {0}: bad value")]
    Value(u8),
}

/// Fields from this tag on may be skipped by a reader that does not know them.
const OPTIONAL_TAG_MIN: u8 = 0x80;
/// Bits of a length that one byte carries.
const LENGTH_BITS: u32 = 7;
/// Bytes of a tag and a length at most.
const FIELD_HEAD_BYTES_MAX: usize = 1 + 5;

/// A value with fields: a payload, or a part of one.
pub(super) trait Fields: Sized {
    /// Appends the fields in ascending order of their tags.
    fn write(&self, out: &mut Writer<'_>);
    /// Reads what [`Fields::write`] wrote, strictly.
    fn read(bytes: &[u8]) -> Result<Self, DecodeError>;
}

/// Writes fields: tag, length (LEB128), value. Defaults (zero, empty, `None`) are left out.
pub(super) struct Writer<'a>(pub(super) &'a mut Vec<u8>);

impl Writer<'_> {
    /// Appends one field.
    pub(super) fn bytes(&mut self, tag: u8, value: &[u8]) {
        self.0.reserve(FIELD_HEAD_BYTES_MAX + value.len());
        if value.len() < 1 << LENGTH_BITS {
            self.0.extend_from_slice(&[tag, value.len() as u8]);
        } else {
            self.0.push(tag);
            write_length(self.0, value.len());
        }
        self.0.extend_from_slice(value);
    }

    /// A number in as few little-endian bytes as it needs; zero is left out.
    pub(super) fn number(&mut self, tag: u8, value: u64) {
        if value != 0 {
            self.number_always(tag, value);
        }
    }

    /// A number that is told from an absent one.
    pub(super) fn number_always(&mut self, tag: u8, value: u64) {
        let used = 8 - value.leading_zeros() as usize / 8;
        self.bytes(tag, &value.to_le_bytes()[..used]);
    }

    /// A point in time, as microseconds.
    pub(super) fn time(&mut self, tag: u8, value: Timestamp) {
        self.number(tag, value.0);
    }

    /// A text; an empty one is left out.
    pub(super) fn text(&mut self, tag: u8, value: &str) {
        if !value.is_empty() {
            self.bytes(tag, value.as_bytes());
        }
    }

    /// A text that may be absent; an empty one is written.
    pub(super) fn optional<T: AsRef<str>>(&mut self, tag: u8, value: &Option<T>) {
        if let Some(value) = value {
            self.bytes(tag, value.as_ref().as_bytes());
        }
    }

    /// Texts in their order, one field each.
    pub(super) fn texts(&mut self, tag: u8, values: &[Arc<str>]) {
        for value in values {
            self.bytes(tag, value.as_bytes());
        }
    }

    /// A value with fields of its own.
    pub(super) fn nested(&mut self, tag: u8, write: impl FnOnce(&mut Writer<'_>)) {
        self.0.push(tag);
        let start = self.0.len();
        // Most parts are short: one byte of length is reserved, longer ones move their part.
        self.0.push(0);
        write(&mut Writer(self.0));
        let len = self.0.len() - start - 1;
        if len < 1 << LENGTH_BITS {
            self.0[start] = len as u8;
            return;
        }
        let mut length = SmallVec::<[u8; 8]>::new();
        write_length(&mut length, len);
        let end = self.0.len();
        self.0.resize(end + length.len() - 1, 0);
        self.0.copy_within(start + 1..end, start + length.len());
        self.0[start..start + length.len()].copy_from_slice(&length);
    }

    /// A part with fields of its own, if it is there.
    pub(super) fn part(&mut self, tag: u8, value: Option<&impl Fields>) {
        if let Some(value) = value {
            self.nested(tag, |out| value.write(out));
        }
    }
}

/// Reads the fields of a value in order.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    last: Option<u8>,
    repeated: &'static [u8],
    /// Optional tags that this reader knows.
    known: &'static [u8],
}

impl<'a> Reader<'a> {
    /// A reader that allows the tags in `repeated` more than once.
    pub(super) fn new(bytes: &'a [u8], repeated: &'static [u8]) -> Reader<'a> {
        Reader { rest: bytes, last: None, repeated, known: &[] }
    }

    /// Does not skip the optional tags in `known`.
    pub(super) fn knowing(mut self, known: &'static [u8]) -> Reader<'a> {
        self.known = known;
        self
    }

    /// The next field whose tag must be understood, or is known.
    pub(super) fn next(&mut self) -> Result<Option<(u8, &'a [u8])>, DecodeError> {
        while let Some((tag, rest)) = self.rest.split_first() {
            let (len, rest) = read_length(*tag, rest)?;
            let (value, rest) = rest.split_at_checked(len).ok_or(DecodeError::Truncated)?;
            if self.last.is_some_and(|last| last > *tag || (last == *tag && !self.repeated.contains(tag))) {
                return Err(DecodeError::Order(*tag));
            }
            self.rest = rest;
            self.last = Some(*tag);
            if *tag < OPTIONAL_TAG_MIN || self.known.contains(tag) {
                return Ok(Some((*tag, value)));
            }
        }
        Ok(None)
    }
}

fn write_length(out: &mut impl Extend<u8>, len: usize) {
    let mut rest = len;
    while rest >= 1 << LENGTH_BITS {
        out.extend([rest as u8 | 1 << LENGTH_BITS]);
        rest >>= LENGTH_BITS;
    }
    out.extend([rest as u8]);
}

fn read_length(tag: u8, bytes: &[u8]) -> Result<(usize, &[u8]), DecodeError> {
    let mut len = 0usize;
    // Four bytes carry 28 bits: more than any record has.
    for (index, byte) in bytes.iter().take(4).enumerate() {
        len |= usize::from(byte & 0x7f) << (index as u32 * LENGTH_BITS);
        if byte & 0x80 == 0 {
            let padded = *byte == 0 && index > 0;
            return if padded { Err(DecodeError::Padded(tag)) } else { Ok((len, &bytes[index + 1..])) };
        }
    }
    Err(DecodeError::Truncated)
}

/// A number of at most 8 bytes without leading zeros.
pub(super) fn number(tag: u8, value: &[u8]) -> Result<u64, DecodeError> {
    if value.len() > 8 {
        return Err(DecodeError::Value(tag));
    }
    if value.last() == Some(&0) {
        return Err(DecodeError::Padded(tag));
    }
    let mut bytes = [0; 8];
    bytes[..value.len()].copy_from_slice(value);
    Ok(u64::from_le_bytes(bytes))
}

/// A number that fits into 16 bits.
pub(super) fn short(tag: u8, value: &[u8]) -> Result<u16, DecodeError> {
    u16::try_from(number(tag, value)?).map_err(|_| DecodeError::Value(tag))
}

/// A number that is present although it is left out when zero.
pub(super) fn present(tag: u8, value: &[u8]) -> Result<u64, DecodeError> {
    match number(tag, value)? {
        0 => Err(DecodeError::Padded(tag)),
        value => Ok(value),
    }
}

/// A point in time.
pub(super) fn time(tag: u8, value: &[u8]) -> Result<Timestamp, DecodeError> {
    present(tag, value).map(Timestamp)
}

/// UTF-8 text.
pub(super) fn text(tag: u8, value: &[u8]) -> Result<&str, DecodeError> {
    std::str::from_utf8(value).map_err(|_| DecodeError::Value(tag))
}

/// Exactly `N` bytes.
pub(super) fn array<const N: usize>(tag: u8, value: &[u8]) -> Result<[u8; N], DecodeError> {
    value.try_into().map_err(|_| DecodeError::Value(tag))
}

/// An exchange id.
pub(super) fn id(tag: u8, value: &[u8]) -> Result<ExchangeId, DecodeError> {
    array(tag, value).map(ExchangeId)
}

/// One of an enum's values, by its byte.
pub(super) fn choice<T: Copy>(tag: u8, value: &[u8], all: &[(u8, T)]) -> Result<T, DecodeError> {
    let [byte] = value else { return Err(DecodeError::Value(tag)) };
    all.iter().find(|(code, _)| code == byte).map(|(_, value)| *value).ok_or(DecodeError::Value(tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_one_form() {
        for (value, len) in [(0u64, 0), (1, 1), (255, 1), (256, 2), (u64::MAX, 8)] {
            let mut out = Vec::new();
            Writer(&mut out).number_always(1, value);
            assert_eq!(out.len(), 2 + len);
            assert_eq!(number(1, &out[2..]), Ok(value));
        }
        assert_eq!(number(1, &[1, 0]), Err(DecodeError::Padded(1)));
        assert_eq!(number(1, &[1; 9]), Err(DecodeError::Value(1)));
    }

    #[test]
    fn lengths_have_one_form() {
        for len in [0usize, 127, 128, 16_383, 16_384, (1 << 28) - 1] {
            let mut out = Vec::new();
            write_length(&mut out, len);
            assert_eq!(read_length(1, &out), Ok((len, &[][..])));
        }
        let cases: [(&[u8], DecodeError); 3] = [
            (&[0x80, 0], DecodeError::Padded(1)),
            (&[0x80], DecodeError::Truncated),
            (&[0xff, 0xff, 0xff, 0xff, 1], DecodeError::Truncated),
        ];
        for (bytes, error) in cases {
            assert_eq!(read_length(1, bytes), Err(error));
        }
    }

    #[test]
    fn fields_come_in_order_and_only_high_tags_are_skipped() {
        let read = |bytes: &[u8], repeated: &'static [u8]| -> Result<Vec<u8>, DecodeError> {
            let mut reader = Reader::new(bytes, repeated);
            let mut tags = Vec::new();
            while let Some((tag, _)) = reader.next()? {
                tags.push(tag);
            }
            Ok(tags)
        };
        assert_eq!(read(&[1, 0, 2, 1, 9, 0x80, 1, 7], &[]), Ok(vec![1, 2]));
        assert_eq!(read(&[1, 0, 1, 0], &[1]), Ok(vec![1, 1]));
        assert_eq!(read(&[1, 0, 1, 0], &[]), Err(DecodeError::Order(1)));
        assert_eq!(read(&[2, 0, 1, 0], &[1]), Err(DecodeError::Order(1)));
        assert_eq!(read(&[2, 3, 1, 0], &[]), Err(DecodeError::Truncated));
    }
}
