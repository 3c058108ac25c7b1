//! Builds everything from one [`Snapshot`]: shards, journal, background thread, admin; reloads and drains it.
//!
//! ```text
//!  main thread ── start ──► background thread (tokio): keys, secrets, leases, names, access log, admin
//!                     ├───► journal threads
//!                     └───► one thread a shard (io_uring)
//! ```
//!
//! It moves no request. Start at [`start`]; what it gives is a [`Running`].

mod build;
mod capacity;
mod control;
mod editor;
mod error;
mod holds;
pub mod logging;
mod login;
mod notify;
mod reload;
pub mod replay;
pub mod service;
mod shards;
mod sockets;
mod wiring;

pub use error::Error;

use crate::{
    config::Snapshot,
    exchange::handover::Delivery,
    journal::{self, Journal},
    metrics::Metrics,
    runtime::MailboxSender,
    shard::{Census, Heartbeat, World},
    time::{Now, Timestamp},
};
use arc_swap::ArcSwap;
use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};
use tokio::{runtime::Handle, sync::oneshot};

pub use build::{openings_dir, start, start_on};

/// How long exchanges that are cut may take to end.
const CUT_TIMEOUT: Duration = Duration::from_secs(2);
/// Pause before a full mailbox is tried again.
const ORDER_RETRY: Duration = Duration::from_millis(1);
/// How long the revocation of the last leases may take at the end.
const REVOKE_STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// How a gateway is started, beside its configuration.
#[derive(Clone, Debug)]
pub struct Options {
    /// Who brought the configuration: recorded with it.
    pub author: String,
    /// Whether an issuer of the demo is accepted.
    pub allow_dev: bool,
}

/// Where a gateway listens.
#[derive(Clone, Debug, Default)]
pub struct Addresses {
    /// Name and address, in the order of the configuration.
    pub listeners: Vec<(Arc<str>, SocketAddr)>,
    pub admin: Option<SocketAddr>,
    pub admin_socket: PathBuf,
    pub metrics: Option<SocketAddr>,
    pub audit_dir: PathBuf,
}

/// A gateway that serves. Dropping it does not stop it: see [`Running::stop`].
pub struct Running {
    pub addresses: Addresses,
    core: Arc<Core>,
    journal: Journal,
    shards: Vec<JoinHandle<()>>,
    drained: mpsc::Receiver<usize>,
    background: JoinHandle<()>,
    stop_background: oneshot::Sender<()>,
    access_log: tokio::task::JoinHandle<()>,
    end_access_log: oneshot::Sender<()>,
    stop_admin: oneshot::Sender<()>,
    admin: tokio::task::JoinHandle<()>,
}

/// How a stop went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Every exchange ran to its end.
    Drained,
    /// The time was up; what still ran was cut.
    TimedOut,
}

/// What the parts of a running gateway share.
struct Core {
    path: PathBuf,
    options: Options,
    started: Now,
    snapshot: ArcSwap<Snapshot>,
    world: Arc<ArcSwap<World>>,
    metrics: Arc<Metrics>,
    journal: journal::Handle,
    mailboxes: Vec<MailboxSender<Delivery>>,
    shards: Vec<shards::Placed>,
    census: Arc<Census>,
    /// By the index of the shard.
    heartbeats: Vec<Arc<Heartbeat>>,
    holds: holds::Holds,
    room: capacity::Room,
    addresses: Addresses,
    background: Handle,
    services: reload::Services,
    draining: AtomicBool,
    last_reload_error: Mutex<Option<String>>,
    loaded_at: AtomicU64,
}

impl Core {
    /// When the configuration in force was taken.
    fn loaded_at(&self) -> Timestamp {
        Timestamp(self.loaded_at.load(Ordering::Relaxed))
    }
}

impl Running {
    /// Reads the configuration file again and swaps it in; connections and exchanges go on.
    ///
    /// # Errors
    /// The new configuration is wrong, or changes what only a restart can change; the old one stays.
    pub fn reload(&self, author: &str) -> impl Future<Output = Result<u64, Error>> + use<> {
        reload::reload(self.core.clone(), author.to_owned())
    }

    /// The background thread's executor, for whoever has to wait beside it.
    pub fn background(&self) -> &Handle {
        &self.core.background
    }

    /// Tells the service manager, from now on, that the process is alive while no shard hangs.
    pub fn watch(&self, notifier: Arc<service::Notifier>) {
        self.core.background.spawn(service::watch(self.core.clone(), notifier));
    }

    /// What happens to held requests, for whoever shows it.
    pub fn approvals(&self) -> Arc<crate::admin::Events> {
        self.core.holds.events.clone()
    }

    /// How long the configuration lets a stop wait.
    pub fn drain_time(&self) -> Duration {
        self.core.snapshot.load().runtime.drain
    }

    /// Waits until somebody asks for a drain over the admin API.
    pub fn drain_requested(&self) -> impl Future<Output = ()> + use<> {
        let core = self.core.clone();
        async move { core.services.drain.notified().await }
    }

    /// Stops accepting, lets exchanges run to their end for at most `drain`, then closes the journal.
    pub fn stop(self, drain: Duration) -> Ended {
        tracing::info!(seconds = drain.as_secs(), "draining");
        self.core.draining.store(true, Ordering::Relaxed);
        let deadline = Instant::now() + drain;
        self.core.holds.drain();
        self.order(|| Delivery::Drain, deadline.max(Instant::now() + CUT_TIMEOUT));
        let mut running = self.await_drained(self.shards.len(), deadline);
        let ended = if running == 0 { Ended::Drained } else { Ended::TimedOut };
        if running > 0 {
            let deadline = Instant::now() + CUT_TIMEOUT;
            self.order(|| Delivery::Cut, deadline);
            running = self.await_drained(running, deadline);
        }
        if running == 0 {
            self.shards.into_iter().for_each(|shard| drop(shard.join()));
        }
        let background = self.core.background.clone();
        background.block_on(async {
            // Shards that still run hold the ends of some queues: nothing is waited for beyond its bound.
            self.core.holds.end();
            let _ = tokio::time::timeout(REVOKE_STOP_TIMEOUT, self.core.services.end_leases()).await;
            drop(self.end_access_log);
            let _ = tokio::time::timeout(Duration::from_secs(2), self.access_log).await;
            drop(self.stop_admin);
            let _ = tokio::time::timeout(Duration::from_secs(2), self.admin).await;
        });
        if let Err(error) = self.journal.close() {
            tracing::error!(%error, "the audit journal did not close cleanly");
        }
        drop(self.stop_background);
        let _ = self.background.join();
        ended
    }

    /// Tells all shards something; one whose mailbox is full until `deadline` is stuck.
    fn order(&self, delivery: impl Fn() -> Delivery, deadline: Instant) {
        for (mailbox, shard) in self.core.mailboxes.iter().zip(&self.shards) {
            while mailbox.send(delivery()).is_err() && !shard.is_finished() && Instant::now() < deadline {
                std::thread::sleep(ORDER_RETRY);
            }
        }
    }

    /// Waits for `running` shards; gives the number of those that still run at `deadline`.
    fn await_drained(&self, running: usize, deadline: Instant) -> usize {
        for left in (1..=running).rev() {
            let patience = deadline.saturating_duration_since(Instant::now());
            if self.drained.recv_timeout(patience).is_err() {
                return left;
            }
        }
        0
    }
}
