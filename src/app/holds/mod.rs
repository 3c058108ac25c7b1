//! Keeps held requests: a thread of its own beside the shards, on which the machine of [`crate::approval`]
//! runs. It holds the bodies, stores the cards, records what is decided, and tells the shards.
//!
//! What the store holds comes first, then the log, then the shard: a request goes upstream only when its use
//! is in both. Start at [`Holds::start`].

mod body;
mod keeper;
mod peer;
mod store;

use crate::{
    admin::Events,
    approval::{Answered, Conversations, Fault, Freezer, Order, Seat},
    background::{errands, notify::Notifier},
    exchange::handover::{Errand, Work},
    journal,
    metrics::Metrics,
};
use keeper::{Keeper, Message};
use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
};

/// The end of the keeper that others hold. It ends with the process.
pub struct Holds {
    sender: mpsc::Sender<Message>,
    pub events: Arc<Events>,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
}

/// What the keeper works with.
pub struct Parts {
    pub journal: journal::Handle,
    pub deliver: errands::Deliver,
    pub freezer: Arc<Freezer>,
    pub conversations: Arc<Conversations>,
    pub metrics: Arc<Metrics>,
    /// Whoever is told of what happens.
    pub notifier: Arc<Notifier>,
    /// Where people decide; `None`: there is no such page.
    pub page: Option<Arc<str>>,
    pub generation: u64,
    /// Whether a policy may hold something: then the store must be there.
    pub may_hold: bool,
    /// Whether conversations are remembered: then, too.
    pub remembers: bool,
}

impl Holds {
    /// Starts the keeper of the log in `audit`; what it stores lies beside.
    ///
    /// # Errors
    /// The store cannot be opened, or there is no thread.
    pub fn start(audit: &Path, parts: Parts) -> Result<Holds, String> {
        let (sender, receiver) = mpsc::channel();
        let events = Arc::new(Events::default());
        let arrived = sender.clone();
        parts.notifier.kept_by(Box::new(move |ids| drop(arrived.send(Message::Arrived(ids)))));
        let mut keeper = Keeper::open(audit, parts, events.clone())?;
        let thread = thread::Builder::new().name("approvals".to_owned());
        let thread = thread.spawn(move || keeper.run(&receiver)).map_err(|error| error.to_string())?;
        Ok(Holds { sender, events, thread: Mutex::new(Some(thread)) })
    }

    /// The way of errands to it.
    pub fn errands(&self) -> errands::Holds {
        let sender = self.sender.clone();
        Arc::new(move |Errand { shard, ticket, work }| {
            let seat = Seat { shard, ticket };
            let message = match work {
                Work::Hold(question) => Message::Ask(seat, question),
                Work::Leave => Message::Leave(seat),
                Work::Settle(exchange, settlement) => Message::Settle(exchange, settlement),
                _ => return,
            };
            // It ends after the shards.
            let _ = sender.send(message);
        })
    }

    /// Carries an order out. Blocks.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn order(&self, order: Order) -> Result<Answered, Fault> {
        let (sender, receiver) = mpsc::sync_channel(1);
        let ended = |_| Fault::Unavailable("the gateway stops".to_owned());
        self.sender.send(Message::Order(Box::new(order), sender)).map_err(|_| ended(mpsc::RecvError))?;
        receiver.recv().map_err(ended)?
    }

    /// Another configuration is in force, which remembers conversations or does not.
    pub fn reloaded(&self, generation: u64, remembers: bool) {
        let _ = self.sender.send(Message::Reloaded(generation, remembers));
    }

    /// The process stops: all who wait are sent away, to ask its successor.
    pub fn drain(&self) {
        let _ = self.sender.send(Message::Drain);
    }

    /// Ends the keeper. The shards have ended.
    pub fn end(&self) {
        let _ = self.sender.send(Message::End);
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // A panic there was printed there.
            drop(thread.join());
        }
    }
}
