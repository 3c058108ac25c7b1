//! Tokens for one exchange: fetched when it was permitted, revoked when it ends.

use super::client::Clients;
use super::secrets::wall_clock;
use super::token::{fetch, revoke};
use crate::limits::{
    LEASE_INFLIGHT_MAX, LEASE_TIMEOUT, REVOKE_ATTEMPTS_MAX, REVOKE_BACKOFF, REVOKE_INFLIGHT_MAX,
    REVOKE_QUEUE_LEASES,
};
use crate::secrets::{Lease, LeaseFacts, LeaseSource};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

pub use super::token::{LeaseError, LeaseRequest};

/// How a lease ended, for the record and the metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseEnd {
    /// Which lease.
    pub facts: LeaseFacts,
    /// What became of it.
    pub outcome: LeaseOutcome,
}

/// What became of a token after its exchange. In each case the gateway has forgotten it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseOutcome {
    /// The issuer confirmed (RFC 7009 section 2.2).
    Revoked {
        /// Requests that it took.
        attempts: u32,
    },
    /// It had expired by itself.
    Expired,
    /// The source has no revocation endpoint: the token lives until it expires.
    NotRevocable,
    /// The issuer did not confirm: the token lives until it expires.
    Failed {
        /// Requests that were made.
        attempts: u32,
        /// Why the last one failed.
        error: LeaseError,
    },
    /// Too many were waiting: the token lives until it expires.
    Dropped,
}

impl LeaseOutcome {
    /// A word for labels and records.
    pub fn as_str(&self) -> &'static str {
        match self {
            LeaseOutcome::Revoked { .. } => "revoked",
            LeaseOutcome::Expired => "expired",
            LeaseOutcome::NotRevocable => "not_revocable",
            LeaseOutcome::Failed { .. } => "failed",
            LeaseOutcome::Dropped => "dropped",
        }
    }
}

/// How often what happened, since the client was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeaseCounts {
    /// Requests that gave a lease.
    pub acquired: u64,
    /// Requests that gave no lease.
    pub failed: u64,
    /// [`LeaseOutcome::Revoked`].
    pub revoked: u64,
    /// [`LeaseOutcome::Expired`].
    pub expired: u64,
    /// [`LeaseOutcome::NotRevocable`].
    pub not_revocable: u64,
    /// [`LeaseOutcome::Failed`].
    pub revoke_failed: u64,
    /// [`LeaseOutcome::Dropped`].
    pub revoke_dropped: u64,
}

/// Fetches and gives back leases. Cheap to clone; clones share connections, bounds and counts.
#[derive(Clone)]
pub struct LeaseClient {
    shared: Arc<Shared>,
    ended: mpsc::Sender<Lease>,
}

/// The task that revokes; it ends when all clients are gone and all leases are dealt with.
pub struct Revoker {
    shared: Arc<Shared>,
    ended: mpsc::Receiver<Lease>,
}

struct Shared {
    clients: Clients,
    timing: Timing,
    inflight: Semaphore,
    counters: Counters,
    report: Box<dyn Fn(&LeaseEnd) + Send + Sync>,
}

/// Times that a test makes short.
struct Timing {
    answer: Duration,
    backoff: Duration,
    queue: usize,
}

#[derive(Default)]
struct Counters {
    acquired: AtomicU64,
    failed: AtomicU64,
    revoked: AtomicU64,
    expired: AtomicU64,
    not_revocable: AtomicU64,
    revoke_failed: AtomicU64,
    revoke_dropped: AtomicU64,
}

impl Counters {
    fn snapshot(&self) -> LeaseCounts {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        LeaseCounts {
            acquired: count(&self.acquired),
            failed: count(&self.failed),
            revoked: count(&self.revoked),
            expired: count(&self.expired),
            not_revocable: count(&self.not_revocable),
            revoke_failed: count(&self.revoke_failed),
            revoke_dropped: count(&self.revoke_dropped),
        }
    }
}

impl LeaseClient {
    /// A client that speaks to each endpoint through the one of `clients` that trusts its authorities alone,
    /// and the task to spawn beside it. `report` is told of each end.
    pub fn new(
        clients: Clients,
        report: impl Fn(&LeaseEnd) + Send + Sync + 'static,
    ) -> (LeaseClient, Revoker) {
        let timing = Timing { answer: LEASE_TIMEOUT, backoff: REVOKE_BACKOFF, queue: REVOKE_QUEUE_LEASES };
        LeaseClient::with_timing(clients, timing, report)
    }

