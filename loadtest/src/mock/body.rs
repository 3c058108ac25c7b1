//! Bodies that are made while they are sent.

use axum::body::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Sleep, sleep};

/// Bytes of one piece of a [`Repeated`] body.
const PIECE_BYTES: usize = 64 << 10;
/// What is repeated: text that no mask knows and no compressor shrinks to nothing at a glance.
static PIECE: [u8; PIECE_BYTES] = {
    let mut bytes = [0; PIECE_BYTES];
    let mut index = 0;
    while index < PIECE_BYTES {
        bytes[index] = if index % 64 == 63 { b'\n' } else { b'a' + (index % 64 % 26) as u8 };
        index += 1;
    }
    bytes
};

/// Events, each a frame of its own, with a pause before each but the first.
pub struct Paced {
    events: Arc<[Bytes]>,
    next: usize,
    pause: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl Paced {
    pub fn new(events: Arc<[Bytes]>, pause: Duration) -> Paced {
        Paced { events, next: 0, pause, waiting: None }
    }
}

impl Body for Paced {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(waiting) = &mut self.waiting {
            ready!(waiting.as_mut().poll(context));
            self.waiting = None;
        }
        let event = self.events.get(self.next).cloned();
        self.next += 1;
        if !self.pause.is_zero() && self.next < self.events.len() {
            self.waiting = Some(Box::pin(sleep(self.pause)));
        }
        Poll::Ready(event.map(|event| Ok(Frame::data(event))))
    }
}

/// So many bytes; `declared` says whether their number is known in advance.
pub struct Repeated {
    left: u64,
    declared: bool,
}

impl Repeated {
    pub fn new(count: u64, declared: bool) -> Repeated {
        Repeated { left: count, declared }
    }
}

impl Body for Repeated {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let count = PIECE_BYTES.min(usize::try_from(self.left).unwrap_or(PIECE_BYTES));
        self.left -= count as u64;
        Poll::Ready((count > 0).then(|| Ok(Frame::data(Bytes::from_static(&PIECE[..count])))))
    }

    fn size_hint(&self) -> SizeHint {
        if self.declared { SizeHint::with_exact(self.left) } else { SizeHint::default() }
    }
}
