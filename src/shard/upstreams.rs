//! What a shard knows of its upstreams: connections and their places, who waits for one, which addresses
//! work. The rules are [`crate::upstream`]'s; here they meet sockets.

use super::origin::Resting;
use crate::{
    exchange::{Cause, plan::Upstream},
    metrics::{Metrics, UpstreamMetrics},
    runtime::{self, Slot},
    time::Instant,
    upstream::{Admission, Breaker, Kept, Order, Pool, PoolLimits, Retired},
};
use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    rc::{Rc, Weak},
};

/// All upstreams that this shard has used.
pub struct Upstreams {
    servers: RefCell<Vec<Rc<Server>>>,
    /// The bounds of an upstream are those of the process; each shard has its share.
    shards: usize,
    /// The configuration that [`Upstreams::sweep`] saw last.
    generation: Cell<u64>,
}

/// One upstream as this shard knows it.
pub struct Server {
    key: u64,
    /// Of the configuration that used it last, and this shard's share of them.
    limits: Cell<(PoolLimits, PoolLimits)>,
    pool: RefCell<Pool<Pooled, Slot<Turn>>>,
    breaker: RefCell<Breaker>,
    tally: Tally,
    metrics: UpstreamMetrics,
}

/// Counted here, and handed to the metrics once in a while: a request costs no shared memory.
#[derive(Default)]
struct Tally {
    connected: Cell<u64>,
    reused: Cell<u64>,
    failed: Cell<u64>,
    ejections: Cell<u64>,
    overloaded: Cell<u64>,
    retired: [Cell<u64>; Retired::ALL.len()],
    /// Open, idle, waiting, set aside: as they were reported last.
    levels: Cell<[i64; 4]>,
}

/// An idle connection.
struct Pooled {
    resting: Resting,
    place: Place,
}

/// One of the connections that an upstream may have. Dropped, it goes to whoever waits.
pub struct Place {
    server: Weak<Server>,
    /// When its connection was made; `None` while there is none.
    born: Option<Instant>,
    retired: Retired,
}

/// How a request gets on: on the connection of an earlier one, or on a fresh one.
pub struct Turn {
    pub resting: Option<Resting>,
    pub place: Place,
}

impl Upstreams {
    /// No upstream yet.
    pub fn new(shards: usize) -> Upstreams {
        Upstreams { servers: RefCell::default(), shards: shards.max(1), generation: Cell::new(0) }
    }

    /// The state of `upstream`.
    pub fn server(&self, upstream: &Upstream, metrics: &Metrics) -> Rc<Server> {
        let mut servers = self.servers.borrow_mut();
        let found = servers.iter().find(|server| server.key == upstream.key);
        let server = match found {
            Some(server) => server.clone(),
            None => {
                let words = Retired::ALL.map(Retired::word);
                let server = Rc::new(Server {
                    key: upstream.key,
                    limits: Cell::new((upstream.pool, self.share(upstream.pool))),
                    pool: RefCell::default(),
                    breaker: RefCell::default(),
                    tally: Tally::default(),
                    metrics: metrics.upstream(&upstream.name, &words),
                });
                servers.push(server.clone());
                server
            }
        };
        if server.limits.get().0 != upstream.pool {
            server.limits.set((upstream.pool, self.share(upstream.pool)));
        }
        server
    }

    fn share(&self, limits: PoolLimits) -> PoolLimits {
        PoolLimits {
            connections_max: limits.connections_max.div_ceil(self.shards),
            waiting_max: limits.waiting_max.div_ceil(self.shards),
            ..limits
        }
    }

