//! What people see of a held body: as it would go upstream, the match first, then what else is new.

use super::{Exchange, conversation::Said, plan::Route, response::content_type};
use crate::{
    approval::Excerpt,
    buffer::{Segments, Tally},
    http::Headers,
    inspect::{self, Inspector, encoding::Coding},
    limits::{CONVERSATION_EXCERPT_BODY_MAX, HOLD_EXCERPT_BYTES},
    policy::{BodyFacts, Needs},
};
use std::ops::Range;

/// What is shown in front of a match, in bytes.
const BEFORE_MATCH_BYTES: usize = 256;
/// Stands where something is left out within a block.
const CUT: &str = "…";

impl Exchange {
    /// The excerpt of a held body. What cannot be masked is not shown.
    pub(super) fn excerpt(&self, headers: &Headers, body: &Segments, route: &Route) -> Excerpt {
        let new = self.said.as_ref().and_then(|said| self.news(said, headers, body, route));
        new.unwrap_or_else(|| self.beginning(headers, body, route))
    }

    fn beginning(&self, headers: &Headers, body: &Segments, route: &Route) -> Excerpt {
        let len = body.len_bytes();
        let shown = HOLD_EXCERPT_BYTES.min(len);
        let none = Excerpt { hidden_bytes: len as u64, ..Excerpt::default() };
        let begin = body.clone().split_to(shown);
        let Some(begin) = self.masked(headers, begin, shown == len, route) else { return none };
        let text = String::from_utf8_lossy(&begin.to_vec()).into_owned();
        Excerpt { text, hidden_bytes: (len - shown) as u64, is_new: false }
    }

    /// What is new in a conversation; `None` where it is not held for what is said there, and where its
    /// blocks cannot be told apart once they are masked.
    fn news(&self, said: &Said, headers: &Headers, body: &Segments, route: &Route) -> Option<Excerpt> {
        if said.blamed.is_empty() || body.len_bytes() > CONVERSATION_EXCERPT_BODY_MAX {
            return None;
        }
        let bytes = self.masked(headers, body.clone(), true, route)?.to_vec();
        let needs = Needs { json: true, decides: true, ..Needs::default() };
        let mut facts = BodyFacts::from_request(headers, &bytes, needs).ok()?;
        facts.read_blocks(needs);
        let others = said.fresh().filter(|block| !said.blamed.contains(block));
        let order: Vec<usize> = said.blamed.iter().copied().chain(others).collect();
        let policy = self.decision.as_ref().map_or("", |decision| &decision.policy);
        let find = |block: &str| route.rules.position(policy, block);
        let (mut text, mut shown) = (String::new(), Vec::new());
        for (index, span) in facts.spans(&bytes, &order).into_iter().enumerate() {
            // Of each block that matches something is shown: a long one hides none behind it.
            let sharers = said.blamed.len().saturating_sub(index).max(1);
            let left = HOLD_EXCERPT_BYTES.saturating_sub(text.len()) / sharers;
            let is_shown = |one: &Range<usize>| one.start < span.end && span.start < one.end;
            if left == 0 || shown.iter().any(is_shown) {
                continue;
            }
            let block = std::str::from_utf8(bytes.get(span.clone())?).ok()?;
            let window = window(block, find(block), left);
            let (before, behind) = (window.start > 0, window.end < block.len());
            text.push_str(if text.is_empty() { "" } else { "\n" });
            text.push_str(if before { CUT } else { "" });
            text.push_str(&block[window.clone()]);
            text.push_str(if behind { CUT } else { "" });
            shown.push(span.start + window.start..span.start + window.end);
        }
        let shown_bytes: usize = shown.iter().map(Range::len).sum();
        (shown_bytes > 0).then(|| Excerpt {
            text,
            hidden_bytes: (bytes.len() - shown_bytes) as u64,
            is_new: true,
        })
    }

    /// What the masks of the route make of a body, or of its beginning; `None` where it cannot be masked.
    fn masked(&self, headers: &Headers, data: Segments, is_whole: bool, route: &Route) -> Option<Segments> {
        if !matches!(Coding::of(headers.get_all("content-encoding")), Ok(None)) {
            return None;
        }
        let Some(masks) = &route.request_masks else { return Some(data) };
        let context = inspect::Context::of(content_type(headers).ok()?, self.dialect())?;
        let inspector = Inspector::new(masks.clone(), inspect::Direction::Request, context);
        let mut inspector = inspector.with_tokens(|| self.tokens());
        let (mut out, mut edits, mut tally) = (Segments::new(), Vec::new(), Tally::default());
        for chunk in data {
            inspector.push(chunk, &mut out, &mut edits, &mut tally).ok()?;
        }
        if is_whole {
            inspector.finish(&mut out, &mut edits, &mut tally).ok()?;
        }
        Some(out)
    }
}

/// At most `len` bytes of a block, with its match near their beginning.
fn window(block: &str, found: Option<usize>, len: usize) -> Range<usize> {
    let boundary = |mut at: usize| {
        while !block.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let start = match found {
        Some(at) if block.len() > len => {
            boundary(at.min(block.len()).saturating_sub(BEFORE_MATCH_BYTES.min(len - len / 8)))
        }
        _ => 0,
    };
    start..boundary((start + len).min(block.len())).max(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_match_is_shown_near_the_beginning_and_no_character_is_cut() {
        let block = format!("{}DROP{}", "ä".repeat(500), "x".repeat(1_000));
        assert_eq!(window(&block, Some(1_000), 5_000), 0..block.len(), "all of it fits");
        let cut = window(&block, Some(1_000), 300);
        assert_eq!((cut.start, cut.end), (744, 1_044));
        assert!(block[cut].contains("DROP"));
        assert_eq!(window(&block, None, 3), 0..2);
        assert_eq!(window("ä", None, 1), 0..0);
    }
}
