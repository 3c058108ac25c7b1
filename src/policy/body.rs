use super::Needs;
use super::blocks::{Block, Ranges, blocks};
use super::document::{Document, Found, Lookalike, Pointer, Subtree, refuse_other_encodings};
use super::{removal, text};
use crate::http::Headers;
use aho_corasick::AhoCorasick;
use std::ops::Range;

/// Why a body cannot be read for the policy (SECURITY R15). The caller is at fault; the answer is 415.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("the body is encoded; send it without content-encoding")]
    Encoded,
    #[error("the body's content-type is not one that the policy can read")]
    Type,
    #[error("the body's charset is not UTF-8")]
    Charset,
    #[error("the body begins with a byte order mark")]
    ByteOrderMark,
    #[error("the body is not UTF-8")]
    NotUtf8,
    #[error("the body is not valid JSON")]
    Syntax,
    #[error("the JSON body has the same member twice in an object")]
    DuplicateKey,
    #[error("the JSON body is nested too deeply")]
    TooDeep,
    #[error("the JSON body has a broken \\u escape or half of a surrogate pair")]
    LoneSurrogate,
    #[error("the body is too large to be read")]
    TooLarge,
}

impl Unreadable {
    /// The reason code of records and metrics.
    pub fn reason(self) -> &'static str {
        match self {
            Unreadable::Encoded => "body_encoded",
            Unreadable::Type => "body_type",
            Unreadable::Charset => "body_charset",
            Unreadable::ByteOrderMark => "body_byte_order_mark",
            Unreadable::NotUtf8 => "body_not_utf8",
            Unreadable::Syntax => "body_syntax",
            Unreadable::DuplicateKey => "body_duplicate_key",
            Unreadable::TooDeep => "body_too_deep",
            Unreadable::LoneSurrogate => "body_lone_surrogate",
            Unreadable::TooLarge => "body_too_large",
        }
    }
}

/// What is known of a request's body: what the policies of a route need, and no more.
#[derive(Debug, Default)]
pub struct BodyFacts<'a> {
    /// The whole body.
    raw: &'a [u8],
    pub(super) document: Option<Document>,
    kind: Kind,
    /// The searchable texts with folded white space, each ended by [`text::END`]; without those that were
    /// judged before.
    folded: Vec<u8>,
    /// The latter.
    folded_judged: Vec<u8>,
    /// Of a conversation, once it was looked for.
    pub(super) blocks: Vec<Block>,
    /// Nodes that were judged before, in order.
    judged: Vec<Range<usize>>,
    /// How many blocks from the first one were.
    passed: usize,
}

/// How much of a body a condition looks at.
#[derive(Clone, Copy, Debug)]
pub(super) enum View<'v> {
    /// All of it.
    Whole,
    /// What was not judged before.
    Fresh,
    /// These nodes.
    Only(&'v Ranges),
}

/// How a body is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    Json,
    Text,
    Form,
    /// The type is not said.
    Unsaid,
}

