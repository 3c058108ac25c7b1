use super::{
    Shard, World,
    admission::Seat,
    arrival::{Located, locate},
    http1::{self, Input, NoRequest, Output},
    relay::Relay,
};
use crate::{
    exchange::{Arrival, Caller, Cause, Event, Exchange, Side, plan::CallerLimits},
    limits::TURN_AWAY_TIMEOUT,
    metrics::Limit,
    protocol::{self, Code, Protocol, Refusal},
    runtime::{
        self, Connection, Room,
        tls::{TlsError, TlsInfo},
    },
};
use std::{
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::pin,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

/// How long a connection that must close reads on, so that its last reply is not lost.
const LINGER_MAX: Duration = Duration::from_secs(2);

/// Serves one caller's connection from its first byte to its last; drops `counted` then, be it by a panic.
///
/// Whoever has many connections has many of this future: what it needs for a moment only is boxed, and it is
/// not wrapped in another one, which would hold it twice.
pub async fn serve(
    shard: Rc<Shard>,
    listener: usize,
    connection: Connection,
    peer: SocketAddr,
    mut seat: Seat,
    counted: impl Sized,
) {
    let arrived = Box::pin(arrive(&shard, listener, connection, peer, &mut seat)).await;
    if let Some((connection, caller)) = arrived {
        requests(&shard, connection, caller).await;
    }
    drop((seat, counted));
}

/// Finds out whose connection it is, and has it speak as the listener does; `None` where it ended here.
async fn arrive(
    shard: &Rc<Shard>,
    listener: usize,
    connection: Connection,
    peer: SocketAddr,
    seat: &mut Seat,
) -> Option<(Connection, Box<Caller>)> {
    let plan = shard.world.load().plan.clone();
    let rule = plan.client_addresses.get(listener)?;
    let located = locate(shard, rule, connection, peer).await?;
    if located.via.is_some()
        && let Err(limit) = seat.take_for(located.client.ip(), &plan.limits)
    {
        shard.metrics.limit(limit);
        turn_away(shard.clone(), listener, located.connection, limit).await;
        return None;
    }
    let Located { connection, client, via } = located;
    let (connection, info) = secure(shard, listener, connection, &plan.limits).await?;
    let id = shard.ids.borrow_mut().next_id(runtime::now().wall);
    let name = format!("connection:{id}").into();
    let secure = info.is_some();
    let server_name = info.and_then(|info| info.sni).map(Into::into);
    let address = client.ip().to_canonical().to_string().into();
    let caller = Caller {
        id,
        listener,
        peer: client,
        via,
        local: connection.control.local_addr(),
        address,
        connection: name,
        secure,
        server_name,
    };
    Some((connection, Box::new(caller)))
}

/// The connection as the listener speaks it, in clear text or TLS; `None` where there was no agreement.
async fn secure(
    shard: &Shard,
    listener: usize,
    connection: Connection,
    limits: &CallerLimits,
) -> Option<(Connection, Option<TlsInfo>)> {
    let tls = shard.world.load().endpoints.get(listener)?.tls.clone();
    let Some(tls) = tls else { return Some((connection, None)) };
    let peer = connection.control.peer_addr();
    match connection.accept_tls(&tls, limits.handshake).await {
        Ok((connection, info)) => {
            shard.metrics.handshake(info.resumed);
            Some((connection, Some(info)))
        }
        Err(error) => {
            shard.metrics.handshake_failed(error.reason());
            if matches!(error, TlsError::TimedOut) {
                shard.metrics.limit(Limit::Handshake);
            }
            tracing::debug!(%peer, %error, reason = error.reason(), "TLS handshake failed");
            None
        }
    }
}

/// One exchange after the other. `caller` is what they have in common.
async fn requests(shard: &Rc<Shard>, connection: Connection, caller: Box<Caller>) {
    let (input, output, deadlines) = http1::halves(connection, &shard.world.load().plan.limits);
    // Boxed: they go into each exchange and back.
    let mut ends = Box::new(Ends { input, output });
    let guard = shard.idle.enter(deadlines.control());
    // An exchange needs ten times the memory of a connection that waits for one.
    let mut room = Room::new();
    loop {
        guard.set_idle(true);
        if shard.draining.get() && !(guard.is_new() && shard.awaits_first.get()) {
            break;
        }
        let Ends { input, output } = &mut *ends;
        let received = {
            let mut next = pin!(input.next_request(|| guard.set_idle(false)));
            poll_fn(|context| {
                let polled = next.as_mut().poll(context);
                if polled.is_pending() && room.is_held() && deadlines.control().is_watching() {
                    room.give_back();
                    output.give_back();
                }
                polled
            })
            .await
        };
        let world = shard.world.load_full();
        input.limits = world.plan.limits;
        let event = match received {
            Err(NoRequest::Idle) => break,
            Err(NoRequest::Failed(Cause::Closed)) => return,
            Err(NoRequest::Failed(cause)) => {
                count_refused(shard, &cause);
                output.keep_alive = false;
                Event::Gone(Side::Client, cause)
            }
            Ok((head, (data, end))) => {
                output.begin(&head, &input.limits);
                output.keep_alive &= !shard.draining.get();
                Event::Request(Arrival { head, data, end })
            }
        };
        let alive;
        (ends, alive) = room.run(|| one(shard, world, &caller, event, ends)).await;
        shard.count_transport(ends.output.take_tally());
        if !alive || !ends.output.keep_alive {
            break;
        }
    }
    Box::pin(end(&mut ends)).await;
}

/// Ends a connection so that its last reply is not lost.
async fn end(ends: &mut Ends) {
    if ends.output.shutdown().await.is_ok() {
        ends.input.linger(runtime::now().instant + LINGER_MAX).await;
    }
}

/// Both halves of a caller's connection.
struct Ends {
    input: Input,
    output: Output,
}

/// One exchange. Gives the halves back, and whether the connection may carry another one.
async fn one(
    shard: &Rc<Shard>,
    world: Arc<World>,
    caller: &Caller,
    event: Event,
    mut ends: Box<Ends>,
) -> (Box<Ends>, bool) {
    let now = runtime::now();
    let id = shard.ids.borrow_mut().next_id(now.wall);
    shard.counts.begin();
    let exchange = Exchange::new(world.plan.clone(), Caller { id, ..caller.clone() }, now);
    let alive = {
        // It ends where it is: `drop` would move all of it first.
        let relay = Relay::new(shard, world, exchange);
        let Ends { input, output } = &mut *ends;
        relay.run(now, event, input, output).await
    };
    (ends, alive)
}

/// Counts a head that met one of its bounds. What was too slow was counted when its time was up.
fn count_refused(shard: &Shard, cause: &Cause) {
    let Cause::Malformed { reason, .. } = cause else { return };
    match *reason {
        "start_line_too_long" => shard.metrics.limit(Limit::RequestLine),
        "fields_too_many" => shard.metrics.limit(Limit::HeaderCount),
        "head_too_long" => shard.metrics.limit(Limit::HeaderBytes),
        _ => {}
    }
}

/// [`turn_away`] for a connection that has just been accepted.
pub async fn refuse(
    shard: Rc<Shard>,
    listener: usize,
    connection: Connection,
    peer: SocketAddr,
    limit: Limit,
    counted: impl Sized,
) {
    let plan = shard.world.load().plan.clone();
    let Some(rule) = plan.client_addresses.get(listener) else { return };
    // What a proxy says of it comes before everything else, also before TLS.
    let locating = locate(&shard, rule, connection, peer);
    let Some(Some(located)) = runtime::timeout(TURN_AWAY_TIMEOUT, locating).await else { return };
    turn_away(shard, listener, located.connection, limit).await;
    drop(counted);
}

/// Answers 503 to a connection for which there is no room, without reading a request. No exchange begins, so
/// that there is no record; it is counted.
async fn turn_away(shard: Rc<Shard>, listener: usize, connection: Connection, limit: Limit) {
    let until = runtime::now().instant + TURN_AWAY_TIMEOUT;
    let mut limits = shard.world.load().plan.limits;
    limits.handshake = limits.handshake.min(TURN_AWAY_TIMEOUT);
    limits.write = limits.write.min(TURN_AWAY_TIMEOUT);
    let Some((connection, _)) = secure(&shard, listener, connection, &limits).await else { return };
    let (mut input, mut output, _) = http1::halves(connection, &limits);
    output.keep_alive = false;
    let id = shard.ids.borrow_mut().next_id(runtime::now().wall).to_string();
    let detail = format!("The gateway takes no more connections now: {limit}.");
    let refusal = Refusal::new(Code::Overloaded, detail);
    let deny_status = shard.world.load().plan.deny_status;
    let reply = protocol::render(Protocol::Http, &refusal, &id, Default::default(), deny_status);
    if output.reply(&reply, &shard.date(), false).await.is_ok() && output.shutdown().await.is_ok() {
        input.linger(until).await;
    }
}
