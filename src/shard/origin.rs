//! Connections to upstreams: out of the pool, or fresh.

use super::{
    Shard, World, dial,
    http1::{self, OriginInput, OriginOutput},
    upstreams::{Place, Server, Turn},
};
use crate::{
    exchange::{
        Cause,
        handover::{Errand, Errands, Work},
    },
    runtime,
    secrets::Lease,
};
use std::rc::Rc;

/// A connection to an upstream, ready for a request.
pub struct Origin {
    pub input: Box<OriginInput>,
    pub output: Box<OriginOutput>,
    /// Whether it came out of the pool: the peer may have closed it in this very moment.
    pub reused: bool,
    pub lodging: Lodging,
}

/// Where a connection goes when it has done its work.
pub struct Lodging {
    server: Rc<Server>,
    place: Place,
}

/// A connection that waits for its next request, in the pool.
pub struct Resting {
    input: Box<OriginInput>,
    output: Box<OriginOutput>,
}

impl Resting {
    /// Whether something happened on it: neither its end nor a byte that nobody asked for is wanted.
    pub fn is_disturbed(&mut self) -> bool {
        self.input.is_disturbed()
    }

    fn awake(self, server: Rc<Server>, place: Place) -> Origin {
        let Resting { mut input, output } = self;
        input.begin();
        Origin { input, output, reused: true, lodging: Lodging { server, place } }
    }
}

/// A connection to the upstream with this index: an idle one that still lives, unless `fresh` is asked for.
/// May be dropped.
///
/// # Errors
/// No address answers, the upstream's certificate is refused, or it has too many connections.
pub async fn open(shard: &Rc<Shard>, world: &World, upstream: usize, fresh: bool) -> Result<Origin, Cause> {
    let server = shard.upstreams.server(&world.plan.upstreams[upstream], &shard.metrics);
    if !fresh && let Some((resting, place)) = server.reuse() {
        return Ok(resting.awake(server, place));
    }
    // Rare, and its future is large: the one of an exchange need not hold it.
    Box::pin(wait_or_connect(shard, world, upstream, server)).await
}

async fn wait_or_connect(
    shard: &Rc<Shard>,
    world: &World,
    upstream: usize,
    server: Rc<Server>,
) -> Result<Origin, Cause> {
    let Turn { resting, mut place } = server.acquire().await?;
    if let Some(resting) = resting {
        return Ok(resting.awake(server, place));
    }
    let tls = world.client_tls.get(upstream).and_then(Option::as_ref);
    let upstream = &world.plan.upstreams[upstream];
    let connection = dial::connect(shard, &world.plan, upstream, &server, tls).await?;
    place.connected(runtime::now().instant);
    let (input, output) = http1::origin_halves(connection);
    Ok(Origin { input, output, reused: false, lodging: Lodging { server, place } })
}

/// Gives a connection back for the next exchange, if its last answer was whole.
pub fn keep(lodging: Lodging, mut input: Box<OriginInput>, output: Box<OriginOutput>) {
    if http1::is_reusable(&input) {
        input.rest();
        lodging.server.keep(Resting { input, output }, lodging.place);
    }
}

/// Hands a lease to the background thread, which revokes it.
pub fn release(shard: &Shard, lease: Lease) {
    let errand = Errand { shard: shard.index, ticket: 0, work: Work::Release(lease) };
    if shard.errands.send(errand).is_err() {
        shard.metrics.leases_unrevoked.inc();
        tracing::warn!(shard = shard.index, "a lease could not be handed over to be revoked; it will expire");
    }
}
