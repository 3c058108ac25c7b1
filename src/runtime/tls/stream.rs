use super::session::Session;
use crate::{
    buffer::{Chunk, ChunkMut, Segments, Tally, append},
    limits,
    runtime::{
        operation,
        receive::{Receive, Received},
        slices::wipe,
        start::shard,
        transmit::Transmit,
    },
};
use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    io,
    rc::Rc,
    task::{Context, Poll, Waker, ready},
};
use zeroize::{Zeroize, Zeroizing};

/// What both halves of a TLS connection share.
pub(in crate::runtime) struct Shared {
    session: RefCell<Session>,
    /// The socket's sending half; `None` while somebody sends, and when the writer is gone.
    transmit: RefCell<Option<Transmit>>,
    /// The writer, while it waits for a flush to give the half back.
    waiter: Cell<Option<Waker>>,
    writer_gone: Cell<bool>,
}

/// The receiving half: the ciphertext's read under way, and the session.
pub(in crate::runtime) struct TlsReceive {
    receive: Receive,
    shared: Rc<Shared>,
}

/// The sending half.
pub(in crate::runtime) struct TlsTransmit {
    shared: Rc<Shared>,
    /// Where small slices are joined.
    scratch: Vec<u8>,
    tally: Tally,
    closed: bool,
}

/// Splits an established session. Output that it still holds is sent.
pub(super) fn split(session: Session, receive: Receive, transmit: Transmit) -> (TlsReceive, TlsTransmit) {
    let shared = Rc::new(Shared {
        session: RefCell::new(session),
        transmit: RefCell::new(Some(transmit)),
        waiter: Cell::new(None),
        writer_gone: Cell::new(false),
    });
    shared.flush_aside();
    let receive = TlsReceive { receive, shared: Rc::clone(&shared) };
    (receive, TlsTransmit { shared, scratch: Vec::new(), tally: Tally::default(), closed: false })
}

impl TlsReceive {
    /// What reads the ciphertext.
    pub fn ciphertext(&self) -> &Receive {
        &self.receive
    }

    /// What reads the ciphertext.
    pub fn ciphertext_mut(&mut self) -> &mut Receive {
        &mut self.receive
    }

    /// Decrypted bytes, from what is there or from the next read.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Received>> {
        loop {
            {
                let mut session = self.shared.session.borrow_mut();
                let plain = session.take_plain();
                if !plain.is_empty() {
                    return Poll::Ready(Ok(Received::Data(plain)));
                }
                if session.peer_closed() {
                    return Poll::Ready(Ok(Received::End(ChunkMut::default())));
                }
                if let Some(error) = session.failure() {
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error.clone())));
                }
            }
            if !self.receive.is_pending() {
                let buffer = self.shared.session.borrow_mut().next_buffer(self.receive.size());
                self.receive.start(buffer);
            }
            let ciphertext = match ready!(self.receive.poll(cx))? {
                Received::Data(ciphertext) => ciphertext,
                // RFC 8446 section 6.1: without close_notify the stream may have been cut by anybody.
                Received::End(_) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            };
            // A failure is reported above, after what was decrypted before it.
            let _ = self.shared.session.borrow_mut().receive(ciphertext);
            self.shared.flush_aside();
        }
    }
}

impl TlsTransmit {
    /// Encrypts and sends `head` and `body`; see [`super::super::Writer::write_head`]. If it is dropped, what
    /// was encrypted is sent all the same, and the stream is broken: the rest is missing.
    pub async fn send(&mut self, head: Vec<u8>, secret: bool, body: Segments) -> io::Result<Vec<u8>> {
        // Wiped also if this ends early.
        let mut head = Zeroizing::new(head);
        if self.closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let mut lent = Shared::borrow(&self.shared).await?;
        self.closed = true;
        let plan = Plan::new(&head, &body, &mut self.scratch);
        self.tally.coalesced += plan.send(&mut lent).await?;
        lent.flush().await?;
        self.closed = false;
        wipe(&mut head, secret);
        Ok(std::mem::take(&mut *head))
    }

    /// Says that we send nothing more, then ends our direction of the socket.
    pub async fn shutdown(&mut self) -> io::Result<()> {
        self.closed = true;
        let mut lent = Shared::borrow(&self.shared).await?;
        lent.shared.session.borrow_mut().close_notify().map_err(broken)?;
        lent.flush().await?;
        match &mut lent.transmit {
            Some(transmit) => transmit.shutdown().await,
            None => Ok(()),
        }
    }

    /// What was copied since the last call, in both directions.
    pub fn take_tally(&mut self) -> Tally {
        let copied = self.shared.session.borrow_mut().take_copied();
        let tally = std::mem::take(&mut self.tally);
        Tally { tls_read: copied.read, tls_written: copied.written, ..tally }
    }
}

impl Drop for TlsTransmit {
    fn drop(&mut self) {
        // Empty unless a write was given up in its middle.
        self.scratch.as_mut_slice().zeroize();
        self.shared.writer_gone.set(true);
        let transmit = self.shared.transmit.borrow_mut().take();
        drop(transmit);
    }
}

