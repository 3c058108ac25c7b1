use crate::{limits, time::Instant};
use std::{collections::VecDeque, time::Duration};

/// What an upstream's connections are bounded by, on one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolLimits {
    /// An idle connection is closed after this time.
    pub idle: Duration,
    /// Idle connections that are kept.
    pub idle_count_max: usize,
    /// A connection that lives longer is not used for another request.
    pub age: Duration,
    /// Connections at once, idle ones included. At least one.
    pub connections_max: usize,
    /// Requests that wait for one of them.
    pub waiting_max: usize,
    /// How long they wait.
    pub wait: Duration,
}

impl Default for PoolLimits {
    fn default() -> Self {
        PoolLimits {
            idle: limits::POOL_IDLE_TIMEOUT,
            idle_count_max: limits::POOL_IDLE_MAX,
            age: limits::POOL_AGE_MAX,
            connections_max: limits::POOL_CONNECTIONS_MAX,
            waiting_max: limits::POOL_WAITING_MAX,
            wait: limits::POOL_WAIT_TIMEOUT,
        }
    }
}

/// Why a connection that could have carried another request was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retired {
    /// It idled for too long.
    Idle,
    /// It lived for too long.
    Age,
    /// While it idled its peer closed it, or sent what nobody had asked for.
    Closed,
    /// More idle ones than are kept, or its place was needed.
    Overflow,
    /// Its last exchange left it unfit: not whole, or its peer wants it closed (SECURITY R6).
    Unfit,
    /// The configuration knows its upstream no more.
    Reload,
}

impl Retired {
    /// All reasons, in the order of their numbers.
    pub const ALL: [Retired; 6] =
        [Retired::Idle, Retired::Age, Retired::Closed, Retired::Overflow, Retired::Unfit, Retired::Reload];

    /// One word for metrics.
    pub fn word(self) -> &'static str {
        match self {
            Retired::Idle => "idle",
            Retired::Age => "age",
            Retired::Closed => "closed",
            Retired::Overflow => "overflow",
            Retired::Unfit => "unfit",
            Retired::Reload => "reload",
        }
    }
}

/// An idle connection.
#[derive(Debug)]
struct Idle<C> {
    connection: C,
    born: Instant,
    since: Instant,
}

/// The connections of one shard to one upstream: how many there are, which idle, who waits for one. `C` is a
/// connection, `W` where a waiter finds what it waits for.
///
/// Only a connection whose last answer was read whole, with nothing behind it, may be put back (SECURITY R6);
/// the caller guarantees it.
#[derive(Debug)]
pub struct Pool<C, W> {
    idle: Vec<Idle<C>>,
    /// Connections that exist or are being made, idle ones included.
    open: usize,
    waiting: VecDeque<(u64, W)>,
    last_ticket: u64,
}

/// The answer to a wish for a fresh connection.
#[derive(Debug, PartialEq, Eq)]
pub enum Admission<C> {
    /// It may be made. The idle connection that had to give way for it, if any.
    Granted(Option<C>),
    /// Too many are open: the waiter was queued under this ticket.
    Queued(u64),
    /// Too many wait, too.
    Refused,
}

/// What became of a connection that was given back.
#[derive(Debug, PartialEq, Eq)]
pub enum Kept<C, W> {
    /// It idles; the connection that had to give way for it, if any.
    Idle(Option<C>),
    /// It belongs to this waiter.
    HandedOver(W, C),
    /// It is too old.
    Aged(C),
}

impl<C, W> Default for Pool<C, W> {
    fn default() -> Self {
        Pool { idle: Vec::new(), open: 0, waiting: VecDeque::new(), last_ticket: 0 }
    }
}

impl<C, W> Pool<C, W> {
    /// Takes the connection that idled for the shortest time, so that the others age out when the load falls.
    /// The caller checks that it lives.
    pub fn take(&mut self) -> Option<C> {
        self.idle.pop().map(|idle| idle.connection)
    }

