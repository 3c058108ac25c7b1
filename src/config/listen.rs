//! `[[listen]]`: where callers connect.

use super::value::{OneOrMany, one_or_many};
use crate::http::proxy_protocol::Version;
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
    pub tls: Option<ListenTls>,
    /// Who says where callers are when a load balancer or proxy stands in front. Their address goes into
    /// records, logs, limits and `X-Forwarded-For`; without this it is that of whoever connects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_address: Option<ClientAddress>,
}

/// Who is believed about the address of callers: either `proxy_protocol` or `header`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ClientAddress {
    /// Every connection begins with a PROXY header of this version, before TLS. Peers that are not in `from`
    /// are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyProtocol>,
    /// Field that lists the hops, such as "x-forwarded-for": the right-most one that is not in `from` is the
    /// caller. It is ignored on connections of peers that are not in `from`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// Addresses of the proxies, such as "10.0.0.0/8".
    #[serde(default, deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "OneOrMany<String>")]
    pub from: Vec<String>,
}

/// Version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProxyProtocol {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

impl From<ProxyProtocol> for Version {
    fn from(written: ProxyProtocol) -> Version {
        match written {
            ProxyProtocol::V1 => Version::V1,
            ProxyProtocol::V2 => Version::V2,
        }
    }
}

/// Certificates of a listener and who gets which.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ListenTls {
    /// Certificate chain in PEM, the server's own first. Who asks for no name, or for one that no certificate
    /// covers, gets this one; without it the first of `certs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert: Option<KeySource>,
    /// Private key of `cert` in PEM. The file must not be readable by others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeySource>,
    /// More certificates. The name that a client asks for (SNI) decides, exactly or by a wildcard for its
    /// first label; of several that fit the first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certs: Vec<ServerTls>,
    /// What happens to a client that asks for a name which no certificate covers.
    #[serde(default, skip_serializing_if = "UnknownSni::is_default")]
    pub unknown_sni: UnknownSni,
    /// Oldest version of TLS that is spoken.
    #[serde(default, skip_serializing_if = "TlsVersion::is_default")]
    pub min_version: TlsVersion,
}

/// What happens to a client that asks for a name which no certificate covers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnknownSni {
    /// It gets the first certificate, and decides itself.
    #[default]
    Default,
    /// It is refused with an alert. Who asks for no name is not.
    Reject,
}

impl UnknownSni {
    fn is_default(&self) -> bool {
        *self == UnknownSni::Default
    }
}

/// A version of TLS. Older ones are not spoken (RFC 8996).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum TlsVersion {
    /// TLS 1.2, and newer ones.
    #[default]
    #[serde(rename = "1.2")]
    Tls12,
    /// TLS 1.3 (RFC 8446).
    #[serde(rename = "1.3")]
    Tls13,
}

impl TlsVersion {
    pub(super) fn is_default(&self) -> bool {
        *self == TlsVersion::default()
    }
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
