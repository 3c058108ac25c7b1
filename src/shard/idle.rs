use crate::{
    limits::{SHED_COUNT_MIN, SHED_SHARE},
    runtime::Control,
};
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
};

/// The connections of a shard, and which of them wait for a request: of those a drain closes at once what has
/// had one.
#[derive(Default)]
pub struct IdleSet {
    connections: RefCell<BTreeMap<u64, Known>>,
    last: Cell<u64>,
    /// Counts how often a connection began to idle.
    turns: Cell<u64>,
}

struct Known {
    control: Control,
    idle_since: Rc<Cell<u64>>,
}

/// Part of a turn: no request has come yet.
const NEW: u64 = 1 << 63;

/// One connection's entry; it leaves the set when this is dropped.
pub struct Entry<'a> {
    set: &'a IdleSet,
    key: u64,
    /// The turn at which it began to idle, with [`NEW`] before the first request; 0 while it does not.
    idle_since: Rc<Cell<u64>>,
    is_new: Cell<bool>,
}

impl IdleSet {
    /// Adds a connection, busy at first.
    pub fn enter(&self, control: &Control) -> Entry<'_> {
        let key = self.last.get() + 1;
        self.last.set(key);
        let idle_since = Rc::new(Cell::new(0));
        self.connections
            .borrow_mut()
            .insert(key, Known { control: control.clone(), idle_since: idle_since.clone() });
        Entry { set: self, key, idle_since, is_new: Cell::new(true) }
    }

    /// Resets all connections.
    pub fn reset_all(&self) {
        self.connections.borrow().values().for_each(|known| known.control.reset());
    }

    /// Closes some of the connections that wait for a request, those that do so for the longest time; says
    /// how many.
    pub fn close_oldest(&self) -> usize {
        let connections = self.connections.borrow();
        let mut idle: Vec<_> = connections.values().filter(|known| known.idle_since.get() > 0).collect();
        let count = (idle.len() / SHED_SHARE).max(SHED_COUNT_MIN).min(idle.len());
        idle.sort_unstable_by_key(|known| known.idle_since.get() & !NEW);
        for known in &idle[..count] {
            // It is closed as soon as its task sees it; until then it is not counted again.
            known.idle_since.set(0);
            known.control.shutdown();
        }
        count
    }

    fn next_turn(&self) -> u64 {
        self.turns.set(self.turns.get() + 1);
        self.turns.get()
    }

    /// Closes the connections that wait for another request, and where `with_new` those that wait for their
    /// first one.
    pub fn close_all(&self, with_new: bool) {
        for Known { control, idle_since } in self.connections.borrow().values() {
            let turn = idle_since.get();
            if turn > 0 && (with_new || turn & NEW == 0) {
                control.shutdown();
            }
        }
    }
}

impl Entry<'_> {
    /// Says whether the connection waits for a request.
    pub fn set_idle(&self, is_idle: bool) {
        let new = if self.is_new.get() { NEW } else { 0 };
        self.idle_since.set(if is_idle { self.set.next_turn() | new } else { 0 });
        self.is_new.set(is_idle && new > 0);
    }

    /// Whether no request has come yet.
    pub fn is_new(&self) -> bool {
        self.is_new.get()
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.set.connections.borrow_mut().remove(&self.key);
    }
}
