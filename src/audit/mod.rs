//! What is recorded and how anyone can check it: record kinds, byte format, hash chain, verifier.
//!
//! Pure: records in, bytes out, and back. `FORMAT.md` beside this file draws every byte. Start at [`Record`],
//! then [`encode`] (a record becomes a frame), [`SegmentReader`] (a segment becomes records again, strictly)
//! and [`Verifier`] (many segments, one chain).
//!
//! This is not the journal: queues, files, group commit and recovery live in `journal`.

mod batch;
mod facts;
mod frame;
mod hash;
mod id;
mod merkle;
mod payload;
mod reader;
mod record;
#[cfg(test)]
pub(crate) mod samples;
mod segment;
#[cfg(test)]
mod tests;
mod verify;
mod wire;

pub use batch::Batch;
pub use frame::{Frame, TooLarge, encode};
pub use hash::{Body, Hash};
pub use id::{ExchangeId, IdError};
pub use merkle::{Frontier, Prover, is_consistent, is_included};
pub use reader::{Damage, End, Item, Position, ReadError, SegmentReader, Summary, Why, parse_segment};
pub use record::{
    Access, Action, Cause, Commit, Commitment, Commitments, Config, Content, Decision, Direction, DryRun,
    Edit, Head, Intent, IntentBody, Kind, LeaseFacts, Leaves, Lengths, MaskHits, Outcome, Place, Predicate,
    Record, Recovery, Refusal, Stages, State, Subject,
};
pub use segment::{
    BATCH_HEADER_BYTES, BATCH_MAGIC, BatchHeader, FORMAT_VERSION, SEAL_BYTES, SEGMENT_HEADER_BYTES, Seal,
    SealReason, SegmentHeader,
};
pub use verify::{Report, Verifier};
pub use wire::DecodeError;
