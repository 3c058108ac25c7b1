//! Open questions of a shard, by ticket.

mod pause;

use crate::{
    approval::{Question, Settlement, Verdict},
    audit::{Commit, ExchangeId, Record, Refusal},
    buffer::{Budget, Segments},
    exchange::{
        Answer, Ask, Summary, Unavailable,
        fold::{self, Folds},
        handover::{Delivery, Errand, Errands, Recorder, Refused, ShardTicket, Work},
        share::{Demand, Party, Share, ShareId, Shares},
    },
    limits::{
        AGENT_SHARE_PERCENT, ERRAND_TIMEOUT, HOLD_SLICE_GRACE, JOURNAL_QUEUE_RECORDS,
        RECORD_INFLIGHT_BYTES_MAX, RECORD_STALL_MAX, RECORD_TIMEOUT, REFUSALS_PER_SECOND, SHARE_WAIT_MAX,
    },
    runtime::{self, Slot},
    secrets::Lease,
    time::Instant,
};
use pause::Pause;
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
    /// A task whose record was handed over; what is not acknowledged by that time has failed. The sweeper
    /// says so: a timer for each record would cost more than the wait.
    Record(Slot<Answer>, Instant),
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
    /// An approval came too late: it was not used.
    Unused(ExchangeId),
}

struct Inner {
    recorder: RefCell<Box<dyn Recorder>>,
    /// The memory of the shard: recorded bytes are part of it.
    memory: Budget,
    waiters: RefCell<BTreeMap<ShardTicket, Waiter>>,
    last_ticket: Cell<ShardTicket>,
    /// Leases of exchanges that are gone.
    orphans: RefCell<Vec<Lease>>,
    /// Whose records are on their way.
    shares: RefCell<Shares>,
    folds: RefCell<Folds>,
    /// Refusals that were folded and not counted yet.
    folded: Cell<u64>,
    terms: Cell<Terms>,
    /// Records were handed over, and the journal was not woken for them yet.
    unheard: Cell<bool>,
    /// Says so to [`Answers::ring_each_turn`].
    turn: Slot<()>,
}

/// How much of the journal one agent may have.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Of this shard's queue, in percent.
    pub share_percent: u8,
    /// REFUSALs of one unproven caller that are recorded one by one.
    pub refusals_per_second: u32,
}

impl Default for Terms {
    fn default() -> Terms {
        Terms { share_percent: AGENT_SHARE_PERCENT, refusals_per_second: REFUSALS_PER_SECOND }
    }
}

/// A record that was not taken, and why.
struct Untaken {
    why: Unavailable,
    record: Record,
}

/// Open questions of one shard. Clones share them.
#[derive(Clone)]
pub struct Answers(Rc<Inner>);

impl Answers {
    /// No question is open; records go to `recorder`.
    pub fn new(recorder: Box<dyn Recorder>, memory: Budget) -> Answers {
        let recorder = RefCell::new(recorder);
        let (waiters, last_ticket, orphans, shares) = Default::default();
        let (folds, folded, terms, unheard, turn) = Default::default();
        Answers(Rc::new(Inner {
            recorder,
            memory,
            waiters,
            last_ticket,
            orphans,
            shares,
            folds,
            folded,
            terms,
            unheard,
            turn,
        }))
    }

    /// Changes how much of the journal one agent may have.
    pub fn set_terms(&self, terms: Terms) {
        self.0.terms.set(terms);
    }

    /// The share of `party`, until [`Answers::leave`].
    pub fn enter(&self, party: &Party) -> ShareId {
        let recorder = self.0.recorder.borrow();
        self.0.shares.borrow_mut().enter(party, |share| recorder.held(share).is_empty())
    }

    /// An exchange of this share has ended.
    pub fn leave(&self, share: ShareId) {
        self.0.shares.borrow_mut().leave(share);
    }

    /// Takes note of the recorded bytes that wait for the journal, and gives them.
    pub fn measure(&self) -> usize {
        let inflight = self.0.recorder.borrow().inflight_bytes();
        self.0.memory.set_recorded(inflight);
        inflight
    }

    /// Recorded bytes that may be on their way to the journal: no more than so many, nor than half of the
    /// memory.
    fn bytes_max(&self) -> usize {
        RECORD_INFLIGHT_BYTES_MAX.min(self.0.memory.max() / 2)
    }

