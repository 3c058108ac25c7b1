use crate::buffer::Chunk;
use smallvec::SmallVec;
use std::fmt;
use std::ops::Range;

/// Where a field's bytes are: in the received head, or in the bytes that the gateway added.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: u32,
    len: u32,
    added: bool,
}

/// Header fields in their order of arrival, names compared without regard to ASCII case (RFC 9110 5.1).
///
/// Names and values stay where they were received: the fields are ranges of that chunk. Fields that the
/// gateway adds live in a small buffer of their own. A name is always a token and a value never holds CR, LF
/// or NUL: the parser refuses them and [`Headers::append`] replaces them.
///
/// `Debug` shows names only: values may be credentials.
#[derive(Clone, Default)]
pub struct Headers {
    block: Chunk,
    added: Vec<u8>,
    fields: SmallVec<[(Span, Span); 16]>,
}

impl Headers {
    /// No fields; allocates nothing.
    pub fn new() -> Headers {
        Headers::default()
    }

    /// Fields that lie inside `block`, as (name, value) ranges.
    ///
    /// # Panics
    /// If a range lies outside of the block; the parser that found them is at fault.
    pub fn from_block(
        block: Chunk,
        fields: impl IntoIterator<Item = (Range<usize>, Range<usize>)>,
    ) -> Headers {
        let span = |range: Range<usize>| {
            assert!(range.start <= range.end && range.end <= block.len());
            Span { start: range.start as u32, len: (range.end - range.start) as u32, added: false }
        };
        let fields = fields.into_iter().map(|(name, value)| (span(name), span(value))).collect();
        Headers { block, added: Vec::new(), fields }
    }

    /// No fields yet, but those pushed with [`Headers::push_received`] lie inside `block`.
    pub(super) fn received_in(block: Chunk) -> Headers {
        Headers { block, added: Vec::new(), fields: SmallVec::new() }
    }

    /// Adds a field of the block. The parser guarantees that the ranges lie inside of it.
    pub(super) fn push_received(&mut self, name: Range<usize>, value: Range<usize>) {
        debug_assert!(name.end <= self.block.len() && value.end <= self.block.len());
        let span = |range: Range<usize>| Span {
            start: range.start as u32,
            len: (range.end - range.start) as u32,
            added: false,
        };
        self.fields.push((span(name), span(value)));
    }

    /// Number of fields.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether there is no field.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// All fields in order.
    pub fn iter<'a>(&'a self) -> impl Iterator<Item = (&'a str, &'a [u8])> + use<'a> {
        self.fields.iter().map(|(name, value)| (self.name(*name), self.bytes(*value)))
    }

    /// Value of the first field called `name`.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        let named = |span: Span| self.bytes(span).eq_ignore_ascii_case(name.as_bytes());
        self.fields.iter().find(|(n, _)| named(*n)).map(|(_, value)| self.bytes(*value))
    }

    /// Value of the first field called `name`, if it is UTF-8.
    pub fn get_str(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// Values of all fields called `name`.
    pub fn get_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Whether a field called `name` is there.
    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Keeps the fields for which `keep` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &[u8]) -> bool) {
        let (block, added) = (&self.block, &self.added);
        self.fields.retain(|(name, value)| {
            let name = std::str::from_utf8(slice(block, added, *name)).unwrap_or_default();
            keep(name, slice(block, added, *value))
        });
    }

    /// Removes all fields called `name`; returns how many there were.
    pub fn remove(&mut self, name: &str) -> usize {
        let before = self.fields.len();
        self.retain(|n, _| !n.eq_ignore_ascii_case(name));
        before - self.fields.len()
    }

    /// Adds a field at the end. The caller guarantees that the name is a token; each CR, LF and NUL of the
    /// value becomes a space (RFC 9110 section 5.5), so that no value can end its line.
    pub fn append(&mut self, name: &str, value: &[u8]) {
        debug_assert!(super::syntax::is_token(name.as_bytes()));
        let name = self.add(name.as_bytes());
        let value = self.add(value);
        for byte in &mut self.added[value.start as usize..] {
            if matches!(byte, b'\r' | b'\n' | 0) {
                *byte = b' ';
            }
        }
        self.fields.push((name, value));
    }

    /// Replaces all fields called `name` by one.
    pub fn set(&mut self, name: &str, value: &[u8]) {
        self.remove(name);
        self.append(name, value);
    }

    fn add(&mut self, bytes: &[u8]) -> Span {
        let start = self.added.len() as u32;
        self.added.extend_from_slice(bytes);
        Span { start, len: bytes.len() as u32, added: true }
    }

    fn name(&self, span: Span) -> &str {
        // A field name is a token, so it is ASCII; see the type's documentation.
        std::str::from_utf8(self.bytes(span)).unwrap_or_default()
    }

    fn bytes(&self, span: Span) -> &[u8] {
        slice(&self.block, &self.added, span)
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|(name, _)| name)).finish()
    }
}

fn slice<'a>(block: &'a Chunk, added: &'a [u8], span: Span) -> &'a [u8] {
    let (start, end) = (span.start as usize, (span.start + span.len) as usize);
    if span.added { &added[start..end] } else { &block[start..end] }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received() -> Headers {
        let block = Chunk::from_static(b"Host: a\r\nX-One: 1\r\nx-one: 2\r\n");
        Headers::from_block(block, [(0..4, 6..7), (9..14, 16..17), (19..24, 26..27)])
    }

    #[test]
    fn names_are_compared_without_case_and_order_is_kept() {
        let mut headers = received();
        headers.append("x-two", b"3");
        let all: Vec<_> = headers.iter().map(|(n, v)| (n.to_owned(), v.to_vec())).collect();
        assert_eq!(all[1], ("X-One".to_owned(), b"1".to_vec()));
        assert_eq!(headers.get_all("X-ONE").count(), 2);
        assert_eq!(headers.get("X-Two"), Some(&b"3"[..]));
    }

    #[test]
    fn set_replaces_every_field_of_that_name() {
        let mut headers = received();
        headers.set("X-One", b"new");
        assert_eq!(headers.get_all("x-one").collect::<Vec<_>>(), [b"new"]);
        assert_eq!(headers.len(), 2);
        assert_eq!(headers.remove("host"), 1);
    }
}
