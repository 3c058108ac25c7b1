//! The operators' side of the process: health, status, metrics, reload, drain. Runs on tokio, beside the data
//! plane.
//!
//! Closed by default (SECURITY, UX section 5): whoever may open the unix socket may do everything, and the
//! kernel says who it is; TCP tells only whether the process lives and is ready, until a login or a token
//! exists, and then what the roles of its bearer grant; metrics have a listener of their own on loopback.
//! This is not the data plane: no caller's request comes here, and it decides nothing about one. Start at
//! [`serve`], then `routes` for what is served, `access` for whom, `login` for people, and `door` for how.

mod access;
mod approvals;
mod audit;
mod configured;
mod control;
mod door;
mod editor;
mod endpoint;
mod events;
mod explain;
mod files;
mod host;
mod login;
mod notify;
mod openapi;
mod problem;
mod routes;
mod segments;
mod server;
mod sessions;
mod socket;
mod status;
mod stream;
#[cfg(test)]
mod tests;
mod trials;
mod ui;

pub use access::{Credential, Role};
pub use audit::{Consistency, ErasedBodies, Unproven};
pub use configured::{
    Configured, ConfiguredFile, ConfiguredIdentities, ConfiguredIssuer, ConfiguredPolicies, ConfiguredPolicy,
    ConfiguredRoute, ConfiguredSecret, ConfiguredSecrets, PolicyUse,
};
pub use control::{Control, Rejected, Reloaded, Work};
pub use editor::{ConfigFile, Connection, Edit, EditFault, Edited, Editor, Expected, Folder};
pub use events::{Event, Events};
pub use explain::{Condition, Decided, OnTrial};
pub use login::{DeviceLogin, LoginRules, NotLoggedIn, Person, Redemption, RoleRule, SignInPlace};
pub use notify::{NotifyTarget, NotifyTargets, NotifyTried};
pub use segments::{LogFolder, OfferedSegment, Offers, SEGMENT_NAME, StatedKeys};
pub use server::Server;
pub use status::{
    AuditState, AuditStatus, CertificateStatus, Check, ConfigStatus, IssuerStatus, LimitStatus,
    ListenerStatus, Readiness, RequestStatus, SecretStatus, ShardStatus, Status, UpstreamConnections,
    UpstreamStatus,
};
pub use trials::{
    Candidate, Difference, ImaginedCaller, ImaginedRequest, ReplayFault, Replayed, Side, Trial, Tried,
};

use crate::metrics::Metrics;
use std::{future::Future, net::SocketAddr, net::TcpListener, path::PathBuf, sync::Arc};

/// What the admin side runs on. Without a socket and listeners it serves nothing.
pub struct Parts {
    pub control: Arc<dyn Control>,
    pub metrics: Arc<Metrics>,
    /// Unix socket for local operators. Its directory is made if only that is missing.
    pub socket: Option<PathBuf>,
    /// The admin port, bound and listening.
    pub tcp: Option<TcpListener>,
    /// Certificate and key of the admin port; required off loopback.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Names that the admin port answers to beside loopback and its own address: `gw.example.com`, with a
    /// port if it differs from the listener's.
    pub hosts: Vec<String>,
    /// The port of `/metrics` on loopback, bound and listening.
    pub metrics_listener: Option<TcpListener>,
}

/// Why the admin side cannot start: always the operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process serves on the socket.
    #[error("{}: another process listens there; is the gateway already running?", .0.display())]
    SocketInUse(PathBuf),
    /// Something that is no socket has the socket's name; it is left alone.
    #[error("{}: exists and is not a socket; remove it or set `admin.socket`", .0.display())]
    NotASocket(PathBuf),
    /// The socket cannot be made.
    #[error("{}: cannot make the admin socket: {source}", path.display())]
    Socket {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// The admin port would be open to a network without TLS.
    #[error("admin address {0} is not on loopback: set `admin.tls`, or bind it to 127.0.0.1")]
    PlainOffLoopback(SocketAddr),
    /// The metrics port would be open to a network.
    #[error("metrics address {0} is not on loopback: bind it to 127.0.0.1")]
    MetricsOffLoopback(SocketAddr),
    /// A listener that was handed in cannot be used.
    #[error("the {what} listener cannot be used: {source}")]
    Listener {
        what: &'static str,
        #[source]
        source: std::io::Error,
    },
}

/// Opens everything, serves until `stop`, lets the requests under way end, and removes the socket. To know of
/// an [`Error`] before the rest of the process starts, use [`Server::bind`].
///
/// # Errors
/// See [`Error`]; nothing was served then.
pub async fn serve(parts: Parts, stop: impl Future<Output = ()>) -> Result<(), Error> {
    Server::bind(parts)?.run(stop).await
}
