//! `[[listen]]`: where callers connect.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// One address that callers connect to.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Listen {
    /// Name that routes use.
    pub name: String,
    /// IP address and port such as "127.0.0.1:8443", or "fd:NAME" for a socket that systemd passes.
    pub addr: String,
    /// Certificate and key. Without it callers talk clear text, which belongs on loopback only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ServerTls>,
}

/// Certificate and key of a server.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ServerTls {
    /// Certificate chain in PEM, the server's own first.
    pub cert: KeySource,
    /// Private key in PEM. The file must not be readable by others.
    pub key: KeySource,
}

/// Where a certificate or a key is read from.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[serde(rename_all = "snake_case")]
pub enum KeySource {
    /// A file.
    File(PathBuf),
    /// A credential of the systemd unit: a file in `$CREDENTIALS_DIRECTORY`.
    Credential(String),
}
