//! Paths into JSON documents: `$.customers[*].ssn`.
//!
//! A walker reads the text of a document once, from wherever it stood, and knows of each open array or object
//! which paths lead into it. What no path leads into is skipped by a counter. It stops in front of a value
//! that a path ends at, until it is told to go on.

use super::member;
use super::{Candidate, Text};
use crate::inspect::Error;
use crate::inspect::codec::{DOCUMENT_CLOSE, DOCUMENT_OPEN, ESCAPED_QUOTE};
use crate::inspect::fold;
use crate::inspect::sse::dialect;
use crate::limits::{MASK_KEY_BYTES_MAX, MASK_PATH_STEPS_MAX, MASK_PATHS_MAX};
use std::ops::Range;

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// `.name` or `["name"]`.
    Key(Box<[u8]>),
    /// `[3]`.
    Element(u32),
    /// `[*]` or `.*`: every element and every member.
    Any,
}

/// A path as its steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path(Vec<Step>);

impl Path {
    /// Parses `$.a["b c"][0][*].*`; keys are compared as they are.
    ///
    /// # Errors
    /// [`Error::Path`] with what is wrong and where: the operator's fault.
    pub fn parse(mask: &str, text: &str) -> Result<Path, Error> {
        let refuse =
            |why: &str| Error::Path { name: mask.to_owned(), path: text.to_owned(), why: why.to_owned() };
        let mut rest = text.strip_prefix('$').ok_or_else(|| refuse("it begins with $, the document"))?;
        let mut steps = Vec::new();
        while !rest.is_empty() {
            let (step, length) = Step::parse(rest).ok_or_else(|| {
                refuse(r#"a step is .name, .*, [*], [0] or ["any name"], and here is none of them"#)
            })?;
            steps.push(step);
            rest = &rest[length..];
        }
        match steps.len() {
            0 => Err(refuse("it has no step: the whole document cannot be masked")),
            1..=MASK_PATH_STEPS_MAX => Ok(Path(steps)),
            _ => Err(refuse("it has too many steps")),
        }
    }
}

impl From<&[dialect::Step]> for Path {
    fn from(steps: &[dialect::Step]) -> Path {
        let step = |step: &dialect::Step| match step {
            dialect::Step::Key(name) => Step::Key(name.as_bytes().into()),
            dialect::Step::Each => Step::Any,
        };
        Path(steps.iter().map(step).collect())
    }
}

impl Step {
    /// The step at the beginning of `text`, and its length.
    fn parse(text: &str) -> Option<(Step, usize)> {
        if text.starts_with(".*") || text.starts_with("[*]") {
            return Some((Step::Any, if text.starts_with('.') { 2 } else { 3 }));
        }
        let key = |name: &str| {
            let fits = name.len() <= MASK_KEY_BYTES_MAX && !name.contains(char::is_control);
            let name = fold::folded(name);
            (fits && !name.is_empty()).then(|| Step::Key(name.into_bytes().into()))
        };
        if let Some(name) = text.strip_prefix('.') {
            let length = name.find(['.', '[']).unwrap_or(name.len());
            return Some((key(&name[..length])?, length + 1));
        }
        let inside = text.strip_prefix('[')?;
        for quote in ["\"", "'"] {
            if let Some(name) = inside.strip_prefix(quote) {
                let length = name.find(quote)?;
                name[length + 1..].starts_with(']').then_some(())?;
                return Some((key(&name[..length])?, length + 4));
            }
        }
        let length = inside.find(']')?;
        Some((Step::Element(inside[..length].parse().ok()?), length + 2))
    }
}

/// Paths of one lane with their rules, and whether a string is matched with its quotes.
#[derive(Debug, Default)]
pub struct Paths(Vec<(Path, u16, bool)>);

/// A set of paths, one bit each.
type Set = u64;
const _: () = assert!(MASK_PATHS_MAX <= Set::BITS as usize);

impl Paths {
    /// Adds a path.
    pub fn push(&mut self, path: Path, rule: u16, whole: bool) {
        self.0.push((path, rule, whole));
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn all(&self) -> Set {
        if self.0.len() < Set::BITS as usize { (1 << self.0.len()) - 1 } else { Set::MAX }
    }

    /// Those of `open`, all of which lead into a container at `depth`, whose next step is as asked.
    fn step(&self, open: Set, depth: usize, is_next: impl Fn(&Step) -> bool) -> Set {
        let mut set = 0;
        let mut rest = open & self.all();
        while rest != 0 {
            let index = rest.trailing_zeros() as usize;
            rest &= rest - 1;
            if self.0[index].0.0.get(depth).is_some_and(&is_next) {
                set |= 1 << index;
            }
        }
        set
    }

    /// Those of `set` that end behind `steps` steps.
    fn ending(&self, set: Set, steps: usize) -> impl Iterator<Item = &(Path, u16, bool)> {
        let ends = move |index: &usize| set >> index & 1 != 0 && self.0[*index].0.0.len() == steps;
        (0..self.0.len()).filter(ends).map(|index| &self.0[index])
    }
}

/// An open array or object that paths lead into.
#[derive(Clone, Copy, Debug)]
struct Level {
    open: Set,
    /// The number of the present element; `None` in an object.
    element: Option<u32>,
}

/// What comes next in the innermost container.
#[derive(Clone, Debug)]
enum Next {
    /// A value, which the paths of the set lead to.
    Value(Set),
    /// A key, or the end of an object.
    Key,
    /// Within a key: what was read of it, unless it is longer than any key of a path.
    InKey(Vec<u8>),
    /// Within a string that is no key.
    InString,
    /// A comma or an end, behind a value; or the rest of a number or word.
    Behind,
}

/// A walk over the documents of one value.
#[derive(Clone, Debug)]
pub struct Walk {
    /// Where it is.
    pub walker: Walker,
    /// The next byte that it reads: of the text at hand while a lane scans, else of what is received.
    pub at: usize,
}

impl Walk {
    /// In front of a document, or behind its first byte.
    pub fn new(paths: &Paths, opened: Option<u8>) -> Walk {
        let mut walker = Walker::new();
        if let Some(byte) = opened {
            walker.begin_value(paths, byte, Set::MAX);
        }
        Walk { walker, at: 0 }
    }

