use super::{
    control::Alive,
    operation::Owned,
    slices::{Single, Slices},
};
use crate::buffer::Segments;
use monoio::{
    io::{AsyncWriteRent, OwnedWriteHalf},
    net::TcpStream,
};
use std::{
    future::poll_fn,
    io,
    rc::Rc,
    task::{Context, Poll, ready},
};

type Half = OwnedWriteHalf<TcpStream>;

/// The half and its slices travel into the operation and back.
struct Outgoing {
    half: Half,
    slices: Box<Slices>,
    /// Bytes that the kernel took in the last operation.
    sent: u64,
}

/// The sending half of a socket with its one write under way.
pub(super) struct Transmit {
    alive: Option<Rc<Alive>>,
    /// `None` while a write is under way.
    idle: Option<Outgoing>,
    operation: Owned<Outgoing, (io::Result<()>, Outgoing)>,
    /// Why the last write failed: the stream has a hole, so that nothing more may follow.
    failed: Option<io::ErrorKind>,
}

impl Transmit {
    pub fn new(half: Half, alive: Rc<Alive>) -> Transmit {
        Transmit {
            alive: Some(alive),
            idle: Some(Outgoing { half, slices: Box::default(), sent: 0 }),
            operation: Owned::new(send_all),
            failed: None,
        }
    }

    /// Sends `head` and `body` in as few calls as possible and gives the head's vector back, empty and, if it
    /// was `secret`, wiped. May be dropped: what was handed over is sent all the same, before anything that
    /// follows.
    pub async fn send(&mut self, head: Vec<u8>, secret: bool, body: Segments) -> io::Result<Vec<u8>> {
        poll_fn(|cx| self.poll_idle(cx)).await?;
        // `poll_idle` has just put it back.
        let Some(mut outgoing) = self.idle.take() else { return Err(io::ErrorKind::BrokenPipe.into()) };
        outgoing.slices.load(head, secret, body);
        if !outgoing.slices.is_empty() {
            self.operation.start(outgoing);
            self.set_writing(true);
            poll_fn(|cx| self.poll_idle(cx)).await?;
        } else {
            self.idle = Some(outgoing);
        }
        Ok(self.idle.as_mut().map(|outgoing| outgoing.slices.take_head()).unwrap_or_default())
    }

    /// Sends what is left, then ends our direction (FIN).
    pub async fn shutdown(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_idle(cx)).await?;
        match &mut self.idle {
            Some(outgoing) => outgoing.half.shutdown().await,
            None => Ok(()),
        }
    }

    /// Ready when no write is under way, with the error of the first that failed.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.operation.is_pending() {
            let (result, mut outgoing) = ready!(self.operation.poll(cx));
            if let Some(alive) = &self.alive {
                alive.control().set_writing(false);
                alive.control().add_sent(std::mem::take(&mut outgoing.sent));
            }
            if let Err(error) = &result {
                outgoing.slices.clear();
                self.failed = Some(error.kind());
            }
            self.idle = Some(outgoing);
            result?;
        }
        Poll::Ready(self.failed.map_or(Ok(()), |kind| Err(kind.into())))
    }

    fn set_writing(&self, writing: bool) {
        if let Some(alive) = &self.alive {
            alive.control().set_writing(writing);
        }
    }
}

async fn send_all(mut outgoing: Outgoing) -> (io::Result<()>, Outgoing) {
    while !outgoing.slices.is_empty() {
        let result = if outgoing.slices.prepare() == 1 {
            let (result, Single(slices)) = outgoing.half.write(Single(outgoing.slices)).await;
            outgoing.slices = slices;
            result
        } else {
            let (result, slices) = outgoing.half.writev(outgoing.slices).await;
            outgoing.slices = slices;
            result
        };
        match result {
            Ok(0) => return (Err(io::ErrorKind::WriteZero.into()), outgoing),
            Ok(sent) => {
                outgoing.sent += sent as u64;
                outgoing.slices.advance(sent);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (Err(error), outgoing),
        }
    }
    (Ok(()), outgoing)
}

impl Drop for Transmit {
    fn drop(&mut self) {
        let Some(alive) = self.alive.take() else { return };
        if alive.control().resets_on_drop() {
            alive.control().reset();
        } else if self.operation.is_pending() {
            // The write was given up in its middle: it must end, and not as if all were well.
            alive.control().reset();
        }
        if let Some(outgoing) = self.idle.take() {
            // The half sends a FIN and may close the descriptor: only after the control has let go of it.
            drop(alive);
            drop(outgoing);
            return;
        }
        self.operation.detach(alive);
    }
}
