//! What threads hand to each other: pure messages, so that the io modules need not know one another.

use super::{
    Unavailable,
    share::{Held, ShareId},
};
use crate::{
    approval::{Question, Settlement, Verdict},
    audit::{Commit, ExchangeId, Record},
    buffer::Segments,
    identity::Issuer,
    secrets::{Lease, LeaseSource, SecretValue},
};
use std::sync::Arc;

/// Names one open question of a shard: unique in that shard for ever.
pub type ShardTicket = u64;

/// Work for the background thread.
#[derive(Debug)]
pub struct Errand {
    /// Index of the shard that waits.
    pub shard: usize,
    pub ticket: ShardTicket,
    pub work: Work,
}

/// What the background thread is asked for.
#[derive(Debug)]
pub enum Work {
    /// Fetch an issuer's keys, within its rate limit. Answered when done, refused or failed.
    Keys(Arc<Issuer>),
    /// Get a short-lived credential.
    Lease { source: Arc<LeaseSource>, subject_token: Option<SecretValue> },
    /// Revoke a credential; nobody waits.
    Release(Lease),
    /// Have people decide about a request.
    Hold(Box<Question>),
    /// The request of this ticket does not wait any more.
    Leave,
    /// How the request ended that an approval let through.
    Settle(ExchangeId, Settlement),
}

/// What other threads bring to a shard.
#[derive(Debug)]
pub enum Delivery {
    /// A record was acknowledged, or could not be written.
    Recorded(ShardTicket, Result<u64, Unavailable>),
    /// The keys that were asked for are as fresh as they get.
    Keys(ShardTicket),
    /// A lease, or why there is none.
    Lease(ShardTicket, Result<Lease, String>),
    /// What people say of a request, which one it is, and its body unless it is to be sent again.
    Verdict(ShardTicket, ExchangeId, Verdict, Segments),
    /// Stop accepting, end idle connections, let exchanges finish.
    Drain,
    /// The time to finish is up: cut what still runs.
    Cut,
}

/// The way of records from one shard to the journal.
pub trait Recorder {
    /// Hands a record over, to be acknowledged under `ticket` (0: without an acknowledgement). Until it is
    /// written it counts in `share`, and an INTENT until its OUTCOME is.
    ///
    /// # Errors
    /// Gives the record back when the queue is full or the journal has failed.
    fn submit(
        &mut self,
        share: ShareId,
        ticket: ShardTicket,
        commit: Commit,
        record: Record,
    ) -> Result<(), Refused>;

    /// What was handed over may be looked at: called once for all records that come together.
    fn ring(&mut self) {}

    /// What a share has in the queue.
    fn held(&self, share: ShareId) -> Held;

    /// Body bytes on their way that the journal has not written yet.
    fn inflight_bytes(&self) -> usize;

    /// An INTENT of `share` that was taken is not in the log after all: no OUTCOME will come for it.
    fn intent_refused(&mut self, _share: ShareId) {}
}

/// Why a record was not taken, and the record.
#[derive(Debug)]
pub enum Refused {
    /// The queue is full; room comes back.
    Full(Box<Record>),
    /// The journal has failed; no room comes back by itself.
    Failed(Box<Record>),
}

/// The way of log lines off the shard. A full queue drops the line and counts it.
pub trait LogSink {
    /// Whether lines are written at all.
    fn is_on(&self) -> bool {
        true
    }

    /// Takes the line of one ended exchange.
    fn log(&self, summary: Box<super::Summary>);
}

/// The way of errands to the background thread.
pub trait Errands {
    /// Takes an errand.
    ///
    /// # Errors
    /// Gives it back when too many wait.
    fn send(&self, errand: Errand) -> Result<(), Errand>;
}
