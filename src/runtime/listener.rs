use super::{Connection, Driver, connection::Raw, operation::Owned, sleep, start::shard, sys};
use crate::limits;
use monoio::{
    io::{CancelHandle, Canceller},
    net::{TcpListener, TcpStream},
};
use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    fmt,
    future::poll_fn,
    io,
    net::{SocketAddr, TcpListener as StdTcpListener},
    os::fd::AsRawFd,
    rc::Rc,
    task::{Context, Poll, Waker},
};

/// Connections that the kernel may have queued for one listener of the default backlog: it takes one more.
const QUEUE_MAX: usize = limits::LISTEN_BACKLOG as usize + 1;

/// Accepts that a listener has under way in the ring: with one alone each turn of the executor takes one
/// connection, however many wait.
const ACCEPTS: usize = 8;

type Accepted = io::Result<(TcpStream, SocketAddr)>;

/// A listening TCP socket of one shard, with its accepts under way. One task accepts; any task may stop.
pub struct Listener {
    /// The same socket as in the operation: for its address, and for what is queued when it stops.
    socket: StdTcpListener,
    local: SocketAddr,
    accept: RefCell<Accept>,
    stopped: Cell<bool>,
    /// Queued connections that a stopped listener still hands out.
    left: Cell<usize>,
    errors: Cell<u64>,
}

struct Accept {
    operations: Vec<Operation>,
    /// What was accepted and not handed out yet, also by [`Listener::stop`] instead of the task that accepts.
    found: VecDeque<Accepted>,
    waiter: Option<Waker>,
}

/// One accept, run again and again.
struct Operation {
    owned: Owned<CancelHandle, Accepted>,
    canceller: Canceller,
}

impl Accept {
    fn is_pending(&self) -> bool {
        self.operations.iter().any(|operation| operation.owned.is_pending())
    }

    /// Cancels what is under way.
    fn cancel(&mut self) {
        for operation in self.operations.iter_mut().filter(|operation| operation.owned.is_pending()) {
            operation.canceller = std::mem::take(&mut operation.canceller).cancel();
        }
    }

    /// Takes in what has ended.
    fn poll(&mut self, cx: &mut Context<'_>) {
        for operation in self.operations.iter_mut().filter(|operation| operation.owned.is_pending()) {
            if let Poll::Ready(accepted) = operation.owned.poll(cx) {
                self.found.push_back(accepted);
            }
        }
    }
}

impl Listener {
    /// Listens on `address` (port 0: a free one). With `reuse_port` several shards may listen on the same
    /// one.
    ///
    /// # Errors
    /// `AddrInUse`, `AddrNotAvailable`, `PermissionDenied`: the operator's fault.
    pub fn bind(address: SocketAddr, reuse_port: bool) -> io::Result<Listener> {
        Listener::from_std(listen(address, reuse_port)?)
    }

    /// Takes over a listening socket: bound before the shards started, or handed over by systemd.
    ///
    /// # Errors
    /// The descriptor is not a listening TCP socket, or no descriptor is left.
    pub fn from_std(socket: StdTcpListener) -> io::Result<Listener> {
        socket.set_nonblocking(shard() == Some(Driver::Epoll))?;
        sys::set_cloexec(socket.as_raw_fd())?;
        // Accepted sockets inherit it: one system call less a connection.
        socket2::SockRef::from(&socket).set_tcp_nodelay(true)?;
        let local = socket.local_addr()?;
        let listener = Rc::new(TcpListener::from_std(socket.try_clone()?)?);
        let operation = |_| {
            let listener = Rc::clone(&listener);
            let owned = Owned::new(move |handle| {
                let listener = Rc::clone(&listener);
                async move { listener.cancelable_accept(handle).await }
            });
            Operation { owned, canceller: Canceller::new() }
        };
        let count = if shard() == Some(Driver::Epoll) { 1 } else { ACCEPTS };
        let operations = (0..count).map(operation).collect();
        let accept = Accept { operations, found: VecDeque::new(), waiter: None };
        Ok(Listener {
            socket,
            local,
            accept: RefCell::new(accept),
            stopped: Cell::new(false),
            left: Cell::new(QUEUE_MAX),
            errors: Cell::new(0),
        })
    }

    /// Says which backlog the socket has, where it is not the default one.
    #[must_use]
    pub fn with_backlog(self, backlog: u32) -> Listener {
        self.left.set(backlog as usize + 1);
        self
    }

    /// The address it is bound to, with the port that was found.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Failed accepts so far: out of descriptors, or connections that were gone before they were accepted.
    pub fn errors(&self) -> u64 {
        self.errors.get()
    }

