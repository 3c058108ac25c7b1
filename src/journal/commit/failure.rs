//! What the commit thread does when a disk fails or is full.

use super::{Committer, beyond_retry};
use crate::{
    audit::{Batch, SealReason},
    journal::{
        producer::{Failure, STATE_DEAD, STATE_NO_SPACE, STATE_WORKING},
        segment,
    },
    limits::{NO_SPACE_RETRY, UNSYNCED_BYTES_MAX},
};
use std::{io, sync::atomic::Ordering, time::Instant};

impl Committer {
    /// Looks whether the sync thread failed, and whether there is room again.
    pub(super) fn notice(&mut self) {
        if self.failure.is_none()
            && let Some(error) = self.shared.sync.take_failure()
        {
            self.fail(&error);
        }
        if self.failure.is_none() && self.unsynced_bytes >= UNSYNCED_BYTES_MAX {
            self.synced = self.shared.sync.synced();
            self.trim();
        }
        if self.failure == Some(Failure::NoSpace) && Instant::now() >= self.retry {
            self.retry = Instant::now() + NO_SPACE_RETRY;
            let mut revived = self.revive();
            // The last room is for the records of open exchanges: until it is held again, none begins.
            let is_full = matches!(&revived, Err(error) if Failure::of(Some(error)) == Failure::NoSpace);
            if is_full && self.shared.reserve.free() {
                self.shared.bell.disk_full.store(true, Ordering::Release);
                self.segments.abandon();
                revived = self.revive();
            }
            if let Err(error) = revived {
                self.segments.abandon();
                if Failure::of(Some(&error)) == Failure::Disk {
                    self.fail(&error);
                }
            }
        }
    }

    /// The segment is poisoned: nothing is written to it again, whatever a second sync would say.
    pub(super) fn fail(&mut self, error: &io::Error) {
        let failure = Failure::of(Some(error));
        self.failure = Some(failure);
        self.retry = Instant::now() + NO_SPACE_RETRY;
        let state = if failure == Failure::NoSpace { STATE_NO_SPACE } else { STATE_DEAD };
        self.shared.bell.state.store(state, Ordering::Release);
        self.shared.gauges.set_failure(Some((failure, error.to_string())));
        self.shared.acks.fail(&mut self.written, failure);
        self.shared.acks.fail(&mut self.durable, failure);
        self.synced = self.shared.sync.poison(&self.shared.acks, failure);
        self.trim();
        if failure == Failure::Disk {
            self.unsynced.clear();
            self.unsynced_bytes = 0;
            self.batch = Batch::new(self.batch.next_sequence(), self.batch.hash(), Vec::new());
            self.began = None;
            self.openings.clear();
            self.return_bytes();
        }
    }

    /// Writes what is not synced to a fresh segment, and cuts it off the poisoned one.
    pub(super) fn revive(&mut self) -> io::Result<()> {
        if !self.batch.is_empty() {
            self.write();
        }
        // The first record that is not known to be synced, and the chain before it.
        let mut position = self.position();
        if let Some(first) = self.unsynced.front() {
            (position.sequence, position.hash) = (first.first_sequence(), first.previous());
        }
        let mut fresh = self.segments.create(&position, &mut self.unsynced.iter_mut())?;
        fresh.openings.write(&mut self.openings)?;
        let old = std::mem::replace(&mut self.active, fresh);
        let cut = self.synced.offset;
        self.activate();
        self.trim();
        let sealed = segment::seal(&*old.file, &old.header, &position, cut, SealReason::Poisoned);
        sealed.and_then(|()| old.openings.file().sync()).map_err(beyond_retry)?;
        self.failure = None;
        self.shared.gauges.set_failure(None);
        self.shared.bell.state.store(STATE_WORKING, Ordering::Release);
        Ok(())
    }
}
