//! Open questions of a shard, by ticket.

use crate::{
    audit::{Commit, Record},
    exchange::{
        Answer, Ask, Summary, Unavailable,
        handover::{Delivery, Errand, Errands, Recorder, Refused, ShardTicket, Work},
    },
    limits::{RECORD_INFLIGHT_BYTES_MAX, RECORD_TIMEOUT},
    runtime::{self, Slot},
};
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
    time::Duration,
};

/// A record that found the queue full is offered again after this time.
const RECORD_RETRY: Duration = Duration::from_millis(1);
/// A body record that finds no room for this long ends its exchange (SECURITY "Audit").
const RECORD_STALL_MAX: Duration = Duration::from_secs(10);

/// Who waits for an answer.
enum Waiter {
    /// A task.
    Task(Rc<Slot<Answer>>),
    /// A log line, written when the exchange's last record is safe.
    Log(Box<Summary>),
}

struct Inner {
    recorder: RefCell<Box<dyn Recorder>>,
    waiters: RefCell<BTreeMap<ShardTicket, Waiter>>,
    last_ticket: Cell<ShardTicket>,
}

/// Open questions of one shard. Clones share them.
#[derive(Clone)]
pub struct Answers(Rc<Inner>);

impl Answers {
    /// No question is open; records go to `recorder`.
    pub fn new(recorder: Box<dyn Recorder>) -> Answers {
        let recorder = RefCell::new(recorder);
        Answers(Rc::new(Inner { recorder, waiters: RefCell::default(), last_ticket: Cell::new(0) }))
    }

    /// Asks, and waits for the answer.
    pub async fn ask(&self, shard: usize, errands: &dyn Errands, ask: Ask) -> Answer {
        let ticket = self.next_ticket();
        let slot = Rc::new(Slot::new());
        self.0.waiters.borrow_mut().insert(ticket, Waiter::Task(slot.clone()));
        let work = match ask {
            Ask::Record(records, commit) => {
                let recorded = self.record(ticket, commit, records);
                let result = match recorded {
                    Err(unavailable) => Err(unavailable),
                    Ok(()) => return self.recorded(ticket, &slot).await,
                };
                self.0.waiters.borrow_mut().remove(&ticket);
                return Answer::Recorded(result);
            }
            Ask::Keys(issuer) => Work::Keys(issuer),
            Ask::Lease { source, subject_token } => Work::Lease { source, subject_token },
        };
        if let Err(errand) = errands.send(Errand { shard, ticket, work }) {
            self.0.waiters.borrow_mut().remove(&ticket);
            return match errand.work {
                Work::Keys(_) => Answer::Keys,
                _ => Answer::Lease(Err("too many requests wait for credentials".to_owned())),
            };
        }
        slot.take().await
    }

    /// Waits for the acknowledgement of an INTENT or body record, within its bound.
    async fn recorded(&self, ticket: ShardTicket, slot: &Slot<Answer>) -> Answer {
        match runtime::timeout(RECORD_TIMEOUT, slot.take()).await {
            Some(answer) => answer,
            None => {
                self.0.waiters.borrow_mut().remove(&ticket);
                Answer::Recorded(Err(Unavailable::Failed))
            }
        }
    }

    /// Hands records over, the last of them under `ticket`. An INTENT that was taken stays, even if what
    /// follows is not: then it is owed its OUTCOME.
    fn record(&self, ticket: ShardTicket, commit: Commit, records: Vec<Record>) -> Result<(), Unavailable> {
        let mut recorder = self.0.recorder.borrow_mut();
        let last = records.len().saturating_sub(1);
        let mut unavailable = Unavailable::TurnedAway;
        for (index, record) in records.into_iter().enumerate() {
            let ticket = if index == last { ticket } else { 0 };
            let is_intent = matches!(record, Record::Intent(_));
            recorder.submit(ticket, commit, record).map_err(|_| unavailable)?;
            if is_intent {
                unavailable = Unavailable::Failed;
            }
        }
        Ok(())
    }

