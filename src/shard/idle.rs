use crate::runtime::Control;
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
};

/// The connections of a shard, and which of them wait for a request: a drain closes those at once.
#[derive(Default)]
pub struct IdleSet {
    connections: RefCell<BTreeMap<u64, Known>>,
    last: Cell<u64>,
}

struct Known {
    control: Control,
    is_idle: Rc<Cell<bool>>,
}

/// One connection's entry; it leaves the set when this is dropped.
pub struct Entry<'a> {
    set: &'a IdleSet,
    key: u64,
    is_idle: Rc<Cell<bool>>,
}

impl IdleSet {
    /// Adds a connection, busy at first.
    pub fn enter(&self, control: &Control) -> Entry<'_> {
        let key = self.last.get() + 1;
        self.last.set(key);
        let is_idle = Rc::new(Cell::new(false));
        self.connections
            .borrow_mut()
            .insert(key, Known { control: control.clone(), is_idle: is_idle.clone() });
        Entry { set: self, key, is_idle }
    }

    /// Resets all connections.
    pub fn reset_all(&self) {
        self.connections.borrow().values().for_each(|known| known.control.reset());
    }

    /// Closes all connections that wait for a request.
    pub fn close_all(&self) {
        for Known { control, is_idle } in self.connections.borrow().values() {
            if is_idle.get() {
                control.shutdown();
            }
        }
    }
}

impl Entry<'_> {
    /// Says whether the connection waits for a request.
    pub fn set_idle(&self, is_idle: bool) {
        self.is_idle.set(is_idle);
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.set.connections.borrow_mut().remove(&self.key);
    }
}