    /// The next connection and its peer's address; `None` after [`Listener::stop`], once everything that was
    /// queued has been handed out. Out of descriptors it pauses for [`limits::ACCEPT_BACKOFF`]. The future
    /// may be dropped.
    ///
    /// # Errors
    /// The listening socket itself is broken: our fault.
    pub async fn accept(&self) -> io::Result<Option<(Connection, SocketAddr)>> {
        loop {
            let error = match poll_fn(|cx| self.poll_accept(cx)).await {
                None => return Ok(None),
                Some(Ok((stream, peer))) => match self.finish(stream, peer) {
                    Ok(connection) => return Ok(Some((connection, peer))),
                    Err(error) => error,
                },
                Some(Err(error)) => error,
            };
            if error.raw_os_error() == Some(libc::ECANCELED) {
                continue;
            }
            self.errors.set(self.errors.get() + 1);
            match error.raw_os_error() {
                Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => {
                    sleep(limits::ACCEPT_BACKOFF).await;
                    // The others failed for the same reason.
                    self.accept.borrow_mut().found.retain(Result::is_ok);
                }
                Some(libc::EAGAIN) => {
                    // Another process that shares the socket has changed its mode (it may be stopping).
                    self.socket.set_nonblocking(shard() == Some(Driver::Epoll))?;
                    sleep(limits::ACCEPT_BACKOFF).await;
                }
                Some(libc::EBADF | libc::EINVAL | libc::ENOTSOCK | libc::EOPNOTSUPP) => return Err(error),
                // accept(2): errors of the connection itself are to be treated like a retry.
                _ => {}
            }
        }
    }

    /// Stops accepting: cancels the accepts under way and waits for them. What they returned all the same,
    /// and what the kernel has queued, is handed out by [`Listener::accept`] before that returns `None`.
    /// Whoever goes on connecting cannot keep it from ending: no more is handed out than the queue may have
    /// held.
    pub async fn stop(&self) {
        self.stopped.set(true);
        self.accept.borrow_mut().cancel();
        poll_fn(|cx| {
            let mut accept = self.accept.borrow_mut();
            accept.poll(cx);
            if accept.is_pending() { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
        // The operations have ended, so that this cannot make them spin.
        let _ = self.socket.set_nonblocking(true);
        let waiter = self.accept.borrow_mut().waiter.take();
        if let Some(waiter) = waiter {
            waiter.wake();
        }
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<Option<Accepted>> {
        let mut accept = self.accept.borrow_mut();
        if let Some(found) = accept.found.pop_front() {
            return Poll::Ready(Some(found));
        }
        if self.stopped.get() {
            if !accept.is_pending() {
                return Poll::Ready(self.queued());
            }
            // `stop` waits for the operations and wakes this task.
            accept.waiter = Some(cx.waker().clone());
            return Poll::Pending;
        }
        accept.waiter = Some(cx.waker().clone());
        for operation in accept.operations.iter_mut().filter(|operation| !operation.owned.is_pending()) {
            operation.owned.start(operation.canceller.handle());
        }
        accept.poll(cx);
        accept.found.pop_front().map_or(Poll::Pending, |found| Poll::Ready(Some(found)))
    }

    /// A connection that waits in the kernel's queue of a stopped listener.
    fn queued(&self) -> Option<Accepted> {
        self.left.set(self.left.get().checked_sub(1)?);
        match self.socket.accept() {
            Ok((stream, peer)) => {
                let driver = shard();
                let converted = stream
                    .set_nonblocking(driver == Some(Driver::Epoll))
                    .and_then(|()| TcpStream::from_std(stream));
                Some(converted.map(|stream| (stream, peer)))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => Some(Err(error)),
            Err(_) => None,
        }
    }

    fn finish(&self, stream: TcpStream, peer: SocketAddr) -> io::Result<Connection> {
        sys::set_cloexec(stream.as_raw_fd())?;
        let local = if self.local.ip().is_unspecified() { stream.local_addr()? } else { self.local };
        Ok(Connection::from_raw(Raw::new(stream, local, peer)))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if shard().is_some() {
            self.accept.get_mut().cancel();
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Listener({})", self.local)
    }
}

fn listen(address: SocketAddr, reuse_port: bool) -> io::Result<StdTcpListener> {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(address),
        socket2::Type::STREAM,
        Some(socket2::Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(reuse_port)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(limits::LISTEN_BACKLOG)?;
    Ok(socket.into())
}
