//! `[admin]`: the operators' side. Never the port that callers use.

use super::value::{OneOrMany, one_or_many};
use super::{Login, Roles, ServerTls};
use crate::time::Timestamp;
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
    /// IP address and port of the admin interface, such as "127.0.0.1:8444". Without a `login` or a
    /// `token` it serves `/livez` and `/readyz` only. Absent: no TCP port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub addr: Option<String>,
    /// Certificate and key of the admin interface; required off loopback, and with a `token`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<ServerTls>,
    /// Names that the admin interface answers to beside loopback, its own address and the names in its
    /// certificate, such as "gw.example.com"; with a port if it is not that of `addr`.
    #[serde(deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "OneOrMany<String>")]
    pub hosts: Vec<String>,
    /// IP address and port on loopback that serves `/metrics` for Prometheus. Absent: no metrics port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<String>,
    /// How people log in with their browser. Absent: they do not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub login: Option<Login>,
    /// Who may do what.
    pub roles: Roles,
    /// Programs that may log in to the admin interface, each with a token of its own. `ringward audit
    /// credential NAME` makes one. They follow a reload: a token whose table is gone opens nothing any more.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub token: Vec<AdminToken>,
}

/// A token of the admin interface: its digest, never the token.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct AdminToken {
    /// What records call its bearer: `token:NAME`.
    pub name: String,
    /// What its bearer may do.
    pub role: AdminRole,
    /// `sha256:` and the SHA-256 of the token in 64 hexadecimal digits.
    pub hash: String,
    /// The human who bears it, as the `owner` claim of callers names them: who owns a caller does not approve
    /// its requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// When it ends, such as "2027-11-22" or "2027-11-22T09:30:00Z", in UTC. Absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
}

/// What the bearer of a token may do. Nobody changes how the gateway works with one: that takes the socket,
/// or a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AdminRole {
    /// See how the gateway is: status, version, metrics.
    Viewer,
    /// Read recordings and the audit log: heads, proofs, keys and sealed segments.
    Auditor,
    /// Decide about requests that wait: see them, approve, deny, take grants away.
    Approver,
}

impl AdminToken {
    /// The digest that `hash` spells; `None` if it is none.
    pub fn digest(&self) -> Option<[u8; 32]> {
        let digits = self.hash.strip_prefix("sha256:")?.as_bytes();
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let (pairs, rest) = digits.as_chunks::<2>();
        let bytes: Option<Vec<u8>> =
            pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect();
        bytes.filter(|_| rest.is_empty())?.try_into().ok()
    }

    /// When it ends; `None` where it never does, or `expires` is no time: the check of the document says so.
    pub fn expiry(&self) -> Option<Timestamp> {
        self.expires.as_deref().and_then(|text| text.parse().ok())
    }
}
