//! HTTP/1.1 on one connection: received bytes to messages, messages to bytes. Both roles.

use super::deadlines::{Deadlines, Pace, Until};
use crate::{
    buffer::{Chunk, ChunkMut, Segments, Tally},
    exchange::{Cause, plan::CallerLimits},
    http::{
        Framing, Method, Rejection, RequestHead, ResponseHead, Version,
        h1::{self, BodyDecoder, ChunkEncoder, ReplyFraming, Role},
    },
    limits::WRITE_STALL_TIMEOUT,
    metrics::Limit,
    protocol::Reply,
    runtime::{self, Connection, Control, Reader, Writer},
    time::Instant,
};
use std::{io, time::Duration};

/// Body bytes, and whether they are the last.
pub type Piece = (Segments, bool);

/// How much of a body that nobody wants is read, so that the connection can be kept.
const DISCARD_BYTES_MAX: usize = 1024 * 1024;

/// What came instead of a request.
pub enum NoRequest {
    /// The caller closed the connection between requests, or it idled for too long.
    Idle,
    /// The caller broke off within a head, was too slow, or sent something that is not HTTP/1.
    Failed(Cause),
}

/// The receiving half of a connection to a caller.
pub struct Input {
    reader: Box<Reader>,
    decoder: BodyDecoder,
    deadlines: Deadlines,
    requests: u64,
    /// What the caller is held to; set anew between requests.
    pub limits: CallerLimits,
    pace: Pace,
    /// Declared length of the current body; unknown lengths count as endless.
    declared: u64,
}

/// The sending half of a connection to a caller.
pub struct Output {
    writer: Box<Writer>,
    encoder: Option<ChunkEncoder>,
    deadlines: Deadlines,
    version: Version,
    /// Whether the connection may be kept after the current message.
    pub keep_alive: bool,
    /// Whether the caller waits for `100 Continue` before it sends its body.
    awaits_continue: bool,
    /// How long one write may take.
    write: Duration,
    head: Vec<u8>,
}

/// Splits a caller's connection into its halves.
pub fn halves(connection: Connection, limits: &CallerLimits) -> (Input, Output, Deadlines) {
    let deadlines = Deadlines::new(connection.control);
    let input = Input {
        reader: connection.reader,
        decoder: BodyDecoder::new(Framing::None),
        deadlines: deadlines.clone(),
        requests: 0,
        limits: *limits,
        pace: Pace::new(limits),
        declared: 0,
    };
    let output = Output {
        writer: connection.writer,
        encoder: None,
        deadlines: deadlines.clone(),
        version: Version::Http11,
        keep_alive: true,
        awaits_continue: false,
        write: limits.write,
        head: Vec::new(),
    };
    (input, output, deadlines)
}

impl Input {
    /// Reads one request head and what came with it of its body.
    /// `begun` is called with its first byte.
    pub async fn next_request(
        &mut self,
        begun: impl FnOnce(),
    ) -> Result<(Box<RequestHead>, Piece), NoRequest> {
        let limits = &self.limits;
        let (idle, limit) = match self.requests {
            0 => (limits.header, Limit::Header),
            _ => (limits.keep_alive, Limit::KeepAlive),
        };
        self.deadlines.reading(Some((runtime::recent().instant + idle, limit)));
        let mut buffer = match self.reader.read_idle().await {
            Ok(Some(buffer)) => buffer,
            Ok(None) | Err(_) => return Err(NoRequest::Idle),
        };
        begun();
        self.deadlines.reading(Some((runtime::recent().instant + self.limits.header, Limit::Header)));
        self.requests += 1;
        let mut searched = 0;
        let length = loop {
            match h1::find_head_end(&buffer, &mut searched, Role::Request) {
                Err(rejection) => return Err(NoRequest::Failed(malformed(&rejection))),
                Ok(Some(length)) => break length,
                Ok(None) => {}
            }
            if self.reader.is_overcharged() {
                return Err(NoRequest::Failed(Cause::Overloaded(Limit::MemoryHead)));
            }
            let before = buffer.len();
            buffer = match self.reader.read_more(buffer).await {
                Ok(Some(longer)) if longer.len() > before => longer,
                _ => return Err(NoRequest::Failed(self.deadlines.cause())),
            };
        };
        let head = buffer.split_to(length);
        let head = h1::parse_request(head);
        let head = Box::new(head.map_err(|rejection| NoRequest::Failed(malformed(&rejection)))?);
        self.declared = match head.framing {
            Framing::None => 0,
            Framing::Length(bytes) => bytes,
            Framing::Chunked | Framing::Close => u64::MAX,
        };
        self.decoder = BodyDecoder::new(head.framing);
        self.pace = Pace::new(&self.limits);
        let piece = self.decode(buffer).map_err(NoRequest::Failed)?;
        self.deadlines.reading(None);
        Ok((head, piece))
    }

