//! The blocks of a conversation: what an agent sends again with every turn, in pieces that are judged once.
//!
//! A block is one system text, one tool, one content block of a message, or what else a message holds beside
//! its content. What is recognised as none of them (lookalikes, unknown members) belongs to no block, and so
//! is looked at every time.

use super::document::{Document, Node};
use crate::limits::CONVERSATION_BLOCKS_MAX;
use smallvec::SmallVec;
use std::ops::Range;

/// Members of a model's request that hold its conversation, in the order in which their blocks are chained.
pub(super) const MEMBERS: [&str; 6] = ["system", "instructions", "tools", "functions", "messages", "input"];
/// What a caller moves about between turns: it is part of no block.
const FREE: &str = "cache_control";

/// Node indices, in order and apart from each other.
pub(super) type Ranges = SmallVec<[Range<usize>; 2]>;

/// One block of a conversation.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub(super) place: Place,
    /// The string that names who speaks.
    role: Option<usize>,
    /// Whether a message begins with it.
    opens: bool,
    /// Its nodes, member names included.
    pub(super) ranges: Ranges,
}

/// Where a block stands in its document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) member: &'static str,
    /// Index in the list of `member`; `None` where that is no list.
    pub(super) item: Option<usize>,
    pub(super) part: Part,
}

/// Which part of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// All of it.
    Whole,
    /// The members beside `role` and `content`.
    Rest,
    /// `content`, which is no list.
    Content,
    /// One element of `content`.
    Element(usize),
}

/// The blocks of a document that holds a conversation; `None` where there is none, or too many.
pub(super) fn blocks(document: &Document) -> Option<Vec<Block>> {
    let mut blocks = Vec::new();
    for member in MEMBERS {
        let Some(value) = document.members(0).find(|(name, _)| document.text(*name) == Some(member)) else {
            continue;
        };
        read_member(document, member, value.1, &mut blocks);
        if blocks.len() > CONVERSATION_BLOCKS_MAX {
            return None;
        }
    }
    (!blocks.is_empty()).then_some(blocks)
}

fn read_member(document: &Document, member: &'static str, value: usize, blocks: &mut Vec<Block>) {
    if !matches!(document.nodes[value], Node::Array { .. }) {
        return blocks.push(whole(document, Place { member, item: None, part: Part::Whole }, value));
    }
    for (item, value) in document.elements(value).enumerate() {
        let place = Place { member, item: Some(item), part: Part::Whole };
        let holds_messages = matches!(member, "messages" | "input");
        match document.nodes[value] {
            Node::Object { .. } if holds_messages => read_message(document, place, value, blocks),
            _ => blocks.push(whole(document, place, value)),
        }
    }
}

fn whole(document: &Document, place: Place, value: usize) -> Block {
    Block { place, role: None, opens: true, ranges: SmallVec::from_elem(value..document.behind(value), 1) }
}

fn read_message(document: &Document, place: Place, message: usize, blocks: &mut Vec<Block>) {
    let (mut role, mut content, mut rest) = (None, None, Ranges::new());
    for (name, value) in document.members(message) {
        match document.text(name) {
            Some("role") if document.text(value).is_some() => role = Some(value),
            Some("content") => content = Some(value),
            Some(FREE) => {}
            _ => rest.push(name..document.behind(value)),
        }
    }
    let first = blocks.len();
    if !rest.is_empty() {
        blocks.push(Block { place: Place { part: Part::Rest, ..place }, role, opens: true, ranges: rest });
    }
    let mut add = |part, value: usize| {
        let ranges = SmallVec::from_elem(value..document.behind(value), 1);
        blocks.push(Block { place: Place { part, ..place }, role, opens: false, ranges });
    };
    match content.map(|value| (value, document.nodes[value])) {
        Some((value, Node::Array { .. })) => {
            document.elements(value).enumerate().for_each(|(index, value)| add(Part::Element(index), value));
        }
        Some((value, _)) => add(Part::Content, value),
        None => {}
    }
    // A message without anything still says who was silent.
    if blocks.len() == first {
        blocks.push(Block { place, role, opens: true, ranges: Ranges::new() });
    }
    blocks[first].opens = true;
}