    /// Asks for a place for a fresh connection.
    pub fn admit(&mut self, limits: &PoolLimits, waiter: impl FnOnce() -> W) -> Admission<C> {
        if self.open < limits.connections_max.max(1) {
            self.open += 1;
            return Admission::Granted(None);
        }
        if !self.idle.is_empty() {
            // The place of an idle connection; its end is reported with `released` all the same.
            self.open += 1;
            return Admission::Granted(Some(self.idle.remove(0).connection));
        }
        if self.waiting.len() >= limits.waiting_max {
            return Admission::Refused;
        }
        self.last_ticket += 1;
        self.waiting.push_back((self.last_ticket, waiter()));
        Admission::Queued(self.last_ticket)
    }

    /// A connection has ended, or came to nothing: its place goes to the waiter that is given back, if there
    /// is one and the bound allows it.
    pub fn released(&mut self, limits: &PoolLimits) -> Option<W> {
        self.open = self.open.saturating_sub(1);
        if self.open >= limits.connections_max.max(1) {
            return None;
        }
        let (_, waiter) = self.waiting.pop_front()?;
        self.open += 1;
        Some(waiter)
    }

    /// A waiter waits no longer. False if its turn had come already.
    pub fn give_up(&mut self, ticket: u64) -> bool {
        let position = self.waiting.iter().position(|(own, _)| *own == ticket);
        position.is_some_and(|position| self.waiting.remove(position).is_some())
    }

    /// Keeps `connection`, which was made at `born`, for the next exchange.
    pub fn put(&mut self, limits: &PoolLimits, connection: C, born: Instant, now: Instant) -> Kept<C, W> {
        if now.since(born) >= limits.age {
            return Kept::Aged(connection);
        }
        if let Some((_, waiter)) = self.waiting.pop_front() {
            return Kept::HandedOver(waiter, connection);
        }
        self.idle.push(Idle { connection, born, since: now });
        let is_full = self.idle.len() > limits.idle_count_max;
        Kept::Idle(is_full.then(|| self.idle.remove(0).connection))
    }

    /// Takes out all connections that idled or lived for too long, and those that `is_dead` names.
    pub fn sweep(
        &mut self,
        limits: &PoolLimits,
        now: Instant,
        mut is_dead: impl FnMut(&mut C) -> bool,
    ) -> Vec<(C, Retired)> {
        let mut swept = Vec::new();
        let mut at = 0;
        while let Some(idle) = self.idle.get_mut(at) {
            let reason = if is_dead(&mut idle.connection) {
                Retired::Closed
            } else if now.since(idle.since) >= limits.idle {
                Retired::Idle
            } else if now.since(idle.born) >= limits.age {
                Retired::Age
            } else {
                at += 1;
                continue;
            };
            swept.push((self.idle.remove(at).connection, reason));
        }
        swept
    }

    /// Takes out all idle connections.
    pub fn drain(&mut self) -> Vec<C> {
        self.idle.drain(..).map(|idle| idle.connection).collect()
    }

    /// Number of idle connections.
    pub fn idle(&self) -> usize {
        self.idle.len()
    }

    /// Number of connections, idle ones included.
    pub fn open(&self) -> usize {
        self.open
    }

