use super::{ClientTls, ServerTls, TlsError};
use crate::runtime::Connection;
use std::time::Duration;

/// What a client's handshake has told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsInfo {
    /// The server name that the client asked for (RFC 6066 section 3), in lower case.
    pub sni: Option<String>,
    /// The agreed application protocol (RFC 7301).
    pub alpn: Option<Vec<u8>>,
    /// `1.2` or `1.3`.
    pub version: &'static str,
}

impl Connection {
    /// Makes a clear-text connection that a client has opened a TLS one.
    ///
    /// # Errors
    /// See [`TlsError`]; the connection is closed, after the alert that says why.
    pub async fn accept_tls(
        self,
        tls: &ServerTls,
        limit: Duration,
    ) -> Result<(Connection, TlsInfo), TlsError> {
        let _ = (tls, limit);
        Err(TlsError::TimedOut)
    }

    /// Makes a clear-text connection that we have opened a TLS one. `server_name` is a DNS name or an IP
    /// address; the server's certificate must be valid for it.
    ///
    /// # Errors
    /// See [`TlsError`]: [`TlsError::Certificate`] with the reason if we refuse the server's certificate.
    pub async fn connect_tls(
        self,
        tls: &ClientTls,
        server_name: &str,
        limit: Duration,
    ) -> Result<Connection, TlsError> {
        let _ = (tls, limit, server_name);
        Err(TlsError::TimedOut)
    }
}