    /// Closes what idled for too long and what its peer has closed, forgets upstreams that `plan` (a
    /// generation and its keys) knows no more, and reports.
    pub fn sweep(&self, now: Instant, generation: u64, keys: impl Fn(u64) -> bool) {
        let servers: Vec<_> = self.servers.borrow().clone();
        let has_changed = self.generation.replace(generation) != generation;
        for server in &servers {
            server.sweep(now);
            if !keys(server.key) {
                server.drain();
            }
            server.report();
        }
        if has_changed || servers.iter().any(|server| !keys(server.key)) {
            let mut servers = self.servers.borrow_mut();
            servers.retain(|server| keys(server.key) || server.pool.borrow().open() > 0);
        }
    }

    /// Closes everything that idles: the shard ends.
    pub fn close(&self) {
        let servers = self.servers.take();
        for server in &servers {
            server.drain();
            server.report();
        }
    }
}

impl Server {
    /// An idle connection that still lives.
    pub fn reuse(&self) -> Option<(Resting, Place)> {
        let Pooled { resting, place } = self.reusable()?;
        self.tally.reused.set(self.tally.reused.get() + 1);
        Some((resting, place))
    }

    /// The right to make a connection, for which a request may have to wait, or one that became free
    /// meanwhile. May be dropped.
    ///
    /// # Errors
    /// [`Cause::Busy`]: too many connections, and too many wait already or it took too long.
    pub async fn acquire(self: &Rc<Server>) -> Result<Turn, Cause> {
        let (_, limits) = self.limits.get();
        let slot = Slot::new();
        let admission = self.pool.borrow_mut().admit(&limits, || slot.clone());
        match admission {
            Admission::Granted(evicted) => {
                let place = self.place();
                if let Some(pooled) = evicted {
                    pooled.retire(Retired::Overflow);
                }
                Ok(Turn { resting: None, place })
            }
            Admission::Refused => Err(self.busy()),
            Admission::Queued(ticket) => {
                let waiting = Waiting { server: self, ticket, slot };
                let turn = runtime::timeout(limits.wait, waiting.slot.take()).await;
                let mut turn = turn.ok_or_else(|| self.busy())?;
                if turn.resting.take_if(Resting::is_disturbed).is_some() {
                    // The place of the dead one goes on, so that it is counted once.
                    let dead = std::mem::replace(&mut turn.place, self.place());
                    dead.hand_on();
                }
                let reused = u64::from(turn.resting.is_some());
                self.tally.reused.set(self.tally.reused.get() + reused);
                Ok(turn)
            }
        }
    }

    /// Takes a connection back for the next exchange: its last answer was whole.
    pub fn keep(&self, resting: Resting, place: Place) {
        let (_, limits) = self.limits.get();
        let (now, born) = (runtime::recent().instant, place.born.unwrap_or_default());
        let kept = self.pool.borrow_mut().put(&limits, Pooled { resting, place }, born, now);
        match kept {
            Kept::Idle(None) => {}
            Kept::Idle(Some(oldest)) => oldest.retire(Retired::Overflow),
            Kept::Aged(pooled) => pooled.retire(Retired::Age),
            Kept::HandedOver(slot, Pooled { resting, place }) => {
                drop(slot.put(Turn { resting: Some(resting), place }));
            }
        }
    }

    /// Addresses in the order in which they are to be tried.
    pub fn order(&self, addresses: &[SocketAddr]) -> Order {
        self.breaker.borrow_mut().order(runtime::now().instant, addresses)
    }

    /// A connection to `address` was made, or not.
    pub fn tried(&self, address: SocketAddr, is_good: bool) {
        let mut breaker = self.breaker.borrow_mut();
        if is_good {
            if breaker.succeeded(address) {
                tracing::info!(%address, "an upstream's address is used again");
            }
            return;
        }
        self.tally.failed.set(self.tally.failed.get() + 1);
        if breaker.failed(runtime::now().instant, address) {
            self.tally.ejections.set(self.tally.ejections.get() + 1);
            tracing::warn!(%address, "an upstream's address is set aside");
        }
    }

