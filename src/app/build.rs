//! The start, in order: read, open, bind, then the threads.

use super::{
    Addresses, Core, Error, Options, Running,
    capacity::Room,
    control,
    holds::{self, Holds},
    reload, shards, sockets,
    wiring::{Acknowledgements, ErrandQueue, JournalRecorder, LogQueue},
};
use crate::{
    admin,
    audit::{self, Commit, Record},
    background::{access_log, errands, resolve::Resolver},
    config::{AccessLog, AuditPlan, Share, Snapshot},
    exchange::handover::{Delivery, Errand},
    journal::{self, Bound, Disk, Journal, Keep, Options as JournalOptions, OsDisk, Producer},
    limits::{ERRAND_QUEUE, JOURNAL_QUEUE_RECORDS, LOG_QUEUE_LINES},
    metrics::Metrics,
    runtime::{self, Driver, Listener, Mailbox, MailboxSender, mailbox, sys},
    shard::{Census, Heartbeat, Parts, World},
};
use arc_swap::ArcSwap;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::{
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};
use tokio::{
    runtime::Handle,
    sync::{mpsc as queue, oneshot},
};

/// How long a start waits for issuers and names; what is not there by then is named by `/readyz`.
const FIRST_FETCH_TIMEOUT: Duration = Duration::from_millis(500);

/// Starts a gateway from a configuration file. When it returns, all listeners accept.
///
/// # Errors
/// See [`Error`]; nothing is left running.
pub fn start(path: &Path, options: Options) -> Result<Running, Error> {
    start_on(Arc::new(OsDisk), path, options)
}

/// [`start`] with an audit log on another file system than the real one: on one that is slow, or fails.
///
/// # Errors
/// As there.
pub fn start_on(disk: Arc<dyn Disk>, path: &Path, options: Options) -> Result<Running, Error> {
    let started = runtime::now();
    // A process without core files and without a debugger's view keeps its secrets (SECURITY R46).
    sys::forbid_dumps().map_err(host("cannot switch core files off"))?;
    let snapshot = reload::read(path, None, &options)?;
    let (placed, all) = shards::place(&snapshot.runtime)?;
    let room = Room::take(placed.len()).map_err(host("descriptor limit"))?;
    let metrics = metrics(&placed);
    let sockets = Sockets::bind(&snapshot, &placed)?;
    let (senders, mailboxes) = mailboxes(placed.len())?;
    let (journal, producers) = open_journal(disk, &snapshot, placed.len(), senders.clone())?;
    let (background, handle, stop_background) = background_thread()?;
    let services = handle.block_on(reload::Services::start(&snapshot, &metrics, sockets.resolver()))?;
    let world = Arc::new(ArcSwap::from_pointee(world(&snapshot, room)));
    let known = (&snapshot, &sockets.addresses);
    let (errands, holds) = serve_errands(known, &journal, senders.clone(), &services, &metrics, &handle)?;
    let (lines, access_log, end_access_log) = access_log(&snapshot, &handle, &metrics);
    let core = Arc::new(Core {
        path: path.to_owned(),
        options,
        started,
        world: world.clone(),
        metrics: metrics.clone(),
        journal: journal.handle(),
        mailboxes: senders,
        shards: placed.clone(),
        census: Default::default(),
        heartbeats: heartbeats(placed.len()),
        holds,
        room,
        addresses: sockets.addresses.clone(),
        background: handle.clone(),
        services,
        draining: false.into(),
        last_reload_error: Default::default(),
        loaded_at: started.wall.0.into(),
        snapshot: ArcSwap::from_pointee(snapshot),
    });
    record_config(&core.journal, &core.snapshot.load(), &core.options.author)?;
    handle.block_on(first_fetch(&core));
    let (stop_admin, admin) = serve_admin(&core, sockets.admin, sockets.metrics)?;
    let (drained_sender, drained) = mpsc::channel();
    let mut ends = Ends {
        world,
        producers: producers.into_iter(),
        mailboxes: mailboxes.into_iter(),
        sockets: sockets.shards.into_iter().map(Vec::into_iter).collect(),
        errands,
        lines,
        metrics,
        census: core.census.clone(),
        heartbeats: core.heartbeats.clone(),
        token_key: random_key()?,
        drained: drained_sender,
    };
    let spawned = placed.into_iter().map(|shard| shards::spawn(shard, all.clone(), ends.parts(shard)));
    Ok(Running {
        addresses: sockets.addresses,
        core,
        journal,
        shards: spawned.collect::<Result<_, _>>()?,
        drained,
        background,
        stop_background,
        access_log,
        end_access_log,
        stop_admin,
        admin,
    })
}

