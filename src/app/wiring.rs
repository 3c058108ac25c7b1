//! Joins the ends of the queues: shards, journal and background know only the traits of
//! [`crate::exchange::handover`].

use crate::{
    audit::{Commit, Kind, Record},
    exchange::{
        Summary, Unavailable,
        handover::{Delivery, Errand, Errands, LogSink, Recorder, Refused, ShardTicket},
        share::{Held, ShareId},
    },
    journal::{Ack, AckSink, Failure, Producer, Submission},
    metrics::Metrics,
    runtime::MailboxSender,
};
use crossbeam::queue::ArrayQueue;
use std::{sync::Arc, thread, time::Duration};
use tokio::sync::mpsc;

/// Pause of the journal's thread when a shard's mailbox is full.
const MAILBOX_PAUSE: Duration = Duration::from_micros(100);
/// How often it tries: a shard that does not read for this long is stuck.
const MAILBOX_TRIES_MAX: u32 = 50_000;

/// A shard's way into the journal.
pub struct JournalRecorder(pub Producer);

impl Recorder for JournalRecorder {
    fn submit(
        &mut self,
        share: ShareId,
        ticket: ShardTicket,
        commit: Commit,
        record: Record,
    ) -> Result<(), Refused> {
        self.0.queue(Submission { share: share.0, ticket, commit, record }).map_err(|full| {
            let record = Box::new(full.0.record);
            if self.0.is_failed() || (record.kind() == Kind::Intent && self.0.refuses_intents()) {
                return Refused::Failed(record);
            }
            Refused::Full(record)
        })
    }

    fn ring(&mut self) {
        self.0.ring();
    }

    fn held(&self, share: ShareId) -> Held {
        let (queued, bytes, open) = self.0.held(share.0);
        Held { queued, open, bytes }
    }

    fn inflight_bytes(&self) -> usize {
        self.0.inflight_bytes()
    }

    fn intent_refused(&mut self, share: ShareId) {
        self.0.forget_intent(share.0);
    }
}

/// Whether a record that the journal refused may be in the log all the same.
fn unavailable(failure: Failure) -> Unavailable {
    match failure {
        Failure::TooLarge | Failure::OutOfPlace | Failure::Overloaded => Unavailable::TurnedAway,
        Failure::Disk | Failure::NoSpace | Failure::Closed => Unavailable::Failed,
    }
}

/// The journal's way back to the shards.
pub struct Acknowledgements(pub Vec<MailboxSender<Delivery>>);

impl AckSink for Acknowledgements {
    fn deliver(&mut self, shard: usize, acks: &mut Vec<Ack>) {
        let Some(mailbox) = self.0.get(shard) else { return acks.clear() };
        let mut batch: Vec<_> = acks
            .drain(..)
            .map(|ack| Delivery::Recorded(ack.ticket, ack.result.map_err(unavailable)))
            .collect();
        for _ in 0..MAILBOX_TRIES_MAX {
            let before = batch.len();
            mailbox.send_batch(&mut batch);
            if batch.is_empty() {
                return;
            }
            if batch.len() == before {
                thread::sleep(MAILBOX_PAUSE);
            }
        }
        tracing::error!(shard, lost = batch.len(), "a shard takes no acknowledgements");
    }
}

/// A shard's way to the background thread.
pub struct ErrandQueue(pub mpsc::Sender<Errand>);

impl Errands for ErrandQueue {
    fn send(&self, errand: Errand) -> Result<(), Errand> {
        self.0.try_send(errand).map_err(|error| match error {
            mpsc::error::TrySendError::Full(errand) | mpsc::error::TrySendError::Closed(errand) => errand,
        })
    }
}

/// A shard's way to the access log; `None` where it is off.
pub struct LogQueue {
    pub lines: Option<Arc<ArrayQueue<Box<Summary>>>>,
    pub metrics: Arc<Metrics>,
}

impl LogSink for LogQueue {
    fn is_on(&self) -> bool {
        self.lines.is_some()
    }

    fn log(&self, summary: Box<Summary>) {
        if let Some(lines) = &self.lines
            && lines.push(summary).is_err()
        {
            self.metrics.log_lines_dropped.inc();
        }
    }
}
