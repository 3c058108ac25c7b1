//! Carries out what the exchange says, in order, until the exchange has ended.
//!
//! Before a request is forwarded everything happens one after the other. From then on two pumps run
//! ([`super::pumps`]), one a direction; when they are done the rest of the steps is carried out here again.

use super::{
    Shard,
    http1::{Input, Output},
    origin, pumps,
};
use crate::{
    exchange::{Answer, Ask, Cause, Event, Exchange, Side, Step, Steps, Times},
    protocol::Reply,
    runtime,
};
use std::{cell::RefCell, rc::Rc};

/// One exchange on its shard, shared by its two pumps. No borrow is held over an `.await`.
pub struct Relay<'a> {
    pub shard: &'a Rc<Shard>,
    exchange: RefCell<Exchange>,
    times: RefCell<Times>,
}

/// Runs one exchange to its end. True if the caller's connection may carry another one.
pub async fn run(
    shard: &Rc<Shard>,
    exchange: Exchange,
    first: Event,
    steps: &mut Steps,
    input: &mut Input,
    output: &mut Output,
) -> bool {
    let relay = Relay { shard, exchange: RefCell::new(exchange), times: RefCell::new(Times::default()) };
    relay.feed(first, steps);
    let mut alive = true;
    while let Some(step) = steps.next_step() {
        match step {
            Step::Ask(ticket, ask) => {
                let answer = relay.ask(ask).await;
                relay.feed(Event::Answer(ticket, answer), steps);
            }
            Step::Continue => {
                if output.send_continue().await.is_err() {
                    relay.client_gone(Cause::Closed, steps);
                }
            }
            Step::ReadBody => match input.next_piece().await {
                Ok((data, end)) => relay.feed(Event::RequestBody { data, end }, steps),
                Err(cause) => relay.feed(Event::Gone(Side::Client, cause), steps),
            },
            Step::Forward(forward) => {
                alive = pumps::forward(&relay, *forward, input, output, steps).await;
            }
            Step::Reply(reply) => {
                alive = relay.reply(*reply, input, output, steps).await;
            }
            Step::Abort(Side::Client) => {
                output.reset();
                alive = false;
            }
            other => {
                if relay.carry_out(other).await.is_err() {
                    relay.client_gone(Cause::Shutdown, steps);
                    alive = false;
                }
            }
        }
    }
    debug_assert!(relay.exchange.borrow().has_ended(), "an exchange without further steps has ended");
    alive && input.is_complete()
}

impl Relay<'_> {
    /// Hands an event to the exchange.
    pub fn feed(&self, event: Event, steps: &mut Steps) {
        self.shard.around(|around| self.exchange.borrow_mut().on(around, event, steps));
    }

    /// The client is gone: what was still to be sent to it is forgotten.
    pub fn client_gone(&self, cause: Cause, steps: &mut Steps) {
        steps.clear();
        self.feed(Event::Gone(Side::Client, cause), steps);
    }

    /// Whether the exchange is over.
    pub fn has_ended(&self) -> bool {
        self.exchange.borrow().has_ended()
    }

    /// Whether the request is HEAD: a reply's body is left out.
    pub fn is_head(&self) -> bool {
        self.exchange.borrow().is_head()
    }

    /// The plan of this exchange.
    pub fn plan(&self) -> std::sync::Arc<crate::exchange::plan::Plan> {
        self.exchange.borrow().plan().clone()
    }

    /// Asks, waits, and takes the time that it took.
    pub async fn ask(&self, ask: Ask) -> Answer {
        let is_record = matches!(ask, Ask::Record(..));
        let asked = runtime::now().instant;
        let answer = self.shard.ask(ask).await;
        let waited = runtime::now().instant.since(asked);
        let mut times = self.times.borrow_mut();
        if is_record {
            times.record += waited
        } else {
            times.credential += waited
        }
        answer
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
            Step::Note(record) => self.shard.answers.note(record).await,
            Step::Finish(record, mut summary) => {
                summary.times = *self.times.borrow();
                self.shard.finish(record, summary);
                Ok(())
            }
            Step::Release(lease) => {
                origin::release(self.shard, lease);
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
        let is_small = input.is_complete() || input.rest_is_short();
        output.keep_alive &= is_small;
        let date = self.shard.date();
        if output.reply(&reply, &date, self.is_head()).await.is_err() {
            self.client_gone(Cause::Closed, steps);
            return false;
        }
        self.feed(Event::Delivered, steps);
        output.keep_alive && input.discard().await
    }
}
