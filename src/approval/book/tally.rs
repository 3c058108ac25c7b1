//! How many cards are open, so that nobody has to count thousands of them for each request.

use super::super::{Card, State};
use std::collections::{BTreeMap, btree_map::Entry};

/// Counts of cards by their states.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pending: usize,
    /// Cards that wait or are approved and not used, and of which agent they are: issuer and subject.
    open: usize,
    by_agent: BTreeMap<(String, String), usize>,
}

impl Tally {
    /// A card is new, or is another than `before`; its agent stays.
    pub(super) fn change(&mut self, before: Option<&Card>, card: &Card) {
        let (was, is) = (before.is_some_and(is_open), is_open(card));
        self.pending -= usize::from(before.is_some_and(is_pending));
        self.pending += usize::from(is_pending(card));
        let agent = || (card.who.issuer.clone(), card.who.subject.clone());
        match (was, is) {
            (false, true) => {
                self.open += 1;
                *self.by_agent.entry(agent()).or_default() += 1;
            }
            (true, false) => {
                self.open -= 1;
                if let Entry::Occupied(mut entry) = self.by_agent.entry(agent()) {
                    *entry.get_mut() -= 1;
                    if *entry.get() == 0 {
                        entry.remove();
                    }
                }
            }
            _ => {}
        }
    }

    /// Of all these cards, counted anew.
    #[cfg(test)]
    pub(super) fn of<'a>(cards: impl Iterator<Item = &'a Card>) -> Tally {
        let mut tally = Tally::default();
        cards.for_each(|card| tally.change(None, card));
        tally
    }

    /// Open cards of this card's agent.
    pub(super) fn of_agent(&self, card: &Card) -> usize {
        let agent = (card.who.issuer.clone(), card.who.subject.clone());
        self.by_agent.get(&agent).copied().unwrap_or(0)
    }

    pub(super) fn open(&self) -> usize {
        self.open
    }

    pub(super) fn pending(&self) -> usize {
        self.pending
    }
}

fn is_pending(card: &Card) -> bool {
    card.state == State::Pending
}

fn is_open(card: &Card) -> bool {
    matches!(card.state, State::Pending | State::Approved)
}