impl<'a> BodyFacts<'a> {
    /// No body, or one that no deciding policy reads: every body condition is a miss.
    pub fn none() -> BodyFacts<'a> {
        BodyFacts::default()
    }

    /// Reads a body with the headers of its request. The whole body must be there, and
    /// [`BodyFacts::gather`] must follow.
    ///
    /// # Errors
    /// [`Unreadable`], see [`BodyFacts::parse`]; several `content-type` fields are unreadable, because
    /// policy and upstream could read different ones.
    pub fn from_request(
        headers: &Headers,
        bytes: &'a [u8],
        needs: Needs,
    ) -> Result<BodyFacts<'a>, Unreadable> {
        let one = |name: &str, otherwise| match headers.get_all(name).count() {
            0 => Ok(None),
            1 => headers.get_str(name).map(Some).ok_or(otherwise),
            _ => Err(otherwise),
        };
        let content_type = one("content-type", Unreadable::Type)?;
        let content_encoding = one("content-encoding", Unreadable::Encoded)?;
        BodyFacts::read(bytes, content_type, content_encoding, needs)
    }

    /// Reads a body: JSON strictly, text and forms as UTF-8. An empty body has no facts and is readable.
    ///
    /// A scratch copy of JSON is made; the caller counts `bytes` as copied for the policy.
    ///
    /// # Errors
    /// [`Unreadable`] when a policy could not see what an upstream might see (SECURITY R15).
    pub fn parse(
        bytes: &'a [u8],
        content_type: Option<&str>,
        content_encoding: Option<&str>,
        needs: Needs,
    ) -> Result<BodyFacts<'a>, Unreadable> {
        BodyFacts::read(bytes, content_type, content_encoding, needs)?.gather(needs, false)
    }

    fn read(
        bytes: &'a [u8],
        content_type: Option<&str>,
        content_encoding: Option<&str>,
        needs: Needs,
    ) -> Result<BodyFacts<'a>, Unreadable> {
        if bytes.is_empty() || !needs.any() {
            return Ok(BodyFacts::none());
        }
        if content_encoding.is_some_and(|coding| !coding.trim().eq_ignore_ascii_case("identity")) {
            return Err(Unreadable::Encoded);
        }
        refuse_other_encodings(bytes)?;
        let kind = match content_type {
            Some(content_type) => kind_of(content_type)?,
            None if needs.json => Kind::Json,
            None => Kind::Unsaid,
        };
        let document = match kind {
            Kind::Json => Some(Document::parse(bytes)?),
            _ if needs.json => return Err(Unreadable::Type),
            // A server may parse JSON whatever the type says: then policy must not see less than it.
            Kind::Text | Kind::Form | Kind::Unsaid if looks_like_json(bytes) => Document::parse(bytes).ok(),
            Kind::Text | Kind::Form | Kind::Unsaid => None,
        };
        Ok(BodyFacts { raw: bytes, document, kind, ..BodyFacts::default() })
    }

    /// Gathers the texts to search, where they are needed: those that were judged before only where `whole`
    /// says that a policy looks at them all the same.
    ///
    /// # Errors
    /// [`Unreadable::NotUtf8`].
    pub fn gather(mut self, needs: Needs, whole: bool) -> Result<BodyFacts<'a>, Unreadable> {
        if !needs.text || self.raw.is_empty() {
            return Ok(self);
        }
        let (mut folded, mut judged) = (Vec::with_capacity(64), Vec::new());
        if let Some(document) = &self.document {
            folded.reserve(self.raw.len());
            self.strings(0..document.nodes.len(), View::Fresh, |string| text::fold_into(string, &mut folded));
            if whole {
                let texts = self.judged.iter().flat_map(Range::clone).filter_map(|node| document.text(node));
                texts.for_each(|string| text::fold_into(string, &mut judged));
            }
        }
        if self.kind != Kind::Json || needs.raw {
            fold_whole(self.raw, self.kind, &mut folded)?;
        }
        (self.folded, self.folded_judged) = (folded, judged);
        Ok(self)
    }

    /// Whether the texts hold one of the patterns.
    pub(super) fn holds(&self, patterns: &AhoCorasick, view: View<'_>) -> bool {
        match view {
            View::Whole => patterns.is_match(&self.folded) || patterns.is_match(&self.folded_judged),
            View::Fresh => patterns.is_match(&self.folded),
            View::Only(_) => {
                let mut folded = Vec::new();
                let nodes = self.document.as_ref().map_or(0, |document| document.nodes.len());
                self.strings(0..nodes, view, |string| text::fold_into(string, &mut folded));
                patterns.is_match(&folded)
            }
        }
    }

    /// The whole body as text; `None` if it is not UTF-8.
    pub(super) fn whole(&self) -> Option<&str> {
        std::str::from_utf8(self.raw).ok()
    }

    /// What a pointer leads to; nothing when there is no JSON document.
    pub(super) fn find(&self, pointer: &Pointer, view: View<'_>) -> Found<'_> {
        let Some(document) = &self.document else { return Found::Missing };
        match (document.locate(pointer), view) {
            (Ok(Some(index)), _) if self.is_seen(index, view) => {
                document.value(index).map_or(Found::Missing, Found::Value)
            }
            // Where only a part is looked at, what is nowhere says nothing of that part.
            (Ok(Some(_)), _) | (_, View::Only(_)) => Found::Judged,
            (Ok(None), _) => Found::Missing,
            (Err(Lookalike), _) => Found::Lookalike,
        }
    }

    /// Whether a value is looked at: lists and objects are wherever a part of them may be.
    fn is_seen(&self, index: usize, view: View<'_>) -> bool {
        let end = self.document.as_ref().map_or(index, |document| document.behind(index));
        match view {
            View::Whole => true,
            View::Fresh => !self.judged.iter().any(|range| range.start <= index && end <= range.end),
            View::Only(ranges) => ranges.iter().any(|range| range.start < end && index < range.end),
        }
    }

    /// Whether a string below a value that [`BodyFacts::find`] gave is as `test` says.
    pub(super) fn any_string_below(
        &self,
        tree: Subtree,
        view: View<'_>,
        test: impl Fn(&str) -> bool,
    ) -> bool {
        let mut found = false;
        self.strings(tree.start..tree.end, view, |string| found |= !found && test(string));
        found
    }

    /// Every string among `nodes` that is looked at, member names included.
    fn strings(&self, nodes: Range<usize>, view: View<'_>, mut each: impl FnMut(&str)) {
        let Some(document) = &self.document else { return };
        let mut pass = |range: Range<usize>| {
            let within = range.start.max(nodes.start)..range.end.min(nodes.end);
            within.filter_map(|node| document.text(node)).for_each(&mut each);
        };
        match view {
            View::Whole => pass(nodes.clone()),
            View::Only(ranges) => ranges.iter().cloned().for_each(pass),
            View::Fresh => {
                let mut from = nodes.start;
                for range in &self.judged {
                    pass(from..range.start.max(from));
                    from = from.max(range.end);
                }
                pass(from..nodes.end);
            }
        }
    }

    /// Looks for a conversation, and says of how many blocks it is; zero where there is none that could be
    /// judged in parts.
    pub fn read_blocks(&mut self, needs: Needs) -> usize {
        // Whoever searches the raw text of a body searches all of it.
        if self.kind == Kind::Json && !needs.raw {
            self.blocks = self.document.as_ref().and_then(blocks).unwrap_or_default();
        }
        self.blocks.len()
    }

    /// Gives the bytes that make a block the one that it is, see `blocks.rs`; with the form of its text
    /// where that `tells`.
    pub fn write_block(&self, index: usize, tells: bool, out: &mut dyn FnMut(&[u8])) {
        if let (Some(document), Some(block)) = (&self.document, self.blocks.get(index)) {
            block.write(document, tells, out);
        }
    }

    /// The first `passed` blocks were judged before, and so was each text in the blocks `removed` that is
    /// `marks`: what the gateway itself has put there.
    pub fn pass(&mut self, passed: usize, removed: &[(usize, String)]) {
        let Some(document) = &self.document else { return };
        let mut judged = Vec::new();
        self.blocks.iter().take(passed).for_each(|block| block.judged(document, &mut judged));
        for (index, mark) in removed.iter().filter(|(index, _)| *index >= passed) {
            let nodes = self.blocks.get(*index).into_iter().flat_map(|block| block.ranges.iter().cloned());
            let marks = nodes.flatten().filter(|node| document.text(*node) == Some(mark));
            judged.extend(marks.map(|node| node..node + 1));
        }
        judged.retain(|range| !range.is_empty());
        judged.sort_unstable_by_key(|range| range.start);
        (self.judged, self.passed) = (judged, passed.min(self.blocks.len()));
    }

    /// Where these blocks stand in the body, which is `body`; without those that stand nowhere by themselves.
    pub fn spans(&self, body: &[u8], blocks: &[usize]) -> Vec<Range<usize>> {
        removal::spans(self, body, blocks)
    }

    /// Whether a part of it was judged before.
    pub(super) fn has_judged(&self) -> bool {
        !self.judged.is_empty()
    }

    /// Indices of the blocks that were not judged before.
    pub fn fresh(&self) -> Range<usize> {
        self.passed..self.blocks.len()
    }
}

