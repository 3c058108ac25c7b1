//! Binds sockets before any thread starts, so that a port in use is one clear line.

use super::Error;
use crate::{
    config::{ListenAddr, Listener, ShardTuning, Tuning},
    limits::LISTEN_BACKLOG,
    runtime::sys,
};
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    io,
    net::{SocketAddr, TcpListener},
};

/// The sockets of one listener, one a shard, in their order.
pub struct Bound {
    pub address: SocketAddr,
    pub sockets: Vec<TcpListener>,
}

/// Binds a listener for shards that take so much of the machine. Each gets a socket of its own and the kernel
/// spreads connections; a socket that was handed over by systemd is shared, and is as its unit made it.
///
/// # Errors
/// The address is taken, not ours or not allowed; or systemd handed over no socket of that name.
pub fn bind(listener: &Listener, shards: &[ShardTuning]) -> Result<Bound, Error> {
    let failed = |address: SocketAddr| {
        let name = listener.name.to_string();
        move |source| Error::Bind { name, address, source }
    };
    match &listener.addr {
        ListenAddr::Socket(address) => {
            // With one shard nobody else may bind the port; with several, they share it among themselves.
            let (mut sockets, mut bound) = (Vec::new(), *address);
            for tuning in shards {
                let socket = open(bound, shards.len() > 1, tuning).map_err(failed(bound))?;
                // The port that was found for the first is that of all.
                bound = socket.local_addr().map_err(failed(bound))?;
                sockets.push(socket);
            }
            Ok(Bound { address: bound, sockets })
        }
        ListenAddr::Inherited(socket) => {
            let missing = || Error::NoSocket { name: listener.name.to_string(), socket: socket.to_string() };
            let inherited = sys::inherited_listener(socket).ok_or_else(missing)?;
            let address = inherited.local_addr().map_err(|_| missing())?;
            let copies: io::Result<Vec<_>> = (1..shards.len()).map(|_| inherited.try_clone()).collect();
            let mut sockets = copies.map_err(failed(address))?;
            sockets.push(inherited);
            Ok(Bound { address, sockets })
        }
    }
}

/// A plain listening socket for the admin side.
///
/// # Errors
/// The address is taken, not ours or not allowed.
pub fn bind_plain(name: &str, address: SocketAddr) -> Result<TcpListener, Error> {
    let failed = |source| Error::Bind { name: name.to_owned(), address, source };
    let socket = open(address, false, &Tuning::default().of(None)).map_err(failed)?;
    socket.set_nonblocking(true).map_err(failed)?;
    Ok(socket)
}

fn open(address: SocketAddr, share: bool, tuning: &ShardTuning) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.cloexec(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if share {
        socket.set_reuse_port(true)?;
    }
    if let Some(bytes) = tuning.send_buffer {
        // Connections that are accepted inherit it. The kernel doubles what it grants, for its book-keeping,
        // and says nothing of what it does not grant (socket(7)).
        socket.set_send_buffer_size(bytes)?;
        let granted = socket.send_buffer_size()? / 2;
        if granted < bytes {
            tracing::warn!(bytes, granted, "the kernel cuts listener.send_buffer: see net.core.wmem_max");
        }
    }
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(tuning.backlog).unwrap_or(LISTEN_BACKLOG))?;
    Ok(socket.into())
}