    /// Reads more of the current request's body. Dropping the future loses nothing.
    ///
    /// # Errors
    /// The caller is gone, silent for too long, too slow, or broke the framing.
    pub async fn next_piece(&mut self) -> Result<Piece, Cause> {
        let since = runtime::now().instant;
        self.deadlines.reading(Some(self.pace.until(since, &self.limits)));
        let read = self.reader.read().await;
        self.deadlines.reading(None);
        match read {
            Ok(Some(buffer)) => {
                let piece = self.decode(buffer)?;
                let waited = runtime::now().instant.since(since);
                self.pace.took(waited, piece.0.len_bytes(), &self.limits);
                Ok(piece)
            }
            Ok(None) | Err(_) => Err(self.deadlines.cause()),
        }
    }

    /// Waits until the caller is gone. Bytes of a next request stay for later; with them in hand there is
    /// nothing more to watch, and the future never ends.
    pub async fn closed(&mut self) -> Cause {
        // It may be the read of the next request.
        self.reader.let_idle(true);
        let read = self.reader.read().await;
        self.reader.let_idle(false);
        match read {
            Ok(Some(buffer)) => {
                self.reader.unread(buffer);
                std::future::pending().await
            }
            Ok(None) | Err(_) => self.deadlines.cause(),
        }
    }

    /// The connection behind.
    pub fn control(&self) -> &Control {
        self.deadlines.control()
    }

    /// Whether the current request's body was received to its end.
    pub fn is_complete(&self) -> bool {
        self.decoder.is_done()
    }

    /// Whether the rest of the body is probably worth reading to keep the connection.
    pub fn rest_is_short(&self) -> bool {
        self.declared <= DISCARD_BYTES_MAX as u64
    }

    /// Reads the rest of a body that nobody wants. True if it was short enough to reach its end.
    pub async fn discard(&mut self) -> bool {
        let mut discarded = 0;
        while !self.decoder.is_done() && discarded <= DISCARD_BYTES_MAX {
            match self.next_piece().await {
                Ok((data, _)) => discarded += data.len_bytes().max(1),
                Err(_) => return false,
            }
        }
        self.decoder.is_done()
    }

    /// Reads on until the caller closes, for a bounded time: closing with unread bytes would reset the
    /// connection and take the reply with it (RFC 9112 section 9.6).
    pub async fn linger(&mut self, until: Instant) {
        self.deadlines.reading(Some((until, Limit::Linger)));
        while let Ok(Some(_)) = self.reader.read().await {}
    }

    fn decode(&mut self, mut buffer: ChunkMut) -> Result<Piece, Cause> {
        let mut data = Segments::new();
        if buffer.is_empty() {
            self.reader.recycle(buffer);
            return Ok((data, self.decoder.is_done()));
        }
        let received = buffer.take();
        self.reader.recycle(buffer);
        if self.decoder.takes_all(received.len()) {
            let progress = self.decoder.push(received, &mut data).map_err(|error| malformed(&error))?;
            return Ok((data, progress.done));
        }
        let progress = self.decoder.push(received.clone(), &mut data).map_err(|error| malformed(&error))?;
        if progress.consumed < received.len() {
            self.reader.unread_chunk(received.slice(progress.consumed..));
        }
        Ok((data, progress.done))
    }
}

