use crate::{
    limits::{POOL_IDLE_MAX, POOL_IDLE_TIMEOUT},
    time::Instant,
};

/// An idle connection and the instant since which it idles.
#[derive(Debug)]
struct Idle<C> {
    connection: C,
    since: Instant,
}

/// Idle connections of one shard, by upstream. Bounded per upstream; the youngest is taken first, so that
/// the others age out when the load falls.
///
/// Only a connection whose last answer was read whole, with nothing behind it, may be put back (SECURITY R6);
/// the caller guarantees it.
#[derive(Debug)]
pub struct Pool<C> {
    /// One entry an upstream that was used, found by its key.
    upstreams: Vec<(u64, Vec<Idle<C>>)>,
}

impl<C> Default for Pool<C> {
    fn default() -> Self {
        Pool { upstreams: Vec::new() }
    }
}

impl<C> Pool<C> {
    /// Takes the connection to `upstream` that idled for the shortest time. The caller checks that it lives.
    pub fn take(&mut self, upstream: u64) -> Option<C> {
        self.idle_mut(upstream)?.pop().map(|idle| idle.connection)
    }

    /// Keeps `connection` for the next exchange; gives the oldest one back when the pool is full.
    pub fn put(&mut self, upstream: u64, connection: C, now: Instant) -> Option<C> {
        let idle = Idle { connection, since: now };
        let Some(connections) = self.idle_mut(upstream) else {
            self.upstreams.push((upstream, vec![idle]));
            return None;
        };
        connections.push(idle);
        let overflow = connections.len() > POOL_IDLE_MAX;
        overflow.then(|| connections.remove(0).connection)
    }

    /// Takes out all connections that idled for [`POOL_IDLE_TIMEOUT`], and those that `is_dead` names.
    pub fn sweep(&mut self, now: Instant, mut is_dead: impl FnMut(&mut C) -> bool) -> Vec<C> {
        let mut swept = Vec::new();
        for (_, connections) in &mut self.upstreams {
            let expired = |idle: &mut Idle<C>| {
                now.since(idle.since) >= POOL_IDLE_TIMEOUT || is_dead(&mut idle.connection)
            };
            swept.extend(connections.extract_if(.., expired).map(|idle| idle.connection));
        }
        self.upstreams.retain(|(_, connections)| !connections.is_empty());
        swept
    }

    /// Number of idle connections, all upstreams together.
    pub fn len(&self) -> usize {
        self.upstreams.iter().map(|(_, connections)| connections.len()).sum()
    }

    /// Whether nothing idles.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn idle_mut(&mut self, upstream: u64) -> Option<&mut Vec<Idle<C>>> {
        self.upstreams.iter_mut().find(|(key, _)| *key == upstream).map(|(_, connections)| connections)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_youngest_connection_is_taken_first() {
        let mut pool = Pool::default();
        for connection in ["old", "young"] {
            assert_eq!(pool.put(1, connection, Instant(0)), None);
        }
        assert_eq!(pool.take(2), None);
        assert_eq!(pool.take(1), Some("young"));
        assert_eq!(pool.take(1), Some("old"));
        assert_eq!(pool.take(1), None);
    }

    #[test]
    fn a_full_pool_gives_back_the_oldest() {
        let mut pool = Pool::default();
        for connection in 0..POOL_IDLE_MAX {
            assert_eq!(pool.put(1, connection, Instant(0)), None);
        }
        assert_eq!(pool.put(1, 9_999, Instant(0)), Some(0));
        assert_eq!(pool.len(), POOL_IDLE_MAX);
    }

    #[test]
    fn the_sweep_takes_out_what_is_expired_or_dead() {
        let mut pool = Pool::default();
        let late = Instant(0) + POOL_IDLE_TIMEOUT;
        pool.put(1, "expired", Instant(0));
        pool.put(1, "dead", Instant(0) + Duration::from_secs(1));
        pool.put(2, "alive", Instant(0) + Duration::from_secs(1));
        assert_eq!(pool.sweep(late, |connection| *connection == "dead"), ["expired", "dead"]);
        assert_eq!(pool.len(), 1);
    }
}
