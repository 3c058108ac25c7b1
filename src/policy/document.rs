use super::Unreadable;
use crate::limits::POLICY_JSON_DEPTH_MAX;
use simd_json::StaticNode;

/// A strictly parsed JSON document (RFC 8259; SECURITY R15): no duplicate keys, nothing before or after it.
///
/// The values lie in document order in one list; strings are decoded in place in one scratch copy.
#[derive(Debug)]
pub(super) struct Document {
    text: Vec<u8>,
    nodes: Vec<Node>,
}

/// One value. `end` is the index behind the value's last descendant.
#[derive(Clone, Copy, Debug)]
enum Node {
    Null,
    Bool(bool),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Text { start: u32, len: u32 },
    Array { end: u32 },
    Object { end: u32 },
}

/// A value of a [`Document`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Text(&'a str),
    /// An array or an object.
    Tree(Subtree),
}

/// The descendants of an array or an object.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Subtree {
    start: usize,
    end: usize,
}

/// What a pointer leads to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Found<'a> {
    Value(Value<'a>),
    /// A member's name differs in case only: lax decoders (such as Go's) take it for the one looked for.
    Lookalike,
    Missing,
}

impl Document {
    /// Parses a copy of `bytes`.
    ///
    /// # Errors
    /// [`Unreadable`] says what is wrong; the caller is at fault.
    pub(super) fn parse(bytes: &[u8]) -> Result<Document, Unreadable> {
        refuse_other_encodings(bytes)?;
        if u32::try_from(bytes.len()).is_err() {
            return Err(Unreadable::TooLarge);
        }
        let mut text = bytes.to_vec();
        let base = text.as_ptr() as usize;
        let mut buffers = simd_json::Buffers::with_max_depth(text.len(), POLICY_JSON_DEPTH_MAX);
        let tape = match simd_json::to_tape_with_buffers(&mut text, &mut buffers) {
            Ok(tape) => tape,
            Err(error) => return Err(unreadable(&error)),
        };
        let nodes = tape.0.iter().enumerate().map(|(index, node)| copied(index, node, base, bytes.len()));
        let nodes = nodes.collect::<Option<Vec<_>>>().ok_or(Unreadable::Syntax)?;
        let document = Document { text, nodes };
        document.refuse_duplicate_keys()?;
        Ok(document)
    }

    /// Follows a pointer from the root.
    pub(super) fn find(&self, pointer: &Pointer) -> Found<'_> {
        let mut index = 0;
        for token in &pointer.tokens {
            let step = match self.nodes.get(index) {
                Some(Node::Object { end }) => self.member(index, *end as usize, token),
                Some(Node::Array { end }) => self.element(index, *end as usize, token),
                _ => Ok(None),
            };
            match step {
                Ok(Some(next)) => index = next,
                Ok(None) => return Found::Missing,
                Err(Lookalike) => return Found::Lookalike,
            }
        }
        self.value(index).map_or(Found::Missing, Found::Value)
    }

    /// Every string of the document, member names included.
    pub(super) fn strings(&self) -> impl Iterator<Item = &str> {
        self.nodes.iter().filter_map(|node| self.string(*node))
    }

    /// Every string below an array or an object, member names included.
    pub(super) fn strings_below(&self, tree: Subtree) -> impl Iterator<Item = &str> {
        self.nodes[tree.start..tree.end].iter().filter_map(|node| self.string(*node))
    }

    fn value(&self, index: usize) -> Option<Value<'_>> {
        Some(match *self.nodes.get(index)? {
            Node::Null => Value::Null,
            Node::Bool(value) => Value::Bool(value),
            Node::Signed(value) => Value::Signed(value),
            Node::Unsigned(value) => Value::Unsigned(value),
            Node::Float(value) => Value::Float(value),
            node @ Node::Text { .. } => Value::Text(self.string(node).unwrap_or_default()),
            Node::Array { end } | Node::Object { end } => {
                Value::Tree(Subtree { start: index + 1, end: end as usize })
            }
        })
    }

    /// Index of the value of a member.
    fn member(&self, object: usize, end: usize, name: &str) -> Result<Option<usize>, Lookalike> {
        let mut found = None;
        let mut lookalike = false;
        let mut index = object + 1;
        while index < end {
            let key = self.string(self.nodes[index]).unwrap_or_default();
            if key == name {
                found = Some(index + 1);
            } else {
                lookalike |= key.eq_ignore_ascii_case(name);
            }
            index = self.behind(index + 1);
        }
        if lookalike { Err(Lookalike) } else { Ok(found) }
    }

    /// Index of an element; the token is a number without leading zeros (RFC 6901 section 4).
    fn element(&self, array: usize, end: usize, token: &str) -> Result<Option<usize>, Lookalike> {
        let plain = token.bytes().all(|b| b.is_ascii_digit()) && (token == "0" || !token.starts_with('0'));
        let Some(mut skip) = token.parse::<usize>().ok().filter(|_| plain) else { return Ok(None) };
        let mut index = array + 1;
        while index < end && skip > 0 {
            index = self.behind(index);
            skip -= 1;
        }
        Ok((index < end).then_some(index))
    }

    /// Index behind the value at `index`.
    fn behind(&self, index: usize) -> usize {
        match self.nodes.get(index) {
            Some(Node::Array { end } | Node::Object { end }) => *end as usize,
            _ => index + 1,
        }
    }

    fn string(&self, node: Node) -> Option<&str> {
        let Node::Text { start, len } = node else { return None };
        let bytes = self.text.get(start as usize..(start + len) as usize)?;
        // The parser has checked that every string is UTF-8.
        std::str::from_utf8(bytes).ok()
    }

    /// Names are compared decoded, so that `"a"` and `"\u0061"` are the same.
    fn refuse_duplicate_keys(&self) -> Result<(), Unreadable> {
        let mut keys: Vec<&str> = Vec::new();
        for (object, node) in self.nodes.iter().enumerate() {
            let Node::Object { end } = node else { continue };
            keys.clear();
            let mut index = object + 1;
            while index < *end as usize {
                keys.push(self.string(self.nodes[index]).unwrap_or_default());
                index = self.behind(index + 1);
            }
            keys.sort_unstable();
            if keys.windows(2).any(|pair| pair[0] == pair[1]) {
                return Err(Unreadable::DuplicateKey);
            }
        }
        Ok(())
    }
}

