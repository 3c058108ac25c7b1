//! The thread: one message after the other, each to its end.

use super::{
    Parts,
    body::{Bodies, Body},
    peer::{self, Owner},
    store::{self, Store},
};
use crate::{
    admin::Events,
    approval::{
        self, Answered, Approver, Book, Card, Effects, Fault, Freeze, Key, Letter, Notice, Order, Page,
        Place, Question, Seat, Settlement, Verdict, Whom,
    },
    audit::{Access, Commit, ExchangeId, Record},
    buffer::Segments,
    exchange::handover::Delivery,
    journal::Failure,
    limits::{CONVERSATION_STORE_INTERVAL, DELIVERY_RETRY, DELIVERY_TIMEOUT, HOLD_TICK},
    runtime,
    time::Timestamp,
};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread,
    time::Instant,
};

/// What the keeper is told.
pub enum Message {
    Ask(Seat, Box<Question>),
    Leave(Seat),
    Settle(ExchangeId, Settlement),
    Order(Box<Order>, mpsc::SyncSender<Result<Answered, Fault>>),
    /// These letters need not be kept any more.
    Arrived(Vec<String>),
    Reloaded(u64, bool),
    Drain,
    End,
}

/// The machine and what it works on.
pub struct Keeper {
    parts: Parts,
    file: PathBuf,
    store: Option<Store>,
    book: Book,
    /// Requests that wait, with their bodies.
    held: BTreeMap<Seat, Held>,
    bodies: Bodies,
    events: Arc<Events>,
}

struct Held {
    question: Box<Question>,
    body: Body,
}

impl Keeper {
    /// Takes up what a former process has left.
    ///
    /// # Errors
    /// In words: the store cannot be read.
    pub fn open(audit: &Path, parts: Parts, events: Arc<Events>) -> Result<Keeper, String> {
        let file = store::path(audit);
        let dir = audit.parent().unwrap_or(Path::new("."));
        let fresh = random()?;
        let mut keeper = Keeper {
            book: Book::new(Key::new(&fresh), parts.generation, vec![], vec![], vec![], now()),
            parts,
            file,
            store: None,
            held: BTreeMap::new(),
            bodies: Bodies::new(dir),
            events,
        };
        if keeper.parts.may_hold || keeper.parts.remembers || keeper.file.exists() {
            keeper.take_up()?;
        }
        Ok(keeper)
    }

    /// Opens the store and reads it. Until then nothing is in the book.
    fn take_up(&mut self) -> Result<(), String> {
        let store = Store::open(&self.file, random()?)?;
        let kept = store.load()?;
        let generation = self.parts.generation;
        self.parts.conversations.open(kept.key.clone(), kept.conversations);
        self.book = Book::new(kept.key, generation, kept.cards, kept.grants, kept.freezes, now());
        self.store = Some(store);
        self.parts.notifier.post(kept.letters);
        self.parts.freezer.publish(self.book.freezes().cloned().collect());
        Ok(())
    }

    /// Works until the end.
    pub fn run(&mut self, messages: &mpsc::Receiver<Message>) {
        let (mut last_tick, mut last_stored) = (Instant::now(), Instant::now());
        loop {
            let message = match (self.book.is_idle(), self.parts.conversations.is_open()) {
                (false, _) => messages.recv_timeout(HOLD_TICK),
                (true, true) => messages.recv_timeout(CONVERSATION_STORE_INTERVAL),
                (true, false) => messages.recv().map_err(|_| mpsc::RecvTimeoutError::Disconnected),
            };
            match message {
                Ok(Message::End) | Err(mpsc::RecvTimeoutError::Disconnected) => {
                    self.store_conversations();
                    return;
                }
                Ok(message) => self.handle(message),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
            }
            if last_tick.elapsed() >= HOLD_TICK {
                last_tick = Instant::now();
                let effects = self.book.tick(now());
                let _ = self.carry_out(effects);
            }
            if last_stored.elapsed() >= CONVERSATION_STORE_INTERVAL {
                last_stored = Instant::now();
                self.store_conversations();
            }
            self.count();
        }
    }

