use super::{Control, now, sleep};
use crate::{limits, time::Instant};
use std::{cell::RefCell, fmt, rc::Rc};

/// Ends the pending operations of connections whose deadline has passed: one a shard, instead of a timer a
/// connection. Clones are the same sweeper.
#[derive(Clone, Default)]
pub struct Sweeper(Rc<RefCell<Vec<Control>>>);

impl Sweeper {
    /// A sweeper without connections.
    pub fn new() -> Sweeper {
        Sweeper::default()
    }

    /// Watches the connection until it is closed.
    pub fn register(&self, control: &Control) {
        self.0.borrow_mut().push(control.clone());
    }

    /// Looks once; returns how many deadlines had passed since the last look.
    pub fn sweep(&self, now: Instant) -> usize {
        self.sweep_with(now, |_| {})
    }

    /// [`Sweeper::sweep`]; `expired` gets the cause of each deadline, once a connection. Connections that
    /// were idle for [`limits::IDLE_SWEEPS`] looks give their buffers back.
    pub fn sweep_with(&self, now: Instant, mut expired: impl FnMut(u8)) -> usize {
        let mut count = 0;
        self.0.borrow_mut().retain(|control| {
            if let Some((cause, again)) = control.sweep(now) {
                count += 1;
                if !again {
                    expired(cause);
                }
            }
            control.is_open()
        });
        count
    }

    /// Connections that are watched.
    pub fn len(&self) -> usize {
        self.0.borrow().len()
    }

    /// Whether no connection is watched.
    pub fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// Looks every [`limits::SWEEP_INTERVAL`], for ever: the body of the shard's sweeping task.
    pub async fn run(&self) {
        loop {
            sleep(limits::SWEEP_INTERVAL).await;
            self.sweep(now().instant);
        }
    }
}

impl fmt::Debug for Sweeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sweeper({})", self.len())
    }
}