impl Block {
    /// What makes the block the one that it is, in bytes that no other block has. Left out is what differs
    /// between two turns of one conversation although nothing new is said: `cache_control`, and unless the
    /// form of a text `tells`, whether it stands by itself or in a block, and white space behind it (Claude
    /// Code changes all three).
    pub(super) fn write(&self, document: &Document, tells: bool, out: &mut dyn FnMut(&[u8])) {
        let member = MEMBERS.iter().position(|member| *member == self.place.member).unwrap_or_default();
        let part = match self.place.part {
            Part::Whole => 0,
            Part::Rest => 1,
            Part::Content | Part::Element(_) => 2,
        };
        out(&[member as u8, part, u8::from(self.opens)]);
        write_text(b'r', self.role.and_then(|role| document.text(role)).unwrap_or_default(), out);
        if self.place.part == Part::Rest {
            // Each range is a member's name and its value.
            for range in &self.ranges {
                write_value(document, range.start, out);
                write_value(document, range.start + 1, out);
            }
        } else if let Some(range) = self.ranges.first() {
            match plain_text(document, range.start).filter(|_| !tells) {
                Some(text) => write_text(b't', text.trim_end(), out),
                None => {
                    // Pointers lead to what is in a list, and not to the same by itself.
                    let is_listed = match self.place.part {
                        Part::Whole => self.place.item.is_some(),
                        part => matches!(part, Part::Element(_)),
                    };
                    out(if is_listed { b"l" } else { b"v" });
                    write_value(document, range.start, out);
                }
            }
        }
        out(b".");
    }

    /// The nodes that need not be looked at again once the block is judged: without what it leaves out.
    pub(super) fn judged(&self, document: &Document, out: &mut Vec<Range<usize>>) {
        for range in &self.ranges {
            let value = range.start + usize::from(self.place.part == Part::Rest);
            let mut from = range.start;
            cut(document, value, &mut from, out);
            out.push(from..range.end);
        }
    }
}

/// Cuts out of the nodes from `from` on what is part of no block, as far as it lies in the value at `index`.
fn cut(document: &Document, index: usize, from: &mut usize, out: &mut Vec<Range<usize>>) {
    for (name, value) in document.members(index) {
        if document.text(name) == Some(FREE) {
            out.push(*from..name);
            *from = document.behind(value);
        } else {
            cut(document, value, from, out);
        }
    }
    document.elements(index).for_each(|value| cut(document, value, from, out));
}

/// The text of a string, or of a block that is nothing but text.
fn plain_text(document: &Document, value: usize) -> Option<&str> {
    if let Some(text) = document.text(value) {
        return Some(text);
    }
    let (mut text, mut is_text) = (None, false);
    for (name, value) in document.members(value) {
        match document.text(name) {
            Some("text") => text = Some(document.text(value)?),
            Some("type") => is_text = document.text(value)? == "text",
            Some(FREE) => {}
            _ => return None,
        }
    }
    text.filter(|_| is_text)
}

fn write_text(tag: u8, text: &str, out: &mut dyn FnMut(&[u8])) {
    let mut head = [tag; 9];
    head[1..].copy_from_slice(&(text.len() as u64).to_le_bytes());
    out(&head);
    out(text.as_bytes());
}

/// Each value behind its kind, texts behind their length, lists and objects up to their end. Documents are
/// not nested deeper than the parser allows.
fn write_value(document: &Document, index: usize, out: &mut dyn FnMut(&[u8])) {
    match document.nodes[index] {
        Node::Null => out(b"0"),
        Node::Bool(value) => out(if value { b"+" } else { b"-" }),
        Node::Signed(value) => write_number(b'i', value.to_le_bytes(), out),
        Node::Unsigned(value) => write_number(b'u', value.to_le_bytes(), out),
        Node::Float(value) => write_number(b'f', value.to_bits().to_le_bytes(), out),
        Node::Text { .. } => write_text(b's', document.text(index).unwrap_or_default(), out),
        Node::Array { .. } => {
            out(b"[");
            document.elements(index).for_each(|value| write_value(document, value, out));
            out(b"]");
        }
        Node::Object { .. } => {
            out(b"{");
            for (name, value) in
                document.members(index).filter(|(name, _)| document.text(*name) != Some(FREE))
            {
                write_value(document, name, out);
                write_value(document, value, out);
            }
            out(b"}");
        }
    }
}