    /// Stores what was judged of conversations. What is not stored is judged again after a restart.
    fn store_conversations(&mut self) {
        let changes = self.parts.conversations.take_changes();
        let Some(store) = self.store.as_mut().filter(|_| !changes.is_empty()) else { return };
        if let Err(error) = store.remember(&changes) {
            tracing::warn!(%error, "what was judged of conversations is not stored");
        }
    }

    fn handle(&mut self, message: Message) {
        let effects = match message {
            Message::Ask(seat, question) => return self.ask(seat, question),
            Message::Order(order, answer) => {
                // Whoever asked may have gone.
                let _ = answer.send(self.order(*order));
                return;
            }
            Message::Leave(seat) => {
                self.book.leave(now(), seat);
                self.release(seat);
                return;
            }
            Message::Arrived(ids) => return self.forget(ids),
            Message::Settle(exchange, settlement) => self.book.settle(now(), exchange, settlement),
            Message::Reloaded(generation, remembers) => {
                self.parts.generation = generation;
                if let (true, None) = (remembers, &self.store)
                    && let Err(why) = self.take_up()
                {
                    tracing::error!(why, "conversations are not remembered");
                }
                self.book.reload(now(), generation)
            }
            Message::Drain => self.book.close(now()),
            Message::End => return,
        };
        // It says itself what failed.
        let _ = self.carry_out(effects);
    }

    fn ask(&mut self, seat: Seat, mut question: Box<Question>) {
        let body = std::mem::take(&mut question.body).to_vec();
        if self.store.is_none()
            && let Err(why) = self.take_up()
        {
            tracing::error!(why, "requests cannot be held");
            return self.tell(seat, question.exchange, unavailable(), Segments::new());
        }
        let id = match random() {
            Ok(bytes) => approval::name("apr", bytes),
            Err(_) => return self.tell(seat, question.exchange, unavailable(), Segments::new()),
        };
        let user = match peer::owner(question.peer, question.local) {
            Owner::User(user) => Some(user),
            // Whose process it was is what decides who may approve it. Nobody reads this answer.
            Owner::Gone if !question.terms.allow_self => {
                let approval = Arc::from("");
                return self.tell(seat, question.exchange, Verdict::Pending { approval }, Segments::new());
            }
            Owner::Gone | Owner::Unknown => None,
        };
        let effects = self.book.ask(now(), seat, &question, &body, id, user);
        match self.bodies.keep(body) {
            Ok(body) => drop(self.held.insert(seat, Held { question, body })),
            Err(error) => {
                tracing::error!(%error, "a held body finds no room");
                self.book.leave(now(), seat);
                let _ = self.store_and_record(&effects);
                self.tell(seat, question.exchange, unavailable(), Segments::new());
                self.give_back(question.exchange);
                return;
            }
        }
        let _ = self.carry_out(effects);
    }

    /// Keeps, records and tells, in this order.
    fn carry_out(&mut self, effects: Effects) -> Result<(), String> {
        let kept = self.store_and_record(&effects);
        self.told_of(effects, kept)
    }

    /// Carries out what somebody decided of the card, as which it is there again where that is not recorded.
    fn decided(&mut self, before: Option<Card>, grant: &str, effects: Effects) -> Result<(), String> {
        let kept = self.store_and_record(&effects);
        if let (Err(_), Some(card)) = (&kept, before) {
            self.book.take_back(now(), card, grant);
            let contents = effects.kept.iter().map(|id| (id.clone(), self.content(id))).collect();
            if let Some(Err(error)) = self.store.as_mut().map(|store| store.keep(&contents)) {
                tracing::error!(%error, "a decision that is not recorded is still in the store");
            }
        }
        self.told_of(effects, kept)
    }

