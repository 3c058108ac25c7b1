//! An open exchange: two pumps, one a direction, joined. Each feeds its own events and carries out its own
//! steps; what one of them has to tell the other side goes through [`Shared`].

use super::{
    deadlines::{Deadlines, Until},
    http1::{Input, OriginInput, OriginOutput, Output, Piece},
    origin::{self, Lodging, Origin},
    relay::Relay,
    stops::Stop,
};
use crate::{
    buffer::Segments,
    exchange::{Cause, Event, Forward, Side, Step, Steps, Times, plan::Upstream},
    http::ResponseHead,
    limits::INFORMATIONAL_COUNT_MAX,
    metrics::Limit,
    runtime::{self, Control, Either, Slot},
    time::{Instant, Now},
    upstream::{Attempt, may_retry},
};
use std::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::Poll,
    time::Duration,
};

/// What the two pumps share.
#[derive(Default)]
struct Shared {
    /// The response pump is done: the request pump must not wait any longer.
    done: Cell<bool>,
    /// The request pump has ended the exchange's way upstream: no connection is to be made any more.
    given_up: Cell<bool>,
    /// Steps towards the client that the request pump came to.
    outbox: RefCell<Steps>,
    /// The upstream connection, as soon as there is one; another one after a retry.
    origin: RefCell<Option<Deadlines>>,
    /// That connection was cut, whole as its answer may be.
    is_cut: Cell<bool>,
    /// Its sending half, for the request pump, once the head was sent.
    /// `None` where the request was whole with it.
    outgoing: Option<Slot<Box<OriginOutput>>>,
    /// The request went upstream to its last byte.
    sent_whole: Cell<bool>,
    /// Upstream does not take the rest of the request; its answer may still come.
    deaf: Cell<bool>,
    /// The final response has begun.
    responding: Cell<bool>,
}

impl Shared {
    fn cut_origin(&self) {
        self.is_cut.set(true);
        if let Some(origin) = &*self.origin.borrow() {
            origin.control().reset();
        }
    }

    /// How long upstream may be silent from now on. As long as it gets the request there is no bound: it may
    /// wait for the end of that.
    fn patience(&self, upstream: &Upstream) -> Option<Until> {
        let is_over = self.sent_whole.get() || self.deaf.get();
        let (silence, limit) = match self.responding.get() {
            true => (upstream.timeouts.idle, Limit::ResponseIdle),
            false => (upstream.timeouts.first_byte, Limit::FirstByte),
        };
        is_over.then(|| (runtime::recent().instant + silence, limit))
    }
}

/// What the response pump had of an upstream connection; the request pump may have the other half.
struct Halves {
    input: Box<OriginInput>,
    output: Option<Box<OriginOutput>>,
    lodging: Lodging,
}

/// Sends a request upstream and its response back. True if the caller's connection may carry another one.
pub async fn forward(
    relay: &Relay<'_>,
    mut forward: Forward,
    input: &mut Input,
    output: &mut Output,
) -> bool {
    let upstream: &Upstream = &relay.world.plan.upstreams[forward.upstream];
    let shared = Shared { outgoing: (!forward.end).then(Slot::new), ..Shared::default() };
    shared.sent_whole.set(forward.end);
    let response = Response {
        relay,
        data: RefCell::new(std::mem::take(&mut forward.data)),
        forward: &forward,
        upstream,
        shared: &shared,
        since: Cell::new(runtime::recent().instant),
    };
    let ((alive, halves), outgoing) = {
        let answer = pin!(response.run(output));
        let request = pin!(request(relay, input, &shared, upstream));
        runtime::join(answer, request).await
    };
    let Some(Halves { input: from, output, lodging }) = halves else { return alive };
    let outgoing = output.or(outgoing).or_else(|| shared.outgoing.as_ref()?.try_take());
    let Some(mut to) = outgoing else { return alive };
    relay.shard.count_transport(to.take_tally());
    if alive && shared.sent_whole.get() && !shared.is_cut.get() {
        origin::keep(lodging, from, to);
    }
    alive
}

/// `future`, unless `flag` is raised before it ends. Dropping `future` must lose nothing.
async fn unless<T>(flag: &Cell<bool>, mut future: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    poll_fn(|context| {
        if flag.get() {
            return Poll::Ready(None);
        }
        future.as_mut().poll(context).map(Some)
    })
    .await
}

