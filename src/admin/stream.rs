//! Answers that are made while they are sent.

use axum::body::{Body, Bytes};
use hyper::body::Frame;
use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::sync::mpsc;

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
