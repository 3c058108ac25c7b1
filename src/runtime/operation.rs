//! Operations that belong to an object instead of to the future that awaits them.

use super::start::shard;
use std::{
    cell::Cell,
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll, ready},
};

thread_local! {
    static DETACHED: Cell<usize> = const { Cell::new(0) };
}

/// One kind of operation, run again and again in one allocation.
pub(super) trait Operation<I, O> {
    /// Begins the operation: it is submitted with the first poll. None may be under way.
    fn start(&mut self, input: I);

    /// Asks for the result. Must not be called without an operation under way.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<O>;
}

struct Repeated<M, F> {
    make: M,
    future: Pin<Box<Option<F>>>,
}

impl<I, O, M: FnMut(I) -> F, F: Future<Output = O>> Operation<I, O> for Repeated<M, F> {
    fn start(&mut self, input: I) {
        debug_assert!(self.future.is_none(), "one operation at a time");
        let future = (self.make)(input);
        self.future.set(Some(future));
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<O> {
        let Some(future) = self.future.as_mut().as_pin_mut() else { return Poll::Pending };
        let output = ready!(future.poll(cx));
        self.future.set(None);
        Poll::Ready(output)
    }
}

/// The operation of an object. When it is dropped with an operation under way, a task of its own drives that
/// to its end: the kernel may still write into the buffer, and what it returns may own a descriptor.
pub(super) struct Owned<I: 'static, O: 'static> {
    operation: Option<Box<dyn Operation<I, O>>>,
    pending: bool,
}

impl<I, O> Owned<I, O> {
    /// `make` turns an input into the future of one operation.
    pub fn new<F: Future<Output = O> + 'static>(make: impl FnMut(I) -> F + 'static) -> Owned<I, O> {
        let operation = Repeated { make, future: Box::pin(None) };
        Owned { operation: Some(Box::new(operation)), pending: false }
    }

    /// Whether an operation is under way.
    pub fn is_pending(&self) -> bool {
        self.pending
    }

    /// Begins an operation and submits it.
    pub fn start(&mut self, input: I) {
        if let Some(operation) = &mut self.operation {
            operation.start(input);
            self.pending = true;
        }
    }

    /// Asks for the result of the operation under way.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<O> {
        let Some(operation) = &mut self.operation else { return Poll::Pending };
        let output = ready!(operation.poll(cx));
        self.pending = false;
        Poll::Ready(output)
    }

    /// Gives the operation up: it is driven to its end by a task of its own, which then drops `guard`
    /// before the descriptor that the operation may hold.
    pub fn detach<G: 'static>(&mut self, guard: G) {
        let Some(mut operation) = self.operation.take() else { return };
        if !self.pending {
            drop(guard);
            return;
        }
        if shard().is_none() {
            // The executor is gone or going. The kernel may still own the buffer: it must never be freed.
            std::mem::forget((operation, guard));
            return;
        }
        spawn_detached(async move {
            let output = poll_fn(|cx| operation.poll(cx)).await;
            drop((guard, output, operation));
        });
    }
}

impl<I, O> Drop for Owned<I, O> {
    fn drop(&mut self) {
        self.detach(());
    }
}

/// Counts the detached operations of this thread.
struct Detached;

impl Detached {
    fn new() -> Detached {
        DETACHED.set(DETACHED.get() + 1);
        Detached
    }
}

impl Drop for Detached {
    fn drop(&mut self) {
        // A counter of this thread may be gone when its last tasks are dropped.
        let _ = DETACHED.try_with(|count| count.set(count.get() - 1));
    }
}

/// Runs what nobody waits for, counted so that the executor does not end before it. Only on a shard.
pub(super) fn spawn_detached(future: impl Future<Output = ()> + 'static) {
    let counted = Detached::new();
    monoio::spawn(async move {
        future.await;
        drop(counted);
    });
}

/// Detached operations of this thread that have not ended.
pub(super) fn detached() -> usize {
    DETACHED.get()
}
