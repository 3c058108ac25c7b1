//! What operators see and do.

use super::{Core, Error, editor::Editor, logging, login, notify, reload};
use crate::{
    admin::{
        self, AuditState, AuditStatus, CertificateStatus, ConfigStatus, Consistency, Control, Credential,
        DeviceLogin, ErasedBodies, Events, IssuerStatus, LimitStatus, ListenerStatus, LogFolder, LoginRules,
        NotLoggedIn, NotifyTarget, NotifyTried, Person, Redemption, Rejected, Reloaded, RequestStatus, Role,
        SecretStatus, ShardStatus, SignInPlace, Status, Unproven, UpstreamConnections, UpstreamStatus, Work,
    },
    approval::{Answered, Fault, Order},
    archive::{self, Archive},
    audit::{Access, Commit, Record, StatedKey},
    config::{self, Format, diagnostic},
    journal::{self, Erasure, Level, ProveError},
    metrics::Limit,
    runtime::{self, Driver, tls::Certificate},
    segments::Keys,
    time::Timestamp,
    upstream::Retired,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use std::sync::{Arc, Mutex, PoisonError, atomic::Ordering};

/// The running gateway as the admin side knows it.
pub struct Operator {
    core: Arc<Core>,
    editor: Editor,
    /// The recordings, once somebody has asked for them.
    archive: Mutex<Option<Arc<Archive>>>,
}

impl Operator {
    /// The gateway of `core`.
    pub fn new(core: Arc<Core>) -> Operator {
        Operator { editor: Editor::new(core.clone()), core, archive: Mutex::default() }
    }
}

impl Control for Operator {
    fn status(&self) -> Status {
        let core = &self.core;
        let snapshot = core.snapshot.load();
        let now = runtime::now();
        let counts = core.metrics.totals();
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started: core.started.wall.to_string(),
            uptime_s: now.instant.since(core.started.instant).as_secs(),
            draining: core.draining.load(Ordering::Relaxed),
            config: ConfigStatus {
                path: Some(core.path.display().to_string()),
                generation: snapshot.plan.generation,
                loaded_at: core.loaded_at().to_string(),
                last_reload_error: core
                    .last_reload_error
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .clone(),
            },
            requests: RequestStatus {
                forwarded: counts.forwarded,
                refused: counts.refused,
                in_flight: counts.in_flight,
            },
            limits: limits(core),
            audit: audit(core),
            shards: shards(core),
            listeners: listeners(core, &snapshot),
            issuers: issuers(core, &snapshot),
            secrets: secrets(&snapshot),
            upstreams: upstreams(core, &snapshot),
        }
    }

    fn reload(&self, author: String) -> Work<'_, Result<Reloaded, Rejected>> {
        let core = self.core.clone();
        Box::pin(async move {
            let path = core.path.display().to_string();
            let result = reload::reload(core, author).await;
            result.map(|generation| Reloaded { generation }).map_err(|error| rejected(&path, &error))
        })
    }

    fn check(&self) -> Work<'_, Result<(), Rejected>> {
        let core = self.core.clone();
        Box::pin(async move {
            let previous = core.snapshot.load_full();
            let read = reload::read(&core.path, Some(&previous), &core.options);
            read.map(|_| ()).map_err(|error| rejected(&core.path.display().to_string(), &error))
        })
    }

    fn credentials(&self) -> Arc<[Credential]> {
        let credential = |token: &config::AdminCredential| Credential {
            name: token.name.clone(),
            role: role(token.role),
            owner: token.owner.clone(),
            digest: token.digest,
            expires: token.expires,
        };
        self.core.snapshot.load().admin.tokens.iter().map(credential).collect()
    }

    fn login(&self) -> Option<Arc<LoginRules>> {
        self.core.snapshot.load().admin.login.as_ref().map(|plan| Arc::new(login::rules(plan)))
    }

    fn sign_in_place(&self) -> Work<'_, Result<SignInPlace, NotLoggedIn>> {
        Box::pin(login::place(self.core.clone()))
    }

    fn redeem(&self, redemption: Redemption) -> Work<'_, Result<Person, NotLoggedIn>> {
        Box::pin(login::redeem(self.core.clone(), redemption))
    }

    fn begin_device(&self) -> Work<'_, Result<DeviceLogin, NotLoggedIn>> {
        Box::pin(login::begin_device(self.core.clone()))
    }

    fn ask_device(&self, device_code: String) -> Work<'_, Result<Option<Person>, NotLoggedIn>> {
        Box::pin(login::ask_device(self.core.clone(), device_code))
    }

    fn record_action(&self, author: &str, action: &str, object: &str) {
        let journal = self.core.journal.clone();
        let [author, action, object] = [author, action, object].map(str::to_owned);
        let record = move || record_admin(&journal, &author, &action, &object);
        self.core.background.spawn_blocking(record);
    }

    fn now(&self) -> Timestamp {
        runtime::now().wall
    }

    fn log(&self) -> LogFolder {
        let only_encrypted = !self.core.snapshot.load().audit.packing.recipients.is_empty();
        LogFolder { dir: self.core.addresses.audit_dir.clone(), only_encrypted }
    }

    fn stated_keys(&self) -> Work<'_, Result<Vec<StatedKey>, Unproven>> {
        let dir = self.core.addresses.audit_dir.clone();
        Box::pin(blocking(move || {
            journal::stated_keys(&dir, &Keys::default()).map_err(|error| unproven(&error))
        }))
    }

    fn checkpoint(&self) -> Option<Arc<str>> {
        self.core.journal.checkpoint()
    }

    fn prove(&self, record: u64) -> Work<'_, Result<String, Unproven>> {
        let dir = self.core.addresses.audit_dir.clone();
        Box::pin(blocking(move || {
            journal::prove(&dir, &Keys::default(), record)
                .map(|proof| proof.to_text())
                .map_err(|error| unproven(&error))
        }))
    }

    fn consistency(&self, from: u64, to: Option<u64>) -> Work<'_, Result<Consistency, Unproven>> {
        let dir = self.core.addresses.audit_dir.clone();
        let newest = self.core.journal.checkpoint();
        Box::pin(blocking(move || {
            let found = journal::consistency(&dir, &Keys::default(), newest.as_deref(), from, to)
                .map_err(|error| unproven(&error))?;
            let proof = found.path.iter().map(|hash| STANDARD.encode(hash)).collect();
            Ok(Consistency { from, to: found.to, proof, checkpoint: found.checkpoint })
        }))
    }

    fn rotate_key(&self, author: String) -> Work<'_, Result<String, Unproven>> {
        let journal = self.core.journal.clone();
        Box::pin(blocking(move || {
            let key = journal.rotate_key().map_err(|error| {
                record_admin(&journal, &author, "rotate-key", &format!("refused: {error}"));
                Unproven::Failed(error.to_string())
            })?;
            let key = key.to_string();
            tracing::info!(author, key, "the log is signed with a new key");
            // The KEY record is there in any case; this one says who asked.
            record_admin(&journal, &author, "rotate-key", &key);
            Ok(key)
        }))
    }

    fn erase(
        &self,
        author: String,
        subject: String,
        issuer: Option<String>,
        dry_run: bool,
    ) -> Work<'_, Result<ErasedBodies, Unproven>> {
        let journal = self.core.journal.clone();
        Box::pin(blocking(move || {
            let (subject, issuer) = (subject.into(), issuer.map(Into::into));
            let erasure = Erasure { author: author.into(), issuer, subject };
            if dry_run {
                let counted = journal.count_erasable(&erasure);
                let exchanges = counted.map_err(|error| Unproven::Failed(error.to_string()))?;
                return Ok(ErasedBodies { exchanges, ..ErasedBodies::default() });
            }
            // What is erased says itself who did it.
            let erased = journal.erase(&erasure).map_err(|error| {
                let refused = format!("refused: {}: {error}", erasure.subject);
                record_admin(&journal, &erasure.author, "erase", &refused);
                Unproven::Failed(error.to_string())
            })?;
            tracing::info!(exchanges = erased.exchanges, contents = erased.contents, "bodies were erased");
            Ok(ErasedBodies {
                exchanges: erased.exchanges,
                contents: erased.contents,
                bytes: erased.bytes,
                nonces: erased.nonces,
                encrypted_segments: erased.encrypted_segments,
            })
        }))
    }

    fn drain(&self, author: &str) {
        tracing::info!(author, "a drain was asked for");
        self.core.draining.store(true, Ordering::Relaxed);
        let (core, author) = (self.core.clone(), author.to_owned());
        // Recorded before the process ends.
        self.core.background.spawn_blocking(move || {
            record_admin(&core.journal, &author, "drain", "");
            reload::request_drain(&core);
        });
    }

    fn set_log_level(&self, author: &str, level: &str) -> Result<(), String> {
        let result = logging::set_level(level);
        if result.is_ok() {
            tracing::info!(author, level, "log level changed");
        }
        let object = match &result {
            Ok(()) => level.to_owned(),
            Err(error) => format!("refused: {error}"),
        };
        let (journal, author) = (self.core.journal.clone(), author.to_owned());
        let record = move || record_admin(&journal, &author, "log-level", &object);
        self.core.background.spawn_blocking(record);
        result
    }

    fn approvals(&self, order: Order) -> Work<'_, Result<Answered, Fault>> {
        let core = self.core.clone();
        Box::pin(async move {
            let done = tokio::task::spawn_blocking(move || core.holds.order(order)).await;
            done.unwrap_or_else(|_| Err(Fault::Unavailable("the gateway failed at this".to_owned())))
        })
    }

    fn notify_targets(&self) -> Vec<NotifyTarget> {
        notify::targets(&self.core)
    }

    fn test_notify(&self, author: String, name: String) -> Work<'_, Option<NotifyTried>> {
        Box::pin(notify::test(self.core.clone(), author, name))
    }

    fn editor(&self) -> &dyn admin::Editor {
        &self.editor
    }

    fn events(&self) -> Arc<Events> {
        self.core.holds.events.clone()
    }

    fn archive(&self) -> Result<(Arc<Archive>, u64), archive::Error> {
        let core = &self.core;
        let mut opened = self.archive.lock().unwrap_or_else(PoisonError::into_inner);
        let archive = match &*opened {
            Some(archive) => archive.clone(),
            None => opened.insert(Arc::new(Archive::open(&core.addresses.audit_dir)?)).clone(),
        };
        Ok((archive, core.journal.health().written))
    }

    fn record_read(&self, author: &str, action: &str, object: &str) -> Result<(), String> {
        let access = Access {
            at: runtime::now().wall,
            author: author.into(),
            action: action.into(),
            object: object.into(),
        };
        let recorded = self.core.journal.append_blocking(Commit::Durable, Record::Read(access));
        recorded.map(drop).map_err(|failure| failure.to_string())
    }
}

