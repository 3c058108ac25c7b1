use crate::{
    audit::{Commit, Kind, Record},
    limits::JOURNAL_QUEUE_RECORDS,
};
use crossbeam::queue::ArrayQueue;
use std::{
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering, fence},
    },
    thread::Thread,
};

/// One record on its way into the journal.
#[derive(Debug)]
pub struct Submission {
    /// Comes back in the [`Ack`]; 0 asks for none.
    pub ticket: u64,
    pub commit: Commit,
    pub record: Record,
}

/// The ring has no room that is not promised to an OUTCOME, or the journal has failed. The submission comes
/// back whole: for an INTENT or a REFUSAL answer 503, for CONTENT stop reading and try again.
#[derive(Debug)]
pub struct Full(pub Submission);

/// Answer to one submission with a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    pub ticket: u64,
    /// The record's sequence number, or why it is not committed.
    pub result: Result<u64, Failure>,
}

/// Why a record is not committed. A record that was refused with `Disk` or `NoSpace` may still turn up in the
/// log: an admitted exchange therefore always ends with its OUTCOME, whatever its INTENT was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// A write or a sync failed; only a restart by the operator helps.
    #[error("the audit disk failed")]
    Disk,
    /// The disk is full; the journal goes on by itself once there is room.
    #[error("the audit disk is full")]
    NoSpace,
    /// The record is longer than [`crate::limits::RECORD_BYTES_MAX`].
    #[error("the record is too large")]
    TooLarge,
    /// OUTCOME without INTENT, a second INTENT or OUTCOME: the submitter is at fault.
    #[error("the record does not fit the state of its exchange")]
    OutOfPlace,
    /// The journal was closed.
    #[error("the journal is closed")]
    Closed,
    /// More than [`crate::limits::OPEN_EXCHANGES_MAX`] exchanges are open; or a blocking caller found no room
    /// or waited too long, then its record may still turn up in the log.
    #[error("the journal is overloaded")]
    Overloaded,
}

impl Failure {
    /// The failure that an error of the file system means; without one, of the disk.
    pub(super) fn of(error: Option<&io::Error>) -> Failure {
        match error.map(io::Error::kind) {
            Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => Failure::NoSpace,
            _ => Failure::Disk,
        }
    }
}

/// Takes acknowledgements back to the shards. Called on the journal's threads; it must not block.
pub trait AckSink: Send {
    /// Delivers a batch to `shard` (the index of its producer) and leaves `acks` empty.
    fn deliver(&mut self, shard: usize, acks: &mut Vec<Ack>);
}

/// What one producer and the commit thread share.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) queue: ArrayQueue<Submission>,
    /// Body bytes that were submitted and not yet written.
    pub(super) inflight_bytes: AtomicUsize,
}

/// Records are committed.
pub(super) const STATE_WORKING: u8 = 0;
/// The disk is full: only what belongs to admitted exchanges is taken.
pub(super) const STATE_NO_SPACE: u8 = 1;
/// The disk failed, or the journal is closed: only what has its room promised is taken, and thrown away.
pub(super) const STATE_DEAD: u8 = 2;

/// How producers wake the commit thread, and what it tells all of them.
#[derive(Debug, Default)]
pub(super) struct Bell {
    /// The commit thread sleeps until somebody wakes it.
    pub(super) parked: AtomicBool,
    /// One of the `STATE_*` values.
    pub(super) state: AtomicU8,
    /// The journal is being closed.
    pub(super) closing: AtomicBool,
    /// The commit thread; set once it runs.
    pub(super) thread: OnceLock<Thread>,
    /// Submissions that were turned away, for the metrics.
    pub(super) turned_away: AtomicU64,
}

impl Bell {
    /// Wakes the commit thread if it sleeps. A wake-up costs the caller about 15 µs, a look about nothing.
    pub(super) fn ring(&self) {
        // Orders the push before the look at `parked`; the other side stores `parked`, then looks at the
        // rings.
        fence(Ordering::SeqCst);
        if self.parked.load(Ordering::Relaxed)
            && self.parked.swap(false, Ordering::AcqRel)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }
}

/// A shard's end of its ring into the journal. One per shard and not `Clone`: it keeps the book of promised
/// room without a lock.
#[derive(Debug)]
pub struct Producer {
    lane: Arc<Lane>,
    bell: Arc<Bell>,
    /// Admitted exchanges whose OUTCOME has not been submitted: each holds one place of the ring.
    open: usize,
}

impl Producer {
    pub(super) fn new(bell: Arc<Bell>) -> (Producer, Arc<Lane>) {
        let lane = Arc::new(Lane {
            queue: ArrayQueue::new(JOURNAL_QUEUE_RECORDS),
            inflight_bytes: AtomicUsize::new(0),
        });
        (Producer { lane: Arc::clone(&lane), bell, open: 0 }, lane)
    }

    /// Queues a record; acknowledgements come in the order of submission within one [`Commit`].
    ///
    /// An INTENT is taken only if its OUTCOME will find room too, so the OUTCOME of an admitted exchange is
    /// always taken. While the disk is full, INTENT and REFUSAL are turned away at once; after it failed,
    /// everything but OUTCOME.
    ///
    /// # Errors
    /// [`Full`]: there is no room, or the journal has failed.
    pub fn submit(&mut self, submission: Submission) -> Result<(), Full> {
        let kind = submission.record.kind();
        if !self.has_room(kind) {
            self.bell.turned_away.fetch_add(1, Ordering::Relaxed);
            return Err(Full(submission));
        }
        let bytes = submission.record.body_bytes();
        self.lane.inflight_bytes.fetch_add(bytes, Ordering::Relaxed);
        if let Err(submission) = self.lane.queue.push(submission) {
            // Only an OUTCOME whose INTENT was never taken comes here: its caller is at fault.
            self.lane.inflight_bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.bell.turned_away.fetch_add(1, Ordering::Relaxed);
            return Err(Full(submission));
        }
        match kind {
            Kind::Intent => self.open += 1,
            Kind::Outcome => self.open = self.open.saturating_sub(1),
            _ => {}
        }
        self.bell.ring();
        Ok(())
    }

    /// An INTENT that was taken was refused with [`Failure::Overloaded`] or the like: gives back the room of
    /// the OUTCOME that will not come.
    pub fn forget_intent(&mut self) {
        self.open = self.open.saturating_sub(1);
    }

    /// Body bytes of this shard that the journal has not written yet; beyond
    /// [`crate::limits::RECORD_INFLIGHT_BYTES_MAX`] the shard stops reading.
    pub fn inflight_bytes(&self) -> usize {
        self.lane.inflight_bytes.load(Ordering::Relaxed)
    }

    /// Whether nothing can be committed now: answer 503 without asking.
    pub fn is_failed(&self) -> bool {
        self.bell.state.load(Ordering::Relaxed) != STATE_WORKING
    }

    fn has_room(&self, kind: Kind) -> bool {
        let places = match kind {
            Kind::Outcome => return true,
            Kind::Intent => 2,
            _ => 1,
        };
        let taken = match self.bell.state.load(Ordering::Relaxed) {
            STATE_WORKING => true,
            STATE_NO_SPACE => !matches!(kind, Kind::Intent | Kind::Refusal),
            _ => false,
        };
        taken && self.lane.queue.len() + self.open + places <= self.lane.queue.capacity()
    }
}
