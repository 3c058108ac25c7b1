//! What runs: the compiled configuration, immutable. A reload makes a new one and swaps it in.

use super::origin::ListenAddr;
use super::{Cores, Diagnostic, Document, Driver, Level, Tree, Tuning};
use crate::approval::Target;
use crate::audit::Commit;
use crate::exchange::plan::Plan;
use crate::identity::Issuer;
use crate::journal::Packing;
use crate::runtime::tls::{ClientTls, ServerTls};
use crate::secrets::{LeaseSource, SecretSlot};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// A configuration that can run.
#[derive(Debug)]
pub struct Snapshot {
    /// What exchanges run on. Its secrets have no values until `background` has read them.
    pub plan: Arc<Plan>,
    /// Where callers connect, in the order of [`Plan::listeners`].
    pub listeners: Vec<Listener>,
    /// Whom to trust, for each of [`Plan::upstreams`]; `None` for clear text.
    pub upstream_tls: Vec<Option<ClientTls>>,
    /// All sources of tokens that are fetched just in time.
    pub leases: Vec<Arc<LeaseSource>>,
    /// The authorities of each of [`Plan::issuers`] in PEM; `None`: the system's. Tables of one issuer share
    /// them.
    pub issuer_roots: Vec<Option<Arc<[u8]>>>,
    /// What does not keep it from running, but should be looked at: certificates that end soon.
    pub warnings: Vec<Diagnostic>,
    pub admin: AdminPlan,
    /// Who is told of what waits for people.
    pub notify: Vec<Arc<Target>>,
    pub audit: AuditPlan,
    pub log: LogPlan,
    pub runtime: RuntimePlan,
    pub capacity: CapacityPlan,
    /// Whether an issuer of the demo is accepted; `run` refuses that.
    pub dev: bool,
    /// What was written, with all defaults.
    pub document: Arc<Document>,
    /// The text that it was made of, with the place of everything. It holds no secret, so it is what CONFIG
    /// records carry.
    pub tree: Tree,
}

/// One listener.
#[derive(Clone, Debug)]
pub struct Listener {
    pub name: Arc<str>,
    pub addr: ListenAddr,
    /// `None`: clear text.
    pub tls: Option<ServerTls>,
}

/// The operators' side.
#[derive(Debug)]
pub struct AdminPlan {
    /// Unix socket of the command line.
    pub socket: PathBuf,
    /// TCP address of the interface.
    pub addr: Option<SocketAddr>,
    /// Certificate chain and key in PEM, for `addr`.
    pub tls: Option<(Vec<u8>, Zeroizing<Vec<u8>>)>,
    /// Names that it answers to: those of the certificate and the configured ones.
    pub hosts: Vec<String>,
    /// Where `/metrics` is served.
    pub metrics: Option<SocketAddr>,
    /// Programs that may log in over `addr`.
    pub tokens: Vec<AdminCredential>,
    /// How people log in over `addr`.
    pub login: Option<LoginPlan>,
}

/// How people log in to the admin interface.
#[derive(Clone, Debug)]
pub struct LoginPlan {
    /// The rules and the keys of its ID tokens; its only audience is our client.
    pub issuer: Arc<Issuer>,
    /// Its authorities in PEM; `None`: the system's.
    pub roots: Option<Arc<[u8]>>,
    /// The client's password; `None` for a public client.
    pub secret: Option<Arc<SecretSlot>>,
    /// Scopes, with spaces between.
    pub scope: Arc<str>,
    /// Scheme, host and port of the interface for browsers, where that is not the host they ask for.
    pub url: Option<Arc<str>>,
    pub idle: Duration,
    pub lifetime: Duration,
    /// Who may do what.
    pub roles: Arc<[LoginRole]>,
}

/// A role of somebody who has logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginRole {
    /// `None`: everything.
    pub role: Option<super::AdminRole>,
    /// `group:NAME` or `user:SUBJECT`.
    pub who: Arc<str>,
    /// The routes that it is bound to; `None`: all.
    pub routes: Option<Arc<[Arc<str>]>>,
}

/// A token of the admin interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminCredential {
    pub name: Arc<str>,
    pub role: super::AdminRole,
    /// The human who bears it.
    pub owner: Option<Arc<str>>,
    /// SHA-256 of the token.
    pub digest: [u8; 32],
    pub expires: Option<crate::time::Timestamp>,
}

/// Where and how records are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditPlan {
    pub dir: PathBuf,
    /// File of the key that signs the log.
    pub key: PathBuf,
    /// Default of the routes.
    pub commit: Commit,
    pub segment_bytes: u64,
    /// What becomes of sealed segments.
    pub packing: Packing,
    /// What the configuration says of it; the journal is opened with it.
    pub keep: Option<std::time::Duration>,
    pub max: Option<super::Share>,
    pub disk_warn_percent: u8,
    pub disk_refuse_percent: u8,
}

/// Where the access log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLog {
    Stdout,
    Off,
    File(PathBuf),
}

/// What is logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPlan {
    pub access: AccessLog,
    pub level: Level,
}

/// What all callers together may take, as far as it was configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CapacityPlan {
    /// Open connections; `None`: as the descriptors allow.
    pub connections_max: Option<usize>,
    /// Memory for connections and bodies, all shards together; `None`: as the host has.
    pub memory_bytes: Option<u64>,
    /// How much of a shard's queue into the journal one agent may fill.
    pub agent_share_percent: u8,
    /// REFUSALs of one unproven caller that are recorded one by one.
    pub refusals_per_second: u32,
}

/// Shards and their driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimePlan {
    pub cores: Cores,
    pub driver: Driver,
    /// How long a stop waits for exchanges in flight.
    pub drain: Duration,
    pub tuning: Tuning,
}
