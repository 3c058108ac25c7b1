use super::{
    control::Alive,
    operation::Owned,
    sys::{self, Direction},
};
use crate::{
    buffer::{ChunkMut, Held},
    limits,
};
use bytes::BytesMut;
use monoio::{
    buf::IoBufMut,
    io::{AsyncReadRent, CancelHandle, CancelableAsyncReadRent, OwnedReadHalf},
    net::TcpStream,
};
use std::{
    io, mem,
    rc::Rc,
    task::{Context, Poll, ready},
};

/// What the kernel is asked for.
enum Work {
    /// Bytes behind those that the buffer holds.
    Read(BytesMut),
    /// The same, until the sweeper finds that the connection idles.
    IdleRead(BytesMut, CancelHandle),
    /// Nothing but to say when there is something to read: a read of no bytes, which holds no buffer.
    Watch,
}

/// What an operation gives: its result, and the buffer.
type Read = (io::Result<usize>, BytesMut);

/// The receiving half of a socket with its one read under way.
pub(super) struct Receive {
    alive: Option<Rc<Alive>>,
    operation: Owned<Work, Read>,
    /// What a read without the ring gave.
    done: Option<Read>,
    /// Reads without the ring that may follow.
    eager: u8,
    /// Bytes that the buffer under way held before the read.
    base: usize,
    /// Size of the next buffer.
    size: usize,
    /// Reads in a row that left most of their buffer empty.
    small: u8,
    /// Whether the last read filled its buffer.
    is_filled: bool,
    /// Whether the next read may be given up when the connection idles.
    may_idle: bool,
    state: State,
    /// The memory of the buffer in the budget of the shard.
    held: Option<Held>,
    /// Capacity of the last buffer that was filled.
    capacity: usize,
    /// What is left of the last buffers, the older one first. A read mostly begins while the bytes of the one
    /// before are still in use, so that there are two.
    spare: [ChunkMut; 2],
}

