//! One shard a core: moves bytes between callers and upstreams, decides nothing.
//!
//! ```text
//!  listener ─► connection (PROXY header, TLS) ─► http1 (bytes ⇄ messages) ─► relay ⇄ exchange
//!                                                           origin (pool, connect, TLS) ◄─┘
//! ```
//!
//! All of a shard lives on one thread: its connections, its pool, its caches. It meets the journal and the
//! background thread only through the traits of [`crate::exchange::handover`] and its mailbox.
//! Start reading at [`run`], then `connection.rs` and `relay.rs`.

mod admission;
mod answers;
mod arrival;
mod connection;
mod deadlines;
mod dial;
mod errands;
mod heartbeat;
mod http1;
mod idle;
mod ids;
mod listener;
mod origin;
mod pumps;
mod relay;
mod stops;
mod tunnel;
mod upstreams;
mod world;

pub use admission::{Capacity, Census};
pub use heartbeat::Heartbeat;
pub use world::{Endpoint, World};

use crate::{
    approval::Settlement,
    audit::{ExchangeId, Record},
    buffer::{Budget, Tally},
    exchange::{
        Answer, Ask, Subjects, Summary, Surroundings, TokenCache,
        handover::{Delivery, Errand, Errands, LogSink, Recorder, Work},
        share::ShareId,
    },
    limits::{
        FIRST_REQUEST_GRACE, RECORD_STALL_MAX, RECORD_TIMEOUT, SETTLE_INTERVAL, SETTLE_TIMEOUT,
        SWEEP_INTERVAL,
    },
    metrics::{Limit, Metrics, ShardMetrics},
    runtime::{self, Inbox, Listener, Mailbox, Slot, Sweeper},
    time::{Instant, Now},
};
use answers::{Answers, Taken, Terms};
use arc_swap::ArcSwap;
use errands::OwedErrands;
use idle::IdleSet;
use ids::Ids;
use prometheus_client::metrics::gauge::Gauge;
use std::{
    cell::{Cell, RefCell},
    rc::{Rc, Weak},
    sync::Arc,
};
use stops::Stops;
use upstreams::Upstreams;

/// What `app` gives to a shard.
pub struct Parts {
    /// Position among the shards, from 0.
    pub index: usize,
    /// Number of shards.
    pub count: usize,
    /// The current configuration; swapped by a reload.
    pub world: Arc<ArcSwap<World>>,
    /// Listening sockets of this shard, by the index of their listener in the plan.
    pub listeners: Vec<(usize, Listener)>,
    pub recorder: Box<dyn Recorder>,
    pub errands: Box<dyn Errands>,
    pub log: Box<dyn LogSink>,
    /// Key of the names that tokens get in records; the same for all shards.
    pub token_key: [u8; 32],
    pub mailbox: Mailbox<Delivery>,
    pub metrics: Arc<Metrics>,
    /// The connections of all shards.
    pub census: Arc<Census>,
    /// By which others know that it does not hang.
    pub heartbeat: Arc<Heartbeat>,
    /// Called once when the shard has ended all its connections after [`Delivery::Drain`].
    pub on_drained: Box<dyn FnOnce()>,
}

/// The state of one shard, shared by its tasks.
pub struct Shard {
    index: usize,
    world: Arc<ArcSwap<World>>,
    tokens: RefCell<TokenCache>,
    subjects: RefCell<Subjects>,
    upstreams: Upstreams,
    answers: Answers,
    errands: OwedErrands,
    log: Box<dyn LogSink>,
    sweeper: Sweeper,
    ids: RefCell<Ids>,
    metrics: Arc<Metrics>,
    /// This shard's part of the metrics.
    counts: ShardMetrics,
    connections: Gauge,
    census: Arc<Census>,
    heartbeat: Arc<Heartbeat>,
    /// Connections that are being turned away.
    turned_away: Cell<usize>,
    memory: Budget,
    draining: Cell<bool>,
    drain_ordered: Slot<()>,
    /// Whether a connection without a request may still send its first one.
    awaits_first: Cell<bool>,
    cut: Cell<bool>,
    idle: IdleSet,
    /// Exchanges that are with their upstreams.
    stops: Rc<Stops>,
    date: RefCell<(u64, Rc<str>)>,
}

