//! Find and mask in a byte stream.

mod codec;
mod context;
mod error;
mod rule;
mod set;
mod sse;
pub mod text;

pub use context::Context;
pub use error::Error;
pub use rule::{Direction, Kind, Part, Replacement, Rule};
pub use set::MaskSet;
pub use sse::dialect;

use crate::buffer::{Chunk, Segments, Tally};
use std::sync::Arc;

/// Received bytes that were masked: `len` bytes at `offset` of the body as it came, by rule number `rule`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edit {
    /// First masked byte, counted from the start of the received body.
    pub offset: u64,
    /// Masked bytes.
    pub len: u64,
    /// Index of the rule in its [`MaskSet`].
    pub rule: u16,
}

/// Masks one body: chunks in, slices out.
#[derive(Debug)]
pub struct Inspector {
    set: Arc<MaskSet>,
    hits: Vec<u64>,
}

impl Inspector {
    /// An inspector for one body that goes `way`.
    pub fn new(set: Arc<MaskSet>, _way: Direction, _context: Context) -> Inspector {
        let hits = vec![0; set.rules().len()];
        Inspector { set, hits }
    }

    /// Takes the next received bytes; appends to `out` what is decided, and to `edits` what was masked.
    ///
    /// # Errors
    /// The body cannot be masked (the sender's fault). The inspector must not be used again.
    pub fn push(
        &mut self,
        _chunk: Chunk,
        _out: &mut Segments,
        _edits: &mut Vec<Edit>,
        _tally: &mut Tally,
    ) -> Result<(), Error> {
        Err(Error::NotText)
    }

    /// The body has ended: decides and releases what was held back.
    ///
    /// # Errors
    /// As for [`Inspector::push`].
    pub fn finish(
        &mut self,
        _out: &mut Segments,
        _edits: &mut Vec<Edit>,
        _tally: &mut Tally,
    ) -> Result<(), Error> {
        Err(Error::NotText)
    }

    /// The rules that matched, with their number of matches.
    pub fn hits(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        self.hits.iter().copied().enumerate().filter(|(_, count)| *count > 0)
    }

    /// The compiled rules.
    pub fn set(&self) -> &Arc<MaskSet> {
        &self.set
    }

    /// Received bytes that have not been sent yet.
    pub fn held_bytes(&self) -> usize {
        0
    }
}

/// Masks a header value (Location, Set-Cookie) that goes `way`; `None` if nothing was found.
pub fn mask_value(_set: &MaskSet, _way: Direction, _value: &[u8]) -> Option<Vec<u8>> {
    None
}
