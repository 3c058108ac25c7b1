//! The commit thread: rings → records → one batch → one write.

mod failure;

use super::{
    acks::{Acks, To, Waiter},
    book::{Book, Opening, pieces},
    checkpoint::{Checkpoints, Signer},
    health::Gauges,
    keep::Reserve,
    nonces::Nonces,
    pack::Packer,
    producer::{ASLEEP, Bell, DOZING, Failure, Lane, STATE_DEAD, Submission},
    recover::Unsealed,
    segment::{self, Active, Segments},
    sync::{Mark, Sync},
    turns::Turns,
};
use crate::{
    audit::{
        Batch, Commit, Frontier, KeyChain, Kind, Position, Record, Recovery, SealReason, SegmentHeader, State,
    },
    limits::{
        BATCH_BUFFER_BYTES, BATCH_BUFFERS_MAX, BATCH_BYTES_TARGET, BATCH_TIME_MAX, JOURNAL_DOZE_FOR,
        JOURNAL_PARK_MAX, UNSYNCED_BYTES_MAX,
    },
};
use crossbeam::queue::ArrayQueue;
use std::{
    collections::VecDeque,
    io,
    path::PathBuf,
    sync::{Arc, atomic::Ordering, mpsc::SyncSender},
    time::Instant,
};

/// Records taken from one ring before the next one has its turn. As long as there are no more, and they fit
/// into one batch, it does not matter whose they are.
const TURN_RECORDS: usize = 64;

/// What a share of a lane gets back.
#[derive(Debug)]
struct Returned {
    lane: usize,
    share: u32,
    records: u32,
    bytes: usize,
}

/// A record that a thread blocks for.
pub(super) type Call = (Submission, SyncSender<Result<u64, Failure>>);

/// What the commit thread shares with everybody else.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) lanes: Vec<Arc<Lane>>,
    pub(super) calls: ArrayQueue<Call>,
    pub(super) bell: Arc<Bell>,
    pub(super) acks: Acks,
    pub(super) sync: Sync,
    pub(super) gauges: Gauges,
    pub(super) reserve: Reserve,
    pub(super) signer: Option<Arc<Signer>>,
    pub(super) packer: Packer,
    pub(super) openings_dir: PathBuf,
}

impl Shared {
    /// Whether nothing waits in any ring.
    fn is_empty(&self) -> bool {
        self.lanes.iter().all(|lane| lane.queue.is_empty()) && self.calls.is_empty()
    }
}

/// The state of the commit thread.
#[derive(Debug)]
pub(super) struct Committer {
    pub(super) shared: Arc<Shared>,
    segments: Segments,
    active: Active,
    book: Book,
    /// The tree of all records, and the keys that sign it.
    tree: Frontier,
    keys: KeyChain,
    checkpoints: Checkpoints,
    /// Gathers the next batch.
    batch: Batch,
    /// When its first record came.
    began: Option<Instant>,
    /// Whether it is due: somebody waits for one of its records, or they waited long enough in their ring.
    due: bool,
    /// The segment is sealed behind the next batch, full or not.
    seal_next: bool,
    /// Who waits for its write, and who for its sync.
    written: Vec<Waiter>,
    durable: Vec<Waiter>,
    openings: Vec<Opening>,
    nonces: Nonces,
    /// Records that wait for their turn.
    turns: Turns,
    /// What lanes get back once the batch is written.
    returned: Vec<Returned>,
    /// Batches that are not known to be synced, oldest first: what a fresh segment begins with after a
    /// failure.
    unsynced: VecDeque<Batch>,
    unsynced_bytes: usize,
    /// Memory of batches that are synced.
    buffers: Vec<Vec<u8>>,
    synced: Mark,
    failure: Option<Failure>,
    /// When the next attempt at a fresh segment is due.
    retry: Instant,
    /// Since when there is nothing to do.
    idle: Option<Instant>,
}

