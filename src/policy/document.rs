use super::Unreadable;
use crate::limits::POLICY_JSON_DEPTH_MAX;
use simd_json::StaticNode;

/// A strictly parsed JSON document (RFC 8259; SECURITY R15): no duplicate keys, nothing before or after it.
///
/// The values lie in document order in one list; strings are decoded in place in one scratch copy.
#[derive(Debug)]
pub(super) struct Document {
    text: Vec<u8>,
    pub(super) nodes: Vec<Node>,
}

/// One value. `end` is the index behind the value's last descendant.
#[derive(Clone, Copy, Debug)]
pub(super) enum Node {
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
    pub(super) start: usize,
    pub(super) end: usize,
}

/// What a pointer leads to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Found<'a> {
    Value(Value<'a>),
    /// A member's name differs in case only: lax decoders (such as Go's) take it for the one looked for.
    Lookalike,
    Missing,
    /// It is part of what was judged before, and is not looked at now.
    Judged,
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

    /// Follows a pointer from the root to the index of a value.
    pub(super) fn locate(&self, pointer: &Pointer) -> Result<Option<usize>, Lookalike> {
        let mut index = 0;
        for token in &pointer.tokens {
            let step = match self.nodes.get(index) {
                Some(Node::Object { end }) => self.member(index, *end as usize, token)?,
                Some(Node::Array { end }) => self.element(index, *end as usize, token),
                _ => None,
            };
            match step {
                Some(next) => index = next,
                None => return Ok(None),
            }
        }
        Ok(Some(index))
    }

    /// The string at `index`; `None` if there is something else.
    pub(super) fn text(&self, index: usize) -> Option<&str> {
        self.string(*self.nodes.get(index)?)
    }

    /// Indices of the names and values of an object's members; nothing if it is something else.
    pub(super) fn members(&self, object: usize) -> impl Iterator<Item = (usize, usize)> + '_ {
        let (mut index, end) = match self.nodes.get(object) {
            Some(Node::Object { end }) => (object + 1, *end as usize),
            _ => (object, object),
        };
        std::iter::from_fn(move || {
            let name = (index < end).then_some(index)?;
            index = self.behind(name + 1);
            Some((name, name + 1))
        })
    }

    /// Indices of an array's values; nothing if it is something else.
    pub(super) fn elements(&self, array: usize) -> impl Iterator<Item = usize> + '_ {
        let (mut index, end) = match self.nodes.get(array) {
            Some(Node::Array { end }) => (array + 1, *end as usize),
            _ => (array, array),
        };
        std::iter::from_fn(move || {
            let value = (index < end).then_some(index)?;
            index = self.behind(value);
            Some(value)
        })
    }

    pub(super) fn value(&self, index: usize) -> Option<Value<'_>> {
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
    fn element(&self, array: usize, end: usize, token: &str) -> Option<usize> {
        let plain = token.bytes().all(|b| b.is_ascii_digit()) && (token == "0" || !token.starts_with('0'));
        let mut skip = token.parse::<usize>().ok().filter(|_| plain)?;
        let mut index = array + 1;
        while index < end && skip > 0 {
            index = self.behind(index);
            skip -= 1;
        }
        (index < end).then_some(index)
    }

    /// Index behind the value at `index`.
    pub(super) fn behind(&self, index: usize) -> usize {
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lookalike;

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
    /// The member of the outermost object that it leads into; `None` where it is the whole document.
    pub(super) fn first(&self) -> Option<&str> {
        self.tokens.first().map(|token| &**token)
    }

    /// How many steps it leads down.
    pub(super) fn len(&self) -> usize {
        self.tokens.len()
    }

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

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;

    /// JSONTestSuite. What may be read or refused must only not panic.
    #[test]
    fn the_public_suite_is_judged_as_it_says() {
        #[derive(serde::Deserialize)]
        struct Case {
            name: String,
            expect: String,
            b64: String,
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data/json-parsing.json");
        let Ok(text) = std::fs::read(path) else {
            eprintln!("skipped: {path} is not there");
            return;
        };
        let cases: Vec<Case> = serde_json::from_slice(&text).unwrap();
        let mut judged = 0;
        for case in &cases {
            let bytes = base64::engine::general_purpose::STANDARD.decode(&case.b64).unwrap();
            let parsed = Document::parse(&bytes);
            // The suite counts these as valid; a policy refuses them (SECURITY R15).
            let duplicate = case.name.contains("duplicated_key");
            match case.expect.as_str() {
                "accept" if duplicate => {
                    assert_eq!(parsed.err(), Some(Unreadable::DuplicateKey), "{}", case.name)
                }
                "accept" => assert!(parsed.is_ok(), "{}: {:?}", case.name, parsed.err()),
                "reject" => assert!(parsed.is_err(), "{}: {parsed:?}", case.name),
                _ => continue,
            }
            judged += 1;
        }
        assert!(judged >= 280, "{judged} of {}", cases.len());
    }

    impl Document {
        fn find(&self, pointer: &Pointer) -> Found<'_> {
            match self.locate(pointer) {
                Ok(Some(index)) => self.value(index).map_or(Found::Missing, Found::Value),
                Ok(None) => Found::Missing,
                Err(Lookalike) => Found::Lookalike,
            }
        }
    }

    #[test]
    fn what_two_parsers_could_read_differently_is_unreadable() {
        let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth)).into_bytes();
        let check = |bytes: &[u8], reason: Option<Unreadable>| {
            assert_eq!(Document::parse(bytes).err(), reason, "{}", String::from_utf8_lossy(bytes));
        };
        check(br#"{"a":1,"b":{"a":2}}"#, None);
        check(br#"{"a":1,"a":1}"#, Some(Unreadable::DuplicateKey));
        check(br#"{"a":1,"\u0061":2}"#, Some(Unreadable::DuplicateKey));
        check(br#"[{"x":[{"a":{"k":1},"b":2,"a":3}]}]"#, Some(Unreadable::DuplicateKey));
        check(br#"{"":1,"":2}"#, Some(Unreadable::DuplicateKey));
        check(b"\xef\xbb\xbf{}", Some(Unreadable::ByteOrderMark));
        check(b"\xff\xfe{\0}\0", Some(Unreadable::ByteOrderMark));
        check(b"{\0}\0", Some(Unreadable::NotUtf8));
        check(b"\0\0\0{\0\0\0}", Some(Unreadable::NotUtf8));
        check(b"{} {}", Some(Unreadable::Syntax));
        check(b"{}x", Some(Unreadable::Syntax));
        check(b"[NaN]", Some(Unreadable::Syntax));
        check(b"[Infinity]", Some(Unreadable::Syntax));
        check(br#"["\ud800"]"#, Some(Unreadable::LoneSurrogate));
        check(br#"["\udc00"]"#, Some(Unreadable::LoneSurrogate));
        check(br#"["\ud800\u0041"]"#, Some(Unreadable::LoneSurrogate));
        check(br#"["\ud83d\ude00"]"#, None);
        check(b"[\"\xff\"]", Some(Unreadable::NotUtf8));
        check(b"[\"a\nb\"]", Some(Unreadable::Syntax));
        check(b"  1  ", None);
        check(b"[123456789012345678901234567890]", None);
        check(b"", Some(Unreadable::Syntax));
        check(&deep(POLICY_JSON_DEPTH_MAX), None);
        check(&deep(POLICY_JSON_DEPTH_MAX + 1), Some(Unreadable::TooDeep));
        check(&deep(100_000), Some(Unreadable::TooDeep));
    }

    #[test]
    fn pointers_find_values() {
        let text = br#"{"a":{"b":[10,[1,2],{"c":"x\u0020y"}]},"m~n":1,"o/p":2,"":3,"Max":4,"n":[],
            "big":18446744073709551615}"#;
        let document = Document::parse(text).unwrap();
        let check = |pointer: &str, found| {
            assert_eq!(document.find(&Pointer::parse(pointer).unwrap()), found, "{pointer}");
        };
        check("/a/b/0", Found::Value(Value::Unsigned(10)));
        check("/a/b/1/1", Found::Value(Value::Unsigned(2)));
        check("/a/b/2/c", Found::Value(Value::Text("x y")));
        check("/a/b/3", Found::Missing);
        check("/a/b/00", Found::Missing);
        check("/a/b/-", Found::Missing);
        check("/a/b/0/x", Found::Missing);
        check("/m~0n", Found::Value(Value::Unsigned(1)));
        check("/o~1p", Found::Value(Value::Unsigned(2)));
        check("/", Found::Value(Value::Unsigned(3)));
        check("/max", Found::Lookalike);
        check("/n/0", Found::Missing);
        check("/big", Found::Value(Value::Unsigned(u64::MAX)));
        assert!(matches!(document.find(&Pointer::parse("").unwrap()), Found::Value(Value::Tree(_))));
        assert_eq!(Pointer::parse("a"), None);
        assert_eq!(Pointer::parse("/a~2"), None);
    }

    proptest::proptest! {
        /// Every document that is read says the same as an independent parser.
        #[test]
        fn values_are_those_of_another_parser(seed: Vec<(String, i64, bool)>) {
            let mut object = serde_json::Map::new();
            for (index, (key, number, flag)) in seed.iter().enumerate() {
                let value = serde_json::json!([key, {"n": number, "f": flag}, [], {}]);
                object.insert(format!("{index}:{key}"), value);
            }
            let text = serde_json::to_vec(&object).unwrap();
            let document = Document::parse(&text).unwrap();
            for (index, (key, number, flag)) in seed.iter().enumerate() {
                let name = format!("{index}:{key}");
                let find = |path: &str| {
                    document.find(&Pointer { tokens: [&name].into_iter().map(|s| s.as_str().into())
                        .chain(path.split('/').map(Into::into)).collect() })
                };
                let unsigned = u64::try_from(*number).map(Value::Unsigned);
                let expected = unsigned.unwrap_or(Value::Signed(*number));
                proptest::prop_assert_eq!(find("0"), Found::Value(Value::Text(key)));
                proptest::prop_assert_eq!(find("1/n"), Found::Value(expected));
                proptest::prop_assert_eq!(find("1/f"), Found::Value(Value::Bool(*flag)));
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = Document::parse(&bytes);
        }
    }
}
