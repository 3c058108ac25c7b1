use super::ciphertext::Ciphertext;
use crate::{buffer::ChunkMut, limits};
use bytes::{Buf, BytesMut};
use rustls::{
    Error,
    client::UnbufferedClientConnection,
    server::UnbufferedServerConnection,
    unbuffered::{ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic},
};
use std::mem;

/// The TLS state of one side.
pub(super) enum Side {
    Server(Box<UnbufferedServerConnection>),
    Client(Box<UnbufferedClientConnection>),
}

/// What shall be done once the state allows it.
#[derive(Clone, Copy)]
enum Job<'a> {
    Nothing,
    Encrypt(&'a [u8]),
    CloseNotify,
}

enum Step {
    Again,
    /// Everything that came in is processed; the job is done if the flag says so.
    Settled {
        done: bool,
    },
    PeerClosed,
}

/// Bytes that were copied on the way in and out, heads included: see the module's head.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Copied {
    pub read: u64,
    pub written: u64,
}

/// Copies of each byte that is read: out of the received buffer into the record of rustls, and out of that
/// into ours.
const READ_COPIES: u64 = 2;
/// Copies of each byte that is written: into the record that rustls encrypts in place, and out of that.
const WRITE_COPIES: u64 = 2;

/// One TLS connection without its socket: ciphertext in, plaintext out, and the other way round.
pub(super) struct Session {
    side: Side,
    /// Received ciphertext that is not processed: at most the beginning of one record.
    incoming: BytesMut,
    /// The memory of ciphertext that is processed, for the next read, and the size it was made for.
    spare: (BytesMut, usize),
    /// Ciphertext to be sent, in order.
    pub outgoing: Ciphertext,
    /// Decrypted bytes that the reader has not taken.
    plain: ChunkMut,
    copied: Copied,
    peer_closed: bool,
    failed: Option<Error>,
}

impl Session {
    pub fn new(side: Side) -> Session {
        Session {
            side,
            incoming: BytesMut::new(),
            spare: (BytesMut::new(), 0),
            outgoing: Ciphertext::default(),
            plain: ChunkMut::default(),
            copied: Copied::default(),
            peer_closed: false,
            failed: None,
        }
    }

    pub fn side(&self) -> &Side {
        &self.side
    }

    pub fn is_handshaking(&self) -> bool {
        match &self.side {
            Side::Server(connection) => connection.is_handshaking(),
            Side::Client(connection) => connection.is_handshaking(),
        }
    }

    /// Whether the peer has ended its direction cleanly.
    pub fn peer_closed(&self) -> bool {
        self.peer_closed
    }

    /// Why the session has failed, for good.
    pub fn failure(&self) -> Option<&Error> {
        self.failed.as_ref()
    }

    /// Takes decrypted bytes; empty if there are none.
    pub fn take_plain(&mut self) -> ChunkMut {
        mem::take(&mut self.plain)
    }

    /// What was copied since the last call.
    pub fn take_copied(&mut self) -> Copied {
        mem::take(&mut self.copied)
    }

    /// The buffer for the next read of `size` bytes: it begins with the unprocessed ciphertext, so that
    /// what comes is received behind it and whole records are never moved. rustls may be asked meanwhile
    /// about what it has seen, so that this is a copy.
    pub fn next_buffer(&mut self, size: usize) -> ChunkMut {
        let (mut buffer, made_for) = mem::take(&mut self.spare);
        if made_for > size {
            // The connection has become quieter: it gives the memory back.
            buffer = BytesMut::new();
        }
        buffer.clear();
        buffer.reserve(self.incoming.len() + size);
        buffer.extend_from_slice(&self.incoming);
        self.copied.read += self.incoming.len() as u64;
        self.spare.1 = size;
        ChunkMut::from_inner(buffer)
    }

    /// Processes received ciphertext (and begins the handshake, without any), in the buffer that
    /// [`Session::next_buffer`] gave.
    ///
    /// # Errors
    /// The peer's fault; the alert that says so is in `outgoing`. Every later call fails alike.
    pub fn receive(&mut self, ciphertext: ChunkMut) -> Result<(), Error> {
        debug_assert!(ciphertext.starts_with(&self.incoming), "the buffer of `next_buffer`");
        let before = mem::replace(&mut self.incoming, ciphertext.into_inner());
        let result = self.run(Job::Nothing).map(drop);
        // An idle connection holds no buffer but the one of its read, which is the next thing to begin.
        self.spare.0 = if self.incoming.is_empty() { mem::take(&mut self.incoming) } else { before };
        result
    }

    /// Encrypts `plain` behind what is already in `outgoing`.
    ///
    /// # Errors
    /// As [`Session::receive`], or the session cannot send (any more).
    pub fn encrypt(&mut self, plain: &[u8]) -> Result<(), Error> {
        if !self.run(Job::Encrypt(plain))? {
            return Err(Error::HandshakeNotComplete);
        }
        self.copied.written += WRITE_COPIES * plain.len() as u64;
        Ok(())
    }

    /// Says that we send nothing more.
    pub fn close_notify(&mut self) -> Result<(), Error> {
        self.run(Job::CloseNotify).map(drop)
    }