pub(super) fn role(role: config::AdminRole) -> Role {
    match role {
        config::AdminRole::Viewer => Role::Viewer,
        config::AdminRole::Auditor => Role::Auditor,
        config::AdminRole::Approver => Role::Approver,
    }
}

/// Bytes of what an ADMIN record says it was done to.
const OBJECT_BYTES_MAX: usize = 1_024;

/// Records what an operator did or tried, and what came of it. Blocks.
pub fn record_admin(journal: &journal::Handle, author: &str, action: &str, object: &str) {
    let record = Record::Admin(Access {
        at: runtime::now().wall,
        author: author.into(),
        action: action.into(),
        object: object[..object.floor_char_boundary(OBJECT_BYTES_MAX)].into(),
    });
    if let Err(error) = journal.append_blocking(Commit::Written, record) {
        tracing::error!(%error, author, action, "what an operator did is not recorded");
    }
}

/// Runs what blocks beside the admin thread.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Unproven> + Send + 'static,
) -> Result<T, Unproven> {
    let ended = tokio::task::spawn_blocking(work).await;
    ended.unwrap_or_else(|_| Err(Unproven::Failed("the gateway failed at this".to_owned())))
}

fn unproven(error: &ProveError) -> Unproven {
    match error {
        ProveError::NoCheckpoint
        | ProveError::NotCovered { .. }
        | ProveError::Sizes { .. }
        | ProveError::Erased(_) => Unproven::NotCovered(error.to_string()),
        ProveError::Removed { .. } => Unproven::Removed(error.to_string()),
        ProveError::Encrypted(_) => Unproven::Encrypted(error.to_string()),
        ProveError::Log(_) | ProveError::Contradiction(_) => Unproven::Failed(error.to_string()),
    }
}

