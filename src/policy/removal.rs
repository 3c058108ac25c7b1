//! Takes what a policy has blocked out of a later turn of its conversation, in place: the bytes around it
//! stay as they are, and the body stays one that its upstream takes.

use super::blocks::{Block, Part};
use super::body::BodyFacts;
use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::{fmt, ops::Range};

/// Bytes of a body that were replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Removal {
    /// First replaced byte, counted from the start of the body as it was received.
    pub offset: u64,
    /// Replaced bytes.
    pub len: u64,
    /// Bytes that stand there now.
    pub put: u64,
}

/// What stands for a removed block.
pub fn mark(policy: &str) -> String {
    format!("[removed by policy {policy}]")
}

/// The body without these blocks, each of which is left with its mark, and what was replaced, in order.
/// `None` if one of them cannot be replaced: a signed one, a tool, or what is not known to stay valid.
pub fn remove(
    facts: &BodyFacts<'_>,
    body: &[u8],
    blocks: &[(usize, String)],
) -> Option<(Vec<u8>, Vec<Removal>)> {
    let mut edits: Vec<(Range<usize>, String)> = Vec::new();
    for (index, mark) in blocks {
        let block = facts.blocks.get(*index)?;
        let mut of_block = Vec::new();
        replace(block, body, mark, &mut of_block)?;
        if of_block.is_empty() {
            return None;
        }
        edits.extend(of_block);
    }
    edits.sort_by_key(|(range, _)| range.start);
    let (mut out, mut removals, mut from) = (Vec::with_capacity(body.len()), Vec::new(), 0);
    for (range, put) in edits {
        out.extend_from_slice(body.get(from..range.start)?);
        out.extend_from_slice(put.as_bytes());
        let len = range.len() as u64;
        removals.push(Removal { offset: range.start as u64, len, put: put.len() as u64 });
        from = range.end;
    }
    out.extend_from_slice(body.get(from..)?);
    Some((out, removals))
}

/// The span of each block, as it stands in `body`.
pub(super) fn spans(facts: &BodyFacts<'_>, body: &[u8], blocks: &[usize]) -> Vec<Range<usize>> {
    let find = |index: &usize| Some(span(body, find(facts.blocks.get(*index)?, body)?));
    blocks.iter().filter_map(find).collect()
}

/// The value that a block is, or the message that it is the rest of.
fn find<'a>(block: &Block, body: &'a [u8]) -> Option<&'a RawValue> {
    let list = member(std::str::from_utf8(body).ok()?, block.place.member)?;
    let Some(item) = block.place.item else { return Some(list) };
    let item = element(list, item)?;
    match block.place.part {
        Part::Whole | Part::Rest => Some(item),
        Part::Content => member(item.get(), "content"),
        Part::Element(index) => element(member(item.get(), "content")?, index),
    }
}

/// What is to be put into which bytes so that nothing of the block's content is left.
fn replace(block: &Block, body: &[u8], mark: &str, edits: &mut Vec<(Range<usize>, String)>) -> Option<()> {
    let value = find(block, body)?;
    let quoted = serde_json::to_string(mark).ok()?;
    let kind = member(value.get(), "type").and_then(text);
    let of = |name: &str| member(value.get(), name);
    let mut put = |value: &RawValue, text: String| edits.push((span(body, value), text));
    match (block.place.part, kind.as_deref()) {
        (_, _) if block.place.member == "tools" || block.place.member == "functions" => return None,
        (Part::Rest, _) => {
            for value in
                ["output", "arguments"].into_iter().filter_map(of).filter(|value| text(value).is_some())
            {
                put(value, quoted.clone());
            }
            for call in of("tool_calls").map(elements).unwrap_or_default() {
                put(member(member(call.get(), "function")?.get(), "arguments")?, quoted_call(&quoted)?);
            }
        }
        _ if text(value).is_some() => put(value, quoted),
        (_, Some("text" | "input_text" | "output_text")) => put(of("text")?, quoted),
        (_, Some("tool_result")) => put(of("content")?, quoted),
        (_, Some("tool_use")) => put(of("input")?, format!("{{\"removed\":{quoted}}}")),
        (Part::Element(_), Some("image" | "document" | "image_url" | "input_audio" | "file")) => {
            put(value, format!("{{\"type\":\"text\",\"text\":{quoted}}}"));
        }
        (Part::Element(_), Some("input_image" | "input_file")) => {
            put(value, format!("{{\"type\":\"input_text\",\"text\":{quoted}}}"));
        }
        _ => return None,
    }
    Some(())
}

