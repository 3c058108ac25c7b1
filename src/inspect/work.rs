//! What the streams of one inspector share while they work: the rules, and memory that is used again.

use super::codec::Map;
use super::detect::{Extent, Found, Hits, Lane, Scan};
use super::emit::Emit;
use super::rule::Rule;
use super::seal::Thinking;
use super::token::SessionTokens;
use crate::limits::INSPECT_SCRATCH_BYTES_MAX;
use std::ops::Range;

/// Lanes of a plan: the rules that change the body, then those that only count.
pub const LANES: usize = 2;
/// The lane that changes the body.
pub const ACTIVE: usize = 0;

/// The compiled rules of one direction.
#[derive(Debug)]
pub struct Plan {
    /// The rules that change the body, then those that only count.
    pub lanes: [Option<Lane>; LANES],
    /// Where all lanes together have to look.
    pub scan: Scan,
}

impl Plan {
    /// The plan of these lanes.
    pub fn new(lanes: [Option<Lane>; LANES]) -> Plan {
        let scan = Lane::scan_for(&lanes);
        Plan { lanes, scan }
    }

    /// Whether no rule looks at bodies of this direction.
    pub fn is_empty(&self) -> bool {
        self.lanes.iter().all(Option::is_none)
    }
}

/// What all streams of an inspector share while they work.
#[derive(Debug)]
pub struct Work<'a> {
    /// What to look for.
    pub plan: &'a Plan,
    /// The rules behind the plan.
    pub rules: &'a [Rule],
    /// Whether a same-length mask has the length of the received bytes, not that of the decoded ones (events
    /// keep no length, and their values are spelled in several ways).
    pub keeps_length: bool,
    /// What becomes of a match in thinking.
    pub thinking: Thinking,
    /// Gives values their tokens.
    pub tokens: Option<&'a SessionTokens>,
    /// Memory that is used again and again.
    pub scratch: &'a mut Scratch,
    /// Where decided bytes go.
    pub emit: Emit<'a>,
}

/// Memory for one window at a time.
#[derive(Debug, Default)]
pub struct Scratch {
    pub window: Vec<u8>,
    pub text: Vec<u8>,
    pub map: Map,
    /// Whether the window has a text of its own, in `text`.
    pub decoded: bool,
    pub hits: Hits,
    pub found: [Vec<Found>; LANES],
    pub mask: Vec<u8>,
}

impl Scratch {
    /// Gives memory back that only a window dense in escapes or in starts of matches took, or for which an
    /// event that takes `beside` leaves no room.
    pub fn trim(&mut self, beside: usize) {
        let found: usize = self.found.iter().map(|found| found.capacity() * size_of::<Found>()).sum();
        let own = self.window.capacity() + self.text.capacity() + self.mask.capacity();
        if own + found + self.map.held_bytes() + self.hits.held_bytes() + beside > INSPECT_SCRATCH_BYTES_MAX {
            *self = Scratch::default();
        }
    }

    pub fn to_raw(&self, text: usize) -> usize {
        if self.decoded { self.map.to_raw(text) } else { text }
    }

    /// The received bytes of a match, or of a part of it. Invisible characters belong to it between two of
    /// its bytes, and all of those in a string.
    pub fn raw_range(&self, found: Found) -> Range<usize> {
        if !self.decoded {
            return found.start..found.end;
        }
        let in_string = matches!(found.extent, Extent::String | Extent::Document);
        let begins = found.begins && !in_string;
        let start = if begins { self.map.to_raw(found.start) } else { self.map.to_raw_end(found.start) };
        let ends = found.ends && in_string;
        let end = if ends { self.map.to_raw(found.end) } else { self.map.to_raw_end(found.end) };
        start..end.max(start)
    }

    pub fn to_text(&self, raw: usize) -> usize {
        if self.decoded { self.map.to_text(raw) } else { raw }
    }
}