/// What is wrong with a configuration, for those who asked for it.
pub(super) fn rejected(path: &str, error: &Error) -> Rejected {
    match error {
        Error::Config(diagnostics) => Rejected {
            message: format!("{path}: {}", reload::summary(diagnostics)),
            text: diagnostic::render_all(diagnostics, Format::Text, false),
            diagnostics: diagnostics
                .iter()
                .filter_map(|diagnostic| serde_json::to_value(diagnostic).ok())
                .collect(),
        },
        other => Rejected { message: other.to_string(), text: other.to_string(), diagnostics: Vec::new() },
    }
}

fn audit(core: &Core) -> AuditStatus {
    let health = core.journal.health();
    AuditStatus {
        dir: core.addresses.audit_dir.display().to_string(),
        sequence: health.written,
        durable_sequence: health.synced,
        signed_through: health.signed_through,
        checkpoint_error: health.checkpoint_failure.clone(),
        queue_depth: health.queue_depth as u64,
        state: if health.failure.is_some() { AuditState::Failed } else { AuditState::Recording },
        disk_bytes: health.room.total,
        disk_available_bytes: health.room.available,
        disk_full: health.level == Level::Full,
        removed_segment: health.removed,
        last_error: health.failure.map(|(failure, said)| format!("{failure}: {said}")),
    }
}