    /// Tells all who are to be told what came of it.
    fn told_of(&mut self, effects: Effects, kept: Result<(), String>) -> Result<(), String> {
        if let Err(why) = &kept {
            tracing::error!(why, "what was decided is not kept: nothing goes upstream for it");
        }
        for (seat, verdict) in effects.told {
            let Some(Held { question, body }) = self.held.remove(&seat) else { continue };
            let exchange = question.exchange;
            let body = self.bodies.take(body).inspect_err(|error| {
                tracing::error!(%exchange, %error, "a held body cannot be read");
            });
            let (verdict, body) = match (verdict, body) {
                (Verdict::Approved { approval }, Ok(body)) if kept.is_ok() => {
                    self.whole(&question, body, approval)
                }
                (Verdict::Approved { .. }, _) => {
                    self.give_back(exchange);
                    (unavailable(), Segments::new())
                }
                // Nobody has said so, as far as anybody will ever know.
                (Verdict::Denied { .. }, _) if kept.is_err() => (unavailable(), Segments::new()),
                // It comes again with the next request.
                (verdict @ Verdict::Pending { .. }, _) => (verdict, Segments::new()),
                (verdict, body) => (verdict, body.unwrap_or_default()),
            };
            self.tell(seat, exchange, verdict, body);
        }
        for id in &effects.kept {
            if let Some(card) = self.book.card(id) {
                self.events.publish(card.view());
            }
        }
        effects.again.into_iter().for_each(|seat| self.ask_again(seat));
        kept
    }

    /// A request asks what it has asked already.
    fn ask_again(&mut self, seat: Seat) {
        let Some(Held { mut question, body }) = self.held.remove(&seat) else { return };
        match self.bodies.take(body) {
            Ok(body) => {
                question.body = body;
                self.ask(seat, question);
            }
            Err(error) => {
                tracing::error!(exchange = %question.exchange, %error, "a held body cannot be read");
                self.tell(seat, question.exchange, unavailable(), Segments::new());
            }
        }
    }

    /// A yes with the body, which is what was approved, or nothing.
    fn whole(&mut self, question: &Question, body: Segments, approval: Arc<str>) -> (Verdict, Segments) {
        let expected = self.book.card(&approval).map(|card| card.bind);
        if expected.is_none_or(|bind| bind == self.book.bind(question, &body.to_vec())) {
            return (Verdict::Approved { approval }, body);
        }
        tracing::error!(%approval, "the bytes of an approved request have changed: they are not sent");
        self.give_back(question.exchange);
        (unavailable(), Segments::new())
    }

    /// Nothing was sent for this request.
    fn give_back(&mut self, exchange: ExchangeId) {
        let effects = self.book.settle(now(), exchange, Settlement::Unsent);
        if let Err(why) = self.store_and_record(&effects) {
            tracing::error!(why, %exchange, "an approval that was not used is not restored");
        }
    }

    fn store_and_record(&mut self, effects: &Effects) -> Result<(), String> {
        let mut changes: BTreeMap<String, Option<String>> =
            effects.kept.iter().map(|id| (id.clone(), self.content(id))).collect();
        let letters = self.letters(effects);
        // All or nothing: what is so is told, and what is told is so.
        changes.extend(letters.iter().map(|one| (one.id.clone(), serde_json::to_string(one).ok())));
        if !changes.is_empty() {
            let store = self.store.as_mut().ok_or("there is no store")?;
            store.keep(&changes).map_err(|error| format!("the store of approvals: {error}"))?;
        }
        if let Err(failure) = self.record(&effects.records) {
            self.forget(letters.into_iter().map(|letter| letter.id).collect());
            return Err(format!("the audit journal: {failure}"));
        }
        self.parts.notifier.post(letters);
        Ok(())
    }

    fn record(&self, records: &[Record]) -> Result<(), Failure> {
        let last = records.len().saturating_sub(1);
        for (index, record) in records.iter().enumerate() {
            // The log is in order: what stands before a record that is on the disk is there, too.
            let commit = if index == last { Commit::Durable } else { Commit::Written };
            self.parts.journal.append_blocking(commit, record.clone())?;
        }
        Ok(())
    }

