use crate::{
    audit::{Commit, Kind, Record},
    limits::{BATCH_BYTES_TARGET, JOURNAL_QUEUE_RECORDS, JOURNAL_WAKE_RECORDS, SHARES_MAX},
};
use crossbeam::queue::ArrayQueue;
use std::{
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence},
    },
    thread::{self, Thread},
    time::Duration,
};

/// One record on its way into the journal.
#[derive(Debug)]
pub struct Submission {
    /// In whose share of the ring it counts: an index below [`SHARES_MAX`].
    pub share: u32,
    /// Comes back in the [`Ack`]; 0 asks for none.
    pub ticket: u64,
    pub commit: Commit,
    pub record: Record,
}

impl Submission {
    /// Whether an exchange stands still until it is acknowledged. Behind an OUTCOME and a REFUSAL only a log
    /// line waits.
    pub(super) fn is_urgent(&self) -> bool {
        self.ticket != 0 && !matches!(self.record.kind(), Kind::Outcome | Kind::Refusal)
    }
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
    /// Records that the commit thread took out and has not put into a batch yet.
    pub(super) staged: AtomicUsize,
    /// Body bytes that were submitted and not yet written.
    pub(super) inflight_bytes: AtomicUsize,
    /// The same, and the records, by share.
    pub(super) shares: Box<[Gauge]>,
}

/// What of one share was submitted and not yet written.
#[derive(Debug, Default)]
pub(super) struct Gauge {
    pub(super) records: AtomicU32,
    pub(super) bytes: AtomicUsize,
}

impl Lane {
    fn new() -> Lane {
        Lane {
            queue: ArrayQueue::new(JOURNAL_QUEUE_RECORDS),
            staged: AtomicUsize::new(0),
            inflight_bytes: AtomicUsize::new(0),
            shares: (0..SHARES_MAX).map(|_| Gauge::default()).collect(),
        }
    }

    /// Records that wait for a batch.
    pub(super) fn depth(&self) -> usize {
        self.queue.len() + self.staged.load(Ordering::Relaxed)
    }

    /// Whether more waits than one batch takes.
    pub(super) fn is_crowded(&self, records: usize) -> bool {
        self.queue.len() > records || self.inflight_bytes.load(Ordering::Relaxed) > BATCH_BYTES_TARGET
    }

