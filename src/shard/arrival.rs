//! Whose connection it is: its peer's, or that of whom a trusted proxy names before the first byte.

use super::Shard;
use crate::{
    http::{
        client_address::ClientAddress,
        proxy_protocol::{self, Header},
    },
    limits::HANDSHAKE_TIMEOUT,
    runtime::{self, Connection},
};
use std::{net::SocketAddr, rc::Rc};

/// A connection and the address that counts for it.
pub struct Located {
    pub connection: Connection,
    /// Where the caller is: what limits, records and logs go by.
    pub client: SocketAddr,
    /// The proxy that said so.
    pub via: Option<SocketAddr>,
}

/// Reads the PROXY header where `rule` demands one. `None`: the connection is refused, because its peer may
/// not speak for others, or does not send a header in time.
pub async fn locate(
    shard: &Rc<Shard>,
    rule: &ClientAddress,
    connection: Connection,
    peer: SocketAddr,
) -> Option<Located> {
    let ClientAddress::Proxy { version, .. } = rule else {
        return Some(Located { connection, client: peer, via: None });
    };
    let refused = |why: &dyn std::fmt::Display| {
        shard.metrics.proxy_headers_refused.inc();
        tracing::debug!(%peer, %why, "connection refused: no acceptable PROXY header");
        None
    };
    if !rule.is_proxy(peer.ip()) {
        return refused(&"the peer is not among the proxies");
    }
    match runtime::timeout(HANDSHAKE_TIMEOUT, header(connection, *version)).await {
        Some(Ok((connection, Some(client)))) => Some(Located { connection, client, via: Some(peer) }),
        // The proxy speaks for itself: it looks whether the gateway lives.
        Some(Ok((connection, None))) => Some(Located { connection, client: peer, via: None }),
        Some(Err(why)) => refused(&why),
        None => refused(&"it did not come in time"),
    }
}

/// Reads one header; what follows it stays in the connection.
async fn header(
    mut connection: Connection,
    version: proxy_protocol::Version,
) -> Result<(Connection, Option<SocketAddr>), String> {
    let gone = || "the connection ended before it".to_owned();
    let mut buffer = connection.reader.read().await.map_err(|_| gone())?.ok_or_else(gone)?;
    loop {
        match proxy_protocol::parse(version, &buffer).map_err(|error| error.to_string())? {
            Some(Header { source, length }) => {
                drop(buffer.split_to(length));
                if !buffer.is_empty() {
                    connection.reader.unread(buffer);
                }
                return Ok((connection, source));
            }
            None => {
                buffer = connection.reader.read_more(buffer).await.map_err(|_| gone())?.ok_or_else(gone)?
            }
        }
    }
}
