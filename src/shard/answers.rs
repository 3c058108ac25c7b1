//! Open questions of a shard, by ticket.

use crate::{
    audit::{Commit, Kind, Record},
    exchange::{
        Answer, Ask, Summary, Unavailable,
        handover::{Delivery, Errand, Errands, Recorder, Refused, ShardTicket, Work},
    },
    limits::{RECORD_INFLIGHT_BYTES_MAX, RECORD_TIMEOUT},
    runtime::{self, Slot},
    time::Instant,
};
use smallvec::SmallVec;
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
    Task(Slot<Answer>),
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
        let work = match ask {
            Ask::Record(records, commit) => return Answer::Recorded(self.record(records, commit).await),
            Ask::Keys(issuer) => Work::Keys(issuer),
            Ask::Lease { source, subject_token } => Work::Lease { source, subject_token },
        };
        let (ticket, slot) = self.open();
        if let Err(errand) = errands.send(Errand { shard, ticket, work }) {
            self.0.waiters.borrow_mut().remove(&ticket);
            return match errand.work {
                Work::Keys(_) => Answer::Keys,
                _ => Answer::Lease(Err("too many requests wait for credentials".to_owned())),
            };
        }
        slot.take().await
    }

    /// Hands records over and waits until the journal has answered for each: a body that is not in the log
    /// must not go upstream, though its INTENT is.
    async fn record(&self, records: Vec<Record>, commit: Commit) -> Result<u64, Unavailable> {
        let admits = records.iter().any(|record| record.kind() == Kind::Intent);
        let limit = if admits { RECORD_TIMEOUT } else { RECORD_STALL_MAX };
        let give_up = runtime::now().instant + limit;
        let mut open = SmallVec::<[(ShardTicket, Slot<Answer>); 2]>::new();
        let mut result = Ok(0);
        for record in records {
            let (ticket, slot) = self.open();
            open.push((ticket, slot));
            result = self.offer(ticket, commit, record, give_up).await.map(|()| 0);
            if result.is_err() {
                break;
            }
        }
        if result.is_ok() {
            result = acknowledged(&open, give_up).await;
            if admits && result == Err(Unavailable::TurnedAway) {
                self.0.recorder.borrow_mut().intent_refused();
            }
        }
        let mut waiters = self.0.waiters.borrow_mut();
        open.iter().for_each(|(ticket, _)| drop(waiters.remove(ticket)));
        result
    }

    /// Hands a record over as soon as there is room.
    ///
    /// # Errors
    /// There was none until `give_up`, or the journal has failed: it will never be in the log.
    async fn offer(
        &self,
        ticket: ShardTicket,
        commit: Commit,
        mut record: Record,
        give_up: Instant,
    ) -> Result<(), Unavailable> {
        let is_body = record.kind() == Kind::Content;
        loop {
            if !is_body || self.0.recorder.borrow().inflight_bytes() < RECORD_INFLIGHT_BYTES_MAX {
                match self.0.recorder.borrow_mut().submit(ticket, commit, record) {
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

    /// Hands a record over without waiting for its acknowledgement, but waits for room.
    ///
    /// # Errors
    /// There was no room for [`RECORD_STALL_MAX`], or the journal has failed.
    pub async fn note(&self, record: Record) -> Result<(), Unavailable> {
        self.offer(0, Commit::Written, record, runtime::now().instant + RECORD_STALL_MAX).await
    }

    /// Hands over the last record of an exchange, as soon as there is room. Its log line comes back at once
    /// when there is nothing to wait for, else with the acknowledgement.
    pub async fn finish(&self, record: Option<Record>, summary: Box<Summary>) -> Option<Box<Summary>> {
        let Some(record) = record else { return Some(summary) };
        let ticket = self.next_ticket();
        let give_up = runtime::now().instant + RECORD_STALL_MAX;
        if self.offer(ticket, Commit::Written, record, give_up).await.is_err() {
            return Some(summary);
        }
        self.0.waiters.borrow_mut().insert(ticket, Waiter::Log(summary));
        None
    }

    /// [`Answers::finish`] where nobody can wait: after a panic.
    pub fn finish_now(&self, record: Option<Record>, summary: Box<Summary>) -> Option<Box<Summary>> {
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

    /// A fresh ticket, and where its answer will be.
    fn open(&self) -> (ShardTicket, Slot<Answer>) {
        let (ticket, slot) = (self.next_ticket(), Slot::new());
        self.0.waiters.borrow_mut().insert(ticket, Waiter::Task(slot.clone()));
        (ticket, slot)
    }

    fn next_ticket(&self) -> ShardTicket {
        let ticket = self.0.last_ticket.get() + 1;
        self.0.last_ticket.set(ticket);
        ticket
    }
}

/// What the journal says of records that it took: of the last one, and a failure if an earlier one failed.
/// What it does not say in time is a failure too.
async fn acknowledged(open: &[(ShardTicket, Slot<Answer>)], give_up: Instant) -> Result<u64, Unavailable> {
    let mut result = None;
    for (_, slot) in open.iter().rev() {
        let left = give_up.since(runtime::now().instant);
        let one = match runtime::timeout(left, slot.take()).await {
            Some(Answer::Recorded(one)) => one,
            _ => Err(Unavailable::Failed),
        };
        result = match (result, one) {
            (None, one) => Some(one),
            (Some(Ok(_)), Err(_)) => Some(Err(Unavailable::Failed)),
            (known, _) => known,
        };
        if matches!(result, Some(Err(_))) {
            break;
        }
    }
    result.unwrap_or(Err(Unavailable::Failed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        audit::samples,
        runtime::{StartOptions, probe, start},
    };

    /// Takes so many records, and answers for each kind as it was told.
    struct Told {
        room: usize,
        content: Result<u64, Unavailable>,
        intent: Result<u64, Unavailable>,
        answers: Rc<RefCell<Option<Answers>>>,
        intents_refused: Rc<Cell<usize>>,
    }

    impl Recorder for Told {
        fn submit(&mut self, ticket: ShardTicket, _: Commit, record: Record) -> Result<(), Refused> {
            self.room = self.room.checked_sub(1).ok_or_else(|| Refused::Failed)?;
            let result = if record.kind() == Kind::Content { self.content } else { self.intent };
            if let Some(answers) = &*self.answers.borrow() {
                answers.take(Delivery::Recorded(ticket, result));
            }
            Ok(())
        }

        fn inflight_bytes(&self) -> usize {
            0
        }

        fn intent_refused(&mut self) {
            self.intents_refused.set(self.intents_refused.get() + 1);
        }
    }

    /// What becomes of a body and its INTENT: the answer, and the INTENTs that are known not to be recorded.
    fn recorded(
        room: usize,
        content: Result<u64, Unavailable>,
        intent: Result<u64, Unavailable>,
    ) -> (Result<u64, Unavailable>, usize) {
        let options = StartOptions { driver: probe().driver(), entries: 256, cpu: None };
        let run = move || async move {
            let (answers, intents_refused) = Default::default();
            let told = Told {
                room,
                content,
                intent,
                answers: Rc::clone(&answers),
                intents_refused: Rc::clone(&intents_refused),
            };
            let all = Answers::new(Box::new(told));
            *answers.borrow_mut() = Some(all.clone());
            let records =
                vec![Record::Content(Box::new(samples::content(1, b"body", true))), samples::intent(1)];
            let result = all.record(records, Commit::Written).await;
            assert!(all.is_empty(), "nobody waits any more");
            (result, intents_refused.get())
        };
        start(options, run).expect("an executor")
    }

    #[test]
    fn a_body_that_is_not_recorded_is_a_failure_though_its_intent_is() {
        use Unavailable::{Failed, TurnedAway};
        let cases = [
            ((2, Ok(1), Ok(2)), (Ok(2), 0)),
            ((2, Err(TurnedAway), Ok(2)), (Err(Failed), 0)),
            ((2, Err(Failed), Ok(2)), (Err(Failed), 0)),
            ((2, Ok(1), Err(Failed)), (Err(Failed), 0)),
            ((2, Ok(1), Err(TurnedAway)), (Err(TurnedAway), 1)),
            ((1, Ok(1), Ok(2)), (Err(TurnedAway), 0)),
            ((0, Ok(1), Ok(2)), (Err(TurnedAway), 0)),
        ];
        for ((room, content, intent), expected) in cases {
            assert_eq!(recorded(room, content, intent), expected, "{room} {content:?} {intent:?}");
        }
    }
}
