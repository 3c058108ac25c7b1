//! All doors together: opened at once, closed at once.

use super::{
    Control, Error, Parts,
    door::{Bounds, Door},
    host::Hosts,
    routes::{self, Desk},
    socket,
};
use crate::{limits, metrics::Metrics};
use axum::Router;
use std::{
    future::Future,
    net::{SocketAddr, TcpListener},
    os::unix::net::UnixListener,
    sync::Arc,
};
use tokio::{sync::watch, time::timeout};
use tokio_rustls::TlsAcceptor;

/// The admin side with everything open, not yet serving. Dropping it closes everything.
pub struct Server {
    control: Arc<dyn Control>,
    metrics_of: Arc<Metrics>,
    bounds: Bounds,
    hosts: Vec<String>,
    socket: Option<(UnixListener, socket::Place)>,
    tcp: Option<(TcpListener, Option<TlsAcceptor>)>,
    metrics: Option<TcpListener>,
}

impl Server {
    /// Checks the listeners and makes the socket. Needs no runtime.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn bind(parts: Parts) -> Result<Server, Error> {
        Server::bounded(parts, Bounds::default())
    }

    pub(super) fn bounded(parts: Parts, bounds: Bounds) -> Result<Server, Error> {
        let Parts { control, metrics, socket, tcp, tls, hosts, metrics_listener } = parts;
        if let Some(listener) = &tcp {
            let addr = prepared(listener, "admin")?;
            if tls.is_none() && !is_loopback(addr) {
                return Err(Error::PlainOffLoopback(addr));
            }
        }
        if let Some(listener) = &metrics_listener {
            let addr = prepared(listener, "metrics")?;
            if !is_loopback(addr) {
                return Err(Error::MetricsOffLoopback(addr));
            }
        }
        let acceptor = tls.map(|tls| {
            // One protocol is spoken here, whatever the data plane offers with the same certificate.
            let mut tls = rustls::ServerConfig::clone(&tls);
            tls.alpn_protocols = vec![b"http/1.1".to_vec()];
            TlsAcceptor::from(Arc::new(tls))
        });
        Ok(Server {
            control,
            metrics_of: metrics,
            bounds,
            hosts,
            socket: socket.as_deref().map(socket::bind).transpose()?,
            tcp: tcp.map(|listener| (listener, acceptor)),
            metrics: metrics_listener,
        })
    }

    /// Serves until `stop`, then lets the requests under way end, and removes the socket. Runs on a tokio
    /// runtime with I/O and time.
    ///
    /// # Errors
    /// A listener cannot be handed to the runtime ([`Error::Listener`]); nothing was served then.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), Error> {
        let Server { control, metrics_of, bounds, hosts, socket, tcp, metrics } = self;
        let (close, closing) = watch::channel(false);
        let desk = Arc::new(Desk {
            control,
            metrics: metrics_of,
            body_timeout: bounds.body,
            closing: closing.clone(),
            pulls: Default::default(),
            sessions: Default::default(),
            transactions: Default::default(),
            handovers: Default::default(),
        });
        let door = |router: Router| Door { router, bounds, closing: closing.clone() };
        let failed = |what| move |source| Error::Listener { what, source };
        let mut doors = tokio::task::JoinSet::new();
        let mut place = None;
        if let Some((listener, made)) = socket {
            let listener = tokio::net::UnixListener::from_std(listener).map_err(failed("socket"))?;
            doors.spawn(door(routes::local(desk.clone())).local(listener));
            place = Some(made);
        }
        if let Some((listener, tls)) = tcp {
            let listener = tokio::net::TcpListener::from_std(listener).map_err(failed("admin"))?;
            let hosts = Arc::new(Hosts::new(&hosts, tls.is_some()));
            doors.spawn(door(routes::network(desk.clone(), hosts)).network(listener, tls));
        }
        if let Some(listener) = metrics {
            let listener = tokio::net::TcpListener::from_std(listener).map_err(failed("metrics"))?;
            let hosts = Arc::new(Hosts::new(&hosts, false));
            doors.spawn(door(routes::scraped(desk.clone(), hosts)).network(listener, None));
        }
        stop.await;
        // The socket goes first: a successor may make its own while the last requests end.
        drop(place);
        close.send_replace(true);
        // Doors that are not through by then are aborted with their connections when the set is dropped.
        let _ =
            timeout(limits::ADMIN_STOP_TIMEOUT, async { while doors.join_next().await.is_some() {} }).await;
        Ok(())
    }
}

/// Makes a listener fit for the runtime and says where it listens.
fn prepared(listener: &TcpListener, what: &'static str) -> Result<SocketAddr, Error> {
    let prepare = || listener.set_nonblocking(true).and_then(|()| listener.local_addr());
    prepare().map_err(|source| Error::Listener { what, source })
}

/// Whether only this host can reach what listens there.
pub(super) fn is_loopback(addr: SocketAddr) -> bool {
    addr.ip().to_canonical().is_loopback()
}
