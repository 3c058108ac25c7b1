use super::{
    Driver,
    operation::Owned,
    start::shard,
    sys::{self, Direction},
};
use crossbeam::queue::ArrayQueue;
use monoio::{io::AsyncReadRent, net::UnixStream};
use std::{
    fmt,
    future::poll_fn,
    io::{self, Write},
    os::{
        fd::{AsRawFd, RawFd},
        unix::net::UnixStream as StdUnixStream,
    },
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

/// A bounded queue into a shard from any thread: in order for each sender, with one wake-up a batch.
///
/// # Errors
/// No descriptor is left for the socket pair that wakes the shard.
pub fn mailbox<T: Send>(capacity: usize) -> io::Result<(MailboxSender<T>, Mailbox<T>)> {
    let (signal, waiter) = StdUnixStream::pair()?;
    signal.set_nonblocking(true)?;
    let shared = Arc::new(Shared {
        queue: ArrayQueue::new(capacity),
        signalled: AtomicBool::new(false),
        closed: AtomicBool::new(false),
        signals: AtomicU64::new(0),
    });
    let sender = MailboxSender { shared: Arc::clone(&shared), signal: Arc::new(signal) };
    Ok((sender, Mailbox { shared, waiter }))
}

struct Shared<T> {
    queue: ArrayQueue<T>,
    /// A byte is on its way to the shard, or it has not looked since.
    signalled: AtomicBool,
    /// The shard takes nothing any more.
    closed: AtomicBool,
    signals: AtomicU64,
}

/// The sending end, for any thread. When all clones are dropped, the inbox ends.
pub struct MailboxSender<T> {
    shared: Arc<Shared<T>>,
    signal: Arc<StdUnixStream>,
}

impl<T: Send> MailboxSender<T> {
    /// Queues `message` and wakes the shard unless it is about to look anyway. Never blocks.
    ///
    /// # Errors
    /// Gives the message back if the queue is full or the inbox is gone.
    pub fn send(&self, message: T) -> Result<(), T> {
        if self.shared.closed.load(Ordering::Acquire) {
            return Err(message);
        }
        self.shared.queue.push(message)?;
        self.wake();
        Ok(())
    }

    /// Queues messages from the front of `batch`, in order, with one wake-up; those that do not fit stay.
    pub fn send_batch(&self, batch: &mut Vec<T>) {
        if batch.is_empty() || self.shared.closed.load(Ordering::Acquire) {
            return;
        }
        let mut rest = Vec::new();
        let mut messages = batch.drain(..);
        for message in messages.by_ref() {
            if let Err(message) = self.shared.queue.push(message) {
                rest.push(message);
                break;
            }
        }
        rest.extend(messages);
        *batch = rest;
        self.wake();
    }

    /// Wake-ups so far, for tests and status.
    pub fn signals(&self) -> u64 {
        self.shared.signals.load(Ordering::Relaxed)
    }

    fn wake(&self) {
        // The swap orders this against the shard's own: either it sees the message, or we see `false`.
        if !self.shared.signalled.swap(true, Ordering::AcqRel) {
            self.shared.signals.fetch_add(1, Ordering::Relaxed);
            // It cannot be full: there is at most one byte a look. It fails if the inbox is gone.
            let _ = (&*self.signal).write(&[1]);
        }
    }
}

impl<T> Clone for MailboxSender<T> {
    fn clone(&self) -> MailboxSender<T> {
        MailboxSender { shared: Arc::clone(&self.shared), signal: Arc::clone(&self.signal) }
    }
}

impl<T> fmt::Debug for MailboxSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MailboxSender({} of {})", self.shared.queue.len(), self.shared.queue.capacity())
    }
}

/// The receiving end on its way to the shard's thread, where [`Mailbox::open`] makes it an [`Inbox`].
pub struct Mailbox<T> {
    shared: Arc<Shared<T>>,
    waiter: StdUnixStream,
}

impl<T: Send + 'static> Mailbox<T> {
    /// Opens the mailbox on the executor of this thread.
    ///
    /// # Errors
    /// The driver cannot register the descriptor.
    pub fn open(self) -> io::Result<Inbox<T>> {
        self.waiter.set_nonblocking(shard() == Some(Driver::Epoll))?;
        let fd = self.waiter.as_raw_fd();
        let stream = UnixStream::from_std(self.waiter)?;
        let operation = Owned::new(wait);
        Ok(Inbox { shared: self.shared, fd, stream: Some(stream), operation })
    }
}

impl<T> fmt::Debug for Mailbox<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mailbox")
    }
}

/// The receiving end on its shard.
pub struct Inbox<T> {
    shared: Arc<Shared<T>>,
    fd: RawFd,
    stream: Option<UnixStream>,
    operation: Owned<UnixStream, (io::Result<usize>, UnixStream)>,
}

/// Reads the bytes that say that there is something in the queue.
async fn wait(mut stream: UnixStream) -> (io::Result<usize>, UnixStream) {
    let (result, _) = stream.read(vec![0; 64]).await;
    (result, stream)
}

impl<T: Send + 'static> Inbox<T> {
    /// Appends everything that is queued to `batch`, at least one message. The future may be dropped.
    ///
    /// # Errors
    /// `BrokenPipe` when all senders are gone and the queue is empty.
    pub async fn recv(&mut self, batch: &mut Vec<T>) -> io::Result<()> {
        poll_fn(|cx| self.poll_recv(cx, batch)).await
    }

    /// [`Inbox::recv`] for hand-written futures.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>, batch: &mut Vec<T>) -> Poll<io::Result<()>> {
        let before = batch.len();
        loop {
            // Bounded, so that a busy sender cannot keep the shard here for ever.
            for _ in 0..self.shared.queue.capacity() {
                let Some(message) = self.shared.queue.pop() else { break };
                batch.push(message);
            }
            if batch.len() > before {
                return Poll::Ready(Ok(()));
            }
            if let Some(stream) = self.stream.take() {
                self.operation.start(stream);
            } else if !self.operation.is_pending() {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            let (result, stream) = ready!(self.operation.poll(cx));
            // Before looking again: see `MailboxSender::wake`.
            self.shared.signalled.swap(false, Ordering::AcqRel);
            match result {
                Ok(0) if self.shared.queue.is_empty() => {
                    return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
                }
                Ok(0) => {}
                Ok(_) => self.stream = Some(stream),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl<T> Drop for Inbox<T> {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
        while self.shared.queue.pop().is_some() {}
        if self.operation.is_pending() {
            // The operation holds the descriptor open; this ends it.
            let _ = sys::shutdown(self.fd, Direction::Both);
        }
    }
}

impl<T> fmt::Debug for Inbox<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Inbox({})", self.shared.queue.len())
    }
}
