//! Answers that are made while they are sent.

use axum::{
    body::{Body, Bytes},
    response::{IntoResponse, Response},
};
use hyper::{body::Frame, header};
use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::sync::mpsc;

/// A stream of events in which nothing happens says so after this time.
pub(super) const PING: Duration = Duration::from_secs(15);
/// How it says so: a comment (HTML standard, section 9.2.6).
pub(super) const NOTHING_NEW: &str = ": nothing new\n\n";
/// Pieces that wait for a slow client.
const PIECES: usize = 4;

/// A body that comes out of a channel. An error cuts the connection, so that nobody takes a part for the
/// whole.
struct Channel(mpsc::Receiver<io::Result<Bytes>>);

/// The sending end. Sending fails once the client has gone.
pub(super) type Pieces = mpsc::Sender<io::Result<Bytes>>;

/// A body and the end that feeds it.
pub(super) fn channel() -> (Pieces, Body) {
    let (sender, receiver) = mpsc::channel(PIECES);
    (sender, Body::new(Channel(receiver)))
}

/// An answer of server-sent events.
pub(super) fn events(body: Body) -> Response {
    ([(header::CONTENT_TYPE, "text/event-stream")], body).into_response()
}

impl hyper::body::Body for Channel {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}
