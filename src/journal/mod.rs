//! The audit journal on disk: own threads that commit, sync, rotate and recover.
//!
//! Each shard owns one [`Producer`], a bounded ring into the commit thread. That thread drains all rings,
//! encodes and chains the records, writes one batch, and acknowledges what asked for [`Commit::Written`]; the
//! sync thread beside it acknowledges [`Commit::Durable`] after `fdatasync`, by group. Nothing is dropped: a
//! full ring says so to its shard. The first failed write or sync poisons the segment, and everything is
//! refused from then on (see [`Failure`]).
//!
//! This is not the byte format, which is pure and lives in `audit`. Start at `Journal`, then `commit`.

mod producer;

pub use crate::audit::Commit;
pub use producer::{Ack, AckSink, Failure, Full, Producer, Submission};
