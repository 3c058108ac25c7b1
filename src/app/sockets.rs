//! Binds sockets before any thread starts, so that a port in use is one clear line.

use super::Error;
use crate::{
    config::{ListenAddr, Listener},
    limits::LISTEN_BACKLOG,
    runtime::sys,
};
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    io,
    net::{SocketAddr, TcpListener},
};

/// The sockets of one listener, one a shard.
pub struct Bound {
    pub address: SocketAddr,
    pub sockets: Vec<TcpListener>,
}

/// Binds a listener for `shards` shards. Each gets a socket of its own and the kernel spreads connections;
/// a socket that was handed over by systemd is shared.
///
/// # Errors
/// The address is taken, not ours or not allowed; or systemd handed over no socket of that name.
pub fn bind(listener: &Listener, shards: usize) -> Result<Bound, Error> {
    let failed = |address: SocketAddr| {
        let name = listener.name.to_string();
        move |source| Error::Bind { name, address, source }
    };
    match &listener.addr {
        ListenAddr::Socket(address) => {
            // With one shard nobody else may bind the port; with several, they share it among themselves.
            let first = open(*address, shards > 1).map_err(failed(*address))?;
            let bound = first.local_addr().map_err(failed(*address))?;
            let mut sockets = vec![first];
            for _ in 1..shards {
                sockets.push(open(bound, true).map_err(failed(bound))?);
            }
            Ok(Bound { address: bound, sockets })
        }
        ListenAddr::Inherited(socket) => {
            let missing = || Error::NoSocket { name: listener.name.to_string(), socket: socket.to_string() };
            let inherited = sys::inherited_listener(socket).ok_or_else(missing)?;
            let address = inherited.local_addr().map_err(|_| missing())?;
            let copies: io::Result<Vec<_>> = (1..shards).map(|_| inherited.try_clone()).collect();
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
    let socket = open(address, false).map_err(failed)?;
    socket.set_nonblocking(true).map_err(failed)?;
    Ok(socket)
}

fn open(address: SocketAddr, share: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.cloexec(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if share {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(LISTEN_BACKLOG)?;
    Ok(socket.into())
}