impl Output {
    /// Takes note of the request that the next message answers.
    pub fn begin(&mut self, head: &RequestHead, limits: &CallerLimits) {
        self.write = limits.write;
        self.version = head.version;
        self.keep_alive = head.keep_alive;
        self.awaits_continue = head.expect_continue;
        self.encoder = None;
    }

    /// Sends `100 Continue`.
    pub async fn send_continue(&mut self) -> io::Result<()> {
        self.awaits_continue = false;
        self.write(Chunk::from_static(b"HTTP/1.1 100 Continue\r\n\r\n").into()).await
    }

    /// Whether the caller still waits for `100 Continue`: after a final answer it may never send its body.
    pub fn awaits_continue(&self) -> bool {
        self.awaits_continue
    }

    /// Sends an informational response; HTTP/1.0 callers get none (RFC 9110 section 15.2).
    pub async fn inform(&mut self, head: &ResponseHead) -> io::Result<()> {
        if self.version == Version::Http10 {
            return Ok(());
        }
        self.head.clear();
        h1::encode_response(head, true, &mut self.head);
        let bytes = Chunk::from(self.head.clone());
        self.write(bytes.into()).await
    }

    /// Sends a response head with the first of its body, in one write.
    pub async fn respond(&mut self, head: &mut ResponseHead, data: Segments, end: bool) -> io::Result<()> {
        if self.version == Version::Http10 && head.framing == Framing::Chunked {
            head.framing = Framing::Close;
        }
        if head.framing == Framing::Close && self.version == Version::Http11 {
            head.framing = Framing::Chunked;
        }
        self.keep_alive &= head.framing != Framing::Close;
        self.head.clear();
        h1::encode_response(head, self.keep_alive, &mut self.head);
        self.encoder = (head.framing == Framing::Chunked).then(ChunkEncoder::default);
        let body = frame(&mut self.encoder, data, end);
        // Whatever happens before the end, also a panic: half a response must not end cleanly.
        self.deadlines.control().reset_on_drop(!end);
        self.write_head(body).await
    }

    /// Sends more of the body.
    pub async fn send(&mut self, data: Segments, end: bool) -> io::Result<()> {
        let body = frame(&mut self.encoder, data, end);
        self.write(body).await?;
        self.deadlines.control().reset_on_drop(!end);
        Ok(())
    }

    /// Sends a reply that the gateway made.
    pub async fn reply(&mut self, reply: &Reply, date: &str, head_only: bool) -> io::Result<()> {
        let framing = ReplyFraming { date: Some(date), keep_alive: self.keep_alive, head_only };
        self.head.clear();
        h1::encode_reply(reply.status, &reply.headers, &reply.body, framing, &mut self.head);
        self.write_head(Segments::new()).await
    }

    /// Ends the sending direction cleanly.
    pub async fn shutdown(&mut self) -> io::Result<()> {
        self.writer.shutdown().await
    }

    /// Cuts the caller off so that it sees an incomplete message.
    pub fn reset(&mut self) {
        self.keep_alive = false;
        self.deadlines.control().reset();
    }

    /// Bytes that were joined and copied for TLS since the last call.
    pub fn take_tally(&mut self) -> Tally {
        self.writer.take_tally()
    }

    /// Gives the memory of the last head back, for a connection that idles.
    pub fn give_back(&mut self) {
        self.head = Vec::new();
    }

    /// Why a write failed.
    pub fn cause(&self) -> Cause {
        self.deadlines.cause()
    }