    /// Runs the state machine until nothing is left to process; says whether the job was done.
    fn run(&mut self, job: Job<'_>) -> Result<bool, Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        loop {
            match self.step(job) {
                Ok(Step::Again) => {}
                Ok(Step::PeerClosed) => self.peer_closed = true,
                Ok(Step::Settled { done }) => return Ok(done),
                Err(error) => {
                    self.failed = Some(error.clone());
                    self.collect_alert();
                    return Err(error);
                }
            }
        }
    }

    fn step(&mut self, job: Job<'_>) -> Result<Step, Error> {
        let Session { side, incoming, outgoing, plain, copied, .. } = self;
        let (before, most) = (plain.len(), incoming.len());
        let (discard, step) = match side {
            Side::Server(connection) => {
                handle(connection.process_tls_records(incoming), (plain, most), outgoing, job)?
            }
            Side::Client(connection) => {
                handle(connection.process_tls_records(incoming), (plain, most), outgoing, job)?
            }
        };
        incoming.advance(discard);
        copied.read += READ_COPIES * (plain.len() - before) as u64;
        Ok(step)
    }

    /// After an error the session still gives the alert that tells the peer. It must not be asked for
    /// anything else: rustls panics if it meets the same error twice.
    fn collect_alert(&mut self) {
        while self.wants_write() {
            let Ok(Step::Again) = self.step(Job::Nothing) else { return };
        }
    }

    fn wants_write(&self) -> bool {
        match &self.side {
            Side::Server(connection) => connection.wants_write(),
            Side::Client(connection) => connection.wants_write(),
        }
    }
}

fn handle<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    (plain, most): (&mut ChunkMut, usize),
    outgoing: &mut Ciphertext,
    job: Job<'_>,
) -> Result<(usize, Step), Error> {
    let mut discard = status.discard;
    let step = match status.state? {
        ConnectionState::ReadTraffic(mut traffic) => {
            while let Some(record) = traffic.next_record() {
                let record = record?;
                discard += record.discard;
                append(plain, record.payload, most);
            }
            Step::Again
        }
        ConnectionState::EncodeTlsData(mut data) => {
            encode(&mut data, outgoing)?;
            Step::Again
        }
        // What was encoded is in `outgoing`, in order, and is sent from there.
        ConnectionState::TransmitTlsData(transmit) => {
            transmit.done();
            Step::Again
        }
        ConnectionState::WriteTraffic(mut traffic) => {
            match job {
                Job::Nothing => {}
                Job::Encrypt(plain) => encrypt(&mut traffic, plain, outgoing)?,
                Job::CloseNotify => close(&mut traffic, outgoing)?,
            }
            Step::Settled { done: true }
        }
        ConnectionState::PeerClosed => Step::PeerClosed,
        ConnectionState::BlockedHandshake | ConnectionState::Closed => Step::Settled { done: false },
        // Early data is never accepted (it can be replayed).
        _ => return Err(Error::General("unexpected TLS state".to_owned())),
    };
    Ok((discard, step))
}

/// In pieces: see [`crate::buffer::append`]. `most` is the ciphertext that is left, which no plaintext
/// exceeds: room is made once for all its records.
fn append(plain: &mut ChunkMut, payload: &[u8], most: usize) {
    if plain.spare() < payload.len() {
        plain.reserve(most.max(payload.len()));
    }
    payload.chunks(2048).for_each(|piece| plain.extend_from_slice(piece));
}

fn encode<Data>(data: &mut EncodeTlsData<'_, Data>, outgoing: &mut Ciphertext) -> Result<(), Error> {
    grow(outgoing, 1024, |room| match data.encode(room) {
        Ok(length) => Ok(length),
        Err(EncodeError::InsufficientSize(size)) => Err(Some(size.required_size)),
        Err(EncodeError::AlreadyEncoded) => Err(None),
    })
}

fn encrypt<Data>(
    traffic: &mut WriteTraffic<'_, Data>,
    plain: &[u8],
    outgoing: &mut Ciphertext,
) -> Result<(), Error> {
    let records = plain.len() / limits::TLS_RECORD_BYTES + 1;
    grow(outgoing, plain.len() + records * limits::TLS_RECORD_OVERHEAD, |room| {
        traffic.encrypt(plain, room).map_err(required)
    })
}

fn close<Data>(traffic: &mut WriteTraffic<'_, Data>, outgoing: &mut Ciphertext) -> Result<(), Error> {
    grow(outgoing, limits::TLS_RECORD_OVERHEAD, |room| traffic.queue_close_notify(room).map_err(required))
}

fn required(error: EncryptError) -> Option<usize> {
    match error {
        EncryptError::InsufficientSize(size) => Some(size.required_size),
        EncryptError::EncryptExhausted => None,
    }
}

/// Lets `fill` write behind what is in `outgoing`: first into `guess` bytes, then into as many as it asks
/// for. `fill` says how many it has written, or how many it needs, or that it cannot.
fn grow(
    outgoing: &mut Ciphertext,
    guess: usize,
    mut fill: impl FnMut(&mut [u8]) -> Result<usize, Option<usize>>,
) -> Result<(), Error> {
    match outgoing.append(guess, &mut fill) {
        Ok(()) => Ok(()),
        Err(Some(size)) if size > guess => outgoing.append(size, fill).map_err(|_| Error::EncryptError),
        Err(_) => Err(Error::EncryptError),
    }
}