    /// Hands a record over without waiting for its acknowledgement, but waits for room.
    ///
    /// # Errors
    /// There was no room for [`RECORD_STALL_MAX`], or the journal has failed.
    pub async fn note(&self, mut record: Record) -> Result<(), Unavailable> {
        let give_up = runtime::now().instant + RECORD_STALL_MAX;
        loop {
            let has_room = self.0.recorder.borrow().inflight_bytes() < RECORD_INFLIGHT_BYTES_MAX;
            if has_room {
                match self.0.recorder.borrow_mut().submit(0, Commit::Written, record) {
                    Ok(()) => return Ok(()),
                    Err(Refused::Failed) => return Err(Unavailable::TurnedAway),
                    Err(Refused::Full(back)) => record = *back,
                }
            }
            if runtime::now().instant >= give_up {
                return Err(Unavailable::TurnedAway);
            }
            runtime::sleep(RECORD_RETRY).await;
        }
    }

    /// Hands over the last record of an exchange. Its log line comes back at once when there is nothing to
    /// wait for, else with the acknowledgement.
    pub fn finish(&self, record: Option<Record>, summary: Box<Summary>) -> Option<Box<Summary>> {
        let Some(record) = record else { return Some(summary) };
        let ticket = self.next_ticket();
        if self.0.recorder.borrow_mut().submit(ticket, Commit::Written, record).is_err() {
            return Some(summary);
        }
        self.0.waiters.borrow_mut().insert(ticket, Waiter::Log(summary));
        None
    }

    /// Takes an answer to whom it belongs; gives a log line that may be written now.
    pub fn take(&self, delivery: Delivery) -> Option<Box<Summary>> {
        let (ticket, answer) = match delivery {
            Delivery::Recorded(ticket, result) => (ticket, Answer::Recorded(result)),
            Delivery::Keys(ticket) => (ticket, Answer::Keys),
            Delivery::Lease(ticket, result) => (ticket, Answer::Lease(result)),
            Delivery::Drain | Delivery::Cut => return None,
        };
        let waiter = self.0.waiters.borrow_mut().remove(&ticket)?;
        match (waiter, answer) {
            (Waiter::Task(slot), answer) => {
                slot.put(answer);
                None
            }
            (Waiter::Log(mut summary), Answer::Recorded(result)) => {
                summary.audit_sequence = result.ok();
                Some(summary)
            }
            (Waiter::Log(summary), _) => Some(summary),
        }
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.0.waiters.borrow().is_empty()
    }

    fn next_ticket(&self) -> ShardTicket {
        let ticket = self.0.last_ticket.get() + 1;
        self.0.last_ticket.set(ticket);
        ticket
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::samples;

    /// Takes so many records.
    struct Room(usize);

    impl Recorder for Room {
        fn submit(&mut self, _: ShardTicket, _: Commit, record: Record) -> Result<(), Refused> {
            self.0 = self.0.checked_sub(1).ok_or_else(|| Refused::Full(Box::new(record)))?;
            Ok(())
        }

        fn inflight_bytes(&self) -> usize {
            0
        }
    }

    #[test]
    fn an_intent_that_was_taken_is_owed_its_outcome_though_its_content_was_not() {
        let content = Record::Content(Box::new(samples::content(1, b"body", true)));
        let intent = samples::intent(1);
        let check = |room, records: &[&Record], expected| {
            let answers = Answers::new(Box::new(Room(room)));
            let records = records.iter().map(|record| (*record).clone()).collect();
            assert_eq!(answers.record(1, Commit::Written, records), expected);
        };
        check(2, &[&intent, &content], Ok(()));
        check(1, &[&intent, &content], Err(Unavailable::Failed));
        check(0, &[&intent, &content], Err(Unavailable::TurnedAway));
        check(1, &[&content, &intent], Err(Unavailable::TurnedAway));
    }
}
