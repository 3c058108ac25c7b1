use std::{
    any::Any,
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    task::Poll,
    time::Duration,
};

/// Runs `future` as a task of this shard. A panic in it ends the task alone: it is logged, and `on_panic`
/// gets its message, to count it. What the future owned is dropped as usual; a connection that was in the
/// middle of a message is reset (see [`super::Control::reset_on_drop`]).
pub fn spawn_guarded(
    name: &'static str,
    future: impl Future<Output = ()> + 'static,
    on_panic: impl Fn(&str) + 'static,
) {
    // Boxed at once: each of the layers below would hold it twice, as its argument and where it runs.
    let future: Pin<Box<dyn Future<Output = ()>>> = Box::pin(future);
    monoio::spawn(async move {
        if let Err(payload) = caught(future).await {
            let message = panic_message(&*payload);
            tracing::error!(task = name, panic = message, "a task panicked; the shard lives on");
            on_panic(message);
        }
    });
}

/// Catches a panic while the future runs, and one while it is dropped.
async fn caught(mut future: Pin<Box<dyn Future<Output = ()>>>) -> Result<(), Box<dyn Any + Send>> {
    let result = poll_fn(|cx| {
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx)));
        match polled {
            Ok(poll) => poll.map(Ok),
            Err(payload) => Poll::Ready(Err(payload)),
        }
    })
    .await;
    result.and(catch_unwind(AssertUnwindSafe(|| drop(future))))
}

fn panic_message(payload: &(dyn Any + Send)) -> &str {
    if let Some(text) = payload.downcast_ref::<&str>() {
        text
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text
    } else {
        "a panic without a message"
    }
}

/// A place on the heap for futures of one kind, one after the other: the task that runs them stays small
/// while it runs none.
pub struct Room<F>(Option<Pin<Box<Option<F>>>>);

impl<F: Future> Room<F> {
    /// No memory yet.
    pub fn new() -> Room<F> {
        Room(None)
    }

    /// Whether memory is held.
    pub fn is_held(&self) -> bool {
        self.0.is_some()
    }

    /// Gives the memory back until the next future.
    pub fn give_back(&mut self) {
        self.0 = None;
    }

    /// Runs the future that `make` gives to its end. If this is dropped before, so is that future with the
    /// room, or with the next call.
    pub async fn run(&mut self, make: impl FnOnce() -> F) -> F::Output {
        let place = self.0.get_or_insert_with(|| Box::pin(None));
        place.set(Some(make()));
        let output = poll_fn(|cx| match place.as_mut().as_pin_mut() {
            Some(future) => future.poll(cx),
            // It was put there above, and nobody else reaches it.
            None => Poll::Pending,
        })
        .await;
        place.set(None);
        output
    }
}

impl<F: Future> Default for Room<F> {
    fn default() -> Room<F> {
        Room::new()
    }
}

/// Waits for `duration`; may be dropped.
pub async fn sleep(duration: Duration) {
    // Boxed: a timer is large and aligned to 128 bytes, and so would be every future that may ever sleep.
    Box::pin(monoio::time::sleep(duration)).await;
}

/// Runs both futures as one task until both have ended. When the second ends, the first is looked at again in
/// the same turn: it may wait for that.
pub async fn join<A: Future, B: Future>(a: A, b: B) -> (A::Output, B::Output) {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut a_output, mut b_output) = (None, None);
    poll_fn(|cx| {
        loop {
            if a_output.is_none()
                && let Poll::Ready(output) = a.as_mut().poll(cx)
            {
                a_output = Some(output);
            }
            if b_output.is_none()
                && let Poll::Ready(output) = b.as_mut().poll(cx)
            {
                b_output = Some(output);
                if a_output.is_none() {
                    continue;
                }
            }
            // To take them out and put them back each time would copy both.
            if a_output.is_none() || b_output.is_none() {
                return Poll::Pending;
            }
            if let (Some(a), Some(b)) = (a_output.take(), b_output.take()) {
                return Poll::Ready((a, b));
            }
        }
    })
    .await
}

/// Which of two futures was first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Either<A, B> {
    /// The first argument.
    First(A),
    /// The second argument.
    Second(B),
}

/// Waits for the first of two futures and drops the other, so only for futures that **may be dropped**: those
/// of this module all may (their operations belong to the object), [`join`] of such, and [`super::Slot`]. If
/// both are ready, the first argument wins.
pub async fn race<A: Future, B: Future>(a: A, b: B) -> Either<A::Output, B::Output> {
    let (mut a, mut b) = (pin!(a), pin!(b));
    poll_fn(|cx| {
        if let Poll::Ready(output) = a.as_mut().poll(cx) {
            return Poll::Ready(Either::First(output));
        }
        b.as_mut().poll(cx).map(Either::Second)
    })
    .await
}

/// The output of `future`, or `None` if `duration` passes first; then the future is dropped, so only for
/// futures that **may be dropped** (see [`race`]). For connections a deadline is cheaper: it needs no timer
/// ([`super::Control::set_deadline`]).
pub async fn timeout<F: Future>(duration: Duration, future: F) -> Option<F::Output> {
    match race(future, sleep(duration)).await {
        Either::First(output) => Some(output),
        Either::Second(()) => None,
    }
}
