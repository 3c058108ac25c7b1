//! `[secrets.NAME]`: where a credential comes from. The value itself never stands in the file.

use super::{EndpointTls, Period};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A credential.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Secret {
    /// Where it comes from.
    pub source: Source,
    /// How often it is read again. Absent: at start and at reload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh: Option<Period>,
    /// Whether answers of an upstream that gets this secret are searched for it. Secrets under 12 bytes are
    /// refused unless this is false.
    #[serde(default = "yes")]
    pub scrub: bool,
}

fn yes() -> bool {
    true
}

/// Where a credential comes from.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[serde(untagged)]
pub enum Source {
    /// A variable of the environment.
    Env {
        /// Name of the variable of the environment that holds it.
        env: String,
    },
    /// A file; one final line end is cut off.
    File {
        /// File that holds it; must not be readable by others. One final line end is cut off.
        file: PathBuf,
    },
    /// A credential of the systemd unit.
    Credential {
        /// Name of the file in `$CREDENTIALS_DIRECTORY` that holds it.
        credential: String,
    },
    /// The output of a command.
    Exec {
        /// Command that prints it: an absolute path, then arguments. It gets an empty environment and 10 s.
        exec: Vec<String>,
    },
    /// A short-lived token, fetched for one exchange and revoked at its end.
    Exchange(ExchangeSource),
}

/// A short-lived token, fetched just in time from a token endpoint (RFC 6749, RFC 8693).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ExchangeSource {
    /// How the token is asked for.
    pub exchange: ExchangeKind,
    /// Token endpoint (RFC 6749 section 3.2). Must be https, but on loopback.
    pub token_endpoint: String,
    /// Client id of the gateway at the token endpoint.
    pub client_id: String,
    /// Name of the secret that holds the client's password.
    pub client_secret: String,
    /// How the gateway proves who it is there.
    #[serde(default)]
    pub client_auth: ClientAuth,
    /// The `audience` that is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// The `resource` that is asked for (RFC 8707).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// The `scope` that is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Life of a token whose answer has no `expires_in`; absent: such an answer is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lifetime_default: Option<Period>,
    /// Where the token is revoked at the end of the exchange (RFC 7009).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoke_endpoint: Option<String>,
    /// Certificate authority of the endpoint, where it is not one of the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<EndpointTls>,
}

/// How a short-lived token is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExchangeKind {
    /// RFC 6749 section 4.4: the gateway asks in its own name.
    ClientCredentials,
    /// RFC 8693: the caller's token is exchanged for one that the upstream accepts.
    Rfc8693,
}

/// How the gateway proves who it is to a token endpoint (RFC 6749 section 2.3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuth {
    /// `Authorization: Basic`.
    #[default]
    Basic,
    /// `client_id` and `client_secret` in the body.
    Post,
}