    fn with_timing(
        clients: Clients,
        timing: Timing,
        report: impl Fn(&LeaseEnd) + Send + Sync + 'static,
    ) -> (LeaseClient, Revoker) {
        let (sender, receiver) = mpsc::channel(timing.queue);
        let inflight = Semaphore::new(LEASE_INFLIGHT_MAX);
        let counters = Counters::default();
        let shared = Arc::new(Shared { clients, timing, inflight, counters, report: Box::new(report) });
        (LeaseClient { shared: shared.clone(), ended: sender }, Revoker { shared, ended: receiver })
    }

    /// Fetches a token. Whoever gets it gives it to [`LeaseClient::release`], also when its exchange is gone.
    ///
    /// # Errors
    /// See [`LeaseError`]; within 5 s, without a second attempt: the exchange answers 503.
    pub async fn acquire(&self, request: LeaseRequest) -> Result<Lease, LeaseError> {
        let fetching = async {
            // The semaphore is never closed.
            let _permit = self.shared.inflight.acquire().await.map_err(|_| LeaseError::Timeout)?;
            fetch(&self.shared.http(&request.source)?, &request).await
        };
        let fetched = tokio::time::timeout(self.shared.timing.answer, fetching).await;
        let lease = fetched.unwrap_or(Err(LeaseError::Timeout));
        let counters = &self.shared.counters;
        let counter = if lease.is_ok() { &counters.acquired } else { &counters.failed };
        counter.fetch_add(1, Ordering::Relaxed);
        lease
    }

    /// Takes a lease back. Returns at once; the revocation follows, and its outcome is reported.
    pub fn release(&self, lease: Lease) {
        if lease.source.revoke_endpoint.is_none() {
            self.shared.end(&lease, LeaseOutcome::NotRevocable);
            return;
        }
        match self.ended.try_send(lease) {
            Ok(()) => {}
            Err(TrySendError::Full(lease) | TrySendError::Closed(lease)) => {
                self.shared.end(&lease, LeaseOutcome::Dropped);
            }
        }
    }

    /// The counts so far.
    pub fn counts(&self) -> LeaseCounts {
        self.shared.counters.snapshot()
    }
}

impl Revoker {
    /// Revokes what is released, a few at once, until no client is left.
    pub async fn run(mut self) {
        let mut revoking = JoinSet::new();
        loop {
            tokio::select! {
                Some(_) = revoking.join_next(), if !revoking.is_empty() => {}
                released = self.ended.recv(), if revoking.len() < REVOKE_INFLIGHT_MAX => match released {
                    Some(lease) => {
                        let shared = self.shared.clone();
                        revoking.spawn(async move {
                            let outcome = shared.revoke(&lease).await;
                            shared.end(&lease, outcome);
                        });
                    }
                    None => break,
                },
            }
        }
        revoking.join_all().await;
    }
}

impl Shared {
    /// The client for the endpoints of `source`. Its authorities were read with the configuration.
    fn http(&self, source: &LeaseSource) -> Result<reqwest::Client, LeaseError> {
        self.clients.trusting(source.roots.as_ref()).map_err(|error| {
            tracing::warn!(source = %source.name, %error, "no client for the token endpoint");
            LeaseError::Unreachable
        })
    }

    /// Asks the issuer to end a token, again if it may help (RFC 7009 section 2).
    async fn revoke(&self, lease: &Lease) -> LeaseOutcome {
        let Some(endpoint) = &lease.source.revoke_endpoint else { return LeaseOutcome::NotRevocable };
        let mut pause = self.timing.backoff;
        let mut attempts = 0;
        loop {
            if lease.is_expired(wall_clock()) {
                return LeaseOutcome::Expired;
            }
            attempts += 1;
            let asking = async { revoke(&self.http(&lease.source)?, endpoint, lease).await };
            let asked = tokio::time::timeout(self.timing.answer, asking).await;
            match asked.unwrap_or(Err(LeaseError::Timeout)) {
                Ok(()) => return LeaseOutcome::Revoked { attempts },
                Err(error) if attempts >= REVOKE_ATTEMPTS_MAX || !error.is_transient() => {
                    return LeaseOutcome::Failed { attempts, error };
                }
                Err(_) => {}
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }

    fn end(&self, lease: &Lease, outcome: LeaseOutcome) {
        let counter = match &outcome {
            LeaseOutcome::Revoked { .. } => &self.counters.revoked,
            LeaseOutcome::Expired => &self.counters.expired,
            LeaseOutcome::NotRevocable => &self.counters.not_revocable,
            LeaseOutcome::Failed { .. } => &self.counters.revoke_failed,
            LeaseOutcome::Dropped => &self.counters.revoke_dropped,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        if let LeaseOutcome::Failed { error, .. } = &outcome {
            tracing::warn!(lease = %lease.id, source = %lease.source.name, %error, "lease not revoked");
        }
        (self.report)(&LeaseEnd { facts: lease.facts(), outcome });
    }
}

#[cfg(test)]
mod tests;