/// Gathers the body as received: as it is, and as a server could read it.
fn fold_whole(bytes: &[u8], kind: Kind, folded: &mut Vec<u8>) -> Result<(), Unreadable> {
    let whole = std::str::from_utf8(bytes).map_err(|_| Unreadable::NotUtf8)?;
    text::fold_into(whole, folded);
    if kind != Kind::Json {
        text::fold_unescaped_into(whole, folded);
    }
    if kind == Kind::Form {
        text::fold_form_into(whole, folded);
    }
    Ok(())
}

/// The kind that a media type stands for (RFC 9110 section 8.3.1, RFC 6839 section 3.1).
fn kind_of(content_type: &str) -> Result<Kind, Unreadable> {
    let mut parts = content_type.split(';');
    let media = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
    let charset =
        parts.filter_map(|p| p.split_once('=')).find(|(n, _)| n.trim().eq_ignore_ascii_case("charset"));
    if let Some((_, charset)) = charset {
        let charset = charset.trim().trim_matches('"').to_ascii_lowercase();
        if !matches!(charset.as_str(), "utf-8" | "utf8" | "us-ascii") {
            return Err(Unreadable::Charset);
        }
    }
    match media.as_str() {
        "application/json" | "text/json" => Ok(Kind::Json),
        media if media.ends_with("+json") => Ok(Kind::Json),
        "text/plain" | "text/csv" | "text/markdown" | "text/sql" => Ok(Kind::Text),
        "application/sql" | "application/x-sql" => Ok(Kind::Text),
        "application/x-www-form-urlencoded" => Ok(Kind::Form),
        _ => Err(Unreadable::Type),
    }
}

