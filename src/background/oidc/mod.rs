//! The keys of issuers: discovered, fetched, refreshed, and published into [`crate::identity::KeySlot`]s.
//!
//! One task an issuer identifier owns its fetches, so that there is never more than one at a time. It fetches
//! at start, every 5 minutes, and when a token of an unknown key asks for it, at most every 30 s (SECURITY
//! R30). When fetches fail the keys stay for an hour; then they are taken away, and tokens get 503
//! `keys_unavailable`, for nobody can tell whether they are good. It verifies nothing: `identity` does.
//!
//! Start at [`Oidc::spawn`]; `schedule` says when, `fetch` says how.

mod fetch;
mod login;
mod schedule;
#[cfg(test)]
mod tests;

pub use fetch::FetchError;
pub use login::{Device, Endpoints, LoginClient, LoginError, Proof};
pub use schedule::{Schedule, Timing};

use crate::{
    identity::{Issuer, KeySet},
    limits,
    time::{Instant, Timestamp},
};
use std::{
    future::Future,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::Instant as Clock,
};

/// What came of the wish for new keys. After any of them [`crate::identity::authenticate`] is called once
/// more and its answer is final.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refetch {
    /// The published keys are those of this moment.
    Fetched,
    /// The issuer cannot be reached or answers nonsense; the keys are those of before.
    Failed,
    /// The last fetch ended less than 30 s ago, or too many already wait; nothing was fetched.
    TooSoon,
}

/// How the keys of one issuer are, for `/readyz?verbose` and the metrics.
#[derive(Clone, Debug)]
pub struct IssuerStatus {
    /// Issuer identifier.
    pub url: Arc<str>,
    /// Whether tokens can be verified.
    pub is_ready: bool,
    /// Usable keys.
    pub keys: usize,
    /// Time since the keys were fetched: `ringward_jwks_age_seconds`.
    pub age: Option<Duration>,
    /// Why the last fetch failed; `None` if it did not.
    pub last_error: Option<String>,
    /// Fetches that ended, and how many of them failed.
    pub fetches: u64,
    pub failures: u64,
}

/// What a task tells about itself.
#[derive(Clone, Debug)]
struct State {
    schedule: Schedule,
    /// Where the keys are, as discovery said.
    keys_url: Option<String>,
    last_error: Option<String>,
    fetches: u64,
    failures: u64,
}

/// The tasks that keep the keys of all issuers fresh. They end when this is dropped.
#[derive(Debug)]
pub struct Oidc {
    /// Origin of every [`Instant`] here.
    origin: Clock,
    keepers: Vec<Keeper>,
}

/// Our end of one task.
#[derive(Debug)]
struct Keeper {
    /// Those of one identifier: several tables may name it with different rules.
    issuers: Vec<Arc<Issuer>>,
    requests: mpsc::Sender<oneshot::Sender<Refetch>>,
    state: watch::Receiver<State>,
    task: JoinHandle<()>,
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Oidc {
    /// Starts one task for every identifier among `issuers`; `http` gives the client that trusts an issuer's
    /// authorities. Keys that `previous` has of the same identifier
    /// are taken over, so that a reload interrupts nothing and fetches nothing that is fresh.
    ///
    /// # Panics
    /// Outside of a tokio runtime; the caller is at fault.
    pub fn spawn(
        issuers: &[Arc<Issuer>],
        http: impl Fn(&Issuer) -> reqwest::Client,
        timing: Timing,
        previous: Option<&Oidc>,
    ) -> Oidc {
        let mut groups: Vec<Vec<Arc<Issuer>>> = Vec::new();
        for issuer in issuers {
            match groups.iter_mut().find(|group| group[0].url() == issuer.url()) {
                Some(group) => group.push(issuer.clone()),
                None => groups.push(vec![issuer.clone()]),
            }
        }
        let origin = previous.map_or_else(Clock::now, |oidc| oidc.origin);
        let keeper = |group: Vec<Arc<Issuer>>| {
            let before = previous.and_then(|oidc| oidc.keeper(group[0].url()));
            let http = http(&group[0]);
            Keeper::spawn(group, http, timing, origin, before)
        };
        Oidc { origin, keepers: groups.into_iter().map(keeper).collect() }
    }

    /// Asks for new keys of `issuer`. The future may be awaited anywhere; it ends when the fetch does, which
    /// takes at most two `timeout`s, and at once where none is allowed.
    ///
    /// `issuer` may be of a snapshot that was replaced meanwhile: it gets the new keys as well.
    pub fn refetch(&self, issuer: &Arc<Issuer>) -> impl Future<Output = Refetch> + Send + use<> {
        let (reply, answer) = oneshot::channel();
        let keeper = self.keeper(issuer.url());
        let current = keeper.map(|keeper| keeper.issuers[0].clone());
        let is_queued = keeper.map(|keeper| keeper.requests.try_send(reply).is_ok());
        let issuer = issuer.clone();
        async move {
            match is_queued {
                None => return Refetch::Failed,
                Some(false) => return Refetch::TooSoon,
                Some(true) => {}
            }
            // The sender is dropped unanswered only when the task ends.
            let refetch = answer.await.unwrap_or(Refetch::Failed);
            if let Some(current) = current {
                issuer.keys().publish(current.keys().load_full());
            }
            refetch
        }
    }

    /// How the keys of every issuer are.
    pub fn status(&self) -> Vec<IssuerStatus> {
        let now = Instant::default() + self.origin.elapsed();
        self.keepers.iter().map(|keeper| keeper.status(now)).collect()
    }

    /// Waits until every issuer has keys. It may never come about: bound the wait.
    pub async fn ready(&self) {
        for keeper in &self.keepers {
            let mut state = keeper.state.clone();
            // The sender lives as long as the task, and that as long as the keeper.
            let _ = state.wait_for(|state| state.schedule.stale_at().is_some()).await;
        }
    }

    fn keeper(&self, url: &str) -> Option<&Keeper> {
        self.keepers.iter().find(|keeper| **keeper.issuers[0].url() == *url)
    }
}

impl Keeper {
    fn spawn(
        issuers: Vec<Arc<Issuer>>,
        http: reqwest::Client,
        timing: Timing,
        origin: Clock,
        before: Option<&Keeper>,
    ) -> Keeper {
        let state = match before {
            Some(before) => {
                let keys = before.issuers[0].keys().load_full();
                issuers.iter().for_each(|issuer| issuer.keys().publish(keys.clone()));
                let state = before.state.borrow().clone();
                State { schedule: state.schedule.with(timing), ..state }
            }
            None => State {
                schedule: Schedule::new(timing),
                keys_url: None,
                last_error: None,
                fetches: 0,
                failures: 0,
            },
        };
        let (requests, waiting) = mpsc::channel(limits::JWKS_WAITING_MAX);
        let (published, seen) = watch::channel(state.clone());
        let task = Task { issuers: issuers.clone(), http, timing, origin, state, published };
        Keeper { issuers, requests, state: seen, task: tokio::spawn(task.run(waiting)) }
    }

