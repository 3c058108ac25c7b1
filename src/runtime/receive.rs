use super::{control::Alive, operation::Owned, sys::Direction};
use crate::{buffer::ChunkMut, limits};
use bytes::BytesMut;
use monoio::{
    buf::IoBufMut,
    io::{AsyncReadRent, OwnedReadHalf},
    net::TcpStream,
};
use std::{
    io,
    rc::Rc,
    task::{Context, Poll, ready},
};

/// The receiving half of a socket with its one read under way.
pub(super) struct Receive {
    alive: Option<Rc<Alive>>,
    operation: Owned<BytesMut, (io::Result<usize>, BytesMut)>,
    /// Bytes that the buffer under way held before the read.
    base: usize,
    /// Size of the next buffer.
    size: usize,
    /// Reads in a row that left most of their buffer empty.
    small: u8,
}

/// What one read gave.
pub(super) enum Received {
    /// The buffer, with at least one new byte.
    Data(ChunkMut),
    /// End of file; the buffer holds what it held before.
    End(ChunkMut),
}

impl Receive {
    pub fn new(half: OwnedReadHalf<TcpStream>, alive: Rc<Alive>) -> Receive {
        let operation = Owned::new(move |buffer: BytesMut| {
            // The half is a counted reference to the stream; there is one read at a time.
            let mut half = OwnedReadHalf(Rc::clone(&half.0));
            async move {
                let room = buffer.len()..buffer.capacity();
                let (result, slice) = half.read(buffer.slice_mut(room)).await;
                (result, slice.into_inner())
            }
        });
        Receive { alive: Some(alive), operation, base: 0, size: limits::RECEIVE_BYTES_MIN, small: 0 }
    }

    /// Whether a read is under way.
    pub fn is_pending(&self) -> bool {
        self.operation.is_pending()
    }

    /// Size of the next buffer, as the reads so far suggest it.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Begins a read that appends to `buffer`; none may be under way. It is submitted with the first poll.
    pub fn start(&mut self, mut buffer: ChunkMut) {
        if buffer.spare() < self.size {
            buffer.reserve(self.size);
        }
        self.base = buffer.len();
        self.operation.start(buffer.into_inner());
    }

    /// Asks for the read under way, or begins one with an empty buffer.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Received>> {
        if !self.is_pending() {
            self.start(ChunkMut::default());
        }
        let (result, buffer) = ready!(self.operation.poll(cx));
        let room = buffer.capacity() - self.base;
        let buffer = ChunkMut::from_inner(buffer);
        Poll::Ready(match result {
            Ok(0) => Ok(Received::End(buffer)),
            Ok(length) => {
                self.adapt(length, room);
                Ok(Received::Data(buffer))
            }
            Err(error) => Err(error),
        })
    }

    /// Large bodies want large buffers (64 KiB halve their CPU), small messages want little memory.
    fn adapt(&mut self, length: usize, room: usize) {
        if length >= room.min(self.size) {
            self.size = (self.size * 4).min(limits::RECEIVE_BYTES_MAX);
            self.small = 0;
        } else if length < self.size / 4 {
            self.small += 1;
            if self.small >= limits::RECEIVE_SMALL_READS {
                self.size = (self.size / 4).max(limits::RECEIVE_BYTES_MIN);
                self.small = 0;
            }
        } else {
            self.small = 0;
        }
    }
}

impl Drop for Receive {
    fn drop(&mut self) {
        let Some(alive) = self.alive.take() else { return };
        if self.is_pending() {
            alive.control().end(Direction::Read);
        }
        self.operation.detach(alive);
    }
}
