//! Open questions of a shard, by ticket.

use crate::{
    audit::{Commit, Kind, Record},
    buffer::Budget,
    exchange::{
        Answer, Ask, Summary, Unavailable,
        handover::{Delivery, Errand, Errands, Recorder, Refused, ShardTicket, Work},
    },
    limits::{
        ERRAND_TIMEOUT, RECORD_INFLIGHT_BYTES_MAX, RECORD_RETRY_MAX, RECORD_RETRY_MIN, RECORD_STALL_MAX,
        RECORD_TIMEOUT,
    },
    runtime::{self, Slot},
    secrets::Lease,
    time::Instant,
};
use smallvec::SmallVec;
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
    time::Duration,
};

/// Who waits for an answer.
enum Waiter {
    /// A task.
    Task(Slot<Answer>),
    /// A log line, written when the exchange's last record is safe, or at that time.
    Log(Box<Summary>, Instant),
}

/// What is to be done with an answer that nobody waits for any more.
#[derive(Debug)]
pub enum Taken {
    /// Nothing.
    Done,
    /// A log line may be written now.
    Log(Box<Summary>),
    /// A lease came too late: it must be revoked.
    Orphan(Lease),
}

struct Inner {
    recorder: RefCell<Box<dyn Recorder>>,
    /// The memory of the shard: recorded bytes are part of it.
    memory: Budget,
    waiters: RefCell<BTreeMap<ShardTicket, Waiter>>,
    last_ticket: Cell<ShardTicket>,
    /// Leases of exchanges that are gone.
    orphans: RefCell<Vec<Lease>>,
}

/// Open questions of one shard. Clones share them.
#[derive(Clone)]
pub struct Answers(Rc<Inner>);

impl Answers {
    /// No question is open; records go to `recorder`.
    pub fn new(recorder: Box<dyn Recorder>, memory: Budget) -> Answers {
        let recorder = RefCell::new(recorder);
        let (waiters, last_ticket, orphans) = Default::default();
        Answers(Rc::new(Inner { recorder, memory, waiters, last_ticket, orphans }))
    }

    /// Takes note of the recorded bytes that wait for the journal, and gives them.
    pub fn measure(&self) -> usize {
        let inflight = self.0.recorder.borrow().inflight_bytes();
        self.0.memory.set_recorded(inflight);
        inflight
    }

    /// Whether recorded bytes may go on to the journal: no more than so many, nor than half of the memory.
    fn has_room_for_bodies(&self) -> bool {
        self.measure() < RECORD_INFLIGHT_BYTES_MAX.min(self.0.memory.max() / 2)
    }

    /// Asks, and waits for the answer.
    pub async fn ask(&self, shard: usize, errands: &dyn Errands, ask: Ask) -> Answer {
        let work = match ask {
            Ask::Record(records, commit) => return Answer::Recorded(self.record(records, commit).await),
            Ask::Keys(issuer) => Work::Keys(issuer),
            Ask::Lease { source, subject_token } => Work::Lease { source, subject_token },
        };
        self.errand(shard, errands, work, ERRAND_TIMEOUT).await
    }