    /// This walk, of which only a part counts.
    pub fn of(mut self, part: Part) -> Walk {
        self.walker.part = part;
        self
    }

    /// The first value of a path that starts at `from` or behind it.
    pub fn find(&mut self, paths: &Paths, text: &Text, from: usize) -> Option<Candidate> {
        let (at, found) = self.walker.walk(paths, text, self.at, from);
        self.at = at;
        found
    }
}

/// Where a walker is.
#[derive(Clone, Debug)]
pub struct Walker {
    levels: Vec<Level>,
    next: Next,
    /// Containers that are skipped, and whether a string is open in them.
    skipped: u32,
    in_skipped_string: bool,
    /// Whether a document in a string is open.
    in_document: bool,
    /// The walker in it.
    inner: Option<Box<Walker>>,
    part: Part,
}

/// What paths lead into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The document, and each document in its strings, as if that stood alone.
    All,
    /// The document alone.
    Outside,
    /// The documents in its strings alone.
    Documents,
}

impl Walker {
    /// In front of a document.
    pub fn new() -> Walker {
        Walker {
            levels: Vec::new(),
            next: Next::Value(Set::MAX),
            skipped: 0,
            in_skipped_string: false,
            in_document: false,
            inner: None,
            part: Part::All,
        }
    }

    /// Whether a document has begun that has not ended.
    pub fn is_inside(&self) -> bool {
        !self.levels.is_empty() || self.skipped > 0 || matches!(self.next, Next::InString)
    }

