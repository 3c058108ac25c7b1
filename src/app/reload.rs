//! Reads a configuration and everything that it names; swaps it in while requests go on.

use super::{Core, Error, Options, build, control::record_admin};
use crate::{
    background::{
        client::{self, Clients},
        lease::LeaseClient,
        notify::{Equipped, Notifier},
        oidc::{LoginClient, Oidc, Timing},
        resolve::Resolver,
        secrets::{Keeper, Surroundings, provision},
    },
    config::{self, Change, Diagnostic, Host, Severity, Snapshot, Text},
    identity::Issuer,
    metrics::Metrics,
    runtime,
};
use arc_swap::{ArcSwap, ArcSwapOption};
use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
};
use tokio::{
    sync::{Notify, oneshot},
    task::{AbortHandle, JoinHandle},
};

/// What runs on the background thread for one process.
pub struct Services {
    pub oidc: Arc<ArcSwap<Oidc>>,
    /// How people log in to the admin interface.
    pub login: ArcSwapOption<LoginClient>,
    /// Those of issuers and token endpoints, each with its own trust.
    clients: Clients,
    /// Who is told of what waits for people.
    pub notifier: Arc<Notifier>,
    /// `None` once the process stops.
    leases: Mutex<Option<Leases>>,
    /// Somebody asked for a drain.
    pub drain: Arc<Notify>,
    /// Reloads come one after the other.
    turn: tokio::sync::Mutex<()>,
    keepers: Mutex<Keepers>,
    upstreams: ArcSwap<Vec<Arc<crate::exchange::plan::Upstream>>>,
    resolver: Resolver,
}

/// The client for leases, and the task that revokes them, which ends after the last client.
struct Leases {
    client: LeaseClient,
    revoker: JoinHandle<()>,
}

/// Tasks that belong to one snapshot and end with it.
struct Keepers {
    names: AbortHandle,
    /// Dropping it ends the task that refreshes secrets.
    _secrets: oneshot::Sender<()>,
}

impl Services {
    /// Reads all secrets, then starts what keeps keys, secrets and names fresh.
    ///
    /// # Errors
    /// [`Error::Config`] with every secret that cannot be read.
    pub async fn start(
        snapshot: &Snapshot,
        metrics: &Arc<Metrics>,
        resolver: Resolver,
    ) -> Result<Services, Error> {
        read_secrets(snapshot).await?;
        let clients = Clients::default();
        let http = http(&clients, snapshot)?;
        let login = ArcSwapOption::new(login(&clients, snapshot)?);
        let oidc = Oidc::spawn(&all_issuers(snapshot).0, http, Timing::default(), None);
        let unrevoked = metrics.clone();
        let (client, revoker) = LeaseClient::new(clients.clone(), move |end| {
            if matches!(end.outcome.as_str(), "failed" | "dropped") {
                unrevoked.leases_unrevoked.inc();
            }
            tracing::debug!(lease = %end.facts.id, outcome = end.outcome.as_str(), "lease ended");
        });
        let leases = Leases { client, revoker: tokio::spawn(revoker.run()) };
        let notifier = Arc::new(Notifier::new(metrics.clone(), resolver.clone()));
        notifier.follow(equip(&notifier, snapshot)?, &tokio::runtime::Handle::current());
        Ok(Services {
            oidc: Arc::new(ArcSwap::from_pointee(oidc)),
            login,
            clients,
            notifier,
            leases: Mutex::new(Some(leases)),
            drain: Arc::default(),
            turn: tokio::sync::Mutex::default(),
            keepers: Mutex::new(keep(snapshot, &resolver)),
            upstreams: ArcSwap::from_pointee(snapshot.plan.upstreams.clone()),
            resolver,
        })
    }

    /// Waits for the turn of whoever changes the configuration, and has it until the guard is dropped.
    pub async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// The client for leases, until the process stops.
    pub fn leases(&self) -> Option<LeaseClient> {
        let leases = self.leases.lock().unwrap_or_else(PoisonError::into_inner);
        leases.as_ref().map(|leases| leases.client.clone())
    }