/// What failed of the host.
fn host(what: &'static str) -> impl FnOnce(std::io::Error) -> Error {
    move |source| Error::Host { what, source }
}

/// Gives issuers and names a moment to answer; whoever does not is named by `/readyz` and tried again.
async fn first_fetch(core: &Core) {
    let _ = tokio::time::timeout(FIRST_FETCH_TIMEOUT, core.services.ready()).await;
}

/// Everything that is bound before the first thread starts.
struct Sockets {
    addresses: Addresses,
    /// By listener, then one a shard.
    shards: Vec<Vec<TcpListener>>,
    admin: Option<TcpListener>,
    metrics: Option<TcpListener>,
}

impl Sockets {
    fn bind(snapshot: &Snapshot, shards: &[shards::Placed]) -> Result<Sockets, Error> {
        let mut bound = Vec::new();
        let shards: Vec<_> = shards.iter().map(|shard| shard.tuning).collect();
        for listener in &snapshot.listeners {
            bound.push(sockets::bind(listener, &shards)?);
        }
        let plain = |name: &str, addr: Option<SocketAddr>| {
            addr.map(|addr| sockets::bind_plain(name, addr)).transpose()
        };
        let admin = plain("admin", snapshot.admin.addr)?;
        let metrics = plain("metrics", snapshot.admin.metrics)?;
        let address = |socket: &Option<TcpListener>| socket.as_ref().and_then(|one| one.local_addr().ok());
        let named = snapshot.listeners.iter().zip(&bound);
        let addresses = Addresses {
            listeners: named.map(|(listener, bound)| (listener.name.clone(), bound.address)).collect(),
            admin: address(&admin),
            admin_socket: snapshot.admin.socket.clone(),
            metrics: address(&metrics),
            audit_dir: snapshot.audit.dir.clone(),
        };
        let shards = bound.into_iter().map(|bound| bound.sockets).collect();
        Ok(Sockets { addresses, shards, admin, metrics })
    }

    /// Names lead anywhere but to the operators' own sockets.
    fn resolver(&self) -> Resolver {
        Resolver::new([self.addresses.admin, self.addresses.metrics].into_iter().flatten())
    }
}

/// What the shards' threads take their parts from.
struct Ends {
    world: Arc<ArcSwap<World>>,
    producers: std::vec::IntoIter<Producer>,
    mailboxes: std::vec::IntoIter<Mailbox<Delivery>>,
    /// By listener, then one a shard.
    sockets: Vec<std::vec::IntoIter<TcpListener>>,
    errands: queue::Sender<Errand>,
    lines: Option<Arc<access_log::Lines>>,
    metrics: Arc<Metrics>,
    census: Arc<Census>,
    heartbeats: Vec<Arc<Heartbeat>>,
    token_key: [u8; 32],
    drained: mpsc::Sender<usize>,
}

impl Ends {
    /// The parts of one shard, made on its thread: sockets belong to the executor that uses them.
    fn parts(&mut self, shard: shards::Placed) -> impl FnOnce() -> std::io::Result<Parts> + Send + use<> {
        // There are as many producers, mailboxes and sockets as shards.
        let producer = self.producers.next().expect("one producer a shard");
        let mailbox = self.mailboxes.next().expect("one mailbox a shard");
        let sockets: Vec<_> = self.sockets.iter_mut().filter_map(Iterator::next).collect();
        let (world, metrics, errands) = (self.world.clone(), self.metrics.clone(), self.errands.clone());
        let (lines, token_key, drained) = (self.lines.clone(), self.token_key, self.drained.clone());
        let (census, count, index, backlog) =
            (self.census.clone(), self.heartbeats.len(), shard.index, shard.tuning.backlog);
        let heartbeat = self.heartbeats[index].clone();
        move || {
            let listeners = sockets
                .into_iter()
                .enumerate()
                .map(|(index, socket)| Ok((index, Listener::from_std(socket)?.with_backlog(backlog))))
                .collect::<std::io::Result<_>>();
            Ok(Parts {
                index,
                count,
                world,
                listeners: listeners?,
                recorder: Box::new(JournalRecorder(producer)),
                errands: Box::new(ErrandQueue(errands)),
                log: Box::new(LogQueue { lines, metrics: metrics.clone() }),
                token_key,
                mailbox,
                metrics,
                census,
                heartbeat,
                on_drained: Box::new(move || {
                    // Nobody listens where the stop has given up already.
                    let _ = drained.send(index);
                }),
            })
        }
    }
}

fn metrics(shards: &[shards::Placed]) -> Arc<Metrics> {
    let metrics = Arc::new(Metrics::default());
    metrics.epoll_fallback.set(i64::from(shards.iter().any(|shard| shard.driver == Driver::Epoll)));
    metrics
}

