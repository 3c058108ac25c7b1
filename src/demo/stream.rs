//! A body that is sent piece by piece, so that a stream looks like one.

use axum::body::{Body, Bytes};
use hyper::body::Frame;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Sleep, sleep};

/// Pieces that are left, and the pause before the next.
struct Paced {
    pieces: VecDeque<Bytes>,
    pause: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
}

/// A body of these pieces, each a chunk of its own, with a pause between two of them.
pub(super) fn paced(pieces: impl IntoIterator<Item = String>, pause: Duration) -> Body {
    Body::new(Paced { pieces: pieces.into_iter().map(Bytes::from).collect(), pause, waiting: None })
}

impl hyper::body::Body for Paced {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(waiting) = &mut self.waiting {
            std::task::ready!(waiting.as_mut().poll(context));
            self.waiting = None;
        }
        let piece = self.pieces.pop_front();
        if piece.is_some() && !self.pieces.is_empty() {
            self.waiting = Some(Box::pin(sleep(self.pause)));
        }
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }
}