    /// Waits until every lease that was given back is revoked. The shards have ended.
    pub async fn end_leases(&self) {
        let leases = self.leases.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Leases { client, revoker }) = leases {
            drop(client);
            // It ends by itself; a panic in it was printed there.
            let _ = revoker.await;
        }
    }

    /// Waits until issuers have keys and names have addresses. It may never come about.
    pub async fn ready(&self) {
        self.resolver.resolve_all(&self.upstreams.load_full()).await;
        self.oidc.load().ready().await;
    }

    /// Takes over a new snapshot.
    fn follow(
        &self,
        snapshot: &Snapshot,
        http: impl Fn(&Issuer) -> reqwest::Client,
        login: Option<Arc<LoginClient>>,
        told: Equipped,
    ) {
        let issuers = all_issuers(snapshot).0;
        let oidc = Oidc::spawn(&issuers, http, Timing::default(), Some(&self.oidc.load()));
        self.oidc.store(Arc::new(oidc));
        self.login.store(login);
        self.notifier.follow(told, &tokio::runtime::Handle::current());
        self.upstreams.store(Arc::new(snapshot.plan.upstreams.clone()));
        let mut keepers = self.keepers.lock().unwrap_or_else(PoisonError::into_inner);
        keepers.names.abort();
        *keepers = keep(snapshot, &self.resolver);
    }
}

fn keep(snapshot: &Snapshot, resolver: &Resolver) -> Keepers {
    let upstreams = snapshot.plan.upstreams.clone();
    let names = tokio::spawn(resolver.clone().keep_fresh(upstreams)).abort_handle();
    let (stop, stopped) = oneshot::channel::<()>();
    let keeper = Keeper::new(&snapshot.plan.secrets, Surroundings::of_process());
    tokio::spawn(keeper.run(async { drop(stopped.await) }));
    Keepers { names, _secrets: stop }
}

/// Reads and compiles the configuration. Warnings are logged.
///
/// # Errors
/// A file cannot be read, or is wrong.
pub fn read(path: &Path, previous: Option<&Snapshot>, options: &Options) -> Result<Snapshot, Error> {
    let (snapshot, warnings) = compile(path, None, previous, options)?;
    for warning in &warnings {
        tracing::warn!(file = warning.file, line = warning.line, "{}", warning.message);
    }
    Ok(snapshot)
}

/// What would be in force with the files as they are, or after a change of an included one; and what there is
/// to say about it.
///
/// # Errors
/// What a reload would find; but for secrets, which are not read.
pub fn candidate(core: &Core, change: Option<&Change>) -> Result<(Snapshot, Vec<Diagnostic>), Error> {
    let previous = core.snapshot.load_full();
    let (snapshot, warnings) = compile(&core.path, change, Some(&previous), &core.options)?;
    check_fixed(&previous, &snapshot)?;
    Ok((snapshot, warnings))
}

fn compile(
    path: &Path,
    change: Option<&Change>,
    previous: Option<&Snapshot>,
    options: &Options,
) -> Result<(Snapshot, Vec<Diagnostic>), Error> {
    let text = Text::read_with(path, change);
    let text = text.map_err(|source| Error::Read { path: path.to_owned(), source })?;
    compile_text(&text, previous, options)
}

/// Compiles a whole configuration.
///
/// # Errors
/// It is wrong.
pub fn compile_text(
    text: &Text,
    previous: Option<&Snapshot>,
    options: &Options,
) -> Result<(Snapshot, Vec<Diagnostic>), Error> {
    let loaded = config::load(text).map_err(Error::Config)?;
    let snapshot = config::compile(&loaded, text, &Host::of_process(), previous).map_err(Error::Config)?;
    if snapshot.dev && !options.allow_dev {
        return Err(Error::DevIssuer);
    }
    let warnings = loaded.diagnostics.iter().chain(&snapshot.warnings).cloned().collect();
    Ok((snapshot, warnings))
}

/// Reads the configuration again and swaps it in. Whatever is wrong leaves the old one in force.
///
/// # Errors
/// See [`read`]; secrets that cannot be read; [`Error::NeedsRestart`].
pub async fn reload(core: Arc<Core>, author: String) -> Result<u64, Error> {
    let _turn = core.services.turn().await;
    reload_in_turn(&core, &author).await
}

