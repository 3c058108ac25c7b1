//! Brings notices to those who are told: one after the other to each target, again and again until each has
//! arrived or is given up.
//!
//! At least once: a notice is kept by whoever posts it until [`Forget`] says that nobody needs it any more.
//! Not the data path, and nothing waits for it. Start at [`Notifier`].

use super::{
    client::{self, builder},
    resolve::Resolver,
    secrets::wall_clock,
};
use crate::{
    approval::{Letter, Notice, Target, Unsendable, name, pause_after, wait_asked_for},
    exchange::plan::Destination,
    limits::{NOTIFY_TIMEOUT, NOTIFY_WAITING_MAX},
    metrics::Metrics,
    time::Timestamp,
};
use arc_swap::ArcSwap;
use reqwest::{
    Response, StatusCode,
    dns::{Addrs, Name, Resolve, Resolving},
    header::RETRY_AFTER,
};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};
use tokio::{
    runtime::Handle,
    sync::Notify,
    time::{Instant, sleep_until, timeout},
};

/// Told of letters that have arrived or will never do: they need not be kept any more.
pub type Forget = Box<dyn Fn(Vec<String>) + Send + Sync>;

/// Why one try did not succeed. Holds no secret and nothing of an answer's text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The operator is at fault.
    #[error(transparent)]
    Unsendable(#[from] Unsendable),
    #[error("it cannot be reached")]
    Unreachable,
    #[error("it did not answer in time")]
    Timeout,
    #[error("the connection broke off")]
    Broken,
    /// The receiver said no. Redirects are answers like any other (SECURITY R12).
    #[error("it answered {0}")]
    Refused(u16),
    /// The receiver wants nothing any more.
    #[error("it answered 410 Gone")]
    Gone,
    #[error("no random bytes")]
    Random,
}

/// How it stands with one target.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// Letters that wait.
    pub waiting: usize,
    pub delivered: u64,
    /// Tries in vain.
    pub failed: u64,
    /// When the last letter arrived.
    pub delivered_at: Option<Timestamp>,
    /// The last try in vain, if no letter has arrived since.
    pub last_failure: Option<(Timestamp, Failure)>,
    /// Since when the receiver wants nothing any more.
    pub gone_since: Option<Timestamp>,
}

/// All targets, for whoever posts. Cheap to ask: nothing here waits.
pub struct Notifier {
    couriers: ArcSwap<BTreeMap<Arc<str>, Arc<Courier>>>,
    forget: Arc<OnceLock<Forget>>,
    metrics: Arc<Metrics>,
    resolver: Resolver,
}

/// One target, and what waits for it.
struct Courier {
    route: ArcSwap<Route>,
    waiting: Mutex<VecDeque<Waiting>>,
    health: Mutex<Health>,
    /// Something was posted, or the target has changed.
    news: Notify,
    forget: Arc<OnceLock<Forget>>,
    metrics: Arc<Metrics>,
}

/// The target as it is configured now; `None` where it is not any more.
#[derive(Default)]
struct Route(Option<(Arc<Target>, reqwest::Client)>);

struct Waiting {
    letter: Letter,
    failures: usize,
    due: Instant,
}

/// Targets and how each is spoken to.
pub type Equipped = Vec<(Arc<Target>, reqwest::Client)>;

impl Notifier {
    /// No target yet.
    pub fn new(metrics: Arc<Metrics>, resolver: Resolver) -> Notifier {
        Notifier { couriers: ArcSwap::default(), forget: Arc::default(), metrics, resolver }
    }

    /// Who keeps the letters. Said once, before the first is posted.
    pub fn kept_by(&self, forget: Forget) {
        // A second one would be that of the same keeper.
        let _ = self.forget.set(forget);
    }

    /// Clients for `targets`, each with its own trust.
    ///
    /// # Errors
    /// As [`client::client`].
    pub fn equip(&self, targets: &[Arc<Target>]) -> Result<Equipped, client::Error> {
        let equip = |target: &Arc<Target>| {
            let guarded = Guarded { target: target.clone(), resolver: self.resolver.clone() };
            let client = builder(target.roots.as_deref())?.timeout(NOTIFY_TIMEOUT);
            let client = client.dns_resolver(Arc::new(guarded)).build();
            Ok((target.clone(), client.map_err(|_| client::Error::Build)?))
        };
        targets.iter().map(equip).collect()
    }

    /// Tells `targets` from now on. What waits for one of this name goes there; what waits for others is
    /// forgotten. A target that has said that it is gone is tried again.
    pub fn follow(&self, targets: Equipped, background: &Handle) {
        let before = self.couriers.load_full();
        let mut couriers = BTreeMap::new();
        for (target, client) in targets {
            let name = target.name.clone();
            let route = Route(Some((target, client)));
            let known = before.get(&name).cloned();
            let courier = known.clone().unwrap_or_else(|| Arc::new(self.courier()));
            courier.route.store(Arc::new(route));
            courier.health().gone_since = None;
            match known {
                Some(courier) => courier.news.notify_one(),
                // One without a target would end at once.
                None => drop(background.spawn(courier.clone().work())),
            }
            couriers.insert(name, courier);
        }
        let ended = before.iter().filter(|(name, _)| !couriers.contains_key(*name));
        ended.for_each(|(name, courier)| {
            self.metrics.notices_waiting(name).set(0);
            courier.end();
        });
        self.couriers.store(Arc::new(couriers));
    }