    /// Whether there is room for `demand`, in all and in the share of who wants it.
    ///
    /// # Errors
    /// What there would be if it never comes.
    fn look_for_room(&self, share: ShareId, demand: &Demand) -> Result<(), Unavailable> {
        if demand.has_body() && self.measure() >= self.bytes_max() {
            return Err(Unavailable::TurnedAway);
        }
        let percent = self.0.terms.get().share_percent;
        let bounds = Share::of(percent, JOURNAL_QUEUE_RECORDS, self.bytes_max());
        match bounds.takes(&self.0.recorder.borrow().held(share), demand) {
            true => Ok(()),
            false => Err(Unavailable::Backpressure),
        }
    }

    /// Waits for room; see [`Answers::look_for_room`].
    async fn wait_for_room(
        &self,
        share: ShareId,
        demand: &Demand,
        give_up: Instant,
    ) -> Result<(), Unavailable> {
        let mut pause = Pause::until(give_up);
        loop {
            let found = self.look_for_room(share, demand);
            if found.is_ok() || !pause.wait().await {
                return found;
            }
        }
    }

    /// Asks, and waits for the answer.
    pub async fn ask(&self, shard: usize, share: ShareId, errands: &dyn Errands, ask: Ask) -> Answer {
        let work = match ask {
            Ask::Record(records, commit) => {
                return Answer::Recorded(self.record(share, records, commit).await);
            }
            Ask::Keys(issuer) => Work::Keys(issuer),
            Ask::Lease { source, subject_token } => Work::Lease { source, subject_token },
            Ask::Verdict(question) => return self.hold(shard, errands, question).await,
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

    /// Has people decide, and waits for their verdict, but not longer than its slice, which whoever asks them
    /// keeps to. When it is dropped before, the request does not wait any more.
    async fn hold(&self, shard: usize, errands: &dyn Errands, question: Box<Question>) -> Answer {
        let (ticket, slot) = self.open();
        let (exchange, limit) = (question.exchange, question.slice + HOLD_SLICE_GRACE);
        let held = Held { waiting: Waiting { answers: self, ticket, slot }, exchange, shard, errands };
        if errands.send(Errand { shard, ticket, work: Work::Hold(question) }).is_err() {
            let detail = "Too many requests wait for approvals.".into();
            return Answer::Verdict(Verdict::Unavailable { detail }, Segments::new());
        }
        match runtime::timeout(limit, held.waiting.slot.take()).await {
            Some(answer) => answer,
            None => Answer::Verdict(Verdict::Pending { approval: "".into() }, Segments::new()),
        }
    }

    /// Hands records over and waits until the journal has answered for each: a body that is not in the log
    /// must not go upstream, though its INTENT is.
    async fn record(&self, share: ShareId, records: Vec<Record>, commit: Commit) -> Result<u64, Unavailable> {
        let demand = Demand::of(&records);
        let (wait, limit) = match demand.admits() {
            true => (SHARE_WAIT_MAX, RECORD_TIMEOUT),
            false => (RECORD_STALL_MAX, RECORD_STALL_MAX),
        };
        let began = runtime::now().instant;
        let give_up = began + limit;
        // For all of them together: a body is not in the log if its INTENT finds no room in the share.
        self.wait_for_room(share, &demand, began + wait).await?;
        let mut open = SmallVec::<[(ShardTicket, Slot<Answer>); 2]>::new();
        let mut result = Ok(0);
        for record in records {
            let (ticket, slot) = (self.next_ticket(), Slot::new());
            let waiter = Waiter::Record(slot.clone(), give_up);
            self.0.waiters.borrow_mut().insert(ticket, waiter);
            open.push((ticket, slot));
            let offered = self.offer(share, ticket, commit, record, give_up).await;
            result = offered.map(|()| 0).map_err(|untaken| untaken.why);
            if result.is_err() {
                break;
            }
        }
        if result.is_ok() {
            result = acknowledged(&open).await;
            if demand.admits() && result == Err(Unavailable::TurnedAway) {
                self.0.recorder.borrow_mut().intent_refused(share);
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
        share: ShareId,
        ticket: ShardTicket,
        commit: Commit,
        mut record: Record,
        give_up: Instant,
    ) -> Result<(), Box<Untaken>> {
        let demand = Demand::of([&record]);
        let mut pause = Pause::until(give_up);
        loop {
            let mut why = Unavailable::TurnedAway;
            match self.look_for_room(share, &demand) {
                Err(none) => why = none,
                Ok(()) => match self.submit(share, ticket, commit, record) {
                    Ok(()) => return Ok(()),
                    Err(Refused::Failed(back)) => return Err(Box::new(Untaken { why, record: *back })),
                    Err(Refused::Full(back)) => record = *back,
                },
            }
            if !pause.wait().await {
                return Err(Box::new(Untaken { why, record }));
            }
        }
    }

    /// Hands a record over at once; the journal is woken once for all records of this turn of the shard.
    fn submit(
        &self,
        share: ShareId,
        ticket: ShardTicket,
        commit: Commit,
        record: Record,
    ) -> Result<(), Refused> {
        self.0.recorder.borrow_mut().submit(share, ticket, commit, record)?;
        if !self.0.unheard.replace(true) {
            self.0.turn.put(());
        }
        Ok(())
    }

    /// Wakes the journal whenever records were handed over, when all tasks of the shard had their turn: the
    /// future that the executor runs must wait for this. Never ends.
    pub async fn ring_each_turn(&self) {
        loop {
            self.0.turn.take().await;
            self.ring();
        }
    }

    /// Wakes the journal if records were handed over.
    pub fn ring(&self) {
        if self.0.unheard.take() {
            self.0.recorder.borrow_mut().ring();
        }
    }

    /// Hands a record over without waiting for its acknowledgement, but waits for room.
    ///
    /// # Errors
    /// There was no room for [`RECORD_STALL_MAX`], or the journal has failed.
    pub async fn note(&self, share: ShareId, record: Record) -> Result<(), Unavailable> {
        let give_up = runtime::now().instant + RECORD_STALL_MAX;
        let offered = self.offer(share, 0, Commit::Written, record, give_up).await;
        offered.map_err(|untaken| untaken.why)
    }

    /// Hands over the last record of an exchange, as soon as there is room. Its log line comes back at once
    /// when there is nothing to wait for, else with the acknowledgement. A REFUSAL of a flood, or one that
    /// finds no room, is recorded later together with others.
    pub async fn finish(
        &self,
        share: ShareId,
        record: Option<Record>,
        summary: Box<Summary>,
    ) -> Option<Box<Summary>> {
        let Some(record) = record else { return Some(summary) };
        let ticket = self.next_ticket();
        if !self.close(share, ticket, record).await {
            return Some(summary);
        }
        let give_up = runtime::recent().instant + RECORD_STALL_MAX;
        self.0.waiters.borrow_mut().insert(ticket, Waiter::Log(summary, give_up));
        None
    }

    /// [`Answers::finish`] where no log line waits for the record.
    pub async fn finish_unlogged(&self, share: ShareId, record: Record) {
        self.close(share, 0, record).await;
    }

    /// Hands over the last record of an exchange; says whether it was taken.
    async fn close(&self, share: ShareId, ticket: ShardTicket, record: Record) -> bool {
        let now = runtime::now().instant;
        let record = match record {
            Record::Refusal(refusal) if self.is_folded(share, &refusal, now) => {
                self.fold(share, refusal, now);
                return false;
            }
            record => record,
        };
        let is_refusal = matches!(record, Record::Refusal(_));
        let give_up = now + if is_refusal { RECORD_TIMEOUT } else { RECORD_STALL_MAX };
        let Err(untaken) = self.offer(share, ticket, Commit::Written, record, give_up).await else {
            return true;
        };
        if let Record::Refusal(refusal) = untaken.record {
            self.fold(share, refusal, now);
        }
        false
    }

    /// [`Answers::finish`] where nobody can wait: after a panic.
    pub fn finish_now(
        &self,
        share: ShareId,
        record: Option<Record>,
        summary: Box<Summary>,
    ) -> Option<Box<Summary>> {
        let Some(record) = record else { return Some(summary) };
        let ticket = self.next_ticket();
        if self.submit(share, ticket, Commit::Written, record).is_err() {
            return Some(summary);
        }
        let give_up = runtime::now().instant + RECORD_STALL_MAX;
        self.0.waiters.borrow_mut().insert(ticket, Waiter::Log(summary, give_up));
        None
    }

    fn is_folded(&self, share: ShareId, refusal: &Refusal, now: Instant) -> bool {
        let rate = self.0.terms.get().refusals_per_second;
        fold::is_folded(refusal, || self.0.shares.borrow_mut().may_refuse(share, now, rate))
    }

    /// Keeps a refusal to be recorded together with others.
    fn fold(&self, share: ShareId, refusal: Box<Refusal>, now: Instant) {
        self.0.folded.set(self.0.folded.get() + 1);
        if let Some(kept) = self.0.folds.borrow_mut().add(share, refusal, now) {
            self.0.shares.borrow_mut().hold(kept);
        }
    }

    /// Records the refusals that have gathered until `now`, as far as there is room. Gives how many wait.
    pub fn unfold(&self, now: Instant) -> u64 {
        let due = self.0.folds.borrow_mut().take_due(now);
        for (share, refusal) in due {
            let record = Record::Refusal(refusal);
            let room = self.look_for_room(share, &Demand::of([&record]));
            let untaken = match room {
                Err(_) => Some(record),
                Ok(()) => match self.submit(share, 0, Commit::Written, record) {
                    Ok(()) => None,
                    Err(Refused::Full(back) | Refused::Failed(back)) => Some(*back),
                },
            };
            match untaken {
                Some(Record::Refusal(refusal)) => drop(self.0.folds.borrow_mut().add(share, refusal, now)),
                _ => self.leave(share),
            }
        }
        self.0.folds.borrow().refusals()
    }

    /// Refusals that were folded since the last call.
    pub fn take_folded(&self) -> u64 {
        self.0.folded.take()
    }

    /// Ends what waits for acknowledgements that must have come before `now`: tasks learn that their record
    /// failed, and `log` gets the lines, the first ones first: whether their records are in the log is not
    /// known. A line waits for [`RECORD_STALL_MAX`].
    pub fn overdue(&self, now: Instant, mut log: impl FnMut(Box<Summary>)) {
        let mut waiters = self.0.waiters.borrow_mut();
        let is_due = |waiter: &Waiter| match waiter {
            Waiter::Log(_, until) | Waiter::Record(_, until) => *until <= now,
            Waiter::Task(_) => false,
        };
        let due: Vec<_> =
            waiters.iter().filter(|(_, waiter)| is_due(waiter)).map(|(ticket, _)| *ticket).collect();
        for ticket in due {
            match waiters.remove(&ticket) {
                Some(Waiter::Log(summary, _)) => log(summary),
                Some(Waiter::Record(slot, _)) => drop(slot.put(Answer::Recorded(Err(Unavailable::Failed)))),
                Some(Waiter::Task(_)) | None => {}
            }
        }
    }

    /// Takes an answer to whom it belongs; says what is left to do.
    pub fn take(&self, delivery: Delivery) -> Taken {
        let (ticket, answer) = match delivery {
            Delivery::Recorded(ticket, result) => (ticket, Answer::Recorded(result)),
            Delivery::Keys(ticket) => (ticket, Answer::Keys),
            Delivery::Lease(ticket, result) => (ticket, Answer::Lease(result)),
            Delivery::Verdict(ticket, exchange, verdict, body) => {
                return self.judge(ticket, exchange, verdict, body);
            }
            Delivery::Drain | Delivery::Cut => return Taken::Done,
        };
        let waiter = self.0.waiters.borrow_mut().remove(&ticket);
        match (waiter, answer) {
            (Some(Waiter::Task(slot) | Waiter::Record(slot, _)), answer) => {
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

    /// Takes a verdict to whom it belongs.
    fn judge(&self, ticket: ShardTicket, exchange: ExchangeId, verdict: Verdict, body: Segments) -> Taken {
        match (self.0.waiters.borrow_mut().remove(&ticket), verdict) {
            (Some(Waiter::Task(slot)), verdict) => {
                slot.put(Answer::Verdict(verdict, body));
                Taken::Done
            }
            (None, Verdict::Approved { .. }) => Taken::Unused(exchange),
            _ => Taken::Done,
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

/// An exchange that waits for people. However it ends to wait, its place is given up; an approval that came
/// in that very moment is given back.
struct Held<'a> {
    waiting: Waiting<'a>,
    exchange: ExchangeId,
    shard: usize,
    errands: &'a dyn Errands,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let unused =
            matches!(self.waiting.slot.try_take(), Some(Answer::Verdict(Verdict::Approved { .. }, _)));
        let work = if unused { Work::Settle(self.exchange, Settlement::Unsent) } else { Work::Leave };
        // Too many are owed already only where the background thread stands still.
        let _ = self.errands.send(Errand { shard: self.shard, ticket: self.waiting.ticket, work });
    }
}

/// What the journal says of records that it took: of the last one, and a failure if an earlier one failed.
/// What it does not say in time is a failure too: see [`Waiter::Record`].
async fn acknowledged(open: &[(ShardTicket, Slot<Answer>)]) -> Result<u64, Unavailable> {
    let mut result = None;
    for (_, slot) in open.iter().rev() {
        let one = match slot.take().await {
            Answer::Recorded(one) => one,
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