/// The order in which the plaintext of one write is encrypted.
struct Plan<'a> {
    head: &'a [u8],
    body: &'a Segments,
    scratch: &'a mut Vec<u8>,
    joined: u64,
}

impl<'a> Plan<'a> {
    fn new(head: &'a [u8], body: &'a Segments, scratch: &'a mut Vec<u8>) -> Plan<'a> {
        scratch.clear();
        Plan { head, body, scratch, joined: 0 }
    }

    /// Encrypts small neighbours together and large slices from where they are; returns the body bytes that
    /// were joined.
    async fn send(mut self, lent: &mut Lent) -> io::Result<u64> {
        let mut chunks = self.body.iter().peekable();
        if !self.head.is_empty() {
            self.add(lent, self.head, chunks.peek().copied(), false).await?;
            // The head may hold a credential: it does not stay in the scratch buffer.
        }
        while let Some(chunk) = chunks.next() {
            self.add(lent, chunk, chunks.peek().copied(), true).await?;
        }
        self.flush_scratch(lent).await?;
        Ok(self.joined)
    }

    async fn add(
        &mut self,
        lent: &mut Lent,
        piece: &[u8],
        next: Option<&Chunk>,
        body: bool,
    ) -> io::Result<()> {
        let small = |length: usize| length < limits::COALESCE_BYTES_MAX;
        let alone = self.scratch.is_empty() && !next.is_some_and(|next| small(next.len()));
        if !small(piece.len()) || alone {
            self.flush_scratch(lent).await?;
            for part in piece.chunks(limits::TLS_WRITE_BYTES) {
                lent.encrypt(part).await?;
            }
            return Ok(());
        }
        if self.scratch.len() + piece.len() > limits::TLS_RECORD_BYTES {
            self.flush_scratch(lent).await?;
        }
        append(self.scratch, piece);
        if body {
            self.joined += piece.len() as u64;
        }
        Ok(())
    }

    async fn flush_scratch(&mut self, lent: &mut Lent) -> io::Result<()> {
        if self.scratch.is_empty() {
            return Ok(());
        }
        let result = lent.encrypt(self.scratch).await;
        // The head comes first, if it was joined at all.
        let secret = self.scratch.len().min(self.head.len());
        self.scratch[..secret].zeroize();
        self.scratch.clear();
        result
    }
}

impl Shared {
    /// Waits until nobody sends, and takes the sending half.
    async fn borrow(this: &Rc<Shared>) -> io::Result<Lent> {
        let transmit = poll_fn(|cx| {
            if let Some(transmit) = this.transmit.borrow_mut().take() {
                return Poll::Ready(transmit);
            }
            this.waiter.set(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
        Ok(Lent { shared: Rc::clone(this), transmit: Some(transmit) })
    }

    /// Sends what the session wants to say by itself, in a task of its own, unless somebody sends already:
    /// they take it with them.
    fn flush_aside(self: &Rc<Shared>) {
        let idle = self.transmit.try_borrow().is_ok_and(|transmit| transmit.is_some());
        if !idle || self.session.borrow().outgoing.is_empty() || shard().is_none() {
            return;
        }
        let Some(transmit) = self.transmit.borrow_mut().take() else { return };
        let mut lent = Lent { shared: Rc::clone(self), transmit: Some(transmit) };
        operation::spawn_detached(async move {
            // An error shows itself at the next read or write.
            let _ = lent.flush().await;
        });
    }
}

/// The sending half in the hands of the one who sends.
struct Lent {
    shared: Rc<Shared>,
    transmit: Option<Transmit>,
}

impl Lent {
    async fn encrypt(&mut self, plain: &[u8]) -> io::Result<()> {
        let full = {
            let mut session = self.shared.session.borrow_mut();
            session.encrypt(plain).map_err(broken)?;
            session.outgoing.len() >= limits::TLS_WRITE_BYTES
        };
        if full { self.flush().await } else { Ok(()) }
    }

    /// Sends all ciphertext that there is.
    async fn flush(&mut self) -> io::Result<()> {
        let Some(transmit) = &mut self.transmit else { return Err(io::ErrorKind::BrokenPipe.into()) };
        loop {
            let (outgoing, origin) = {
                let mut session = self.shared.session.borrow_mut();
                if session.outgoing.is_empty() {
                    return Ok(());
                }
                session.outgoing.take()
            };
            let spare = transmit.send(outgoing, false, Segments::new()).await;
            let mut session = self.shared.session.borrow_mut();
            match spare {
                Ok(spare) => session.outgoing.give_back(spare, &origin),
                Err(error) => {
                    session.outgoing.clear();
                    return Err(error);
                }
            }
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let transmit = self.transmit.take();
        if self.shared.writer_gone.get() {
            drop(transmit);
            return;
        }
        *self.shared.transmit.borrow_mut() = transmit;
        if let Some(waiter) = self.shared.waiter.take() {
            waiter.wake();
        }
    }
}

fn broken(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, error)
}