/// What is under way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Reading,
    IdleReading,
    Watching,
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
        let operation = Owned::new(move |work: Work| {
            // The half is a counted reference to the stream; there is one read at a time.
            let mut half = OwnedReadHalf(Rc::clone(&half.0));
            async move {
                let (result, slice) = match work {
                    Work::Read(buffer) => half.read(room(buffer)).await,
                    Work::IdleRead(buffer, handle) => half.cancelable_read(room(buffer), handle).await,
                    Work::Watch => half.read(room(BytesMut::new())).await,
                };
                (result, slice.into_inner())
            }
        });
        Receive {
            alive: Some(alive),
            operation,
            done: None,
            eager: 0,
            base: 0,
            size: limits::RECEIVE_BYTES_MIN,
            small: 0,
            is_filled: false,
            may_idle: false,
            state: State::Reading,
            held: None,
            capacity: 0,
            spare: Default::default(),
        }
    }

    /// Counts the buffers of this half in `held` from now on.
    pub fn charge(&mut self, held: Held) {
        self.held = Some(held);
    }

    /// Whether all buffers that this half is charged for are too much for their budget.
    pub fn is_overcharged(&self) -> bool {
        self.held.as_ref().is_some_and(|held| held.budget().is_spent())
    }

    /// Whether reads that begin from now on may be given up when the connection idles.
    pub fn let_idle(&mut self, may_idle: bool) {
        self.may_idle = may_idle;
    }

    /// Says whether the connection waits for its next message.
    pub fn set_idle(&self, idle: bool) {
        if let Some(alive) = &self.alive {
            alive.control().set_idle(idle);
        }
    }

    /// Whether a read is under way.
    pub fn is_pending(&self) -> bool {
        self.operation.is_pending() || self.done.is_some()
    }

    /// Size of the next buffer, as the reads so far suggest it.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Takes back what is left of the last buffer when its bytes were taken off: its memory is filled again
    /// as soon as nobody holds those.
    pub fn recycle(&mut self, rest: ChunkMut) {
        let [older, newer] = &mut self.spare;
        // One that was meant for more than what comes now is too much to keep, and so are two large ones.
        if self.capacity <= self.size && older.spare() == 0 {
            *older = rest;
        } else if self.capacity <= limits::RECEIVE_BYTES_MIN {
            *newer = rest;
        }
    }

    /// Gives back what [`Receive::recycle`] keeps.
    pub fn give_back(&mut self) {
        self.spare = Default::default();
    }

    /// Room for a read behind the bytes of `buffer`.
    fn make_room(&mut self, mut buffer: ChunkMut) -> ChunkMut {
        let [older, newer] = &mut self.spare;
        if buffer.is_empty() && older.reclaim(self.size) {
            let again = mem::replace(older, mem::take(newer));
            if again.spare() <= self.size {
                return again;
            }
        }
        buffer.reserve(self.size);
        buffer
    }

    /// Begins a read that appends to `buffer`; none may be under way. It is submitted with the first poll.
    pub fn start(&mut self, mut buffer: ChunkMut) {
        if buffer.spare() < self.size {
            buffer = self.make_room(buffer);
        }
        self.base = buffer.len();
        let mut buffer = buffer.into_inner();
        self.count(buffer.capacity());
        if let Some(result) = self.read_now(&mut buffer) {
            self.done = Some((result, buffer));
            return;
        }
        let handle = self.alive.as_ref().filter(|_| self.may_idle && self.base == 0);
        self.operation.start(match handle.map(|alive| alive.control().cancel_handle()) {
            Some(handle) => {
                self.state = State::IdleReading;
                Work::IdleRead(buffer, handle)
            }
            None => {
                self.state = State::Reading;
                Work::Read(buffer)
            }
        });
    }

    /// Reads what is there already, if more is to be expected after what the last read gave. That is cheaper
    /// than an operation of the ring, whose end would wake the task once more.
    fn read_now(&mut self, buffer: &mut BytesMut) -> Option<io::Result<usize>> {
        self.eager = self.eager.checked_sub(1)?;
        let fd = self.alive.as_ref()?.control().descriptor()?;
        match sys::receive_now(fd, buffer) {
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                self.eager = 0;
                None
            }
            result => Some(result),
        }
    }

    /// Asks for the read under way, or begins one with an empty buffer.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Received>> {
        loop {
            if !self.is_pending() {
                self.start(ChunkMut::default());
            }
            if let Some((result, buffer)) = self.done.take() {
                let result = self.received(result, buffer);
                self.eager *= u8::from(self.is_filled);
                return Poll::Ready(result);
            }
            let (result, buffer) = ready!(self.operation.poll(cx));
            match (self.state, result) {
                // There is something to read, be it the end.
                (State::Watching, _) => {
                    self.say_watching(false);
                    self.start(ChunkMut::default());
                }
                (State::IdleReading, Err(error)) if error.raw_os_error() == Some(libc::ECANCELED) => {
                    drop(buffer);
                    self.watch();
                }
                (_, result) => {
                    let result = self.received(result, buffer);
                    if self.is_filled {
                        self.eager = limits::RECEIVE_EAGER_READS;
                    }
                    return Poll::Ready(result);
                }
            }
        }
    }

    fn say_watching(&self, watching: bool) {
        if let Some(alive) = &self.alive {
            alive.control().set_watching(watching);
        }
    }

    /// Waits without a buffer.
    fn watch(&mut self) {
        self.base = 0;
        self.size = limits::RECEIVE_BYTES_MIN;
        self.give_back();
        self.count(0);
        self.state = State::Watching;
        self.say_watching(true);
        self.operation.start(Work::Watch);
    }

    fn received(&mut self, result: io::Result<usize>, buffer: BytesMut) -> io::Result<Received> {
        self.capacity = buffer.capacity();
        let room = self.capacity - self.base;
        let buffer = ChunkMut::from_inner(buffer);
        match result? {
            0 => Ok(Received::End(buffer)),
            length => {
                self.adapt(length, room);
                Ok(Received::Data(buffer))
            }
        }
    }

    /// Counts a buffer of so many bytes instead of the last one.
    fn count(&mut self, bytes: usize) {
        if let Some(held) = self.held.as_mut().filter(|held| held.bytes() != bytes) {
            held.resize(bytes);
        }
    }

    /// Takes note of how much a read gave. Large bodies want large buffers (64 KiB halve their CPU), small
    /// messages want little memory.
    fn adapt(&mut self, length: usize, room: usize) {
        self.is_filled = length >= room.min(self.size);
        if self.is_filled {
            let is_short = self.held.as_ref().is_some_and(|held| held.budget().is_short());
            if !is_short {
                self.size = (self.size * 4).min(limits::RECEIVE_BYTES_MAX);
            }
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

/// The part of a buffer that a read may fill.
fn room(buffer: BytesMut) -> monoio::buf::SliceMut<BytesMut> {
    let room = buffer.len()..buffer.capacity();
    buffer.slice_mut(room)
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