/// See [`Found::Lookalike`].
struct Lookalike;

/// RFC 8259 section 8.1: UTF-8 without byte order mark. No JSON text has NUL among its first four bytes.
pub(super) fn refuse_other_encodings(bytes: &[u8]) -> Result<(), Unreadable> {
    if [&b"\xef\xbb\xbf"[..], b"\xff\xfe", b"\xfe\xff"].iter().any(|mark| bytes.starts_with(mark)) {
        return Err(Unreadable::ByteOrderMark);
    }
    if bytes.iter().take(4).any(|byte| *byte == 0) { Err(Unreadable::NotUtf8) } else { Ok(()) }
}

/// Our node for one of the parser's. `None` if a string does not lie in the scratch copy.
fn copied(index: usize, node: &simd_json::Node<'_>, base: usize, len_max: usize) -> Option<Node> {
    // The body's length fits into u32, and there is at most one node for each of its bytes.
    let end = |descendants: usize| (index + 1 + descendants) as u32;
    Some(match node {
        simd_json::Node::String("") => Node::Text { start: 0, len: 0 },
        simd_json::Node::String(text) => {
            let start = (text.as_ptr() as usize).checked_sub(base)?;
            if start + text.len() > len_max {
                return None;
            }
            Node::Text { start: start as u32, len: text.len() as u32 }
        }
        simd_json::Node::Array { count, .. } => Node::Array { end: end(*count) },
        simd_json::Node::Object { count, .. } => Node::Object { end: end(*count) },
        simd_json::Node::Static(StaticNode::Null) => Node::Null,
        simd_json::Node::Static(StaticNode::Bool(value)) => Node::Bool(*value),
        simd_json::Node::Static(StaticNode::I64(value)) => Node::Signed(*value),
        simd_json::Node::Static(StaticNode::U64(value)) => Node::Unsigned(*value),
        simd_json::Node::Static(StaticNode::F64(value)) => Node::Float(*value),
    })
}

fn unreadable(error: &simd_json::Error) -> Unreadable {
    use simd_json::ErrorType;
    match error.error() {
        ErrorType::DepthLimitExceeded => Unreadable::TooDeep,
        ErrorType::InvalidUtf8 => Unreadable::NotUtf8,
        ErrorType::InvalidUnicodeCodepoint | ErrorType::InvalidUnicodeEscape => Unreadable::LoneSurrogate,
        _ => Unreadable::Syntax,
    }
}

/// A JSON pointer (RFC 6901).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pointer {
    tokens: Vec<Box<str>>,
}

impl Pointer {
    /// Compiles `/a/0/b~1c`; `None` if it is no JSON pointer.
    pub(super) fn parse(source: &str) -> Option<Pointer> {
        if source.is_empty() {
            return Some(Pointer { tokens: Vec::new() });
        }
        let token = |text: &str| {
            let stray = text.replace("~0", "").replace("~1", "").contains('~');
            (!stray).then(|| text.replace("~1", "/").replace("~0", "~").into())
        };
        let tokens = source.strip_prefix('/')?.split('/').map(token).collect::<Option<_>>()?;
        Some(Pointer { tokens })
    }
}
