//! Everything that has to know monoio and its pitfalls: starting a shard's executor, listening, connections
//! in clear text and TLS with one type, timers, the sweeper of deadlines, guarded tasks, and mailboxes
//! between threads. The rest of the house never names monoio, so that the executor can be exchanged here.
//!
//! This is not a protocol and decides nothing: it moves bytes and reports what happened.
//!
//! Start with [`start`] and [`Connection`]. The rule that shapes all of it: **an operation that the kernel
//! may hold is never dropped**. The futures of [`Reader`], [`Writer`], [`Listener`] and [`Inbox`] may be
//! dropped at any time, because the operation belongs to the object and not to the future; an object that is
//! dropped hands its operation to a task that drives it to its end.

mod connection;
mod control;
mod listener;
mod mailbox;
mod operation;
mod probe;
mod reader;
mod receive;
mod slices;
mod slot;
mod start;
mod sweeper;
pub mod sys;
mod task;
mod transmit;
mod writer;

pub mod tls;

pub use connection::{Connection, connect};
pub use control::Control;
pub use listener::Listener;
pub use mailbox::{Inbox, Mailbox, MailboxSender, mailbox};
pub use probe::{Probe, probe};
pub use reader::Reader;
pub use slot::Slot;
pub use start::{Driver, StartOptions, now, recent, start};
pub use sweeper::Sweeper;
pub use sys::run_when_idle;
pub use task::{Either, Room, join, race, sleep, spawn_guarded, timeout};
pub use writer::Writer;

#[cfg(test)]
mod tests;