    /// Records of one share are written, or never will be.
    pub(super) fn give_back(&self, share: u32, records: u32, bytes: usize) {
        if let Some(gauge) = self.shares.get(share as usize) {
            gauge.records.fetch_sub(records, Ordering::Relaxed);
            gauge.bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
        if bytes > 0 {
            self.inflight_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    fn count(&self, share: u32, bytes: usize) -> usize {
        if let Some(gauge) = self.shares.get(share as usize) {
            gauge.records.fetch_add(1, Ordering::Relaxed);
            gauge.bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        self.inflight_bytes.fetch_add(bytes, Ordering::Relaxed)
    }
}

/// Records are committed.
pub(super) const STATE_WORKING: u8 = 0;
/// The disk is full: only what belongs to admitted exchanges is taken.
pub(super) const STATE_NO_SPACE: u8 = 1;
/// The disk failed, or the journal is closed: only what has its room promised is taken, and thrown away.
pub(super) const STATE_DEAD: u8 = 2;

/// The commit thread looks at its rings before it sleeps again.
pub(super) const AWAKE: u8 = 0;
/// It looks within [`crate::limits::BATCH_TIME_MAX`]: only somebody who waits wakes it.
pub(super) const DOZING: u8 = 1;
/// It sleeps until any record wakes it.
pub(super) const ASLEEP: u8 = 2;

/// How producers wake the commit thread, and what it tells all of them.
#[derive(Debug, Default)]
pub(super) struct Bell {
    /// [`AWAKE`], [`DOZING`] or [`ASLEEP`].
    sleep: AtomicU8,
    /// One of the `STATE_*` values.
    pub(super) state: AtomicU8,
    /// The disk is so full that no exchange may begin.
    pub(super) disk_full: AtomicBool,
    /// The journal is being closed.
    pub(super) closing: AtomicBool,
    /// The commit thread; set once it runs.
    pub(super) thread: OnceLock<Thread>,
    /// Submissions that were turned away, for the metrics.
    pub(super) turned_away: AtomicU64,
}

impl Bell {
    /// Wakes the commit thread if it does not look by itself at once. A wake-up costs the caller about 15 µs,
    /// a look about nothing.
    pub(super) fn ring(&self) {
        self.wake(DOZING);
    }

    /// Wakes the commit thread if it rests as deep as `depth`.
    fn wake(&self, depth: u8) {
        // Orders the push before the look at `sleep`; the other side stores `sleep`, then looks at the rings.
        fence(Ordering::SeqCst);
        if self.sleep.load(Ordering::Relaxed) >= depth
            && self.sleep.swap(AWAKE, Ordering::AcqRel) != AWAKE
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }

    /// Rests the calling thread, the commit thread, for `time` at most, unless `is_idle` denies it at the
    /// last moment. Returns whether nobody woke it.
    pub(super) fn rest(&self, depth: u8, time: Duration, is_idle: impl FnOnce() -> bool) -> bool {
        self.sleep.store(depth, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if is_idle() {
            thread::park_timeout(time);
        }
        self.sleep.swap(AWAKE, Ordering::AcqRel) != AWAKE
    }
}

/// A shard's end of its ring into the journal. One per shard and not `Clone`: it keeps the book of promised
/// room without a lock.
#[derive(Debug)]
pub struct Producer {
    lane: Arc<Lane>,
    bell: Arc<Bell>,
    /// From which rest the commit thread has to be woken for what was queued; [`AWAKE`]: from none.
    owed: u8,
    /// Admitted exchanges whose OUTCOME has not been submitted: each holds one place of the ring.
    open: usize,
    /// The same by share.
    open_by_share: Box<[u32]>,
}

impl Producer {
    pub(super) fn new(bell: Arc<Bell>) -> (Producer, Arc<Lane>) {
        let lane = Arc::new(Lane::new());
        let open_by_share = vec![0; SHARES_MAX].into();
        (Producer { lane: Arc::clone(&lane), bell, owed: AWAKE, open: 0, open_by_share }, lane)
    }

    /// Queues a record and wakes the commit thread if it is asleep; see [`Producer::queue`].
    ///
    /// # Errors
    /// As there.
    pub fn submit(&mut self, submission: Submission) -> Result<(), Full> {
        self.queue(submission)?;
        self.ring();
        Ok(())
    }

    /// Wakes the commit thread, if what was queued since the last call wants it awake.
    pub fn ring(&mut self) {
        match std::mem::replace(&mut self.owed, AWAKE) {
            AWAKE => {}
            depth => self.bell.wake(depth),
        }
    }

    /// Queues a record; acknowledgements come in the order of submission within one [`Commit`] and share.
    /// Somebody has to [`Producer::ring`] soon: once for all records that come together.
    ///
    /// An INTENT is taken only if its OUTCOME will find room too, so the OUTCOME of an admitted exchange is
    /// always taken. While the disk is nearly full, INTENT is turned away; while it is full, INTENT and
    /// REFUSAL are turned away at once; after it failed, everything but OUTCOME.
    ///
    /// # Errors
    /// [`Full`]: there is no room, or the journal has failed.
    pub fn queue(&mut self, submission: Submission) -> Result<(), Full> {
        let kind = submission.record.kind();
        if !self.has_room(kind) {
            self.bell.turned_away.fetch_add(1, Ordering::Relaxed);
            return Err(Full(submission));
        }
        let (bytes, waits, share) =
            (submission.record.body_bytes(), submission.is_urgent(), submission.share);
        let before = self.lane.count(share, bytes);
        if let Err(submission) = self.lane.queue.push(submission) {
            // Only an OUTCOME whose INTENT was never taken comes here: its caller is at fault.
            self.lane.give_back(share, 1, bytes);
            self.bell.turned_away.fetch_add(1, Ordering::Relaxed);
            return Err(Full(submission));
        }
        match kind {
            Kind::Intent => {
                self.open += 1;
                self.open_by_share.get_mut(share as usize).into_iter().for_each(|open| *open += 1);
            }
            Kind::Outcome => self.end(share),
            _ => {}
        }
        let piles_up = before + bytes >= BATCH_BYTES_TARGET || self.lane.queue.len() >= JOURNAL_WAKE_RECORDS;
        // What nobody waits for wakes it only from its sleep.
        let depth = if waits || piles_up { DOZING } else { ASLEEP };
        self.owed = if self.owed == AWAKE { depth } else { self.owed.min(depth) };
        Ok(())
    }

    /// An INTENT of `share` that was taken was refused with [`Failure::Overloaded`] or the like: gives back
    /// the room of the OUTCOME that will not come.
    pub fn forget_intent(&mut self, share: u32) {
        self.end(share);
    }

    /// An exchange needs no room for its OUTCOME any more.
    fn end(&mut self, share: u32) {
        self.open = self.open.saturating_sub(1);
        let open = self.open_by_share.get_mut(share as usize);
        open.into_iter().for_each(|open| *open = open.saturating_sub(1));
    }

    /// What a share has in the ring: records and body bytes that are not written yet, and exchanges whose
    /// OUTCOME has its room promised.
    pub fn held(&self, share: u32) -> (usize, usize, usize) {
        let gauge = self.lane.shares.get(share as usize);
        let (records, bytes) = gauge.map_or((0, 0), |gauge| {
            (gauge.records.load(Ordering::Relaxed) as usize, gauge.bytes.load(Ordering::Relaxed))
        });
        let open = self.open_by_share.get(share as usize).copied().unwrap_or_default();
        (records, bytes, open as usize)
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

    /// Whether the disk is so full that no exchange may begin: answer 503 without asking.
    pub fn refuses_intents(&self) -> bool {
        self.bell.disk_full.load(Ordering::Acquire)
    }

    fn has_room(&self, kind: Kind) -> bool {
        let places = match kind {
            Kind::Outcome => return true,
            Kind::Intent => 2,
            _ => 1,
        };
        let taken = match self.bell.state.load(Ordering::Relaxed) {
            STATE_WORKING => kind != Kind::Intent || !self.refuses_intents(),
            STATE_NO_SPACE => !matches!(kind, Kind::Intent | Kind::Refusal),
            _ => false,
        };
        taken && self.lane.depth() + self.open + places <= self.lane.queue.capacity()
    }
}
