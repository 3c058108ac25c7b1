use super::class::{Class, class};
use crate::buffer::Chunk;
use smallvec::SmallVec;
use std::fmt;
use std::ops::Range;

/// One field: where its bytes are, in the received head or in the bytes that the gateway added.
#[derive(Clone, Copy, Debug)]
struct Field {
    name_start: u32,
    value_start: u32,
    value_len: u32,
    name_len: u16,
    class: Class,
    added: bool,
}

impl Field {
    /// Where the line lies of a field that the gateway added; [`write_line`] wrote it.
    fn added_line(&self) -> Range<usize> {
        let value_end = self.value_start as usize + self.value_len as usize;
        self.name_start as usize..value_end + LINE_END.len()
    }
}

const SEPARATOR: &[u8] = b": ";
const LINE_END: &[u8] = b"\r\n";

/// Appends a field line.
fn write_line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(SEPARATOR);
    out.extend_from_slice(value);
    out.extend_from_slice(LINE_END);
}

/// Room for what the gateway adds to an ordinary message, so that it is allocated once.
const ADDED_BYTES: usize = 192;

/// Header fields in their order of arrival, names compared without regard to ASCII case (RFC 9110 5.1).
///
/// Names and values stay where they were received: the fields are ranges of that chunk. Fields that the
/// gateway adds live in a small buffer of their own. A name is always a token and a value never holds CR, LF
/// or NUL: the parser refuses them and [`Headers::append`] replaces them.
///
/// Each name is looked up once, when its field is added: the rules then only compare classes.
///
/// `Debug` shows names only: values may be credentials.
#[derive(Default)]
pub struct Headers {
    block: Chunk,
    /// Whole lines, as they are sent.
    added: Vec<u8>,
    fields: SmallVec<[Field; 16]>,
    /// The classes that were ever among the fields, one bit each.
    classes: u8,
    /// The same for names, by [`mark`]: most names that are looked up are not there.
    marks: u64,
}

/// One of 64 bits for a name, by its length and both ends.
const fn mark(name: &[u8]) -> u64 {
    let (first, last) = match name {
        [] => (0, 0),
        [first, ..] => (first.to_ascii_lowercase(), name[name.len() - 1].to_ascii_lowercase()),
    };
    1 << ((name.len() + 5 * first as usize + 11 * last as usize) % 64)
}

/// A field that the gateway says of itself, with all that is known of it when the program is built.
pub(super) struct OwnField {
    /// What its line begins with: the name and what separates it from its value.
    start: &'static [u8],
    class: Class,
    mark: u64,
}