/// One a shard; they begin now.
fn heartbeats(shards: usize) -> Vec<Arc<Heartbeat>> {
    let begun = || {
        let heartbeat = Arc::new(Heartbeat::default());
        heartbeat.beat(runtime::now().instant);
        heartbeat
    };
    (0..shards).map(|_| begun()).collect()
}

/// What shards see of a snapshot.
pub fn world(snapshot: &Snapshot, room: Room) -> World {
    World {
        plan: snapshot.plan.clone(),
        endpoints: snapshot
            .listeners
            .iter()
            .map(|listener| crate::shard::Endpoint { name: listener.name.clone(), tls: listener.tls.clone() })
            .collect(),
        client_tls: snapshot.upstream_tls.clone(),
        capacity: room.capacity(&snapshot.capacity),
    }
}

/// Records what is in force from now on.
///
/// # Errors
/// The journal does not record: then nothing would be served either.
pub fn record_config(journal: &journal::Handle, snapshot: &Snapshot, author: &str) -> Result<(), Error> {
    let record = Record::Config(audit::Config {
        at: runtime::now().wall,
        generation: snapshot.plan.generation,
        author: author.into(),
        text: snapshot.tree.source.as_str().into(),
    });
    journal.append_blocking(Commit::Durable, record).map(|_| ()).map_err(Error::Record)
}

type Mailboxes = (Vec<MailboxSender<Delivery>>, Vec<Mailbox<Delivery>>);

fn mailboxes(shards: usize) -> Result<Mailboxes, Error> {
    let pairs: std::io::Result<Vec<_>> = (0..shards).map(|_| mailbox(2 * JOURNAL_QUEUE_RECORDS)).collect();
    let pairs = pairs.map_err(|source| Error::Host { what: "no descriptors for a mailbox", source })?;
    Ok(pairs.into_iter().unzip())
}

fn open_journal(
    disk: Arc<dyn Disk>,
    snapshot: &Snapshot,
    shards: usize,
    senders: Vec<MailboxSender<Delivery>>,
) -> Result<(Journal, Vec<Producer>), Error> {
    let mut options = JournalOptions::new(&snapshot.audit.dir, openings_dir(&snapshot.audit.dir));
    options.segment_bytes = snapshot.audit.segment_bytes;
    options.key = Some(snapshot.audit.key.clone());
    options.packing = snapshot.audit.packing.clone();
    options.keep = keep(&snapshot.audit);
    let open = || Journal::open_on(disk, options, shards, Box::new(Acknowledgements(senders)));
    let cpus = snapshot.runtime.tuning.threads.journal.as_ref();
    Ok(shards::on("threads.journal", cpus, open)??)
}

/// How the configuration bounds the log.
fn keep(audit: &AuditPlan) -> Keep {
    Keep {
        age: audit.keep,
        max: audit.max.map(|max| match max {
            Share::Percent(percent) => Bound::Percent(percent),
            Share::Bytes(bytes) => Bound::Bytes(bytes),
        }),
        warn_percent: audit.disk_warn_percent,
        refuse_percent: audit.disk_refuse_percent,
        ..Keep::default()
    }
}

/// The folder of the nonces that open commitments: beside the segments, never among them.
pub fn openings_dir(audit: &Path) -> PathBuf {
    let mut name = audit.file_name().unwrap_or_default().to_owned();
    name.push("-openings");
    audit.with_file_name(name)
}

fn background_thread() -> Result<(thread::JoinHandle<()>, Handle, oneshot::Sender<()>), Error> {
    let failed = |source| Error::Host { what: "no background thread", source };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let handle = runtime.handle().clone();
    let (stop, stopped) = oneshot::channel::<()>();
    let thread = thread::Builder::new().name("background".to_owned()).spawn(move || {
        // Ends when the sender is dropped.
        let _ = runtime.block_on(stopped);
        runtime.shutdown_timeout(Duration::from_secs(1));
    });
    Ok((thread.map_err(failed)?, handle, stop))
}