/// [`reload`] for whoever has its turn.
///
/// # Errors
/// As there.
pub async fn reload_in_turn(core: &Arc<Core>, author: &str) -> Result<u64, Error> {
    let result = swap(core, author).await;
    core.metrics.reload_successful.set(i64::from(result.is_ok()));
    let error = result.as_ref().err().map(|error| match error {
        Error::Config(diagnostics) => summary(diagnostics),
        other => other.to_string(),
    });
    match &error {
        None => tracing::info!(author, "configuration reloaded"),
        Some(error) => tracing::error!(author, %error, "configuration refused; the old one stays"),
    }
    let object = match (&result, &error) {
        (Ok(generation), _) => format!("generation {generation}"),
        (_, error) => format!("refused: {}", error.as_deref().unwrap_or_default()),
    };
    let (journal, author) = (core.journal.clone(), author.to_owned());
    let recording = move || record_admin(&journal, &author, "reload", &object);
    // It says itself when it fails.
    let _ = tokio::task::spawn_blocking(recording).await;
    *core.last_reload_error.lock().unwrap_or_else(PoisonError::into_inner) = error;
    result
}

async fn swap(core: &Arc<Core>, author: &str) -> Result<u64, Error> {
    let previous = core.snapshot.load_full();
    let snapshot = read(&core.path, Some(&previous), &core.options)?;
    check_fixed(&previous, &snapshot)?;
    snapshot.plan.secrets.inherit(&previous.plan.secrets);
    read_secrets(&snapshot).await?;
    // Also for leases: what they trusted may have been replaced.
    core.services.clients.renew();
    let http = http(&core.services.clients, &snapshot)?;
    let login = login(&core.services.clients, &snapshot)?;
    let told = equip(&core.services.notifier, &snapshot)?;
    let unresolved = snapshot.plan.upstreams.iter().filter(|one| one.addresses.load().is_empty());
    core.services.resolver.resolve_all(&unresolved.cloned().collect::<Vec<_>>()).await;
    let generation = snapshot.plan.generation;
    let world = build::world(&snapshot, core.room);
    let snapshot = Arc::new(snapshot);
    let (journal, recorded, author) = (core.journal.clone(), snapshot.clone(), author.to_owned());
    let recording = move || build::record_config(&journal, &recorded, &author);
    // Before anything else follows the new one: what is not in the log is not in force.
    let recorded = tokio::task::spawn_blocking(recording).await;
    recorded.unwrap_or(Err(Error::Record(crate::journal::Failure::Disk)))?;
    core.services.follow(&snapshot, http, login, told);
    core.snapshot.store(snapshot);
    core.world.store(Arc::new(world));
    core.holds.reloaded(generation, core.snapshot.load().plan.remembers());
    core.loaded_at.store(runtime::now().wall.0, Ordering::Relaxed);
    Ok(generation)
}

/// What belongs to sockets and threads stays as it was started.
fn check_fixed(old: &Snapshot, new: &Snapshot) -> Result<(), Error> {
    let place = |snapshot: &Snapshot| -> Vec<_> {
        snapshot.listeners.iter().map(|one| (one.name.clone(), one.addr.clone(), one.tls.is_some())).collect()
    };
    let kept = |snapshot: &Snapshot| {
        let audit = &snapshot.audit;
        (audit.keep, audit.max, audit.disk_warn_percent, audit.disk_refuse_percent)
    };
    let fixed = [
        (place(old) != place(new), "listeners"),
        (old.admin.socket != new.admin.socket || old.admin.addr != new.admin.addr, "the admin addresses"),
        (old.admin.tls.is_some() != new.admin.tls.is_some(), "TLS of the admin interface"),
        (old.admin.hosts != new.admin.hosts, "the names of the admin interface"),
        (old.admin.metrics != new.admin.metrics, "the metrics address"),
        (old.audit.dir != new.audit.dir, "the audit folder"),
        (old.audit.key != new.audit.key, "the audit key"),
        (old.audit.segment_bytes != new.audit.segment_bytes, "the segment size"),
        (old.audit.packing != new.audit.packing, "how audit segments are packed"),
        (kept(old) != kept(new), "what is kept of the audit log"),
        (old.runtime.cores != new.runtime.cores || old.runtime.driver != new.runtime.driver, "cores"),
        (old.runtime.tuning != new.runtime.tuning, "what is taken of the machine (runtime.tuning)"),
        (old.log.access != new.log.access, "the access log"),
    ];
    match fixed.into_iter().find(|(differs, _)| *differs) {
        None => Ok(()),
        Some((_, what)) => Err(Error::NeedsRestart(what)),
    }
}

