//! Connections to upstreams: out of the pool, or fresh.

use super::{
    Shard,
    http1::{self, Deadlines, OriginInput, OriginOutput},
};
use crate::{
    exchange::{
        Cause,
        handover::{Errand, Work},
        plan::Upstream,
    },
    runtime::{
        self, Connection,
        tls::{ClientTls, TlsError},
    },
    secrets::Lease,
};
use std::{io, net::SocketAddr, rc::Rc, time::Duration};

/// A connection to an upstream, ready for a request.
pub struct Origin {
    pub input: OriginInput,
    pub output: OriginOutput,
    pub deadlines: Deadlines,
    /// Whether it came out of the pool: the peer may have closed it in this very moment.
    pub reused: bool,
}

impl Origin {
    fn new(connection: Connection, reused: bool) -> Origin {
        let (input, output, deadlines) = http1::origin_halves(connection);
        Origin { input, output, deadlines, reused }
    }
}

/// A connection to `upstream`: an idle one that still lives, unless `fresh` is asked for.
///
/// # Errors
/// No address answers, or the upstream's certificate is refused.
pub async fn open(
    shard: &Rc<Shard>,
    upstream: &Upstream,
    tls: Option<&ClientTls>,
    fresh: bool,
) -> Result<Origin, Cause> {
    if !fresh && let Some(connection) = reusable(shard, upstream) {
        shard.metrics.upstream_reused.inc();
        return Ok(Origin::new(connection, true));
    }
    let connection = connect(shard, upstream, tls).await?;
    shard.metrics.upstream_connected.inc();
    Ok(Origin::new(connection, false))
}

/// An idle connection on which nothing has happened: neither its end nor a byte that nobody asked for.
fn reusable(shard: &Rc<Shard>, upstream: &Upstream) -> Option<Connection> {
    loop {
        let mut connection = shard.pool.borrow_mut().take(upstream.key)?;
        if !connection.reader.is_ready() {
            return Some(connection);
        }
    }
}

/// Gives a connection back for the next exchange, if its last answer was whole. A read is left pending on it:
/// it is the one that notices when the peer closes, or receives the next response.
pub fn keep(shard: &Rc<Shard>, upstream: &Upstream, input: OriginInput, output: OriginOutput) {
    let Some(mut connection) = http1::reunite(input, output) else { return };
    connection.reader.start();
    let overflow = shard.pool.borrow_mut().put(upstream.key, connection, runtime::now().instant);
    drop(overflow);
}

/// Hands a lease to the background thread, which revokes it.
pub fn release(shard: &Rc<Shard>, lease: Lease) {
    let errand = Errand { shard: shard.index, ticket: 0, work: Work::Release(lease) };
    if shard.errands.send(errand).is_err() {
        shard.metrics.leases_unrevoked.inc();
        tracing::warn!(shard = shard.index, "a lease could not be handed over to be revoked; it will expire");
    }
}

async fn connect(
    shard: &Rc<Shard>,
    upstream: &Upstream,
    tls: Option<&ClientTls>,
) -> Result<Connection, Cause> {
    let addresses = upstream.addresses.load_full();
    if addresses.is_empty() {
        return Err(Cause::Unreachable(format!("the name \"{}\" does not resolve", upstream.host)));
    }
    let mut last = None;
    for address in addresses.iter() {
        match runtime::connect(*address, upstream.timeouts.connect).await {
            Ok(connection) => return secure(shard, upstream, tls, connection).await,
            Err(error) => last = Some((*address, error)),
        }
    }
    Err(last
        .map_or(Cause::Closed, |(address, error)| unreachable_at(address, &error, upstream.timeouts.connect)))
}

async fn secure(
    shard: &Rc<Shard>,
    upstream: &Upstream,
    tls: Option<&ClientTls>,
    connection: Connection,
) -> Result<Connection, Cause> {
    shard.sweeper.register(&connection.control);
    if !upstream.tls {
        return Ok(connection);
    }
    let Some(tls) = tls else { return Err(Cause::Tls("no TLS settings for this upstream".to_owned())) };
    let result = connection.connect_tls(tls, &upstream.server_name, upstream.timeouts.connect).await;
    result.map_err(|error| match error {
        TlsError::Certificate(reason) => Cause::Tls(reason.to_string()),
        other => Cause::Tls(other.to_string()),
    })
}

fn unreachable_at(address: SocketAddr, error: &io::Error, timeout: Duration) -> Cause {
    if error.kind() == io::ErrorKind::TimedOut {
        return Cause::Unreachable(format!("{address} did not accept within {} ms", timeout.as_millis()));
    }
    Cause::Unreachable(format!("{address}: {error}"))
}
