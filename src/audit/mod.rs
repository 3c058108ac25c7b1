//! What is recorded and how anyone can check it: record kinds, byte format, hash chain, verifier.
//!
//! Pure: records in, bytes out, and back. `FORMAT.md` beside this file draws every byte. Start at [`Record`].
//!
//! This is not the journal: queues, files, group commit and recovery live in `journal`.

mod id;
mod record;

pub use id::{ExchangeId, IdError};
pub use record::{
    Action, Cause, Commit, Commitment, Commitments, Config, Content, Decision, Direction, DryRun, Edit, Head,
    Intent, IntentBody, Kind, LeaseFacts, Leaves, Lengths, MaskHits, Outcome, Place, Predicate, Record,
    Recovery, Refusal, Stages, State, Subject,
};
