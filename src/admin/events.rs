//! What happened to held requests, for those who watch.

use crate::{approval::CardView, limits::HOLD_EVENTS};
use serde::Serialize;
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::watch;

/// One event: a card as it is now.
#[derive(Clone, Debug, Serialize)]
pub struct Event {
    /// Grows with each event of this process.
    pub id: u64,
    pub card: Arc<CardView>,
}

/// The newest events.
#[derive(Debug)]
pub struct Events {
    kept: Mutex<VecDeque<Event>>,
    last: watch::Sender<u64>,
}

impl Default for Events {
    fn default() -> Events {
        Events { kept: Mutex::default(), last: watch::Sender::new(0) }
    }
}

impl Events {
    /// Tells all who watch.
    pub fn publish(&self, card: CardView) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let id = *self.last.borrow() + 1;
        kept.push_back(Event { id, card: Arc::new(card) });
        if kept.len() > HOLD_EVENTS {
            kept.pop_front();
        }
        self.last.send_replace(id);
    }

    /// Number of the newest event; changes with each.
    pub fn last(&self) -> watch::Receiver<u64> {
        self.last.subscribe()
    }

    /// Events behind `after`, as far as they are kept.
    pub fn after(&self, after: u64) -> Vec<Event> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().filter(|event| event.id > after).cloned().collect()
    }
}
