//! Servers on loopback, each on a port of its own.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::serve::ListenerExt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use tokio::net::TcpListener;

use crate::limits::DEMO_BODY_BYTES_MAX;

/// A free port of the loopback interface.
pub(super) async fn bind() -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await
}

/// Answers on `listener` until the runtime ends; returns its address.
pub(super) fn serve(listener: TcpListener, router: Router) -> io::Result<SocketAddr> {
    let address = listener.local_addr()?;
    // Events of a stream leave one by one. A connection whose option cannot be set is gone already.
    let listener = listener.tap_io(|connection| drop(connection.set_nodelay(true)));
    let router = router.layer(DefaultBodyLimit::max(DEMO_BODY_BYTES_MAX));
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(address)
}