    fn reusable(&self) -> Option<Pooled> {
        let (_, limits) = self.limits.get();
        loop {
            let mut pooled = self.pool.borrow_mut().take()?;
            if pooled.resting.is_disturbed() {
                pooled.retire(Retired::Closed);
                continue;
            }
            // The sweeper looks too seldom to tell.
            let born = pooled.place.born.unwrap_or_default();
            if runtime::recent().instant.since(born) >= limits.age {
                pooled.retire(Retired::Age);
                continue;
            }
            return Some(pooled);
        }
    }

    fn place(self: &Rc<Server>) -> Place {
        Place { server: Rc::downgrade(self), born: None, retired: Retired::Unfit }
    }

    fn busy(&self) -> Cause {
        self.tally.overloaded.set(self.tally.overloaded.get() + 1);
        Cause::Busy
    }

    /// A place has become free.
    fn release(self: &Rc<Server>) {
        let (_, limits) = self.limits.get();
        let waiter = self.pool.borrow_mut().released(&limits);
        if let Some(slot) = waiter {
            drop(slot.put(Turn { resting: None, place: self.place() }));
        }
    }

    fn sweep(&self, now: Instant) {
        let (_, limits) = self.limits.get();
        let is_dead = |pooled: &mut Pooled| pooled.resting.is_disturbed();
        let swept = self.pool.borrow_mut().sweep(&limits, now, is_dead);
        swept.into_iter().for_each(|(pooled, reason)| pooled.retire(reason));
    }

    fn drain(&self) {
        self.breaker.take();
        let idle = self.pool.borrow_mut().drain();
        idle.into_iter().for_each(|pooled| pooled.retire(Retired::Reload));
    }

    /// Hands what was counted to the metrics.
    fn report(&self) {
        let (tally, metrics) = (&self.tally, &self.metrics);
        let counters = [
            (&tally.connected, &metrics.connected),
            (&tally.reused, &metrics.reused),
            (&tally.failed, &metrics.failed),
            (&tally.ejections, &metrics.ejections),
            (&tally.overloaded, &metrics.overloaded),
        ];
        for (counted, counter) in counters.into_iter().chain(tally.retired.iter().zip(&metrics.retired)) {
            match counted.take() {
                0 => {}
                count => drop(counter.inc_by(count)),
            }
        }
        let pool = self.pool.borrow();
        let levels = [pool.open(), pool.idle(), pool.waiting(), self.breaker.borrow().ejected()];
        let levels = levels.map(|level| level as i64);
        let before = tally.levels.replace(levels);
        let gauges = [&metrics.open, &metrics.idle, &metrics.waiting, &metrics.ejected];
        for ((gauge, level), before) in gauges.into_iter().zip(levels).zip(before) {
            if level != before {
                gauge.inc_by(level - before);
            }
        }
    }
}

impl Pooled {
    /// Closes it.
    fn retire(mut self, reason: Retired) {
        self.place.retired = reason;
    }
}

impl Place {
    /// Its connection stands.
    pub fn connected(&mut self, now: Instant) {
        self.born = Some(now);
        if let Some(server) = self.server.upgrade() {
            server.tally.connected.set(server.tally.connected.get() + 1);
        }
    }

    /// The connection has died; the place itself is not given back.
    fn hand_on(mut self) {
        self.count(Retired::Closed);
        self.server = Weak::new();
    }

    fn count(&self, reason: Retired) {
        if let (Some(_), Some(server)) = (self.born, self.server.upgrade()) {
            let counted = &server.tally.retired[reason as usize];
            counted.set(counted.get() + 1);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.count(self.retired);
        if let Some(server) = self.server.upgrade() {
            server.release();
        }
    }
}

/// A request in the queue; it leaves the queue however it ends.
struct Waiting<'a> {
    server: &'a Rc<Server>,
    ticket: u64,
    slot: Slot<Turn>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.server.pool.borrow_mut().give_up(self.ticket);
        // What came too late goes to the next.
        drop(self.slot.try_take());
    }
}
