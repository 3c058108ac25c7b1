use super::{Shard, connection};
use crate::runtime::Listener;
use std::rc::Rc;

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
        shard.sweeper.register(&connection.control);
        shard.metrics.connections_accepted.inc();
        let task = connection::serve(shard.clone(), index, connection, peer);
        shard.connections.inc();
        let guard = Counted(shard.clone());
        shard.spawn("connection", async move {
            let _guard = guard;
            task.await;
        });
    }
}

/// Counts a connection until it ends, be it by a panic.
struct Counted(Rc<Shard>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections.dec();
    }
}