    /// Walks over `text` from `at` on, up to a value that a path ends at and that starts at `from` or behind.
    /// Gives where it stands, and that value.
    pub fn walk(
        &mut self,
        paths: &Paths,
        text: &Text,
        mut at: usize,
        from: usize,
    ) -> (usize, Option<Candidate>) {
        while text.nested && at < text.bytes.len() {
            let end = memchr::memchr2(DOCUMENT_OPEN, DOCUMENT_CLOSE, &text.bytes[at..]);
            let end = end.map_or(text.bytes.len(), |length| at + length);
            let (stands, found) = match &mut self.inner {
                Some(inner) => inner.read(paths, text, at..end, from),
                None if self.in_document || self.part == Part::Documents => (end, None),
                None => self.read(paths, text, at..end, from),
            };
            at = stands;
            if found.is_some() || end == text.bytes.len() {
                return (at, found);
            }
            if let Some(found) = self.document_end(paths, text, at, from) {
                return (at, Some(found));
            }
            at += 1;
        }
        self.read(paths, text, at..text.bytes.len(), from)
    }

    /// A document in a string begins or ends at `at`; gives that string if a path ends there.
    fn document_end(&mut self, paths: &Paths, text: &Text, at: usize, from: usize) -> Option<Candidate> {
        if text.bytes[at] == DOCUMENT_CLOSE {
            (self.in_document, self.inner) = (false, None);
            return None;
        }
        if let (Next::Value(set), 0, Part::All | Part::Outside) = (&self.next, self.skipped, self.part) {
            let found = self.ending_at(paths, *set, text, at);
            if found.is_some_and(|found| found.start >= from) {
                return found;
            }
            self.next = Next::Behind;
        }
        self.in_document = true;
        self.inner = (self.part != Part::Outside).then(|| Box::new(Walker::new()));
        None
    }

    /// The value at `at`, to which the paths of `set` lead, if one of them ends there.
    fn ending_at(&self, paths: &Paths, set: Set, text: &Text, at: usize) -> Option<Candidate> {
        let mut ending = paths.ending(set, self.levels.len());
        ending.find_map(|(_, rule, whole)| member::value(text, at, at, at, *rule, *whole))
    }

    /// [`Walker::walk`] over a part of a text that has no end of a document in a string.
    fn read(
        &mut self,
        paths: &Paths,
        text: &Text,
        range: Range<usize>,
        from: usize,
    ) -> (usize, Option<Candidate>) {
        let (mut at, bytes) = (range.start, &text.bytes[..range.end]);
        while at < bytes.len() {
            if self.skipped > 0 {
                at = self.skip(bytes, at);
                continue;
            }
            let byte = bytes[at];
            match &mut self.next {
                Next::InKey(_) | Next::InString => {
                    at = self.string(paths, bytes, at);
                    continue;
                }
                Next::Value(set)
                    if !matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b':' | b',' | b']' | b'}') =>
                {
                    let set = *set;
                    let found = self.ending_at(paths, set, text, at);
                    if let Some(candidate) = found.filter(|candidate| candidate.start >= from) {
                        return (at, Some(candidate));
                    }
                    self.begin_value(paths, byte, set);
                }
                Next::Key if byte == b'"' => self.next = Next::InKey(Vec::new()),
                // One document a line: the next one begins.
                Next::Behind if self.levels.is_empty() && matches!(byte, b'{' | b'[') => {
                    self.next = Next::Value(Set::MAX);
                    continue;
                }
                _ => self.structure(paths, byte),
            }
            at += 1;
        }
        (at, None)
    }

    /// A value begins with `byte`; its paths are `set`, none of which ends here or whose end is passed.
    fn begin_value(&mut self, paths: &Paths, byte: u8, set: Set) {
        let depth = self.levels.len();
        match byte {
            b'"' => self.next = Next::InString,
            b'{' | b'[' if paths.step(set, depth, |_| true) == 0 => {
                self.skipped = 1;
                self.next = Next::Behind;
            }
            b'{' => {
                self.levels.push(Level { open: set, element: None });
                self.next = Next::Key;
            }
            b'[' => {
                self.levels.push(Level { open: set, element: Some(0) });
                self.next = Next::Value(paths.step(set, depth, |step| is_element(step, 0)));
            }
            _ => self.next = Next::Behind,
        }
    }

