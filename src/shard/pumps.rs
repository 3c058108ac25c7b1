//! An open exchange: two pumps, one a direction, joined. Each feeds its own events and carries out its own
//! steps; what one of them has to tell the other side goes through [`Shared`].

use super::{
    http1::{Deadlines, Input, OriginInput, OriginOutput, Output, Piece},
    origin::{self, Origin},
    relay::Relay,
};
use crate::{
    exchange::{Cause, Event, Forward, Side, Step, Steps, plan::Upstream},
    http::{Method, ResponseHead},
    limits::INFORMATIONAL_COUNT_MAX,
    runtime,
    time::Instant,
    upstream::{Attempt, may_retry},
};
use std::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
};

/// What the two pumps share.
#[derive(Default)]
struct Shared {
    /// The response pump is done: the request pump must not wait any longer.
    done: Cell<bool>,
    /// Steps towards the client that the request pump came to.
    outbox: RefCell<Steps>,
    /// Upstream does not take the rest of the request; its answer may still come.
    deaf: Cell<bool>,
    /// The request went upstream to its last byte.
    sent_whole: Cell<bool>,
}

/// Sends a request upstream and its response back. True if the caller's connection may carry another one.
/// What is to be done when no connection can be made stays in `steps`.
pub async fn forward(
    relay: &Relay<'_>,
    forward: Forward,
    input: &mut Input,
    output: &mut Output,
    steps: &mut Steps,
) -> bool {
    let plan = relay.plan();
    let upstream = plan.upstreams[forward.upstream].clone();
    let began = runtime::now().instant;
    let mut origin = match send(relay, &forward, &upstream, false).await {
        Ok(origin) => origin,
        Err(cause) => {
            relay.feed(Event::Gone(Side::Upstream, cause), steps);
            return true;
        }
    };
    relay.time(|times| times.connect = runtime::now().instant.since(began));
    let shared = Shared::default();
    shared.sent_whole.set(forward.end);
    if forward.end {
        // Nothing more of the request will come: the response pump may send it again on another connection.
        let deadlines = origin.deadlines.clone();
        let alive = {
            let watch = pin!(watch(relay, input, &deadlines, &shared));
            let answer = pin!(whole(relay, &forward, &upstream, &mut origin, output, &shared));
            join(answer, watch).await
        };
        finish(relay, &upstream, origin, alive, true)
    } else {
        let Origin { input: from, output: mut to, deadlines, reused } = origin;
        let mut from = from;
        let alive = {
            let request = pin!(request(relay, input, &mut to, &deadlines, &shared, &upstream));
            let answer = pin!(streamed(relay, &forward, &upstream, &mut from, &deadlines, output, &shared));
            join(answer, request).await
        };
        let origin = Origin { input: from, output: to, deadlines, reused };
        finish(relay, &upstream, origin, alive, shared.sent_whole.get())
    }
}

/// Both at once; the answer is looked at first, so that its end is seen by the other in the same turn.
async fn join(
    mut answer: std::pin::Pin<&mut impl Future<Output = bool>>,
    mut other: std::pin::Pin<&mut impl Future<Output = ()>>,
) -> bool {
    let mut alive = None;
    let mut other_done = false;
    poll_fn(move |context| {
        if alive.is_none()
            && let Poll::Ready(result) = answer.as_mut().poll(context)
        {
            alive = Some(result);
        }
        if !other_done {
            other_done = other.as_mut().poll(context).is_ready();
        }
        match (alive, other_done) {
            (Some(alive), true) => Poll::Ready(alive),
            _ => Poll::Pending,
        }
    })
    .await
}

/// `future`, unless the response is done before it. Dropping `future` must lose nothing.
async fn unless_done<T>(shared: &Shared, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(|context| {
        if shared.done.get() {
            return Poll::Ready(None);
        }
        future.as_mut().poll(context).map(Some)
    })
    .await
}

/// Connects and sends the head with what is there of the body.
async fn send(
    relay: &Relay<'_>,
    forward: &Forward,
    upstream: &Arc<Upstream>,
    fresh: bool,
) -> Result<Origin, Cause> {
    let mut fresh = fresh;
    loop {
        let mut origin = origin::open(relay.shard, forward.upstream, upstream, fresh).await?;
        let injected: Vec<(&str, &[u8])> =
            forward.injected.iter().map(|(name, value)| (&**name, value.expose())).collect();
        let sent = origin.output.send_head(&forward.head, &injected, forward.data.clone(), forward.end).await;
        if sent.is_ok() {
            return Ok(origin);
        }
        // A peer that refuses more may have answered already, so a fresh connection's answer is awaited.
        let attempt = attempt(&origin, forward, fresh);
        if !origin.reused || !may_retry(&forward.head.method, attempt) {
            return Ok(origin);
        }
        fresh = true;
    }
}

