use crate::time::Instant;
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// When a shard last went round its loop: each look of its sweeper is a beat. Whoever watches it from another
/// thread learns that it hangs.
#[derive(Debug, Default)]
pub struct Heartbeat(AtomicU64);

impl Heartbeat {
    /// The shard is alive.
    pub fn beat(&self, now: Instant) {
        self.0.store(now.0, Ordering::Relaxed);
    }

    /// How long ago it last was.
    pub fn age(&self, now: Instant) -> Duration {
        now.since(Instant(self.0.load(Ordering::Relaxed)))
    }
}