/// Runs a shard on this thread until it is drained.
pub async fn run(parts: Parts) {
    let memory = Budget::new(parts.world.load().capacity.memory_bytes);
    let shard = Rc::new(Shard {
        index: parts.index,
        world: parts.world,
        tokens: RefCell::new(TokenCache::new(&parts.token_key)),
        subjects: RefCell::default(),
        upstreams: Upstreams::new(parts.count),
        answers: Answers::new(parts.recorder, memory.clone()),
        errands: OwedErrands::new(parts.errands),
        log: parts.log,
        sweeper: Sweeper::new(),
        ids: RefCell::new(Ids::default()),
        connections: parts.metrics.connections(parts.index),
        counts: ShardMetrics::new(parts.metrics.clone()),
        metrics: parts.metrics,
        census: parts.census,
        heartbeat: parts.heartbeat,
        turned_away: Cell::new(0),
        memory,
        draining: Cell::new(false),
        drain_ordered: Slot::new(),
        awaits_first: Cell::new(true),
        cut: Cell::new(false),
        idle: IdleSet::default(),
        stops: Rc::default(),
        date: RefCell::new((0, "".into())),
    });
    shard.take_terms();
    let listeners: Vec<_> =
        parts.listeners.into_iter().map(|(index, listener)| (index, Rc::new(listener))).collect();
    for (index, listener) in &listeners {
        shard.spawn("listener", listener::accept_loop(shard.clone(), *index, listener.clone()));
    }
    shard.spawn("sweeper", sweep(Rc::downgrade(&shard)));
    match parts.mailbox.open() {
        Ok(inbox) => {
            let records = runtime::race(shard.deliver(inbox), shard.answers.ring_each_turn());
            runtime::race(records, shard.live(listeners)).await;
        }
        Err(error) => tracing::error!(%error, shard = shard.index, "the mailbox cannot be opened"),
    }
    // What still waits when the executor ends keeps what it holds for ever: its end of the access log, too.
    shard.upstreams.close();
    alone(&shard).await;
    (parts.on_drained)();
}

/// Ends connections whose deadline has passed, and those that idled in the pool for too long, and tells
/// exchanges what operators have stopped, while there is a shard.
async fn sweep(shard: Weak<Shard>) {
    let Some(gauges) = shard.upgrade().map(|shard| shard.metrics.memory(shard.index)) else { return };
    loop {
        runtime::sleep(SWEEP_INTERVAL).await;
        let Some(shard) = shard.upgrade() else { return };
        let now = runtime::now();
        shard.heartbeat.beat(now.instant);
        shard.sweeper.sweep_with(now.instant, |cause| shard.count_late(cause));
        shard.look_after_memory(&gauges);
        shard.look_after_records(now.instant);
        shard.errands.catch_up();
        shard.answers.take_orphans().into_iter().for_each(|lease| origin::release(&shard, lease));
        let plan = shard.world.load().plan.clone();
        shard.stops.tell(plan.freezer.version());
        let is_known = |key| plan.upstreams.iter().any(|upstream| upstream.key == key);
        shard.upstreams.sweep(now.instant, plan.generation, is_known);
    }
}

/// Waits until the tasks that were told to end have done so.
async fn alone(shard: &Rc<Shard>) {
    let deadline = runtime::now().instant + SETTLE_TIMEOUT;
    while Rc::strong_count(shard) > 1 && runtime::now().instant < deadline {
        runtime::sleep(SETTLE_INTERVAL).await;
        shard.answers.ring();
    }
}