async fn read_secrets(snapshot: &Snapshot) -> Result<(), Error> {
    let Err(failures) = provision(&snapshot.plan.secrets, &Surroundings::of_process()).await else {
        return Ok(());
    };
    let place = |failure: &crate::background::secrets::Failure| {
        config::unreadable_secret(&snapshot.tree, &failure.name, &failure.error.to_string())
    };
    Err(Error::Config(failures.iter().map(place).collect()))
}

/// Clients for those who are told, whose secrets have been read.
///
/// # Errors
/// A secret that is no key or no address; authorities that cannot be used.
fn equip(notifier: &Notifier, snapshot: &Snapshot) -> Result<Equipped, Error> {
    let of = |(index, target): (usize, &Arc<crate::approval::Target>)| {
        let why = target.check().err()?;
        Some(config::unusable_notify(&snapshot.tree, index, &why.to_string()))
    };
    let unusable: Vec<Diagnostic> = snapshot.notify.iter().enumerate().filter_map(of).collect();
    if !unusable.is_empty() {
        return Err(Error::Config(unusable));
    }
    notifier.equip(&snapshot.notify).map_err(|error| Error::Client(error.to_string()))
}

/// The clients for issuers; those of leases are tried, too, so that their faults show up here.
fn http(
    clients: &Clients,
    snapshot: &Snapshot,
) -> Result<impl Fn(&Issuer) -> reqwest::Client + use<>, Error> {
    let failed = |error: client::Error| Error::Client(error.to_string());
    for lease in &snapshot.leases {
        clients.trusting(lease.roots.as_ref()).map_err(failed)?;
    }
    let (issuers, roots) = all_issuers(snapshot);
    clients.of_issuers(&issuers, &roots).map_err(failed)
}

type IssuersAndRoots = (Vec<Arc<Issuer>>, Vec<Option<Arc<[u8]>>>);

/// All issuers whose keys are needed, those of callers first, with the authorities of each.
fn all_issuers(snapshot: &Snapshot) -> IssuersAndRoots {
    let (mut issuers, mut roots) = (snapshot.plan.issuers.clone(), snapshot.issuer_roots.clone());
    if let Some(login) = &snapshot.admin.login {
        let known = issuers.iter().position(|issuer| issuer.url() == login.issuer.url());
        roots.push(login.roots.clone().or_else(|| known.and_then(|index| roots[index].clone())));
        issuers.push(login.issuer.clone());
    }
    (issuers, roots)
}

/// The client that people log in with.
fn login(clients: &Clients, snapshot: &Snapshot) -> Result<Option<Arc<LoginClient>>, Error> {
    let Some(login) = &snapshot.admin.login else { return Ok(None) };
    let roots = all_issuers(snapshot).1.pop().flatten();
    let http = clients.trusting(roots.as_ref()).map_err(|error| Error::Client(error.to_string()))?;
    Ok(Some(Arc::new(LoginClient::new(http, login.issuer.clone(), login.secret.clone()))))
}

/// One line for the log and the status. Warnings may come first; they are not why it was refused.
pub fn summary(diagnostics: &[Diagnostic]) -> String {
    let errors: Vec<_> = diagnostics.iter().filter(|one| one.severity == Severity::Error).collect();
    let place = |one: &Diagnostic| match config::included::below(&one.file) {
        Some(file) => format!("{file}: line {}", one.line),
        None => format!("line {}", one.line),
    };
    match &*errors {
        [one] => format!("{}: {}", place(one), one.message),
        [first, rest @ ..] => format!("{}: {} (and {} more)", place(first), first.message, rest.len()),
        [] => String::new(),
    }
}

/// Asks for a drain.
pub fn request_drain(core: &Core) {
    core.draining.store(true, Ordering::Relaxed);
    core.services.drain.notify_one();
}
