use std::{
    cell::RefCell,
    fmt,
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll, Waker},
};

struct Inner<T> {
    value: Option<T>,
    waiter: Option<Waker>,
}

/// A place within a shard where one task leaves a value and one other task waits for it: the answer to a
/// ticket. Clones are the same place.
pub struct Slot<T>(Rc<RefCell<Inner<T>>>);

impl<T> Slot<T> {
    /// An empty place.
    pub fn new() -> Slot<T> {
        Slot(Rc::new(RefCell::new(Inner { value: None, waiter: None })))
    }

    /// Leaves `value` and wakes the task that waits; returns the value that nobody had taken, if there is
    /// one.
    pub fn put(&self, value: T) -> Option<T> {
        let (before, waiter) = {
            let mut inner = self.0.borrow_mut();
            (inner.value.replace(value), inner.waiter.take())
        };
        if let Some(waiter) = waiter {
            waiter.wake();
        }
        before
    }

    /// Takes the value if it is there.
    pub fn try_take(&self) -> Option<T> {
        self.0.borrow_mut().value.take()
    }

    /// Takes the value, or has `cx` woken when it is there. The last caller is the one that is woken.
    pub fn poll_take(&self, cx: &mut Context<'_>) -> Poll<T> {
        let mut inner = self.0.borrow_mut();
        match inner.value.take() {
            Some(value) => Poll::Ready(value),
            None => {
                if !inner.waiter.as_ref().is_some_and(|waiter| waiter.will_wake(cx.waker())) {
                    inner.waiter = Some(cx.waker().clone());
                }
                Poll::Pending
            }
        }
    }

    /// Waits for the value; may be dropped, the value then stays.
    pub async fn take(&self) -> T {
        poll_fn(|cx| self.poll_take(cx)).await
    }
}

impl<T> Clone for Slot<T> {
    fn clone(&self) -> Slot<T> {
        Slot(Rc::clone(&self.0))
    }
}

impl<T> Default for Slot<T> {
    fn default() -> Slot<T> {
        Slot::new()
    }
}

impl<T> fmt::Debug for Slot<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.0.borrow().value.is_some() { "full" } else { "empty" };
        write!(f, "Slot({state})")
    }
}
