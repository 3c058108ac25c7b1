//! Which spans two sets of masks do not have in common.
//!
//! Recorded bytes are masked already: what then was replaced is told by the record's edits alone. What one
//! set finds in them and the other does not is told by running both, so that equal masks never differ.

use super::{
    super::{Exchange, response::content_type},
    Recorded, Unknown,
    recorded::Kept,
};
use crate::{
    audit,
    buffer::{Segments, Tally},
    inspect::{Context, Direction, Edit, Error, Inspector, MaskSet, Rule, dialect::Dialect},
};
use std::sync::Arc;

/// What becomes of a span under the other masks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// It passed, and would be masked.
    Added,
    /// It was masked, and would pass.
    Removed,
}

/// Bytes of a body that only one of both configurations masks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    pub change: Change,
    /// The mask.
    pub rule: Arc<str>,
    /// Request or response.
    pub direction: Direction,
    /// The first byte: of an added span in the body as it was recorded, of a removed one in the body as it
    /// was received, which are the same in front of the first mask.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
}

/// Compares what `then` (the masks of the exchange's route in their order, if they are known) and the masks
/// of the route that `exchange` takes now make of both bodies.
pub(super) fn compare(
    recorded: &Recorded<'_>,
    exchange: &Exchange,
    then: Option<&[Rule]>,
) -> (Vec<Span>, Option<Unknown>) {
    let (mut spans, mut unknown) = (Vec::new(), None);
    let Some(route) = &exchange.route else { return (spans, unknown) };
    let directions = [
        (Direction::Request, &recorded.request, &route.request_masks),
        (Direction::Response, &recorded.response, &route.response_masks),
    ];
    for (way, body, now) in directions {
        let sets = Sets { way, then, now: now.as_ref().map_or(&[], |set| set.rules()) };
        if sets.are_equal() {
            continue;
        }
        let context = match way {
            Direction::Request => content_type(&recorded.head.headers).ok(),
            _ => Some(looks_like(&body.masked)),
        };
        let context = context.and_then(|kind| Context::of(kind, exchange.dialect()));
        let found = sets.removed(body, &mut spans).and(match (now, context) {
            (Some(now), Some(context)) => sets.added(now, (context, exchange.dialect()), body, &mut spans),
            (None, _) => Ok(()),
            (Some(_), None) if body.masked.is_empty() => Ok(()),
            (Some(_), None) => Err(Unknown::Unmaskable),
        });
        unknown = unknown.or(found.err());
    }
    (spans, unknown)
}

/// The masks of one direction, then and now.
struct Sets<'a> {
    way: Direction,
    then: Option<&'a [Rule]>,
    now: &'a [Rule],
}

impl Sets<'_> {
    fn active<'a>(&self, rules: &'a [Rule]) -> impl Iterator<Item = &'a Rule> {
        let way = self.way;
        rules.iter().filter(move |rule| rule.direction.covers(way) && !rule.dry_run)
    }

    /// Whether both change the same bytes in the same way, whatever these are.
    fn are_equal(&self) -> bool {
        self.then.is_some_and(|then| self.active(then).eq(self.active(self.now)))
    }

    /// What was masked and would pass.
    fn removed(&self, body: &Kept, spans: &mut Vec<Span>) -> Result<(), Unknown> {
        let mut masked = body.edits.iter().filter(|edit| edit.rule != audit::Edit::REMOVED).peekable();
        if masked.peek().is_none() {
            return Ok(());
        }
        let then = self.then.ok_or(Unknown::MasksNotRecorded)?;
        let mut result = Ok(());
        for edit in masked {
            let rule = then.get(usize::from(edit.rule)).ok_or(Unknown::MasksNotRecorded)?;
            let is_kept = |now: &Rule| now.kind == rule.kind;
            // A mask for other things may find the same bytes, and these are not there any more.
            let may_find = |now: &Rule| self.active(then).all(|then| then.kind != now.kind);
            if self.active(self.now).any(is_kept) {
                continue;
            }
            if self.active(self.now).any(may_find) {
                result = Err(Unknown::Masked);
                continue;
            }
            spans.push(Span {
                change: Change::Removed,
                rule: rule.name.clone(),
                direction: self.way,
                offset: edit.offset,
                len: edit.len,
            });
        }
        result
    }

    /// What passed and would be masked.
    fn added(
        &self,
        now: &Arc<MaskSet>,
        context: (Context, &'static Dialect),
        body: &Kept,
        spans: &mut Vec<Span>,
    ) -> Result<(), Unknown> {
        let found = find(now.clone(), self.way, context, &body.masked, body.whole);
        // A set that was compiled once is compiled again.
        let then = self.then.and_then(|then| MaskSet::compile(then.to_vec()).ok()).map(Arc::new);
        let known = then.map(|then| (find(then.clone(), self.way, context, &body.masked, body.whole), then));
        let is_known = |edit: &Edit| {
            let rule = &self.now[usize::from(edit.rule)];
            known.as_ref().is_some_and(|((edits, _), then)| {
                let same = |one: &Edit| (one.offset, one.len) == (edit.offset, edit.len);
                edits.iter().any(|one| same(one) && then.rules()[usize::from(one.rule)].kind == rule.kind)
            })
        };
        let (edits, error) = found;
        spans.extend(edits.iter().filter(|edit| !is_known(edit)).map(|edit| Span {
            change: Change::Added,
            rule: self.now[usize::from(edit.rule)].name.clone(),
            direction: self.way,
            offset: edit.offset,
            len: edit.len,
        }));
        match error {
            Some(_) => Err(Unknown::Unmaskable),
            None if body.whole => Ok(()),
            None if body.masked.is_empty() => Err(Unknown::BodyNotRecorded),
            None => Err(Unknown::BodyTruncated),
        }
    }
}

/// What a set masks in a body, up to where it cannot be read.
fn find(
    set: Arc<MaskSet>,
    way: Direction,
    (context, dialect): (Context, &'static Dialect),
    body: &Segments,
    whole: bool,
) -> (Vec<Edit>, Option<Error>) {
    let mut inspector = Inspector::new(set, way, context).with_documents(dialect);
    let (mut out, mut edits, mut tally) = (Segments::new(), Vec::new(), Tally::default());
    let pushed = body.iter().try_for_each(|chunk| {
        // What would be sent is of no use here.
        out = Segments::new();
        inspector.push(chunk.clone(), &mut out, &mut edits, &mut tally)
    });
    let ended = pushed.and_then(|()| match whole {
        true => inspector.finish(&mut out, &mut edits, &mut tally),
        false => Ok(()),
    });
    (edits, ended.err())
}

/// A response's fields are not recorded: its type is told from its first bytes.
fn looks_like(body: &Segments) -> Option<&'static str> {
    let first: Vec<u8> = body.iter().flat_map(|chunk| chunk.iter().copied()).take(64).collect();
    let text = first.trim_ascii_start();
    let starts = |starts: &[&[u8]]| starts.iter().any(|start| text.starts_with(start));
    if starts(&[b"data:", b"event:", b"id:", b"retry:", b":"]) {
        Some("text/event-stream")
    } else if starts(&[b"{", b"["]) {
        Some("application/json")
    } else {
        None
    }
}
