//! What is recorded and how anyone can check it: record kinds, byte format, hash chain, verifier.
//!
//! Pure: records in, bytes out, and back. `FORMAT.md` beside this file draws every byte. Start at [`Record`],
//! then [`encode`] (a record becomes a frame), [`SegmentReader`] (a segment becomes records again, strictly)
//! and [`Verifier`] (many segments, one chain).
//!
//! This is not the journal: queues, files, group commit and recovery live in `journal`.

mod approval;
mod batch;
mod checkpoint;
mod facts;
mod frame;
mod hash;
mod heads;
mod id;
mod merkle;
mod note;
mod payload;
mod pieces;
mod proof;
mod reader;
mod record;
mod removal;
#[cfg(test)]
pub(crate) mod samples;
mod segment;
mod signed;
#[cfg(test)]
mod signed_tests;
#[cfg(test)]
mod tests;
mod verify;
mod wire;
mod witness;

pub use approval::{Approval, CardEvent, Consume, Grant, GrantEvent};
pub use batch::Batch;
pub use checkpoint::{Checkpoint, Distrust, KeyChain, KeyStatement, SALT_BYTES, origin};
pub use facts::Removed;
pub use frame::{Frame, Hashes, TooLarge, encode};
pub use hash::{Body, Hash};
pub use heads::{Copied, SignatureReport, Trust};
pub use id::{ByExchange, ExchangeId, IdError, RandomPart};
pub use merkle::{Frontier, Prover, is_consistent, is_included};
pub use note::{KeyError, NOTE_BYTES_MAX, Note, NoteError, PUBLIC_KEY_BYTES, PublicKey, SigningKey};
pub use pieces::{Piece, Pieces};
pub use proof::{PROOF_BYTES_MAX, Proof, ProofError, Proven};
pub use reader::{Damage, End, Item, Position, ReadError, SegmentReader, Summary, Why, parse_segment};
pub use record::{
    Access, Action, Cause, Commit, Commitment, Commitments, Config, Content, Decision, Direction, DryRun,
    Edit, Erased, Folded, Head, Intent, IntentBody, Kind, LeaseFacts, Leaves, Lengths, MaskHits, Outcome,
    Place, Predicate, Record, Recovery, Refusal, Scheme, Stages, State, Subject,
};
pub use removal::Removal;
pub use segment::{
    BATCH_HEADER_BYTES, BATCH_MAGIC, BatchHeader, FORMAT_VERSION, SEAL_BYTES, SEGMENT_HEADER_BYTES, Seal,
    SealReason, SegmentHeader,
};
pub use signed::{Signed, StatedKey};
pub use verify::{Report, Verifier};
pub use wire::DecodeError;
pub use witness::{Sight, Suspicion, Witness};
