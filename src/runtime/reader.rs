use super::{
    receive::{Receive, Received},
    tls::stream::TlsReceive,
};
use crate::buffer::{Chunk, ChunkMut, Held};
use bytes::BytesMut;
use std::{
    fmt,
    future::poll_fn,
    io, mem,
    task::{Context, Poll, Waker, ready},
};

/// The receiving half of a connection.
///
/// The read that the kernel works on belongs to the reader: the future of [`Reader::read`] may be dropped at
/// any time, and the next call goes on with the same read. When the reader is dropped, a task of its own
/// drives that read to its end.
pub struct Reader {
    source: Source,
    /// Bytes in front of everything that is read.
    unread: ChunkMut,
    /// The buffer of a [`Reader::read_more`]; it stays here if that future is dropped.
    kept: ChunkMut,
    /// What [`Reader::is_ready`] found.
    ready: Option<io::Result<Received>>,
    ended: bool,
}

enum Source {
    Clear(Receive),
    Tls(TlsReceive),
}

impl Reader {
    pub(super) fn clear(receive: Receive) -> Reader {
        Reader::new(Source::Clear(receive))
    }

    pub(super) fn tls(receive: TlsReceive) -> Reader {
        Reader::new(Source::Tls(receive))
    }

    fn new(source: Source) -> Reader {
        let (unread, kept) = Default::default();
        Reader { source, unread, kept, ready: None, ended: false }
    }

    /// The receiving half of a clear-text connection in its first state, for TLS.
    pub(super) fn into_receive(self) -> Option<(Receive, ChunkMut)> {
        match self.source {
            Source::Clear(receive) => Some((receive, self.unread)),
            Source::Tls(_) => None,
        }
    }

    /// The next received bytes, at least one, in the buffer they were received in; `None` at the end of the
    /// stream. The future may be dropped.
    ///
    /// # Errors
    /// The connection failed or was reset, by the peer or by us; with TLS also `UnexpectedEof` if the peer
    /// closed without close_notify (RFC 8446 section 6.1: a truncation), and `InvalidData` for a broken
    /// record.
    pub async fn read(&mut self) -> io::Result<Option<ChunkMut>> {
        poll_fn(|cx| self.poll_read(cx)).await
    }

    /// [`Reader::read`] of a connection that may idle: after [`crate::limits::IDLE_SWEEPS`] looks of the
    /// sweeper it waits without a buffer.
    ///
    /// # Errors
    /// As [`Reader::read`].
    pub async fn read_idle(&mut self) -> io::Result<Option<ChunkMut>> {
        self.let_idle(true);
        self.receive().set_idle(true);
        let result = self.read().await;
        self.receive().set_idle(false);
        self.let_idle(false);
        result
    }

    /// Whether reads that begin from now on may become those of a [`Reader::read_idle`].
    pub fn let_idle(&mut self, may_idle: bool) {
        self.receive_mut().let_idle(may_idle);
    }

    /// Counts the buffers of this connection in `held` from now on.
    pub fn charge(&mut self, held: Held) {
        self.receive_mut().charge(held);
    }

    /// Whether the budget that this connection's buffers are counted in is spent.
    pub fn is_overcharged(&self) -> bool {
        self.receive().is_overcharged()
    }

    fn receive(&self) -> &Receive {
        match &self.source {
            Source::Clear(receive) => receive,
            Source::Tls(receive) => receive.ciphertext(),
        }
    }

    fn receive_mut(&mut self) -> &mut Receive {
        match &mut self.source {
            Source::Clear(receive) => receive,
            Source::Tls(receive) => receive.ciphertext_mut(),
        }
    }

    /// [`Reader::read`] for hand-written futures.
    pub fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<ChunkMut>>> {
        Poll::Ready(match ready!(self.poll_next(cx))? {
            Received::Data(buffer) => Ok(Some(buffer)),
            Received::End(kept) if kept.is_empty() => Ok(None),
            // A dropped `read_more` has left these bytes; the end comes with the next call.
            Received::End(kept) => Ok(Some(kept)),
        })
    }