    fn status(&self, now: Instant) -> IssuerStatus {
        let state = self.state.borrow();
        let keys = self.issuers[0].keys().load();
        IssuerStatus {
            url: self.issuers[0].url().clone(),
            is_ready: !keys.is_empty(),
            keys: keys.len(),
            age: state.schedule.age(now),
            last_error: state.last_error.clone(),
            fetches: state.fetches,
            failures: state.failures,
        }
    }
}

/// Keeps the keys of one identifier fresh.
struct Task {
    issuers: Vec<Arc<Issuer>>,
    http: reqwest::Client,
    timing: Timing,
    origin: Clock,
    state: State,
    published: watch::Sender<State>,
}

impl Task {
    async fn run(mut self, mut waiting: mpsc::Receiver<oneshot::Sender<Refetch>>) {
        loop {
            let due = self.state.schedule.due();
            let wake = self.state.schedule.stale_at().map_or(due, |stale| stale.min(due));
            tokio::select! {
                request = waiting.recv() => {
                    let Some(reply) = request else { return };
                    let answer = match self.state.schedule.may_refetch(self.now()) {
                        true => self.fetch(&mut waiting).await,
                        false => Refetch::TooSoon,
                    };
                    // Whoever asked may be gone.
                    let _ = reply.send(answer);
                }
                () = tokio::time::sleep_until(self.origin + wake.since(Instant::default())) => {
                    self.expire();
                    if self.now() >= self.state.schedule.due() {
                        self.fetch(&mut waiting).await;
                    }
                }
            }
        }
    }

    /// Fetches, publishes, and answers everybody who asked meanwhile: single flight.
    async fn fetch(&mut self, waiting: &mut mpsc::Receiver<oneshot::Sender<Refetch>>) -> Refetch {
        let fetched = self.fetch_keys().await;
        let now = self.now();
        self.state.schedule.note(now, fetched.is_ok());
        self.state.fetches += 1;
        let answer = match fetched {
            Ok(keys) => {
                self.state.last_error = None;
                self.publish(keys);
                Refetch::Fetched
            }
            Err(error) => {
                tracing::warn!(issuer = %self.issuers[0].url(), %error, "keys not fetched");
                self.state.failures += 1;
                self.state.last_error = Some(error.to_string());
                Refetch::Failed
            }
        };
        self.expire();
        let at = wall_clock();
        self.issuers.iter().for_each(|issuer| issuer.keys().note_attempt(at));
        self.published.send_replace(self.state.clone());
        while let Ok(reply) = waiting.try_recv() {
            let _ = reply.send(answer);
        }
        answer
    }

    /// The keys, from where they were the last time; where that fails they are looked for anew.
    async fn fetch_keys(&mut self) -> Result<KeySet, FetchError> {
        let url = match self.state.keys_url.take() {
            Some(url) => url,
            None => fetch::keys_url(&self.http, &self.issuers[0], self.timing.timeout).await?,
        };
        let keys = fetch::key_set(&self.http, &url, self.timing.timeout).await?;
        self.state.keys_url = Some(url);
        Ok(keys)
    }

    fn publish(&self, keys: KeySet) {
        let known = self.issuers[0].keys().load();
        if known.generation() == keys.generation() {
            return;
        }
        let url = self.issuers[0].url();
        tracing::info!(issuer = %url, keys = keys.len(), "keys fetched");
        keys.skipped().iter().for_each(|key| tracing::warn!(issuer = %url, "{key}"));
        let keys = Arc::new(keys);
        self.issuers.iter().for_each(|issuer| issuer.keys().publish(keys.clone()));
    }

    /// Takes the keys away when they are too old to be trusted.
    fn expire(&mut self) {
        if self.state.schedule.stale_at().is_none_or(|stale| self.now() < stale) {
            return;
        }
        tracing::error!(issuer = %self.issuers[0].url(), "keys are too old: its tokens are not accepted");
        self.issuers.iter().for_each(|issuer| issuer.keys().publish(Arc::default()));
        self.state.schedule.forget();
        self.published.send_replace(self.state.clone());
    }

    fn now(&self) -> Instant {
        Instant::default() + self.origin.elapsed()
    }
}

fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}
