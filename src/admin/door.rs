//! A listener and its connections: how many, how long, how slow.
//!
//! hyper speaks HTTP here: this module gives it bounds. A connection may idle or take over its head for
//! `head`, lives for `life`, and may then take `grace` to end the request under way; so no client, however
//! slow it sends or reads, holds one of the places of a door for longer than that.

use crate::limits;
use axum::{Router, extract::Request, serve::Listener};
use hyper::{body::Incoming, server::conn::http1, service::Service, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use std::{future::Future, net::IpAddr, net::SocketAddr, pin::pin, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

/// Who is at the other end.
#[derive(Clone, Debug)]
pub(super) enum Caller {
    /// A process of this host, as the kernel names it: `local:UID`.
    Local(Arc<str>),
    /// Anybody who dialled this address of ours, from where, and whether others can read what is said.
    Network { local: SocketAddr, peer: IpAddr, is_tls: bool },
}

/// Bounds of one door; the defaults are those of [`limits`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub connections: usize,
    pub head: Duration,
    pub body: Duration,
    pub handshake: Duration,
    pub life: Duration,
    pub grace: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds {
            connections: limits::ADMIN_CONNECTIONS_MAX,
            head: limits::HEAD_READ_TIMEOUT,
            body: limits::BODY_IDLE_TIMEOUT,
            handshake: limits::HANDSHAKE_TIMEOUT,
            life: limits::ADMIN_CONNECTION_LIFE,
            grace: limits::ADMIN_CONNECTION_GRACE,
        }
    }
}

/// One listener's worth of serving.
#[derive(Clone)]
pub(super) struct Door {
    pub router: Router,
    pub bounds: Bounds,
    /// Becomes true when no more is to be accepted.
    pub closing: watch::Receiver<bool>,
}

impl Door {
    /// Serves the unix socket. Returns once closing and every connection has ended.
    pub(super) async fn local(self, listener: UnixListener) {
        let serve = async |door: Door, stream: UnixStream| {
            let credentials = match stream.peer_cred() {
                Ok(credentials) => credentials,
                Err(error) => return tracing::warn!(%error, "no peer credentials; connection closed"),
            };
            door.serve(stream, Caller::Local(format!("local:{}", credentials.uid()).into())).await;
        };
        self.accept(listener, |door, stream| Box::pin(serve(door, stream))).await;
    }

    /// Serves a TCP listener. Returns once closing and every connection has ended.
    pub(super) async fn network(self, listener: TcpListener, tls: Option<TlsAcceptor>) {
        let serve = async |door: Door, stream: TcpStream, tls: Option<TlsAcceptor>| {
            let (Ok(local), Ok(peer)) = (stream.local_addr(), stream.peer_addr()) else { return };
            let peer = peer.ip().to_canonical();
            let caller = Caller::Network { local, peer, is_tls: tls.is_some() };
            let Some(tls) = tls else { return door.serve(stream, caller).await };
            match timeout(door.bounds.handshake, tls.accept(stream)).await {
                Ok(Ok(stream)) => door.serve(stream, caller).await,
                Ok(Err(error)) => tracing::debug!(%error, "admin TLS handshake failed"),
                Err(_) => tracing::debug!("admin TLS handshake too slow"),
            }
        };
        self.accept(listener, |door, stream| Box::pin(serve(door, stream, tls.clone()))).await;
    }

    /// Accepts up to the bound; more wait in the kernel's queue.
    async fn accept<L: Listener, F>(mut self, mut listener: L, serve: impl Fn(Door, L::Io) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let places = Arc::new(Semaphore::new(self.bounds.connections));
        let mut connections = JoinSet::new();
        loop {
            let closing = self.closing.wait_for(|closing| *closing);
            let accepted = async {
                // The semaphore is never closed.
                let place = places.clone().acquire_owned().await;
                (place, listener.accept().await)
            };
            let (place, (stream, _)) = tokio::select! {
                biased;
                _ = closing => break,
                accepted = accepted => accepted,
            };
            while connections.try_join_next().is_some() {}
            let connection = serve(self.clone(), stream);
            connections.spawn(async move {
                connection.await;
                drop(place);
            });
        }
        drop(listener);
        while connections.join_next().await.is_some() {}
    }

    /// One connection from its first head to its end.
    async fn serve(mut self, stream: impl AsyncRead + AsyncWrite + Unpin, caller: Caller) {
        let router = TowerToHyperService::new(self.router);
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(caller.clone());
            router.call(request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.bounds.head)
            .max_headers(limits::HEADER_COUNT_MAX)
            .max_header_size(limits::HEAD_BYTES_MAX)
            .max_buf_size(limits::ADMIN_BUFFER_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "admin connection ended");
                }
                return;
            }
            () = sleep(self.bounds.life) => {}
            _ = self.closing.wait_for(|closing| *closing) => {}
        }
        connection.as_mut().graceful_shutdown();
        // Whoever has not ended by then is cut.
        let _ = timeout(self.bounds.grace, connection).await;
    }
}