    /// What is to be told of this, to all who want to know.
    fn letters(&self, effects: &Effects) -> Vec<Letter> {
        let linked = |notice: Notice| match &self.parts.page {
            Some(page) => notice.linked(page),
            None => notice,
        };
        let notices: Vec<Notice> = effects.notices(&self.book).into_iter().map(linked).collect();
        self.parts.notifier.letters(&notices, now()).unwrap_or_else(|error| {
            tracing::error!(%error, "nobody is told of what happened");
            Vec::new()
        })
    }

    fn forget(&mut self, letters: Vec<String>) {
        let Some(store) = &mut self.store else { return };
        let changes = letters.into_iter().map(|id| (id, None)).collect();
        if let Err(error) = store.keep(&changes) {
            tracing::error!(%error, "a notice that has arrived is still kept: it may come twice");
        }
    }

    /// What the store holds of a card, a grant or a stop.
    fn content(&self, id: &str) -> Option<String> {
        let text = |value: serde_json::Result<String>| value.ok();
        match id.get(..4) {
            Some("apr_") => text(serde_json::to_string(self.book.card(id)?)),
            Some("gra_") => text(serde_json::to_string(self.book.grant(id)?)),
            _ => text(serde_json::to_string(self.book.freeze_of(id)?)),
        }
    }

    fn listed(&self, page: &Page, approver: &Approver) -> Answered {
        let is_wanted = |card: &&Card| {
            approver.sees(card)
                && page.state.as_deref().is_none_or(|name| name == card.state.as_str())
                && page.after.as_ref().is_none_or(|after| place(card) > (after.asked_us, &after.id))
        };
        let mut cards: Vec<&Card> = self.book.cards().filter(is_wanted).collect();
        cards.sort_by(|one, other| place(one).cmp(&place(other)));
        let count = cards.len();
        cards.truncate(page.limit.unwrap_or(count));
        let last = cards.last().filter(|_| cards.len() < count);
        let next = last.map(|last| Place { asked_us: last.asked_us, id: last.id.clone() });
        Answered::Cards(cards.into_iter().map(Card::view).collect(), next)
    }

    fn order(&mut self, order: Order) -> Result<Answered, Fault> {
        match order {
            Order::List(page, approver) => Ok(self.listed(&page, &approver)),
            Order::Show(id, approver) => self.shown(&id, &approver),
            Order::Decide(id, decision) => {
                let approver = decision.approver.clone();
                let id = self.full(&id, &approver)?;
                let (before, grant) = (self.book.card(&id).cloned(), fresh("gra")?);
                let effects = self.book.decide(now(), &id, decision, grant.clone())?;
                self.decided(before, &grant, effects).map_err(Fault::Unavailable)?;
                self.shown(&id, &approver)
            }
            Order::Grants(approver) => {
                let seen = self.book.grants().filter(|grant| approver.sees_grant(grant));
                Ok(Answered::Grants(seen.map(approval::Grant::view).collect()))
            }
            Order::Revoke(id, approver) => {
                let effects = self.book.revoke(now(), &id, &approver)?;
                self.carry_out(effects).map_err(Fault::Unavailable)?;
                self.order(Order::Grants(approver))
            }
            Order::Freezes(approver) => {
                let seen = self.book.freezes().filter(|freeze| approver.may_stop(&freeze.whom));
                Ok(Answered::Freezes(seen.cloned().collect()))
            }
            Order::Freeze(whom, approver, reason) => self.freeze(whom, approver, reason),
            Order::Foresee(order) => {
                let order = match *order {
                    Order::Decide(id, decision) => {
                        Order::Decide(self.full(&id, &decision.approver)?, decision)
                    }
                    order => order,
                };
                self.book.foresee(now(), order).map(Answered::Foreseen)
            }
            Order::Thaw(id, approver) => {
                let (freeze, mut effects) = self.book.thaw(now(), &id, &approver)?;
                effects.records.push(admin("thaw", &approver.name, &freeze.whom.to_string()));
                self.carry_out(effects).map_err(Fault::Unavailable)?;
                self.publish();
                self.order(Order::Freezes(approver))
            }
        }
    }

