use super::{Shard, admission::Seat, connection};
use crate::{
    limits::{CONNECTION_BYTES, TURNED_AWAY_MAX},
    metrics::Limit,
    runtime::{Connection, Listener},
};
use std::{net::SocketAddr, rc::Rc};

/// Accepts connections until the listener is stopped. What `accept` fails with (no descriptors left) is
/// waited out inside of it.
pub async fn accept_loop(shard: Rc<Shard>, index: usize, listener: Rc<Listener>) {
    loop {
        let (connection, peer) = match listener.accept().await {
            Ok(Some(accepted)) => accepted,
            Ok(None) => return,
            Err(error) => {
                tracing::error!(%error, address = %listener.local_addr(), "the listener is broken");
                return;
            }
        };
        shard.metrics.connections_accepted.inc();
        shard.sweeper.register(&connection.control);
        match admit(&shard, index, peer) {
            Ok(seat) => serve(&shard, index, connection, peer, seat),
            Err(limit) => turn_away(&shard, index, connection, peer, limit),
        }
    }
}

/// Says whether there is room for one more.
fn admit(shard: &Shard, index: usize, peer: SocketAddr) -> Result<Seat, Limit> {
    if shard.memory.is_short() {
        return Err(Limit::MemoryConnection);
    }
    let world = shard.world.load();
    let mut seat = shard.census.admit(world.capacity.connections_max)?;
    let rule = world.plan.client_addresses.get(index);
    // A proxy has the connections of many; whom they belong to is known later.
    if !rule.is_some_and(|rule| rule.is_proxy(peer.ip())) {
        seat.take_for(peer.ip(), &world.plan.limits)?;
    }
    Ok(seat)
}

fn serve(shard: &Rc<Shard>, index: usize, mut connection: Connection, peer: SocketAddr, seat: Seat) {
    connection.reader.charge(shard.memory.hold(0));
    let held = shard.memory.hold(CONNECTION_BYTES);
    shard.connections.inc();
    let counted = (Counted(shard.clone()), held);
    shard.spawn("connection", connection::serve(shard.clone(), index, connection, peer, seat, counted));
}

/// Says why there is no room, as long as not too many have to be told at once; then they are just cut.
fn turn_away(shard: &Rc<Shard>, index: usize, connection: Connection, peer: SocketAddr, limit: Limit) {
    shard.metrics.limit(limit);
    if shard.turned_away.get() >= TURNED_AWAY_MAX {
        connection.control.reset();
        return;
    }
    let counted = TurnedAway::enter(shard);
    shard.spawn("turned away", connection::refuse(shard.clone(), index, connection, peer, limit, counted));
}

/// Counts a connection until it ends, be it by a panic.
struct Counted(Rc<Shard>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections.dec();
    }
}

/// The same for one that is turned away.
struct TurnedAway(Rc<Shard>);

impl TurnedAway {
    fn enter(shard: &Rc<Shard>) -> TurnedAway {
        shard.turned_away.set(shard.turned_away.get() + 1);
        TurnedAway(shard.clone())
    }
}

impl Drop for TurnedAway {
    fn drop(&mut self) {
        self.0.turned_away.set(self.0.turned_away.get() - 1);
    }
}