    /// Number of those who wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: PoolLimits = PoolLimits {
        idle: Duration::from_secs(55),
        idle_count_max: 2,
        age: Duration::from_secs(600),
        connections_max: 3,
        waiting_max: 2,
        wait: Duration::from_secs(1),
    };

    fn at(seconds: u64) -> Instant {
        Instant(0) + Duration::from_secs(seconds)
    }

    /// A pool in which so many connections are in use.
    fn busy(count: usize) -> Pool<&'static str, u32> {
        let mut pool = Pool::default();
        for _ in 0..count {
            assert_eq!(pool.admit(&LIMITS, || 0), Admission::Granted(None));
        }
        pool
    }

    #[test]
    fn the_youngest_connection_is_taken_first() {
        let mut pool = busy(2);
        assert_eq!(pool.take(), None);
        for (connection, born) in [("old", 1), ("young", 2)] {
            assert_eq!(pool.put(&LIMITS, connection, at(born), at(3)), Kept::Idle(None));
        }
        assert_eq!(pool.take(), Some("young"));
        assert_eq!(pool.take(), Some("old"));
        assert_eq!(pool.take(), None);
        assert_eq!((pool.open(), pool.idle()), (2, 0));
    }

    #[test]
    fn a_full_pool_gives_back_the_oldest() {
        let mut pool = busy(3);
        for connection in ["a", "b"] {
            assert_eq!(pool.put(&LIMITS, connection, at(0), at(0)), Kept::Idle(None));
        }
        assert_eq!(pool.put(&LIMITS, "c", at(0), at(0)), Kept::Idle(Some("a")));
        assert_eq!(pool.idle(), 2);
        let none = PoolLimits { idle_count_max: 0, ..LIMITS };
        assert_eq!(busy(1).put(&none, "d", at(0), at(0)), Kept::Idle(Some("d")));
    }

    #[test]
    fn what_is_too_old_is_not_kept() {
        let mut pool = busy(2);
        assert_eq!(pool.put(&LIMITS, "old", at(0), at(600)), Kept::Aged("old"));
        assert_eq!(pool.put(&LIMITS, "young", at(1), at(600)), Kept::Idle(None));
        assert_eq!(pool.sweep(&LIMITS, at(601), |_| false), [("young", Retired::Age)]);
    }

    #[test]
    fn the_sweep_takes_out_what_is_expired_or_dead() {
        let mut pool = busy(3);
        let limits = PoolLimits { idle_count_max: 9, ..LIMITS };
        for (connection, since) in [("expired", 0), ("dead", 10), ("alive", 10)] {
            assert_eq!(pool.put(&limits, connection, at(0), at(since)), Kept::Idle(None));
        }
        let swept = pool.sweep(&limits, at(55), |connection| *connection == "dead");
        assert_eq!(swept, [("expired", Retired::Idle), ("dead", Retired::Closed)]);
        assert_eq!(pool.drain(), ["alive"]);
    }

    #[test]
    fn beyond_the_bound_requests_wait_and_beyond_that_they_are_refused() {
        let mut pool = busy(3);
        let tickets = [1, 2].map(|waiter| match pool.admit(&LIMITS, || waiter) {
            Admission::Queued(ticket) => ticket,
            other => panic!("{other:?}"),
        });
        assert_eq!(pool.admit(&LIMITS, || 3), Admission::Refused);
        assert_eq!((pool.open(), pool.waiting()), (3, 2));
        // A connection that ends makes a place, one that is given back goes on with the next.
        assert_eq!(pool.released(&LIMITS), Some(1));
        assert_eq!(pool.open(), 3);
        assert!(!pool.give_up(tickets[0]), "its turn had come");
        assert_eq!(pool.put(&LIMITS, "whole", at(0), at(0)), Kept::HandedOver(2, "whole"));
        assert_eq!(pool.put(&LIMITS, "whole", at(0), at(0)), Kept::Idle(None));
        assert_eq!(pool.released(&LIMITS), None);
        assert_eq!((pool.open(), pool.waiting()), (2, 0));
    }

    #[test]
    fn who_gave_up_is_passed_over() {
        let mut pool = busy(3);
        let [Admission::Queued(first), Admission::Queued(_)] = [1, 2].map(|one| pool.admit(&LIMITS, || one))
        else {
            panic!("both wait");
        };
        assert!(pool.give_up(first));
        assert!(!pool.give_up(first));
        assert_eq!(pool.released(&LIMITS), Some(2));
    }

    #[test]
    fn an_idle_connection_gives_its_place_to_a_fresh_one() {
        let mut pool = busy(3);
        assert_eq!(pool.put(&LIMITS, "stale", at(0), at(0)), Kept::Idle(None));
        assert_eq!(pool.admit(&LIMITS, || 1), Admission::Granted(Some("stale")));
        assert_eq!(pool.open(), 4, "until the stale one is closed");
        assert_eq!(pool.released(&LIMITS), None);
        assert_eq!(pool.open(), 3);
    }

    #[test]
    fn a_bound_that_was_lowered_is_reached_before_anybody_gets_a_place() {
        let mut pool = busy(3);
        let lower = PoolLimits { connections_max: 1, ..LIMITS };
        assert_eq!(pool.admit(&lower, || 1), Admission::Queued(1));
        assert_eq!((pool.released(&lower), pool.released(&lower)), (None, None));
        assert_eq!(pool.released(&lower), Some(1));
    }
}