    /// Has work done elsewhere, and waits for what comes of it, but not longer than `limit`.
    async fn errand(&self, shard: usize, errands: &dyn Errands, work: Work, limit: Duration) -> Answer {
        let is_lease = matches!(work, Work::Lease { .. });
        let failed = |why: &str| match is_lease {
            true => Answer::Lease(Err(why.to_owned())),
            false => Answer::Keys,
        };
        let (ticket, slot) = self.open();
        let waiting = Waiting { answers: self, ticket, slot };
        if errands.send(Errand { shard, ticket: waiting.ticket, work }).is_err() {
            return failed("too many requests wait for credentials");
        }
        // Whoever fetches is bounded, too: this ends when the answer was lost on its way.
        match runtime::timeout(limit, waiting.slot.take()).await {
            Some(answer) => answer,
            None => failed("its answer did not come in time"),
        }
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
        let mut pause = RECORD_RETRY_MIN;
        loop {
            if !is_body || self.has_room_for_bodies() {
                match self.0.recorder.borrow_mut().submit(ticket, commit, record) {
                    Ok(()) => return Ok(()),
                    Err(Refused::Failed) => return Err(Unavailable::TurnedAway),
                    Err(Refused::Full(back)) => record = *back,
                }
            }
            let left = give_up.since(runtime::now().instant);
            if left.is_zero() {
                return Err(Unavailable::TurnedAway);
            }
            // Many may wait, and each look costs the shard: they look less and less often.
            runtime::sleep(pause.min(left)).await;
            pause = (pause * 2).min(RECORD_RETRY_MAX);
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
        self.0.waiters.borrow_mut().insert(ticket, Waiter::Log(summary, give_up));
        None
    }

    /// [`Answers::finish`] where nobody can wait: after a panic.
    pub fn finish_now(&self, record: Option<Record>, summary: Box<Summary>) -> Option<Box<Summary>> {
        let Some(record) = record else { return Some(summary) };
        let ticket = self.next_ticket();
        if self.0.recorder.borrow_mut().submit(ticket, Commit::Written, record).is_err() {
            return Some(summary);
        }
        let give_up = runtime::now().instant + RECORD_STALL_MAX;
        self.0.waiters.borrow_mut().insert(ticket, Waiter::Log(summary, give_up));
        None
    }

    /// Gives `log` the lines whose acknowledgement must have come before `now`, the first ones first: whether
    /// their records are in the log is not known. A line waits for [`RECORD_STALL_MAX`].
    pub fn overdue(&self, now: Instant, mut log: impl FnMut(Box<Summary>)) {
        let mut waiters = self.0.waiters.borrow_mut();
        let lines = waiters.iter().filter_map(|(ticket, waiter)| match waiter {
            Waiter::Log(_, until) => Some((*ticket, *until)),
            Waiter::Task(_) => None,
        });
        // Tickets are handed out in the order of time: behind one that may wait there is none to look for.
        let due: Vec<_> = lines.take_while(|(_, until)| *until <= now).map(|(ticket, _)| ticket).collect();
        for ticket in due {
            if let Some(Waiter::Log(summary, _)) = waiters.remove(&ticket) {
                log(summary);
            }
        }
    }

    /// Takes an answer to whom it belongs; says what is left to do.
    pub fn take(&self, delivery: Delivery) -> Taken {
        let (ticket, answer) = match delivery {
            Delivery::Recorded(ticket, result) => (ticket, Answer::Recorded(result)),
            Delivery::Keys(ticket) => (ticket, Answer::Keys),
            Delivery::Lease(ticket, result) => (ticket, Answer::Lease(result)),
            Delivery::Drain | Delivery::Cut => return Taken::Done,
        };
        let waiter = self.0.waiters.borrow_mut().remove(&ticket);
        match (waiter, answer) {
            (Some(Waiter::Task(slot)), answer) => {
                slot.put(answer);
                Taken::Done
            }
            (Some(Waiter::Log(mut summary, _)), Answer::Recorded(result)) => {
                summary.audit_sequence = result.ok();
                Taken::Log(summary)
            }
            (Some(Waiter::Log(summary, _)), _) => Taken::Log(summary),
            (None, Answer::Lease(Ok(lease))) => Taken::Orphan(lease),
            (None, _) => Taken::Done,
        }
    }

    /// Leases that came for exchanges that are gone: they must be revoked.
    pub fn take_orphans(&self) -> Vec<Lease> {
        self.0.orphans.take()
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

/// An exchange that waits for keys or a lease. When it gives up, or is dropped, a lease that comes all the
/// same is an orphan: because nobody waits any more, or here, if it has just come.
struct Waiting<'a> {
    answers: &'a Answers,
    ticket: ShardTicket,
    slot: Slot<Answer>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.answers.0.waiters.borrow_mut().remove(&self.ticket);
        if let Some(Answer::Lease(Ok(lease))) = self.slot.try_take() {
            self.answers.0.orphans.borrow_mut().push(lease);
        }
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
mod tests;
