use super::{
    keep::{Level, Room},
    producer::Failure,
};
use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Upper bounds of the write latency histogram, in microseconds.
pub const WRITE_BUCKETS_US: [u64; 10] = [50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 50_000, 250_000];

/// The journal as metrics and readiness see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Why nothing is committed, and what the system said; `None` while all is well.
    pub failure: Option<(Failure, String)>,
    /// Sequence number of the last record that was written; 0 before the first.
    pub written: u64,
    /// Sequence number of the last record that was synced.
    pub synced: u64,
    /// Number of the active segment.
    pub segment: u64,
    /// Records that wait in all rings.
    pub queue_depth: usize,
    /// Submissions that were turned away.
    pub turned_away: u64,
    /// Records that the newest checkpoint covers.
    pub signed_through: u64,
    /// Why its file could not be written.
    pub checkpoint_failure: Option<String>,
    /// Bytes that are not synced.
    pub unsynced_bytes: u64,
    pub writes: Latency,
    pub syncs: Latency,
    /// The disk of the log, and how full that is; nothing before the first look.
    pub room: Room,
    pub level: Level,
    /// The last segment that retention deleted since the start; 0 for none.
    pub removed: u64,
}

/// A histogram of durations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// Counts by [`WRITE_BUCKETS_US`], not cumulated; the last one is everything above.
    pub buckets: [u64; WRITE_BUCKETS_US.len() + 1],
    /// Sum of all, in microseconds.
    pub sum_us: u64,
}

/// Where the journal's threads put their figures.
#[derive(Debug, Default)]
pub(super) struct Gauges {
    failure: Mutex<Option<(Failure, String)>>,
    pub(super) written: AtomicU64,
    pub(super) synced: AtomicU64,
    pub(super) segment: AtomicU64,
    pub(super) unsynced_bytes: AtomicU64,
    pub(super) writes: AtomicLatency,
    pub(super) syncs: AtomicLatency,
    /// The first segment in which something lies that is live.
    pub(super) oldest_live: AtomicU64,
    pub(super) removed: AtomicU64,
    disk: Mutex<(Room, Level)>,
}

impl Gauges {
    pub(super) fn set_failure(&self, failure: Option<(Failure, String)>) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }

    pub(super) fn set_disk(&self, room: Room, level: Level) {
        *self.disk.lock().unwrap_or_else(PoisonError::into_inner) = (room, level);
    }

    /// Everything but what the rings know.
    pub(super) fn snapshot(&self) -> Health {
        let (room, level) = *self.disk.lock().unwrap_or_else(PoisonError::into_inner);
        Health {
            room,
            level,
            removed: self.removed.load(Ordering::Relaxed),
            failure: self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            written: self.written.load(Ordering::Relaxed),
            synced: self.synced.load(Ordering::Relaxed),
            segment: self.segment.load(Ordering::Relaxed),
            queue_depth: 0,
            turned_away: 0,
            signed_through: 0,
            checkpoint_failure: None,
            unsynced_bytes: self.unsynced_bytes.load(Ordering::Relaxed),
            writes: self.writes.snapshot(),
            syncs: self.syncs.snapshot(),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct AtomicLatency {
    buckets: [AtomicU64; WRITE_BUCKETS_US.len() + 1],
    sum_us: AtomicU64,
}

impl AtomicLatency {
    pub(super) fn observe(&self, duration: Duration) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = WRITE_BUCKETS_US.partition_point(|bound| *bound < us);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    fn snapshot(&self) -> Latency {
        Latency {
            buckets: std::array::from_fn(|index| self.buckets[index].load(Ordering::Relaxed)),
            sum_us: self.sum_us.load(Ordering::Relaxed),
        }
    }
}