impl OwnField {
    /// A field whose line begins with `start`, a token and [`SEPARATOR`].
    pub(super) const fn new(start: &'static [u8], class: Class) -> OwnField {
        let (name, _) = start.split_at(start.len() - SEPARATOR.len());
        OwnField { start, class, mark: mark(name) }
    }
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
        let mut headers = Headers::new();
        for (name, value) in fields {
            let class = class(&block[name.clone()]);
            headers.push_received(name, value, class);
        }
        headers.lie_in(block);
        headers
    }

    /// Adds a received field, as ranges of the block that [`Headers::lie_in`] gets.
    pub(super) fn push_received(&mut self, name: Range<usize>, value: Range<usize>, class: Class) {
        self.push(name, value, class, false);
    }

    /// The received fields lie inside `block`.
    ///
    /// # Panics
    /// As [`Headers::from_block`].
    pub(super) fn lie_in(&mut self, block: Chunk) {
        let is_inside = |field: &Field| {
            let (name, value) = (field.name_start as usize, field.value_start as usize);
            let ends = (name + usize::from(field.name_len), value + field.value_len as usize);
            field.added || ends.0 <= block.len() && ends.1 <= block.len()
        };
        assert!(self.fields.iter().all(is_inside));
        self.block = block;
        self.marks = self.fields.iter().fold(self.marks, |marks, field| marks | mark(self.name(field)));
    }

    fn push(&mut self, name: Range<usize>, value: Range<usize>, class: Class, added: bool) {
        self.classes |= class.bit();
        self.fields.push(Field {
            name_start: name.start as u32,
            name_len: name.len() as u16,
            value_start: value.start as u32,
            value_len: value.len() as u32,
            class,
            added,
        });
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
        // A field name is a token, so it is ASCII; see the type's documentation.
        self.raw().map(|(name, value)| (std::str::from_utf8(name).unwrap_or_default(), value))
    }

    /// All fields in order, names as bytes.
    pub fn raw<'a>(&'a self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        self.fields.iter().map(|field| (self.name(field), self.value(field)))
    }

    /// Bytes that the field lines take at most.
    pub(super) fn lines_bytes_max(&self) -> usize {
        self.block.len() + self.added.len() + 4 * self.fields.len()
    }

    /// Appends the field lines. Neighbours that lie as they are to be written are copied together.
    pub(super) fn write_lines(&self, out: &mut Vec<u8>) {
        let (mut source, mut run) = (&self.block[..], 0..0);
        for field in &self.fields {
            let (own, line) = match field.added {
                true => (&self.added[..], Some(field.added_line())),
                false => (&self.block[..], self.canonical_line(field)),
            };
            match line {
                Some(line) if line.start == run.end && std::ptr::eq(own, source) => run.end = line.end,
                Some(line) => {
                    out.extend_from_slice(&source[run]);
                    (source, run) = (own, line);
                }
                None => {
                    out.extend_from_slice(&source[run]);
                    run = 0..0;
                    write_line(out, self.name(field), self.value(field));
                }
            }
        }
        out.extend_from_slice(&source[run]);
    }

    /// Where a received field line lies that is already written as the gateway would.
    fn canonical_line(&self, field: &Field) -> Option<Range<usize>> {
        let line = field.added_line();
        let name_end = line.start + usize::from(field.name_len);
        let is_canonical = field.value_start as usize == name_end + SEPARATOR.len()
            && self.block.get(name_end..field.value_start as usize) == Some(SEPARATOR)
            && self.block.get(line.end - LINE_END.len()..line.end) == Some(LINE_END);
        is_canonical.then_some(line)
    }

    /// Value of the first field called `name`.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.called(name).next().map(|field| self.value(field))
    }

    /// Value of the first field called `name`, if it is UTF-8.
    pub fn get_str(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// Values of all fields called `name`.
    pub fn get_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.called(name).map(|field| self.value(field))
    }

    /// Whether a field called `name` is there.
    pub fn contains(&self, name: &str) -> bool {
        self.called(name).next().is_some()
    }

    /// Whether one of `classes` may be among the fields.
    pub(super) fn may_have(&self, classes: &[Class]) -> bool {
        classes.iter().any(|class| self.classes & class.bit() != 0)
    }

    /// Keeps the fields for which `keep` says so, by their names and values.
    pub fn retain(&mut self, mut keep: impl FnMut(&[u8], &[u8]) -> bool) {
        self.retain_classed(|_, name, value| keep(name, value));
    }

    /// [`Headers::retain`] by class and name.
    pub(super) fn retain_classed(&mut self, mut keep: impl FnMut(Class, &[u8], &[u8]) -> bool) {
        let (block, added) = (&self.block, &self.added);
        self.fields.retain(|field| {
            let (name, value) = (name_of(block, added, field), value_of(block, added, field));
            keep(field.class, name, value)
        });
    }

    /// Removes all fields called `name`; returns how many there were.
    pub fn remove(&mut self, name: &str) -> usize {
        if !self.contains(name) {
            return 0;
        }
        let before = self.fields.len();
        self.retain_classed(|_, n, _| !n.eq_ignore_ascii_case(name.as_bytes()));
        before - self.fields.len()
    }

    /// Gives fields the values that `rewrite` makes of their names and values; the order stays. As in
    /// [`Headers::append`] each CR, LF and NUL becomes a space.
    pub fn rewrite(&mut self, mut rewrite: impl FnMut(&str, &[u8]) -> Option<Vec<u8>>) {
        for index in 0..self.fields.len() {
            let field = self.fields[index];
            let name = std::str::from_utf8(self.name(&field)).unwrap_or_default();
            let Some(value) = rewrite(name, self.value(&field)) else { continue };
            let name = name.as_bytes().to_vec();
            let (name, value) = self.add(&name, &value);
            self.blank_line_ends(value.clone());
            self.fields[index] = Field {
                name_start: name.start as u32,
                value_start: value.start as u32,
                value_len: value.len() as u32,
                added: true,
                ..field
            };
        }
    }

    /// Adds a field at the end. The caller guarantees that the name is a token; each CR, LF and NUL of the
    /// value becomes a space (RFC 9110 section 5.5), so that no value can end its line.
    ///
    /// # Panics
    /// If the name is longer than 64 KiB: whoever made it up is at fault.
    pub fn append(&mut self, name: &str, value: &[u8]) {
        debug_assert!(super::syntax::is_token(name.as_bytes()));
        assert!(name.len() <= usize::from(u16::MAX), "a field name is short");
        let class = class(name.as_bytes());
        self.marks |= mark(name.as_bytes());
        let (name, value) = self.add(name.as_bytes(), value);
        self.push(name, value.clone(), class, true);
        self.blank_line_ends(value);
    }

    /// [`Headers::append`] of a field of the gateway's own; the value comes in parts, in which the caller has
    /// made sure that no line ends.
    #[inline]
    pub(super) fn append_own(&mut self, field: &OwnField, parts: &[&[u8]]) {
        let value_bytes: usize = parts.iter().map(|part| part.len()).sum();
        self.make_room(field.start.len() + value_bytes + LINE_END.len());
        let start = self.added.len();
        self.added.extend_from_slice(field.start);
        parts.iter().for_each(|part| self.added.extend_from_slice(part));
        self.added.extend_from_slice(LINE_END);
        let value_start = start + field.start.len();
        let (name, value) = (start..value_start - SEPARATOR.len(), value_start..value_start + value_bytes);
        debug_assert!(field.start.ends_with(SEPARATOR) && field.class == class(&self.added[name.clone()]));
        debug_assert!(super::syntax::is_value(&self.added[value.clone()]));
        self.marks |= field.mark;
        self.push(name, value, field.class, true);
    }

    /// Replaces all fields called `name` by one.
    pub fn set(&mut self, name: &str, value: &[u8]) {
        self.remove(name);
        self.append(name, value);
    }

    /// Writes an added line; gives the places of its name and its value.
    fn add(&mut self, name: &[u8], value: &[u8]) -> (Range<usize>, Range<usize>) {
        self.make_room(name.len() + SEPARATOR.len() + value.len() + LINE_END.len());
        let start = self.added.len();
        write_line(&mut self.added, name, value);
        let value_start = start + name.len() + SEPARATOR.len();
        (start..start + name.len(), value_start..value_start + value.len())
    }

    /// Makes room for an added line.
    fn make_room(&mut self, line_bytes: usize) {
        self.added.reserve(if self.added.is_empty() { ADDED_BYTES.max(line_bytes) } else { line_bytes });
    }

    /// Makes a space of each CR, LF and NUL of an added value.
    fn blank_line_ends(&mut self, value: Range<usize>) {
        for byte in &mut self.added[value] {
            if matches!(byte, b'\r' | b'\n' | 0) {
                *byte = b' ';
            }
        }
    }

    /// The fields called `name`.
    fn called<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Field> + use<'a> {
        let fields = if self.marks & mark(name.as_bytes()) == 0 { &[] } else { &self.fields[..] };
        fields.iter().filter(move |field| self.is(field, name))
    }

    fn is(&self, field: &Field, name: &str) -> bool {
        // The first letter tells most names of one length apart.
        let first = |name: &[u8]| name.first().map(u8::to_ascii_lowercase);
        usize::from(field.name_len) == name.len()
            && first(self.name(field)) == first(name.as_bytes())
            && self.name(field).eq_ignore_ascii_case(name.as_bytes())
    }

    fn name(&self, field: &Field) -> &[u8] {
        name_of(&self.block, &self.added, field)
    }

    fn value(&self, field: &Field) -> &[u8] {
        value_of(&self.block, &self.added, field)
    }
}