fn attempt(origin: &Origin, forward: &Forward, retried: bool) -> Attempt {
    Attempt {
        reused: origin.reused,
        wrote: true,
        received: origin.input.received,
        replayable: forward.end,
        retried,
        approved: forward.approved,
    }
}

/// Watches whether the caller goes away, once its request was received whole.
async fn watch(relay: &Relay<'_>, input: &mut Input, origin: &Deadlines, shared: &Shared) {
    let Some(cause) = unless_done(shared, input.closed()).await else { return };
    let mut steps = Steps::default();
    relay.feed(Event::Gone(Side::Client, cause), &mut steps);
    aside(relay, &mut steps, origin, shared).await;
}

/// Carries out steps of the request's side; what concerns the client is left to the response pump, which
/// wakes because upstream is cut.
async fn aside(relay: &Relay<'_>, steps: &mut Steps, origin: &Deadlines, shared: &Shared) {
    while let Some(step) = steps.next_step() {
        match step {
            Step::Abort(Side::Upstream) => origin.control().reset(),
            Step::Reply(_) | Step::Send { .. } | Step::Abort(Side::Client) => {
                shared.outbox.borrow_mut().push(step);
            }
            // The exchange is over either way; a record without room is counted by the journal.
            other => drop(relay.carry_out(other).await),
        }
    }
}

/// Reads the rest of the request, has it decided and recorded, and sends it upstream.
async fn request(
    relay: &Relay<'_>,
    input: &mut Input,
    to: &mut OriginOutput,
    origin: &Deadlines,
    shared: &Shared,
    upstream: &Upstream,
) {
    let mut steps = Steps::default();
    while !input.is_complete() && !shared.deaf.get() {
        let Some(read) = unless_done(shared, input.next_piece()).await else { return };
        match read {
            Ok((data, end)) => relay.feed(Event::RequestBody { data, end }, &mut steps),
            Err(cause) => {
                relay.feed(Event::Gone(Side::Client, cause), &mut steps);
                return aside(relay, &mut steps, origin, shared).await;
            }
        }
        while let Some(step) = steps.next_step() {
            match step {
                Step::Ask(ticket, ask) => {
                    let answer = relay.ask(ask).await;
                    relay.feed(Event::Answer(ticket, answer), &mut steps);
                }
                Step::ForwardBody { data, end } => {
                    if to.send(data, end).await.is_err() {
                        shared.deaf.set(true);
                    }
                    shared.sent_whole.set(end && !shared.deaf.get());
                    if end || shared.deaf.get() {
                        origin.reading(Some(runtime::now().instant + upstream.timeouts.first_byte));
                    }
                }
                other => {
                    let mut rest = Steps::default();
                    rest.push(other);
                    while let Some(step) = steps.next_step() {
                        rest.push(step);
                    }
                    return aside(relay, &mut rest, origin, shared).await;
                }
            }
        }
    }
    watch(relay, input, origin, shared).await;
}

/// The response to a request that was sent whole; a connection that died idle is replaced.
async fn whole(
    relay: &Relay<'_>,
    forward: &Forward,
    upstream: &Arc<Upstream>,
    origin: &mut Origin,
    output: &mut Output,
    shared: &Shared,
) -> bool {
    let since = Cell::new(runtime::now().instant);
    let first_byte = since.get() + upstream.timeouts.first_byte;
    let mut first = origin.input.next_response(&forward.head.method, Some(first_byte)).await;
    let is_stale = matches!(first, Err(Cause::Closed)) && !relay.has_ended();
    if is_stale && may_retry(&forward.head.method, attempt(origin, forward, false)) {
        match send(relay, forward, upstream, true).await {
            Ok(replacement) => {
                *origin = replacement;
                first = origin.input.next_response(&forward.head.method, Some(first_byte)).await;
            }
            Err(cause) => first = Err(cause),
        }
    }
    let deadlines = origin.deadlines.clone();
    let pump = Response { relay, since, upstream, origin: &deadlines, shared };
    pump.run(first, &forward.head.method, &mut origin.input, output).await
}

/// The response to a request whose body still goes out.
async fn streamed(
    relay: &Relay<'_>,
    forward: &Forward,
    upstream: &Arc<Upstream>,
    from: &mut OriginInput,
    deadlines: &Deadlines,
    output: &mut Output,
    shared: &Shared,
) -> bool {
    let since = Cell::new(runtime::now().instant);
    let first = from.next_response(&forward.head.method, None).await;
    let pump = Response { relay, since, upstream, origin: deadlines, shared };
    pump.run(first, &forward.head.method, from, output).await
}

