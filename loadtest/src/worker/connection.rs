//! One connection, in clear text or TLS, with its receive buffer.

use super::{Driver, deadline::Deadline};
use crate::{limits, tally::Kind};
use bytes::Bytes;
use monoio::{
    buf::IoBufMut,
    io::{AsyncReadRent, AsyncWriteRentExt},
    net::TcpStream,
};
use rustls::{ClientConfig, ClientConnection, pki_types::ServerName};
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    io::{self, BufRead, Write},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

/// How to get one.
#[derive(Clone, Debug)]
pub struct Address {
    pub address: SocketAddr,
    pub tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

struct Session {
    tls: ClientConnection,
    /// What was received and not yet read by the session.
    received: Vec<u8>,
    /// How much of it the session has taken.
    at: usize,
    /// What the session wants to send.
    sending: Vec<u8>,
    /// The last read filled its buffer.
    grow: bool,
}

impl Session {
    /// Takes what was received until there is clear text: the session keeps little of that.
    fn feed(&mut self) -> io::Result<()> {
        while let Some(mut rest) = self.received.get(self.at..).filter(|rest| !rest.is_empty()) {
            self.at += self.tls.read_tls(&mut rest)?;
            let state = self.tls.process_new_packets().map_err(io::Error::other)?;
            if state.plaintext_bytes_to_read() > 0 {
                break;
            }
        }
        Ok(())
    }

    /// Appends clear text to `buffer`, within its capacity: how much, 0 at the end, none if there is
    /// none yet.
    fn read(&mut self, buffer: &mut Vec<u8>) -> io::Result<Option<usize>> {
        let mut reader = self.tls.reader();
        let text = match reader.fill_buf() {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        };
        let count = text.len().min(buffer.capacity() - buffer.len());
        buffer.extend_from_slice(&text[..count]);
        reader.consume(count);
        Ok(Some(count))
    }
}

/// A connection that is open.
pub struct Connection {
    stream: TcpStream,
    session: Option<Box<Session>>,
    /// Received bytes from `start` on.
    buffer: Vec<u8>,
    start: usize,
    /// Answers that it has given.
    pub answers: u64,
}

impl Connection {
    /// Opens one; `deadline` may end that.
    pub async fn open(
        to: &Address,
        driver: Driver,
        deadline: &Deadline,
    ) -> Result<Connection, (Kind, io::Error)> {
        let stream = connect(to.address, driver, deadline).await.map_err(|error| (Kind::Connect, error))?;
        let buffer = Vec::with_capacity(limits::RECEIVE_BYTES_MIN);
        let mut connection = Connection { stream, session: None, buffer, start: 0, answers: 0 };
        if let Some((config, name)) = &to.tls {
            connection.handshake(config, name).await.map_err(|error| (Kind::Tls, error))?;
        }
        Ok(connection)
    }

    async fn handshake(&mut self, config: &Arc<ClientConfig>, name: &ServerName<'static>) -> io::Result<()> {
        let tls = ClientConnection::new(config.clone(), name.clone()).map_err(io::Error::other)?;
        let mut session = Session {
            tls,
            received: Vec::with_capacity(limits::RECEIVE_BYTES_MIN),
            at: 0,
            sending: vec![],
            grow: false,
        };
        while session.tls.is_handshaking() {
            flush(&mut self.stream, &mut session).await?;
            if session.tls.is_handshaking() && receive(&mut self.stream, &mut session).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        flush(&mut self.stream, &mut session).await?;
        self.session = Some(Box::new(session));
        Ok(())
    }

    /// Sends all of it.
    pub async fn send(&mut self, bytes: Bytes) -> io::Result<()> {
        let Some(session) = &mut self.session else {
            return self.stream.write_all(bytes).await.0.map(drop);
        };
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            // The session takes as much as it has room for.
            let count = session.tls.writer().write(rest)?;
            rest = &rest[count..];
            flush(&mut self.stream, session).await?;
        }
        Ok(())
    }

    /// What was received and not yet consumed.
    pub fn received(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// All but the last `left` bytes of [`Connection::received`] were read.
    pub fn consume(&mut self, left: usize) {
        self.start = self.buffer.len() - left;
        if left == 0 {
            self.buffer.clear();
            self.start = 0;
        }
    }

    /// Receives more, behind what is there; 0 at the end of the stream.
    pub async fn receive(&mut self) -> io::Result<usize> {
        if self.start > 0 {
            // Only the beginning of a head, or of a chunk's size, is ever left.
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        let filled = self.buffer.len();
        if filled == self.buffer.capacity() && filled < limits::RECEIVE_BYTES_MAX {
            self.buffer.reserve_exact(limits::RECEIVE_BYTES_MAX - filled);
        }
        let count = match &mut self.session {
            None => {
                let slice = std::mem::take(&mut self.buffer).slice_mut(filled..);
                let (result, slice) = self.stream.read(slice).await;
                self.buffer = slice.into_inner();
                result?
            }
            Some(session) => loop {
                if let Some(count) = session.read(&mut self.buffer)? {
                    break count;
                }
                if session.at < session.received.len() {
                    session.feed()?;
                } else if receive(&mut self.stream, session).await? == 0 {
                    break 0;
                }
                flush(&mut self.stream, session).await?;
            },
        };
        // A read that fills its buffer asks for a larger one, once.
        if self.buffer.len() == self.buffer.capacity() && self.buffer.len() < limits::RECEIVE_BYTES_MAX {
            self.buffer.reserve_exact(limits::RECEIVE_BYTES_MAX - self.buffer.len());
        }
        Ok(count)
    }
}

/// A socket that [`Deadline`] can end at any time, also while it is being connected.
async fn connect(address: SocketAddr, driver: Driver, deadline: &Deadline) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    match socket.connect(&address.into()) {
        Err(error) if error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {
            return Err(error);
        }
        _ => {}
    }
    let socket = std::net::TcpStream::from(socket);
    deadline.watch(Some(socket.try_clone()?));
    let control = socket.try_clone()?;
    let stream = TcpStream::from_std(socket)?;
    stream.writable(false).await?;
    if let Some(error) = control.take_error()? {
        return Err(error);
    }
    control.peer_addr()?;
    // A ring waits for data only on a socket that blocks; epoll needs one that does not.
    control.set_nonblocking(driver == Driver::Epoll)?;
    Ok(stream)
}

/// Sends what the session has to send.
async fn flush(stream: &mut TcpStream, session: &mut Session) -> io::Result<()> {
    while session.tls.wants_write() {
        session.sending.clear();
        session.tls.write_tls(&mut session.sending)?;
        let (result, sending) = stream.write_all(std::mem::take(&mut session.sending)).await;
        session.sending = sending;
        result?;
    }
    Ok(())
}

/// Receives for the session; 0 at the end of the stream.
async fn receive(stream: &mut TcpStream, session: &mut Session) -> io::Result<usize> {
    let mut received = std::mem::take(&mut session.received);
    received.clear();
    if std::mem::take(&mut session.grow) {
        received.reserve_exact(limits::RECEIVE_BYTES_MAX);
    }
    let (result, received) = stream.read(received).await;
    session.received = received;
    let count = result?;
    session.at = 0;
    session.feed()?;
    if count == session.received.capacity() && count < limits::RECEIVE_BYTES_MAX {
        session.grow = true;
    }
    Ok(count)
}

/// What waits before the next attempt, after so many that failed.
pub fn backoff(failures: u32) -> Duration {
    (limits::BACKOFF_MIN * 2u32.saturating_pow(failures.min(16))).min(limits::BACKOFF_MAX)
}
