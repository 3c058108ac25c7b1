//! The machine: all cards, all grants, and who waits for which.

mod decide;
mod foresee;
mod tally;

use super::{
    Approver, Card, Digests, Freeze, Grant, Key, Notice, Question, Seat, Settlement, State, Verdict,
    card::{End, outcome_words},
};
use crate::{
    audit::{CardEvent, Consume, ExchangeId, Record},
    limits::{
        HOLD_REFUSAL_STICKY, HOLD_RESEND_WINDOW, HOLD_RESENDS, HOLD_RETURN, HOLD_WAITING_MAX,
        HOLD_WAITING_PER_AGENT,
    },
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tally::Tally;

/// All held requests of a gateway.
#[derive(Clone, Debug)]
pub struct Book {
    key: Key,
    /// Changed by [`Book::put`] alone, but for what no tally asks.
    cards: BTreeMap<String, Card>,
    tally: Tally,
    /// The newest card of each question.
    by_ask: BTreeMap<[u8; 32], String>,
    waiting: BTreeMap<Seat, Waiting>,
    grants: BTreeMap<String, Grant>,
    freezes: BTreeMap<String, Freeze>,
    /// Of the configuration in force: what another one decided is asked again.
    generation: u64,
    is_closing: bool,
}

/// One exchange that waits.
#[derive(Clone, Debug)]
struct Waiting {
    card: String,
    bind: [u8; 32],
    exchange: ExchangeId,
    token_ends: Option<Timestamp>,
    /// The end of its slice.
    until_us: u64,
}

/// What is to be done, in this order; nothing of it may be left out.
#[derive(Debug, Default)]
pub struct Effects {
    /// Cards, grants and freezes that are to be kept as they are now, or forgotten where they are gone.
    pub kept: BTreeSet<String>,
    /// To be recorded durably.
    pub records: Vec<Record>,
    pub told: Vec<(Seat, Verdict)>,
    /// Requests that are to ask again at once, with what they asked: a grant may let them through now.
    pub again: Vec<Seat>,
    /// What people elsewhere are told of, beside what the records say.
    pub notices: Vec<Notice>,
}

impl Effects {
    /// All that people elsewhere are told of, once this is kept.
    pub fn notices(&self, book: &Book) -> Vec<Notice> {
        let of = |record: &Record| {
            let card = match record {
                Record::Approval(approval) => book.card(&approval.approval),
                _ => None,
            };
            Notice::of(record, card)
        };
        self.records.iter().filter_map(of).chain(self.notices.iter().cloned()).collect()
    }
}

/// What somebody decides.
#[derive(Clone, Debug)]
pub struct Decision {
    pub approver: Approver,
    /// The revision that they saw.
    pub revision: u64,
    pub given: Given,
}

/// Yes or no.
#[derive(Clone, Debug)]
pub enum Given {
    Yes { scope: Scope, reason: Option<String> },
    No { reason: String },
}

/// For how long a yes is good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// This one request.
    Once,
    /// What the same policy holds of the same session.
    Session,
    /// What the same policy holds of the same subject, or of everybody in the group.
    Period(Duration, Option<String>),
}

impl Scope {
    /// What is good by both.
    fn and(self, other: Scope) -> Scope {
        match (self, other) {
            (Scope::Session, Scope::Session) => Scope::Session,
            (Scope::Period(one, group), Scope::Period(other, same)) => {
                Scope::Period(one.min(other), group.filter(|group| same.as_ref() == Some(group)))
            }
            _ => Scope::Once,
        }
    }
}

/// Why an order was not carried out; the one who gave it is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("there is no {0}")]
    NotFound(String),
    #[error("{0}")]
    Conflict(String),
    #[error("{0}")]
    Forbidden(String),
    #[error("{0}")]
    Malformed(String),
    /// The gateway is at fault.
    #[error("{0}")]
    Unavailable(String),
}