    fn freeze(&mut self, whom: Whom, approver: Approver, reason: String) -> Result<Answered, Fault> {
        approver.must_stop(&whom)?;
        self.needs_store()?;
        let by = approver.name.to_string();
        let record = admin("freeze", &by, &format!("{whom}: {reason}"));
        let freeze = Freeze { id: fresh("frz")?, whom, reason, by, at: now().to_string() };
        let mut effects = self.book.freeze(now(), freeze);
        // In force before it is written: a stop that is not recorded is still a stop.
        self.publish();
        effects.records.insert(0, record);
        self.carry_out(effects).map_err(Fault::Unavailable)?;
        self.order(Order::Freezes(approver))
    }

    fn needs_store(&mut self) -> Result<(), Fault> {
        match self.store {
            Some(_) => Ok(()),
            None => self.take_up().map_err(Fault::Unavailable),
        }
    }

    fn shown(&self, id: &str, approver: &Approver) -> Result<Answered, Fault> {
        let card = self.book.card(&self.full(id, approver)?).map(|card| Box::new(card.view()));
        card.map(Answered::Card).ok_or_else(|| Fault::NotFound(format!("approval {id}")))
    }

    /// The whole id of one that was given by its beginning.
    fn full(&self, id: &str, approver: &Approver) -> Result<String, Fault> {
        let id = id.trim();
        let is_meant = |card: &&Card| approver.sees(card) && card.id.starts_with(id) && id.len() > 4;
        let mut fitting = self.book.cards().filter(is_meant);
        match (fitting.next(), fitting.next()) {
            (Some(card), None) => Ok(card.id.clone()),
            (Some(_), Some(_)) => Err(Fault::Conflict(format!("several approvals begin with {id}"))),
            (None, _) => Err(Fault::NotFound(format!("approval {id}"))),
        }
    }

    fn publish(&self) {
        self.parts.freezer.publish(self.book.freezes().cloned().collect());
    }

    fn count(&self) {
        self.parts.metrics.approvals_pending.set(self.book.pending() as i64);
    }

    /// Gives up the body of a request that does not wait any more.
    fn release(&mut self, seat: Seat) {
        if let Some(held) = self.held.remove(&seat) {
            let _ = self.bodies.take(held.body);
        }
    }

    /// Brings a verdict to its shard, which may be too busy to take it at once.
    fn tell(&mut self, seat: Seat, exchange: ExchangeId, verdict: Verdict, body: Segments) {
        let until = Instant::now() + DELIVERY_TIMEOUT;
        let mut delivery = Delivery::Verdict(seat.ticket, exchange, verdict, body);
        while let Err(back) = (self.parts.deliver)(seat.shard, delivery) {
            if Instant::now() >= until {
                tracing::warn!(shard = seat.shard, %exchange, "a shard takes no verdict");
                if matches!(back, Delivery::Verdict(_, _, Verdict::Approved { .. }, _)) {
                    self.give_back(exchange);
                }
                return;
            }
            delivery = back;
            thread::sleep(DELIVERY_RETRY);
        }
    }
}

fn now() -> Timestamp {
    runtime::now().wall
}

fn random<const N: usize>() -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| "the system gives no random bytes".to_owned())?;
    Ok(bytes)
}

fn fresh(prefix: &str) -> Result<String, Fault> {
    random().map(|bytes| approval::name(prefix, bytes)).map_err(Fault::Unavailable)
}

fn unavailable() -> Verdict {
    Verdict::Unavailable { detail: "What people decide cannot be kept now.".into() }
}

fn admin(action: &str, author: &str, object: &str) -> Record {
    Record::Admin(Access { at: now(), author: author.into(), action: action.into(), object: object.into() })
}

/// What cards are in order by: a [`Place`] that is not kept.
fn place(card: &Card) -> (u64, &String) {
    (card.asked_us, &card.id)
}
