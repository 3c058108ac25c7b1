//! Counters and histograms with one part a shard: a shard writes to memory that no other one writes to, and
//! who scrapes adds the parts up.

use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::{MetricType, TypedMetric},
};
use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Bounds of the latency histograms in nanoseconds: 50 µs to 5 minutes; above is one more bucket.
const LATENCY_BOUNDS_NS: [u64; 18] = [
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    5_000_000_000,
    30_000_000_000,
    120_000_000_000,
    300_000_000_000,
];

/// What has a part in each shard.
pub struct Sharded<T>(Arc<Mutex<Vec<Arc<T>>>>);

impl<T: Default> Sharded<T> {
    /// A new part, for one thread that writes to it.
    pub fn part(&self) -> Arc<T> {
        let part = Arc::<T>::default();
        self.parts().push(part.clone());
        part
    }

    fn parts(&self) -> MutexGuard<'_, Vec<Arc<T>>> {
        // Nothing panics with the lock held, and the list is good after every push.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sharded<Count> {
    /// All parts together.
    pub fn sum(&self) -> u64 {
        self.parts().iter().map(|part| part.get()).sum()
    }
}

/// One part of a counter. Any thread may read it, one thread writes to it.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds `by`. No locked instruction: only the thread that owns the part may call this.
    pub fn add(&self, by: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(by), Ordering::Relaxed);
    }

    /// The value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One part of a histogram of durations.
#[derive(Debug, Default)]
pub struct Latency {
    buckets: [Count; LATENCY_BOUNDS_NS.len() + 1],
    sum_ns: Count,
}

impl Latency {
    /// Counts `time`. Only the thread that owns the part may call this.
    pub fn observe(&self, time: Duration) {
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let bucket = LATENCY_BOUNDS_NS.iter().take_while(|bound| nanoseconds > **bound).count();
        self.buckets[bucket].add(1);
        self.sum_ns.add(nanoseconds);
    }
}

impl<T> Clone for Sharded<T> {
    fn clone(&self) -> Self {
        Sharded(self.0.clone())
    }
}

impl<T> Default for Sharded<T> {
    fn default() -> Self {
        Sharded(Arc::default())
    }
}

impl<T> fmt::Debug for Sharded<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sharded")
    }
}

impl EncodeMetric for Sharded<Count> {
    fn encode(&self, mut encoder: MetricEncoder) -> fmt::Result {
        encoder.encode_counter::<NoLabelSet, _, u64>(&self.sum(), None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

impl TypedMetric for Sharded<Count> {
    const TYPE: MetricType = MetricType::Counter;
}

impl EncodeMetric for Sharded<Latency> {
    fn encode(&self, mut encoder: MetricEncoder) -> fmt::Result {
        let parts = self.parts();
        let seconds = |nanoseconds: u64| nanoseconds as f64 / 1e9;
        let bounds = LATENCY_BOUNDS_NS.iter().map(|bound| seconds(*bound)).chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds
            .enumerate()
            .map(|(index, bound)| (bound, parts.iter().map(|part| part.buckets[index].get()).sum()))
            .collect();
        let sum = parts.iter().map(|part| part.sum_ns.get()).sum();
        let count = buckets.iter().map(|(_, count)| count).sum();
        encoder.encode_histogram::<NoLabelSet>(seconds(sum), count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

impl TypedMetric for Sharded<Latency> {
    const TYPE: MetricType = MetricType::Histogram;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_shards_are_added_up() {
        let sharded = Sharded::<Count>::default();
        let (one, other) = (sharded.part(), sharded.part());
        one.add(2);
        other.add(3);
        assert_eq!(sharded.sum(), 5);
    }

    #[test]
    fn durations_fall_below_or_on_their_bound() {
        let latency = Latency::default();
        for time in [0, 50, 51, 400_000_000] {
            latency.observe(Duration::from_micros(time));
        }
        let counts: Vec<u64> = latency.buckets.iter().map(Count::get).collect();
        assert_eq!((counts[0], counts[1], counts[18]), (2, 1, 1));
        assert_eq!(latency.sum_ns.get(), 400_000_101_000);
    }
}