// ------------------------------------------------------------------------------------- the request's side

/// What the request's side waits for, beside its own next bytes.
enum Heard<T> {
    Awaited(T),
    /// Operators have stopped some callers.
    Stopped,
    /// The response's side is done.
    Done,
}

/// `future`, unless the response's side is done or operators stop somebody before it ends. Dropping `future`
/// must lose nothing.
async fn hear<T>(shared: &Shared, stop: &Stop, future: impl Future<Output = T>) -> Heard<T> {
    match unless(&shared.done, pin!(runtime::race(future, stop.ordered()))).await {
        None => Heard::Done,
        Some(Either::First(output)) => Heard::Awaited(output),
        Some(Either::Second(())) => Heard::Stopped,
    }
}

/// Reads the rest of the request, has it decided and recorded, and sends it upstream; then watches whether
/// the caller goes away, or is stopped. Gives back the sending half, if it got that.
async fn request(
    relay: &Relay<'_>,
    input: &mut Input,
    shared: &Shared,
    upstream: &Upstream,
) -> Option<Box<OriginOutput>> {
    let mut steps = Steps::default();
    let mut to = None;
    let stop = relay.shard.stops.enter();
    while (relay.is_decoding(Side::Client) || !input.is_complete()) && !shared.deaf.get() {
        let read = match relay.is_decoding(Side::Client) {
            true if shared.done.get() => Heard::Done,
            true => Heard::Awaited(Ok((Segments::new(), false))),
            false => hear(shared, &stop, input.next_piece()).await,
        };
        let is_gone = matches!(read, Heard::Awaited(Err(_)));
        match read {
            Heard::Done => return to,
            Heard::Stopped => relay.feed(Event::Stopped, &mut steps),
            Heard::Awaited(Ok((data, end))) => relay.feed(Event::RequestBody { data, end }, &mut steps),
            Heard::Awaited(Err(cause)) => relay.feed(Event::Gone(Side::Client, cause), &mut steps),
        }
        while let Some(step) = steps.next_step() {
            match step {
                Step::Ask(ticket, ask) => {
                    let answer = relay.ask(ask).await;
                    relay.feed(Event::Answer(ticket, answer), &mut steps);
                }
                Step::ForwardBody { data, end } => {
                    if let (None, Some(outgoing)) = (&to, &shared.outgoing) {
                        to = unless(&shared.done, pin!(outgoing.take())).await;
                    }
                    let Some(to) = &mut to else { return None };
                    shared.deaf.set(to.send(data, end).await.is_err());
                    shared.sent_whole.set(end && !shared.deaf.get());
                    if let Some(origin) = &*shared.origin.borrow()
                        && let Some(patience) = shared.patience(upstream)
                    {
                        origin.reading(Some(patience));
                    }
                }
                last => {
                    aside(relay, last, &mut steps, input.control(), shared).await;
                    return to;
                }
            }
        }
        if is_gone {
            return to;
        }
    }
    loop {
        let heard = hear(shared, &stop, input.closed()).await;
        let is_gone = matches!(heard, Heard::Awaited(_));
        match heard {
            Heard::Done => return to,
            Heard::Stopped => relay.feed(Event::Stopped, &mut steps),
            Heard::Awaited(cause) => relay.feed(Event::Gone(Side::Client, cause), &mut steps),
        }
        let first = steps.next_step();
        let is_over = is_gone || first.is_some();
        if let Some(step) = first {
            aside(relay, step, &mut steps, input.control(), shared).await;
        }
        if is_over {
            return to;
        }
    }
}

/// Carries out the last steps of the request's side. What concerns the client is left to the response pump,
/// which sees that upstream is cut.
async fn aside(relay: &Relay<'_>, first: Step, steps: &mut Steps, client: &Control, shared: &Shared) {
    shared.given_up.set(true);
    let mut next = Some(first);
    while let Some(step) = next {
        match step {
            Step::Abort(Side::Upstream) => shared.cut_origin(),
            Step::Reply(_) | Step::Send { .. } => shared.outbox.borrow_mut().push(step),
            Step::Abort(Side::Client) => {
                let mut outbox = shared.outbox.borrow_mut();
                if outbox.is_empty() {
                    // At once: the response pump may be in the middle of a write that nobody takes.
                    client.reset();
                }
                outbox.push(step);
            }
            // The exchange is over either way; a record without room is counted by the journal.
            other => drop(relay.carry_out(other).await),
        }
        next = steps.next_step();
    }
}