impl Committer {
    /// Begins a segment at `position` with STATE, and with RECOVERY where the log was not closed cleanly;
    /// then seals the one before. All of it is durable when this returns.
    ///
    /// # Errors
    /// The segment cannot be made, or the one before not be sealed.
    pub(super) fn start(
        shared: Arc<Shared>,
        segments: Segments,
        position: &Position,
        live: Live,
        checkpoints: Checkpoints,
        unclean: Option<(Recovery, Unsealed)>,
    ) -> io::Result<Committer> {
        let Live { book, mut tree, keys } = live;
        let (mut segments, mut checkpoints) = (segments, checkpoints);
        let (recovery, unsealed) = unclean.unzip();
        let mut records = vec![Record::State(state(&book, &tree, &keys))];
        records.extend(recovery.map(Record::Recovery));
        let (active, batch, leaves) = segment::begin(&mut segments, position, &records)?;
        for (record, leaf) in records.iter().zip(leaves) {
            tree.push(leaf);
            checkpoints.entered(record.kind());
        }
        if let Some(unsealed) = unsealed {
            unsealed.seal(segments.disk(), SealReason::Recovered)?;
        }
        let mut committer = Committer {
            shared,
            segments,
            active,
            book,
            tree,
            keys,
            checkpoints,
            batch,
            began: None,
            due: false,
            seal_next: false,
            written: Vec::new(),
            durable: Vec::new(),
            openings: Vec::new(),
            nonces: Nonces::default(),
            turns: Turns::default(),
            returned: Vec::new(),
            unsynced: VecDeque::new(),
            unsynced_bytes: 0,
            buffers: Vec::new(),
            synced: Mark::default(),
            failure: None,
            retry: Instant::now(),
            idle: None,
        };
        committer.activate();
        let SegmentHeader { number, first_sequence, .. } = committer.active.header;
        committer.shared.packer.sealed_below(number, first_sequence);
        Ok(committer)
    }

    /// Runs until the journal is closed; writes and syncs what is queued, and seals.
    pub(super) fn run(mut self) {
        loop {
            let taken = self.drain();
            self.notice();
            self.checkpoint();
            if self.is_due() {
                self.write();
            }
            if taken > 0 {
                self.idle = None;
            } else if self.shared.bell.closing.load(Ordering::Acquire) && self.is_drained() {
                return self.close();
            } else {
                self.rest();
            }
        }
    }

    /// Takes from all rings in turn until they are empty or the batch is full. Returns the records taken.
    fn drain(&mut self) -> usize {
        let shared = Arc::clone(&self.shared);
        let before = self.batch.count();
        let mut taken = 0;
        while self.has_room() {
            let round = taken;
            for (index, lane) in shared.lanes.iter().enumerate() {
                taken += self.drain_lane(index, lane);
            }
            while self.has_room()
                && let Some((index, submission)) = self.turns.next()
            {
                taken += 1;
                shared.lanes[index].staged.fetch_sub(1, Ordering::Relaxed);
                self.take_from(index, submission);
            }
            while self.has_room()
                && let Some((submission, sender)) = shared.calls.pop()
            {
                taken += 1;
                self.take(To::Caller(sender), submission.commit, submission.record);
                self.due = true;
            }
            if taken == round {
                break;
            }
        }
        if self.batch.count() == before {
            self.return_bytes();
        }
        if self.batch.is_empty() {
            self.due = false;
        }
        taken
    }

    /// Takes what is in one ring, if that is little; else all of it has to wait for its turn. Returns the
    /// records taken.
    fn drain_lane(&mut self, index: usize, lane: &Lane) -> usize {
        let mut taken = 0;
        if self.turns.is_empty() && !lane.is_crowded(TURN_RECORDS) {
            while self.has_room()
                && taken < TURN_RECORDS
                && let Some(submission) = lane.queue.pop()
            {
                taken += 1;
                self.take_from(index, submission);
            }
            return taken;
        }
        // Counted before it leaves the ring: who looks for room never sees too much of it.
        let waiting = lane.queue.len();
        lane.staged.fetch_add(waiting, Ordering::Relaxed);
        for _ in 0..waiting {
            match lane.queue.pop() {
                Some(submission) => self.turns.push(index, submission),
                None => drop(lane.staged.fetch_sub(1, Ordering::Relaxed)),
            }
        }
        0
    }

    /// Puts a record of a lane into the batch.
    fn take_from(&mut self, index: usize, submission: Submission) {
        let (bytes, share) = (submission.record.body_bytes(), submission.share);
        match self.returned.last_mut().filter(|last| (last.lane, last.share) == (index, share)) {
            Some(last) => (last.records, last.bytes) = (last.records + 1, last.bytes + bytes),
            None => self.returned.push(Returned { lane: index, share, records: 1, bytes }),
        }
        let (ticket, is_urgent) = (submission.ticket, submission.is_urgent());
        let to = if ticket == 0 { To::Nobody } else { To::Lane { lane: index, ticket } };
        self.take(to, submission.commit, submission.record);
        self.due |= is_urgent;
    }

