use super::sys::{self, Direction};
use crate::{limits, time::Instant};
use monoio::io::{CancelHandle, Canceller};
use std::{cell::Cell, fmt, net::SocketAddr, os::fd::RawFd, rc::Rc};

/// Handle on a connection beside its two halves: addresses, deadline, abort. Clones are the same connection.
/// It keeps nothing open: when both halves are gone, every call does nothing.
#[derive(Clone, Debug)]
pub struct Control(Rc<State>);

struct State {
    /// The descriptor while the connection lives: it must never be touched after it was closed and reused.
    fd: Cell<Option<RawFd>>,
    peer: SocketAddr,
    local: SocketAddr,
    deadline: Cell<Option<(Instant, u8)>>,
    expired: Cell<Option<u8>>,
    writing: Cell<bool>,
    reset_on_drop: Cell<bool>,
    sent: Cell<u64>,
    /// Looks of the sweeper at a connection that waits for its next message, from 1; 0 while it does not.
    idle_looks: Cell<u8>,
    /// Whether the read under way has no buffer.
    watching: Cell<bool>,
    /// Gives up the read of an idle connection.
    canceller: Cell<Option<Canceller>>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("fd", &self.fd).field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl Control {
    /// Bytes that the kernel has taken from us so far, on the wire's side of TLS. Without those of a write
    /// that is under way.
    pub fn sent_bytes(&self) -> u64 {
        self.0.sent.get()
    }

    pub(super) fn add_sent(&self, bytes: u64) {
        self.0.sent.set(self.0.sent.get() + bytes);
    }

    /// Aborts the connection so that the peer sees that the message did not end cleanly (RST). Pending reads
    /// and writes end with an error; unsent bytes are thrown away.
    pub fn reset(&self) {
        if let Some(fd) = self.0.fd.get()
            && sys::abort(fd).is_err()
        {
            // Not connected any more, or not TCP: the pending operations must end all the same.
            let _ = sys::shutdown(fd, Direction::Both);
        }
    }

    /// Ends both directions: a pending read ends with what has arrived and then end of file, a pending write
    /// fails.
    pub fn shutdown(&self) {
        self.end(Direction::Both);
    }

    /// Sets, moves or (with `None`) lifts the deadline. `cause` is handed back by [`Control::expired`]. Costs
    /// two stores: the sweeper looks every [`limits::SWEEP_INTERVAL`].
    pub fn set_deadline(&self, deadline: Option<Instant>, cause: u8) {
        self.0.deadline.set(deadline.map(|at| (at, cause)));
    }

    /// The cause given with the last deadline that passed. The pending read has then ended with end of file;
    /// if no write was under way, the connection can still be written to for [`limits::LAST_WRITE_TIMEOUT`],
    /// to say why.
    pub fn expired(&self) -> Option<u8> {
        self.0.expired.get()
    }

    /// While set, dropping the writer resets the connection instead of ending it cleanly: what a message that
    /// was cut must look like, also when a task panics.
    pub fn reset_on_drop(&self, reset: bool) {
        self.0.reset_on_drop.set(reset);
    }

    /// Address of the peer.
    pub fn peer_addr(&self) -> SocketAddr {
        self.0.peer
    }

    /// Our address.
    pub fn local_addr(&self) -> SocketAddr {
        self.0.local
    }

    /// Whether one of the halves still exists.
    pub fn is_open(&self) -> bool {
        self.0.fd.get().is_some()
    }

    pub(super) fn new(fd: RawFd, local: SocketAddr, peer: SocketAddr) -> (Control, Rc<Alive>) {
        let control = Control(Rc::new(State {
            fd: Cell::new(Some(fd)),
            peer,
            local,
            deadline: Cell::new(None),
            expired: Cell::new(None),
            writing: Cell::new(false),
            reset_on_drop: Cell::new(false),
            sent: Cell::new(0),
            idle_looks: Cell::new(0),
            watching: Cell::new(false),
            canceller: Cell::new(None),
        }));
        let alive = Rc::new(Alive(control.clone()));
        (control, alive)
    }

    /// The descriptor while one of the halves exists.
    pub(super) fn descriptor(&self) -> Option<RawFd> {
        self.0.fd.get()
    }

    /// Ends the pending operations of one or both directions.
    pub(super) fn end(&self, direction: Direction) {
        if let Some(fd) = self.0.fd.get() {
            let _ = sys::shutdown(fd, direction);
        }
    }

    /// Says whether a write is under way: then a deadline must end both directions.
    pub(super) fn set_writing(&self, writing: bool) {
        self.0.writing.set(writing);
    }

    /// Whether the connection has idled for so long that it waits without a buffer.
    pub fn is_watching(&self) -> bool {
        self.0.watching.get()
    }

    pub(super) fn set_watching(&self, watching: bool) {
        self.0.watching.set(watching);
    }

    /// The handle that makes a read one that [`Control::set_idle`] lets the sweeper give up.
    pub(super) fn cancel_handle(&self) -> CancelHandle {
        let canceller = self.0.canceller.take().unwrap_or_default();
        let handle = canceller.handle();
        self.0.canceller.set(Some(canceller));
        handle
    }

    /// Says whether the connection waits for its next message. The read of one that does for
    /// [`limits::IDLE_SWEEPS`] gives its buffer back.
    pub(super) fn set_idle(&self, idle: bool) {
        self.0.idle_looks.set(u8::from(idle));
    }

    fn look_at_idle(&self) {
        let looks = self.0.idle_looks.get();
        if looks >= limits::IDLE_SWEEPS {
            self.0.idle_looks.set(0);
            if let Some(canceller) = self.0.canceller.take() {
                canceller.cancel();
            }
        } else if looks > 0 {
            self.0.idle_looks.set(looks + 1);
        }
    }

    pub(super) fn resets_on_drop(&self) -> bool {
        self.0.reset_on_drop.get()
    }

    /// Ends the connection's pending operations if its deadline has passed; gives its cause, and whether it
    /// is the last word: the time to say why is up, too.
    pub(super) fn sweep(&self, now: Instant) -> Option<(u8, bool)> {
        let fd = self.0.fd.get()?;
        self.look_at_idle();
        let (deadline, cause) = self.0.deadline.get()?;
        if now < deadline {
            return None;
        }
        let again = self.0.expired.replace(Some(cause)).is_some();
        if again || self.0.writing.get() {
            self.0.deadline.set(None);
            let _ = sys::shutdown(fd, Direction::Both);
        } else {
            self.0.deadline.set(Some((now + limits::LAST_WRITE_TIMEOUT, cause)));
            let _ = sys::shutdown(fd, Direction::Read);
        }
        Some((cause, again))
    }
}

/// Held by whatever may use the descriptor; dropped before the descriptor can be closed.
#[derive(Debug)]
pub(super) struct Alive(Control);

impl Alive {
    pub fn control(&self) -> &Control {
        &self.0
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.0.fd.set(None);
    }
}

#[cfg(test)]
impl Control {
    /// Whether NODELAY and CLOEXEC are set.
    pub(super) fn socket_options(&self) -> Option<(bool, bool)> {
        let fd = self.0.fd.get()?;
        sys::socket_options(fd).ok()
    }
}