    /// Structure, white space, or the rest of a number or word.
    fn structure(&mut self, paths: &Paths, byte: u8) {
        let depth = self.levels.len();
        match byte {
            b',' => {
                self.next = match self.levels.last_mut() {
                    None => Next::Value(Set::MAX),
                    Some(Level { element: None, .. }) => Next::Key,
                    Some(Level { open, element: Some(element) }) => {
                        *element = element.saturating_add(1);
                        let (open, element) = (*open, *element);
                        Next::Value(paths.step(open, depth - 1, |step| is_element(step, element)))
                    }
                };
            }
            b']' | b'}' => {
                self.levels.pop();
                self.next = Next::Behind;
            }
            b'"' if matches!(self.next, Next::Behind) => self.next = Next::InString,
            _ => {}
        }
    }

    /// Reads on in a key or a string; gives where it stands.
    fn string(&mut self, paths: &Paths, bytes: &[u8], at: usize) -> usize {
        let end = memchr::memchr(b'"', &bytes[at..]).map(|length| at + length);
        let part = &bytes[at..end.unwrap_or(bytes.len())];
        if let Next::InKey(key) = &mut self.next {
            // One byte more than any key of a path says that it is none of them.
            let room = (MASK_KEY_BYTES_MAX + 1).saturating_sub(key.len()).min(part.len());
            key.extend(part[..room].iter().map(|byte| if *byte == ESCAPED_QUOTE { b'"' } else { *byte }));
        }
        let Some(end) = end else { return bytes.len() };
        let depth = self.levels.len().saturating_sub(1);
        self.next = match (&self.next, self.levels.last()) {
            (Next::InKey(key), Some(level)) => {
                let is_key = |step: &Step| match step {
                    Step::Key(name) => **name == **key,
                    Step::Any => true,
                    Step::Element(_) => false,
                };
                Next::Value(paths.step(level.open, depth, is_key))
            }
            _ => Next::Behind,
        };
        end + 1
    }

    /// Skips what no path leads into.
    fn skip(&mut self, bytes: &[u8], mut at: usize) -> usize {
        while at < bytes.len() && self.skipped > 0 {
            if self.in_skipped_string {
                let Some(length) = memchr::memchr(b'"', &bytes[at..]) else { return bytes.len() };
                at += length;
                self.in_skipped_string = false;
            } else {
                match bytes[at] {
                    b'"' => self.in_skipped_string = true,
                    b'{' | b'[' => self.skipped = self.skipped.saturating_add(1),
                    b'}' | b']' => self.skipped -= 1,
                    _ => {}
                }
            }
            at += 1;
        }
        at
    }
}

fn is_element(step: &Step, element: u32) -> bool {
    match step {
        Step::Element(number) => *number == element,
        Step::Any => true,
        Step::Key(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, expected: &str) {
        let refused = Path::parse("x", path).err().map(|error| error.to_string());
        let refused = refused.unwrap_or_default();
        assert_eq!(refused.split_once(": ").map_or("", |(_, why)| why), expected, "{path}");
    }

    #[test]
    fn paths_parse_or_say_what_is_wrong() {
        const STEP: &str = "a step is .name, .*, [*], [0] or [\"any name\"], and here is none of them";
        for good in ["$.a", "$.a.b", "$[*]", "$[0].a", "$.*.b", "$[\"a b\"]['c.d'][12]", "$.customers[*].ssn"]
        {
            check(good, "");
        }
        check("a.b", "it begins with $, the document");
        check("$", "it has no step: the whole document cannot be masked");
        for bad in ["$a", "$.", "$..a", "$[", "$[]", "$[a]", "$['a]", "$['a'", "$[-1]"] {
            check(bad, STEP);
        }
        check(&format!("${}", ".a".repeat(40)), "it has too many steps");
    }
}
