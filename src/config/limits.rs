//! `[limits]`: what one caller, and all of them together, may take of time, connections and memory.

use super::{Period, Size};
use crate::limits;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Time, connections and memory that callers may take.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[serde(default)]
pub struct Limits {
    /// From the first byte of a request's head to its last. From "100ms" to "10m".
    pub header_timeout: Period,
    /// Silence within a request's body. From "100ms" to "1h".
    pub body_idle: Period,
    /// Bytes a second that a request's body must come with, once `body_rate_grace` was spent waiting for it.
    /// Time in which the upstream does not take them does not count. "0B" asks for none.
    pub body_rate_min: Size,
    /// Waiting for a request's body that `body_rate_min` does not count. From "100ms" to "10m".
    pub body_rate_grace: Period,
    /// How long a connection may wait for its next request. From "100ms" to "1h".
    pub keep_alive: Period,
    /// For the TLS handshake of a caller. From "100ms" to "1m".
    pub tls_handshake: Period,
    /// For a caller to take one piece of an answer, at most 64 KiB. From "100ms" to "1h".
    pub write_timeout: Period,
    /// Open connections of all callers together; more are answered 503. Without it as many as the
    /// process may have descriptors for, with one to an upstream each, less a reserve for the
    /// operators' side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub connections_max: Option<u32>,
    /// Open connections of one address (IPv6: of one /64 network); more are answered 503. 0 sets no
    /// limit. Without it 256, and none for callers on this host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub connections_per_address: Option<u32>,
    /// Memory that connections and bodies may take, all shards together. At three quarters of it idle
    /// connections are closed and new ones are answered 503; what would go beyond it is refused.
    /// From "16MiB". Without it a quarter of what the host, or its control group, has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Size>,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            header_timeout: Period(limits::HEAD_READ_TIMEOUT),
            body_idle: Period(limits::BODY_IDLE_TIMEOUT),
            body_rate_min: Size(limits::BODY_RATE_MIN),
            body_rate_grace: Period(limits::BODY_RATE_GRACE),
            keep_alive: Period(limits::KEEP_ALIVE_TIMEOUT),
            tls_handshake: Period(limits::HANDSHAKE_TIMEOUT),
            write_timeout: Period(limits::WRITE_STALL_TIMEOUT),
            connections_max: None,
            connections_per_address: None,
            memory: None,
        }
    }
}