// ------------------------------------------------------------------------------------ the response's side

/// The response's pump: connects, reads from upstream, writes to the caller.
struct Response<'a> {
    relay: &'a Relay<'a>,
    /// Everything but the body.
    forward: &'a Forward,
    /// What is there of the body, for as long as it may be sent (again).
    data: RefCell<Segments>,
    upstream: &'a Upstream,
    shared: &'a Shared,
    /// When the stage began that is being timed.
    since: Cell<Instant>,
}

impl Response<'_> {
    /// Runs until the exchange has ended. True if the caller's connection is still good.
    async fn run(&self, output: &mut Output) -> (bool, Option<Halves>) {
        let mut halves = None;
        let alive = match self.first(&mut halves).await {
            Some(first) => self.pump(first, &mut halves, output).await,
            None => self.carry_out(&mut Steps::default(), output).await,
        };
        self.shared.done.set(true);
        if !self.shared.sent_whole.get() {
            // Also wakes a request pump that upstream keeps waiting.
            self.shared.cut_origin();
        }
        (alive, halves)
    }

    /// Connects, sends what is there of the request, and reads the first of the answer. A pooled connection
    /// that turns out to be dead is replaced once. `None`: the request pump has given up meanwhile.
    async fn first(&self, halves: &mut Option<Halves>) -> Option<Result<(Box<ResponseHead>, Piece), Cause>> {
        let mut fresh = false;
        loop {
            let sending = pin!(self.send(fresh));
            let (mut origin, sent, wrote) = match unless(&self.shared.given_up, sending).await? {
                Ok(sent) => sent,
                Err(cause) => return Some(Err(cause)),
            };
            if !origin.reused {
                self.lap(|times, took| times.connect += took);
            }
            let is_last = !self.may_retry(&origin, fresh, wrote);
            if is_last {
                // An answer takes long: the memory of a body that nobody sends again is not kept for it.
                drop(self.data.take());
            }
            if !sent && !is_last {
                fresh = true;
                continue;
            }
            // A peer that takes no more may have answered already, so that the answer is awaited.
            self.shared.origin.replace(Some(origin.input.deadlines().clone()));
            if !self.forward.end {
                // There is a slot, since the request is not whole.
                let outgoing = self.shared.outgoing.as_ref();
                drop(outgoing.map(|outgoing| outgoing.put(origin.output)));
                let first = origin.input.next_response(&self.forward.head.method, None).await;
                *halves = Some(Halves { input: origin.input, output: None, lodging: origin.lodging });
                return Some(first);
            }
            let patience = self.shared.patience(self.upstream);
            let first = origin.input.next_response(&self.forward.head.method, patience).await;
            let is_dead = matches!(first, Err(Cause::Closed)) && !self.shared.given_up.get();
            if is_dead && self.may_retry(&origin, fresh, wrote) {
                fresh = true;
                continue;
            }
            let Origin { input, output, lodging, .. } = origin;
            *halves = Some(Halves { input, output: Some(output), lodging });
            return Some(first);
        }
    }

    /// Connects and sends the head with what is there of the body; says whether upstream took it, and
    /// whether any byte was written.
    async fn send(&self, fresh: bool) -> Result<(Origin, bool, bool), Cause> {
        let Relay { shard, world, .. } = self.relay;
        let mut origin = origin::open(shard, world, self.forward.upstream, fresh).await?;
        let before = origin.input.deadlines().control().sent_bytes();
        let Forward { head, end, .. } = self.forward;
        let data = self.data.borrow().clone();
        let injected: Vec<(&str, &[u8])> =
            self.forward.injected.iter().map(|(name, value)| (&**name, value.expose())).collect();
        let sent = origin.output.send_head(head, &injected, data, *end).await;
        let wrote = sent.is_ok() || origin.input.deadlines().control().sent_bytes() != before;
        Ok((origin, sent.is_ok(), wrote))
    }

    fn may_retry(&self, origin: &Origin, retried: bool, wrote: bool) -> bool {
        let attempt = Attempt {
            reused: origin.reused,
            wrote,
            received: origin.input.received,
            // What follows of a body is read only after this went out.
            replayable: self.forward.end || !wrote,
            retried,
            approved: self.forward.approved,
        };
        may_retry(&self.forward.head.method, attempt)
    }

    /// Passes the answer on until the exchange has ended. True if the caller's connection is still good.
    async fn pump(
        &self,
        first: Result<(Box<ResponseHead>, Piece), Cause>,
        halves: &mut Option<Halves>,
        output: &mut Output,
    ) -> bool {
        let mut steps = Steps::default();
        let mut alive = true;
        let mut informational = 0;
        let mut read = first.map(|(head, piece)| (Some(head), piece));
        loop {
            let mut now = None;
            if matches!(&read, Ok((Some(head), _)) if head.status >= 200) {
                self.shared.responding.set(true);
                now = Some(self.lap(|times, took| times.first_byte = took));
            }
            let event = response_event(read, &mut informational);
            self.relay.feed_at(now.unwrap_or_else(runtime::now), event, &mut steps);
            alive &= self.carry_out(&mut steps, output).await;
            if self.relay.has_ended() {
                return alive;
            }
            // Without a connection the exchange has ended.
            let Some(Halves { input: from, .. }) = halves else { return alive };
            let patience = self.shared.patience(self.upstream);
            read = if self.relay.is_decoding(Side::Upstream) {
                Ok((None, (Segments::new(), false)))
            } else if self.shared.responding.get() {
                from.next_piece(patience).await.map(|piece| (None, piece))
            } else {
                let method = &self.forward.head.method;
                from.next_response(method, patience).await.map(|(head, piece)| (Some(head), piece))
            };
        }
    }

    /// Carries out the steps of this side, then those that the request's side left.
    async fn carry_out(&self, steps: &mut Steps, output: &mut Output) -> bool {
        let mut alive = true;
        while let Some(step) = steps.next_step().or_else(|| self.shared.outbox.borrow_mut().next_step()) {
            self.relay.announce_drain(output);
            let (result, is_end) = match step {
                Step::Respond { mut head, data, end } => (output.respond(&mut head, data, end).await, end),
                Step::Send { data, end } => (output.send(data, end).await, end),
                Step::Inform(head) => (output.inform(&head).await, false),
                Step::Reply(reply) => {
                    output.keep_alive &= self.shared.sent_whole.get();
                    (output.reply(&reply, &self.relay.shard.date(), self.relay.is_head()).await, true)
                }
                Step::Abort(Side::Upstream) => {
                    self.shared.cut_origin();
                    continue;
                }
                Step::Abort(Side::Client) => {
                    output.reset();
                    alive = false;
                    continue;
                }
                other => {
                    if self.relay.carry_out(other).await.is_err() {
                        self.relay.client_gone(Cause::Unrecorded, steps);
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
                    let now = self.lap(|times, took| times.response = took);
                    self.relay.feed_at(now, Event::Delivered, steps);
                }
                Ok(()) => {}
            }
        }
        alive
    }

    /// Takes the time of the stage that ends here; gives the time.
    fn lap(&self, note: impl FnOnce(&mut Times, Duration)) -> Now {
        let now = runtime::now();
        let took = now.instant.since(self.since.replace(now.instant));
        self.relay.time(|times| note(times, took));
        now
    }
}

/// What the exchange is told of one read from upstream.
fn response_event(
    read: Result<(Option<Box<ResponseHead>>, Piece), Cause>,
    informational: &mut usize,
) -> Event {
    match read {
        Err(cause) => Event::Gone(Side::Upstream, cause),
        Ok((None, (data, end))) => Event::ResponseBody { data, end },
        Ok((Some(head), (data, end))) if head.status >= 200 => Event::Response { head, data, end },
        Ok((Some(head), _)) => {
            *informational += 1;
            if *informational > INFORMATIONAL_COUNT_MAX {
                let cause = Cause::Malformed { reason: "informational_flood", status: 502 };
                return Event::Gone(Side::Upstream, cause);
            }
            Event::Inform(head)
        }
    }
}
