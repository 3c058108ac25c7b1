//! Ends what lasts too long: the socket is shut down, so that whatever the kernel holds of it comes back.

use std::{
    cell::{Cell, RefCell},
    net::{Shutdown, TcpStream},
    time::Instant,
};

/// What the sweeper knows of one connection.
#[derive(Debug, Default)]
pub struct Deadline {
    at: Cell<Option<Instant>>,
    expired: Cell<bool>,
    /// A second descriptor of the socket: the executor's own cannot be shut down.
    socket: RefCell<Option<TcpStream>>,
}

impl Deadline {
    /// Watches this socket from now on, or none.
    pub fn watch(&self, socket: Option<TcpStream>) {
        self.expired.set(false);
        *self.socket.borrow_mut() = socket;
    }

    /// When what begins now has to be over.
    pub fn set(&self, at: Instant) {
        self.at.set(Some(at));
    }

    /// It is over.
    pub fn clear(&self) {
        self.at.set(None);
    }

    /// Whether it was ended here.
    pub fn is_expired(&self) -> bool {
        self.expired.get()
    }

    /// Ends what is overdue.
    pub fn sweep(&self, now: Instant) {
        if self.at.get().is_some_and(|at| at <= now) {
            self.end();
        }
    }

    /// Ends what is under way, if something is.
    pub fn give_up(&self) {
        if self.at.get().is_some() {
            self.end();
        }
    }

    fn end(&self) {
        self.at.set(None);
        self.expired.set(true);
        if let Some(socket) = &*self.socket.borrow() {
            // It fails only if the peer was quicker.
            drop(socket.shutdown(Shutdown::Both));
        }
    }
}