    fn has_room(&self) -> bool {
        self.batch.len_bytes() < BATCH_BYTES_TARGET && self.unsynced_bytes < UNSYNCED_BYTES_MAX
    }

    /// Puts one record into the batch.
    fn take(&mut self, to: To, commit: Commit, mut record: Record) {
        if let Err(failure) = self.admit(&record) {
            self.book.forget(&record);
            return self.refuse(to, failure);
        }
        let seals = matches!(record, Record::Erased(_));
        let result = match record {
            Record::Content(content) => self.push_content(*content),
            _ => self.book.complete(&mut record).and_then(|()| self.push(&record)),
        };
        match result {
            Err(failure) => self.refuse(to, failure),
            // It is in memory and may yet be written, but nobody may rely on it.
            Ok(_) if self.failure.is_some() => self.refuse(to, Failure::NoSpace),
            Ok(sequence) => {
                // What is erased lies in sealed segments.
                self.seal_next |= seals;
                match (&to, commit) {
                    (To::Nobody, _) => {}
                    (_, Commit::Written) => self.written.push(Waiter { to, sequence }),
                    (_, Commit::Durable) => self.durable.push(Waiter { to, sequence }),
                }
            }
        }
    }

    /// While the disk is full, only what belongs to admitted exchanges is kept, in memory.
    fn admit(&self, record: &Record) -> Result<(), Failure> {
        match self.failure {
            None => Ok(()),
            Some(Failure::NoSpace) => {
                let ends = matches!(record.kind(), Kind::Content | Kind::Outcome);
                let known = record.exchange().is_some_and(|id| self.book.is_admitted(id));
                if ends && known { Ok(()) } else { Err(Failure::NoSpace) }
            }
            Some(failure) => Err(failure),
        }
    }

    fn push_content(&mut self, content: crate::audit::Content) -> Result<u64, Failure> {
        let mut last = Err(Failure::TooLarge);
        for mut piece in pieces(content) {
            // One body may be longer than a batch may be. The last piece stays in the batch: whoever waits
            // for it is answered with that.
            if self.batch.len_bytes() >= BATCH_BYTES_TARGET {
                self.write();
            }
            self.book.commit_content(&mut piece, || self.nonces.next(), &mut self.openings)?;
            last = self.push(&Record::Content(Box::new(piece)));
            last?;
        }
        last
    }

    fn push(&mut self, record: &Record) -> Result<u64, Failure> {
        let sequence = self.batch.push(record).map_err(|_| Failure::TooLarge)?;
        self.book.enter(record);
        self.enter_tree(record, sequence);
        self.began.get_or_insert_with(Instant::now);
        Ok(sequence)
    }

    /// Puts the record that was pushed last into the tree.
    fn enter_tree(&mut self, record: &Record, sequence: u64) {
        self.tree.push(self.batch.leaf());
        self.checkpoints.entered(record.kind());
        if let Record::Key(signed) = record {
            // One that does not follow is named by every verifier; the signer makes none.
            let _ = self.keys.push(&signed.note, sequence);
        }
    }

    /// Has the head of the tree signed when it is time, and records what was signed.
    fn checkpoint(&mut self) {
        let synced = self.shared.gauges.synced.load(Ordering::Relaxed);
        if let Some(record) = self.checkpoints.look(&self.tree, synced)
            && self.failure.is_none()
        {
            // One that does not fit is only missing: the next one comes in a second.
            let _ = self.push(&record);
        }
    }

    /// Signs and records what is not signed yet; for the end.
    fn checkpoint_all(&mut self) -> io::Result<()> {
        self.shared.sync.flush()?;
        for record in self.checkpoints.end(&self.tree) {
            self.push(&record).map_err(io::Error::other)?;
        }
        if !self.batch.is_empty() {
            self.write();
        }
        self.failure.map_or(Ok(()), |failure| Err(io::Error::other(failure)))
    }

    fn refuse(&self, to: To, failure: Failure) {
        self.shared.acks.answer(std::iter::once((to, Err(failure))));
    }