    async fn write_head(&mut self, body: Segments) -> io::Result<()> {
        let head = std::mem::take(&mut self.head);
        self.stall();
        let result = self.writer.write_head(head, false, body).await;
        self.deadlines.writing(None);
        result.map(|head| self.head = head)
    }

    async fn write(&mut self, body: Segments) -> io::Result<()> {
        self.stall();
        let result = self.writer.write(body).await;
        self.deadlines.writing(None);
        result
    }

    fn stall(&self) {
        self.deadlines.writing(Some((runtime::recent().instant + self.write, Limit::Write)));
    }
}

/// The cause of a message that breaks the protocol.
pub fn malformed(rejection: &Rejection) -> Cause {
    Cause::Malformed { reason: rejection.reason(), status: rejection.status() }
}

/// The receiving half of a connection to an upstream.
pub struct OriginInput {
    reader: Box<Reader>,
    decoder: BodyDecoder,
    deadlines: Deadlines,
    /// Whether any byte of the current response arrived.
    pub received: bool,
    /// Whether bytes followed the end of the response: the connection is not reused (SECURITY R6).
    surplus: bool,
    /// Whether upstream lets the connection live.
    keep_alive: bool,
}

/// The sending half of a connection to an upstream.
pub struct OriginOutput {
    writer: Box<Writer>,
    encoder: Option<ChunkEncoder>,
    deadlines: Deadlines,
    head: Vec<u8>,
}

/// Splits an upstream's connection into its halves.
pub fn origin_halves(connection: Connection) -> (Box<OriginInput>, Box<OriginOutput>) {
    let deadlines = Deadlines::new(connection.control);
    let input = OriginInput {
        reader: connection.reader,
        decoder: BodyDecoder::new(Framing::None),
        deadlines: deadlines.clone(),
        received: false,
        surplus: false,
        keep_alive: true,
    };
    let output = OriginOutput { writer: connection.writer, encoder: None, deadlines, head: Vec::new() };
    // Boxed: they go into the pool, into exchanges and back.
    (Box::new(input), Box::new(output))
}

/// Whether the response was whole and nothing followed it: only then may the connection be used again. It
/// then waits without a deadline.
pub fn is_reusable(input: &OriginInput) -> bool {
    let deadlines = &input.deadlines;
    deadlines.reading(None);
    deadlines.writing(None);
    input.decoder.is_done() && input.keep_alive && !input.surplus && deadlines.control().expired().is_none()
}

impl OriginInput {
    /// Begins to wait for the next response. A read is left pending: it is the one that notices when the peer
    /// closes, or receives that response.
    pub fn rest(&mut self) {
        self.reader.start();
        self.reader.give_back();
    }

    /// Whether something happened while nothing was asked for: the peer has closed, or sent what nobody asked
    /// for.
    pub fn is_disturbed(&mut self) -> bool {
        self.reader.is_ready()
    }

    /// Makes a connection that has rested ready for a request.
    pub fn begin(&mut self) {
        (self.received, self.surplus, self.keep_alive) = (false, false, true);
    }

    /// The deadlines of the connection.
    pub fn deadlines(&self) -> &Deadlines {
        &self.deadlines
    }

    /// Reads a response head and what came with it of its body. Informational responses come here too.
    ///
    /// # Errors
    /// Upstream is gone, silent, or sent something that is not a response.
    pub async fn next_response(
        &mut self,
        to: &Method,
        first_byte: Option<Until>,
    ) -> Result<(Box<ResponseHead>, Piece), Cause> {
        self.deadlines.reading(first_byte);
        let mut buffer = match self.reader.read().await {
            Ok(Some(buffer)) => buffer,
            Ok(None) | Err(_) => return Err(self.deadlines.cause()),
        };
        self.received = true;
        let mut searched = 0;
        let length = loop {
            match h1::find_head_end(&buffer, &mut searched, Role::Response) {
                Err(rejection) => return Err(malformed(&rejection)),
                Ok(Some(length)) => break length,
                Ok(None) => {}
            }
            let before = buffer.len();
            buffer = match self.reader.read_more(buffer).await {
                Ok(Some(longer)) if longer.len() > before => longer,
                _ => return Err(self.deadlines.cause()),
            };
        };
        let head = h1::parse_response(buffer.split_to(length), to);
        let head = Box::new(head.map_err(|error| malformed(&error))?);
        if head.status < 200 {
            if !buffer.is_empty() {
                self.reader.unread(buffer);
            }
            return Ok((head, (Segments::new(), false)));
        }
        self.keep_alive = head.keep_alive;
        self.decoder = BodyDecoder::new(head.framing);
        let piece = self.decode(buffer)?;
        Ok((head, piece))
    }