impl Book {
    /// A book of what a former process kept. Its requests are gone: what it was sending is lost.
    pub fn new(
        key: Key,
        generation: u64,
        cards: Vec<Card>,
        grants: Vec<Grant>,
        freezes: Vec<Freeze>,
        now: Timestamp,
    ) -> Book {
        let mut book = Book {
            key,
            cards: BTreeMap::new(),
            tally: Tally::default(),
            by_ask: BTreeMap::new(),
            waiting: BTreeMap::new(),
            grants: grants.into_iter().map(|grant| (grant.id.clone(), grant)).collect(),
            freezes: freezes.into_iter().map(|freeze| (freeze.id.clone(), freeze)).collect(),
            generation,
            is_closing: false,
        };
        let mut cards = cards;
        cards.sort_by_key(|card| card.asked_us);
        for mut card in cards {
            card.away_us = Some(now.0);
            if let State::Consumed { end: end @ None, .. } = &mut card.state {
                *end = Some(End::Lost);
            }
            book.by_ask.insert(card.ask, card.id.clone());
            book.put(card);
        }
        book
    }

    /// Cards, the oldest first.
    pub fn cards(&self) -> impl Iterator<Item = &Card> {
        self.cards.values()
    }

    /// The card of an id.
    pub fn card(&self, id: &str) -> Option<&Card> {
        self.cards.get(id)
    }

    /// Grants that are in force or ended a moment ago.
    pub fn grants(&self) -> impl Iterator<Item = &Grant> {
        self.grants.values()
    }

    /// The grant of an id.
    pub fn grant(&self, id: &str) -> Option<&Grant> {
        self.grants.get(id)
    }

    /// All stops.
    pub fn freezes(&self) -> impl Iterator<Item = &Freeze> {
        self.freezes.values()
    }

    /// The stop of an id.
    pub fn freeze_of(&self, id: &str) -> Option<&Freeze> {
        self.freezes.get(id)
    }

    /// Whether nothing has to be looked after.
    pub fn is_idle(&self) -> bool {
        self.cards.is_empty() && self.grants.is_empty()
    }

    /// The digest of all that a verdict on `question` covers.
    pub fn bind(&self, question: &Question, body: &[u8]) -> [u8; 32] {
        self.key.digests(question, body).bind
    }

    /// A request asks. `id` names its card if it is a new one; `uid` is the user whose process asks.
    pub fn ask(
        &mut self,
        now: Timestamp,
        seat: Seat,
        question: &Question,
        body: &[u8],
        id: String,
        uid: Option<u32>,
    ) -> Effects {
        let mut effects = Effects::default();
        let digests = self.key.digests(question, body);
        let known = self.by_ask.get(&digests.ask).cloned();
        if self.is_closing || question.generation != self.generation {
            let approval = known.unwrap_or_default().as_str().into();
            effects.told.push((seat, Verdict::Pending { approval }));
            return effects;
        }
        let subject = question.subject.as_deref().map(|subject| &*subject.subject);
        let meets = |one: &&Freeze| one.whom.meets(subject, &question.session, &question.route);
        if let Some(freeze) = self.freezes.values().find(meets) {
            effects.told.push((seat, Verdict::Frozen { reason: freeze.reason.as_str().into() }));
            return effects;
        }
        let card = known.and_then(|id| self.cards.get(&id).cloned());
        let card = card.filter(|card| !is_over(card, &digests.bind, now));
        if !matches!(&card, Some(card) if matches!(card.state, State::Denied { .. }))
            && let Some(grant) = self.grants.values_mut().find(|grant| grant.covers(question, now))
        {
            grant.uses += 1;
            effects.kept.insert(grant.id.clone());
            effects.records.push(used(grant, question, digests.bind, now));
            let approval: Arc<str> = grant.id.as_str().into();
            if let Some(card) = card.filter(|card| card.state == State::Pending) {
                self.overtake(now, card, &approval, &mut effects);
            }
            effects.told.push((seat, Verdict::Approved { approval }));
            return effects;
        }
        let mut card = match card {
            Some(card) => card,
            None => match self.open(now, question, (&digests, body.len()), id, &mut effects) {
                Ok(card) => card,
                Err(detail) => {
                    effects.told.push((seat, Verdict::Overflow { detail: detail.into() }));
                    return effects;
                }
            },
        };
        if matches!(card.state, State::Pending | State::Approved) && card.bind != digests.bind {
            card.revise(question, &digests, body.len(), now);
            effects.records.push(card.record(CardEvent::Revised, None, None, now));
            effects.kept.insert(card.id.clone());
        }
        card.exchange = question.exchange.to_string();
        card.away_us = None;
        if uid.is_some_and(|uid| card.uids.insert(uid)) {
            effects.kept.insert(card.id.clone());
        }
        let waiting = Waiting {
            card: card.id.clone(),
            bind: digests.bind,
            exchange: question.exchange,
            token_ends: question.token_ends,
            until_us: now.0 + question.slice.as_micros() as u64,
        };
        self.seat(now, seat, waiting, &mut card, &mut effects);
        self.by_ask.insert(card.ask, card.id.clone());
        self.put(card);
        effects
    }