    /// Whether the batch has to be written now: it is full, somebody waits, or it is old.
    fn is_due(&self) -> bool {
        let Some(began) = self.began else { return false };
        self.due || !self.has_room() || self.is_closing() || began.elapsed() >= BATCH_TIME_MAX
    }

    fn is_closing(&self) -> bool {
        self.shared.bell.closing.load(Ordering::Acquire)
    }

    fn is_drained(&self) -> bool {
        self.began.is_none() && self.turns.is_empty() && self.shared.is_empty()
    }

    /// Writes the batch; into memory only while the disk is full.
    fn write(&mut self) {
        let next = self.empty_batch(self.active.offset + self.batch.len_bytes() as u64);
        let mut batch = std::mem::replace(&mut self.batch, next);
        (self.began, self.due) = (None, false);
        let result = if self.failure.is_none() { self.write_batch(&mut batch) } else { Ok(()) };
        self.unsynced_bytes += batch.len_bytes();
        self.unsynced.push_back(batch);
        self.return_bytes();
        match result {
            Err(error) => return self.fail(&error),
            Ok(()) if self.failure.is_some() => return,
            Ok(()) => {}
        }
        let mark = Mark { sequence: self.batch.next_sequence() - 1, offset: self.active.offset };
        self.shared.gauges.written.store(mark.sequence, Ordering::Relaxed);
        self.synced = self.shared.sync.written(mark, &mut self.durable);
        self.shared.acks.commit(&mut self.written);
        self.trim();
        self.segments.prepare_next(&self.active);
        if (self.active.is_full() || std::mem::take(&mut self.seal_next))
            && let Err(error) = self.rotate()
        {
            self.fail(&error);
        }
    }

    /// The batch behind the one that gathers now, which will lie at `offset`.
    fn empty_batch(&mut self, offset: u64) -> Batch {
        let buffer = self.buffers.pop().unwrap_or_else(|| Vec::with_capacity(BATCH_BUFFER_BYTES));
        let mut batch = Batch::new(self.batch.next_sequence(), self.batch.hash(), buffer);
        batch.place(offset);
        batch
    }

    fn write_batch(&mut self, batch: &mut Batch) -> io::Result<()> {
        self.active.openings.write(&mut self.openings)?;
        let Active { file, header, offset, .. } = &mut self.active;
        let bytes = batch.close_page(header.number, *offset, self.synced.sequence, &header.salt);
        let started = Instant::now();
        file.write_at(bytes, *offset)?;
        self.shared.gauges.writes.observe(started.elapsed());
        *offset += batch.len_bytes() as u64;
        Ok(())
    }

    /// Writes what a recovery has to say and waits until it is synced; for the start, before the thread runs.
    ///
    /// # Errors
    /// A write or a sync failed.
    pub(super) fn write_first(&mut self, records: impl Iterator<Item = Record>) -> io::Result<()> {
        for record in records {
            self.take(To::Nobody, Commit::Durable, record);
            if !self.has_room() {
                self.write();
            }
        }
        if !self.batch.is_empty() {
            self.write();
        }
        match self.failure {
            Some(failure) => Err(io::Error::other(failure)),
            None => self.shared.sync.flush(),
        }
    }

    /// Lets go of what is synced.
    fn trim(&mut self) {
        while let Some(batch) = self.unsynced.front()
            && batch.last_sequence() <= self.synced.sequence
        {
            self.unsynced_bytes -= batch.len_bytes();
            let buffer = self.unsynced.pop_front().map(Batch::into_buffer).unwrap_or_default();
            if self.buffers.len() < BATCH_BUFFERS_MAX && buffer.capacity() == BATCH_BUFFER_BYTES {
                self.buffers.push(buffer);
            }
        }
        self.shared.gauges.unsynced_bytes.store(self.unsynced_bytes as u64, Ordering::Relaxed);
    }

    fn return_bytes(&mut self) {
        for Returned { lane, share, records, bytes } in self.returned.drain(..) {
            self.shared.lanes[lane].give_back(share, records, bytes);
        }
    }

