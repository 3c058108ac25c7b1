//! `[admin]`: the operators' side. Never the port that callers use.

use super::ServerTls;
use super::value::{OneOrMany, one_or_many};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The port and socket for operators, and metrics.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[serde(default)]
pub struct Admin {
    /// Unix socket that the command line talks to. Default: `ringward/admin.sock` in `$XDG_RUNTIME_DIR`, else
    /// `/run/ringward/admin.sock`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub socket: Option<PathBuf>,
    /// IP address and port of the admin interface, such as "127.0.0.1:8444". Without a configured login it
    /// serves `/livez` and `/readyz` only. Absent: no TCP port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub addr: Option<String>,
    /// Certificate and key of the admin interface; required off loopback.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<ServerTls>,
    /// IP address and port on loopback that serves `/metrics` for Prometheus. Absent: no metrics port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<String>,
    /// Who may do what.
    pub roles: Roles,
}

/// Who may do what: `group:NAME`, `user:SUBJECT` (of a configured login) or `local:UID` (over the socket).
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[serde(default)]
pub struct Roles {
    /// Who may approve or deny what is held.
    #[serde(deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "OneOrMany<String>")]
    pub approver: Vec<String>,
}
