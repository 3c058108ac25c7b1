//! The thread that syncs: group commit. While one `fdatasync` runs, the next group gathers.

use super::{
    acks::{Acks, Waiter},
    disk::DiskFile,
    health::Gauges,
    producer::{Bell, Failure},
};
use crate::limits::OPENINGS_SYNC_INTERVAL;
use std::{
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

/// A place in the active segment: everything up to it, in records and in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) sequence: u64,
    pub(super) offset: u64,
}

/// What the commit thread and the sync thread share.
#[derive(Debug, Default)]
pub(super) struct Sync {
    state: Mutex<State>,
    /// The sync thread waits here for work.
    work: Condvar,
    /// The commit thread waits here for a flush.
    done: Condvar,
}

#[derive(Debug, Default)]
struct State {
    files: Option<Files>,
    written: Mark,
    synced: Mark,
    /// Since when something is written and not synced.
    since: Option<Instant>,
    /// Who waits for a sync; all of their records are written.
    waiters: Vec<Waiter>,
    flush: bool,
    stop: bool,
    /// Counts segments and their poisonings, so that a sync that ends late is not taken for the new one's.
    epoch: u64,
    failed: Option<io::Error>,
}

#[derive(Clone, Debug)]
struct Files {
    segment: Arc<dyn DiskFile>,
    openings: Arc<dyn DiskFile>,
}

/// What one sync covers.
struct Group {
    files: Files,
    mark: Mark,
    epoch: u64,
    waiters: Vec<Waiter>,
}

impl Sync {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes on with another segment, of which everything up to `mark` is synced. Forgets a failure.
    pub(super) fn switch(&self, segment: Arc<dyn DiskFile>, openings: Arc<dyn DiskFile>, mark: Mark) {
        let mut state = self.lock();
        state.files = Some(Files { segment, openings });
        (state.written, state.synced, state.since, state.failed) = (mark, mark, None, None);
        state.epoch += 1;
    }

    /// A batch was written up to `mark`; `waiters` wait for its sync. Returns what is synced by now.
    pub(super) fn written(&self, mark: Mark, waiters: &mut Vec<Waiter>) -> Mark {
        let mut state = self.lock();
        state.written = mark;
        let first = state.since.is_none();
        state.since.get_or_insert_with(Instant::now);
        let urgent = !waiters.is_empty();
        state.waiters.append(waiters);
        if first || urgent {
            self.work.notify_one();
        }
        state.synced
    }

    /// What is synced by now.
    pub(super) fn synced(&self) -> Mark {
        self.lock().synced
    }

    /// Waits until more than `known` is synced, or a sync failed, for `time` at most.
    pub(super) fn wait(&self, known: Mark, time: Duration) {
        let is_waiting = |state: &mut State| state.synced == known && state.failed.is_none();
        drop(self.done.wait_timeout_while(self.lock(), time, is_waiting));
    }

    /// The failure of a sync, told once; who waited for it was told already.
    pub(super) fn take_failure(&self) -> Option<io::Error> {
        self.lock().failed.take()
    }

    /// No sync of this segment is believed any more: a second one succeeds falsely after a failed one.
    /// Answers everybody who waits with `failure`; returns what was synced until then.
    pub(super) fn poison(&self, acks: &Acks, failure: Failure) -> Mark {
        let mut state = self.lock();
        state.files = None;
        state.epoch += 1;
        let (mut waiters, synced) = (std::mem::take(&mut state.waiters), state.synced);
        drop(state);
        acks.fail(&mut waiters, failure);
        synced
    }

    /// Waits until everything that was written is synced.
    ///
    /// # Errors
    /// The sync failed, now or before.
    pub(super) fn flush(&self) -> io::Result<()> {
        let mut state = self.lock();
        state.flush = true;
        self.work.notify_one();
        while state.synced.sequence < state.written.sequence {
            if state.failed.is_some() || state.files.is_none() {
                state.flush = false;
                return Err(state.failed.take().unwrap_or_else(|| io::ErrorKind::Other.into()));
            }
            state = self.done.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.flush = false;
        Ok(())
    }

    /// The sync thread is no more: nothing will be synced, and nobody may wait for it.
    pub(super) fn abandon(&self) {
        let mut state = self.lock();
        state.files = None;
        state.failed = Some(io::Error::other("the sync thread ended"));
        self.done.notify_one();
    }

    /// Ends the thread once everything is synced.
    pub(super) fn stop(&self) {
        self.lock().stop = true;
        self.work.notify_one();
    }

    /// The sync thread. `interval` bounds how long a written record waits when nobody asks for its sync.
    pub(super) fn run(&self, interval: Duration, acks: &Acks, bell: &Bell, gauges: &Gauges) {
        let mut openings_synced = Instant::now();
        while let Some(mut group) = self.next(interval) {
            let started = Instant::now();
            let mut result = group.files.segment.sync();
            gauges.syncs.observe(started.elapsed());
            // Losing the newest nonces in a power cut costs openings, never records: they are synced less
            // often.
            if result.is_ok() && openings_synced.elapsed() >= OPENINGS_SYNC_INTERVAL {
                result = group.files.openings.sync();
                openings_synced = Instant::now();
            }
            let mut state = self.lock();
            let is_current = state.epoch == group.epoch;
            match result {
                Ok(()) => {
                    if is_current {
                        state.synced = group.mark;
                        state.since = (state.written != group.mark).then(Instant::now);
                        gauges.synced.store(group.mark.sequence, Ordering::Relaxed);
                    }
                    drop(state);
                    acks.commit(&mut group.waiters);
                }
                Err(error) => {
                    let failure = Failure::of(Some(&error));
                    if is_current {
                        group.waiters.append(&mut state.waiters);
                        state.files = None;
                        state.failed = Some(error);
                    }
                    drop(state);
                    acks.fail(&mut group.waiters, failure);
                    bell.ring();
                }
            }
            self.done.notify_one();
        }
    }

    /// Waits for the next group. `None` to end.
    fn next(&self, interval: Duration) -> Option<Group> {
        let mut state = self.lock();
        loop {
            let pending = state.written.sequence > state.synced.sequence;
            match (&state.files, state.since) {
                (Some(files), Some(since)) if pending => {
                    let wait = interval.saturating_sub(since.elapsed());
                    if wait.is_zero() || state.flush || state.stop || !state.waiters.is_empty() {
                        let (files, mark, epoch) = (files.clone(), state.written, state.epoch);
                        let waiters = std::mem::take(&mut state.waiters);
                        return Some(Group { files, mark, epoch, waiters });
                    }
                    let waited = self.work.wait_timeout(state, wait);
                    state = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
                _ if state.stop => return None,
                _ => state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}