    /// Goes on in a new segment. Everything before is synced first, so that only the last segment of a log
    /// can have unsynced records.
    fn rotate(&mut self) -> io::Result<()> {
        self.shared.sync.flush()?;
        self.synced = self.shared.sync.synced();
        self.trim();
        let position = self.position();
        let state = [Record::State(state(&self.book, &self.tree, &self.keys))];
        let (active, batch, leaves) = segment::begin(&mut self.segments, &position, &state)?;
        let old = std::mem::replace(&mut self.active, active);
        self.batch = batch;
        leaves.into_iter().for_each(|leaf| self.tree.push(leaf));
        self.checkpoints.entered(Kind::State);
        self.activate();
        let sealed = segment::seal(&*old.file, &old.header, &position, old.offset, SealReason::Rotated);
        sealed.and_then(|()| old.openings.file().sync()).map_err(beyond_retry)?;
        self.shared.packer.sealed_below(self.active.header.number, self.active.header.first_sequence);
        Ok(())
    }

    /// Where a new segment would go on.
    fn position(&self) -> Position {
        Position {
            segment: self.active.header.number + 1,
            sequence: self.batch.next_sequence(),
            hash: self.batch.hash(),
        }
    }

    /// Tells everybody of the new active segment, of which everything is synced.
    fn activate(&mut self) {
        let Active { file, openings, header, offset, .. } = &self.active;
        self.synced = Mark { sequence: self.batch.next_sequence() - 1, offset: *offset };
        if self.batch.is_empty() {
            self.batch.place(*offset);
        }
        self.shared.sync.switch(Arc::clone(file), openings.file(), self.synced);
        self.shared.gauges.segment.store(header.number, Ordering::Relaxed);
        let oldest_live = self.book.begin_segment(header.number);
        self.shared.gauges.oldest_live.store(oldest_live, Ordering::Relaxed);
        self.shared.gauges.written.store(self.synced.sequence, Ordering::Relaxed);
        self.shared.gauges.synced.store(self.synced.sequence, Ordering::Relaxed);
    }

    /// Sleeps: until the disk took something, if it is behind; else for a moment, while records come that
    /// nobody waits for; else until any record comes.
    fn rest(&mut self) {
        if self.unsynced_bytes >= UNSYNCED_BYTES_MAX {
            return self.shared.sync.wait(self.synced, JOURNAL_PARK_MAX);
        }
        let idle = self.idle.get_or_insert_with(Instant::now).elapsed();
        let shared = &self.shared;
        let is_idle = || shared.is_empty() && !shared.bell.closing.load(Ordering::Acquire);
        if self.began.is_some() || idle < JOURNAL_DOZE_FOR {
            // What is there after a whole doze came during it, and was waiting since.
            self.due |= shared.bell.rest(DOZING, BATCH_TIME_MAX, is_idle);
        } else {
            shared.bell.rest(ASLEEP, JOURNAL_PARK_MAX, is_idle);
        }
    }

    /// Ends the log: everything is synced, and the segment says that this was on purpose.
    fn close(mut self) {
        self.shared.bell.state.store(STATE_DEAD, Ordering::Release);
        if self.failure == Some(Failure::NoSpace)
            && let Err(error) = self.revive()
        {
            self.fail(&error);
        }
        if self.failure.is_none()
            && let Err(error) = self.checkpoint_all()
        {
            self.fail(&error);
        }
        if self.failure.is_none() {
            let position = self.position();
            let Active { file, header, offset, .. } = &self.active;
            let sealed = self
                .shared
                .sync
                .flush()
                .and_then(|()| segment::seal(&**file, header, &position, *offset, SealReason::Closed))
                .and_then(|()| self.active.openings.file().sync());
            if let Err(error) = sealed {
                self.fail(&error);
            }
        }
        self.segments.abandon();
        while let Some((_, sender)) = self.shared.calls.pop() {
            self.refuse(To::Caller(sender), Failure::Closed);
        }
        self.shared.sync.stop();
    }
}

/// A segment that could not be sealed is left to the recovery of the next start: another fresh segment would
/// not help it.
fn beyond_retry(error: io::Error) -> io::Error {
    io::Error::other(error)
}

/// What the log holds that goes on.
pub(super) struct Live {
    pub(super) book: Book,
    pub(super) tree: Frontier,
    pub(super) keys: KeyChain,
}

fn state(book: &Book, tree: &Frontier, keys: &KeyChain) -> State {
    State {
        at: segment::now(),
        open: book.open(),
        tree: Some(tree.clone()),
        keys: keys.stated().cloned().collect(),
    }
}
