//! `[upstreams.NAME]`: where requests go.

use super::value::{OneOrMany, one_or_many};
use super::{Period, TlsVersion};
use crate::limits;
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
    /// Headers that the gateway sets, with the credential. The caller's own are always removed.
    #[serde(default, deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "OneOrMany<Inject>")]
    pub inject: Vec<Inject>,
    /// How long to wait for what.
    #[serde(default)]
    pub timeout: Timeouts,
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

/// How long to wait for an upstream.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[serde(default)]
pub struct Timeouts {
    /// For the connection with its TLS handshake.
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
