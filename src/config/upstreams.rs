//! `[upstreams.NAME]`: where requests go.

use super::value::{OneOrMany, one_or_many};
use super::{Period, TlsVersion};
use crate::limits;
use crate::secrets::{self, Template};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A server that requests are forwarded to.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Upstream {
    /// Scheme, host and port, such as "https://api.anthropic.com". A path is put in front
    /// of every request's. No user, no query.
    pub url: String,
    /// What it speaks: decides how bodies are read and how refusals look.
    #[serde(default)]
    pub protocol: Protocol,
    /// Where to connect instead of what the host of `url` resolves to: hosts with their ports, such as
    /// "10.0.0.7:8443". Connections take turns, and an address that fails is set aside for a while.
    /// Certificates are checked against the host of `url` all the same.
    #[serde(default, deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "OneOrMany<String>")]
    pub addresses: Vec<String>,
    /// Blocks of addresses that its names may lead to although no name may otherwise: link-local ones, and
    /// those of the metadata services of clouds.
    #[serde(default, deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "OneOrMany<String>")]
    pub allow_addresses: Vec<String>,
    /// HTTP proxy that opens a tunnel with CONNECT for each connection, such as "http://proxy.internal:3128".
    /// Proxies of the environment are never used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<String>,
    /// What the proxy of `via` is told of who we are, as `Proxy-Authorization`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via_authorization: Option<Authorization>,
    /// Headers that the gateway sets, with the credential. The caller's own are always removed.
    #[serde(default, deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "OneOrMany<Inject>")]
    pub inject: Vec<Inject>,
    /// How long to wait for what.
    #[serde(default)]
    pub timeout: Timeouts,
    /// How many connections are made and kept.
    #[serde(default)]
    pub pool: Pool,
    /// How its certificate is checked, where not by the system's authorities and the name in `url`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<UpstreamTls>,
}

/// What an upstream speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Plain HTTP: every path, refusals as `application/problem+json`.
    #[default]
    Http,
    /// The Anthropic Messages API.
    Anthropic,
    /// The OpenAI API and what is compatible with it.
    Openai,
    /// The Model Context Protocol.
    Mcp,
}

/// A header that the gateway sets on the way to the upstream.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Inject {
    /// Name of the header.
    pub header: String,
    /// Its value: text around `${secret:NAME}`, such as "Bearer ${secret:api}".
    pub value: String,
    /// User of HTTP Basic authentication (RFC 7617); `value` is then the password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic_user: Option<String>,
}

/// A credential that stands alone.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Authorization {
    /// The value: text around `${secret:NAME}`, such as "Bearer ${secret:proxy}".
    pub value: String,
    /// User of HTTP Basic authentication (RFC 7617); `value` is then the password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic_user: Option<String>,
}

impl Authorization {
    /// The template of the value.
    ///
    /// # Errors
    /// As [`Template::parse`] and [`Template::basic`]; the operator is at fault.
    pub fn template(&self) -> Result<Template, secrets::Error> {
        match &self.basic_user {
            Some(user) => Template::basic(user, &self.value),
            None => Template::parse(&self.value),
        }
    }
}

/// Connections to an upstream. They are made when requests need them and kept for the next ones.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[serde(default)]
pub struct Pool {
    /// An idle connection is closed after this time; it should be less than the server's own.
    pub idle: Period,
    /// Idle connections that each shard keeps.
    pub max_idle: u32,
    /// A connection that is older carries no further request.
    pub max_age: Period,
    /// Connections at once, idle ones included. Each shard has an equal share, at least one.
    pub max_connections: u32,
    /// Requests that wait while there are as many; more are answered 503 `overloaded`.
    pub max_waiting: u32,
    /// How long they wait before they are answered so.
    pub wait: Period,
}

impl Default for Pool {
    fn default() -> Pool {
        Pool {
            idle: Period(limits::POOL_IDLE_TIMEOUT),
            max_idle: limits::POOL_IDLE_MAX as u32,
            max_age: Period(limits::POOL_AGE_MAX),
            max_connections: limits::POOL_CONNECTIONS_MAX as u32,
            max_waiting: limits::POOL_WAITING_MAX as u32,
            wait: Period(limits::POOL_WAIT_TIMEOUT),
        }
    }
}

/// How long to wait for an upstream.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[serde(default)]
pub struct Timeouts {
    /// For a connection: over all addresses together, with tunnel and TLS handshake.
    pub connect: Period,
    /// From the end of the request to the first byte of the answer.
    pub first_byte: Period,
    /// For silence within the answer.
    pub idle: Period,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            connect: Period(limits::CONNECT_TIMEOUT),
            first_byte: Period(limits::FIRST_BYTE_TIMEOUT),
            idle: Period(limits::RESPONSE_IDLE_TIMEOUT),
        }
    }
}

/// How an upstream's certificate is checked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[serde(default)]
pub struct UpstreamTls {
    /// Certificates in PEM that may sign the server's, instead of the system's authorities.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<CaSource>,
    /// Name or IP address that the certificate must be valid for, and that the server is asked for (SNI).
    /// Default: the host in `url`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// Oldest version of TLS that is spoken.
    #[serde(skip_serializing_if = "TlsVersion::is_default")]
    pub min_version: TlsVersion,
}

/// Whom to trust instead of the system's certificate authorities.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct EndpointTls {
    /// Certificates in PEM that may sign the server's, instead of the system's authorities.
    pub ca: CaSource,
}

/// Where a certificate authority is read from.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct CaSource {
    /// A file.
    pub file: PathBuf,
}
