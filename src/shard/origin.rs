//! Connections to upstreams: out of the pool, or fresh.

use super::{
    Shard,
    http1::{self, OriginInput, OriginOutput},
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
    /// Whether it came out of the pool: the peer may have closed it in this very moment.
    pub reused: bool,
}

/// A connection that waits for its next request, in the pool.
pub struct Resting {
    input: OriginInput,
    output: OriginOutput,
}

impl Resting {
    /// Whether something happened on it: neither its end nor a byte that nobody asked for is wanted.
    pub fn is_disturbed(&mut self) -> bool {
        self.input.is_disturbed()
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
    if !fresh && let Some(Resting { mut input, output }) = reusable(shard, upstream) {
        shard.counts.upstream_reused.add(1);
        input.begin();
        return Ok(Origin { input, output, reused: true });
    }
    // Rare, and its future is large: the one of an exchange need not hold it.
    let connection = Box::pin(connect(shard, upstream, tls)).await?;
    shard.counts.upstream_connected.add(1);
    let (input, output) = http1::origin_halves(connection);
    Ok(Origin { input, output, reused: false })
}

/// An idle connection on which nothing has happened: neither its end nor a byte that nobody asked for.
fn reusable(shard: &Rc<Shard>, upstream: &Upstream) -> Option<Resting> {
    loop {
        let mut resting = shard.pool.borrow_mut().take(upstream.key)?;
        if !resting.is_disturbed() {
            return Some(resting);
        }
    }
}

/// Gives a connection back for the next exchange, if its last answer was whole.
pub fn keep(shard: &Rc<Shard>, upstream: &Upstream, mut input: OriginInput, output: OriginOutput) {
    if !http1::is_reusable(&input) {
        return;
    }
    input.rest();
    let resting = Resting { input, output };
    let overflow = shard.pool.borrow_mut().put(upstream.key, resting, runtime::recent().instant);
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
