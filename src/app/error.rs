use crate::config::Diagnostic;
use std::{io, net::SocketAddr, path::PathBuf};

/// Why a gateway does not start, or keeps its old configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration is wrong; the operator is at fault.
    #[error("the configuration is invalid")]
    Config(Vec<Diagnostic>),
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    /// An issuer with `dev = true` outside of the demo.
    #[error("an issuer with `dev = true` is for the demo alone: remove it from the configuration")]
    DevIssuer,
    /// A listener cannot be bound.
    #[error("listener \"{name}\" cannot listen on {address}: {source}{}", hint(source))]
    Bind { name: String, address: SocketAddr, source: io::Error },
    /// A socket of socket activation is missing.
    #[error("listener \"{name}\" wants the socket \"{socket}\", but systemd handed none of that name over")]
    NoSocket { name: String, socket: String },
    /// The audit journal cannot be opened.
    #[error(transparent)]
    Journal(#[from] crate::journal::OpenError),
    /// The first record cannot be written.
    #[error("the audit journal does not record: {0}")]
    Record(crate::journal::Failure),
    /// What people decided before cannot be read, or nothing new of it kept.
    #[error("requests cannot be held for approval: {0}")]
    Approvals(String),
    /// The admin side does not start.
    #[error("the admin interface does not start: {0}")]
    Admin(String),
    /// io_uring is asked for but not to be had.
    #[error("runtime.driver = \"io_uring\", but {0}; write \"auto\" to fall back to epoll")]
    Driver(String),
    /// Threads are to run where they may not.
    #[error("{what}: this process may not run on CPU {cpu}; it may on {allowed:?}")]
    Cpu { what: &'static str, cpu: usize, allowed: Vec<usize> },
    /// A reload changes what only a restart can change.
    #[error("{0} cannot change while running: restart the gateway for that")]
    NeedsRestart(&'static str),
    /// The host does not give what is needed.
    #[error("{what}: {source}")]
    Host { what: &'static str, source: io::Error },
    /// The HTTP client of the background cannot be made.
    #[error("the client for issuers and token endpoints cannot be made: {0}")]
    Client(String),
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "; another process has this port",
        io::ErrorKind::PermissionDenied => "; ports below 1024 need CAP_NET_BIND_SERVICE",
        io::ErrorKind::AddrNotAvailable => "; no interface of this host has this address",
        _ => "",
    }
}