    /// Reads more of the response's body.
    ///
    /// # Errors
    /// Upstream broke off, was silent for too long, or broke the framing.
    pub async fn next_piece(&mut self, idle: Option<Until>) -> Result<Piece, Cause> {
        self.deadlines.reading(idle);
        match self.reader.read().await {
            Ok(Some(buffer)) => self.decode(buffer),
            Ok(None) if self.deadlines.control().expired().is_none() => match self.decoder.finish_on_eof() {
                Ok(()) => {
                    self.surplus = true;
                    Ok((Segments::new(), true))
                }
                Err(_) => Err(Cause::Closed),
            },
            Ok(None) | Err(_) => Err(self.deadlines.cause()),
        }
    }

    fn decode(&mut self, mut buffer: ChunkMut) -> Result<Piece, Cause> {
        let mut data = Segments::new();
        if buffer.is_empty() {
            self.reader.recycle(buffer);
            return Ok((data, self.decoder.is_done()));
        }
        let received = buffer.take();
        self.reader.recycle(buffer);
        let length = received.len();
        let progress = self.decoder.push(received, &mut data).map_err(|error| malformed(&error))?;
        self.surplus |= progress.consumed < length;
        Ok((data, progress.done))
    }
}

impl OriginOutput {
    /// Sends the request head, its credentials and the first of its body, in one write.
    ///
    /// # Errors
    /// Upstream does not take it.
    pub async fn send_head(
        &mut self,
        head: &RequestHead,
        injected: &[(&str, &[u8])],
        data: Segments,
        end: bool,
    ) -> io::Result<()> {
        self.head.clear();
        h1::encode_request(head, injected, &mut self.head);
        self.encoder = (head.framing == Framing::Chunked).then(ChunkEncoder::default);
        let body = frame(&mut self.encoder, data, end);
        let head = std::mem::take(&mut self.head);
        self.deadlines.control().reset_on_drop(!end);
        self.stall();
        let result = self.writer.write_head(head, !injected.is_empty(), body).await;
        self.deadlines.writing(None);
        result.map(|head| self.head = head)
    }

    /// Sends more of the request's body.
    ///
    /// # Errors
    /// Upstream does not take it.
    pub async fn send(&mut self, data: Segments, end: bool) -> io::Result<()> {
        let body = frame(&mut self.encoder, data, end);
        self.stall();
        let result = self.writer.write(body).await;
        self.deadlines.writing(None);
        self.deadlines.control().reset_on_drop(!end || result.is_err());
        result
    }

    /// Bytes that were joined and copied for TLS since the last call.
    pub fn take_tally(&mut self) -> Tally {
        self.writer.take_tally()
    }

    fn stall(&self) {
        self.deadlines.writing(Some((runtime::recent().instant + WRITE_STALL_TIMEOUT, Limit::Write)));
    }
}

/// Puts body bytes into the message's framing.
fn frame(encoder: &mut Option<ChunkEncoder>, data: Segments, end: bool) -> Segments {
    let Some(encoder) = encoder else { return data };
    // Size line, line end and last chunk.
    let mut framed = Segments::with_capacity(data.count() + 3);
    encoder.wrap(data, &mut framed);
    if end {
        encoder.end(&mut framed);
    }
    framed
}