    fn courier(&self) -> Courier {
        Courier {
            route: ArcSwap::default(),
            waiting: Mutex::default(),
            health: Mutex::default(),
            news: Notify::new(),
            forget: self.forget.clone(),
            metrics: self.metrics.clone(),
        }
    }

    /// A letter for each target that wants one of these notices, to be kept and then posted. Where too much
    /// waits for a target already, it gets none, which is counted.
    ///
    /// # Errors
    /// There are no random bytes for names.
    pub fn letters(&self, notices: &[Notice], now: Timestamp) -> Result<Vec<Letter>, Failure> {
        let couriers = self.couriers.load();
        let mut letters = Vec::new();
        for notice in notices {
            for (target, courier) in couriers.iter() {
                let wants = courier.route.load().0.as_ref().is_some_and(|(target, _)| target.wants(notice));
                if !wants || courier.health().gone_since.is_some() {
                    continue;
                }
                if courier.waiting().len() >= NOTIFY_WAITING_MAX {
                    self.metrics.notice(target, "dropped");
                    tracing::warn!(notify = %target, "too many notices wait; one is dropped");
                    continue;
                }
                letters.push(letter(target, notice.clone(), now)?);
            }
        }
        Ok(letters)
    }

    /// Has letters delivered that are kept. Those for nobody are forgotten.
    pub fn post(&self, letters: Vec<Letter>) {
        let couriers = self.couriers.load();
        let mut lost = Vec::new();
        for letter in letters {
            match couriers.get(letter.target.as_str()) {
                Some(courier) => courier.post(letter),
                None => lost.push(letter.id),
            }
        }
        forget(&self.forget, lost);
    }

    /// Sends a notice to one target at once, to try it; `None`: there is no such target. One that was gone
    /// and takes it is told everything again.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn test(&self, target: &str, by: &str) -> Option<Result<(), Failure>> {
        let courier = self.couriers.load().get(target)?.clone();
        let now = wall_clock();
        let tried = match letter(target, Notice::test(by, now), now) {
            Ok(letter) => courier.attempt(&letter).await.map_err(|(failure, _)| failure),
            Err(failure) => Err(failure),
        };
        if tried.is_ok() {
            courier.health().gone_since = None;
            courier.news.notify_one();
        }
        Some(tried)
    }

    /// All targets in the order of their names, and how it stands with each.
    pub fn status(&self) -> Vec<(Arc<Target>, Health)> {
        let of = |courier: &Arc<Courier>| {
            let target = courier.route.load().0.as_ref().map(|(target, _)| target.clone())?;
            let waiting = courier.waiting().len();
            Some((target, Health { waiting, ..courier.health().clone() }))
        };
        self.couriers.load().values().filter_map(of).collect()
    }
}

/// What a courier does next.
enum Next {
    Try(Box<Letter>),
    At(Instant),
    Nothing,
    End,
}

impl Courier {
    /// Delivers until the target is not configured any more.
    async fn work(self: Arc<Courier>) {
        loop {
            match self.next() {
                Next::End => return,
                Next::Nothing => self.news.notified().await,
                Next::At(due) => {
                    tokio::select! {
                        () = sleep_until(due) => {}
                        () = self.news.notified() => {}
                    }
                }
                Next::Try(letter) => {
                    let tried = self.attempt(&letter).await;
                    self.settle(&letter, tried);
                }
            }
        }
    }

    fn next(&self) -> Next {
        if self.route.load().0.is_none() {
            return Next::End;
        }
        if self.health().gone_since.is_some() {
            return Next::Nothing;
        }
        let waiting = self.waiting();
        match waiting.iter().min_by_key(|one| one.due) {
            None => Next::Nothing,
            Some(first) if first.due <= Instant::now() => Next::Try(Box::new(first.letter.clone())),
            Some(first) => Next::At(first.due),
        }
    }

    fn post(&self, letter: Letter) {
        let mut waiting = self.waiting();
        waiting.push_back(Waiting { letter, failures: 0, due: Instant::now() });
        self.count(waiting.len());
        self.news.notify_one();
    }

    /// One try, and how long the receiver asks to be left alone.
    async fn attempt(&self, letter: &Letter) -> Result<(), (Failure, Option<Duration>)> {
        let route = self.route.load_full();
        let Some((target, client)) = &route.0 else { return Err((Failure::Unreachable, None)) };
        let rendered = target.render(letter, wall_clock()).map_err(|error| (error.into(), None))?;
        let mut request = client.post(rendered.url.as_str()).body(rendered.body);
        for (name, value) in rendered.headers {
            request = request.header(name, value);
        }
        let answer = match timeout(NOTIFY_TIMEOUT, request.send()).await {
            Err(_) => Err(Failure::Timeout),
            Ok(Err(error)) if error.is_timeout() => Err(Failure::Timeout),
            Ok(Err(error)) if error.is_connect() => Err(Failure::Unreachable),
            Ok(Err(_)) => Err(Failure::Broken),
            Ok(Ok(answer)) => Ok(answer),
        };
        judged(answer)
    }