impl Clone for Headers {
    fn clone(&self) -> Headers {
        // At once: the derived way goes over the fields one by one.
        let fields = SmallVec::from_slice(&self.fields);
        let (block, added) = (self.block.clone(), self.added.clone());
        Headers { block, added, fields, classes: self.classes, marks: self.marks }
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|(name, _)| name)).finish()
    }
}

fn name_of<'a>(block: &'a Chunk, added: &'a [u8], field: &Field) -> &'a [u8] {
    slice(block, added, field, field.name_start, usize::from(field.name_len))
}

fn value_of<'a>(block: &'a Chunk, added: &'a [u8], field: &Field) -> &'a [u8] {
    slice(block, added, field, field.value_start, field.value_len as usize)
}

fn slice<'a>(block: &'a Chunk, added: &'a [u8], field: &Field, start: u32, len: usize) -> &'a [u8] {
    let start = start as usize;
    if field.added { &added[start..start + len] } else { &block[start..start + len] }
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
    fn lines_are_written_alike_however_they_were_received() {
        let received = b"A: 1\r\nB:2\r\nC:  3 \r\nD: 4\r\nE:\r\nF: \r\nG: 7\r\n\r\n";
        let fields = [(0..1, 3..4), (6..7, 8..9), (11..12, 15..16), (19..20, 22..23), (25..26, 27..27)];
        let more = [(29..30, 32..32), (34..35, 37..38)];
        let block = Chunk::from_static(received);
        let mut headers = Headers::from_block(block, fields.into_iter().chain(more));
        headers.append("h", b"8");
        let check = |headers: &Headers, expected: &str| {
            let mut out = Vec::new();
            headers.write_lines(&mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
            assert!(headers.lines_bytes_max() >= expected.len());
        };
        check(&headers, "A: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\nE: \r\nF: \r\nG: 7\r\nh: 8\r\n");
        headers.remove("d");
        headers.remove("f");
        check(&headers, "A: 1\r\nB: 2\r\nC: 3\r\nE: \r\nG: 7\r\nh: 8\r\n");
        check(&Headers::new(), "");
    }

    #[test]
    fn rewritten_values_keep_their_place() {
        let mut headers = received();
        headers.append("x-two", b"3");
        headers.rewrite(|name, value| (name != "Host").then(|| [value, b"\r\n!"].concat()));
        let all: Vec<_> =
            headers.iter().map(|(n, v)| format!("{n}={}", String::from_utf8_lossy(v))).collect();
        assert_eq!(all, ["Host=a", "X-One=1  !", "x-one=2  !", "x-two=3  !"]);
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
