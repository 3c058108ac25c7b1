use bytes::{Bytes, BytesMut};
use std::ops::{Deref, RangeBounds};

/// A buffer with one owner: the target of one read.
#[derive(Debug, Default)]
pub struct ChunkMut(BytesMut);

impl ChunkMut {
    /// An empty buffer with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> ChunkMut {
        ChunkMut(BytesMut::with_capacity(capacity))
    }

    /// Bytes that fit without another allocation.
    pub fn spare(&self) -> usize {
        self.0.capacity() - self.0.len()
    }

    /// Makes room for `additional` more bytes.
    pub fn reserve(&mut self, additional: usize) {
        self.0.reserve(additional);
    }

    /// Makes room for `additional` more bytes without another allocation, in memory whose bytes nobody holds
    /// any more. False if somebody does, or if there is too little.
    pub fn reclaim(&mut self, additional: usize) -> bool {
        self.0.try_reclaim(additional)
    }

    /// Appends a copy of `bytes`.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// The filled part, for masks of equal length that are written in place.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.0
    }

    /// Takes the first `at` bytes off as a frozen chunk; the rest stays, without a copy.
    ///
    /// # Panics
    /// If `at` is larger than the filled part.
    pub fn split_to(&mut self, at: usize) -> Chunk {
        Chunk(self.0.split_to(at).freeze())
    }

    /// Takes all filled bytes off as a frozen chunk; the spare room stays.
    pub fn take(&mut self) -> Chunk {
        Chunk(self.0.split().freeze())
    }

    /// Gives up the right to change the bytes.
    pub fn freeze(self) -> Chunk {
        Chunk(self.0.freeze())
    }

    /// The buffer itself, for reads by `runtime`.
    pub fn into_inner(self) -> BytesMut {
        self.0
    }

    /// Wraps a buffer that a read has filled.
    pub fn from_inner(inner: BytesMut) -> ChunkMut {
        ChunkMut(inner)
    }
}

impl Deref for ChunkMut {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

/// A counted, immutable slice of received (or generated) bytes. Cloning and slicing copy nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chunk(Bytes);

impl Chunk {
    /// A chunk over static bytes.
    pub const fn from_static(bytes: &'static [u8]) -> Chunk {
        Chunk(Bytes::from_static(bytes))
    }

    /// A part of this chunk that shares its memory.
    ///
    /// # Panics
    /// If the range lies outside of the chunk.
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Chunk {
        Chunk(self.0.slice(range))
    }

    /// Takes the first `at` bytes off; both parts share the memory.
    ///
    /// # Panics
    /// If `at` is larger than the chunk.
    pub fn split_to(&mut self, at: usize) -> Chunk {
        Chunk(self.0.split_to(at))
    }

    /// The buffer itself, for writes by `runtime`.
    pub fn into_inner(self) -> Bytes {
        self.0
    }
}

impl Deref for Chunk {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

/// Takes the vector's memory over; nothing is copied.
impl From<Vec<u8>> for Chunk {
    fn from(bytes: Vec<u8>) -> Chunk {
        Chunk(Bytes::from(bytes))
    }
}

impl From<Bytes> for Chunk {
    fn from(bytes: Bytes) -> Chunk {
        Chunk(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_share_the_memory_of_their_chunk() {
        let mut buffer = ChunkMut::with_capacity(64);
        buffer.extend_from_slice(b"head body next");
        let head = buffer.split_to(5);
        let body = buffer.take();
        assert_eq!(&head[..], b"head ");
        assert_eq!(&body.slice(5..)[..], b"next");
        assert_eq!(body.slice(5..).as_ptr(), body[5..].as_ptr());
        assert_eq!(buffer.spare(), 50, "the spare room stays with the buffer");
    }

    #[test]
    fn memory_is_used_again_only_when_nobody_holds_its_bytes() {
        let mut buffer = ChunkMut::with_capacity(64);
        buffer.extend_from_slice(b"head body");
        let (head, body) = (buffer.split_to(5), buffer.take());
        let part = body.slice(2..);
        drop((head, body));
        assert!(!buffer.reclaim(64), "a part of it is still held");
        assert_eq!(&part[..], b"dy");
        drop(part);
        assert!(buffer.reclaim(64) && buffer.spare() == 64);
        assert!(!buffer.reclaim(65), "there is no more");
    }
}