    /// What becomes of a letter after a try.
    fn settle(&self, letter: &Letter, tried: Result<(), (Failure, Option<Duration>)>) {
        let now = wall_clock();
        let target = letter.target.as_str();
        match tried {
            Ok(()) => {
                self.metrics.notice(target, "delivered");
                let mut health = self.health();
                (health.delivered, health.delivered_at) = (health.delivered + 1, Some(now));
                health.last_failure = None;
                drop(health);
                self.forget_one(&letter.id);
            }
            Err((failure, wait)) => {
                self.metrics.notice(target, "failed");
                let kind = letter.notice.kind.as_str();
                tracing::warn!(notify = target, kind, %failure, "a notice did not arrive");
                let mut health = self.health();
                health.failed += 1;
                health.last_failure = Some((now, failure.clone()));
                let is_gone = failure == Failure::Gone;
                health.gone_since = health.gone_since.or(is_gone.then_some(now));
                drop(health);
                match is_gone {
                    true => self.give_all_up(target),
                    false => self.again(letter, wait),
                }
            }
        }
    }

    /// Puts a letter off, or gives it up.
    fn again(&self, letter: &Letter, wait: Option<Duration>) {
        let mut waiting = self.waiting();
        let Some(one) = waiting.iter_mut().find(|one| one.letter.id == letter.id) else { return };
        one.failures += 1;
        let mut random = [0];
        // Without randomness there is only no jitter.
        let _ = aws_lc_rs::rand::fill(&mut random);
        let Some(pause) = pause_after(one.failures, random[0]) else {
            drop(waiting);
            self.metrics.notice(&letter.target, "given_up");
            tracing::error!(notify = letter.target, id = letter.id, "a notice never arrived and is given up");
            return self.forget_one(&letter.id);
        };
        let pause = pause.max(wait.unwrap_or_default());
        one.due = Instant::now() + pause;
        // Whoever does not take one will not take the next at once.
        let soon = Instant::now() + pause_after(1, random[0]).unwrap_or_default();
        waiting.iter_mut().for_each(|one| one.due = one.due.max(soon));
    }

    /// The receiver wants nothing any more (Standard Webhooks, "410 Gone").
    fn give_all_up(&self, target: &str) {
        tracing::error!(
            notify = target,
            "it answered 410 Gone and is told nothing any more, until a reload or a `ringward notify test`"
        );
        let lost: Vec<String> = self.waiting().drain(..).map(|one| one.letter.id).collect();
        lost.iter().for_each(|_| self.metrics.notice(target, "given_up"));
        self.count(0);
        forget(&self.forget, lost);
    }

    fn forget_one(&self, id: &str) {
        let mut waiting = self.waiting();
        waiting.retain(|one| one.letter.id != id);
        self.count(waiting.len());
        drop(waiting);
        forget(&self.forget, vec![id.to_owned()]);
    }

    /// The target is not configured any more.
    fn end(&self) {
        self.route.store(Arc::default());
        let lost = self.waiting().drain(..).map(|one| one.letter.id).collect();
        self.news.notify_one();
        forget(&self.forget, lost);
    }

    fn count(&self, waiting: usize) {
        if let Some((target, _)) = &self.route.load().0 {
            self.metrics.notices_waiting(&target.name).set(waiting as i64);
        }
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the receiver has taken it: 2xx, and nothing else.
fn judged(answer: Result<Response, Failure>) -> Result<(), (Failure, Option<Duration>)> {
    let answer = answer.map_err(|failure| (failure, None))?;
    match answer.status() {
        status if status.is_success() => Ok(()),
        StatusCode::GONE => Err((Failure::Gone, None)),
        status => {
            let field = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
            Err((Failure::Refused(status.as_u16()), wait_asked_for(field)))
        }
    }
}

fn forget(by: &OnceLock<Forget>, lost: Vec<String>) {
    if let Some(forget) = by.get().filter(|_| !lost.is_empty()) {
        forget(lost);
    }
}

fn letter(target: &str, notice: Notice, now: Timestamp) -> Result<Letter, Failure> {
    let mut random = [0; 10];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| Failure::Random)?;
    Ok(Letter { id: name("msg", random), target: target.to_owned(), at_us: now.0, notice })
}

/// Names lead where those of upstreams may: not to the gateway's own admin port, nor to the metadata service
/// of a cloud (SECURITY R11).
struct Guarded {
    target: Arc<Target>,
    resolver: Resolver,
}

impl Resolve for Guarded {
    fn resolve(&self, host: Name) -> Resolving {
        let (target, resolver) = (self.target.clone(), self.resolver.clone());
        Box::pin(async move {
            let url = reqwest::Url::parse(&target.url()?)?;
            let port = url.port_or_known_default().unwrap_or_default();
            let destination = Destination { host: host.as_str().to_owned(), port };
            let addresses = resolver.addresses(&target.name, &[], &destination).await?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests;