fn limits(core: &Core) -> LimitStatus {
    let capacity = core.world.load().capacity;
    let memory = core.shards.iter().map(|shard| core.metrics.memory(shard.index).0.get().max(0) as u64);
    let hits =
        Limit::ALL.into_iter().map(|limit| (limit.as_str().to_owned(), core.metrics.limit_hits(limit)));
    LimitStatus {
        connections: core.census.open() as u64,
        connections_max: capacity.connections_max as u64,
        memory_bytes: memory.sum(),
        memory_max_bytes: (capacity.memory_bytes * core.shards.len()) as u64,
        hits: hits.filter(|(_, count)| *count > 0).collect(),
    }
}

fn shards(core: &Core) -> Vec<ShardStatus> {
    let status = |shard: &super::shards::Placed| ShardStatus {
        index: shard.index,
        cpu: shard.cpu,
        driver: match shard.driver {
            Driver::IoUring => "io_uring".to_owned(),
            Driver::Epoll => "epoll".to_owned(),
        },
        connections: core.metrics.connections(shard.index).get().max(0) as u64,
        memory_bytes: core.metrics.memory(shard.index).0.get().max(0) as u64,
    };
    core.shards.iter().map(status).collect()
}

fn listeners(core: &Core, snapshot: &config::Snapshot) -> Vec<ListenerStatus> {
    let named = core.addresses.listeners.iter().zip(&snapshot.listeners);
    let status =
        |((name, addr), listener): (&(Arc<str>, std::net::SocketAddr), &config::Listener)| ListenerStatus {
            name: name.to_string(),
            addr: addr.to_string(),
            tls: listener.tls.is_some(),
            certificates: listener.tls.iter().flat_map(|tls| tls.certificates()).map(certificate).collect(),
        };
    named.map(status).collect()
}