    /// Nobody has to decide about a card any more: a grant has let its request through.
    fn overtake(&mut self, now: Timestamp, mut card: Card, grant: &str, effects: &mut Effects) {
        if self.waiting.values().any(|waiting| waiting.card == card.id) {
            return;
        }
        let reason = format!("{grant} has let it through.");
        effects.records.push(card.record(CardEvent::Abandoned, None, Some(&reason), now));
        effects.kept.insert(card.id.clone());
        card.state = State::Abandoned { at_us: now.0 };
        self.put(card);
    }

    /// A new card, if there is room for one.
    fn open(
        &self,
        now: Timestamp,
        question: &Question,
        (digests, body_bytes): (&Digests, usize),
        id: String,
        effects: &mut Effects,
    ) -> Result<Card, String> {
        let card = Card::new(id, question, digests, body_bytes, now);
        if self.tally.of_agent(&card) >= HOLD_WAITING_PER_AGENT {
            return Err(format!(
                "{HOLD_WAITING_PER_AGENT} requests of this caller wait for approval already."
            ));
        }
        if self.tally.open() >= HOLD_WAITING_MAX {
            return Err(format!("{HOLD_WAITING_MAX} requests wait for approval already."));
        }
        effects.records.push(card.record(CardEvent::Asked, None, Some(&card.reason), now));
        effects.kept.insert(card.id.clone());
        Ok(card)
    }

    /// Gives a request its place before a card, or its answer at once.
    fn seat(&mut self, now: Timestamp, seat: Seat, waiting: Waiting, card: &mut Card, effects: &mut Effects) {
        let approval = || card.id.as_str().into();
        let verdict = match &card.state {
            State::Pending => {
                self.waiting.insert(seat, waiting);
                return;
            }
            State::Approved => return consume(now, seat, &waiting, card, 0, effects),
            State::Denied { reason, frozen: true, .. } => Verdict::Frozen { reason: reason.as_str().into() },
            State::Denied { reason, .. } => {
                Verdict::Denied { approval: approval(), reason: reason.as_str().into() }
            }
            State::Expired { .. } | State::Abandoned { .. } => Verdict::Expired { approval: approval() },
            State::Consumed { end: None, .. } if card.is_llm => Verdict::Pending { approval: approval() },
            State::Consumed { end: Some(End::Incomplete), resends, .. }
                if may_resend(card, &waiting, now) =>
            {
                let resends = *resends + 1;
                return consume(now, seat, &waiting, card, resends, effects);
            }
            State::Consumed { end, .. } => {
                Verdict::Consumed { approval: approval(), outcome: outcome_words(*end).into() }
            }
        };
        effects.told.push((seat, verdict));
    }

