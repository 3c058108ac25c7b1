//! Carries out what the exchange says, in order, until the exchange has ended.
//!
//! Before a request is forwarded everything happens one after the other. From then on two pumps run
//! ([`super::pumps`]), one a direction; when they are done the rest of the steps is carried out here again.

use super::{
    Shard, World,
    http1::{Input, Output},
    origin, pumps,
};
use crate::{
    audit::Record,
    buffer::Segments,
    exchange::{Answer, Ask, Cause, Event, Exchange, Side, Step, Steps, Times, share::ShareId},
    protocol::Reply,
    runtime::{self, Either},
    time::Now,
};
use std::{
    cell::{Cell, RefCell},
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::Arc,
};

/// One exchange on its shard, shared by its two pumps. No borrow is held over an `.await`.
pub struct Relay<'a> {
    pub shard: &'a Rc<Shard>,
    /// The configuration that the exchange began with.
    pub world: Arc<World>,
    exchange: RefCell<Exchange>,
    times: RefCell<Times>,
    /// Whose share of the journal its records count in; looked up for the first one.
    share: Cell<Option<ShareId>>,
}

impl<'a> Relay<'a> {
    /// The relay of an exchange that begins with `world`.
    #[inline]
    pub fn new(shard: &'a Rc<Shard>, world: Arc<World>, exchange: Exchange) -> Relay<'a> {
        let (exchange, times, share) = (RefCell::new(exchange), RefCell::default(), Cell::default());
        Relay { shard, world, exchange, times, share }
    }

    /// Runs the exchange, whose first event happened `now`, to its end. True if the caller's connection may
    /// carry another one.
    pub async fn run(&self, now: Now, first: Event, input: &mut Input, output: &mut Output) -> bool {
        let mut steps = Steps::default();
        self.feed_at(now, first, &mut steps);
        let mut alive = true;
        while let Some(step) = steps.next_step() {
            match step {
                Step::Ask(ticket, ask @ Ask::Verdict(..)) => {
                    // Rare, and its future is large.
                    match Box::pin(self.hold(ask, input)).await {
                        Ok(answer) => self.feed(Event::Answer(ticket, answer), &mut steps),
                        Err(cause) => self.client_gone(cause, &mut steps),
                    }
                }
                Step::Ask(ticket, ask) => {
                    let answer = self.ask(ask).await;
                    self.feed(Event::Answer(ticket, answer), &mut steps);
                }
                Step::Continue => {
                    if output.send_continue().await.is_err() {
                        self.client_gone(Cause::Closed, &mut steps);
                    }
                }
                Step::ReadBody if self.is_decoding(Side::Client) => {
                    self.feed(Event::RequestBody { data: Segments::new(), end: false }, &mut steps);
                }
                Step::ReadBody => match input.next_piece().await {
                    Ok((data, end)) => self.feed(Event::RequestBody { data, end }, &mut steps),
                    Err(cause) => self.feed(Event::Gone(Side::Client, cause), &mut steps),
                },
                Step::Forward(forward) => {
                    alive = pumps::forward(self, *forward, input, output).await;
                }
                Step::Reply(reply) => {
                    alive = self.reply(*reply, input, output, &mut steps).await;
                }
                Step::Abort(Side::Client) => {
                    output.reset();
                    alive = false;
                }
                other => {
                    if self.carry_out(other).await.is_err() {
                        self.client_gone(Cause::Unrecorded, &mut steps);
                        alive = false;
                    }
                }
            }
        }
        debug_assert!(self.has_ended(), "an exchange without further steps has ended");
        alive && input.is_complete()
    }

    /// Hands an event to the exchange.
    pub fn feed(&self, event: Event, steps: &mut Steps) {
        self.feed_at(runtime::now(), event, steps);
    }

    /// [`Relay::feed`] where the time is known: to look at the clock is not for nothing.
    pub fn feed_at(&self, now: Now, event: Event, steps: &mut Steps) {
        let event = match event {
            // It was us who closed the connection.
            Event::Gone(Side::Client, Cause::Closed) if self.shard.is_cut() => {
                Event::Gone(Side::Client, Cause::Shutdown)
            }
            event => event,
        };
        self.shard.around(now, |around| self.exchange.borrow_mut().on(around, event, steps));
    }

    /// The client is gone: what was still to be sent to it is forgotten.
    pub fn client_gone(&self, cause: Cause, steps: &mut Steps) {
        steps.forget_client();
        self.feed(Event::Gone(Side::Client, cause), steps);
    }

    /// Name of the exchange.
    fn id(&self) -> crate::audit::ExchangeId {
        self.exchange.borrow().id()
    }

    /// Whether the exchange is over.
    pub fn has_ended(&self) -> bool {
        self.exchange.borrow().has_ended()
    }

    /// Whether more comes of what a side has sent already.
    pub fn is_decoding(&self, side: Side) -> bool {
        self.exchange.borrow().is_decoding(side)
    }

    /// Whether the request is HEAD: a reply's body is left out.
    pub fn is_head(&self) -> bool {
        self.exchange.borrow().is_head()
    }

    /// While the shard drains, the answer that is under way is the last one on its connection.
    pub fn announce_drain(&self, output: &mut Output) {
        output.keep_alive &= !self.shard.draining.get();
    }

    /// Waits for people, and looks meanwhile whether the caller is still there.
    async fn hold(&self, ask: Ask, input: &mut Input) -> Result<Answer, Cause> {
        let asked = runtime::now().instant;
        let answer = runtime::race(self.shard.ask(ShareId::default(), ask), input.closed()).await;
        self.times.borrow_mut().hold += runtime::now().instant.since(asked);
        match answer {
            Either::First(answer) => Ok(answer),
            Either::Second(cause) => Err(cause),
        }
    }

    /// Asks, waits, and takes the time that it took.
    pub async fn ask(&self, ask: Ask) -> Answer {
        let is_record = matches!(ask, Ask::Record(..));
        let asked = runtime::now().instant;
        let share = if is_record { self.share() } else { ShareId::default() };
        let answer = self.shard.ask(share, ask).await;
        let waited = runtime::now().instant.since(asked);
        let mut times = self.times.borrow_mut();
        if is_record {
            times.record += waited
        } else {
            times.credential += waited
        }
        answer
    }

    /// Whose share of the journal its records count in.
    fn share(&self) -> ShareId {
        if let Some(share) = self.share.get() {
            return share;
        }
        let share = self.shard.answers.enter(&self.exchange.borrow().party());
        self.share.set(Some(share));
        share
    }

    /// Changes the stage times.
    pub fn time(&self, change: impl FnOnce(&mut Times)) {
        change(&mut self.times.borrow_mut());
    }

    /// Carries out a step that touches neither side.
    ///
    /// # Errors
    /// The journal took no record in time: the exchange must be cut.
    pub async fn carry_out(&self, step: Step) -> Result<(), crate::exchange::Unavailable> {
        match step {
            Step::Note(record) => self.shard.answers.note(self.share(), record).await,
            Step::Finish(mut record, mut summary) => {
                summary.times = *self.times.borrow();
                if let Some(Record::Outcome(outcome)) = &mut record {
                    summary.times.tell(&mut outcome.stages);
                }
                let share = if record.is_some() { self.share() } else { ShareId::default() };
                self.shard.finish(share, record, summary).await;
                Ok(())
            }
            Step::Release(lease) => {
                origin::release(self.shard, lease);
                Ok(())
            }
            Step::Settle(settlement) => {
                self.shard.settle(self.id(), settlement);
                Ok(())
            }
            // Aborting a side that has no connection here has no effect.
            _ => Ok(()),
        }
    }

    /// Sends the gateway's own reply; a short rest of the request is read so that the connection can be kept.
    pub async fn reply(
        &self,
        reply: Reply,
        input: &mut Input,
        output: &mut Output,
        steps: &mut Steps,
    ) -> bool {
        let is_cheap = input.rest_is_short() && !output.awaits_continue();
        output.keep_alive &= input.is_complete() || is_cheap;
        self.announce_drain(output);
        let date = self.shard.date();
        if output.reply(&reply, &date, self.is_head()).await.is_err() {
            self.client_gone(Cause::Closed, steps);
            return false;
        }
        self.feed(Event::Delivered, steps);
        output.keep_alive && input.discard().await
    }

    /// Hands over what an exchange owes that nobody feeds any more.
    fn abandon(&self) {
        let mut steps = Steps::default();
        self.feed(Event::Gone(Side::Client, Cause::Internal), &mut steps);
        while let Some(step) = steps.next_step() {
            match step {
                Step::Finish(record, summary) => self.shard.finish_now(self.share(), record, summary),
                Step::Release(lease) => origin::release(self.shard, lease),
                Step::Settle(settlement) => self.shard.settle(self.id(), settlement),
                // Both connections are dropped right after this, which resets them.
                _ => {}
            }
        }
    }
}

impl Drop for Relay<'_> {
    /// A panic ends no exchange without its last record. Whatever broke the exchange may break this too: a
    /// second panic must not end the process.
    fn drop(&mut self) {
        if !self.has_ended() && catch_unwind(AssertUnwindSafe(|| self.abandon())).is_err() {
            tracing::error!(shard = self.shard.index, "an exchange ended without its last record");
        }
        if let Some(share) = self.share.get() {
            self.shard.answers.leave(share);
        }
    }
}