/// Serves what shards ask for; gives the way to it, and whoever keeps held requests.
fn serve_errands(
    (snapshot, addresses): (&Snapshot, &Addresses),
    journal: &Journal,
    senders: Vec<MailboxSender<Delivery>>,
    services: &reload::Services,
    metrics: &Arc<Metrics>,
    handle: &Handle,
) -> Result<(queue::Sender<Errand>, Holds), Error> {
    let deliver: errands::Deliver = Arc::new(move |shard, delivery| match senders.get(shard) {
        Some(mailbox) => mailbox.send(delivery),
        None => Err(delivery),
    });
    let parts = holds::Parts {
        journal: journal.handle(),
        deliver: deliver.clone(),
        freezer: snapshot.plan.freezer.clone(),
        metrics: metrics.clone(),
        notifier: services.notifier.clone(),
        page: page(snapshot, addresses),
        generation: snapshot.plan.generation,
        conversations: snapshot.plan.conversations.clone(),
        remembers: snapshot.plan.remembers(),
        may_hold: snapshot.plan.routes.iter().any(|route| route.rules.may_approve()),
    };
    // What a former process left is taken up.
    let holds = Holds::start(&snapshot.audit.dir, parts).map_err(Error::Approvals)?;
    let (sender, receiver) = queue::channel(ERRAND_QUEUE);
    let metrics = metrics.clone();
    let dropped = Arc::new(move || {
        metrics.answers_dropped.inc();
        tracing::warn!("a shard takes no answers");
    });
    // There are leases from the start on until the stop.
    let leases = services.leases().expect("the gateway starts");
    let oidc = services.oidc.clone();
    handle.spawn(errands::serve(receiver, oidc, leases, deliver, holds.errands(), dropped));
    Ok((sender, holds))
}

/// Where people find the interface with their browser: as a login calls it, else by its first name, else by
/// its address.
fn page(snapshot: &Snapshot, addresses: &Addresses) -> Option<Arc<str>> {
    let admin = &snapshot.admin;
    if let Some(url) = admin.login.as_ref().and_then(|login| login.url.clone()) {
        return Some(url);
    }
    let address = addresses.admin?;
    let port = address.port();
    let scheme = if admin.tls.is_some() { "https" } else { "http" };
    let host = match snapshot.document.admin.hosts.first() {
        Some(host) if host.contains(':') => host.clone(),
        Some(host) => format!("{host}:{port}"),
        None if address.ip().is_unspecified() => return None,
        None => address.to_string(),
    };
    Some(format!("{scheme}://{host}").into())
}

fn serve_admin(
    core: &Arc<Core>,
    tcp: Option<TcpListener>,
    metrics_listener: Option<TcpListener>,
) -> Result<(oneshot::Sender<()>, tokio::task::JoinHandle<()>), Error> {
    let snapshot = core.snapshot.load();
    let parts = admin::Parts {
        control: Arc::new(control::Operator::new(core.clone())),
        metrics: core.metrics.clone(),
        socket: Some(snapshot.admin.socket.clone()),
        tcp,
        tls: admin_tls(&snapshot)?,
        hosts: snapshot.admin.hosts.clone(),
        metrics_listener,
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = async { drop(stopped.await) };
    let server = core.background.block_on(async { admin::Server::bind(parts) });
    let server = server.map_err(|error| Error::Admin(error.to_string()))?;
    let task = core.background.spawn(async move {
        if let Err(error) = server.run(stopped).await {
            tracing::error!(%error, "the admin interface ended");
        }
    });
    Ok((stop, task))
}

/// The certificate of the admin port.
fn admin_tls(snapshot: &Snapshot) -> Result<Option<Arc<rustls::ServerConfig>>, Error> {
    let Some((chain, key)) = &snapshot.admin.tls else { return Ok(None) };
    let failed = |error: &dyn std::fmt::Display| Error::Admin(format!("admin.tls: {error}"));
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
    let chain = chain.map_err(|error| failed(&error))?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| failed(&error))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(&error))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| failed(&error))?;
    Ok(Some(Arc::new(config)))
}

/// The queue of the access log and the task that writes it; no queue where it is off.
fn access_log(
    snapshot: &Snapshot,
    handle: &Handle,
    metrics: &Arc<Metrics>,
) -> (Option<Arc<access_log::Lines>>, tokio::task::JoinHandle<()>, oneshot::Sender<()>) {
    let output = output(snapshot);
    let lines = Arc::new(access_log::Lines::new(LOG_QUEUE_LINES));
    let shared = (output != access_log::Output::Off).then(|| lines.clone());
    let (end, ended) = oneshot::channel();
    (shared, handle.spawn(access_log::write(lines, output, metrics.clone(), ended)), end)
}

fn output(snapshot: &Snapshot) -> access_log::Output {
    match &snapshot.log.access {
        AccessLog::Off => access_log::Output::Off,
        AccessLog::Stdout => access_log::Output::Stdout,
        AccessLog::File(path) => access_log::Output::File(path.clone()),
    }
}

fn random_key() -> Result<[u8; 32], Error> {
    let mut key = [0; 32];
    let failed = |_| Error::Host { what: "no random bytes", source: std::io::ErrorKind::Other.into() };
    aws_lc_rs::rand::fill(&mut key).map_err(failed)?;
    Ok(key)
}