/// Whether the first byte that is not white space begins a JSON object, array or string.
fn looks_like_json(bytes: &[u8]) -> bool {
    let first = bytes.iter().find(|b| !matches!(b, b' ' | b'\t' | b'\r' | b'\n'));
    matches!(first, Some(b'{' | b'[' | b'"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Needs = Needs { json: false, text: true, raw: true, decides: true };
    const JSON: Needs = Needs { json: true, text: true, raw: false, decides: true };

    #[test]
    fn what_the_policy_cannot_see_is_unreadable() {
        let check = |bytes: &[u8], content_type, coding, needs, reason: Option<Unreadable>| {
            let facts = BodyFacts::parse(bytes, content_type, coding, needs);
            assert_eq!(facts.err(), reason, "{content_type:?} {}", String::from_utf8_lossy(bytes));
        };
        let json = Some("application/json");
        check(b"{}", json, None, JSON, None);
        check(b"{}", Some("Application/Problem+JSON ; charset=\"UTF-8\""), None, JSON, None);
        check(b"{}", None, None, JSON, None);
        check(b"", Some("image/png"), Some("gzip"), JSON, None);
        check(b"{}", json, Some("gzip"), JSON, Some(Unreadable::Encoded));
        check(b"{}", json, Some("identity, gzip"), JSON, Some(Unreadable::Encoded));
        check(b"{}", json, Some("Identity"), JSON, None);
        check(b"{}", Some("text/plain"), None, JSON, Some(Unreadable::Type));
        check(b"{}", Some("application/x-www-form-urlencoded"), None, JSON, Some(Unreadable::Type));
        check(b"{}", Some("multipart/form-data; boundary=x"), None, ALL, Some(Unreadable::Type));
        check(b"{}", Some("application/x-ndjson"), None, ALL, Some(Unreadable::Type));
        check(b"{}", Some(""), None, ALL, Some(Unreadable::Type));
        check(b"{}", Some("application/json; charset=utf-16"), None, JSON, Some(Unreadable::Charset));
        check(b"x", Some("text/plain; charset=latin1"), None, ALL, Some(Unreadable::Charset));
        check(b"x", json, None, JSON, Some(Unreadable::Syntax));
        check(b"x", json, None, ALL, Some(Unreadable::Syntax));
        check(b"{x", Some("text/plain"), None, ALL, None);
        check(b"\xff\xff", Some("text/plain"), None, ALL, Some(Unreadable::NotUtf8));
        check(b"\xff\xfex", Some("text/plain"), None, ALL, Some(Unreadable::ByteOrderMark));
        check(b"D\0R\0O\0P\0", Some("text/plain"), None, ALL, Some(Unreadable::NotUtf8));
        check(b"\xff\xff", json, None, Needs::default(), None);
    }

    #[test]
    fn two_content_types_are_unreadable() {
        let check = |fields: &[(&str, &str)], reason| {
            let mut headers = Headers::new();
            fields.iter().for_each(|(name, value)| headers.append(name, value.as_bytes()));
            assert_eq!(BodyFacts::from_request(&headers, b"{}", JSON).err(), reason, "{fields:?}");
        };
        let json = ("content-type", "application/json");
        check(&[json], None);
        check(&[], None);
        check(&[json, ("Content-Type", "text/plain")], Some(Unreadable::Type));
        check(&[json, ("content-encoding", "gzip")], Some(Unreadable::Encoded));
        check(
            &[json, ("content-encoding", "identity"), ("content-encoding", "gzip")],
            Some(Unreadable::Encoded),
        );
    }

    #[test]
    fn texts_are_searched_as_a_server_could_read_them() {
        let check = |bytes: &str, content_type, needs, found| {
            let facts = BodyFacts::parse(bytes.as_bytes(), content_type, None, needs).unwrap();
            let holds = memchr::memmem::find(&facts.folded, b"DROP TABLE").is_some();
            assert_eq!(holds, found, "{content_type:?} {bytes}");
        };
        let (json, text) = (Some("application/json"), Some("text/plain"));
        check(r#"{"q":["DROP\u0020TABLE a"]}"#, json, JSON, true);
        check(r#"{"q":"DROP \n\tTABLE a"}"#, json, JSON, true);
        check(r#"{"DROP TABLE":1}"#, json, JSON, true);
        check(r#"{"q":"DROP","TABLE":1}"#, json, JSON, false);
        check("[\"DROP\"\n,\"TABLE\"]", json, ALL, false);
        check("DROP\r\nTABLE a", text, ALL, true);
        check(r#"{"q":"DROP\u0020TABLE"}"#, text, ALL, true);
        check(r#"{"q":"DROP\u0020TABLE",}"#, text, ALL, true);
        check(r"a DROP\tTABLE", text, ALL, true);
        check("q=DROP+TABLE", Some("application/x-www-form-urlencoded"), ALL, true);
        check("q=%44ROP%20TABLE", Some("application/x-www-form-urlencoded"), ALL, true);
        check("q=DROP+TABLE", text, ALL, false);
        check("DROP TABLE", None, ALL, true);
    }
}
