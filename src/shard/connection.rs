use super::{
    Shard,
    arrival::{Located, locate},
    http1::{self, NoRequest},
    relay::Relay,
};
use crate::{
    exchange::{Arrival, Caller, Cause, Event, Exchange, Side},
    limits::HANDSHAKE_TIMEOUT,
    runtime::{self, Connection},
};
use std::{net::SocketAddr, rc::Rc, time::Duration};

/// How long a connection that must close reads on, so that its last reply is not lost.
const LINGER_MAX: Duration = Duration::from_secs(2);

/// Serves one caller's connection from its first byte to its last.
pub async fn serve(shard: Rc<Shard>, listener: usize, connection: Connection, peer: SocketAddr) {
    let world = shard.world.load_full();
    let Some(endpoint) = world.endpoints.get(listener) else { return };
    let tls = endpoint.tls.clone();
    let Some(rule) = world.plan.client_addresses.get(listener) else { return };
    let Some(Located { connection, client, via }) = locate(&shard, rule, connection, peer).await else {
        return;
    };
    drop(world);
    let secure = tls.is_some();
    let mut server_name = None;
    let connection = match tls {
        None => connection,
        Some(tls) => match connection.accept_tls(&tls, HANDSHAKE_TIMEOUT).await {
            Ok((connection, info)) => {
                shard.metrics.handshake(info.resumed);
                server_name = info.sni.map(Into::into);
                connection
            }
            Err(error) => {
                shard.metrics.handshake_failed(error.reason());
                tracing::debug!(%peer, %error, reason = error.reason(), "TLS handshake failed");
                return;
            }
        },
    };
    let id = shard.ids.borrow_mut().next_id(runtime::now().wall);
    let name = format!("connection:{id}").into();
    let address = client.ip().to_canonical().to_string().into();
    let caller = Caller { id, listener, peer: client, via, address, connection: name, secure, server_name };
    requests(&shard, connection, &caller).await;
}

/// One exchange after the other. `caller` is what they have in common.
async fn requests(shard: &Rc<Shard>, connection: Connection, caller: &Caller) {
    let (mut input, mut output, deadlines) = http1::halves(connection);
    let guard = shard.idle.enter(deadlines.control());
    loop {
        guard.set_idle(true);
        if shard.draining.get() {
            break;
        }
        let received = input.next_request(|| guard.set_idle(false)).await;
        let now = runtime::now();
        let id = shard.ids.borrow_mut().next_id(now.wall);
        let caller = Caller { id, ..caller.clone() };
        let world = shard.world.load_full();
        let exchange = Exchange::new(world.plan.clone(), caller, now);
        let event = match received {
            Err(NoRequest::Idle) => break,
            Err(NoRequest::Failed(Cause::Closed)) => return,
            Err(NoRequest::Failed(cause)) => {
                output.keep_alive = false;
                Event::Gone(Side::Client, cause)
            }
            Ok((head, (data, end))) => {
                output.begin(&head);
                output.keep_alive &= !shard.draining.get();
                Event::Request(Arrival { head, data, end })
            }
        };
        shard.counts.begin();
        let relay = Relay::new(shard, world, exchange);
        let alive = relay.run(event, &mut input, &mut output).await;
        shard.count_transport(output.take_tally());
        if !alive || !output.keep_alive {
            break;
        }
    }
    if output.shutdown().await.is_ok() {
        input.linger(runtime::now().instant + LINGER_MAX).await;
    }
}
