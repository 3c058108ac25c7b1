use super::{
    Control, Driver, Reader, Writer, receive::Receive, start::shard, sys, timeout, transmit::Transmit,
};
use monoio::{io::Splitable, net::TcpStream};
use std::{
    io,
    net::{SocketAddr, TcpStream as StdTcpStream},
    os::fd::AsRawFd,
    time::Duration,
};

/// A TCP connection, in clear text or TLS, as two halves that different tasks may own. The halves are boxed:
/// they are handed from task to task for every exchange.
#[derive(Debug)]
pub struct Connection {
    /// What comes in.
    pub reader: Box<Reader>,
    /// What goes out. Dropping it ends our direction (FIN).
    pub writer: Box<Writer>,
    /// Addresses, deadline, abort.
    pub control: Control,
}

/// The halves before they are wrapped: what TLS is built on.
pub(super) struct Raw {
    pub receive: Receive,
    pub transmit: Transmit,
    pub control: Control,
}

impl Connection {
    /// Takes over a connected socket, for example one that was handed over by another process.
    ///
    /// # Errors
    /// The socket is not connected any more, or the driver cannot register it.
    pub fn from_std(stream: StdTcpStream) -> io::Result<Connection> {
        stream.set_nonblocking(shard() == Some(Driver::Epoll))?;
        stream.set_nodelay(true)?;
        let (local, peer) = (stream.local_addr()?, stream.peer_addr()?);
        Ok(Connection::from_raw(Raw::new(TcpStream::from_std(stream)?, local, peer)))
    }

    pub(super) fn from_raw(raw: Raw) -> Connection {
        let Raw { receive, transmit, control } = raw;
        Connection {
            reader: Box::new(Reader::clear(receive)),
            writer: Box::new(Writer::clear(transmit)),
            control,
        }
    }
}

impl Raw {
    /// The descriptor must already be closed on exec.
    pub fn new(stream: TcpStream, local: SocketAddr, peer: SocketAddr) -> Raw {
        let (control, alive) = Control::new(stream.as_raw_fd(), local, peer);
        let (read_half, write_half) = stream.into_split();
        Raw {
            receive: Receive::new(read_half, alive.clone()),
            transmit: Transmit::new(write_half, alive),
            control,
        }
    }
}

/// Connects to `address`, which `background` has resolved.
///
/// # Errors
/// The peer refuses or cannot be reached, or `TimedOut` after `limit`.
pub async fn connect(address: SocketAddr, limit: Duration) -> io::Result<Connection> {
    // A pending connect may be dropped: the kernel cancels it, and nothing has been sent or received.
    let connected = timeout(limit, TcpStream::connect_addr(address)).await;
    let stream = connected.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))?;
    sys::set_cloexec(stream.as_raw_fd())?;
    stream.set_nodelay(true)?;
    let local = stream.local_addr()?;
    Ok(Connection::from_raw(Raw::new(stream, local, address)))
}