    /// A request does not wait any more: its slice is over, or its caller went away.
    pub fn leave(&mut self, now: Timestamp, seat: Seat) {
        let Some(Waiting { card, .. }) = self.waiting.remove(&seat) else { return };
        let is_awaited = self.waiting.values().any(|other| other.card == card);
        if let Some(card) = self.cards.get_mut(&card)
            && !is_awaited
        {
            card.away_us = Some(now.0);
        }
    }

    /// Tells all who wait for one of these cards: in one pass, however many there are.
    fn tell_all(
        &mut self,
        cards: &BTreeSet<String>,
        verdict: impl Fn(Arc<str>) -> Verdict,
        effects: &mut Effects,
    ) {
        if cards.is_empty() {
            return;
        }
        let gone = self.waiting.extract_if(.., |_, waiting| cards.contains(&waiting.card));
        effects.told.extend(gone.map(|(seat, waiting)| (seat, verdict(waiting.card.as_str().into()))));
    }

    /// Puts a card in its place, new or changed.
    fn put(&mut self, card: Card) {
        self.tally.change(self.cards.get(&card.id), &card);
        self.cards.insert(card.id.clone(), card);
    }

    #[cfg(test)]
    pub(super) fn is_tallied(&self) -> bool {
        self.tally == Tally::of(self.cards.values())
    }

    /// How many cards wait for a decision.
    pub fn pending(&self) -> usize {
        self.tally.pending()
    }

    /// How the request that used an approval ended.
    pub fn settle(&mut self, now: Timestamp, exchange: ExchangeId, settlement: Settlement) -> Effects {
        let mut effects = Effects::default();
        let name = exchange.to_string();
        let is_its = |card: &&Card| match &card.state {
            State::Consumed { exchange, end: None, .. } => *exchange == name,
            _ => false,
        };
        let Some(mut card) = self.cards.values().find(is_its).cloned() else { return effects };
        effects.kept.insert(card.id.clone());
        match (settlement, &mut card.state) {
            // What was sent before stays sent: then only the count of sendings is right.
            (Settlement::Unsent, State::Consumed { resends: 0, .. }) => {
                card.state = State::Approved;
                card.away_us = Some(now.0);
                effects.records.push(card.record(CardEvent::Restored, None, None, now));
            }
            (Settlement::Complete, State::Consumed { end, .. }) => *end = Some(End::Complete),
            (_, State::Consumed { end, .. }) => *end = Some(End::Incomplete),
            _ => {}
        }
        self.put(card);
        effects
    }

    /// Time has passed: what is due ends.
    pub fn tick(&mut self, now: Timestamp) -> Effects {
        let mut effects = Effects::default();
        let due: Vec<Card> = self.cards.values().filter(|card| is_due(card, now)).cloned().collect();
        let ids: BTreeSet<String> = due.iter().map(|card| card.id.clone()).collect();
        self.tell_all(&ids, |approval| Verdict::Expired { approval }, &mut effects);
        for mut card in due {
            let (event, state) = match now.0 >= card.expires_us {
                true => (CardEvent::Expired, State::Expired { at_us: now.0 }),
                false => (CardEvent::Abandoned, State::Abandoned { at_us: now.0 }),
            };
            effects.records.push(card.record(event, None, None, now));
            effects.kept.insert(card.id.clone());
            card.state = state;
            self.put(card);
        }
        let over = self.waiting.iter().filter(|(_, waiting)| now.0 >= waiting.until_us);
        let over: Vec<Seat> = over.map(|(seat, _)| *seat).collect();
        for seat in over {
            let approval = self.waiting.get(&seat).map_or("", |waiting| &waiting.card).into();
            self.leave(now, seat);
            effects.told.push((seat, Verdict::Pending { approval }));
        }
        self.forget(now, &mut effects);
        effects
    }

