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
/// Matches of a block that are looked for, and places of it that are shown.
const MATCHES_MAX: usize = 4_096;
const WINDOWS_MAX: usize = 8;
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
        let find = |block: &str| route.rules.positions(policy, block, MATCHES_MAX);
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
            text.push_str(if text.is_empty() { "" } else { "\n" });
            let mut end = 0;
            for window in windows(block, &find(block), left) {
                text.push_str(if window.start > end { CUT } else { "" });
                text.push_str(&block[window.clone()]);
                end = window.end;
                shown.push(span.start + window.start..span.start + window.end);
            }
            text.push_str(if end < block.len() { CUT } else { "" });
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
        let mut inspector = inspector.with_tokens(|| self.tokens()).with_documents(self.dialect());
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

/// At most `len` bytes of a block, in order: where it is longer, around its matches, for a harmless one must
/// not stand for one far behind it. Of more than [`WINDOWS_MAX`] the first ones and the last one are shown.
fn windows(block: &str, found: &[usize], len: usize) -> Vec<Range<usize>> {
    let ([_, ..], true) = (found, block.len() > len) else {
        return vec![window(block, found.first().copied(), len)];
    };
    let mut apart: Vec<usize> = Vec::new();
    for at in found {
        // What stands shortly behind another one is in its window.
        if apart.last().is_none_or(|last| at - last > len / (2 * WINDOWS_MAX)) {
            apart.push(*at);
        }
    }
    if apart.len() > WINDOWS_MAX {
        let last = apart.pop();
        apart.truncate(WINDOWS_MAX - 1);
        apart.extend(last);
    }
    let mut shown: Vec<Range<usize>> = Vec::new();
    for at in &apart {
        let window = window(block, Some(*at), len / apart.len());
        match shown.last_mut().filter(|last| last.end >= window.start) {
            Some(last) => last.end = last.end.max(window.end),
            None => shown.push(window),
        }
    }
    shown
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
            boundary(at.min(block.len()).saturating_sub(BEFORE_MATCH_BYTES.min(len / 4)))
        }
        _ => 0,
    };
    start..boundary((start + len).min(block.len())).max(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_harmless_match_does_not_stand_for_one_far_behind_it() {
        let block = format!("DROP tmp{}DROP customers{}", "x".repeat(9_000), "y".repeat(9_000));
        let found: Vec<usize> = block.match_indices("DROP").map(|(at, _)| at).collect();
        let shown = windows(&block, &found, 4_096);
        assert_eq!(shown.len(), 2);
        assert!(block[shown[0].clone()].starts_with("DROP tmp"));
        assert!(block[shown[1].clone()].contains("DROP customers"));
        assert!(shown.iter().map(Range::len).sum::<usize>() <= 4_096);
        // Many of them: the last one is among those that are shown.
        let block = format!("{}DROP customers", format!("DROP tmp{}", "x".repeat(500)).repeat(40));
        let found: Vec<usize> = block.match_indices("DROP").map(|(at, _)| at).collect();
        let shown = windows(&block, &found, 2_048);
        assert!(shown.windows(2).all(|two| two[0].end < two[1].start), "{shown:?}");
        assert!(block[shown.last().unwrap().clone()].contains("DROP customers"), "{shown:?}");
        assert!(shown.iter().map(Range::len).sum::<usize>() <= 2_048);
        let only = |found: Vec<Range<usize>>| <[Range<usize>; 1]>::try_from(found).map(|[one]| one);
        assert_eq!(only(windows(&block, &[], 100)), Ok(0..100));
        assert_eq!(only(windows("short", &[2], 100)), Ok(0..5));
    }

    #[test]
    fn a_match_is_shown_near_the_beginning_and_no_character_is_cut() {
        let block = format!("{}DROP{}", "ä".repeat(500), "x".repeat(1_000));
        assert_eq!(window(&block, Some(1_000), 5_000), 0..block.len(), "all of it fits");
        let cut = window(&block, Some(1_000), 300);
        assert_eq!((cut.start, cut.end), (924, 1_224));
        assert!(block[cut].contains("DROP"));
        assert_eq!(window(&block, None, 3), 0..2);
        assert_eq!(window("ä", None, 1), 0..0);
    }
}