/// The response's pump: reads from upstream, writes to the caller.
struct Response<'a> {
    relay: &'a Relay<'a>,
    /// When the request was sent, then when the response's head came.
    since: Cell<Instant>,
    upstream: &'a Upstream,
    origin: &'a Deadlines,
    shared: &'a Shared,
}

impl Response<'_> {
    /// Runs until the exchange has ended. True if the caller's connection is still good.
    async fn run(
        &self,
        first: Result<(ResponseHead, Piece), Cause>,
        method: &Method,
        from: &mut OriginInput,
        output: &mut Output,
    ) -> bool {
        let mut steps = Steps::default();
        let mut alive = true;
        let mut informational = 0;
        let mut read = first.map(|(head, piece)| (Some(head), piece));
        loop {
            let is_final = matches!(&read, Ok((Some(head), _)) if head.status >= 200);
            let is_body = matches!(&read, Ok((None, _)));
            if is_final {
                let head_at = runtime::now().instant;
                self.relay.time(|times| times.first_byte = head_at.since(self.since.get()));
                self.since.set(head_at);
            }
            self.relay.feed(response_event(read, &mut informational), &mut steps);
            alive &= self.carry_out(&mut steps, output).await;
            if self.relay.has_ended() {
                break;
            }
            let now = runtime::now().instant;
            read = if is_final || is_body {
                from.next_piece(now + self.upstream.timeouts.idle).await.map(|piece| (None, piece))
            } else {
                let first_byte = now + self.upstream.timeouts.first_byte;
                from.next_response(method, Some(first_byte)).await.map(|(head, piece)| (Some(head), piece))
            };
        }
        self.shared.done.set(true);
        if !self.shared.sent_whole.get() {
            // Wakes a request pump that upstream keeps waiting.
            self.origin.control().shutdown();
        }
        alive
    }

    /// Carries out the steps of this side, then those that the request's side left.
    async fn carry_out(&self, steps: &mut Steps, output: &mut Output) -> bool {
        let mut alive = true;
        while let Some(step) = steps.next_step().or_else(|| self.shared.outbox.borrow_mut().next_step()) {
            let (result, is_end) = match step {
                Step::Respond { mut head, data, end } => (output.respond(&mut head, data, end).await, end),
                Step::Send { data, end } => (output.send(data, end).await, end),
                Step::Inform(head) => (output.inform(&head).await, false),
                Step::Reply(reply) => {
                    let reply = *reply;
                    output.keep_alive &= self.shared.sent_whole.get();
                    (output.reply(&reply, &self.relay.shard.date(), self.relay.is_head()).await, true)
                }
                Step::Abort(Side::Upstream) => {
                    self.origin.control().reset();
                    continue;
                }
                Step::Abort(Side::Client) => {
                    output.reset();
                    alive = false;
                    continue;
                }
                other => {
                    if self.relay.carry_out(other).await.is_err() {
                        self.relay.client_gone(Cause::Shutdown, steps);
                    }
                    continue;
                }
            };
            match result {
                Err(_) => {
                    alive = false;
                    self.relay.client_gone(output.cause(), steps);
                }
                Ok(()) if is_end => {
                    let took = runtime::now().instant.since(self.since.get());
                    self.relay.time(|times| times.response = took);
                    self.relay.feed(Event::Delivered, steps);
                }
                Ok(()) => {}
            }
        }
        alive
    }
}

/// What the exchange is told of one read from upstream.
fn response_event(read: Result<(Option<ResponseHead>, Piece), Cause>, informational: &mut usize) -> Event {
    match read {
        Err(cause) => Event::Gone(Side::Upstream, cause),
        Ok((None, (data, end))) => Event::ResponseBody { data, end },
        Ok((Some(head), (data, end))) if head.status >= 200 => {
            Event::Response { head: Box::new(head), data, end }
        }
        Ok((Some(head), _)) => {
            *informational += 1;
            if *informational > INFORMATIONAL_COUNT_MAX {
                let cause = Cause::Malformed { reason: "informational_flood", status: 502 };
                return Event::Gone(Side::Upstream, cause);
            }
            Event::Inform(Box::new(head))
        }
    }
}

/// Gives the upstream connection back, if both messages were whole.
fn finish(relay: &Relay<'_>, upstream: &Upstream, origin: Origin, alive: bool, sent_whole: bool) -> bool {
    let mut origin = origin;
    relay.shard.metrics.add_coalesced(origin.output.take_coalesced());
    if alive && sent_whole {
        origin::keep(relay.shard, upstream, origin);
    }
    alive
}