impl Shard {
    /// Starts a task whose panic ends that task alone.
    fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + 'static) {
        let metrics = self.metrics.clone();
        runtime::spawn_guarded(name, task, move |_| {
            metrics.panics.inc();
        });
    }

    /// Counts what a connection has joined and copied for TLS.
    fn count_transport(&self, tally: Tally) {
        if tally != Tally::default() {
            self.counts.add_transport(tally.coalesced, tally.tls_read, tally.tls_written);
        }
    }

    /// Counts a deadline that has passed.
    fn count_late(&self, cause: u8) {
        // That a connection is not read from any more before it closes is no news.
        if let Some(limit) = Limit::from_byte(cause).filter(|limit| *limit != Limit::Linger) {
            self.metrics.limit(limit);
        }
    }

    /// Writes log lines that waited for long enough, and records refusals that were folded.
    fn look_after_records(&self, now: Instant) {
        self.answers.overdue(now, |summary| self.log.log(summary));
        self.take_terms();
        self.answers.unfold(now);
        self.metrics.audit_refusals_folded.inc_by(self.answers.take_folded());
    }

    /// Holds agents to what the configuration in force says of the journal.
    fn take_terms(&self) {
        let Capacity { agent_share_percent, refusals_per_second, .. } = self.world.load().capacity;
        self.answers.set_terms(Terms { share_percent: agent_share_percent, refusals_per_second });
    }

    /// Measures the memory in use; where it is short, idle connections are closed, the oldest first.
    fn look_after_memory(&self, gauges: &(Gauge, Gauge)) {
        self.memory.set_max(self.world.load().capacity.memory_bytes);
        self.answers.measure();
        gauges.0.set(self.memory.used() as i64);
        gauges.1.set(self.memory.max() as i64);
        if self.memory.is_short() {
            let closed = self.idle.close_oldest();
            (0..closed).for_each(|_| self.metrics.limit(Limit::MemoryIdle));
        }
    }

    /// Hands what other threads bring to those who wait for it. Never ends.
    async fn deliver(&self, mut inbox: Inbox<Delivery>) {
        let mut batch = Vec::new();
        loop {
            if let Err(error) = inbox.recv(&mut batch).await {
                tracing::error!(%error, shard = self.index, "the mailbox failed; the shard drains");
                self.order_drain();
                return std::future::pending().await;
            }
            for delivery in batch.drain(..) {
                match delivery {
                    Delivery::Drain => self.order_drain(),
                    Delivery::Cut => self.cut(),
                    other => match self.answers.take(other) {
                        Taken::Log(summary) => self.log.log(summary),
                        Taken::Orphan(lease) => origin::release(self, lease),
                        Taken::Unused(exchange) => self.settle(exchange, Settlement::Unsent),
                        Taken::Done => {}
                    },
                }
            }
        }
    }

    /// Waits for the order to drain, and carries it out.
    async fn live(&self, listeners: Vec<(usize, Rc<Listener>)>) {
        self.drain_ordered.take().await;
        self.idle.close_all(false);
        for (_, listener) in &listeners {
            listener.stop().await;
        }
        // What the kernel had queued is handed out until the loops end.
        while listeners.iter().any(|(_, listener)| Rc::strong_count(listener) > 1) {
            runtime::sleep(SETTLE_INTERVAL).await;
        }
        // Closes the sockets: what the kernel went on queuing would wait in vain.
        drop(listeners);
        // Who has connected may still ask once: nobody told him not to.
        let first = runtime::now().instant + FIRST_REQUEST_GRACE;
        while self.connections.get() > 0 {
            if self.awaits_first.get() && runtime::now().instant >= first {
                self.awaits_first.set(false);
                self.idle.close_all(true);
            }
            runtime::sleep(SETTLE_INTERVAL).await;
        }
        // The log lines of the last exchanges wait for their records.
        let deadline = runtime::now().instant + RECORD_TIMEOUT;
        let all = runtime::now().instant + RECORD_STALL_MAX;
        let mut folded = self.answers.unfold(all);
        let mut owed = self.errands.catch_up();
        while (folded + owed as u64 > 0 || !self.answers.is_empty()) && runtime::now().instant < deadline {
            runtime::sleep(SETTLE_INTERVAL).await;
            folded = self.answers.unfold(all);
            owed = self.errands.catch_up();
        }
        if folded > 0 {
            tracing::error!(shard = self.index, refusals = folded, "refusals are not in the audit log");
        }
        self.answers.overdue(all, |summary| self.log.log(summary));
        self.metrics.audit_refusals_folded.inc_by(self.answers.take_folded());
    }

    fn order_drain(&self) {
        self.draining.set(true);
        self.drain_ordered.put(());
    }

    /// Ends what still runs, so that callers see incomplete messages and records say why.
    fn cut(&self) {
        self.cut.set(true);
        self.order_drain();
        self.idle.reset_all();
    }

    /// Whether connections were closed by [`Delivery::Cut`].
    fn is_cut(&self) -> bool {
        self.cut.get()
    }

    /// Runs `step` on the state that exchanges borrow for one event, which happened `now`.
    fn around<T>(&self, now: Now, step: impl FnOnce(&mut Surroundings<'_>) -> T) -> T {
        let mut tokens = self.tokens.borrow_mut();
        let mut subjects = self.subjects.borrow_mut();
        let (tokens, subjects) = (&mut *tokens, &mut *subjects);
        step(&mut Surroundings { now, tokens, subjects, memory: &self.memory })
    }

    /// Now, for the Date field of a reply (RFC 9110 section 6.6.1); formatted once a second.
    fn date(&self) -> Rc<str> {
        let seconds = runtime::recent().wall.unix_seconds();
        let mut date = self.date.borrow_mut();
        if date.0 != seconds {
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
            *date = (seconds, httpdate::fmt_http_date(time).into());
        }
        date.1.clone()
    }

    /// Says how the request ended that an approval let through.
    fn settle(&self, exchange: ExchangeId, settlement: Settlement) {
        let work = Work::Settle(exchange, settlement);
        if self.errands.send(Errand { shard: self.index, ticket: 0, work }).is_err() {
            tracing::warn!(shard = self.index, %exchange, "an approval does not learn how its request ended");
        }
    }

    /// Asks another thread and waits for the answer.
    async fn ask(&self, share: ShareId, ask: Ask) -> Answer {
        self.answers.ask(self.index, share, &self.errands, ask).await
    }

    fn count(&self, summary: &Summary) {
        self.counts.count(summary.labels(), &summary.figures());
        if let Some(limit) = summary.limit {
            self.metrics.limit(limit);
        }
    }

    /// Counts an ended exchange; its log line follows when its last record is acknowledged.
    async fn finish(&self, share: ShareId, record: Option<Record>, summary: Box<Summary>) {
        self.count(&summary);
        if !self.log.is_on() {
            if let Some(record) = record {
                self.answers.finish_unlogged(share, record).await;
            }
            return;
        }
        if let Some(summary) = self.answers.finish(share, record, summary).await {
            self.log.log(summary);
        }
    }

    /// [`Shard::finish`] where nobody can wait.
    fn finish_now(&self, share: ShareId, record: Option<Record>, summary: Box<Summary>) {
        self.count(&summary);
        if let Some(summary) = self.answers.finish_now(share, record, summary) {
            self.log.log(summary);
        }
    }
}