    /// Forgets what ended long ago.
    fn forget(&mut self, now: Timestamp, effects: &mut Effects) {
        let sticky = HOLD_REFUSAL_STICKY.as_micros() as u64;
        let is_old = |card: &Card| match &card.state {
            State::Consumed { end: None, .. } => false,
            state => state.ended_us().is_some_and(|at| now.0 >= at + sticky),
        };
        for (id, card) in self.cards.extract_if(.., |_, card| is_old(card)) {
            if self.by_ask.get(&card.ask) == Some(&id) {
                self.by_ask.remove(&card.ask);
            }
            effects.kept.insert(id);
        }
        let ended = self.grants.extract_if(.., |_, grant| now.0 >= grant.expires_us);
        effects.kept.extend(ended.map(|(id, _)| id));
    }

    /// Another configuration is in force: all who wait ask again, to be decided by it.
    pub fn reload(&mut self, now: Timestamp, generation: u64) -> Effects {
        self.generation = generation;
        self.send_away(now)
    }

    /// The process ends: all who wait ask its successor.
    pub fn close(&mut self, now: Timestamp) -> Effects {
        self.is_closing = true;
        self.send_away(now)
    }

    fn send_away(&mut self, now: Timestamp) -> Effects {
        let mut effects = Effects::default();
        for (seat, waiting) in std::mem::take(&mut self.waiting) {
            if let Some(card) = self.cards.get_mut(&waiting.card) {
                card.away_us = Some(now.0);
            }
            let approval = waiting.card.as_str().into();
            effects.told.push((seat, Verdict::Pending { approval }));
        }
        effects
    }
}

/// Uses an approval for the request at `seat`, unless its token has ended meanwhile.
fn consume(
    now: Timestamp,
    seat: Seat,
    waiting: &Waiting,
    card: &mut Card,
    resends: u64,
    effects: &mut Effects,
) {
    if waiting.token_ends.is_some_and(|end| end <= now) {
        card.away_us = Some(now.0);
        effects.told.push((seat, Verdict::TokenExpired));
        return;
    }
    let first_us = match &card.state {
        State::Consumed { first_us, .. } => *first_us,
        _ => now.0,
    };
    let exchange = waiting.exchange.to_string();
    card.state = State::Consumed { exchange, at_us: now.0, first_us, resends, end: None };
    effects.kept.insert(card.id.clone());
    effects.records.push(card.consumption(waiting.exchange, resends, now));
    let approval = card.id.as_str().into();
    effects.told.push((seat, Verdict::Approved { approval }));
}

/// What the log says of a grant's use.
fn used(grant: &Grant, question: &Question, bind: [u8; 32], now: Timestamp) -> Record {
    Record::Consume(Box::new(Consume {
        exchange: question.exchange,
        at: now,
        approval: grant.id.as_str().into(),
        revision: 1,
        bind,
        authors: grant.by.iter().map(|by| by.as_str().into()).collect(),
        resends: 0,
    }))
}

/// Whether a card says nothing about the same question any more.
fn is_over(card: &Card, bind: &[u8; 32], now: Timestamp) -> bool {
    match &card.state {
        State::Abandoned { .. } | State::Consumed { end: Some(End::Complete), .. } => true,
        // Whoever waited was told; whoever was between two sendings is told within that time.
        State::Expired { at_us } => now.0 >= at_us + HOLD_RETURN.as_micros() as u64,
        // Another request than the one that was used.
        State::Consumed { .. } => card.bind != *bind,
        _ => false,
    }
}

/// Whether time has brought a card to its end.
fn is_due(card: &Card, now: Timestamp) -> bool {
    let is_away = card.away_us.is_some_and(|since| now.0 >= since + HOLD_RETURN.as_micros() as u64);
    match card.state {
        State::Pending => now.0 >= card.expires_us || is_away,
        State::Approved => now.0 >= card.expires_us,
        _ => false,
    }
}

/// UX section 4: a model's answer that broke off may be asked for again, a little later and not often.
fn may_resend(card: &Card, waiting: &Waiting, now: Timestamp) -> bool {
    let State::Consumed { first_us, resends, .. } = &card.state else { return false };
    card.is_llm
        && card.bind == waiting.bind
        && *resends < HOLD_RESENDS
        && now.0 < first_us + HOLD_RESEND_WINDOW.as_micros() as u64
}