/// Arguments of a call are a document in a string.
fn quoted_call(quoted: &str) -> Option<String> {
    serde_json::to_string(&format!("{{\"removed\":{quoted}}}")).ok()
}

/// Where a part of `body` stands in it.
fn span(body: &[u8], part: &RawValue) -> Range<usize> {
    // The parser borrows: the part lies in the body.
    let start = (part.get().as_ptr() as usize).saturating_sub(body.as_ptr() as usize);
    start..start + part.get().len()
}

fn text(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}

fn elements(list: &RawValue) -> Vec<&RawValue> {
    serde_json::from_str(list.get()).unwrap_or_default()
}

fn element(list: &RawValue, index: usize) -> Option<&RawValue> {
    elements(list).get(index).copied()
}

/// The value of a member; `None` if it is not there, or `object` is none.
fn member<'a>(object: &'a str, name: &str) -> Option<&'a RawValue> {
    struct Member<'n>(&'n str);
    impl<'de> Visitor<'de> for Member<'_> {
        type Value = Option<&'de RawValue>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut found = None;
            while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                if name == self.0 {
                    found = Some(value);
                }
            }
            Ok(found)
        }
    }
    serde_json::Deserializer::from_str(object).deserialize_map(Member(name)).ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::super::Needs;
    use super::*;

    const NEEDS: Needs = Needs { json: true, text: true, raw: false, decides: true };

    fn without(body: &str, index: usize) -> Option<String> {
        let mut facts = BodyFacts::parse(body.as_bytes(), None, None, NEEDS).unwrap();
        facts.read_blocks(NEEDS);
        let (out, removals) = remove(&facts, body.as_bytes(), &[(index, mark("no \"x\""))])?;
        let changed: u64 = removals.iter().map(|one| one.put).sum::<u64>();
        let gone: u64 = removals.iter().map(|one| one.len).sum::<u64>();
        assert_eq!(out.len() as u64, body.len() as u64 - gone + changed);
        Some(String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_removed_block_leaves_its_mark_and_what_its_upstream_needs() {
        let mark = r#""[removed by policy no \"x\"]""#;
        let check = |content: &str, expected: Option<&str>| {
            let message = |content: &str| {
                format!("{{ \"messages\" : [1, {{\"role\":\"user\",\"content\":{content} }}],\"a\":1}}")
            };
            let found = without(&message(content), 1);
            assert_eq!(found, expected.map(|one| message(&one.replace("MARK", mark))), "{content}");
        };
        check(r#""a\u0020b""#, Some("MARK"));
        check(
            r#"[{"type":"text","text":"a","cache_control":{}},{"type":"text","text":"b"}]"#,
            Some(r#"[{"type":"text","text":MARK,"cache_control":{}},{"type":"text","text":"b"}]"#),
        );
        check(
            r#"[{"type":"tool_result","tool_use_id":"t","content":[{"type":"text","text":"a"}]}]"#,
            Some(r#"[{"type":"tool_result","tool_use_id":"t","content":MARK}]"#),
        );
        check(
            r#"[{"type":"tool_use","id":"t","name":"n","input":{"a":1}}]"#,
            Some(r#"[{"type":"tool_use","id":"t","name":"n","input":{"removed":MARK}}]"#),
        );
        check(r#"[{"type":"image","source":{}}]"#, Some(r#"[{"type":"text","text":MARK}]"#));
        check(r#"[{"type":"thinking","thinking":"a","signature":"s"}]"#, None);
        check(r#"[{"type":"new","a":"b"}]"#, None);
        check(r#"[{"type":"tool_result","tool_use_id":"t"}]"#, None);
        check("[7]", None);
        check("7", None);
    }

    #[test]
    fn calls_and_system_texts_are_removed_and_tools_are_not() {
        let call = concat!(
            r#"{"messages":[{"role":"assistant","tool_calls":"#,
            r#"[{"id":"c","function":{"name":"f","arguments":"{}"}}]}]}"#
        );
        let expected = r#""arguments":"{\"removed\":\"[removed by policy no \\\"x\\\"]\"}""#;
        assert!(without(call, 0).unwrap().contains(expected), "{:?}", without(call, 0));
        assert!(without(r#"{"system":"a"}"#, 0).unwrap().contains("removed by"));
        assert!(without(r#"{"input":[{"type":"function_call_output","output":"a"}]}"#, 0).is_some());
        assert!(without(r#"{"input":"a"}"#, 0).is_some());
        assert_eq!(without(r#"{"tools":[{"name":"a"}]}"#, 0), None);
        assert_eq!(without(r#"{"tools":[{"name":"a"}]}"#, 1), None);
    }
}