    /// Appends the next received bytes to `buffer`, for heads that come in pieces: `None` if the stream ends
    /// instead. If the future is dropped, the buffer's bytes are what the next [`Reader::read`] begins with.
    ///
    /// # Errors
    /// As [`Reader::read`]; the buffer is then lost.
    pub async fn read_more(&mut self, buffer: ChunkMut) -> io::Result<Option<ChunkMut>> {
        self.kept = join(mem::take(&mut self.kept), buffer);
        match poll_fn(|cx| self.poll_next(cx)).await? {
            Received::Data(buffer) => Ok(Some(buffer)),
            Received::End(_) => Ok(None),
        }
    }

    /// Puts bytes back that belong to the next message: they are read again first. No copy, unless other
    /// bytes were put back before.
    pub fn unread(&mut self, bytes: ChunkMut) {
        self.unread = join(bytes, mem::take(&mut self.unread));
    }

    /// [`Reader::unread`] for a frozen chunk: copied if other holders share its memory.
    pub fn unread_chunk(&mut self, chunk: Chunk) {
        let bytes = chunk.into_inner().try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        self.unread(ChunkMut::from_inner(bytes));
    }

    /// Takes back what is left of the buffer that the last read gave, so that its memory is used again for
    /// one of the next reads. Its bytes may still be in use.
    pub fn recycle(&mut self, rest: ChunkMut) {
        if let Source::Clear(receive) = &mut self.source {
            receive.recycle(rest);
        }
    }

    /// Gives back what [`Reader::recycle`] keeps, for a connection that rests.
    pub fn give_back(&mut self) {
        self.receive_mut().give_back();
    }

    /// Submits the read now, without waiting: a pooled connection's read detects the dead peer, and is the
    /// one that later receives the response.
    pub fn start(&mut self) {
        self.is_ready();
    }

    /// Whether the read has ended already, with bytes, the end of the stream or an error: an idle upstream
    /// connection for which this is true must not be used again. Begins the read if none is under way.
    pub fn is_ready(&mut self) -> bool {
        if self.ready.is_none()
            && self.unread.is_empty()
            && !self.ended
            && let Poll::Ready(result) = self.poll_source(&mut Context::from_waker(Waker::noop()))
        {
            self.ready = Some(result);
        }
        self.ready.is_some() || !self.unread.is_empty() || self.ended
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Received>> {
        if !self.unread.is_empty() {
            let kept = mem::take(&mut self.kept);
            return Poll::Ready(Ok(Received::Data(join(kept, mem::take(&mut self.unread)))));
        }
        if self.ended {
            return Poll::Ready(Ok(Received::End(mem::take(&mut self.kept))));
        }
        let result = match self.ready.take() {
            Some(result) => result,
            None => ready!(self.poll_source(cx)),
        };
        let kept = mem::take(&mut self.kept);
        Poll::Ready(match result? {
            Received::Data(buffer) => Ok(Received::Data(join(kept, buffer))),
            Received::End(buffer) => {
                self.ended = true;
                Ok(Received::End(join(kept, buffer)))
            }
        })
    }

    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Received>> {
        match &mut self.source {
            Source::Clear(receive) => {
                if !receive.is_pending() {
                    receive.start(mem::take(&mut self.kept));
                }
                receive.poll(cx)
            }
            Source::Tls(receive) => receive.poll(cx),
        }
    }
}

/// `front` and `back` in one buffer; copies only if both have bytes.
fn join(mut front: ChunkMut, back: ChunkMut) -> ChunkMut {
    if front.is_empty() {
        return back;
    }
    front.extend_from_slice(&back);
    front
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.source {
            Source::Clear(_) => "clear",
            Source::Tls(_) => "tls",
        };
        f.debug_struct("Reader").field("kind", &kind).field("ended", &self.ended).finish_non_exhaustive()
    }
}