fn write_number(tag: u8, bytes: [u8; 8], out: &mut dyn FnMut(&[u8])) {
    out(&[tag]);
    out(&bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(body: &str) -> Vec<Vec<u8>> {
        written_as(body, false)
    }

    fn written_as(body: &str, tells: bool) -> Vec<Vec<u8>> {
        let document = Document::parse(body.as_bytes()).unwrap();
        let write = |block: &Block| {
            let mut bytes = Vec::new();
            block.write(&document, tells, &mut |part| bytes.extend_from_slice(part));
            bytes
        };
        blocks(&document).iter().flatten().map(write).collect()
    }

    fn judged(body: &str) -> String {
        let document = Document::parse(body.as_bytes()).unwrap();
        let mut ranges = Vec::new();
        blocks(&document).iter().flatten().for_each(|block| block.judged(&document, &mut ranges));
        let texts = ranges.into_iter().flatten().filter_map(|node| document.text(node));
        texts.collect::<Vec<_>>().join("|")
    }

    #[test]
    fn what_agents_change_between_turns_is_no_difference() {
        let first = concat!(
            r#"{"system":[{"type":"text","text":"be kind","cache_control":{"type":"ephemeral"}}],"#,
            r#""messages":[{"role":"user","content":[{"type":"text","text":"hi","#,
            r#""cache_control":{"type":"ephemeral"}}]},{"role":"system","content":"where"}]}"#
        );
        let later = concat!(
            r#"{"messages":[{"content":"hi\n","role":"user"},"#,
            r#"{"role":"system","content":[{"text":"where","type":"text"}]}],"#,
            r#""system":"be kind"}"#
        );
        assert_eq!(written(first)[1..], written(later)[1..], "messages");
        assert_eq!(written(r#"{"system":"a"}"#), written(r#"{"system":[{"type":"text","text":"a "}]}"#));
    }

    #[test]
    fn what_is_said_who_says_it_and_where_a_message_begins_are_differences() {
        let message = |text: &str| format!("{{\"messages\":[{text}]}}");
        let all: Vec<_> = [
            r#"{"role":"user","content":"a"}"#,
            r#"{"role":"user","content":" a"}"#,
            r#"{"role":"assistant","content":"a"}"#,
            r#"{"content":"a"}"#,
            r#"{"role":"user","content":"a","name":"b"}"#,
            r#"{"role":"user","content":[{"type":"text","text":"a","citations":[]}]}"#,
            r#"{"role":"user","content":[{"type":"texts","text":"a"}]}"#,
            r#"{"role":"user","content":["a","b"]}"#,
            r#"{"role":"user","content":"a"},{"role":"user","content":"b"}"#,
            r#"{"role":"user","content":["ab"]}"#,
            r#"{"role":"user","content":1}"#,
            r#"{"role":"user","content":[[1]]}"#,
            r#"{"role":"user"}"#,
            r#""a""#,
        ]
        .iter()
        .map(|text| written(&message(text)))
        .collect();
        for (index, one) in all.iter().enumerate() {
            assert!(!one.is_empty());
            for (other, two) in all.iter().enumerate() {
                assert_eq!(index == other, one == two, "{index} and {other}");
            }
        }
        assert_ne!(written(r#"{"system":"a"}"#), written(r#"{"instructions":"a"}"#));
        assert!(written(r#"{"Messages":[{"role":"user","content":"a"}]}"#).is_empty(), "a lookalike");
        assert!(written("[1]").is_empty() && written("1").is_empty());
    }

    #[test]
    fn a_value_by_itself_is_not_the_same_in_a_list() {
        let one = written(r#"{"tools":{"name":"bash"},"messages":[{"content":{"type":"a"}}]}"#);
        let other = written(r#"{"tools":[{"name":"bash"}],"messages":[{"content":[{"type":"a"}]}]}"#);
        assert!(one.len() == 2 && one[0] != other[0] && one[1] != other[1]);
        let texts =
            [r#"{"system":"a"}"#, r#"{"system":["a"]}"#, r#"{"system":[{"type":"text","text":"a"}]}"#];
        for tells in [false, true] {
            let [one, two, three] = texts.map(|text| written_as(text, tells));
            assert!((one == two, two == three) == (!tells, !tells));
        }
    }

    #[test]
    fn what_a_block_leaves_out_is_never_judged() {
        let body = concat!(
            r#"{"model":"m","messages":[{"role":"user","content":[{"type":"tool_use","#,
            r#""input":{"a":"b","cache_control":{"x":"DROP"},"c":"d"},"cache_control":"DROP"}],"#,
            r#""tool_calls":[{"e":"f"}]}]}"#
        );
        assert_eq!(judged(body), "tool_calls|e|f|type|tool_use|input|a|b|c|d");
    }

    #[test]
    fn too_many_blocks_are_none() {
        let body = |count: usize| format!("{{\"messages\":[{}1]}}", "1,".repeat(count - 1));
        assert_eq!(written(&body(CONVERSATION_BLOCKS_MAX)).len(), CONVERSATION_BLOCKS_MAX);
        assert!(written(&body(CONVERSATION_BLOCKS_MAX + 1)).is_empty());
    }
}