fn certificate(certificate: &Certificate) -> CertificateStatus {
    let now = i64::try_from(runtime::now().wall.0 / 1_000_000).unwrap_or(i64::MAX);
    let addresses = certificate.addresses.iter().map(ToString::to_string);
    let end = u64::try_from(certificate.not_after).unwrap_or(0).saturating_mul(1_000_000);
    CertificateStatus {
        names: certificate.dns_names.iter().cloned().chain(addresses).collect(),
        serial: certificate.serial.clone(),
        not_after: Timestamp(end).to_string(),
        expires_s: certificate.not_after - now,
    }
}

pub(super) fn issuers(core: &Core, snapshot: &config::Snapshot) -> Vec<IssuerStatus> {
    let known = core.services.oidc.load().status();
    let status = |issuer: &Arc<crate::identity::Issuer>| {
        let found = known.iter().find(|one| one.url == *issuer.url());
        IssuerStatus {
            name: issuer.name().to_string(),
            issuer: issuer.url().to_string(),
            ready: found.is_some_and(|one| one.is_ready),
            keys: found.map_or(0, |one| one.keys),
            age_s: found.and_then(|one| one.age).map(|age| age.as_secs_f64()),
            last_error: found.and_then(|one| one.last_error.clone()),
        }
    };
    snapshot.plan.issuers.iter().map(status).collect()
}

pub(super) fn secrets(snapshot: &config::Snapshot) -> Vec<SecretStatus> {
    let now = runtime::now().wall;
    let status = |slot: &Arc<crate::secrets::SecretSlot>| SecretStatus {
        name: slot.name().to_string(),
        source: slot.spec().source.to_string(),
        age_s: slot.age(now).map(|age| age.as_secs_f64()),
        last_error: slot.health().failure.as_ref().map(|(_, why)| why.to_string()),
    };
    snapshot.plan.secrets.iter().map(status).collect()
}

fn upstreams(core: &Core, snapshot: &config::Snapshot) -> Vec<UpstreamStatus> {
    let status = |upstream: &Arc<crate::exchange::plan::Upstream>| UpstreamStatus {
        name: upstream.name.to_string(),
        host: upstream.host.clone(),
        addresses: upstream.addresses.load().iter().map(ToString::to_string).collect(),
        via: upstream.via.as_ref().map(|_| proxy(upstream)),
        connections: connections(core, &upstream.name),
        last_error: upstream.resolve_failure.load().as_deref().cloned(),
    };
    snapshot.plan.upstreams.iter().map(status).collect()
}

/// Where the egress proxy of an upstream is.
fn proxy(upstream: &crate::exchange::plan::Upstream) -> String {
    let name = |one: &crate::exchange::plan::Destination| format!("{}:{}", one.host, one.port);
    upstream.destinations.iter().map(name).collect::<Vec<_>>().join(" ")
}

fn connections(core: &Core, name: &str) -> UpstreamConnections {
    let words = Retired::ALL.map(Retired::word);
    let metrics = core.metrics.upstream(name, &words);
    let level = |gauge: &prometheus_client::metrics::gauge::Gauge| gauge.get().max(0) as u64;
    let retired = words.iter().zip(&metrics.retired).map(|(word, count)| ((*word).to_owned(), count.get()));
    UpstreamConnections {
        open: level(&metrics.open),
        idle: level(&metrics.idle),
        waiting: level(&metrics.waiting),
        connected: metrics.connected.get(),
        reused: metrics.reused.get(),
        failed: metrics.failed.get(),
        ejected: level(&metrics.ejected),
        retired: retired.filter(|(_, count)| *count > 0).collect(),
    }
}
