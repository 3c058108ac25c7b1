use super::producer::{Ack, AckSink, Failure};
use std::{
    fmt,
    sync::{Mutex, PoisonError, mpsc::SyncSender},
};

/// Who waits for a record.
#[derive(Debug)]
pub(super) enum To {
    /// Nobody.
    Nobody,
    /// A shard, by the index of its producer.
    Lane { lane: usize, ticket: u64 },
    /// A thread that blocks.
    Caller(SyncSender<Result<u64, Failure>>),
}

/// One record that somebody waits for.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) to: To,
    pub(super) sequence: u64,
}

/// Delivers acknowledgements, batched by shard. Both threads of the journal use it.
pub(super) struct Acks(Mutex<Inner>);

struct Inner {
    sink: Box<dyn AckSink>,
    lanes: Vec<Vec<Ack>>,
}

impl fmt::Debug for Acks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acks").finish_non_exhaustive()
    }
}

impl Acks {
    pub(super) fn new(sink: Box<dyn AckSink>, lanes: usize) -> Acks {
        Acks(Mutex::new(Inner { sink, lanes: (0..lanes).map(|_| Vec::new()).collect() }))
    }

    /// The records of `waiters` are committed.
    pub(super) fn commit(&self, waiters: &mut Vec<Waiter>) {
        self.answer(waiters.drain(..).map(|waiter| (waiter.to, Ok(waiter.sequence))));
    }

    /// The records of `waiters` are not committed.
    pub(super) fn fail(&self, waiters: &mut Vec<Waiter>, failure: Failure) {
        self.answer(waiters.drain(..).map(|waiter| (waiter.to, Err(failure))));
    }

    /// Answers each of them.
    pub(super) fn answer(&self, answers: impl Iterator<Item = (To, Result<u64, Failure>)>) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Inner { sink, lanes } = &mut *inner;
        for (to, result) in answers {
            match to {
                To::Nobody => {}
                To::Lane { lane, ticket } => lanes[lane].push(Ack { ticket, result }),
                // The caller may have given up; then nobody is there to be told.
                To::Caller(sender) => drop(sender.try_send(result)),
            }
        }
        for (lane, acks) in lanes.iter_mut().enumerate().filter(|(_, acks)| !acks.is_empty()) {
            sink.deliver(lane, acks);
            acks.clear();
        }
    }
}
